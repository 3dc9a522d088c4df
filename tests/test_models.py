"""Réseaux : une seule signature, les formes annoncées, l'initialisation de l'article, et des refus clairs."""

import inspect
import math
import pkgutil
from contextlib import suppress
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch import nn

from gan_course import models
from gan_course.data import ImageSet, gaussian_ring
from gan_course.models import conditional, dcgan, dense, points, residual
from gan_course.training import train

# Un fichier de plus dans gan_course/models/ s'essaie tout seul : rien à ajouter ici.
MODELS = [import_module(f"gan_course.models.{found.name}") for found in pkgutil.iter_modules(models.__path__)]
NETWORKS = [network for module in MODELS for network in (module.Generator, module.Discriminator)]
FRENCH = "il faut|doit (être|valoir)|ce réseau|étiquettes|Écrivez|BatchNorm"


def name(value):
    return f"{value.__module__}.{value.__name__}".rpartition("models.")[2] if value in NETWORKS else str(value)


def accepts(network, setting):
    return setting in inspect.signature(network).parameters


def build(network, **settings):
    """Un petit réseau ; les réglages que celui-ci n'a pas sont laissés de côté."""
    settings = {"width": 8, **settings}
    return network(**{key: value for key, value in settings.items() if accepts(network, key)})


def inputs(network):
    """Deux exemples acceptables, et leurs étiquettes si le réseau en veut."""
    return torch.randn(2, *network.input_shape), torch.tensor([0, 2]) if network.num_classes else None


def versions():
    """Chaque réseau sans classes, puis avec trois, s'il le permet."""
    for network in NETWORKS:
        with suppress(ValueError):  # un réseau toujours conditionnel refuse 0
            build(network, num_classes=0)
            yield network, 0
        if accepts(network, "num_classes"):
            yield network, 3


VERSIONS = list(versions())
SHAPES = [
    (module, (channels, side, side), classes)
    for module in MODELS
    for side in getattr(module, "SIZES", (16,))
    for channels in (1, 3)
    for classes in (0, 3)
    if side <= 64 and (module.Generator, classes) in VERSIONS and (module.Discriminator, classes) in VERSIONS
]


@pytest.mark.parametrize("module,shape,classes", SHAPES, ids=lambda v: str(getattr(v, "__name__", v)).split(".")[-1])
def test_one_signature_for_all(module, shape, classes):
    settings = {"image_shape": shape, "num_classes": classes}
    g, d = build(module.Generator, **settings), build(module.Discriminator, **settings)
    y = torch.arange(5) % classes if g.num_classes else None
    z = torch.randn(5, g.latent_dim)
    images = g(z, y)
    assert images.shape == (5, *g.image_shape) and (len(g.image_shape) == 1 or images.abs().max() <= 1)
    judged = images if d.input_shape == g.image_shape else z  # un autoencodeur adverse juge des codes
    assert d(judged, y).shape == (5,) and g.num_classes == d.num_classes
    with torch.no_grad():
        for weight in d.parameters():
            weight *= 100
    assert d(judged, y).abs().max() > 2, "des logits, pas des probabilités"


BAD_SETTINGS = {
    "image_shape": [64, (64, 64), (3, 48.0, 48), (0, 28, 28), "mnist"],
    "latent_dim": [-4, 0, 2.5],
    "num_classes": [-1, "dix"],
    "width": [0, -8, 1.5],
    "dropout": [3, -0.1, "0.5"],
}


@pytest.mark.parametrize(
    "network,setting,value",
    [(n, key, value) for key, values in BAD_SETTINGS.items() for value in values for n in NETWORKS if accepts(n, key)],
    ids=name,
)
def test_impossible_settings_are_refused(network, setting, value):
    with pytest.raises((ValueError, TypeError), match=f"{setting}.*({FRENCH})"):
        build(network, **{setting: value})


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("network", NETWORKS, ids=name)
def test_a_narrow_network_works_or_is_refused(network, width):
    try:
        small = build(network, width=width)
    except ValueError as error:
        assert "width doit valoir au moins" in str(error)
    else:
        assert small(*inputs(small)).isfinite().all()


@pytest.mark.parametrize("module", [m for m in MODELS if hasattr(m, "SIZES")], ids=lambda m: m.__name__)
@pytest.mark.parametrize("asked", [(3, 1, 1), (1, 50, 50), (4, 64, 64), (3, 500, 500), (3, 64, 32)])
def test_the_nearest_size_is_proposed(module, asked):
    nearest = min(module.SIZES, key=lambda size: abs(size - asked[2]))
    for network in (n for n in (module.Generator, module.Discriminator) if accepts(n, "image_shape")):
        with pytest.raises(ValueError, match=rf"carrées de 1 ou 3 canaux.*{module.SIZES[-1]}.*size={nearest}\)"):
            network(image_shape=asked)


