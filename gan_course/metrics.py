"""Mesurer ce qu'un GAN a appris : des fonctions pures d'échantillons."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 4096  # lignes mises en float64 à la fois
BLOCK_DISTANCES = 2**22  # distances tenues à la fois : 32 Mo par matrice


class ModeCoverage(NamedTuple):
    """`covered` modes atteints sur `modes` ; `precision`, part des points proches d'un centre ; `counts`, par mode."""

    covered: int
    modes: int
    precision: float
    counts: Tensor


def mode_coverage(points: Tensor, centers: Tensor, std: float, radius: float = 3.0) -> ModeCoverage:
    """Compte les modes d'un mélange de gaussiennes atteints par des points générés.

    points   (N, D), les points générés
    centers  (K, D), les centres des modes
    std      écart-type commun des modes, dans l'unité des points
    radius   un point appartient à son centre le plus proche s'il en est à moins de `radius` écarts-types

    Un mode est couvert s'il reçoit au moins un cinquième de sa juste part, N / 5K points : un point isolé ne suffit
    pas. Source : Srivastava et al., 2017 (VEEGAN), § 4.1, avec un seuil de couverture plus exigeant.

    Lève ValueError si les formes ne s'accordent pas ou si un point n'est pas fini.
    """
    points, centers = torch.as_tensor(points), torch.as_tensor(centers)
    if points.dim() != 2 or centers.dim() != 2 or points.shape[1] != centers.shape[1]:
        raise ValueError(
            f"points {tuple(points.shape)} et centers {tuple(centers.shape)} : il faut (N, D) et (K, D), même D."
        )
    if not len(points) or not len(centers) or std <= 0:
        raise ValueError(
            f"{len(points)} points, {len(centers)} centres, std={std} : il faut un point, un centre et std > 0."
        )
    if not torch.isfinite(points).all():
        raise ValueError("Certains points ne sont pas des nombres finis : l'entraînement a sans doute divergé.")
    distance, nearest = torch.cdist(points.float(), centers.float()).min(dim=1)
    close = distance <= radius * std
    counts = torch.bincount(nearest[close], minlength=len(centers))
    covered = int((counts >= len(points) / len(centers) / 5).sum())  # un cinquième de la juste part
    return ModeCoverage(covered, len(centers), close.float().mean().item(), counts)


class Moments(NamedTuple):
    """Moyenne (D,) et covariance (D, D), en float64, de `count` échantillons."""

    mean: Tensor
    covariance: Tensor
    count: int


class KernelDistance(NamedTuple):
    """`value`, moyenne des MMD² de `subsets` sous-ensembles de `subset_size` images ; `std`, leur écart-type.

    `low` et `high` bornent un intervalle de confiance à 95 % de `value` : NaN si les sous-ensembles prennent tout.
    """

    value: float
    std: float
    low: float
    high: float
    subset_size: int
    subsets: int

    def __float__(self) -> float:
        return self.value


