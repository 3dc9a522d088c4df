"""Exercices du chapitre 02 : tailles, initialisation, interpolation sphérique, directions d'attributs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_course.exercises.report import Broken, Exercise, Property, expect_close, expect_shape


# output_size(n, layers) : (k, s, p, op) de chaque convolution transposée
def sizes_agree(answer: Callable, cases: list[tuple[int, list[tuple[int, int, int, int]], int]]) -> None:
    """Lève Broken au premier (n, layers, attendu) dont la réponse diffère, ou n'est pas un entier."""
    for n, layers, expected in cases:
        got = answer(n, list(layers))
        what = f"n = {n}, (k, s, p, op) = {layers}"
        if isinstance(got, bool) or not isinstance(got, int):
            raise Broken(f"{what} : il faut un nombre entier (int), reçu {got!r} ({type(got).__name__}).")
        if got != expected:
            raise Broken(f"{what} : obtenu {got}, attendu {expected}.")


def size_of_one_layer(answer: Callable) -> None:
    sizes_agree(answer, [(1, [(4, 1, 0, 0)], 4), (7, [(2, 2, 0, 0)], 14), (5, [(3, 3, 0, 0)], 15)])
    sizes_agree(answer, [(4, [(5, 2, 0, 0)], 11), (3, [(1, 4, 0, 0)], 9)])


def size_counts_padding_on_both_sides(answer: Callable) -> None:
    sizes_agree(answer, [(4, [(4, 2, 1, 0)], 8), (16, [(6, 2, 2, 0)], 32), (10, [(3, 1, 1, 0)], 10)])


def size_adds_output_padding_once(answer: Callable) -> None:
    sizes_agree(answer, [(4, [(5, 2, 2, 1)], 8), (14, [(3, 2, 1, 1)], 28), (6, [(5, 4, 1, 2)], 25)])


def size_of_a_chain(answer: Callable) -> None:
    start, double = (4, 1, 0, 0), (4, 2, 1, 0)
    sizes_agree(answer, [(1, [start, double, double, double, double], 64), (1, [(7, 1, 0, 0), double, double], 28)])
    sizes_agree(answer, [(3, [(3, 2, 0, 0), (5, 3, 1, 1)], 22), (9, [], 9)])


# initialise_weights(network) : convolutions N(0 ; 0,02), BatchNorm N(1 ; 0,02), biais nuls
def network() -> nn.Sequential:
    """Un petit réseau où rien n'est encore comme il faut : poids, échelles et biais à 3."""
    inner = nn.Sequential(nn.Conv2d(60, 50, 3, bias=False), nn.BatchNorm2d(50), nn.LeakyReLU(0.2))
    outer = nn.ConvTranspose2d(40, 60, 4), nn.BatchNorm2d(60), nn.ReLU(), inner, nn.Conv2d(50, 30, 3), nn.Linear(30, 2)
    layers = nn.Sequential(*outer)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.fill_(3.0)
    return layers


def initialised(answer: Callable) -> nn.Sequential:
    answer(layers := network())
    return layers


def expect_law(values: Tensor, mean: float, std: float, what: str) -> None:
    """Lève Broken si `values` ne ressemble pas à des tirages de N(mean, std²), à cinq erreurs-types près."""
    count = values.numel()
    expect_close(values.mean(), mean, f"{what} : moyenne", 5 * std / count**0.5)
    if not 1 - 4 / count**0.5 < float(values.std()) / std < 1 + 4 / count**0.5:
        raise Broken(f"{what} : écart-type obtenu {float(values.std()):.4g}, attendu {std}.")


def convolutions_are_normal(answer: Callable) -> None:
    layers = initialised(answer)
    names = {0: "une ConvTranspose2d", 3: "une Conv2d, au fond d'un Sequential", 4: "une Conv2d"}
    for i, name in names.items():
        what = f"Poids d'{name}"
        weight = (layers[i][0] if i == 3 else layers[i]).weight.detach()
        expect_law(weight, 0.0, 0.02, what)
        if float(weight.abs().max()) < 0.05:
            raise Broken(f"{what} : aucun ne dépasse 0,05 en valeur absolue ; ce n'est pas une loi normale.")


def batch_norm_scales_are_around_one(answer: Callable) -> None:
    layers = initialised(answer)
    scales = torch.cat([layers[1].weight.detach(), layers[3][1].weight.detach()])
    expect_law(scales, 1.0, 0.02, "Échelles (weight) des BatchNorm2d")


