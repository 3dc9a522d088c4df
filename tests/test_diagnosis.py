"""Chaque verdict sur un historique fabriqué, chaque seuil des deux côtés, et de vrais petits entraînements."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan_course import diagnosis
from gan_course.data import load_images
from gan_course.diagnosis import diagnose, french, moving_average, read_series
from gan_course.losses import LOSSES


def history(steps=400, d_loss=1.2, g_loss=0.9, d_real=0.4, d_fake=-0.4):
    noise = np.random.default_rng(0).normal(size=(4, steps))
    values = {"d_loss": d_loss, "g_loss": g_loss, "d_real": d_real, "d_fake": d_fake}
    return {name: np.full(steps, value) + 0.01 * n for (name, value), n in zip(values.items(), noise)}


def logit(probability):
    return math.log(probability / (1 - probability))


@pytest.fixture(scope="module")
def reals():
    return torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


def test_balanced_scores_are_learning():
    verdict = diagnose(history())
    assert verdict.verdict == "apprend"
    assert "0,60 aux vrais et 0,40 aux faux" in str(verdict)
    assert "diversité non mesurée" in str(verdict) and "empiriques" in str(verdict)


def test_too_early_says_so():
    assert diagnose(history(99)).verdict == "trop tôt"
    assert diagnose(history(100)).verdict == "apprend"


@pytest.mark.parametrize("name", ["d_loss", "g_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_a_number_diverges_even_early(name, value):
    h = history(20)
    h[name][7] = value
    verdict = diagnose(h)
    assert verdict.verdict == "divergence"
    assert "8ᵉ" in verdict.evidence[0]


def test_exploding_loss_diverges_but_a_high_steady_one_does_not():
    h = history()
    h["g_loss"][300:] = 101 * np.sign(np.arange(100) - 50.5)
    assert diagnose(h).verdict == "divergence"
    h["g_loss"][300:] = 99
    assert diagnose(h).verdict == "apprend"
    assert diagnose(history(d_loss=-5000), loss="wasserstein").verdict == "apprend"


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
def test_discriminator_wins_above_its_threshold(loss):
    above, below = logit(diagnosis.D_WINS + 0.005), logit(diagnosis.D_WINS - 0.005)
    assert diagnose(history(d_real=above, d_fake=-above), loss=loss).verdict == "discriminateur gagne"
    assert diagnose(history(d_real=below, d_fake=-below), loss=loss).verdict == "apprend"


def test_only_the_last_quarter_counts():
    h = history()
    h["d_real"][:290], h["d_fake"][:290] = 8, -8
    assert diagnose(h).verdict == "apprend"


def test_generator_wins_by_gap_or_by_level():
    assert diagnose(history(d_real=logit(0.44), d_fake=logit(0.56))).verdict == "générateur gagne"
    assert diagnose(history(d_real=logit(0.46), d_fake=logit(0.54))).verdict == "apprend"
    assert diagnose(history(d_real=logit(0.9), d_fake=logit(0.77))).verdict == "générateur gagne"


def test_equilibrium_is_named_with_its_doubt():
    assert any(
        "équilibre, ou D trop faible" in fact for fact in diagnose(history(d_real=0, d_fake=0)).evidence
    )


@pytest.mark.parametrize(
    ("loss", "d_real", "d_fake", "verdict"),
    [
        ("hinge", 0.3, -0.4, "apprend"),
        ("hinge", 1.4, -1.3, "discriminateur gagne"),
        ("hinge", -0.2, 0.2, "générateur gagne"),
        ("least_squares", 0.7, 0.3, "apprend"),
        ("least_squares", 1.02, -0.03, "discriminateur gagne"),
        ("least_squares", 0.4, 0.6, "générateur gagne"),
        ("relativistic", 80.4, 80.0, "apprend"),
        ("relativistic", 85.0, 80.0, "discriminateur gagne"),
        ("relativistic", 80.0, 80.4, "générateur gagne"),
    ],
)
def test_scores_are_read_in_the_scale_of_the_loss(loss, d_real, d_fake, verdict):
    assert diagnose(history(d_real=d_real, d_fake=d_fake), loss=loss).verdict == verdict


def test_a_new_loss_says_itself_how_its_scores_are_read():
    """Les formules de la charnière sous un autre nom : le même verdict, sans rien changer au diagnostic."""
    mine, scores = LOSSES["hinge"]._replace(uses_real=True), history(d_real=1.4, d_fake=-1.3)
    assert diagnose(scores, loss=mine).verdict == diagnose(scores, loss="hinge").verdict == "discriminateur gagne"
    critic = mine._replace(read=None)
    yours = diagnose(history(d_real=500, d_fake=480), loss=lambda real, fake: (fake.mean(), -fake.mean()))
    assert yours.verdict == "apprend", "d'une fonction, rien ne dit l'échelle des scores"
    assert any("l'écart du critique" in fact for fact in diagnose(scores, loss=critic).evidence)


def test_wasserstein_scores_have_no_level_only_a_trend():
    assert diagnose(history(d_real=500, d_fake=480), loss="wasserstein").verdict == "apprend"
    h = history(d_real=500, d_fake=480)
    h["d_real"][300:] = 480 + 61
    assert diagnose(h, loss="wasserstein").verdict == "discriminateur gagne"
    h["d_real"][300:] = 479
    assert diagnose(h, loss="wasserstein").verdict == "générateur gagne"


def test_collapse_by_pairwise_distance(reals):
    fakes = reals[:1] + 0.2 * torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    verdict = diagnose(history(), fakes, reals)
    assert verdict.verdict == "effondrement" and "distance moyenne" in verdict.evidence[0]
    assert diagnose(history(), reals.flip(3), reals).verdict == "apprend"


@pytest.mark.parametrize(("ratio", "expected"), [(0.36, "effondrement"), (0.44, "apprend")])
def test_diversity_threshold(reals, ratio, expected):
    fakes = math.sqrt(1 - ratio**2) * reals[:1] + ratio * reals.flip(2)
    found = diagnose(history(), fakes, reals).evidence[0]
    assert found.startswith("distance moyenne entre faux") == (expected == "effondrement") and "seuil" in found


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def drawn(images, n=200, seed=0):
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]].float() / 127.5 - 1


@pytest.mark.parametrize(
    "case, expected",
    [("bruit", "bruit"), ("moyenne", "effondrement"), ("un", "effondrement"), ("sept", "effondrement"),
     ("autres", "apprend"), ("sans trois", "apprend")],
)  # fmt: skip
def test_noise_the_mean_image_and_a_single_class_are_known(digits, case, expected):
    torch.manual_seed(0)
    real, shape = drawn(digits.images), digits.image_shape
    fakes = {
        "bruit": lambda: 2 * torch.rand(200, *shape) - 1,
        "moyenne": lambda: (real.mean(0) + 0.3 * torch.randn(200, *shape)).clamp(-1, 1),
        "un": lambda: drawn(digits.images[digits.labels == 1], 150),
        "sept": lambda: drawn(digits.images[digits.labels == 7], 150),
        "autres": lambda: drawn(digits.images, seed=1),
        "sans trois": lambda: drawn(digits.images[digits.labels != 3], seed=1),  # ce qu'il ne voit pas, et qu'il dit
    }[case]()
    verdict = diagnose(history(), fakes, real)
    assert verdict.verdict == expected, verdict
    assert "seuil" in str(verdict) and "classe oubliée sur dix" in str(verdict).replace("\n  ", " ")


def test_few_images_are_said_to_be_too_few_to_see_a_lost_class(digits):
    seven = drawn(digits.images[digits.labels == 7], 64)
    verdict = diagnose(history(), seven, drawn(digits.images, 64))
    assert any("64 échantillons\u00a0: trop peu pour voir une classe oubliée" in fact for fact in verdict.evidence)


def test_pale_or_noisy_beginnings_are_not_collapses(reals):
    assert diagnose(history(), 0.2 * reals.flip(2), reals).verdict == "apprend"
    assert diagnose(history(), torch.zeros_like(reals), reals).verdict == "effondrement"


def test_collapse_by_near_duplicates(reals):
    # Deux visages seulement, opposés : la distance moyenne reste grande.
    twins = reals[:2].repeat(32, 1, 1, 1)
    verdict = diagnose(history(), twins, reals)
    assert verdict.verdict == "effondrement"
    assert any("100\u00a0% des faux ont un double" in fact for fact in verdict.evidence)


def test_collapse_onto_opposite_modes_is_seen_by_coverage():
    source = torch.Generator().manual_seed(0)
    angles = torch.arange(8).repeat(40) * math.pi / 4
    centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    ring = centres + 0.02 * torch.randn(320, 2, generator=source)
    two = centres[::4] + 0.01 * torch.randn(80, 2, generator=source)
    verdict = diagnose(history(), two, ring)
    assert verdict.verdict == "effondrement" and "des vrais ont un faux près d'eux" in verdict.evidence[0]
    assert diagnose(history(), ring + 0.01 * torch.randn(320, 2, generator=source), ring).verdict == "apprend"


def test_uint8_reals_are_accepted_and_advice_adds_up(reals):
    pixels = ((reals + 1) * 127.5).round().to(torch.uint8)
    verdict = diagnose(history(d_real=9, d_fake=-9), reals[:1].repeat(64, 1, 1, 1), pixels)
    assert verdict.verdict == "effondrement"
    assert diagnosis.ADVICE["discriminateur gagne"] in verdict.advice


def test_bad_input_is_explained(reals):
    with pytest.raises(ValueError, match="loss=.hinje. reçu.*hinge"):
        diagnose(history(), loss="hinje")
    with pytest.raises(ValueError, match="ne contient pas «.d_loss.»"):
        diagnose({"g_loss": [1.0]})
    with pytest.raises(ValueError, match="vide"):
        diagnose({name: [] for name in history()})
    with pytest.raises(ValueError, match="une mesure par pas"):
        diagnose({**history(), "steps": [1, 2]})
    with pytest.raises(ValueError, match="ensemble"):
        diagnose(history(), fakes=reals)
    with pytest.raises(ValueError, match="que 8 échantillons"):
        diagnose(history(), reals[:8], reals)
    with pytest.raises(ValueError, match="NaN"):
        diagnose(history(), reals * float("nan"), reals)
    with pytest.raises(ValueError, match="semblables"):
        diagnose(history(), reals.repeat(1, 3, 1, 1), reals)
    with pytest.raises(ValueError, match="tous identiques"):
        diagnose(history(), reals, reals[:1].repeat(64, 1, 1, 1))
    with pytest.raises(ValueError, match=r"il faut un tenseur \(N, C, H, W\)"):
        diagnose(history(), [1], reals)


def test_french_numbers():
    assert french(12400, 0) == "12\u00a0400"
    assert french(-0.5) == "−0,50"
    assert [french(v) for v in (math.nan, math.inf, -math.inf)] == ["NaN", "∞", "−∞"]


def test_moving_average_keeps_constants_edges_and_holes():
    np.testing.assert_allclose(moving_average(np.ones(200)), 1)
    values = np.arange(200.0)
    values[50] = np.nan
    smooth = moving_average(values, 0.05)
    assert np.isnan(smooth[50]) and np.isfinite(np.delete(smooth, 50)).all()
    np.testing.assert_allclose(smooth[100], values[95:105].mean())
    np.testing.assert_allclose(moving_average(np.array([3.0])), 3)


def test_series_of_a_real_history_have_steps():
    training = pytest.importorskip("gan_course.training")
    steps, values = read_series(training.History(torch.ones(3, 5)), "g_loss")
    assert steps.tolist() == [1, 2, 3] and values.tolist() == [1, 1, 1]


@pytest.fixture
def one_thread():
    # Sur de si petits réseaux, plusieurs fils s'attendent plus qu'ils ne calculent.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "apprend"),
        ({"loss": "minimax", "penalty": None, "d_lr": 1e-2, "g_lr": 1e-5}, "discriminateur gagne"),
        ({"loss": "non_saturating", "penalty": None, "d_lr": 1e-7}, "générateur gagne"),
    ],
)
def test_verdicts_of_real_trainings_on_points(one_thread, changes, expected):
    training, points = (
        pytest.importorskip("gan_course.training"),
        pytest.importorskip("gan_course.models.points"),
    )
    data = pytest.importorskip("gan_course.data")
    torch.manual_seed(0)
    ring, recipe = data.gaussian_ring(n=4096), replace(points.RECIPE, batch_size=64, **changes)
    networks = points.Generator(width=48), points.Discriminator(width=48)
    for progress in training.train(*networks, ring, recipe, steps=110, device="cpu"):
        measures = progress.history
    # Sans échantillons : un G qui suit un D figé finit aussi par s'effondrer, et l'effondrement passerait devant.
    assert diagnose(measures, loss=recipe.loss).verdict == expected


def test_a_history_of_the_wrong_kind_says_what_to_give():
    with pytest.raises(TypeError, match="progress.history"):
        diagnose(SimpleNamespace(history=history()))
    losses = [torch.ones((), requires_grad=True)] * 3
    with pytest.raises(ValueError, match=r"d_loss.*loss\.item\(\)"):
        diagnose({"d_loss": losses})
