"""Chapitre 06 : classes, critiques, styles et mesures. Les fautes courantes y ont leur nom."""

import math

import pytest
import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests
from torch import nn

from gan_course.exercises import (
    chapter06_conditioning,
    chapter06_critic,
    chapter06_geometry,
    chapter06_styles,
    shared,
)
from gan_course.exercises.report import examine

CHAPTER = {
    **chapter06_conditioning.EXERCISES,
    **chapter06_critic.EXERCISES,
    **chapter06_styles.EXERCISES,
    **chapter06_geometry.EXERCISES,
}

# --- conditional_inputs --------------------------------------------------------------------------------------


def inputs_by_one_hot(z, x, y, num_classes):
    code = F.one_hot(y, num_classes).float()
    planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([z, code], dim=1), torch.cat([x, planes], dim=1)


def inputs_by_filling(z, x, y, num_classes):
    for_g = z.new_zeros(len(z), z.shape[1] + num_classes)
    for_d = x.new_zeros(len(x), x.shape[1] + num_classes, *x.shape[2:])
    for_g[:, : z.shape[1]], for_d[:, : x.shape[1]] = z, x
    for i, k in enumerate(y.tolist()):
        for_g[i, z.shape[1] + k] = 1
        for_d[i, x.shape[1] + k] = 1
    return [for_g, for_d]


def inputs_by_comparison(z, x, y, num_classes):
    code = (y[:, None] == torch.arange(num_classes)).to(z.dtype)
    planes = torch.einsum("bk,hw->bkhw", code, torch.ones(x.shape[2:]))
    return torch.hstack((z, code)), torch.hstack((x, planes))


def inputs_with_a_number(z, x, y, num_classes):
    code = torch.zeros(len(y), num_classes)
    code[:, 0] = y.float()
    return torch.cat([z, code], 1), inputs_by_one_hot(z, x, y, num_classes)[1]


def inputs_with_code_first(z, x, y, num_classes):
    for_g, for_d = inputs_by_one_hot(z, x, y, num_classes)
    return for_g.roll(num_classes, 1), for_d.roll(num_classes, 1)


def inputs_of_two_classes(z, x, y, num_classes):
    return inputs_by_one_hot(z, x, y, num_classes)[0], inputs_by_one_hot(z, x, y.flip(0), num_classes)[1]


def inputs_with_one_pixel(z, x, y, num_classes):
    for_g, for_d = inputs_by_one_hot(z, x, y, num_classes)
    for_d = for_d.clone()
    for_d[:, x.shape[1] :, 1:] = 0
    return for_g, for_d


def inputs_for_generator_only(z, x, y, num_classes):
    return inputs_by_one_hot(z, x, y, num_classes)[0], x


def inputs_detached(z, x, y, num_classes):
    return inputs_by_one_hot(z.detach(), x.detach(), y, num_classes)


def inputs_centred_in_place(z, x, y, num_classes):
    x -= x.mean()
    return inputs_by_one_hot(z, x, y, num_classes)


def inputs_of_the_classes_seen(z, x, y, num_classes):
    """one_hot sans num_classes : autant de plans que la plus grande étiquette du lot."""
    code = F.one_hot(y).float()
    planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([z, code], dim=1), torch.cat([x, planes], dim=1)


def inputs_of_four_classes(z, x, y, num_classes):
    return inputs_by_one_hot(z, x, y, 4)


# --- projection_logits ---------------------------------------------------------------------------------------


def logits_by_sum(features, y, embedding, linear):
    h = features.sum((2, 3))
    return linear(h).squeeze(1) + (embedding(y) * h).sum(1)


def logits_by_einsum(features, y, embedding, linear):
    psi = torch.einsum("bfhw,f->b", features, linear.weight[0]) + linear.bias
    return psi + torch.einsum("bfhw,bf->b", features, embedding.weight[y])


def logits_by_table(features, y, embedding, linear):
    h = features.flatten(2).sum(-1)
    return (linear(h) + h @ embedding.weight.T).gather(1, y[:, None])[:, 0]


def logits_by_mean(features, y, embedding, linear):
    return logits_by_sum(features / features[0, 0].numel(), y, embedding, linear)


def logits_square(features, y, embedding, linear):
    h = features.sum((2, 3))
    return linear(h) + (embedding(y) * h).sum(1)


def logits_without_psi(features, y, embedding, linear):
    return (embedding(y) * features.sum((2, 3))).sum(1)


def logits_without_class(features, y, embedding, linear):
    return linear(features.sum((2, 3))).squeeze(1)