class PrecisionRecall(NamedTuple):
    """Parts, de 0 à 1 : des images générées qui sont plausibles, des images réelles que G sait approcher."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """`density`, qui peut dépasser 1 ; `coverage`, part de 0 à 1 des images réelles qui ont une voisine générée."""

    density: float
    coverage: float


def moments(features: Tensor) -> Moments:
    """Calcule la moyenne et la covariance (divisée par N - 1) de caractéristiques (N, D), en float64.

    Lève ValueError si la forme n'est pas (N, D), s'il y a moins de deux lignes ou une valeur non finie.
    """
    features = _check_features("features", features)
    mean = features.mean(dim=0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for rows in features.split(BLOCK_ROWS):  # en deux passes : soustraire μμᵀ après coup perdrait des chiffres
        centered = rows.double() - mean
        covariance += centered.T @ centered
    return Moments(mean, covariance / (len(features) - 1), len(features))


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
    features_a, features_b = _check_pair("features_a", features_a, "features_b", features_b)
    smallest, dim = min(len(features_a), len(features_b)), features_a.shape[1]
    if smallest <= dim:
        warnings.warn(
            f"{smallest} échantillons pour {dim} dimensions : la covariance n'est pas de plein rang et la distance de "
            f"Fréchet est fortement biaisée. Prenez plus de {dim} échantillons, ou un espace plus petit.",
            stacklevel=2,
        )
    a, b = moments(features_a), moments(features_b)
    return frechet_from_moments(a.mean, a.covariance, b.mean, b.covariance)


def frechet_from_moments(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """Calcule la distance de Fréchet entre deux gaussiennes données par leurs moyennes (D,) et covariances (D, D).

    S_a S_b n'est pas symétrique ; avec S = F Fᵀ, la trace de sa racine est la somme des valeurs singulières de
    F_aᵀ F_b (Dowson et Landau, 1982, éq. 4, réécrite). Aucune racine de petit nombre négatif : FID(x, x) = 0.

    Lève ValueError si les formes ne s'accordent pas, ou si une covariance n'est pas finie, symétrique et positive.
    """
    mean_a, mean_b = (torch.as_tensor(mean).detach().double() for mean in (mean_a, mean_b))
    if mean_a.dim() != 1 or mean_a.shape != mean_b.shape:
        raise ValueError(
            f"Moyennes de formes {tuple(mean_a.shape)} et {tuple(mean_b.shape)} : il faut deux fois (D,), même D. "
            "Les deux nuages viennent-ils du même espace ?"
        )
    factor_a, factor_b = (_factor(covariance, mean_a) for covariance in (covariance_a, covariance_b))
    shift = (mean_a - mean_b).square().sum()
    cross = torch.linalg.svdvals(factor_a.T @ factor_b).sum()
    distance = shift + factor_a.square().sum() + factor_b.square().sum() - 2 * cross
    if not torch.isfinite(distance):
        raise ValueError("Une moyenne n'est pas finie : l'entraînement a sans doute divergé.")
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
    real, fake = _check_pair("real", real, "fake", fake)
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
    return KernelDistance(value, std, value - margin, value + margin, size, subsets)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Calcule la précision et le rappel de `fake` par rapport à `real`, par les boules des k plus proches voisins.

    real, fake  (N, D) et (M, D), du même espace ; gardez N = M pour comparer deux mesures
    k           le rayon de la boule d'un point va jusqu'à son k-ième voisin dans son propre nuage

    Précision : part des points de `fake` dans une boule au moins de `real`. Rappel : l'inverse. Source :
    Kynkäänniemi et al., 2019, éq. 1 et 2, avec k = 3. Mémoire bornée : les distances se calculent par tranches.

    Lève ValueError si les formes ne s'accordent pas, si une valeur n'est pas finie ou s'il y a k points ou moins.
    """
    real, fake = _check_pair("real", real, "fake", fake, k)
    precision = (_balls(real, fake, k).at_most > 0).double().mean().item()
    recall = (_balls(fake, real, k).at_most > 0).double().mean().item()
    return PrecisionRecall(precision, recall)


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Calcule la densité et la couverture de `fake` par rapport à `real`, par les boules des seuls points réels.

    real, fake  (N, D) et (M, D), du même espace ; gardez N = M pour comparer deux mesures
    k           le rayon de la boule d'un point réel va jusqu'à son k-ième voisin réel

    Densité : nombre moyen de boules réelles autour d'un point de `fake`, divisé par k ; 1 en moyenne si les deux lois
    sont égales. Couverture : part des boules réelles qui contiennent un point de `fake`. Un point réel isolé, dont la
    boule est immense, trompe moins la densité que la précision. Source : Naeem et al., 2020, éq. 3 et 4, k = 5.

    Lève ValueError si les formes ne s'accordent pas, si une valeur n'est pas finie ou s'il y a k points ou moins.
    """
    real, fake = _check_pair("real", real, "fake", fake, k)
    balls = _balls(real, fake, k)
    return DensityCoverage(balls.inside.double().mean().item() / k, balls.reached.double().mean().item())


class _Balls(NamedTuple):
    at_most: Tensor  # (M,) boules fermées autour de chaque point
    inside: Tensor  # (M,) boules ouvertes autour de chaque point
    reached: Tensor  # (N,) vrai si la boule ouverte contient un point


def _balls(centers: Tensor, points: Tensor, k: int) -> _Balls:
    """Compte les boules des k plus proches voisins de `centers` (N, D) qui contiennent chaque point de (M, D)."""
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
    return _Balls(at_most, inside, torch.cat(reached))


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    """MMD² sans biais entre deux paquets (m, D) de même taille, pour le noyau (x·y / D + 1)³."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    m, xx, yy = len(x), kernel(x, x), kernel(y, y)
    within = xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()
    return (within / (m * (m - 1)) - 2 * kernel(x, y).mean()).item()


def _factor(covariance: Tensor, mean: Tensor) -> Tensor:
    """F (D, r) telle que F Fᵀ = covariance ; les directions de variance nulle, à l'arrondi près, sont laissées."""
    covariance = torch.as_tensor(covariance).detach().to(mean)
    if covariance.shape != (dim := len(mean), dim):
        raise ValueError(f"Une covariance est de forme {tuple(covariance.shape)} ; il faut ({dim}, {dim}).")
    if not torch.isfinite(covariance).all():
        raise ValueError("Une covariance n'est pas finie : l'entraînement a sans doute divergé.")
    scale = covariance.abs().max()
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    if (covariance - covariance.T).abs().max() > 1e-5 * scale or values[0] < -1e-5 * scale:
        raise ValueError("Une covariance n'est pas symétrique positive : calculez-la par metrics.moments(features).")
    kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()


def _check_features(name: str, features: Tensor, k: int = 1) -> Tensor:
    """Caractéristiques (N, D) finies, N > k, sans graphe ; ValueError sinon."""
    features = torch.as_tensor(features).detach()
    if features.dim() != 2 or not features.shape[1]:
        raise ValueError(f"{name} est de forme {tuple(features.shape)} ; il faut (N, D), une ligne par image.")
    if not 1 <= k < len(features):
        raise ValueError(f"{name} a {len(features)} échantillon(s) pour k = {k} : il faut k >= 1 et plus de k lignes.")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} contient des valeurs non finies : l'entraînement a sans doute divergé.")
    return features.cpu() if features.device.type == "mps" else features  # cette puce ne sait pas le float64


def _check_pair(name_a: str, a: Tensor, name_b: str, b: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    a, b = _check_features(name_a, a, k), _check_features(name_b, b, k)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{name_a} a {a.shape[1]} dimensions et {name_b} en a {b.shape[1]} : ils ne viennent pas du même espace. "
            "Prenez le même extracteur."
        )
    return a, b
