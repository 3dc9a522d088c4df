"""Attracteurs étranges : un jeu d'images où chaque image est un point, connu, d'un espace de paramètres.

    x' = sin(b y) + c sin(b x)        y' = sin(a x) + d sin(a y)

(C. Pickover, 1995 ; jeu « Fractal Dream », L. Goareguer, 2019.) Une image compte les passages de l'orbite
partie de (x0, y0) dans une grille ajustée à son rectangle englobant, y vers le haut ; les comptes sont
égalisés, le fond est blanc.

Deux astuces de calcul. On itère un bloc d'images à la fois. Et l'on remplace une longue orbite par `ORBITS`
orbites parties du voisinage de (x0, y0) : le chaos les sépare en quelques dizaines de pas, après quoi elles
visitent le même attracteur.
"""

from collections.abc import Iterator

import numpy as np

from gan_course.engine.numbers import check_positive

FACTOR_NAMES = ("x0", "y0", "a", "b", "c", "d")
LOW = np.array([-1, -1, -3, -3, -3, -3], dtype=np.float32)  # les bornes du jeu d'origine ; hautes = opposées
ORBITS = 64  # orbites par image
TRANSIENT = 100  # pas oubliés : le temps de rejoindre l'attracteur et de se séparer

# Couleurs du moins au plus visité, régulièrement espacées. Toutes s'assombrissent : lisibles sur blanc et
# sans la couleur.
PALETTES = {
    "blue": [(198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107)],
    "inferno": [(252, 190, 70), (237, 105, 37), (188, 55, 84), (106, 23, 110), (10, 7, 34)],
    "green": [(199, 233, 192), (116, 196, 118), (35, 139, 69), (0, 68, 27)],
}

_SCREEN_SIZE, _SCREEN_STEPS = 32, 32  # tri des attracteurs : une petite image de 2 048 points suffit
_SCREEN_OCCUPIED = 0.16  # part de cases visitées : le minimum observé sur les 1 984 attracteurs publiés


def _orbits(parameters: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points visités : x et y, float32 (steps, M, ORBITS), pour `parameters` float32 (M, 6)."""
    x0, y0, a, b, c, d = parameters.T[:, :, None]
    nearby = np.random.default_rng(0).uniform(-1e-3, 1e-3, (2, ORBITS)).astype(np.float32)
    x, y = x0 + nearby[0], y0 + nearby[1]
    xs, ys = (np.empty((steps, *x.shape), np.float32) for _ in range(2))
    for step in range(-TRANSIENT, steps):
        x, y = np.sin(b * y) + c * np.sin(b * x), np.sin(a * x) + d * np.sin(a * y)
        if step >= 0:
            xs[step], ys[step] = x, y
    return xs, ys


def _cells(values: np.ndarray, size: int) -> np.ndarray:
    """Case, de 0 à size-1, de chaque coordonnée dans l'étendue de son image."""
    low, high = values.min(axis=(0, 2), keepdims=True), values.max(axis=(0, 2), keepdims=True)
    scale = size / np.maximum(high - low, 1e-6)  # un point fixe a une étendue nulle
    return np.minimum(((values - low) * scale).astype(np.int32), size - 1)


def visit_counts(parameters: np.ndarray, size: int, steps: int) -> np.ndarray:
    """Passages par case : int64 (M, size, size), y grand en haut, pour `parameters` float32 (M, 6)."""
    xs, ys = _orbits(parameters, steps)
    image = np.arange(len(parameters), dtype=np.int64)[None, :, None]
    flat = (image * size + (size - 1 - _cells(ys, size))) * size + _cells(xs, size)
    return np.bincount(flat.ravel(), minlength=len(parameters) * size * size).reshape(-1, size, size)


def _colour(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Image uint8 (3, size, size) : histogramme égalisé sur les cases visitées, puis couleurs de `table`."""
    histogram = np.bincount(counts.ravel())
    histogram[0] = 0  # le fond ne compte pas
    rank = np.cumsum(histogram) / max(histogram.sum(), 1)  # part des cases visitées au plus autant de fois
    pixels = table[(rank[counts] * (len(table) - 1)).astype(np.int64)]
    pixels[counts == 0] = 255
    return pixels.transpose(2, 0, 1)


def fractal_blocks(
    parameters: np.ndarray, size: int = 64, points: int | None = None, palette: str = "inferno"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`draw_fractals` par blocs : images uint8 (M, 3, size, size) et leurs paramètres (M, 6)."""
    if palette not in PALETTES:
        raise ValueError(f"Palette inconnue : {palette!r}. Choisissez parmi {', '.join(PALETTES)}.")
    size = check_positive("size", size)
    points = max(60_000, 8 * size * size) if points is None else check_positive("points", points)
    parameters = np.asarray(parameters, dtype=np.float32)
    if parameters.shape[1:] != (6,) or not len(parameters) or not np.isfinite(parameters).all():
        raise ValueError(
            f"parameters est de forme {parameters.shape} ; il faut (N, 6), des nombres finis, dans l'ordre "
            f"{', '.join(FACTOR_NAMES)}."
        )
    anchors = np.array(PALETTES[palette], dtype=np.float64)
    place = np.linspace(0, len(anchors) - 1, 256)
    shades = [np.interp(place, range(len(anchors)), channel) for channel in anchors.T]
    table = np.stack(shades, axis=1).round().astype(np.uint8)
    steps = -(-points // ORBITS)
    block = max(1, 50_000 // steps)  # borne la mémoire : environ 3 millions de points à la fois
    for start in range(0, len(parameters), block):
        part = parameters[start : start + block]
        yield np.stack([_colour(counts, table) for counts in visit_counts(part, size, steps)]), part


def draw_fractals(
    parameters: np.ndarray, size: int = 64, points: int | None = None, palette: str = "inferno"
) -> np.ndarray:
    """Dessine les attracteurs de paramètres donnés : uint8 (N, 3, size, size).

    - `parameters` : (N, 6), colonnes x0, y0, a, b, c, d ;
    - `points` : points par image, arrondis au multiple de 64 supérieur ; par défaut 60 000, comme le jeu
      d'origine, ou huit par case si c'est davantage ;
    - `palette` : "blue", "inferno" ou "green".

    Lève ValueError si la forme ou la palette ne convient pas.
    """
    return np.concatenate([images for images, _ in fractal_blocks(parameters, size, points, palette)])


def sample_parameters(n: int, seed: int = 0, split: str = "train") -> np.ndarray:
    """Tire `n` jeux de paramètres, float32 (n, 6), uniformes dans les bornes d'origine.

    Un point fixe ou un cycle ne remplit que quelques cases : on écarte ce qui en visite moins de 16 % sur une
    grille 32 × 32. Le tri ne dépend ni de la taille ni de n : `sample_parameters(10)` est le début de
    `sample_parameters(100)`.
    """
    random = np.random.default_rng([check_positive("seed", seed, least=0), {"train": 0, "test": 1}[split]])
    kept, found = [], 0
    while found < n:
        candidates = random.uniform(LOW, -LOW, size=(256, 6)).astype(np.float32)
        occupied = (visit_counts(candidates, _SCREEN_SIZE, _SCREEN_STEPS) > 0).mean(axis=(1, 2))
        kept.append(candidates[occupied >= _SCREEN_OCCUPIED])
        found += len(kept[-1])
    return np.concatenate(kept)[:n]
