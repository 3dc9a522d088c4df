"""Les exercices du chapitre 03 : toute réponse juste passe, toute réponse fausse est refusée en nommant pourquoi."""

import math

import pytest
import torch
from exercise_suite import exercise_tests
from torch.nn.functional import one_hot

from gan_course.exercises import CHAPTERS
from gan_course.models import conditional


def planes_concatenated(x, y, num_classes):
    planes = one_hot(y, num_classes).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1)


def planes_filled(x, y, num_classes):
    planes = torch.zeros(len(x), num_classes, x.shape[2], x.shape[3])
    for i, k in enumerate(y):
        planes[i, k] = 1
    return torch.cat((x, planes), 1)


def planes_written_in_a_buffer(x, y, num_classes):
    out = x.new_zeros(len(x), x.shape[1] + num_classes, *x.shape[2:])
    out[:, : x.shape[1]] = x
    out[torch.arange(len(x)), x.shape[1] + y] = 1
    return out


def score_by_lookup(h, y, embedding, psi):
    return psi(h).squeeze(1) + (embedding(y) * h).sum(dim=1)


def score_by_product(h, y, embedding, psi):
    every_class = h @ embedding.weight.T + psi(h)
    return every_class.gather(1, y[:, None]).flatten()


def score_by_einsum(h, y, embedding, psi):
    return torch.einsum("bf,bf->b", embedding.weight[y], h) + psi(h)[:, 0]


def grid_by_repeat(num_classes, columns, latent_dim):
    z = torch.randn(columns, latent_dim)
    return z.repeat(num_classes, 1), torch.arange(num_classes).repeat_interleave(columns)


def grid_by_expand(num_classes, columns, latent_dim):
    z = torch.randn(1, columns, latent_dim).expand(num_classes, -1, -1).reshape(-1, latent_dim)
    return z, torch.arange(num_classes * columns) // columns


def grid_by_loop(num_classes, columns, latent_dim):
    z = [torch.randn(latent_dim) for _ in range(columns)]
    return [torch.stack(z * num_classes), torch.tensor([k for k in range(num_classes) for _ in range(columns)])]


def grid_by_transposition(num_classes, columns, latent_dim):
    z = torch.randn(latent_dim, columns).repeat(1, num_classes).T  # non contigu
    return z, torch.arange(num_classes).expand(columns, -1).T.flatten()


def accuracy_by_loop(predicted, asked, num_classes):
    right = (predicted == asked).float()
    return torch.stack([right[asked == k].mean() for k in range(num_classes)])


def accuracy_by_counts(predicted, asked, num_classes):
    right = torch.bincount(asked[predicted == asked], minlength=num_classes)
    return right / torch.bincount(asked, minlength=num_classes)


def accuracy_by_confusion(predicted, asked, num_classes):
    table = torch.bincount(asked * num_classes + predicted, minlength=num_classes**2).view(num_classes, -1)
    return table.diag() / table.sum(1)


def accuracy_in_lists(predicted, asked, num_classes):
    result = []
    for k in range(num_classes):
        read = [int(p) for p, a in zip(predicted, asked) if a == k]
        result.append(read.count(k) / len(read) if read else math.nan)
    return result


def planes_in_double(x, y, num_classes):
    planes = torch.eye(num_classes, dtype=torch.float64)[y].view(*y.shape, -1, 1, 1).repeat(1, 1, *x.shape[2:])
    return torch.cat([x, planes], 1)


RIGHT = {
    "one_hot_planes": (planes_concatenated, planes_filled, planes_written_in_a_buffer, planes_in_double),
    "projection_score": (score_by_lookup, score_by_product, score_by_einsum),
    "class_grid_inputs": (grid_by_repeat, grid_by_expand, grid_by_loop, grid_by_transposition),
    "conditional_accuracy": (accuracy_by_loop, accuracy_by_counts, accuracy_by_confusion, accuracy_in_lists),
}


def planes_before_the_image(x, y, num_classes):
    return planes_concatenated(x, y, num_classes).roll(num_classes, 1)


def planes_numbered(x, y, num_classes):
    plane = y.to(x)[:, None, None, None].expand(-1, 1, *x.shape[2:])
    return torch.cat([x, plane], 1)


def planes_one_pixel(x, y, num_classes):
    out = planes_concatenated(x, y, num_classes).clone()
    out[:, x.shape[1] :, 1:] = 0
    return out


def planes_of_the_first_label(x, y, num_classes):
    return planes_concatenated(x, y[:1].expand(len(y)), num_classes)


def planes_detached(x, y, num_classes):
    return planes_concatenated(x.detach(), y, num_classes)


def planes_centred_in_place(x, y, num_classes):
    x -= 0.5
    return planes_concatenated(x, y, num_classes)


def score_square(h, y, embedding, psi):
    return psi(h) + (embedding(y) * h).sum(1)


def score_without_psi(h, y, embedding, psi):
    return (embedding(y) * h).sum(1)


def score_without_class(h, y, embedding, psi):
    return psi(h).squeeze(1)


def score_of_every_pair(h, y, embedding, psi):
    return psi(h).squeeze(1) + (h @ embedding(y).T).sum(1)


def score_averaged(h, y, embedding, psi):
    return psi(h).squeeze(1) + (embedding(y) * h).mean(1)


def score_frozen(h, y, embedding, psi):
    return psi(h).squeeze(1) + (embedding(y).detach() * h).sum(1)


