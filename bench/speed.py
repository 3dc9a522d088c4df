"""Un pas de chaque GAN du cours, face à la boucle publiée de son script le plus connu, sur les mêmes réseaux.

    python bench/speed.py [--blocks 7] [--only "DCGAN, 64 px"] [--device cuda]

Des blocs d'images alternent, dans un même processus, entre le pair et le cours, en float32 puis en précision mixte ; on
donne la médiane des rapports de blocs voisins, et son étendue. Chacun a sa recette, telle que publiée : le pair de
Mini-StyleGAN calcule R1 à chaque pas, le cours R1 + R2 tous les huit. Chacun lit ses images à sa façon : le pair par
PIL et DataLoader (deux processus), le cours par sa mémoire uint8, déjà préparée (images.py mesure ce que cela coûte).

« Part du débit » : opérations flottantes des convolutions et produits d'un pas, par seconde,
rapportées au plus haut débit qu'une convolution 3 × 3 atteint seule sur cette machine, dans la même précision.
"""

import argparse
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy, conv2d, mse_loss, softplus
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import flop_registry
from torchvision import transforms

from gan_course.data import ImageSet, load_images
from gan_course.models import conditional, dcgan, stylegan, wgan
from gan_course.recipe import Recipe
from gan_course.training import train

BATCH = 64


class Files(Dataset):
    """Des JPEG de 178 × 218, comme CelebA, ou des images déjà en mémoire, comme torchvision lit MNIST et CIFAR."""

    def __init__(self, sources, labels, size, channels):
        self.sources, self.labels = sources, labels
        steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize([0.5] * channels, [0.5] * channels)])

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, i):
        source = self.sources[i]
        image = Image.open(source).convert("RGB") if isinstance(source, Path) else Image.fromarray(source)
        return self.transform(image), int(self.labels[i])


def forever(loader, device):
    while True:
        for images, labels in loader:
            yield images.to(device), labels.to(device)


def noise(g, device):
    return torch.randn(BATCH, g.latent_dim, device=device)


def dcgan_script(g, d, batches, device):
    """dcgan/main.py, pytorch/examples : BCELoss après une sigmoïde, Adam 2e-4 (0,5 ; 0,999)."""
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))
    ones, zeros = torch.ones(BATCH, device=device), torch.zeros(BATCH, device=device)
    for real, _ in batches:
        d.zero_grad()
        real_loss = binary_cross_entropy(d(real).sigmoid(), ones)
        real_loss.backward()
        fake = g(noise(g, device))
        fake_loss = binary_cross_entropy(d(fake.detach()).sigmoid(), zeros)
        fake_loss.backward()
        d_adam.step()
        g.zero_grad()
        g_loss = binary_cross_entropy(d(fake).sigmoid(), ones)
        g_loss.backward()
        g_adam.step()
        (real_loss + fake_loss).item(), g_loss.item()  # affichés à chaque pas dans l'original
        yield


