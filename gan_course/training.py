"""L'algorithme de tous les GAN du cours : un pas de D, un pas de G, et recommencer.

    for progress in train(G, D, images, Recipe(), steps=2_000, checkpoint="runs/gan.pt"):
        if progress.step % 100 == 0:
            print(progress)
"""

import copy
import math
import signal
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from numbers import Real
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_course.engine import interruption
from gan_course.engine.checkpoint import Checkpoint, CheckpointError
from gan_course.engine.checks import (
    TrainingSet,
    check_recipe_fits,
    check_same_run,
    describe_run,
    end_if_never_started,
    rehearse,
    warn_if_slow,
)
from gan_course.engine.device import (
    Compute,
    any_process,
    average_gradients,
    broadcast_weights,
    choose_compute,
)
from gan_course.engine.interruption import TrainingInterrupted
from gan_course.engine.progress import FIELDS, History, Progress
from gan_course.engine.shapes import Network
from gan_course.losses import find_loss
from gan_course.penalties import PENALTIES, clip_weights
from gan_course.recipe import Recipe

RECENT = 100  # pas sur lesquels se mesure le débit

__all__ = [
    "Gan", "History", "Progress", "Recipe", "TrainingDiverged", "TrainingInterrupted", "discriminator_step",
    "generator_step", "train",
]  # fmt: skip


