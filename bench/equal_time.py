"""À temps de calcul égal : DCGAN, WGAN-GP et Mini-StyleGAN sur les mêmes images de 32 px.

    python bench/equal_time.py --data celeba --space faces --seconds 240 --seeds 0 1 2

Un seul fil, et le temps est celui du processeur (time.process_time) : une machine occupée ne favorise personne.
Mesure : distance de Fréchet, précision et rappel du générateur moyenné, sur n images, dans l'espace du cours.
"""

import argparse
import sys
import time
from statistics import mean, stdev

import torch

from gan_course.data import load_images
from gan_course.evaluation import evaluate, make_reference
from gan_course.models import dcgan, stylegan, wgan
from gan_course.training import train

SHAPE = (3, 32, 32)
CONTENDERS = {  # nom : (module, largeur)
    "DCGAN": (dcgan, 32),
    "WGAN-GP": (wgan, 32),
    "Mini-StyleGAN": (stylegan, 16),
}


def trained(module, width: int, images, seconds: float, seed: int):
    """Le générateur moyenné après `seconds` secondes de processeur, et le nombre de pas."""
    torch.manual_seed(seed)
    g, d = module.Generator(SHAPE, width=width), module.Discriminator(SHAPE, width=width)
    start = time.process_time()
    for progress in train(g, d, images, module.RECIPE, 10**9, seed=seed, device="cpu", precision="mixed"):
        if time.process_time() - start >= seconds:
            return progress.ema, progress.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--space", default="faces")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=5_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images(arguments.data, size=32)
    reference = make_reference(images, arguments.space, arguments.n, description=f"{arguments.data}, train")
    print("| graine | qui | pas | Fréchet | précision | rappel |\n|---|---|---|---|---|---|")
    results: dict[str, list[float]] = {}
    for seed in arguments.seeds:
        for name, (module, width) in CONTENDERS.items():
            ema, steps = trained(module, width, images, arguments.seconds, seed)
            measured = evaluate(ema, reference, seed=seed)
            results.setdefault(name, []).append(measured.fid)
            row = [seed, name, steps, f"{measured.fid:.2f}", f"{measured.precision:.2f}", f"{measured.recall:.2f}"]
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
    for name, values in results.items():
        deviation = stdev(values) if len(values) > 1 else 0.0
        print(f"{name} : {mean(values):.2f} ± {deviation:.2f} ({len(values)} graines)")
    print(f"espace {reference.features.name}, n = {arguments.n}", file=sys.stderr)


if __name__ == "__main__":
    main()
