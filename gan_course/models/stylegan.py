"""Mini-StyleGAN (Karras et al., 2019) : z devient un style w, que chaque couche lit ; PyTorch pur, de 8 à 128 px.

G part d'une constante apprise 4×4. Chaque bloc fait deux fois [convolution → bruit → LeakyReLU → AdaIN], puis ajoute sa
contribution à l'image (toRGB, sommées d'un bloc à l'autre : Karras et al., 2020, § 4). D est son miroir.
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, instance_norm, interpolate, leaky_relu, linear, normalize, one_hot

from gan_course.engine.shapes import Network, check_settings
from gan_course.recipe import Recipe

SIZES = (8, 16, 32, 64, 128)

# Perte non saturante, Adam (0 ; 0,99) : Karras et al., 2020. R1 + R2 avec γ = 1 tous les 8 pas, et g_lr = 5 d_lr, sont
# réglés ici, sur des entraînements de quelques minutes (bench/recettes.csv). La règle du code de StyleGAN2-ADA,
# γ = 0,0002 · côté² / lot, donnerait 0,0064. StyleGAN2 corrige lr et betas d'Adam quand la pénalité est paresseuse
# (puissance et facteur 16/17) ; pas nous.
RECIPE = Recipe(
    loss="non_saturating",
    batch_size=32,
    penalty="r1+r2",
    penalty_weight=1.0,
    penalty_every=8,
    g_lr=5e-3,
    d_lr=1e-3,
    betas=(0.0, 0.99),
    ema_halflife=20_000,
    ema_rampup=0.1,
)


class Generator(Network):
    """G(z) = synthesize(styles(z)) : (B, latent_dim) → (B, C, H, W), H = W = 8, 16, 32, 64 ou 128.

    `width` : nombre de cartes à pleine résolution, doublé à chaque étage vers 4×4 jusqu'à 4 × width. Pendant
    l'entraînement, une image sur deux reçoit deux styles, coupés à une couche au hasard (« style mixing »).
    Une tangente hyperbolique borne la sortie, comme dans les autres chapitres ; l'article s'en passe.

    Lève ValueError si un réglage, z, y ou les styles ne conviennent pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 0,
        latent_dim: int = 64,
        width: int = 24,
        mixing: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(
            image_shape, SIZES, latent_dim=latent_dim, num_classes=num_classes, width=width
        )
        self.num_classes, self.latent_dim, self.input_shape = num_classes, latent_dim, (latent_dim,)
        self.mixing = mixing
        self.mapping = Mapping(latent_dim, num_classes)
        self.register_buffer("mean_style", torch.zeros(latent_dim))
        channels = resolutions(image_shape[1], width)
        self.constant = nn.Parameter(torch.randn(1, channels[4], 4, 4))
        self.layers, self.to_rgb = nn.ModuleList(), nn.ModuleList()
        inputs = channels[4]
        for size, outputs in channels.items():
            self.layers.append(StyledConvolution(inputs, outputs, size, latent_dim, double=size > 4))
            self.layers.append(StyledConvolution(outputs, outputs, size, latent_dim))
            self.to_rgb.append(Equalized(outputs, image_shape[0], 1))
            inputs = outputs
        self.num_layers = len(self.layers)  # couches qui lisent un style : deux par bloc, 8 à 32 px

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        w = self.mapping(z, y)
        styles = w[:, None].expand(-1, self.num_layers, -1)
        if self.training:
            self.mean_style.lerp_(w.detach().float().mean(0), 0.005)
            other = self.mapping(torch.randn_like(z), y)
            cut = torch.randint(1, self.num_layers, (len(z), 1), device=z.device)
            mixed = torch.rand(len(z), 1, device=z.device) < self.mixing
            swap = mixed & (torch.arange(self.num_layers, device=z.device) >= cut)
            styles = torch.where(swap[:, :, None], other[:, None], styles)
        return self.synthesize(styles)

    def styles(self, z: Tensor, y: Tensor | None = None, psi: float = 1.0) -> Tensor:
        """Styles (B, num_layers, latent_dim) de z, le même à chaque couche ; psi < 1 les tire vers leur moyenne.

        w' = w̄ + ψ (w - w̄) : ψ = 1 ne change rien, ψ = 0 rend l'image moyenne (Karras et al., 2019, § B).
        """
        w = self.mapping(z, y)
        if psi != 1:
            w = torch.lerp(self.mean_style.to(w), w, psi)
        return w[:, None].expand(-1, self.num_layers, -1)

    def synthesize(self, styles: Tensor, noise: float = 1.0) -> Tensor:
        """Image (B, C, H, W) de styles (B, num_layers, latent_dim), qui peuvent différer d'une couche à l'autre.

        `noise` multiplie le bruit de chaque couche. Il est neuf à chaque appel pendant l'entraînement, et toujours
        le même en mode évaluation : deux images du même z sont alors identiques.
        """
        if tuple(styles.shape[1:]) != (self.num_layers, self.latent_dim):
            raise ValueError(
                f"styles est de forme {tuple(styles.shape)} ; il faut (B, {self.num_layers}, {self.latent_dim}) : à "
                f"{self.image_shape[1]} px, {self.num_layers} couches lisent un style. Partez de generator.styles(z)."
            )
        h, image = self.constant.expand(len(styles), -1, -1, -1), None
        for index, to_rgb in enumerate(self.to_rgb):
            for k in (2 * index, 2 * index + 1):
                h = self.layers[k](h, styles[:, k], noise)
            rgb = to_rgb(h)
            image = rgb if image is None else rgb + interpolate(image, scale_factor=2, mode="bilinear")
        # Chaque toRGB rend des nombres d'écart-type voisin de 1 : leur somme saturerait la tangente.
        return torch.tanh(image / len(self.to_rgb))


