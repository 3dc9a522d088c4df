"""Refaire ce que le cours fournit : `python -m gan_course train celeba-residual-64`, ou `train features-faces`.

Chaque entrée de GENERATORS est un chapitre en une ligne : des images, deux réseaux, une recette, un nombre de pas.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from gan_course.averaging import standing_statistics
from gan_course.data import ImageSet, load_images
from gan_course.engine.device import Compute, choose_compute
from gan_course.engine.shapes import call
from gan_course.evaluation import evaluate
from gan_course.features import FeatureNetwork, load_features, save_features
from gan_course.pretrained import WEIGHTS, save_generator
from gan_course.recipe import Recipe
from gan_course.training import train


@dataclass(frozen=True)
class Entry:
    """Un générateur fourni. `generator` et `discriminator` sont les arguments des deux réseaux de `model`."""

    chapter: str
    data: str
    size: int
    model: str
    space: str
    generator: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    steps: int
    classes: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)  # ce qui diffère de la recette du modèle

    def recipe(self) -> Recipe:
        return replace(import_module(f"gan_course.models.{self.model}").RECIPE, **self.changes)

    def images(self, root: str | None = None) -> ImageSet:
        images = load_images(self.data, size=self.size, root=root)
        return images.select(list(self.classes)) if self.classes else images


def fading(lr: float, images: int) -> Callable[[int], float]:
    """Le pas d'apprentissage : lr la première moitié, puis en ligne droite jusqu'à lr / 100 après `images` images."""
    return lambda seen: lr * min(1.0, 2 * max(0.005, 1 - seen / images))


GREY, COLOUR = {"image_shape": (1, 28, 28)}, {"image_shape": (3, 32, 32)}
GENERATORS = {
    "mnist-dense-28": Entry("01", "mnist", 28, "dense", "digits", GREY, GREY, 10_000),
    "mnist-conditional-28": Entry("03", "mnist", 28, "conditional", "digits", GREY, GREY, 5_000),
    "celeba-residual-64": Entry(
        "02", "celeba", 64, "residual", "faces", {"image_shape": (3, 64, 64), "latent_dim": 64, "width": 32},
        {"image_shape": (3, 64, 64), "width": 32}, 15_000,
        changes={"batch_size": 64, "g_lr": fading(7e-4, 1_600_000), "d_lr": fading(7e-4, 1_600_000)},
    ),
    # Trois classes : les dix demandent des heures de GPU (chapitre 04, partie 9).
    "cifar-sngan-32": Entry(
        "04", "cifar10", 32, "sngan", "objects", {**COLOUR, "num_classes": 3, "latent_dim": 128, "width": 48},
        {**COLOUR, "num_classes": 3, "width": 64}, 4_200, classes=("automobile", "cheval", "bateau"),
        changes={
            "batch_size": 256, "critic_steps": 1, "ema_rampup": 0.1,
            "g_lr": fading(4e-4, 1_792_000), "d_lr": fading(8e-4, 1_792_000),
        },
    ),
    "celeba-stylegan-32": Entry(
        "05", "celeba", 32, "stylegan", "faces", {**COLOUR, "latent_dim": 64, "width": 24},
        {**COLOUR, "width": 24}, 17_000,
        changes={"g_lr": fading(5e-3, 800_000), "d_lr": fading(1e-3, 800_000)},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Space:
    """Un espace de caractéristiques fourni : le classifieur que l'on entraîne, et sur quoi."""

    data: str
    size: int
    epochs: int
    shift: int  # décalage aléatoire, en pixels, des images d'entraînement
    flip: bool
    held_out: int = 0  # dernières images gardées pour l'essai ; 0 : le jeu a les siennes


SPACES = {
    "digits": Space("mnist", 28, 4, 2, False),
    "objects": Space("cifar10", 32, 8, 3, True),
    "faces": Space("celeba", 64, 10, 4, True, held_out=1_000),
}


def table() -> str:
    """Ce que le cours fournit : un nom par ligne, et ce qu'il en coûte de le refaire."""
    lines = [f"features-{name:22} {s.epochs} époques de {s.data}" for name, s in SPACES.items()]
    lines += [f"{name:31} {e.steps} pas sur {e.data}, chapitre {e.chapter}" for name, e in GENERATORS.items()]
    return "\n".join(lines)


def make(
    name: str, steps: int | None = None, seed: int = 0, root: str | None = None, folder: Path = WEIGHTS
) -> Path:
    """Refait un générateur ou un espace fourni, et rend le chemin de ses poids.

    Lève ValueError si le nom est inconnu.
    """
    if name in GENERATORS:
        return make_generator(name, steps, seed, root, folder)
    if name.removeprefix("features-") in SPACES:
        return make_space(name.removeprefix("features-"), seed, root, folder)
    known = [*GENERATORS, *(f"features-{space}" for space in SPACES)]
    raise ValueError(f"Rien ne s'appelle « {name} » parmi ce que le cours fournit : {', '.join(known)}.")


