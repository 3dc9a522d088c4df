"""Générateur résiduel (Gulrajani et al., 2017 ; Miyato et al., 2018) : chaque bloc ajoute sa part à ce qu'il reçoit.

La pente traverse un raccourci sans être multipliée par aucune couche : un G profond apprend aussi vite qu'un court.
D est celui de DCGAN sans BatchNorm, sous R1 + R2 : ce que dix ans ont changé à la recette de 2016 (chapitre 02).
"""

import torch
from torch import Tensor, nn

from gan_course.engine.numbers import check_positive
from gan_course.engine.shapes import Network, check_settings
from gan_course.models import dcgan
from gan_course.models.dcgan import SIZES, doublings
from gan_course.recipe import Recipe

# Visages à 64 px, deux cœurs : voir bench/recettes.csv. R1 + R2 tous les 8 pas : la pénalité coûte deux passages de D.
RECIPE = Recipe(
    loss="non_saturating",
    batch_size=32,
    g_lr=5e-4,
    d_lr=5e-4,
    betas=(0.0, 0.99),
    penalty="r1+r2",
    penalty_weight=1.0,
    penalty_every=8,
    ema_halflife=20_000,
    ema_rampup=0.1,
)


class ClassBatchNorm(nn.Module):
    """BatchNorm ; s'il y a des classes, son échelle et son décalage dépendent de y (Dumoulin et al., 2017)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not num_classes)
        self.affine = nn.Embedding(num_classes, 2 * channels) if num_classes else None
        if num_classes:
            with torch.no_grad():
                self.affine.weight.copy_(torch.cat([torch.ones(channels), torch.zeros(channels)]))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        if self.affine is None:
            return self.norm(x)
        scale, shift = self.affine(y)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * scale + shift


class GeneratorBlock(nn.Module):
    """[norme, ReLU, convolution, agrandir, norme, ReLU, convolution], plus un raccourci qui agrandit.

    Agrandir après avoir convolué : quatre fois moins de calculs pour la première convolution.
    """

    def __init__(self, inputs: int, outputs: int, num_classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ClassBatchNorm(c, num_classes) for c in (inputs, outputs)])
        self.convolutions = nn.ModuleList([nn.Conv2d(c, outputs, 3, padding=1) for c in (inputs, outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.enlarge = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = self.enlarge(self.convolutions[0](torch.relu(self.norms[0](x, y))))
        h = self.convolutions[1](torch.relu(self.norms[1](h, y)))
        return h + self.enlarge(self.shortcut(x))


class Generator(Network):
    """G(z, y) : (B, latent_dim) et (B,) → (B, C, H, W) dans [-1, 1]. Sans étiquettes si num_classes vaut 0.

    `width` cartes à pleine résolution, doublées à chaque étage vers l'entrée, `widest` × width au plus.
    Lève ValueError si un réglage, z ou y ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        num_classes: int = 0,
        latent_dim: int = 64,
        width: int = 32,
        widest: int = 4,
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(
            image_shape, SIZES, latent_dim=latent_dim, num_classes=num_classes, width=width
        )
        check_positive("widest", widest)
        self.num_classes, self.latent_dim, self.input_shape = num_classes, latent_dim, (latent_dim,)
        self.base, count = doublings(image_shape[1])
        channels = [min(widest, 2 ** max(0, count - 1 - stage)) * width for stage in range(count + 1)]
        self.project = nn.Linear(latent_dim, channels[0] * self.base**2)
        self.blocks = nn.ModuleList([GeneratorBlock(a, b, num_classes) for a, b in zip(channels, channels[1:])])
        final = nn.Conv2d(width, image_shape[0], 3, padding=1)
        self.to_image = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), final, nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.project(z).unflatten(1, (-1, self.base, self.base))
        for block in self.blocks:
            h = block(h, y)
        return self.to_image(h)


class Discriminator(dcgan.Discriminator):
    """Le critique D(x) : (B, C, H, W) → logits (B,) : celui de DCGAN, sans BatchNorm, que R1 + R2 remplace.

    Lève ValueError si un réglage ou x ne convient pas.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (3, 64, 64), width: int = 32) -> None:
        super().__init__(image_shape, width, batch_norm=False)
