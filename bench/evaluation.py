"""Ce que coûte une mesure : la distance de Fréchet face à torch-fidelity, et le prix d'une image de 1 000 à 200 000.

    python bench/evaluation.py [--rounds 5]

Fréchet : mêmes caractéristiques (N, 2048), au spectre décroissant, chez l'un et chez l'autre, moyennes et covariances
comprises. Prix : lire un lot d'entraînement, puis caractéristiques (« objects », 32 px), moyenne et covariance.
"""

import argparse
import re
import time
from statistics import median

import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gan_course.data import ImageSet
from gan_course.features import load_features
from gan_course.metrics import frechet_distance, moments

COUNTS = (1_000, 10_000, 50_000, 200_000)


def timed(function):
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def clouds(n, dim, seed=0):
    """Deux nuages gaussiens (n, dim), aux variances de 1 à 1e-6 dans une base quelconque."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(dim, dim, generator=draw)).Q * torch.arange(1, dim + 1).float().pow(-0.9)
    a, b = (torch.randn(n, dim, generator=draw) @ mixing.T for _ in range(2))
    return a, 1.1 * b + 0.05


def theirs(a, b):
    one, other = (fid_features_to_statistics(features) for features in (a, b))
    return fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"]


def frechet_duel(rounds, n=5_000, dim=2_048):
    """(secondes du cours, secondes de torch-fidelity, rapport médian, étendue, écart relatif)."""
    a, b = clouds(n, dim)
    ours_, theirs_ = zip(*((timed(lambda: frechet_distance(a, b)), timed(lambda: theirs(a, b))) for _ in range(rounds)))
    ratios = sorted(t[0] / o[0] for o, t in zip(ours_, theirs_))
    error = abs(ours_[0][1] / float(theirs_[0][1]) - 1)
    return median(o[0] for o in ours_), median(t[0] for t in theirs_), median(ratios), (ratios[0], ratios[-1]), error


def prices(rounds):
    """Microsecondes par image, médianes, pour chaque nombre d'images : (lire un lot, mesurer)."""
    space, rows = load_features("objects", device="cpu"), {}
    pixels = torch.randint(0, 256, (COUNTS[-1], 3, 32, 32), dtype=torch.uint8)
    sets = {n: ImageSet(pixels[:n]) for n in COUNTS}
    for images in sets.values():
        images.batch(0, 64), space(images.images[:1_000])
    for _ in range(rounds):
        for n, images in sets.items():
            # Une permutation par époque : on lit donc une époque entière.
            reading, _ = timed(lambda images=images, n=n: [images.batch(step, 64) for step in range(n // 64)])
            measuring, _ = timed(lambda images=images: moments(space(images)))
            rows.setdefault(n, []).append((1e6 * reading / n, 1e6 * measuring / n))
    return {n: [(median(column), min(column), max(column)) for column in zip(*found)] for n, found in rows.items()}


def table(duel, costs):
    ours_, theirs_, ratio, (low, high), error = duel
    lines = [
        f"Distance de Fréchet entre 5 000 et 5 000 vecteurs de dimension 2 048 : {ours_:.1f} s ; "
        f"torch-fidelity {theirs_:.1f} s, {ratio:.1f} fois plus ({low:.1f} à {high:.1f}) ; valeurs égales "
        f"à {error:.0e} près.",
        "", "| images | lire un lot, µs par image | étendue | caractéristiques et moments, µs par image | étendue |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for n, ((reading, a, b), (measuring, c, d)) in costs.items():
        lines.append(f"| {n} | {reading:.1f} | {a:.1f} à {b:.1f} | {measuring:.0f} | {c:.0f} à {d:.0f} |")
    return re.sub(r"(?<=\d)\.(?=\d)", ",", "\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(table(frechet_duel(rounds), prices(rounds)))
