"""Écrit ce qui se déduit des maîtres (notebooks/sources/) : carnets des étudiants, badges, tableau du README.

L'adresse du dépôt (ORG/REPO) est dans pyproject.toml, [tool.gan_course] : les maîtres peuvent garder l'ancienne. Ils se
passent de badge. `solutions.py` dit comment y écrire une solution. Chaque maître porte dans ses métadonnées :

    "gan_course": {"title": "…", "summary": "…", "costs": {"eclair": "…", "cours": "…", "complet": "…"}}
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_course.tools import solutions
from gan_course.tools.notebook import find_chapters, find_root, read_notebook, rewritten, source_of, to_text

COLAB = "https://colab.research.google.com/github/"
BADGE_ID = "badge-colab"
MODES = {"eclair": "éclair", "cours": "cours", "complet": "complet"}
# Là où un carnet nomme le dépôt : l'installation par pip et les images vues depuis Colab.
SLUG_PLACES = re.compile(r"(git\+https://github\.com/|https://raw\.githubusercontent\.com/)[\w.-]+/[\w-]+")
# Ce que la typographie ne touche pas : code, formules, balises, adresses.
KEPT = re.compile(r"(```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|<[^>]*>|\]\([^)]*\))", re.DOTALL)
# Avant ; : ! ? % », après «, entre les milliers ; mais « | :--- » fait un tableau.
FRENCH_SPACES = re.compile(r"(?<=«) | (?=[»;!?%]|:(?!-))|(?<=\d) (?=\d{3}(?!\d))")


def read_slug(root: Path) -> str:
    """L'adresse ORG/REPO du dépôt, lue dans pyproject.toml ; ValueError si elle n'en est pas une."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    slug = project.get("tool", {}).get("gan_course", {}).get("slug", "")
    if not re.fullmatch(r"[\w.-]+/[\w-]+", slug):
        raise ValueError(f"L'adresse du dépôt est « {slug} » ; pyproject.toml, [tool.gan_course] attend ORG/REPO.")
    return slug


def read_card(path: Path, notebook: dict[str, Any]) -> dict[str, Any]:
    """La fiche du chapitre (title, summary, costs) ; ValueError, disant ce qui manque, si elle est incomplète."""
    card = notebook["metadata"].get("gan_course", {})
    missing = [key for key in ("title", "summary") if not card.get(key)]
    missing += [f"costs.{mode}" for mode in MODES if not card.get("costs", {}).get(mode)]
    if missing:
        raise ValueError(
            f'{path.name} : il manque {", ".join(missing)} dans les métadonnées du carnet, clé "gan_course" '
            '{"title", "summary", "costs": {"eclair", "cours", "complet"}}.'
        )
    return card


def badge(slug: str, name: str, images: str) -> str:
    """Le badge Colab d'un carnet, en Markdown ; `images` est le chemin vers imgs/ depuis là où il est écrit."""
    return f"[![Ouvrir ce chapitre dans Colab]({images}/colab-badge.svg)]({COLAB}{slug}/blob/main/notebooks/{name})"


def with_slug(text: str, slug: str) -> str:
    """Le texte d'une cellule, avec la bonne adresse du dépôt partout où il la nomme."""
    return SLUG_PLACES.sub(lambda match: match.group(1) + slug, text)


def nonbreaking(text: str) -> str:
    """Le même Markdown, ses espaces insécables à leur place : un maître peut n'en porter aucune."""
    parts = KEPT.split(text)
    parts[::2] = [FRENCH_SPACES.sub("\N{NO-BREAK SPACE}", part) for part in parts[::2]]
    return "".join(parts)


