"""Exercices du chapitre 05 sur les statistiques : Fréchet et AdaIN ; les deux autres sont dans chapter05_styles."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises import chapter05_styles
from gan_course.exercises.report import Broken, Exercise, Property, expect_close, expect_shape


def cloud(count: int, seed: int = 0) -> Tensor:
    """Un nuage (count, 3) corrélé, d'écarts-types différents d'une coordonnée à l'autre."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.5], [0.0, 0.0, 0.5]])
    return torch.randn(count, 3, generator=draw) @ mixing + torch.tensor([1.0, -2.0, 0.5])


def distance_to_itself_is_zero(answer: Callable) -> None:
    a = cloud(200)
    expect_close(answer(a, a.clone()), 0.0, "Distance d'un nuage (200, 3) à lui-même", 1e-4)


def shift_costs_its_squared_length(answer: Callable) -> None:
    a = cloud(200)
    got = answer(a, a + torch.tensor([3.0, 0.0, -4.0]))
    expect_close(got, 25.0, "Nuage décalé de δ = (3, 0, -4) : il faut ‖δ‖²", 1e-3)


def spread_costs_the_gap_of_deviations(answer: Callable) -> None:
    a = cloud(2_000)
    mean, std = a.mean(0), a.std(0)
    factors = torch.tensor([3.0, 1.0, 0.5])
    expected = ((factors - 1) * std).square().sum()
    got = answer(a, mean + (a - mean) * factors)
    expect_close(got, expected, "Nuage étalé de (3 ; 1 ; 0,5) autour de sa moyenne : Σ (σ_a - σ_b)²", 1e-2)


def clouds_may_differ_in_size(answer: Callable) -> None:
    a, b = cloud(300), cloud(500, seed=1) + 5
    expected = (a.mean(0) - b.mean(0)).square().sum() + (a.std(0) - b.std(0)).square().sum()
    expect_close(answer(a, b), expected, "Nuages de 300 et de 500 points", 1e-2)


def correlations_are_ignored(answer: Callable) -> None:
    a = cloud(400)
    b = torch.stack([column[torch.randperm(400)] for column in a.T], dim=1)
    expect_close(answer(a, b), 0.0, "Même nuage, chaque coordonnée rebattue séparément", 1e-3)


CONTENT = torch.linspace(0, 70, 2 * 3 * 16 * 16).sin().view(2, 3, 16, 16) * 0.5 + 0.2


def style_images() -> Tensor:
    """Deux images (2, 3, 12, 20), dont chaque carte a sa propre moyenne et son propre écart-type."""
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 3, 12, 20, generator=draw)
    scale, shift = torch.arange(1.0, 7).view(2, 3, 1, 1), torch.arange(-3.0, 3).view(2, 3, 1, 1)
    return noise * scale + shift


def transferred(answer: Callable, content: Tensor = CONTENT) -> Tensor:
    """La réponse de l'étudiant, après vérification de sa forme, qui est celle du contenu."""
    got = answer(content.clone(), style_images())
    expect_shape(got, tuple(content.shape), "Contenu (2, 3, 16, 16), style (2, 3, 12, 20)")
    return got


def transfer_takes_the_mean(answer: Callable) -> None:
    expected = style_images().mean((2, 3))
    expect_close(transferred(answer).mean((2, 3)), expected, "Moyenne de chaque carte de chaque image", 1e-2)


def transfer_takes_the_deviation(answer: Callable) -> None:
    expected = style_images().std((2, 3))
    expect_close(
        transferred(answer).std((2, 3)), expected, "Écart-type de chaque carte de chaque image", 1e-2
    )


def transfer_erases_the_lighting(answer: Callable) -> None:
    # Chaque carte est éclairée à sa façon : seule une normalisation carte par carte l'efface.
    gain, offset = torch.arange(1.0, 7).view(2, 3, 1, 1), torch.arange(6.0).view(2, 3, 1, 1)
    before, after = transferred(answer), transferred(answer, gain * CONTENT + offset)
    expect_close(after, before, "Contenu × (1 à 6) + (0 à 5), comparé au contenu", 1e-2)