def biases_are_zero(answer: Callable) -> None:
    layers = initialised(answer)
    for i, what in ((0, "la ConvTranspose2d"), (1, "la BatchNorm2d"), (4, "la Conv2d")):
        expect_close(layers[i].bias.detach(), torch.zeros_like(layers[i].bias), f"Biais de {what}")


def weights_still_learn(answer: Callable) -> None:
    layers = initialised(answer)
    if any(not p.requires_grad or p.grad_fn is not None for p in layers.parameters()):
        raise Broken("Un paramètre n'est plus une feuille entraînable (requires_grad vaut False, ou il a un graphe).")
    x = torch.randn(2, 40, 2, 2, generator=torch.Generator().manual_seed(1))
    layers[:5](x).sum().backward()
    if layers[0].weight.grad is None:
        raise Broken("Après backward, la première couche n'a pas de gradient.")


# slerp(a, b, t) : deux vecteurs (D,) de même norme
def pair(angle: float, norm: float = 3.0) -> tuple[Tensor, Tensor]:
    """Deux vecteurs (6,) de norme `norm` qui font l'angle `angle`, dans un plan quelconque."""
    basis = torch.linalg.qr(torch.randn(6, 2)).Q.T
    return norm * basis[0], norm * (math.cos(angle) * basis[0] + math.sin(angle) * basis[1])


def slerp_reaches_both_ends(answer: Callable) -> None:
    a, b = pair(1.1)
    expect_close(answer(a, b, 0.0), a, "t = 0 : le départ", 1e-4)
    expect_close(answer(a, b, 1.0), b, "t = 1 : l'arrivée", 1e-4)


def slerp_stays_on_the_sphere(answer: Callable) -> None:
    for angle in (0.3, math.pi / 2, 2.5):
        a, b = pair(angle)
        for t in (0.25, 0.5):
            got = answer(a, b, t)
            expect_shape(got, (6,), f"a et b de forme (6,), t = {t}")
            what = f"Norme à t = {t}, pour ‖a‖ = ‖b‖ = 3 et un angle de {math.degrees(angle):.0f}°"
            expect_close(got.norm(), 3.0, what, 1e-3)


def slerp_turns_at_constant_speed(answer: Callable) -> None:
    for angle in (math.pi / 2, 2.5):
        a, b = pair(angle)
        for t in (0.2, 0.7):
            got = answer(a, b, t)
            expect_shape(got, (6,), f"a et b de forme (6,), t = {t}")
            turned = torch.arccos((got @ a / (got.norm() * a.norm())).clamp(-1, 1))
            what = f"Angle avec a à t = {t}, en degrés, pour un angle total de {math.degrees(angle):.0f}°"
            expect_close(torch.rad2deg(turned), math.degrees(t * angle), what, 2e-3)


def slerp_of_a_point_with_itself(answer: Callable) -> None:
    a, _ = pair(1.0)
    expect_close(answer(a, a.clone(), 0.4), a, "b = a : l'angle est nul", 1e-3)


# remove_component(direction, other) : ce qui, dans une direction, ne doit rien à l'autre
def nothing_is_left_along_the_other(answer: Callable) -> None:
    for scale in (1.0, 0.1, 7.0):
        direction, other = torch.randn(8), scale * torch.randn(8)
        got = answer(direction.clone(), other.clone())
        expect_shape(got, (8,), "Deux directions de forme (8,)")
        what = f"Composante restante le long de other, de norme {other.norm():.2f}"
        expect_close(got @ other / other.norm(), 0.0, what, 1e-4)


def orthogonal_directions_are_unchanged(answer: Callable) -> None:
    direction, other = torch.tensor([0.0, 2.0, 0.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 0.0])
    expect_close(answer(direction.clone(), other), direction, "direction déjà orthogonale à other", 1e-5)


def only_the_other_is_removed(answer: Callable) -> None:
    direction, other = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 2.0, 0.0])
    got = answer(direction.clone(), other)
    expect_close(got, [1.0, 0.0, 1.0], "direction = (1, 1, 1), other = (0, 2, 0)", 1e-5)
    direction, other = torch.randn(8), torch.randn(8)
    got = answer(direction.clone(), other)
    expect_shape(got, (8,), "Deux directions de forme (8,)")
    removed = direction - got
    along = (removed @ other / other.norm() ** 2) * other
    expect_close(removed, along, "Ce qui a été retiré, comparé à sa part le long de other", 1e-4)


def entries_are_untouched(answer: Callable) -> None:
    direction, other = torch.randn(5), torch.randn(5)
    kept = direction.clone(), other.clone()
    answer(direction, other)
    expect_close(direction, kept[0], "direction, après l'appel")
    expect_close(other, kept[1], "other, après l'appel")


