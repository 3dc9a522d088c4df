"""DCGAN à 64 px, largeur 64, lots de 64 : la boucle du cours face à dcgan/main.py de pytorch/examples.

    python bench/dcgan.py [--blocks 9] [--device cuda]

Des blocs de pas alternent entre les deux, dans le même processus ; on donne la médiane des rapports de blocs voisins.
Les deux lisent les mêmes visages dessinés, écrits en JPEG de 178 × 218 : le pair par ImageFolder, Resize, CenterCrop et
DataLoader (deux processus, comme par défaut), le cours par sa mémoire uint8, déjà préparée (images.py mesure ce que
cela coûte). Le pair est réécrit d'après ses réglages publiés : mêmes réseaux, BCELoss après une sigmoïde, Adam 2e-4.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from torch import nn
from torchvision import datasets, transforms

from gan_course.data import load_images
from gan_course.models import dcgan
from gan_course.training import Recipe, train

BATCH, WIDTH = 64, 64


def write_faces(folder: Path, count: int = 500, copies: int = 4) -> None:
    """Des visages dessinés, en JPEG de 178 × 218, la forme de CelebA."""
    folder.mkdir(parents=True)
    faces = load_images("faces", size=218, n=count, root=folder.parents[1] / "cache").images[:, :, :, 20:198]
    for i, face in enumerate(faces.permute(0, 2, 3, 1).numpy()):
        for copy in range(copies):
            Image.fromarray(face).save(folder / f"{i:04d}_{copy}.jpg", quality=90)


def peer_networks(device: torch.device) -> tuple[nn.Module, nn.Module]:
    channels = [WIDTH * 8, WIDTH * 4, WIDTH * 2, WIDTH]
    layers = [nn.ConvTranspose2d(100, channels[0], 4, 1, 0, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(True)]
    for a, b in zip(channels, channels[1:]):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
    g = nn.Sequential(*layers, nn.ConvTranspose2d(WIDTH, 3, 4, 2, 1, bias=False), nn.Tanh())
    layers = [nn.Conv2d(3, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for b, a in zip(channels[-2::-1], channels[:0:-1]):
        layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]
    d = nn.Sequential(*layers, nn.Conv2d(channels[0], 1, 4, 1, 0, bias=False), nn.Sigmoid())
    for net in (g, d):
        dcgan.initialise(net)
    return g.to(device), d.to(device)


def peer(folder: Path, device: torch.device):
    """Un pas de dcgan/main.py à chaque next()."""
    steps = [transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()]
    steps += [transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    dataset = datasets.ImageFolder(str(folder), transform=transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True)
    g, d = peer_networks(device)
    criterion = nn.BCELoss()
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))
    while True:
        for images, _ in loader:
            d.zero_grad()
            real = images.to(device)
            label = torch.full((len(real),), 1.0, device=device)
            real_loss = criterion(d(real).view(-1), label)
            real_loss.backward()
            fake = g(torch.randn(len(real), 100, 1, 1, device=device))
            label.fill_(0)
            fake_loss = criterion(d(fake.detach()).view(-1), label)
            fake_loss.backward()
            d_adam.step()
            g.zero_grad()
            label.fill_(1)
            g_loss = criterion(d(fake).view(-1), label)
            g_loss.backward()
            g_adam.step()
            (real_loss + fake_loss).item(), g_loss.item()  # affichés à chaque pas dans l'original
            yield


def ours(folder: Path, device: torch.device, precision: str, root: Path):
    images = load_images(folder, size=64, root=root)
    g, d = dcgan.Generator(width=WIDTH), dcgan.Discriminator(width=WIDTH)
    recipe = Recipe(batch_size=BATCH)
    return iter(train(g, d, images, recipe, 10**9, device=device, precision=precision))


def rate(run, steps: int, device: torch.device) -> float:
    """Images par seconde sur un bloc de pas."""
    start = time.perf_counter()
    for _ in range(steps):
        next(run)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=8, help="pas par bloc")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "visages"
        write_faces(folder / "tous")
        runs = {"dcgan/main.py": peer(folder, device)}
        for precision in ("float32", "mixed"):
            runs[f"cours, {precision}"] = ours(folder, device, precision, Path(place) / precision)
        for run in runs.values():
            rate(run, 3, device)
        steps = arguments.steps
        blocks = [{name: rate(run, steps, device) for name, run in runs.items()} for _ in range(arguments.blocks)]
    print("| qui | images/s, médiane | rapport médian au pair | étendue |\n|---|---|---|---|")
    for name in runs:
        ratios = sorted(block[name] / block["dcgan/main.py"] for block in blocks)
        speed = median(block[name] for block in blocks)
        print(f"| {name} | {speed:.0f} | {median(ratios):.2f} | {ratios[0]:.2f} à {ratios[-1]:.2f} |")


if __name__ == "__main__":
    main()
