"""Exercices du chapitre 07 : chemins sphériques, codes reparamétrés devant leur discriminateur, inversion."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_course.exercises.chapter02_latent import slerp_turns_at_every_angle
from gan_course.exercises.chapter07_reading import CORRESPONDENCE_READING
from gan_course.exercises.expect import Broken, expect_close, expect_gradient, expect_shape, number
from gan_course.exercises.report import Exercise, Property


# slerp_path(a, b, t) : (B, D), (B, D) et (T,) → (T, B, D), normes quelconques
def pairs(angles: tuple[float, ...], norms: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Une ligne par angle : a (B, 5) de norme norms[0] et b (B, 5) de norme norms[1], dans des plans quelconques."""
    bases = torch.linalg.qr(torch.randn(len(angles), 5, 2)).Q
    angle = torch.tensor(angles)[:, None]
    return norms[0] * bases[..., 0], norms[1] * (angle.cos() * bases[..., 0] + angle.sin() * bases[..., 1])


def path_reaches_both_ends(answer: Callable) -> None:
    a, b = pairs((0.4, 1.5, 2.5), (2.0, 5.0))
    got = answer(a.clone(), b.clone(), torch.tensor([0.0, 1.0]))
    expect_shape(got, (2, 3, 5), "a et b de forme (3, 5), t de forme (2,)")
    expect_close(got[0], a, "t = 0, le départ", 1e-4)
    expect_close(got[1], b, "t = 1, l'arrivée", 1e-4)


def path_norm_is_linear(answer: Callable) -> None:
    a, b = pairs((0.4, 1.5, 2.5), (2.0, 5.0))
    t = torch.tensor([0.25, 0.5, 0.9])
    got = answer(a.clone(), b.clone(), t.clone())
    expect_shape(got, (3, 3, 5), "a et b de forme (3, 5), t de forme (3,)")
    expected = (2 + 3 * t)[:, None].expand(3, 3)
    expect_close(got.float().norm(dim=2), expected, "Normes le long du chemin, pour ‖a‖ = 2 et ‖b‖ = 5", 1e-3)


def path_turns_at_constant_speed(answer: Callable) -> None:
    angles, t = (0.4, 1.5, 2.5), torch.tensor([0.2, 0.7])
    a, b = pairs(angles, (2.0, 5.0))
    got = answer(a.clone(), b.clone(), t.clone())
    expect_shape(got, (2, 3, 5), "a et b de forme (3, 5), t de forme (2,)")
    got = got.float()
    turned = torch.arccos(((got * a).sum(2) / (got.norm(dim=2) * 2)).clamp(-1, 1))
    what = "Angles avec a à t = 0,2 et 0,7, en degrés, pour des angles en tout de 23°, 86° et 143°"
    expect_close(torch.rad2deg(turned), torch.rad2deg(t[:, None] * torch.tensor(angles)), what, 2e-3)


def path_between_equal_points(answer: Callable) -> None:
    a = torch.randn(40, 5)
    b = torch.cat([a[:39], 2 * a[39:]])  # même direction partout, la dernière ligne deux fois plus longue
    got = answer(a.clone(), b.clone(), torch.tensor([0.5]))
    expect_shape(got, (1, 40, 5), "a et b de forme (40, 5), t de forme (1,)")
    if got.isnan().any():
        raise Broken(
            "b = a : le résultat contient nan. L'arrondi pousse le cosinus au-delà de 1 : bornez-le. Et sin 0 vaut 0 : "
            "traitez à part un angle presque nul."
        )
    expect_close(got[0], (a + b) / 2, "b = a (et b = 2 a à la dernière ligne), t = 0,5", 1e-3)


