"""Chapitre 06 : les deux pertes (`gan_losses`), un pas du discriminateur seul (`discriminator_step`)."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_course.exercises.explain import described
from gan_course.exercises.report import Broken, Exercise, Property, expect_close

# --- gan_losses(real_logits, fake_logits, real_label=1.0) → (perte de D, perte de G) -------------------------


def both(answer: Callable, real: Tensor, fake: Tensor, **options: float) -> tuple:
    """Les deux pertes rendues par l'étudiant, après vérification de leur nombre."""
    got = answer(real, fake, **options)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise Broken(f"Il faut rendre deux pertes, celle de D puis celle de G ; reçu {type(got).__name__}.")
    return got


def slopes(loss: object, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Le gradient de `loss` par rapport à chaque entrée, zéro si elle n'en dépend pas."""
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Broken(
            "Une perte n'a pas de gradient : calculez-la avec des opérations de PyTorch, sans .item()."
        )
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, inputs)]


def losses_have_their_formulas(answer: Callable) -> None:
    real, fake = 2 * torch.randn(6), 2 * torch.randn(6)
    d_loss, g_loss = both(answer, real, fake)
    expect_close(
        d_loss, softplus(-real).mean() + softplus(fake).mean(), "Perte de D, six vrais et six faux au hasard"
    )
    expect_close(g_loss, softplus(-fake).mean(), "Perte de G, sur les six mêmes faux")


def rejected_fakes_push_hard(answer: Callable) -> None:
    fake = torch.tensor([-10.0, -12.0], requires_grad=True)
    _, g_loss = both(answer, torch.zeros(2), fake)
    (slope,) = slopes(g_loss, (fake,))
    expect_close(
        slope, [-0.5, -0.5], "Pente de la perte de G, pour deux faux rejetés (logits -10 et -12)", 1e-3
    )


def smoothing_is_one_sided(answer: Callable) -> None:
    real = torch.tensor([math.log(9.0)], requires_grad=True)  # sigmoïde(log 9) = 0,9
    fake = torch.tensor([1.0], requires_grad=True)
    d_loss, g_loss = both(answer, real, fake, real_label=0.9)
    real_slope, fake_slope = slopes(d_loss, (real, fake))
    expect_close(
        real_slope, [0.0], "Pente de la perte de D avec real_label = 0,9, pour un vrai déjà noté 0,9"
    )
    expect_close(fake_slope, torch.sigmoid(fake).detach(), "Pente de la perte de D, pour un faux de logit 1")
    expect_close(
        g_loss, softplus(-fake).mean().detach(), "Perte de G avec real_label = 0,9, pour un faux de logit 1"
    )


def large_logits_stay_finite(answer: Callable) -> None:
    real, fake = torch.tensor([-200.0], requires_grad=True), torch.tensor([200.0], requires_grad=True)
    d_loss, _ = both(answer, real, fake)
    expect_close(d_loss, 400.0, "Perte de D qui se trompe partout (vrai à -200, faux à +200)", 1e-4)
    for slope, sign, name in zip(slopes(d_loss, (real, fake)), (-1.0, 1.0), ("vrai", "faux")):
        expect_close(slope, [sign], f"Pente de cette perte par rapport au logit du {name}", 1e-4)
    _, g_loss = both(answer, torch.zeros(1), torch.tensor([-200.0]))
    expect_close(g_loss, 200.0, "Perte de G, pour un faux de logit -200", 1e-4)




def batches_may_differ_in_size(answer: Callable) -> None:
    real, fake = 2 * torch.randn(6), 2 * torch.randn(4)
    try:
        d_loss, g_loss = both(answer, real, fake)
    except (RuntimeError, ValueError) as error:
        raise Broken(
            f"Six vrais et quatre faux : {described(error)}. La cible des faux se forme sur fake_logits, celle des "
            "vrais sur real_logits, et chaque moyenne se prend sur son lot."
        ) from None
    expected = softplus(-real).mean() + softplus(fake).mean()
    expect_close(d_loss, expected, "Perte de D, six vrais et quatre faux")
    expect_close(g_loss, softplus(-fake).mean(), "Perte de G, sur les quatre mêmes faux")


# --- discriminator_step(generator, discriminator, optimizer, real, z) ----------------------------------------


