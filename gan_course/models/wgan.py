"""WGAN (Arjovsky et al., 2017) : le discriminateur devient un critique, qui note au lieu de classer.

Le critique n'a pas de BatchNorm, qui mêlerait les images d'un lot alors que la pénalité de WGAN-GP se calcule image par
image. Pour générer selon une classe, et pour la normalisation spectrale : `sngan`.
"""

from torch import Tensor, nn

from gan_course.engine.shapes import Network, check_settings
from gan_course.models.dcgan import SIZES, doublings
from gan_course.recipe import Recipe

# Gulrajani et al., 2017, algorithme 1 et § 4 ; le pas d'apprentissage est doublé : vingt minutes, et non deux jours.
RECIPE = Recipe(
    loss="wasserstein",
    batch_size=64,
    critic_steps=5,
    penalty="gp",
    penalty_weight=10.0,
    g_lr=2e-4,
    d_lr=2e-4,
    betas=(0.0, 0.9),
    ema_halflife=50_000,  # cinq lots vus par pas de G : la demi-vie dure autant de pas qu'ailleurs
)


class Generator(Network):
    """G(z) : (B, latent_dim) → (B, C, H, W) dans [-1, 1]. Chaque étage : convolution, agrandissement, BatchNorm, ReLU.

    `width` : nombre de cartes avant la dernière convolution ; il double à chaque étage vers l'entrée.
    Lève ValueError si un réglage ou z ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (3, 32, 32), latent_dim: int = 128, width: int = 64
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(image_shape, SIZES, latent_dim=latent_dim, width=width)
        self.latent_dim, self.input_shape = latent_dim, (latent_dim,)
        self.base, count = doublings(image_shape[1])
        channels = width * 2 ** (count - 1)
        self.project = nn.Linear(latent_dim, channels * self.base**2)
        layers = [nn.BatchNorm2d(channels), nn.ReLU()]
        for stage in range(count):
            outputs = channels // 2 if stage < count - 1 else width
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.Upsample(scale_factor=2)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, image_shape[0], 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(self.project(z).unflatten(1, (-1, self.base, self.base)))


class Discriminator(Network):
    """Le critique f(x) : (B, C, H, W) → scores (B,), sans sigmoïde, sans BatchNorm et sans Dropout.

    Lève ValueError si un réglage ou x ne convient pas.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (3, 32, 32), width: int = 64) -> None:
        super().__init__()
        self.image_shape = self.input_shape = check_settings(image_shape, SIZES, width=width)
        base, count = doublings(image_shape[1])
        layers, inputs = [], image_shape[0]
        for stage in range(count):
            outputs = width * 2**stage
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * base**2, 1))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)
