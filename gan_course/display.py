"""Figures du cours : grilles, courbes, interpolations, animations.

Chaque fonction rend une Figure que pyplot ne connaît pas : en dernière expression d'une cellule, elle
s'affiche une fois et une seule. Une grille est une seule image, agrandie d'un facteur entier : chaque pixel
reste un carré net.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from gan_course.diagnosis import moving_average, read_series
from gan_course.engine.files import atomic_write, check_writable
from gan_course.engine.numbers import french
from gan_course.features import as_uint8
from gan_course.figures import DPI, finish_axes, new_figure, panels, raster, spread
from gan_course.latent import walk

# Palette d'Okabe et Ito (2008) : distincte pour tous les daltonismes.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"
MAX_WIDTH = 800  # pixels d'une figure : la colonne d'un notebook
MAX_IMAGES = 1024  # au-delà, aucune grille ne se lit
CURVE_POINTS = 1500  # points tracés par courbe : plus que de pixels
MAX_SIDE = 480  # pixels d'une animation


def to_image(tensor: Tensor) -> np.ndarray:
    """Image uint8 (H, W, 3), prête pour matplotlib ou Pillow.

    tensor : (C, H, W) ou (H, W), C = 1 ou 3 ; réel dans [-1, 1] (ce qui dépasse un peu est ramené aux bornes)
    ou uint8. Le gris est répété sur trois canaux. Lève ValueError sur une autre forme, NaN, ou une autre
    échelle.
    """
    tensor = torch.as_tensor(tensor)
    if tensor.dim() == 2:
        tensor = tensor[None]
    if tensor.dim() != 3:
        raise ValueError(f"Image de forme {tuple(tensor.shape)} ; il faut (C, H, W) ou (H, W).")
    return _pixels(tensor[None])[0].permute(1, 2, 0).numpy()


def show_grid(
    images: Tensor,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Grille d'images, lue de gauche à droite puis de haut en bas.

    images : (N, C, H, W), C = 1 ou 3, réelles dans [-1, 1] ou uint8, 1 024 au plus. columns : nombre de
    colonnes (proche de √N sinon). titles : un titre par image. title : titre de la figure. Avec ax, dessine
    dans ces axes et rend leur figure. Lève ValueError si une forme, une longueur ou une valeur ne convient
    pas.
    """
    pixels = _pixels(images)
    titles = titles.tolist() if isinstance(titles, Tensor | np.ndarray) else titles  # des étiquettes y
    if titles is not None and len(titles) != len(pixels):
        raise ValueError(f"{len(titles)} titres pour {len(pixels)} images ; il en faut un par image.")
    columns = _columns(len(pixels), columns, titles)
    _, _, height, width = pixels.shape
    scale = _scale(columns * (width + 1), width)
    head = int(np.ceil(16 / scale)) if titles is not None else 0  # la place d'un titre, en pixels d'image
    mosaic = _mosaic(pixels, columns, head=head)
    if ax is None:
        _, ax = _canvas(mosaic, scale, [title] if title else [])
    else:
        ax.set_title(title or "")
        _draw(ax, mosaic)
    for i, text in enumerate(titles or ()):
        x, y = (i % columns) * (width + 1) + width / 2, (i // columns) * (height + 1 + head) + head - 0.5
        room = (width + 1) * scale / 5.8  # un caractère de 8 points fait environ 6 pixels
        text = str(text) if len(str(text)) <= room else str(text)[: max(1, int(room) - 1)] + "…"
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8, parse_math=False)
    return ax.figure