class Descent:
    """Une descente de gradient, avec l'interface d'un optimiseur de PyTorch.

    Le premier appel à ceux de PyTorch importe son compilateur : des secondes prises sur celles de l'étudiant.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.param_groups = [{"params": list(parameters), "lr": lr}]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter -= self.param_groups[0]["lr"] * parameter.grad


class WatchedGenerator(nn.Module):
    """G(z) : (B, 3) → (B, 4), qui retient les gradients remontés jusqu'à sa sortie, et son mode à chaque appel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh())
        self.arrivals, self.modes = [], []

    def forward(self, z: Tensor) -> Tensor:
        self.modes.append(self.training)
        fake = self.layers(z)
        if fake.requires_grad:
            fake.register_hook(self.arrivals.append)
        return fake


def one_step(answer: Callable, stale: float | None = None, modes: list[bool] | None = None) -> tuple:
    """Un pas demandé à l'étudiant. Rend G, D, la perte rendue, et ce qu'il fallait : perte, poids de D, de G.

    modes reçoit le mode de D à chacun de ses appels.
    """
    generator, real, z = WatchedGenerator(), torch.rand(8, 4) * 2 - 1, torch.randn(8, 3)
    discriminator = nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1), nn.Flatten(0))
    g_before = [p.detach().clone() for p in generator.parameters()]
    loss = (
        softplus(-discriminator(real)).mean() + softplus(discriminator(generator.layers(z).detach())).mean()
    )
    gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
    expected = [p.detach() - 0.5 * g for p, g in zip(discriminator.parameters(), gradients)]
    if stale is not None:
        for parameter in (*generator.parameters(), *discriminator.parameters()):
            parameter.grad = torch.full_like(parameter, stale)
    if modes is not None:
        discriminator.register_forward_pre_hook(lambda network, _: modes.append(network.training))
    optimizer = Descent(discriminator.parameters(), lr=0.5)
    got = answer(generator, discriminator, optimizer, real.clone(), z.clone())
    return generator, discriminator, got, loss.detach(), expected, g_before


def generator_does_not_move(answer: Callable) -> None:
    for stale in (None, 7.0):
        generator, _, _, _, _, before = one_step(answer, stale)
        for parameter, kept in zip(generator.parameters(), before):
            expect_close(parameter.detach(), kept, "Un poids de G, après le pas de D", 1e-6)
            grad = parameter.grad
            if stale and (grad is None or not grad.any()):
                raise Broken(
                    "Les gradients de G ont été effacés (generator.zero_grad()) : le pas de D n'a pas à y toucher. "
                    "Si c'était pour effacer ceux que votre backward y laisse, détachez plutôt les faux."
                )
            if grad is not None and grad.any() and not (grad == (stale or 0)).all():
                raise Broken(
                    "Un gradient de G a changé pendant le pas de D : les faux gardent leur graphe. Calculez-les sous "
                    "torch.no_grad(), ou ajoutez .detach()."
                )
        if not generator.training:
            raise Broken("G a changé de mode : il devait rester en mode entraînement (generator.train()).")
        if any(not p.requires_grad for p in generator.parameters()):
            raise Broken("Les poids de G ne sont plus entraînables : requires_grad est resté à False.")


def nothing_flows_through_the_generator(answer: Callable) -> None:
    generator = one_step(answer)[0]
    if generator.arrivals:
        raise Broken("Un gradient est remonté jusqu'à la sortie de G : les faux devaient être détachés.")


def discriminator_moves_by_one_step(answer: Callable) -> None:
    _, discriminator, _, _, expected, _ = one_step(answer)
    for (name, parameter), wanted in zip(discriminator.named_parameters(), expected):
        expect_close(parameter.detach(), wanted, f"D, paramètre {name}, après un pas de descente", 1e-4)


def stale_gradients_do_not_count(answer: Callable) -> None:
    _, discriminator, _, _, expected, _ = one_step(answer, stale=7.0)
    for (name, parameter), wanted in zip(discriminator.named_parameters(), expected):
        what = f"D, paramètre {name}, quand le pas de G précédent avait laissé des gradients de 7"
        expect_close(parameter.detach(), wanted, what, 1e-4)


