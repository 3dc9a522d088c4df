"""Exercices du chapitre 01 : toute réponse juste passe, toute erreur connue est nommée."""

import pytest
import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests

from gan_course.exercises import CHAPTERS, check


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def normalise_in_two_lines(pixels):
    unit = pixels.to(torch.float32) / 255
    return unit * 2 - 1


def normalise_in_place(pixels):
    pixels.sub_(1)
    return pixels.float() / 127.5 - 1


def normalise_per_image(pixels):
    x = pixels.float()
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return 2 * (x - low) / (high - low) - 1


def loss_by_logsigmoid(real_logits, fake_logits, real_label=1.0):
    real = real_label * F.logsigmoid(real_logits) + (1 - real_label) * F.logsigmoid(-real_logits)
    return -real.mean() - F.logsigmoid(-fake_logits).mean()


def loss_by_probabilities(real_logits, fake_logits, real_label=1.0):
    d_real, d_fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    real = real_label * d_real.log() + (1 - real_label) * (1 - d_real).log()
    return -(real.mean() + (1 - d_fake).log().mean())


def normalise_by_lookup(pixels):
    return torch.linspace(-1, 1, 256)[pixels.long()]


def loss_in_double(real_logits, fake_logits, real_label=1.0):
    real, fake = real_logits.double(), fake_logits.double()
    zero = torch.zeros(1, dtype=torch.float64)
    return torch.logaddexp(zero, -real).mean() + (1 - real_label) * real.mean() + torch.logaddexp(zero, fake).mean()


def loss_of_one_batch(real_logits, fake_logits, real_label=1.0):
    """Juste pour des lots de même taille seulement : l'énoncé demande deux moyennes."""
    target = torch.cat([torch.full_like(real_logits, real_label), torch.zeros_like(fake_logits)])
    return 2 * F.binary_cross_entropy_with_logits(torch.cat([real_logits, fake_logits]), target)


def loss_by_clamped_probabilities(real_logits, fake_logits, real_label=1.0):
    targets = torch.full_like(real_logits, real_label), torch.zeros_like(fake_logits)
    pairs = zip((real_logits, fake_logits), targets)
    return sum(F.binary_cross_entropy(torch.sigmoid(logits), target) for logits, target in pairs)


def optimal_by_numpy(p, q):
    p, q = p.numpy(), q.numpy()
    return p / (p + q + 1e-6)


RIGHT = {
    "normalise": [lambda pixels: pixels.float() / 127.5 - 1, normalise_in_two_lines,
                  lambda pixels: (pixels.float() - 127.5) / 127.5, normalise_by_lookup,
                  lambda pixels: (pixels.double() / 255 * 2 - 1).float()],
    "discriminator_loss": [
        lambda real, fake, real_label=1.0: bce(real, real_label) + bce(fake, 0.0),
        loss_by_logsigmoid,
        loss_in_double,
        lambda r, f, real_label=1.0: (F.softplus(r) - real_label * r).mean() + F.softplus(f).mean(),
    ],
    "generator_loss": [
        lambda logits: bce(logits, 1.0),
        lambda logits: F.softplus(-logits).mean(),
        lambda logits: -F.logsigmoid(logits).mean(),
        lambda logits: torch.logaddexp(torch.zeros(()), -logits).sum() / len(logits),
    ],
    "optimal_discriminator": [lambda p, q: p / (p + q), lambda p, q: 1 - q / (p + q),
                              lambda p, q: torch.sigmoid(p.log() - q.log()), optimal_by_numpy,
                              lambda p, q: [float(a / (a + b)) for a, b in zip(p, q)]],
}  # fmt: skip

