"""Exercices du chapitre 05 sur les styles de Mini-StyleGAN : les tronquer, les mélanger."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.report import Exercise, Property, expect_close, expect_shape

STYLES = torch.arange(2 * 4 * 3, dtype=torch.float32).view(2, 4, 3) / 10
MEAN = torch.tensor([1.0, -1.0, 0.5])


def truncated(answer: Callable, psi: float, layers: int) -> Tensor:
    got = answer(STYLES.clone(), MEAN.clone(), psi, layers)
    expect_shape(got, (2, 4, 3), "styles de forme (2, 4, 3)")
    return got


def full_psi_changes_nothing(answer: Callable) -> None:
    expect_close(truncated(answer, 1.0, 4), STYLES, "psi = 1 sur les quatre couches")


def zero_psi_gives_the_mean(answer: Callable) -> None:
    expect_close(truncated(answer, 0.0, 4), MEAN.expand(2, 4, 3), "psi = 0 sur les quatre couches")


def psi_is_a_fraction_of_the_way(answer: Callable) -> None:
    expected = MEAN + 0.25 * (STYLES - MEAN)
    expect_close(truncated(answer, 0.25, 4), expected, "psi = 0,25 sur les quatre couches")


def fine_layers_are_spared(answer: Callable) -> None:
    got = truncated(answer, 0.0, 1)
    expect_close(got[:, 1:], STYLES[:, 1:], "psi = 0, layers = 1 : couches 1, 2 et 3")
    expect_close(got[:, 0], MEAN.expand(2, 3), "psi = 0, layers = 1 : couche 0")


def styles_are_not_modified(answer: Callable) -> None:
    given = STYLES.clone()
    answer(given, MEAN.clone(), 0.5, 2)
    expect_close(given, STYLES, "Les styles donnés, après l'appel")


def grid_of(answer: Callable, crossover: int) -> tuple[Tensor, Tensor, Tensor]:
    """La réponse, remise en (3 lignes, 2 colonnes, 5 couches, 4), et les styles qui y ont conduit."""
    rows, columns = torch.arange(60.0).view(3, 5, 4), -torch.arange(1.0, 41).view(2, 5, 4)
    got = answer(rows, columns, crossover)
    expect_shape(got, (6, 5, 4), "3 lignes et 2 colonnes, 5 couches de 4 nombres")
    return got.reshape(3, 2, 5, 4), rows[:, None].expand(3, 2, 5, 4), columns[None].expand(3, 2, 5, 4)


def first_layers_follow_the_row(answer: Callable) -> None:
    got, rows, _ = grid_of(answer, 2)
    expect_close(got[:, :, :2], rows[:, :, :2], "crossover = 2 : couches 0 et 1")


def last_layers_follow_the_column(answer: Callable) -> None:
    got, _, columns = grid_of(answer, 2)
    expect_close(got[:, :, 2:], columns[:, :, 2:], "crossover = 2 : couches 2, 3 et 4")


def extremes_copy_one_parent(answer: Callable) -> None:
    got, _, columns = grid_of(answer, 0)
    expect_close(got, columns, "crossover = 0")
    got, rows, _ = grid_of(answer, 5)
    expect_close(got, rows, "crossover = 5, le nombre de couches")


EXERCISES: dict[str, Exercise] = {
    "truncate_styles": Exercise(
        "truncate_styles",
        (
            Property(
                "psi = 1 ne change rien", full_psi_changes_nothing, "toutes les images seraient déformées."
            ),
            Property(
                "psi = 0 donne le style moyen",
                zero_psi_gives_the_mean,
                "la troncature ne mènerait plus à l'image moyenne, celle que G réussit le mieux.",
            ),
            Property(
                "entre les deux, psi est la fraction du chemin gardée",
                psi_is_a_fraction_of_the_way,
                "la courbe précision-rappel ne serait pas parcourue comme psi l'annonce.",
            ),
            Property(
                "seules les `layers` premières couches sont tronquées",
                fine_layers_are_spared,
                "on ne pourrait pas assagir la pose en laissant les couleurs libres.",
            ),
            Property(
                "les styles donnés ne sont pas modifiés",
                styles_are_not_modified,
                "la deuxième image d'une série serait tronquée deux fois.",
            ),
        ),
        (
            "La formule est w̄ + ψ (w - w̄), appliquée à une partie des couches seulement.",
            "styles[:, :layers] désigne les premières couches. Travaillez sur une copie, ou recollez par torch.cat.",
            "out = styles.clone(), out[:, :layers] = mean + psi * (styles[:, :layers] - mean), return out.",
        ),
        points=2,
    ),
    "style_grid": Exercise(
        "style_grid",
        (
            Property(
                "il y a un style par couple : (R × C, L, D)",
                lambda answer: grid_of(answer, crossover=2),
                "la grille n'a pas toutes ses cases, et l'affichage décale les lignes.",
            ),
            Property(
                "les premières couches viennent de la ligne",
                first_layers_follow_the_row,
                "la pose et la forme ne seraient plus les mêmes le long d'une ligne : la figure ne montre rien.",
            ),
            Property(
                "les dernières couches viennent de la colonne",
                last_layers_follow_the_column,
                "les couleurs ne seraient plus les mêmes le long d'une colonne.",
            ),
            Property(
                "aux deux extrêmes, on retrouve l'un des deux parents",
                extremes_copy_one_parent,
                "aucune coupure ne redonnerait les images de départ.",
            ),
        ),
        (
            "Dans l'ordre de lecture, la ligne change lentement et la colonne vite.",
            "rows.repeat_interleave(C, 0) donne AAA BBB ; columns.repeat(R, 1, 1) donne XYZ XYZ.",
            "coarse, fine = rows.repeat_interleave(len(columns), 0), columns.repeat(len(rows), 1, 1), puis "
            "torch.cat([coarse[:, :crossover], fine[:, crossover:]], dim=1).",
        ),
        points=2,
    ),
}
