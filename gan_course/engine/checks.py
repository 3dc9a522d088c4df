"""Ce qui va ensemble : réseaux, images et recette avant de commencer ; point de reprise avant de reprendre."""

import warnings
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_course.engine.checkpoint import Checkpoint, CheckpointError, describe_architecture, first_difference
from gan_course.engine.numbers import is_whole
from gan_course.engine.shapes import evaluation_mode
from gan_course.penalties import check_scores
from gan_course.recipe import Recipe

REHEARSED = 4  # images de la répétition


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
    check_autoencoder(generator, discriminator, recipe)
    check_classes(generator, discriminator, images)
    check_layers(discriminator, recipe)
    alone = recipe.batch_size // world_size == 1
    if alone and any(isinstance(m, _BatchNorm) for n in (generator, discriminator) for m in n.modules()):
        raise ValueError("batch_size=1 avec BatchNorm : une image n'a pas d'écart-type. Prenez batch_size=2 au moins.")


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
    if recipe.penalty == "gp" and any(isinstance(layer, _DropoutNd) for layer in layers):
        raise ValueError(
            "Dropout dans un critique WGAN-GP : à chaque passage c'est un autre critique, et la pénalité ne contrôle "
            "la pente d'aucun. Retirez Dropout, ou la pénalité « gp »."
        )


@torch.no_grad()
def rehearse(gan: Any, images: TrainingSet) -> None:
    """Fait une fois, avant le premier pas et en mode évaluation, ce que chaque pas fera : G(z), puis D.

    Lève ValueError si l'un échoue ou rend autre chose que ce qu'il faut ; avertit si D finit par une sigmoïde, ou si G
    ne descend jamais sous 0. Rien n'y est appris, et le hasard du carnet ressort intact.
    """
    device, cuda = gan.compute.device, [gan.compute.device] if gan.compute.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), evaluation_mode(gan.generator, gan.discriminator):
        z = torch.randn(REHEARSED, gan.generator.latent_dim).to(device)
        x = (torch.rand(REHEARSED, *images.image_shape) * 2 - 1).to(device)
        y = torch.zeros(REHEARSED, dtype=torch.int64, device=device) if gan.conditional else None
        fake = attempt("générateur", gan.G, z, y)
        if not isinstance(fake, Tensor) or fake.shape != x.shape:
            kind = f"un tenseur de forme {tuple(fake.shape)}" if isinstance(fake, Tensor) else type(fake).__name__
            raise ValueError(
                f"Le générateur a rendu {kind} ; il faut la forme des vraies images, {tuple(x.shape)}. Changez sa "
                "dernière couche, ou rechargez les images à la bonne taille (size=…)."
            )
        real, judged = (torch.randn_like(z), z) if gan.real_and_fake else (x, fake)
        check_scores(attempt("discriminateur", gan.D, judged, y), REHEARSED)
        if not gan.real_and_fake:
            warn_of_wrong_ends(gan, torch.cat([x, 1000 * x, -1000 * x]), 3 * z, y)
        rehearse_functions(gan, real, judged, y)


def attempt(name: str, network: Any, given: Tensor, y: Tensor | None) -> Any:
    """network(given, y) ; ValueError en français, avec la forme donnée, si l'appel échoue."""
    try:
        return network(given, y)
    except Exception as error:  # le réseau d'un étudiant peut échouer de toutes les façons
        cause = str(error)
        with suppress(Exception):  # le générateur du tutoriel de PyTorch attend (B, nz, 1, 1)
            network(given[:, :, None, None], y)
            cause = "il attend sans doute z de forme (B, nz, 1, 1) : écrivez z = z[:, :, None, None] dans forward."
        if isinstance(error, TypeError):
            wanted = "(self, x), sauf si num_classes" if y is None else "(self, x, y), car num_classes"
            cause += f" Il lui faut forward{wanted} n'est pas 0."
        raise ValueError(f"Le {name} échoue sur un lot de forme {tuple(given.shape)} : {cause}") from error


