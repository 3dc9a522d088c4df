"""Chapitre 06, la pénalité de gradient (reprise du chapitre 04) et la lecture des quatre courbes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from exercise_suite import exercise_tests, failures, reading_tests

from gan_course import penalties
from gan_course.exercises import chapter06, chapter06_curves, curves, shared
from gan_course.exercises.report import examine

ROOT = Path(__file__).resolve().parent.parent

# --- gradient_penalty ----------------------------------------------------------------------------------------


def mixed(real, fake):
    epsilon = torch.rand(len(real), *[1] * (real.dim() - 1))
    return (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()


def slopes(critic, x, **options):
    return torch.autograd.grad(critic(x).sum(), x, **{"create_graph": True, **options})[0]


def penalty_by_hand(critic, real, fake):
    return (slopes(critic, mixed(real, fake)).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_by_lerp(critic, real, fake):
    x = torch.lerp(fake, real, torch.rand(real.shape[0], 1, 1, 1)).clone().requires_grad_()
    scores = critic(x)
    (gradient,) = torch.autograd.grad(scores, x, torch.ones_like(scores), create_graph=True)
    return torch.mean((torch.sqrt((gradient**2).sum(dim=(1, 2, 3)) + 1e-12) - 1) ** 2)


def penalty_image_by_image(critic, real, fake):
    total = 0.0
    for x in mixed(real, fake).split(1):
        x = x.detach().requires_grad_()
        total = total + (slopes(critic, x).norm() - 1) ** 2
    return total / len(real)


def penalty_over_channels(critic, real, fake):
    return (slopes(critic, mixed(real, fake)).norm(dim=1) - 1).square().mean()


def penalty_with_normal_epsilon(critic, real, fake):
    epsilon = torch.randn(len(real), 1, 1, 1)
    x = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    return (slopes(critic, x).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_with_one_epsilon(critic, real, fake):
    epsilon = torch.rand(())
    x = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    return (slopes(critic, x).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_without_graph(critic, real, fake):
    gradient = slopes(critic, mixed(real, fake), create_graph=False)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def penalty_at_real_points(critic, real, fake):
    x = real.clone().requires_grad_()
    return (slopes(critic, x).flatten(1).norm(dim=1) - 1).square().mean()


def penalty_towards_zero(critic, real, fake):
    return slopes(critic, mixed(real, fake)).flatten(1).norm(dim=1).square().mean()


def penalty_through_a_sigmoid(critic, real, fake):
    return penalty_by_hand(lambda x: critic(x).sigmoid(), real, fake)


def penalty_of_the_mean_score(critic, real, fake):
    x = mixed(real, fake)
    (gradient,) = torch.autograd.grad(critic(x).mean(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


RIGHT = {
    "gradient_penalty": (penalty_by_hand, penalty_by_lerp, penalty_image_by_image, penalties.gradient_penalty)
}
WRONG = {
    "gradient_penalty": (
        (penalty_over_channels,
         "linéaire", "la norme est prise par pixel, sur l'axe des"),  # norme sur l'axe des canaux
        (penalty_with_normal_epsilon,
         "entre vrai et faux", "ε suit une loi normale (randn)"),  # ε d'une loi normale
        (penalty_with_one_epsilon, "entre vrai et faux"),  # un seul ε pour le lot
        (penalty_without_graph, "poids du critique", "le graphe de la pente n'est pas gardé"),  # graphe perdu
        (penalty_at_real_points,
         "entre vrai et faux", "la pente est prise aux vraies images"),  # aux seuls vrais points
        (penalty_towards_zero, "linéaire", "la pénalité tire la pente vers 0, et non vers 1."),
        (penalty_through_a_sigmoid, "linéaire"),  # sigmoïde dans un critique
        (penalty_of_the_mean_score, "linéaire", "les scores sont moyennés avant la dérivée, et"),
    )
}

globals().update(exercise_tests(shared.EXERCISES, RIGHT, WRONG))

# --- training_curves : une valeur, non une fonction ----------------------------------------------------------

ANSWER = chapter06_curves.VERDICTS
CURVES = chapter06_curves.EXERCISES["training_curves"]
globals().update(reading_tests(CURVES, ANSWER, chapter06_curves.SIGNS, "entraînement"))


@pytest.mark.parametrize("letter", ANSWER)
def test_a_mistake_is_told_the_modes_covered(letter):
    for verdict in set(chapter06_curves.SIGNS) - {ANSWER[letter]}:
        assert "sur 8" in str(examine(CURVES, {**ANSWER, letter: verdict}))


@pytest.mark.parametrize(
    "answer, word",
    [
        ({"A": "apprend"}, "A, B, C et D"),
        (list(ANSWER.values()), "dictionnaire"),
        ("apprend", "dictionnaire"),
        ({}, "A, B, C et D"),
    ],
)
def test_other_values_are_explained(answer, word):
    report = examine(CURVES, answer)
    assert not report.passed and word in str(report) and len(failures(report)) == 4


@pytest.mark.parametrize(
    "letter, verdict, words",
    [
        ("A", "D gagne", "A : « D gagne » n'est pas un verdict"),
        ("C", 3, "C : « 3 » n'est pas un verdict"),
        ("B", None, "B : verdict pas encore donné."),
        ("B", ..., "B : verdict pas encore donné."),
    ],
)
def test_an_unreadable_verdict_spares_the_other_letters(letter, verdict, words):
    report = examine(CURVES, {**ANSWER, letter: verdict})
    (failure,) = failures(report)
    assert f"entraînement {letter}" in failure and words in str(report)
    assert "Conséquence" not in str(report)


def test_the_same_consequence_is_told_once():
    report = examine(CURVES, dict.fromkeys("ABCD", "générateur gagne"))
    assert len(failures(report)) == 4 and str(report).count("Conséquence") == 1


def test_the_curves_are_what_the_program_makes():
    stored = curves.load_curves()
    assert tuple(stored) == curves.LETTERS == tuple(curves.recipes())
    for part in stored.values():
        assert all(len(part[name]) == len(part["steps"]) == 200 for name in curves.MEASURES)
        assert len(part["modes"]) == len(part["modes_steps"]) == 40
        assert all(np.isfinite(part[name]).all() for name in curves.MEASURES)
    assert len(curves.plot_curves().axes) == 12


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("denormalise", "images"),
        ("gan_losses", "real_logits, fake_logits, real_label=1.0"),
        ("discriminator_step", "generator, discriminator, optimizer, real, z"),
        ("conditional_inputs", "z, x, y, num_classes"),
        ("projection_logits", "features, y, embedding, linear"),
        ("lazy_penalty", "step, every, weight, penalty"),
        ("adain", "maps, scale, shift"),
    ],
)
def test_the_last_hint_is_almost_the_answer(name, arguments):
    """Le dernier indice, pris à la lettre, doit être juste : un étudiant perdu s'y fie."""
    hint = chapter06.EXERCISES[name].hints[-1].rstrip(".").replace(", puis ", " ; ")
    hint = hint.replace("optimizer.zero_grad(), loss.backward(), optimizer.step() et ", "")
    body = [line.strip() for line in hint.split(" ; ")]
    if name == "discriminator_step":
        body[1:1] = ["optimizer.zero_grad()", "loss.backward()", "optimizer.step()"]
    space = {"torch": torch, "F": torch.nn.functional}
    exec("\n    ".join([f"def answer({arguments}):", *body]), space)
    report = examine(chapter06.EXERCISES[name], space["answer"])
    assert report.passed, str(report)


def test_the_first_hint_is_the_same_in_the_notebook():
    """Ce que l'énoncé replie ne doit ni contredire l'indice de check, ni en dire plus."""
    cells = json.loads((ROOT / "notebooks" / "sources" / "06_exercices.ipynb").read_text("utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells).replace("\u00a0", " ").replace("`", "")
    folded = re.findall(r"<summary>Premier indice</summary>\n\n(.*?)\n\n</details>", text, flags=re.DOTALL)
    assert folded == [exercise.hints[0] for exercise in chapter06.EXERCISES.values()]


def test_the_chapter_has_its_sixteen_exercises_in_rising_order():
    points = [exercise.points for exercise in chapter06.EXERCISES.values()]
    assert len(points) == 16 and points == sorted(points)
    assert list(chapter06.EXERCISES) == [exercise.name for exercise in chapter06.EXERCISES.values()]