def show_real_and_fake(real: Tensor, fake: Tensor) -> Figure:
    """Vraies images à gauche, images générées à droite, même échelle et même nombre de colonnes.

    real, fake : (N, C, H, W), réelles dans [-1, 1] ou uint8, de même forme hors N. Lève ValueError sinon.
    """
    left, right = _pixels(real), _pixels(fake)
    if left.shape[1:] != right.shape[1:]:
        raise ValueError(
            f"Les vraies images sont en {tuple(left.shape[2:])} et les fausses en {tuple(right.shape[2:])} : "
            "il faut la même taille. Redimensionnez-les par load_images(…, size=…)."
        )
    columns = _columns(max(len(left), len(right)))
    rows = -(-max(len(left), len(right)) // columns)
    blank = torch.full((rows * columns, *left.shape[1:]), 255, dtype=torch.uint8)
    halves = [_mosaic(torch.cat([pixels, blank[len(pixels) :]]), columns) for pixels in (left, right)]
    gap = np.full((len(halves[0]), 1 + left.shape[3] // 3, 3), 255, dtype=np.uint8)
    mosaic = np.concatenate([halves[0], gap, halves[1]], axis=1)
    scale = _scale(mosaic.shape[1], left.shape[3])
    return _canvas(mosaic, scale, ["Images réelles", "Images générées"])[0]


def plot_losses(history: Mapping, ax: Axes | None = None) -> Figure:
    """Pertes de D et de G pas à pas : mesures pâles, moyenne glissante sur 2 % des pas en trait plein.

    history : historique de train(), ou dictionnaire de tableaux (S,). Un trou dans la courbe est une valeur
    qui n'est pas un nombre. L'axe vertical laisse sortir le pour cent de valeurs extrêmes. Lève ValueError si
    une mesure manque.
    """
    ax = ax if ax is not None else panels()[1]
    curves = ("d_loss", BLUE, "perte de D"), ("g_loss", ORANGE, "perte de G")
    values = np.concatenate([_curve(ax, history, *curve) for curve in curves])
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.percentile(values, [0.5, 99.5])
        margin = 0.06 * (high - low) or 0.1
        ax.set_ylim(low - margin, high + margin)
    ax.set(xlabel="pas", ylabel="perte")
    finish_axes(ax, curves=True)
    return ax.figure


def plot_scores(history: Mapping, ax: Axes | None = None, probabilities: bool = True) -> Figure:
    """D(x) et D(G(z)) pas à pas, en probabilités : sigmoïde du score moyen du lot.

    La ligne 0,5 est celle d'un discriminateur qui ne distingue plus rien. probabilities=False trace les
    scores bruts, pour les pertes dont les scores ne sont pas des logits (wasserstein, hinge, least_squares,
    relativistic).
    """
    ax = ax if ax is not None else panels()[1]

    def convert(scores: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(0.5 * scores) if probabilities else scores

    _curve(ax, history, "d_real", BLUE, "D(x), réelles", convert)
    _curve(ax, history, "d_fake", ORANGE, "D(G(z)), générées", convert)
    if probabilities:
        ax.axhline(0.5, color=GREY, linestyle="--", linewidth=1, label="0,5 : D hésite")
        ax.set_ylim(-0.03, 1.03)
    ax.set(xlabel="pas", ylabel="probabilité « réelle »" if probabilities else "score de D (sans unité)")
    finish_axes(ax, curves=True)
    return ax.figure


def interpolation_strip(
    generator: torch.nn.Module,
    z0: Tensor,
    z1: Tensor,
    steps: int = 8,
    y: int | Tensor | None = None,
    how: str = "slerp",
) -> Figure:
    """Images générées le long du chemin de z0 à z1, une ligne par couple.

    Arguments et erreurs de `gan_course.latent.walk` : z0, z1 (D,) ou (B, D) ; y la classe demandée, la même
    partout ou une par ligne (B,) ; how "slerp" ou "lerp".
    """
    images = walk(generator, z0, z1, steps, y, how).flatten(0, 1)
    return show_strips(images, [french(i / (steps - 1)) for i in range(steps)], f"t, de z₀ (0) à z₁ (1), par {how}")


def show_strips(images: Tensor, times: Sequence[str], label: str, names: Sequence[str] = ()) -> Figure:
    """Bandes d'images (N, C, H, W) : une colonne par instant de `times`, sous le titre `label`, une ligne par nom."""
    height, width = images.shape[2:]
    mosaic = _mosaic(_pixels(images), len(times))
    margin = max((0.09 * len(name) for name in names), default=0.0)
    figure, ax = _canvas(mosaic, _scale(mosaic.shape[1], width), [], foot=0.55, margin=margin)
    ax.set_axis_on()
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks([i * (width + 1) + (width - 1) / 2 for i in range(len(times))], times)
    ax.set_yticks([i * (height + 1) + (height - 1) / 2 for i in range(len(names))], names)
    ax.set_xlabel(label)
    return figure


def save_animation(frames: Iterable, path: str | os.PathLike, fps: float = 8) -> Path:
    """Écrit un GIF en boucle et rend son chemin : typiquement un même z vu au fil de l'entraînement.

    frames : images de la suite, toutes du même genre : lots (N, C, H, W) (mis en grille), Figure, ou tableaux
    uint8 (H, W, 3). Le fichier reste petit : au plus 100 images, prises à intervalles réguliers (la première
    et la dernière y sont), de 480 pixels de côté au plus. fps : images par seconde, de 0,5 à 50 ; la dernière
    reste deux secondes. Écrit à côté puis renomme : une panne ne laisse pas de demi-fichier. Lève ValueError
    si une entrée ne convient pas.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("Aucune image à animer : gardez-en une tous les cent pas, par exemple.")
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"« {path.name} » n'est pas un nom de GIF : faites-le finir par .gif.")
    if not 0.5 <= fps <= 50:
        raise ValueError(f"fps={fps} ; un GIF se lit de 0,5 à 50 images par seconde.")
    images = [_frame(frames[i]) for i in spread(len(frames), 100)]
    if len({image.size for image in images}) > 1:
        raise ValueError("Les images de l'animation n'ont pas toutes la même taille.")
    check_writable(path.parent)
    durations = [round(1000 / fps)] * (len(images) - 1) + [2000]
    options = {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0}
    with atomic_write(path) as file:
        images[0].save(file, format="GIF", optimize=True, **options)
    return path


def _pixels(images: Tensor) -> Tensor:
    """Lot (N, 3, H, W) en uint8 sur le processeur ; un générateur sans tanh peut dépasser [-1, 1], et se montre."""
    images = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
    pixels = as_uint8(images, slack=9).detach().cpu()
    if len(pixels) > MAX_IMAGES:
        raise ValueError(f"{len(pixels)} images seraient illisibles : montrez-en moins, images[:64].")
    return pixels.expand(-1, 3, -1, -1)


def _columns(count: int, columns: int | None = None, titles: Sequence[str] | None = None) -> int:
    if columns is None:
        # Avec des titres, des cases assez larges pour les lire.
        longest = max((len(str(t)) for t in titles or ()), default=0)
        widest = max(1, int(MAX_WIDTH / (6 * longest + 8))) if longest else 20
        # Des lignes pleines si c'est possible, entre le carré et le double.
        square = int(np.ceil(np.sqrt(count)))
        full = [c for c in range(square, 2 * square) if count % c == 0]
        columns = min(widest, full[0] if full else round(1.3 * square))
    if columns < 1:
        raise ValueError(f"columns={columns} ; il faut au moins une colonne.")
    return min(columns, count)


def _mosaic(pixels: Tensor, columns: int, head: int = 0) -> np.ndarray:
    """Une seule image (H, W, 3) de la grille : un pixel blanc entre les cases, `head` pixels au-dessus de chacune."""
    count, _, height, width = pixels.shape
    rows = -(-count // columns)
    cells = torch.full((rows * columns, 3, height + 1 + head, width + 1), 255, dtype=torch.uint8)
    cells[:count, :, head : head + height, :width] = pixels
    grid = cells.view(rows, columns, 3, height + 1 + head, width + 1).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * (height + 1 + head), columns * (width + 1), 3)[:-1, :-1].numpy()


def _canvas(
    mosaic: np.ndarray, scale: int, headings: Sequence[str], foot: float = 0.0, margin: float = 0.0
) -> tuple[Figure, Axes]:
    """Figure à la taille exacte de la mosaïque agrandie `scale` fois, sous des titres également répartis.

    `foot`, `margin` : pouces réservés aux graduations, sous l'image et à sa gauche.
    """
    height, width = (side * scale / DPI for side in mosaic.shape[:2])
    top = 0.35 if headings else 0.0
    # Une figure plus large que ses images laisse aux titres la place de s'écrire.
    wide = margin + max(width, sum(0.09 * len(text) for text in headings))
    tall = height + top + foot
    figure = new_figure(wide, tall)
    ax = figure.add_axes([(wide + margin - width) / 2 / wide, foot / tall, width / wide, height / tall])
    _draw(ax, mosaic)
    for i, text in enumerate(headings):
        x, y = (i + 0.5) / len(headings), 1 - 0.5 * top / tall
        figure.text(x, y, text, ha="center", va="center", fontsize=11, parse_math=False)
    return figure, ax


def _scale(total: float, width: int) -> int:
    """Agrandissement entier : la figure tient dans MAX_WIDTH, une image ne dépasse pas 160 pixels."""
    return max(1, int(min(MAX_WIDTH / total, 160 / width)))


def _draw(ax: Axes, mosaic: np.ndarray) -> None:
    ax.imshow(mosaic, interpolation="nearest")
    ax.set_axis_off()


def _curve(
    ax: Axes, history: Mapping, name: str, colour: str, label: str, convert: Callable = np.asarray
) -> np.ndarray:
    """Trace une mesure, pâle, et sa moyenne glissante centrée ; rend la mesure tracée."""
    steps, values = read_series(history, name)
    values = convert(np.where(np.isfinite(values), values, np.nan))
    smooth = moving_average(values)
    kept = slice(None, None, max(1, len(values) // CURVE_POINTS))
    marker = "o" if len(values) == 1 else None
    if len(values) >= 100:
        ax.plot(steps[kept], values[kept], color=colour, alpha=0.25, linewidth=0.7)
    ax.plot(steps[kept], smooth[kept], color=colour, linewidth=1.6, label=label, marker=marker)
    return values


def _frame(frame: Any) -> Image.Image:
    """Une image de l'animation, près de MAX_SIDE : agrandie d'un facteur entier, aux pixels nets, ou réduite."""
    if isinstance(frame, Figure):
        image = raster(frame)
    elif isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.shape[2:] == (3,):
        image = Image.fromarray(frame)
    else:
        pixels = _pixels(frame)
        image = Image.fromarray(_mosaic(pixels, _columns(len(pixels))))
    factor = MAX_SIDE / max(image.size)
    if factor >= 1:
        return image.resize([side * int(factor) for side in image.size], Image.Resampling.NEAREST)
    return image.resize([max(1, int(side * factor)) for side in image.size], Image.Resampling.LANCZOS)
