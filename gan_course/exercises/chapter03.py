"""Exercices du chapitre 03 : dire une classe à un réseau ; les deux autres sont dans chapter03_obedience."""

from collections.abc import Callable

import torch
from torch import nn

from gan_course.exercises import chapter03_obedience
from gan_course.exercises.expect import Broken, expect_close, expect_gradient, expect_shape
from gan_course.exercises.report import Exercise, Property

IMAGES = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5) / 120  # ni carrées ni grises : rien ne doit le supposer
LABELS = torch.tensor([2, 0])


def planes_have_the_right_shape(answer: Callable) -> None:
    expect_shape(
        answer(IMAGES.clone(), LABELS.clone(), 6), (2, 9, 4, 5), "x de forme (2, 3, 4, 5) avec K = 6"
    )
    expect_shape(
        answer(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]), 2), (3, 3, 8, 8), "x en gris, K = 2"
    )


def planes_keep_the_image(answer: Callable) -> None:
    given = IMAGES.clone()
    got = answer(given, LABELS.clone(), 6)
    expect_shape(got, (2, 9, 4, 5), "x de forme (2, 3, 4, 5) avec K = 6")
    expect_close(got[:, :3], IMAGES, "Les 3 premiers canaux, ceux de l'image")
    expect_close(given, IMAGES, "L'image donnée, après l'appel")


def planes_say_the_class(answer: Callable) -> None:
    got = answer(IMAGES.clone(), LABELS.clone(), 6)
    expect_shape(got, (2, 9, 4, 5), "x de forme (2, 3, 4, 5) avec K = 6")
    for i, k in enumerate(LABELS.tolist()):
        expected = torch.zeros(6)
        expected[k] = 1
        expect_close(got[i, 3:].mean(dim=(1, 2)), expected, f"Moyenne de chaque plan pour y = {k}")
    expect_close(got[:, 3:].std(dim=(2, 3)), torch.zeros(2, 6), "Écart-type à l'intérieur de chaque plan")


def planes_let_the_gradient_through(answer: Callable) -> None:
    image = IMAGES.clone().requires_grad_()
    got = answer(image, LABELS.clone(), 6)
    expect_shape(got, (2, 9, 4, 5), "x de forme (2, 3, 4, 5) avec K = 6")
    expect_gradient(got, "Le résultat, pour un x qui demande son gradient,")
    (slope,) = torch.autograd.grad(got.sum(), image)
    expect_close(slope, torch.ones_like(IMAGES), "Pente de la somme du résultat par rapport à x")


def scorer(features: int = 5, classes: int = 4) -> tuple[nn.Embedding, nn.Linear]:
    """Une table e (classes, features) et une couche ψ (features → 1), de poids tirés au hasard."""
    return nn.Embedding(classes, features), nn.Linear(features, 1)


def projection_gives_one_score_per_image(answer: Callable) -> None:
    embedding, psi = scorer()
    expect_shape(
        answer(torch.randn(3, 5), torch.tensor([3, 0, 3]), embedding, psi), (3,), "h de forme (3, 5)"
    )
    expect_shape(answer(torch.randn(1, 5), torch.tensor([1]), embedding, psi), (1,), "h de forme (1, 5)")


def projection_without_embedding_is_psi(answer: Callable) -> None:
    embedding, psi = scorer()
    nn.init.zeros_(embedding.weight)
    h = torch.randn(3, 5)
    got = answer(h, torch.tensor([3, 0, 1]), embedding, psi)
    expect_close(got, psi(h).squeeze(1).detach(), "Scores quand e(y) = 0 pour tout y")


def projection_adds_a_dot_product(answer: Callable) -> None:
    embedding, psi = scorer()
    nn.init.zeros_(psi.weight)
    nn.init.zeros_(psi.bias)
    with torch.no_grad():
        embedding.weight.copy_(torch.arange(20.0).view(4, 5))
    h = torch.eye(5)[:3] + 1
    expected = torch.tensor([100.0, 11.0, 42.0])  # Σ e(y) + e(y)ᵢ pour y = 3, 0, 1 : 85 + 15, 10 + 1, 35 + 7
    got = answer(h, torch.tensor([3, 0, 1]), embedding, psi)
    expect_close(got, expected, "Scores quand ψ = 0 : ⟨e(y), h⟩, image par image")


def projection_teaches_only_the_asked_class(answer: Callable) -> None:
    embedding, psi = scorer()
    h = torch.randn(2, 5)
    got = answer(h, torch.tensor([1, 3]), embedding, psi)
    expect_gradient(got, "Le score")
    (slope,) = torch.autograd.grad(got.sum(), embedding.weight, allow_unused=True)
    expected = torch.zeros(4, 5)
    expected[1], expected[3] = h[0], h[1]
    if slope is None:
        raise Broken("Le score ne dépend pas de la table e(y) : son gradient n'existe pas.")
    for k in range(4):
        expect_close(
            slope[k], expected[k], f"Gradient de la somme des scores par rapport à e({k}), pour y = [1, 3]"
        )


EXERCISES: dict[str, Exercise] = {
    "one_hot_planes": Exercise(
        "one_hot_planes",
        (
            Property(
                "le résultat est de forme (B, C + K, H, W)",
                planes_have_the_right_shape,
                "la première convolution de D refuse l'image, ou reçoit moins de classes qu'il n'y en a.",
            ),
            Property(
                "les C premiers canaux sont ceux de l'image, inchangés",
                planes_keep_the_image,
                "D ne trouverait plus l'image intacte, là où il l'attend.",
            ),
            Property(
                "le plan de la classe y vaut 1 partout, les autres 0",
                planes_say_the_class,
                "D ne saurait pas à quelle classe comparer l'image.",
            ),
            Property(
                "le gradient par rapport à x passe à travers",
                planes_let_the_gradient_through,
                "G ne recevrait pas le gradient de D, et les pénalités R1 et R2 seraient fausses.",
            ),
        ),
        (
            "Deux étapes : fabriquer K plans par image, puis les coller aux canaux de x.",
            "torch.nn.functional.one_hot(y, K) donne (B, K) entiers : passez en réels, puis [:, :, None, None].",
            "planes = one_hot(y, K).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:]), "
            "puis torch.cat([x, planes], dim=1).",
        ),
    ),
    "projection_score": Exercise(
        "projection_score",
        (
            Property(
                "il y a un score par image : (B,)",
                projection_gives_one_score_per_image,
                "la perte attend un score par image : elle s'arrêterait, ou moyennerait autre chose.",
            ),
            Property(
                "si e(y) = 0, le score est ψ(h) : il ne dépend pas de y",
                projection_without_embedding_is_psi,
                "D ne saurait plus dire qu'une image est fausse indépendamment de sa classe.",
            ),
            Property(
                "si ψ = 0, le score est le produit scalaire ⟨e(y), h⟩ de chaque image",
                projection_adds_a_dot_product,
                "D mesurerait mal l'accord entre l'image et sa classe, qui seul pousse G à obéir.",
            ),
            Property(
                "seules les lignes de e demandées apprennent, et de leur image",
                projection_teaches_only_the_asked_class,
                "une classe n'apprendrait pas de ses seules images.",
            ),
        ),
        (
            "Le score est une somme de deux termes : l'un lit h seul, l'autre lit h et y.",
            "psi(h) est de forme (B, 1) : ramenez-la à (B,) avant d'additionner, sinon (B, 1) + (B,) donne (B, B).",
            "return psi(h).squeeze(1) + (embedding(y) * h).sum(dim=1).",
        ),
        points=2,
    ),
} | chapter03_obedience.EXERCISES