def both_networks_stay_in_training_mode(answer: Callable) -> None:
    modes = []
    generator, discriminator, *_ = one_step(answer, modes=modes)
    for name, network, seen in (("generator", generator, generator.modes), ("discriminator", discriminator, modes)):
        if not network.training or not all(seen):
            raise Broken(
                f"{name} est passé en mode évaluation (eval()) pendant le pas : ses BatchNorm emploieraient leurs "
                "moyennes mémorisées, et son dropout se tairait. Un pas d'entraînement se fait en mode train()."
            )


def the_loss_is_returned(answer: Callable) -> None:
    _, _, got, loss, _, _ = one_step(answer)
    expect_close(got, loss, "Perte rendue, celle d'avant le pas", 1e-4)


EXERCISES: dict[str, Exercise] = {
    "gan_losses": Exercise(
        "gan_losses",
        (
            Property(
                "perte de D : -moyenne(log D(x)) - moyenne(log(1 - D(G(z)))) ; perte de G : -moyenne(log D(G(z)))",
                losses_have_their_formulas,
                "les deux réseaux ne joueraient plus au même jeu.",
            ),
            Property(
                "un faux rejeté avec assurance donne à G sa pente la plus forte",
                rejected_fakes_push_hard,
                "tant que D reconnaît tous ses faux, G ne recevrait pas la pente attendue.",
            ),
            Property(
                "real_label ne change que la cible des vrais, dans la perte de D",
                smoothing_is_one_sided,
                "ce ne serait plus le lissage d'un seul côté : D, ou G, viserait une autre cible.",
            ),
            Property(
                "des logits de ±200 donnent des pertes et des pentes finies et justes",
                large_logits_stay_finite,
                "une perte infinie, ou une valeur plafonnée : le signal est perdu.",
            ),
            Property(
                "les deux lots peuvent ne pas avoir la même taille",
                batches_may_differ_in_size,
                "le dernier lot d'un jeu de données, souvent incomplet, arrêterait ou fausserait l'entraînement.",
            ),
        ),
        (
            "Trois entropies croisées binaires : vrais contre real_label, faux contre 0, et pour G faux contre 1.",
            "F.binary_cross_entropy_with_logits prend des logits et une cible de même forme (torch.full_like). "
            "-log sigmoïde(s) est aussi softplus(-s).",
            "d_loss = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, real_label)) + "
            "F.softplus(fake_logits).mean() ; g_loss = F.softplus(-fake_logits).mean() ; return d_loss, g_loss.",
        ),
        points=1,
    ),
    "discriminator_step": Exercise(
        "discriminator_step",
        (
            Property(
                "G reste tel quel : poids, gradients et mode",
                generator_does_not_move,
                "ce n'est pas le tour de G : son propre pas partirait d'autre chose que ce qu'il avait laissé.",
            ),
            Property(
                "aucun gradient ne remonte dans G : les faux sont fabriqués sans graphe, ou détachés",
                nothing_flows_through_the_generator,
                "on paie à chaque pas une rétropropagation dans G qui ne sert à rien.",
            ),
            Property(
                "D fait exactement un pas de descente sur sa perte",
                discriminator_moves_by_one_step,
                "D ne ferait pas le pas que sa perte demande.",
            ),
            Property(
                "les gradients que le pas précédent a laissés dans D ne comptent pas",
                stale_gradients_do_not_count,
                "D ne descendrait pas sa seule perte.",
            ),
            Property(
                "les deux réseaux travaillent en mode entraînement",
                both_networks_stay_in_training_mode,
                "avec BatchNorm ou dropout, ce pas n'entraînerait pas le réseau que l'on croit.",
            ),
            Property(
                "la perte de D est rendue",
                the_loss_is_returned,
                "vous n'auriez rien à tracer.",
            ),
        ),
        (
            "Dans l'ordre : les faux, sans graphe ; les deux scores ; la perte ; zero_grad, backward, step.",
            "with torch.no_grad(): fake = generator(z), ou fake = generator(z).detach(). L'optimiseur donné ne connaît "
            "que les poids de D.",
            "loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(generator(z).detach())).mean(), "
            "puis optimizer.zero_grad(), loss.backward(), optimizer.step() et return loss.detach().",
        ),
        points=2,
    ),
}
