"""Chapitre 06 : revenir aux pixels (`denormalise`), compter les tailles des couches (`layer_sizes`)."""

import operator
from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.report import Broken, Exercise, Property, expect_close, expect_shape, number, show

# --- denormalise(images) : float32 de [-1, 1] → uint8 de 0 à 255 -----------------------------------------------


def pixels_of(answer: Callable, images: Tensor) -> Tensor:
    """La réponse de l'étudiant, après vérification de sa forme et de son type."""
    got = answer(images.clone())
    expect_shape(got, tuple(images.shape), f"Images de forme {tuple(images.shape)}")
    if got.dtype != torch.uint8:
        raise Broken(f"Type obtenu : {got.dtype} ; attendu : torch.uint8.")
    return got.float()


def ends_become_black_and_white(answer: Callable) -> None:
    got = pixels_of(answer, torch.tensor([[[[-1.0, 1.0]]]]))
    expect_close(got, [[[[0.0, 255.0]]]], "Un pixel à -1 et un pixel à 1", 1e-6)


def every_grey_comes_back(answer: Callable) -> None:
    greys = torch.arange(256.0).view(1, 1, 16, 16)
    got = pixels_of(answer, greys / 127.5 - 1)
    wrong = (got != greys).nonzero()
    if len(wrong):
        i = tuple(wrong[0].tolist())
        raise Broken(
            f"{len(wrong)} gris sur 256 ne reviennent pas : {greys[i]:g} est devenu {got[i]:g} après l'aller et le "
            "retour."
        )


def small_noise_is_rounded_away(answer: Callable) -> None:
    greys = torch.tensor([3.0, 100.0, 200.0, 252.0]).view(1, 1, 2, 2)
    for noise in (-0.4, 0.4):
        got = pixels_of(answer, (greys + noise) / 127.5 - 1)
        moved = f"{'diminué' if noise < 0 else 'augmenté'} de {number(abs(noise))} niveau de gris"
        expect_close(got, greys, f"Gris 3, 100, 200 et 252, chacun {moved}", 1e-6)


def overflow_saturates(answer: Callable) -> None:
    got = pixels_of(answer, torch.tensor([[[[-1.02, -3.0], [1.02, 3.0]]]]))
    expect_close(got, [[[[0.0, 0.0], [255.0, 255.0]]]], "Pixels à -1,02 ; -3 ; 1,02 et 3", 1e-6)


def images_are_left_intact(answer: Callable) -> None:
    given = torch.linspace(-1.5, 1.5, 12).view(1, 3, 2, 2)
    kept = given.clone()
    pixels = answer(given)
    expect_shape(pixels, (1, 3, 2, 2), "Une image de forme (1, 3, 2, 2)")
    if not torch.equal(given, kept):
        raise Broken(f"Les images reçues ont changé : {show(kept)} est devenu {show(given)}.")


# --- layer_sizes(side, layers) : ("conv" ou "transposed", k, s, p) -------------------------------------------


def sides_agree(answer: Callable, *cases: tuple[int, list[tuple], list[int]]) -> None:
    """Lève Broken au premier (côté, couches, attendu) dont la réponse diffère."""
    for side, layers, expected in cases:
        got, what = answer(side, list(layers)), f"côté {side}, couches {layers}"
        if isinstance(got, Tensor):
            got = got.tolist()
        if not isinstance(got, (list, tuple)):
            raise Broken(f"{what} : il faut une liste d'entiers, un par couche, reçu {type(got).__name__}.")
        try:
            got = [operator.index(size) for size in got]
        except TypeError:
            raise Broken(f"{what} : il faut des entiers (int), reçu {got!r}.") from None
        if got != expected:
            raise Broken(f"{what} : obtenu {got}, attendu {expected}.")


def convolutions_shrink(answer: Callable) -> None:
    sides_agree(
        answer,
        (28, [("conv", 5, 1, 0)], [24]),
        (64, [("conv", 4, 2, 1)], [32]),
        (9, [("conv", 3, 1, 1)], [9]),
    )


