"""Ce qui s'entraîne : deux réseaux, leurs optimiseurs, la moyenne des poids de G, et ce que D doit distinguer."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gan_course.engine.device import Compute, average_gradients, broadcast_weights
from gan_course.losses import LOSSES
from gan_course.penalties import check_scores
from gan_course.recipe import Recipe


class Gan:
    """Un GAN en cours d'entraînement : deux réseaux, leurs optimiseurs, et la moyenne des poids de G."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, recipe: Recipe, compute: Compute) -> None:
        self.recipe, self.compute, self.loss = recipe, compute, LOSSES[recipe.loss]
        self.generator = compute.place(generator).train()
        self.discriminator = compute.place(discriminator).train()
        broadcast_weights([self.generator, self.discriminator], compute.world_size)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.g_optimizer = make_optimizer(self.generator, recipe, recipe.g_lr)
        self.d_optimizer = make_optimizer(self.discriminator, recipe, recipe.d_lr)
        self.scaler = compute.grad_scaler()
        # Parcourir un module pour en trouver les poids est lent : une fois suffit.
        self.g_weights, self.ema_weights = list(self.generator.parameters()), list(self.ema.parameters())
        self.buffers = list(zip(self.ema.buffers(), self.generator.buffers(), strict=True))
        self.critic_steps_done = 0
        self.last_penalty = torch.zeros((), device=compute.device)

    def generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """G(z) ou G(z, y)."""
        return self.generator(z) if labels is None else self.generator(z, labels)

    def fake(self, count: int, labels: Tensor | None) -> Tensor:
        """Les images de `count` bruits z ~ N(0, I) neufs."""
        z = torch.randn(count, self.generator.latent_dim, device=self.compute.device)
        with self.compute.autocast():
            return self.generate(z, labels)

    def opponents(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor | float]:
        """Ce que D doit distinguer, le vrai puis le faux, et ce que G minimise en plus de tromper D.

        Un GAN oppose les images x à G(z). Un autoencodeur adverse oppose z ~ N(0, I) aux codes E(x), et reconstruit :
        G(E(x)) ≈ x et, si la recette le demande, E(G(z)) ≈ z.
        """
        recipe = self.recipe
        if not recipe.reconstruction:
            return images, self.fake(len(images), labels), 0.0
        with self.compute.autocast():
            codes = self.generator.encode(images)
            decoded = self.generate(codes, labels)
        codes, z = codes.float(), torch.randn(codes.shape, device=codes.device)
        extra = recipe.reconstruction * mse_loss(decoded.float(), images)
        if recipe.cycle:
            with self.compute.autocast():
                again = self.generator.encode(self.generate(z, labels))
            extra = extra + recipe.cycle * mse_loss(again.float(), z)
        return z, codes, extra

    def score(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (B,) du discriminateur, en float32."""
        with self.compute.autocast():
            logits = self.discriminator(images) if labels is None else self.discriminator(images, labels)
        check_scores(logits, len(images))
        return logits.float()

    def descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Un pas d'optimiseur sur ses seuls paramètres : ceux de l'autre réseau ne reçoivent aucun gradient."""
        (group,) = optimizer.param_groups
        parameters = group["params"]
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward(inputs=parameters)
        average_gradients(parameters, self.compute.world_size)
        self.scaler.step(optimizer)
        self.scaler.update()

    @torch.no_grad()
    def update_ema(self, images_seen: int) -> None:
        """Moyenne exponentielle des paramètres de G ; les tampons (statistiques de BatchNorm) sont copiés."""
        halflife = min(self.recipe.ema_halflife, images_seen * self.recipe.ema_rampup)
        decay = 0.5 ** (self.recipe.batch_size / halflife) if halflife > 0 else 0.0
        torch._foreach_lerp_(self.ema_weights, self.g_weights, 1 - decay)
        for average, buffer in self.buffers:
            average.copy_(buffer)

    def parts(self) -> dict:
        """Tout ce qui a un état, par nom."""
        names = ("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "scaler")
        return {name: getattr(self, name) for name in names}


def make_optimizer(module: nn.Module, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """L'optimiseur de la recette, sur les paramètres entraînables du module."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, alpha=recipe.betas[1])
    # fused : une seule passe sur les poids au lieu d'une par opération d'Adam.
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=lr, betas=recipe.betas, fused=fused)