def update_notebook(notebook: dict[str, Any], slug: str, name: str) -> dict[str, Any]:
    """Une copie du carnet : badge en première cellule, adresse du dépôt, espaces insécables."""

    def change(text: str, cell: dict[str, Any]) -> str:
        text = with_slug(text, slug)
        return nonbreaking(text) if cell["cell_type"] == "markdown" else text

    notebook = rewritten(notebook, change)
    cells = notebook["cells"]
    if not cells or COLAB not in source_of(cells[0]):
        cells.insert(0, {"cell_type": "markdown", "id": BADGE_ID, "metadata": {}, "source": []})
    cells[0]["source"] = [badge(slug, name, "../imgs")]
    return notebook


def chapter_table(chapters: Sequence[Path], slug: str) -> str:
    """Le tableau Markdown des chapitres : ce que l'on y apprend, ce qu'il coûte, son badge."""
    lines = ["| Chapitre | Ce que vous y apprenez | Colab | " + " | ".join(MODES.values()) + " |"]
    lines.append("|---" * (3 + len(MODES)) + "|")
    for path in chapters:
        card = read_card(path, read_notebook(path))
        costs = [card["costs"][mode] for mode in MODES]
        link = f"[{path.name[:2]} · {card['title']}](notebooks/{path.name})"
        row = [link, card["summary"], badge(slug, path.name, "imgs"), *costs]
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
    return "\n".join(lines)


def commands_block(slug: str) -> str:
    """Les deux commandes du README."""
    folder = slug.partition("/")[2]
    return f"```bash\ngit clone https://github.com/{slug} && cd {folder}\nmake cours\n```"


def between_markers(text: str, name: str, content: str) -> str:
    """Le texte où `content` remplace ce qui est entre <!-- name:début --> et <!-- name:fin -->."""
    start, end = f"<!-- {name}:début -->", f"<!-- {name}:fin -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"Le README doit contenir une fois {start} et une fois {end}.")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{content}\n{end}{rest.partition(end)[2]}"


def expected_files(root: Path) -> dict[Path, tuple[str, str]]:
    """Pour chaque fichier concerné : (texte actuel, texte attendu) ; le texte d'un fichier absent est vide.

    Lève ValueError si un maître est mal formé, ou si un carnet n'a pas de maître.
    """
    slug, folder = read_slug(root), root / "notebooks"
    chapters = find_chapters(folder / solutions.FOLDER)
    orphans = {path.name for path in folder.glob("[0-9][0-9]_*.ipynb")} - {path.name for path in chapters}
    if orphans:
        raise ValueError(
            f"Sans maître dans notebooks/{solutions.FOLDER}/ : {', '.join(sorted(orphans))}. "
            "Déplacez-y ces carnets, ou effacez-les."
        )
    files = {}
    for path in chapters:
        student = folder / path.name
        current = student.read_text(encoding="utf-8") if student.exists() else ""
        files[student] = (current, to_text(update_notebook(solutions.student_notebook(path), slug, path.name)))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    updated = between_markers(nonbreaking(text), "chapitres", nonbreaking(chapter_table(chapters, slug)))
    files[readme] = (text, between_markers(updated, "commandes", commands_block(slug)))
    return files


def differences(root: Path) -> str:
    """Ce qui n'est pas à jour, ligne à ligne (« - » : actuel, « + » : attendu) ; vide si tout l'est."""
    parts = []
    for path, (current, expected) in expected_files(root).items():
        name = path.relative_to(root).as_posix()
        lines = current.splitlines(), expected.splitlines()
        parts += difflib.unified_diff(*lines, f"{name} (actuel)", f"{name} (attendu)", n=1, lineterm="")
    return "\n".join(parts)


def publish(check: bool) -> int:
    """Écrit ce qui n'est pas à jour ; avec `check`, le montre seulement, et rend 1 s'il y en a."""
    root = find_root()
    if check:
        found = differences(root)
        if found:
            print(f"{found}\n\nCe n'est pas à jour. Lancez : python -m gan_course publish")
        return 1 if found else 0
    for path, (current, expected) in expected_files(root).items():
        if current != expected:
            path.write_text(expected, encoding="utf-8", newline="\n")
            print(f"Écrit : {path.relative_to(root).as_posix()}")
    return 0