def grid_transposed(num_classes, columns, latent_dim):
    z, _ = grid_by_repeat(num_classes, columns, latent_dim)
    return z, torch.arange(num_classes).repeat(columns)


def grid_of_fresh_noise(num_classes, columns, latent_dim):
    return torch.randn(num_classes * columns, latent_dim), torch.arange(num_classes).repeat_interleave(
        columns
    )


def grid_of_one_noise(num_classes, columns, latent_dim):
    z, y = grid_by_repeat(num_classes, columns, latent_dim)
    return z[:1].expand(len(y), -1), y


def grid_of_uniform_noise(num_classes, columns, latent_dim):
    z = torch.rand(columns, latent_dim)
    return z.repeat(num_classes, 1), torch.arange(num_classes).repeat_interleave(columns)


def grid_of_the_same_noise(num_classes, columns, latent_dim):
    torch.manual_seed(0)
    return grid_by_repeat(num_classes, columns, latent_dim)


def grid_of_real_labels(num_classes, columns, latent_dim):
    z, y = grid_by_repeat(num_classes, columns, latent_dim)
    return z, y.float()


def grid_reversed(num_classes, columns, latent_dim):
    z, y = grid_by_repeat(num_classes, columns, latent_dim)
    return y, z


def accuracy_overall(predicted, asked, num_classes):
    return (predicted == asked).float().mean()


def accuracy_among_predicted(predicted, asked, num_classes):
    return accuracy_by_loop(asked, predicted, num_classes)


def accuracy_over_everything(predicted, asked, num_classes):
    right = torch.bincount(asked[predicted == asked], minlength=num_classes)
    return right / len(asked)


def accuracy_in_order(predicted, asked, num_classes):
    """Suppose les classes rangées, autant d'images chacune."""
    if len(asked) % num_classes:
        return accuracy_by_loop(predicted, asked.sort().values, num_classes)
    return accuracy_by_loop(predicted, asked, num_classes)


def accuracy_zero_when_unknown(predicted, asked, num_classes):
    return accuracy_by_loop(predicted, asked, num_classes).nan_to_num(0)


# réponse fausse, et un mot de la propriété qui doit être nommée
WRONG = {
    "one_hot_planes": (
        (planes_before_the_image, "premiers canaux", "les plans viennent avant l'image"),
        (planes_numbered, "forme", "vous ajoutez un seul plan, qui porte le numéro de"),
        (planes_one_pixel, "vaut 1 partout"),
        (planes_of_the_first_label, "plan de la classe"),
        (planes_detached, "gradient"),
        (planes_centred_in_place, "inchangés"),
        (lambda x, y, k: None, "forme"),
    ),
    "projection_score": (
        (score_square, "un score par image", "ψ(h) reste de forme (B, 1)"),
        (score_without_psi, "e(y) = 0", "il manque ψ(h), le terme qui ne dépend pas de la"),
        (score_without_class, "ψ = 0"),
        (score_of_every_pair, "ψ = 0", "vous additionnez les produits de h avec les e(y)"),
        (score_averaged, "produit scalaire", "vous moyennez e(y) × h au lieu de la sommer."),
        (score_frozen, "apprennent"),
    ),
    "class_grid_inputs": (
        (grid_transposed, "une ligne de la grille", "y suit l'ordre 0, 1, 2, 0, 1, 2…"),
        (grid_of_fresh_noise, "même z", "chaque case a son propre z"),
        (grid_of_one_noise, "z différents", "Deux colonnes ont le même z"),
        (grid_of_the_same_noise, "z différents", "votre fonction fixe le hasard (torch.manual_seed"),
        (grid_of_uniform_noise, "N(0, I)", "torch.rand tire entre 0 et 1"),
        (grid_of_real_labels, "y est entier"),
        (grid_reversed, "z est réel"),
        (lambda k, c, d: torch.randn(k * c, d), "z est réel"),
    ),
    "conditional_accuracy": (
        (accuracy_overall, "pour chaque classe"),
        (accuracy_among_predicted, "demandées", "vous moyennez parmi les images lues k, et non"),
        (accuracy_over_everything, "parmi les images demandées"),
        (accuracy_in_order, "l'ordre"),
        (accuracy_zero_when_unknown, "nan", "une classe jamais demandée reçoit 0"),
    ),
}

globals().update(exercise_tests(CHAPTERS["03"], RIGHT, WRONG))


@pytest.mark.parametrize("conditioning", conditional.CONDITIONINGS)
def test_a_code_between_two_classes(conditioning):
    """Le chapitre interpole entre classes : code puis from_code doivent redonner G(z, y)."""
    generator = conditional.Generator(width=2, latent_dim=5, conditioning=conditioning).eval()
    z, y = torch.randn(3, 5), torch.tensor([1, 9, 0])
    code = generator.code(y)
    assert code.shape == (3, generator.code_size)
    assert torch.equal(generator.from_code(z, code), generator(z, y))
    assert generator.from_code(z, (code + code.flip(0)) / 2).shape == (3, 1, 28, 28)
    with pytest.raises(ValueError, match=r"code est de forme"):
        generator.from_code(z, code[:2])
    with pytest.raises(ValueError, match=r"étiquettes vont de 0 à 9"):
        generator.code(torch.tensor([10]))
    with pytest.raises(ValueError, match=r"z est de forme"):
        generator.from_code(torch.randn(3, 4), code)
