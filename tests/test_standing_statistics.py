"""Les statistiques de BatchNorm refaites : celles de ces poids-là, et de rien d'autre."""

import copy

import pytest
import torch
from torch import nn

from gan_course.averaging import standing_statistics
from gan_course.models import aae, conditional, dcgan, stylegan


def test_they_are_the_statistics_of_these_weights():
    torch.manual_seed(0)
    generator = dcgan.Generator((1, 28, 28), latent_dim=8, width=4)
    before = copy.deepcopy(generator.state_dict())
    refreshed = standing_statistics(generator, batches=60)
    inputs = []
    first = next(layer for layer in refreshed.modules() if isinstance(layer, nn.BatchNorm2d))
    first.register_forward_pre_hook(lambda layer, args: inputs.append(args[0]))
    with torch.no_grad():
        refreshed(torch.randn(4_000, 8))
    torch.testing.assert_close(first.running_mean, inputs[0].mean((0, 2, 3)), atol=2e-3, rtol=0.05)
    torch.testing.assert_close(first.running_var, inputs[0].var((0, 2, 3)), atol=1e-4, rtol=0.1)
    assert not refreshed.training and first.momentum == 0.1
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), "le générateur donné n'a pas bougé"
    for one, other in zip(generator.parameters(), refreshed.parameters()):
        assert torch.equal(one, other), "les poids sont les mêmes"


@pytest.mark.lent
def test_stale_statistics_no_longer_matter():
    generator = dcgan.Generator((1, 28, 28), latent_dim=8, width=4)
    stale = copy.deepcopy(generator)
    for layer in stale.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(3.0)
            layer.running_var.fill_(50.0)
            layer.num_batches_tracked.fill_(1_000)  # un long passé, que la moyenne simple doit oublier
    z = torch.randn(5, 8)
    torch.testing.assert_close(standing_statistics(generator)(z), standing_statistics(stale)(z))


def test_the_random_state_is_left_alone_and_the_seed_decides():
    generator = conditional.Generator((1, 28, 28), 10, width=8)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (standing_statistics(generator, batches=2, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one) or not any("running" in name for name in one)


def test_layers_that_g_does_not_cross_keep_theirs():
    autoencoder = aae.Generator((1, 28, 28), latent_dim=8, width=4)
    autoencoder.train().encode(torch.randn(16, 1, 28, 28))
    refreshed = standing_statistics(autoencoder, batches=2)
    for one, other in zip(autoencoder.encode.buffers(), refreshed.encode.buffers()):
        assert torch.equal(one, other)
    assert not torch.equal(next(autoencoder.decoder.buffers()), next(refreshed.decoder.buffers()))


def test_without_batch_norm_it_is_a_copy():
    generator = stylegan.Generator((3, 8, 8), width=4, latent_dim=8)
    refreshed = standing_statistics(generator)
    assert refreshed is not generator and not refreshed.training
    with pytest.raises(ValueError, match="batches doit valoir au moins 1"):
        standing_statistics(generator, batches=0)
