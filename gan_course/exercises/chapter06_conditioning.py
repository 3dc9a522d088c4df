"""Chapitre 06 : dire une classe aux deux réseaux (`conditional_inputs`), la projeter (`projection_logits`)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_course.exercises.report import Broken, Exercise, Property, expect_close, expect_shape

# --- conditional_inputs(z, x, y, num_classes) → (entrée de G, entrée de D) -----------------------------------

LATENTS = torch.linspace(-2, 1, 3 * 5).view(3, 5)
IMAGES = torch.linspace(-1, 0.5, 3 * 2 * 4 * 6).view(
    3, 2, 4, 6
)  # ni carrées ni grises : rien ne doit le supposer
LABELS = torch.tensor([2, 0, 3])


def inputs_of(
    answer: Callable, z: Tensor, x: Tensor, labels: Tensor = LABELS, classes: int = 4
) -> tuple[Tensor, Tensor]:
    """Les deux entrées rendues par l'étudiant, après vérification de leurs formes."""
    got = answer(z, x, labels.clone(), classes)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Broken(
            f"Il faut rendre deux tenseurs, l'entrée de G puis celle de D ; reçu {type(got).__name__}."
        )
    for_g, for_d = got
    asked = f"y = {labels.tolist()} et K = {classes}"
    expect_shape(for_g, (3, 5 + classes), f"Entrée de G, pour z (3, 5), {asked}")
    expect_shape(for_d, (3, 2 + classes, 4, 6), f"Entrée de D, pour x (3, 2, 4, 6), {asked}")
    return for_g, for_d


def inputs_have_room_for_the_class(answer: Callable) -> None:
    without_the_last = torch.tensor([1, 0, 1])
    for labels, classes in ((LABELS, 4), (without_the_last, 4), (without_the_last, 6)):
        both = inputs_of(answer, LATENTS.clone(), IMAGES.clone(), labels, classes)
        for what, given in zip(("de G", "de D"), both):
            if given.dtype != torch.float32:
                raise Broken(f"Entrée {what} : type {given.dtype}, attendu torch.float32.")


def inputs_begin_with_noise_and_image(answer: Callable) -> None:
    z, x = LATENTS.clone(), IMAGES.clone()
    for_g, for_d = inputs_of(answer, z, x)
    expect_close(for_g[:, :5], LATENTS, "Les 5 premières colonnes de l'entrée de G : z")
    expect_close(for_d[:, :2], IMAGES, "Les 2 premiers canaux de l'entrée de D : x")
    expect_close(z, LATENTS, "z, après l'appel")
    expect_close(x, IMAGES, "x, après l'appel")


def generator_is_told_the_class(answer: Callable) -> None:
    for_g, _ = inputs_of(answer, LATENTS.clone(), IMAGES.clone())
    expect_close(
        for_g[:, 5:], torch.eye(4)[LABELS], "Les 4 dernières colonnes de l'entrée de G, pour y = [2, 0, 3]"
    )


def discriminator_is_told_the_same_class(answer: Callable) -> None:
    _, for_d = inputs_of(answer, LATENTS.clone(), IMAGES.clone())
    for i, k in enumerate(LABELS.tolist()):
        expected = torch.eye(4)[k][:, None, None].expand(4, 4, 6)
        expect_close(for_d[i, 2:], expected, f"Les 4 plans ajoutés à l'image {i}, pour y = {k}")


def gradients_reach_noise_and_image(answer: Callable) -> None:
    z, x = LATENTS.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    for_g, for_d = inputs_of(answer, z, x)
    for given, source, name in ((for_g, z, "z"), (for_d, x, "x")):
        if not given.requires_grad:
            raise Broken(f"Une entrée ne dépend plus de {name} pour PyTorch : requires_grad vaut False.")
        (slope,) = torch.autograd.grad(given.sum(), source)
        expect_close(slope, torch.ones_like(source), f"Pente de la somme de l'entrée par rapport à {name}")


# --- projection_logits(features, y, embedding, linear) -------------------------------------------------------


def scorer(maps: int = 5, classes: int = 4) -> tuple[nn.Embedding, nn.Linear]:
    """Une table e (classes, maps) et une couche ψ (maps → 1), de poids tirés au hasard."""
    return nn.Embedding(classes, maps), nn.Linear(maps, 1)


def one_logit_per_image(answer: Callable) -> None:
    embedding, linear = scorer()
    for count in (3, 1):
        got = answer(torch.randn(count, 5, 2, 3), torch.arange(count), embedding, linear)
        expect_shape(got, (count,), f"Cartes de forme ({count}, 5, 2, 3)")


def without_embedding_only_psi_remains(answer: Callable) -> None:
    embedding, linear = scorer()
    nn.init.zeros_(embedding.weight)
    features = torch.randn(3, 5, 2, 3)
    expected = linear(features.sum((2, 3))).squeeze(1).detach()
    expect_close(
        answer(features, LABELS.clone(), embedding, linear),
        expected,
        "Logits quand e(y) = 0 pour tout y",
        1e-4,
    )