def incomplete_steps_are_dropped(answer: Callable) -> None:
    sides_agree(
        answer, (7, [("conv", 3, 2, 1)], [4]), (8, [("conv", 3, 2, 1)], [4]), (10, [("conv", 5, 3, 0)], [2])
    )


def transposed_convolutions_grow(answer: Callable) -> None:
    cases = (
        (1, [("transposed", 4, 1, 0)], [4]),
        (7, [("transposed", 4, 2, 1)], [14]),
        (5, [("transposed", 3, 3, 0)], [15]),
    )
    sides_agree(answer, *cases)


def sizes_follow_the_chain(answer: Callable) -> None:
    halve, double = ("conv", 4, 2, 1), ("transposed", 4, 2, 1)
    sides_agree(answer, (64, [halve] * 4 + [("conv", 4, 1, 0)], [32, 16, 8, 4, 1]), (20, [], []))
    sides_agree(answer, (28, [("conv", 3, 2, 1), ("conv", 3, 2, 1), double, double], [14, 7, 14, 28]))
    sides_agree(answer, (9, [("conv", 3, 2, 1), ("transposed", 3, 2, 1)], [5, 9]))


EXERCISES: dict[str, Exercise] = {
    "denormalise": Exercise(
        "denormalise",
        (
            Property(
                "-1 devient 0 et 1 devient 255, en uint8 et dans la même forme",
                ends_become_black_and_white,
                "les images enregistrées n'ont pas le contraste de celles que G a dessinées.",
            ),
            Property(
                "l'aller et le retour rendent les 256 gris exactement",
                every_grey_comes_back,
                "même les vraies images changent au passage : toute distance entre vrais et faux en est faussée.",
            ),
            Property(
                "on arrondit au gris le plus proche",
                small_noise_is_rounded_away,
                "les images générées seraient décalées d'un peu moins d'un gris : un FID le voit, vous non.",
            ),
            Property(
                "ce qui dépasse est ramené à 0 ou à 255",
                overflow_saturates,
                "un pixel un peu trop clair ou trop sombre prendrait un gris sans rapport.",
            ),
            Property(
                "les images reçues restent intactes",
                images_are_left_intact,
                "D jugerait ensuite des images que l'affichage a modifiées.",
            ),
        ),
        (
            "L'aller était x / 127,5 - 1. Défaites-le, arrondissez, bornez, et seulement alors changez de type.",
            "Les méthodes .round() et .clamp(0, 255) s'enchaînent ; .to(torch.uint8) vient en dernier.",
            "return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)",
        ),
        points=1,
    ),
    "layer_sizes": Exercise(
        "layer_sizes",
        (
            Property(
                "une convolution : (n + 2p - k) / s + 1",
                convolutions_shrink,
                "la dernière couche de D n'a pas la taille attendue, et le réseau refuse les images.",
            ),
            Property(
                "un dernier pas incomplet ne compte pas",
                incomplete_steps_are_dropped,
                "la taille annoncée serait fausse dès que le pas ne tombe pas juste.",
            ),
            Property(
                "une convolution transposée : (n - 1) s - 2p + k",
                transposed_convolutions_grow,
                "les images de G n'ont pas la taille des vraies : D les refuse.",
            ),
            Property(
                "chaque couche part de la taille rendue par la précédente",
                sizes_follow_the_chain,
                "la taille annoncée n'est pas celle du réseau entier.",
            ),
        ),
        (
            "Une boucle : n devient la taille de sortie, que vous ajoutez à une liste.",
            "La division entière de Python, //, laisse de côté le dernier pas incomplet.",
            'si kind == "conv" : n = (n + 2 * p - k) // s + 1 ; sinon : n = (n - 1) * s - 2 * p + k. '
            "Ajoutez n à la liste, et rendez la liste après la boucle.",
        ),
        points=1,
    ),
}
