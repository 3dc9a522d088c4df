"""De l'image au code : inversion par optimisation, directions d'attributs, images voisines du jeu d'entraînement.

L'inversion apprise, plus rapide et moins précise, est `models.aae.Inverter`, qu'entraîne la boucle de tous les GAN.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_course.data import ImageSet
from gan_course.evaluation import evaluation_mode


@dataclass(frozen=True)
class Inversion:
    """Le résultat d'`invert`, sur le processeur.

    codes   z trouvés (B, latent_dim)
    images  G(z), (B, C, H, W) dans [-1, 1]
    errors  erreur quadratique moyenne par pixel entre G(z) et l'image, (B,)
    """

    codes: Tensor
    images: Tensor
    errors: Tensor


def invert(
    generator: nn.Module,
    images: Tensor,
    steps: int = 200,
    lr: float = 0.05,
    start: Tensor | None = None,
    prior: float = 1e-3,
    candidates: int = 512,
    labels: Tensor | None = None,
    seed: int = 0,
) -> Inversion:
    """Cherche, par descente de gradient, les z dont les images ressemblent le plus à `images`.

    Minimise ‖G(z) - x‖² / (C·H·W) + prior · (‖z‖² / D - 1)², par Adam : le second terme garde z dans la coquille où
    vivent les tirages de N(0, I) ; sans lui, on reconstruit mieux en des points que G n'a jamais vus.

    images  (B, C, H, W) dans [-1, 1], au format du générateur ; labels (B,) s'il est conditionnel
    start   codes de départ (B, latent_dim), ceux d'un encodeur par exemple ; défaut : pour chaque image, le plus
            proche de `candidates` tirages. Partie d'un seul tirage, la descente finit souvent dans un autre creux.

    Le générateur reste tel quel. Lève ValueError si une forme ou un réglage ne convient pas. Source : Zhu et al., 2016
    (arXiv 1609.03552), § 3.1.
    """
    device = next(generator.parameters()).device
    images = _checked_images(generator, images).to(device)
    labels = None if labels is None else labels.to(device)
    if steps < 1 or not lr > 0 or prior < 0 or candidates < 1:
        raise ValueError(
            f"steps={steps}, lr={lr}, prior={prior}, candidates={candidates} reçus ; il faut steps et candidates d'au "
            "moins 1, lr strictement positif, prior positif ou nul."
        )
    with evaluation_mode(generator):
        if start is None:
            start = _closest_draws(generator, images, labels, candidates, seed)
        _check_codes(start, len(images), generator.latent_dim)
        z = start.detach().clone().to(device, torch.float32).requires_grad_()
        optimizer = torch.optim.Adam([z], lr=lr)
        for _ in range(steps):
            errors = (_generate(generator, z, labels) - images).square().flatten(1).mean(1)
            shell = (z.square().mean(1) - 1).square()
            (z.grad,) = torch.autograd.grad((errors + prior * shell).sum(), z)
            optimizer.step()
        with torch.no_grad():
            found = _generate(generator, z, labels)
    errors = (found - images).square().flatten(1).mean(1)
    return Inversion(z.detach().cpu(), found.cpu(), errors.cpu())


def attribute_directions(codes: Tensor, attributes: Tensor) -> Tensor:
    """Direction unitaire de chaque attribut dans l'espace des codes : (P, D).

    Moyenne des codes qui ont l'attribut, moins celle des autres (Radford et al., 2016, § 6.3.2). codes (N, D) ;
    attributes (N, P), 0 ou 1. Lève ValueError si un attribut est absent partout ou présent partout.
    """
    if codes.dim() != 2 or attributes.dim() != 2 or len(codes) != len(attributes):
        raise ValueError(
            f"codes {tuple(codes.shape)} et attributes {tuple(attributes.shape)} reçus ; il faut (N, D) et (N, P)."
        )
    has = (attributes > 0.5).to(codes.dtype)
    counts = has.sum(0)
    constant = ((counts == 0) | (counts == len(codes))).nonzero().flatten().tolist()
    if constant:
        raise ValueError(f"Attribut(s) n° {constant} : présents partout ou nulle part, ils ne séparent rien. Ôtez-les.")
    with_it = has.T @ codes / counts[:, None]
    without = (1 - has).T @ codes / (len(codes) - counts)[:, None]
    return torch.nn.functional.normalize(with_it - without, dim=1)


@torch.no_grad()
def nearest_neighbours(images: Tensor, training_set: ImageSet, space: object, k: int = 1) -> tuple[Tensor, Tensor]:
    """Les k images d'entraînement les plus proches de chacune de `images`, dans l'espace de caractéristiques `space`.

    images (B, C, H, W) dans [-1, 1] ; `space` : celui d'une évaluation, comme load_features("faces") ou pixels(16).
    Rend (numéros, distances), chacun (B, k), de la plus proche à la plus lointaine. Une distance nulle est une copie.
    """
    if not 1 <= k <= len(training_set):
        raise ValueError(f"k={k} voisines demandées ; avec {len(training_set)} images, il faut de 1 à ce nombre.")
    # Passer par un produit de matrices, le défaut de cdist, donne à une copie une distance petite mais pas nulle.
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(space(images), space(training_set), compute_mode=exact).topk(k, largest=False)
    return distances.indices, distances.values


def _generate(generator: nn.Module, z: Tensor, labels: Tensor | None) -> Tensor:
    return generator(z) if labels is None else generator(z, labels)


def _checked_images(generator: nn.Module, images: Tensor) -> Tensor:
    expected = tuple(generator.image_shape)
    if not isinstance(images, Tensor) or tuple(images.shape[1:]) != expected or not len(images):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"images : {got} reçu ; ce générateur dessine des images de forme {expected} : il en faut un lot. "
            f"Rechargez-les avec size={expected[1]}."
        )
    if images.dtype == torch.uint8 or not images.isfinite().all() or images.abs().max() > 1.001:
        raise ValueError("images doit être en réels de [-1, 1], comme ImageSet.batch les rend : x.float() / 127.5 - 1.")
    return images.detach().float()


def _check_codes(codes: Tensor, count: int, latent_dim: int) -> None:
    if not isinstance(codes, Tensor) or tuple(codes.shape) != (count, latent_dim):
        got = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise ValueError(f"start : {got} reçu ; il faut un code par image, ({count}, {latent_dim}).")


@torch.no_grad()
def _closest_draws(
    generator: nn.Module, images: Tensor, labels: Tensor | None, candidates: int, seed: int, block: int = 128
) -> Tensor:
    """Pour chaque image, celui de `candidates` tirages dont l'image lui ressemble le plus : (B, latent_dim)."""
    draw = torch.Generator().manual_seed(seed)
    best = torch.full((len(images),), math.inf, device=images.device)
    chosen = torch.zeros(len(images), generator.latent_dim, device=images.device)
    for first in range(0, candidates, block):
        z = torch.randn(min(block, candidates - first), generator.latent_dim, generator=draw).to(images.device)
        for i, image in enumerate(images):
            # Un générateur conditionnel dessine chaque tirage dans la classe de l'image cherchée.
            if i == 0 or labels is not None:
                y = None if labels is None else labels[i].expand(len(z))
                drawn = _generate(generator, z, y)
            errors = (drawn - image).square().flatten(1).mean(1)
            if errors.min() < best[i]:
                best[i], chosen[i] = errors.min(), z[errors.argmin()]
    return chosen
