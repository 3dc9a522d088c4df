"""Mesurer ce qu'un GAN a appris : des fonctions pures d'échantillons."""

from typing import NamedTuple

import torch
from torch import Tensor


class ModeCoverage(NamedTuple):
    """`covered` modes atteints sur `modes` ; `precision`, part des points proches d'un centre ; `counts`, par mode."""

    covered: int
    modes: int
    precision: float
    counts: Tensor


def mode_coverage(points: Tensor, centers: Tensor, std: float, radius: float = 3.0) -> ModeCoverage:
    """Compte les modes d'un mélange de gaussiennes atteints par des points générés.

    points   (N, D), les points générés
    centers  (K, D), les centres des modes
    std      écart-type commun des modes, dans l'unité des points
    radius   un point appartient à son centre le plus proche s'il en est à moins de `radius` écarts-types

    Un mode est couvert s'il reçoit au moins un cinquième de sa juste part, N / 5K points : un point isolé ne suffit
    pas. Source : Srivastava et al., 2017 (VEEGAN), § 4.1, avec un seuil de couverture plus exigeant.

    Lève ValueError si les formes ne s'accordent pas ou si un point n'est pas fini.
    """
    if points.dim() != 2 or centers.dim() != 2 or points.shape[1] != centers.shape[1]:
        raise ValueError(
            f"points {tuple(points.shape)} et centers {tuple(centers.shape)} : il faut (N, D) et (K, D), même D."
        )
    if not len(points) or not len(centers) or std <= 0:
        raise ValueError(
            f"{len(points)} points, {len(centers)} centres, std={std} : il faut au moins un point, un centre et std > 0."
        )
    if not torch.isfinite(points).all():
        raise ValueError("Certains points ne sont pas des nombres finis : l'entraînement a sans doute divergé.")
    distance, nearest = torch.cdist(points.float(), centers.float()).min(dim=1)
    close = distance <= radius * std
    counts = torch.bincount(nearest[close], minlength=len(centers))
    fair_share = len(points) / len(centers)
    covered = int((counts >= fair_share / 5).sum())
    return ModeCoverage(covered, len(centers), close.float().mean().item(), counts)
