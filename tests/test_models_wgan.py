"""WGAN et SNGAN : un critique sans statistiques de lot, des couches de norme spectrale 1, des classes qui comptent."""

import pytest
import torch
from torch import nn

from gan_course.models import sngan, wgan


def test_the_critic_judges_each_image_alone():
    critic, images = wgan.Discriminator(width=8).train(), torch.randn(6, 3, 32, 32)
    assert not [m for m in critic.modules() if isinstance(m, nn.BatchNorm2d | nn.Dropout | nn.Sigmoid)]
    torch.testing.assert_close(critic(images)[2:3], critic(images[2:3]))


def test_recipes_are_the_papers():
    assert (wgan.RECIPE.loss, wgan.RECIPE.penalty, wgan.RECIPE.critic_steps) == ("wasserstein", "gp", 5)
    assert wgan.RECIPE.penalty_weight == 10 and wgan.RECIPE.betas == (0.0, 0.9)
    assert sngan.RECIPE.loss == "hinge" and sngan.RECIPE.penalty is None


def test_every_layer_of_the_spectral_critic_has_norm_one():
    critic = sngan.Discriminator(num_classes=3, width=8).train()
    for _ in range(30):  # une itération de puissance par passage
        critic(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    weights = [m.weight for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(weights) == 3 * 3 + 2
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_classes_change_images_and_scores():
    g, d = sngan.Generator(num_classes=3, width=8).eval(), sngan.Discriminator(num_classes=3, width=8).eval()
    with torch.no_grad():
        g.blocks[0].norms[0].affine.weight.normal_()
    z, x = torch.randn(1, 128).expand(3, -1), torch.randn(1, 3, 32, 32).expand(3, -1, -1, -1)
    images, scores = g(z, torch.arange(3)), d(x, torch.arange(3))
    assert not torch.allclose(images[0], images[1]) and scores.unique().numel() == 3


def test_without_classes_no_label_is_accepted():
    g, d = sngan.Generator(num_classes=0, width=8), sngan.Discriminator(num_classes=0, width=8)
    assert d(g(torch.randn(2, 128))).shape == (2,)
    with pytest.raises(ValueError, match="pas conditionnel"):
        g(torch.randn(2, 128), torch.tensor([0, 1]))


@pytest.mark.parametrize("module", [wgan, sngan])
def test_sizes_the_networks_cannot_make(module):
    with pytest.raises(ValueError, match="48.*28, 32, 64, 128"):
        module.Generator(image_shape=(3, 48, 48))
