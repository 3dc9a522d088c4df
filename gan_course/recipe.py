"""La recette d'un GAN : tout ce qui distingue un GAN d'un WGAN-GP, hormis ses deux réseaux."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from gan_course.augmentation import find_augmentation
from gan_course.engine.identity import identity
from gan_course.engine.numbers import is_whole
from gan_course.losses import Loss, find_loss
from gan_course.penalties import ALIASES, PENALTIES

OPTIMIZERS = ("adam", "rmsprop")
Schedule = float | Callable[[int], float]



@dataclass(frozen=True)
class Recipe:
    """Réglages d'un entraînement adverse. Figée : `dataclasses.replace(recipe, loss="hinge")` en fait une autre.

    loss            un nom de LOSSES, "non_saturating" ou "wasserstein" par exemple ; ou une fonction de (D(x), D(G(z)))
                    qui rend les deux pertes (voir losses.find_loss)
    batch_size      vraies images par pas de D (et fausses par pas de G), tous processus compris
    critic_steps    pas de D par pas de G, chacun sur son propre lot
    penalty         None, un nom de PENALTIES, "gp" (WGAN-GP ; « gradient » se dit aussi) ou "r1" par exemple ; ou une
                    fonction de (discriminator, real, fake, labels) qui rend un scalaire
    penalty_weight  facteur de la pénalité : λ de WGAN-GP (10), γ de R1 et R2 *
    penalty_every   calcule la pénalité tous les k pas de D, multipliée par k (« lazy », Karras et al., 2020), sans
                    corriger lr et betas comme le fait StyleGAN2
    clip            borne des poids du critique après chaque pas (WGAN d'origine : 0.01) ; None : pas d'écrêtage
    real_label      cible des vraies images : 0.9 lisse d'un seul côté ; les fausses gardent la cible 0
    augment         None, ou ce que subissent les images avant D, vraies et fausses : "color,translation,cutout" ou l'un
                    d'eux (augmentation.py), ou une fonction de x, dérivable. Pour de petits jeux
    optimizer       "adam" ou "rmsprop" (WGAN d'origine)
    g_lr, d_lr      pas d'apprentissage de G et de D *
    betas           moments d'Adam (le second * ; il sert seul à RMSProp)
    ema_halflife    demi-vie de la moyenne des poids de G, en images ; 0 : la moyenne suit G exactement *
    ema_rampup      la demi-vie est bornée à cette fraction des images vues : au début, la moyenne oublie vite
    reconstruction  facteur de l'erreur quadratique moyenne entre x et G(E(x)) ; 0 : un GAN. Au-dessus, le jeu se joue
                    entre les codes E(x) d'un autoencodeur (`models.aae`) et des tirages de N(0, I)
    cycle           facteur de l'erreur quadratique moyenne entre z et E(G(z)), pour un autoencodeur ; 0 : sans

    * Un nombre, ou une fonction du nombre d'images vues : `g_lr=lambda images: 2e-4 * 0.5 ** (images / 1e6)`.

    Lève ValueError, avec la valeur reçue, si un réglage n'a pas de sens.
    """

    loss: str | Loss | Callable = "non_saturating"
    batch_size: int = 64
    critic_steps: int = 1
    penalty: str | Callable | None = None
    penalty_weight: Schedule = 10.0
    penalty_every: int = 1
    clip: float | None = None
    real_label: float = 1.0
    augment: str | Callable | None = None
    optimizer: str = "adam"
    g_lr: Schedule = 2e-4
    d_lr: Schedule = 2e-4
    betas: tuple[float, Schedule] = (0.5, 0.999)
    ema_halflife: Schedule = 10_000
    ema_rampup: float = 0.05
    reconstruction: float = 0.0
    cycle: float = 0.0

    def __post_init__(self) -> None:
        loss = find_loss(self.loss)
        find_augmentation(self.augment)
        object.__setattr__(self, "penalty", ALIASES.get(self.penalty, self.penalty))
        known = ", ".join(PENALTIES)
        fits = self.penalty is None or callable(self.penalty) or self.penalty in PENALTIES
        self._require(fits, "penalty", f"None, une fonction, ou l'un de : {known}")
        self._require(self.optimizer in OPTIMIZERS, "optimizer", "l'un de : " + ", ".join(OPTIMIZERS))
        for name in ("batch_size", "critic_steps", "penalty_every"):
            value = getattr(self, name)
            self._require(is_whole(value) and value >= 1, name, "un entier d'au moins 1")
            object.__setattr__(self, name, int(value))
        for name in ("g_lr", "d_lr"):
            self._number(name, lambda v: 0 < v < math.inf, "un nombre strictement positif", schedule=True)
        for name in ("penalty_weight", "ema_halflife"):
            self._number(name, lambda v: v >= 0, "un nombre positif ou nul", schedule=True)
        for name in ("ema_rampup", "reconstruction", "cycle"):
            self._number(name, lambda v: v >= 0, "un nombre positif ou nul")
        if self.clip is not None:
            self._number("clip", lambda v: v > 0, "None ou un nombre strictement positif")
        self._number("real_label", lambda v: 0.5 < v <= 1, "un nombre de ]0,5 ; 1]")
        pair = isinstance(self.betas, tuple | list) and len(self.betas) == 2
        pair = pair and all(isinstance(b, Real) and 0 <= b < 1 for b in self.betas if not callable(b))
        self._require(pair and not callable(self.betas[0]), "betas", "deux nombres de [0, 1[")
        object.__setattr__(self, "betas", tuple(b if callable(b) else float(b) for b in self.betas))
        if self.cycle and not self.reconstruction:
            raise ValueError(f"cycle={self.cycle} sans reconstruction : un cycle passe par un encodeur (models.aae).")
        if self.real_label != 1 and not loss.accepts_smoothing:
            raise ValueError(
                f"real_label={self.real_label} n'a pas de sens avec loss={self.loss!r}, qui n'a pas de cible pour "
                "les vraies images. Gardez real_label=1.0, ou prenez la perte « non_saturating »."
            )

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ValueError(f"Recipe : {name}={getattr(self, name)!r} reçu ; il faut {expected}.")

    def _number(self, name: str, holds: Callable[[float], bool], expected: str, schedule: bool = False) -> None:
        value = getattr(self, name)
        if schedule and callable(value):
            return
        self._require(isinstance(value, Real) and not isinstance(value, bool) and holds(value), name, expected)
        # Un nombre de numpy devient un nombre de Python : un point de reprise ne se relirait pas avec l'autre.
        object.__setattr__(self, name, float(value))

    def identity(self) -> dict[str, Any]:
        """Les réglages tels qu'un point de reprise les garde : d'une fonction, le nom et l'empreinte de la source."""
        return {f.name: identity(getattr(self, f.name)) for f in fields(self)}
