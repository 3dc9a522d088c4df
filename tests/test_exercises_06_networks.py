"""Chapitre 06, les réseaux : pixels, tailles, pertes, pas de D, poids. Les fautes courantes y ont leur nom."""

import copy

import pytest
import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests
from torch import nn

from gan_course.exercises import chapter06_losses, chapter06_pixels, chapter06_weights
from gan_course.exercises.report import examine

CHAPTER = {**chapter06_pixels.EXERCISES, **chapter06_losses.EXERCISES, **chapter06_weights.EXERCISES}

# --- denormalise ---------------------------------------------------------------------------------------------


def pixels_by_formula(images):
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def pixels_by_half(images):
    return (images.clamp(-1, 1) * 127.5 + 128).floor().byte()


def pixels_by_numpy(images):
    import numpy as np

    values = np.rint((images.numpy().astype(np.float64) / 2 + 0.5) * 255)
    return torch.from_numpy(np.clip(values, 0, 255).astype(np.uint8))


def pixels_by_table(images):
    greys = torch.arange(256.0) / 127.5 - 1
    return (images[..., None] - greys).abs().argmin(-1).to(torch.uint8)


def pixels_truncated(images):
    return ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def pixels_wrapped(images):
    return ((images + 1) * 127.5).round().long().remainder(256).to(torch.uint8)


def pixels_from_zero_one(images):
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def pixels_from_mnist_statistics(images):
    return ((images * 0.3081 + 0.1307) * 255).round().clamp(0, 255).to(torch.uint8)


def pixels_stretched(images):
    low, high = images.min(), images.max()
    return ((images - low) / (high - low) * 255).round().to(torch.uint8)


def pixels_by_256(images):
    return ((images + 1) * 128).clamp(0, 255).round().to(torch.uint8)


def pixels_in_place(images):
    return images.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def pixels_still_real(images):
    return ((images + 1) * 127.5).round().clamp(0, 255)


# --- layer_sizes ---------------------------------------------------------------------------------------------


def sizes_by_loop(side, layers):
    sizes = []
    for kind, k, s, p in layers:
        side = (side + 2 * p - k) // s + 1 if kind == "conv" else (side - 1) * s - 2 * p + k
        sizes.append(side)
    return sizes


def sizes_by_running(side, layers):
    x, sizes = torch.zeros(1, 1, side), []
    for kind, k, s, p in layers:
        layer = nn.Conv1d if kind == "conv" else nn.ConvTranspose1d
        x = layer(1, 1, k, s, p)(x)
        sizes.append(x.shape[-1])
    return tuple(sizes)


def sizes_by_recursion(side, layers):
    if not layers:
        return []
    (kind, k, s, p), *rest = layers
    side = len(range(0, side + 2 * p - k + 1, s)) if kind == "conv" else s * (side - 1) + k - p - p
    return [side, *sizes_by_recursion(side, rest)]


def sizes_rounded_up(side, layers):
    sizes = []
    for kind, k, s, p in layers:
        side = -(-(side + 2 * p - k) // s) + 1 if kind == "conv" else (side - 1) * s - 2 * p + k
        sizes.append(side)
    return sizes


def sizes_all_from_the_start(side, layers):
    return [sizes_by_loop(side, [layer])[0] for layer in layers]


def sizes_only_last(side, layers):
    return sizes_by_loop(side, layers)[-1]


def sizes_padding_once(side, layers):
    return sizes_by_loop(side, [(kind, k + p, s, p) for kind, k, s, p in layers])


def sizes_without_transposition(side, layers):
    return sizes_by_loop(side, [("conv", k, s, p) for _, k, s, p in layers])


def sizes_divided(side, layers):
    sizes = []
    for kind, k, s, p in layers:
        side = (side + 2 * p - k) / s + 1 if kind == "conv" else (side - 1) * s - 2 * p + k
        sizes.append(side)
    return sizes


# --- dcgan_init ----------------------------------------------------------------------------------------------


def init_by_type(layer):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
        nn.init.normal_(layer.weight, 1.0, 0.02)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def init_by_name(layer):
    name = type(layer).__name__
    if name.startswith("Conv") or name.startswith("BatchNorm"):
        for parameter in layer.parameters(recurse=False):
            mean = 1.0 if name.startswith("BatchNorm") else 0.0
            if parameter is layer.bias:
                parameter.data.zero_()
            else:
                parameter.data.normal_(mean, 0.02)


@torch.no_grad()
def init_by_copy(layer):
    if isinstance(layer, nn.modules.conv._ConvNd):
        layer.weight.copy_(0.02 * torch.randn_like(layer.weight))
    if isinstance(layer, nn.BatchNorm2d) and layer.affine:
        layer.weight.copy_(1 + 0.02 * torch.randn_like(layer.weight))
    if isinstance(layer, nn.modules.conv._ConvNd | nn.BatchNorm2d) and layer.bias is not None:
        layer.bias.mul_(0)


def init_everything(layer):
    """N(0 ; 0,02) sur tous les paramètres, échelle de BatchNorm comprise."""
    for parameter in layer.parameters(recurse=False):
        nn.init.normal_(parameter, 0.0, 0.02)


def init_scale_around_zero(layer):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) and layer.weight is not None:
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def init_forgets_transposed(layer):
    if not isinstance(layer, nn.ConvTranspose2d):
        init_by_type(layer)


