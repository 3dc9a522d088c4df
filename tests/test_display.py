"""Figures : ce qu'elles contiennent, ce qu'elles refusent ; curseur et animation."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from gan_course import display, figures
from gan_course.display import (
    interpolation_strip,
    plot_losses,
    plot_scores,
    save_animation,
    show_grid,
    show_real_and_fake,
    to_image,
)


@pytest.fixture
def images():
    return torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def history():
    noise = np.random.default_rng(0).normal(size=(4, 500))
    return dict(zip(("d_loss", "g_loss", "d_real", "d_fake"), noise))


class Generator(torch.nn.Module):
    latent_dim, num_classes, image_shape = 4, 3, (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, z, y=None):
        self.seen.append((z, y, self.training))
        return torch.tanh(self.scale * z.sum(1)).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def test_to_image_maps_the_ends_and_the_middle():
    image = to_image(torch.tensor([[[-1.0, 0.0, 1.0]]]))
    assert image.dtype == np.uint8 and image.shape == (1, 3, 3)
    assert image[0, :, 0].tolist() == [0, 128, 255]
    assert (to_image(torch.tensor([[-1.001, 1.001]]))[0, :, 0] == [0, 255]).all()


def test_to_image_keeps_uint8_and_channel_order():
    pixels = torch.arange(24, dtype=torch.uint8).view(3, 2, 4)
    np.testing.assert_array_equal(to_image(pixels), pixels.permute(1, 2, 0).numpy())
    assert Image.fromarray(to_image(torch.zeros(1, 4, 4, dtype=torch.bfloat16))).mode == "RGB"


def test_grid_is_one_image_read_left_to_right(images):
    figure = show_grid(images[:6], columns=3)
    (shown,) = figure.axes[0].images
    mosaic = np.asarray(shown.get_array())
    assert mosaic.shape == (2 * 29 - 1, 3 * 29 - 1, 3)
    np.testing.assert_array_equal(mosaic[29:, 29:57], to_image(images[4]))
    assert shown.get_interpolation() == "nearest"


def test_grid_is_drawn_pixel_for_pixel(images):
    figure = show_grid(images[:6], columns=3)
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    figures.png(figure)
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    scale = drawn.shape[0] // mosaic.shape[0]
    assert scale > 1 and drawn.shape == (mosaic.shape[0] * scale, mosaic.shape[1] * scale, 3)
    np.testing.assert_array_equal(drawn, mosaic.repeat(scale, axis=0).repeat(scale, axis=1))


def test_titles_are_readable_and_stay_inside(images):
    names = ["T-shirt/haut", "Bottine", "$ 5", "Sac"] * 5
    figure = show_grid(images, titles=names, title="Vingt images")
    figures.png(figure)
    texts = figure.axes[0].texts
    assert [t.get_text() for t in texts] == names and min(t.get_fontsize() for t in texts) >= 8
    boxes = [t.get_window_extent() for t in texts]
    assert min(box.x0 for box in boxes) >= 0 and max(box.x1 for box in boxes) <= figure.bbox.x1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_figures_are_unknown_to_pyplot(images, history):
    import matplotlib.pyplot as plt

    assert isinstance(show_grid(images), Figure) and isinstance(plot_losses(history), Figure)
    assert plt.get_fignums() == []


def test_drawing_in_given_axes_returns_their_figure(images, history):
    figure, axes = display.panels(1, 3)
    assert show_grid(images, ax=axes[0], title="titre") is figure
    assert plot_losses(history, ax=axes[1]) is figure and plot_scores(history, ax=axes[2]) is figure


def test_real_and_fake_side_by_side(images):
    figure = show_real_and_fake(images[:5], images[5:8])
    assert [text.get_text() for text in figure.texts] == ["Images réelles", "Images générées"]
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(mosaic[:28, -144:-116], to_image(images[5]))
    with pytest.raises(ValueError, match="taille"):
        show_real_and_fake(images, torch.zeros(2, 1, 32, 32))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(28, 28), r"il faut \(N, C, H, W\)"),
        (torch.zeros(0, 1, 28, 28), "N >= 1"),
        (torch.zeros(2, 4, 8, 8), "C = 1 ou 3"),
        (torch.full((1, 1, 2, 2), float("nan")), "NaN"),
        (torch.full((1, 1, 2, 2), 255.0), "torch.uint8 pour"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), "int64"),
        (torch.zeros(1025, 1, 2, 2), "illisibles"),
    ],
)
def test_bad_images_are_explained(bad, message):
    with pytest.raises((TypeError, ValueError), match=message):
        show_grid(bad)


def test_bad_grid_arguments_are_explained(images):
    with pytest.raises(ValueError, match="3 titres pour 20 images"):
        show_grid(images, titles=["a", "b", "c"])
    with pytest.raises(ValueError, match="columns=0"):
        show_grid(images, columns=0)
    with pytest.raises(TypeError, match="list"):
        show_grid([images])
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        to_image(torch.zeros(2, 1, 4, 4))


def test_curves_have_french_axes_and_legends(history):
    losses, scores = plot_losses(history).axes[0], plot_scores(history).axes[0]
    assert (losses.get_xlabel(), losses.get_ylabel()) == ("pas", "perte")
    assert [t.get_text() for t in losses.get_legend().get_texts()] == ["perte de D", "perte de G"]
    assert "probabilité" in scores.get_ylabel() and len(scores.get_legend().get_texts()) == 3
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in scores.lines)
    assert losses.yaxis.get_major_formatter()(0.5) == "0,5"
    assert losses.xaxis.get_major_formatter()(2000) == "2\u00a0000"


def test_scores_are_probabilities_or_raw(history):
    extreme = {name: values * 1e4 for name, values in history.items()}
    for line in plot_scores(extreme).axes[0].lines:
        assert 0 <= np.min(line.get_ydata()) and np.max(line.get_ydata()) <= 1
    raw = plot_scores(extreme, probabilities=False).axes[0]
    assert "sans unité" in raw.get_ylabel() and max(np.max(line.get_ydata()) for line in raw.lines) > 1


def test_curves_survive_nan_one_step_and_outliers(history):
    history["d_loss"][100:] = np.nan
    history["g_loss"][3] = 1e9
    figure = plot_losses(history)
    figures.png(figure)
    assert figure.axes[0].get_ylim()[1] < 1e3
    figures.png(plot_losses({name: values[:1] for name, values in history.items()}))
    figures.png(plot_losses({name: values * np.nan for name, values in history.items()}))
    with pytest.raises(ValueError, match="g_loss"):
        plot_losses({"d_loss": [1.0]})


def test_strip_walks_each_row_in_eval_mode():
    generator = Generator().train()
    z = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0))
    figure = interpolation_strip(generator, z[0], z[1], steps=5, y=torch.tensor([2, 0]))
    ((seen, y, training),) = generator.seen
    assert not training and generator.training
    assert y.tolist() == [2] * 5 + [0] * 5
    torch.testing.assert_close(seen[[0, 4, 5, 9]], torch.stack([z[0, 0], z[1, 0], z[0, 1], z[1, 1]]))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        "0,00",
        "0,25",
        "0,50",
        "0,75",
        "1,00",
    ]


def test_strip_refuses_bad_arguments():
    generator, z = Generator(), torch.ones(4)
    with pytest.raises(ValueError, match="choisissez"):
        interpolation_strip(generator, z, z, how="spline")
    with pytest.raises(ValueError, match="deux étapes"):
        interpolation_strip(generator, z, z, steps=1)
    with pytest.raises(ValueError, match="en attend 4"):
        interpolation_strip(generator, torch.ones(5), torch.ones(5))
    with pytest.raises(ValueError, match="y est de forme"):
        interpolation_strip(generator, z, z, y=torch.zeros(3, dtype=torch.int64))


def test_animation_is_a_small_looping_gif(tmp_path, images):
    frames = [torch.linspace(-1, k / 149, 1000).view(1, 1, 250, 4) for k in range(150)]
    path = save_animation(frames, tmp_path / "dossier" / "a.gif", fps=10)
    with Image.open(path) as gif:
        assert gif.n_frames == 100 and max(gif.size) <= 480 and gif.info["loop"] == 0
        assert gif.info["duration"] == 100
        gif.seek(99)
        assert gif.info["duration"] == 2000
    assert [p.name for p in path.parent.iterdir()] == ["a.gif"]


def test_animation_accepts_figures_and_arrays(tmp_path, images, history):
    save_animation([plot_losses(history), plot_losses(history)], tmp_path / "b.gif")
    with Image.open(save_animation([to_image(images[0]), to_image(images[1])], tmp_path / "c.gif")) as gif:
        assert gif.size == (28 * 17, 28 * 17)


def test_bad_animations_leave_no_file(tmp_path, images):
    for frames, name, fps, message in [
        ([], "a.gif", 8, "Aucune image"),
        ([images], "a.png", 8, "finir par .gif"),
        ([images], "a.gif", 0, "fps=0"),
        ([images[:4], images[:12]], "a.gif", 8, "même taille"),
    ]:
        with pytest.raises(ValueError, match=message):
            save_animation(frames, tmp_path / name, fps)
    assert list(tmp_path.iterdir()) == []


def test_scrubber_without_a_notebook_is_one_figure(history):
    drawn = []

    def draw(step):
        drawn.append(step)
        return plot_losses({name: values[:step] for name, values in history.items()})

    figure = figures.scrubber(draw, range(50, 351, 50), "pas")
    assert isinstance(figure, Figure)
    assert len(drawn) == 6 and drawn[0] == 50 and drawn[-1] == 350
    assert [ax.get_title() for ax in figure.axes][::5] == ["pas 50", "pas 350"]


def test_scrubber_slides_precomputed_pictures(monkeypatch, history):
    monkeypatch.setattr(figures, "in_kernel", lambda: True)
    monkeypatch.setattr(figures, "_teach_kernel", lambda: None)
    drawn = [plot_losses(history), plot_scores(history)]
    box = figures.scrubber(drawn, ["début", "fin"], "moment")
    (button, play, slider, label), picture = box.children[0].children, box.children[1]
    assert button.description == "Lecture" and play.layout.display == "none", "un bouton qu'un lecteur d'écran nomme"
    assert picture.layout.align_self == "flex-start", "la colonne étirerait l'image"
    before = picture.value
    slider.value = 1
    assert picture.value != before and label.value == "moment fin"
    assert isinstance(figures.scrubber(drawn[:1], ["début"], "moment"), Figure), "rien à faire défiler"
    monkeypatch.setenv("GAN_COURSE_STATIC", "1")
    assert isinstance(figures.scrubber(drawn, ["début", "fin"], "moment"), Figure)


def test_a_figure_says_what_it_shows(history):
    assert figures.describe(plot_losses(history)) == "perte selon pas ; perte de D, perte de G"
    assert figures.describe(show_grid(torch.zeros(4, 1, 8, 8), title="Échantillons")) == "Échantillons"
    assert figures.describe(show_grid(torch.zeros(4, 1, 8, 8))) == ""


def test_scrubber_refuses_bad_arguments(history):
    with pytest.raises(ValueError, match="0 valeurs"):
        figures.scrubber(lambda v: plot_losses(history), [], "pas")
    with pytest.raises(ValueError, match="1 figures pour 2 valeurs"):
        figures.scrubber([plot_losses(history)], [1, 2], "pas")
    with pytest.raises(TypeError, match="int"):
        figures.scrubber(lambda v: v, [1], "pas")


def test_labels_can_be_titles(images):
    figure = show_grid(images, titles=torch.arange(20))
    assert [text.get_text() for text in figure.axes[0].texts] == [str(i) for i in range(20)]