def discriminator_step(
    gan: "Gan", real: Tensor, fake: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Un pas de descente de D : le score des vrais, celui des faux détachés de G, la perte, la pénalité.

    real, fake : (B, …), de même forme ; labels : (B,) ou None. Rend (perte, moyenne de D(x), moyenne de D(G(z))),
    sans graphe.
    """
    recipe, fake = gan.recipe, fake.detach()
    with gan.autocast:
        real_logits, fake_logits = gan.D(real, labels).float(), gan.D(fake, labels).float()
    loss = gan.loss.discriminator(real_logits, fake_logits, recipe.real_label)
    if gan.penalty and gan.critic_steps_done % recipe.penalty_every == 0:
        penalty = gan.penalty(gan.discriminator, real=real, fake=fake, labels=labels)
        loss = loss + gan.penalty_weight * recipe.penalty_every * penalty
        gan.last_penalty = penalty.detach()
    optimizer_step(gan, loss, gan.d_optimizer)
    if recipe.clip is not None:
        clip_weights(gan.discriminator, recipe.clip)
    gan.critic_steps_done += 1
    return loss.detach(), real_logits.detach().mean(), fake_logits.detach().mean()


def generator_step(
    gan: "Gan", real: Tensor, fake: Tensor, labels: Tensor | None = None, extra: Tensor | float = 0.0
) -> Tensor:
    """Un pas de descente de G : le score de ses faux, la perte, plus `extra`. Rend la perte, sans graphe.

    `fake` porte le graphe de G, et `extra` aussi (la reconstruction d'un autoencodeur). Seules les pertes
    relativistes lisent `real`.
    """
    with gan.autocast:
        fake_logits = gan.D(fake, labels).float()
        with torch.no_grad():
            real_logits = gan.D(real, labels).float() if gan.loss.uses_real else None
    loss = gan.loss.generator(fake_logits, real_logits) + extra
    optimizer_step(gan, loss, gan.g_optimizer)
    return loss.detach()


def optimizer_step(gan: "Gan", loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """zero_grad, backward, step, sur les seuls poids de cet optimiseur : l'autre réseau ne reçoit aucun gradient."""
    weights = optimizer.param_groups[0]["params"]
    optimizer.zero_grad(set_to_none=True)
    gan.scaler.scale(loss).backward(inputs=weights)
    if gan.compute.world_size > 1:
        average_gradients(weights, gan.compute.world_size)
    gan.scaler.step(optimizer)
    gan.scaler.update()


class Gan:
    """Deux réseaux, leurs optimiseurs et la moyenne des poids de G : ce qu'un entraînement fait avancer.

    generator, discriminator  les modules ; `ema` est la moyenne du premier, en mode évaluation
    G, D                      les mêmes, tels qu'on les appelle : G(z, y) et D(x, y), y valant None sans classes
    g_optimizer, d_optimizer  un par réseau
    loss, penalty             les fonctions que nomme la recette (`penalty` : None s'il n'y en a pas)
    compute                   où et en quelle précision (engine.device) ; défaut : choose_compute()
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, recipe: Recipe, compute: Compute | None = None
    ) -> None:
        compute = choose_compute() if compute is None else compute
        self.recipe, self.compute, self.autocast = recipe, compute, compute.autocast()
        self.loss, self.penalty = find_loss(recipe.loss), PENALTIES.get(recipe.penalty, recipe.penalty)
        self.generator = compute.place(generator).train()
        self.discriminator = compute.place(discriminator).train()
        self.conditional = bool(getattr(generator, "num_classes", 0))
        self.G, self.D = (takes_labels(net, self.conditional) for net in (self.generator, self.discriminator))
        broadcast_weights([self.generator, self.discriminator], compute.world_size)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.g_optimizer = make_optimizer(self.generator, recipe, at(recipe.g_lr, 0))
        self.d_optimizer = make_optimizer(self.discriminator, recipe, at(recipe.d_lr, 0))
        self.scaler = compute.grad_scaler()
        # Parcourir un module pour en trouver les poids est lent : une fois suffit.
        self.g_weights, self.ema_weights = list(self.generator.parameters()), list(self.ema.parameters())
        self.buffers = list(zip(self.ema.buffers(), self.generator.buffers(), strict=True))
        scheduled = (recipe.g_lr, recipe.d_lr, recipe.betas[1], recipe.penalty_weight)
        self.scheduled = any(map(callable, scheduled))
        self.penalty_weight = at(recipe.penalty_weight, 0)
        self.real_and_fake = getattr(generator, "real_and_fake", None)  # un autoencodeur a son propre jeu (models.aae)
        self.critic_steps_done = 0
        self.last_penalty = torch.zeros((), device=compute.device)

    def follow_schedules(self, images_seen: int) -> None:
        """Donne à chaque réglage qui est une fonction des images vues sa valeur du moment."""
        recipe = self.recipe
        self.penalty_weight = at(recipe.penalty_weight, images_seen)
        for optimizer, lr in ((self.g_optimizer, recipe.g_lr), (self.d_optimizer, recipe.d_lr)):
            (group,) = optimizer.param_groups
            group["lr"] = at(lr, images_seen)
            if recipe.optimizer == "adam":
                group["betas"] = (recipe.betas[0], at(recipe.betas[1], images_seen))
            else:
                group["alpha"] = at(recipe.betas[1], images_seen)

    @torch.no_grad()
    def update_ema(self, images_seen: int) -> None:
        """Moyenne exponentielle des paramètres de G ; les tampons (statistiques de BatchNorm) sont copiés."""
        halflife = self.recipe.ema_halflife
        if callable(halflife):
            halflife = halflife(images_seen)
        halflife = min(halflife, images_seen * self.recipe.ema_rampup)
        decay = 0.5 ** (self.recipe.batch_size / halflife) if halflife > 0 else 0.0
        torch._foreach_lerp_(self.ema_weights, self.g_weights, 1 - decay)
        for average, buffer in self.buffers:
            average.copy_(buffer)

    def parts(self) -> dict:
        """Tout ce qui a un état, par nom."""
        names = ("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "scaler")
        return {name: getattr(self, name) for name in names}


def takes_labels(network: nn.Module, conditional: bool) -> Callable:
    """Le réseau, que l'on appelle toujours network(x, y) ; sans classes, y vaut None, et un forward(x) suffit."""
    return network if conditional or isinstance(network, Network) else lambda x, y=None: network(x)


def at(setting: float | Callable[[int], float], images_seen: int) -> float:
    """La valeur d'un réglage : lui-même, ou ce qu'il rend s'il est une fonction des images vues."""
    return float(setting(images_seen)) if callable(setting) else setting


def make_optimizer(network: nn.Module, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """L'optimiseur de la recette, sur les poids entraînables du réseau."""
    weights = [p for p in network.parameters() if p.requires_grad]
    beta2 = at(recipe.betas[1], 0)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(weights, lr=lr, alpha=beta2)
    # fused : une seule passe sur les poids au lieu d'une par opération d'Adam.
    fused = weights[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(weights, lr=lr, betas=(recipe.betas[0], beta2), fused=fused)


class TrainingDiverged(RuntimeError):
    """Les pertes ou les poids ne sont plus des nombres finis."""


def train(
    generator: nn.Module,
    discriminator: nn.Module,
    images: TrainingSet,
    recipe: Recipe,
    steps: int,
    checkpoint: str | Path | None = None,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    precision: str = "auto",
    checkpoint_every: float = 30.0,
) -> Iterator[Progress]:
    """Entraîne les deux réseaux, sur place, et rend un Progress par pas de générateur.

        for progress in train(G, D, images, Recipe(), steps=2_000, checkpoint="runs/gan.pt"):
            if progress.step % 100 == 0:
                print(progress)

    Rien ne s'entraîne avant que la boucle ne tourne : train(…) seul ne fait que vérifier et préparer. `steps` est un
    total, pas d'avant une reprise compris : relancer avec le même nombre finit ce qui restait.

    generator, discriminator  modules du cours ou les vôtres : G(z) ou G(z, y) → images, avec `latent_dim` (et
                              `num_classes` s'il est conditionnel) ; D(x) ou D(x, y) → logits (B,)
    images                    ImageSet ou PointSet : tout objet avec batch(step, batch_size, seed) et len()
    checkpoint                fichier écrit toutes les `checkpoint_every` secondes, à la fin et à l'interruption ;
                              s'il existe, l'entraînement reprend où il en était. Sur CPU, N + N pas donnent au bit
                              près les poids de 2N pas.
    seed                      graine des lots et du hasard de la boucle ; le hasard du notebook n'est ni lu ni modifié
    device, precision         voir gan_course.engine.device.choose_compute

    Sous torchrun, chaque processus traite sa part du lot et les gradients sont moyennés.

    Lève ValueError si recette, réseaux et images ne vont pas ensemble, TypeError si l'un n'est pas ce qu'il doit
    être ; CheckpointError si le fichier est illisible, impossible à écrire ou d'un autre entraînement ;
    TrainingDiverged si une perte n'est plus un nombre ; TrainingInterrupted, un KeyboardInterrupt, si on l'arrête.
    """
    compute = choose_compute(device, precision)
    check_recipe_fits(generator, discriminator, images, recipe, steps, compute.world_size, seed)
    if not isinstance(checkpoint_every, Real) or checkpoint_every < 0:
        raise ValueError(f"checkpoint_every={checkpoint_every!r} reçu ; il faut un nombre de secondes.")
    gan = Gan(generator, discriminator, recipe, compute)
    rehearse(gan, images)
    run = Run(gan, images, int(steps), checkpoint, int(seed), checkpoint_every)
    loop = run.loop()
    weakref.finalize(loop, end_if_never_started, run.started, run.file).atexit = False
    return loop


class Run:
    """Un entraînement en cours : où il en est, et comment l'enregistrer. Tout le reste est dans Gan."""

    def __init__(
        self, gan: Gan, images: TrainingSet, steps: int, checkpoint: str | Path | None, seed: int, every: float
    ) -> None:
        self.gan, self.images, self.steps, self.seed, self.every = gan, gan.compute.hold(images), steps, seed, every
        self.step, self.images_seen, self.seconds, self.saved_step, self.started = 0, 0, 0.0, 0, []
        device = gan.compute.device
        self.rows = torch.zeros(min(steps, 1024), len(FIELDS), device=device)  # une ligne de mesures par pas
        layout = gan.compute.memory_format if len(images.image_shape) == 3 else torch.preserve_format
        self.placement = dict(device=device, memory_format=layout, non_blocking=True)
        self.cuda = [device] if device.type == "cuda" else []
        # torch.manual_seed sèmerait aussi les GPU absents : cent fois plus lent.
        self.seeders = [torch.default_generator.manual_seed]
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self.seeders.append(torch.cuda.default_generators[index].manual_seed)
        elif device.type == "mps":
            self.seeders.append(torch.mps.manual_seed)
        self.working, self.pending, self.shared = threading.Lock(), False, gan.compute.world_size > 1
        self.identity = describe_run(gan, images, seed)
        self.file = None if checkpoint is None else Checkpoint(checkpoint, writer=gan.compute.rank == 0)
        if self.file is not None:
            try:
                for other in self.others():  # la même cellule, relancée : ses derniers pas ne sont pas perdus
                    other.save()
                self.restore()
            except BaseException:
                self.file.close()
                raise

    def advance(self) -> None:
        """Un pas complet : `critic_steps` pas de D, chacun sur son lot, puis un pas de G.

        Les faux du dernier pas de D servent aussi à G, que D a jugés avant sa mise à jour et rejuge après : un
        passage de G épargné sur deux.
        """
        gan, recipe, compute = self.gan, self.gan.recipe, self.gan.compute
        # Le hasard d'un pas ne dépend que de (seed, step, rang) : dessiner entre deux pas ne change rien à la suite, et
        # un point de reprise contient tout le hasard dès qu'il contient seed et step.
        for seed in self.seeders:
            seed((self.seed * 1_000_003 + self.step * 4_099 + compute.rank) % 2**32)
        if gan.scheduled:
            gan.follow_schedules(self.images_seen)
        share, extra = recipe.batch_size // compute.world_size, 0.0
        for k in range(recipe.critic_steps):
            index = (self.step * recipe.critic_steps + k) * compute.world_size + compute.rank
            real, labels = self.images.batch(index, share, self.seed)
            real = real.to(**self.placement)
            labels = labels.to(compute.device) if gan.conditional else None
            with gan.autocast, torch.set_grad_enabled(k == recipe.critic_steps - 1):
                if gan.real_and_fake:
                    real, fake, extra = gan.real_and_fake(real, labels, recipe)
                else:
                    fake = gan.G(torch.randn(share, gan.generator.latent_dim, device=compute.device), labels)
            d_loss, d_real, d_fake = discriminator_step(gan, real, fake, labels)
        g_loss = generator_step(gan, real, fake, labels, extra)
        if self.step == len(self.rows):  # doubler la place : le coût d'un pas reste constant en moyenne
            self.rows = torch.cat([self.rows, torch.zeros_like(self.rows)])
        self.rows[self.step] = torch.stack([d_loss, g_loss, d_real, d_fake, gan.last_penalty])
        self.step += 1
        self.images_seen += recipe.critic_steps * recipe.batch_size
        gan.update_ema(self.images_seen)

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
                    self.advance()
                    now = time.monotonic()
                    self.seconds = earlier + now - start
                    marks.append((now, self.images_seen))
                    checked = self.step % check_every == 0 or self.step == self.steps
                    if checked and not math.isfinite(self.rows[self.step - 1].sum()):
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
            other.save()
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
