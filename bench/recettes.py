"""Quelle recette dessine les meilleurs visages ? Refait de recettes.csv les lignes que le cours a gardées.

python bench/recettes.py r1r2 residuel --images 60000 240000 --seeds 0 1 2

Chaque ligne a les colonnes de recettes.csv ; `secondes` est ici le temps passé sur cette machine, mesures exclues.
"""

import argparse
import time
from dataclasses import replace

import torch

from gan_course.data import load_images
from gan_course.features import as_uint8, load_features
from gan_course.metrics import frechet_distance, patch_distance
from gan_course.models import dcgan, residual, stylegan
from gan_course.training import train

OLD = dcgan.RECIPE
ADAM = replace(OLD, batch_size=32, g_lr=1e-3, d_lr=1e-3, betas=(0.0, 0.99), ema_halflife=20_000, ema_rampup=0.1)
R1R2 = replace(ADAM, penalty="r1+r2", penalty_weight=1.0, penalty_every=8)


def pair(size, batch_norm):
    shape = (3, size, size)
    return lambda: (dcgan.Generator(shape, width=32), dcgan.Discriminator(shape, width=32, batch_norm=batch_norm))


RECIPES = {  # nom : (côté, les deux réseaux, la recette)
    "dcgan-2016": (64, pair(64, True), OLD),
    "dcgan-4e-4": (64, pair(64, True), replace(OLD, batch_size=64, g_lr=4e-4, d_lr=4e-4)),
    "adam": (64, pair(64, True), ADAM),
    "r1r2": (64, pair(64, False), R1R2),
    "residuel": (64, lambda: (residual.Generator(), residual.Discriminator()), residual.RECIPE),
    "r1r2-32": (32, pair(32, False), R1R2),
    "style": (32, lambda: (stylegan.Generator(), stylegan.Discriminator()), stylegan.RECIPE),
}


@torch.no_grad()
def draw(generator, n, seed=12_345):
    """n images uint8 d'un générateur ; une graine qu'aucun entraînement n'emploie."""
    z = torch.randn(n, generator.latent_dim, generator=torch.Generator().manual_seed(seed))
    device = next(generator.parameters()).device
    return torch.cat([as_uint8(generator(part.to(device))).cpu() for part in z.split(250)])


def run(name, seed, marks, n):
    """Une ligne par nombre d'images vues."""
    size, networks, recipe = RECIPES[name]
    images = load_images("celeba", size=size)
    real = images.images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:n]]
    spaces = [load_features(space) for space in ("objects", "faces")]
    torch.manual_seed(seed)
    steps, spent, start = sorted({-(-mark // recipe.batch_size) for mark in marks}), 0.0, time.perf_counter()
    for progress in train(*networks(), images, recipe, steps[-1], seed=seed, precision="mixed"):
        if progress.step in steps:
            progress.d_loss  # noqa: B018 : lire une mesure attend le GPU
            spent += time.perf_counter() - start
            fake = draw(progress.ema, n)
            distances = [frechet_distance(space(real), space(fake)) for space in spaces]
            patches = 1_000 * patch_distance(real[:2_000], fake[:2_000])
            print(size, name, seed, progress.images_seen, f"{spent:.0f}", *(f"{d:.2f}" for d in distances),
                  f"{patches:.1f}", sep=",", flush=True)  # fmt: skip
            start = time.perf_counter()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recettes", nargs="+", choices=RECIPES)
    parser.add_argument("--images", type=int, nargs="+", default=[60_000, 120_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("-n", type=int, default=4_000)
    options = parser.parse_args()
    print("cote,recette,graine,images_vues,secondes,frechet_objects,frechet_faces,patchs")
    for name in options.recettes:
        for seed in options.seeds:
            run(name, seed, options.images, options.n)
