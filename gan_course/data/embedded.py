"""Les données qui n'ont besoin d'aucun réseau : chiffres manuscrits embarqués, gaussiennes du plan.

`digits.npz` contient les 1 797 chiffres manuscrits 8 × 8 (valeurs 0 à 16) distribués avec scikit-learn :
partie « test » de « Optical Recognition of Handwritten Digits », E. Alpaydin et C. Kaynak, UCI Machine
Learning Repository, 1998, licence CC BY 4.0, https://doi.org/10.24432/C50P49.
"""

import math
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_course.data.images import ImageSet, PointSet
from gan_course.engine.numbers import check_positive

DIGITS_TRAIN = 1_500  # les 297 derniers servent de test


def resize_stack(images: Tensor, size: int) -> Tensor:
    """Images uint8 (N, C, H, W) ramenées à `size` × `size` : bicubique, avec anticrénelage en réduction."""
    if images.shape[-2:] == (size, size):
        return images
    resized = torch.empty(len(images), images.shape[1], size, size, dtype=torch.uint8)
    for start in range(0, len(images), 4_096):  # tout en float32 prendrait quatre fois sa place
        block = images[start : start + 4_096].float()
        block = interpolate(block, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
        resized[start : start + 4_096] = block.round_().clamp_(0, 255)
    return resized


def load_digits(size: int = 28, split: str = "train") -> ImageSet:
    """Chiffres manuscrits réels : uint8 (1500, 1, size, size) pour l'apprentissage, (297, …) pour le test.

    Les valeurs 0 à 16 sont étalées sur 0 à 255, puis les 8 × 8 pixels sont agrandis par interpolation
    bicubique.
    """
    with (files("gan_course.data") / "digits.npz").open("rb") as file:
        stored = np.load(file)
        pixels, labels = stored["images"], stored["labels"]
    part = slice(None, DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    images = torch.from_numpy((pixels[part, None] * (255 / 16)).round().astype(np.uint8))
    names = [str(digit) for digit in range(10)]
    return ImageSet(resize_stack(images, size), torch.from_numpy(labels[part].astype(np.int64)), names)


def load_colour_digits(size: int = 28, split: str = "train", n: int = 50_000, seed: int = 0) -> ImageSet:
    """Trois chiffres de `load_digits`, un par canal : uint8 (n, 3, size, size), 1 000 modes connus.

    L'étiquette est 100 a + 10 b + c, où a, b et c sont les chiffres des canaux rouge, vert et bleu ; chaque mode a
    autant d'images, à une près. Un classifieur de chiffres appliqué à chaque canal compte donc les modes qu'un
    générateur a trouvés (Metz et al., « Unrolled GANs », 2016, arXiv 1611.02163, section 3.3.2). Fonction pure de
    (n, seed, split).
    """
    random = np.random.default_rng([check_positive("seed", seed, least=0), split == "test"])
    digits = load_digits(size, split)
    labels = np.arange(check_positive("n", n)) % 1_000
    random.shuffle(labels)
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    of_digit = [(digits.labels == digit).nonzero().squeeze(1).numpy() for digit in range(10)]
    for channel, digit in enumerate((labels // 100, labels // 10 % 10, labels % 10)):
        chosen = np.empty(n, dtype=np.int64)
        for value, candidates in enumerate(of_digit):
            chosen[digit == value] = random.choice(candidates, (digit == value).sum())
        torch.index_select(digits.images[:, 0], 0, torch.from_numpy(chosen), out=images[:, channel])
    return ImageSet(images, torch.from_numpy(labels), [f"{label:03d}" for label in range(1_000)])


def _gaussians(centers: Tensor, std: float, n: int, seed: int) -> PointSet:
    if not std > 0:
        raise ValueError(f"std est un écart-type, strictement positif ; reçu : {std}.")
    labels = torch.arange(check_positive("n", n)) % len(centers)  # autant de points, à un près, par centre
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return PointSet(centers[labels] + std * noise, labels, centers, std)


def gaussian_ring(
    n: int = 50_000, modes: int = 8, radius: float = 2.0, std: float = 0.05, seed: int = 0
) -> PointSet:
    """`n` points autour de `modes` centres régulièrement espacés sur un cercle de rayon `radius`.

    C'est le banc d'essai de l'effondrement de modes (Metz et al., « Unrolled GANs », 2016, arXiv 1611.02163).
    Lève TypeError ou ValueError si `n` ou `modes` n'est pas un entier positif, ou si `std` n'est pas positif.
    """
    angles = torch.arange(check_positive("modes", modes)) * (2 * math.pi / modes)
    return _gaussians(radius * torch.stack([angles.cos(), angles.sin()], dim=1), std, n, seed)


def gaussian_grid(
    n: int = 50_000, side: int = 5, spacing: float = 2.0, std: float = 0.05, seed: int = 0
) -> PointSet:
    """`n` points autour de `side`² centres sur une grille carrée de pas `spacing`, centrée sur l'origine.

    Mêmes règles que `gaussian_ring`.
    """
    ticks = (torch.arange(check_positive("side", side)) - (side - 1) / 2) * spacing
    return _gaussians(torch.cartesian_prod(ticks, ticks), std, n, seed)