EXERCISES: dict[str, Exercise] = {
    "output_size": Exercise(
        "output_size",
        (
            Property(
                "sans marge, un étage donne (n - 1) s + k",
                size_of_one_layer,
                "les étages ne s'emboîtent pas : D refuse les images de G, ou la première couche rend 1 × 1.",
            ),
            Property(
                "la marge p se retire des deux côtés",
                size_counts_padding_on_both_sides,
                "le côté ne double pas exactement : 9, 19, 39… au lieu de 8, 16, 32.",
            ),
            Property(
                "output_padding s'ajoute, une seule fois",
                size_adds_output_padding_once,
                "avec un noyau impair, il manque un pixel à chaque étage : 4, 7, 13, 25 au lieu de 4, 8, 16, 32.",
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
                "les activations ne partent pas à l'échelle de l'article ; une couche oubliée garde la sienne.",
            ),
            Property(
                "les échelles de BatchNorm2d suivent N(1 ; 0,02²)",
                batch_norm_scales_are_around_one,
                "autour de 0, chaque étage divise tout par cinquante : G rend du gris et D ne lui apprend rien.",
            ),
            Property(
                "les biais de ces couches sont nuls",
                biases_are_zero,
                "chaque carte part avec un décalage que rien ne justifie.",
            ),
            Property(
                "les paramètres restent entraînables",
                weights_still_learn,
                "l'optimiseur ne peut plus les modifier.",
            ),
        ),
        (
            "Parcourez network.modules() : il donne aussi les couches au fond des Sequential. isinstance les trie.",
            "torch.nn.init.normal_(layer.weight, moyenne, écart_type) écrit sur place, hors du graphe ; "
            "une convolution peut ne pas avoir de biais (layer.bias vaut alors None).",
            "for layer in network.modules(): pour une Conv2d ou une ConvTranspose2d, normal_(layer.weight, 0, 0.02) ; "
            "pour une BatchNorm2d, normal_(layer.weight, 1, 0.02) ; puis zeros_(layer.bias), s'il existe.",
        ),
    ),
    "slerp": Exercise(
        "slerp",
        (
            Property(
                "t = 0 rend a, t = 1 rend b",
                slerp_reaches_both_ends,
                "la promenade ne part pas de la bonne image, ou n'y arrive pas.",
            ),
            Property(
                "entre deux vecteurs de même norme, la norme ne change pas",
                slerp_stays_on_the_sphere,
                "le chemin quitte la coquille où sont les z de l'entraînement.",
            ),
            Property(
                "l'angle parcouru est proportionnel à t",
                slerp_turns_at_constant_speed,
                "l'image change par à-coups : lentement aux bouts, vite au milieu, ou l'inverse.",
            ),
            Property(
                "si b = a, le résultat est a et non NaN",
                slerp_of_a_point_with_itself,
                "une division par sin 0 remplit l'image de NaN.",
            ),
        ),
        (
            "L'angle ω d'abord : son cosinus est le produit scalaire des deux directions, a / ‖a‖ et b / ‖b‖.",
            "Poids sin((1 - t) ω) / sin ω pour a et sin(t ω) / sin ω pour b ; bornez le cosinus à [-1, 1] avant "
            "arccos, et traitez à part un angle presque nul.",
            "omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1)) ; si omega < 1e-3, rendez "
            "(1 - t) * a + t * b ; sinon (sin((1 - t) ω) a + sin(t ω) b) / sin ω.",
        ),
    ),
    "remove_component": Exercise(
        "remove_component",
        (
            Property(
                "le résultat est orthogonal à other, quelle que soit sa norme",
                nothing_is_left_along_the_other,
                "avancer dans cette direction change encore l'autre attribut.",
            ),
            Property(
                "une direction déjà orthogonale ne change pas",
                orthogonal_directions_are_unchanged,
                "on abîme une direction qui n'avait pas besoin d'être corrigée.",
            ),
            Property(
                "seule la part le long de other est retirée",
                only_the_other_is_removed,
                "on perd, avec le sourire, une partie des lunettes.",
            ),
            Property(
                "les deux directions données restent intactes",
                entries_are_untouched,
                "la direction d'origine est perdue pour la suite du carnet.",
            ),
        ),
        (
            "Projetez direction sur other, puis soustrayez cette projection.",
            "La projection de d sur o vaut (d · o / o · o) o : le carré de la norme de o rend l'échelle indifférente.",
            "return direction - (direction @ other) / (other @ other) * other.",
        ),
    ),
}
