"""Le glossaire : chaque terme est défini dans son chapitre, n'est pas employé avant, et sa page dit la même chose."""

import copy
import re
from functools import cache
from pathlib import Path

import pytest

from gan_course.tools import glossary, publish
from gan_course.tools.notebook import find_chapters, read_notebook, source_of

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
MASTERS = {path.name[:2]: path for path in find_chapters(FOLDER / "sources")}
TERMS = glossary.read_terms(FOLDER)
NOTATIONS = glossary.read_rows(FOLDER / "notations.csv", "symbole,sens,chapitres")
# Ce qui est permis avant le chapitre qui définit le terme : (terme, chapitre) et la raison.
TOLERATED: dict[tuple[str, str], str] = {}
BREAK = re.compile(r"(?<=[.!?…])\s+|\n\s*\n|\n(?=[-|])")

each_chapter = pytest.mark.parametrize("number", MASTERS)


@cache
def prose(number: str) -> str:
    """Le texte d'un chapitre, titres et textes dépliés compris, sans son glossaire ni ses articles."""
    cells = [cell for cell in read_notebook(MASTERS[number])["cells"] if cell["cell_type"] == "markdown"]
    text = "\n\n".join(source_of(cell) for cell in cells)
    text = re.sub(r"^## (Glossaire|Articles)$.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^#+ |<[^>]*>", "", text, flags=re.MULTILINE)


def early_uses(text: str, number: str) -> list[str]:
    """Les phrases qui emploient un terme d'un chapitre suivant sans dire « chapitre NN »."""
    found = []
    for start, end, term in glossary.find_uses(text, TERMS):
        if term.chapter > number and (term.name, number) not in TOLERATED:
            before = [match.end() for match in BREAK.finditer(text, 0, start)]
            after = BREAK.search(text, end)
            sentence = text[max(before, default=0) : after.start() if after else None]
            if f"chapitre {term.chapter}" not in re.sub(r"\s+", " ", sentence):
                found.append(f"« {text[start:end]} » (défini au chapitre {term.chapter}) : {sentence}")
    return found


def test_terms_are_well_written():
    """Une phrase de trente mots au plus ; ni deux termes à la même ancre, ni deux termes à la même forme."""
    forms = [form for term in TERMS for form in term.forms]
    assert len(set(forms)) == len(forms), {form for form in forms if forms.count(form) > 1}
    assert len({term.anchor for term in TERMS}) == len(TERMS)
    for name, _, sentence, chapter, *_ in TERMS:
        assert chapter in MASTERS, f"« {name} » : le chapitre {chapter} n'existe pas"
        assert len(re.findall(r"\S*\w\S*", sentence)) <= 30, f"« {name} » : plus de trente mots"
        assert sentence.endswith(".") and "|" not in sentence, (
            f"« {name} » : un point, et pas de barre verticale"
        )


@each_chapter
def test_a_chapter_contains_the_terms_it_defines(number):
    used = {term.anchor for _, _, term in glossary.find_uses(prose(number), TERMS)}
    missing = [term.name for term in TERMS if term.chapter == number and term.anchor not in used]
    assert not missing, f"Le chapitre {number} ne contient pas : {', '.join(missing)}."


@each_chapter
def test_no_term_before_the_chapter_that_defines_it(number):
    early = early_uses(prose(number), number)
    assert not early, "\n".join([f"Le chapitre {number} emploie trop tôt :", *early])


def test_an_early_use_is_seen_unless_its_sentence_says_so():
    text = "Voici BatchNorm. Un lot.\n\nEt BatchNorm, du chapitre\n02.\n- Des plans de\ntransport, du chapitre 02."
    assert [line.partition(" (")[0] for line in early_uses(text, "01")] == [
        "« BatchNorm »",
        "« plans de\ntransport »",
    ]
    assert early_uses(text, "04") == []


def test_uses_are_words_of_the_text():
    """Ni code, ni titre, ni formule, ni lien, ni HTML ; la plus longue forme l'emporte ; les pluriels comptent."""
    text = (
        "# Le FID\n`FID` $FID$ [FID](page) <b title='FID'>\n\n<details>FID\n</details>\n\n"
        "Des distances de\nFréchet, un DCGAN, est relu, Lots.\n"
    )
    found = [(text[start:end], term.name) for start, end, term in glossary.find_uses(text, TERMS)]
    assert found == [("distances de\nFréchet", "distance de Fréchet"), ("DCGAN", "DCGAN"), ("Lots", "lot")]


def notebook(*cells: tuple[str, list[str]]) -> dict:
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": {"tags": tags}, "source": [text]} for text, tags in cells
        ]
    }


def test_first_uses_are_linked_once_and_the_table_is_filled():
    book = notebook(
        ("Un lot, un critique, un lot.", []), ("## Glossaire", ["glossaire"]), ("## Articles\n\nFID", [])
    )
    before = copy.deepcopy(book)
    done = glossary.fill_glossary(book, "04", TERMS, "PAGE")
    first, table, articles = map(source_of, done["cells"])
    assert first == "Un [lot](PAGE#lot), un critique, un lot." and articles == "## Articles\n\nFID"
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + sum(term.chapter == "04" for term in TERMS) and any(
        "| critique |" in row for row in rows
    )
    assert book == before and glossary.fill_glossary(done, "04", TERMS, "PAGE") == done


@each_chapter
def test_filling_a_chapter_twice_changes_nothing_more(number):
    once = glossary.fill_glossary(read_notebook(MASTERS[number]), number, TERMS, glossary.PAGE)
    assert glossary.fill_glossary(once, number, TERMS, glossary.PAGE) == once
    anchors = re.findall(rf"\]\({glossary.PAGE}#([\w-]+)\)", "".join(map(source_of, once["cells"])))
    assert len(set(anchors)) == len(anchors) and set(anchors) <= {term.anchor for term in TERMS}


def test_the_page_is_up_to_date_and_its_links_resolve():
    page = (FOLDER / glossary.PAGE).read_text(encoding="utf-8")
    expected = publish.nonbreaking(glossary.write_page(FOLDER, TERMS))
    assert page == expected, "notebooks/GLOSSAIRE.md n'est pas à jour. Lancez : python -m gan_course publish"
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert len(links) == len(TERMS) and all((FOLDER / link).is_file() for link in links)
    assert re.findall(r'<a id="([^"]*)">', page) == [term.anchor for term in TERMS]


def test_symbols_are_in_the_chapters_that_the_table_names():
    for symbols, meaning, chapters in NOTATIONS:
        for number in chapters.split(", "):
            text = re.sub(r"```.*?```|`[^`]*`", "", prose(number), flags=re.DOTALL)
            formulas = re.sub(
                r"\{(\w)\}", r" \1", " ".join(re.findall(r"\$\$.*?\$\$|\$[^$]*\$", text, re.DOTALL))
            )
            for symbol in re.findall(r"\$([^$]+)\$", symbols):
                there = re.search(rf"(?<![A-Za-z\\]){re.escape(symbol)}(?![A-Za-z])", formulas)
                assert there, f"{symbol} ({meaning}) n'est pas dans le chapitre {number}"


def test_a_bad_table_is_refused_in_french(tmp_path):
    table = tmp_path / "glossaire.csv"
    for text in ["terme,anglais\n", "terme,anglais,phrase,chapitre,formes\nlot,batch,,01,\n"]:
        table.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="chaque ligne doit donner terme,anglais,phrase,chapitre,formes"):
            glossary.read_terms(tmp_path)
