"""L'autoencodeur adverse : le jeu porte sur les codes, la boucle est celle de tous les GAN."""

from dataclasses import replace

import pytest
import torch

from gan_course.data import ImageSet, load_images
from gan_course.engine.device import choose_compute
from gan_course.models import aae, dcgan
from gan_course.training import Gan, discriminator_step, generator_step, train


def pair(classes=0, size=28, latent_dim=8, **kwargs):
    torch.manual_seed(0)
    generator = aae.Generator((1, size, size), classes, latent_dim, width=4)
    return generator, aae.Discriminator(latent_dim, classes, width=32)


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", size=28)


def noise_set(classes=0):
    images = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8)
    return ImageSet(images, torch.arange(64) % classes if classes else None)


@pytest.mark.parametrize("size", dcgan.SIZES)
@pytest.mark.parametrize("classes", [0, 3])
def test_shapes(size, classes):
    generator, discriminator = pair(classes, size)
    y = torch.tensor([0, 2]) if classes else None
    codes = generator.encode(torch.rand(2, 1, size, size) * 2 - 1)
    assert codes.shape == (2, 8)
    assert generator(codes, y).shape == (2, 1, size, size) and generator(codes, y).abs().max() <= 1
    assert discriminator(codes, y).shape == (2,)


def test_d_compares_gaussian_draws_with_codes(digits):
    gan = Gan(*pair(), aae.RECIPE, choose_compute("cpu"))
    images, _ = digits.batch(0, 64, 0)
    real, fake, extra = gan.real_and_fake(images, None, aae.RECIPE)
    assert real.shape == fake.shape == (64, 8) and not real.requires_grad and fake.requires_grad
    assert abs(real.mean()) < 0.2 and real.std() == pytest.approx(1, abs=0.15), "le vrai est un tirage de N(0, I)"
    with torch.no_grad():
        error = (gan.generator(gan.generator.encode(images)) - images).square().mean()
    assert extra.item() == pytest.approx(20 * error.item(), rel=1e-4)


def test_d_step_leaves_the_autoencoder_untouched(digits):
    gan = Gan(*pair(), aae.RECIPE, choose_compute("cpu"))
    before = [p.clone() for p in gan.generator.parameters()]
    real, fake, extra = gan.real_and_fake(digits.batch(0, 64, 0)[0], None, aae.RECIPE)
    discriminator_step(gan, real, fake)
    assert all(p.grad is None and torch.equal(p, old) for p, old in zip(gan.generator.parameters(), before))
    judge = [p.clone() for p in gan.discriminator.parameters()]
    generator_step(gan, real, fake, None, extra)
    assert all(torch.equal(p, old) for p, old in zip(gan.discriminator.parameters(), judge))
    moved = [name for (name, p), old in zip(gan.generator.named_parameters(), before) if not torch.equal(p, old)]
    assert any(name.startswith("encode.") for name in moved) and any(name.startswith("decoder") for name in moved)


def test_it_learns_to_reconstruct_and_its_codes_approach_the_prior(digits):
    generator, discriminator = pair()
    start = generator.eval().encode(digits.batch(0, 512, 0)[0])
    for progress in train(generator, discriminator, digits, aae.RECIPE, steps=150):
        pass
    images = digits.batch(0, 512, 0)[0]
    with torch.no_grad():
        codes = progress.ema.encode(images)
        error = (progress.ema(codes) - images).square().mean()
    plain = (images - images.mean(0)).square().mean()
    assert error < 0.85 * plain, "mieux que de rendre l'image moyenne"
    assert abs(codes.std(0).mean() - 1) < abs(start.std(0).mean() - 1)