@torch.enable_grad()
def rehearse_functions(gan: Any, real: Tensor, fake: Tensor, y: Tensor | None) -> None:
    """Essaie la perte et la pénalité quand ce sont celles de l'étudiant : chacune rend un scalaire que l'on dérive."""
    logits = torch.zeros(2, REHEARSED, device=real.device, requires_grad=True)
    tried: dict[str, Any] = {}
    if not isinstance(gan.recipe.loss, str):
        tried["perte de D"] = lambda: gan.loss.discriminator(logits[0], logits[1], gan.recipe.real_label)
        tried["perte de G"] = lambda: gan.loss.generator(logits[1], logits[0])
    if callable(gan.recipe.penalty):
        tried["pénalité"] = lambda: gan.penalty(gan.discriminator, real=real, fake=fake, labels=y)
    for name, compute in tried.items():
        try:
            value = compute()
        except Exception as error:
            given = "discriminator, real, fake, labels" if name == "pénalité" else "D(x), D(G(z))"
            raise ValueError(f"Votre fonction ({name}) échoue quand elle reçoit {given} : {error}") from error
        if not isinstance(value, Tensor) or value.dim() or not value.requires_grad:
            kind = f"un tenseur de forme {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            graph = ", sans graphe de calcul" if isinstance(value, Tensor) and not value.requires_grad else ""
            raise ValueError(f"Votre fonction ({name}) a rendu {kind}{graph} ; il faut un scalaire que l'on dérive.")


def warn_of_wrong_ends(gan: Any, x: Tensor, z: Tensor, y: Tensor | None) -> None:
    """Avertit de ce qui entraînerait sans erreur un autre jeu : des scores qui sont des probabilités, un G sans noir.

    Des entrées outrées distinguent une sigmoïde, qui reste dans [0, 1], de logits encore petits.
    """
    scores = gan.D(x, None if y is None else y.repeat(len(x) // len(y))).float()
    if 0 <= scores.min() <= 0.5 <= scores.max() <= 1 and scores.std() > 0:
        warnings.warn(
            "Tous les scores du discriminateur sont entre 0 et 1, même sur des images outrées : finit-il par une "
            "sigmoïde ? Les pertes du cours attendent des logits ; retirez-la.",
            stacklevel=4,
        )
    pixels = gan.G(z, y).float()
    if pixels.dim() == 4 and pixels.min() >= 0 and pixels.std() > 0:
        warnings.warn(
            f"Le générateur ne rend rien sous 0 (de {pixels.min():.2f} à {pixels.max():.2f}), et les vraies images "
            "vont de -1 à 1 : D les reconnaîtra à leur noir. Finissez par tanh.",
            stacklevel=4,
        )


def warn_if_slow(seconds: float, left: int) -> None:
    """Avertit, après le premier pas, si les autres demanderont des heures."""
    hours = seconds * left / 3600
    if seconds > 2 and hours > 1:
        warnings.warn(
            f"Ce réseau fait ici un pas en {seconds:.0f} s : il faudra {hours:.0f} h pour les {left} qui restent. Deux "
            "fois moins large (width=…), il irait près de quatre fois plus vite ; un lot ou un côté d'image deux fois "
            "plus petits y aident aussi.",
            stacklevel=3,
        )


def end_if_never_started(started: list, file: Checkpoint | None) -> None:
    """Avertit que train(…) a été appelé et sa boucle jamais parcourue ; rend la place prise sur le point de reprise."""
    if not started:
        if file is not None:
            file.close()
        warnings.warn(
            "train(…) a été appelé, mais rien ne s'est entraîné : parcourez-le, « for progress in train(…): … ».",
            stacklevel=2,
        )


def describe_run(gan: Any, images: TrainingSet, seed: int) -> dict:
    """Ce qui identifie un entraînement, enregistré dans chaque point de reprise."""
    networks = {"generator": gan.generator, "discriminator": gan.discriminator}
    return {
        "recipe": gan.recipe.identity(),
        "architecture": {name: describe_architecture(network) for name, network in networks.items()},
        "data": images.fingerprint() if hasattr(images, "fingerprint") else f"{len(images)} images",
        "seed": seed,
        "world_size": gan.compute.world_size,
    }


def check_same_run(path: Path, saved: dict, present: dict) -> None:
    """Lève CheckpointError, en nommant la différence, si le fichier vient d'un autre entraînement."""
    recipe, differences = present["recipe"], []
    for name, french in (("generator", "générateur"), ("discriminator", "discriminateur")):
        difference = first_difference(saved["architecture"][name], present["architecture"][name])
        if difference:
            differences.append(f"autre {french} : {difference}")
    defaults = {f.name: f.default for f in fields(Recipe)}  # un réglage plus jeune que le fichier
    for name, value in recipe.items():
        before = saved["recipe"].get(name, defaults[name])
        if before != value:
            differences.append(f"autre recette : {name} = {before!r} dans le fichier, {value!r} ici")
    for name, french in (("data", "autres images"), ("seed", "autre graine"), ("world_size", "autres processus")):
        if saved[name] != present[name]:
            differences.append(f"{french} : {saved[name]} dans le fichier, {present[name]} ici")
    if differences:
        raise CheckpointError(
            f"{path} vient d'un autre entraînement ({' ; '.join(differences)}). Donnez un autre nom à checkpoint=, "
            "ou supprimez le fichier pour repartir de zéro."
        )
