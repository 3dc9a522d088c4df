"""L'anneau de huit gaussiennes : la recette du laboratoire contre la même sans pénalité, sur plusieurs graines.

    python bench/ring.py [--steps 2500] [--seeds 5]

Affiche, par graine : modes couverts, part des points à moins de trois écarts-types d'un centre, secondes. Ce qui doit
tenir : avec la pénalité, 8 modes sur 8 et au moins 90 % des points, à chaque graine ; sans elle, l'effondrement.
"""

import argparse
import time
from dataclasses import replace

import torch

from gan_course.data import gaussian_ring
from gan_course.diagnosis import french
from gan_course.metrics import ModeCoverage, mode_coverage
from gan_course.models import points
from gan_course.recipe import Recipe
from gan_course.training import train

SAMPLES = 10_000


def run(recipe: Recipe, steps: int, seed: int) -> tuple[ModeCoverage, float]:
    """Entraîne une paire neuve ; rend la couverture du générateur moyenné et les secondes d'entraînement."""
    ring = gaussian_ring()
    torch.manual_seed(seed)
    generator, discriminator = points.Generator(), points.Discriminator()
    start = time.perf_counter()
    for progress in train(generator, discriminator, ring, recipe, steps, seed=seed, device="cpu"):
        final = progress.ema
    seconds = time.perf_counter() - start
    with torch.no_grad():
        fakes = final(torch.randn(SAMPLES, generator.latent_dim))
    return mode_coverage(fakes, ring.centers, ring.std), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Couverture de l'anneau, avec et sans pénalité.")
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)  # de si petits réseaux ne gagnent rien à un second fil
    print("| recette | graine | modes | précision | secondes |\n|---|---|---|---|---|")
    for name, recipe in (("R1 + R2", points.RECIPE), ("sans pénalité", replace(points.RECIPE, penalty=None))):
        for seed in range(options.seeds):
            coverage, seconds = run(recipe, options.steps, seed)
            modes, precision = f"{coverage.covered} / {coverage.modes}", french(100 * coverage.precision, 1)
            print(f"| {name} | {seed} | {modes} | {precision} % | {french(seconds, 1)} |", flush=True)


if __name__ == "__main__":
    main()
