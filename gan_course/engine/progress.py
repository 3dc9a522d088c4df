"""Ce que l'entraînement raconte à chaque pas : des faits, lus seulement si on les demande."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIELDS = ("d_loss", "g_loss", "d_real", "d_fake", "penalty")


class History(Mapping):
    """Mesures de chaque pas, gardées sur l'appareil pour ne pas l'attendre ; `rows` est le tenseur (pas, 5).

    Se lit comme un dictionnaire de tableaux : history["d_loss"] est un numpy float32 (pas,). Les champs : pertes
    `d_loss` et `g_loss`, scores moyens (logits) `d_real` = D(x) et `d_fake` = D(G(z)), et `penalty` (sans son
    facteur, celle du dernier pas où elle a été calculée).
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    @property
    def steps(self) -> np.ndarray:
        """Numéros de pas, de 1 au dernier."""
        return np.arange(1, len(self.rows) + 1)

    def __getitem__(self, field: str) -> np.ndarray:
        if field not in FIELDS:
            raise KeyError(f"{field!r} n'est pas une mesure de l'historique ; il a {', '.join(FIELDS)}.")
        # Une copie : l'entraînement y écrit encore.
        return self.rows[:, FIELDS.index(field)].clone().cpu().numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


@dataclass(frozen=True, slots=True)
class Progress:
    """L'état de l'entraînement après un pas.

    step, steps                pas terminés, sur combien en tout
    images_seen                vraies images montrées à D
    seconds                    temps écoulé, affichage et reprises compris
    images_per_second          débit des cent derniers pas
    ema                        le générateur moyenné, en mode évaluation, prêt à servir : ses statistiques de
                               BatchNorm sont refaites quand on le lit (averaging.py)
    generator, discriminator   les réseaux en cours d'entraînement ; recipe, device : comme dans train()
    d_loss, g_loss, d_real, d_fake, penalty   les mesures du pas, des nombres, lues au moment où on les demande
    history                    celles de tous les pas (voir History)
    """

    step: int
    steps: int
    images_seen: int
    seconds: float
    images_per_second: float
    gan: Any
    rows: Tensor

    @property
    def generator(self) -> nn.Module:
        """Le générateur en cours d'entraînement."""
        return self.gan.generator

    @property
    def discriminator(self) -> nn.Module:
        """Le discriminateur en cours d'entraînement."""
        return self.gan.discriminator

    @property
    def ema(self) -> nn.Module:
        """Le générateur moyenné, en mode évaluation, ses statistiques de BatchNorm refaites s'il a changé."""
        return self.gan.ready_ema()

    @property
    def recipe(self) -> Any:
        """La recette de l'entraînement."""
        return self.gan.recipe

    @property
    def device(self) -> torch.device:
        """L'appareil de calcul."""
        return self.gan.compute.device

    @property
    def history(self) -> History:
        """Les mesures de tous les pas, jusqu'à celui-ci."""
        return History(self.rows[: self.step])

    def __getattr__(self, name: str) -> float:
        """d_loss et g_loss, pertes du pas ; d_real et d_fake, scores moyens (logits) ; penalty, sans son facteur."""
        if name not in FIELDS:
            raise AttributeError(f"Progress n'a pas de {name!r} ; il a {', '.join((*self.__slots__, *FIELDS))}.")
        return float(self.rows[self.step - 1, FIELDS.index(name)])

    def __repr__(self) -> str:
        return f"Progress(pas {self.step}/{self.steps}, D {self.d_loss:.3f}, G {self.g_loss:.3f})"
