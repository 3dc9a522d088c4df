"""Ce qu'un réseau du cours reçoit : des réglages, vérifiés une fois ; des entrées, expliquées si elles ne vont pas."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_course.engine.numbers import check_positive, is_whole


class Network(nn.Module):
    """Un nn.Module qui dit en français ce qui ne va pas dans ce qu'on lui donne.

    input_shape  forme d'une entrée, sans l'axe du lot : (latent_dim,) ou image_shape
    num_classes  0 : le réseau n'est pas conditionnel, et y reste None

    Un appel juste ne coûte que deux comparaisons de formes. Lève ValueError si x ou y ne convient pas.
    """

    input_shape: tuple[int, ...]
    num_classes = 0

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        try:
            # Sans elles, un critique accepterait d'autres images, et une étiquette vaudrait pour tout le lot.
            if x.shape[1:] != self.input_shape or (y.shape != x.shape[:1] if self.num_classes else y is not None):
                raise ValueError
            return super().__call__(x) if y is None else super().__call__(x, y)
        except Exception as error:
            problem = wrong_input(self, x, y, error)
            if problem is None:
                raise
            raise ValueError(problem) from None


def call(network: nn.Module, x: Tensor, y: Tensor | None = None) -> Tensor:
    """network(x, y), ou network(x) sans étiquettes : le forward d'un étudiant n'a pas toujours d'argument y."""
    return network(x) if y is None else network(x, y)


def check_settings(
    image_shape: tuple[int, ...] = (1, 1, 1),
    sizes: tuple[int, ...] = (),
    *,
    latent_dim: int = 1,
    num_classes: int = 0,
    least_classes: int = 0,
    width: int = 1,
    least_width: int = 1,
    dropout: float = 0.0,
) -> tuple[int, int, int]:
    """Rend image_shape, en tuple, si ces réglages permettent de construire un réseau.

    sizes : les côtés possibles d'images carrées de 1 ou 3 canaux ; vide : toutes les formes (C, H, W).
    Lève ValueError, ou TypeError pour un nombre qui doit être entier, en disant quoi mettre à la place.
    """
    check_positive("latent_dim", latent_dim)
    check_positive("num_classes", num_classes, least_classes)
    check_positive("width", width, least_width)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} ; il faut une proportion, de 0 à 1 exclu, comme 0.3.")
    shape = tuple(image_shape) if isinstance(image_shape, tuple | list) else (image_shape,)
    if len(shape) != 3 or not all(is_whole(side) and side > 0 for side in shape):
        raise ValueError(
            f"image_shape={image_shape!r} ; il faut trois entiers, (canaux, hauteur, largeur), comme "
            f"(3, {_nearest(shape, sizes or (28,))}, {_nearest(shape, sizes or (28,))})."
        )
    if sizes and (shape[0] not in (1, 3) or shape[1] != shape[2] or shape[1] not in sizes):
        side = _nearest(shape, sizes)
        raise ValueError(
            f"image_shape={shape} : ce réseau est fait pour des images carrées de 1 ou 3 canaux et de côté "
            f"{', '.join(map(str, sizes))}. Le plus proche : image_shape=({shape[0] if shape[0] in (1, 3) else 3}, "
            f"{side}, {side}), et load_images(…, size={side})."
        )
    return shape


def _nearest(shape: tuple, sizes: tuple[int, ...]) -> int:
    """Le côté permis le plus proche de celui qu'on a demandé."""
    side = shape[-1] if shape and isinstance(shape[-1], int) else sizes[0]
    return min(sizes, key=lambda size: abs(size - side))


def wrong_input(network: Network, x: object, y: object, error: Exception | None = None) -> str | None:
    """Ce qui ne va pas dans les x et y donnés à `network`, et ce qu'il faut faire ; None si l'erreur est ailleurs."""
    expected = f"(B, {', '.join(map(str, network.input_shape))})"
    if not isinstance(x, Tensor):
        return f"Reçu : {type(x).__name__} ; ce réseau attend un tenseur de forme {expected}."
    if x.shape[1:] != network.input_shape:
        return f"Entrée de forme {tuple(x.shape)} ; ce réseau attend {expected}. {_reshaping(network, x)}"
    weight = next(network.parameters(), x)
    if not x.is_floating_point():
        return f"Entrée de type {x.dtype} ; il faut des réels, comme en rendent torch.randn et ImageSet.batch."
    if x.device != weight.device:
        return f"L'entrée est sur {x.device} et le réseau sur {weight.device}. Écrivez x.to({str(weight.device)!r})."
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        return f"Entrée de type {x.dtype} et poids de type {weight.dtype}. Écrivez x.to({weight.dtype})."
    if problem := wrong_labels(y, network.num_classes, len(x)):
        return problem
    normed = network.training and any(isinstance(layer, _BatchNorm) for layer in network.modules())
    if normed and len(x) == 1 and isinstance(error, ValueError):  # celle de BatchNorm : un écart-type de rien
        return "Un lot d'un seul exemple n'a pas d'écart-type pour BatchNorm. Donnez-en deux, ou appelez .eval()."
    return None


def _reshaping(network: Network, x: Tensor) -> str:
    """Comment rendre `x` acceptable."""
    shape = network.input_shape
    if tuple(x.shape) == shape:
        return "Ajoutez l'axe du lot : x[None]."
    if x.numel() and x.numel() == len(x) * prod(shape):
        return f"Rangez ses nombres autrement : x.reshape(-1, {', '.join(map(str, shape))})."
    if len(shape) == 1:
        return f"Par exemple : torch.randn(B, {shape[0]})."
    return f"Rechargez les images par load_images(…, size={shape[-1]}), ou reconstruisez le réseau avec image_shape=…"


def wrong_labels(y: object, num_classes: int, count: int) -> str | None:
    """Ce qui ne va pas dans des étiquettes : il en faut `count`, entières, de 0 à num_classes - 1 ; None si tout va."""
    if num_classes == 0:
        return None if y is None else "Ce réseau n'est pas conditionnel : appelez-le sans étiquettes."
    if y is None:
        return f"Ce réseau est conditionnel ({num_classes} classes) : donnez-lui aussi les étiquettes y."
    if not isinstance(y, Tensor):
        return f"y est de type {type(y).__name__} ; il faut un tenseur : torch.tensor([…])."
    if tuple(y.shape) != (count,) or y.dtype != torch.int64:
        return (
            f"y est de forme {tuple(y.shape)} et de type {y.dtype} ; il faut ({count},) en torch.int64, une étiquette "
            "par image."
        )
    # Sur GPU, lire min et max attendrait la fin de tous les calculs en cours : train() vérifie le jeu entier d'avance.
    if y.device.type == "cpu" and count and (int(y.min()) < 0 or int(y.max()) >= num_classes):
        return f"y va de {int(y.min())} à {int(y.max())} ; les étiquettes vont de 0 à {num_classes - 1} ici."
    return None


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Met ces réseaux en mode évaluation le temps du bloc, puis remet chaque couche dans le mode qu'elle avait."""
    modes = [(layer, layer.training) for network in networks for layer in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