def logits_of_every_pair(features, y, embedding, linear):
    h = features.sum((2, 3))
    return linear(h).squeeze(1) + (h @ embedding(y).T).sum(1)


def logits_frozen(features, y, embedding, linear):
    h = features.sum((2, 3))
    return linear(h).squeeze(1) + (embedding(y).detach() * h).sum(1)


def logits_by_maximum(features, y, embedding, linear):
    h = features.amax((2, 3))
    return linear(h).squeeze(1) + (embedding(y) * h).sum(1)


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


# --- slerp_batch ---------------------------------------------------------------------------------------------


def turn(a, b, t, omega):
    close = omega < 1e-3
    sine = torch.where(close, torch.ones_like(omega), omega.sin())
    wa = torch.where(close, torch.full_like(omega, 1 - t), ((1 - t) * omega).sin() / sine)
    wb = torch.where(close, torch.full_like(omega, t), (t * omega).sin() / sine)
    return wa * a + wb * b


def slerp_by_rows(a, b, t):
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    if (norms[0] * norms[1] == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos(((a * b).sum(1, keepdim=True) / (norms[0] * norms[1])).clamp(-1, 1))
    if (omega > math.pi - 1e-3).any():
        raise ValueError("vecteurs opposés")
    return turn(a, b, t, omega)


def slerp_by_loop(a, b, t):
    rows = []
    for x, y in zip(a.double(), b.double()):
        if not x.norm() or not y.norm():
            raise ValueError("vecteur nul")
        cosine = float(x @ y / (x.norm() * y.norm()))
        if cosine < -1 + 1e-7:
            raise ValueError("vecteurs opposés")
        omega = math.acos(min(cosine, 1.0))
        if omega < 1e-4:
            rows.append((1 - t) * x + t * y)
        else:
            rows.append((math.sin((1 - t) * omega) * x + math.sin(t * omega) * y) / math.sin(omega))
    return torch.stack(rows).float()


def slerp_by_rotation(a, b, t):
    """Gram-Schmidt : tourner a vers la part de b qui lui est orthogonale."""
    norm = a.norm(dim=1, keepdim=True)
    if (norm == 0).any() or (b.norm(dim=1) == 0).any():
        raise ValueError("vecteur nul")
    u, v = a / norm, b / b.norm(dim=1, keepdim=True)
    side = v - (u * v).sum(1, keepdim=True) * u
    length = side.norm(dim=1, keepdim=True)
    omega = torch.atan2(length, (u * v).sum(1, keepdim=True))
    if (omega > 3.14).any():
        raise ValueError("vecteurs opposés")
    side = side / length.clamp(min=1e-12)
    return norm * (torch.cos(t * omega) * u + torch.sin(t * omega) * side)


def slerp_linear(a, b, t):
    return (1 - t) * a + t * b


def slerp_linear_normalised(a, b, t):
    chord = slerp_linear(a, b, t)
    return chord / chord.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)


def slerp_with_one_angle(a, b, t):
    omega = torch.arccos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    return turn(a, b, t, omega.expand(len(a), 1))


