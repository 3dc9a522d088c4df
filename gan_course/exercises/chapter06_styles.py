"""Chapitre 06 : donner un style à des cartes (`adain`), tirer des z raisonnables (`truncated_latents`)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.expect import Broken, expect_close, expect_fresh, expect_shape, number
from gan_course.exercises.report import Exercise, Property

# --- adain(maps, scale, shift) -------------------------------------------------------------------------------

MAPS = torch.linspace(0, 9, 2 * 3 * 12 * 16).sin().view(2, 3, 12, 16) * 0.5 + 0.2
SCALE = torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.5, 0.7]])
SHIFT = torch.tensor([[0.0, -1.0, 2.0], [4.0, 0.5, -3.0]])


def styled(answer: Callable, maps: Tensor = MAPS, scale: Tensor = SCALE, shift: Tensor = SHIFT) -> Tensor:
    """La réponse de l'étudiant, après vérification de sa forme."""
    got = answer(maps.clone(), scale.clone(), shift.clone())
    expect_shape(got, tuple(maps.shape), f"Cartes de forme {tuple(maps.shape)}, échelle et décalage (2, 3)")
    return got


def shift_is_the_mean(answer: Callable) -> None:
    expect_close(styled(answer).mean((2, 3)), SHIFT, "Moyenne de chaque carte de chaque image", 1e-2)


def scale_is_the_deviation(answer: Callable) -> None:
    expect_close(styled(answer).std((2, 3)), SCALE, "Écart-type de chaque carte de chaque image", 1e-2)


def old_style_is_erased(answer: Callable) -> None:
    # Chaque carte est éclairée à sa façon : seule une normalisation carte par carte l'efface.
    gain, offset = torch.arange(1.0, 7).view(2, 3, 1, 1), torch.arange(6.0).view(2, 3, 1, 1)
    before, after = styled(answer), styled(answer, gain * MAPS + offset)
    expect_close(after, before, "Cartes × (1 à 6) + (0 à 5), comparées aux cartes", 1e-2)


def drawing_is_kept(answer: Callable) -> None:
    reduced = (MAPS - MAPS.mean((2, 3), keepdim=True)) / MAPS.std((2, 3), keepdim=True)
    expected = -2 * reduced + 1
    got = styled(answer, scale=torch.full((2, 3), -2.0), shift=torch.ones(2, 3))
    expect_close(got, expected, "Échelle -2 et décalage 1 : -2 × carte réduite + 1", 2e-2)


def flat_map_gives_the_shift(answer: Callable) -> None:
    got = styled(answer, torch.full((2, 3, 12, 16), 0.5))
    if not got.isfinite().all():
        raise Broken("Cartes constantes, d'écart-type 0 : le résultat contient nan ou inf.")
    expect_close(got.mean((2, 3)), SHIFT, "Cartes constantes : il ne reste que le décalage", 1e-2)


def style_learns(answer: Callable) -> None:
    scale, shift = SCALE.clone().requires_grad_(), SHIFT.clone().requires_grad_()
    got = styled(answer, scale=scale, shift=shift)
    if not got.requires_grad:
        raise Broken(
            "Le résultat ne dépend plus du style pour PyTorch : le réseau de style n'apprendrait rien."
        )
    _, slope = torch.autograd.grad(got.sum(), (scale, shift), allow_unused=True)
    if slope is None:
        raise Broken("Le résultat ne dépend pas du décalage.")
    expect_close(
        slope, torch.full((2, 3), 12.0 * 16), "Pente de la somme du résultat par rapport au décalage", 1e-3
    )


# --- truncated_latents(count, latent_dim, threshold) ---------------------------------------------------------


def drawn(answer: Callable, count: int, latent_dim: int, threshold: float) -> Tensor:
    got = answer(count, latent_dim, threshold)
    expect_shape(got, (count, latent_dim), f"count = {count}, latent_dim = {latent_dim}")
    if got.dtype != torch.float32:
        raise Broken(f"Type obtenu : {got.dtype} ; attendu : torch.float32.")
    return got


def latents_have_the_right_shape(answer: Callable) -> None:
    for count, latent_dim in ((7, 3), (1, 64), (300, 2)):
        drawn(answer, count, latent_dim, 1.0)


def nothing_beyond_the_threshold(answer: Callable) -> None:
    for count, latent_dim, threshold in ((500, 20, 1.0), (500, 20, 0.5), (3, 64, 0.05)):
        largest = drawn(answer, count, latent_dim, threshold).abs().max().item()
        if not largest <= threshold + 1e-6:
            raise Broken(
                f"threshold = {number(threshold)} : une coordonnée vaut {number(largest)} en valeur absolue."
            )


def nothing_piles_up_at_the_edge(answer: Callable) -> None:
    z = drawn(answer, 500, 20, 1.0)
    share = (z.abs() > 0.999).float().mean().item()
    if share > 0.01:
        raise Broken(
            f"threshold = 1 : {100 * share:.0f} % des coordonnées sont au bord ou au-delà de ±1 ; "
            "il en faut presque 0 %."
        )