def without_psi_a_dot_product_remains(answer: Callable) -> None:
    embedding, linear = scorer()
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    with torch.no_grad():
        embedding.weight.copy_(torch.arange(20.0).view(4, 5))
    features = (
        torch.eye(5)[:3, :, None, None].expand(3, 5, 2, 3) + 1
    )  # sommes : 12 pour la carte i, 6 ailleurs
    expected = torch.tensor([6 * 60.0 + 6 * 10, 6 * 10.0 + 6 * 1, 6 * 85.0 + 6 * 17])
    got = answer(features, LABELS.clone(), embedding, linear)
    expect_close(got, expected, "Logits quand ψ = 0 : ⟨e(y), h⟩, image par image", 1e-4)


def positions_are_summed(answer: Callable) -> None:
    embedding, linear = scorer()
    nn.init.zeros_(linear.bias)
    features = torch.randn(3, 5, 2, 3)
    once = answer(features, LABELS.clone(), embedding, linear)
    expect_shape(once, (3,), "Cartes de forme (3, 5, 2, 3)")
    twice = answer(torch.cat([features, features.flip(3)], dim=3), LABELS.clone(), embedding, linear)
    expect_close(
        twice, 2 * once.detach(), "Logits de cartes deux fois plus larges, de même contenu (biais nul)", 1e-4
    )


def only_the_asked_rows_learn(answer: Callable) -> None:
    embedding, linear = scorer()
    features = torch.randn(2, 5, 2, 3, requires_grad=True)
    got = answer(features, torch.tensor([1, 3]), embedding, linear)
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Broken("Le logit ne dépend plus des poids pour PyTorch : rien n'apprendrait.")
    inputs = (embedding.weight, linear.weight, features)
    table, psi, slope = torch.autograd.grad(got.sum(), inputs, allow_unused=True)
    if table is None or psi is None or slope is None:
        raise Broken(
            "La somme des logits ne dépend pas de la table e, de ψ ou des cartes : un gradient manque."
        )
    h, expected = features.detach().sum((2, 3)), torch.zeros(4, 5)
    expected[1], expected[3] = h[0], h[1]
    for k in range(4):
        expect_close(
            table[k], expected[k], f"Gradient de la somme des logits pour e({k}), avec y = [1, 3]", 1e-4
        )


EXERCISES: dict[str, Exercise] = {
    "conditional_inputs": Exercise(
        "conditional_inputs",
        (
            Property(
                "l'entrée de G est (B, D + K), celle de D est (B, C + K, H, W), en float32",
                inputs_have_room_for_the_class,
                "les deux réseaux, faits pour K classes, refuseraient leur entrée.",
            ),
            Property(
                "z et x viennent d'abord, inchangés",
                inputs_begin_with_noise_and_image,
                "les réseaux ne trouveraient plus le bruit et l'image intacts, là où ils les attendent.",
            ),
            Property(
                "G reçoit le code 1 parmi K de sa classe",
                generator_is_told_the_class,
                "G ne saurait pas quelle classe dessiner.",
            ),
            Property(
                "D reçoit K plans constants : 1 partout sur celui de la même classe, 0 sur les autres",
                discriminator_is_told_the_same_class,
                "D jugerait une paire (image, classe) que G n'a pas cherché à faire.",
            ),
            Property(
                "les gradients remontent jusqu'à z et à x",
                gradients_reach_noise_and_image,
                "G n'apprendrait plus rien de D, et aucune pénalité de gradient ne se calculerait.",
            ),
        ),
        (
            "Le code 1 parmi K sert deux fois : tel quel pour G, étalé sur toute l'image pour D.",
            "F.one_hot(y, num_classes).float() est (B, K) ; code[:, :, None, None].expand(-1, -1, H, W) en fait "
            "des plans.",
            "code = F.one_hot(y, num_classes).float() ; planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:]) ; "
            "return torch.cat([z, code], dim=1), torch.cat([x, planes], dim=1).",
        ),
        points=2,
    ),
    "projection_logits": Exercise(
        "projection_logits",
        (
            Property(
                "il y a un logit par image : (B,)",
                one_logit_per_image,
                "la perte attend un logit par image : elle s'arrêterait, ou moyennerait autre chose.",
            ),
            Property(
                "si e(y) = 0, le logit est ψ(h), quelle que soit la classe",
                without_embedding_only_psi_remains,
                "D ne saurait plus dire qu'une image est fausse indépendamment de sa classe.",
            ),
            Property(
                "si ψ = 0, le logit est le produit scalaire ⟨e(y), h⟩ de chaque image",
                without_psi_a_dot_product_remains,
                "D mesurerait mal l'accord entre l'image et sa classe, qui seul pousse G à obéir.",
            ),
            Property(
                "h est la somme des cartes sur toutes leurs positions",
                positions_are_summed,
                "D compterait mal combien de fois un motif paraît dans l'image.",
            ),
            Property(
                "seules les lignes de e demandées apprennent, chacune de son image",
                only_the_asked_rows_learn,
                "une classe n'apprendrait pas de ses seules images.",
            ),
        ),
        (
            "Écrivez la forme de chaque terme avant de les additionner : h est (B, F), le résultat (B,).",
            "linear(h) est (B, 1) : ramenez-le à (B,) avant d'additionner, sinon (B, 1) + (B,) donne (B, B).",
            "h = features.sum((2, 3)) ; return linear(h).squeeze(1) + (embedding(y) * h).sum(1).",
        ),
        points=1,
    ),
}
