"""Dessin des visages, par lots, de l'arrière vers l'avant.

Repère : origine au centre du visage, u vers la droite, v vers le bas, demi-hauteur 1.
Une forme est une distance signée, négative dedans, positive dehors : là où elle passe par zéro, l'opacité passe de 1 à
0 sur un pixel. Les bords sont lissés à toute taille, sans suréchantillonnage.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SKIN = np.array([(255, 226, 200), (244, 200, 160), (222, 166, 122), (176, 118, 80), (124, 80, 54), (84, 54, 40)])
HAIR_COLOURS = {
    "noir": (38, 32, 36), "brun": (84, 54, 36), "châtain": (134, 88, 52), "blond": (232, 192, 104),
    "roux": (200, 90, 38), "gris": (176, 178, 184), "rose": (232, 120, 160), "bleu": (72, 112, 196),
}  # fmt: skip
EYES = {"marron": (92, 58, 34), "bleus": (64, 128, 196), "verts": (72, 142, 88), "gris": (112, 122, 134)}
# Masse arrière : centre v, demi-largeur, demi-hauteur, rayon des coins, ondulation. Boules de part et d'autre :
# u, v, rayon (négatif : aucune). Naissance des cheveux : v au milieu, pente, courbure, dents.
HAIRSTYLES = {
    "rasée": (0.0, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, -1.0, -3.0, 0.0, 0.0, 0.0),
    "courte": (-0.3, 0.86, 0.82, 0.7, 0.0, 0.0, 0.0, -1.0, -0.62, 0.28, 0.55, 0.0),
    "frange": (0.0, 0.98, 1.12, 0.85, 0.0, 0.0, 0.0, -1.0, -0.42, 0.0, 0.45, 0.16),
    "longue": (0.35, 1.0, 1.5, 0.9, 0.0, 0.0, 0.0, -1.0, -0.74, 0.0, 1.5, 0.0),
    "bouclée": (-0.15, 1.16, 1.12, 1.1, 0.1, 0.0, 0.0, -1.0, -0.56, 0.0, 0.7, 0.22),
    "chignon": (-0.25, 0.87, 0.87, 0.8, 0.0, 0.0, -1.28, 0.36, -0.62, 0.0, 0.9, 0.0),
    "couettes": (-0.25, 0.87, 0.87, 0.8, 0.0, 1.08, 0.28, 0.38, -0.52, -0.18, 0.7, 0.0),
}
INK = np.array((44, 36, 42), np.float32)
WHITE = np.array((255, 255, 255), np.float32)


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


def only(canvas: Canvas, mask: np.ndarray, draw: Callable[[Canvas, np.ndarray], None]) -> None:
    """Appelle draw(part, rows) sur une copie réduite aux visages de `mask`, puis la recopie dans l'image."""
    rows = np.flatnonzero(mask)
    if len(rows):
        part = Canvas(*(plane[rows] for plane in canvas[:-1]), canvas.corner)
        draw(part, rows)
        canvas.image[rows] = part.image


