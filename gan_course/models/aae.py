"""Autoencodeur adverse (Makhzani et al., 2016) : un encodeur E, un décodeur G, et un D qui juge les codes.

Le jeu du GAN, déplacé des images aux codes : D distingue des tirages z ~ N(0, I) des codes E(x), et E apprend à le
tromper, pendant que E et G apprennent ensemble à reconstruire, G(E(x)) ≈ x. Si les codes étaient gaussiens et la
reconstruction exacte, G(z) suivrait la loi des images. Un encodeur sans hasard, devant des images qui dépendent de peu
de nombres, ne remplit pas la gaussienne (chapitre 07).
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from gan_course.engine.shapes import Network, call, check_settings
from gan_course.models import dcgan
from gan_course.models.dcgan import SIZES, doublings
from gan_course.recipe import Recipe

RECIPE = Recipe(
    loss="non_saturating", batch_size=64, g_lr=1e-3, d_lr=1e-3, betas=(0.5, 0.999), reconstruction=20.0
)
INVERSION_RECIPE = replace(RECIPE, cycle=1.0)


class Encoder(Network):
    """E(x) : (B, C, H, W) → codes (B, latent_dim), déterministes. Convolutions à pas 2, BatchNorm, LeakyReLU.

    Lève ValueError si un réglage ou x ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (3, 32, 32), latent_dim: int = 32, width: int = 32
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(image_shape, SIZES, latent_dim=latent_dim, width=width)
        self.latent_dim, self.input_shape = latent_dim, self.image_shape
        base, count = doublings(image_shape[1])
        layers, inputs = [], image_shape[0]
        for i in range(count):
            outputs = width * 2**i
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * base**2, latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def real_and_fake(
    autoencoder: nn.Module, x: Tensor, y: Tensor | None, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor]:
    """Ce que D doit distinguer, le vrai puis le faux, et ce que (E, G) minimise en plus de le tromper.

    Un GAN oppose les images x à G(z). Ici, z ~ N(0, I) s'oppose aux codes E(x) ; et l'on reconstruit : G(E(x)) ≈ x,
    facteur `recipe.reconstruction`, et, si `recipe.cycle` le demande, E(G(z)) ≈ z. Rend (z, codes, erreur) : deux
    (B, latent_dim), et un scalaire qui porte le graphe.
    """
    codes = autoencoder.encode(x)
    error = recipe.reconstruction * mse_loss(autoencoder(codes, y).float(), x)
    codes = codes.float()
    z = torch.randn(codes.shape, device=codes.device)
    if recipe.cycle:
        error = error + recipe.cycle * mse_loss(autoencoder.encode(autoencoder(z, y)).float(), z)
    return z, codes, error


class Generator(Network):
    """L'autoencodeur entier : `encode(x)` rend les codes, et G(z) ou G(z, y) décode vers (B, C, H, W) dans [-1, 1].

    Avec num_classes > 0, il est supervisé : le décodeur et D reçoivent la classe. Pour que les codes soient gaussiens
    dans chaque classe, z ne doit plus rien en dire : il lui reste le style (Makhzani et al., 2016, § 4).

    Lève ValueError si un réglage, x, z ou y ne convient pas.
    """

    real_and_fake = real_and_fake  # la boucle y reconnaît un autoencodeur

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 0,
        latent_dim: int = 32,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(
            image_shape, SIZES, latent_dim=latent_dim, num_classes=num_classes, width=width
        )
        self.num_classes, self.latent_dim, self.input_shape = num_classes, latent_dim, (latent_dim,)
        self.encode = Encoder(image_shape, latent_dim, width)
        self.decoder = dcgan.Generator(image_shape, latent_dim + num_classes, width)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.decoder(with_classes(z, y, self.num_classes))


class Inverter(Network):
    """Un encodeur appris pour un générateur déjà entraîné : l'autoencodeur adverse dont le décodeur est gelé.

    Avec INVERSION_RECIPE, la même boucle lui apprend G(E(x)) ≈ x et E(G(z)) ≈ z, et D garde ses codes gaussiens.
    `encode(x)` rend les codes ; `inverter(z)`, les images de `generator`, dont les poids et les statistiques ne bougent
    pas. Lève ValueError si les images de `generator` n'ont pas un côté que l'encodeur connaît.
    """

    real_and_fake = real_and_fake

    def __init__(self, generator: nn.Module, width: int = 32) -> None:
        super().__init__()
        self.image_shape, self.latent_dim = tuple(generator.image_shape), generator.latent_dim
        self.num_classes, self.input_shape = generator.num_classes, (generator.latent_dim,)
        self.encode = Encoder(self.image_shape, self.latent_dim, width)
        self.decoder = copy.deepcopy(generator).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Inverter":
        super().train(mode)
        self.decoder.eval()
        return self

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return call(self.decoder, z, y)


class Discriminator(Network):
    """D(z) ou D(z, y) : codes (B, latent_dim) → logits (B,), par trois couches denses.

    Lève ValueError si un réglage, z ou y ne convient pas.
    """

    def __init__(self, latent_dim: int = 32, num_classes: int = 0, width: int = 256) -> None:
        super().__init__()
        check_settings(latent_dim=latent_dim, num_classes=num_classes, width=width)
        self.latent_dim, self.num_classes, self.input_shape = latent_dim, num_classes, (latent_dim,)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim + num_classes, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(with_classes(z, y, self.num_classes)).squeeze(1)


def with_classes(z: Tensor, y: Tensor | None, num_classes: int) -> Tensor:
    """z (B, D), suivi du codage de la classe quand il y en a une : (B, D + num_classes)."""
    return z if y is None else torch.cat([z, one_hot(y, num_classes).to(z)], dim=1)
