"""Chapitre 06, pertes et pas de D. Les fautes courantes y ont leur nom."""

import copy

import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, message_tests

from gan_course.exercises import chapter06_losses
from gan_course.exercises.report import examine

CHAPTER = chapter06_losses.EXERCISES

# --- gan_losses ----------------------------------------------------------------------------------------------


def losses_by_softplus(real_logits, fake_logits, real_label=1.0):
    real = real_label * F.softplus(-real_logits) + (1 - real_label) * F.softplus(real_logits)
    return real.mean() + F.softplus(fake_logits).mean(), F.softplus(-fake_logits).mean()


def losses_by_cross_entropy(real_logits, fake_logits, real_label=1.0):
    bce = F.binary_cross_entropy_with_logits
    d_loss = bce(real_logits, torch.full_like(real_logits, real_label))
    return d_loss + bce(fake_logits, torch.zeros_like(fake_logits)), bce(
        fake_logits, torch.ones_like(fake_logits)
    )


def losses_by_logsigmoid(real_logits, fake_logits, real_label=1.0):
    real = -(real_label * F.logsigmoid(real_logits) + (1 - real_label) * F.logsigmoid(-real_logits))
    return [real.mean() - F.logsigmoid(-fake_logits).mean(), -F.logsigmoid(fake_logits).mean()]


def losses_added_pair_by_pair(real_logits, fake_logits, real_label=1.0):
    """Une somme avant la moyenne, qui suppose autant de faux que de vrais."""
    real = -(real_label * F.logsigmoid(real_logits) + (1 - real_label) * F.logsigmoid(-real_logits))
    return (real - F.logsigmoid(-fake_logits)).mean(), -F.logsigmoid(fake_logits).mean()


def losses_with_targets_of_the_reals(real_logits, fake_logits, real_label=1.0):
    bce = F.binary_cross_entropy_with_logits
    d_loss = bce(real_logits, torch.full_like(real_logits, real_label))
    d_loss = d_loss + bce(fake_logits, torch.zeros_like(real_logits))
    return d_loss, bce(fake_logits, torch.ones_like(real_logits))


def losses_of_inverted_signs(real_logits, fake_logits, real_label=1.0):
    d_loss = F.softplus(real_logits).mean() + F.softplus(-fake_logits).mean()
    return d_loss, F.softplus(-fake_logits).mean()


def losses_on_probabilities(real_logits, fake_logits, real_label=1.0):
    """log(D) et log(1 - D) sur des probabilités."""
    real, fake = real_logits.sigmoid(), fake_logits.sigmoid()
    d_loss = -(real_label * real.log() + (1 - real_label) * (1 - real).log()).mean() - (1 - fake).log().mean()
    return d_loss, -fake.log().mean()


def losses_clamped(real_logits, fake_logits, real_label=1.0):
    return losses_on_probabilities(real_logits.clamp(-15, 15), fake_logits.clamp(-15, 15), real_label)


def losses_smoothing_fakes(real_logits, fake_logits, real_label=1.0):
    """Lissage appliqué aussi aux faux."""
    bce = F.binary_cross_entropy_with_logits
    d_loss = bce(real_logits, torch.full_like(real_logits, real_label))
    d_loss = d_loss + bce(fake_logits, torch.full_like(fake_logits, 1 - real_label))
    return d_loss, F.softplus(-fake_logits).mean()


def losses_smoothing_generator(real_logits, fake_logits, real_label=1.0):
    d_loss, _ = losses_by_cross_entropy(real_logits, fake_logits, real_label)
    return d_loss, F.binary_cross_entropy_with_logits(fake_logits, torch.full_like(fake_logits, real_label))


def losses_saturating(real_logits, fake_logits, real_label=1.0):
    """La forme saturante, dont la pente s'éteint."""
    return losses_by_softplus(real_logits, fake_logits, real_label)[0], -F.softplus(fake_logits).mean()


def losses_hinge(real_logits, fake_logits, real_label=1.0):
    """Une perte charnière sous un autre nom."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean(), -fake_logits.mean()


def losses_halved(real_logits, fake_logits, real_label=1.0):
    d_loss, g_loss = losses_by_softplus(real_logits, fake_logits, real_label)
    return d_loss / 2, g_loss


def losses_swapped(real_logits, fake_logits, real_label=1.0):
    return losses_by_softplus(real_logits, fake_logits, real_label)[::-1]


# --- discriminator_step --------------------------------------------------------------------------------------


def step_detached(generator, discriminator, optimizer, real, z):
    fake = generator(z).detach()
    loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_without_graph(generator, discriminator, optimizer, real, z):
    with torch.no_grad():
        fake = generator(z)
    logits = discriminator(torch.cat([real, fake]))
    targets = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))])
    loss = 2 * F.binary_cross_entropy_with_logits(logits, targets)
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.item()


def step_by_autograd(generator, discriminator, optimizer, real, z):
    copied = copy.deepcopy(generator).requires_grad_(False)
    real_loss, fake_loss = F.softplus(-discriminator(real)), F.softplus(discriminator(copied(z)))
    loss = real_loss.mean() + fake_loss.mean()
    parameters = list(discriminator.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        parameter.grad = gradient
    optimizer.step()
    return loss


def step_two_backwards(generator, discriminator, optimizer, real, z):
    discriminator.zero_grad()
    d_real = F.softplus(-discriminator(real)).mean()
    d_real.backward()
    d_fake = F.softplus(discriminator(generator(z).detach())).mean()
    d_fake.backward()
    optimizer.step()
    return (d_real + d_fake).item()


def step_through_generator(generator, discriminator, optimizer, real, z):
    """Le pas de D rétropropage dans G."""
    loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(generator(z))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_through_then_cleaned(generator, discriminator, optimizer, real, z):
    loss = step_through_generator(generator, discriminator, optimizer, real, z)
    generator.zero_grad()
    return loss


def step_without_zero_grad(generator, discriminator, optimizer, real, z):
    """Les gradients que le pas de G a laissés dans D s'ajoutent."""
    loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(generator(z).detach())).mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_zeroed_after_backward(generator, discriminator, optimizer, real, z):
    loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(generator(z).detach())).mean()
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.detach()


