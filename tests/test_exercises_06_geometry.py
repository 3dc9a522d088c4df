"""Chapitre 06, slerp et distance de Fréchet. Les fautes courantes y ont leur nom."""

import math

import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, message_tests

from gan_course.exercises import chapter06_geometry

CHAPTER = chapter06_geometry.EXERCISES

# --- slerp_batch ---------------------------------------------------------------------------------------------


def turn(a, b, t, omega):
    close = omega < 1e-3
    sine = torch.where(close, torch.ones_like(omega), omega.sin())
    wa = torch.where(close, torch.full_like(omega, 1 - t), ((1 - t) * omega).sin() / sine)
    wb = torch.where(close, torch.full_like(omega, t), (t * omega).sin() / sine)
    return wa * a + wb * b


def slerp_by_rows(a, b, t):
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    if (norms[0] * norms[1] == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos(((a * b).sum(1, keepdim=True) / (norms[0] * norms[1])).clamp(-1, 1))
    if (omega > math.pi - 1e-3).any():
        raise ValueError("vecteurs opposés")
    return turn(a, b, t, omega)


def slerp_by_loop(a, b, t):
    rows = []
    for x, y in zip(a.double(), b.double()):
        if not x.norm() or not y.norm():
            raise ValueError("vecteur nul")
        cosine = float(x @ y / (x.norm() * y.norm()))
        if cosine < -1 + 1e-7:
            raise ValueError("vecteurs opposés")
        omega = math.acos(min(cosine, 1.0))
        if omega < 1e-4:
            rows.append((1 - t) * x + t * y)
        else:
            rows.append((math.sin((1 - t) * omega) * x + math.sin(t * omega) * y) / math.sin(omega))
    return torch.stack(rows).float()


def slerp_by_rotation(a, b, t):
    """Gram-Schmidt : tourner a vers la part de b qui lui est orthogonale."""
    norm = a.norm(dim=1, keepdim=True)
    if (norm == 0).any() or (b.norm(dim=1) == 0).any():
        raise ValueError("vecteur nul")
    u, v = a / norm, b / b.norm(dim=1, keepdim=True)
    side = v - (u * v).sum(1, keepdim=True) * u
    length = side.norm(dim=1, keepdim=True)
    omega = torch.atan2(length, (u * v).sum(1, keepdim=True))
    if (omega > 3.14).any():
        raise ValueError("vecteurs opposés")
    side = side / length.clamp(min=1e-12)
    return norm * (torch.cos(t * omega) * u + torch.sin(t * omega) * side)


def slerp_linear(a, b, t):
    return (1 - t) * a + t * b


def slerp_linear_normalised(a, b, t):
    chord = slerp_linear(a, b, t)
    return chord / chord.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)


def slerp_with_one_angle(a, b, t):
    omega = torch.arccos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    return turn(a, b, t, omega.expand(len(a), 1))


