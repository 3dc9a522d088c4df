"""Mesurer un générateur : des nombres qui portent leur espace, leur n, leur référence et leur graine.

Un « FID » sans ces quatre-là ne veut rien dire : un même modèle en reçoit plusieurs, selon le protocole. Deux
évaluations ne se comparent donc que si leur protocole est le même ; sinon `check_comparable` refuse.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from gan_course.data.images import ImageSet
from gan_course.engine.numbers import check_positive, french
from gan_course.engine.shapes import call, evaluation_mode
from gan_course.features import Features, as_uint8, load_features
from gan_course.metrics import (
    density_coverage,
    frechet_distance,
    kernel_distance,
    patch_distance,
    precision_recall,
)

PROTOCOL = {  # ce qui doit être le même pour comparer, et comment le nommer
    "space": "espaces",
    "n": "nombres d'images",
    "fingerprint": "références",
    "resizer": "redimensionnements",
}
PATCHED = 2_048  # images dont on compare les patchs
DEGENERATE = 0.02  # rappel sous lequel un générateur ne couvre rien
EMPTY = (
    "Rappel {} : presque aucune vraie image n'est au milieu de celles de ce générateur, qui "
    "dessine du bruit, ou toujours la même chose. Ses autres nombres ne disent rien : regardez ses images."
)


class IncomparableError(ValueError):
    """Deux évaluations n'ont pas été faites de la même façon."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Les caractéristiques `values`, float32 (n, D), de n images d'un jeu : à donner à `evaluate` à la place du jeu."""

    values: Tensor
    images: ImageSet
    features: Features
    description: str
    chosen: Tensor  # numéros, dans le jeu, de ces n images

    @cached_property
    def landmarks(self) -> dict[str, tuple[float, float, float]]:
        """Ce que valent, ici et à ce n, (précision, rappel, couverture) : de vraies images, l'image moyenne, du bruit.

        Sans eux, « précision 0,8 » ne veut rien dire : certains espaces donnent davantage à du bruit.
        """
        n, draw = len(self.values), torch.Generator().manual_seed(0)
        left = torch.ones(len(self.images), dtype=torch.bool)
        left[self.chosen] = False
        left = left.nonzero().flatten()
        if len(left) >= n:
            left = left[torch.randperm(len(left), generator=draw)[:n]]
            found = {f"{n} autres vraies images": shares(self.values, features_of(self.images, left, self.features))}
        else:  # trop peu : une moitié de la référence contre l'autre
            found = {f"{n // 2} vraies images contre {n // 2}": shares(*self.values[: n // 2 * 2].chunk(2))}
        shape = self.images.image_shape
        pixels = self.images.images[self.chosen.to(self.images.images.device)].float().mean(0).cpu()
        grain = torch.randn(n, *shape, generator=draw)
        average = (pixels + 3 * grain).round().clamp(0, 255).to(torch.uint8)  # sans grain, toutes seraient la même
        noise = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=draw)
        for name, images in (("l'image moyenne", average), ("du bruit", noise)):
            found[name] = shares(self.values, self.features(images))
        return found

    def patches_of(self, images: Tensor) -> float:
        """Écart entre les patchs de ces images uint8 et ceux de la référence ; NaN sous 16 pixels : il n'y en a pas."""
        if min(self.images.image_shape[1:]) < 16:
            return math.nan
        chosen = self.chosen[: len(images)].to(self.images.images.device)
        return patch_distance(self.images.images[chosen], images[: len(chosen)])


def shares(real: Tensor, fake: Tensor) -> tuple[float, float, float]:
    """Précision, rappel et couverture entre deux nuages de caractéristiques."""
    return *precision_recall(real, fake), density_coverage(real, fake).coverage


