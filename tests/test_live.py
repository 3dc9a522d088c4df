"""Affichage en direct : une figure, une ligne, aucun effet sur l'entraînement."""

import io
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan_course import live
from gan_course.live import duration, follow, show_points


class Generator(torch.nn.Module):
    latent_dim, image_shape = 4, (1, 8, 8)

    def __init__(self, num_classes=0):
        super().__init__()
        self.num_classes = num_classes
        self.calls = []

    def forward(self, z, y=None):
        self.calls.append((z, y, self.training))
        noise = torch.randn(())  # un générateur qui tire du bruit, comme celui de StyleGAN
        return torch.tanh(z.sum(1) + noise).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


class Points(torch.nn.Module):
    latent_dim, num_classes, image_shape = 2, 0, (2,)

    def forward(self, z, y=None):
        return z


class Run:
    """Un faux train() : générateur de Progress qui note sa fermeture."""

    def __init__(self, steps=5, ema=None, fail_at=None):
        self.steps, self.ema, self.fail_at, self.closed = steps, ema or Generator(), fail_at, False

    def __call__(self):
        columns = {name: np.zeros(0) for name in ("d_loss", "g_loss", "d_real", "d_fake")}
        try:
            for step in range(1, self.steps + 1):
                if step == self.fail_at:
                    raise RuntimeError("plus rien ne va")
                columns = {name: np.append(values, 0.5) for name, values in columns.items()}
                yield SimpleNamespace(
                    step=step, steps=self.steps, images_per_second=12400.0, d_loss=0.64, g_loss=1.02,
                    ema=self.ema, device=torch.device("cpu"), history=columns,
                    recipe=SimpleNamespace(loss="non_saturating"),
                )  # fmt: skip
        finally:
            self.closed = True


class Kernel:
    """Un faux carnet : retient ce qui est montré et combien de fois."""

    def __init__(self, monkeypatch):
        self.shown, self.updates = [], []
        monkeypatch.setattr(live, "in_kernel", lambda: True)
        monkeypatch.setattr("IPython.display.display", self.display)

    def display(self, bundle, display_id=False, **options):
        self.shown.append(bundle)
        return SimpleNamespace(update=lambda new, **options: self.updates.append(new))

    def last(self, kind):
        return [b for b in self.shown + self.updates if kind in b][-1]


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


def test_same_progress_comes_out(capsys):
    run = Run()
    assert [p.step for p in follow(run())] == [1, 2, 3, 4, 5] and run.closed


def test_notebook_shows_one_figure_and_one_line(kernel):
    list(follow(Run(steps=3)(), every=0))
    assert len(kernel.shown) == 2
    assert sum("image/png" in bundle for bundle in kernel.shown) == 1
    assert "au pas 3" in kernel.last("image/png")["text/plain"]
    assert kernel.updates[-1]["text/plain"].startswith(
        "pas 3/3 · 12\u00a0400 images/s · D 0,64 · G 1,02 · terminé"
    )


def test_updates_wait_for_every(kernel):
    list(follow(Run(steps=50)(), every=1000))
    assert sum("image/png" in bundle for bundle in kernel.updates) == 1  # l'état final


def test_drawing_stays_under_its_share(monkeypatch, kernel):
    clock = SimpleNamespace(now=0.0, drawing=0.0)
    monkeypatch.setattr(live.time, "perf_counter", lambda: clock.now)

    def slow(self):
        clock.now, clock.drawing = clock.now + 0.5, clock.drawing + 0.5
        self.drawn_step = self.last.step

    monkeypatch.setattr(live._Screen, "_draw", slow)
    for _ in follow(Run(steps=1000)(), every=1.0):
        clock.now += 0.1
    assert 1.0 < clock.drawing <= 0.05 * clock.now + 2 * 0.5  # la première et la dernière figures en plus


@pytest.mark.parametrize("how", ["break", "raise", "inner"])
def test_any_stop_closes_the_run_and_draws_the_end(kernel, how):
    run = Run(steps=9, fail_at=4 if how == "inner" else None)
    try:
        for progress in follow(run(), every=1000):
            if progress.step == 3 and how == "break":
                break
            if progress.step == 3 and how == "raise":
                raise RuntimeError("dans le corps")
    except RuntimeError:
        assert how != "break"
    assert run.closed
    assert "au pas 3" in kernel.last("image/png")["text/plain"]
    assert "arrêté" in kernel.updates[-1]["text/plain"]


def test_keyboard_interrupt_passes_through(kernel):
    run = Run()
    with pytest.raises(KeyboardInterrupt):
        for _ in follow(run()):
            raise KeyboardInterrupt
    assert run.closed


def test_drawing_errors_warn_once_and_never_stop(monkeypatch, kernel):
    def broken(*arguments):
        raise OSError("plus d'encre")

    monkeypatch.setattr(live, "draw_state", broken)
    with pytest.warns(UserWarning, match="OSError.: plus d'encre.*continue") as caught:
        assert len(list(follow(Run(steps=6)(), every=0))) == 6
    assert len(caught) == 1


