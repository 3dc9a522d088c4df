"""Combien d'attracteurs par seconde sur un cœur, à 60 000 points et 128 px, face à une image à la fois.

Le pair fait le même calcul comme on l'écrit d'abord : soixante mille pas d'une seule orbite, un point à la fois, puis
`numpy.histogram2d`. Il en existe un autre, entre les deux : notre itération par blocs, et `histogram2d` pour compter.
Temps de processeur, un fil, médiane de plusieurs passages entrelacés.
"""

import argparse
import math
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from gan_course.data.fractals import ORBITS, _colour, _orbits, draw_fractals, sample_parameters

TABLE = np.zeros((256, 3), np.uint8)


def one_point_at_a_time(parameters: np.ndarray, size: int, points: int) -> None:
    """Une boucle Python par image."""
    for x, y, a, b, c, d in parameters.tolist():
        xs, ys = np.empty(points), np.empty(points)
        for i in range(points):
            x, y = math.sin(b * y) + c * math.sin(b * x), math.sin(a * x) + d * math.sin(a * y)
            xs[i], ys[i] = x, y
        count(xs, ys, size)


def histogram_per_image(parameters: np.ndarray, size: int, points: int) -> None:
    """Nos orbites par blocs, comptées image par image par numpy.histogram2d."""
    xs, ys = _orbits(parameters, -(-points // ORBITS))
    for i in range(len(parameters)):
        count(xs[:, i].ravel(), ys[:, i].ravel(), size)


def count(xs: np.ndarray, ys: np.ndarray, size: int) -> None:
    """Histogramme ajusté au rectangle englobant, puis couleurs."""
    counts, _, _ = np.histogram2d(ys, xs, bins=size)
    _colour(counts[::-1].astype(np.int64), TABLE)


def seconds(draw: Callable, parameters: np.ndarray) -> float:
    """Temps de processeur par image."""
    start = time.process_time()
    draw(parameters)
    return (time.process_time() - start) / len(parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24, help="attracteurs par passage (1 pour la boucle)")
    parser.add_argument("--rounds", type=int, default=7, help="passages de chacun")
    parser.add_argument("--size", type=int, default=128, help="côté, en pixels")
    parser.add_argument("--points", type=int, default=60_000, help="points par image")
    options = parser.parse_args()
    size, points = options.size, options.points
    parameters = sample_parameters(options.images, seed=5)
    contestants = {
        "le cours": lambda p: draw_fractals(p, size, points),
        "blocs + histogram2d": lambda p: histogram_per_image(p, size, points),
        "boucle + histogram2d": lambda p: one_point_at_a_time(p[:1], size, points),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, draw in contestants.items():
            spent = seconds(draw, parameters)
            times[name].append(spent * len(parameters) if name.startswith("boucle") else spent)
    ours = median(times["le cours"])
    for name, spent in times.items():
        low, high = 1 / max(spent), 1 / min(spent)
        ratio = median(t / o for t, o in zip(spent, times["le cours"]))
        print(f"{name:<22} {1 / median(spent):7.1f} images/s ({low:.1f} à {high:.1f}), {ratio:.1f} fois notre temps")
    print(f"Objectif, au moins 25 images/s : {'tenu' if 1 / ours >= 25 else 'manqué'}.")


if __name__ == "__main__":
    main()
