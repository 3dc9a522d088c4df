"""Deux descriptions des mêmes images se correspondent-elles ? Codes z d'un côté, paramètres connus de l'autre.

Trois mesures, prises sur des images qui n'ont pas servi à l'ajustement : les corrélations canoniques, la part de
variance expliquée (R²) par une régression linéaire, et celle par les plus proches voisins, qui ne suppose aucune forme.
Le hasard se mesure de la même façon, en mélangeant les paramètres.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_course.engine.numbers import check_positive
from gan_course.metrics import check_rows

RIDGE = 1e-3  # régularisation, relative à la variance


@dataclass(frozen=True)
class Correspondence:
    """Ce que `codes` dit de `parameters`, sur les images d'essai.

    canonical  corrélations canoniques, décroissantes, (min(D, P),)
    linear     R² de chaque paramètre par régression linéaire, (P,) ; négatif : pire que prédire la moyenne
    neighbours R² de chaque paramètre par la moyenne des k plus proches voisins, (P,)
    """

    canonical: Tensor
    linear: Tensor
    neighbours: Tensor


def correspondence(codes: Tensor, parameters: Tensor, seed: int = 0, k: int = 10) -> Correspondence:
    """Mesure, dans les deux moitiés d'un partage au hasard, ce que codes (N, D) dit de parameters (N, P).

    On ajuste sur la première moitié, on mesure sur la seconde. Lève ValueError si les longueurs diffèrent, si N < 4 (D
    + P), si une valeur n'est pas finie, si un paramètre est constant ou si un réglage ne convient pas. Corrélations
    canoniques : Hotelling, 1936.
    """
    codes, parameters = _checked(codes, parameters)
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))
    fit, held = order.chunk(2)
    if check_positive("k", k) > len(fit):
        raise ValueError(f"k={k} voisins demandés ; l'ajustement a {len(fit)} images : il faut de 1 à ce nombre.")
    halves = parameters[fit], parameters[held]
    constant = torch.stack([half.amin(0) == half.amax(0) for half in halves]).any(0).nonzero().flatten().tolist()
    if constant:
        raise ValueError(
            f"Paramètre(s) n° {constant} : constants dans une moitié des images, ils n'ont rien à expliquer. Ôtez-les, "
            "ou prenez plus d'images."
        )
    x, y = (_standardize(v[fit], v) for v in (codes, parameters))
    canonical = canonical_correlations(x[fit], y[fit], x[held], y[held])
    weights = _ridge(x[fit], y[fit])
    nearest = torch.cdist(x[held], x[fit]).topk(k, largest=False).indices
    return Correspondence(canonical, _r2(x[held] @ weights, y[held]), _r2(y[fit][nearest].mean(1), y[held]))


def chance(codes: Tensor, parameters: Tensor, repeats: int = 5, seed: int = 0) -> list[Correspondence]:
    """Les mêmes mesures quand les paramètres sont mélangés : ce que le hasard donne, `repeats` fois."""
    codes, parameters = _checked(codes, parameters)
    draw = torch.Generator().manual_seed(seed)
    shuffles = [torch.randperm(len(parameters), generator=draw) for _ in range(check_positive("repeats", repeats))]
    return [correspondence(codes, parameters[shuffle], seed + i) for i, shuffle in enumerate(shuffles)]


def canonical_correlations(x_fit: Tensor, y_fit: Tensor, x_held: Tensor, y_held: Tensor) -> Tensor:
    """Corrélations des couples de directions canoniques, ajustées sur (x_fit, y_fit), mesurées sur (x_held, y_held).

    Entrées centrées, (N, D) et (N, P). Rend (min(D, P),), des valeurs de [-1, 1] : hors des données d'ajustement, une
    corrélation trompeuse retombe à 0 environ.
    """
    white_x, white_y = _whitening(x_fit), _whitening(y_fit)
    cross = white_x.T @ (x_fit.T @ y_fit / len(x_fit)) @ white_y
    left, _, right = torch.linalg.svd(cross, full_matrices=False)
    a, b = x_held @ white_x @ left, y_held @ white_y @ right.T
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-12)


def _checked(codes: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    codes, parameters = check_rows("codes", codes), check_rows("parameters", parameters)
    if len(codes) != len(parameters):
        raise ValueError(f"{len(codes)} codes pour {len(parameters)} jeux de paramètres : il en faut autant.")
    needed = 4 * (codes.shape[1] + parameters.shape[1])
    if len(codes) < needed:
        raise ValueError(
            f"{len(codes)} images ne suffisent pas pour {codes.shape[1]} + {parameters.shape[1]} nombres : une "
            f"corrélation apparaîtrait par hasard. Prenez-en {needed} au moins."
        )
    return codes.cpu().double(), parameters.cpu().double()


def _standardize(fit: Tensor, values: Tensor) -> Tensor:
    """Centre et réduit `values` par les statistiques de `fit` ; une coordonnée constante devient nulle."""
    return (values - fit.mean(0)) / fit.std(0).clamp_min(1e-9)


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """Poids (D, P) des moindres carrés régularisés, x et y centrés."""
    gram = x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(gram, x.T @ y / len(x))


def _whitening(x: Tensor) -> Tensor:
    """Matrice (D, D) qui rend x de covariance identité."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype))
    return vectors / values.sqrt()


def _r2(predicted: Tensor, truth: Tensor) -> Tensor:
    """1 - erreur quadratique / variance, par colonne."""
    residual = (predicted - truth).square().sum(0)
    return (1 - residual / (truth - truth.mean(0)).square().sum(0).clamp_min(1e-12)).float()
