"""Les exercices du chapitre 04 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import math

import pytest
import torch
from exercise_suite import exercise_tests

from gan_course.exercises.chapter04 import EXERCISES as CHAPTER
from gan_course.exercises.chapter04 import reference_emd
from gan_course.exercises.report import examine


def emd_by_cumsum(p, q, positions):
    return ((p - q).cumsum(0)[:-1].abs() * positions.diff()).sum()


def emd_by_loop(p, q, positions):
    carried, cost = 0.0, 0.0
    for i in range(len(p) - 1):
        carried += float(p[i] - q[i])
        cost += abs(carried) * float(positions[i + 1] - positions[i])
    return cost


def emd_by_trapezoid(p, q, positions):
    gaps = torch.cumsum(p, 0) - torch.cumsum(q, 0)
    return torch.dot(gaps.abs()[:-1], torch.diff(positions))


def loss_by_formula(real_scores, fake_scores, slopes, weight=10.0):
    return fake_scores.mean() - real_scores.mean() + weight * (slopes - 1).square().mean()


def loss_by_sum(real_scores, fake_scores, slopes, weight=10.0):
    return ((fake_scores - real_scores) + weight * (slopes**2 - 2 * slopes + 1)).sum() / len(slopes)


def loss_by_mse(real_scores, fake_scores, slopes, weight=10.0):
    penalty = torch.nn.functional.mse_loss(slopes, torch.ones_like(slopes))
    return -(real_scores.mean() - fake_scores.mean() - weight * penalty)


def bound_by_norm(weights):
    return math.prod(torch.linalg.matrix_norm(weight, 2) for weight in weights)


def bound_by_svd(weights):
    return torch.stack([torch.linalg.svdvals(weight).max() for weight in weights]).prod()


def bound_by_power_iteration(weights):
    bound = 1.0
    for weight in weights:
        v = torch.ones(weight.shape[1])
        for _ in range(500):
            v = torch.nn.functional.normalize(weight.T @ (weight @ v), dim=0)
        bound *= (weight @ v).norm().item()
    return bound


RIGHT = {
    "emd_1d": (emd_by_cumsum, emd_by_loop, emd_by_trapezoid, reference_emd),
    "critic_loss": (loss_by_formula, loss_by_sum, loss_by_mse),
    "lipschitz_bound": (bound_by_norm, bound_by_svd, bound_by_power_iteration),
}


def emd_without_abs(p, q, positions):
    return ((p - q).cumsum(0)[:-1] * positions.diff()).sum().abs()


def emd_of_means(p, q, positions):
    return abs(torch.dot(p - q, positions))


def emd_with_unit_steps(p, q, positions):
    return (p - q).cumsum(0).abs().sum()


def emd_as_total_variation(p, q, positions):
    return (p - q).abs().sum() / 2


def emd_averaged(p, q, positions):
    return ((p - q).cumsum(0)[:-1].abs() * positions.diff()).mean()


def emd_squared(p, q, positions):
    return ((p - q).cumsum(0)[:-1].square() * positions.diff()).sum()


def loss_reversed(real_scores, fake_scores, slopes, weight=10.0):
    return real_scores.mean() - fake_scores.mean() + weight * (slopes - 1).square().mean()


def loss_with_sigmoid(real_scores, fake_scores, slopes, weight=10.0):
    return loss_by_formula(real_scores.sigmoid(), fake_scores.sigmoid(), slopes, weight)


def loss_of_mean_slope(real_scores, fake_scores, slopes, weight=10.0):
    return fake_scores.mean() - real_scores.mean() + weight * (slopes.mean() - 1).square()


def loss_pulling_to_zero(real_scores, fake_scores, slopes, weight=10.0):
    return fake_scores.mean() - real_scores.mean() + weight * slopes.square().mean()


def loss_one_sided(real_scores, fake_scores, slopes, weight=10.0):
    return fake_scores.mean() - real_scores.mean() + weight * (slopes - 1).clamp(min=0).square().mean()


def loss_detached(real_scores, fake_scores, slopes, weight=10.0):
    return loss_by_formula(real_scores, fake_scores, slopes.detach(), weight)


def loss_summed(real_scores, fake_scores, slopes, weight=10.0):
    return fake_scores.sum() - real_scores.sum() + weight * (slopes - 1).square().sum()


def loss_as_cross_entropy(real_scores, fake_scores, slopes, weight=10.0):
    logistic = torch.nn.functional.softplus
    return logistic(-real_scores).mean() + logistic(fake_scores).mean() + weight * (slopes - 1).square().mean()


def bound_by_frobenius(weights):
    return math.prod(weight.norm() for weight in weights)


def bound_by_sum(weights):
    return sum(torch.linalg.matrix_norm(weight, 2) for weight in weights)


def bound_of_product(weights):
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return torch.linalg.matrix_norm(product, 2)


def bound_by_largest(weights):
    return max(torch.linalg.matrix_norm(weight, 2) for weight in weights)


def bound_by_eigenvalues(weights):
    return math.prod(torch.linalg.eigvals(weight).abs().max() for weight in weights)


def bound_by_entries(weights):
    return math.prod(weight.abs().max() for weight in weights)


# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "emd_1d": (
        (emd_without_abs, "tas du cours"),
        (emd_of_means, "tas du cours"),
        (emd_with_unit_steps, "m × d"),
        (emd_as_total_variation, "m × d"),
        (emd_averaged, "m × d"),
        (emd_squared, "m × d"),
        (lambda p, q, positions: None, "lois égales"),
    ),
    "critic_loss": (
        (loss_reversed, "moyenne(faux) - moyenne(vrais)"),
        (loss_with_sigmoid, "moyenne(faux) - moyenne(vrais)"),
        (loss_of_mean_slope, "une par une"),
        (loss_pulling_to_zero, "weight"),
        (loss_one_sided, "weight"),
        (loss_detached, "gradient"),
        (loss_summed, "moyenne(faux) - moyenne(vrais)"),
        (loss_as_cross_entropy, "constante"),
    ),
    "lipschitz_bound": (
        (bound_by_frobenius, "une seule couche"),
        (bound_by_sum, "se multiplient"),
        (bound_of_product, "se multiplient"),
        (bound_by_largest, "se multiplient"),
        (bound_by_eigenvalues, "carrée"),
        (bound_by_entries, "une seule couche"),
        (lambda weights: 1.0, "une seule couche"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


@pytest.mark.parametrize("name", CHAPTER)
def test_the_last_hint_is_almost_the_answer(name):
    """Le dernier indice, pris à la lettre, doit être juste : un étudiant perdu s'y fie."""
    arguments = {
        "emd_1d": "p, q, positions",
        "critic_loss": "real_scores, fake_scores, slopes, weight=10.0",
        "lipschitz_bound": "weights",
    }[name]
    expression = CHAPTER[name].hints[-1].removeprefix("return ")
    answer = eval(f"lambda {arguments}: {expression}", {"torch": torch, "math": math})
    assert examine(CHAPTER[name], answer).passed
