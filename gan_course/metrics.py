"""Mesurer ce qu'un GAN a appris : des fonctions pures d'échantillons."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_course.engine.numbers import check_positive

BLOCK_ROWS = 4096  # lignes mises en float64 à la fois
BLOCK_DISTANCES = 2**22  # distances tenues à la fois : 32 Mo par matrice


class ModeCoverage(NamedTuple):
    """`covered` modes atteints sur `modes` ; `precision`, part des points proches d'un centre ; `counts`, par mode."""

    covered: int
    modes: int
    precision: float
    counts: Tensor


def mode_coverage(points: Tensor, centers: Tensor, std: float) -> ModeCoverage:
    """Compte les modes d'un mélange de gaussiennes atteints par des points générés.

    points   (N, D), les points générés
    centers  (K, D), les centres des modes
    std      écart-type commun des modes, dans l'unité des points

    Un point appartient à son centre le plus proche s'il en est à moins de trois écarts-types. Un mode est couvert s'il
    reçoit au moins un cinquième de sa juste part, N / 5K points : un point isolé ne suffit pas. Source : Srivastava et
    al., 2017 (VEEGAN), § 4.1, avec un seuil de couverture plus exigeant.

    Lève ValueError si les formes ne s'accordent pas ou si un point n'est pas fini.
    """
    centers = check_rows("centers", centers)
    points = check_rows("points", points, dim=centers.shape[1])
    if not std > 0:
        raise ValueError(f"std={std} ; un écart-type est strictement positif.")
    distance, nearest = torch.cdist(points.float(), centers.float()).min(dim=1)
    close = distance <= 3 * std
    counts = torch.bincount(nearest[close], minlength=len(centers))
    covered = int((counts >= len(points) / len(centers) / 5).sum())  # un cinquième de la juste part
    return ModeCoverage(covered, len(centers), close.float().mean().item(), counts)


class KernelDistance(NamedTuple):
    """`value`, moyenne des MMD² des sous-ensembles ; `std`, leur écart-type.

    `low` et `high` bornent un intervalle de confiance à 95 % de `value` : NaN si les sous-ensembles prennent tout.
    """

    value: float
    std: float
    low: float
    high: float


