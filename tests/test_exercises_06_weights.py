"""Chapitre 06, poids de départ et poids moyennés. Les fautes courantes y ont leur nom."""

import copy

import torch
from exercise_suite import exercise_tests, message_tests
from torch import nn

from gan_course.exercises import chapter06_weights

CHAPTER = chapter06_weights.EXERCISES

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


def init_with_new_parameters(layer):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        layer.weight = nn.Parameter(0.02 * torch.randn_like(layer.weight))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    else:
        init_by_type(layer)


def init_with_variance(layer):
    init_by_type(layer)
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02**0.5)


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
    "dcgan_init": (init_by_type, init_by_name, init_by_copy),
    "update_ema": (ema_by_lerp, ema_by_state, ema_image_by_image),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "dcgan_init": (
        (init_everything, "échelles de BatchNorm2d", "les échelles de BatchNorm2d sont tirées autour de"),
        (init_scale_around_zero, "échelles de BatchNorm2d", "les échelles de BatchNorm2d sont tirées autour de"),
        (init_forgets_transposed, "transposées ou non", "une sorte de convolution est oubliée"),
        (init_touches_linear, "rien d'autre"),
        (init_resets_statistics, "rien d'autre"),
        (init_keeps_biases, "biais"),
        (init_uniform, "transposées ou non"),
        (init_then_freezes, "entraînables", "requires_grad vaut False"),
        (init_with_new_parameters, "les mêmes objets", "un optimiseur déjà construit garde l'ancien"),
        (init_with_variance, "transposées ou non", "vous prenez 0,02 pour une variance"),
    ),
    "update_ema": (
        (ema_without_buffers, "tampons réels", "les tampons (statistiques de BatchNorm) ne sont"),
        (ema_fixed_decay, "la moitié du chemin"),
        (ema_in_steps, "en images"),
        (ema_swapped, "le modèle ne change pas", "average et model sont échangés"),
        (ema_time_constant, "la moitié du chemin", "e au lieu de 2"),
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


MESSAGES = [
    ("dcgan_init", init_replacing, "cannot assign"),
    ("dcgan_init", init_of_any_layer, "'ReLU' object has no attribute 'bias'"),
    ("dcgan_init", init_scale_around_zero, "; 0,02²)"),
    ("update_ema", ema_sharing_buffers, "partagent leur mémoire"),
]
globals().update(message_tests(CHAPTER, MESSAGES))
