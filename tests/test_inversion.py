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
        (torch.zeros(1, 1, 4, 4), {"start": torch.zeros(1, 5)}, r"\(1, 5\).*\(N, 3\)"),
        (torch.zeros(1, 1, 4, 4), {"start": torch.zeros(2, 3)}, "2 codes reçus pour 1 images"),
        (torch.zeros(1, 1, 4, 4), {"start": torch.full((1, 3), float("nan"))}, "start.: NaN"),
        (torch.zeros(1, 1, 4, 4), {"steps": 0}, "steps doit valoir au moins 1"),
        (torch.zeros(1, 1, 4, 4), {"lr": -1.0}, "lr=-1.0"),
        (torch.zeros(1, 1, 4, 4), {"lr": float("inf")}, "lr=inf"),
        (torch.zeros(1, 1, 4, 4), {"prior": float("nan")}, "prior=nan"),
        (torch.zeros(1, 1, 4, 4), {"prior": float("inf")}, "prior=inf"),
        (torch.zeros(1, 1, 4, 4), {"labels": torch.zeros(1, dtype=torch.int64)}, "pas conditionnel"),
    ],
)
def test_bad_input_is_said(images, options, message):
    with pytest.raises(ValueError, match=message):
        invert(Linear(), images, **options)


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, "conditionnel.*étiquettes"),
        ([0, 1, 2], r"\(3,\).*\(2,\)"),
        ([0.0, 1.0], "float32"),
        ([0, 3], "de 0 à 3"),
        (-1, "-1"),
    ],
)
def test_wrong_classes_are_said(labels, message):
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8)
    with pytest.raises(ValueError, match=message):
        invert(generator, torch.zeros(2, 1, 28, 28), steps=1, candidates=1, labels=labels)


def test_classes_may_be_a_list_or_one_number():
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8)
    options = dict(images=torch.zeros(2, 1, 28, 28), steps=2, candidates=3)
    one, listed = (invert(generator, labels=labels, **options).codes for labels in (1, [1, 1]))
    assert torch.equal(one, listed)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_descends_where_gradients_are_off(context):
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8)
    options = dict(steps=3, candidates=2, seed=1)
    with context():
        images, y, start = torch.zeros(2, 1, 28, 28), torch.tensor([0, 2]), torch.zeros(2, 4)
        found = invert(generator, images, labels=y, **options), invert(generator, images, labels=y, start=start)
    expected = invert(generator, torch.zeros(2, 1, 28, 28), labels=torch.tensor([0, 2]), **options)
    assert torch.equal(found[0].codes, expected.codes) and found[1].codes.norm() > 0


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-4), (torch.bfloat16, 0.1)])
def test_codes_follow_the_precision_of_the_generator(dtype, tolerance):
    generator, z = Linear().to(dtype), torch.tensor([[1.0, -1.0, 0.5]])
    found = invert(generator, generator(z.to(dtype)).detach(), steps=600, prior=0.0)
    assert found.codes.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found.codes.float(), z, atol=tolerance, rtol=0)


def test_a_diverged_generator_is_said():
    generator = Linear()
    torch.nn.init.constant_(generator.matrix, float("nan"))
    with pytest.raises(ValueError, match="le générateur a divergé"):
        invert(generator, torch.zeros(1, 1, 4, 4), steps=1)


def test_attribute_directions_point_from_without_to_with():
    torch.manual_seed(0)
    has = (torch.rand(400, 2) > 0.5).float()
    codes = 0.1 * torch.randn(400, 5)
    codes[:, 1] += 3 * has[:, 0]
    codes[:, 4] -= 2 * has[:, 1]
    directions = attribute_directions(codes, has)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(2))
    assert directions[0, 1] > 0.95 and directions[1, 4] < -0.95
    for same in (2 * has - 1, has.bool(), has.long()):
        torch.testing.assert_close(attribute_directions(codes, same), directions)
    with pytest.raises(ValueError, match=r"n° \[1\]"):
        attribute_directions(codes, torch.stack([has[:, 0], torch.ones(400)], 1))
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        attribute_directions(codes, has[:3])


@pytest.mark.parametrize(
    "codes, attributes, message",
    [
        (torch.full((4, 2), float("nan")), torch.eye(4), "codes.: NaN"),
        (torch.zeros(4, 2), torch.full((4, 1), float("nan")), "de nan à nan"),
        (torch.zeros(4, 2), torch.linspace(-3, 3, 4)[:, None], "de -3 à 3 reçues.*seuil"),
        (torch.zeros(4, 2), torch.tensor([[-1.0], [0], [1], [1]]), "de -1 à 1 reçues"),
        (torch.zeros(4, 2), None, "None reçu.*attributes=False"),
    ],
)
def test_attributes_that_are_not_yes_or_no_are_said(codes, attributes, message):
    with pytest.raises(ValueError, match=message):
        attribute_directions(codes, attributes)


def test_a_copy_is_its_own_neighbour():
    images = ImageSet(torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8))
    chosen = torch.tensor([7, 31])
    batch = images.images[chosen].float() / 127.5 - 1
    numbers, distances = nearest_neighbours(batch, images, pixels(8), k=3)
    assert numbers.shape == (2, 3) and numbers[:, 0].tolist() == [7, 31]
    assert distances[:, 0].max() < 1e-6 < distances[:, 1].min()
    with pytest.raises(ValueError, match="k=41"):
        nearest_neighbours(batch, images, pixels(8), k=41)
    with pytest.raises(TypeError, match="k doit être un entier"):
        nearest_neighbours(batch, images, pixels(8), k=1.5)


def test_a_named_space_is_loaded():
    images = ImageSet(torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8))
    batch = images.images[[3]].float() / 127.5 - 1
    assert nearest_neighbours(batch, images, "digits")[0].tolist() == [[3]]
