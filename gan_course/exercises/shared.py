"""Exercices qui servent à plusieurs chapitres."""

from collections.abc import Callable

import torch

from gan_course.exercises.expect import Broken, expect_close, expect_fresh, expect_gradient, number, values_of
from gan_course.exercises.report import Exercise, Property


def linear_critic(weight: torch.Tensor) -> Callable:
    """D(x) = ⟨w, x⟩, qui rend (B,) et accepte des étiquettes sans les lire."""
    return lambda x, y=None: x.flatten(1) @ weight


def penalty_is_slope_of_a_line(gradient_penalty) -> None:
    for norm in (0.5, 1.0, 3.0):
        weight = torch.randn(12)
        weight *= norm / weight.norm()
        got = gradient_penalty(linear_critic(weight), torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
        expect_close(got, (norm - 1) ** 2, f"Critique linéaire de pente ‖w‖ = {number(norm)}", 1e-4)


def flat_critic_costs_one(gradient_penalty) -> None:
    got = gradient_penalty(linear_critic(torch.zeros(12)), torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
    expect_close(got, 1.0, "Critique constant, de gradient nul", 1e-3)


def penalty_teaches_the_critic(gradient_penalty) -> None:
    weight = torch.full((12,), 1.0, requires_grad=True)
    penalty = gradient_penalty(linear_critic(weight), torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
    expect_gradient(penalty, "La pénalité")
    (gradient,) = torch.autograd.grad(penalty, weight, allow_unused=True)
    norm = 12**0.5
    expect_close(
        gradient, 2 * (norm - 1) * torch.ones(12) / norm, "Gradient de la pénalité par rapport à w", 1e-4
    )


def penalty_looks_between(gradient_penalty) -> None:
    # Vrais et faux opposés, de norme 2 : en x̂ = ε x + (1 - ε)(-x), ‖x̂‖ = |4ε - 2| est uniforme sur [0, 2] si ε l'est
    # sur [0, 1]. La pente de D(x) = ‖x‖²/2 est ‖x̂‖ : la pénalité vaut en moyenne ∫(u - 1)² du/2 = 1/3.
    real = torch.full((2_000, 3, 2, 2), 2 / 12**0.5)

    def critic(x, y=None):
        return x.flatten(1).square().sum(1) / 2

    what = "Critique D(x) = ‖x‖²/2, vrais et faux opposés, de norme 2"
    values = [values_of(gradient_penalty(critic, real.clone(), -real), what, ()) for _ in range(3)]
    expect_fresh(values[0], values[1], "Deux pénalités de suite, sur 2 000 ε")
    gap = float(max(values) - min(values))
    if gap > 0.1:
        raise Broken(
            f"{what}. Trois appels diffèrent de {number(gap)} : il faut un ε entre 0 et 1 pour chaque image."
        )
    expect_close(sum(values) / 3, 1 / 3, f"{what} ; moyenne sur ε uniforme", 0.03)


def penalty_leaves_no_trace(gradient_penalty) -> None:
    weight = torch.randn(12, requires_grad=True)
    images = {"real": torch.randn(4, 3, 2, 2), "fake": torch.randn(4, 3, 2, 2)}
    kept = {name: given.clone() for name, given in images.items()}
    gradient_penalty(linear_critic(weight), *images.values())
    if weight.grad is not None:
        raise Broken(
            "Les poids du critique ont reçu un gradient (.grad) : backward() en donne à tout le graphe. "
            "torch.autograd.grad(scores.sum(), melange, create_graph=True) n'en calcule que pour le mélange."
        )
    for name, given in images.items():
        if given.requires_grad or given.grad is not None:
            raise Broken(
                f"Le tenseur {name} que l'on vous a donné demande désormais son gradient : appelez requires_grad_() "
                "sur le mélange, non sur ce que vous avez reçu."
            )
        expect_close(given, kept[name], f"Le tenseur {name}, après l'appel")


EXERCISES = {
    "gradient_penalty": Exercise(
        "gradient_penalty",
        (
            Property(
                "un critique linéaire D(x) = ⟨w, x⟩ coûte exactement (‖w‖ - 1)²",
                penalty_is_slope_of_a_line,
                "la contrainte ne serait plus celle de WGAN-GP.",
            ),
            Property(
                "un critique constant coûte 1",
                flat_critic_costs_one,
                "un critique éteint ne serait pas ramené à une pente de 1.",
            ),
            Property(
                "la pénalité a un gradient par rapport aux poids du critique",
                penalty_teaches_the_critic,
                "la pénalité s'affiche, mais ne ramène pas la pente du critique vers 1.",
            ),
            Property(
                "la pente est mesurée entre vrai et faux, avec un ε uniforme par image",
                penalty_looks_between,
                "la pente serait contrôlée ailleurs que sur le chemin que suit le générateur.",
            ),
            Property(
                "rien d'autre ne change : ni les gradients du critique, ni les images reçues",
                penalty_leaves_no_trace,
                "le pas suivant hériterait de ce que la pénalité a laissé.",
            ),
        ),
        (
            "Cinq lignes : ε, le mélange, les scores, torch.autograd.grad, la norme.",
            "ε est de forme (B, 1, 1, 1) ; le mélange doit demander son gradient (requires_grad_()).",
            "torch.autograd.grad(scores.sum(), melange, create_graph=True)[0], puis .flatten(1).norm(dim=1), "
            "et enfin la moyenne de (norme - 1)².",
        ),
        points=3,
    ),
}
