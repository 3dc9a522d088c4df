"""Pertes : chacune contre sa formule écrite en probabilités, et contre les erreurs que les cours enseignent."""

import pytest
import torch
from torch import sigmoid

from gan_course.losses import LOSSES

REAL, FAKE = torch.randn(64, dtype=torch.float64), torch.randn(64, dtype=torch.float64)

# (perte de D, perte de G), écrites comme dans les articles.
FORMULAS = {
    "minimax": (
        -sigmoid(REAL).log().mean() - (1 - sigmoid(FAKE)).log().mean(),
        (1 - sigmoid(FAKE)).log().mean(),
    ),
    "non_saturating": (
        -sigmoid(REAL).log().mean() - (1 - sigmoid(FAKE)).log().mean(),
        -sigmoid(FAKE).log().mean(),
    ),
    "least_squares": (
        0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean(),
        0.5 * ((FAKE - 1) ** 2).mean(),
    ),
    "hinge": ((1 - REAL).clamp(min=0).mean() + (1 + FAKE).clamp(min=0).mean(), -FAKE.mean()),
    "wasserstein": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "relativistic": (-sigmoid(REAL - FAKE).log().mean(), -sigmoid(FAKE - REAL).log().mean()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_against_the_papers_formula(name):
    loss, (d_expected, g_expected) = LOSSES[name], FORMULAS[name]
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), d_expected)
    torch.testing.assert_close(loss.generator(FAKE, REAL), g_expected)


@pytest.mark.parametrize("name", LOSSES)
def test_confident_logits_stay_finite(name):
    """Sur des probabilités, log(0) donnerait -inf puis NaN ; sur des logits de ±1000, rien ne déborde."""
    for value in (-1000.0, 1000.0):
        logits = torch.full((4,), value, requires_grad=True)
        total = LOSSES[name].discriminator(logits, -logits) + LOSSES[name].generator(logits, -logits)
        (gradient,) = torch.autograd.grad(total, logits)
        assert torch.isfinite(total) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_descending_the_loss_separates_real_from_fake(name):
    # 0,5 : entre les cibles de toutes, celle des moindres carrés étant 0 pour les faux.
    real, fake = torch.full((8,), 0.5, requires_grad=True), torch.full((8,), 0.5, requires_grad=True)
    d_real, d_fake = torch.autograd.grad(LOSSES[name].discriminator(real, fake), (real, fake), allow_unused=True)
    assert (d_real < 0).all(), "D doit monter le score des vraies images"
    assert (d_fake > 0).all(), "D doit baisser le score des fausses"
    (g_fake,) = torch.autograd.grad(LOSSES[name].generator(fake, real.detach()), fake)
    assert (g_fake < 0).all(), "G doit monter le score de ses images"


def test_smoothing_moves_the_real_target_only():
    fake = torch.linspace(-3, 3, 7)
    loss = LOSSES["non_saturating"]
    real = torch.zeros(7, requires_grad=True)
    difference = loss.discriminator(real, fake, 0.9) - loss.discriminator(real, fake, 1.0)
    # À D(x) = 1/2 la perte sur les vraies ne dépend pas de la cible : l'écart isole celle des fausses.
    assert difference.item() == pytest.approx(0, abs=1e-6)
    optimum = torch.tensor([0.9]).logit().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.discriminator(optimum, fake, 0.9), optimum)
    assert gradient.abs().max() < 1e-6, "l'optimum de D(x) est 0,9"


def test_minimax_saturates_where_non_saturating_does_not():
    rejected = torch.full((1,), -10.0, requires_grad=True)  # D rejette le faux avec assurance
    (weak,) = torch.autograd.grad(LOSSES["minimax"].generator(rejected), rejected)
    (strong,) = torch.autograd.grad(LOSSES["non_saturating"].generator(rejected), rejected)
    assert weak.abs() < 1e-4 < 0.99 < strong.abs()
