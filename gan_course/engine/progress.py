"""Ce que l'entraînement raconte à chaque pas : des faits, lus seulement si on les demande."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIELDS = ("d_loss", "g_loss", "d_real", "d_fake", "penalty")


class History(Mapping):
    """Mesures de chaque pas, gardées sur l'appareil pour ne pas l'attendre.

    Se lit comme un dictionnaire de tableaux : history["d_loss"] est un numpy float32 (pas,). Les champs : pertes
    `d_loss` et `g_loss`, scores moyens (logits) `d_real` = D(x) et `d_fake` = D(G(z)), et `penalty` (sans son
    facteur, celle du dernier pas où elle a été calculée).
    """

    def __init__(self, rows: Tensor | None = None, device: torch.device | str = "cpu") -> None:
        rows = torch.empty(0, len(FIELDS)) if rows is None else rows
        self._buffer, self._size = rows.to(device, torch.float32), len(rows)

    def append(self, row: Tensor) -> None:
        """Ajoute une ligne (5,), dans l'ordre de FIELDS."""
        if self._size == len(self._buffer):
            # Doubler la place : le coût d'un ajout reste constant en moyenne.
            spare = torch.empty(max(256, self._size), len(FIELDS), device=self._buffer.device)
            self._buffer = torch.cat([self._buffer, spare])
        self._buffer[self._size] = row
        self._size += 1

    @property
    def rows(self) -> Tensor:
        """Les mesures, (pas, 5)."""
        return self._buffer[: self._size]

    @property
    def steps(self) -> np.ndarray:
        """Numéros de pas, de 1 au dernier."""
        return np.arange(1, self._size + 1)

    def __getitem__(self, field: str) -> np.ndarray:
        if field not in FIELDS:
            raise KeyError(f"{field!r} n'est pas une mesure de l'historique ; il a {', '.join(FIELDS)}.")
        return self.rows[:, FIELDS.index(field)].cpu().numpy()

    def __iter__(self):
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


@dataclass(frozen=True, slots=True)
class Progress:
    """L'état de l'entraînement après un pas.

    `step` pas terminés sur `steps` ; `images_seen` vraies images montrées à D ; `seconds` de calcul, reprises
    comprises ; `images_per_second` récentes. `ema` est le générateur moyenné, en mode évaluation ; `generator` et
    `discriminator` sont les réseaux en cours d'entraînement. Les mesures (`d_loss`…) sont des nombres Python, lus
    au moment où on les demande.
    """

    step: int
    steps: int
    images_seen: int
    seconds: float
    images_per_second: float
    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module
    recipe: Any
    device: torch.device
    history: History
    measures: Tensor

    def _measure(self, field: str) -> float:
        return float(self.measures[FIELDS.index(field)])

    @property
    def d_loss(self) -> float:
        """Perte du discriminateur, pénalité comprise."""
        return self._measure("d_loss")

    @property
    def g_loss(self) -> float:
        """Perte du générateur."""
        return self._measure("g_loss")

    @property
    def d_real(self) -> float:
        """Score moyen (logit) des vraies images, D(x)."""
        return self._measure("d_real")

    @property
    def d_fake(self) -> float:
        """Score moyen (logit) des fausses images, D(G(z))."""
        return self._measure("d_fake")

    @property
    def penalty(self) -> float:
        """Dernière pénalité calculée, sans son facteur."""
        return self._measure("penalty")

    def __repr__(self) -> str:
        return f"Progress(pas {self.step}/{self.steps}, D {self.d_loss:.3f}, G {self.g_loss:.3f})"


class Clock:
    """Temps écoulé, affichage compris et reprises comprises, et débit récent."""

    def __init__(self, seconds: float = 0.0, images_seen: int = 0) -> None:
        now = time.monotonic()
        self._start, self._mark, self._saved = now - seconds, now, now
        self._first_images = self._mark_images = images_seen
        self._first = now
        self.rate = 0.0

    def tick(self, images_seen: int) -> float:
        """Note l'heure d'un pas ; rend les secondes écoulées en tout."""
        now = time.monotonic()
        if now - self._mark >= 0.5:
            self.rate = (images_seen - self._mark_images) / (now - self._mark)
            self._mark, self._mark_images = now, images_seen
        elif self._mark == self._first:
            self.rate = (images_seen - self._first_images) / max(now - self._first, 1e-9)
        return now - self._start

    def since_save(self) -> float:
        """Secondes depuis le dernier enregistrement."""
        return time.monotonic() - self._saved

    def saved(self) -> None:
        """Note l'heure d'un enregistrement."""
        self._saved = time.monotonic()
