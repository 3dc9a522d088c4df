"""Se promener dans l'espace latent : interpolations linéaire et sphérique, images le long d'un chemin."""

import math

import torch
from torch import Tensor, nn

from gan_course.engine.numbers import check_positive
from gan_course.engine.shapes import call, evaluation_mode, wrong_labels
from gan_course.metrics import as_tensor, check_rows

# Au-delà, le plan de rotation ne se lit plus dans des nombres de 32 bits : mieux vaut refuser qu'inventer.
ANTIPODAL = 1e-3


def lerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """Interpolation linéaire (1 - t) a + t b.

    a, b : deux tenseurs réels de même forme, (D,) ou (B, D). t : un nombre, ou un tenseur de forme (T,). Rend
    un tenseur de forme t.shape + a.shape : (D,), (B, D), (T, D) ou (T, B, D) ; t = 0 rend a et t = 1 rend b.
    t hors de [0, 1] prolonge le segment. Lève TypeError ou ValueError si les entrées ne conviennent pas.

    Entre deux tirages gaussiens de dimension D, le milieu a pour norme √(D/2) environ au lieu de √D : le
    générateur n'a presque jamais vu de tels points pendant l'entraînement. Voir `slerp`.
    """
    start, end, t = _checked(a, b, t)
    return ((1 - t) * start + t * end).to(a.dtype)


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """Interpolation sphérique : la direction tourne à vitesse constante, la norme varie linéairement.

    a, b : deux tenseurs réels de même forme, (D,) ou (B, D), une interpolation par ligne. t : un nombre, ou
    un tenseur de forme (T,). Rend un tenseur de forme t.shape + a.shape. Avec ω l'angle entre a et b, la
    direction est sin((1 - t) ω) / sin ω · a/‖a‖ + sin(t ω) / sin ω · b/‖b‖ (Shoemake, 1985, § 3.3) et la
    norme est (1 - t) ‖a‖ + t ‖b‖ : entre deux vecteurs de même norme, elle ne change pas. Quand ω tend vers
    0, les rapports de sinus tendent vers 1 - t et t : la formule rejoint continûment `lerp`.

    Lève ValueError si un vecteur est nul (il n'a pas de direction) ou si a et b sont opposés (une infinité de
    chemins se valent), TypeError si les entrées ne sont pas des tenseurs réels.
    """
    start, end, t = _checked(a, b, t)
    norm_a = torch.linalg.vector_norm(start, dim=-1, keepdim=True)
    norm_b = torch.linalg.vector_norm(end, dim=-1, keepdim=True)
    _require_rows(
        (norm_a > 0) & (norm_b > 0), "contient un vecteur nul, qui n'a pas de direction", "Tirez-en un autre"
    )
    unit_a, unit_b = start / norm_a, end / norm_b
    # L'arc cosinus du produit scalaire perd la moitié des décimales près de 0 et de π ; cette tangente, aucune.
    difference = torch.linalg.vector_norm(unit_a - unit_b, dim=-1, keepdim=True)
    total = torch.linalg.vector_norm(unit_a + unit_b, dim=-1, keepdim=True)
    omega = 2 * torch.atan2(difference, total)
    _require_rows(
        omega < math.pi - ANTIPODAL,
        "oppose a et b : une infinité de chemins se valent entre eux",
        "Passez par un troisième point",
    )
    parallel = omega < 1e-4
    sine = torch.where(parallel, torch.ones_like(omega), omega.sin())
    weight_a = torch.where(parallel, 1 - t, ((1 - t) * omega).sin() / sine)
    weight_b = torch.where(parallel, t, (t * omega).sin() / sine)
    direction = weight_a * unit_a + weight_b * unit_b
    return (((1 - t) * norm_a + t * norm_b) * direction).to(a.dtype)