def wgan_gp_script(g, d, batches, device):
    """gan_cifar10.py, caogang/wgan-gp : cinq pas de critique, λ = 10, Adam 1e-4 (0,5 ; 0,9)."""
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.5, 0.9)) for net in (g, d))
    while True:
        d.requires_grad_(True)
        for _ in range(5):
            real, _ = next(batches)
            d.zero_grad()
            (-d(real).mean()).backward()
            with torch.no_grad():
                fake = g(noise(g, device))
            d(fake).mean().backward()
            epsilon = torch.rand(BATCH, 1, 1, 1, device=device)
            between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            scores = d(between)
            (gradient,) = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)
            (10 * (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()).backward()
            d_adam.step()
        d.requires_grad_(False)
        g.zero_grad()
        g_loss = -d(g(noise(g, device))).mean()
        g_loss.backward()
        g_adam.step()
        g_loss.item()
        yield


def style_script(g, d, batches, device):
    """train.py, rosinality/style-based-gan-pytorch, --loss r1 : R1 (γ = 10) à chaque pas, moyenne des poids."""
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99)) for net in (g, d))
    average = [p.detach().clone() for p in g.parameters()]
    for real, _ in batches:
        d.zero_grad()
        real.requires_grad_()
        scores = d(real)
        softplus(-scores).mean().backward(retain_graph=True)
        (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        (10 / 2 * gradient.flatten(1).norm(2, dim=1).square().mean()).backward()
        softplus(d(g(noise(g, device)).detach())).mean().backward()
        d_adam.step()
        d.requires_grad_(False)
        g.zero_grad()
        softplus(-d(g(noise(g, device)))).mean().backward()
        g_adam.step()
        with torch.no_grad():
            for mean, weight in zip(average, g.parameters()):
                mean.mul_(0.999).add_(weight, alpha=1 - 0.999)
        d.requires_grad_(True)
        yield


def cgan_script(g, d, batches, device):
    """cgan.py, eriklindernoren/PyTorch-GAN : moindres carrés, étiquettes tirées au hasard, Adam 2e-4 (0,5 ; 0,999)."""
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))
    ones, zeros = torch.ones(BATCH, device=device), torch.zeros(BATCH, device=device)
    for real, labels in batches:
        g_adam.zero_grad()
        asked = torch.randint(0, 10, (BATCH,), device=device)
        fake = g(noise(g, device), asked)
        g_loss = mse_loss(d(fake, asked), ones)
        g_loss.backward()
        g_adam.step()
        d_adam.zero_grad()
        d_loss = (mse_loss(d(real, labels), ones) + mse_loss(d(fake.detach(), asked), zeros)) / 2
        d_loss.backward()
        d_adam.step()
        d_loss.item(), g_loss.item()  # affichés à chaque pas dans l'original
        yield


def faces(size):
    return lambda root: load_images("faces", size=size, n=2_000, root=root)


def grey(root):
    """Le bruit coûte autant à lire que les chiffres de MNIST, et n'est pas à télécharger."""
    pixels = torch.randint(0, 256, (10_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(10_000) % 10)


@dataclass(frozen=True)
class Duel:
    """Un GAN du cours et son pair. `files` : le pair lit des JPEG de 178 × 218, et non des images en mémoire."""

    peer: str
    script: object
    networks: object
    recipe: Recipe
    images: object
    files: bool


SMALL = (3, 32, 32)
DUELS = {
    "DCGAN, 64 px": Duel(
        "pytorch/examples", dcgan_script, lambda: (dcgan.Generator(width=64), dcgan.Discriminator(width=64)),
        dcgan.RECIPE, faces(64), True,
    ),
    "WGAN-GP, 32 px": Duel(
        "caogang/wgan-gp", wgan_gp_script, lambda: (wgan.Generator(SMALL), wgan.Discriminator(SMALL)),
        wgan.RECIPE, faces(32), False,
    ),
    "Mini-StyleGAN, 32 px": Duel(
        "rosinality/style-based-gan-pytorch", style_script,
        lambda: (stylegan.Generator(SMALL), stylegan.Discriminator(SMALL)), stylegan.RECIPE, faces(32), True,
    ),
    "GAN conditionnel, 28 px": Duel(
        "eriklindernoren/PyTorch-GAN", cgan_script, lambda: (conditional.Generator(), conditional.Discriminator()),
        conditional.RECIPE, grey, False,
    ),
}  # fmt: skip


def peer_run(duel, images, folder, device):
    """Le pair, un pas à chaque next()."""
    size, channels = images.images.shape[-1], images.images.shape[1]
    labels = images.labels if images.labels is not None else torch.zeros(len(images), dtype=torch.int64)
    if duel.files:
        sources = []
        for i, face in enumerate(load_images("faces", size=218, n=500, root=folder).images[:, :, :, 20:198]):
            sources.append(folder / f"{i:04d}.jpg")
            Image.fromarray(face.permute(1, 2, 0).numpy()).save(sources[-1], quality=90)
        sources = sources * 4
    else:
        sources = list(images.images.permute(0, 2, 3, 1).squeeze(-1).numpy())
    loader = DataLoader(Files(sources, labels, size, channels), BATCH, shuffle=True, num_workers=2, drop_last=True)
    g, d = (net.to(device) for net in duel.networks())
    return duel.script(g, d, forever(loader, device), device)


def course_run(duel, images, device, precision):
    recipe = replace(duel.recipe, batch_size=BATCH)
    return iter(train(*duel.networks(), images, recipe, 10**9, device=device, precision=precision))


def seconds(run, steps, device):
    start = time.perf_counter()
    for _ in range(steps):
        next(run)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def peak(device, dtype):
    """Le plus haut débit, en opérations par seconde, d'une convolution 3 × 3 seule : le meilleur de quatre tailles."""
    best = 0.0
    for channels, side in ((64, 32), (128, 32), (128, 16), (256, 16)):
        x = torch.randn(BATCH, channels, side, side, device=device, dtype=dtype)
        w = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))

        def once(x=x, w=w):
            while True:
                yield conv2d(x, w, padding=1)

        run = once()
        seconds(run, 2, device)
        fastest = min(seconds(run, 5, device) for _ in range(5))
        best = max(best, 2 * BATCH * channels * channels * 9 * side * side / fastest)
    return best


