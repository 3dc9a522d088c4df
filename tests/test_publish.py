"""Les badges et le tableau des chapitres : écrits depuis les métadonnées, vérifiés par différence."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from gan_course import __main__ as cli
from gan_course.tools import publish

CARD = {"title": "Essai", "summary": "Ce que l'on apprend | ici.",
        "costs": {"eclair": "10 s", "cours": "15 min", "complet": "1 h"}}  # fmt: skip


@pytest.fixture
def house(tmp_path, monkeypatch) -> Path:
    """Un petit dépôt : une adresse, un README, un carnet."""
    monkeypatch.setattr(publish, "find_root", lambda: tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.gan_course]\nslug = "UN/DEUX"\n')
    (tmp_path / "README.md").write_text(
        "# Cours\n<!-- commandes:début -->\n<!-- commandes:fin -->\n"
        "et\n<!-- chapitres:début -->\n<!-- chapitres:fin -->\nfin\n",
        encoding="utf-8",
    )
    install = "if absent:\n    %pip install git+https://github.com/AUTRE/PROJET\n# https://github.com/NVlabs/edm"
    cells = [
        {"cell_type": "markdown", "id": "titre", "metadata": {}, "source": ["# Essai"]},
        {"cell_type": "code", "id": "a", "metadata": {}, "source": install.splitlines(True),
         "outputs": [], "execution_count": None},
    ]  # fmt: skip
    picture = "![Une courbe](../imgs/a.png)"
    cells.insert(1, {"cell_type": "markdown", "id": "image", "metadata": {}, "source": [picture]})
    notebook = {"cells": cells, "metadata": {"gan_course": CARD}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks" / "sources").mkdir(parents=True)
    (tmp_path / "notebooks" / "sources" / "01_essai.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    terms = "terme,anglais,phrase,chapitre,formes\nlot,batch,Des exemples.,01,\n"
    (tmp_path / "notebooks" / "glossaire.csv").write_text(terms, encoding="utf-8")
    symbols = "symbole,sens,chapitres\n$p$,loi des vrais,01\n"
    (tmp_path / "notebooks" / "notations.csv").write_text(symbols, encoding="utf-8")
    return tmp_path


def test_check_then_write_then_check(house, capsys):
    assert cli.main(["publish", "--check"]) == 1
    out = capsys.readouterr().out
    assert "+# Essai" not in out and "README.md (attendu)" in out and "python -m gan_course publish" in out
    assert cli.main(["publish"]) == 0
    assert cli.main(["publish", "--check"]) == 0

    cells = json.loads((house / "notebooks" / "01_essai.ipynb").read_text(encoding="utf-8"))["cells"]
    badge, empty, advice = "".join(cells[0]["source"]).splitlines()
    assert badge == (
        "[![Ouvrir ce chapitre dans Colab](https://raw.githubusercontent.com/UN/DEUX/main/imgs/colab-badge.svg)]"
        "(https://colab.research.google.com/github/UN/DEUX/blob/main/notebooks/01_essai.ipynb)"
    )
    assert "Enregistrer une copie dans Drive" in advice and "GPU" not in advice
    assert len(cells) == 4
    assert "![Une courbe](https://raw.githubusercontent.com/UN/DEUX/main/imgs/a.png)" in "".join(cells[2]["source"])
    setup = "".join(cells[3]["source"])
    assert '"git+https://github.com/UN/DEUX@main"' in setup and "%pip" not in setup and "AUTRE" not in setup
    assert setup.endswith("\n# https://github.com/NVlabs/edm")

    readme = (house / "README.md").read_text(encoding="utf-8")
    assert "git clone https://github.com/UN/DEUX && cd DEUX" in readme
    assert "Ce que l'on apprend \\| ici." in readme and "| 10 s | 15 min | 1 h |" in readme
    assert readme.startswith("# Cours\n") and readme.endswith("fin\n")


def test_changing_the_slug_updates_every_place(house):
    cli.main(["publish"])
    (house / "pyproject.toml").write_text('[tool.gan_course]\nslug = "TROIS/QUATRE"\n')
    assert cli.main(["publish", "--check"]) == 1
    cli.main(["publish"])
    for path in [house / "README.md", house / "notebooks" / "01_essai.ipynb"]:
        text = path.read_text(encoding="utf-8")
        assert "TROIS/QUATRE" in text and "UN/DEUX" not in text


def say_slug(house, slug):
    (house / "pyproject.toml").write_text(f'[tool.gan_course]\nslug = "{slug}"\n')


def git(folder, *words):
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git n'est pas installé")
@pytest.mark.parametrize("origin", ["https://github.com/Ecole/cours.de.gan.git", "git@github.com:Ecole/cours.de.gan"])
def test_the_placeholder_gives_way_to_the_origin(house, origin):
    say_slug(house, "ORG/REPO")
    git(house, "init", "-q")
    git(house, "remote", "add", "origin", origin)
    assert cli.main(["publish"]) == 0
    assert "Ecole/cours.de.gan/blob/main/" in (house / "README.md").read_text(encoding="utf-8")
    say_slug(house, "UN/DEUX")
    assert publish.read_address(house).slug == "UN/DEUX", "ce qui est écrit l'emporte"


@pytest.mark.skipif(shutil.which("git") is None, reason="git n'est pas installé")
def test_the_placeholder_alone_is_refused(house, capsys):
    say_slug(house, "ORG/REPO")
    git(house, "init", "-q")
    git(house, "remote", "add", "origin", "../ailleurs")
    assert cli.main(["publish"]) == 1
    err = capsys.readouterr().err
    assert "ORG/REPO" in err and "git remote add origin" in err and len(err.splitlines()) == 1
    assert not (house / "notebooks" / "01_essai.ipynb").exists()
    assert cli.main(["publish", "--slug", "ORG/REPO"]) == 0, "sauf si on le demande"
    text = (house / "notebooks" / "01_essai.ipynb").read_text(encoding="utf-8")
    assert "../imgs/a.png" in text and "raw.githubusercontent" not in text


@pytest.mark.skipif(shutil.which("git") is None, reason="git n'est pas installé")
def test_an_outer_repository_is_not_ours(house):
    """Une archive du cours, dépliée dans le dépôt d'un autre projet."""
    git(house, "init", "-q")
    git(house, "remote", "add", "origin", "https://github.com/UN/AUTRE")
    (house / "dedans").mkdir()
    assert publish.origin(house) == "UN/AUTRE" and publish.origin(house / "dedans") is None


