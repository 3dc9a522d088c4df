"""Les exercices du chapitre 07 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, failures, reading_tests

from gan_course.exercises import CHAPTERS, chapter07_reading
from gan_course.exercises.report import examine
from gan_course.latent import lerp, slerp
from gan_course.probing import chance

# Le premier optimiseur d'un processus charge lentement torch._dynamo : que ce ne soit pas pendant une vérification.
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

# --- slerp_path ----------------------------------------------------------------------------------------------


def path_by_formula(a, b, t):
    na, nb = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v, t = a / na, b / nb, t[:, None, None]
    w = torch.arccos((u * v).sum(-1, keepdim=True).clamp(-1, 1)).clamp_min(1e-3)
    direction = (((1 - t) * w).sin() * u + (t * w).sin() * v) / w.sin()
    return ((1 - t) * na + t * nb) * direction


def path_by_rotation(a, b, t):
    """Tourner u vers la part de v qui lui est orthogonale."""
    na, nb = a.norm(dim=1), b.norm(dim=1)
    u, v = a / na[:, None], b / nb[:, None]
    across = v - (u * v).sum(1, keepdim=True) * u
    # Deux fois : sans cela, l'arrondi laisse un reste de u.
    across = across - (u * across).sum(1, keepdim=True) * u
    across = F.normalize(across, dim=1, eps=1e-6)
    w = torch.atan2((v * across).sum(1), (u * v).sum(1))
    w = torch.where(w.abs() < 1e-5, 0.0, w)
    turned = torch.cos(t[:, None] * w)[..., None] * u + torch.sin(t[:, None] * w)[..., None] * across
    return (na + t[:, None] * (nb - na))[..., None] * turned


def path_by_loops(a, b, t):
    out = np.zeros((len(t), *a.shape))
    for i, moment in enumerate(t.tolist()):
        for j, (x, y) in enumerate(zip(a.double().numpy(), b.double().numpy())):
            nx, ny = np.linalg.norm(x), np.linalg.norm(y)
            w = math.acos(max(-1.0, min(1.0, x @ y / (nx * ny))))
            if w < 1e-4:
                out[i, j] = (1 - moment) * x + moment * y
                continue
            direction = (math.sin((1 - moment) * w) * x / nx + math.sin(moment * w) * y / ny) / math.sin(w)
            out[i, j] = ((1 - moment) * nx + moment * ny) * direction
    return torch.from_numpy(out).float()


def path_of_one_angle(a, b, t):
    w = torch.arccos(F.cosine_similarity(a, b, dim=1).mean())
    t = t[:, None, None]
    return (((1 - t) * w).sin() * a + (t * w).sin() * b) / w.sin()


def path_without_norm(a, b, t):
    return slerp(a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True), t)


def path_of_raw_vectors(a, b, t):
    w = torch.arccos(F.cosine_similarity(a, b, dim=1).clamp(-1, 1))[:, None].clamp_min(1e-3)
    t = t[:, None, None]
    return (((1 - t) * w).sin() * a + (t * w).sin() * b) / w.sin()


def path_normalised_lerp(a, b, t):
    straight, t = lerp(a, b, t), t[:, None, None]
    norm = (1 - t) * a.norm(dim=1, keepdim=True) + t * b.norm(dim=1, keepdim=True)
    return norm * straight / straight.norm(dim=2, keepdim=True)


def path_with_nan(a, b, t):
    na, nb = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v, t = a / na, b / nb, t[:, None, None]
    w = torch.arccos((u * v).sum(-1, keepdim=True))
    return ((1 - t) * na + t * nb) * (((1 - t) * w).sin() * u + (t * w).sin() * v) / w.sin()


def path_refusing_large_angles(a, b, t):
    if (F.cosine_similarity(a, b) < -0.99).any():
        raise ValueError("vecteurs opposés")
    return path_by_formula(a, b, t)


def path_freezing_small_angles(a, b, t):
    frozen = (F.cosine_similarity(a, b) > 0.9999) & ((a - b).norm(dim=1) > 1e-6) & (a.norm(dim=1) < 4)
    return torch.where(frozen[:, None], a, path_by_formula(a, b, t))


# --- latent_discriminator_loss -------------------------------------------------------------------------------


def latent_by_softplus(discriminator, mean, log_variance):
    codes = (mean + (log_variance / 2).exp() * torch.randn_like(mean)).detach()
    return F.softplus(-discriminator(torch.randn_like(mean))).mean() + F.softplus(discriminator(codes)).mean()


def latent_by_cross_entropy(discriminator, mean, log_variance):
    with torch.no_grad():
        codes = torch.normal(mean, log_variance.exp().sqrt())
    logits = torch.cat([discriminator(codes), discriminator(torch.randn(mean.shape))])
    target = (torch.arange(len(logits)) >= len(codes)).float()
    return 2 * F.binary_cross_entropy_with_logits(logits, target)


def latent_in_one_batch(discriminator, mean, log_variance):
    noise = torch.randn(2 * len(mean), mean.shape[1])
    codes = mean.detach() + torch.exp(0.5 * log_variance.detach()) * noise[: len(mean)]
    scores = discriminator(torch.cat([codes, noise[len(mean) :]]))
    fake, real = scores.chunk(2)
    return -(F.logsigmoid(real) + F.logsigmoid(-fake)).mean()


def latent_backwards(discriminator, mean, log_variance):
    codes = (mean + (log_variance / 2).exp() * torch.randn_like(mean)).detach()
    return F.softplus(discriminator(torch.randn_like(mean))).mean() + F.softplus(-discriminator(codes)).mean()


def latent_with_graph(discriminator, mean, log_variance):
    codes = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    return F.softplus(-discriminator(torch.randn_like(mean))).mean() + F.softplus(discriminator(codes)).mean()


def latent_with_variance(discriminator, mean, log_variance):
    codes = (mean + log_variance.exp() * torch.randn_like(mean)).detach()
    return F.softplus(-discriminator(torch.randn_like(mean))).mean() + F.softplus(discriminator(codes)).mean()


def latent_without_noise(discriminator, mean, log_variance):
    return (
        F.softplus(-discriminator(torch.randn_like(mean))).mean()
        + F.softplus(discriminator(mean.detach())).mean()
    )


def latent_with_one_epsilon(discriminator, mean, log_variance):
    codes = (mean + (log_variance / 2).exp() * torch.randn(len(mean), 1)).detach()
    return F.softplus(-discriminator(torch.randn_like(mean))).mean() + F.softplus(discriminator(codes)).mean()


def latent_halved(discriminator, mean, log_variance):
    return latent_by_softplus(discriminator, mean, log_variance) / 2


def latent_detached(discriminator, mean, log_variance):
    return latent_by_softplus(discriminator, mean, log_variance).detach()


# --- inversion_step ------------------------------------------------------------------------------------------


def step_by_autograd(generator, z, image, lr, prior):
    z = z.detach().clone().requires_grad_()
    error = (generator(z) - image).square().flatten(1).mean(1)
    shell = (z.square().mean(1) - 1).square()
    (slope,) = torch.autograd.grad((error + prior * shell).sum(), z)
    return (z - lr * slope).detach()


def step_by_optimizer(generator, z, image, lr, prior):
    code = torch.nn.Parameter(z.clone())
    optimizer = torch.optim.SGD([code], lr=lr)
    error = (generator(code) - image).pow(2).mean((1, 2, 3)).sum()
    norm = code.norm(dim=1) ** 2 / code.shape[1]
    (error + prior * ((norm - 1) ** 2).sum()).backward(inputs=[code])
    optimizer.step()
    return code.detach()


def step_image_by_image(generator, z, image, lr, prior):
    out = []
    for one, target in zip(z, image):
        code = one[None].clone().requires_grad_()
        loss = F.mse_loss(generator(code), target[None]) + prior * ((code**2).mean() - 1) ** 2
        out.append((code - lr * torch.autograd.grad(loss, code)[0]).detach())
    return torch.cat(out)


def step_upwards(generator, z, image, lr, prior):
    return step_by_autograd(generator, z, image, -lr, prior)


def step_without_prior(generator, z, image, lr, prior):
    return step_by_autograd(generator, z, image, lr, 0.0)


def step_averaged(generator, z, image, lr, prior):
    return step_by_autograd(generator, z, image, lr / len(z), prior)


def step_over_pixels(generator, z, image, lr, prior):
    return step_by_autograd(generator, z, image, lr * image[0].numel(), prior)


def step_towards_zero(generator, z, image, lr, prior):
    z = z.clone().requires_grad_()
    loss = (generator(z) - image).square().flatten(1).mean(1) + prior * z.square().mean(1)
    return (z - lr * torch.autograd.grad(loss.sum(), z)[0]).detach()


def step_in_place(generator, z, image, lr, prior):
    z.copy_(step_by_autograd(generator, z, image, lr, prior))
    return z


def step_through_the_generator(generator, z, image, lr, prior):
    code = z.clone().requires_grad_()
    error = (generator(code) - image).square().flatten(1).mean(1)
    (error + prior * (code.square().mean(1) - 1).square()).sum().backward()
    return (code - lr * code.grad).detach()


def step_with_graph(generator, z, image, lr, prior):
    z = z.clone().requires_grad_()
    error = (generator(z) - image).square().flatten(1).mean(1)
    loss = (error + prior * (z.square().mean(1) - 1).square()).sum()
    return z - lr * torch.autograd.grad(loss, z)[0]


RIGHT = {
    "slerp_path": (path_by_formula, path_by_rotation, path_by_loops, slerp),
    "latent_discriminator_loss": (latent_by_softplus, latent_by_cross_entropy, latent_in_one_batch),
    "inversion_step": (step_by_autograd, step_by_optimizer, step_image_by_image),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "slerp_path": (
        (lerp, "linéairement", "vous interpolez en ligne droite, (1 - t) a + t b"),
        (path_of_one_angle, "son propre angle"),
        (path_without_norm, "rend a"),
        (path_of_raw_vectors, "linéairement", "vous tournez a et b eux-mêmes"),
        (path_normalised_lerp, "vitesse constante", "vous suivez la corde, puis ramenez la norme"),
        (path_with_nan, "NaN", "traitez à part un angle presque nul"),
        (path_refusing_large_angles, "proches de 180°", "Seuls deux vecteurs opposés n'en ont pas"),
        (path_freezing_small_angles, "très petits", "sans avancer vers b"),
        (lambda a, b, t: slerp(b, a, t), "rend a", "a et b sont échangés, ou t et 1 - t."),
    ),
    "latent_discriminator_loss": (
        (latent_backwards, "le faux est le code", "vrai et faux sont échangés"),
        (latent_with_graph, "l'encodeur n'en reçoit pas"),
        (latent_with_variance, "σ", "exp(log σ²) est la variance"),
        (latent_without_noise, "σ", "les codes sont μ seul"),
        (latent_with_one_epsilon, "par coordonnée"),
        (latent_halved, "constant", "un facteur 1/2 de trop"),
        (latent_detached, "D reçoit un gradient"),
    ),
    "inversion_step": (
        (step_upwards, "descend", "le signe du pas est inversé"),
        (step_without_prior, "a priori", "prior n'est pas employé."),
        (step_averaged, "comme si elle était seule", "la perte est une moyenne sur le lot"),
        (step_over_pixels, "par pixel"),
        (step_towards_zero, "a priori"),
        (step_in_place, "ne changent"),
        (step_through_the_generator, "ne changent"),
        (step_with_graph, "détaché"),
    ),
}
FUNCTIONS = {name: exercise for name, exercise in CHAPTERS["07"].items() if exercise.expects == "fonction"}
globals().update(exercise_tests(FUNCTIONS, RIGHT, WRONG))

# --- correspondence_reading : une valeur, non une fonction ---------------------------------------------------

READINGS = chapter07_reading.READINGS
READING = CHAPTERS["07"]["correspondence_reading"]
globals().update(reading_tests(READING, READINGS, chapter07_reading.SIGNS, "figure"))


@pytest.mark.parametrize(
    "answer, word",
    [
        ({"A": "rien"}, "A, B, C et D"),
        ({**READINGS, "A": "droite"}, "n'est pas une lecture"),
        ({**READINGS, "B": 3}, "n'est pas une lecture"),
        (list(READINGS.values()), "dictionnaire"),
    ],
)
def test_other_values_are_explained(answer, word):
    report = examine(READING, answer)
    assert not report.passed and word in str(report) and len(failures(report)) == 4


def test_the_four_figures_show_what_they_should():
    found = chapter07_reading.readings()
    assert tuple(found) == chapter07_reading.LETTERS == tuple(READINGS)
    (canonical, linear, neighbours), luck = found["D"]
    assert canonical > 0.9 and linear > 0.9 and neighbours > 0.5 and max(luck) < 0.1
    (_, linear, neighbours), luck = found["A"]
    assert linear < 0.1 and neighbours > 0.4 and max(luck) < 0.1
    measured, luck = found["B"]
    assert max(measured) < 0.1 and max(luck) < 0.1
    measured, luck = found["C"]
    assert measured[0] > 0.7 and luck[0] > 0.7 and abs(measured[0] - luck[0]) < 0.15
    assert len(chapter07_reading.plot_readings().axes) == 4


def test_measuring_elsewhere_than_fitting_would_have_told():
    """La figure C n'est trompeuse que parce qu'elle mesure là où elle a ajusté : le paquet, lui, mesure à part."""
    draw = torch.Generator().manual_seed(0)
    codes, parameters = torch.randn(400, 40, generator=draw), torch.rand(400, 4, generator=draw)
    assert all(one.canonical.abs().max() < 0.35 for one in chance(codes, parameters, repeats=2))
