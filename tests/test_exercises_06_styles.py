"""Chapitre 06, styles et troncature. Les fautes courantes y ont leur nom."""

import math

import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, message_tests
from torch import nn

from gan_course.exercises import chapter06_styles

CHAPTER = chapter06_styles.EXERCISES

# --- adain ---------------------------------------------------------------------------------------------------


def adain_by_moments(maps, scale, shift):
    normed = (maps - maps.mean((2, 3), keepdim=True)) / (maps.std((2, 3), keepdim=True) + 1e-5)
    return scale[:, :, None, None] * normed + shift[:, :, None, None]


def adain_by_instance_norm(maps, scale, shift):
    return F.instance_norm(maps) * scale[..., None, None] + shift[..., None, None]


def adain_by_loop(maps, scale, shift):
    rows = []
    for image, scales, shifts in zip(maps, scale, shift):
        styled = []
        for one, s, t in zip(image, scales, shifts):
            styled.append(s * (one - one.mean()) / (one.var(unbiased=False) + 1e-8).sqrt() + t)
        rows.append(torch.stack(styled))
    return torch.stack(rows)


def adain_by_group_norm(maps, scale, shift):
    return torch.addcmul(
        shift.unflatten(1, (-1, 1, 1)), F.group_norm(maps, maps.shape[1]), scale.unflatten(1, (-1, 1, 1))
    )


def adain_over_the_batch(maps, scale, shift):
    return F.batch_norm(maps, None, None, training=True) * scale[..., None, None] + shift[..., None, None]


def adain_over_channels(maps, scale, shift):
    normed = F.layer_norm(maps, maps.shape[1:])
    return normed * scale[..., None, None] + shift[..., None, None]


def adain_without_normalising(maps, scale, shift):
    return maps * scale[..., None, None] + shift[..., None, None]


def adain_only_centred(maps, scale, shift):
    return (maps - maps.mean((2, 3), keepdim=True)) * scale[..., None, None] + shift[..., None, None]


def adain_with_one_plus(maps, scale, shift):
    return F.instance_norm(maps) * (1 + scale[..., None, None]) + shift[..., None, None]


def adain_without_epsilon(maps, scale, shift):
    normed = (maps - maps.mean((2, 3), keepdim=True)) / maps.std((2, 3), keepdim=True)
    return normed * scale[..., None, None] + shift[..., None, None]


def adain_by_variance(maps, scale, shift):
    normed = (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True) + 1e-5)
    return normed * scale[..., None, None] + shift[..., None, None]


def adain_detached(maps, scale, shift):
    return adain_by_moments(maps, scale.detach(), shift.detach())


def adain_losing_the_drawing(maps, scale, shift):
    noise = F.instance_norm(torch.randn_like(maps))
    return noise * scale[..., None, None] + shift[..., None, None]


# --- truncated_latents ---------------------------------------------------------------------------------------


def latents_redrawn(count, latent_dim, threshold):
    z = torch.randn(count, latent_dim)
    while (too_big := z.abs() > threshold).any():
        z[too_big] = torch.randn(int(too_big.sum()))
    return z


def latents_by_torch(count, latent_dim, threshold):
    return nn.init.trunc_normal_(torch.empty(count, latent_dim), a=-threshold, b=threshold)


def latents_by_quantile(count, latent_dim, threshold):
    edge = math.erf(threshold / math.sqrt(2))
    u = torch.empty(count, latent_dim, dtype=torch.float64).uniform_(-edge, edge)
    return (math.sqrt(2) * torch.erfinv(u)).clamp(-threshold, threshold).float()


def latents_by_pool(count, latent_dim, threshold):
    kept, missing = [], count * latent_dim
    while missing > 0:
        z = torch.randn(10_000)
        kept.append(z[z.abs() <= threshold][:missing])
        missing -= len(kept[-1])
    return torch.cat(kept).view(count, latent_dim)


def latents_of_a_fixed_draw(count, latent_dim, threshold):
    torch.manual_seed(0)
    return latents_redrawn(count, latent_dim, threshold)


def latents_clipped(count, latent_dim, threshold):
    return torch.randn(count, latent_dim).clamp(-threshold, threshold)


def latents_uniform(count, latent_dim, threshold):
    return (2 * torch.rand(count, latent_dim) - 1) * threshold


def latents_shrunk(count, latent_dim, threshold):
    z = torch.randn(count, latent_dim)
    return z * threshold / z.abs().max()


def latents_times_psi(count, latent_dim, threshold):
    return threshold * torch.randn(count, latent_dim)


def latents_redrawn_once(count, latent_dim, threshold):
    z = torch.randn(count, latent_dim)
    return torch.where(z.abs() > threshold, torch.randn_like(z), z)


def latents_positive(count, latent_dim, threshold):
    return latents_redrawn(count, latent_dim, threshold).abs()


def latents_repeated(count, latent_dim, threshold):
    return latents_redrawn(1, latent_dim, threshold).expand(count, -1)


def latents_of_one_number(count, latent_dim, threshold):
    return latents_redrawn(count, 1, threshold).expand(-1, latent_dim)


RIGHT = {
    "adain": (adain_by_moments, adain_by_instance_norm, adain_by_loop, adain_by_group_norm),
    "truncated_latents": (latents_redrawn, latents_by_torch, latents_by_quantile, latents_by_pool),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "adain": (
        (adain_over_the_batch, "écart-type"),
        (adain_over_channels, "écart-type"),
        (adain_without_normalising, "effacé", "vous ne centrez ni ne réduisez les cartes avant"),
        (adain_only_centred, "écart-type"),
        (adain_with_one_plus, "écart-type", "vous multipliez par 1 + échelle"),
        (adain_without_epsilon, "constante"),
        (adain_by_variance, "écart-type"),
        (adain_detached, "gradient"),
        (adain_losing_the_drawing, "carte réduite"),
    ),
    "truncated_latents": (
        (latents_clipped, "non écrêté", "vous écrêtez (clamp)"),
        (latents_uniform, "reste la gaussienne", "vous tirez une loi uniforme (rand)"),
        (latents_shrunk, "reste la gaussienne"),
        (latents_times_psi, "aucune coordonnée", "vous multipliez par le seuil"),
        (latents_redrawn_once, "aucune coordonnée"),
        (latents_positive, "reste la gaussienne"),
        (latents_repeated, "séparément"),
        (latents_of_a_fixed_draw, "séparément", "votre fonction fixe le hasard (torch.manual_seed"),
        (latents_of_one_number, "séparément"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


MESSAGES = [
    ("truncated_latents", latents_redrawn_once, "au bord ou au-delà de ±1"),
    ("truncated_latents", latents_redrawn_once, "threshold = 1 : une coordonnée vaut 3,"),
]
globals().update(message_tests(CHAPTER, MESSAGES))
