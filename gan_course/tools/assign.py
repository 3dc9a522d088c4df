"""Préparer un devoir : le carnet des étudiants, une variante par étudiant si l'on veut, et le corrigé."""

import csv
import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Any

from gan_course.tools import html, notebook, publish, solutions

SEEDS = 100_000  # une graine se lit et se recopie : cinq chiffres au plus
ANSWERS = "corrige"


def assign(numbers: list[str], output: Path, students: Path | None, solved: bool, replace: bool) -> list[Path]:
    """Écrit les carnets des chapitres `numbers` dans `output`, et rend leurs chemins.

    students : un fichier .txt ou .csv de noms ; chacun reçoit alors sa copie, dont la graine (SEED) se déduit de son
    nom. solved : écrit aussi le corrigé, dans un sous-dossier, pour qu'il ne parte pas avec les copies. Lève ValueError
    si un nom ne fait pas un fichier, si deux noms en font un seul, ou si un chapitre n'existe pas ; FileExistsError si
    un fichier différent est déjà là, sauf `replace`. Rien n'est écrit avant que tout soit prêt.
    """
    root = notebook.find_root()
    address = publish.read_address(root)
    names = [] if students is None else read_students(students)
    files: dict[Path, str] = {}
    for master in notebook.find_chapters(root / "notebooks" / solutions.FOLDER, numbers):
        handed = _detached(solutions.student_notebook(master), address, root)
        if students is None:
            files[output / master.name] = notebook.to_text(handed)
        for name, file in file_names(names).items():
            files[output / f"{master.stem}_{file}.ipynb"] = notebook.to_text(with_seed(handed, seed_of(name)))
        if solved:
            answers = _detached(solutions.to_solved(notebook.read_notebook(master), master.name), address, root)
            files[output / ANSWERS / master.name] = notebook.to_text(answers)
    _write(files, replace)
    return list(files)


def read_students(path: Path) -> list[str]:
    """Les noms d'une liste : un par ligne ; d'un tableau, les colonnes nom et prénom, ou toutes si rien ne les nomme.

    Lève ValueError si la liste est vide ou si un nom y est deux fois.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")  # le CSV d'un Excel français
    separator = next((mark for mark in ";\t," if mark in text), ";")
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=separator)]
    rows = [row for row in rows if any(row) and not row[0].startswith("#")]
    header = [_plain(cell) for cell in rows[0]] if rows else []
    if "nom" in header:
        chosen = [header.index(word) for word in ("nom", "prenom") if word in header]
        rows = [[row[i] for i in chosen if i < len(row)] for row in rows[1:]]
    names = [" ".join(filter(None, row)) for row in rows]
    names = [unicodedata.normalize("NFC", name) for name in names if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        why = f"contient deux fois : {', '.join(twice)}" if twice else "ne contient aucun nom"
        raise ValueError(f"{path.name} {why}.")
    return names


def file_names(names: list[str]) -> dict[str, str]:
    """{nom : ce qu'il devient dans un nom de fichier}, accents gardés. Lève ValueError s'il n'en reste rien ou si deux
    noms donnent le même fichier, majuscules et accents mis à part : certains systèmes les confondent.
    """
    files: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        file = re.sub(r"[^\w'-]+", "-", name.replace("’", "'")).strip("-_'")
        if not file or len(file.encode()) > 120:
            raise ValueError(f"« {name} » ne fait pas un nom de fichier : il faut de 1 à 120 lettres ou chiffres.")
        if other := taken.get(_plain(file)):
            raise ValueError(f"« {other} » et « {name} » donneraient le même fichier. Distinguez-les dans la liste.")
        files[name], taken[_plain(file)] = file, name
    return files


def seed_of(name: str) -> int:
    """La graine d'un étudiant : toujours la même pour un même nom, sur toute machine."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", name).casefold().encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEEDS


def with_seed(book: dict[str, Any], seed: int) -> dict[str, Any]:
    """Une copie du carnet dont la cellule `parameters` donne cette graine. Lève ValueError si elle n'a pas SEED."""
    if "SEED" not in {name for name, *_ in notebook.parameter_lines(book)}:
        raise ValueError("Ce chapitre n'a pas de graine (SEED) dans sa cellule de paramètres.")
    return notebook.with_parameters(book, {"SEED": seed})


def _detached(book: dict[str, Any], address: publish.Address, root: Path) -> dict[str, Any]:
    """Le carnet tel qu'il se distribue seul : sans badge, qui ouvrirait celui du dépôt, et avec ses images."""

    def change(text: str, cell: dict[str, Any]) -> str:
        if cell["cell_type"] == "markdown":
            return html.embed_pictures(text, root / "notebooks")
        return publish.with_setup(text, address)

    return notebook.rewritten(book, change)


def _write(files: dict[Path, str], replace: bool) -> None:
    changed = [path for path, text in files.items() if path.exists() and path.read_text(encoding="utf-8") != text]
    if changed and not replace:
        raise FileExistsError(
            f"{len(changed)} fichiers sont déjà là et seraient perdus, dont {changed[0]}. "
            "Choisissez un autre dossier, ou ajoutez --remplacer."
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _plain(text: str) -> str:
    """Le texte sans majuscules ni accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(c))
