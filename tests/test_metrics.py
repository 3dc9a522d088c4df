"""Mesures : des cas dont on connaît la réponse, et torch-fidelity sur les mêmes caractéristiques."""

import math
import warnings

import numpy as np
import pytest
import torch

from gan_course import metrics
from gan_course.data import gaussian_grid, gaussian_ring, load_images
from gan_course.metrics import (
    density_coverage,
    frechet_distance,
    frechet_from_moments,
    kernel_distance,
    mode_coverage,
    moments,
    patch_distance,
    precision_recall,
)

DISTANCES = (frechet_distance, kernel_distance, precision_recall, density_coverage)


def cloud(count: int, dim: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Un nuage gaussien aux axes corrélés, et à la covariance mal conditionnée comme celle d'Inception."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(dim)) / dim**0.5
    spread = torch.logspace(0, -3, dim)
    return scale * torch.randn(count, dim, generator=draw) * spread @ mixing + shift


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
        (torch.zeros(0, 2), 0.1, r"\(0, 2\)"),
        (torch.zeros(3, 2), 0.0, "std=0.0"),
        (torch.full((3, 2), float("nan")), 0.1, "divergé"),
    ],
)
def test_bad_input(points, std, words):
    with pytest.raises(ValueError, match=words):
        mode_coverage(points, torch.zeros(4, 2), std)


def test_covariance_is_that_of_torch():
    x = cloud(5000, 7) + 100
    mean, covariance = moments(x)
    torch.testing.assert_close(mean, x.double().mean(0))
    torch.testing.assert_close(covariance, torch.cov(x.T.double()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count,dim", [(500, 8), (300, 256), (100, 256)])
@pytest.mark.filterwarnings("ignore:.*plein rang")
def test_frechet_of_a_cloud_with_itself_is_zero(count, dim):
    x = cloud(count, dim, shift=3)
    assert 0 <= frechet_distance(x, x) < 1e-10
    assert 0 <= frechet_distance(x, x.flip(0)) < 1e-10


def test_frechet_of_a_shift_is_its_squared_length():
    x, shift = cloud(400, 16), torch.linspace(-1, 2, 16)
    assert frechet_distance(x, x + shift) == pytest.approx(shift.square().sum().item(), rel=1e-5)


def test_frechet_closed_forms():
    zero = torch.zeros(3)
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 4.0, 0.0])
    # Covariances diagonales : somme des (σ_a - σ_b)².
    assert frechet_from_moments(zero, a.diag(), zero, b.diag()) == pytest.approx(1 + 0 + 9)
    # Un facteur d'échelle s : tr(S)·(s - 1)².
    s = moments(cloud(300, 12))[1]
    zero = torch.zeros(12)
    assert frechet_from_moments(zero, s, zero, 4 * s) == pytest.approx(s.trace().item(), rel=1e-9)
    # En dimension 2, tr √(AB) = √(tr AB + 2 √det AB), même quand A et B ne commutent pas.
    a, b = (m.double() for m in (torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([[1.0, -0.5], [-0.5, 4.0]])))
    root = ((a @ b).trace() + 2 * (a @ b).det().sqrt()).sqrt()
    expected = (a.trace() + b.trace() - 2 * root).item()
    assert frechet_from_moments(torch.zeros(2), a, torch.zeros(2), b) == pytest.approx(expected, rel=1e-9)


def test_frechet_is_symmetric_and_ignores_rotations():
    a, b = cloud(300, 10, 1), cloud(400, 10, 2, 1.5, 0.3)
    rotation = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(0)))[0]
    value = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(value, rel=1e-4)


