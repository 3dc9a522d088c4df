"""Couverture de modes : des cas dont on connaît la réponse."""

import pytest
import torch

from gan_course.data import gaussian_grid, gaussian_ring
from gan_course.metrics import mode_coverage


@pytest.mark.parametrize("data,modes", [(gaussian_ring(8000), 8), (gaussian_grid(8000), 25)])
def test_the_data_cover_their_own_modes(data, modes):
    found = mode_coverage(data.points, data.centers, data.std)
    assert (found.covered, found.modes) == (modes, modes)
    # À deux dimensions, P(distance <= 3 écarts-types) = 1 - exp(-9/2).
    assert found.precision == pytest.approx(0.98889, abs=0.006)
    assert int(found.counts.sum()) == round(found.precision * 8000)


def test_collapse_is_seen_even_with_stray_points():
    ring = gaussian_ring(8000)
    one_mode = ring.centers[:1] + ring.std * torch.randn(1000, 2)
    one_mode[:7] = ring.centers[1:]  # un point isolé sur chacun des sept autres modes
    found = mode_coverage(one_mode, ring.centers, ring.std)
    assert found.covered == 1 and found.precision > 0.98


def test_points_far_from_every_mode():
    found = mode_coverage(torch.zeros(10, 2), gaussian_ring(100).centers, 0.02)
    assert found.covered == 0 and found.precision == 0


@pytest.mark.parametrize(
    "points,std,words",
    [
        (torch.zeros(3), 0.1, r"\(3,\)"),
        (torch.zeros(3, 5), 0.1, r"\(3, 5\)"),
        (torch.zeros(0, 2), 0.1, "0 points"),
        (torch.zeros(3, 2), 0.0, "std=0.0"),
        (torch.full((3, 2), float("nan")), 0.1, "divergé"),
    ],
)
def test_bad_input(points, std, words):
    with pytest.raises(ValueError, match=words):
        mode_coverage(points, torch.zeros(4, 2), std)
