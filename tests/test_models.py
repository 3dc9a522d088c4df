"""Réseaux : une seule signature, les formes annoncées, l'initialisation de l'article, et des refus clairs."""

import pytest
import torch
from torch import nn

from gan_course.models import conditional, dcgan, dense, points, sngan, stylegan, wgan

IMAGES = [(dense, (1, 28, 28)), (dense, (3, 16, 16))]
IMAGES += [(dcgan, (c, s, s)) for c in (1, 3) for s in (28, 32, 64)]
IMAGES += [(conditional, (1, 28, 28)), (conditional, (3, 32, 32))]
IMAGES += [(wgan, (1, 28, 28)), (wgan, (3, 64, 64)), (sngan, (1, 28, 28)), (sngan, (3, 32, 32))]
IMAGES += [(stylegan, (3, s, s)) for s in (8, 32, 64)]


@pytest.mark.parametrize("module,shape", IMAGES, ids=lambda v: str(v).rpartition(".")[2][:24])
def test_one_signature_for_all(module, shape):
    small = {"width": 16} if module is not conditional else {"width": 8}
    g, d = module.Generator(image_shape=shape, **small), module.Discriminator(image_shape=shape, **small)
    y = torch.arange(5) if g.num_classes else None
    images = g(torch.randn(5, g.latent_dim), y)
    assert images.shape == (5, *shape) and images.abs().max() <= 1
    assert d(images, y).shape == (5,) and g.image_shape == d.image_shape == shape
    with torch.no_grad():
        for weight in d.parameters():
            weight *= 100
    assert d(images, y).abs().max() > 2, "des logits, pas des probabilités"


def test_points_pair():
    g, d = points.Generator(), points.Discriminator()
    cloud = g(torch.randn(7, g.latent_dim))
    assert cloud.shape == (7, 2) and d(cloud).shape == (7,) and g.num_classes == 0


def test_dcgan_is_the_usual_one():
    weights = sum(p.numel() for p in dcgan.Generator(image_shape=(3, 64, 64), width=64).parameters())
    assert 3.5e6 < weights < 3.7e6
    assert dcgan.Generator().layers[0].out_channels == 1024, "1024 cartes par défaut, comme l'article"


@pytest.mark.parametrize("kernel_size", [3, 4, 5, 9])
@pytest.mark.parametrize("upsampling", dcgan.UPSAMPLINGS)
def test_dcgan_kernels(upsampling, kernel_size):
    g = dcgan.Generator((1, 28, 28), width=8, upsampling=upsampling, kernel_size=kernel_size)
    d = dcgan.Discriminator((1, 28, 28), width=8, kernel_size=kernel_size, dropout=0.3)
    assert d(g(torch.randn(2, 100))).shape == (2,)


def test_dcgan_initialisation():
    """N(0 ; 0,02) sur tout éteindrait l'échelle de BatchNorm : elle doit être près de 1."""
    for network in (dcgan.Generator(width=32), dcgan.Discriminator(width=32)):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert layer.bias is None or not layer.bias.any()
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
                assert 0.005 < layer.weight.std().item() < 0.04 and not layer.bias.any()


@pytest.mark.parametrize("conditioning", conditional.CONDITIONINGS)
def test_both_networks_listen_to_the_label(conditioning):
    torch.manual_seed(0)
    g = conditional.Generator(width=8, conditioning=conditioning).eval()
    d = conditional.Discriminator(width=8, conditioning=conditioning)
    for parameter in d.parameters():  # la projection part de zéro : un pas d'entraînement suffit à l'en sortir
        nn.init.normal_(parameter, 0, 0.1)
    z, zeros, ones = torch.randn(4, g.latent_dim), torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(g(z, zeros), g(z, ones))
    x = torch.rand(4, 1, 28, 28)
    assert not torch.allclose(d(x, zeros), d(x, ones))


def test_critics_under_penalty_have_no_batch_statistics():
    for critic in (conditional.Discriminator(), dcgan.Discriminator(batch_norm=False), points.Discriminator()):
        assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules())


@pytest.mark.parametrize(
    "build,words",
    [
        (lambda: dcgan.Generator((3, 48, 48)), "48.*côté 28, 32, 64, 128"),
        (lambda: dcgan.Generator((4, 64, 64)), "1 ou 3 canaux"),
        (lambda: dcgan.Generator((3, 64, 32)), "carrées"),
        (lambda: dcgan.Generator(upsampling="nearest"), "nearest.*transposed"),
        (lambda: dcgan.Generator(kernel_size=2), "kernel_size=2"),
        (lambda: conditional.Generator((1, 64, 64)), "28, 32"),
        (lambda: conditional.Discriminator(conditioning="somme"), "somme.*projection"),
    ],
)
def test_impossible_networks_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(
    "call,words",
    [
        (lambda: dense.Generator()(torch.randn(4, 64)), r"\(4, 64\).*\(B, 100\)"),
        (lambda: dcgan.Generator(width=8)(torch.randn(100)), r"\(100,\)"),
        (lambda: dense.Discriminator()(torch.randn(4, 1, 32, 32)), "1, 28, 28"),
        (lambda: dense.Generator()(torch.randn(4, 100), torch.zeros(4).long()), "pas conditionnel"),
        (lambda: conditional.Generator()(torch.randn(4, 64), None), "conditionnel.*étiquettes"),
        (lambda: conditional.Generator()(torch.randn(2, 64), torch.tensor([0, 10])), "0 à 9"),
        (lambda: conditional.Generator()(torch.randn(2, 64), torch.tensor([0, -1])), "-1"),
        (lambda: conditional.Generator()(torch.randn(2, 64), torch.tensor([0.0, 1.0])), "int64"),
        (lambda: conditional.Generator()(torch.randn(2, 64), torch.tensor([0])), "une étiquette par image"),
    ],
)
def test_bad_inputs_are_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()
