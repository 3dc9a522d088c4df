"""Les générateurs que le cours fournit, entraînés par la recette de leur chapitre : les charger, les refaire.

Un générateur fourni : deux fichiers dans gan_course/weights/, « NOM.safetensors » (float16) et sa carte « NOM.json »,
qui dit données, commande, durée, machine, graine et distances mesurées.
"""

import difflib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_course.engine.files import check_sha256, read_safetensors, write_safetensors

WEIGHTS = Path(__file__).parent / "weights"


def generators(folder: str | Path = WEIGHTS) -> dict[str, dict]:
    """Noms des générateurs fournis, et leur carte."""
    cards = {path.stem: path for path in sorted(Path(folder).glob("*.json")) if not path.stem.startswith("features-")}
    return {name: read_card(path) for name, path in cards.items()}


def read_card(path: Path) -> dict:
    """Lit une carte. Lève ValueError si ce n'est pas un objet JSON."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise TypeError("ce n'est pas un objet JSON")
    except (ValueError, TypeError) as error:
        raise ValueError(f"La carte « {path} » est illisible ({error}). Réinstallez le cours.") from error
    return card


def save_generator(
    generator: nn.Module, name: str, model: str, arguments: Mapping[str, Any], card: Mapping[str, Any], folder: Path
) -> Path:
    """Écrit « NOM.safetensors » (float16) et sa carte « NOM.json », et rend le premier chemin.

    `model` et `arguments` permettent de reconstruire le réseau : gan_course.models.MODEL.Generator(**arguments).
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    state = {key: value.half() if value.is_floating_point() else value for key, value in generator.state_dict().items()}
    digest = write_safetensors(path, state)
    content = {"name": name, "model": model, "arguments": dict(arguments), **card, "sha256": digest}
    path.with_suffix(".json").write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def load_generator(
    name: str, folder: str | Path = WEIGHTS, device: str | torch.device | None = None
) -> nn.Module:
    """Donne un générateur déjà entraîné, en mode évaluation, sans réseau internet : load_generator("celeba-dcgan-64").

    Ses poids, gardés en float16, sont rendus en float32. `generator.card` est sa carte ; `generators()` les énumère.

    Lève ValueError si le nom est inconnu (les plus proches sont proposés), ou si poids et carte ne vont pas ensemble.
    """
    cards = generators(folder)
    if name not in cards:
        near = difflib.get_close_matches(str(name).lower(), cards, n=2, cutoff=0.4)
        guess = f" Vouliez-vous dire {' ou '.join(f'« {n} »' for n in near)} ?" if near else ""
        known = ", ".join(cards) or "aucun dans cette version"
        raise ValueError(f"Générateur inconnu : {name!r}.{guess} Générateurs fournis : {known}.")
    card, path = cards[name], Path(folder) / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"Les poids « {path} » manquent alors que leur carte est là. Réinstallez le cours.")
    try:
        check_sha256(path, card["sha256"], str(path))
        generator = import_module(f"gan_course.models.{card['model']}").Generator(**card["arguments"])
        generator.load_state_dict(read_safetensors(path))
    except (KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"La carte de « {name} » ne décrit pas ces poids ({type(error).__name__} : {error}). Réinstallez le cours."
        ) from error
    generator.card = card
    return generator.to(device or "cpu").eval().requires_grad_(False)
