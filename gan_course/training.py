"""L'algorithme de tous les GAN du cours : un pas de D, un pas de G, et recommencer.

    for progress in train(G, D, images, Recipe(), steps=2_000, checkpoint="runs/gan.pt"):
        if progress.step % 100 == 0:
            print(progress)
"""

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from numbers import Real
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_course.augmentation import find_augmentation
from gan_course.averaging import redo_statistics
from gan_course.engine.checks import TrainingSet, check_recipe_fits, end_if_never_started, rehearse
from gan_course.engine.device import Compute, average_gradients, broadcast_weights, choose_compute
from gan_course.engine.interruption import TrainingInterrupted
from gan_course.engine.progress import History, Progress
from gan_course.engine.run import Run, TrainingDiverged
from gan_course.engine.shapes import Network
from gan_course.losses import find_loss
from gan_course.penalties import PENALTIES, clip_weights
from gan_course.recipe import Recipe

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
    if gan.augment:
        real, fake = gan.augment(real), gan.augment(fake)
    with gan.autocast:
        real_logits, fake_logits = gan.D(real, labels).float(), gan.D(fake, labels).float()
    loss = gan.loss.discriminator(real_logits, fake_logits, recipe.real_label)
    if gan.penalty and gan.critic_steps_done % recipe.penalty_every == 0:
        with gan.penalty_autocast:
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
    if gan.augment:
        real, fake = gan.augment(real) if gan.loss.uses_real else None, gan.augment(fake)
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

    generator, discriminator  les modules ; `ema` est la moyenne du premier, que l'on lit par ready_ema()
    G, D                      les mêmes, tels qu'on les appelle : G(z, y) et D(x, y), y valant None sans classes
    g_optimizer, d_optimizer  un par réseau
    loss, penalty, augment    les fonctions que nomme la recette (`penalty` : None s'il n'y en a pas)
    compute                   où et en quelle précision (engine.device) ; défaut : choose_compute()
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, recipe: Recipe, compute: Compute | None = None
    ) -> None:
        compute = choose_compute() if compute is None else compute
        self.recipe, self.compute, self.autocast = recipe, compute, compute.autocast()
        # Le carré d'une norme déborde en fp16, non en bf16 : la pénalité y va bien plus vite.
        self.penalty_autocast = nullcontext() if compute.dtype == torch.float16 else self.autocast
        self.loss, self.penalty = find_loss(recipe.loss), PENALTIES.get(recipe.penalty, recipe.penalty)
        self.augment = find_augmentation(recipe.augment)
        self.generator = compute.place(generator).train()
        self.discriminator = compute.place(discriminator).train()
        self.conditional = bool(getattr(generator, "num_classes", 0))
        self.G, self.D = (takes_labels(net, self.conditional) for net in (self.generator, self.discriminator))
        broadcast_weights([self.generator, self.discriminator], compute.world_size)
        self.ema, self.ema_ready = copy.deepcopy(self.generator).eval().requires_grad_(False), False
        self.g_optimizer = make_optimizer(self.generator, recipe, at(recipe.g_lr, 0))
        self.d_optimizer = make_optimizer(self.discriminator, recipe, at(recipe.d_lr, 0))
        self.scaler, self.seeders = compute.grad_scaler(), compute.seeders()
        # Parcourir un module pour en trouver les poids est lent : une fois suffit.
        self.g_weights, self.ema_weights = list(self.generator.parameters()), list(self.ema.parameters())
        self.buffers = list(zip(self.ema.buffers(), self.generator.buffers(), strict=True))
        scheduled = (recipe.g_lr, recipe.d_lr, recipe.betas[1], recipe.penalty_weight)
        self.scheduled = any(map(callable, scheduled))
        self.penalty_weight = at(recipe.penalty_weight, 0)
        self.real_and_fake = getattr(generator, "real_and_fake", None)  # un autoencodeur a son propre jeu (models.aae)
        self.critic_steps_done = 0
        self.last_penalty = torch.zeros((), device=compute.device)

    def advance(self, images: TrainingSet, step: int, seed: int) -> Tensor:
        """Le pas `step` en entier : `critic_steps` pas de D, chacun sur son lot, puis un pas de G.

        Les faux du dernier pas de D servent aussi à G, que D a jugés avant sa mise à jour et rejuge après : un
        passage de G épargné sur deux. Rend les mesures du pas, (5,), dans l'ordre de progress.FIELDS.
        """
        recipe, compute = self.recipe, self.compute
        seen_per_step = recipe.critic_steps * recipe.batch_size
        if self.scheduled:
            self.follow_schedules(step * seen_per_step)
        share, extra = recipe.batch_size // compute.world_size, 0.0
        for k in range(recipe.critic_steps):
            number = step * recipe.critic_steps + k
            # Le hasard d'un lot ne dépend que de (seed, number, rang) : dessiner entre deux pas ne change rien à la
            # suite, et un point de reprise contient tout le hasard dès qu'il contient seed et step.
            start = seed * 1_000_003 + number * 4_099
            for sow in self.seeders:
                sow((start + compute.rank) % 2**32)
            index = number * compute.world_size + compute.rank
            real, labels = images.batch(index, share, seed)
            real = real.to(compute.device, non_blocking=True)
            if real.dim() == 4:
                real = real.contiguous(memory_format=compute.memory_format)
            labels = labels.to(compute.device) if self.conditional else None
            with self.autocast, torch.set_grad_enabled(k == recipe.critic_steps - 1):
                if self.real_and_fake:
                    real, fake, extra = self.real_and_fake(real, labels, recipe)
                elif compute.rank:
                    fake = self.G(self.share_of_z(start, share), labels)
                else:
                    z = torch.randn(recipe.batch_size, self.generator.latent_dim, device=compute.device)
                    fake = self.G(z[:share], labels)
            d_loss, d_real, d_fake = discriminator_step(self, real, fake, labels)
        g_loss = generator_step(self, real, fake, labels, extra)
        self.update_ema((step + 1) * seen_per_step)
        return torch.stack([d_loss, g_loss, d_real, d_fake, self.last_penalty])

    def share_of_z(self, start: int, share: int) -> Tensor:
        """Le z (share, latent_dim) d'un processus autre que le premier : sa part de celui qu'un seul tirerait.

        Le reste du hasard (bruit, ε de la pénalité) diffère ensuite d'un processus à l'autre.
        """
        rank = self.compute.rank
        for sow in self.seeders:
            sow(start % 2**32)
        z = torch.randn(self.recipe.batch_size, self.generator.latent_dim, device=self.compute.device)
        for sow in self.seeders:
            sow((start + rank) % 2**32)
        return z[rank * share : (rank + 1) * share]

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
        """Moyenne exponentielle des paramètres de G ; les tampons sont copiés, en attendant ready_ema()."""
        recipe = self.recipe
        halflife = recipe.ema_halflife(images_seen) if callable(recipe.ema_halflife) else recipe.ema_halflife
        halflife = min(halflife, images_seen * recipe.ema_rampup)
        decay = 0.5 ** (recipe.critic_steps * recipe.batch_size / halflife) if halflife > 0 else 0.0
        torch._foreach_lerp_(self.ema_weights, self.g_weights, 1 - decay)
        for average, buffer in self.buffers:
            average.copy_(buffer)
        self.ema_ready = False

    def ready_ema(self) -> nn.Module:
        """La moyenne, prête à servir : ses statistiques de BatchNorm sont refaites si ses poids ont changé."""
        if not self.ema_ready:
            # Un générateur gelé, celui d'un inverseur, garde les siennes.
            learnt = [layer for layer, source in zip(self.ema.modules(), self.generator.modules()) if source.training]
            redo_statistics(self.ema, batches=8, layers=learnt)
            self.ema_ready = True
        return self.ema

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