@pytest.mark.parametrize("classes", [0, 3])
def test_resuming_is_exact(tmp_path, classes):
    images = noise_set(classes)
    straight, halved = pair(classes), pair(classes)
    for _ in train(*straight, images, aae.RECIPE, steps=4):
        pass
    for steps in (2, 4):
        for _ in train(*halved, images, aae.RECIPE, steps, tmp_path / "aae.pt"):
            pass
        halved = halved if steps == 4 else pair(classes)
    for one, other in zip(straight, halved):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_a_gan_and_an_autoencoder_are_not_confused():
    generator, discriminator = pair()
    images = noise_set()
    with pytest.raises(ValueError, match="la recette ne reconstruit pas"):
        next(train(generator, discriminator, images, replace(dcgan.RECIPE, batch_size=64), steps=1))
    with pytest.raises(ValueError, match="encode"):
        gan = dcgan.Generator((1, 28, 28), width=4), dcgan.Discriminator((1, 28, 28), width=4)
        next(train(*gan, images, aae.RECIPE, steps=1))
    with pytest.raises(ValueError, match="codes de 8 nombres.*juge des images"):
        next(train(generator, dcgan.Discriminator((1, 28, 28), width=4), images, aae.RECIPE, steps=1))
    with pytest.raises(ValueError, match="en attend 5"):
        next(train(generator, aae.Discriminator(5), images, aae.RECIPE, steps=1))
    with pytest.raises(ValueError, match="reconstruction=-1"):
        replace(aae.RECIPE, reconstruction=-1)


def test_the_encoder_explains_bad_images():
    with pytest.raises(ValueError, match=r"\(2, 1, 32, 32\).*size=28"):
        pair()[0].encode(torch.randn(2, 1, 32, 32))


def frozen_gan():
    torch.manual_seed(3)
    generator = dcgan.Generator((1, 28, 28), latent_dim=8, width=4)
    for layer in generator.modules():
        if isinstance(layer, torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(layer.weight, std=0.2)  # aux poids de départ, toutes ses images seraient grises
    return generator


def test_the_inverter_leaves_the_generator_alone_and_learns_its_codes():
    generator = frozen_gan().eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    inverter, z = aae.Inverter(generator, width=8), torch.randn(256, 8)
    images = ((generator(torch.randn(512, 8)) + 1) * 127.5).round().to(torch.uint8)

    def code_error(network):
        with torch.no_grad():
            return (network.eval().encode(generator(z)) - z).square().mean().item()

    start = code_error(aae.Inverter(generator, width=8))
    recipe = replace(aae.INVERSION_RECIPE, cycle=10.0)
    for progress in train(inverter, aae.Discriminator(8), ImageSet(images), recipe, steps=60):
        pass
    assert code_error(progress.ema) < 0.8 * start
    for name, value in progress.ema.decoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_cycle_weighs_the_error_on_the_codes():
    inverter = aae.Inverter(frozen_gan(), width=4).eval()
    x, extras = torch.rand(16, 1, 28, 28) * 2 - 1, []
    for cycle in (0.0, 1.0, 3.0):
        gan = Gan(inverter, aae.Discriminator(8), replace(aae.INVERSION_RECIPE, cycle=cycle), choose_compute("cpu"))
        gan.generator.eval()  # les statistiques de E ne doivent pas bouger d'un calcul à l'autre
        torch.manual_seed(7)
        z, _, extra = gan.real_and_fake(x, None, gan.recipe)
        extras.append(extra.item())
    error = (inverter.encode(inverter(z)) - z).square().mean().item()
    assert extras[1] - extras[0] == pytest.approx(error, rel=1e-3)
    assert extras[2] - extras[0] == pytest.approx(3 * error, rel=1e-3)


def test_resuming_an_inverter_is_exact(tmp_path):
    images, results = noise_set(), []
    for halves in ((4,), (2, 4)):
        for steps in halves:
            torch.manual_seed(0)
            inverter, judge = aae.Inverter(frozen_gan(), width=4), aae.Discriminator(8)
            path = tmp_path / f"{len(halves)}.pt"
            for _ in train(inverter, judge, images, aae.INVERSION_RECIPE, steps, path):
                pass
        results.append(inverter.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_cycle_needs_an_encoder():
    with pytest.raises(ValueError, match="cycle=1.0 sans reconstruction"):
        replace(dcgan.RECIPE, cycle=1.0)
