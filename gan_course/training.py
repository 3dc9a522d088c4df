"""La boucle de tous les GAN du cours : un pas de discriminateur, un pas de générateur, et recommencer."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_course.engine.checkpoint import check_destination, load_checkpoint, save_checkpoint
from gan_course.engine.checks import TrainingSet, check_fake, check_recipe_fits, check_same_run, describe_run
from gan_course.engine.device import choose_compute
from gan_course.engine.progress import Clock, History, Progress
from gan_course.engine.randomness import deferred_interrupt, step_randomness
from gan_course.gan import Gan
from gan_course.penalties import PENALTIES, clip_weights
from gan_course.recipe import Recipe

__all__ = ["Gan", "History", "Progress", "Recipe", "TrainingDiverged", "discriminator_step", "generator_step", "train"]


class TrainingDiverged(RuntimeError):
    """Les pertes ou les poids ne sont plus des nombres finis."""


def discriminator_step(
    gan: Gan, real: Tensor, fake: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Un pas de descente de D : les faux détachés de G, les deux scores, la perte, la pénalité.

    Rend (perte, moyenne de D(x), moyenne de D(G(z))), détachées.
    """
    check_fake(fake, real)
    recipe, fake = gan.recipe, fake.detach()
    real_logits, fake_logits = gan.score(real, labels), gan.score(fake, labels)
    loss = gan.loss.discriminator(real_logits, fake_logits, recipe.real_label)
    if recipe.penalty and gan.critic_steps_done % recipe.penalty_every == 0:
        penalty = PENALTIES[recipe.penalty](gan.discriminator, real, fake, labels)
        loss = loss + recipe.penalty_weight * recipe.penalty_every * penalty
        gan.last_penalty = penalty.detach()
    gan.descend(loss, gan.d_optimizer)
    if recipe.clip is not None:
        clip_weights(gan.discriminator, recipe.clip)
    gan.critic_steps_done += 1
    return loss.detach(), real_logits.detach().mean(), fake_logits.detach().mean()