def slerp_dividing_by_zero(a, b, t):
    norms = a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)
    if (norms == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos(((a * b).sum(1, keepdim=True) / norms).clamp(-1, 1))
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()


def slerp_without_refusal(a, b, t):
    omega = torch.arccos(F.cosine_similarity(a, b)[:, None].clamp(-1, 1))
    return turn(a, b, t, omega)


def slerp_backwards(a, b, t):
    return slerp_by_rows(a, b, 1 - t)


def slerp_giving_up(a, b, t):
    """Une ligne où b = a, et tout le lot reste en place."""
    omega = torch.arccos(F.cosine_similarity(a, b)[:, None].clamp(-1, 1))
    return a if (omega < 1e-3).any() else slerp_by_rows(a, b, t)


def slerp_without_clamp(a, b, t):
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    if (norms[0] * norms[1] == 0).any():
        raise ValueError("vecteur nul")
    omega = torch.arccos((a * b).sum(1, keepdim=True) / (norms[0] * norms[1]))
    if (omega > math.pi - 1e-3).any():
        raise ValueError("vecteurs opposés")
    return turn(a, b, t, omega)


def slerp_trusting_b(a, b, t):
    if (a.norm(dim=1) == 0).any():
        raise ValueError("vecteur nul")
    safe = torch.where(b.norm(dim=1, keepdim=True) == 0, a, b)
    return slerp_by_rows(a, safe, t)


def slerp_of_directions(a, b, t):
    return F.normalize(slerp_by_rows(a, b, t), dim=1)


# --- frechet_distance ----------------------------------------------------------------------------------------


def frechet_by_root(a, b):
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return shift + torch.cov(a.T).trace() + torch.cov(b.T).trace() - 2 * cross


def frechet_by_singular_values(a, b):
    """S = XᵀX / n : la trace de la racine est la norme nucléaire de X_b X_aᵀ."""
    x, y = a - a.mean(0), b - b.mean(0)
    x, y = torch.linalg.qr(x / len(x) ** 0.5).R, torch.linalg.qr(y / len(y) ** 0.5).R
    cross = torch.linalg.matrix_norm(x @ y.T, "nuc")
    return float((a.mean(0) - b.mean(0)).norm() ** 2 + (x**2).sum() + (y**2).sum() - 2 * cross)


def frechet_by_eigenvalues(a, b):
    """S_a S_b n'est pas symétrique, mais ses valeurs propres sont réelles et positives, à l'arrondi près."""
    s_a, s_b = (torch.cov(x.double().T) for x in (a, b))
    eigenvalues = torch.linalg.eigvals(s_a @ s_b).real.clamp(min=0)
    shift = (a.mean(0) - b.mean(0)).double()
    return (shift @ shift + (s_a + s_b).trace() - 2 * eigenvalues.sqrt().sum()).float()


def frechet_by_product(a, b):
    """eigvalsh(S1 @ S2), alors que le produit n'est pas symétrique."""
    s_a, s_b = torch.cov(a.double().T), torch.cov(b.double().T)
    cross = torch.linalg.eigvalsh(s_a @ s_b).clamp(min=0).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_complex(a, b):
    """La racine générale rend des nombres complexes, comme sqrtm de SciPy."""
    s_a, s_b = torch.cov(a.T), torch.cov(b.T)
    cross = torch.linalg.eigvals(s_a @ s_b).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_diagonal_only(a, b):
    return (a.mean(0) - b.mean(0)).square().sum() + (a.std(0) - b.std(0)).square().sum()


def frechet_of_means(a, b):
    return (a.mean(0) - b.mean(0)).square().sum()


def frechet_not_squared(a, b):
    rest = frechet_by_root(a - a.mean(0), b - b.mean(0))
    return (a.mean(0) - b.mean(0)).norm() + rest


def frechet_without_clamp(a, b):
    s_a, s_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(s_a)
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ s_b @ root).sqrt().sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_by_cholesky(a, b):
    """Exige une covariance de plein rang."""
    s_a, s_b = torch.cov(a.double().T), torch.cov(b.double().T)
    factors = torch.linalg.cholesky(s_a).T @ torch.linalg.cholesky(s_b)
    cross = torch.linalg.svdvals(factors).sum()
    return (a.mean(0) - b.mean(0)).square().sum() + s_a.trace() + s_b.trace() - 2 * cross


def frechet_of_pairs(a, b):
    return (a - b).square().sum(1).mean()


def frechet_without_two(a, b):
    shift = (a.mean(0) - b.mean(0)).square().sum()
    spread = torch.cov(a.T).trace() + torch.cov(b.T).trace()
    return shift + spread - (spread + shift - frechet_by_root(a, b)) / 2


