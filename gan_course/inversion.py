"""De l'image au code : inversion par optimisation, directions d'attributs, images voisines du jeu d'entraînement.

L'inversion apprise, plus rapide et moins précise, est `models.aae.Inverter`, qu'entraîne la boucle de tous les GAN.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_course.data import ImageSet
from gan_course.engine.numbers import check_positive
from gan_course.engine.shapes import call, evaluation_mode
from gan_course.features import Features, load_features
from gan_course.latent import check_labels
from gan_course.metrics import as_tensor, check_rows


@dataclass(frozen=True)
class Inversion:
    """Le résultat d'`invert`, sur le processeur.

    codes   z trouvés (B, latent_dim)
    images  G(z), (B, C, H, W) dans [-1, 1]
    errors  erreur quadratique moyenne par pixel entre G(z) et l'image, (B,)
    """

    codes: Tensor
    images: Tensor
    errors: Tensor


def invert(
    generator: nn.Module,
    images: Tensor,
    steps: int = 200,
    lr: float = 0.05,
    start: Tensor | None = None,
    prior: float = 1e-3,
    candidates: int = 512,
    labels: int | Tensor | None = None,
    seed: int = 0,
) -> Inversion:
    """Cherche, par descente de gradient, les z dont les images ressemblent le plus à `images`.

    Minimise ‖G(z) - x‖² / (C·H·W) + prior · (‖z‖² / D - 1)², par Adam : le second terme garde z dans la coquille où
    vivent les tirages de N(0, I) ; sans lui, on reconstruit mieux en des points que G n'a jamais vus.

    images  (B, C, H, W) dans [-1, 1], au format du générateur ; labels (B,), ou un entier, s'il est
            conditionnel
    start   codes de départ (B, latent_dim), ceux d'un encodeur par exemple ; défaut : pour chaque image, le plus
            proche de `candidates` tirages. Partie d'un seul tirage, la descente finit souvent dans un autre creux.

    Le générateur reste tel quel. Lève TypeError ou ValueError si une forme ou un réglage ne convient pas, ou si la
    descente diverge. Source : Zhu et al., 2016 (arXiv 1609.03552), § 3.1.
    """
    steps, candidates = check_positive("steps", steps), check_positive("candidates", candidates)
    if not (0 < lr < math.inf and 0 <= prior < math.inf):
        raise ValueError(f"lr={lr}, prior={prior} reçus ; il faut lr strictement positif, prior positif ou nul, finis.")
    parameter = next(generator.parameters())
    # La descente dérive, même appelée sous no_grad() ou inference_mode() ; un tenseur d'inférence doit y être copié.
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(generator):
        images = _checked_images(generator, images).to(parameter.device).clone()
        labels = check_labels(generator, labels, len(images))
        if start is None:
            start = _closest_draws(generator, images, labels, candidates, seed)
        start = check_rows("start", start, generator.latent_dim)
        if len(start) != len(images):
            raise ValueError(f"start : {len(start)} codes reçus pour {len(images)} images ; il en faut autant.")
        # Adam perd ses petits pas dans une demi-précision : z garde au moins 32 bits.
        z = start.clone().to(parameter.device, torch.promote_types(parameter.dtype, torch.float32))
        _descend(generator, images, labels, z.requires_grad_(), steps, lr, prior)
        with torch.no_grad():
            found = _generate(generator, z, labels)
    errors = (found - images).square().flatten(1).mean(1)
    if not (errors.isfinite().all() and z.isfinite().all()):
        raise ValueError(
            "La descente ou le générateur a divergé : des images ou des codes trouvés contiennent NaN ou l'infini. "
            f"Vérifiez les poids du générateur, ou réduisez lr={lr}."
        )
    return Inversion(z.detach().cpu(), found.cpu(), errors.cpu())


def attribute_directions(codes: Tensor, attributes: Tensor) -> Tensor:
    """Direction unitaire de chaque attribut dans l'espace des codes : (P, D).

    Moyenne des codes qui ont l'attribut, moins celle des autres (Radford et al., 2016, § 6.3.2). codes (N, D) ;
    attributes (N, P), de 0 et 1, ou de -1 et 1. Lève ValueError si ce n'est pas le cas, ou si un attribut est absent
    partout ou présent partout.
    """
    codes, has = _checked_attributes(codes, attributes)
    counts = has.sum(0)
    constant = ((counts == 0) | (counts == len(codes))).nonzero().flatten().tolist()
    if constant:
        raise ValueError(f"Attribut(s) n° {constant} : présents partout ou nulle part, ils ne séparent rien. Ôtez-les.")
    with_it = has.T @ codes / counts[:, None]
    without = (1 - has).T @ codes / (len(codes) - counts)[:, None]
    return torch.nn.functional.normalize(with_it - without, dim=1)


@torch.no_grad()
def nearest_neighbours(
    images: Tensor, training_set: ImageSet, space: Features | str, k: int = 1
) -> tuple[Tensor, Tensor]:
    """Les k images d'entraînement les plus proches de chacune de `images`, dans l'espace de caractéristiques `space`.

    images (B, C, H, W) dans [-1, 1] ; `space` : celui d'une évaluation, comme "faces" ou pixels(16).
    Rend (numéros, distances), chacun (B, k), de la plus proche à la plus lointaine. Une distance nulle est une copie.
    """
    if check_positive("k", k) > len(training_set):
        raise ValueError(f"k={k} voisines demandées ; avec {len(training_set)} images, il faut de 1 à ce nombre.")
    space = load_features(space) if isinstance(space, str) else space
    # Passer par un produit de matrices, le défaut de cdist, donne à une copie une distance petite mais pas nulle.
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(space(images), space(training_set), compute_mode=exact).topk(k, largest=False)
    return distances.indices, distances.values


def _descend(
    generator: nn.Module, images: Tensor, labels: Tensor | None, z: Tensor, steps: int, lr: float, prior: float
) -> None:
    """Déplace z, sur place, de `steps` pas d'Adam."""
    optimizer = torch.optim.Adam([z], lr=lr)
    for _ in range(steps):
        errors = (_generate(generator, z, labels) - images).square().flatten(1).mean(1)
        shell = (z.square().mean(1) - 1).square()
        (z.grad,) = torch.autograd.grad((errors + prior * shell).sum(), z)
        optimizer.step()


