"""Exercices du chapitre 01 : toute réponse juste passe, toute erreur connue est nommée."""

import pytest
import torch
import torch.nn.functional as F

from gan_course.exercises import EXERCISES, chapter01, check
from gan_course.exercises.report import examine


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


RIGHT = {
    "normalise": [lambda pixels: pixels.float() / 127.5 - 1, normalise_in_two_lines,
                  lambda pixels: (pixels.float() - 127.5) / 127.5],
    "discriminator_loss": [
        lambda real, fake, real_label=1.0: bce(real, real_label) + bce(fake, 0.0),
        loss_by_logsigmoid,
        lambda r, f, real_label=1.0: (F.softplus(r) - real_label * r).mean() + F.softplus(f).mean(),
    ],
    "generator_loss": [
        lambda logits: bce(logits, 1.0),
        lambda logits: F.softplus(-logits).mean(),
        lambda logits: -F.logsigmoid(logits).mean(),
    ],
    "optimal_discriminator": [lambda p, q: p / (p + q), lambda p, q: 1 - q / (p + q),
                              lambda p, q: torch.sigmoid(p.log() - q.log())],
}  # fmt: skip

# (exercice, réponse fausse, début de la propriété qui doit la refuser)
WRONG = [
    ("normalise", lambda pixels: pixels.float() / 255, "0 devient exactement -1"),
    ("normalise", lambda pixels: (pixels.float() / 255 - 0.1307) / 0.3081, "0 devient exactement -1"),
    ("normalise", lambda pixels: pixels.double() / 127.5 - 1, "le résultat est en float32"),
    ("normalise", lambda pixels: pixels.float().flatten(1) / 127.5 - 1, "le résultat est en float32"),
    ("normalise", normalise_in_place, "le résultat est en float32"),
    ("normalise", normalise_per_image, "l'échelle est la même"),
    (
        "discriminator_loss",
        lambda r, f, real_label=1.0: (bce(r, real_label) + bce(f, 0.0)) / 2,
        "un D indécis",
    ),
    ("discriminator_loss", lambda r, f, real_label=1.0: bce(r, 0.0) + bce(f, real_label), "la perte est"),
    ("discriminator_loss", lambda r, f, real_label=1.0: bce(r, 1.0) + bce(f, 0.0), "real_label ne change"),
    (
        "discriminator_loss",
        lambda r, f, real_label=1.0: bce(r, real_label) + bce(f, 1 - real_label),
        "real_label ne",
    ),
    ("discriminator_loss", loss_by_probabilities, "de grands logits"),
    ("discriminator_loss", lambda r, f, real_label=1.0: f.mean() - r.mean(), "un D indécis"),
    ("generator_loss", lambda logits: -F.softplus(logits).mean(), "la perte est"),
    ("generator_loss", lambda logits: -F.softplus(logits).mean(), "un faux rejeté"),
    ("generator_loss", lambda logits: bce(logits, 0.0), "la perte est"),
    ("generator_loss", lambda logits: bce(logits, 0.9), "la perte est"),
    ("generator_loss", lambda logits: F.softplus(-logits).sum(), "un D indécis"),
    ("generator_loss", lambda logits: -torch.sigmoid(logits).log().mean(), "de grands logits"),
    ("optimal_discriminator", lambda p, q: q / (p + q), "D* vaut 1 là où"),
    ("optimal_discriminator", lambda p, q: p / q, "D* vaut 1/2"),
    ("optimal_discriminator", lambda p, q: torch.sigmoid(p - q), "entre deux gaussiennes"),
    ("optimal_discriminator", lambda p, q: (p > q).float(), "aucun autre D"),
    ("optimal_discriminator", lambda p, q: p**2 / (p**2 + q**2), "aucun autre D"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(name, capsys):
    for answer in RIGHT[name]:
        assert check(name, answer).passed, capsys.readouterr().out


@pytest.mark.parametrize(("name", "answer", "statement"), WRONG)
def test_wrong_answers_name_the_broken_property(name, answer, statement, capsys):
    report = check(name, answer)
    text = capsys.readouterr().out
    assert not report.passed
    (start,) = [i for i, line in enumerate(report.lines) if line.startswith(f"  ✗ {statement}")]
    assert len(report.lines[start + 1].strip()) > 10
    assert "Indice" in text and "Conséquence" in text


@pytest.mark.parametrize("name", chapter01.EXERCISES)
def test_every_exercise_can_be_left_unwritten(name, capsys):
    def answer(*_, **__):
        raise NotImplementedError

    report = check(name, answer)
    assert not report.passed and "À vous" in capsys.readouterr().out


@pytest.mark.parametrize("name", chapter01.EXERCISES)
@pytest.mark.parametrize("result", [None, "texte", 3])
def test_odd_results_are_explained(name, result, capsys):
    assert not check(name, lambda *_, **__: result).passed
    assert "✗" in capsys.readouterr().out


def test_shape_of_the_exercises():
    assert set(chapter01.EXERCISES) == set(RIGHT) <= set(EXERCISES)
    for exercise in chapter01.EXERCISES.values():
        assert len(exercise.properties) >= 3 and len(exercise.hints) == 3
        assert len([w for w in WRONG if w[0] == exercise.name]) >= 3


def test_random_state_is_left_alone():
    before = torch.get_rng_state()
    check("optimal_discriminator", lambda p, q: p / (p + q))
    assert torch.equal(before, torch.get_rng_state())


def test_an_answer_that_quits_is_a_wrong_answer():
    def quits(*_):
        raise SystemExit("au revoir")

    name = next(iter(chapter01.EXERCISES))
    report = examine(chapter01.EXERCISES[name], quits)
    assert not report.passed and "SystemExit : au revoir" in str(report)
