"""Pénalités : valeurs exactes sur des critiques linéaires, et chaque erreur de la liste des pièges."""

import pytest
import torch
from torch import nn

from gan_course.exercises import check
from gan_course.penalties import PENALTIES, clip_weights, gradient_penalty, r1, r1_r2, r2

REAL, FAKE = torch.randn(16, 3, 4, 4), torch.randn(16, 3, 4, 4)


class Linear(nn.Module):
    """D(x) = ⟨w, x⟩ : son gradient par rapport à x est w partout."""

    def __init__(self, norm):
        super().__init__()
        weight = torch.randn(48)
        self.weight = nn.Parameter(norm * weight / weight.norm())

    def forward(self, x, y=None):
        return x.flatten(1) @ self.weight


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 4.0])
def test_linear_critic_gives_the_closed_form(norm):
    critic = Linear(norm)
    assert gradient_penalty(critic, REAL, FAKE).item() == pytest.approx((norm - 1) ** 2, abs=1e-5)
    assert r1(critic, REAL).item() == pytest.approx(norm**2 / 2, abs=1e-5)
    assert r2(critic, FAKE).item() == pytest.approx(norm**2 / 2, abs=1e-5)
    assert PENALTIES["r1+r2"](critic, REAL, FAKE).item() == pytest.approx(norm**2, abs=1e-5)


def test_a_bare_function_is_a_critic_too():
    weight = torch.full((48,), 2 / 48**0.5)
    assert gradient_penalty(lambda x: x.flatten(1) @ weight, REAL, FAKE).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_penalty_teaches_the_weights(name):
    critic = Linear(3.0)
    PENALTIES[name](critic, REAL, FAKE).backward()
    assert critic.weight.grad.norm() > 1


@pytest.mark.parametrize("name", PENALTIES)
def test_labels_reach_the_critic(name):
    seen = []

    class Labelled(Linear):
        def forward(self, x, y):
            assert len(y) == len(x)
            seen.append(y)
            return super().forward(x)

    PENALTIES[name](Labelled(1.0), REAL, FAKE, torch.arange(16))
    assert seen


def test_points_lie_between_real_and_fake_one_epsilon_an_image():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    gradient_penalty(critic, torch.ones(512, 3, 4, 4), -torch.ones(512, 3, 4, 4))
    pixels = seen[0].flatten(1)
    assert pixels.abs().max() <= 1
    assert torch.equal(pixels.min(1).values, pixels.max(1).values), "un seul ε par image, pour tous ses pixels"
    epsilon = (pixels[:, 0] + 1) / 2
    assert abs(epsilon.mean() - 0.5) < 0.06 and abs(epsilon.std() - 12**-0.5) < 0.03, "uniforme"


def test_no_gradient_reaches_the_generator():
    fake = FAKE.clone().requires_grad_()
    gradient_penalty(Linear(2.0), REAL, fake).backward()
    assert fake.grad is None


def test_lost_graph_is_refused():
    with torch.no_grad(), pytest.raises(RuntimeError, match="no_grad"):
        gradient_penalty(Linear(1.0), REAL, FAKE)

    class Detached(Linear):
        def forward(self, x, y=None):
            return x.flatten(1) @ self.weight.detach()

    with pytest.raises(RuntimeError, match="poids du discriminateur"):
        gradient_penalty(Detached(1.0), REAL, FAKE)


def test_bad_shapes_are_explained():
    with pytest.raises(ValueError, match=r"\(16, 1\).*squeeze"):
        r1(lambda x: x.flatten(1).sum(1, keepdim=True), REAL)
    with pytest.raises(ValueError, match="même forme"):
        gradient_penalty(Linear(1.0), REAL, FAKE[:, :1])


@pytest.mark.parametrize("dtype, scores", [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)])
@pytest.mark.parametrize("penalty", [gradient_penalty, r1, r1_r2])
def test_autocast_serves_the_critic_in_bf16_and_never_in_fp16(penalty, dtype, scores):
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 1), nn.Flatten(0))
    seen = []
    critic.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    torch.manual_seed(0)
    exact = penalty(critic, real=REAL, fake=FAKE)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=dtype):
        value = penalty(critic, real=REAL, fake=FAKE)
    assert seen[-1] == scores and value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-2)


def test_clipping():
    critic = nn.Linear(5, 5)
    clip_weights(critic, 0.01)
    assert max(p.abs().max() for p in critic.parameters()) <= 0.01


def wrong_per_pixel(d, real, fake, labels=None):
    """Norme sur le seul axe des canaux : une contrainte par pixel."""
    x = (torch.rand(len(real), 1, 1, 1) * (real - fake) + fake).requires_grad_()
    (g,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (g.norm(2, dim=1) - 1).square().mean()


def wrong_normal_epsilon(d, real, fake, labels=None):
    x = (torch.randn(len(real), 1, 1, 1) * (real - fake) + fake).requires_grad_()
    (g,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (g.flatten(1).norm(dim=1) - 1).square().mean()


def wrong_no_graph(d, real, fake, labels=None):
    x = (torch.rand(len(real), 1, 1, 1) * (real - fake) + fake).requires_grad_()
    (g,) = torch.autograd.grad(d(x).sum(), x)
    return (g.flatten(1).norm(dim=1) - 1).square().mean()


def wrong_one_epsilon(d, real, fake, labels=None):
    x = (torch.rand(1) * (real - fake) + fake).requires_grad_()
    (g,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (g.flatten(1).norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("wrong", [wrong_per_pixel, wrong_normal_epsilon, wrong_no_graph, wrong_one_epsilon])
def test_the_exercise_refuses_published_errors(wrong):
    assert not check("gradient_penalty", wrong).passed


def test_the_exercise_accepts_the_package():
    assert check("gradient_penalty", gradient_penalty).passed
