"""Inverser un générateur, suivre un attribut, chercher une copie."""

import pytest
import torch
from torch import nn

from gan_course.data import ImageSet
from gan_course.features import pixels
from gan_course.inversion import attribute_directions, invert, nearest_neighbours
from gan_course.models import conditional, dcgan


class Linear(nn.Module):
    """G(z) = A z : l'inversion y a une réponse connue."""

    image_shape, latent_dim, num_classes = (1, 4, 4), 3, 0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.matrix = nn.Parameter(0.1 * torch.randn(3, 16))

    def forward(self, z):
        return (z @ self.matrix).view(-1, 1, 4, 4)


def test_it_finds_the_codes_of_a_linear_generator():
    generator, z = Linear(), torch.randn(5, 3)
    images = generator(z).detach()
    found = invert(generator, images, steps=600, prior=0.0)
    torch.testing.assert_close(found.codes, z, atol=0.02, rtol=0)
    assert found.errors.max() < 1e-5 and found.images.shape == images.shape
    assert generator.matrix.grad is None


def test_the_prior_keeps_codes_in_the_shell():
    generator = Linear()
    images = generator(torch.full((1, 3), 4.0)).detach().clamp(-1, 1)
    free, held = (invert(generator, images, steps=600, prior=prior).codes.norm() for prior in (0.0, 10.0))
    assert free > 5 and held == pytest.approx(3**0.5, rel=0.2)


def test_several_candidates_start_closer():
    generator = dcgan.Generator((1, 28, 28), latent_dim=4, width=4).train()
    images = generator.eval()(torch.randn(3, 4)).detach()
    generator.train()
    buffers = [b.clone() for b in generator.buffers()]
    one, many = (invert(generator, images, steps=1, lr=1e-9, candidates=n).errors.mean() for n in (1, 300))
    assert many < one
    assert generator.training and all(torch.equal(b, old) for b, old in zip(generator.buffers(), buffers))


def test_a_conditional_generator_keeps_its_classes():
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8).eval()
    y = torch.tensor([0, 2])
    images = generator(torch.randn(2, 4), y).detach()
    found = invert(generator, images, steps=3, candidates=5, labels=y)
    assert found.codes.shape == (2, 4)


@pytest.mark.parametrize(
    "images, options, message",
    [
        (torch.zeros(2, 1, 8, 8), {}, r"\(2, 1, 8, 8\) reçu.*size=4"),
        (torch.zeros(0, 1, 4, 4), {}, "reçu"),
        (torch.full((1, 1, 4, 4), 200.0), {}, r"\[-1, 1\]"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.uint8), {}, r"\[-1, 1\]"),
        (torch.zeros(1, 1, 4, 4), {"start": torch.zeros(1, 5)}, r"\(1, 3\)"),
        (torch.zeros(1, 1, 4, 4), {"steps": 0}, "steps=0"),
        (torch.zeros(1, 1, 4, 4), {"lr": -1.0}, "lr=-1.0"),
    ],
)
def test_bad_input_is_said(images, options, message):
    with pytest.raises(ValueError, match=message):
        invert(Linear(), images, **options)


def test_attribute_directions_point_from_without_to_with():
    torch.manual_seed(0)
    has = (torch.rand(400, 2) > 0.5).float()
    codes = 0.1 * torch.randn(400, 5)
    codes[:, 1] += 3 * has[:, 0]
    codes[:, 4] -= 2 * has[:, 1]
    directions = attribute_directions(codes, has)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(2))
    assert directions[0, 1] > 0.95 and directions[1, 4] < -0.95
    with pytest.raises(ValueError, match=r"n° \[1\]"):
        attribute_directions(codes, torch.stack([has[:, 0], torch.ones(400)], 1))
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        attribute_directions(codes, has[:3])


def test_a_copy_is_its_own_neighbour():
    images = ImageSet(torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8))
    chosen = torch.tensor([7, 31])
    batch = images.images[chosen].float() / 127.5 - 1
    numbers, distances = nearest_neighbours(batch, images, pixels(8), k=3)
    assert numbers.shape == (2, 3) and numbers[:, 0].tolist() == [7, 31]
    assert distances[:, 0].max() < 1e-6 < distances[:, 1].min()
    with pytest.raises(ValueError, match="k=41"):
        nearest_neighbours(batch, images, pixels(8), k=41)
