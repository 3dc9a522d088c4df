"""Exercices du chapitre 02 sur le réseau : tailles et initialisation ; les deux autres sont dans chapter02_latent."""

import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_course.exercises import chapter02_latent
from gan_course.exercises.report import Broken, Exercise, Property, expect_close, kind_of, number


# output_size(n, layers) : (k, s, p, op) de chaque convolution transposée
def sizes_agree(answer: Callable, cases: list[tuple[int, list[tuple[int, int, int, int]], int]]) -> None:
    """Lève Broken au premier (n, layers, attendu) dont la réponse diffère, ou n'est pas un entier."""
    for n, layers, expected in cases:
        got = answer(n, list(layers))
        what = f"n = {n}, (k, s, p, op) = {layers}"
        if got is None:
            raise Broken(f"{what}. Rien n'a été rendu. N'oubliez pas return.")
        try:
            side = operator.index(got)  # un entier, de Python, de NumPy ou de PyTorch
        except TypeError:
            raise Broken(
                f"{what}. Il faut un nombre entier (int), reçu {kind_of(got)} : {got!r:.40}."
            ) from None
        if side != expected:
            raise Broken(f"{what}. Obtenu {side}, attendu {expected}.")


def size_of_one_layer(answer: Callable) -> None:
    sizes_agree(answer, [(1, [(4, 1, 0, 0)], 4), (7, [(2, 2, 0, 0)], 14), (5, [(3, 3, 0, 0)], 15)])
    sizes_agree(answer, [(4, [(5, 2, 0, 0)], 11), (3, [(1, 4, 0, 0)], 9)])


def size_counts_padding_on_both_sides(answer: Callable) -> None:
    sizes_agree(answer, [(4, [(4, 2, 1, 0)], 8), (16, [(6, 2, 2, 0)], 32), (10, [(3, 1, 1, 0)], 10)])


def size_adds_output_padding_once(answer: Callable) -> None:
    sizes_agree(answer, [(4, [(5, 2, 2, 1)], 8), (14, [(3, 2, 1, 1)], 28), (6, [(5, 4, 1, 2)], 25)])


def size_of_a_chain(answer: Callable) -> None:
    start, double = (4, 1, 0, 0), (4, 2, 1, 0)
    sizes_agree(
        answer, [(1, [start, double, double, double, double], 64), (1, [(7, 1, 0, 0), double, double], 28)]
    )
    sizes_agree(answer, [(3, [(3, 2, 0, 0), (5, 3, 1, 1)], 22), (9, [], 9)])


# initialise_weights(network) : convolutions N(0 ; 0,02), BatchNorm N(1 ; 0,02), biais nuls
def network() -> nn.Sequential:
    """Un petit réseau où rien n'est encore comme il faut : poids, échelles et biais à 3."""
    inner = nn.Sequential(nn.Conv2d(60, 50, 3, bias=False), nn.BatchNorm2d(50), nn.LeakyReLU(0.2))
    outer = (
        nn.ConvTranspose2d(40, 60, 4),
        nn.BatchNorm2d(60),
        nn.ReLU(),
        inner,
        nn.Conv2d(50, 30, 3),
        nn.Linear(30, 2),
    )
    layers = nn.Sequential(*outer)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.fill_(3.0)
    return layers


def initialised(answer: Callable) -> nn.Sequential:
    answer(layers := network())
    return layers


def expect_same_parameters(layers: nn.Module, before: list[nn.Parameter]) -> None:
    """Lève Broken si un paramètre de `layers` n'est plus l'objet de `before`, ou ne s'entraîne plus."""
    if any(now is not old for now, old in zip(layers.parameters(), before, strict=True)):
        raise Broken(
            "Un paramètre a été remplacé par un autre (nn.Parameter) : un optimiseur déjà construit garde l'ancien. "
            "Écrivez dans celui qui existe : nn.init.normal_(layer.weight, …)."
        )
    if any(not p.requires_grad or p.grad_fn is not None for p in layers.parameters()):
        raise Broken("Un paramètre n'est plus entraînable (requires_grad vaut False, ou il porte un graphe).")


def expect_normal(values: Tensor, mean: float, std: float, what: str) -> None:
    """Lève Broken si `values` ne ressemble pas à des tirages de N(mean, std²), à cinq erreurs-types près."""
    values, count = values.detach(), values.numel()
    got_mean, got_std = values.mean().item(), values.std().item()
    if abs(got_mean - mean) > 5 * std / count**0.5 or abs(got_std / std - 1) > 4 / count**0.5:
        got = f"N({number(round(got_mean, 4))} ; {number(round(got_std, 4))}²)"
        raise Broken(f"{what} : obtenu {got}, attendu N({number(mean)} ; {number(std)}²).")


