"""Chapitre 06, le conditionnement. Les fautes courantes y ont leur nom."""

import torch
import torch.nn.functional as F
from exercise_suite import exercise_tests, message_tests

from gan_course.exercises import chapter06_conditioning

CHAPTER = chapter06_conditioning.EXERCISES

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


RIGHT = {
    "conditional_inputs": (inputs_by_one_hot, inputs_by_filling, inputs_by_comparison),
    "projection_logits": (logits_by_sum, logits_by_einsum, logits_by_table),
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
        (inputs_of_the_classes_seen, "(B, C + K, H, W)", "one_hot ne connaît pas K"),
        (inputs_of_four_classes, "(B, C + K, H, W)"),
    ),
    "projection_logits": (
        (logits_by_mean, "somme des cartes", "vous moyennez les cartes sur leurs positions"),
        (logits_square, "un logit par image", "ψ(h) reste de forme (B, 1)"),
        (logits_without_psi, "e(y) = 0", "il manque ψ(h), le terme qui ne dépend pas de la"),
        (logits_without_class, "ψ = 0"),
        (logits_of_every_pair, "ψ = 0", "vous additionnez les produits de h avec les e(y)"),
        (logits_frozen, "apprennent"),
        (logits_by_maximum, "somme des cartes"),
    ),
}

globals().update(exercise_tests(CHAPTER, RIGHT, WRONG))


MESSAGES = [
    ("conditional_inputs", inputs_of_the_classes_seen, "un lot où manque la dernière classe"),
]
globals().update(message_tests(CHAPTER, MESSAGES))
