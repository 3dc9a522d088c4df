"""Chapitre 06 : tourner dans l'espace latent (`slerp_batch`), mesurer l'écart de deux nuages (`frechet_distance`)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.chapter02_latent import slerp_turns_at_every_angle
from gan_course.exercises.expect import Broken, expect_close, expect_shape, kind_of, number
from gan_course.exercises.report import Exercise, Property

# --- slerp_batch(a, b, t) ------------------------------------------------------------------------------------

ANGLES = torch.tensor([0.4, math.pi / 2, 2.6, 1.1])
NORMS = torch.tensor([1.0, 3.0, 8.0, 0.2])


def pairs() -> tuple[Tensor, Tensor]:
    """Quatre couples (4, 6), chacun avec son angle et sa norme, dans un plan quelconque."""
    basis = torch.linalg.qr(torch.randn(4, 6, 2)).Q.transpose(1, 2)
    a, side = basis[:, 0], basis[:, 1]
    b = torch.cos(ANGLES)[:, None] * a + torch.sin(ANGLES)[:, None] * side
    return NORMS[:, None] * a, NORMS[:, None] * b


def turned(answer: Callable, a: Tensor, b: Tensor, t: float) -> Tensor:
    got = answer(a.clone(), b.clone(), t)
    expect_shape(got, tuple(a.shape), f"a et b de forme {tuple(a.shape)}, t = {number(t)}")
    return got


def both_ends_are_reached(answer: Callable) -> None:
    a, b = pairs()
    expect_close(turned(answer, a, b, 0.0), a, "t = 0 : a", 1e-4)
    expect_close(turned(answer, a, b, 1.0), b, "t = 1 : b", 1e-4)


def every_row_keeps_its_norm(answer: Callable) -> None:
    a, b = pairs()
    for t in (0.25, 0.5):
        expect_close(
            turned(answer, a, b, t).norm(dim=1), NORMS, f"Norme de chaque ligne à t = {number(t)}", 2e-3
        )


def every_row_turns_at_its_speed(answer: Callable) -> None:
    a, b = pairs()
    for t in (0.2, 0.7):
        got = turned(answer, a, b, t)
        cosine = (got * a).sum(1) / (got.norm(dim=1) * a.norm(dim=1))
        what = f"Angle de chaque ligne avec a à t = {number(t)}, en degrés"
        expect_close(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))), torch.rad2deg(t * ANGLES), what, 5e-3)


def equal_rows_stay_where_they_are(answer: Callable) -> None:
    a, b = pairs()
    expected = (a + b) / (2 * torch.cos(ANGLES / 2))[:, None]  # le milieu de chaque arc
    b[1] = expected[1] = a[1]
    middle = turned(answer, a, b, 0.5)
    if not middle.isfinite().all():
        raise Broken("Une ligne où b = a : le résultat contient nan ou inf.")
    expect_close(middle[1], a[1], "La ligne où b = a, à t = 0,5", 1e-3)
    expect_close(middle, expected, "Les quatre lignes à t = 0,5, quand b = a sur la deuxième", 5e-3)
    many = torch.randn(64, 100)  # le cosinus de bien des lignes dépasse 1 d'un arrondi
    still = turned(answer, many, many, 0.4)
    if not still.isfinite().all():
        count = int((~still.isfinite().all(1)).sum())
        raise Broken(f"Lot (64, 100) où b = a partout : {count} lignes contiennent nan ou inf.")
    expect_close(still, many, "Lot (64, 100) où b = a partout, à t = 0,4", 1e-3)


def impossible_rows_are_refused(answer: Callable) -> None:
    a, b = pairs()
    opposed, null_a, null_b = b.clone(), a.clone(), b.clone()
    opposed[2], null_a[3], null_b[0] = -a[2], 0.0, 0.0
    cases = (
        (a, opposed, "vecteurs opposés sur la troisième ligne"),
        (null_a, b, "dont un vecteur nul, celui de a sur la quatrième ligne"),
        (a, null_b, "dont un vecteur nul, celui de b sur la première ligne"),
    )
    for first, second, what in cases:
        try:
            got = answer(first.clone(), second.clone(), 0.5)
        except ValueError:
            continue
        found = kind_of(got)
        if isinstance(got, Tensor) and not got.isfinite().all():
            found = "un tenseur où il y a nan ou inf"
        raise Broken(f"a et b, {what} : il fallait lever ValueError, et la fonction a rendu {found}.")


# --- frechet_distance(a, b) ----------------------------------------------------------------------------------

MIXING = torch.tensor(
    [[1.0, 0.5, 0.0, 0.2], [0.0, 2.0, 0.5, 0.0], [0.0, 0.0, 0.5, 0.4], [0.3, 0.0, 0.0, 1.0]]
)


def cloud(count: int, seed: int = 0) -> Tensor:
    """Un nuage (count, 4) corrélé, d'écarts-types différents d'une coordonnée à l'autre."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=draw) @ MIXING + torch.tensor([1.0, -2.0, 0.5, 3.0])


