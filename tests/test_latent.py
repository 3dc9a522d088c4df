"""Interpolations latentes : géométrie exacte, diffusion des formes, entrées refusées."""

import math

import pytest
import torch

from gan_course.latent import lerp, loop, slerp, walk
from gan_course.models import conditional, dcgan


@pytest.mark.parametrize("interpolate", [lerp, slerp])
def test_endpoints_are_the_arguments(interpolate):
    a, b = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(interpolate(a, b, 0.0), a)
    torch.testing.assert_close(interpolate(a, b, 1), b)


@pytest.mark.parametrize("interpolate", [lerp, slerp])
@pytest.mark.parametrize("shape", [(16,), (3, 16)])
def test_shape_is_t_then_a(interpolate, shape):
    a, b = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    times = torch.linspace(0, 1, 4)
    walk = interpolate(a, b, times)
    assert interpolate(a, b, 0.3).shape == shape
    assert interpolate(a, b, torch.tensor(0.3)).shape == shape
    assert walk.shape == (4, *shape)
    for i, t in enumerate(times):
        torch.testing.assert_close(walk[i], interpolate(a, b, float(t)))


def test_slerp_turns_at_constant_speed_on_the_circle():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    angles = torch.linspace(0, 1, 7)
    expected = torch.stack([(angles * math.pi / 2).cos(), (angles * math.pi / 2).sin()], dim=1)
    torch.testing.assert_close(slerp(a, b, angles), expected)


def test_slerp_keeps_equal_norms_and_lerp_shrinks_them():
    a, b = torch.randn(2, 8, 128, generator=torch.Generator().manual_seed(2))
    a, b = (math.sqrt(128) * v / v.norm(dim=1, keepdim=True) for v in (a, b))
    norms = slerp(a, b, torch.linspace(0, 1, 9)).norm(dim=-1)
    torch.testing.assert_close(norms, torch.full_like(norms, math.sqrt(128)))
    assert (lerp(a, b, 0.5).norm(dim=-1) < 0.85 * math.sqrt(128)).all()


def test_slerp_norm_is_linear_between_different_norms():
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 5.0])
    times = torch.linspace(0, 1, 5)
    torch.testing.assert_close(slerp(a, b, times).norm(dim=1), 2 + 3 * times)


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-5, 0.9e-4, 1.1e-4, 1e-3])
def test_slerp_joins_lerp_smoothly_when_nearly_parallel(gap):
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([3.0, 3 * gap])
    torch.testing.assert_close(slerp(a, b, 0.25), lerp(a, b, 0.25), rtol=1e-6, atol=1e-6)


def test_slerp_gradient_is_finite_for_parallel_vectors():
    a = torch.ones(4, requires_grad=True)
    slerp(a, torch.ones(4), 0.5).sum().backward()
    assert a.grad.isfinite().all()


def test_half_precision_is_kept():
    a, b = torch.randn(2, 32, generator=torch.Generator().manual_seed(3)).bfloat16()
    assert slerp(a, b, 0.5).dtype == lerp(a, b, 0.5).dtype == torch.bfloat16


def test_slerp_refuses_zero_and_antipodal_rows_by_number():
    a = torch.ones(3, 4)
    with pytest.raises(ValueError, match="La ligne 1 .*vecteur nul"):
        slerp(a, torch.stack([a[0], 0 * a[0], a[0]]), 0.5)
    with pytest.raises(ValueError, match="La ligne 2 .*infinité de chemins"):
        slerp(a, torch.stack([a[0], a[0], -2 * a[0]]), 0.5)
    with pytest.raises(ValueError, match="oppose a et b"):
        slerp(a[0], -a[0], 0.5)
    torch.testing.assert_close(lerp(a[0], -a[0], 0.5), torch.zeros(4))


@pytest.mark.parametrize("interpolate", [lerp, slerp])
def test_bad_input_is_explained(interpolate):
    a = torch.ones(4)
    with pytest.raises(ValueError, match=r"\(4,\) et b de forme \(5,\)"):
        interpolate(a, torch.ones(5), 0.5)
    with pytest.raises(ValueError, match="deux fois la même"):
        interpolate(a.expand(2, 4), a, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        interpolate(a, a * float("nan"), 0.5)
    with pytest.raises(ValueError, match="NaN"):
        interpolate(a, a, float("inf"))
    with pytest.raises(ValueError, match="t est de forme"):
        interpolate(a, a, torch.zeros(2, 2))
    with pytest.raises(TypeError, match="int64"):
        interpolate(a, torch.ones(4, dtype=torch.int64), 0.5)
    with pytest.raises(TypeError, match="list"):
        interpolate([1.0], a, 0.5)


def test_walk_needs_no_labels_from_an_unconditional_student():
    class Student(torch.nn.Linear):
        latent_dim = 4

        def forward(self, z):
            return super().forward(z).view(-1, 1, 2, 2)

    assert walk(Student(4, 4), torch.randn(4), torch.randn(4), steps=3).shape == (1, 3, 1, 2, 2)


@pytest.mark.parametrize(
    "y, error, message",
    [
        (None, ValueError, "conditionnel.*étiquettes"),
        (1.7, ValueError, "float32"),
        ("chat", TypeError, "str reçu"),
        (3, ValueError, "de 0 à 2"),
        ([0, 1], ValueError, r"\(2,\)"),
    ],
)
def test_wrong_classes_are_said(y, error, message):
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8)
    with pytest.raises(error, match=message):
        walk(generator, torch.randn(4), torch.randn(4), y=y)


def test_a_class_for_nothing_is_said():
    generator = dcgan.Generator((1, 28, 28), latent_dim=4, width=4)
    with pytest.raises(ValueError, match="pas conditionnel"):
        walk(generator, torch.randn(4), torch.randn(4), y=1)


def test_walks_accept_arrays_and_refuse_the_rest():
    generator, points = dcgan.Generator((1, 28, 28), latent_dim=4, width=4), torch.randn(2, 4)
    torch.testing.assert_close(loop(generator, points.double().numpy()), loop(generator, points))
    with pytest.raises(TypeError, match="z0.: str reçu"):
        walk(generator, "z", points[1])
    with pytest.raises(TypeError, match="points.: NoneType reçu"):
        loop(generator, None)
    with pytest.raises(ValueError, match="steps.*reçu.*0"):
        loop(generator, points, steps=0)
    for wander in (walk, lambda g, a, b, steps: loop(g, torch.stack([a, b]), steps)):
        with pytest.raises(TypeError, match="steps doit être un entier.*2.5"):
            wander(generator, *points, steps=2.5)


def test_a_loop_closes_without_repeating_its_corners():
    generator = dcgan.Generator((1, 28, 28), latent_dim=8, width=4).eval()
    points = torch.randn(3, 8)
    images = loop(generator, points, steps=4)
    assert images.shape == (12, 1, 28, 28)
    corners = generator(points).detach()
    torch.testing.assert_close(images[::4], corners, atol=1e-5, rtol=0)
    last = walk(generator, points[2], points[0], 5)[0, 3]
    torch.testing.assert_close(images[-1], last)
    with pytest.raises(ValueError, match="N d'au moins 2"):
        loop(generator, points[:1])
