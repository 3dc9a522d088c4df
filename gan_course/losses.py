"""Pertes adverses : des fonctions pures des logits, écrites comme dans les articles.

Une perte est une paire de fonctions. Celle du discriminateur reçoit D(x) et D(G(z)) ; celle du générateur
reçoit D(G(z)), et D(x) pour les pertes relativistes. Les logits sont des tenseurs (B,) de valeurs réelles :
aucune perte n'attend de probabilité, car log(sigmoïde) se calcule sans débordement et log(probabilité) non.

Ajouter une perte : ses deux formules et son entrée de LOSSES, qui dit aussi comment lire ses scores.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

Reading = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def as_probabilities(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sigmoïde de chaque score : la probabilité d'être vrai que D lui donne."""
    return 0.5 + 0.5 * np.tanh(0.5 * real), 0.5 + 0.5 * np.tanh(0.5 * fake)


def as_targets(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moindres carrés : les cibles sont 0 et 1."""
    return np.clip(real, 0, 1), np.clip(fake, 0, 1)


def as_margins(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Charnière : les marges sont -1 et 1 ; au-delà, plus de gradient pour D."""
    return np.clip(0.5 + 0.5 * real, 0, 1), np.clip(0.5 + 0.5 * fake, 0, 1)


def as_pairs(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relativiste : seul l'écart a un sens, la probabilité que le vrai d'une paire soit reconnu."""
    return as_probabilities(real - fake, fake - real)


class Loss(NamedTuple):
    """Les deux moitiés d'une perte adverse, et la façon de lire les scores de son D.

    `discriminator(real_logits, fake_logits, real_label)` et `generator(fake_logits, real_logits)` rendent un
    scalaire. `uses_real` dit si le générateur a besoin de D(x) ; `accepts_smoothing`, si `real_label` a un sens.
    `read(D(x), D(G(z)))` ramène les scores à [0, 1], où 1 veut dire « vrai » ; None : ils n'ont pas d'échelle, et
    c'est leur écart que l'on suit (un critique).
    """

    discriminator: Callable[..., Tensor]
    generator: Callable[..., Tensor]
    uses_real: bool = False
    accepts_smoothing: bool = False
    read: Reading | None = as_probabilities

    @property
    def probability(self) -> bool:
        """Vrai si sigmoïde(D(x)) se lit comme la probabilité que x soit vrai."""
        return self.read is as_probabilities


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
        least_squares_discriminator, least_squares_generator, accepts_smoothing=True, read=as_targets
    ),
    "hinge": Loss(hinge_discriminator, mean_score_generator, read=as_margins),
    "wasserstein": Loss(wasserstein_discriminator, mean_score_generator, read=None),
    "relativistic": Loss(relativistic_discriminator, relativistic_generator, uses_real=True, read=as_pairs),
}


def find_loss(loss: str | Loss | Callable) -> Loss:
    """La perte que désigne `loss` : un nom de LOSSES, une Loss, ou votre fonction.

    Votre fonction reçoit D(x) et D(G(z)), deux (B,), et rend les deux pertes, celle de D puis celle de G :

        def hinge(real, fake):
            return relu(1 - real).mean() + relu(1 + fake).mean(), -fake.mean()

    De ses scores, dont rien ne dit l'échelle, seul l'écart est suivi ; Loss(…, read=as_margins) la dirait.

    Lève ValueError si le nom est inconnu.
    """
    if isinstance(loss, Loss):
        return loss
    if callable(loss):
        halves = (lambda real, fake, _=1.0: loss(real, fake)[0], lambda fake, real: loss(real, fake)[1])
        return Loss(*halves, uses_real=True, read=None)
    if not isinstance(loss, str) or loss not in LOSSES:
        known = ", ".join(LOSSES)
        raise ValueError(f"loss={loss!r} reçu ; il faut l'un de : {known}, ou une fonction de (D(x), D(G(z))).")
    return LOSSES[loss]