def slerp_dividing_by_zero(a, b, t):
    norms = a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)
    if (norms == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos(((a * b).sum(1, keepdim=True) / norms).clamp(-1, 1))
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()


def slerp_without_refusal(a, b, t):
    omega = torch.arccos(F.cosine_similarity(a, b)[:, None].clamp(-1, 1))
    return turn(a, b, t, omega)


def slerp_backwards(a, b, t):
    return slerp_by_rows(a, b, 1 - t)


def slerp_giving_up(a, b, t):
    """Une ligne où b = a, et tout le lot reste en place."""
    omega = torch.arccos(F.cosine_similarity(a, b)[:, None].clamp(-1, 1))
    return a if (omega < 1e-3).any() else slerp_by_rows(a, b, t)


def slerp_without_clamp(a, b, t):
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    if (norms[0] * norms[1] == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos((a * b).sum(1, keepdim=True) / (norms[0] * norms[1]))
    if (omega > math.pi - 1e-3).any():
        raise ValueError("vecteurs opposés")
    return turn(a, b, t, omega)


def slerp_trusting_b(a, b, t):
    if (a.norm(dim=1) == 0).any():
        raise ValueError("vecteur nul")
    safe = torch.where(b.norm(dim=1, keepdim=True) == 0, a, b)
    return slerp_by_rows(a, safe, t)


def slerp_refusing_large_angles(a, b, t):
    if (F.cosine_similarity(a, b) < -0.99).any():
        raise ValueError("vecteurs opposés")
    return slerp_by_rows(a, b, t)


def slerp_freezing_small_angles(a, b, t):
    omega = torch.arccos(F.cosine_similarity(a, b)[:, None].clamp(-1, 1))
    return torch.where(omega < 0.01, a, slerp_by_rows(a, b, t))


def slerp_of_directions(a, b, t):
    return F.normalize(slerp_by_rows(a, b, t), dim=1)


# --- frechet_distance ----------------------------------------------------------------------------------------


def frechet_by_root(a, b):
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return shift + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * cross


def frechet_by_singular_values(a, b):
    """S = XᵀX / n : la trace de la racine est la norme nucléaire de X_b X_aᵀ."""
    x, y = a - a.mean(0), b - b.mean(0)
    x, y = torch.linalg.qr(x / len(x) ** 0.5).R, torch.linalg.qr(y / len(y) ** 0.5).R
    cross = torch.linalg.matrix_norm(x @ y.T, "nuc")
    return float((a.mean(0) - b.mean(0)).norm() ** 2 + (x**2).sum() + (y**2).sum() - 2 * cross)


def frechet_by_eigenvalues(a, b):
    """S_a S_b n'est pas symétrique, mais ses valeurs propres sont réelles et positives, à l'arrondi près."""
    s_a, s_b = (torch.cov(x.double().T) for x in (a, b))
    eigenvalues = torch.linalg.eigvals(s_a @ s_b).real.clamp(min=0)
    shift = (a.mean(0) - b.mean(0)).double()
    return (shift @ shift + (s_a + s_b).trace() - 2 * eigenvalues.sqrt().sum()).float()


def frechet_by_product(a, b):
    """eigvalsh(S1 @ S2), alors que le produit n'est pas symétrique."""
    s_a, s_b = torch.cov(a.double().T), torch.cov(b.double().T)
    cross = torch.linalg.eigvalsh(s_a @ s_b).clamp(min=0).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_complex(a, b):
    """La racine générale rend des nombres complexes, comme sqrtm de SciPy."""
    s_a, s_b = torch.cov(a.T), torch.cov(b.T)
    cross = torch.linalg.eigvals(s_a @ s_b).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_diagonal_only(a, b):
    return (a.mean(0) - b.mean(0)).square().sum() + (a.std(0) - b.std(0)).square().sum()


def frechet_of_means(a, b):
    return (a.mean(0) - b.mean(0)).square().sum()


def frechet_not_squared(a, b):
    rest = frechet_by_root(a - a.mean(0), b - b.mean(0))
    return (a.mean(0) - b.mean(0)).norm() + rest


def frechet_without_clamp(a, b):
    s_a, s_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(s_a)
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ s_b @ root).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_by_cholesky(a, b):
    """Exige une covariance de plein rang."""
    s_a, s_b = torch.cov(a.double().T), torch.cov(b.double().T)
    factors = torch.linalg.cholesky(s_a).T @ torch.linalg.cholesky(s_b)
    cross = torch.linalg.svdvals(factors).sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_of_pairs(a, b):
    return (a - b).square().sum(1).mean()


def frechet_without_two(a, b):
    shift = (a.mean(0) - b.mean(0)).square().sum()
    spread = torch.cov(a.T).trace() + torch.cov(b.T).trace()
    return shift + spread - (spread + shift - frechet_by_root(a, b)) / 2


RIGHT = {
    "slerp_batch": (slerp_by_rows, slerp_by_loop, slerp_by_rotation),
    "frechet_distance": (frechet_by_root, frechet_by_singular_values, frechet_by_eigenvalues),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "slerp_batch": (
        (slerp_linear, "sa propre norme", "vous interpolez en ligne droite, (1 - t) a + t b"),
        (slerp_linear_normalised, "vitesse constante", "vous suivez la corde, puis ramenez la norme"),
        (slerp_with_one_angle, "de son propre angle", "un seul angle sert à tout le lot"),
        (slerp_dividing_by_zero, "b = a"),
        (slerp_without_refusal, "ValueError"),
        (slerp_backwards, "t = 0", "a et b sont échangés, ou t et 1 - t."),
        (slerp_of_directions, "t = 0"),
        (slerp_giving_up, "n'en souffrent pas"),
        (slerp_without_clamp, "b = a"),
        (slerp_trusting_b, "ValueError"),
        (slerp_refusing_large_angles, "proches de 180°", "Seuls deux vecteurs opposés n'en ont pas"),
        (slerp_freezing_small_angles, "très petits", "sans avancer vers b"),
    ),
    "frechet_distance": (
        (frechet_by_product, "corrélations", "vous traitez S_a S_b comme symétrique (eigvalsh)"),
        (frechet_complex, "0"),
        (frechet_diagonal_only, "corrélations", "vous ne gardez que les variances"),
        (frechet_of_means, "4 tr(S)", "il ne reste que l'écart des moyennes"),
        (frechet_not_squared, "‖δ‖²", "l'écart des moyennes n'est pas au carré"),
        (frechet_without_clamp, "plein rang"),
        (frechet_by_cholesky, "plein rang"),
        (frechet_of_pairs, "tailles différentes"),
        (frechet_without_two, "0", "il manque le facteur 2 devant tr((S_a S_b)^½)."),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


MESSAGES = [
    ("slerp_batch", slerp_without_clamp, "lignes contiennent nan ou inf"),
    ("slerp_batch", slerp_trusting_b, "celui de b sur la première ligne"),
    ("slerp_batch", slerp_linear, "à t = 0,25"),
]
globals().update(message_tests(CHAPTER, MESSAGES))