def mix_styles(coarse: Tensor, fine: Tensor, crossover: int) -> Tensor:
    """Styles de `coarse` pour les `crossover` premières couches, de `fine` ensuite : (B, L, latent_dim).

    Lève ValueError si crossover n'est pas entre 0 et L, ou si les formes diffèrent.
    """
    if coarse.shape != fine.shape or coarse.dim() != 3:
        raise ValueError(f"Styles {tuple(coarse.shape)} et {tuple(fine.shape)} : il faut deux fois (B, L, latent_dim).")
    if not 0 <= crossover <= coarse.shape[1]:
        raise ValueError(
            f"crossover={crossover} : à cette résolution, le générateur n'a que {coarse.shape[1]} couches de style. "
            f"Choisissez de 0 à {coarse.shape[1]}."
        )
    return torch.cat([coarse[:, :crossover], fine[:, crossover:]], dim=1)


class Discriminator(Network):
    """D(x) : (B, C, H, W) → logits (B,), le miroir de G : fromRGB, une convolution à pas 2 par bloc, puis l'écart-type
    du lot à 4×4.

    Le noyau est de 4, multiple du pas : avec 3, la pente que G reçoit de D pèse certains pixels deux fois plus que
    leurs voisins, et G apprend mal (bench/recettes.csv). Conditionnel si num_classes > 0 (projection).
    Lève ValueError si un réglage, x ou y ne convient pas.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 0, width: int = 24
    ) -> None:
        super().__init__()
        self.image_shape = self.input_shape = check_settings(
            image_shape, SIZES, num_classes=num_classes, width=width
        )
        self.num_classes = num_classes
        channels = list(resolutions(image_shape[1], width).values())[::-1]
        self.from_rgb = nn.Conv2d(image_shape[0], channels[0], 1)
        self.blocks = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(channels, channels[1:])])
        last = channels[-1]
        self.final = nn.Conv2d(last + 1, last, 3, padding=1)
        self.features, self.score = nn.Linear(last * 16, last), nn.Linear(last, 1)
        self.embedding = nn.Embedding(num_classes, last) if num_classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = leaky_relu(self.from_rgb(x), 0.2)
        for block in self.blocks:
            h = leaky_relu(block(h), 0.2)
        h = leaky_relu(self.final(minibatch_deviation(h)), 0.2)
        h = leaky_relu(self.features(h.flatten(1)), 0.2)
        logits = self.score(h).squeeze(1)
        return logits if self.embedding is None else logits + (self.embedding(y) * h).sum(1) / h.shape[1] ** 0.5


def resolutions(size: int, width: int) -> dict[int, int]:
    """Nombre de cartes par résolution, de 4 à `size` : `width` à pleine résolution, 4 × width au plus."""
    sizes = [4 * 2**i for i in range((size // 4).bit_length())]
    return {s: min(4, size // s) * width for s in sizes}


class Equalized(nn.Module):
    """Couche dense, ou convolution si kernel_size est donné, à gain égalisé (Karras et al., 2018, § 4.1).

    Les poids sont tirés de N(0, 1) et divisés par √entrées à l'usage : Adam leur donne alors à tous le même pas
    relatif. `speed` < 1 ralentit une couche dense (0,01 dans Mapping).
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int | None = None, speed: float = 1.0) -> None:
        super().__init__()
        shape = (inputs,) if kernel_size is None else (inputs, kernel_size, kernel_size)
        # Tirés par colonnes. Par lignes, et de la graine dont on tire ensuite z, la ligne i de la première couche
        # serait le i-ème z : leur produit, démesuré, donnerait des images criardes, que d'autres z n'ont pas.
        self.weight = nn.Parameter(torch.randn(*shape, outputs).movedim(-1, 0).contiguous() / speed)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain, self.speed = speed / prod(shape) ** 0.5, speed

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if weight.dim() == 2:
            return linear(x, weight, self.bias * self.speed)
        return conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)


class Mapping(Network):
    """Réseau de style : z (B, latent_dim), ramené sur la sphère, → w (B, latent_dim), en quatre couches denses."""

    def __init__(self, latent_dim: int, num_classes: int, depth: int = 4) -> None:
        super().__init__()
        self.num_classes, self.input_shape = num_classes, (latent_dim,)
        sizes = [latent_dim + num_classes] + [latent_dim] * depth
        self.layers = nn.ModuleList([Equalized(a, b, speed=0.01) for a, b in zip(sizes, sizes[1:])])

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
        self.convolution = Equalized(inputs, outputs, 3)
        # Agrandir après avoir convolué : quatre fois moins de calculs.
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear") if double else nn.Identity()
        self.noise_strength = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.register_buffer("fixed_noise", torch.randn(1, 1, size, size))
        self.style = Equalized(style_dim, 2 * outputs)
        # AdaIN part d'un style discret : d'écart-type 1, comme ailleurs, il brouillait les premières centaines de pas
        # (distance de Fréchet à 400 pas, mêmes conditions que RECIPE avec γ = 0,1 : 173 au lieu de 78).
        nn.init.normal_(self.style.weight, std=0.1)

    def forward(self, x: Tensor, w: Tensor, noise: float = 1.0) -> Tensor:
        h = self.enlarge(self.convolution(x))
        grain = torch.randn(len(h), 1, *h.shape[2:], device=h.device) if self.training else self.fixed_noise
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
