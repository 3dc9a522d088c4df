"""Lire un carnet rendu : son code, cellule par cellule, même abîmé par un outil ou par mégarde."""

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20  # au-delà, des sorties énormes : on demande une copie sans elles


class UnreadableCopy(ValueError):
    """Une copie dont on ne peut rien tirer ; le message dit pourquoi, et quoi faire."""


def read_cells(path: Path) -> list[str]:
    """Le code d'une copie, une chaîne par cellule de code, dans l'ordre du fichier.

    Accepte nbformat 3 et 4, une marque d'ordre des octets, des métadonnées, des sorties ou des identifiants absents.
    Lève UnreadableCopy si le fichier n'est pas un carnet lisible.
    """
    if path.is_symlink() or not path.is_file():
        raise UnreadableCopy("ce n'est pas un fichier, mais un lien ou un fichier spécial")
    if path.suffix.lower() != ".ipynb":
        raise UnreadableCopy(f"extension {path.suffix or 'absente'} : il faut un carnet .ipynb")
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableCopy(f"plus de {MAX_BYTES >> 20} Mio : rendez le carnet sans ses sorties")
    return [_source(cell) for cell in _cells(_json(path.read_bytes())) if cell.get("cell_type") == "code"]


def _json(data: bytes) -> Any:
    if not data.strip():
        raise UnreadableCopy("fichier vide")
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = data.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" (ligne {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableCopy(f"ce n'est pas du JSON{where} : le carnet est tronqué ou abîmé") from None


def _cells(notebook: Any) -> list[dict[str, Any]]:
    if isinstance(notebook, dict):
        cells = notebook.get("cells")
        if cells is None and isinstance(notebook.get("worksheets"), list):  # nbformat 3
            sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
            cells = [cell for sheet in sheets for cell in sheet.get("cells") or []]
        if isinstance(cells, list):
            return [cell for cell in cells if isinstance(cell, dict)]
    raise UnreadableCopy("ce JSON n'est pas un carnet : il n'a pas de cellules")


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source.replace("\r\n", "\n") if isinstance(source, str) else ""
