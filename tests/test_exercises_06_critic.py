"""Chapitre 06, le critique. Les fautes courantes y ont leur nom."""

import math

import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, message_tests
from torch import nn

from gan_course.exercises import CHAPTERS, chapter06_critic, shared

CHAPTER = chapter06_critic.EXERCISES

# --- clipped_critic_step -------------------------------------------------------------------------------------


def critic_by_clamp(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    bound = 1.0
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-limit, limit)
        for layer in critic.modules():
            if isinstance(layer, nn.Linear):
                bound *= torch.linalg.matrix_norm(layer.weight, 2).item()
    return bound


def critic_by_data(critic, optimizer, loss, limit):
    parameters = list(critic.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)):
        parameter.grad = gradient
    optimizer.step()
    for parameter in parameters:
        parameter.data = parameter.data.minimum(torch.tensor(limit)).maximum(torch.tensor(-limit))
    matrices = [p.detach() for p in parameters if p.dim() == 2]
    return torch.stack([torch.linalg.svdvals(m).max() for m in matrices]).prod()


def critic_by_power_iteration(critic, optimizer, loss, limit):
    critic.zero_grad()
    loss.backward()
    optimizer.step()
    nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(critic.parameters()).detach().clamp(-limit, limit), critic.parameters()
    )
    bound = torch.tensor(1.0)
    for weight in (p.detach() for name, p in critic.named_parameters() if "weight" in name):
        v = torch.ones(weight.shape[1])
        for _ in range(300):
            v = F.normalize(weight.T @ (weight @ v), dim=0)
        bound = bound * (weight @ v).norm()
    return bound


def bound_of(critic):
    return math.prod(
        float(torch.linalg.matrix_norm(p.detach(), 2)) for p in critic.parameters() if p.dim() == 2
    )


def critic_clipped_before(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    for parameter in critic.parameters():
        parameter.data.clamp_(-limit, limit)
    optimizer.step()
    return bound_of(critic)


def critic_clipped_gradient(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(critic.parameters(), limit)
    optimizer.step()
    return bound_of(critic)


def critic_rescaled(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for parameter in critic.parameters():
        parameter.data *= limit / parameter.data.abs().max()
    return bound_of(critic)


def critic_keeping_gradients(critic, optimizer, loss, limit):
    loss.backward()
    optimizer.step()
    for parameter in critic.parameters():
        parameter.data.clamp_(-limit, limit)
    return bound_of(critic)


def critic_with_new_weights(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for layer in critic:
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(layer.weight.detach().clamp(-limit, limit))
            layer.bias = nn.Parameter(layer.bias.detach().clamp(-limit, limit))
    return bound_of(critic)


def critic_bounded_by_frobenius(critic, optimizer, loss, limit):
    critic_by_clamp(critic, optimizer, loss, limit)
    return math.prod(float(p.detach().norm()) for p in critic.parameters() if p.dim() == 2)


def critic_bounded_before(critic, optimizer, loss, limit):
    bound = bound_of(critic)
    critic_by_clamp(critic, optimizer, loss, limit)
    return bound


def critic_bounded_by_limit(critic, optimizer, loss, limit):
    critic_by_clamp(critic, optimizer, loss, limit)
    return limit


def critic_sparing_biases(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for parameter in critic.parameters():
        if parameter.dim() == 2:
            parameter.data.clamp_(-limit, limit)
    return bound_of(critic)


# --- lazy_penalty --------------------------------------------------------------------------------------------


def lazy_by_remainder(step, every, weight, penalty):
    return weight * every * penalty() if step % every == 0 else 0.0


def lazy_at_the_end(step, every, weight, penalty):
    if (step + 1) % every:
        return torch.zeros(())
    return penalty() * (weight * every)


def lazy_by_division(step, every, weight, penalty):
    new_period = step // every != (step - 1) // every
    return every * weight * penalty() if new_period else 0


def lazy_without_factor(step, every, weight, penalty):
    return weight * penalty() if step % every == 0 else 0.0


def lazy_computing_always(step, every, weight, penalty):
    value = penalty()
    return weight * every * value if step % every == 0 else 0.0 * value


def lazy_at_random(step, every, weight, penalty):
    return weight * every * penalty() if torch.rand(()) < 1 / every else 0.0


def lazy_never_lazy(step, every, weight, penalty):
    return weight * penalty()


def lazy_detached(step, every, weight, penalty):
    return weight * every * penalty().item() if step % every == 0 else 0.0


def lazy_returning_nothing(step, every, weight, penalty):
    if step % every == 0:
        return weight * every * penalty()


def lazy_in_bursts(step, every, weight, penalty):
    return weight * every * penalty() if step % (2 * every) < 2 else 0.0


RIGHT = {
    "clipped_critic_step": (critic_by_clamp, critic_by_data, critic_by_power_iteration),
    "lazy_penalty": (lazy_by_remainder, lazy_at_the_end, lazy_by_division),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "clipped_critic_step": (
        (critic_clipped_before, "tous les paramètres", "vous écrêtez avant optimizer.step(), qui fait"),
        (critic_clipped_gradient, "tous les paramètres", "les paramètres ne sont pas écrêtés. p.clamp(…)"),
        (critic_rescaled, "pas de descente, puis"),
        (critic_keeping_gradients, "pas précédent", "il manque optimizer.zero_grad()"),
        (critic_with_new_weights, "sur place"),
        (critic_bounded_by_frobenius, "produit", "c'est la norme de Frobenius"),
        (critic_bounded_before, "produit"),
        (critic_bounded_by_limit, "produit"),
        (critic_sparing_biases, "tous les paramètres", "les biais ne sont pas écrêtés"),
    ),
    "lazy_penalty": (
        (lazy_without_factor, "en moyenne", "il manque le facteur every"),
        (lazy_computing_always, "une fois par période"),
        (lazy_at_random, "également espacés"),
        (lazy_never_lazy, "une fois par période"),
        (lazy_detached, "gradient", ".item(), ou .detach(), coupe le graphe de la"),  # graphe de la pénalité perdu
        (lazy_returning_nothing, "en moyenne"),
        (lazy_in_bursts, "également espacés"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


def critic_clamped_with_the_graph(critic, optimizer, loss, limit):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for parameter in critic.parameters():
        parameter.clamp_(-limit, limit)
    return bound_of(critic)


MESSAGES = [
    ("clipped_critic_step", critic_clamped_with_the_graph, "sous with torch.no_grad():"),
    ("clipped_critic_step", critic_sparing_biases, "pour limit = 0,3"),
    ("lazy_penalty", lazy_without_factor, "corrige D trop peu, ou pas du tout"),
]
globals().update(message_tests(CHAPTER, MESSAGES))


def test_gradient_penalty_is_the_exercise_of_chapter_04():
    assert CHAPTERS["06"]["gradient_penalty"] is shared.EXERCISES["gradient_penalty"]
