"""Écrit ce qui se déduit des maîtres (notebooks/sources/) : carnets des étudiants, badges, tableau du README.

L'adresse du dépôt est dans pyproject.toml, [tool.gan_course] ; si elle y est encore ORG/REPO, c'est l'origine de git.
Un maître se passe de badge, montre ses images par ../imgs/, et s'installe par une ligne %pip, que remplace ici la même
cellule partout. `solutions.py` dit comment y écrire une solution. Chaque maître porte dans ses métadonnées :

    "accelerator": "GPU"    si Colab doit prêter un GPU à ce chapitre
    "gan_course": {"title": "…", "summary": "…", "costs": {"eclair": "…", "cours": "…", "complet": "…"}}
"""

from __future__ import annotations

import difflib
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan_course.tools import glossary, solutions
from gan_course.tools.notebook import find_chapters, find_root, read_notebook, rewritten, source_of, to_text

COLAB = "https://colab.research.google.com/github/"
BADGE_ID = "badge-colab"
MODES = {"eclair": "éclair", "cours": "cours", "complet": "complet"}
PLACEHOLDER = "ORG/REPO"
# Le début d'une cellule de code, jusqu'à la ligne qui installe le paquet du cours : SETUP le remplace.
INSTALLATION = re.compile(r"\A.*?%pip [^\n]*git\+https://github\.com/[^\n]*", re.DOTALL)
SETUP = """\
# Colab a déjà torch ; il ne lui manque que le paquet du cours.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("gan_course") is None:
    course = "git+https://github.com/{slug}@{ref}"
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "-q", course], capture_output=True, text=True)
    if pip.returncode:
        advice = "Vérifiez la connexion et relancez cette cellule, ou demandez la bonne adresse à votre enseignant."
        raise RuntimeError(f"{{course}} ne s'installe pas. {{advice}} Ce que pip en dit :\\n{{pip.stderr}}")
    importlib.invalidate_caches()"""
# Ce que la typographie ne touche pas : code, formules, balises, adresses.
KEPT = re.compile(r"(```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|<[^>]*>|\]\([^)]*\))", re.DOTALL)
# Avant ; : ! ? % », après «, entre les milliers ; mais « | :--- » fait un tableau.
FRENCH_SPACES = re.compile(r"(?<=«) | (?=[»;!?%]|:(?!-))|(?<=\d) (?=\d{3}(?!\d))")


class Address(NamedTuple):
    """Où est le cours sur GitHub : le dépôt, ORG/REPO, et la branche ou l'étiquette que suivent les étudiants."""

    slug: str
    ref: str

    @property
    def images(self) -> str:
        """Là où un carnet publié prend ses images : une adresse absolue, qu'une copie sur Drive sait lire."""
        known = self.slug != PLACEHOLDER
        return f"https://raw.githubusercontent.com/{self.slug}/{self.ref}/imgs" if known else "../imgs"

    @property
    def glossary(self) -> str:
        """L'adresse de la page du glossaire, absolue elle aussi."""
        known = self.slug != PLACEHOLDER
        return f"https://github.com/{self.slug}/blob/{self.ref}/notebooks/{glossary.PAGE}" if known else glossary.PAGE


def read_address(root: Path, slug: str | None = None, ref: str | None = None) -> Address:
    """L'adresse du dépôt : ce qui est donné, sinon ce que dit pyproject.toml, sinon l'origine git et la branche main.

    Lève ValueError si ce n'est pas une adresse.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    said = project.get("tool", {}).get("gan_course", {})
    ref = ref or said.get("ref", "main")
    if slug is None:
        slug = said.get("slug", "")
        slug = origin(root) or slug if slug == PLACEHOLDER else slug
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", slug):
        raise ValueError(f"L'adresse du dépôt est « {slug} » ; pyproject.toml, [tool.gan_course] attend ORG/REPO.")
    if not re.fullmatch(r"[\w./-]+", ref):
        raise ValueError(f"La branche ou l'étiquette est « {ref} » ; il faut un nom de git, comme main ou v1.0.")
    return Address(slug, ref)


def origin(root: Path) -> str | None:
    """L'adresse ORG/REPO de l'origine git de ce dossier ; None s'il n'en a pas sur GitHub."""
    if not (root / ".git").exists():  # git répondrait pour un dépôt qui contient ce dossier
        return None
    try:
        done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=root, capture_output=True, text=True)
    except OSError:  # git n'est pas installé
        return None
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?\s*$", done.stdout)
    return found[1] if found else None


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


def badge(address: Address, name: str, images: str) -> str:
    """Le badge Colab d'un carnet, en Markdown ; `images` est le chemin vers imgs/ depuis là où il est écrit."""
    link = f"{COLAB}{address.slug}/blob/{address.ref}/notebooks/{name}"
    return f"[![Ouvrir ce chapitre dans Colab]({images}/colab-badge.svg)]({link})"


def colab_advice(gpu: bool) -> str:
    """Ce qu'il faut faire avant de commencer dans Colab."""
    saved = "Dans Colab, enregistrez une copie (Fichier > Enregistrer une copie dans Drive) : votre travail y restera."
    lent = " Pour un GPU : Exécution > Modifier le type d'exécution ; il est prêté, pas promis."
    return saved + lent if gpu else saved


