"""Un carnet du dépôt : le trouver, le lire, changer le texte de ses cellules, l'écrire."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def find_root() -> Path:
    """Le dossier du dépôt, celui qui contient notebooks/ ; FileNotFoundError s'il n'est pas là."""
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(
        f"Aucun dossier notebooks/ ici ({Path.cwd()}) : les carnets viennent avec le dépôt, pas avec le paquet. "
        "Clonez le dépôt et lancez la commande depuis son dossier."
    )


def find_chapters(folder: Path, numbers: list[str] | None = None) -> list[Path]:
    """Les carnets NN_….ipynb de `folder`, dans l'ordre ; seulement ceux de `numbers` (« 01 », « 1 ») s'il est donné.

    Lève ValueError si un numéro n'existe pas, FileNotFoundError s'il n'y a aucun chapitre.
    """
    chapters = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not chapters:
        raise FileNotFoundError(f"Aucun chapitre NN_….ipynb dans {folder}. Le dépôt est-il complet ?")
    by_number = {path.name[:2]: path for path in chapters}
    for number in numbers or ():
        if number.zfill(2) not in by_number:
            raise ValueError(f"Chapitre inconnu : « {number} ». Chapitres présents : {', '.join(by_number)}.")
    wanted = by_number if numbers is None else {number.zfill(2) for number in numbers}
    return [by_number[number] for number in sorted(wanted)]


def read_notebook(path: Path) -> dict[str, Any]:
    """Le contenu d'un carnet ; ValueError s'il n'est pas lisible."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} n'est pas un carnet lisible ({error}). Restaurez-le depuis git.") from error


def read_title(path: Path) -> tuple[str, int]:
    """Titre d'un carnet (métadonnées du cours, sinon nom du fichier) et nombre de ses cellules."""
    notebook = read_notebook(path)
    return notebook["metadata"].get("gan_course", {}).get("title", path.stem), len(notebook["cells"])


def source_of(cell: dict[str, Any]) -> str:
    """Le texte d'une cellule, que le fichier le donne d'un seul tenant ou ligne par ligne."""
    return "".join(cell["source"])


def code_of(notebook: dict[str, Any]) -> list[str]:
    """Le texte des cellules de code d'un carnet."""
    return [source_of(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def parameter_lines(notebook: dict[str, Any]) -> list[tuple[str, ast.expr, dict[str, Any]]]:
    """(nom, valeur, cellule) de chaque affectation des cellules étiquetées `parameters`."""
    found = []
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse(source_of(cell)).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                found += [(one.id, node.value, cell) for one in targets if isinstance(one, ast.Name) and node.value]
    return found


def with_parameters(book: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Une copie du carnet, dont les cellules `parameters` donnent ces valeurs aux noms qu'elles définissent."""
    book = copy.deepcopy(book)
    for name, old, cell in reversed(parameter_lines(book)):  # par la fin : ce qui précède ne change pas de place
        if name in values:
            lines = [line.encode() for line in source_of(cell).splitlines(keepends=True)]  # ast compte en octets
            before = b"".join(lines[: old.lineno - 1]) + lines[old.lineno - 1][: old.col_offset]
            after = lines[old.end_lineno - 1][old.end_col_offset :] + b"".join(lines[old.end_lineno :])
            new = repr(values[name])
            new = f'"{new[1:-1]}"' if new[0] == "'" and '"' not in new else new  # les guillemets du cours
            text = (before + new.encode() + after).decode()
            cell["source"] = text.splitlines(keepends=True)
    return book


def rewritten(notebook: dict[str, Any], change: Callable[[str, dict[str, Any]], str]) -> dict[str, Any]:
    """Une copie du carnet, où `change(texte, cellule)` rend le nouveau texte de chaque cellule."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        cell["source"] = change(source_of(cell), cell).splitlines(keepends=True)
    return notebook


def to_text(notebook: dict[str, Any]) -> str:
    """Le carnet tel qu'il est écrit dans git."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