def init_touches_linear(layer):
    init_by_type(layer)
    if isinstance(layer, nn.Linear | nn.Embedding):
        nn.init.normal_(layer.weight, 0.0, 0.02)


def init_resets_statistics(layer):
    init_by_type(layer)
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.zeros_(layer.running_var)


def init_keeps_biases(layer):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
        nn.init.normal_(layer.weight, 1.0, 0.02)


def init_uniform(layer):
    init_by_type(layer)
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.uniform_(layer.weight, -(0.0012**0.5), 0.0012**0.5)


def init_then_freezes(layer):
    init_by_type(layer)
    layer.requires_grad_(False)


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
    return [(real - F.logsigmoid(-fake_logits)).mean(), -F.logsigmoid(fake_logits).mean()]


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


def step_freezing(generator, discriminator, optimizer, real, z):
    generator.requires_grad_(False)
    return step_detached(generator, discriminator, optimizer, real, z)


def step_silent(generator, discriminator, optimizer, real, z):
    step_detached(generator, discriminator, optimizer, real, z)


# --- update_ema ----------------------------------------------------------------------------------------------


@torch.no_grad()
def ema_by_lerp(average, model, halflife, batch_size):
    decay = 0.5 ** (batch_size / halflife)
    for a, p in zip(average.parameters(), model.parameters()):
        a.lerp_(p, 1 - decay)
    for a, b in zip(average.buffers(), model.buffers()):
        a.copy_(b)


def ema_by_state(average, model, halflife, batch_size):
    decay, names = 2.0 ** (-batch_size / halflife), dict(model.named_parameters())
    state = average.state_dict()
    for name, value in model.state_dict().items():
        state[name] = decay * state[name] + (1 - decay) * value if name in names else value.clone()
    average.load_state_dict(state)


def ema_image_by_image(average, model, halflife, batch_size):
    for a, p in zip(average.parameters(), model.parameters()):
        for _ in range(batch_size):
            a.data += (1 - 0.5 ** (1 / halflife)) * (p.data - a.data)
    for name, buffer in model.named_buffers():
        average.get_buffer(name).data = buffer.clone()


def ema_without_buffers(average, model, halflife, batch_size):
    """La moyenne des paramètres seuls, avec BatchNorm."""
    kept = [b.clone() for b in average.buffers()]
    ema_by_lerp(average, model, halflife, batch_size)
    for b, old in zip(average.buffers(), kept):
        b.copy_(old)


@torch.no_grad()
def ema_fixed_decay(average, model, halflife, batch_size):
    ema_by_lerp(average, model, 1, 1000)
    for a in average.parameters():
        a.mul_(0.001)


def ema_in_steps(average, model, halflife, batch_size):
    ema_by_lerp(average, model, halflife / 64, 1)


def ema_swapped(average, model, halflife, batch_size):
    ema_by_lerp(model, average, halflife, batch_size)


def ema_time_constant(average, model, halflife, batch_size):
    ema_by_lerp(average, model, halflife * 0.6931, batch_size)


@torch.no_grad()
def ema_averaging_buffers(average, model, halflife, batch_size):
    decay = 0.5 ** (batch_size / halflife)
    old = {name: b.clone() for name, b in average.named_buffers()}
    ema_by_lerp(average, model, halflife, batch_size)
    for name, b in average.named_buffers():
        b.copy_(decay * old[name] + (1 - decay) * b)


def ema_with_real_counters(average, model, halflife, batch_size):
    ema_by_lerp(average, model, halflife, batch_size)
    average[1].num_batches_tracked = average[1].num_batches_tracked.float()


@torch.no_grad()
def ema_sharing_buffers(average, model, halflife, batch_size):
    """Les tampons sont ceux du modèle, et non leur copie."""
    ema_by_lerp(average, model, halflife, batch_size)
    for a, b in zip(average.buffers(), model.buffers()):
        a.data = b.data


def ema_with_graph(average, model, halflife, batch_size):
    decay = 0.5 ** (batch_size / halflife)
    for a, p in zip(average.parameters(), model.parameters()):
        a.copy_(decay * a + (1 - decay) * p)
    for a, b in zip(average.buffers(), model.buffers()):
        a.copy_(b)


def ema_of_copies(average, model, halflife, batch_size):
    ema_by_lerp(copy.deepcopy(average), model, halflife, batch_size)


