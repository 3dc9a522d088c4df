"""Deux petits perceptrons pour le laboratoire en deux dimensions, où l'on voit tout : données, G, D et gradients."""

from torch import Tensor, nn

from gan_course.engine.shapes import Network, check_settings
from gan_course.recipe import Recipe

# D apprend quatre fois plus vite que G : sous pénalité, il guide vite G vers tous les modes ; changer un mot,
# penalty=None, et il devient trop raide : G s'effondre sur deux ou trois modes (bench/ring.py).
RECIPE = Recipe(
    loss="non_saturating",
    batch_size=256,
    g_lr=2e-3,
    d_lr=8e-3,
    betas=(0.5, 0.99),
    penalty="r1+r2",
    penalty_weight=0.05,
    penalty_every=4,
    ema_halflife=20_000,
)


def perceptron(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Trois couches cachées de `width` neurones ReLU."""
    layers = []
    for size in (inputs, width, width):
        layers += [nn.Linear(size, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Generator(Network):
    """G(z) : (B, latent_dim) → points (B, 2). Sans tanh : le plan n'est pas borné."""

    image_shape = (2,)

    def __init__(self, latent_dim: int = 16, width: int = 64) -> None:
        super().__init__()
        check_settings(latent_dim=latent_dim, width=width)
        self.latent_dim, self.input_shape = latent_dim, (latent_dim,)
        self.layers = perceptron(latent_dim, 2, width)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(z)


class Discriminator(Network):
    """D(x) : points (B, 2) → logits (B,)."""

    image_shape = input_shape = (2,)

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        check_settings(width=width)
        self.layers = perceptron(2, 1, width)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x).squeeze(1)