# (exercice, réponse fausse, mots de la propriété qui doit la refuser). Erreurs publiées (pixels dans [0, 1], moyenne
# 0,1307, pertes sur des probabilités, lissage des faux, -log(1 - D) pour G) : chacune a sa ligne.
WRONG = [
    ("normalise", lambda pixels: pixels.float() / 255,
     "0 devient exactement -1", "vos pixels vont de 0 à 1, et non de -1 à 1"),
    ("normalise", lambda pixels: (pixels.float() / 255 - 0.1307) / 0.3081,
     "0 devient exactement -1", "vous centrez et réduisez par la moyenne et"),
    ("normalise", lambda pixels: pixels.double() / 127.5 - 1, "le résultat est en float32"),
    ("normalise", lambda pixels: pixels.float().flatten(1) / 127.5 - 1, "le résultat est en float32"),
    ("normalise", normalise_in_place, "le résultat est en float32"),
    ("normalise", normalise_per_image,
     "l'échelle est la même", "vous étirez les pixels de leur minimum à leur"),
    (
        "discriminator_loss",
        lambda r, f, real_label=1.0: (bce(r, real_label) + bce(f, 0.0)) / 2,
        "un D indécis", "un facteur 1/2 de trop",
    ),
    ("discriminator_loss", lambda r, f, real_label=1.0: bce(r, 0.0) + bce(f, real_label),
     "la perte est", "les signes des logits sont inversés"),
    ("discriminator_loss", lambda r, f, real_label=1.0: bce(r, 1.0) + bce(f, 0.0),
     "real_label ne change", "real_label n'est pas employé"),
    (
        "discriminator_loss",
        lambda r, f, real_label=1.0: bce(r, real_label) + bce(f, 1 - real_label),
        "real_label ne", "vous lissez aussi les faux",
    ),
    ("discriminator_loss", loss_by_probabilities,
     "de grands logits", "logarithme après une sigmoïde ou une exponentielle"),
    ("discriminator_loss", loss_by_clamped_probabilities, "de grands logits"),
    ("discriminator_loss", loss_of_one_batch, "la perte est", "une seule moyenne pour les deux lots réunis"),
    ("discriminator_loss", lambda *a, **k: loss_in_double(*a, **k).item(), "real_label ne change"),
    ("discriminator_loss", lambda r, f, real_label=1.0: f.mean() - r.mean(), "un D indécis"),
    ("generator_loss", lambda logits: -F.softplus(logits).mean(),
     "la perte est", "c'est la forme saturante, moyenne(log(1 -"),
    ("generator_loss", lambda logits: -F.softplus(logits).mean(),
     "un faux rejeté", "c'est la forme saturante, moyenne(log(1 -"),
    ("generator_loss", lambda logits: bce(logits, 0.0), "la perte est", "softplus du mauvais argument"),
    ("generator_loss", lambda logits: bce(logits, 0.9), "la perte est"),
    ("generator_loss", lambda logits: F.softplus(-logits).sum(),
     "un D indécis", "vous faites la somme sur le lot au lieu de la"),
    ("generator_loss", lambda logits: -torch.sigmoid(logits).log().mean(),
     "de grands logits", "logarithme après une sigmoïde ou une exponentielle"),
    ("generator_loss", lambda logits: torch.log1p(torch.exp(-logits)).mean(),
     "de grands logits", "logarithme après une sigmoïde ou une exponentielle"),
    ("generator_loss", lambda logits: -(torch.sigmoid(logits) + 1e-8).log().mean(), "de grands logits"),
    ("generator_loss", lambda logits: -logits.mean(), "un D indécis"),
    ("optimal_discriminator", lambda p, q: q / (p + q),
     "D* vaut 1 là où", "vous rendez q / (p + q), la probabilité d'être"),
    ("optimal_discriminator", lambda p, q: p / q, "D* vaut 1/2", "p / q est un rapport de densités"),
    ("optimal_discriminator", lambda p, q: torch.sigmoid(p - q), "entre deux gaussiennes"),
    ("optimal_discriminator", lambda p, q: (p > q).float(), "aucun autre D"),
    ("optimal_discriminator", lambda p, q: p**2 / (p**2 + q**2), "aucun autre D"),
]


BY_NAME = {name: [case[1:] for case in WRONG if case[0] == name] for name in RIGHT}
globals().update(exercise_tests(CHAPTERS["01"], RIGHT, BY_NAME))


@pytest.mark.parametrize("name", CHAPTERS["01"])
@pytest.mark.parametrize("result", [None, "texte", 3])
def test_odd_results_are_explained(name, result, capsys):
    assert not check(name, lambda *_, **__: result).passed
    assert "✗" in capsys.readouterr().out