def make_generator(name: str, steps: int | None, seed: int, root: str | None, folder: Path) -> Path:
    """Entraîne `name` jusqu'au pas `steps`, le mesure et l'écrit avec sa carte et 64 images."""
    entry = GENERATORS[name]
    steps = entry.steps if steps is None else steps
    space, images = load_features(entry.space), entry.images(root)
    torch.manual_seed(seed)
    module = import_module(f"gan_course.models.{entry.model}")
    g, d = module.Generator(**entry.generator), module.Discriminator(**entry.discriminator)
    checkpoint = f"runs/{name}-{seed}.pt"
    for progress in train(g, d, images, entry.recipe(), steps, checkpoint, seed=seed, precision="mixed"):
        if progress.step % 500 == 0:
            print(f"{name} : pas {progress.step}, {progress.seconds / 60:.1f} min", file=sys.stderr, flush=True)
    what = f"{entry.data}, train, {entry.size} px" + (f", classes {', '.join(entry.classes)}" if entry.classes else "")
    artist = standing_statistics(progress.ema)
    measured = evaluate(artist, images, space, min(5_000, len(images)), seed, what)
    card = {
        "chapter": entry.chapter,
        "data": f"{what}, {len(images)} images",
        "class_names": images.class_names if g.num_classes else None,
        "command": f"python -m gan_course train {name} --steps {steps} --seed {seed}",
        "recipe": entry.recipe().identity(),
        "steps": progress.step,
        "images_seen": progress.images_seen,
        "minutes": round(progress.seconds / 60, 1),
        "machine": machine(progress.device),
        "seed": seed,
        "evaluation": asdict(measured),
    }
    path = save_generator(artist, name, entry.model, entry.generator, card, folder)
    save_sheet(artist, path.with_suffix(".png"), seed)
    print(measured)
    return path


@torch.no_grad()
def save_sheet(generator: nn.Module, path: Path, seed: int) -> None:
    """Écrit 64 images du générateur, non choisies : les 64 premiers z de la graine. Une ligne par classe."""
    from gan_course.display import show_grid
    from gan_course.figures import raster

    z = torch.randn(64, generator.latent_dim, generator=torch.Generator().manual_seed(seed))
    classes = generator.num_classes
    columns = 64 // classes if classes else 8
    z = z[: columns * (classes or 8)]
    images = call(generator, z, torch.arange(len(z)) // columns if classes else None)
    # 256 couleurs : trois fois plus léger, à l'œil le même.
    raster(show_grid(images, columns=columns)).quantize(256).save(path, optimize=True)


def make_space(name: str, seed: int, root: str | None, folder: Path) -> Path:
    """Entraîne le classifieur d'un espace, mesure sa justesse sur les images de test, et l'écrit avec sa carte."""
    space = SPACES[name]
    train_set = load_images(space.data, size=space.size, root=root)
    targets = classifier_targets(train_set)
    if space.held_out:
        test, test_targets = train_set.images[-space.held_out :], targets[-space.held_out :]
        train_set = train_set.take(len(train_set) - space.held_out)
    else:
        test_set = load_images(space.data, size=space.size, root=root, split="test")
        test, test_targets = test_set.images, classifier_targets(test_set)
    torch.manual_seed(seed)
    outputs = train_set.num_classes or targets.shape[1]
    compute = choose_compute(None, "mixed")
    network = compute.place(FeatureNetwork(train_set.image_shape, outputs))
    fit(network, train_set, targets, space, seed, compute)
    network.cpu()
    accuracy = score(network, test, test_targets)
    card = {
        "data": f"{space.data}, {space.size} px, {len(train_set)} images",
        "command": f"python -m gan_course train features-{name} --seed {seed}",
        "accuracy": f"{100 * accuracy:.1f} % sur {len(test)} images de test",
        "epochs": space.epochs,
        "machine": machine(compute.device),
        "seed": seed,
    }
    print(card["accuracy"])
    return save_features(network, name, card, folder)


def classifier_targets(images: ImageSet) -> Tensor:
    """Ce que le classifieur apprend : la classe (N,), ou à défaut les attributs (N, P), 0 ou 1."""
    return images.labels if images.labels is not None else images.factors


def fit(
    network: FeatureNetwork, images: ImageSet, targets: Tensor, space: Space, seed: int, compute: Compute
) -> None:
    """Entraîne le classifieur : Adam, un cycle de pas d'apprentissage, décalages et miroirs au hasard."""
    batch_size = 128
    steps = space.epochs * len(images) // batch_size
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    # Entre classes si targets est (N,), par attribut s'il est (N, P).
    objective = cross_entropy if targets.dim() == 1 else binary_cross_entropy_with_logits
    indices = ImageSet(images.images, torch.arange(len(images)))  # les étiquettes disent quelle image est où
    for step in range(steps):
        x, chosen = indices.batch(step, batch_size, seed)
        with compute.autocast():
            logits = network(compute.send(augment(x, space)))
        loss = objective(logits.float(), targets[chosen].to(compute.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"pas {step} sur {steps} : {loss.item():.3f}", file=sys.stderr, flush=True)


def augment(x: Tensor, space: Space) -> Tensor:
    """Décale le lot, et retourne une image sur deux."""
    x = torch.roll(x, torch.randint(-space.shift, space.shift + 1, (2,)).tolist(), (2, 3))
    if space.flip:
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    return x


@torch.no_grad()
def score(network: FeatureNetwork, images: Tensor, targets: Tensor) -> float:
    """Part des réponses justes : classes reconnues, ou attributs devinés."""
    network.eval()
    right = []
    for batch, expected in zip(images.split(200), targets.split(200)):
        logits = network(batch.float() / 127.5 - 1)
        right.append(logits.argmax(1) == expected if expected.dim() == 1 else (logits > 0) == (expected > 0.5))
    return torch.cat([answers.float().flatten() for answers in right]).mean().item()


def machine(device: torch.device) -> str:
    """Ce sur quoi l'entraînement a tourné, en une ligne."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    units = torch.backends.cpu.get_cpu_capability()
    cores = f"{os.cpu_count()} cœurs {platform.machine()} ({units}), {torch.get_num_threads()} fil(s)"
    return f"{cores}, torch {torch.__version__}, sans GPU"