def with_setup(text: str, address: Address) -> str:
    """Le code d'une cellule, où l'installation du paquet du cours est la même dans tous les chapitres."""
    return INSTALLATION.sub(lambda _: SETUP.format(**address._asdict()), text)


def nonbreaking(text: str) -> str:
    """Le même Markdown, ses espaces insécables à leur place : un maître peut n'en porter aucune."""
    parts = KEPT.split(text)
    parts[::2] = [FRENCH_SPACES.sub("\N{NO-BREAK SPACE}", part) for part in parts[::2]]
    return "".join(parts)


def update_notebook(notebook: dict[str, Any], address: Address, name: str) -> dict[str, Any]:
    """Une copie du carnet : badge en première cellule, installation, adresse des images, espaces insécables."""

    def change(text: str, cell: dict[str, Any]) -> str:
        if cell["cell_type"] == "markdown":
            return nonbreaking(text.replace("../imgs/", f"{address.images}/"))
        return with_setup(text, address)

    notebook = rewritten(notebook, change)
    cells = notebook["cells"]
    if not cells or COLAB not in source_of(cells[0]):
        cells.insert(0, {"cell_type": "markdown", "id": BADGE_ID, "metadata": {}, "source": []})
    advice = colab_advice(notebook["metadata"].get("accelerator") == "GPU")
    cells[0]["source"] = [badge(address, name, address.images) + "\n", "\n", advice]
    return notebook


def chapter_table(chapters: Sequence[Path], address: Address) -> str:
    """Le tableau Markdown des chapitres : ce que l'on y apprend, ce qu'il coûte, son badge."""
    lines = ["| Chapitre | Ce que vous y apprenez | Colab | " + " | ".join(MODES.values()) + " |"]
    lines.append("|---" * (3 + len(MODES)) + "|")
    for path in chapters:
        card = read_card(path, read_notebook(path))
        costs = [card["costs"][mode] for mode in MODES]
        link = f"[{path.name[:2]} · {card['title']}](notebooks/{path.name})"
        row = [link, card["summary"], badge(address, path.name, "imgs"), *costs]
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


def expected_files(root: Path, address: Address) -> dict[Path, tuple[str, str]]:
    """Pour chaque fichier concerné : (texte actuel, texte attendu) ; le texte d'un fichier absent est vide.

    Lève ValueError si un maître est mal formé, ou si un carnet n'a pas de maître.
    """
    folder = root / "notebooks"
    chapters = find_chapters(folder / solutions.FOLDER)
    orphans = {path.name for path in folder.glob("[0-9][0-9]_*.ipynb")} - {path.name for path in chapters}
    if orphans:
        raise ValueError(
            f"Sans maître dans notebooks/{solutions.FOLDER}/ : {', '.join(sorted(orphans))}. "
            "Déplacez-y ces carnets, ou effacez-les."
        )
    terms = glossary.read_terms(folder)
    page = folder / glossary.PAGE
    current = page.read_text(encoding="utf-8") if page.exists() else ""
    files = {page: (current, nonbreaking(glossary.write_page(folder, terms)))}
    for path in chapters:
        student = folder / path.name
        current = student.read_text(encoding="utf-8") if student.exists() else ""
        book = glossary.fill_glossary(solutions.student_notebook(path), path.name[:2], terms, address.glossary)
        files[student] = (current, to_text(update_notebook(book, address, path.name)))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    updated = between_markers(nonbreaking(text), "chapitres", nonbreaking(chapter_table(chapters, address)))
    files[readme] = (text, between_markers(updated, "commandes", commands_block(address.slug)))
    return files


def differences(root: Path, address: Address | None = None) -> str:
    """Ce qui n'est pas à jour, ligne à ligne (« - » : actuel, « + » : attendu) ; vide si tout l'est."""
    parts = []
    for path, (current, expected) in expected_files(root, address or read_address(root)).items():
        name = path.relative_to(root).as_posix()
        lines = current.splitlines(), expected.splitlines()
        parts += difflib.unified_diff(*lines, f"{name} (actuel)", f"{name} (attendu)", n=1, lineterm="")
    return "\n".join(parts)


def publish(check: bool, slug: str | None = None, ref: str | None = None) -> int:
    """Écrit ce qui n'est pas à jour ; avec `check`, le montre seulement, et rend 1 s'il y en a.

    Lève ValueError plutôt que d'écrire des badges qui n'ouvriraient rien, sauf si `slug` le demande.
    """
    root = find_root()
    address = read_address(root, slug, ref)
    if check:
        found = differences(root, address)
        if found:
            print(f"{found}\n\nCe n'est pas à jour. Lancez : python -m gan_course publish")
        return 1 if found else 0
    if address.slug == PLACEHOLDER != slug:
        raise ValueError(
            f"L'adresse du dépôt est encore {PLACEHOLDER}, et git n'a pas d'origine sur GitHub : écrivez-la dans "
            "pyproject.toml, [tool.gan_course], ou faites git remote add origin https://github.com/VOUS/VOTRE_DEPOT."
        )
    for path, (current, expected) in expected_files(root, address).items():
        if current != expected:
            path.write_text(expected, encoding="utf-8", newline="\n")
            print(f"Écrit : {path.relative_to(root).as_posix()}")
    return 0
