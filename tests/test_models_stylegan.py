"""Mini-StyleGAN : chaque brique a la propriété que l'article lui donne."""

import pytest
import torch
from torch.nn.functional import conv2d

from gan_course.data import ImageSet
from gan_course.models import stylegan
from gan_course.models.stylegan import Equalized, Mapping, StyledConvolution, adain, minibatch_deviation
from gan_course.training import train


@pytest.fixture
def generator():
    return stylegan.Generator(width=8, latent_dim=16).eval()


def test_adain_gives_each_map_the_mean_and_deviation_of_the_style():
    scale, shift = torch.tensor([[2.0, 0.5]]), torch.tensor([[-1.0, 3.0]])
    out = adain(5 + 7 * torch.randn(1, 2, 32, 32), scale, shift)
    torch.testing.assert_close(out.mean((2, 3)), shift, atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((2, 3), unbiased=False), scale, atol=1e-3, rtol=0)


def test_equalized_layers_keep_the_variance():
    x = torch.randn(512, 64)
    assert Equalized(64, 256)(x).std().item() == pytest.approx(1, abs=0.05)
    assert Equalized(64, 256, speed=0.01)(x).std().item() == pytest.approx(1, abs=0.05)
    layer, images = Equalized(64, 64, 3), torch.randn(4, 64, 16, 16)
    assert layer(images).std().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(layer(images), conv2d(images, layer.weight / 24, layer.bias, padding=1))


def test_the_mapping_forgets_the_length_of_z():
    mapping, z = Mapping(16, 0), torch.randn(4, 16)
    torch.testing.assert_close(mapping(z), mapping(10 * z))
    with_classes, y = Mapping(16, 3), torch.zeros(4, dtype=torch.long)
    assert not torch.allclose(with_classes(z, y), with_classes(z, y + 1))


def test_noise_changes_details_only_while_training():
    layer, x, w = StyledConvolution(4, 4, 8, 16), torch.randn(2, 4, 8, 8), torch.randn(2, 16)
    with torch.no_grad():
        layer.noise_strength.fill_(1.0)
    assert not torch.equal(layer.train()(x, w), layer(x, w))
    assert torch.equal(layer.eval()(x, w), layer(x, w))
    assert not torch.equal(layer(x, w), layer(x, w, noise=0.0))


def test_styles_start_discreet():
    styled = StyledConvolution(4, 64, 8, 32)
    scale, shift = (styled.style(torch.randn(256, 32))).chunk(2, dim=1)
    assert 0.05 < scale.std() < 0.2 and 0.05 < shift.std() < 0.2, "AdaIN multiplie d'abord par 1 ± 0,1"


def test_the_deviation_map_sees_a_collapsed_batch():
    assert minibatch_deviation(torch.ones(8, 3, 4, 4))[:, 3].abs().max() < 1e-3
    varied = minibatch_deviation(torch.randn(8, 3, 4, 4))
    assert varied.shape == (8, 4, 4, 4) and varied[:, 3].min() > 0.5
    assert minibatch_deviation(torch.randn(7, 3, 4, 4)).shape == (7, 4, 4, 4), "un lot non multiple de 4"


def test_two_styles_per_block(generator):
    assert generator.num_layers == 8 and stylegan.Generator((3, 64, 64), width=4).num_layers == 10
    z = torch.randn(3, 16)
    styles = generator.styles(z)
    assert styles.shape == (3, 8, 16)
    torch.testing.assert_close(generator(z), generator.synthesize(styles))
    assert torch.equal(generator(z), generator(z)), "même z, même image"


def test_truncation_pulls_styles_to_their_mean(generator):
    generator.mean_style.normal_()
    z = torch.randn(3, 16)
    w, mean = generator.styles(z)[:, 0], generator.mean_style
    torch.testing.assert_close(generator.styles(z, psi=0.0)[:, 0], mean.expand(3, -1))
    torch.testing.assert_close(generator.styles(z, psi=0.5)[:, 0], (w + mean) / 2)


def test_training_follows_the_mean_style_and_mixes():
    torch.manual_seed(1)
    g = stylegan.Generator(width=4, latent_dim=16, mixing=1.0).train()
    seen = []
    g.synthesize = lambda styles: seen.append(styles) or styles
    g(torch.randn(32, 16))
    assert g.mean_style.abs().sum() > 0
    assert ((seen[0] != seen[0][:, :1]).any(2).any(1)).all(), "chaque image a deux styles"
    torch.manual_seed(1)
    g.mixing = 0.0
    g(torch.randn(32, 16))
    assert torch.equal(seen[1], seen[1][:, :1].expand_as(seen[1]))


def test_mixing_styles(generator):
    a, b = generator.styles(torch.randn(2, 16)), generator.styles(torch.randn(2, 16))
    mixed = stylegan.mix_styles(a, b, 3)
    assert torch.equal(mixed[:, :3], a[:, :3]) and torch.equal(mixed[:, 3:], b[:, 3:])
    with pytest.raises(ValueError, match="crossover=9.*8 couches"):
        stylegan.mix_styles(a, b, 9)
    with pytest.raises(ValueError, match="il faut deux fois"):
        stylegan.mix_styles(a, b[:1], 3)
    with pytest.raises(ValueError, match=r"\(B, 8, 16\)"):
        generator.synthesize(a[:, :5])


@pytest.mark.parametrize("size", [4, 24, 28, 256])
def test_sizes_that_are_not_powers_of_two(size):
    with pytest.raises(ValueError, match=f"{size}.*8, 16, 32"):
        stylegan.Generator((3, size, size))


def test_it_trains_with_and_without_classes():
    images = ImageSet(torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8), torch.arange(64) % 3)
    for classes in (0, 3):
        g = stylegan.Generator((3, 8, 8), classes, latent_dim=8, width=4)
        d = stylegan.Discriminator((3, 8, 8), classes, width=4)
        *_, progress = train(g, d, images, stylegan.RECIPE, steps=2)
        assert progress.penalty > 0 and all(p.grad is not None for p in g.parameters())


def test_the_seed_of_the_weights_can_also_be_the_seed_of_z():
    """Tirée par lignes, la première couche contenait les premiers z : leurs images, criardes, ne valaient rien."""
    torch.manual_seed(0)
    g = stylegan.Generator()
    (same, other) = (torch.randn(64, g.latent_dim, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with torch.no_grad():
        first = g.mapping.layers[0]
        high_same, high_other = first(same).abs().max(), first(other).abs().max()
    assert high_same < 1.5 * high_other
    assert (same @ same.T).abs().max() > 1.5 * (same @ other.T).abs().max(), "ce qu'il ne faut pas"
