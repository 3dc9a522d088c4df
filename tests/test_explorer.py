"""Explorer un espace latent à la main : directions principales, curseurs, promenade entre deux images cliquées."""

import io

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from gan_course import explorer
from gan_course.models import conditional, dcgan


class Stretched(nn.Module):
    """G(z) = z A, où la deuxième coordonnée change dix fois plus l'image que la première, et la troisième pas."""

    image_shape, latent_dim, num_classes = (1, 4, 4), 3, 0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        basis = torch.linalg.qr(torch.randn(16, 3)).Q.T
        self.matrix = nn.Parameter(torch.tensor([0.01, 0.1, 0.0])[:, None] * basis)

    def forward(self, z):
        return (z @ self.matrix).view(-1, 1, 4, 4)


def test_principal_directions_are_those_that_change_the_image():
    directions, shares = explorer.principal_directions(Stretched(), count=3)
    torch.testing.assert_close(
        directions.abs(), torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(shares, torch.tensor([100 / 101, 1 / 101, 0.0]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="count=4"):
        explorer.principal_directions(Stretched(), count=4)


def test_the_generator_keeps_its_mode_and_its_statistics():
    generator = dcgan.Generator((1, 28, 28), latent_dim=4, width=4).train()
    before = [b.clone() for b in generator.buffers()]
    directions, _ = explorer.principal_directions(generator, count=2, points=2)
    explorer.explore(generator, directions)
    explorer.pick_and_walk(generator, torch.randn(3, 4))
    assert generator.training and all(torch.equal(b, old) for b, old in zip(generator.buffers(), before))


def test_without_a_kernel_a_figure_says_the_same():
    generator = Stretched()
    figure = explorer.explore(generator, torch.eye(3)[:2], names=["un", "deux"])
    assert isinstance(figure, Figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["un", "deux"]
    assert figure.axes[0].get_xticklabels()[0].get_text() == "−3"
    assert isinstance(explorer.pick_and_walk(generator, torch.randn(4, 3)), Figure)


def pixels(widget):
    return Image.open(io.BytesIO(widget.value)).convert("L").getpixel((0, 0))


def test_sliders_move_the_image(monkeypatch):
    monkeypatch.setattr(explorer, "interactive", lambda: True)
    generator = Stretched()
    box = explorer.explore(generator, torch.eye(3))
    controls, view = box.children
    *rows, reset = controls.children
    sliders, labels = zip(*(row.children for row in rows))
    start = view.value
    sliders[1].value = -2.0
    assert view.value != start and labels[1].value == "−2,0"
    reset.click()
    assert view.value == start and sliders[1].value == 0


def test_two_clicks_make_a_walk(monkeypatch):
    monkeypatch.setattr(explorer, "interactive", lambda: True)
    generator, codes = Stretched(), 3 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    box = explorer.pick_and_walk(generator, codes)
    style, *rows, label, slider, view = box.children
    buttons = [button for row in rows for button in row.children]
    assert len(buttons) == 8 and slider.disabled
    assert style.value.count("url(data:image/png;base64,") == 8, "chaque bouton est l'image elle-même"
    assert buttons[2].description == "3" and view.layout.align_self == "flex-start"
    buttons[2].click()
    buttons[2].click()
    assert slider.disabled and "Départ : 3" in label.value, "une image n'a pas de chemin vers elle-même"
    buttons[6].click()
    assert not slider.disabled and "De 3 à 7" in label.value
    assert [bool(button.layout.border) for button in buttons] == [i in (2, 6) for i in range(8)]
    start = view.value
    slider.value = 4
    assert view.value != start
    buttons[0].click()
    assert "Départ : 1" in label.value


def test_a_click_that_has_no_path_says_so(monkeypatch):
    monkeypatch.setattr(explorer, "interactive", lambda: True)
    box = explorer.pick_and_walk(Stretched(), torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 0, 0], [0, 1, 0]]))
    _, *rows, label, slider, _ = box.children
    buttons = [button for row in rows for button in row.children]
    for start, end, message in ((0, 1, "infinité de chemins"), (0, 2, "vecteur nul")):
        buttons[start].click()
        buttons[end].click()
        assert message in label.value and slider.disabled
    buttons[0].click()
    buttons[3].click()
    assert "De 1 à 4" in label.value and not slider.disabled


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.half, torch.Tensor.long, torch.Tensor.numpy])
def test_any_numbers_move_the_sliders(monkeypatch, convert):
    monkeypatch.setattr(explorer, "interactive", lambda: True)
    box = explorer.explore(Stretched(), convert(torch.eye(3)), convert(torch.ones(3)), names=[1, 2, None])
    controls, view = box.children
    start = view.value
    sliders = [row.children[0] for row in controls.children[:-1]]
    sliders[1].value = 2.0
    assert view.value != start and sliders[0].description == "1"
    explorer.pick_and_walk(Stretched(), convert(3 * torch.eye(3)))


def test_a_conditional_generator_is_explored_in_one_class(monkeypatch):
    generator = conditional.Generator((1, 28, 28), 3, latent_dim=4, width=8)
    codes = torch.randn(3, 4)
    directions, _ = explorer.principal_directions(generator, 2, points=2, y=1)
    for interactive in (False, True):
        monkeypatch.setattr(explorer, "interactive", lambda interactive=interactive: interactive)
        explorer.explore(generator, directions, y=1)
        explorer.pick_and_walk(generator, codes, y=1)
        for call in (
            lambda: explorer.principal_directions(generator),
            lambda: explorer.explore(generator, directions),
            lambda: explorer.pick_and_walk(generator, codes),
        ):
            with pytest.raises(ValueError, match="conditionnel.*étiquettes"):
                call()
    with pytest.raises(ValueError, match="pas conditionnel"):
        explorer.explore(Stretched(), torch.eye(3), y=1)


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_a_generator_that_draws_one_image_has_no_direction(weight):
    generator = Stretched()
    nn.init.constant_(generator.matrix, weight)
    with pytest.raises(ValueError, match="Vérifiez les poids"):
        explorer.principal_directions(generator, 2)


def test_a_forgotten_unpacking_is_said():
    with pytest.raises(TypeError, match="déballer"):
        explorer.explore(Stretched(), explorer.principal_directions(Stretched(), 2))
    with pytest.raises(TypeError, match="codes.: str reçu"):
        explorer.pick_and_walk(Stretched(), "codes")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: explorer.principal_directions(g, 2, points=0), "points doit valoir au moins 1"),
        (lambda g: explorer.explore(g, float("nan") * torch.eye(3)), "directions.: NaN"),
        (lambda g: explorer.explore(g, torch.zeros(2, 5)), r"\(2, 5\)"),
        (lambda g: explorer.explore(g, torch.eye(3), torch.zeros(2)), r"origin.*\(1, 2\)"),
        (lambda g: explorer.explore(g, torch.eye(3), torch.zeros(2, 3)), r"origin.*\(1, 2, 3\)"),
        (lambda g: explorer.explore(g, torch.eye(3), names=["un"]), "1 noms pour 3"),
        (lambda g: explorer.pick_and_walk(g, torch.zeros(1, 3)), r"\(1, 3\)"),
        (lambda g: explorer.pick_and_walk(g, torch.zeros(4, 2)), r"\(4, 2\)"),
    ],
)
def test_bad_input_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(Stretched())