def test_frechet_warns_when_covariance_is_rank_deficient():
    with pytest.warns(UserWarning, match="20 échantillons pour 32 dimensions"):
        frechet_distance(cloud(20, 32), cloud(200, 32, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(cloud(33, 32), cloud(200, 32, 1))


@pytest.mark.parametrize("dim", [16, 192])
def test_frechet_equals_torch_fidelity(dim):
    theirs = pytest.importorskip("torch_fidelity.metric_fid")
    a, b = cloud(600, dim, 1).double(), cloud(500, dim, 2, 1.3, 0.1).double()
    expected = theirs.fid_statistics_to_metric(
        theirs.fid_features_to_statistics(a), theirs.fid_features_to_statistics(b), False
    )["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(expected, rel=1e-3)


def test_kernel_equals_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_kid")
    a, b = cloud(400, 48, 1), cloud(300, 48, 2, 1.3, 0.1)
    expected = theirs.kid_features_to_metric(
        a, b, kid_subsets=20, kid_subset_size=150, rng_seed=7, verbose=False, kid_kernel="poly"
    )
    found = kernel_distance(a, b, subset_size=150, subsets=20, seed=7)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert found.std == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-3)
    assert found.low < found.value < found.high


def test_kernel_by_hand():
    x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    # k(x1, x2) = 1 ; k(y1, y2) = 2³ ; k(x, y) = 1,5³, 2³, 2³, 1.
    expected = 1 + 8 - 2 * (1.5**3 + 8 + 8 + 1) / 4
    found = kernel_distance(x, y, subset_size=2, subsets=3)
    assert found.value == pytest.approx(expected) and found.std == pytest.approx(0)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_kernel_interval_holds_the_true_value():
    # x ~ N(0, I), y ~ N(μ, I) en dimension 3 : avec m = ‖μ‖², les moments d'ordre 1 à 3 donnent la vraie MMD².
    m = 3 * 0.3**2
    truth = m + m**2 / 3 + (m**3 + 6 * m**2 + 15 * m) / 27
    hits = 0
    for seed in range(60):
        x, y = torch.randn(2, 240, 3, generator=torch.Generator().manual_seed(seed))
        found = kernel_distance(x, y + 0.3, subset_size=60, subsets=30)
        hits += found.low <= truth <= found.high
    assert hits >= 52  # 57 attendus ; moins de 52 arrive moins d'une fois sur cent


def test_kernel_seed():
    a, b = cloud(200, 5, 1), cloud(200, 5, 2)
    assert kernel_distance(a, b, 50, seed=3) == kernel_distance(a, b, 50, seed=3)
    assert kernel_distance(a, b, 50, seed=3) != kernel_distance(a, b, 50, seed=4)
    assert kernel_distance(a, b) == kernel_distance(a, b, subset_size=100)


def test_precision_recall_equals_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = cloud(500, 20, 1), cloud(400, 20, 2, 0.7, 0.05)
    expected = theirs.prc_features_to_metric(fake, real, prc_neighborhood=3, prc_batch_size=100, verbose=False)
    found = precision_recall(real, fake)
    assert 0.1 < found.recall < found.precision
    assert found.precision == pytest.approx(expected["precision"], rel=1e-3)
    assert found.recall == pytest.approx(expected["recall"], rel=1e-3)


def test_density_coverage_by_brute_force():
    real, fake, k = cloud(120, 6, 1).double(), cloud(90, 6, 2, 0.8).double(), 5
    radius = (real[:, None] - real[None]).norm(dim=2).sort(dim=1).values[:, k]
    inside = (real[:, None] - fake[None]).norm(dim=2) < radius[:, None]
    found = density_coverage(real, fake, k)
    assert found.density == pytest.approx(inside.double().sum(0).mean().item() / k)
    assert found.coverage == pytest.approx(inside.any(1).double().mean().item())


def test_neighbours_do_not_depend_on_blocks(monkeypatch):
    real, fake = cloud(300, 8, 1), cloud(200, 8, 2)
    whole = precision_recall(real, fake), density_coverage(real, fake)
    monkeypatch.setattr(metrics, "BLOCK_ROWS", 37)
    monkeypatch.setattr(metrics, "BLOCK_DISTANCES", 5000)
    assert (precision_recall(real, fake), density_coverage(real, fake)) == whole


def test_neighbours_far_from_the_origin():
    real, fake = cloud(300, 8, 1).double(), cloud(300, 8, 2).double()
    assert precision_recall(real + 1e6, fake + 1e6) == precision_recall(real, fake)


def test_a_copy_and_a_collapse():
    real = cloud(300, 8)
    assert precision_recall(real, real) == (1, 1)
    density, coverage = density_coverage(real, real)
    assert density == pytest.approx(1, abs=0.01) and coverage == 1
    collapsed = real[:1] + 1e-4 * torch.randn(300, 8)
    assert precision_recall(real, collapsed).precision == 1
    assert precision_recall(real, collapsed).recall < 0.02
    assert density_coverage(real, collapsed).coverage < 0.05


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    "a,b,words",
    [
        (torch.zeros(10, 3), torch.zeros(10, 4), "3 dimensions .* en a 4.* même espace"),
        (torch.zeros(10), torch.zeros(10, 4), r"\(10,\)"),
        (torch.zeros(10, 0), torch.zeros(10, 0), r"\(10, 0\)"),
        (torch.zeros(0, 4), torch.zeros(10, 4), r"\(0, 4\)"),
        (torch.zeros(10, 4), torch.zeros(1, 4), r"\(1, 4\).*au moins"),
        (torch.zeros(10, 4), torch.full((10, 4), math.nan), "divergé"),
        (torch.full((10, 4), math.inf), torch.zeros(10, 4), "divergé"),
    ],
)
def test_distances_refuse_bad_features(distance, a, b, words):
    with pytest.raises(ValueError, match=words):
        distance(a, b)


@pytest.mark.parametrize("options", [{"subset_size": 11}, {"subset_size": 1}, {"subsets": 0}])
def test_kernel_refuses_impossible_subsets(options):
    with pytest.raises(ValueError, match="subset_size <= 10"):
        kernel_distance(cloud(10, 4), cloud(12, 4), **options)


@pytest.mark.parametrize("k, words", [(0, "k doit valoir au moins 1"), (10, r"\(10, 4\).*au moins 11")])
def test_neighbours_refuse_impossible_k(k, words):
    with pytest.raises(ValueError, match=words):
        precision_recall(cloud(10, 4), cloud(12, 4), k)


def test_mode_coverage_reads_numpy_too():
    points = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)
    assert mode_coverage(points, points, std=0.1).covered == 2