def inside_the_law_is_normal(answer: Callable) -> None:
    for threshold in (0.5, 1.0, 2.0, 6.0):
        z = drawn(answer, 1_500, 20, threshold)
        density = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
        expected = math.sqrt(1 - 2 * threshold * density / math.erf(threshold / math.sqrt(2)))
        what = f"threshold = {number(threshold)}, sur 30 000 coordonnées"
        expect_close(z.mean(), 0.0, f"{what} : moyenne", 0.03)
        expect_close(z.std(), expected, f"{what} : écart-type", 0.015)


def coordinates_are_independent(answer: Callable) -> None:
    z = drawn(answer, 3_000, 6, 1.0)
    expect_fresh(z, drawn(answer, 3_000, 6, 1.0), "Deux tirages de suite")
    if (z == z[0]).all():
        raise Broken("Les 3 000 z sont tous égaux : ils n'ont pas été tirés séparément.")
    correlation = torch.corrcoef(z.T) - torch.eye(6)
    squares = torch.corrcoef(z.square().T) - torch.eye(6)
    expect_close(correlation.abs().max(), 0.0, "Plus forte corrélation entre deux coordonnées", 0.09)
    expect_close(
        squares.abs().max(), 0.0, "Plus forte corrélation entre les carrés de deux coordonnées", 0.09
    )


EXERCISES: dict[str, Exercise] = {
    "adain": Exercise(
        "adain",
        (
            Property(
                "chaque carte a pour moyenne le décalage de son style",
                shift_is_the_mean,
                "le style ne déplace plus les cartes : la teinte demandée n'arrive pas dans l'image.",
            ),
            Property(
                "chaque carte a pour écart-type l'échelle de son style",
                scale_is_the_deviation,
                "le contraste demandé n'arriverait pas dans l'image.",
            ),
            Property(
                "le style des couches d'avant est effacé, carte par carte",
                old_style_is_erased,
                "les styles ne seraient plus séparables : le mélange de styles ne mélangerait rien.",
            ),
            Property(
                "le résultat est échelle × carte réduite + décalage, signe compris",
                drawing_is_kept,
                "AdaIN ne doit changer que deux nombres par carte : ici, le dessin change.",
            ),
            Property(
                "une carte constante donne son décalage, sans nan",
                flat_map_gives_the_shift,
                "au premier neurone éteint, toutes les images deviennent nan.",
            ),
            Property(
                "le gradient remonte au style",
                style_learns,
                "le réseau de style resterait comme au premier jour.",
            ),
        ),
        (
            "Centrez et réduisez chaque carte, sur ses deux dernières dimensions ; puis multipliez, puis ajoutez.",
            "maps.mean((2, 3), keepdim=True) est (B, C, 1, 1) ; scale[:, :, None, None] aussi. Un petit nombre au "
            "dénominateur évite 0 / 0.",
            "normed = (maps - maps.mean((2, 3), keepdim=True)) / (maps.std((2, 3), keepdim=True) + 1e-5) ; "
            "return scale[:, :, None, None] * normed + shift[:, :, None, None].",
        ),
        points=2,
    ),
    "truncated_latents": Exercise(
        "truncated_latents",
        (
            Property(
                "z est de forme (count, latent_dim), en float32",
                latents_have_the_right_shape,
                "le générateur refuse son entrée.",
            ),
            Property(
                "aucune coordonnée ne dépasse le seuil, même petit",
                nothing_beyond_the_threshold,
                "les z rares que l'on voulait écarter reviennent, avec les images ratées.",
            ),
            Property(
                "ce qui dépassait est tiré de nouveau, et non écrêté",
                nothing_piles_up_at_the_edge,
                "des z s'entasseraient sur les bords du cube : des points que G n'a presque jamais vus.",
            ),
            Property(
                "à l'intérieur du seuil, la loi reste la gaussienne",
                inside_the_law_is_normal,
                "la loi ne serait plus celle que G a apprise, ni la diversité celle que le seuil annonce.",
            ),
            Property(
                "les coordonnées sont tirées séparément les unes des autres",
                coordinates_are_independent,
                "la diversité des images baisserait sans que G y soit pour rien.",
            ),
        ),
        (
            "Tirez tout, puis remplacez ce qui dépasse, sans toucher au reste. Une seule fois suffit-elle ?",
            "too_big = z.abs() > threshold est un masque ; z[too_big] = torch.randn(int(too_big.sum())) ne remplace "
            "qu'elles. Retirer un vecteur entier ne finirait jamais : presque aucun n'a toutes ses coordonnées "
            "petites.",
            "z = torch.randn(count, latent_dim) ; while (too_big := z.abs() > threshold).any(): "
            "z[too_big] = torch.randn(int(too_big.sum())) ; return z.",
        ),
        points=2,
    ),
}