def cover(canvas: Canvas, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """Part de chaque pixel que couvre la forme : 1 dedans, 0 dehors, entre les deux sur un pixel."""
    return np.clip(distance * (-1 / np.maximum(canvas.pixel, soft)) + 0.5, 0, 1)


def paint(
    canvas: Canvas, distance: np.ndarray, colour: np.ndarray, opacity: float | np.ndarray = 1.0, soft: float = 0.0
) -> None:
    """Couvre de `colour` (3,) ou (k, 3) là où `distance` < 0 ; `soft` : bord fondu, en unités du visage."""
    alpha = cover(canvas, distance, soft) * opacity
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


def _wheel(hue: np.ndarray, light: np.ndarray | float, strength: float) -> np.ndarray:
    """Couleurs (k, 3) de teinte `hue` sur le cercle, autour du gris `light` (0 à 255)."""
    waves = np.cos(2 * np.pi * (hue[:, None] + np.array((0, 2 / 3, 1 / 3))))
    return np.clip(np.asarray(light).reshape(-1, 1) + strength * waves, 0, 255)


def _turn(p: dict[str, np.ndarray]) -> np.ndarray:
    return np.deg2rad(p["rotation"])[:, None, None]


def _width(p: dict[str, np.ndarray]) -> np.ndarray:
    return 0.72 + 0.12 * p["largeur"][:, None, None]


def _turned(u: float, turn: np.ndarray, depth: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Où la rotation de la tête porte un trait posé en `u`, et combien elle le resserre."""
    angle = np.arcsin(np.float32(u / depth)) + turn
    return depth * np.sin(angle), np.clip(np.cos(angle) / np.cos(np.arcsin(np.float32(u / depth))), 0.45, 1.1)


def _canvas(p: dict[str, np.ndarray], size: int) -> Canvas:
    """Le fond, et le repère de chaque visage : décalé, mis à sa taille, incliné."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1)[None]
    angle = np.deg2rad(p["inclinaison"])
    pose = np.stack([p["décalage x"], p["décalage y"] + np.float32(0.12), p["taille"], angle], axis=1)[:, None]
    x0, y0, scale, angle = np.moveaxis(pose, -1, 0)[..., None]
    x, y = (axis[:, None, :] - x0) / scale, (axis[:, :, None] - y0) / scale
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    image = np.empty((len(u), 3, size, size), np.float32)
    image[:] = _wheel(p["fond"], 120 + 90 * p["clarté du fond"], 42)[:, :, None, None]
    canvas = Canvas(image, u, v, 2 / (size * scale), pose, (0, 0, size))
    paint(canvas, length(x, y) - 1.4, WHITE, opacity=0.28, soft=1.2)
    return canvas


def _behind(canvas: Canvas, p: dict[str, np.ndarray], style: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> None:
    """Ce que le visage cache en partie : cheveux de derrière, épaules, cou, oreilles."""
    u, v = canvas.u, canvas.v
    mass = box(u, v - style[0], style[1] + 0.1 * (p["largeur"][:, None, None] - 0.5), style[2], style[3])
    curly = np.flatnonzero(style[4])
    mass[curly] -= style[4][curly] * np.sin(9 * u[curly]) * np.sin(9 * v[curly])
    paint(canvas, np.minimum(mass, length(np.abs(u) - style[5], v - style[6]) - style[7]), hair * 0.86)
    neck = window(canvas, 0, 1.0, 0.35, 0.55)
    paint(neck, box(neck.u, neck.v - 1.0, 0.32, 0.5, 0.1), skin * 0.84)
    low = window(canvas, 0, 2.15, 1.4, 1.0)
    paint(low, ellipse(low.u, low.v - 2.15, 1.35, 0.95), _wheel(p["habit"], 140, 80))
    collar = window(canvas, 0, 1.22, 0.4, 0.25)
    paint(collar, ellipse(collar.u, collar.v - 1.22, 0.36, 0.2), skin * 0.84)
    for side in (-1, 1):
        place = side * (_width(p) - 0.02) - 0.25 * np.sin(_turn(p))
        part = window(canvas, place, 0.08, 0.2, 0.27)
        paint(part, ellipse(part.u - place, part.v - 0.08, 0.15, 0.22), skin * 0.93)


def _skull(canvas: Canvas, p: dict[str, np.ndarray]) -> np.ndarray:
    """Distance à la tête : une ellipse qui s'affine vers le menton."""
    return ellipse(canvas.u / (1 - 0.12 * canvas.v), canvas.v, _width(p), 1.0)


def _head(canvas: Canvas, p: dict[str, np.ndarray], skin: np.ndarray, hair: np.ndarray) -> None:
    """La tête, son modelé, ses joues, sa barbe."""
    turn = _turn(p)
    canvas = window(canvas, 0, 0, 0.95, 1.05)
    inside = cover(canvas, skull := _skull(canvas, p))
    paint(canvas, skull, skin)
    light = ellipse(canvas.u + 0.14 - 0.3 * turn, canvas.v + 0.12, _width(p), 1.0)
    paint(canvas, -light - 0.05, skin * 0.82, opacity=0.6 * inside, soft=0.25)
    for side in (-1, 1):
        place, squeeze = _turned(0.46 * side, turn)
        part = window(canvas, place, 0.3, 0.3, 0.25)
        cheek = ellipse((part.u - place) / squeeze, part.v - 0.3, 0.16, 0.11)
        paint(part, np.maximum(cheek, _skull(part, p)), skin * (1.0, 0.74, 0.7), opacity=0.6, soft=0.2)

    def beard(part: Canvas, rows: np.ndarray) -> None:
        top = 0.36 - 0.5 * (part.u - 0.4 * np.sin(turn[rows])) ** 2
        paint(part, np.maximum(skull[rows], top - part.v), hair[rows] * 0.92)

    only(canvas, p["barbe"], beard)


def _features(canvas: Canvas, p: dict[str, np.ndarray], skin: np.ndarray, hair: np.ndarray, eyes: np.ndarray) -> None:
    """Yeux, sourcils, nez et bouche, portés par la rotation de la tête."""
    turn = _turn(p)
    gaze = 0.05 * np.sin(turn)
    for side in (-1, 1):
        place, squeeze = _turned(0.34 * side, turn)
        eye = window(canvas, place, -0.05, 0.2, 0.19)
        x, y = (eye.u - place) / squeeze, eye.v + 0.05
        paint(eye, ellipse(x, y, 0.185, 0.165), INK)
        paint(eye, ellipse(x, y - 0.02, 0.17, 0.15), WHITE)
        iris = length(x - gaze, y - 0.02)
        paint(eye, iris - 0.115, eyes)
        paint(eye, iris - 0.06, INK)
        paint(eye, length(x - gaze + 0.04, y + 0.03) - 0.03, WHITE)
        brow = window(canvas, place, -0.36, 0.22, 0.14)
        x = (brow.u - place) / squeeze
        paint(brow, np.maximum(np.abs(brow.v + 0.4 - 1.8 * x * x) - 0.045, np.abs(x) - 0.2), hair * 0.62)
    place, _ = _turned(0.0, turn, depth=1.1)
    nose = window(canvas, place, 0.24, 0.14, 0.12)
    paint(nose, ellipse(nose.u - place, nose.v - 0.25, 0.12, 0.09), skin * 0.74)
    paint(nose, ellipse(nose.u - place, nose.v - 0.22, 0.105, 0.085), skin)
    _mouth(canvas, p["sourire"][:, None, None], turn, skin)


def _mouth(canvas: Canvas, smile: np.ndarray, turn: np.ndarray, skin: np.ndarray) -> None:
    """Deux paraboles qui se rejoignent aux coins : confondues, la bouche est fermée ; écartées, elle sourit."""
    place, squeeze = _turned(0.0, turn, depth=0.85)
    canvas = window(canvas, place, 0.62, 0.45, 0.3)
    half = (0.24 + 0.14 * smile) * squeeze
    x = (canvas.u - place) / half
    arch = np.clip(1 - x * x, 0, 1)
    upper = 0.58 - 0.1 * smile + (0.2 * smile - 0.02) * arch
    lower = upper + 0.26 * np.clip((smile - 0.45) / 0.55, 0, 1) * arch
    inside = np.maximum(np.maximum(canvas.v - lower, upper - canvas.v), (np.abs(x) - 1) * half)
    paint(canvas, inside - 0.045, skin * (0.72, 0.4, 0.4))
    paint(canvas, inside + 0.02, (112, 28, 38))
    paint(canvas, np.maximum(inside + 0.02, canvas.v - upper - 0.12), WHITE)


def _fringe(canvas: Canvas, p: dict[str, np.ndarray], style: np.ndarray, hair: np.ndarray) -> None:
    """Les cheveux de devant : le haut du crâne, jusqu'à leur naissance."""
    canvas = window(canvas, 0, -0.3, 1.0, 0.85)
    x = canvas.u - 0.3 * np.sin(_turn(p))
    teeth = 2.6 * x - np.floor(2.6 * x) - 0.5
    below = canvas.v - (style[8] + style[9] * x + style[10] * x * x - style[11] * np.abs(teeth))
    paint(canvas, np.maximum(_skull(canvas, p) - 0.07, 0.8 * below), hair)
    shine = np.maximum(np.abs(canvas.v + 0.86 - 0.25 * x * x) - 0.03, np.abs(x + 0.2) - 0.25)
    paint(canvas, np.maximum(shine, below), np.minimum(hair * 1.25 + 24, 255), opacity=0.6)


def _glasses(canvas: Canvas, turn: np.ndarray, colour: np.ndarray) -> None:
    """Deux verres cerclés, un pont, et les branches jusqu'aux oreilles."""
    band = window(canvas, 0, -0.05, 0.85, 0.35)
    bars = np.maximum(np.abs(band.v + 0.1) - 0.035, np.abs(band.u) - 0.8)
    for side in (-1, 1):
        place, squeeze = _turned(0.34 * side, turn)
        lens = box(band.u - place, band.v + 0.04, 0.29 * squeeze, 0.26, 0.2 * squeeze)
        bars = np.maximum(bars, -lens)
        paint(band, lens, WHITE, opacity=0.22)
        paint(band, np.abs(lens) - 0.038, colour)
    paint(band, bars, colour)


def _beanie(canvas: Canvas, width: np.ndarray, turn: np.ndarray, colour: np.ndarray) -> None:
    u, v = canvas.u, canvas.v
    paint(canvas, length(u, v + 1.4) - 0.2, np.minimum(colour * 1.2 + 50, 255))
    paint(canvas, np.maximum(ellipse(u, v + 0.42, width + 0.16, 0.9), v + 0.42), colour)
    paint(canvas, box(u, v + 0.5 - 0.06 * u * u, width + 0.17, 0.15, 0.1), colour * 0.74)


def _brim(canvas: Canvas, width: np.ndarray, turn: np.ndarray, colour: np.ndarray) -> None:
    u, v = canvas.u, canvas.v
    paint(canvas, box(u, v + 0.98, width - 0.02, 0.5, 0.22), colour)
    paint(canvas, box(u, v + 0.68, width - 0.02, 0.12), colour * 0.5)
    paint(canvas, ellipse(u, v + 0.5, width + 0.55, 0.15), colour * 0.86)


def _cap(canvas: Canvas, width: np.ndarray, turn: np.ndarray, colour: np.ndarray) -> None:
    u, v = canvas.u, canvas.v
    paint(canvas, np.maximum(ellipse(u, v + 0.4, width + 0.13, 0.76), v + 0.44), colour)
    paint(canvas, ellipse(u - 0.9 * turn, v + 0.44, width - 0.04, 0.14), colour * 0.6)
    paint(canvas, ellipse(u - 0.5 * turn, v + 0.8, 0.17, 0.15), np.minimum(colour * 1.2 + 60, 255))


def paint_faces(p: dict[str, np.ndarray], size: int) -> np.ndarray:
    """Dessine les visages de paramètres `p` ({nom : float32 (k,)}, voir faces.py) : uint8 (k, 3, size, size)."""
    place = p["peau"] * (len(SKIN) - 1)
    skin = np.stack([np.interp(place, range(len(SKIN)), channel) for channel in SKIN.T], axis=1)
    hair = np.array(list(HAIR_COLOURS.values()))[p["couleur des cheveux"].astype(int)]
    eyes = np.array(list(EYES.values()))[p["yeux"].astype(int)]
    style = np.array(list(HAIRSTYLES.values()), np.float32)[p["coiffure"].astype(int)].T[:, :, None, None]
    hidden = ((p["chapeau"] > 0) & (p["coiffure"] == list(HAIRSTYLES).index("chignon")))[:, None, None]
    style[7] = np.where(hidden, -1, style[7])
    opposite = _wheel(p["habit"] + 0.5, 128, 80)
    canvas = _canvas(p, size)
    _behind(canvas, p, style, skin, hair)
    _head(canvas, p, skin, hair)
    _features(canvas, p, skin, hair, eyes)
    _fringe(canvas, p, style, hair)
    turn, width = _turn(p), _width(p)
    only(canvas, p["lunettes"], lambda part, rows: _glasses(part, turn[rows], opposite[rows] * 0.45))
    for number, hat in enumerate((_beanie, _brim, _cap), start=1):  # l'ordre de faces.HATS ; 0 : aucun

        def wear(part: Canvas, rows: np.ndarray, hat: Callable = hat) -> None:
            hat(part, width[rows], np.sin(turn[rows]), opposite[rows])

        only(canvas, p["chapeau"] == number, wear)
    return np.clip(canvas.image + 0.5, 0, 255).astype(np.uint8)
