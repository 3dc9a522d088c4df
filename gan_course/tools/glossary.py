"""Le glossaire et les notations du cours : lire leurs deux tables CSV, en écrire la page, y relier les chapitres."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gan_course.tools.notebook import rewritten, source_of

PAGE = "GLOSSAIRE.md"
TABLE = "## Glossaire\n\n| français | anglais | en une phrase |\n|---|---|---|\n{}\n[Glossaire du cours entier]({})"
# Où un terme n'est pas un mot du texte : code, titres, blocs et balises HTML, formules, liens.
APART = re.compile(
    r"(?ms)```.*?```|^#[^\n]*|^ {0,3}<(?:(?!\n\s*\n).)*|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\[[^\]]*\]\([^)]*\)|<[^>]*>"
)


class Term(NamedTuple):
    """Un terme : ses formes sont celles que l'on cherche dans le texte, son ancre est sa place dans la page."""

    name: str
    english: str
    sentence: str
    chapter: str
    forms: list[str]
    anchor: str


def read_rows(path: Path, columns: str) -> list[list[str]]:
    """Les lignes d'un CSV ; ValueError si l'une n'a pas ces colonnes, ou laisse vide une autre que la cinquième."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for row in [header, *rows]:
        if header != columns.split(",") or len(row) != len(header) or not all(row[:4]):
            raise ValueError(f"{path.name} : « {','.join(row)} » ; chaque ligne doit donner {columns}.")
    return rows


def read_terms(folder: Path) -> list[Term]:
    """Les termes de folder/glossaire.csv, par ordre alphabétique ; le texte est fouillé sans les noms à parenthèse."""
    terms = []
    for *fields, others in read_rows(folder / "glossaire.csv", "terme,anglais,phrase,chapitre,formes"):
        plain = unicodedata.normalize("NFKD", fields[0].casefold()).encode("ascii", "ignore").decode()
        forms = [form for form in [fields[0], *others.split("|")] if form and "(" not in form]
        terms.append(Term(*fields, forms, "-".join(re.findall(r"\w+", plain))))
    return sorted(terms, key=lambda term: term.anchor)


def find_uses(text: str, terms: list[Term]) -> Iterator[tuple[int, int, Term]]:
    """(début, fin, terme) de chaque terme employé dans un Markdown, pluriels compris ; la plus longue forme gagne."""
    forms = sorted(((form, term) for term in terms for form in term.forms), key=lambda pair: -len(pair[0]))
    plurals = [re.sub(r"\w+", r"\g<0>[sx]?", re.escape(form)).replace(r"\ ", r"\s+") for form, _ in forms]
    patterns = [f"[{one[0]}{one[0].upper()}]{one[1:]}" if one[0].isalnum() else one for one in plurals]
    prose = APART.sub(lambda part: "\0" * len(part[0]), text)
    for found in re.finditer(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])", prose):
        term = next(term for one, (_, term) in zip(patterns, forms) if re.fullmatch(one, found[0]))
        yield found.start(), found.end(), term


def fill_glossary(book: dict[str, Any], number: str, terms: list[Term], page: str) -> dict[str, Any]:
    """Une copie du chapitre `number`, où la cellule étiquetée `glossaire` a sa table, et où le premier emploi de chaque
    terme d'un autre chapitre mène à `page`, l'adresse du glossaire. Le refaire n'y change plus rien.
    """
    whole = "".join(source_of(cell) for cell in book["cells"])
    known = {one.anchor for one in terms if one.chapter == number or f"]({page}#{one.anchor})" in whole}
    own = "".join(f"| {one[0]} | *{one[1]}* | {one[2]} |\n" for one in terms if one.chapter == number)

    def change(text: str, cell: dict[str, Any]) -> str:
        if "glossaire" in cell["metadata"].get("tags", []):
            return TABLE.format(own, page)
        if cell["cell_type"] != "markdown" or text.startswith("## Articles"):
            return text
        linked, end = "", 0
        for start, stop, term in find_uses(text, terms):
            if term.anchor not in known:
                known.add(term.anchor)
                linked += f"{text[end:start]}[{text[start:stop]}]({page}#{term.anchor})"
                end = stop
        return linked + text[end:]

    return rewritten(book, change)


def write_page(folder: Path, terms: list[Term]) -> str:
    """La page du glossaire : les termes, chacun avec le chapitre qui le définit, puis folder/notations.csv."""
    chapters = {path.name[:2]: path.name for path in folder.glob("sources/[0-9][0-9]_*.ipynb")}
    text = "# Glossaire et notations\n\n<!-- Écrit par : python -m gan_course publish -->\n\n## Glossaire\n\n"
    for name, english, sentence, chapter, _, anchor in terms:
        text += f'- <a id="{anchor}"></a>**{name}** (*{english}*). {sentence} '
        text += f"Défini au [chapitre {chapter}]({chapters[chapter]}).\n"
    text += "\n## Notations\n\n| symbole | ce qu'il désigne | chapitres |\n|---|---|---|\n"
    rows = read_rows(folder / "notations.csv", "symbole,sens,chapitres")
    return text + "".join(f"| {' | '.join(row)} |\n" for row in rows)