def step_reversed(generator, discriminator, optimizer, real, z):
    fake = generator(z).detach()
    return step_detached(lambda _: real, discriminator, optimizer, fake, z)


def step_without_fakes(generator, discriminator, optimizer, real, z):
    loss = F.softplus(-discriminator(real)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_leaving_eval_mode(generator, discriminator, optimizer, real, z):
    generator.eval()
    return step_detached(generator, discriminator, optimizer, real, z)


def step_judging_in_eval_mode(generator, discriminator, optimizer, real, z):
    discriminator.eval()
    return step_detached(generator, discriminator, optimizer, real, z)


def step_drawing_in_eval_mode(generator, discriminator, optimizer, real, z):
    generator.eval()
    loss = step_detached(generator, discriminator, optimizer, real, z)
    generator.train()
    return loss


def step_erasing_generator_gradients(generator, discriminator, optimizer, real, z):
    generator.zero_grad()
    return step_detached(generator, discriminator, optimizer, real, z)


def step_freezing(generator, discriminator, optimizer, real, z):
    generator.requires_grad_(False)
    return step_detached(generator, discriminator, optimizer, real, z)


def step_silent(generator, discriminator, optimizer, real, z):
    step_detached(generator, discriminator, optimizer, real, z)


RIGHT = {
    "gan_losses": (losses_by_softplus, losses_by_cross_entropy, losses_by_logsigmoid),
    "discriminator_step": (step_detached, step_without_graph, step_by_autograd, step_two_backwards),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "gan_losses": (
        (losses_on_probabilities, "±200", "logarithme après une sigmoïde ou une exponentielle"),
        (losses_clamped, "±200"),
        (losses_smoothing_fakes, "real_label", "vous lissez aussi les faux"),
        (losses_smoothing_generator, "real_label", "vous lissez aussi la cible de G"),
        (losses_saturating, "rejeté", "c'est la forme saturante, moyenne(log(1 -"),
        (losses_hinge, "perte de D"),
        (losses_of_inverted_signs, "perte de D", "les signes des logits sont inversés"),
        (losses_with_targets_of_the_reals, "même taille", "la cible n'a pas la forme des logits"),
        (losses_added_pair_by_pair, "même taille", "6 contre 4"),
        (losses_halved, "perte de D", "un facteur 1/2 de trop"),
        (losses_swapped, "perte de D", "les deux pertes sont échangées"),
    ),
    "discriminator_step": (
        (step_through_generator, "G reste tel quel", "les faux gardent leur graphe, et backward remonte"),
        (step_through_then_cleaned, "ne remonte dans G"),
        (step_without_zero_grad, "ne comptent pas", "il manque optimizer.zero_grad()"),
        (step_zeroed_after_backward, "un pas de descente", "zero_grad vient après backward"),
        (step_reversed, "un pas de descente", "les signes des logits sont inversés"),
        (step_without_fakes, "un pas de descente"),
        (step_leaving_eval_mode, "G reste tel quel"),
        (step_freezing, "G reste tel quel", "requires_grad est resté à False"),
        (step_judging_in_eval_mode, "mode entraînement", "discriminator est passé en mode évaluation"),
        (step_drawing_in_eval_mode, "mode entraînement", "generator est passé en mode évaluation"),
        (step_erasing_generator_gradients, "G reste tel quel", "generator.zero_grad()"),
        (step_silent, "est rendue"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


def losses_with_a_number_for_target(real_logits, fake_logits, real_label=1.0):
    return F.binary_cross_entropy_with_logits(real_logits, real_label), F.softplus(-fake_logits).mean()


MESSAGES = [
    ("gan_losses", losses_smoothing_generator, "avec real_label = 0,9, pour un faux"),
    ("gan_losses", losses_clamped, "ou une valeur plafonnée : le signal est perdu"),
    ("gan_losses", losses_with_a_number_for_target, "'float' object has no attribute"),
    ("discriminator_step", step_leaving_eval_mode, "G a changé de mode"),
    ("discriminator_step", step_freezing, "requires_grad est resté à False"),
]
globals().update(message_tests(CHAPTER, MESSAGES))


def test_a_frozen_generator_has_not_changed_its_mode():
    assert "changé de mode" not in str(examine(CHAPTER["discriminator_step"], step_freezing))