def convolutions_are_normal(answer: Callable) -> None:
    layers = initialised(answer)
    names = {0: "une ConvTranspose2d", 3: "une Conv2d, au fond d'un Sequential", 4: "une Conv2d"}
    for i, name in names.items():
        what = f"Poids d'{name}"
        weight = (layers[i][0] if i == 3 else layers[i]).weight.detach()
        expect_normal(weight, 0.0, 0.02, what)
        if float(weight.abs().max()) < 0.05:
            raise Broken(f"{what} : aucun ne dépasse 0,05 en valeur absolue ; ce n'est pas une loi normale.")


def batch_norm_scales_are_around_one(answer: Callable) -> None:
    layers = initialised(answer)
    scales = torch.cat([layers[1].weight.detach(), layers[3][1].weight.detach()])
    expect_normal(scales, 1.0, 0.02, "Échelles (weight) des BatchNorm2d")


def biases_are_zero(answer: Callable) -> None:
    layers = initialised(answer)
    for i, what in ((0, "la ConvTranspose2d"), (1, "la BatchNorm2d"), (4, "la Conv2d")):
        expect_close(layers[i].bias.detach(), torch.zeros_like(layers[i].bias), f"Biais de {what}")


def linear_layers_are_left_alone(answer: Callable) -> None:
    weight = initialised(answer)[5].weight.detach()
    expect_close(weight, torch.full_like(weight, 3.0), "Poids de la couche Linear, qui valaient 3 partout")


def weights_still_learn(answer: Callable) -> None:
    layers = network()
    before = list(layers.parameters())
    answer(layers)
    expect_same_parameters(layers, before)
    x = torch.randn(2, 40, 2, 2, generator=torch.Generator().manual_seed(1))
    layers[:5](x).sum().backward()
    if layers[0].weight.grad is None:
        raise Broken("Après backward, la première couche n'a pas de gradient.")


EXERCISES: dict[str, Exercise] = {
    "output_size": Exercise(
        "output_size",
        (
            Property(
                "sans marge, un étage donne (n - 1) s + k",
                size_of_one_layer,
                "les étages ne s'emboîtent plus : D refuserait les images de G.",
            ),
            Property(
                "la marge p se retire des deux côtés",
                size_counts_padding_on_both_sides,
                "d'un étage à l'autre, le côté ne doublerait pas exactement.",
            ),
            Property(
                "output_padding s'ajoute, une seule fois",
                size_adds_output_padding_once,
                "avec un noyau impair, le côté ne doublerait pas exactement.",
            ),
            Property(
                "chaque étage part de la taille rendue par le précédent",
                size_of_a_chain,
                "la taille annoncée n'est pas celle du réseau entier.",
            ),
        ),
        (
            "Une boucle sur layers : à chaque étage, n devient la taille de sa sortie.",
            "Les tampons commencent en 0, s, …, (n - 1) s ; le dernier finit en (n - 1) s + k. Il reste à rogner.",
            "for k, s, p, op in layers: n = (n - 1) * s - 2 * p + k + op, puis return n.",
        ),
    ),
    "initialise_weights": Exercise(
        "initialise_weights",
        (
            Property(
                "les poids des convolutions, transposées ou non, suivent N(0 ; 0,02²)",
                convolutions_are_normal,
                "les activations ne partiraient pas à l'échelle de l'article.",
            ),
            Property(
                "les échelles de BatchNorm2d suivent N(1 ; 0,02²)",
                batch_norm_scales_are_around_one,
                "ce ne serait pas le départ de l'article : près de 1, un peu différent d'une carte à l'autre.",
            ),
            Property(
                "les biais de ces couches sont nuls",
                biases_are_zero,
                "chaque carte part avec un décalage que rien ne justifie.",
            ),
            Property(
                "les poids d'une couche Linear ne changent pas",
                linear_layers_are_left_alone,
                "l'article ne dit rien de cette couche : elle perdrait l'échelle que PyTorch lui a donnée.",
            ),
            Property(
                "les paramètres restent les mêmes objets, entraînables",
                weights_still_learn,
                "l'optimiseur ne pourrait plus les modifier.",
            ),
        ),
        (
            "Parcourez network.modules() : il donne aussi les couches au fond des Sequential. isinstance les trie.",
            "torch.nn.init.normal_(layer.weight, moyenne, écart_type) écrit sur place, hors du graphe ; "
            "une convolution peut ne pas avoir de biais (layer.bias vaut alors None).",
            "for layer in network.modules(): pour une Conv2d ou une ConvTranspose2d, normal_(layer.weight, 0, 0.02) ; "
            "pour une BatchNorm2d, normal_(layer.weight, 1, 0.02) ; puis zeros_(layer.bias), s'il existe.",
        ),
        points=2,
    ),
} | chapter02_latent.EXERCISES