BAD_INPUTS = {
    "rien": lambda x, y: (None, y),
    "une liste": lambda x, y: (x.tolist(), y),
    "une dimension de plus, comme dans le tutoriel": lambda x, y: (x[..., None, None], y),
    "sans axe du lot": lambda x, y: (x[0], y),
    "trop grande": lambda x, y: (torch.cat([x, x], dim=-1), y),
    "trop petite": lambda x, y: (x[..., 1:], y),
    "64 bits": lambda x, y: (x.double(), y),
}
BAD_LABELS = {
    "absentes": lambda y: None,
    "réelles": lambda y: y.float(),
    "en liste": lambda y: y.tolist(),
    "trop grandes": lambda y: y + 2,
    "négatives": lambda y: y - 1,
    "trop peu": lambda y: y[:1],
    "en colonne": lambda y: y[:, None],
}


@pytest.mark.parametrize("network,classes", VERSIONS, ids=name)
def test_bad_inputs_are_explained(network, classes):
    judge = build(network, num_classes=classes)
    x, y = inputs(judge)
    calls = {key: spoil(x, y) for key, spoil in BAD_INPUTS.items()}
    if len(judge.input_shape) == 3:
        calls["des octets"] = (x.to(torch.uint8), y)
    if classes:
        calls |= {key: (x, spoil(y)) for key, spoil in BAD_LABELS.items()}
    else:
        calls["étiquettes de trop"] = (x, torch.tensor([0, 1]))
    for key, arguments in calls.items():
        for training in (True, False):
            with pytest.raises(ValueError) as caught:
                judge.train(training)(*arguments)
            assert any(word in str(caught.value) for word in FRENCH.split("|")), (key, caught.value)
            assert caught.value.__suppress_context__, f"{key} : l'erreur anglaise ne doit pas s'afficher avant"


@pytest.mark.parametrize("network", NETWORKS, ids=name)
def test_a_batch_of_one_works_or_is_explained(network):
    alone = build(network).train()
    x, y = inputs(alone)
    one = (x[:1], None if y is None else y[:1])
    try:
        alone(*one)
    except ValueError as error:
        assert "BatchNorm" in str(error) and ".eval()" in str(error)
    assert len(alone.eval()(*one)) == 1


def test_an_error_that_is_not_about_the_inputs_is_left_alone():
    class Broken(dense.Generator):
        def forward(self, z, y=None):
            raise RuntimeError("plus de mémoire")

    with pytest.raises(RuntimeError, match="plus de mémoire"):
        Broken()(torch.randn(2, 100))


def test_the_message_says_what_was_received_and_what_to_do():
    g = dense.Generator()
    for z, words in (
        (torch.randn(4, 100, 1, 1), r"\(4, 100, 1, 1\).*\(B, 100\).*x.reshape\(-1, 100\)"),
        (torch.randn(100), r"\(100,\).*x\[None\]"),
        (torch.randn(4, 64), r"\(4, 64\).*torch.randn\(B, 100\)"),
        (torch.randn(4, 100).double(), r"float64.*x.to\(torch.float32\)"),
    ):
        with pytest.raises(ValueError, match=words):
            g(z)
    with pytest.raises(ValueError, match=r"\(2, 1, 32, 32\).*\(B, 1, 28, 28\).*size=28"):
        dense.Discriminator()(torch.randn(2, 1, 32, 32))
    with pytest.raises(ValueError, match="y va de 0 à 10 .* de 0 à 9"):
        conditional.Generator()(torch.randn(2, 16), torch.tensor([0, 10]))


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
        (lambda: dcgan.Generator(upsampling="nearest"), "nearest.*transposed"),
        (lambda: dcgan.Generator(kernel_size=2), "kernel_size.*3 ; reçu : 2"),
        (lambda: dcgan.Discriminator(kernel_size=2), "kernel_size.*3 ; reçu : 2"),
        (lambda: conditional.Generator(num_classes=0), "num_classes.*au moins 1"),
        (lambda: conditional.Discriminator(conditioning="somme"), "somme.*projection"),
    ],
)
def test_settings_of_one_model_only(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("module", MODELS, ids=lambda m: m.__name__.rpartition(".")[2])
def test_each_model_trains_by_its_recipe(module):
    """Ce que CONTRIBUTING demande d'un GAN : deux réseaux qui vont ensemble, et une recette."""
    generator, discriminator = build(module.Generator), build(module.Discriminator)
    recipe, shape = replace(module.RECIPE, batch_size=8), generator.image_shape
    pixels = torch.randint(0, 256, (16, *shape), dtype=torch.uint8) if len(shape) == 3 else None
    images = gaussian_ring(16) if pixels is None else ImageSet(pixels, torch.arange(16) % max(1, generator.num_classes))
    for progress in train(generator, discriminator, images, recipe, steps=2):
        assert math.isfinite(progress.d_loss) and math.isfinite(progress.g_loss)
    assert progress.step == 2


def test_a_residual_block_whose_convolutions_are_silent_passes_its_shortcut_on():
    block = residual.GeneratorBlock(4, 6, num_classes=0)
    x = torch.randn(2, 4, 5, 5)
    nn.init.zeros_(block.convolutions[1].weight)
    nn.init.zeros_(block.convolutions[1].bias)
    expected = block.shortcut(x).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block(x, None), expected)
