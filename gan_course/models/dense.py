"""Le GAN dense du premier chapitre : des couches denses, aucune notion de voisinage entre pixels.

G : 100 → 512 → 256 → 128 → pixels, LeakyReLU 0,2 et BatchNorm ; D : pixels → 256 → 128 → 64 → 1, LeakyReLU 0,2 et
Dropout 0,5. C'est le modèle de Goodfellow et al. (2014, § 5), dans la variante la plus répandue en cours.
"""

from math import prod

from torch import Tensor, nn

from gan_course.engine.shapes import Network, check_settings
from gan_course.recipe import Recipe

RECIPE = Recipe(loss="non_saturating", batch_size=100, g_lr=2e-4, d_lr=2e-4, betas=(0.5, 0.999), real_label=0.9)


class Generator(Network):
    """G(z) : (B, latent_dim) → (B, C, H, W) dans [-1, 1], pour toute taille d'image.

    `width` est la taille de la plus grande couche cachée (512) ; les suivantes la divisent par 2 et par 4.
    Lève ValueError si un réglage ou z ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, ...] = (1, 28, 28), latent_dim: int = 100, width: int = 512
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(image_shape, latent_dim=latent_dim, width=width, least_width=4)
        self.latent_dim, self.input_shape = latent_dim, (latent_dim,)
        layers, size = [], latent_dim
        for hidden in (width, width // 2, width // 4):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.BatchNorm1d(hidden)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, prod(self.image_shape)), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(z).unflatten(1, self.image_shape)


class Discriminator(Network):
    """D(x) : (B, C, H, W) → logits (B,). Dropout affaiblit D, qui sinon l'emporte vite sur un G dense.

    `width` est la taille de la première couche (256). Lève ValueError si un réglage ou x ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, ...] = (1, 28, 28), width: int = 256, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(image_shape, width=width, least_width=4, dropout=dropout)
        self.input_shape = self.image_shape
        layers, size = [nn.Flatten()], prod(self.image_shape)
        for hidden in (width, width // 2, width // 4):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)
