"""La recette d'un GAN : tout ce qui distingue un GAN d'un WGAN-GP, hormis ses deux réseaux."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real

from gan_course.losses import LOSSES
from gan_course.penalties import PENALTIES

OPTIMIZERS = ("adam", "rmsprop")


def is_whole(value: object) -> bool:
    """Vrai pour un nombre entier, de Python ou de numpy ; faux pour True et pour 2.0."""
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclass(frozen=True)
class Recipe:
    """Réglages d'un entraînement adverse. Figée : `dataclasses.replace(recipe, loss="hinge")` en fait une autre.

    loss            perte adverse : "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"
    batch_size      vraies images par pas de D (et fausses par pas de G), tous processus compris
    critic_steps    pas de D par pas de G, chacun sur son propre lot
    penalty         None, "gradient" (WGAN-GP), "r1", "r2" ou "r1+r2"
    penalty_weight  facteur de la pénalité : λ de WGAN-GP (10), γ de R1 et R2
    penalty_every   calcule la pénalité tous les k pas de D, multipliée par k (Karras et al., 2020, « lazy »)
    clip            borne des poids du critique après chaque pas (WGAN d'origine : 0.01) ; None : pas d'écrêtage
    real_label      cible des vraies images : 0.9 lisse d'un seul côté ; les fausses gardent la cible 0
    optimizer       "adam" ou "rmsprop" (WGAN d'origine)
    g_lr, d_lr      pas d'apprentissage de G et de D
    betas           moments d'Adam (le second sert seul à RMSProp)
    ema_halflife    demi-vie de la moyenne des poids de G, en images ; 0 : la moyenne suit G exactement
    ema_rampup      la demi-vie est bornée à cette fraction des images vues : au début, la moyenne oublie vite
    reconstruction  facteur de l'erreur quadratique moyenne entre x et G(E(x)) ; 0 : un GAN. Au-dessus, le jeu se joue
                    entre les codes E(x) d'un autoencodeur (`models.aae`) et des tirages de N(0, I)
    cycle           facteur de l'erreur quadratique moyenne entre z et E(G(z)), pour un autoencodeur ; 0 : sans

    Lève ValueError, avec la valeur reçue, si un réglage n'a pas de sens.
    """

    loss: str = "non_saturating"
    batch_size: int = 64
    critic_steps: int = 1
    penalty: str | None = None
    penalty_weight: float = 10.0
    penalty_every: int = 1
    clip: float | None = None
    real_label: float = 1.0
    optimizer: str = "adam"
    g_lr: float = 2e-4
    d_lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    ema_halflife: float = 10_000
    ema_rampup: float = 0.05
    reconstruction: float = 0.0
    cycle: float = 0.0

    def __post_init__(self) -> None:
        self._require_choice("loss", tuple(LOSSES))
        self._require_choice("optimizer", OPTIMIZERS)
        if self.penalty is not None:
            self._require_choice("penalty", tuple(PENALTIES))
        for name in ("batch_size", "critic_steps", "penalty_every"):
            value = getattr(self, name)
            self._require(is_whole(value) and value >= 1, name, "un entier d'au moins 1")
            self._set(name, int(value))
        for name in ("g_lr", "d_lr"):
            self._require_number(name, lambda v: 0 < v < math.inf, "un nombre strictement positif")
        for name in ("penalty_weight", "ema_halflife", "ema_rampup", "reconstruction", "cycle"):
            self._require_number(name, lambda v: v >= 0, "un nombre positif ou nul")
        if self.clip is not None:
            self._require_number("clip", lambda v: v > 0, "None ou un nombre strictement positif")
        self._require_number("real_label", lambda v: 0.5 < v <= 1, "un nombre de ]0,5 ; 1]")
        pair = isinstance(self.betas, tuple | list) and len(self.betas) == 2
        pair = pair and all(isinstance(b, Real) and 0 <= b < 1 for b in self.betas)
        self._require(pair, "betas", "deux nombres de [0, 1[")
        self._set("betas", tuple(float(b) for b in self.betas))
        if self.cycle and not self.reconstruction:
            raise ValueError(f"cycle={self.cycle} sans reconstruction : un cycle passe par un encodeur (models.aae).")
        if self.real_label != 1 and not LOSSES[self.loss].accepts_smoothing:
            raise ValueError(
                f"real_label={self.real_label} n'a pas de sens avec loss={self.loss!r}, qui n'a pas de cible pour "
                "les vraies images. Gardez real_label=1.0, ou prenez la perte « non_saturating »."
            )

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ValueError(f"Recipe : {name}={getattr(self, name)!r} reçu ; il faut {expected}.")

    def _require_number(self, name: str, holds: Callable[[float], bool], expected: str) -> None:
        value = getattr(self, name)
        self._require(isinstance(value, Real) and not isinstance(value, bool) and holds(value), name, expected)
        self._set(name, float(value))

    def _set(self, name: str, value: object) -> None:
        """Un nombre de numpy devient un nombre de Python : un point de reprise ne se relirait pas avec l'autre."""
        object.__setattr__(self, name, value)

    def _require_choice(self, name: str, choices: tuple[str, ...]) -> None:
        self._require(getattr(self, name) in choices, name, "l'un de : " + ", ".join(choices))

    def differences(self, saved: dict) -> list[str]:
        """Phrases qui disent, champ par champ, en quoi une recette enregistrée diffère de celle-ci.

        Un champ absent du fichier, écrit avant que ce réglage n'existe, y vaut sa valeur par défaut.
        """
        mine = asdict(self)
        return [
            f"{f.name} = {saved.get(f.name, f.default)!r} dans le fichier, {mine[f.name]!r} ici"
            for f in fields(self)
            if saved.get(f.name, f.default) != mine[f.name]
        ]
