"""Les exercices du chapitre 02 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import math

import numpy as np
import torch
from exercise_suite import exercise_tests
from torch import nn

from gan_course import latent
from gan_course.exercises import CHAPTERS
from gan_course.models import dcgan


def size_by_formula(n, layers):
    for k, s, p, op in layers:
        n = (n - 1) * s - 2 * p + k + op
    return n


def size_by_counting(n, layers):
    for k, s, p, op in layers:
        touched = {i * s + j for i in range(n) for j in range(k)}
        n = max(touched) + 1 - 2 * p + op
    return n


def size_by_torch(n, layers):
    x = torch.zeros(1, 1, n)
    for k, s, p, op in layers:
        x = nn.functional.conv_transpose1d(x, torch.zeros(1, 1, k), None, s, p, op)
    return x.shape[-1]


def initialise_by_loop(network):
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def initialise_by_apply(network):
    def one(layer):
        name = type(layer).__name__
        if "Conv" in name:
            layer.weight.data = 0.02 * torch.randn_like(layer.weight)
        elif "BatchNorm" in name:
            layer.weight.data = 1 + 0.02 * torch.randn_like(layer.weight)
        if "Linear" not in name and getattr(layer, "bias", None) is not None:
            layer.bias.data.zero_()

    network.apply(one)


def slerp_by_angle(a, b, t):
    omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def slerp_by_rotation(a, b, t):
    across = b - (a @ b) / (a @ a) * a
    if across.norm() < 1e-4:
        return a
    across = across / across.norm() * a.norm()
    omega = math.acos(max(-1.0, min(1.0, float(a @ b / (a.norm() * b.norm())))))
    return math.cos(t * omega) * a + math.sin(t * omega) * across


def remove_by_projection(direction, other):
    return direction - (direction @ other) / (other @ other) * other


def remove_by_unit_vector(direction, other):
    unit = other / other.norm()
    return direction - torch.dot(direction, unit) * unit


def remove_by_least_squares(direction, other):
    share = torch.linalg.lstsq(other[:, None], direction[:, None]).solution
    return direction - share.item() * other


def size_by_numpy(n, layers):
    n = np.int64(n)
    for layer in np.array(layers, dtype=np.int64).reshape(-1, 4):
        n = layer @ [1, n - 1, -2, 1]
    return n


def initialise_by_new_parameters(network):
    for layer in network.modules():
        if hasattr(layer, "weight") and layer.weight.dim() != 2:
            mean = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
            layer.weight = nn.Parameter(torch.normal(mean, 0.02, layer.weight.shape))
            if layer.bias is not None:
                layer.bias = nn.Parameter(torch.zeros(len(layer.bias)))
    return network


def slerp_in_double(a, b, t):
    u, v = a.double(), b.double()
    omega = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    return u if omega < 1e-6 else (torch.sin((1 - t) * omega) * u + torch.sin(t * omega) * v) / torch.sin(omega)


def remove_in_double(direction, other):
    unit = torch.nn.functional.normalize(other.double(), dim=0)
    return (torch.eye(len(unit), dtype=torch.float64) - torch.outer(unit, unit)) @ direction.double()


RIGHT = {
    "output_size": (size_by_formula, size_by_counting, size_by_torch, size_by_numpy),
    "initialise_weights": (initialise_by_loop, initialise_by_apply, dcgan.initialise),
    "slerp": (slerp_by_angle, slerp_by_rotation, slerp_in_double, latent.slerp),
    "remove_component": (remove_by_projection, remove_by_unit_vector, remove_by_least_squares, remove_in_double),
}


def size_of_a_convolution(n, layers):
    for k, s, p, _ in layers:
        n = (n + 2 * p - k) // s + 1
    return n


def size_times_stride(n, layers):
    for k, s, p, op in layers:
        n = n * s - 2 * p + k + op
    return n


def size_padding_once(n, layers):
    for k, s, p, op in layers:
        n = (n - 1) * s - p + k + op
    return n


def size_without_output_padding(n, layers):
    for k, s, p, _ in layers:
        n = (n - 1) * s - 2 * p + k
    return n


def size_output_padding_twice(n, layers):
    return size_by_formula(n, [(k, s, p, 2 * op) for k, s, p, op in layers])


def size_of_the_last_layer(n, layers):
    return size_by_formula(n, layers[-1:])


def initialise_everything_the_same(network):
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.0, 0.02)


def initialise_transposed_only(network):
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)


def initialise_top_level_only(network):
    for layer in network.children():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


def initialise_uniform(network):
    initialise_by_loop(network)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.uniform_(layer.weight, -0.02 * 3**0.5, 0.02 * 3**0.5)


def initialise_with_variance(network):
    initialise_by_loop(network)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02**0.5)


def initialise_scales_to_one(network):
    initialise_by_loop(network)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)


def initialise_keeping_biases(network):
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def initialise_and_freeze(network):
    initialise_by_loop(network)
    network.requires_grad_(False)


def initialise_linear_too(network):
    initialise_by_loop(network)
    nn.init.normal_(network[5].weight, 0.0, 0.02)


def slerp_refusing_large_angles(a, b, t):
    if a @ b < -0.99 * a.norm() * b.norm():
        raise ValueError("vecteurs opposés")
    return slerp_by_angle(a, b, t)


def slerp_freezing_small_angles(a, b, t):
    omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    return a if omega < 0.01 else slerp_by_angle(a, b, t)


def slerp_only_clamped(a, b, t):
    """Le cosinus est borné, mais l'angle nul n'est pas traité."""
    omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def slerp_that_is_lerp(a, b, t):
    return (1 - t) * a + t * b


def slerp_by_rescaled_lerp(a, b, t):
    middle = (1 - t) * a + t * b
    return middle / middle.norm() * a.norm()


def slerp_backwards(a, b, t):
    return slerp_by_angle(b, a, t)


def slerp_dividing_by_zero(a, b, t):
    omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    omega = torch.where(omega < 1e-3, torch.zeros_like(omega), omega)
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def slerp_without_clamp(a, b, t):
    omega = torch.arccos(a @ b / (a.norm() * b.norm()))
    if omega < 1e-3:
        return a
    return (torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b) / torch.sin(omega)


def slerp_without_sine(a, b, t):
    omega = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    return torch.sin((1 - t) * omega) * a + torch.sin(t * omega) * b


def slerp_on_the_unit_sphere(a, b, t):
    return slerp_by_angle(a / a.norm(), b / b.norm(), t)


def remove_assuming_a_unit_vector(direction, other):
    return direction - (direction @ other) * other


def remove_by_difference(direction, other):
    return direction - other


def remove_the_wrong_one(direction, other):
    return (direction @ other) / (other @ other) * other


def remove_and_normalise(direction, other):
    rest = remove_by_projection(direction, other)
    return rest / rest.norm()


def remove_everything(direction, other):
    return torch.zeros_like(direction)


def remove_in_place(direction, other):
    direction -= (direction @ other) / (other @ other) * other
    return direction


# réponse fausse, et un mot de la propriété qui doit être nommée. Erreur publiée : N(0 ; 0,02) sur tous les paramètres,
# échelles de BatchNorm comprises (initialise_everything_the_same).
WRONG = {
    "output_size": (
        (size_of_a_convolution, "sans marge"),
        (size_times_stride, "sans marge", "il manque le - 1 de (n - 1) s"),
        (size_padding_once, "deux côtés", "la marge p n'est retirée que d'un côté"),
        (size_without_output_padding, "output_padding", "output_padding est oublié."),
        (size_output_padding_twice, "une seule fois"),
        (size_of_the_last_layer, "précédent"),
        (lambda n, layers: float(size_by_formula(n, layers)), "sans marge"),
    ),
    "initialise_weights": (
        (initialise_everything_the_same, "N(1 ; 0,02²)", "les échelles de BatchNorm2d sont tirées autour de"),
        (initialise_transposed_only, "transposées ou non"),
        (initialise_top_level_only, "convolutions"),
        (initialise_uniform, "N(0 ; 0,02²)"),
        (initialise_with_variance, "N(0 ; 0,02²)"),
        (initialise_scales_to_one, "N(1 ; 0,02²)"),
        (initialise_keeping_biases, "biais"),
        (initialise_and_freeze, "entraînables", "requires_grad vaut False"),
        (initialise_by_new_parameters, "les mêmes objets", "un optimiseur déjà construit garde l'ancien"),
        (initialise_linear_too, "couche Linear", "qui valaient 3 partout"),
    ),
    "slerp": (
        (slerp_that_is_lerp, "la norme ne change pas", "vous interpolez en ligne droite, (1 - t) a + t b"),
        (slerp_by_rescaled_lerp, "proportionnel à t", "vous suivez la corde, puis ramenez la norme"),
        (slerp_backwards, "t = 0 rend a", "a et b sont échangés, ou t et 1 - t."),
        (slerp_dividing_by_zero, "b = a"),
        (slerp_without_clamp, "b = a", "au-delà de 1, où arccos donne NaN"),
        (slerp_only_clamped, "b = a", "borner le cosinus ne suffit pas"),
        (slerp_refusing_large_angles, "proches de 180°", "Seuls deux vecteurs opposés n'en ont pas"),
        (slerp_freezing_small_angles, "très petits", "t = 0,4 rend a, sans avancer vers b"),
        (slerp_without_sine, "t = 0 rend a", "il manque la division par sin ω."),
        (slerp_on_the_unit_sphere, "t = 0 rend a"),
    ),
    "remove_component": (
        (remove_assuming_a_unit_vector, "orthogonal à other", "il manque la division par other · other"),
        (remove_by_difference, "orthogonal à other"),
        (remove_the_wrong_one, "orthogonal à other", "vous rendez la projection, c'est-à-dire ce qu'il"),
        (remove_and_normalise, "ne change pas"),
        (remove_everything, "ne change pas"),
        (remove_in_place, "intactes"),
    ),
}

globals().update(exercise_tests(CHAPTERS["02"], RIGHT, WRONG))