@dataclass(frozen=True)
class Evaluation:
    """Les distances d'un générateur à des images, et tout ce qu'il faut pour les refaire.

    fid                   distance de Fréchet dans `space` ; le FID des articles si cet espace est Inception
    kid, kid_std          distance à noyau, et écart-type d'un de ses sous-ensembles
    kid_interval          intervalle de confiance à 95 % de kid
    precision, recall     k = 3 ;  density, coverage  k = 5
    space, dim, resizer   l'espace : nom, dimension, redimensionnement
    n                     nombre de vraies images, et d'images générées
    reference             ce qu'étaient les vraies images, en mots ;  fingerprint  leur empreinte
    seed                  graine des images tirées, des z et des étiquettes
    patches               écart entre patchs (metrics.patch_distance), qui voit la texture ; NaN sous 16 px
    landmarks             précision, rappel et couverture de repères : de vraies images, l'image moyenne, du bruit

    `a < b` dit que a est plus près des images que b, en Fréchet ; IncomparableError si leurs protocoles diffèrent.
    """

    fid: float
    kid: float
    kid_std: float
    kid_interval: tuple[float, float]
    precision: float
    recall: float
    density: float
    coverage: float
    space: str
    dim: int
    resizer: str
    n: int
    reference: str
    fingerprint: str
    seed: int
    patches: float = math.nan
    landmarks: Mapping[str, tuple[float, float, float]] = field(default_factory=dict, compare=False)

    def __lt__(self, other: "Evaluation") -> bool:
        if not isinstance(other, Evaluation):
            return NotImplemented
        check_comparable(self, other)
        return self.fid < other.fid

    def __str__(self) -> str:
        warning = f" ; n <= {self.dim} dimensions, Fréchet biaisée" if self.n <= self.dim else ""
        return (
            f"Fréchet {french(self.fid, '.4g')} · patchs {french(self.patches, '.2g')} · "
            f"noyau {french(self.kid, '.3g')} ± {french(self.kid_std, '.2g')} · "
            f"précision {french(self.precision)} · rappel {french(self.recall)} · densité {french(self.density)} · "
            f"couverture {french(self.coverage)}\nespace {self.space} ({self.resizer}) · n = {self.n}{warning} · "
            f"référence : {self.reference}, empreinte {self.fingerprint} · graine {self.seed}"
        ) + "".join(
            f"\nrepère, {name} : précision {french(p)} · rappel {french(r)} · couverture {french(c)}"
            for name, (p, r, c) in self.landmarks.items()
        )


def check_comparable(*evaluations: Evaluation) -> None:
    """Lève IncomparableError, en disant en quoi, si ces évaluations n'ont pas toutes le même protocole.

    Le protocole : espace, nombre d'images, référence et redimensionnement. Les graines peuvent différer.
    """
    for setting, words in PROTOCOL.items():
        values = list(dict.fromkeys(str(getattr(evaluation, setting)) for evaluation in evaluations))
        if len(values) > 1:
            raise IncomparableError(
                f"Ces évaluations n'ont pas les mêmes {words} : {' et '.join(values)}. Leurs nombres ne se comparent "
                "pas : refaites-les par evaluate() avec les mêmes réglages."
            )


def make_reference(
    images: ImageSet, features: Features | str, n: int | None = None, seed: int = 0, description: str = ""
) -> Reference:
    """Calcule les caractéristiques de n images du jeu, tirées au hasard sans remise.

    images       le jeu de référence ; n par défaut : 10 000, ou tout le jeu s'il est plus petit
    features     un espace de gan_course.features, ou le nom d'un espace du cours ("digits"…)
    description  ce que sont ces images (« mnist, test ») : le jeu ne le sait pas

    Lève TypeError si ce n'est pas un ImageSet, ValueError si n dépasse le jeu.
    """
    if not isinstance(images, ImageSet):
        raise TypeError(
            f"Il faut un ImageSet ; reçu : {type(images).__name__}. Pour des points du plan : metrics.mode_coverage."
        )
    n = check_positive("n", min(10_000, len(images)) if n is None else n)
    if n > len(images):
        raise ValueError(f"n={n} dépasse le jeu, qui a {len(images)} images : réduisez n, ou prenez plus d'images.")
    features = load_features(features) if isinstance(features, str) else features
    # Au hasard : les premières images d'un dossier sont souvent toutes de la même classe.
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    values = features_of(images, chosen, features)
    description = description or f"{len(images)} images {' × '.join(map(str, images.image_shape))}"
    return Reference(values, images, features, description, chosen)


def features_of(images: ImageSet, chosen: Tensor, features: Features) -> Tensor:
    """Calcule les caractéristiques float32 (n, D) des images du jeu de numéros `chosen`."""
    batches = chosen.to(images.images.device).split(features.batch_size)
    return torch.cat([features(images.images[batch]) for batch in batches])


