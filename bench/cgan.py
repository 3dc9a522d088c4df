"""GAN conditionnel : la recette du chapitre 03 face à celle de cgan.py (eriklindernoren/PyTorch-GAN).

    GAN_COURSE_DATA=… python bench/cgan.py --seconds 30 60 --seeds 0 1 2

Pour chaque graine, les deux s'entraînent l'un après l'autre dans le même processus, montre en main (temps de calcul
seul : l'évaluation n'est pas comptée). Mesure : part des images que le juge indépendant lit comme demandé, sur 200
images par classe ; et diversité, distance moyenne entre images d'une même classe rapportée à celle des vraies.

Le pair est réécrit d'après ses réglages publiés : perceptrons, images de 32 px, lots de 64 par DataLoader, étiquettes
plongées dans 10 nombres, moindres carrés, Adam 2e-4 (0,5 ; 0,999), étiquettes des fausses images tirées au hasard.
"""

import argparse
import time
from statistics import mean, stdev

import torch
from judge import load_judge, predict
from torch import nn
from torch.nn.functional import interpolate, mse_loss
from torchvision import datasets, transforms

from gan_course.data import load_images
from gan_course.data.sources import data_root
from gan_course.models import conditional
from gan_course.training import train

ASKED = torch.arange(2000) % 10


def ours(seconds: list[float], seed: int):
    """(secondes, images) aux instants demandés, par la recette du cours."""
    images = load_images("mnist")
    torch.manual_seed(seed)
    g, d = conditional.Generator(), conditional.Discriminator()
    z = torch.randn(len(ASKED), g.latent_dim, generator=torch.Generator().manual_seed(1))
    pauses, start, left = 0.0, time.perf_counter(), list(seconds)
    for progress in train(g, d, images, conditional.RECIPE, steps=10**6, seed=seed, device="cpu", precision="mixed"):
        if time.perf_counter() - start - pauses >= left[0]:
            pause = time.perf_counter()
            with torch.no_grad():
                yield left.pop(0), progress.ema(z, ASKED), progress.step
            pauses += time.perf_counter() - pause
            if not left:
                return


def perceptron(sizes: list[int], dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    layers = []
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        layers += [nn.Linear(inputs, outputs)]
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(outputs, 0.8)] if norm and i else []
            layers += [nn.Dropout(dropout)] if dropout and i else []
            layers += [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def peer(seconds: list[float], seed: int):
    """(secondes, images ramenées à 28 px) aux instants demandés, par les réglages de cgan.py."""
    torch.manual_seed(seed)
    steps = [transforms.Resize(32), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    dataset = datasets.MNIST(str(data_root()), download=True, transform=transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)
    g_labels, d_labels = nn.Embedding(10, 10), nn.Embedding(10, 10)
    g = nn.Sequential(perceptron([110, 128, 256, 512, 1024, 1024], norm=True), nn.Tanh())
    d = perceptron([1034, 512, 512, 512, 1], dropout=0.4)
    optimizers = [
        torch.optim.Adam([*net.parameters(), *labels.parameters()], lr=2e-4, betas=(0.5, 0.999))
        for net, labels in ((g, g_labels), (d, d_labels))
    ]
    z_fixed = torch.randn(len(ASKED), 100, generator=torch.Generator().manual_seed(1))
    pauses, start, left, count = 0.0, time.perf_counter(), list(seconds), 0

    def generate(z, y):
        return g(torch.cat([g_labels(y), z], 1))

    def score(x, y):
        return d(torch.cat([x, d_labels(y)], 1))

    while True:
        for real, y_real in loader:
            real, count = real.flatten(1), count + 1
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            y = torch.randint(0, 10, (len(real),))
            fake = generate(torch.randn(len(real), 100), y)
            g_loss = mse_loss(score(fake, y), ones)
            optimizers[0].zero_grad()
            g_loss.backward()
            optimizers[0].step()
            d_loss = (mse_loss(score(real, y_real), ones) + mse_loss(score(fake.detach(), y), zeros)) / 2
            optimizers[1].zero_grad()
            d_loss.backward()
            optimizers[1].step()
            if time.perf_counter() - start - pauses >= left[0]:
                pause = time.perf_counter()
                with torch.no_grad():
                    big = generate(z_fixed, ASKED).view(-1, 1, 32, 32)
                    yield left.pop(0), interpolate(big, 28, mode="bilinear", antialias=True), count
                pauses += time.perf_counter() - pause
                if not left:
                    return


def spread(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Distance moyenne entre deux images d'une même classe."""
    return mean(torch.pdist(images[labels == k][:200].flatten(1)).mean().item() for k in range(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30, 60])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sans-pair", action="store_true", help="ne mesurer que la recette du cours")
    arguments = parser.parse_args()
    contenders = [("chapitre 03", ours)] + [("cgan.py", peer)] * (not arguments.sans_pair)
    judge = load_judge()
    real = load_images("mnist").take(10_000)
    reference = spread(real.images.float() / 127.5 - 1, real.labels)
    print("| graine | qui | secondes | pas | lu comme demandé | diversité / vraies |\n|---|---|---|---|---|---|")
    results: dict[tuple, list[float]] = {}
    for seed in arguments.seeds:
        for name, contender in contenders:
            for seconds, images, steps in contender(arguments.seconds, seed):
                accuracy = 100 * (predict(judge, images) == ASKED).float().mean().item()
                diversity = spread(images, ASKED) / reference
                results.setdefault((name, seconds), []).append(accuracy)
                row = [seed, name, f"{seconds:.0f}", steps, f"{accuracy:.2f} %", f"{diversity:.2f}"]
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
    for (name, seconds), values in results.items():
        deviation = stdev(values) if len(values) > 1 else 0.0
        print(f"{name}, {seconds:.0f} s : {mean(values):.2f} % ± {deviation:.2f} ({len(values)} graines)")


if __name__ == "__main__":
    main()