def test_students_follow_the_branch_or_tag_that_is_chosen(house):
    assert cli.main(["publish", "--ref", "automne-2026"]) == 0
    text = (house / "notebooks" / "01_essai.ipynb").read_text(encoding="utf-8")
    for place in ("DEUX/blob/automne-2026/", "DEUX@automne-2026", "DEUX/automne-2026/imgs/"):
        assert place in text
    assert cli.main(["publish", "--check"]) == 1 and cli.main(["publish", "--check", "--ref", "automne-2026"]) == 0
    (house / "pyproject.toml").write_text('[tool.gan_course]\nslug = "UN/DEUX"\nref = "automne-2026"\n')
    assert cli.main(["publish", "--check"]) == 0
    assert cli.main(["publish", "--ref", "deux mots"]) == 1


def test_a_chapter_that_wants_a_gpu_says_how_to_have_one(house):
    path = house / "notebooks" / "sources" / "01_essai.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["accelerator"] = "GPU"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert cli.main(["publish"]) == 0
    student = json.loads((house / "notebooks" / "01_essai.ipynb").read_text(encoding="utf-8"))
    assert student["metadata"]["accelerator"] == "GPU"
    assert "Modifier le type d'exécution ; il est prêté, pas promis" in "".join(student["cells"][0]["source"])


def test_the_setup_cell_is_short_and_says_in_french_what_fails(monkeypatch):
    setup = publish.with_setup("%pip install -q git+https://github.com/A/B", publish.Address("UN/DEUX", "main"))
    assert len(setup.splitlines()) <= 12
    exec(setup, {})  # le paquet est là : rien à faire
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    failed = SimpleNamespace(returncode=1, stderr="fatal: repository not found")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(RuntimeError, match="UN/DEUX@main ne s'installe pas. Vérifiez.*\n.*not found"):
        exec(setup, {})


def test_an_up_to_date_file_is_not_rewritten(house, capsys):
    cli.main(["publish"])
    assert "01_essai.ipynb" in capsys.readouterr().out
    cli.main(["publish"])
    assert capsys.readouterr().out == ""


def test_the_student_notebook_is_only_written_from_its_master(house, capsys):
    cli.main(["publish"])
    student = house / "notebooks" / "01_essai.ipynb"
    expected = student.read_text(encoding="utf-8")
    student.write_text(expected.replace("# Essai", "# Retouché"), encoding="utf-8")
    assert cli.main(["publish", "--check"]) == 1
    cli.main(["publish"])
    assert student.read_text(encoding="utf-8") == expected
    (house / "notebooks" / "02_orphelin.ipynb").write_text(expected, encoding="utf-8")
    assert cli.main(["publish", "--check"]) == 1
    assert "Sans maître dans notebooks/sources/\N{NO-BREAK SPACE}: 02_orphelin.ipynb" in capsys.readouterr().err


@pytest.mark.parametrize("slug", ["", "sans-barre", "a/b/c", "espace /b"])
def test_bad_slug(house, capsys, slug):
    (house / "pyproject.toml").write_text(f'[tool.gan_course]\nslug = "{slug}"\n')
    assert cli.main(["publish"]) == 1
    assert "ORG/REPO" in capsys.readouterr().err


def test_incomplete_card_and_missing_markers(house, capsys):
    path = house / "notebooks" / "sources" / "01_essai.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["gan_course"] = {"title": "Essai", "costs": {"cours": "1 min"}}
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert cli.main(["publish"]) == 1
    assert "summary, costs.eclair, costs.complet" in capsys.readouterr().err
    with pytest.raises(ValueError, match="chapitres:début"):
        publish.between_markers("rien", "chapitres", "tableau")


@pytest.mark.parametrize(
    ("plain", "set_right"),
    [
        (
            "« Pourquoi ? » Voici : 10 000 images, 83 % de bonnes !",
            "«~Pourquoi~?~» Voici~: 10~000 images, 83~% de bonnes~!",
        ),
        ("`a : b` vaut : $x : y$, et « `c ;` »", "`a : b` vaut~: $x : y$, et «~`c ;`~»"),
        ("| a | b |\n| :--- | ---: |", "| a | b |\n| :--- | ---: |"),
        (
            '```\nif a : b\n```\n<img alt="a : b"> [lien : ici](x : y)',
            '```\nif a : b\n```\n<img alt="a : b"> [lien~: ici](x : y)',
        ),
    ],
)
def test_french_spaces(plain, set_right):
    found = publish.nonbreaking(plain)
    assert found == set_right.replace("~", "\N{NO-BREAK SPACE}")
    assert publish.nonbreaking(found) == found


def test_no_breaking_space_is_left_in_the_students_notebooks():
    for path in sorted((Path(__file__).parent.parent / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        assert publish.nonbreaking(text) == text and "\N{NO-BREAK SPACE}:" in text