def test_fixed_latents_eval_mode_and_untouched_randomness(kernel):
    generator = Generator().train()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    list(follow(Run(steps=4, ema=generator)(), every=0, samples=9, seed=3))
    assert torch.equal(before, torch.get_rng_state())
    (first, _, training), (last, _, _) = generator.calls[0], generator.calls[-1]
    assert not training and generator.training
    assert first.shape == (9, 4) and torch.equal(first, last)
    assert kernel.shown[0]["image/png"]


def test_generators_that_draw_noise_are_comparable():
    sampler, generator = live._Sampler(5, 0), Generator()
    torch.testing.assert_close(
        sampler(generator, torch.device("cpu")), sampler(generator, torch.device("cpu"))
    )


def test_conditional_samples_fill_whole_rows():
    generator = Generator(num_classes=10)
    sampler = live._Sampler(25, 0)
    assert sampler(generator, torch.device("cpu")).shape[0] == 30 and sampler.columns == 10
    assert generator.calls[0][1].tolist() == list(range(10)) * 3


def test_points_are_drawn_as_a_cloud(kernel):
    list(follow(Run(steps=2, ema=Points())(), every=0, real=torch.randn(50, 2)))
    assert "points/s" in kernel.updates[-1]["text/plain"] and kernel.last("image/png")
    axes = show_points(torch.randn(100, 2), torch.randn(50, 2)).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["réels", "générés"]
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        show_points(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="NaN"):
        show_points(torch.full((3, 2), float("nan")))


def test_the_last_tick_is_whole_and_the_legend_is_seen():
    progress = next(Run()())
    progress.history = {name: np.full(1910, 0.5) for name in progress.history}  # 2 000 est alors tout au bord
    figure = live.draw_state(progress, torch.randn(50, 2), real=torch.randn(20, 2))
    figure.canvas.draw()
    cloud, _, scores = figure.axes
    last = next(text for text in scores.xaxis.get_ticklabels() if text.get_text() == "2 000")
    assert last.get_window_extent().x1 < figure.bbox.x1
    for handle in cloud.get_legend().legend_handles:
        assert handle.get_alpha() == 1 and handle.get_sizes()[0] >= 20


def test_file_output_has_no_carriage_return_and_few_lines(capsys):
    list(follow(Run(steps=300)(), every=0))
    out = capsys.readouterr().out
    assert "\r" not in out and len(out.splitlines()) == 2 and "terminé" in out


def test_terminal_rewrites_one_line(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    list(follow(Run(steps=20)(), every=0))
    out = terminal.getvalue()
    assert out.count("\r") == 21 and out.count("\n") == 1 and "reste" in out


def test_plain_python_draws_nothing(capsys):
    generator = Generator()
    list(follow(Run(ema=generator)(), every=0))
    assert generator.calls == []


def test_bad_arguments_are_refused_at_once():
    for arguments, message in [
        ({"every": -1}, "every=-1"),
        ({"every": float("nan")}, "every=nan"),
        ({"samples": 0}, "samples=0"),
        ({"samples": 2.5}, "samples=2.5"),
    ]:
        with pytest.raises(ValueError, match=message):
            follow(Run()(), **arguments)
    with pytest.raises(TypeError, match="int"):
        follow(3)


def test_durations_are_french():
    assert [duration(s) for s in (4.2, 80, 7500)] == ["4 s", "1 min 20 s", "2 h 05 min"]


@pytest.mark.lent
def test_executed_notebook_keeps_one_figure_and_one_line():
    """Dans un vrai noyau, sans pyplot : une image, une ligne, et une Figure en fin de cellule s'affiche une fois."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    root = Path(__file__).parent.parent
    notebook = nbformat.v4.new_notebook()
    setup = f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'tests')!r}]\n"
    follow_cell = setup + "from test_live import Run, follow\nfor p in follow(Run(4)(), every=0): pass"
    grid_cell = "import torch\nfrom gan_course.display import show_grid\nx = torch.zeros(4, 1, 8, 8)\n"
    grid_cell += "show_grid(x, title='Essai')"
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (follow_cell, grid_cell)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    first, second = (cell.outputs for cell in notebook.cells)
    assert [sorted(output.data) for output in first] == [["image/png", "text/plain"], ["text/plain"]]
    assert "au pas 4" in first[0].data["text/plain"] and "terminé" in first[1].data["text/plain"]
    assert len(second) == 1 and "image/png" in second[0].data
    assert second[0].metadata["image/png"]["alt"] == "Figure : Essai"


def test_arguments_of_the_wrong_kind_are_refused_at_once():
    for arguments in ({"every": "1"}, {"every": None}, {"samples": "4"}):
        with pytest.raises(ValueError, match="; il faut"):
            follow([], **arguments)
    assert list(follow([], samples=np.int64(4))) == []
