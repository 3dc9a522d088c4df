"""Exercices du chapitre 03 sur l'obéissance : interroger un générateur classe par classe, et mesurer s'il obéit."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.report import (
    Broken,
    Exercise,
    Property,
    expect_close,
    expect_fresh,
    expect_shape,
    kind_of,
    show,
    values_of,
)


def asked_grid(answer: Callable, classes: int, columns: int, latent_dim: int) -> tuple[Tensor, Tensor]:
    """La réponse de l'étudiant, après vérification de ce qu'elle est : deux tenseurs de la bonne forme."""
    got = answer(classes, columns, latent_dim)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Broken(f"Il faut rendre deux tenseurs, z puis y ; reçu {kind_of(got)}.")
    z, y = got
    expect_shape(z, (classes * columns, latent_dim), f"z pour {classes} classes et {columns} colonnes")
    expect_shape(y, (classes * columns,), f"y pour {classes} classes et {columns} colonnes")
    return z, y


def grid_is_ready_for_the_generator(answer: Callable) -> None:
    z, y = asked_grid(answer, 3, 4, 6)
    if y.dtype != torch.int64:
        raise Broken(f"y est de type {y.dtype} ; une étiquette est un torch.int64.")
    if not z.is_floating_point():
        raise Broken(f"z est de type {z.dtype} ; il faut des réels.")


def grid_rows_are_classes(answer: Callable) -> None:
    for classes, columns in ((3, 4), (5, 2)):
        _, y = asked_grid(answer, classes, columns, 6)
        expected = torch.arange(classes)[:, None].expand(classes, columns)
        expect_close(y.reshape(classes, columns), expected, f"y, mis en {classes} lignes de {columns}")


def grid_columns_share_z(answer: Callable) -> None:
    z, _ = asked_grid(answer, 3, 4, 6)
    rows = z.reshape(3, 4, 6)
    expect_close(rows, rows[:1].expand(3, 4, 6), "Les z des lignes 0, 1, 2 comparés à ceux de la ligne 0")


def grid_columns_differ(answer: Callable) -> None:
    z, _ = asked_grid(answer, 2, 500, 8)
    expect_fresh(z, asked_grid(answer, 2, 500, 8)[0], "Deux grilles de suite")
    first = z[:500]
    if torch.pdist(first[:50]).min() < 1e-3:
        raise Broken("Deux colonnes ont le même z.")
    expect_close(first.mean(), 0.0, "Moyenne de 4 000 coordonnées de z", 0.1)
    expect_close(first.std(), 1.0, "Écart-type de 4 000 coordonnées de z", 0.1)


PREDICTED = torch.tensor([0, 0, 1, 1, 1, 2, 0, 2])
ASKED = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def accuracy_is_one_when_all_is_right(answer: Callable) -> None:
    expect_close(answer(ASKED.clone(), ASKED.clone(), 3), torch.ones(3), "Tout lu comme demandé, 3 classes")


def accuracy_is_per_asked_class(answer: Callable) -> None:
    got = answer(PREDICTED.clone(), ASKED.clone(), 3)
    expect_close(
        got, torch.tensor([2 / 3, 1.0, 2 / 3]), "lu = [0 0 1 1 1 2 0 2], demandé = [0 0 0 1 1 2 2 2]", 1e-3
    )


def accuracy_ignores_the_order(answer: Callable) -> None:
    order = torch.tensor([5, 0, 7, 3, 1, 6, 2, 4])
    sorted_by_class = answer(PREDICTED.clone(), ASKED.clone(), 3)
    sorted_by_class = values_of(sorted_by_class, "Huit exemples rangés par classe", (3,))
    got = answer(PREDICTED[order], ASKED[order], 3)
    expect_close(got, sorted_by_class, "Les huit mêmes exemples, rangés puis mélangés", 1e-3)


def accuracy_of_an_unasked_class_is_unknown(answer: Callable) -> None:
    got = answer(torch.tensor([0, 3, 0]), torch.tensor([0, 3, 3]), 4)
    got = values_of(got, "4 classes dont deux, 1 et 2, jamais demandées", (4,))
    expect_close(got[[0, 3]], torch.tensor([1.0, 0.5]), "Classes 0 et 3, demandées")
    if not got[[1, 2]].isnan().all():
        raise Broken(f"Classes 1 et 2, jamais demandées : obtenu {show(got[[1, 2]])}, attendu nan.")


EXERCISES: dict[str, Exercise] = {
    "class_grid_inputs": Exercise(
        "class_grid_inputs",
        (
            Property(
                "z est réel, (K × colonnes, latent_dim) ; y est entier, (K × colonnes,)",
                grid_is_ready_for_the_generator,
                "le générateur refuse ses entrées.",
            ),
            Property(
                "une ligne de la grille est une classe : 0 partout, puis 1 partout…",
                grid_rows_are_classes,
                "la grille ne montrerait plus si G obéit.",
            ),
            Property(
                "dans une colonne, toutes les classes partagent le même z",
                grid_columns_share_z,
                "on ne sait plus si une différence entre deux lignes vient de y ou de z.",
            ),
            Property(
                "les colonnes ont des z différents, tirés de N(0, I)",
                grid_columns_differ,
                "la grille ne montrerait pas la diversité de G, sur des z de la loi apprise.",
            ),
        ),
        (
            "Tirez d'abord un z par colonne ; il reste à répéter, et z et y ne se répètent pas de la même façon.",
            "[a, b, a, b] s'obtient par z.repeat(2, 1) ; [0, 0, 1, 1], par torch.arange(2).repeat_interleave(2).",
            "z = torch.randn(columns, latent_dim), puis "
            "return z.repeat(num_classes, 1), torch.arange(num_classes).repeat_interleave(columns).",
        ),
    ),
    "conditional_accuracy": Exercise(
        "conditional_accuracy",
        (
            Property(
                "tout lu comme demandé : 1 pour chaque classe",
                accuracy_is_one_when_all_is_right,
                "la mesure ne peut pas atteindre sa plus grande valeur : plus rien ne se compare.",
            ),
            Property(
                "la moyenne se fait parmi les images demandées dans chaque classe",
                accuracy_is_per_asked_class,
                "ce ne serait plus la part des images d'une classe que l'on reconnaît pour telles.",
            ),
            Property(
                "l'ordre des images ne compte pas",
                accuracy_ignores_the_order,
                "le résultat dépendrait de la façon dont les images ont été tirées.",
            ),
            Property(
                "une classe jamais demandée vaut nan, ni 0 ni 1",
                accuracy_of_an_unasked_class_is_unknown,
                "0 accuserait G d'une faute, et 1 l'en féliciterait, sans l'avoir interrogé.",
            ),
        ),
        (
            "Pour une classe k, gardez les images où asked == k, et moyennez predicted == asked.",
            "La moyenne d'un tenseur vide vaut nan en PyTorch : le cas de la classe jamais demandée vient seul.",
            "right = (predicted == asked).float(), puis "
            "torch.stack([right[asked == k].mean() for k in range(num_classes)]).",
        ),
        points=2,
    ),
}
