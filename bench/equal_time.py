"""À temps de calcul égal : quatre recettes sur les mêmes visages de 32 px, mesurées en chemin.

    OMP_NUM_THREADS=1 python bench/equal_time.py --seconds 30 60 120 240 480 --seeds 0 1 2 > curves.csv

Un seul fil, et le temps est celui du processeur (time.process_time), mesures exclues : une machine occupée ne favorise
personne. Mesure : distance de Fréchet, précision et rappel du générateur moyenné, sur n images. Le chapitre 05 trace
curves.csv (notebooks/donnees/05_courbes.csv).
"""

import argparse
import time

import torch
from recettes import R1R2

from gan_course.data import load_images
from gan_course.evaluation import generated_features, make_reference
from gan_course.metrics import frechet_distance, precision_recall
from gan_course.models import dcgan, stylegan, wgan
from gan_course.training import train

SHAPE = (3, 32, 32)
RECIPES = {  # nom : (les deux réseaux, la recette)
    "DCGAN, 2016": (lambda: (dcgan.Generator(SHAPE, width=32), dcgan.Discriminator(SHAPE, width=32)), dcgan.RECIPE),
    "DCGAN, R1 + R2": (
        lambda: (dcgan.Generator(SHAPE, width=32), dcgan.Discriminator(SHAPE, width=32, batch_norm=False)),
        R1R2,
    ),
    "WGAN-GP": (lambda: (wgan.Generator(SHAPE, width=24), wgan.Discriminator(SHAPE, width=24)), wgan.RECIPE),
    "Mini-StyleGAN": (lambda: (stylegan.Generator(SHAPE), stylegan.Discriminator(SHAPE)), stylegan.RECIPE),
}


def measure(generator, reference):
    """Distance de Fréchet, précision et rappel, d'images tirées d'une graine qu'aucun entraînement n'emploie."""
    fake = generated_features(generator, reference, len(reference.values), seed=12_345)
    fair = precision_recall(reference.values, fake)
    return f"{frechet_distance(reference.values, fake):.2f},{fair.precision:.3f},{fair.recall:.3f}"


def run(name, images, references, instants, seed):
    """Une ligne par instant : pas, images vues, et les mesures dans chaque espace."""
    networks, recipe = RECIPES[name]
    torch.manual_seed(seed)
    left, spent, start = list(instants), 0.0, time.process_time()
    for progress in train(*networks(), images, recipe, 10**9, seed=seed, device="cpu", precision="mixed"):
        if spent + time.process_time() - start < left[0]:
            continue
        spent += time.process_time() - start
        numbers = [measure(progress.ema, reference) for reference in references]
        print(f'"{name}",{seed},{left.pop(0):g},{progress.step},{progress.images_seen}', *numbers, sep=",", flush=True)
        if not left:
            return
        start = time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--spaces", nargs="+", default=["objects", "faces"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30, 60, 120, 240, 480])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=4_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images(arguments.data, size=32)
    references = [
        make_reference(images, space, arguments.n, description=f"{arguments.data}, train") for space in arguments.spaces
    ]
    columns = [f"{measure}_{space}" for space in arguments.spaces for measure in ("frechet", "precision", "rappel")]
    print("recette,graine,secondes,pas,images_vues", *columns, sep=",")
    for seed in arguments.seeds:
        for name in RECIPES:
            run(name, images, references, arguments.seconds, seed)


if __name__ == "__main__":
    main()