# latent_discriminator_loss(discriminator, mean, log_variance) : le pas de D sur des codes μ + σ ε
class Recorder:
    """Un discriminateur linéaire D(z) = z · w + c, qui garde ce qu'on lui montre."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        self.weight, self.bias, self.seen = weight, bias, []

    def __call__(self, z: Tensor) -> Tensor:
        self.seen.append(z)
        return z @ self.weight + self.bias

    def batches(self, count: int, dim: int) -> Tensor:
        """Tout ce qui a été montré, (2 count, dim) ; Broken si ce n'est pas autant de tirages que de codes."""
        shown = torch.cat([z.detach() for z in self.seen]) if self.seen else torch.empty(0, dim)
        if tuple(shown.shape) != (2 * count, dim):
            raise Broken(
                f"D a vu {len(shown)} vecteurs pour {count} codes ; il en faut {2 * count} : les codes, et autant de "
                "tirages de N(0, I)."
            )
        return shown


def hesitating_judge_costs_two_logs(answer: Callable) -> None:
    for bias in (0.0, 1.5, -2.0):
        judge = Recorder(torch.zeros(3), bias)
        got = answer(judge, torch.randn(6, 3), torch.zeros(6, 3))
        expected = math.log1p(math.exp(-bias)) + math.log1p(math.exp(bias))
        expect_close(got, expected, f"D qui rend {number(bias)} pour tout", 1e-4)


def draws_are_real_and_codes_are_fake(answer: Callable) -> None:
    weight = torch.tensor([4.0, 0.0])
    got = answer(
        Recorder(weight, -20.0), torch.tensor([[10.0, 0.0]]).repeat(64, 1), torch.full((64, 2), -30.0)
    )
    # D(code) = 20, D(tirage) = -20 environ : D a tout faux, et doit payer environ 40.
    expect_shape(got, (), "La perte d'un lot")
    if not 30 < float(got) < 50:
        raise Broken(
            f"D prend tous les codes pour des tirages, et l'inverse ; perte obtenue : {number(float(got))}, attendue : "
            "environ 40. Le vrai est le tirage de N(0, I), le faux est le code."
        )


def codes_spread_by_sigma(answer: Callable) -> None:
    judge = Recorder(torch.zeros(2))
    answer(judge, torch.full((4_000, 2), 100.0), torch.full((4_000, 2), math.log(9.0)))
    shown = judge.batches(4_000, 2)
    codes, draws = shown[shown[:, 0] > 50], shown[shown[:, 0] <= 50]
    if len(codes) != 4_000:
        raise Broken(
            f"Moyenne μ = 100, σ = 3 : {len(codes)} vecteurs sur 8 000 sont près de 100, il en faut 4 000."
        )
    expect_close(codes.mean(), 100.0, "Moyenne des codes pour μ = 100", 3e-3)
    expect_close(codes.std(0), [3.0, 3.0], "Écart-type des codes pour une variance de 9", 0.1)
    expect_close(draws.std(0), [1.0, 1.0], "Écart-type des tirages de N(0, I)", 0.1)
    correlation = torch.corrcoef(codes.T)[0, 1]
    expect_close(
        correlation, 0.0, "Corrélation entre les deux coordonnées d'un code (un ε par coordonnée)", 0.1
    )


def encoder_gets_no_gradient(answer: Callable) -> None:
    weight = torch.randn(3, requires_grad=True)
    mean, log_variance = torch.randn(8, 3, requires_grad=True), torch.zeros(8, 3, requires_grad=True)
    loss = answer(Recorder(weight), mean, log_variance)
    expect_gradient(loss)
    for_judge, *for_encoder = torch.autograd.grad(loss, (weight, mean, log_variance), allow_unused=True)
    if for_judge is None or not for_judge.abs().sum() > 0:
        raise Broken("Le gradient par rapport aux poids de D est nul : D n'apprend rien.")
    if any(gradient is not None and gradient.abs().sum() > 0 for gradient in for_encoder):
        raise Broken("La perte de D a un gradient par rapport à μ ou log σ² : détachez les codes.")