@torch.no_grad()
def walk(
    generator: nn.Module,
    z0: Tensor,
    z1: Tensor,
    steps: int = 8,
    y: int | Tensor | None = None,
    how: str = "slerp",
) -> Tensor:
    """Images (B, steps, C, H, W) générées le long du chemin de z0 à z1, extrémités comprises.

    z0, z1 : (D,) ou (B, D), avec D = generator.latent_dim. y : la classe demandée, la même partout (un
    entier) ou une par ligne (B,). how : "slerp" ou "lerp". Le générateur passe en mode évaluation le temps du
    calcul. Lève TypeError ou ValueError si un argument ne convient pas.
    """
    if how not in ("slerp", "lerp"):
        raise ValueError(f'how={how!r} ; choisissez "slerp" ou "lerp".')
    if check_positive("steps", steps) < 2:
        raise ValueError(f"steps={steps} ; il faut au moins deux étapes, le départ et l'arrivée.")
    parameter = next(generator.parameters())
    start, end = (torch.atleast_2d(as_tensor(name, z)).to(parameter.device) for name, z in (("z0", z0), ("z1", z1)))
    path = (slerp if how == "slerp" else lerp)(start, end, torch.linspace(0, 1, steps, device=parameter.device))
    count, dim = path.shape[1:]
    if dim != generator.latent_dim:
        raise ValueError(f"z0 et z1 ont {dim} coordonnées ; ce générateur en attend {generator.latent_dim}.")
    y = check_labels(generator, y, count)
    z = path.transpose(0, 1).flatten(0, 1).to(parameter.dtype)
    with evaluation_mode(generator):
        images = call(generator, z, None if y is None else y.repeat_interleave(steps))
    return images.unflatten(0, (count, steps))


def loop(generator: nn.Module, points: Tensor, steps: int = 8, y: int | Tensor | None = None) -> Tensor:
    """Images (K × steps, C, H, W) d'une promenade fermée par `points` (K, D), K ≥ 2 : la dernière mène à la première.

    Chaque étape est une interpolation sphérique de `steps` images, sans répéter les arrivées : un GIF y tourne sans
    à-coup. Lève TypeError ou ValueError si un argument ne convient pas, comme `walk`.
    """
    points, steps = check_rows("points", points, generator.latent_dim, least=2), check_positive("steps", steps)
    images = walk(generator, points, points.roll(-1, dims=0), steps + 1, y)
    return images[:, :-1].flatten(0, 1)


def check_labels(generator: nn.Module, labels: int | Tensor | None, count: int) -> Tensor | None:
    """Les étiquettes int64 (count,) à donner au générateur, sur son appareil ; None s'il n'est pas conditionnel.

    labels : un entier, le même partout, ou count entiers. Lève TypeError ou ValueError si elles ne conviennent pas à
    ce générateur, manquent ou sont de trop.
    """
    if labels is not None:
        labels = as_tensor("étiquettes", labels, "un entier, ou une étiquette par image").cpu()
        if labels.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
            labels = labels.long()
        if labels.shape in ((), (1,)):
            labels = labels.expand(count)
    # Sur le processeur, où les bornes se vérifient aussi.
    if problem := wrong_labels(labels, getattr(generator, "num_classes", 0), count):
        raise ValueError(problem)
    # Une copie : sous inference_mode(), les étiquettes reçues ne serviraient pas à une descente de gradient.
    return None if labels is None else labels.to(next(generator.parameters()).device, copy=True)


def _checked(a: Tensor, b: Tensor, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vérifie a, b et t ; les rend en 32 bits au moins, t avec autant d'axes qu'il en faut pour multiplier a."""
    for name, v in (("a", a), ("b", b)):
        if not isinstance(v, Tensor) or not v.is_floating_point():
            kind = v.dtype if isinstance(v, Tensor) else type(v).__name__
            raise TypeError(
                f"{name} est de type {kind} ; il faut un tenseur de réels, comme torch.randn(64)."
            )
    if a.shape != b.shape or a.dim() not in (1, 2) or a.numel() == 0:
        raise ValueError(
            f"a est de forme {tuple(a.shape)} et b de forme {tuple(b.shape)} ; il faut deux fois la même, "
            "(D,) ou (B, D), non vide. Pour partir d'un même point vers plusieurs : a.expand_as(b)."
        )
    t = torch.as_tensor(t, device=a.device)
    if t.dim() > 1 or t.numel() == 0 or t.is_complex():
        raise ValueError(
            f"t est de forme {tuple(t.shape)} ; il faut un nombre ou un tenseur (T,), par exemple "
            "torch.linspace(0, 1, 8)."
        )
    if not all(bool(v.isfinite().all()) for v in (a, b, t)):
        raise ValueError("a, b ou t contient NaN ou l'infini. Vérifiez d'où viennent ces vecteurs latents.")
    # Les demi-précisions n'ont pas assez de chiffres pour un angle : le calcul se fait au moins en 32 bits.
    work = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(work), b.to(work), t.to(work).reshape(t.shape + (1,) * a.dim())


def _require_rows(holds: Tensor, problem: str, remedy: str) -> None:
    """Lève ValueError en nommant la première ligne qui ne convient pas."""
    if not bool(holds.all()):
        rows = (~holds.reshape(-1)).nonzero().flatten()
        where = f"La ligne {int(rows[0])}" if holds.dim() > 1 else "L'interpolation"
        raise ValueError(f"{where} {problem}. {remedy}, ou prenez lerp.")