RIGHT = {
    "conditional_inputs": (inputs_by_one_hot, inputs_by_filling, inputs_by_comparison),
    "projection_logits": (logits_by_sum, logits_by_einsum, logits_by_table),
    "clipped_critic_step": (critic_by_clamp, critic_by_data, critic_by_power_iteration),
    "lazy_penalty": (lazy_by_remainder, lazy_at_the_end, lazy_by_division),
    "adain": (adain_by_moments, adain_by_instance_norm, adain_by_loop, adain_by_group_norm),
    "truncated_latents": (latents_redrawn, latents_by_torch, latents_by_quantile, latents_by_pool),
    "slerp_batch": (slerp_by_rows, slerp_by_loop, slerp_by_rotation),
    "frechet_distance": (frechet_by_root, frechet_by_singular_values, frechet_by_eigenvalues),
}
# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "conditional_inputs": (
        (inputs_with_a_number, "1 parmi K de sa classe"),
        (inputs_with_code_first, "viennent d'abord"),
        (inputs_of_two_classes, "même classe"),
        (inputs_with_one_pixel, "plans constants"),
        (inputs_for_generator_only, "(B, C + K, H, W)"),
        (inputs_detached, "gradients"),
        (inputs_centred_in_place, "inchangés"),
        (inputs_of_the_classes_seen, "(B, C + K, H, W)"),
        (inputs_of_four_classes, "(B, C + K, H, W)"),
    ),
    "projection_logits": (
        (logits_by_mean, "somme des cartes"),
        (logits_square, "un logit par image"),
        (logits_without_psi, "e(y) = 0"),
        (logits_without_class, "ψ = 0"),
        (logits_of_every_pair, "ψ = 0"),
        (logits_frozen, "apprennent"),
        (logits_by_maximum, "somme des cartes"),
    ),
    "clipped_critic_step": (
        (critic_clipped_before, "tous les paramètres"),
        (critic_clipped_gradient, "tous les paramètres"),
        (critic_rescaled, "pas de descente, puis"),
        (critic_keeping_gradients, "pas précédent"),
        (critic_with_new_weights, "sur place"),
        (critic_bounded_by_frobenius, "produit"),
        (critic_bounded_before, "produit"),
        (critic_bounded_by_limit, "produit"),
        (critic_sparing_biases, "tous les paramètres"),
    ),
    "lazy_penalty": (
        (lazy_without_factor, "en moyenne"),
        (lazy_computing_always, "une fois par période"),
        (lazy_at_random, "également espacés"),
        (lazy_never_lazy, "une fois par période"),
        (lazy_detached, "gradient"),  # graphe de la pénalité perdu
        (lazy_returning_nothing, "en moyenne"),
        (lazy_in_bursts, "également espacés"),
    ),
    "adain": (
        (adain_over_the_batch, "écart-type"),
        (adain_over_channels, "écart-type"),
        (adain_without_normalising, "effacé"),
        (adain_only_centred, "écart-type"),
        (adain_with_one_plus, "écart-type"),
        (adain_without_epsilon, "constante"),
        (adain_by_variance, "écart-type"),
        (adain_detached, "gradient"),
        (adain_losing_the_drawing, "carte réduite"),
    ),
    "truncated_latents": (
        (latents_clipped, "non écrêté"),
        (latents_uniform, "reste la gaussienne"),
        (latents_shrunk, "reste la gaussienne"),
        (latents_times_psi, "aucune coordonnée"),
        (latents_redrawn_once, "aucune coordonnée"),
        (latents_positive, "reste la gaussienne"),
        (latents_repeated, "séparément"),
        (latents_of_one_number, "séparément"),
    ),
    "slerp_batch": (
        (slerp_linear, "sa propre norme"),
        (slerp_linear_normalised, "vitesse constante"),
        (slerp_with_one_angle, "de son propre angle"),
        (slerp_dividing_by_zero, "b = a"),
        (slerp_without_refusal, "ValueError"),
        (slerp_backwards, "t = 0"),
        (slerp_of_directions, "t = 0"),
        (slerp_giving_up, "n'en souffrent pas"),
        (slerp_without_clamp, "b = a"),
        (slerp_trusting_b, "ValueError"),
    ),
    "frechet_distance": (
        (frechet_by_product, "corrélations"),
        (frechet_complex, "0"),
        (frechet_diagonal_only, "corrélations"),
        (frechet_of_means, "4 tr(S)"),
        (frechet_not_squared, "‖δ‖²"),
        (frechet_without_clamp, "plein rang"),
        (frechet_by_cholesky, "plein rang"),
        (frechet_of_pairs, "tailles différentes"),
        (frechet_without_two, "0"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


@pytest.mark.parametrize(
    "name, answer, words",
    [
        ("slerp_batch", slerp_without_clamp, "lignes contiennent nan ou inf"),
        ("slerp_batch", slerp_trusting_b, "celui de b sur la première ligne"),
        ("slerp_batch", slerp_linear, "à t = 0,25"),
        ("conditional_inputs", inputs_of_the_classes_seen, "un lot où manque la dernière classe"),
        ("truncated_latents", latents_redrawn_once, "au bord ou au-delà de ±1"),
        ("truncated_latents", latents_redrawn_once, "threshold = 1 : une coordonnée vaut 3,"),
        ("clipped_critic_step", critic_sparing_biases, "pour limit = 0,3"),
        ("lazy_penalty", lazy_without_factor, "corrige D trop peu, ou pas du tout"),
    ],
)
def test_the_messages_tell_what_happened(name, answer, words):
    assert words in str(examine(CHAPTER[name], answer))


def test_gradient_penalty_is_the_exercise_of_chapter_04():
    from gan_course.exercises import CHAPTERS

    assert CHAPTERS["06"]["gradient_penalty"] is shared.EXERCISES["gradient_penalty"]