def rotated(points: Tensor) -> Tensor:
    """Le nuage tourné de 90° dans deux plans, autour de sa moyenne : mêmes variances en tout, autres corrélations."""
    turn = torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 1], [-1, 0, 0, 0], [0, -1, 0, 0]])
    return (points - points.mean(0)) @ turn + points.mean(0)


def reference(a: Tensor, b: Tensor) -> float:
    """La formule en float64, par la racine symétrique S_a^½ S_b S_a^½."""
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return (shift + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * cross).item()


def distance(answer: Callable, a: Tensor, b: Tensor, what: str) -> object:
    """La réponse de l'étudiant, après avoir refusé un nombre complexe ou nan."""
    got = answer(a.clone(), b.clone())
    if isinstance(got, complex) or (isinstance(got, Tensor) and got.is_complex()):
        raise Broken(
            f"{what} : le résultat est un nombre complexe. La racine n'est pas prise sur une matrice symétrique."
        )
    if isinstance(got, (float, Tensor)) and not torch.as_tensor(got).isfinite().all():
        raise Broken(f"{what} : obtenu {got}. La racine d'un petit nombre négatif, peut-être.")
    return got


def a_cloud_is_at_zero_from_itself(answer: Callable) -> None:
    a = cloud(500)
    expect_close(distance(answer, a, a, "D'un nuage à lui-même"), 0.0, "D'un nuage (500, 4) à lui-même", 2e-3)


def a_shift_costs_its_square(answer: Callable) -> None:
    a = cloud(500)
    got = distance(answer, a, a + torch.tensor([3.0, 0.0, -4.0, 0.0]), "Nuage décalé")
    expect_close(got, 25.0, "Nuage décalé de δ = (3, 0, -4, 0) : il faut ‖δ‖²", 2e-3)


def a_stretch_costs_its_gap(answer: Callable) -> None:
    a = cloud(500)
    expected = 4 * torch.cov(a.T).trace()  # S_b = 9 S_a : tr(S_a + 9 S_a - 6 S_a)
    got = distance(answer, a, a.mean(0) + 3 * (a - a.mean(0)), "Nuage trois fois plus étalé")
    expect_close(got, expected, "Nuage trois fois plus étalé : il faut 4 tr(S)", 1e-2)


def correlations_count(answer: Callable) -> None:
    a = cloud(800)
    got = distance(answer, a, rotated(a), "Nuage tourné")
    expect_close(
        got, reference(a, rotated(a)), "Nuage tourné : mêmes variances au total, autres corrélations", 1e-2
    )


def the_distance_is_symmetric(answer: Callable) -> None:
    a, b = cloud(400), rotated(cloud(900, seed=1)) * 1.5 + 1
    expected = reference(a, b)
    for first, second, what in ((a, b, "Nuages de 400 et de 900 points"), (b, a, "Les mêmes, échangés")):
        expect_close(distance(answer, first, second, what), expected, what, 1e-2)


def flat_clouds_are_measured_too(answer: Callable) -> None:
    a, b = torch.randn(300, 5), torch.randn(300, 5)
    a, b = torch.cat([a, a[:, :2]], 1), torch.cat([b, b[:, :2] - 1], 1)
    got = distance(answer, a, b, "Deux caractéristiques répétées")
    expect_close(
        got, reference(a, b), "Nuages (300, 7) dont deux caractéristiques en répètent deux autres", 2e-2
    )


