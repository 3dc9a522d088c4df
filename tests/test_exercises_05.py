"""Les exercices du chapitre 05 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import torch
from exercise_suite import exercise_tests
from torch.nn.functional import instance_norm

from gan_course.exercises import CHAPTERS
from gan_course.metrics import frechet_distance, frechet_from_moments
from gan_course.models.stylegan import adain, mix_styles


def diagonal_by_moments(a, b):
    return (a.mean(0) - b.mean(0)).square().sum() + (a.std(0) - b.std(0)).square().sum()


def diagonal_by_loop(a, b):
    total = 0.0
    for x, y in zip(a.T, b.T):
        total += float((x.mean() - y.mean()) ** 2 + (x.var().sqrt() - y.var().sqrt()) ** 2)
    return total


def diagonal_by_population_deviation(a, b):
    moments = [torch.cat([x.mean(0), x.std(0, unbiased=False)]) for x in (a, b)]
    return torch.dist(*moments) ** 2


def diagonal_by_the_package(a, b):
    return frechet_from_moments(a.mean(0), a.var(0).diag(), b.mean(0), b.var(0).diag())


def transfer_by_moments(content, style):
    (m, s), (target_m, target_s) = (
        (x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)) for x in (content, style)
    )
    return (content - m) / (s + 1e-5) * target_s + target_m


def transfer_by_the_package(content, style):
    return adain(content, style.std((2, 3), unbiased=False), style.mean((2, 3)))


def transfer_by_loop(content, style):
    out = torch.empty_like(content)
    for i in range(content.shape[0]):
        for c in range(content.shape[1]):
            x, y = content[i, c], style[i, c]
            out[i, c] = (x - x.mean()) / (x.var() + 1e-5).sqrt() * y.std() + y.mean()
    return out


def truncate_by_copy(styles, mean, psi, layers):
    out = styles.clone()
    out[:, :layers] = mean + psi * (styles[:, :layers] - mean)
    return out


def truncate_by_lerp(styles, mean, psi, layers):
    return torch.cat([torch.lerp(mean.expand_as(styles), styles, psi)[:, :layers], styles[:, layers:]], dim=1)


def truncate_by_weights(styles, mean, psi, layers):
    weight = torch.where(torch.arange(styles.shape[1]) < layers, psi, 1.0)[:, None]
    return (1 - weight) * mean + weight * styles


def grid_by_repeat(rows, columns, crossover):
    coarse, fine = rows.repeat_interleave(len(columns), 0), columns.repeat(len(rows), 1, 1)
    return torch.cat([coarse[:, :crossover], fine[:, crossover:]], dim=1)


def grid_by_loop(rows, columns, crossover):
    return torch.stack([torch.cat([r[:crossover], c[crossover:]]) for r in rows for c in columns])


def grid_by_the_package(rows, columns, crossover):
    size = (len(rows), len(columns), *rows.shape[1:])
    coarse, fine = rows[:, None].expand(size), columns[None].expand(size)
    return mix_styles(coarse.flatten(0, 1), fine.flatten(0, 1), crossover)


def diagonal_by_numpy(a, b):
    a, b = a.numpy(), b.numpy()
    return ((a.mean(0) - b.mean(0)) ** 2 + (a.std(0) - b.std(0)) ** 2).sum()


def transfer_by_instance_norm(content, style):
    flat = style.double().flatten(2)
    scale, shift = flat.std(2)[..., None, None], flat.mean(2)[..., None, None]
    return instance_norm(content, eps=1e-4) * scale + shift


def truncate_by_loop(styles, mean, psi, layers):
    out = [[psi * w + (1 - psi) * mean if i < layers else w for i, w in enumerate(style)] for style in styles]
    return torch.stack([torch.stack(style) for style in out]).double()


def grid_by_index(rows, columns, crossover):
    cells = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(columns)))
    first = torch.arange(rows.shape[1])[:, None] < crossover
    return torch.where(first, rows[cells[:, 0]], columns[cells[:, 1]])


RIGHT = {
    "frechet_diagonal": (
        diagonal_by_moments,
        diagonal_by_loop,
        diagonal_by_population_deviation,
        diagonal_by_the_package,
        diagonal_by_numpy,
    ),
    "adain_transfer": (transfer_by_moments, transfer_by_the_package, transfer_by_loop, transfer_by_instance_norm),
    "truncate_styles": (truncate_by_copy, truncate_by_lerp, truncate_by_weights, truncate_by_loop),
    "style_grid": (grid_by_repeat, grid_by_loop, grid_by_the_package, grid_by_index),
}


def diagonal_with_variances(a, b):
    return (a.mean(0) - b.mean(0)).square().sum() + (a.var(0) - b.var(0)).square().sum()


def diagonal_without_spread(a, b):
    return (a.mean(0) - b.mean(0)).square().sum()


def diagonal_averaged(a, b):
    return diagonal_by_moments(a, b) / a.shape[1]


def diagonal_of_pairs(a, b):
    return (a - b).square().sum(1).mean()


def diagonal_rooted(a, b):
    return diagonal_by_moments(a, b).sqrt()


def diagonal_over_images(a, b):
    return (a.mean(1) - b.mean(1)).square().sum() + (a.std(1) - b.std(1)).square().sum()


def transfer_without_normalising(content, style):
    return content * style.std((2, 3), keepdim=True) + style.mean((2, 3), keepdim=True)


def transfer_with_variance(content, style):
    return instance_norm(content) * style.var((2, 3), keepdim=True) + style.mean((2, 3), keepdim=True)


def transfer_without_mean(content, style):
    return instance_norm(content) * style.std((2, 3), keepdim=True)


def transfer_over_the_batch(content, style):
    (m, s), (target_m, target_s) = (
        (x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)) for x in (content, style)
    )
    return (content - m) / (s + 1e-5) * target_s + target_m


def transfer_the_wrong_way(content, style):
    return transfer_by_moments(style, content)


def transfer_divided_by_zero(content, style):
    m, s = content.mean((2, 3), keepdim=True), content.std((2, 3), keepdim=True)
    return (content - m) / s * style.std((2, 3), keepdim=True) + style.mean((2, 3), keepdim=True)


def transfer_of_a_flat_image(content, style):
    draw = torch.Generator().manual_seed(0)
    return transfer_by_moments(torch.rand(content.shape, generator=draw), style)


def truncate_everything(styles, mean, psi, layers):
    return mean + psi * (styles - mean)


def truncate_backwards(styles, mean, psi, layers):
    return truncate_by_copy(styles, mean, 1 - psi, layers)


def truncate_towards_zero(styles, mean, psi, layers):
    return truncate_by_copy(styles, torch.zeros_like(mean), psi, layers)


def truncate_the_last_layers(styles, mean, psi, layers):
    out = styles.clone()
    out[:, -layers:] = mean + psi * (styles[:, -layers:] - mean)
    return out


def truncate_in_place(styles, mean, psi, layers):
    styles[:, :layers] = mean + psi * (styles[:, :layers] - mean)
    return styles


def grid_transposed(rows, columns, crossover):
    return grid_by_repeat(columns, rows, crossover)


def grid_by_columns_first(rows, columns, crossover):
    return torch.stack([torch.cat([r[:crossover], c[crossover:]]) for c in columns for r in rows])


def grid_swapped(rows, columns, crossover):
    return torch.stack([torch.cat([c[:crossover], r[crossover:]]) for r in rows for c in columns])


def grid_one_layer_off(rows, columns, crossover):
    return grid_by_loop(rows, columns, crossover + 1)


def grid_diagonal(rows, columns, crossover):
    return torch.cat([rows[:2, :crossover], columns[:, crossover:]], dim=1)


# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "frechet_diagonal": (
        (diagonal_with_variances, "étaler", "vous comparez les variances"),
        (diagonal_without_spread, "étaler", "il ne reste que l'écart des moyennes"),
        (diagonal_averaged, "décaler", "vous faites la moyenne sur les coordonnées au"),
        (diagonal_of_pairs, "tailles différentes"),
        (diagonal_rooted, "décaler", "une racine carrée de trop"),
        (diagonal_over_images, "décaler"),
        (frechet_distance, "corrélations"),
        (lambda a, b: None, "d'un nuage à lui-même"),
    ),
    "adain_transfer": (
        (transfer_without_normalising, "éclairage", "vous ne centrez ni ne réduisez les cartes avant"),
        (transfer_with_variance, "l'écart-type"),
        (transfer_without_mean, "la moyenne"),
        (transfer_over_the_batch, "l'écart-type"),
        (transfer_the_wrong_way, "forme du contenu", "les arguments sont échangés"),
        (transfer_divided_by_zero, "constante"),
        (transfer_of_a_flat_image, "dessin"),
    ),
    "truncate_styles": (
        (truncate_everything, "premières couches", "layers n'est pas employé"),
        (truncate_backwards, "psi = 1", "psi et 1 - psi sont échangés."),
        (truncate_towards_zero, "style moyen"),
        (truncate_the_last_layers, "premières couches"),
        (truncate_in_place, "pas modifiés"),
        (lambda styles, mean, psi, layers: styles if psi else mean.expand_as(styles), "fraction du chemin"),
    ),
    "style_grid": (
        (grid_transposed, "viennent de la ligne"),
        (grid_by_columns_first, "viennent de la ligne"),
        (grid_swapped, "viennent de la ligne"),
        (grid_one_layer_off, "viennent de la colonne"),
        (grid_diagonal, "un style par couple"),
        (lambda rows, columns, crossover: grid_by_loop(rows, columns, crossover or 1), "deux extrêmes"),
    ),
}

globals().update(exercise_tests(CHAPTERS["05"], RIGHT, WRONG))
