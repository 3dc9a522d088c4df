"""Ce qui va ensemble : réseaux, images et recette avant de commencer ; point de reprise avant de reprendre."""

from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_course.checkpoint import CheckpointError, describe_architecture, first_difference
from gan_course.recipe import Recipe


class TrainingSet(Protocol):
    """Ce que la boucle demande à un jeu : ImageSet et PointSet conviennent, et tout objet qui a ces membres."""

    image_shape: tuple[int, ...]
    labels: Tensor | None

    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """Le lot `step`, fonction pure de ses arguments : images (B, …) et étiquettes (B,) ou None."""


def check_recipe_fits(
    generator: nn.Module, discriminator: nn.Module, images: TrainingSet, recipe: Recipe, steps: int, world_size: int = 1
) -> None:
    """Lève ValueError, avant le premier pas, si ces éléments ne peuvent pas s'entraîner ensemble."""
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps={steps!r} reçu ; il faut un nombre entier de pas, au moins 1.")
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
    check_shapes(generator, discriminator, images)
    check_classes(generator, discriminator, images)
    check_layers(discriminator, recipe)


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


def check_classes(generator: nn.Module, discriminator: nn.Module, images: TrainingSet) -> None:
    """Un GAN conditionnel a besoin d'étiquettes, comprises entre 0 et num_classes - 1."""
    classes = getattr(generator, "num_classes", 0)
    if classes != getattr(discriminator, "num_classes", classes):
        raise ValueError(
            f"Le générateur connaît {classes} classes et le discriminateur {discriminator.num_classes} : "
            "donnez-leur le même num_classes."
        )
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