EXERCISES: dict[str, Exercise] = {
    "slerp_batch": Exercise(
        "slerp_batch",
        (
            Property(
                "t = 0 rend a, t = 1 rend b",
                both_ends_are_reached,
                "la promenade ne part pas de la bonne image, ou n'y arrive pas.",
            ),
            Property(
                "chaque ligne garde sa propre norme",
                every_row_keeps_its_norm,
                "le chemin quitte les normes sur lesquelles G a été entraîné.",
            ),
            Property(
                "chaque ligne tourne à vitesse constante, de son propre angle",
                every_row_turns_at_its_speed,
                "le long du chemin, l'image changerait par à-coups.",
            ),
            Property(
                "une ligne où b = a reste en place, sans nan, et les autres n'en souffrent pas",
                equal_rows_stay_where_they_are,
                "deux étapes égales dans une seule ligne gâcheraient le lot.",
            ),
            Property(
                "les angles très petits et proches de 180° se parcourent comme les autres",
                lambda answer: slerp_turns_at_every_angle(lambda a, b, t: answer(a[None], b[None], t)[0]),
                "certaines promenades s'arrêteraient, ou resteraient sur place.",
            ),
            Property(
                "deux vecteurs opposés, ou un vecteur nul, sont refusés par ValueError",
                impossible_rows_are_refused,
                "un chemin inventé par les erreurs d'arrondi serait montré sans que rien ne le dise.",
            ),
        ),
        (
            "Comme pour un seul couple, mais tout se calcule par ligne : dim=-1, keepdim=True.",
            "L'angle ω est (B, 1). Refusez d'abord les normes nulles, puis ω > π - 1e-3. Pour ω presque nul, "
            "torch.where choisit lerp, ligne par ligne ; remplacez aussi le sinus par 1, sinon nan × 0 reste nan.",
            "cosine = (a * b).sum(-1, keepdim=True) / (norm_a * norm_b) ; omega = torch.arccos(cosine.clamp(-1, 1)) ; "
            "close = omega < 1e-3 ; sine = torch.where(close, torch.ones_like(omega), omega.sin()) ; wa = "
            "torch.where(close, "
            "1 - t, ((1 - t) * omega).sin() / sine) ; wb, de même avec t ; return wa * a + wb * b.",
        ),
        points=3,
    ),
    "frechet_distance": Exercise(
        "frechet_distance",
        (
            Property(
                "d'un nuage à lui-même, la distance est 0",
                a_cloud_is_at_zero_from_itself,
                "un générateur parfait n'aurait pas la meilleure note.",
            ),
            Property(
                "décaler un nuage de δ coûte ‖δ‖²",
                a_shift_costs_its_square,
                "le résultat ne se comparerait à aucun FID.",
            ),
            Property(
                "l'étaler trois fois coûte 4 tr(S)",
                a_stretch_costs_its_gap,
                "un générateur trop peu varié n'aurait pas la note qu'il mérite.",
            ),
            Property(
                "les corrélations comptent",
                correlations_count,
                "deux nuages d'autres corrélations n'auraient pas la note du FID.",
            ),
            Property(
                "la distance est symétrique, même entre nuages de tailles différentes",
                the_distance_is_symmetric,
                "10 000 vraies images et 5 000 fausses ne se compareraient pas, dans un sens ou dans l'autre.",
            ),
            Property(
                "une covariance qui n'est pas de plein rang donne encore un nombre réel et fini",
                flat_clouds_are_measured_too,
                "avec peu d'images ou des caractéristiques redondantes, la mesure s'arrête, ou rend nan.",
            ),
        ),
        (
            "Deux moyennes, deux covariances (torch.cov(a.T)), et tr((S_a S_b)^½). Calculez en float64.",
            "S_a S_b n'est pas symétrique, mais S_a^½ S_b S_a^½ l'est, et la trace de sa racine est la même. "
            "torch.linalg.eigh donne S_a^½ ; ramenez à 0 les valeurs propres négatives, qui ne sont que de l'arrondi.",
            "values, vectors = torch.linalg.eigh(S_a) ; root = vectors @ torch.diag(values.clamp(min=0).sqrt()) "
            "@ vectors.T ; "
            "cross = torch.linalg.eigvalsh(root @ S_b @ root).clamp(min=0).sqrt().sum() ; return (mean_a - "
            "mean_b).square().sum() + S_a.trace() + S_b.trace() - 2 * cross.",
        ),
        points=3,
    ),
}
