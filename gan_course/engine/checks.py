"""Ce qui va ensemble : réseaux, images et recette avant de commencer ; point de reprise avant de reprendre."""

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_course.engine.checkpoint import CheckpointError, describe_architecture, first_difference
from gan_course.recipe import Recipe, is_whole


class TrainingSet(Protocol):
    """Ce que la boucle demande à un jeu : ImageSet et PointSet conviennent, et tout objet qui a ces membres."""

    image_shape: tuple[int, ...]
    labels: Tensor | None

    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """Le lot `step`, fonction pure de ses arguments : images (B, …) et étiquettes (B,) ou None."""


def check_recipe_fits(
    generator: nn.Module,
    discriminator: nn.Module,
    images: TrainingSet,
    recipe: Recipe,
    steps: int,
    world_size: int = 1,
    seed: int = 0,
) -> None:
    """Lève ValueError, avant le premier pas, si ces éléments ne peuvent pas s'entraîner ensemble.

    TypeError si l'un d'eux n'est pas ce qu'il doit être.
    """
    if not is_whole(steps) or steps < 1:
        raise ValueError(f"steps={steps!r} reçu ; il faut un nombre entier de pas, au moins 1.")
    if not is_whole(seed):
        raise ValueError(f"seed={seed!r} reçu ; il faut un nombre entier.")
    check_kinds(generator, discriminator, images, recipe)
    if recipe.batch_size > len(images):
        raise ValueError(
            f"batch_size={recipe.batch_size} dépasse le jeu, qui compte {len(images)} images. "
            f"Réduisez batch_size à {len(images)} au plus, ou prenez plus d'images."
        )
    if recipe.batch_size % world_size:
        raise ValueError(
            f"batch_size={recipe.batch_size} ne se partage pas entre {world_size} processus : prenez un multiple."
        )
    if not hasattr(generator, "latent_dim"):
        raise ValueError(
            "Le générateur n'a pas d'attribut latent_dim : la boucle ne sait pas combien de nombres tirer. "
            "Ajoutez self.latent_dim = … dans son __init__."
        )
    for name, module in (("générateur", generator), ("discriminateur", discriminator)):
        check_parameters(name, module)
    if not is_whole(generator.latent_dim) or generator.latent_dim < 1:
        raise ValueError(f"latent_dim={generator.latent_dim!r} dans le générateur ; il faut un entier d'au moins 1.")
    check_shapes(generator, discriminator, images)
    check_autoencoder(generator, discriminator, recipe)
    check_classes(generator, discriminator, images)
    check_layers(discriminator, recipe)


def check_kinds(generator: object, discriminator: object, images: object, recipe: object) -> None:
    """Lève TypeError si un argument de train() n'est pas du bon genre, ou si deux sont échangés."""
    for name, module in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"{name} : {kind_of(module)} reçu ; il faut un réseau construit, par exemple dense.Generator()."
            )
    if not all(hasattr(images, name) for name in ("batch", "image_shape", "labels", "__len__")):
        raise TypeError(
            f'images : {kind_of(images)} reçu ; il faut un ImageSet, par exemple load_images("digits") '
            "ou ImageSet(tenseur_uint8)."
        )
    if not isinstance(recipe, Recipe):
        raise TypeError(f'recipe : {kind_of(recipe)} reçu ; il faut une recette, par exemple Recipe(loss="hinge").')


def kind_of(thing: object) -> str:
    """Le genre d'un objet, en un mot ou deux : « la classe Generator », « str »…"""
    return f"la classe {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def check_parameters(name: str, module: nn.Module) -> None:
    """Il faut des poids à entraîner, en float32 : la précision mixte est l'affaire de la boucle."""
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError(
            f"Le {name} n'a aucun poids à entraîner : aucune couche n'en porte, ou tous sont gelés. "
            "Dans ce cas, appelez requires_grad_(True) sur lui."
        )
    others = {p.dtype for p in module.parameters() if p.is_floating_point()} - {torch.float32}
    if others:
        raise ValueError(
            f"Les poids du {name} sont en {', '.join(map(str, others))} ; il faut torch.float32. Appelez .float() "
            "sur lui ; pour la demi-précision, precision= suffit."
        )


def check_fake(fake: object, real: Tensor) -> None:
    """Lève ValueError si le générateur ne rend pas un lot de la forme du vrai, images ou codes."""
    if not isinstance(fake, Tensor) or fake.shape != real.shape:
        kind = f"un tenseur de forme {tuple(fake.shape)}" if isinstance(fake, Tensor) else type(fake).__name__
        raise ValueError(
            f"Le générateur a rendu {kind} ; il faut la forme des vraies images du lot, {tuple(real.shape)}. "
            "Changez sa dernière couche, ou rechargez les images à la bonne taille (size=…)."
        )


def check_shapes(generator: nn.Module, discriminator: nn.Module, images: TrainingSet) -> None:
    """Les deux réseaux et le jeu parlent-ils de la même forme d'image ?"""
    found = tuple(images.image_shape)
    for name, module in (("générateur", generator), ("discriminateur", discriminator)):
        expected = tuple(getattr(module, "image_shape", found))
        if expected != found:
            raise ValueError(
                f"Le {name} est fait pour des images {expected} et le jeu en contient de forme {found}. Construisez "
                f"le réseau avec image_shape={found}, ou rechargez les images à la bonne taille (size=…)."
            )


