"""Pertes adverses : des fonctions pures des logits, écrites comme dans les articles.

Une perte est une paire de fonctions. Celle du discriminateur reçoit D(x) et D(G(z)) ; celle du générateur
reçoit D(G(z)), et D(x) pour les pertes relativistes. Les logits sont des tenseurs (B,) de valeurs réelles :
aucune perte n'attend de probabilité, car log(sigmoïde) se calcule sans débordement et log(probabilité) non.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus


class Loss(NamedTuple):
    """Les deux moitiés d'une perte adverse.

    `discriminator(real_logits, fake_logits, real_label)` et `generator(fake_logits, real_logits)` rendent un
    scalaire. `uses_real` dit si le générateur a besoin de D(x) ; `accepts_smoothing`, si `real_label` a un sens ;
    `probability`, si sigmoïde(D(x)) se lit comme la probabilité que x soit vrai.
    """

    discriminator: Callable[..., Tensor]
    generator: Callable[..., Tensor]
    uses_real: bool = False
    accepts_smoothing: bool = False
    probability: bool = True


def cross_entropy_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Entropie croisée de D : -E[log D(x)] - E[log(1 - D(G(z)))] (Goodfellow et al., 2014, éq. 1).

    `real_label` remplace la cible 1 des vrais, et des vrais seulement (lissage unilatéral, Salimans et al., 2016,
    § 3.4) : lisser aussi les faux déplacerait l'optimum vers les zones où le générateur se trompe.
    """
    target = torch.full_like(real_logits, real_label)
    return binary_cross_entropy_with_logits(real_logits, target) + softplus(fake_logits).mean()


def minimax_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Perte d'origine de G : E[log(1 - D(G(z)))], qui sature dès que D reconnaît les faux (2014, éq. 1)."""
    return -softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Perte non saturante de G : -E[log D(G(z))] (Goodfellow et al., 2014, § 3)."""
    return softplus(-fake_logits).mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Moindres carrés de D : ½ E[(D(x) - 1)²] + ½ E[D(G(z))²] (Mao et al., 2017, éq. 9)."""
    return 0.5 * (real_logits - real_label).square().mean() + 0.5 * fake_logits.square().mean()


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Moindres carrés de G : ½ E[(D(G(z)) - 1)²] (Mao et al., 2017, éq. 9)."""
    return 0.5 * (fake_logits - 1).square().mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Perte charnière de D : E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Lim et Ye, 2017)."""
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Perte du critique : E[D(G(z))] - E[D(x)], l'opposé de la distance estimée (Arjovsky et al., 2017, éq. 2)."""
    return fake_logits.mean() - real_logits.mean()


def mean_score_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Perte de G face à un critique ou à une charnière : -E[D(G(z))] (Arjovsky et al., 2017, éq. 3)."""
    return -fake_logits.mean()


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """RpGAN, côté D : E[softplus(-(D(x) - D(G(z))))], vrais et faux appariés (Jolicoeur-Martineau, 2018, § 4.1)."""
    return softplus(fake_logits - real_logits).mean()


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """RpGAN, côté G : E[softplus(-(D(G(z)) - D(x)))] (Jolicoeur-Martineau, 2018 ; Huang et al., 2024, éq. 2)."""
    return softplus(real_logits - fake_logits).mean()


LOSSES: dict[str, Loss] = {
    "minimax": Loss(cross_entropy_discriminator, minimax_generator, accepts_smoothing=True),
    "non_saturating": Loss(cross_entropy_discriminator, non_saturating_generator, accepts_smoothing=True),
    "least_squares": Loss(
        least_squares_discriminator, least_squares_generator, accepts_smoothing=True, probability=False
    ),
    "hinge": Loss(hinge_discriminator, mean_score_generator, probability=False),
    "wasserstein": Loss(wasserstein_discriminator, mean_score_generator, probability=False),
    "relativistic": Loss(
        relativistic_discriminator, relativistic_generator, uses_real=True, probability=False
    ),
}
