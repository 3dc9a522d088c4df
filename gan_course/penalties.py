"""Pénalités sur le gradient du discriminateur, et écrêtage des poids.

Toutes mesurent ∇ₓD(x) image par image. Trois erreurs fréquentes sont exclues par construction : norme prise sur
toutes les dimensions de l'image à la fois, un ε uniforme par image, graphe conservé (`create_graph`) pour que la
pénalité ait elle-même un gradient par rapport aux poids de D.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

Critic = Callable[..., Tensor]


def check_scores(scores: object, count: int) -> None:
    """Lève ValueError si le discriminateur n'a pas rendu un tenseur (count,) : un score par image."""
    if not isinstance(scores, Tensor) or scores.shape != (count,):
        kind = f"un tenseur de forme {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"Le discriminateur a rendu {kind} ; il faut ({count},), un score par image. "
            "Ajoutez .squeeze(1) ou .flatten()."
        )


def input_gradient(discriminator: Critic, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Gradient de chaque score par rapport à sa propre image, mis à plat : (B, C, H, W) → (B, C·H·W).

    Sous autocast, D calcule en bf16, dont l'étendue est celle de float32, mais pas en fp16 : le carré d'une norme y
    déborde vite. Le gradient rendu est toujours en float32.

    Lève ValueError si le discriminateur ne rend pas un score par image, RuntimeError si le graphe est perdu
    (`torch.no_grad`, `torch.compile` : la pénalité n'agirait plus, sans le dire).
    """
    kind = images.device.type
    overflows = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    with torch.autocast(kind, enabled=False) if overflows else nullcontext():
        images = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
        scores = discriminator(images) if labels is None else discriminator(images, labels)
        if getattr(scores, "shape", None) != images.shape[:1]:
            check_scores(scores, len(images))
        if not scores.requires_grad:
            raise RuntimeError(
                "Les scores ne dépendent pas des images par un graphe de calcul : la pénalité serait sans effet. "
                "Retirez torch.no_grad() ou .detach() autour du discriminateur."
            )
        (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    # Même constant en x (un D linéaire), ce gradient doit dépendre des poids que la pénalité corrige.
    if not gradient.requires_grad and isinstance(discriminator, nn.Module) and any(
        p.requires_grad for p in discriminator.parameters()
    ):
        raise RuntimeError(
            "Le gradient calculé ne dépend pas des poids du discriminateur : la pénalité serait sans effet. "
            "N'entourez pas le discriminateur de torch.compile (il n'a pas de dérivée seconde)."
        )
    return gradient.flatten(1)


def gradient_penalty(
    discriminator: Critic, real: Tensor, fake: Tensor, labels: Tensor | None = None
) -> Tensor:
    """Pénalité de WGAN-GP : E[(‖∇D(x̂)‖₂ - 1)²], x̂ = ε x + (1 - ε) G(z), ε ~ U(0, 1) par image.

    `real` et `fake` : (B, C, H, W) ou (B, D), même forme. `labels` : (B,) ou None. Rend un scalaire, sans le
    facteur λ (10 dans l'article) que porte la recette. Pour D(x) = ⟨w, x⟩, elle vaut exactement (‖w‖ - 1)².

    Lève ValueError si les formes diffèrent. Source : Gulrajani et al., 2017, éq. 3 et algorithme 1.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"Vraies images {tuple(real.shape)} et fausses images {tuple(fake.shape)} : il faut la même forme "
            "pour tracer un segment de l'une à l'autre."
        )
    epsilon = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    # En demi-précision, le point tiré serait arrondi.
    kind = torch.promote_types(real.dtype, torch.float32)
    between = epsilon * real.to(kind) + (1 - epsilon) * fake.detach().to(kind)
    norm = input_gradient(discriminator, between, labels).norm(2, dim=1)
    return (norm - 1).square().mean()


def r1(discriminator: Critic, real: Tensor, labels: Tensor | None = None, fake: Tensor | None = None) -> Tensor:
    """Pénalité R1 : ½ E[‖∇D(x)‖²] aux vraies images (Mescheder et al., 2018, éq. 9). Rend un scalaire, sans γ.

    `fake` ne sert pas : il permet à la boucle d'appeler toutes les pénalités de la même façon.
    """
    return 0.5 * input_gradient(discriminator, real, labels).square().sum(1).mean()


def r2(discriminator: Critic, fake: Tensor, labels: Tensor | None = None, real: Tensor | None = None) -> Tensor:
    """Pénalité R2 : ½ E[‖∇D(G(z))‖²] aux fausses images (Mescheder et al., 2018, éq. 10). Scalaire, sans γ.

    `real` ne sert pas, comme `fake` dans r1.
    """
    return 0.5 * input_gradient(discriminator, fake, labels).square().sum(1).mean()


def r1_r2(discriminator: Critic, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Tensor:
    """R1 + R2 en un seul passage du discriminateur (Huang et al., 2024, « R3GAN », § 3.2)."""
    both = torch.cat([real, fake.to(real.dtype)])
    labels = None if labels is None else torch.cat([labels, labels])
    # La moyenne porte sur 2B images ; la somme de deux moyennes sur B images vaut le double.
    return input_gradient(discriminator, both, labels).square().sum(1).mean()


# La boucle les appelle par mots-clés : penalty(D, real=…, fake=…, labels=…), et toute fonction de ce genre convient.
PENALTIES: dict[str, Callable[..., Tensor]] = {"gp": gradient_penalty, "r1": r1, "r2": r2, "r1+r2": r1_r2}
ALIASES = {"gradient": "gp"}


@torch.no_grad()
def clip_weights(discriminator: nn.Module, limit: float) -> None:
    """Ramène chaque poids du critique dans [-limit, limit], sur place (Arjovsky et al., 2017, algorithme 1)."""
    for parameter in discriminator.parameters():
        parameter.clamp_(-limit, limit)
