"""Chapitre 06 : écrêter un critique et borner sa pente (`clipped_critic_step`), espacer une pénalité (`lazy_penalty`).

Entre les deux vient `gradient_penalty`, dans shared.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_course.exercises.chapter06_losses import Descent
from gan_course.exercises.report import Broken, Exercise, Property, expect_close, number

# --- clipped_critic_step(critic, optimizer, loss, limit) → borne de la pente ---------------------------------

LIMIT = 0.3


def critic_step(
    answer: Callable, stale: float | None = None
) -> tuple[nn.Sequential, object, list[Tensor], list[int]]:
    """Un pas demandé à l'étudiant : le critique, ce qui a été rendu, les poids attendus, l'identité des paramètres."""
    critic = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.uniform_(-0.25, 0.25)
        critic[0].bias.fill_(0.5)  # déjà hors des bornes : un pas ne l'y ramène pas, l'écrêtage si
        critic[0].weight[0] = 0.5
    real, fake = torch.randn(8, 3), torch.randn(8, 3) + 2
    loss = critic(fake).mean() - critic(real).mean()
    parameters = list(critic.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients)]
    expected = [(p.detach() - 2 * g).clamp(-LIMIT, LIMIT) for p, g in zip(parameters, gradients)]
    if stale is not None:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, stale)
    returned = answer(critic, Descent(parameters, lr=2.0), loss, LIMIT)
    return critic, returned, expected, [id(p) for p in parameters]


def every_weight_is_within_the_limit(answer: Callable) -> None:
    critic, *_ = critic_step(answer)
    for name, parameter in critic.named_parameters():
        largest = parameter.detach().abs().max().item()
        if not largest <= LIMIT + 1e-6:
            raise Broken(
                f"Paramètre {name} : un poids vaut {number(largest)} en valeur absolue, "
                f"pour limit = {number(LIMIT)}."
            )


def clipping_comes_after_the_step(answer: Callable) -> None:
    critic, _, expected, _ = critic_step(answer)
    for (name, parameter), wanted in zip(critic.named_parameters(), expected):
        expect_close(
            parameter.detach(), wanted, f"Paramètre {name} : un pas de descente, puis l'écrêtage", 1e-5
        )


def old_gradients_do_not_count(answer: Callable) -> None:
    critic, _, expected, _ = critic_step(answer, stale=0.05)
    for (name, parameter), wanted in zip(critic.named_parameters(), expected):
        what = f"Paramètre {name}, quand des gradients de 0,05 traînaient d'un pas précédent"
        expect_close(parameter.detach(), wanted, what, 1e-5)


def weights_are_clipped_in_place(answer: Callable) -> None:
    critic, _, _, objects = critic_step(answer)
    if [id(p) for p in critic.parameters()] != objects:
        raise Broken(
            "Les paramètres du critique ont été remplacés par d'autres : l'optimiseur garde les anciens."
        )
    if any(not p.requires_grad or p.grad_fn is not None for p in critic.parameters()):
        raise Broken("Un paramètre n'est plus entraînable (requires_grad vaut False, ou il porte un graphe).")


def the_bound_is_a_product(answer: Callable) -> None:
    critic, bound, _, _ = critic_step(answer)
    expected = torch.stack([torch.linalg.svdvals(critic[i].weight.detach())[0] for i in (0, 2, 4)]).prod()
    expect_close(
        bound, expected, "Borne rendue : produit des plus grandes valeurs singulières, après écrêtage", 1e-3
    )
    x, y = torch.randn(2_000, 3), torch.randn(2_000, 3)
    with torch.no_grad():
        steepest = ((critic(x) - critic(y)).norm(dim=1) / (x - y).norm(dim=1)).max().item()
    if float(bound) < steepest:
        raise Broken(
            f"Borne obtenue : {number(float(bound))} ; or, entre deux points, la pente est de {number(steepest)}."
        )


# --- lazy_penalty(step, every, weight, penalty) --------------------------------------------------------------


class CountedPenalty:
    """Une pénalité de valeur connue, qui compte combien de fois on la calcule."""

    def __init__(self, value: float = 0.5) -> None:
        self.parameter, self.calls = torch.tensor(value, requires_grad=True), 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.parameter * 1.0


def terms_of(answer: Callable, penalty: CountedPenalty, steps: int, every: int, weight: float) -> list[float]:
    """Le terme rendu à chacun des premiers pas, en nombres."""
    terms = []
    for step in range(steps):
        term = answer(step, every, weight, penalty)
        if term is None:
            raise Broken(f"Pas {step}, every = {every} : rien n'a été rendu. Un pas sans pénalité rend 0.")
        if isinstance(term, Tensor) and term.dim():
            raise Broken(f"Pas {step} : forme {tuple(term.shape)} obtenue ; il faut un nombre, de forme ().")
        terms.append(float(term.detach()) if isinstance(term, Tensor) else float(term))
    return terms


def the_mean_is_the_plain_penalty(answer: Callable) -> None:
    for every, weight in ((4, 10.0), (16, 0.3)):
        terms = terms_of(answer, CountedPenalty(), 5 * every, every, weight)
        what = f"Moyenne de {5 * every} pas, every = {every}, weight = {number(weight)}, pénalité 0,5"
        expect_close(sum(terms) / len(terms), 0.5 * weight, what, 1e-4)


def work_is_done_once_per_period(answer: Callable) -> None:
    penalty = CountedPenalty()
    terms_of(answer, penalty, 24, 8, 10.0)
    if penalty.calls != 3:
        raise Broken(
            f"La pénalité a été calculée {penalty.calls} fois en 24 pas ; avec every = 8, il en faut 3."
        )


def the_period_is_regular(answer: Callable) -> None:
    terms = terms_of(answer, CountedPenalty(), 32, 8, 10.0)
    steps = [i for i, term in enumerate(terms) if term]
    if len(steps) != 4 or any(b - a != 8 for a, b in zip(steps, steps[1:])):
        raise Broken(
            f"Pas pénalisés, parmi les 32 premiers : {steps} ; avec every = 8, il en faut un tous les 8."
        )


def every_one_is_the_plain_penalty(answer: Callable) -> None:
    terms = terms_of(answer, CountedPenalty(), 5, 1, 10.0)
    expect_close(
        torch.tensor(terms),
        torch.full((5,), 5.0),
        "Termes des cinq premiers pas, every = 1, weight = 10",
        1e-5,
    )


def the_term_still_teaches(answer: Callable) -> None:
    penalty = CountedPenalty()
    terms = [answer(step, 4, 10.0, penalty) for step in range(8)]
    total = sum(term for term in terms if term is not None)
    if not isinstance(total, Tensor) or not total.requires_grad:
        raise Broken("Le terme n'a pas de gradient : n'appelez ni .item(), ni .detach() sur la pénalité.")
    (slope,) = torch.autograd.grad(total, penalty.parameter)
    expect_close(slope, 80.0, "Gradient de la somme de 8 pas, every = 4, weight = 10", 1e-4)


EXERCISES: dict[str, Exercise] = {
    "clipped_critic_step": Exercise(
        "clipped_critic_step",
        (
            Property(
                "après le pas, tous les paramètres sont dans [-limit, limit]",
                every_weight_is_within_the_limit,
                "la pente du critique n'a plus de borne : l'écart de ses notes ne mesure plus une distance.",
            ),
            Property(
                "le critique fait son pas de descente, puis ses paramètres sont écrêtés",
                clipping_comes_after_the_step,
                "les poids d'après ne seraient pas ceux de l'algorithme de WGAN.",
            ),
            Property(
                "les gradients d'un pas précédent ne comptent pas",
                old_gradients_do_not_count,
                "chaque pas referait en partie les précédents.",
            ),
            Property(
                "l'écrêtage se fait sur place, hors du graphe",
                weights_are_clipped_in_place,
                "l'optimiseur ne ferait plus avancer les poids du critique.",
            ),
            Property(
                "la borne rendue est le produit des plus grands étirements des couches linéaires",
                the_bound_is_a_product,
                "le nombre rendu ne dirait rien de la pente du critique que G affronte.",
            ),
        ),
        (
            "Trois temps : le pas (zero_grad, backward, step) ; l'écrêtage ; la borne, lue sur les poids écrêtés.",
            "Sous torch.no_grad(), p.clamp_(-limit, limit) écrête sur place. torch.linalg.matrix_norm(W, 2) est "
            "la plus "
            "grande valeur singulière ; ReLU et LeakyReLU n'étirent rien. Les biais s'écrêtent, mais n'étirent pas.",
            "après optimizer.step(), pour p dans critic.parameters() : p.data.clamp_(-limit, limit) ; puis bound "
            "= 1.0 et, "
            "pour chaque nn.Linear de critic.modules(), bound *= torch.linalg.matrix_norm(layer.weight, 2).item() ; "
            "return bound.",
        ),
        points=2,
    ),
    "lazy_penalty": Exercise(
        "lazy_penalty",
        (
            Property(
                "en moyenne sur les pas, le terme vaut weight × pénalité",
                the_mean_is_the_plain_penalty,
                "la pénalité ne pèserait pas ce que dit weight : le réglage de l'article ne se transposerait pas.",
            ),
            Property(
                "penalty() n'est appelée qu'une fois par période",
                work_is_done_once_per_period,
                "le temps de calcul ne serait pas celui que l'on voulait.",
            ),
            Property(
                "les pas pénalisés sont également espacés",
                the_period_is_regular,
                "D serait laissé libre trop longtemps entre deux pénalités.",
            ),
            Property(
                "every = 1 redonne la pénalité ordinaire",
                every_one_is_the_plain_penalty,
                "on ne pourrait plus comparer les deux versions.",
            ),
            Property(
                "le terme garde son gradient",
                the_term_still_teaches,
                "la pénalité s'ajouterait à la courbe sans corriger D comme il faut.",
            ),
        ),
        (
            "À quels pas la pénalité tombe-t-elle ? Le reste d'une division le dit.",
            "step % every vaut 0 une fois toutes les `every` valeurs de step. penalty est une fonction sans argument : "
            "tant que l'on n'écrit pas penalty(), rien n'est calculé.",
            "return weight * every * penalty() if step % every == 0 else 0.0",
        ),
        points=1,
    ),
}
