"""Vérifications communes aux réseaux : une entrée de mauvaise forme doit le dire en français."""

import torch
from torch import Tensor


def check_image_shape(image_shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Vérifie (canaux, hauteur, largeur) : image carrée, 1 ou 3 canaux, côté parmi `sizes`."""
    shape = tuple(image_shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2] or shape[1] not in sizes:
        raise ValueError(
            f"image_shape={shape} : ce réseau produit des images carrées de 1 ou 3 canaux et de côté "
            f"{', '.join(map(str, sizes))}. Redimensionnez les images avec load_images(…, size={sizes[0]})."
        )
    return shape


def check_latent(z: Tensor, latent_dim: int) -> None:
    """Lève ValueError si z n'est pas de forme (B, latent_dim)."""
    if z.dim() != 2 or z.shape[1] != latent_dim:
        raise ValueError(
            f"z est de forme {tuple(z.shape)} ; ce générateur attend (B, {latent_dim}). "
            f"Tirez-le par torch.randn(B, {latent_dim})."
        )


def check_images(x: Tensor, image_shape: tuple[int, ...]) -> None:
    """Lève ValueError si x n'est pas un lot d'images de la forme attendue."""
    if tuple(x.shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"Les images sont de forme {tuple(x.shape)} ; ce discriminateur attend (B, "
            f"{', '.join(map(str, image_shape))})."
        )


def check_labels(y: Tensor | None, num_classes: int, batch_size: int) -> None:
    """Lève ValueError si y n'est pas un lot d'étiquettes entières de 0 à num_classes - 1."""
    if num_classes == 0:
        if y is not None:
            raise ValueError("Ce réseau n'est pas conditionnel : appelez-le sans étiquettes.")
        return
    if y is None:
        raise ValueError(f"Ce réseau est conditionnel ({num_classes} classes) : donnez-lui aussi les étiquettes y.")
    if tuple(y.shape) != (batch_size,) or y.dtype != torch.int64:
        raise ValueError(
            f"y est de forme {tuple(y.shape)} et de type {y.dtype} ; il faut ({batch_size},) en torch.int64, "
            "une étiquette par image."
        )
    # Sur GPU, lire min et max attendrait la fin de tous les calculs en cours : train() vérifie le jeu entier d'avance.
    if y.device.type == "cpu" and batch_size and (int(y.min()) < 0 or int(y.max()) >= num_classes):
        raise ValueError(
            f"y va de {int(y.min())} à {int(y.max())} ; les étiquettes vont de 0 à {num_classes - 1} ici."
        )
