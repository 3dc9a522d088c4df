"""Les exercices du chapitre 04 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import math

import numpy as np
import pytest
import torch
from exercise_suite import exercise_tests

from gan_course import penalties
from gan_course.exercises import CHAPTERS
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


def emd_by_quantiles(p, q, positions):
    """∫ |F⁻¹ - G⁻¹|, sur les paliers communs aux deux lois."""
    f, g = p.double().cumsum(0), q.double().cumsum(0)
    levels = torch.cat([f, g]).sort().values
    middle = (levels + torch.cat([torch.zeros(1), levels[:-1]])) / 2
    far = len(positions) - 1
    places = [positions[torch.searchsorted(law, middle).clamp(max=far)] for law in (f, g)]
    return ((places[0] - places[1]).abs() * levels.diff(prepend=torch.zeros(1))).sum()


def bound_by_numpy(weights):
    return np.prod([np.linalg.norm(weight.numpy().astype(float), ord=2) for weight in weights])


def mixed_images(real, fake, epsilon=None):
    epsilon = torch.rand(len(real), 1, 1, 1) if epsilon is None else epsilon
    return (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()


def slopes_at(critic, x, create_graph=True):
    return torch.autograd.grad(critic(x).sum(), x, create_graph=create_graph)[0]


def penalty_by_norm(critic, real, fake):
    return (slopes_at(critic, mixed_images(real, fake)).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_by_functional_gradient(critic, real, fake):
    epsilon = torch.rand(real.shape[0]).view(-1, 1, 1, 1)
    slope = torch.func.vmap(torch.func.grad(lambda x: critic(x[None])[0]))(torch.lerp(fake, real, epsilon))
    return ((slope.square().sum((1, 2, 3)).clamp(min=1e-12).sqrt() - 1) ** 2).mean()


def penalty_by_loop(critic, real, fake):
    total = 0.0
    for x, y in zip(real, fake):
        point = (y + torch.rand(()) * (x - y))[None].requires_grad_()
        (slope,) = torch.autograd.grad(critic(point)[0], point, create_graph=True)
        total = total + (torch.linalg.vector_norm(slope) - 1) ** 2
    return total / len(real)


RIGHT = {
    "emd_1d": (emd_by_cumsum, emd_by_loop, emd_by_trapezoid, emd_by_quantiles, reference_emd),
    "critic_loss": (loss_by_formula, loss_by_sum, loss_by_mse),
    "lipschitz_bound": (bound_by_norm, bound_by_svd, bound_by_power_iteration, bound_by_numpy),
    "gradient_penalty": (penalty_by_norm, penalty_by_functional_gradient, penalty_by_loop, penalties.gradient_penalty),
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


def penalty_per_pixel(critic, real, fake):
    return (slopes_at(critic, mixed_images(real, fake)).norm(dim=1) - 1).square().mean()


def penalty_of_normal_points(critic, real, fake):
    points = mixed_images(real, fake, torch.randn(len(real), 1, 1, 1))
    return (slopes_at(critic, points).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_of_one_point(critic, real, fake):
    points = mixed_images(real, fake, torch.rand(()))
    return (slopes_at(critic, points).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_of_mixed_pixels(critic, real, fake):
    points = mixed_images(real, fake, torch.rand_like(real))
    return (slopes_at(critic, points).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_at_the_reals(critic, real, fake):
    return penalty_by_norm(critic, real, real)


def penalty_without_graph(critic, real, fake):
    slope = slopes_at(critic, mixed_images(real, fake), create_graph=False)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def penalty_towards_zero(critic, real, fake):
    return slopes_at(critic, mixed_images(real, fake)).flatten(1).square().sum(1).mean()


def penalty_one_sided(critic, real, fake):
    slope = slopes_at(critic, mixed_images(real, fake))
    return (slope.flatten(1).norm(dim=1) - 1).clamp(min=0).square().mean()


def penalty_of_the_batch(critic, real, fake):
    return (slopes_at(critic, mixed_images(real, fake)).norm() - 1).square()


def penalty_by_backward(critic, real, fake):
    """Juste en valeur, mais chaque appel ajoute un gradient à tous les poids du critique."""
    points = mixed_images(real, fake)
    critic(points).sum().backward(create_graph=True)
    return (points.grad.flatten(1).norm(dim=1) - 1).square().mean()


def penalty_asking_the_fakes(critic, real, fake):
    epsilon = torch.rand(len(real), 1, 1, 1)
    points = epsilon * real + (1 - epsilon) * fake.requires_grad_()
    return (slopes_at(critic, points).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_of_a_fixed_draw(critic, real, fake):
    torch.manual_seed(0)
    return penalty_by_norm(critic, real, fake)


# réponse fausse, et un mot de la propriété qui doit être nommée. Erreurs publiées de la pénalité : norme par pixel,
# ε de loi normale, un seul ε par lot, points pris sur les vrais seulement, graphe perdu ; de la perte : sigmoïde et
# entropie croisée sous le nom de Wasserstein.
WRONG = {
    "emd_1d": (
        (emd_without_abs, "tas du cours", "vous ne mesurez que l'écart des moyennes"),
        (emd_of_means, "tas du cours", "vous ne mesurez que l'écart des moyennes"),
        (emd_with_unit_steps, "m × d", "les longueurs positions.diff() sont oubliées"),
        (emd_as_total_variation, "m × d", "c'est la variation totale, Σ |p - q| / 2"),
        (emd_averaged, "m × d"),
        (emd_squared, "m × d"),
        (lambda p, q, positions: None, "lois égales"),
    ),
    "critic_loss": (
        (loss_reversed, "moyenne(faux) - moyenne(vrais)", "le signe de l'écart est inversé"),
        (loss_with_sigmoid, "moyenne(faux) - moyenne(vrais)", "vous passez les scores par une sigmoïde"),
        (loss_of_mean_slope, "une par une", "vous moyennez les pentes d'abord"),
        (loss_pulling_to_zero, "weight"),
        (loss_one_sided, "weight"),
        (loss_detached, "gradient", "Gradient par rapport aux pentes"),
        (loss_summed, "moyenne(faux) - moyenne(vrais)", "vous faites la somme sur le lot au lieu de la"),
        (loss_as_cross_entropy, "constante"),
    ),
    "lipschitz_bound": (
        (bound_by_frobenius, "une seule couche", "c'est la norme de Frobenius"),
        (bound_by_sum, "se multiplient", "vous additionnez les bornes des couches"),
        (bound_of_product, "se multiplient", "c'est la norme du produit des matrices"),
        (bound_by_largest, "se multiplient"),
        (bound_by_eigenvalues, "carrée"),
        (bound_by_entries, "une seule couche"),
        (lambda weights: 1.0, "une seule couche"),
    ),
    "gradient_penalty": (
        (penalty_per_pixel, "critique linéaire", "la norme est prise par pixel, sur l'axe des"),
        (penalty_of_normal_points, "ε uniforme", "ε suit une loi normale (randn)"),
        (penalty_of_one_point, "par image", "il faut un ε entre 0 et 1 pour chaque image"),
        (penalty_by_backward, "rien d'autre ne change", "backward() en donne à tout le graphe"),
        (penalty_asking_the_fakes, "rien d'autre ne change", "Le tenseur fake que l'on vous a donné demande"),
        (penalty_of_a_fixed_draw, "ε uniforme", "votre fonction fixe le hasard"),
        (penalty_of_mixed_pixels, "par image"),
        (penalty_at_the_reals, "entre vrai et faux", "la pente est prise aux vraies images"),
        (penalty_without_graph, "poids du critique", "le graphe de la pente n'est pas gardé"),
        (penalty_towards_zero, "critique linéaire", "la pénalité tire la pente vers 0, et non vers 1."),
        (penalty_one_sided, "constant", "vous ne punissez que les pentes supérieures à 1"),
        (penalty_of_the_batch, "critique linéaire", "la norme est prise sur tout le lot"),
        (lambda critic, real, fake: penalty_by_norm(critic, real, fake).item(), "poids du critique"),
    ),
}

globals().update(exercise_tests(CHAPTERS["04"], RIGHT, WRONG))


@pytest.mark.parametrize("name", ["emd_1d", "critic_loss", "lipschitz_bound"])
def test_the_last_hint_is_almost_the_answer(name):
    """Le dernier indice, pris à la lettre, doit être juste : un étudiant perdu s'y fie."""
    arguments = {
        "emd_1d": "p, q, positions",
        "critic_loss": "real_scores, fake_scores, slopes, weight=10.0",
        "lipschitz_bound": "weights",
    }[name]
    expression = CHAPTERS["04"][name].hints[-1].removeprefix("return ")
    answer = eval(f"lambda {arguments}: {expression}", {"torch": torch, "math": math})
    assert examine(CHAPTERS["04"][name], answer).passed
