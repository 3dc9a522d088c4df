"""Un entraînement en cours : avancer, enregistrer, reprendre, s'arrêter. Ce que fait un pas est dans training.py."""

import copy
import math
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from gan_course.engine import interruption
from gan_course.engine.checkpoint import Checkpoint, CheckpointError
from gan_course.engine.checks import TrainingSet, check_same_run, describe_run, warn_if_slow
from gan_course.engine.device import any_process
from gan_course.engine.progress import FIELDS, Progress

RECENT = 100  # pas sur lesquels se mesure le débit


class TrainingDiverged(RuntimeError):
    """Les pertes ou les poids ne sont plus des nombres finis."""


class Run:
    """Un entraînement en cours : où il en est, et comment l'enregistrer. Ce qu'il fait avancer est `gan`."""

    def __init__(
        self, gan: Any, images: TrainingSet, steps: int, checkpoint: str | Path | None, seed: int, every: float
    ) -> None:
        self.gan, self.images, self.steps, self.seed, self.every = gan, gan.compute.hold(images), steps, seed, every
        self.step, self.images_seen, self.seconds, self.saved_step, self.started = 0, 0, 0.0, 0, []
        device = gan.compute.device
        self.rows = torch.zeros(min(steps, 1024), len(FIELDS), device=device)  # une ligne de mesures par pas
        self.cuda = [device] if device.type == "cuda" else []
        self.working, self.pending, self.shared = threading.Lock(), False, gan.compute.world_size > 1
        self.identity = describe_run(gan, images, seed)
        self.file = None if checkpoint is None else Checkpoint(checkpoint, writer=gan.compute.rank == 0)
        if self.file is not None:
            try:
                for other in self.others():  # la même cellule, relancée : ses derniers pas ne sont pas perdus
                    other.save_or_warn()
                self.restore()
            except BaseException:
                self.file.close()
                raise

    def loop(self) -> Iterator[Progress]:
        """Avance, vérifie, enregistre quand il est temps, et rend la main à chaque pas."""
        self.started.append(True)
        self.take_over()
        earlier, start = self.seconds, time.monotonic()
        marks = deque([(start, self.images_seen)], maxlen=RECENT)
        # Lire une mesure sur GPU attend la fin de ses calculs : on ne le fait pas à chaque pas.
        saved, check_every = start, 50 if self.cuda else 1
        try:
            if self.step >= self.steps:
                yield Progress(self.step, self.steps, self.images_seen, self.seconds, 0.0, self.gan, self.rows)
            while self.step < self.steps:
                # Un noyau Jupyter reprend Ctrl-C à chaque cellule : c'est à revoir à chaque pas.
                if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                    interruption.listen()
                with self.working, torch.random.fork_rng(self.cuda):
                    measures = self.gan.advance(self.images, self.step, self.seed)
                    if self.step == len(self.rows):  # doubler la place : le coût d'un pas reste constant en moyenne
                        self.rows = torch.cat([self.rows, torch.zeros_like(self.rows)])
                    self.rows[self.step] = measures
                    self.step += 1
                    self.images_seen += self.gan.recipe.critic_steps * self.gan.recipe.batch_size
                    now = time.monotonic()
                    self.seconds = earlier + now - start
                    marks.append((now, self.images_seen))
                    checked = self.step % check_every == 0 or self.step == self.steps
                    if checked and not math.isfinite(measures.sum()):
                        self.diverge()
                    if now - saved >= self.every:
                        self.save_or_warn()
                        saved = time.monotonic()
                if any_process(self.pending, self.gan.compute) if self.shared else self.pending:
                    interruption.stop(self)
                if len(marks) == 2:
                    warn_if_slow(now - start, self.steps - self.step)
                rate = (self.images_seen - marks[0][1]) / max(now - marks[0][0], 1e-9)
                yield Progress(self.step, self.steps, self.images_seen, self.seconds, rate, self.gan, self.rows)
        except GeneratorExit:  # break, ou une boucle que l'on abandonne
            self.save()
            raise
        else:
            self.save()
        finally:
            interruption.forget(self)
            if self.file is not None:
                self.file.close()
        if self.pending:  # reçu pendant le dernier enregistrement
            interruption.stop(self)

    def others(self) -> list["Run"]:
        """Les entraînements de ce processus qui écrivent le même fichier : d'ordinaire aucun."""
        mine = None if self.file is None else self.file.path
        return [run for run in interruption.alive if run is not self and run.file and run.file.path == mine]

    def take_over(self) -> None:
        """Commence : écrit désormais seul son fichier, et repart de ce qu'un autre y aurait écrit depuis train()."""
        others = self.others()
        for other in others:
            other.save_or_warn()
        if self.file is not None:
            self.file.claim()
        if others:
            self.restore()
        interruption.alive.add(self)

    def restore(self) -> None:
        """Remet l'entraînement dans l'état enregistré : en entier, ou pas du tout s'il est d'un autre entraînement."""
        state = self.file.load()
        if state is None or (self.step and state["step"] == self.step):
            return
        check_same_run(self.file.path, state, self.identity)
        parts, before = self.gan.parts(), {}
        if not state["scaler"]:  # écrit là où la précision n'en demandait pas
            del parts["scaler"]
        try:
            for name, part in parts.items():
                before[name] = copy.deepcopy(part.state_dict())
                part.load_state_dict(state[name])
        except Exception as error:  # chaque partie a ses exceptions pour un état qui n'est pas le sien
            for name, saved in before.items():
                parts[name].load_state_dict(saved)
            raise CheckpointError(
                f"{self.file.path} ne se laisse pas reprendre : {name} y est abîmé ({type(error).__name__}). Rien n'a "
                "changé ici. Supprimez-le pour repartir de zéro, ou donnez un autre nom à checkpoint=."
            ) from error
        self.step, self.seconds, self.saved_step = state["step"], state["seconds"], state["step"]
        recipe, rows = self.gan.recipe, state["history"].to(self.rows)
        self.rows = torch.cat([rows, torch.zeros_like(self.rows)])
        self.images_seen = self.step * recipe.critic_steps * recipe.batch_size
        self.gan.critic_steps_done = self.step * recipe.critic_steps
        if self.step:
            self.gan.last_penalty = rows[-1, FIELDS.index("penalty")].clone()
        text = f"Repris au pas {self.step} sur {self.steps} ({self.file.path.name})."
        if self.step >= self.steps:
            text = f"Déjà au pas {self.step} ({self.file.path.name}) : steps={self.steps} est un total, "
            text += "augmentez-le pour continuer."
        if self.gan.compute.rank == 0:
            print(text, flush=True)

    def save(self) -> None:
        """Enregistre tout, si le pas courant ne l'est pas déjà ; TrainingDiverged si un poids n'est plus un nombre."""
        if self.file is None or self.step == self.saved_step:
            return
        if self.gan.compute.rank:  # le premier processus écrit pour tous
            self.saved_step = self.step
            return
        with self.working if not self.working.locked() else nullcontext():
            parts = {name: part.state_dict() for name, part in self.gan.parts().items()}
            facts = {"step": self.step, "seconds": self.seconds, "history": self.rows[: self.step].cpu().clone()}
            try:
                if self.file.save({**self.identity, **parts, **facts}):
                    self.saved_step = self.step
            except CheckpointError:
                weights = [*self.gan.generator.parameters(), *self.gan.discriminator.parameters()]
                if not all(bool(weight.isfinite().all()) for weight in weights):
                    self.diverge()
                raise

    def save_or_warn(self) -> None:
        """Un enregistrement en cours de route : s'il échoue, on le dit et l'on continue ; seul le dernier s'impose."""
        try:
            self.save()
        except CheckpointError as error:
            warnings.warn(f"{error} L'entraînement continue.", stacklevel=3)

    def place(self) -> str:
        """Où en est un entraînement interrompu, et ce qui en est gardé."""
        kept = "rien n'est enregistré (checkpoint=None)."
        if self.file is not None:
            kept = f"tout est enregistré dans {self.file.path}. Relancez pour continuer."
            if self.saved_step < self.step:
                kept = f"une cellule relancée a pris la suite dans {self.file.path}."
        return f"Entraînement interrompu au pas {self.step} sur {self.steps} : {kept}"

    def diverge(self) -> None:
        """Lève TrainingDiverged : où, avec quelles pertes, ce qui est gardé, quoi changer."""
        d_loss, g_loss = self.rows[self.step - 1, :2].tolist()
        kept = "Aucun point de reprise n'a été demandé."
        if self.file is not None:
            kept = "Rien n'avait encore été enregistré."
            if self.saved_step:
                kept = f"Le point de reprise {self.file.path} garde le pas {self.saved_step}, encore sain."
        raise TrainingDiverged(
            f"Au pas {self.step}, les calculs ne donnent plus des nombres finis (perte de D : {d_loss:.4g}, perte de "
            f"G : {g_loss:.4g}). {kept} Réduisez g_lr et d_lr, ou ajoutez une pénalité (penalty=\"r1\")."
        )
