"""Ce qui réagit à la main dans un carnet, et ce qu'il faut savoir du carnet pour s'y afficher."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from gan_course.engine.files import in_kernel
from gan_course.engine.numbers import french

DPI = 100
MAX_FRAMES = 200  # des PNG de 50 ko : 10 Mo de carnet, la limite du raisonnable
STRIP_FRAMES = 6


def scrubber(draw: Callable[[Any], Figure] | Sequence[Figure], values: Sequence, description: str) -> Any:
    """Curseur qui fait défiler des figures calculées d'avance, ou bande fixe là où rien ne réagit.

    draw : fonction qui rend la Figure d'une valeur, ou suite de figures déjà faites, une par valeur. values :
    de 1 à 200 valeurs, dans l'ordre du curseur. description : ce qu'elles sont, par exemple « pas ». Dans
    JupyterLab ou Colab, rend un widget ; ailleurs (terminal, papermill avec GAN_COURSE_STATIC=1) ou pour une seule
    valeur, une Figure de six vues au plus, la première et la dernière comprises. Lève ValueError ou TypeError si une
    entrée ne convient pas.
    """
    values = list(values)
    if not 1 <= len(values) <= MAX_FRAMES:
        raise ValueError(f"{len(values)} valeurs à faire défiler ; il en faut de 1 à {MAX_FRAMES}.")
    if not callable(draw) and len(draw) != len(values):
        raise ValueError(f"{len(draw)} figures pour {len(values)} valeurs ; il en faut une par valeur.")
    names = [f"{description} {_tick(v) if isinstance(v, Real) else v}" for v in values]
    slides = interactive() and len(values) > 1
    # La bande fixe ne montre que quelques vues : inutile de dessiner les autres.
    shown = range(len(values)) if slides else spread(len(values), STRIP_FRAMES)
    frames = [png(draw(values[i]) if callable(draw) else draw[i]) for i in shown]
    return _slider(frames, names, description) if slides else _strip(frames, [names[i] for i in shown])


def spread(count: int, most: int) -> list[int]:
    """`most` numéros au plus, également répartis de 0 à count - 1, le premier et le dernier compris."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


def interactive() -> bool:
    """Vrai là où un widget réagit : dans un carnet, sauf si GAN_COURSE_STATIC=1."""
    return in_kernel() and os.environ.get("GAN_COURSE_STATIC") != "1"


def new_figure(width: float, height: float, **options: Any) -> Figure:
    """Figure vide (pouces) que pyplot ne connaît pas : en fin de cellule, elle s'affiche une fois et une seule."""
    figure = Figure(figsize=(width, height), dpi=DPI, **options)
    FigureCanvasAgg(figure)
    if in_kernel():
        _teach_kernel()
    return figure


def panels(rows: int = 1, columns: int = 1, width: float = 8.0, height: float = 3.2) -> tuple[Figure, Any]:
    """Une telle figure et ses axes, rendus comme par plt.subplots ; width et height en pouces."""
    figure = new_figure(width, height, layout="constrained")
    return figure, figure.subplots(rows, columns)


def finish_axes(ax: Axes, curves: bool = False) -> None:
    """Graduations à la française (virgule décimale, milliers séparés), quadrillage pâle et légende.

    curves : l'axe horizontal compte des pas entiers, et la légende passe au-dessus pour ne rien cacher.
    """
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(_tick))
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=curves and axis is ax.xaxis))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "frameon": False, "borderpad": 0.2}
    legend = ax.legend(fontsize=8, **(above if curves else {"loc": "upper right"}))
    for handle in legend.legend_handles:
        handle.set_alpha(1)
        if hasattr(handle, "set_sizes"):  # un nuage : ses points, trop petits pour que l'on en voie la couleur
            handle.set_sizes([30])