class PrecisionRecall(NamedTuple):
    """Parts, de 0 à 1 : des images générées qui sont plausibles, des images réelles que G sait approcher."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """`density`, qui peut dépasser 1 ; `coverage`, part de 0 à 1 des images réelles qui ont une voisine générée."""

    density: float
    coverage: float


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Calcule la moyenne (D,) et la covariance (D, D), divisée par N - 1, de caractéristiques (N, D), en float64."""
    mean = features.mean(dim=0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for rows in features.split(BLOCK_ROWS):  # en deux passes : soustraire μμᵀ après coup perdrait des chiffres
        covariance += _gram(rows.double() - mean)
    return mean, covariance / (len(features) - 1)


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Calcule la distance de Fréchet ‖μ_a - μ_b‖² + tr(S_a + S_b - 2 (S_a S_b)^½) entre deux nuages.

    features_a, features_b  (N, D) et (M, D), du même espace de caractéristiques ; l'unité est celle des
                            caractéristiques, au carré

    C'est la distance de Wasserstein 2, au carré, entre les gaussiennes de mêmes moments. Dans l'espace d'Inception on
    la nomme FID (Heusel et al., 2017, éq. 6). L'estimation est biaisée vers le haut, d'autant plus que N et M sont
    petits : ne comparez que des distances de mêmes N et M.

    Avertit (UserWarning) si N ou M <= D : une covariance n'est alors pas de plein rang. Lève ValueError si les
    formes ne s'accordent pas, s'il y a moins de deux échantillons ou une valeur non finie.
    """
    features_a, features_b = _check_pair(features_a, features_b)
    smallest, dim = min(len(features_a), len(features_b)), features_a.shape[1]
    if smallest <= dim:
        warnings.warn(
            f"{smallest} échantillons pour {dim} dimensions : la covariance n'est pas de plein rang et la distance de "
            f"Fréchet est fortement biaisée. Prenez plus de {dim} échantillons, ou un espace plus petit.",
            stacklevel=2,
        )
    return frechet_from_moments(*moments(features_a), *moments(features_b))


def frechet_from_moments(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Calcule la distance de Fréchet entre deux gaussiennes données par leurs moyennes (D,) et covariances (D, D).

    S_a S_b n'est pas symétrique ; avec S = F Fᵀ, la trace de sa racine est la somme des valeurs singulières de
    F_aᵀ F_b (Dowson et Landau, 1982, éq. 4, réécrite). Aucune racine de petit nombre négatif : FID(x, x) = 0.
    """
    factor_a, factor_b = _factor(covariance_a), _factor(covariance_b)
    shift = (mean_a.double() - mean_b.double()).square().sum()
    cross = _sum_of_singular_values(factor_a.T @ factor_b)
    distance = shift + factor_a.square().sum() + factor_b.square().sum() - 2 * cross
    return max(distance.item(), 0.0)


def kernel_distance(
    real: Tensor, fake: Tensor, subset_size: int | None = None, subsets: int = 100, seed: int = 0
) -> KernelDistance:
    """Calcule la distance à noyau (KID) : MMD² sans biais, noyau k(x, y) = (x·y / D + 1)³, sur des sous-ensembles.

    real, fake   (N, D) et (M, D), du même espace de caractéristiques
    subset_size  images de chaque sous-ensemble, tirées sans remise ; par défaut 1000, ou la moitié de ce qu'il y a
    subsets      nombre de sous-ensembles
    seed         graine des tirages ; à graine égale, les mêmes qu'avec torch-fidelity

    MMD² = moyenne des k(x, x') + moyenne des k(y, y') - 2 moyenne des k(x, y), sans les paires x = x' ni y = y' : le
    résultat, sans biais quel que soit N, peut être un peu négatif. Source : Bińkowski et al., 2018, § 3.

    `std` est l'écart-type d'UN sous-ensemble de taille m ; ils se recouvrent, et celui de leur moyenne vaut à peu près
    std·√(m / (n - m) + 1 / subsets), n = min(N, M) (Politis et Romano, 1994).

    Lève ValueError si les formes ne s'accordent pas, si une valeur n'est pas finie ou un réglage impossible.
    """
    real, fake = _check_pair(real, fake)
    n = min(len(real), len(fake))
    size = min(1000, max(2, n // 2)) if subset_size is None else subset_size
    if not 2 <= size <= n or subsets < 1:
        raise ValueError(
            f"subset_size={size}, subsets={subsets} : il faut 2 <= subset_size <= {n} échantillons et subsets >= 1."
        )
    # RandomState, dont la suite est figée pour toujours, et dans cet ordre : celui de torch-fidelity.
    draw = np.random.RandomState(seed)
    estimates = []
    for _ in range(subsets):
        x = real[torch.from_numpy(draw.choice(len(real), size, replace=False)).to(real.device)]
        y = fake[torch.from_numpy(draw.choice(len(fake), size, replace=False)).to(fake.device)]
        estimates.append(_squared_mmd(x.double(), y.double()))
    value, std = float(np.mean(estimates)), float(np.std(estimates))
    margin = 1.96 * std * (size / (n - size) + 1 / subsets) ** 0.5 if size < n and subsets > 1 else math.nan
    return KernelDistance(value, std, value - margin, value + margin)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Calcule la précision et le rappel de `fake` par rapport à `real`, par les boules des k plus proches voisins.

    real, fake  (N, D) et (M, D), du même espace ; gardez N = M pour comparer deux mesures
    k           le rayon de la boule d'un point va jusqu'à son k-ième voisin dans son propre nuage

    Précision : part des points de `fake` dans une boule au moins de `real`. Rappel : l'inverse. Source :
    Kynkäänniemi et al., 2019, éq. 1 et 2, avec k = 3. Mémoire bornée : les distances se calculent par tranches.

    Lève ValueError si les formes ne s'accordent pas, si une valeur n'est pas finie ou s'il y a k points ou moins.
    """
    real, fake = _check_pair(real, fake, k)
    in_real, in_fake = _balls(real, fake, k)[0], _balls(fake, real, k)[0]
    return PrecisionRecall((in_real > 0).double().mean().item(), (in_fake > 0).double().mean().item())


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Calcule la densité et la couverture de `fake` par rapport à `real`, par les boules des seuls points réels.

    real, fake  (N, D) et (M, D), du même espace ; gardez N = M pour comparer deux mesures
    k           le rayon de la boule d'un point réel va jusqu'à son k-ième voisin réel

    Densité : nombre moyen de boules réelles autour d'un point de `fake`, divisé par k ; 1 en moyenne si les deux lois
    sont égales. Couverture : part des boules réelles qui contiennent un point de `fake`. Un point réel isolé, dont la
    boule est immense, trompe moins la densité que la précision. Source : Naeem et al., 2020, éq. 3 et 4, k = 5.

    Lève ValueError si les formes ne s'accordent pas, si une valeur n'est pas finie ou s'il y a k points ou moins.
    """
    real, fake = _check_pair(real, fake, k)
    _, inside, reached = _balls(real, fake, k)
    return DensityCoverage(inside.double().mean().item() / k, reached.double().mean().item())


def patch_distance(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """Calcule l'écart entre les patchs 7 × 7 de deux jeux d'images uint8 (N, C, H, W), sans aucun réseau.

    Chaque jeu devient une pyramide laplacienne : les détails à pleine taille, à moitié, … jusqu'à 16 pixels, où reste
    l'image réduite. À chaque étage, seize patchs par image sont réduits (moyenne et écart-type de chaque canal, chez
    `real`) et projetés sur 128 directions ; triées, les projections donnent une distance de Wasserstein par tranches.
    Rend la moyenne sur les étages, en écarts-types. Elle voit le flou, le bruit, les quadrillages ; ni les objets, ni
    une classe oubliée. Source : Karras et al., 2018, § 5.

    Lève ValueError si les deux jeux n'ont pas la même forme d'images, ou sont plus petits que 16 pixels.
    """
    if real.dim() != 4 or real.shape[1:] != fake.shape[1:] or min(real.shape[2:]) < 16:
        raise ValueError(
            f"Images {tuple(real.shape)} et {tuple(fake.shape)} : il en faut deux lots de même forme, (N, C, H, W), "
            "de 16 pixels de côté au moins."
        )
    count, draw = min(len(real), len(fake)), torch.Generator().manual_seed(seed)
    distances = []
    for real_level, fake_level in zip(_pyramid(real[:count]), _pyramid(fake[:count])):
        real_patches, fake_patches = _patches(real_level, draw), _patches(fake_level, draw)
        mean, std = real_patches.mean((0, 2), keepdim=True), real_patches.std((0, 2), keepdim=True) + 1e-6
        directions = torch.randn(real_patches[0].numel(), 128, generator=draw)
        directions /= directions.norm(dim=0)
        projected = [((p - mean) / std).flatten(1) @ directions for p in (real_patches, fake_patches)]
        one, other = (p.sort(dim=0).values for p in projected)
        distances.append((one - other).abs().mean().item())
    return sum(distances) / len(distances)


def _pyramid(images: Tensor, least: int = 16) -> list[Tensor]:
    """Les étages d'une pyramide laplacienne, du plus fin au plus grossier, dans [-1, 1]."""
    x, levels = images.cpu().float() / 127.5 - 1, []
    while min(x.shape[2:]) >= 2 * least:
        half = interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
        levels.append(x - interpolate(half, size=x.shape[2:], mode="bilinear"))
        x = half
    return [*levels, x]


def _patches(level: Tensor, draw: torch.Generator, per_image: int = 16, side: int = 7) -> Tensor:
    """`per_image` patchs au hasard de chaque image : (N · per_image, C, side²)."""
    count, channels, height, width = level.shape
    corner = torch.randint((height - side + 1) * (width - side + 1), (count, per_image, 1), generator=draw)
    row, column = corner // (width - side + 1), corner % (width - side + 1)
    inside = (torch.arange(side)[:, None] * width + torch.arange(side)).flatten()
    where = (row * width + column + inside).flatten(1)[:, None].expand(-1, channels, -1)
    patches = level.flatten(2).gather(2, where).unflatten(2, (per_image, -1))
    return patches.transpose(1, 2).flatten(0, 1)


def _balls(centers: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compte les boules des k plus proches voisins de `centers` (N, D) qui contiennent chacun des M points.

    Rend le nombre de boules fermées (M,), de boules ouvertes (M,), et quelles boules ouvertes ont un point (N,).
    """
    # ‖x - y‖² est calculé par ‖x‖² + ‖y‖² - 2 x·y : loin de l'origine, il ne resterait rien des petites distances.
    origin = centers.mean(dim=0, dtype=torch.float64)

    def distances(rows: Tensor, others: Tensor) -> Tensor:
        rows = rows.double() - origin
        return torch.cat([torch.cdist(rows, block.double() - origin) for block in others.split(BLOCK_ROWS)], dim=1)

    at_most, inside = (torch.zeros(len(points), dtype=torch.int64, device=points.device) for _ in range(2))
    reached = []
    for rows in centers.split(max(1, BLOCK_DISTANCES // max(len(centers), len(points)))):
        # Le plus proche voisin d'un centre est lui-même : le k-ième autre est au rang k + 1.
        radius = distances(rows, centers).kthvalue(k + 1, dim=1).values[:, None]
        to_points = distances(rows, points)
        at_most += (to_points <= radius).sum(dim=0)
        within = to_points < radius
        inside += within.sum(dim=0)
        reached.append(within.any(dim=1))
    return at_most, inside, torch.cat(reached)


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    """MMD² sans biais entre deux paquets (m, D) de même taille, pour le noyau (x·y / D + 1)³."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    m, xx, yy = len(x), kernel(x, x), kernel(y, y)
    within = xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()
    return (within / (m * (m - 1)) - 2 * kernel(x, y).mean()).item()


def _factor(covariance: Tensor) -> Tensor:
    """F (D, r) telle que F Fᵀ = covariance ; les directions de variance nulle, à l'arrondi près, sont laissées."""
    covariance = covariance.double()
    lower, failed = torch.linalg.cholesky_ex(covariance)  # bien plus vite que les vecteurs propres
    pivots = lower.diagonal()
    if not failed and pivots.min() > 1e-5 * pivots.max():
        return lower
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()


def _gram(x: Tensor) -> Tensor:
    """XᵀX. Sur processeur, NumPy reconnaît un produit symétrique et n'en calcule que la moitié."""
    x = x.detach()
    return torch.from_numpy(x.numpy().T @ x.numpy()) if x.device.type == "cpu" else x.T @ x


def _sum_of_singular_values(product: Tensor) -> Tensor:
    """Par les racines des valeurs propres de XᵀX, plus vite, là où leur arrondi ne se voit pas."""
    squares = torch.linalg.eigvalsh(_gram(product))
    roots = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()
    slack = torch.finfo(squares.dtype).eps * squares[-1:].sum()  # de la plus grande, s'il y en a une
    rounding = torch.minimum(slack / (2 * roots), slack.sqrt()).norm()  # une racine se trompe de √slack au plus
    return roots.sum() if rounding < 3e-9 * roots.sum() else torch.linalg.svdvals(product).sum()


def _check_pair(a: Tensor, b: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Deux nuages du même espace, de plus de k points chacun."""
    least = check_positive("k", k) + 1
    a, b = check_rows("Le premier nuage", a, least=least), check_rows("Le second nuage", b, least=least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"Le premier nuage a {a.shape[1]} dimensions et le second en a {b.shape[1]} : ils ne viennent pas du même "
            "espace. Prenez le même extracteur."
        )
    return a, b


def check_rows(name: str, rows: Tensor, dim: int | None = None, least: int = 1) -> Tensor:
    """Rend des vecteurs (N, D) finis, N d'au moins `least`, D valant `dim` s'il est donné ; sans graphe.

    Lève TypeError ou ValueError, en nommant `name`, si ce n'en sont pas.
    """
    rows = as_tensor(name, rows).detach()
    if rows.dim() != 2 or not rows.shape[1] or rows.shape[1] != (dim or rows.shape[1]) or len(rows) < least:
        raise ValueError(f"{name} : {tuple(rows.shape)} reçu ; il faut (N, {dim or 'D'}), N d'au moins {least}.")
    if not rows.isfinite().all():
        raise ValueError(f"{name} : NaN ou l'infini reçu. Le réseau d'où viennent ces nombres a sans doute divergé.")
    return rows.cpu() if rows.device.type == "mps" else rows  # cette puce ne sait pas le float64


def as_tensor(name: str, values: object, expected: str = "un tenseur de réels, comme torch.randn(4, 64)") -> Tensor:
    """Un tableau ou une liste de nombres, en tenseur ; TypeError, en nommant `name`, si ce n'en est pas."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} : {type(values).__name__} reçu ; il faut {expected}.") from error