def generator_step(
    gan: Gan, real: Tensor, fake: Tensor, labels: Tensor | None = None, extra: Tensor | float = 0.0
) -> Tensor:
    """Un pas de descente de G : le score de ses faux, la perte, plus `extra`. Rend la perte, détachée.

    `fake` porte le graphe de G, et `extra` aussi (la reconstruction d'un autoencodeur). Seules les pertes
    relativistes lisent `real`.
    """
    fake_logits = gan.score(fake, labels)
    with torch.no_grad():
        real_logits = gan.score(real, labels) if gan.loss.uses_real else None
    loss = gan.loss.generator(fake_logits, real_logits) + extra
    gan.descend(loss, gan.g_optimizer)
    return loss.detach()


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

    generator, discriminator  modules du cours ou les vôtres : G(z) ou G(z, y) → images, avec `latent_dim` (et
                              `num_classes` s'il est conditionnel) ; D(x) ou D(x, y) → logits (B,)
    images                    ImageSet ou PointSet : tout objet avec batch(step, batch_size, seed) et len()
    steps                     nombre total de pas de G, ceux d'avant une reprise compris
    checkpoint                fichier écrit toutes les `checkpoint_every` secondes, à la fin et à l'interruption ;
                              s'il existe, l'entraînement reprend où il en était. Sur CPU, N + N pas donnent au bit
                              près les poids de 2N pas.
    seed                      graine des lots et du hasard de la boucle ; le hasard du notebook n'est ni lu ni modifié
    device, precision         voir gan_course.engine.device.choose_compute

    Sous torchrun, chaque processus traite sa part du lot et les gradients sont moyennés.

    Lève ValueError si recette, réseaux et images ne vont pas ensemble, TypeError si l'un n'est pas ce qu'il doit
    être ; CheckpointError si le fichier est illisible, impossible à écrire ou d'un autre entraînement ;
    TrainingDiverged si une perte n'est plus un nombre.
    """
    compute = choose_compute(device, precision)
    check_recipe_fits(generator, discriminator, images, recipe, steps, compute.world_size, seed)
    gan, steps, seed = Gan(generator, discriminator, recipe, compute), int(steps), int(seed)
    return Run(gan, images, steps, checkpoint, seed, checkpoint_every).loop()


class Run:
    """Un entraînement en cours : où il en est, et comment l'enregistrer. Tout le reste est dans Gan."""

    def __init__(
        self,
        gan: Gan,
        images: TrainingSet,
        steps: int,
        checkpoint: str | Path | None,
        seed: int,
        checkpoint_every: float,
    ) -> None:
        self.gan, self.images, self.steps, self.seed = gan, gan.compute.hold(images), steps, seed
        self.path = None if checkpoint is None else check_destination(checkpoint)
        self.checkpoint_every = checkpoint_every
        self.identity = describe_run(gan.generator, gan.discriminator, gan.recipe, images, seed, gan.compute.world_size)
        self.step, self.seconds, self.saved_step = 0, 0.0, 0
        self.history = History(device=gan.compute.device)
        if self.path is not None and self.path.exists():
            self.restore(load_checkpoint(self.path))

    def restore(self, state: dict) -> None:
        """Remet l'entraînement dans l'état enregistré, après avoir vérifié que c'est bien le même."""
        check_same_run(self.path, state, self.identity)
        for name, part in self.gan.parts().items():
            part.load_state_dict(state[name])
        self.step, self.seconds, self.saved_step = state["step"], state["seconds"], state["step"]
        self.history = History(state["history"], self.gan.compute.device)
        self.gan.critic_steps_done = self.step * self.gan.recipe.critic_steps
        self.gan.last_penalty = self.history.rows[-1, -1].clone()

    def save(self) -> None:
        """Enregistre tout, si le pas courant ne l'est pas déjà et si les poids sont des nombres finis."""
        if self.path is None or self.step == self.saved_step:
            return
        self.check_finite(weights=True)
        if self.gan.compute.rank == 0:
            parts = {name: part.state_dict() for name, part in self.gan.parts().items()}
            facts = {"step": self.step, "seconds": self.seconds, "history": self.history.rows.cpu().clone()}
            save_checkpoint(self.path, {**self.identity, **parts, **facts})
        self.saved_step = self.step

    def check_finite(self, weights: bool = False) -> None:
        """Lève TrainingDiverged si la dernière mesure, ou un poids, n'est plus un nombre fini."""
        tensors = [self.history.rows[-1]]
        if weights:
            tensors += [*self.gan.generator.parameters(), *self.gan.discriminator.parameters()]
        # Un nombre qui n'est pas fini rend la somme infinie ou indéfinie : une opération par tenseur.
        if all(math.isfinite(tensor.detach().double().sum()) for tensor in tensors):
            return
        row = self.history.rows[-1].tolist()
        kept = "Aucun point de reprise n'a été demandé."
        if self.path is not None:
            kept = f"Le point de reprise {self.path} garde le pas {self.saved_step}, encore sain."
            if not self.path.exists():
                kept = "Rien n'avait encore été enregistré."
        raise TrainingDiverged(
            f"Au pas {self.step}, les calculs ne donnent plus des nombres finis (perte de D : {row[0]:.4g}, perte de "
            f"G : {row[1]:.4g}). {kept} Réduisez g_lr et d_lr, ou ajoutez une pénalité (penalty=\"r1\")."
        )

    def advance(self) -> None:
        """Un pas complet : `critic_steps` pas de D, chacun sur son lot, puis un pas de G.

        Les faux du dernier pas de D servent aussi à G, que D a jugés avant sa mise à jour et rejuge après : un
        passage de G épargné sur deux.
        """
        gan, compute = self.gan, self.gan.compute
        recipe = gan.recipe
        for k in range(recipe.critic_steps):
            index = (self.step * recipe.critic_steps + k) * compute.world_size + compute.rank
            images, labels = self.images.batch(index, recipe.batch_size // compute.world_size, self.seed)
            images = compute.send(images)
            labels = labels.to(compute.device) if getattr(gan.generator, "num_classes", 0) else None
            with torch.set_grad_enabled(k == recipe.critic_steps - 1):
                real, fake, extra = gan.opponents(images, labels)
            d_loss, d_real, d_fake = discriminator_step(gan, real, fake, labels)
        g_loss = generator_step(gan, real, fake, labels, extra)
        self.step += 1
        gan.update_ema(self.images_seen)
        self.history.append(torch.stack([d_loss, g_loss, d_real, d_fake, gan.last_penalty]))

    @property
    def images_seen(self) -> int:
        return self.step * self.gan.recipe.critic_steps * self.gan.recipe.batch_size

    def loop(self) -> Iterator[Progress]:
        """Avance, vérifie, enregistre quand il est temps, et rend la main à chaque pas."""
        # Lire une mesure sur GPU attend la fin de ses calculs : on ne le fait pas à chaque pas.
        compute = self.gan.compute
        check_every = 1 if compute.device.type == "cpu" else 50
        clock = Clock(self.seconds, self.images_seen)
        if self.step >= self.steps:
            yield self.progress(clock)
        try:
            while self.step < self.steps:
                with deferred_interrupt():
                    with step_randomness(self.seed, self.step, compute.rank, compute.device):
                        self.advance()
                    self.seconds = clock.tick(self.images_seen)
                    if self.step % check_every == 0:
                        self.check_finite()
                    if clock.since_save() >= self.checkpoint_every:
                        self.save()
                        clock.saved()
                yield self.progress(clock)
            self.save()
        except (KeyboardInterrupt, GeneratorExit) as stop:
            self.save()
            if isinstance(stop, KeyboardInterrupt):
                kept = f"tout est dans {self.path}" if self.path else "rien n'est enregistré (checkpoint=None)"
                print(f"Interrompu au pas {self.step} sur {self.steps} ; {kept}.", file=sys.stderr)
            raise

    def progress(self, clock: Clock) -> Progress:
        gan = self.gan
        return Progress(
            self.step,
            self.steps,
            self.images_seen,
            self.seconds,
            clock.rate,
            gan.generator,
            gan.discriminator,
            gan.ema,
            gan.recipe,
            gan.compute.device,
            self.history,
            self.history.rows[-1],
        )
