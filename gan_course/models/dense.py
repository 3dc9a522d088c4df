"""Le GAN dense du premier chapitre : des couches denses, aucune notion de voisinage entre pixels.

G : 100 → 512 → 256 → 128 → pixels, LeakyReLU 0,2 et BatchNorm ; D : pixels → 256 → 128 → 64 → 1, LeakyReLU 0,2 et
Dropout 0,5. C'est le modèle de Goodfellow et al. (2014, § 5), dans la variante la plus répandue en cours.
"""

from math import prod

from torch import Tensor, nn

from gan_course.engine.shapes import check_images, check_labels, check_latent
from gan_course.recipe import Recipe

RECIPE = Recipe(loss="non_saturating", batch_size=100, g_lr=2e-4, d_lr=2e-4, betas=(0.5, 0.999), real_label=0.9)


class Generator(nn.Module):
    """G(z) : (B, latent_dim) → (B, C, H, W) dans [-1, 1], pour toute taille d'image.

    `width` est la taille de la plus grande couche cachée (512) ; les suivantes la divisent par 2 et par 4.
    Lève ValueError si z n'est pas de forme (B, latent_dim).
    """

    num_classes = 0

    def __init__(
        self, image_shape: tuple[int, ...] = (1, 28, 28), latent_dim: int = 100, width: int = 512
    ) -> None:
        super().__init__()
        self.image_shape, self.latent_dim = tuple(image_shape), latent_dim
        layers, size = [], latent_dim
        for hidden in (width, width // 2, width // 4):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.BatchNorm1d(hidden)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, prod(self.image_shape)), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_latent(z, self.latent_dim)
        check_labels(y, 0, len(z))
        return self.layers(z).unflatten(1, self.image_shape)


class Discriminator(nn.Module):
    """D(x) : (B, C, H, W) → logits (B,). Dropout affaiblit D, qui sinon l'emporte vite sur un G dense.

    `width` est la taille de la première couche (256). Lève ValueError si x n'est pas de la forme attendue.
    """

    num_classes = 0

    def __init__(
        self, image_shape: tuple[int, ...] = (1, 28, 28), width: int = 256, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        layers, size = [nn.Flatten()], prod(self.image_shape)
        for hidden in (width, width // 2, width // 4):
            layers += [nn.Linear(size, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
            size = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(size, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_images(x, self.image_shape)
        check_labels(y, 0, len(x))
        return self.layers(x).squeeze(1)
