"""DiffAugment (Zhao et al., 2020) : D ne voit que des images transformées, vraies et fausses de la même façon.

Quand les images sont peu nombreuses, D finit par les apprendre par cœur. Augmenter les seules vraies apprendrait à G à
faire des images décalées et percées ; on transforme donc aussi les fausses, par des opérations dérivables en x, pour
que la pente de D traverse jusqu'à G. G ne voit jamais qu'une contrainte : ressembler aux vraies *après* transformation.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def color(x: Tensor) -> Tensor:
    """Luminosité, saturation et contraste de chaque image, au hasard ; (B, C, H, W) → (B, C, H, W).

    Luminosité : + U(-½, ½) ; saturation : écart au gris du pixel × U(0, 2) ; contraste : écart à la moyenne de
    l'image × U(½, 3/2).
    """
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def translation(x: Tensor, share: float = 1 / 8) -> Tensor:
    """Décale chaque image d'au plus `share` de son côté, en x et en y ; le vide laissé est gris (0)."""
    height, width = x.shape[2:]
    most = torch.tensor([int(width * share), int(height * share)])
    pixels = (torch.rand(len(x), 2) * (2 * most + 1)).floor() - most  # un nombre entier de pixels : rien n'est lissé
    theta = torch.eye(2, 3).repeat(len(x), 1, 1)
    theta[:, :, 2] = 2 * pixels / torch.tensor([width, height])  # affine_grid compte en demi-côtés
    grid = affine_grid(theta.to(x), x.shape, align_corners=False)
    return grid_sample(x, grid, align_corners=False)


def cutout(x: Tensor, share: float = 1 / 2) -> Tensor:
    """Met au gris (0) un carré de côté `share` de l'image, centré au hasard : il peut déborder."""
    height, width = x.shape[2:]
    row, column = torch.rand(2, len(x), 1, 1, device=x.device)
    far_y = (torch.arange(height, device=x.device)[:, None] - row * height).abs() >= height * share / 2
    far_x = (torch.arange(width, device=x.device) - column * width).abs() >= width * share / 2
    return x * (far_y | far_x)[:, None]


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": color, "translation": translation, "cutout": cutout,
}  # fmt: skip


def find_augmentation(augment: str | Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor] | None:
    """La transformation que nomme une recette : des noms séparés par des virgules, une fonction, ou None (aucune).

    Lève ValueError si un nom est inconnu.
    """
    if augment is None or callable(augment):
        return augment
    names = [name.strip() for name in augment.split(",")] if isinstance(augment, str) else [augment]
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise ValueError(
            f"augment={augment!r} : {unknown[0]!r} est inconnu. Écrivez None, une fonction de x, ou des noms séparés "
            f"par des virgules, parmi : {', '.join(AUGMENTATIONS)}."
        )

    def apply(x: Tensor) -> Tensor:
        for name in names:
            x = AUGMENTATIONS[name](x)
        return x

    return apply
