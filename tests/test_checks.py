"""Ce qu'un étudiant donne de travers à Recipe et à train() : une erreur en français, avant le premier pas."""

import numpy as np
import pytest
import torch
from torch import nn

from gan_course.data import load_images
from gan_course.recipe import Recipe
from gan_course.training import train

DIGITS = load_images("digits")
RECIPE = Recipe(batch_size=8)


class Generator(nn.Module):
    latent_dim = 10

    def __init__(self, finish=lambda x: x):
        super().__init__()
        self.layer, self.finish = nn.Linear(10, 784), finish

    def forward(self, z):
        return self.finish(self.layer(z).tanh().view(-1, 1, 28, 28))


class Discriminator(nn.Module):
    def __init__(self, finish=lambda scores: scores, layer=None):
        super().__init__()
        self.layer, self.finish = layer or nn.Linear(784, 1), finish

    def forward(self, x):
        return self.finish(self.layer(x.flatten(1)).squeeze(1))


class Conditional(Generator):
    def forward(self, z, y):
        return super().forward(z + y[:, None])


def run(generator=None, discriminator=None, images=DIGITS, recipe=RECIPE, steps=2, **options):
    return list(train(generator or Generator(), discriminator or Discriminator(), images, recipe, steps, **options))[-1]


def with_attribute(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize("penalty", [None, "gradient", "r1+r2"])
def test_a_student_pair_needs_only_latent_dim(penalty):
    assert run(Generator().eval(), recipe=Recipe(batch_size=8, penalty=penalty)).step == 2


def test_numpy_numbers_are_numbers_and_can_be_resumed(tmp_path):
    recipe = Recipe(batch_size=np.int64(8), g_lr=np.float64(1e-3), betas=[np.float64(0.5), 0.9])
    assert recipe == Recipe(batch_size=8, g_lr=1e-3, betas=(0.5, 0.9))
    path = tmp_path / "run.pt"
    run(recipe=recipe, steps=np.int64(2), seed=np.int64(1), checkpoint=path)
    assert run(recipe=Recipe(batch_size=8, g_lr=1e-3, betas=(0.5, 0.9)), steps=3, seed=1, checkpoint=path).step == 3


@pytest.mark.parametrize(
    "field,value",
    [("batch_size", "64"), ("batch_size", True), ("batch_size", None), ("g_lr", "2e-4"), ("d_lr", None), ("betas", 0.5)]
    + [("betas", ("a", "b")), ("clip", "0.01"), ("real_label", None), ("ema_halflife", None), ("g_lr", float("inf"))]
    + [("penalty_weight", "10"), ("loss", ["hinge"])],
)
def test_recipe_names_the_field_whatever_the_type(field, value):
    with pytest.raises(ValueError, match=f"{field}=.*reçu ; il faut"):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    "change,words",
    [
        (dict(recipe={"loss": "hinge"}), "recipe : dict"),
        (dict(recipe=Recipe), "recipe : la classe Recipe"),
        (dict(images=DIGITS.images), "images : Tensor reçu.*ImageSet"),
        (dict(images="digits"), "images : str"),
        (dict(images=RECIPE, recipe=DIGITS), "images : Recipe"),
        (dict(generator=Generator), "generator : la classe Generator"),
        (dict(discriminator=lambda x: x), "discriminator : function"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_the_wrong_kind_of_argument_is_named(change, words):
    arguments = dict(generator=Generator(), discriminator=Discriminator(), images=DIGITS, recipe=RECIPE) | change
    with pytest.raises(TypeError, match=words):
        train(**arguments, steps=1)


@pytest.mark.parametrize(
    "change,words",
    [
        (dict(seed="a"), "seed='a'"),
        (dict(seed=1.5), "seed=1.5"),
        (dict(generator=Generator().requires_grad_(False)), "générateur n'a aucun poids"),
        (dict(discriminator=Discriminator(layer=nn.Dropout())), "discriminateur n'a aucun poids"),
        (dict(generator=Generator().double()), "float64.*float32"),
        (dict(discriminator=Discriminator().half()), "float16.*float32"),
        (dict(generator=with_attribute(Generator(), latent_dim="10")), "latent_dim='10'"),
        (dict(generator=Conditional()), "générateur échoue.*forward.self, x., sauf si num_classes"),
        (dict(generator=with_attribute(Generator(), num_classes=10)), "forward.self, x, y., car num_classes"),
        (dict(discriminator=Discriminator(lambda scores: (scores, scores))), r"rendu tuple.*\(4,\)"),
        (dict(discriminator=Discriminator(lambda scores: None)), "rendu NoneType"),
        (dict(generator=Generator(lambda x: x[..., :14, :14])), r"\(4, 1, 14, 14\).*\(4, 1, 28, 28\)"),
        (dict(generator=Generator(lambda x: x.flatten(1))), r"\(4, 784\)"),
        (dict(generator=Generator(lambda x: None)), "générateur a rendu NoneType"),
        (dict(device="mps"), "'mps'.*device=None"),
        (dict(device=[1]), "inconnu"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_networks_that_cannot_train_are_explained(change, words):
    if change.get("device") == "mps" and torch.backends.mps.is_available():
        pytest.skip("une puce d'Apple est présente")
    with pytest.raises(ValueError, match=words):
        run(**change)