def test_patches_see_blur_noise_and_checkerboards_and_grow_with_them():
    torch.manual_seed(0)
    images = load_images("faces", size=32, n=600).images
    real, other = images[:300], images[300:]
    floor = patch_distance(real, other)
    assert floor == patch_distance(real, other) < 0.06 and patch_distance(real, real, seed=1) < floor + 0.02
    x = other.float()
    noise, board = torch.randn(x.shape), 1 - 2 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2)
    ways = {
        "bruit": lambda s: x + 60 * s * noise,
        "damier": lambda s: x + 60 * s * board,
        "flou": lambda s: (1 - s) * x + s * torch.nn.functional.avg_pool2d(x, 5, 1, 2),
    }
    for name, way in ways.items():
        grows = [patch_distance(real, way(s).round().clamp(0, 255).to(torch.uint8)) for s in (0.1, 0.2, 0.4, 0.7, 1.0)]
        assert sorted(grows) == grows and grows[-1] > 4 * floor, (name, grows)
    with pytest.raises(ValueError, match="de même forme"):
        patch_distance(real, other[:, :, :16])


@pytest.mark.parametrize("smallest", [0, 2, 6, 10, 14, 18])
def test_frechet_between_commuting_gaussians_whatever_their_conditioning(smallest):
    """S_a et S_b diagonales dans une même base : la distance est Σ (√a - √b)². Variances de 1 à 10^-smallest."""
    base = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64)).Q
    a = torch.logspace(0, -smallest, 200, dtype=torch.float64)
    b = a[torch.randperm(200)] * 1.3
    mean = torch.zeros(200, dtype=torch.float64)
    found = frechet_from_moments(mean, base @ a.diag() @ base.T, mean, base @ b.diag() @ base.T)
    assert found == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item(), rel=1e-6)
    # À distance nulle : au plus la racine de l'arrondi sur ce qu'il annule.
    assert frechet_from_moments(mean, base @ a.diag() @ base.T, mean, base @ a.diag() @ base.T) < 1e-8 * a.sum()


def test_frechet_sees_a_difference_that_lies_in_tiny_variances():
    """Cinquante directions égales, cent cinquante de variance 1e-12 contre 4e-12 : la distance est 150 × (1e-6)²."""
    a = torch.cat([torch.ones(50), torch.full((150,), 1e-12)]).double()
    b = torch.cat([torch.ones(50), torch.full((150,), 4e-12)]).double()
    base, mean = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64)).Q, torch.zeros(200, dtype=torch.float64)
    found = frechet_from_moments(mean, base @ a.diag() @ base.T, mean, base @ b.diag() @ base.T)
    assert found == pytest.approx(1.5e-10, rel=1e-2)
