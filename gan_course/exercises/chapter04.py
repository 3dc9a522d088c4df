"""Exercices du chapitre 04 : la distance du terrassier, la perte du critique, la pente d'un réseau.

Le quatrième exercice du chapitre, `gradient_penalty`, est dans shared.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises import shared
from gan_course.exercises.expect import Broken, expect_close, expect_gradient, expect_shape, number, values_of
from gan_course.exercises.report import Exercise, Property

# --- emd_1d(p, q, positions) ---------------------------------------------------------------------------------

PLACES = torch.tensor([0.0, 1.0, 4.0, 4.5, 7.0])  # écarts inégaux : rien ne doit supposer un pas de 1


def reference_emd(p: Tensor, q: Tensor, positions: Tensor) -> float:
    """Transport de gauche à droite, pelletée par pelletée : sans fonctions de répartition."""
    left, right = p.double().tolist(), q.double().tolist()
    i = j = 0
    cost = 0.0
    while i < len(left) and j < len(right):
        moved = min(left[i], right[j])
        cost += moved * abs(float(positions[i]) - float(positions[j]))
        left[i] -= moved
        right[j] -= moved
        # Chaque tour vide exactement un tas : celui dont le reste est le plus petit.
        if left[i] <= right[j]:
            i += 1
        else:
            j += 1
    return cost


def equal_laws_cost_nothing(emd: Callable) -> None:
    p = torch.tensor([0.1, 0.3, 0.2, 0.0, 0.4])
    expect_close(emd(p, p.clone(), PLACES.clone()), 0.0, "Deux lois égales")


def one_heap_costs_mass_times_distance(emd: Callable) -> None:
    p, q = torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([0.75, 0, 0, 0.25, 0])
    expect_close(
        emd(p.clone(), q.clone(), PLACES.clone()),
        0.25 * 4.5,
        "Un quart de la masse porté de 0 à 4,5 (positions 0 ; 1 ; 4 ; 4,5 ; 7)",
    )
    expect_close(emd(q, p, PLACES.clone()), 0.25 * 4.5, "Le même quart, ramené de 4,5 à 0")


def course_table(emd: Callable) -> None:
    p, q = torch.tensor([2.0, 0, 3, 1]) / 6, torch.tensor([0.0, 3, 1, 2]) / 6
    expect_close(emd(p, q, torch.arange(4.0)), 4 / 6, "Les tas du cours, (2, 0, 3, 1)/6 et (0, 3, 1, 2)/6")


def distance_has_the_unit_of_positions(emd: Callable) -> None:
    p, q = torch.softmax(torch.randn(5), 0), torch.softmax(torch.randn(5), 0)
    expected = reference_emd(p.clone(), q.clone(), PLACES.clone())
    expect_close(emd(p.clone(), q.clone(), PLACES.clone()), expected, "Cinq tas tirés au hasard", 1e-4)
    expect_close(
        emd(p.clone(), q.clone(), PLACES - 3),
        expected,
        "Les mêmes, toutes les positions décalées de -3",
        1e-4,
    )
    expect_close(emd(p, q, 10 * PLACES), 10 * expected, "Les mêmes, positions dix fois plus grandes", 1e-4)


# --- critic_loss(real_scores, fake_scores, slopes, weight=10.0) ----------------------------------------------

ONES = torch.ones(4)


def good_slopes_leave_the_gap(loss: Callable) -> None:
    real, fake = torch.tensor([3.0, 1.0, 2.0, 2.0]), torch.tensor([-1.0, 0.0, 0.0, -3.0])
    expect_close(
        loss(real.clone(), fake.clone(), ONES.clone()),
        -3.0,
        "Vrais notés 2 en moyenne, faux notés -1, pentes toutes égales à 1",
    )
    expect_close(loss(100 * real, 100 * fake, ONES.clone()), -300.0, "Les mêmes scores multipliés par 100")


def constants_do_not_matter(loss: Callable) -> None:
    real, fake, slopes = torch.randn(4), torch.randn(4), torch.rand(4)
    without = values_of(loss(real.clone(), fake.clone(), slopes.clone()), "Des scores tirés au hasard", ())
    expect_close(
        loss(real + 7, fake + 7, slopes), without, "La même perte, tous les scores augmentés de 7", 1e-4
    )


def slopes_away_from_one_cost(loss: Callable) -> None:
    zero = torch.zeros(4)
    for slope, cost in ((0.0, 10.0), (3.0, 40.0), (0.5, 2.5)):
        expect_close(
            loss(zero.clone(), zero.clone(), slope * ONES),
            cost,
            f"Scores nuls, toutes les pentes égales à {number(slope)}",
        )
    expect_close(loss(zero, zero, 3 * ONES, weight=0.1), 0.4, "Scores nuls, pentes égales à 3, weight = 0.1")


def each_slope_counts(loss: Callable) -> None:
    slopes = torch.tensor([0.0, 2.0, 0.0, 2.0])
    expect_close(loss(torch.zeros(4), torch.zeros(4), slopes), 10.0, "Scores nuls, pentes (0, 2, 0, 2)")


def the_loss_teaches(loss: Callable) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    slopes = torch.full((4,), 2.0, requires_grad=True)
    value = loss(real, fake, slopes)
    expect_gradient(value)
    expect_shape(value, (), "La perte")
    gradients = torch.autograd.grad(value, (real, fake, slopes), allow_unused=True)
    names = ("aux scores des vrais", "aux scores des faux", "aux pentes (toutes égales à 2)")
    for gradient, expected, name in zip(gradients, (-0.25, 0.25, 5.0), names):
        got = torch.zeros(4) if gradient is None else gradient
        expect_close(got, expected * ONES, f"Gradient par rapport {name}")


# --- lipschitz_bound(weights) --------------------------------------------------------------------------------


def one_layer_is_its_largest_stretch(bound: Callable) -> None:
    expect_close(
        bound([torch.diag(torch.tensor([0.5, -3.0, 2.0]))]), 3.0, "Une couche diagonale (0,5 ; -3 ; 2)", 1e-4
    )
    turn = torch.linalg.qr(torch.randn(6, 6)).Q
    expect_close(bound([turn]), 1.0, "Une rotation : elle n'étire rien", 1e-4)


def any_matrix_works(bound: Callable) -> None:
    weight = torch.randn(7, 3)
    expect_close(bound([weight]), torch.linalg.svdvals(weight)[0], "Une matrice (7, 3) tirée au hasard", 1e-3)
    expect_close(bound([weight.T]), torch.linalg.svdvals(weight)[0], "Sa transposée, (3, 7)", 1e-3)


def layers_multiply(bound: Callable) -> None:
    first, second = torch.diag(torch.tensor([2.0, 1.0])), torch.diag(torch.tensor([1.8, 3.0]))
    expect_close(bound([first, second]), 6.0, "Deux couches, diag(2 ; 1) puis diag(1,8 ; 3)", 1e-4)
    expect_close(bound([2 * torch.eye(3)] * 5), 32.0, "Cinq couches qui doublent", 1e-4)


def no_slope_goes_beyond(bound: Callable) -> None:
    weights = [torch.randn(16, 2), torch.randn(16, 16) / 4, torch.randn(1, 16)]
    limit = bound([weight.clone() for weight in weights])
    limit = values_of(limit, "Un perceptron à deux couches cachées, tiré au hasard", ()).item()
    x, y = torch.randn(2_000, 2), torch.randn(2_000, 2)

    def network(points: Tensor) -> Tensor:
        for weight in weights[:-1]:
            points = torch.relu(points @ weight.T)
        return points @ weights[-1].T

    steepest = ((network(x) - network(y)).norm(dim=1) / (x - y).norm(dim=1)).max().item()
    if not limit >= steepest:
        raise Broken(
            f"Borne obtenue : {number(limit)} ; or, entre deux points, la pente est de {number(steepest)}."
        )


EXERCISES: dict[str, Exercise] = {
    "emd_1d": Exercise(
        "emd_1d",
        (
            Property(
                "deux lois égales sont à distance 0",
                equal_laws_cost_nothing,
                "un générateur parfait garderait une perte à réduire.",
            ),
            Property(
                "porter une masse m sur une longueur d coûte m × d, dans un sens comme dans l'autre",
                one_heap_costs_mass_times_distance,
                "la distance ne dirait plus de combien il faut déplacer les faux : c'est ce que JS ne savait pas dire.",
            ),
            Property(
                "les tas du cours sont à distance 2/3",
                course_table,
                "votre calcul et celui fait à la main ne s'accordent pas.",
            ),
            Property(
                "décaler les positions ne change rien, les multiplier par 10 multiplie la distance par 10",
                distance_has_the_unit_of_positions,
                "deux lois voisines, lues sur deux grilles, n'auraient pas des distances comparables.",
            ),
        ),
        (
            "Entre deux positions voisines, il passe |F - G| de masse, sur la longueur qui les sépare.",
            "F et G sont p.cumsum(0) et q.cumsum(0) ; les longueurs, positions.diff(), il y en a une de moins.",
            "((p - q).cumsum(0)[:-1].abs() * positions.diff()).sum()",
        ),
    ),
    "critic_loss": Exercise(
        "critic_loss",
        (
            Property(
                "pentes égales à 1 : il reste moyenne(faux) - moyenne(vrais)",
                good_slopes_leave_the_gap,
                "l'opposé de la perte du critique ne serait plus l'écart de ses scores, donc plus une distance.",
            ),
            Property(
                "ajouter une constante à tous les scores ne change rien",
                constants_do_not_matter,
                "la perte attacherait un sens au score lui-même, alors que seul l'écart entre vrais et faux en a un.",
            ),
            Property(
                "une pente s coûte weight × (s - 1)²",
                slopes_away_from_one_cost,
                "le critique ne serait pas ramené comme il faut à une pente de 1, qui donne leur échelle à ses scores.",
            ),
            Property(
                "les pentes sont jugées une par une, puis moyennées",
                each_slope_counts,
                "chaque image ne répondrait plus de sa propre pente.",
            ),
            Property(
                "le gradient remonte aux scores et aux pentes",
                the_loss_teaches,
                "une partie de la perte s'affiche sans rien apprendre au critique.",
            ),
        ),
        (
            "Deux termes : l'opposé de l'écart que le critique veut agrandir, et la pénalité de ses pentes.",
            "fake_scores.mean() - real_scores.mean(), puis la moyenne d'un carré par image.",
            "return fake_scores.mean() - real_scores.mean() + weight * (slopes - 1).square().mean()",
        ),
    ),
    "lipschitz_bound": Exercise(
        "lipschitz_bound",
        (
            Property(
                "une seule couche : le plus grand étirement de sa matrice",
                one_layer_is_its_largest_stretch,
                "divisé par une borne trop grande, le critique serait trop plat ; par une trop petite, trop raide.",
            ),
            Property(
                "la matrice n'a pas besoin d'être carrée",
                any_matrix_works,
                "la première et la dernière couche d'un critique, jamais carrées, seraient mal mesurées.",
            ),
            Property(
                "les bornes des couches se multiplient",
                layers_multiply,
                "la pente du réseau entier ne serait pas bornée par ce nombre, ou le serait trop largement.",
            ),
            Property(
                "aucune pente du réseau ne dépasse la borne",
                no_slope_goes_beyond,
                "ce n'est pas une borne : la pente peut dépasser 1, et l'écart des notes n'est plus majoré par W.",
            ),
        ),
        (
            "ReLU ne fait jamais qu'aplatir : seules les matrices étirent, l'une après l'autre.",
            "torch.linalg.matrix_norm(weight, 2) est la plus grande valeur singulière ; math.prod fait un produit.",
            "return math.prod(torch.linalg.matrix_norm(weight, 2) for weight in weights)",
        ),
        points=2,
    ),
} | shared.EXERCISES