def transfer_keeps_the_drawing(answer: Callable) -> None:
    def drawing(x: Tensor) -> Tensor:
        return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)

    expect_close(
        drawing(transferred(answer)), drawing(CONTENT), "Carte centrée et réduite, avant et après", 1e-2
    )


def transfer_survives_a_flat_map(answer: Callable) -> None:
    got = transferred(answer, torch.full((2, 3, 16, 16), 0.5))
    if not got.isfinite().all():
        raise Broken("Contenu constant, d'écart-type 0 : le résultat contient nan ou inf.")


EXERCISES: dict[str, Exercise] = {
    "frechet_diagonal": Exercise(
        "frechet_diagonal",
        (
            Property(
                "d'un nuage à lui-même, la distance est 0",
                distance_to_itself_is_zero,
                "un générateur parfait n'aurait pas la meilleure note.",
            ),
            Property(
                "décaler un nuage de δ coûte ‖δ‖²",
                shift_costs_its_squared_length,
                "le résultat ne se comparerait à aucun FID.",
            ),
            Property(
                "étaler un nuage coûte le carré de l'écart des écarts-types",
                spread_costs_the_gap_of_deviations,
                "un générateur trop peu varié n'aurait pas la note qu'il mérite.",
            ),
            Property(
                "les deux nuages peuvent avoir des tailles différentes",
                clouds_may_differ_in_size,
                "on ne pourrait pas comparer 10 000 vraies images à 5 000 fausses.",
            ),
            Property(
                "les corrélations sont ignorées : à mêmes moyennes et écarts-types, 0",
                correlations_are_ignored,
                "ce ne serait pas la distance demandée, qui se calcule coordonnée par coordonnée.",
            ),
        ),
        (
            "Moyenne et écart-type se prennent sur les images (dim=0), la somme sur les coordonnées.",
            "Il y a deux termes : l'écart des moyennes au carré, et l'écart des écarts-types (pas des variances) au "
            "carré.",
            "return (a.mean(0) - b.mean(0)).square().sum() + (a.std(0) - b.std(0)).square().sum().",
        ),
    ),
    "adain_transfer": Exercise(
        "adain_transfer",
        (
            Property(
                "le résultat a la forme du contenu, quelle que soit celle du style",
                transferred,
                "le style ne donne que deux nombres par carte : il n'a pas à avoir la même taille.",
            ),
            Property(
                "chaque carte prend la moyenne de celle du style",
                transfer_takes_the_mean,
                "la teinte du style ne passerait pas telle quelle.",
            ),
            Property(
                "chaque carte prend l'écart-type de celle du style",
                transfer_takes_the_deviation,
                "le contraste du style ne passerait pas tel quel.",
            ),
            Property(
                "l'éclairage du contenu n'a plus d'effet",
                transfer_erases_the_lighting,
                "une couche hériterait du style des couches précédentes : les styles ne seraient plus séparables.",
            ),
            Property(
                "le dessin du contenu est conservé",
                transfer_keeps_the_drawing,
                "AdaIN ne doit changer que deux nombres par carte : ici, le dessin change.",
            ),
            Property(
                "une carte constante ne donne pas nan",
                transfer_survives_a_flat_map,
                "au premier neurone éteint, toutes les images deviennent nan.",
            ),
        ),
        (
            "Centrez et réduisez chaque carte du contenu, puis donnez-lui l'écart-type et la moyenne du style.",
            "x.mean((2, 3), keepdim=True) rend (B, C, 1, 1), qui se soustrait à x ; ajoutez un petit nombre au "
            "dénominateur.",
            "m, s = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True) pour le contenu, de même pour le "
            "style, puis (content - m) / (s + 1e-5) * s_style + m_style.",
        ),
        points=2,
    ),
} | chapter05_styles.EXERCISES
