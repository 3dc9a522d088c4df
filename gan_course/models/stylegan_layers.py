"""Les briques de Mini-StyleGAN : couches à gain égalisé, réseau de style, AdaIN, écart-type du lot."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, instance_norm, leaky_relu, linear, normalize, one_hot


def resolutions(size: int, width: int) -> dict[int, int]:
    """Nombre de cartes par résolution, de 4 à `size` : `width` à pleine résolution, 4 × width au plus."""
    sizes = [4 * 2**i for i in range((size // 4).bit_length())]
    return {s: min(4, size // s) * width for s in sizes}


class EqualizedLinear(nn.Module):
    """Couche dense à gain égalisé (Karras et al., 2018, § 4.1) : poids N(0, 1), divisés par √entrées à l'usage.

    Adam donne alors à tous les poids le même pas relatif. `speed` < 1 ralentit la couche (0,01 dans Mapping).
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, speed: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.full((outputs,), bias / speed))
        self.gain, self.speed = speed / inputs**0.5, speed

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.gain, self.bias * self.speed)


class EqualizedConv2d(nn.Module):
    """Convolution à gain égalisé, qui garde le côté (ou le divise par `stride`)."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain, self.stride, self.padding = (inputs * kernel_size**2) ** -0.5, stride, kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * self.gain, self.bias, self.stride, self.padding)


class Mapping(nn.Module):
    """Réseau de style : z (B, latent_dim), ramené sur la sphère, → w (B, latent_dim), en quatre couches denses."""

    def __init__(self, latent_dim: int, num_classes: int, depth: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes
        sizes = [latent_dim + num_classes] + [latent_dim] * depth
        self.layers = nn.ModuleList([EqualizedLinear(a, b, speed=0.01) for a, b in zip(sizes, sizes[1:])])

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = normalize(z, dim=1) * z.shape[1] ** 0.5
        if y is not None:
            h = torch.cat([h, self.num_classes**0.5 * one_hot(y, self.num_classes).to(h)], dim=1)
        for layer in self.layers:
            h = leaky_relu(layer(h), 0.2) * 2**0.5
        return h


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """AdaIN (Huang et Belongie, 2017, éq. 8) : chaque carte, centrée et réduite, prend échelle et décalage du style.

    x : (B, C, H, W) ; scale, shift : (B, C).
    """
    return instance_norm(x) * scale[:, :, None, None] + shift[:, :, None, None]


class StyledConvolution(nn.Module):
    """[convolution → bruit → LeakyReLU → AdaIN] ; `double` agrandit deux fois, après la convolution."""

    def __init__(self, inputs: int, outputs: int, size: int, style_dim: int, double: bool = False) -> None:
        super().__init__()
        self.convolution = EqualizedConv2d(inputs, outputs, 3)
        # Agrandir après avoir convolué : quatre fois moins de calculs.
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear") if double else nn.Identity()
        self.noise_strength = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.register_buffer("fixed_noise", torch.randn(1, 1, size, size))
        self.style = EqualizedLinear(style_dim, 2 * outputs)
        # AdaIN part d'un style discret : d'écart-type 1, comme ailleurs, il brouillait les premières centaines de pas
        # (distance de Fréchet à 400 pas, mêmes conditions que RECIPE avec γ = 0,1 : 173 au lieu de 78).
        nn.init.normal_(self.style.weight, std=0.1)

    def forward(self, x: Tensor, w: Tensor, noise: float = 1.0) -> Tensor:
        h = self.enlarge(self.convolution(x))
        if self.training:
            grain = torch.randn(len(h), 1, *h.shape[2:], device=h.device)
        else:
            grain = self.fixed_noise
        h = leaky_relu(h + noise * self.noise_strength * grain, 0.2)
        scale, shift = self.style(w).chunk(2, dim=1)
        return adain(h, 1 + scale, shift)


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Ajoute à x (B, C, H, W) une carte : l'écart-type moyen entre `group` images du lot (Karras et al., 2018, § 3).

    D voit ainsi qu'un lot manque de diversité. Si B n'est pas multiple de `group`, tout le lot fait un seul groupe.
    """
    count = group if len(x) % group == 0 else len(x)
    groups = x.float().reshape(count, -1, *x.shape[1:])
    deviation = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    plane = deviation.repeat(count).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, plane.to(x)], dim=1)
