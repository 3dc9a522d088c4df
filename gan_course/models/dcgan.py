"""DCGAN (Radford et al., 2016) : le premier GAN convolutif qui s'entraîne sans surveillance de chaque instant.

Convolutions à pas 2 au lieu du sous-échantillonnage, BatchNorm, ReLU dans G, LeakyReLU dans D, poids N(0 ; 0,02).
Une seule paire pour toutes les tailles : 28 px (7 → 14 → 28) et 32, 64, 128 px (4 → 8 → … ).
"""

from torch import Tensor, nn

from gan_course.engine.numbers import check_positive
from gan_course.engine.shapes import Network, check_settings
from gan_course.recipe import Recipe

SIZES = (28, 32, 64, 128)
UPSAMPLINGS = ("transposed", "resize")

RECIPE = Recipe(loss="non_saturating", batch_size=128, g_lr=2e-4, d_lr=2e-4, betas=(0.5, 0.999))


def doublings(size: int) -> tuple[int, int]:
    """(côté de départ, nombre de doublements) : 28 = 7·2², 64 = 4·2⁴."""
    base = 7 if size == 28 else 4
    return base, (size // base).bit_length() - 1


def initialise(module: nn.Module) -> None:
    """Convolutions N(0 ; 0,02), BatchNorm N(1 ; 0,02), biais nuls. Une échelle de BatchNorm à 0 éteindrait tout."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)


def upsample(upsampling: str, inputs: int, outputs: int, kernel_size: int, bias: bool) -> list[nn.Module]:
    """Les couches qui doublent le côté : convolution transposée, ou agrandissement puis convolution.

    Une convolution transposée dont le noyau n'est pas multiple du pas recouvre inégalement ses pixels de sortie et
    dessine un damier (Odena et al., 2016) ; agrandir puis convoluer ne le peut pas.
    """
    if upsampling == "transposed":
        padding = (kernel_size - 1) // 2
        extra = 2 * padding + 2 - kernel_size  # ce qui manque pour doubler exactement
        return [nn.ConvTranspose2d(inputs, outputs, kernel_size, 2, padding, output_padding=extra, bias=bias)]
    # Noyau impair : lui seul garde le côté avec un bord symétrique.
    kernel_size -= 1 - kernel_size % 2
    convolution = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)
    return [nn.Upsample(scale_factor=2), convolution]


class Generator(Network):
    """G(z) : (B, latent_dim) → (B, C, H, W) dans [-1, 1], H = W parmi 28, 32, 64, 128.

    `width` est le nombre de cartes avant la dernière couche ; il double à chaque étage vers l'entrée : 128 donne
    les 1024 cartes de l'article à 64 px. `upsampling` : "transposed" ou "resize" ; `kernel_size` : 4 dans les codes
    publics, 5 dans l'article. Lève ValueError si un réglage ou z ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        latent_dim: int = 100,
        width: int = 128,
        upsampling: str = "transposed",
        kernel_size: int = 4,
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(image_shape, SIZES, latent_dim=latent_dim, width=width)
        self.latent_dim, self.input_shape, self.upsampling = latent_dim, (latent_dim,), upsampling
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling={upsampling!r} inconnu. Choisissez parmi {', '.join(UPSAMPLINGS)}.")
        check_positive("kernel_size", kernel_size, least=3)  # pour couvrir un pas de 2
        base, count = doublings(image_shape[1])
        channels = width * 2 ** (count - 1)
        layers = [nn.ConvTranspose2d(latent_dim, channels, base, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        for _ in range(count - 1):
            layers += upsample(upsampling, channels, channels // 2, kernel_size, bias=False)
            channels //= 2
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        layers += upsample(upsampling, channels, image_shape[0], kernel_size, bias=True)
        self.layers = nn.Sequential(*layers, nn.Tanh())
        initialise(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(z[:, :, None, None])


class Discriminator(Network):
    """D(x) : (B, C, H, W) → logits (B,), le miroir de G.

    `batch_norm=False` pour un critique sous pénalité de gradient ; `dropout` après chaque activation, pour affaiblir D.
    Lève ValueError si un réglage ou x ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        width: int = 128,
        kernel_size: int = 4,
        batch_norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image_shape = self.input_shape = check_settings(image_shape, SIZES, width=width, dropout=dropout)
        check_positive("kernel_size", kernel_size, least=3)
        base, count = doublings(image_shape[1])
        layers, inputs, padding = [], image_shape[0], (kernel_size - 1) // 2
        for i in range(count):
            outputs = width * 2**i
            normed = batch_norm and i > 0  # pas sur la première couche : D doit voir les pixels tels quels
            layers += [nn.Conv2d(inputs, outputs, kernel_size, 2, padding, bias=not normed)]
            layers += [nn.BatchNorm2d(outputs)] if normed else []
            layers += [nn.LeakyReLU(0.2)] + ([nn.Dropout(dropout)] if dropout else [])
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, base), nn.Flatten(0))
        initialise(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(x)
