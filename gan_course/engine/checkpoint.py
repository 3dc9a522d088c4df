"""Points de reprise : écrits en entier ou pas du tout, lus sans exécuter de code, refusés s'ils ne conviennent pas."""

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 1


class CheckpointError(RuntimeError):
    """Un point de reprise illisible, ou fait pour un autre entraînement."""


def check_destination(path: str | Path) -> Path:
    """Le chemin d'un point de reprise, ~ développé, son dossier créé.

    Lève CheckpointError tout de suite, plutôt qu'après l'entraînement, si rien ne peut s'y écrire.
    """
    if not isinstance(path, str | os.PathLike) or not str(path) or Path(path).is_dir():
        raise CheckpointError(f'checkpoint={path!r} reçu ; il faut un nom de fichier, par exemple "runs/gan.pt".')
    path = Path(path).expanduser()
    if path.exists():  # relire un point de reprise d'un dossier protégé reste permis
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(path.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise CheckpointError(f"Impossible d'écrire dans le dossier {path.parent}. Choisissez-en un autre.")
    return path


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Écrit `state` (tenseurs, nombres, textes, listes, dictionnaires) de façon atomique.

    Le fichier est d'abord écrit à côté, forcé sur le disque, puis renommé : à tout instant, `path` contient le
    point précédent entier ou le nouveau entier. Lève CheckpointError si l'écriture échoue (disque plein, dossier
    protégé) ; le point précédent est alors intact.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save signale un disque plein par RuntimeError
        raise CheckpointError(
            f"Impossible d'écrire le point de reprise {path} ({error}). Le précédent, s'il existait, est intact. "
            "Libérez de la place ou choisissez un autre dossier."
        ) from error
    finally:
        with suppress(OSError):  # ne pas masquer l'erreur expliquée ci-dessus
            temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Lit un point de reprise avec `weights_only=True` : un fichier reçu d'un inconnu n'exécute rien.

    Lève CheckpointError si le fichier est tronqué, n'est pas un point de reprise du cours, ou vient d'une version
    plus récente ; FileNotFoundError s'il n'existe pas.
    """
    path = Path(path)
    advice = "Supprimez-le pour repartir de zéro, ou donnez un autre nom à checkpoint=."
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # pickle, zip et torch ont chacun leurs exceptions pour un fichier abîmé
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch y parle anglais, de ses propres options
            reason = "il contient autre chose que des tenseurs, des nombres et des textes"
        raise CheckpointError(f"{path} est illisible ou tronqué ({reason[:120]}). {advice}") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise CheckpointError(f"{path} n'est pas un point de reprise de gan_course. {advice}")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"{path} a été écrit par une version plus récente de gan_course (format {state['format']}, "
            f"celle-ci lit jusqu'au format {FORMAT}). Mettez gan_course à jour."
        )
    return state


def describe_architecture(module: nn.Module) -> list[str]:
    """Une ligne par couche et par tenseur : assez pour reconnaître un autre réseau et dire où il diffère.

    On note les classes et les formes plutôt que repr(), dont le texte change d'une version de torch à l'autre.
    """
    lines = [f"{name or 'réseau'} : {type(layer).__name__}" for name, layer in module.named_modules()]
    lines += [f"{name} : {list(tensor.shape)}" for name, tensor in module.state_dict().items()]
    # Ce que formes et classes ne montrent pas : le nombre de classes, la façon de suréchantillonner…
    settings = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str | tuple) and k[0] != "_"}
    lines += [f"{name} : {value!r}" for name, value in sorted(settings.items()) if name != "training"]
    return lines


def first_difference(saved: list[str], present: list[str]) -> str | None:
    """La première ligne qui diffère entre deux descriptions, dite des deux côtés ; None si elles sont égales."""
    for i in range(max(len(saved), len(present))):
        before = saved[i] if i < len(saved) else "rien"
        now = present[i] if i < len(present) else "rien"
        if before != now:
            return f"« {before} » dans le fichier, « {now} » ici"
    return None