def check_autoencoder(generator: nn.Module, discriminator: nn.Module, recipe: Recipe) -> None:
    """Un autoencodeur adverse a encode(x), un D qui juge des codes et une recette qui reconstruit ; un GAN, aucun."""
    encodes, judged = hasattr(generator, "encode"), getattr(discriminator, "latent_dim", None)
    if recipe.reconstruction and not encodes:
        raise ValueError(
            f"reconstruction={recipe.reconstruction} demande un générateur qui sache encoder (models.aae) ; celui-ci "
            "n'a pas de méthode encode(x). Changez de générateur, ou gardez reconstruction=0."
        )
    if encodes and not recipe.reconstruction:
        raise ValueError(
            "Le générateur est un autoencodeur, et la recette ne reconstruit pas. Prenez aae.RECIPE, ou "
            "dataclasses.replace(recipe, reconstruction=20.0)."
        )
    if encodes and judged != generator.latent_dim:
        wanted = f"Discriminator(latent_dim={generator.latent_dim})"
        raise ValueError(
            f"Le discriminateur d'un autoencodeur adverse juge des codes de {generator.latent_dim} nombres ; celui-ci "
            f"{'juge des images' if judged is None else f'en attend {judged}'}. Construisez aae.{wanted}."
        )


def check_classes(generator: nn.Module, discriminator: nn.Module, images: TrainingSet) -> None:
    """Un GAN conditionnel a besoin d'étiquettes, comprises entre 0 et num_classes - 1."""
    classes = getattr(generator, "num_classes", 0)
    if classes != getattr(discriminator, "num_classes", classes):
        raise ValueError(
            f"Le générateur connaît {classes} classes et le discriminateur {discriminator.num_classes} : "
            "donnez-leur le même num_classes."
        )
    for name, module in (("générateur", generator), ("discriminateur", discriminator)):
        check_forward(name, module, classes)
    if not classes:
        return
    if images.labels is None:
        raise ValueError(
            f"Le générateur est conditionnel ({classes} classes) mais le jeu n'a pas d'étiquettes. Prenez un jeu "
            "étiqueté, ou un générateur avec num_classes=0."
        )
    lowest, highest = int(images.labels.min()), int(images.labels.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"Les étiquettes du jeu vont de {lowest} à {highest} ; avec num_classes={classes}, il faut de 0 à "
            f"{classes - 1}. Construisez les réseaux avec num_classes={highest + 1}."
        )


def check_forward(name: str, module: nn.Module, classes: int) -> None:
    """forward reçoit les étiquettes si, et seulement si, le réseau déclare des classes."""
    given = ("une entrée", "les étiquettes y") if classes else ("une entrée",)
    try:
        inspect.signature(module.forward).bind(*given)
    except TypeError as error:
        raise ValueError(
            f"Le {name} sera appelé avec {' et '.join(given)}, car num_classes vaut {classes} ; son forward "
            f"n'accepte pas cela ({error}). Un réseau conditionnel a self.num_classes = … et forward(self, x, y)."
        ) from error


def check_layers(discriminator: nn.Module, recipe: Recipe) -> None:
    """Refuse les couches qui rendent la perte ou la pénalité dénuée de sens."""
    layers = [layer for layer in discriminator.modules() if not list(layer.children())]
    if layers and isinstance(layers[-1], nn.Sigmoid):
        raise ValueError(
            "Le discriminateur finit par une sigmoïde ; les pertes du cours attendent des logits, la sigmoïde est "
            "déjà dans leur formule. Retirez cette dernière couche."
        )
    if not recipe.penalty:
        return
    if any(isinstance(layer, _BatchNorm) for layer in layers):
        raise ValueError(
            f"penalty={recipe.penalty!r} mesure un gradient par image, et BatchNorm mélange les images du lot : la "
            "pénalité n'aurait pas de sens. Construisez le discriminateur sans BatchNorm, ou retirez la pénalité."
        )
    if recipe.penalty == "gradient" and any(isinstance(layer, _DropoutNd) for layer in layers):
        raise ValueError(
            "Dropout dans un critique WGAN-GP : à chaque passage c'est un autre critique, et la pénalité ne contrôle "
            "la pente d'aucun. Retirez Dropout, ou la pénalité « gradient »."
        )


def describe_run(
    generator: nn.Module, discriminator: nn.Module, recipe: Recipe, images: TrainingSet, seed: int, world_size: int
) -> dict:
    """Ce qui identifie un entraînement, enregistré dans chaque point de reprise."""
    return {
        "recipe": asdict(recipe),
        "architecture": {
            "generator": describe_architecture(generator),
            "discriminator": describe_architecture(discriminator),
        },
        "data": images.fingerprint() if hasattr(images, "fingerprint") else f"{len(images)} images",
        "seed": seed,
        "world_size": world_size,
    }


def check_same_run(path: Path, saved: dict, present: dict) -> None:
    """Lève CheckpointError, en nommant la différence, si le fichier vient d'un autre entraînement."""
    differences = []
    for name, french in (("generator", "générateur"), ("discriminator", "discriminateur")):
        difference = first_difference(saved["architecture"][name], present["architecture"][name])
        if difference:
            differences.append(f"autre {french} : {difference}")
    differences += [f"autre recette : {text}" for text in Recipe(**present["recipe"]).differences(saved["recipe"])]
    for name, french in (("data", "autres images"), ("seed", "autre graine"), ("world_size", "autres processus")):
        if saved[name] != present[name]:
            differences.append(f"{french} : {saved[name]} dans le fichier, {present[name]} ici")
    if differences:
        raise CheckpointError(
            f"{path} vient d'un autre entraînement ({' ; '.join(differences)}). Donnez un autre nom à checkpoint=, "
            "ou supprimez le fichier pour repartir de zéro."
        )