def evaluate(
    generator: nn.Module,
    images: ImageSet | Reference,
    features: Features | str | None = None,
    n: int | None = None,
    seed: int = 0,
    description: str = "",
) -> Evaluation:
    """Calcule les distances entre n images de `generator` et n images du jeu, dans l'espace `features`.

    generator  G(z) ou G(z, y) → (B, C, H, W) dans [-1, 1] ; mis en mode évaluation, puis remis comme il était.
               Conditionnel, il reçoit des étiquettes tirées dans la loi du jeu
    images     le jeu, ou sa `Reference` si on l'évalue plusieurs fois : features et n sont alors les siens
    features, n, seed, description  voir make_reference ; `seed` est aussi la graine de z et des étiquettes

    Avertit si n <= D, ou si le rappel est presque nul. Lève TypeError ou ValueError si générateur, jeu et espace ne
    vont pas ensemble, si n est trop petit (6 au moins) ou si une image générée n'est pas finie.
    """
    if isinstance(images, Reference):
        reference = images
        if features not in (None, reference.features) or n not in (None, len(reference.values)):
            raise ValueError("Une Reference a déjà son espace et son n : ne donnez ni features ni n avec elle.")
    elif features is None:
        raise ValueError('Dites dans quel espace mesurer : features="digits", features.pixels(8)…')
    else:
        reference = make_reference(images, features, n, seed, description)
    real = reference.values
    fake, drawn = _draw(generator, reference, seed)
    kernel = kernel_distance(real, fake, seed=seed)
    precision, recall = precision_recall(real, fake)
    if recall < DEGENERATE:
        warnings.warn(EMPTY.format(french(recall)), stacklevel=2)
    return Evaluation(
        frechet_distance(real, fake),
        kernel.value,
        kernel.std,
        (kernel.low, kernel.high),
        precision,
        recall,
        *density_coverage(real, fake),
        space=reference.features.name,
        dim=reference.features.dim,
        resizer=reference.features.resizer,
        n=len(real),
        reference=reference.description,
        fingerprint=reference.images.fingerprint(),
        seed=seed,
        patches=reference.patches_of(drawn),
        landmarks=reference.landmarks,
    )


def generated_features(generator: nn.Module, reference: Reference, n: int, seed: int = 0) -> Tensor:
    """Calcule les caractéristiques float32 (n, D) de n images neuves du générateur ; voir `evaluate`."""
    return torch.cat([reference.features(images) for images in generated_images(generator, reference, n, seed)])


def _draw(generator: nn.Module, reference: Reference, seed: int) -> tuple[Tensor, Tensor]:
    """Autant d'images neuves que la référence en a : leurs caractéristiques, et les premières d'entre elles, uint8."""
    parts, drawn = [], []
    for images in generated_images(generator, reference, len(reference.values), seed):
        parts.append(reference.features(images))
        if len(drawn) * reference.features.batch_size < PATCHED:
            drawn.append(as_uint8(images).cpu())
    return torch.cat(parts), torch.cat(drawn)


@torch.no_grad()
def generated_images(generator: nn.Module, reference: Reference, n: int, seed: int = 0) -> Iterator[Tensor]:
    """Rend n images neuves du générateur, par lots, telles qu'il les rend ; voir `evaluate`."""
    if not hasattr(generator, "latent_dim"):
        raise ValueError("Le générateur n'a pas d'attribut latent_dim : ajoutez self.latent_dim = … à son __init__.")
    draw = torch.Generator().manual_seed(seed)
    # Tirés d'un coup et sur le processeur : les mêmes sur toutes les machines, quelle que soit la taille des lots.
    latents = torch.randn(n, generator.latent_dim, generator=draw)
    labels = _drawn_labels(generator, reference.images, n, draw)
    device = next((parameter.device for parameter in generator.parameters()), torch.device("cpu"))
    size = reference.features.batch_size
    with evaluation_mode(generator):
        for start in range(0, n, size):
            z = latents[start : start + size].to(device)
            images = call(generator, z, None if labels is None else labels[start : start + size].to(device))
            if tuple(images.shape) != (len(z), *reference.images.image_shape):
                raise ValueError(
                    f"Le générateur a rendu {tuple(images.shape)} pour {len(z)} z ; les images de référence sont de "
                    f"forme {reference.images.image_shape}. Rechargez-les à cette taille (size=…)."
                )
            yield images


def _drawn_labels(generator: nn.Module, images: ImageSet, n: int, draw: torch.Generator) -> Tensor | None:
    """n étiquettes tirées avec remise parmi celles du jeu ; None pour un générateur sans classes."""
    classes, found = getattr(generator, "num_classes", 0), images.num_classes
    if not classes:
        return None
    if images.labels is None:
        raise ValueError(f"Le générateur connaît {classes} classes mais le jeu n'a pas d'étiquettes.")
    if found > classes or (images.class_names and found != classes):
        raise ValueError(
            f"Le générateur connaît {classes} classes et le jeu en a {found} : prenez le jeu de son entraînement "
            "(select() renumérote les classes)."
        )
    return images.labels.cpu()[torch.randint(len(images), (n,), generator=draw)]