RIGHT = {
    "denormalise": (pixels_by_formula, pixels_by_half, pixels_by_numpy, pixels_by_table),
    "layer_sizes": (sizes_by_loop, sizes_by_running, sizes_by_recursion),
    "dcgan_init": (init_by_type, init_by_name, init_by_copy),
    "gan_losses": (losses_by_softplus, losses_by_cross_entropy, losses_by_logsigmoid),
    "discriminator_step": (step_detached, step_without_graph, step_by_autograd, step_two_backwards),
    "update_ema": (ema_by_lerp, ema_by_state, ema_image_by_image),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "denormalise": (
        (pixels_truncated, "gris le plus proche"),
        (pixels_wrapped, "ramené à 0"),
        (pixels_from_zero_one, "256 gris"),  # données laissées dans [0, 1]
        (pixels_from_mnist_statistics, "256 gris"),  # moyenne 0,1307 et écart-type 0,3081
        (pixels_stretched, "ramené à 0"),
        (pixels_by_256, "256 gris"),
        (pixels_in_place, "intactes"),
        (pixels_still_real, "uint8"),
    ),
    "layer_sizes": (
        (sizes_rounded_up, "incomplet"),
        (sizes_all_from_the_start, "précédente"),
        (sizes_only_last, "une convolution :"),
        (sizes_padding_once, "une convolution :"),
        (sizes_without_transposition, "transposée"),
        (sizes_divided, "une convolution :"),
    ),
    "dcgan_init": (
        (init_everything, "échelles de BatchNorm2d"),
        (init_scale_around_zero, "échelles de BatchNorm2d"),
        (init_forgets_transposed, "transposées ou non"),
        (init_touches_linear, "rien d'autre"),
        (init_resets_statistics, "rien d'autre"),
        (init_keeps_biases, "biais"),
        (init_uniform, "transposées ou non"),
        (init_then_freezes, "entraînables"),
    ),
    "gan_losses": (
        (losses_on_probabilities, "±200"),
        (losses_clamped, "±200"),
        (losses_smoothing_fakes, "real_label"),
        (losses_smoothing_generator, "real_label"),
        (losses_saturating, "rejeté"),
        (losses_hinge, "perte de D"),
        (losses_halved, "perte de D"),
        (losses_swapped, "perte de D"),
    ),
    "discriminator_step": (
        (step_through_generator, "G reste tel quel"),
        (step_through_then_cleaned, "ne remonte dans G"),
        (step_without_zero_grad, "ne comptent pas"),
        (step_zeroed_after_backward, "un pas de descente"),
        (step_reversed, "un pas de descente"),
        (step_without_fakes, "un pas de descente"),
        (step_leaving_eval_mode, "G reste tel quel"),
        (step_freezing, "G reste tel quel"),
        (step_silent, "est rendue"),
    ),
    "update_ema": (
        (ema_without_buffers, "tampons réels"),
        (ema_fixed_decay, "la moitié du chemin"),
        (ema_in_steps, "en images"),
        (ema_swapped, "le modèle ne change pas"),
        (ema_time_constant, "la moitié du chemin"),
        (ema_averaging_buffers, "tampons réels"),
        (ema_with_real_counters, "tampons entiers"),
        (ema_sharing_buffers, "sans partager sa mémoire"),
        (ema_with_graph, "sans graphe"),
        (ema_of_copies, "la moitié du chemin"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


def init_replacing(layer):
    if isinstance(layer, nn.Conv2d):
        layer.weight = 0.02 * torch.randn_like(layer.weight)


def init_of_any_layer(layer):
    nn.init.zeros_(layer.bias)


def losses_with_a_number_for_target(real_logits, fake_logits, real_label=1.0):
    return F.binary_cross_entropy_with_logits(real_logits, real_label), F.softplus(-fake_logits).mean()


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("denormalise", pixels_truncated, "chacun diminué de 0,4 niveau de gris"),
        ("gan_losses", losses_smoothing_generator, "avec real_label = 0,9, pour un faux"),
        ("gan_losses", losses_clamped, "ou une valeur plafonnée : le signal est perdu"),
        ("gan_losses", losses_with_a_number_for_target, "ici un float, là où il faut un tenseur"),
        ("dcgan_init", init_replacing, "un poids ne se remplace pas par un tenseur"),
        ("dcgan_init", init_of_any_layer, "cette couche (ReLU) n'a pas de bias"),
        ("dcgan_init", init_scale_around_zero, "; 0,02²)"),
        ("discriminator_step", step_leaving_eval_mode, "G a changé de mode"),
        ("discriminator_step", step_freezing, "requires_grad est resté à False"),
        ("update_ema", ema_sharing_buffers, "partagent leur mémoire"),
    ],
)
def test_the_messages_tell_what_happened(name, answer, words):
    assert words in str(examine(CHAPTER[name], answer))


def test_a_frozen_generator_has_not_changed_its_mode():
    assert "changé de mode" not in str(examine(CHAPTER["discriminator_step"], step_freezing))
