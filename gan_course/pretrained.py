"""Les réseaux que le cours fournit, entraînés par la recette de leur chapitre : les charger, en écrire d'autres.

Un réseau fourni : deux fichiers dans gan_course/weights/, « NOM.safetensors » (float16 ; rien ne s'y exécute, à la
différence d'un pickle) et sa carte « NOM.json », qui dit données, commande, durée, machine, graine et mesures.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn

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


def save_network(network: nn.Module, path: Path, card: Mapping[str, Any]) -> Path:
    """Écrit les poids de `network` dans `path` (.safetensors, float16), et sa carte à côté (.json) ; rend `path`.

    Les mêmes poids donnent les mêmes octets ; la carte reçoit leur SHA-256.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    content = save({key: value.contiguous() for key, value in halves.items()})
    path.write_bytes(content)
    card = {**card, "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def load_network(path: Path, build: Callable[[dict], nn.Module]) -> nn.Module:
    """Donne build(carte) avec les poids de `path`, en float32, figés et en mode évaluation ; `.card` est sa carte.

    Lève FileNotFoundError si poids ou carte manquent, ValueError s'ils sont abîmés ou ne vont pas ensemble.
    """
    remedy = "Réinstallez le cours, ou refaites ces poids."
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"« {file} » manque. {remedy}")
    card, content = read_card(path.with_suffix(".json")), path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card.get("sha256"):
        raise ValueError(
            f"« {path} » ({len(content)} octets) n'a pas le SHA-256 que dit sa carte : il est incomplet, abîmé ou "
            f"d'une autre version. {remedy}"
        )
    try:
        network = build(card)
        network.load_state_dict(load(content))
    except Exception as error:  # ce qu'une carte fausse peut lever n'a pas de fin
        raise ValueError(f"La carte de « {path} » ne décrit pas ces poids. {remedy}") from error
    network.card = card
    return network.eval().requires_grad_(False)


def save_generator(
    generator: nn.Module, name: str, model: str, arguments: Mapping[str, Any], card: Mapping[str, Any], folder: Path
) -> Path:
    """Écrit « NOM.safetensors » (float16) et sa carte « NOM.json », et rend le premier chemin.

    `model` et `arguments` permettent de reconstruire le réseau : gan_course.models.MODEL.Generator(**arguments).
    """
    content = {"name": name, "model": model, "arguments": dict(arguments), **card}
    return save_network(generator, folder / f"{name}.safetensors", content)


def load_generator(
    name: str, folder: str | Path = WEIGHTS, device: str | torch.device | None = None
) -> nn.Module:
    """Donne un générateur déjà entraîné, en mode évaluation, sans internet : load_generator("celeba-residual-64").

    Ses poids, gardés en float16, sont rendus en float32. `generator.card` est sa carte ; `generators()` les énumère.

    Lève ValueError si le nom est inconnu (les plus proches sont proposés), et ce que lève load_network.
    """
    cards = generators(folder)
    if name not in cards:
        near = difflib.get_close_matches(str(name).lower(), cards, n=2, cutoff=0.4)
        guess = f" Vouliez-vous dire {' ou '.join(f'« {n} »' for n in near)} ?" if near else ""
        known = ", ".join(cards) or "aucun dans cette version"
        raise ValueError(f"Générateur inconnu : {name!r}.{guess} Générateurs fournis : {known}.")

    def build(card: dict) -> nn.Module:
        return import_module(f"gan_course.models.{card['model']}").Generator(**card["arguments"])

    return load_network(Path(folder) / f"{name}.safetensors", build).to(device or "cpu")