# inversion_step(generator, z, image, lr, prior) : un pas de descente, z → z'
class LinearGenerator(nn.Module):
    """G(z) = z A, en images (B, 1, 2, 3) : le gradient de l'inversion s'y écrit à la main."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 6))

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.matrix).reshape(-1, 1, 2, 3)

    def step(self, z: Tensor, image: Tensor, lr: float, prior: float) -> Tensor:
        """Le pas attendu."""
        with torch.no_grad():
            slope = 2 / 6 * (self(z) - image).flatten(1) @ self.matrix.T
            shell = 4 * prior * (z.square().mean(1, keepdim=True) - 1) * z / z.shape[1]
            return z - lr * (slope + shell)


def step_descends_the_error(answer: Callable) -> None:
    generator, z, image = LinearGenerator(), torch.randn(1, 4), torch.randn(1, 1, 2, 3)
    got = answer(generator, z.clone(), image.clone(), 0.1, 0.0)
    expect_shape(got, (1, 4), "z de forme (1, 4)")
    expected = generator.step(z, image, 0.1, 0.0)
    expect_close(got, expected, "Un pas sur un générateur linéaire, sans a priori", 1e-4)


def step_keeps_the_shell(answer: Callable) -> None:
    generator = LinearGenerator()
    for scale in (3.0, 0.3):
        z = scale * torch.randn(1, 4)
        image = generator(z).detach()  # déjà reconstruite : il ne reste que l'a priori
        got = answer(generator, z.clone(), image, 0.05, 2.0)
        expect_shape(got, (1, 4), "z de forme (1, 4)")
        what = f"Image déjà reconstruite, ‖z‖²/D = {number(float(z.square().mean()))} : z ne bouge que par l'a priori"
        expect_close(got, generator.step(z, image, 0.05, 2.0), what, 1e-3)


def images_do_not_mix(answer: Callable) -> None:
    generator, z, image = LinearGenerator(), torch.randn(5, 4), torch.randn(5, 1, 2, 3)
    got = answer(generator, z.clone(), image.clone(), 0.1, 0.5)
    expect_shape(got, (5, 4), "z de forme (5, 4)")
    what = "Cinq images à la fois, comparées à cinq pas séparés"
    expect_close(got, generator.step(z, image, 0.1, 0.5), what, 1e-4)


def nothing_else_moves(answer: Callable) -> None:
    generator, z, image = LinearGenerator(), torch.randn(2, 4), torch.randn(2, 1, 2, 3)
    kept, weights = z.clone(), generator.matrix.detach().clone()
    got = answer(generator, z, image, 0.1, 0.5)
    expect_shape(got, (2, 4), "z de forme (2, 4)")
    expect_close(z, kept, "Le z donné, après l'appel")
    expect_close(generator.matrix, weights, "Les poids du générateur, après l'appel")
    if generator.matrix.grad is not None and generator.matrix.grad.abs().sum() > 0:
        raise Broken(
            "Les poids du générateur ont reçu un gradient. torch.autograd.grad(perte, z) n'en donne qu'à z."
        )
    if got.requires_grad:
        raise Broken(
            "Le z rendu porte encore le graphe du pas : détachez-le, sinon la mémoire grossit à chaque pas."
        )


EXERCISES: dict[str, Exercise] = {
    "slerp_path": Exercise(
        "slerp_path",
        (
            Property(
                "t = 0 rend a, t = 1 rend b, ligne par ligne",
                path_reaches_both_ends,
                "la promenade ne part pas de la bonne image, ou n'y arrive pas.",
            ),
            Property(
                "la norme passe linéairement de ‖a‖ à ‖b‖",
                path_norm_is_linear,
                "le long du chemin, z quitterait la coquille où sont les tirages de l'entraînement.",
            ),
            Property(
                "chaque ligne tourne à vitesse constante, de son propre angle",
                path_turns_at_constant_speed,
                "l'animation irait par à-coups.",
            ),
            Property(
                "deux points de même direction ne donnent pas NaN",
                path_between_equal_points,
                "une promenade dont deux étapes ont la même direction perdrait son image.",
            ),
            Property(
                "les angles très petits et proches de 180° se parcourent comme les autres",
                lambda answer: slerp_turns_at_every_angle(
                    lambda a, b, t: answer(a[None], b[None], torch.tensor([t]))[0, 0]
                ),
                "certaines promenades s'arrêteraient, ou resteraient sur place.",
            ),
        ),
        (
            "Séparez direction et longueur : slerp sur a / ‖a‖ et b / ‖b‖, puis une norme (1 - t) ‖a‖ + t ‖b‖.",
            "Normes avec keepdim=True sur le dernier axe, t[:, None, None] pour l'axe des instants ; bornez le cosinus "
            "juste en deçà de 1 avant arccos, ou traitez à part les angles presque nuls.",
            "u, v = a / na, b / nb ; w = torch.arccos((u * v).sum(-1, keepdim=True).clamp(-1, 1)).clamp_min(1e-3) ; "
            "direction = (sin((1 - t) w) u + sin(t w) v) / sin(w) ; rendez ((1 - t) * na + t * nb) * direction.",
        ),
        points=2,
    ),
    "latent_discriminator_loss": Exercise(
        "latent_discriminator_loss",
        (
            Property(
                "un D constant, de logit c, coûte log(1 + exp(-c)) + log(1 + exp(c))",
                hesitating_judge_costs_two_logs,
                "la perte de D ne se lirait plus sur l'échelle habituelle, où l'équilibre vaut log 4.",
            ),
            Property(
                "le vrai est le tirage de N(0, I), le faux est le code",
                draws_are_real_and_codes_are_fake,
                "D apprendrait autre chose, et l'encodeur ne rejoindrait pas la gaussienne.",
            ),
            Property(
                "les codes sont μ + σ ε, avec σ = exp(log σ² / 2) et un ε neuf par coordonnée",
                codes_spread_by_sigma,
                "les codes n'ont pas l'étalement que l'encodeur annonce.",
            ),
            Property(
                "D reçoit un gradient, l'encodeur n'en reçoit pas",
                encoder_gets_no_gradient,
                "les deux joueurs n'apprendraient plus chacun à leur tour.",
            ),
        ),
        (
            "Trois lignes : les codes, détachés ; des tirages de même forme ; la somme des deux pertes.",
            "codes = mean + (log_variance / 2).exp() * torch.randn_like(mean), puis .detach().",
            "F.softplus(-discriminator(torch.randn_like(mean))).mean() + F.softplus(discriminator(codes)).mean().",
        ),
        points=2,
    ),
    "inversion_step": Exercise(
        "inversion_step",
        (
            Property(
                "z descend l'erreur moyenne par pixel, d'un pas lr",
                step_descends_the_error,
                "l'inversion n'approcherait pas l'image au rythme que lr annonce.",
            ),
            Property(
                "l'a priori ramène ‖z‖² / D vers 1",
                step_keeps_the_shell,
                "on reconstruit l'image en un point que le générateur n'a jamais vu.",
            ),
            Property(
                "dans un lot, chaque image avance comme si elle était seule",
                images_do_not_mix,
                "l'inversion d'une image dépendrait de celles qui l'accompagnent.",
            ),
            Property(
                "ni le z donné, ni le générateur ne changent, et le z rendu est détaché",
                nothing_else_moves,
                "le pas suivant hériterait de ce que celui-ci a laissé.",
            ),
        ),
        (
            "La perte est une somme sur les images : erreur moyenne par pixel, plus prior fois (‖z‖² / D - 1)².",
            "z = z.detach().clone().requires_grad_(), puis torch.autograd.grad(perte, z), qui ne touche qu'à z.",
            "error = (generator(z) - image).square().flatten(1).mean(1) ; shell = (z.square().mean(1) - 1).square() ; "
            "(slope,) = torch.autograd.grad((error + prior * shell).sum(), z) ; return (z - lr * slope).detach().",
        ),
        points=3,
    ),
    "correspondence_reading": CORRESPONDENCE_READING,
}
