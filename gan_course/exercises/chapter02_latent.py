"""Exercices du chapitre 02 sur l'espace latent : interpolation sphérique, directions d'attributs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_course.exercises.report import Broken, Exercise, Property, expect_close, expect_shape, number, show


# slerp(a, b, t) : deux vecteurs (D,) de même norme
def pair(angle: float, norm: float = 3.0) -> tuple[Tensor, Tensor]:
    """Deux vecteurs (6,) de norme `norm` qui font l'angle `angle`, dans un plan quelconque."""
    basis = torch.linalg.qr(torch.randn(6, 2)).Q.T
    return norm * basis[0], norm * (math.cos(angle) * basis[0] + math.sin(angle) * basis[1])


def slerp_reaches_both_ends(answer: Callable) -> None:
    a, b = pair(1.1)
    expect_close(answer(a.clone(), b.clone(), 0.0), a, "t = 0, le départ", 1e-4)
    expect_close(answer(a.clone(), b.clone(), 1.0), b, "t = 1, l'arrivée", 1e-4)


def slerp_stays_on_the_sphere(answer: Callable) -> None:
    for angle in (0.3, math.pi / 2, 2.5):
        a, b = pair(angle)
        for t in (0.25, 0.5):
            got = answer(a.clone(), b.clone(), t)
            expect_shape(got, (6,), f"a et b de forme (6,), t = {number(t)}")
            what = f"Norme à t = {number(t)}, pour ‖a‖ = ‖b‖ = 3 et un angle de {math.degrees(angle):.0f}°"
            expect_close(got.float().norm(), 3.0, what, 1e-3)


def slerp_turns_at_constant_speed(answer: Callable) -> None:
    for angle in (math.pi / 2, 2.5):
        a, b = pair(angle)
        for t in (0.2, 0.7):
            got = answer(a.clone(), b.clone(), t)
            expect_shape(got, (6,), f"a et b de forme (6,), t = {number(t)}")
            got = got.float()
            turned = torch.arccos((got @ a / (got.norm() * a.norm())).clamp(-1, 1))
            what = f"Angle avec a à t = {number(t)}, en degrés, pour un angle total de {math.degrees(angle):.0f}°"
            expect_close(torch.rad2deg(turned), math.degrees(t * angle), what, 2e-3)


def slerp_of_a_point_with_itself(answer: Callable) -> None:
    exact = 3 * torch.eye(6)[0]  # le cosinus vaut 1, sans arrondi
    expect_close(answer(exact.clone(), exact.clone(), 0.4), exact, "b = a = (3, 0, 0, 0, 0, 0), un angle nul", 1e-3)
    for _ in range(20):  # le cosinus de certains dépasse 1 d'un arrondi
        a, _ = pair(1.0)
        got = answer(a.clone(), a.clone(), 0.4)
        if isinstance(got, Tensor) and got.isnan().any():
            raise Broken("b = a, un angle nul à l'arrondi près : le résultat contient nan.")
        expect_close(got, a, "b = a, un angle nul", 1e-3)


def slerp_turns_at_every_angle(answer: Callable) -> None:
    for angle in (0.005, 3.1):
        a, b = pair(angle)
        ratios = [math.sin(share * angle) / math.sin(angle) for share in (0.6, 0.4)]
        what = f"Chemin parcouru à t = 0,4, rapporté à ‖b - a‖, pour un angle de {number(math.degrees(angle))}°"
        try:
            got = answer(a.clone(), b.clone(), 0.4)
        except ValueError:
            raise Broken(
                f"Angle de {number(math.degrees(angle))}° : votre fonction lève ValueError, or le chemin est bien "
                "défini. Seuls deux vecteurs opposés n'en ont pas."
            ) from None
        expect_shape(got, (6,), "a et b de forme (6,)")
        size, expected = (b - a).norm(), ratios[0] * a + ratios[1] * b
        if angle < 1 and torch.equal(got.float(), a):
            raise Broken(f"Angle de {number(math.degrees(angle))}° : t = 0,4 rend a, sans avancer vers b.")
        expect_close((got.float() - a) / size, (expected - a) / size, what, 0.02)


