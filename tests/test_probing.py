"""Les mesures de correspondance, sur des cas dont on connaît la réponse."""

import pytest
import torch

from gan_course.probing import canonical_correlations, chance, correspondence

DRAW = torch.Generator().manual_seed(0)
PARAMETERS = torch.rand(1_000, 4, generator=DRAW) * 6 - 3


def test_a_linear_code_says_everything():
    mixing = torch.randn(4, 8, generator=DRAW)
    found = correspondence(PARAMETERS @ mixing + 5, PARAMETERS)
    assert found.canonical.shape == found.linear.shape == found.neighbours.shape == (4,)
    assert found.canonical.min() > 0.99 and found.linear.min() > 0.99 and found.neighbours.min() > 0.7


def test_noise_says_nothing_and_chance_says_the_same():
    noise = torch.randn(1_000, 8, generator=DRAW)
    found = correspondence(noise, PARAMETERS)
    assert found.canonical.abs().max() < 0.15 and found.linear.max() < 0.05 and found.neighbours.max() < 0.05
    for shuffled in chance(PARAMETERS, PARAMETERS, repeats=3):
        assert shuffled.canonical.abs().max() < 0.2 and shuffled.linear.max() < 0.05


def test_what_is_measured_was_not_used_to_fit():
    few, noise = PARAMETERS[:120], torch.randn(120, 16, generator=DRAW)
    found = correspondence(noise, few)
    assert found.linear.max() < 0.1, "sur les images d'ajustement, 16 bruits expliquent un quart de la variance"
    assert found.canonical.abs().max() < 0.4


def test_neighbours_see_what_a_line_cannot():
    found = correspondence(PARAMETERS[:, :1], PARAMETERS[:, :1].square())
    assert found.linear[0] < 0.1 < 0.9 < found.neighbours[0]


def test_only_the_described_parameters_are_found():
    found = correspondence(torch.cat([PARAMETERS[:, :2], torch.randn(1_000, 3, generator=DRAW)], 1), PARAMETERS)
    assert found.linear[:2].min() > 0.99 and found.linear[2:].max() < 0.1
    assert found.canonical[1] > 0.99 and found.canonical[2].abs() < 0.2


def test_canonical_correlation_of_two_gaussians():
    rho = 0.6
    x = torch.randn(20_000, 1, generator=DRAW, dtype=torch.float64)
    y = rho * x + (1 - rho**2) ** 0.5 * torch.randn(20_000, 1, generator=DRAW, dtype=torch.float64)
    halves = x[:10_000], y[:10_000], x[10_000:], y[10_000:]
    assert canonical_correlations(*halves).item() == pytest.approx(rho, abs=0.02)


@pytest.mark.parametrize(
    "codes, parameters, message",
    [
        (torch.zeros(10, 8), torch.zeros(10, 4), "10 images ne suffisent pas"),
        (torch.zeros(100), torch.zeros(100, 4), r"\(N, D\)"),
        (torch.zeros(100, 2), torch.zeros(99, 4), "100 codes pour 99"),
        (torch.full((100, 2), float("nan")), torch.zeros(100, 4), "NaN"),
        ("codes", torch.zeros(100, 4), "codes.: str reçu"),
        (torch.zeros(100, 2), None, "parameters.: NoneType reçu"),
        (torch.zeros(100, 0), torch.zeros(100, 4), r"codes.: \(100, 0\)"),
        (torch.zeros(100, 2), torch.zeros(100, 0), r"parameters.: \(100, 0\)"),
    ],
)
@pytest.mark.parametrize("measure", [correspondence, chance])
def test_bad_input_is_said(measure, codes, parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        measure(codes, parameters)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 51}, "k=51 .*50 images"),
        ({"k": 0}, "k doit valoir au moins 1"),
    ],
)
def test_bad_settings_are_said(options, message):
    with pytest.raises(ValueError, match=message):
        correspondence(torch.randn(100, 2, generator=DRAW), PARAMETERS[:100], **options)


@pytest.mark.parametrize("half", [0, 1])
def test_a_constant_parameter_is_refused(half):
    parameters = PARAMETERS[:100].clone()
    parameters[torch.randperm(100, generator=torch.Generator().manual_seed(0)).chunk(2)[half], 2] = 0.1
    with pytest.raises(ValueError, match=r"n° \[2\]"):
        correspondence(PARAMETERS[:100], parameters)
