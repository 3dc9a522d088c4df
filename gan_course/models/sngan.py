"""SNGAN conditionnel (Miyato et al. ; Miyato et Koyama, 2018) : la pente de D bornée par ses poids, sans pénalité.

Blocs résiduels ; dans D, chaque matrice de poids (un noyau, mis à plat) est divisée par sa plus grande valeur
singulière, et le score ajoute le produit scalaire ⟨e(y), h(x)⟩ ; dans G, la classe règle l'échelle et le décalage de
chaque BatchNorm.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_course.engine.shapes import Network, check_settings
from gan_course.models import residual
from gan_course.models.dcgan import SIZES, doublings
from gan_course.recipe import Recipe

# Perte charnière, lot de 64, Adam (2e-4 ; 0 ; 0,9) : réglages du code des auteurs pour CIFAR-10 (sngan_projection,
# configs/sn_cifar10.yml), qui fait cinq pas de D pour un de G. Nous en faisons deux : deux cœurs, vingt minutes.
RECIPE = Recipe(
    loss="hinge", batch_size=64, critic_steps=2, g_lr=2e-4, d_lr=2e-4, betas=(0.0, 0.9), ema_halflife=20_000
)


class Generator(residual.Generator):
    """G(z, y) résiduel : (B, latent_dim) et (B,) → (B, C, H, W). Sans étiquettes si num_classes vaut 0.

    `width` cartes à tous les étages. Lève ValueError si un réglage, z ou y ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        latent_dim: int = 128,
        width: int = 64,
    ) -> None:
        super().__init__(image_shape, num_classes, latent_dim, width, widest=1)


class Discriminator(Network):
    """D(x, y) résiduel, à normalisation spectrale : logits (B,) = ψ(h) + ⟨e(y), h⟩.

    Sa pente est bornée, mais pas par 1 : un noyau normalisé à plat peut encore étirer une image, un bloc résiduel va
    jusqu'à 2, et h est une somme sur les pixels (chapitre 04, partie 7).

    Sans étiquettes si num_classes vaut 0. Lève ValueError si un réglage, x ou y ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10, width: int = 64
    ) -> None:
        super().__init__()
        self.image_shape = self.input_shape = check_settings(
            image_shape, SIZES, num_classes=num_classes, width=width
        )
        self.num_classes = num_classes
        _, count = doublings(image_shape[1])
        first = DiscriminatorBlock(image_shape[0], width, first=True)
        self.blocks = nn.ModuleList([first, *(DiscriminatorBlock(width, width) for _ in range(count - 1))])
        self.score = spectral_norm(nn.Linear(width, 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes, width)) if num_classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x)
        h = torch.relu(x).sum((2, 3))
        logits = self.score(h).squeeze(1)
        return logits if self.embedding is None else logits + (self.embedding(y) * h).sum(1)


class DiscriminatorBlock(nn.Module):
    """[ReLU, conv, ReLU, conv, moyenne 2×2], plus un raccourci ; le premier bloc lit les pixels sans ReLU."""

    def __init__(self, inputs: int, outputs: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.convolutions = nn.ModuleList(
            [spectral_norm(nn.Conv2d(c, outputs, 3, padding=1)) for c in (inputs, outputs)]
        )
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1))
        self.reduce = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolutions[0](x if self.first else torch.relu(x))
        h = self.convolutions[1](torch.relu(h))
        return self.reduce(h) + self.shortcut(self.reduce(x))
