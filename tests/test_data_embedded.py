"""Chiffres embarqués et fractales."""

import numpy as np
import pytest
import torch

from gan_course.data import load_images
from gan_course.data.fractals import (
    LOW,
    PALETTES,
    draw_fractals,
    sample_parameters,
    visit_counts,
)


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    expected = datasets.load_digits()
    train, test = load_images("digits", size=8), load_images("digits", size=8, split="test")
    pixels = torch.cat([train.images, test.images])[:, 0]
    assert np.array_equal(pixels.numpy(), (expected.images * 255 / 16).round())
    assert np.array_equal(torch.cat([train.labels, test.labels]).numpy(), expected.target)


def test_digits_at_default_size():
    digits = load_images("digits")
    assert digits.images.shape == (1_500, 1, 28, 28) and digits.class_names == tuple("0123456789")
    assert digits.images.min() == 0 and digits.images.max() == 255
    assert len(load_images("digits", split="test")) == 297
    small = torch.nn.functional.interpolate(digits.images.float(), 8, mode="area")
    reference = load_images("digits", size=8).images.float()
    assert np.corrcoef(small.flatten(), reference.flatten())[0, 1] > 0.97
    assert load_images("digits", size=33).image_shape == (1, 33, 33)


def test_fractals_depend_on_the_seed_alone(tmp_path):
    a = load_images("fractals", size=16, n=6, seed=3, root=tmp_path)
    b = load_images("fractals", size=16, n=6, seed=3, root=tmp_path / "autre")
    assert torch.equal(a.images, b.images) and torch.equal(a.factors, b.factors)
    assert a.images.shape == (6, 3, 16, 16) and a.labels is None
    assert a.factors.dtype == torch.float32 and a.factor_names == ("x0", "y0", "a", "b", "c", "d")
    for other in ({"seed": 4}, {"split": "test"}):
        options = {"size": 16, "n": 6, "seed": 3, "root": tmp_path} | other
        assert not torch.equal(load_images("fractals", **options).factors, a.factors)


def test_parameters_stay_in_bounds_and_fewer_are_a_prefix():
    many = sample_parameters(300, seed=1)
    assert many.shape == (300, 6) and (many >= LOW).all() and (many <= -LOW).all()
    assert np.array_equal(sample_parameters(10, seed=1), many[:10])
    assert np.array_equal(draw_fractals(many[:4], 16), draw_fractals(many[:9], 16)[:4])
    assert (visit_counts(many, 32, 32) > 0).mean((1, 2)).min() >= 0.16


def test_image_matches_a_plain_orbit():
    """Contre la définition, écrite naïvement : une seule longue orbite, un point à la fois."""
    parameters = np.array([[0.05, -0.99, -2.11, -1.74, -0.36, -1.19]])
    x, y, a, b, c, d = parameters[0]
    visited = []
    for _ in range(20_100):
        x, y = np.sin(b * y) + c * np.sin(b * x), np.sin(a * x) + d * np.sin(a * y)
        visited.append((x, y))
    points = np.array(visited[100:])
    low, high = points.min(0), points.max(0)
    cells = np.minimum(((points - low) / (high - low) * 16).astype(int), 15)
    expected = np.zeros((16, 16))
    np.add.at(expected, (15 - cells[:, 1], cells[:, 0]), 1)  # y vers le haut
    counts = visit_counts(parameters.astype(np.float32), 16, 400)[0]
    assert counts.sum() == 400 * 64
    assert np.corrcoef(counts.ravel(), expected.ravel())[0, 1] > 0.98
    assert np.corrcoef(counts[::-1].ravel(), expected.ravel())[0, 1] < 0.1
    assert ((counts > 0) == (expected > 0)).mean() > 0.95


@pytest.mark.parametrize("palette", PALETTES)
def test_palettes_white_ground_and_equalisation(palette):
    parameters = sample_parameters(4)
    images = draw_fractals(parameters, 32, palette=palette)
    empty = visit_counts(parameters, 32, 938) == 0
    assert images.dtype == np.uint8 and images.shape == (4, 3, 32, 32)
    assert (images.transpose(0, 2, 3, 1)[empty] == 255).all()
    colours = images.transpose(0, 2, 3, 1)[~empty]
    assert (colours.min(1) < 250).all()
    darkness = 255 - colours.mean(1)  # histogramme égalisé : toutes les teintes servent
    assert np.ptp(darkness) > 100


def test_fractals_touch_the_four_borders():
    images = draw_fractals(sample_parameters(8), 24)
    ink = (images < 255).any(1)
    assert ink[:, 0].any(1).all() and ink[:, -1].any(1).all()
    assert ink[:, :, 0].any(1).all() and ink[:, :, -1].any(1).all()


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"palette": "rouge"}, ValueError),
        ({"n": 0}, ValueError),
        ({"seed": -1}, ValueError),
        ({"points": 0}, ValueError),
        ({"points": 1.5}, TypeError),
        ({"couleur": "blue"}, TypeError),
    ],
)
def test_fractals_refuse(tmp_path, wrong, error):
    with pytest.raises(error, match=next(iter(wrong.values())).__str__().replace(".", r"\.") + "|couleur"):
        load_images("fractals", size=16, root=tmp_path, **{"n": 4} | wrong)
    assert not list(tmp_path.glob("cache/*"))


def test_draw_fractals_refuses_other_shapes():
    for wrong in (np.zeros((3, 5)), np.zeros(6), np.zeros((0, 6)), np.full((1, 6), np.nan)):
        with pytest.raises(ValueError, match="N, 6"):
            draw_fractals(wrong)


def test_published_parameters(shared_data):
    """Les 1 984 jeux publiés se dessinent tous, et toujours pareil, quel que soit le bloc où ils tombent."""
    with np.load(shared_data / "fractal_dream_parametres_1984.npz") as stored:
        parameters = stored["parametres"]
    assert parameters.shape == (1_984, 6)
    images = draw_fractals(parameters, 32, 8_000)
    assert (images < 255).any(1).mean((1, 2)).min() > 0.1
    assert np.array_equal(draw_fractals(parameters[::-1], 32, 8_000)[::-1], images)
    assert np.array_equal(draw_fractals(parameters[1_000:1_003], 32, 8_000), images[1_000:1_003])

