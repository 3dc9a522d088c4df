"""Exercices du chapitre 01 : préparer les pixels, les deux pertes, le discriminateur idéal."""

import math

import torch
from torch.nn.functional import softplus

from gan_course.exercises.report import (
    Broken,
    Exercise,
    Property,
    expect_close,
    expect_gradient,
    expect_shape,
    number,
    show,
    values_of,
)

# --- normalise(pixels) : uint8 → [-1, 1] ---------------------------------------------------------------------


def bounds_are_exact(normalise) -> None:
    got = normalise(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    expect_close(got, [[[[-1.0, 1.0]]]], "Un pixel noir (0) et un pixel blanc (255)", 1e-6)


def gives_floats(normalise) -> None:
    pixels = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    before, got = pixels.clone(), normalise(pixels)
    expect_shape(got, pixels.shape, "Trois images de 4 × 4")
    if got.dtype != torch.float32:
        raise Broken(f"Type obtenu : {got.dtype} ; attendu : torch.float32.")
    if not torch.equal(pixels, before):
        raise Broken(f"Les pixels reçus ont été modifiés : {show(before)} est devenu {show(pixels)}.")


def same_scale_everywhere(normalise) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expect_close(normalise(ramp.clone()), 2 * ramp.float() / 255 - 1, "Tous les gris de 0 à 255", 1e-5)
    dull = torch.tensor([[[[100, 150]]]], dtype=torch.uint8)
    expect_close(
        normalise(dull.clone()), 2 * dull.float() / 255 - 1, "Une image peu contrastée, de 100 à 150", 1e-5
    )


# --- discriminator_loss(real_logits, fake_logits, real_label=1.0) --------------------------------------------


def undecided_discriminator_costs_log_four(loss) -> None:
    expect_close(
        loss(torch.zeros(4), torch.zeros(4)), 2 * math.log(2), "D indécis : logits nuls, D = 0,5 partout"
    )


def discriminator_formula(loss) -> None:
    real, fake = 2 * torch.randn(6), 2 * torch.randn(4)
    expected = softplus(-real).mean() + softplus(fake).mean()
    expect_close(loss(real, fake), expected, "Six logits de vrais et quatre de faux, tirés au hasard")
    expect_close(loss(torch.full((2,), 3.0), torch.full((2,), -3.0)), 2 * math.log1p(math.exp(-3)),
                 "D a raison partout (logits +3 pour les vrais, -3 pour les faux)")  # fmt: skip


def smoothing_touches_reals_only(loss) -> None:
    real = torch.tensor([math.log(9.0)], requires_grad=True)  # sigmoïde(log 9) = 0,9
    fake = torch.tensor([1.0], requires_grad=True)
    value = loss(real, fake, real_label=0.9)
    expect_gradient(value)
    expect_shape(value, (), "La perte")
    slopes = torch.autograd.grad(value, (real, fake), allow_unused=True)
    slopes = [torch.zeros(1) if slope is None else slope for slope in slopes]
    expect_close(slopes[0], [0.0], "Pente par rapport au logit d'un vrai que D note exactement 0,9")
    expect_close(
        slopes[1], torch.sigmoid(fake), "Pente par rapport au logit d'un faux, que le lissage ne change pas"
    )


def discriminator_survives_large_logits(loss) -> None:
    got = loss(torch.tensor([-200.0]), torch.tensor([200.0]))
    expect_close(got, 400.0, "D se trompe avec assurance : logits -200 pour un vrai, +200 pour un faux")


# --- generator_loss(fake_logits) -----------------------------------------------------------------------------


def undecided_generator_costs_log_two(loss) -> None:
    expect_close(loss(torch.zeros(4)), math.log(2), "D indécis : logits nuls")


def generator_formula(loss) -> None:
    fake = 2 * torch.randn(6)
    expect_close(loss(fake), softplus(-fake).mean(), "Six logits tirés au hasard")
    got = loss(torch.tensor([4.0]))
    expect_close(got, math.log1p(math.exp(-4)), "Un faux que D prend pour un vrai (logit 4)")


def rejected_fakes_still_teach(loss) -> None:
    fake = torch.tensor([-10.0, -12.0], requires_grad=True)
    value = loss(fake)
    expect_gradient(value)
    expect_shape(value, (), "La perte")
    (slope,) = torch.autograd.grad(value, fake)
    expect_close(
        slope, [-0.5, -0.5], "Pente par rapport aux logits de deux faux bien reconnus (-10 et -12)", 1e-3
    )


def generator_survives_large_logits(loss) -> None:
    expect_close(loss(torch.tensor([-200.0])), 200.0, "Un faux rejeté avec un logit de -200")


# --- optimal_discriminator(p, q) -----------------------------------------------------------------------------


def half_where_equal(optimal) -> None:
    density = torch.rand(5) + 0.1
    expect_close(optimal(density, density.clone()), torch.full((5,), 0.5), "Là où p = q", 1e-4)


def sure_where_alone(optimal) -> None:
    got = optimal(torch.tensor([0.7, 0.0]), torch.tensor([0.0, 0.7]))
    expect_close(got, [1.0, 0.0], "Là où il n'y a que du vrai, puis que du faux", 1e-4)


def two_gaussians_give_a_sigmoid(optimal) -> None:
    x = torch.linspace(-3, 4, 9)
    p, q = (
        torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
        torch.exp(-((x - 1) ** 2) / 2) / math.sqrt(2 * math.pi),
    )
    expect_close(
        optimal(p, q), torch.sigmoid(0.5 - x), "p = N(0, 1) et q = N(1, 1), où D* = sigmoïde(1/2 - x)", 1e-3
    )


def beats_every_other(optimal) -> None:
    p, q = torch.rand(50) + 0.01, torch.rand(50) + 0.01

    def objective(d: torch.Tensor) -> torch.Tensor:
        return p * torch.log(d) + q * torch.log1p(-d)

    got = values_of(optimal(p.clone(), q.clone()), "50 points tirés au hasard", (50,))
    if not bool(((got > 0) & (got < 1)).all()):
        raise Broken(f"Une valeur sort de ]0, 1[ : {show(got)}. D rend une probabilité.")
    rivals = torch.linspace(0.001, 0.999, 999)
    best = torch.stack([objective(torch.full((50,), float(d))) for d in rivals]).max(dim=0)
    worse = objective(got) < best.values - 1e-5
    if worse.any():
        i = int(worse.nonzero()[0])
        d = float(rivals[best.indices[i]])
        raise Broken(
            f"En p = {show(p[i])}, q = {show(q[i])} : obtenu D = {show(got[i])}, mais D = {number(d)} fait mieux."
        )


EXERCISES: dict[str, Exercise] = {
    "normalise": Exercise(
        "normalise",
        (
            Property(
                "0 devient exactement -1, et 255 exactement 1",
                bounds_are_exact,
                "les vraies images n'ont pas l'étendue de celles de G (tanh) : D les sépare d'un simple seuil.",
            ),
            Property(
                "le résultat est en float32, de même forme, et l'entrée reste intacte",
                gives_floats,
                "la suite du carnet attend du float32, cette forme, et un jeu de données que rien n'a modifié.",
            ),
            Property(
                "l'échelle est la même pour tous les pixels de toutes les images",
                same_scale_everywhere,
                "D jugerait d'autres images que celles du jeu de données.",
            ),
        ),
        (
            "Cherchez la droite qui passe par (0 ; -1) et (255 ; 1).",
            "La moitié de 255 est 127,5 : diviser par elle mène à [0, 2].",
            "pixels.float() / 127.5 - 1",
        ),
    ),
    "discriminator_loss": Exercise(
        "discriminator_loss",
        (
            Property(
                "un D indécis coûte 2 log 2",
                undecided_discriminator_costs_log_four,
                "la valeur de l'équilibre, log 4, ne se lirait plus sur la courbe de D.",
            ),
            Property(
                "la perte est -moyenne(log D(x)) - moyenne(log(1 - D(G(z))))",
                discriminator_formula,
                "D ne descendrait plus la perte de l'article : ses courbes ne se compareraient à aucune autre.",
            ),
            Property(
                "real_label ne change que la cible des vrais : 0,9 et non 1",
                smoothing_touches_reals_only,
                "avec real_label = 0,9, D ne viserait pas 0,9 pour les vrais et 0 pour les faux.",
            ),
            Property(
                "de grands logits donnent une perte finie et juste",
                discriminator_survives_large_logits,
                "un seul exemple très mal noté fausserait la perte de tout le lot, ou la changerait en NaN.",
            ),
        ),
        (
            "Deux entropies croisées : les vrais contre la cible real_label, les faux contre la cible 0.",
            "torch.nn.functional.binary_cross_entropy_with_logits prend des logits et une cible de même forme.",
            "F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, real_label)), plus la même "
            "chose pour fake_logits avec torch.zeros_like.",
        ),
        points=2,
    ),
    "generator_loss": Exercise(
        "generator_loss",
        (
            Property(
                "un D indécis coûte log 2",
                undecided_generator_costs_log_two,
                "la valeur de l'équilibre ne se lirait plus sur la courbe de G.",
            ),
            Property(
                "la perte est -moyenne(log D(G(z)))",
                generator_formula,
                "G ne descendrait plus la perte non saturante : ses courbes ne se compareraient à aucune autre.",
            ),
            Property(
                "un faux rejeté avec assurance donne la pente la plus forte",
                rejected_fakes_still_teach,
                "au début de l'entraînement, quand D reconnaît tous les faux, G ne recevrait pas la pente attendue.",
            ),
            Property(
                "de grands logits donnent une perte finie et juste",
                generator_survives_large_logits,
                "un seul faux bien reconnu fausserait la perte de G, ou la changerait en NaN.",
            ),
        ),
        (
            "G veut que D réponde « vrai » : quelle cible donner aux logits des faux ?",
            "-log sigmoïde(s) s'écrit aussi softplus(-s), calculée sans débordement.",
            "torch.nn.functional.softplus(-fake_logits).mean()",
        ),
    ),
    "optimal_discriminator": Exercise(
        "optimal_discriminator",
        (
            Property(
                "D* vaut 1/2 là où vrais et faux ont la même densité",
                half_where_equal,
                "à l'équilibre, où p = q, D ne répondrait plus 1/2.",
            ),
            Property(
                "D* vaut 1 là où il n'y a que du vrai, 0 là où il n'y a que du faux",
                sure_where_alone,
                "D se tromperait là où aucun doute n'est permis.",
            ),
            Property(
                "entre deux gaussiennes d'écart-type 1, D* est une sigmoïde",
                two_gaussians_give_a_sigmoid,
                "le logit de D ne serait plus log(p / q), le rapport que G exploite.",
            ),
            Property(
                "aucun autre D ne donne un plus grand p log D + q log(1 - D)",
                beats_every_other,
                "ce D n'est pas le maximum cherché : la valeur du jeu ne serait plus une divergence.",
            ),
        ),
        (
            "Dérivez p log d + q log(1 - d) par rapport à d, à x fixé, et annulez.",
            "p / d = q / (1 - d) ; isolez d.",
            "p / (p + q)",
        ),
        points=2,
    ),
}
