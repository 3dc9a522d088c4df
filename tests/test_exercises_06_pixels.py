"""Chapitre 06, pixels et tailles. Les fautes courantes y ont leur nom."""

import torch
from exercise_suite import exercise_tests, message_tests
from torch import nn

from gan_course.exercises import chapter06_pixels

CHAPTER = chapter06_pixels.EXERCISES

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


def pixels_barely_rounded(images):
    return ((images + 1) * 127.5 + 0.2).clamp(0, 255).to(torch.uint8)


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


RIGHT = {
    "denormalise": (pixels_by_formula, pixels_by_half, pixels_by_numpy, pixels_by_table),
    "layer_sizes": (sizes_by_loop, sizes_by_running, sizes_by_recursion),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "denormalise": (
        (pixels_truncated, "gris le plus proche", "vous tronquez au lieu d'arrondir"),
        (pixels_wrapped, "ramené à 0", "rien ne borne les valeurs"),
        (pixels_from_zero_one, "256 gris", "vous partez de [0, 1]"),  # données laissées dans [0, 1]
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
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


MESSAGES = [
    ("denormalise", pixels_truncated, "vous tronquez au lieu d'arrondir"),
    ("denormalise", pixels_barely_rounded, "chacun diminué de 0,4 niveau de gris"),
]
globals().update(message_tests(CHAPTER, MESSAGES))
