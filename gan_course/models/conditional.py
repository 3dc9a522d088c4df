"""GAN conditionnel (Mirza et Osindero, 2014) : x = G(z, y), et D juge la paire (x, y).

Trois façons de dire y à un réseau, par `conditioning` :

- "concat"     : y en code 1 parmi K, collé à z et, en K plans constants, à x (l'article d'origine) ;
- "embedding"  : un vecteur appris par classe, collé à z et, remis en image, à x ;
- "projection" : D ajoute à son score le produit scalaire ⟨e(y), h(x)⟩ (Miyato et Koyama, 2018, éq. 4) ;
                 G reçoit un vecteur appris, comme ci-dessus.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gan_course.engine.shapes import Network, check_settings, wrong_labels
from gan_course.recipe import Recipe

SIZES = (28, 32)
CONDITIONINGS = ("projection", "embedding", "concat")

# Réglée pour deux cœurs : voir bench/. R1 + R2 seulement tous les 8 pas : la pénalité coûte deux passages de D.
# z et e(y) ont 16 nombres chacun : avec 64, la diversité des classes vient deux fois moins vite (une graine).
RECIPE = Recipe(
    loss="non_saturating",
    batch_size=64,
    g_lr=2e-3,
    d_lr=2e-3,
    betas=(0.0, 0.99),
    penalty="r1+r2",
    penalty_weight=0.5,
    penalty_every=8,
    ema_halflife=20_000,
    ema_rampup=0.1,
)


def check_conditioning(conditioning: str) -> str:
    """Rend `conditioning` s'il est connu ; ValueError sinon."""
    if conditioning not in CONDITIONINGS:
        raise ValueError(f"conditioning={conditioning!r} inconnu. Choisissez parmi {', '.join(CONDITIONINGS)}.")
    return conditioning


class Generator(Network):
    """G(z, y) : (B, latent_dim) et (B,) → (B, C, H, W) dans [-1, 1], pour H = W = 28 ou 32.

    Lève ValueError si un réglage, z ou y ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 10,
        latent_dim: int = 16,
        width: int = 16,
        conditioning: str = "projection",
    ) -> None:
        super().__init__()
        self.image_shape = check_settings(
            image_shape, SIZES, latent_dim=latent_dim, num_classes=num_classes, least_classes=1, width=width
        )
        self.num_classes, self.latent_dim, self.input_shape = num_classes, latent_dim, (latent_dim,)
        self.code_size = num_classes if check_conditioning(conditioning) == "concat" else latent_dim
        self.embedding = None if conditioning == "concat" else nn.Embedding(num_classes, self.code_size)
        self.base = image_shape[1] // 4
        channels = 4 * width
        self.project = nn.Linear(latent_dim + self.code_size, channels * self.base**2)
        # Convoluer puis agrandir, et non l'inverse : quatre fois moins de calculs pour la même convolution.
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, image_shape[0], 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.from_code(z, self.code(y))

    def code(self, y: Tensor) -> Tensor:
        """Ce que G lit de y : (B,) → (B, code_size), un vecteur appris par classe ou le code 1 parmi K.

        Lève ValueError si y n'est pas un lot d'étiquettes.
        """
        try:
            if self.embedding is None:
                return one_hot(y, self.num_classes).to(self.project.weight)
            return self.embedding(y)
        except (RuntimeError, IndexError, TypeError):
            if problem := wrong_labels(y, self.num_classes, len(y)):
                raise ValueError(problem) from None
            raise

    def from_code(self, z: Tensor, code: Tensor) -> Tensor:
        """G(z, y) pour un code (B, code_size) quelconque, par exemple entre ceux de deux classes.

        Lève ValueError si z ou code ne convient pas.
        """
        if z.shape[1:] != self.input_shape or code.shape != (len(z), self.code_size):
            raise ValueError(
                f"z est de forme {tuple(z.shape)} et code est de forme {tuple(code.shape)} ; il faut (B, "
                f"{self.latent_dim}) et (B, {self.code_size}), un code par z. Partez de generator.code(y)."
            )
        h = self.project(torch.cat([z, code], dim=1))
        return self.blocks(h.unflatten(1, (-1, self.base, self.base)))


class Discriminator(Network):
    """D(x, y) : (B, C, H, W) et (B,) → logits (B,). Sans BatchNorm : les pénalités se calculent image par image.

    Lève ValueError si un réglage, x ou y ne convient pas.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 10,
        width: int = 16,
        conditioning: str = "projection",
    ) -> None:
        super().__init__()
        self.image_shape = self.input_shape = check_settings(
            image_shape, SIZES, num_classes=num_classes, least_classes=1, width=width
        )
        self.num_classes = num_classes
        self.conditioning = check_conditioning(conditioning)
        channels, size = image_shape[:2]
        extra = {"concat": num_classes, "embedding": 1, "projection": 0}[conditioning]
        self.features = nn.Sequential(
            nn.Conv2d(channels + extra, width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        flat = 4 * width * ((size + 7) // 8) ** 2
        self.score = nn.Linear(flat, 1)
        if conditioning == "embedding":
            self.embedding = nn.Embedding(num_classes, size * size)
        elif conditioning == "projection":
            self.embedding = nn.Embedding(num_classes, flat)
            # À zéro : le premier score ne dépend pas de y, et le produit scalaire sur `flat` nombres ne l'écrase pas.
            nn.init.zeros_(self.embedding.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.conditioning == "concat":
            planes = one_hot(y, self.num_classes).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], dim=1)
        elif self.conditioning == "embedding":
            x = torch.cat([x, self.embedding(y).view(-1, 1, *x.shape[2:]).to(x)], dim=1)
        h = self.features(x)
        logits = self.score(h).squeeze(1)
        if self.conditioning == "projection":
            logits = logits + (self.embedding(y) * h).sum(1)
        return logits