class Operations(TorchDispatchMode):
    """Compte les opérations flottantes des convolutions et des produits (FlopCounterMode refuse autograd.grad)."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function.overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result


def operations(run, steps):
    """Opérations flottantes d'un pas, moyenne de `steps` pas : assez pour que la pénalité y ait sa part."""
    with Operations() as counter:
        for _ in range(steps):
            next(run)
    return counter.total / steps


def duel_rows(name, blocks, device, peaks):
    """Deux lignes : float32 et mixte ; images par seconde, rapport médian au pair, étendue, part du débit."""
    duel = DUELS[name]
    every = duel.recipe.penalty_every
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        images = duel.images(Path(place))
        runs = {"pair": peer_run(duel, images, Path(place), device)}
        for precision in ("float32", "mixed"):
            runs[precision] = course_run(duel, images, device, precision)
        for run in runs.values():
            seconds(run, every, device)
        work = operations(runs["float32"], every)
        steps = every * max(1, round(1.5 / seconds(runs["pair"], every, device) / every))  # 1,5 s par bloc
        timed = [{who: seconds(run, steps, device) for who, run in runs.items()} for _ in range(blocks)]
    seen = BATCH * duel.recipe.critic_steps
    rows = []
    for precision in ("float32", "mixed"):
        ratios = sorted(block["pair"] / block[precision] for block in timed)
        step = median(block[precision] for block in timed)
        rows.append(dict(
            name=name, peer=duel.peer, precision=precision, peer_rate=seen / median(b["pair"] for b in timed),
            rate=seen / step, ratio=median(ratios), low=ratios[0], high=ratios[-1],
            share=work / step / peaks[precision],
        ))  # fmt: skip
    return rows


def measure(names=tuple(DUELS), blocks=7, device="cpu"):
    """Les lignes de tous les duels, et les débits (float32, mixte) d'une convolution seule."""
    device = torch.device(device)
    half = torch.float16 if device.type == "cuda" and not torch.cuda.is_bf16_supported() else torch.bfloat16
    peaks = {"float32": peak(device, torch.float32), "mixed": peak(device, half)}
    return [row for name in names for row in duel_rows(name, blocks, device, peaks)], peaks


def table(rows, peaks):
    """Le tableau Markdown des lignes de measure()."""
    lines = [
        f"Une convolution 3 × 3 seule atteint {peaks['float32'] / 1e9:.0f} Gflop/s en float32 et "
        f"{peaks['mixed'] / 1e9:.0f} en bf16.", "",
        "| GAN | pair | pair, images/s | précision | cours, images/s | rapport médian | étendue | part du débit |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        lines.append(
            "| {name} | {peer} | {peer_rate:.0f} | {precision} | {rate:.0f} | {ratio:.2f} | {low:.2f} à {high:.2f} "
            "| {share:.0%} |".format(**row)
        )
    return re.sub(r"(?<=\d)\.(?=\d)", ",", "\n".join(lines).replace("%", " %"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=DUELS, default=list(DUELS))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(table(*measure(options.only, options.blocks, options.device)))