def _generate(generator: nn.Module, z: Tensor, labels: Tensor | None) -> Tensor:
    return call(generator, z.to(next(generator.parameters()).dtype), labels)


def _checked_images(generator: nn.Module, images: Tensor) -> Tensor:
    expected = tuple(generator.image_shape)
    if not isinstance(images, Tensor) or tuple(images.shape[1:]) != expected or not len(images):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"images : {got} reçu ; ce générateur dessine des images de forme {expected} : il en faut un lot. "
            f"Rechargez-les avec size={expected[1]}."
        )
    if images.dtype == torch.uint8 or not images.isfinite().all() or images.abs().max() > 1.001:
        raise ValueError("images doit être en réels de [-1, 1], comme ImageSet.batch les rend : x.float() / 127.5 - 1.")
    return images.detach().float()


def _checked_attributes(codes: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
    """Vérifie codes et attributes ; les rend en réels de même type, les attributs en 0 et 1."""
    if attributes is None:
        raise ValueError("attributes : None reçu ; un jeu chargé avec attributes=False n'en a pas, rechargez-le sans.")
    codes, attributes = check_rows("codes", codes), as_tensor("attributes", attributes)
    if attributes.dim() != 2 or len(codes) != len(attributes) or not attributes.numel():
        raise ValueError(
            f"codes {tuple(codes.shape)} et attributes {tuple(attributes.shape)} reçus ; il faut (N, D) et (N, P)."
        )
    found = set(attributes.unique().tolist())
    if not (found <= {0, 1} or found <= {-1, 1}):
        low, high = attributes.min().item(), attributes.max().item()
        raise ValueError(
            f"attributes : des valeurs de {low:.3g} à {high:.3g} reçues ; il faut des 0 et des 1, ou des -1 et des 1. "
            "Coupez une grandeur continue en deux : (valeurs > seuil).float()."
        )
    codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
    return codes, (attributes > 0).to(codes)


@torch.no_grad()
def _closest_draws(generator: nn.Module, images: Tensor, labels: Tensor | None, candidates: int, seed: int) -> Tensor:
    """Pour chaque image, celui de `candidates` tirages dont l'image lui ressemble le plus : (B, latent_dim)."""
    draw = torch.Generator().manual_seed(seed)
    best = torch.full((len(images),), math.inf, device=images.device)
    chosen = torch.zeros(len(images), generator.latent_dim, device=images.device)
    for first in range(0, candidates, 128):
        z = torch.randn(min(128, candidates - first), generator.latent_dim, generator=draw).to(images.device)
        for i, image in enumerate(images):
            # Un générateur conditionnel dessine chaque tirage dans la classe de l'image cherchée.
            if i == 0 or labels is not None:
                y = None if labels is None else labels[i].expand(len(z))
                drawn = _generate(generator, z, y)
            errors = (drawn - image).square().flatten(1).mean(1)
            if errors.min() < best[i]:
                best[i], chosen[i] = errors.min(), z[errors.argmin()]
    return chosen
