"""Formes lissées, par distances signées : une forme est une fonction négative dedans, positive dehors.

Là où la distance passe par zéro, l'opacité passe de 1 à 0 sur un pixel : les bords sont lissés à toute taille, sans
suréchantillonnage. Tout se calcule pour un lot d'images à la fois.
"""

from typing import NamedTuple

import numpy as np


class Canvas(NamedTuple):
    """Des visages en cours : image (k, 3, H, W) de 0 à 255, coordonnées u, v (k, H, W), pixel (k, 1, 1).

    `pose` (k, 1, 4) : centre x et y, demi-hauteur, angle. `corner` : où ce morceau commence dans l'image.
    """

    image: np.ndarray
    u: np.ndarray
    v: np.ndarray
    pixel: np.ndarray
    pose: np.ndarray
    corner: tuple[int, int, int] = (0, 0, 0)  # première colonne, première ligne, côté de l'image entière


def window(canvas: Canvas, u: np.ndarray | float, v: float, a: float, b: float) -> Canvas:
    """Vue sur le plus petit rectangle de pixels qui contienne, pour tous les visages, la boîte (u ± a, v ± b).

    Un œil n'occupe que quelques pixels : ne calculer qu'autour de lui divise le travail par cinq.
    """
    x, y, scale, angle = np.moveaxis(canvas.pose, -1, 0)[..., None]
    cos, sin = np.cos(angle), np.sin(angle)
    first_column, first_row, size = canvas.corner
    slices, starts = [], []
    for middle, reach, first, length in (
        (y + scale * (u * sin + v * cos), a * np.abs(sin) + b * cos, first_row, canvas.u.shape[1]),
        (x + scale * (u * cos - v * sin), a * cos + b * np.abs(sin), first_column, canvas.u.shape[2]),
    ):
        low = np.floor((np.min(middle - scale * reach) + 1) * size / 2 - 1)
        high = np.ceil((np.max(middle + scale * reach) + 1) * size / 2 + 1)
        low, high = (int(np.clip(edge - first, 0, length)) for edge in (low, high))
        slices.append(slice(low, max(high, low)))
        starts.append(first + low)
    rows, columns = slices
    return canvas._replace(
        image=canvas.image[:, :, rows, columns],
        u=canvas.u[:, rows, columns],
        v=canvas.v[:, rows, columns],
        corner=(starts[1], starts[0], size),
    )


def only(canvas: Canvas, rows: np.ndarray) -> Canvas:
    """Copie réduite à quelques visages ; à recopier ensuite dans l'image."""
    return Canvas(*(plane[rows] for plane in canvas[:-1]), canvas.corner)


def cover(canvas: Canvas, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """Part de chaque pixel que couvre la forme : 1 dedans, 0 dehors, entre les deux sur un pixel."""
    cover = distance * (-1 / np.maximum(canvas.pixel, soft))
    cover += 0.5
    return np.clip(cover, 0, 1, out=cover)


def paint(
    canvas: Canvas, distance: np.ndarray, colour: np.ndarray, opacity: float | np.ndarray = 1.0, soft: float = 0.0
) -> None:
    """Couvre de `colour` (3,) ou (k, 3) là où `distance` < 0 ; `soft` : bord fondu, en unités du visage."""
    alpha = cover(canvas, distance, soft)
    if not (isinstance(opacity, float) and opacity == 1):
        alpha *= opacity
    colour = np.asarray(colour, np.float32).reshape(-1, 3, 1, 1)
    canvas.image[:] += alpha[:, None] * (colour - canvas.image)


def length(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """√(p² + q²) ; np.hypot, qui se garde des débordements, coûte dix fois plus."""
    return np.sqrt(p * p + q * q)


def ellipse(u: np.ndarray, v: np.ndarray, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Distance, exacte au premier ordre près du bord, à l'ellipse de demi-axes a et b centrée sur l'origine."""
    p, q = u * (1 / a), v * (1 / b)
    radius = length(p, q)
    return radius * (radius - 1) / (length(p * (1 / a), q * (1 / b)) + 1e-6)


def box(
    u: np.ndarray, v: np.ndarray, a: np.ndarray | float, b: np.ndarray | float, r: np.ndarray | float = 0.0
) -> np.ndarray:
    """Distance au rectangle de demi-côtés a et b, coins arrondis de rayon r."""
    p, q = np.abs(u) - (a - r), np.abs(v) - (b - r)
    return length(np.maximum(p, 0), np.maximum(q, 0)) + np.minimum(np.maximum(p, q), 0) - r