# remove_component(direction, other) : ce qui, dans une direction, ne doit rien à l'autre
def nothing_is_left_along_the_other(answer: Callable) -> None:
    for scale in (1.0, 0.1, 7.0):
        direction, other = torch.randn(8), scale * torch.randn(8)
        got = answer(direction.clone(), other.clone())
        expect_shape(got, (8,), "Deux directions de forme (8,)")
        what = f"Composante restante le long de other, de norme {show(other.norm())}"
        expect_close(got.float() @ other / other.norm(), 0.0, what, 1e-4)


def orthogonal_directions_are_unchanged(answer: Callable) -> None:
    direction, other = torch.tensor([0.0, 2.0, 0.0, 1.0]), torch.tensor([3.0, 0.0, 4.0, 0.0])
    expect_close(
        answer(direction.clone(), other.clone()), direction, "direction déjà orthogonale à other", 1e-5
    )


def only_the_other_is_removed(answer: Callable) -> None:
    direction, other = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 2.0, 0.0])
    got = answer(direction.clone(), other.clone())
    expect_close(got, [1.0, 0.0, 1.0], "direction = (1, 1, 1), other = (0, 2, 0)", 1e-5)
    direction, other = torch.randn(8), torch.randn(8)
    got = answer(direction.clone(), other.clone())
    expect_shape(got, (8,), "Deux directions de forme (8,)")
    removed = direction - got.float()
    along = (removed @ other / other.norm() ** 2) * other
    expect_close(removed, along, "Ce qui a été retiré, comparé à sa part le long de other", 1e-4)


def entries_are_untouched(answer: Callable) -> None:
    direction, other = torch.randn(5), torch.randn(5)
    kept = direction.clone(), other.clone()
    answer(direction, other)
    expect_close(direction, kept[0], "direction, après l'appel")
    expect_close(other, kept[1], "other, après l'appel")


EXERCISES: dict[str, Exercise] = {
    "slerp": Exercise(
        "slerp",
        (
            Property(
                "t = 0 rend a, t = 1 rend b",
                slerp_reaches_both_ends,
                "la promenade ne part pas de la bonne image, ou n'y arrive pas.",
            ),
            Property(
                "entre deux vecteurs de même norme, la norme ne change pas",
                slerp_stays_on_the_sphere,
                "le chemin quitte la coquille où sont les z de l'entraînement.",
            ),
            Property(
                "l'angle parcouru est proportionnel à t",
                slerp_turns_at_constant_speed,
                "le long du chemin, l'image changerait par à-coups.",
            ),
            Property(
                "si b = a, le résultat est a et non NaN",
                slerp_of_a_point_with_itself,
                "une promenade dont deux étapes sont égales perdrait son image.",
            ),
            Property(
                "les angles très petits et proches de 180° se parcourent comme les autres",
                slerp_turns_at_every_angle,
                "certaines promenades s'arrêteraient, ou resteraient sur place.",
            ),
        ),
        (
            "L'angle ω d'abord : son cosinus est le produit scalaire des deux directions, a / ‖a‖ et b / ‖b‖.",
            "Poids sin((1 - t) ω) / sin ω pour a et sin(t ω) / sin ω pour b ; bornez le cosinus à [-1, 1] avant "
            "arccos, et traitez à part un angle presque nul.",
            "omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1)) ; si omega < 1e-3, rendez "
            "(1 - t) * a + t * b ; sinon (sin((1 - t) ω) a + sin(t ω) b) / sin ω.",
        ),
        points=2,
    ),
    "remove_component": Exercise(
        "remove_component",
        (
            Property(
                "le résultat est orthogonal à other, quelle que soit sa norme",
                nothing_is_left_along_the_other,
                "avancer dans cette direction change encore l'autre attribut.",
            ),
            Property(
                "une direction déjà orthogonale ne change pas",
                orthogonal_directions_are_unchanged,
                "on abîme une direction qui n'avait pas besoin d'être corrigée.",
            ),
            Property(
                "seule la part le long de other est retirée",
                only_the_other_is_removed,
                "la direction perdrait, ou déformerait, ce qu'il fallait en garder.",
            ),
            Property(
                "les deux directions données restent intactes",
                entries_are_untouched,
                "la direction reçue serait perdue pour la suite du carnet.",
            ),
        ),
        (
            "Projetez direction sur other, puis soustrayez cette projection.",
            "La projection de d sur o vaut (d · o / o · o) o : le carré de la norme de o rend l'échelle indifférente.",
            "return direction - (direction @ other) / (other @ other) * other.",
        ),
        points=2,
    ),
}
