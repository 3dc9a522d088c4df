"""Les statistiques de BatchNorm d'un générateur dont les poids sont une moyenne : à refaire avant de s'en servir.

Celles que laisse l'entraînement sont une moyenne des derniers pas de G. Les poids moyennés sont un autre réseau : rien
ne dit que ses cartes aient ces moyennes-là. On les mesure donc (Brock et al., 2019, arXiv 1809.11096, annexe A).
`progress.ema` le fait quand on le lit.
"""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_course.engine.numbers import check_positive
from gan_course.engine.shapes import call


def standing_statistics(generator: nn.Module, batches: int = 32, seed: int = 0) -> nn.Module:
    """Une copie du générateur, en mode évaluation, dont les statistiques de BatchNorm sont refaites pour ses poids."""
    return redo_statistics(copy.deepcopy(generator).eval(), batches, seed)


@torch.no_grad()
def redo_statistics(
    generator: nn.Module, batches: int = 32, seed: int = 0, layers: Iterable[nn.Module] | None = None
) -> nn.Module:
    """Refait sur place, et rend, un générateur en mode évaluation : sa BatchNorm vue sur `batches` lots de 64.

    Les lots sont des tirages de N(0, I), de graine `seed`, et de classes au hasard s'il y en a. `layers` : les seules
    couches à refaire (None : toutes). Une couche que G(z) ne traverse pas garde ses statistiques ; un générateur sans
    BatchNorm ne change pas. Lève ValueError si batches < 1.
    """
    check_positive("batches", batches)
    layers = generator.modules() if layers is None else layers
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not norms:
        return generator
    before = [copy.deepcopy(layer.state_dict()) for layer in norms]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # None : la moyenne simple de tous les lots
        layer.train()
    classes, device = getattr(generator, "num_classes", 0), next(generator.parameters()).device
    draw = torch.Generator().manual_seed(seed)
    try:
        for _ in range(batches):
            z = torch.randn(64, generator.latent_dim, generator=draw).to(device)
            y = torch.randint(classes, (64,), generator=draw).to(device) if classes else None
            call(generator, z, y)
    finally:
        for layer, old, momentum in zip(norms, before, momenta):
            if layer.num_batches_tracked == 0:  # une couche que G(z) ne traverse pas, celle d'un encodeur
                layer.load_state_dict(old)
            layer.momentum = momentum
            layer.eval()
    return generator