def raster(figure: Figure) -> Image.Image:
    """La figure en image, en un seul passage (l'affichage ordinaire des carnets la dessine deux fois)."""
    if not isinstance(figure, Figure):
        raise TypeError(f"{type(figure).__name__} reçu ; il faut une Figure, comme celle de show_grid.")
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(picture: Figure | Image.Image) -> bytes:
    """Une figure ou une image, en PNG."""
    image, buffer = picture if isinstance(picture, Image.Image) else raster(picture), io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def describe(figure: Figure) -> str:
    """Ce que dit une figure, pour qui ne la voit pas : titres, axes et légendes ; vide si elle n'a pas de texte."""
    said = [text.get_text() for text in figure.texts]
    for ax in figure.axes:
        axes = " selon ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
        said += [ax.get_title(), axes, ", ".join(ax.get_legend_handles_labels()[1])]
    return " ; ".join(dict.fromkeys(filter(None, said)))


def picture(data: bytes) -> Any:
    """Un widget qui montre un PNG à sa taille."""
    import ipywidgets

    # Sans align_self, la colonne étirerait l'image et la brouillerait.
    layout = ipywidgets.Layout(max_width="100%", object_fit="contain", align_self="flex-start")
    return ipywidgets.Image(value=data, format="png", layout=layout)


def _tick(value: float, _position: int | None = None) -> str:
    """Un nombre à quatre décimales au plus, sans zéros inutiles."""
    return french(value, 0) if abs(value - round(value)) < 1e-9 else french(value, 4).rstrip("0").rstrip(",")


def _slider(frames: list[bytes], names: list[str], description: str) -> Any:
    """Curseur et lecture automatique au-dessus d'une image ; chaque geste ne coûte qu'un envoi de PNG."""
    import ipywidgets

    view, label, last = picture(frames[0]), ipywidgets.Label(names[0]), len(frames) - 1
    slider = ipywidgets.IntSlider(min=0, max=last, readout=False, description=description)
    # Les boutons de Play n'ont pas de nom qu'un lecteur d'écran dirait : celui-ci le remplace.
    play = ipywidgets.Play(min=0, max=last, interval=300, layout=ipywidgets.Layout(display="none"))
    button = ipywidgets.ToggleButton(description="Lecture", icon="play", tooltip="Faire défiler, ou arrêter")

    def show(change: dict) -> None:
        view.value, label.value = frames[change["new"]], names[change["new"]]

    slider.observe(show, names="value")
    ipywidgets.jslink((play, "value"), (slider, "value"))
    ipywidgets.jslink((button, "value"), (play, "playing" if play.has_trait("playing") else "_playing"))
    return ipywidgets.VBox([ipywidgets.HBox([button, play, slider, label]), view])


def _strip(frames: list[bytes], names: list[str]) -> Figure:
    """Les vues côte à côte, trois par ligne ou deux si elles sont larges, chacune sous son nom."""
    images = [np.asarray(Image.open(io.BytesIO(frame))) for frame in frames]
    ratio = max(image.shape[0] / image.shape[1] for image in images)
    columns = min(3 if ratio > 0.6 else 2, len(images))
    rows = -(-len(images) // columns)
    wide = 9.0 / columns if columns > 1 else min(9.0, images[0].shape[1] / DPI)
    figure, axes = panels(rows, columns, width=wide * columns, height=rows * (wide * ratio + 0.3))
    for ax in np.ravel(axes):
        ax.set_axis_off()
    for ax, image, name in zip(np.ravel(axes), images, names):
        ax.imshow(image, interpolation="antialiased")
        ax.set_title(name, fontsize=10)
    return figure


def _teach_kernel() -> None:
    """Apprend au noyau à montrer une Figure, même si pyplot n'a pas été chargé, et à dire ce qu'elle montre."""
    shell = sys.modules["IPython"].get_ipython()
    formatter = shell.display_formatter.formatters["image/png"]
    try:
        draw = formatter.lookup_by_type(Figure)
    except KeyError:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})
        draw = formatter.lookup_by_type(Figure)

    def draw_and_describe(figure: Figure) -> tuple[Any, dict[str, Any]]:
        data = draw(figure)
        data, metadata = data if isinstance(data, tuple) else (data, {})
        said = describe(figure)
        return data, {**metadata, "alt": f"Figure : {said}"} if said else metadata

    if getattr(draw, "__name__", "") != draw_and_describe.__name__:
        formatter.for_type(Figure, draw_and_describe)
