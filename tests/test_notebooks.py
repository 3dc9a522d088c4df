"""Les carnets : leur forme, puis leur exécution en mode éclair."""

import ast
import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from gan_course.tools import html, publish, run, solutions
from gan_course.tools.notebook import read_notebook

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
IDS = [path.stem for path in NOTEBOOKS]
SECONDS: dict[str, float] = {}

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="aucun chapitre dans notebooks/")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def prose(path: Path) -> str:
    """Les cellules de texte, sans leurs blocs de code."""
    text = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def tagged(path: Path, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if tag in cell.metadata.get("tags", [])]


@each_notebook
def test_valid_and_stripped(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, cell.source[:80]


def test_nbstripout_would_change_nothing():
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each_notebook
def test_one_parameters_cell(path):
    assert len(tagged(path, "parameters")) == 1
    parameters = run.read_parameters(path)
    assert {"MODE", "SEED"} <= set(parameters)
    assert ast.literal_eval(parameters["MODE"]) in publish.MODES


@each_notebook
def test_headings(path):
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) +\S", prose(path), flags=re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    for before, after in zip(levels, levels[1:]):
        assert after <= before + 1, f"un titre de niveau {after} suit un titre de niveau {before}"


def images(path: Path) -> list[tuple[str, str]]:
    """(texte de remplacement, adresse) de chaque image du carnet."""
    text = prose(path)
    found = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)[^)]*\)", text)
    for tag in re.findall(r"<img\b[^>]*>", text):
        attributes = dict(re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", tag.replace("’", "'")))
        found.append((attributes.get("alt", ""), attributes.get("src", "")))
    return found


@each_notebook
def test_images_exist_and_say_what_they_show(path):
    for alternative, source in images(path):
        assert len(alternative.strip()) >= 12, f"{source} : texte de remplacement trop court, « {alternative} »"
        raw = re.fullmatch(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[^/]+/(.+)", source)
        local = ROOT / raw.group(1) if raw else path.parent / source
        assert raw or "://" not in source, f"{source} : les images du cours sont dans imgs/"
        assert local.resolve().is_file(), f"{source} n'existe pas"
        assert ROOT in local.resolve().parents


def test_readme_images_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for alternative, source in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
        assert len(alternative) >= 12 and (ROOT / source).is_file(), source


def test_badges_and_readme_are_up_to_date():
    assert publish.differences(ROOT) == ""


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """Exécute un carnet en éclair, une seule fois par séance de tests, et rend le carnet exécuté."""
    folder = tmp_path_factory.mktemp("carnets")
    done: dict[Path, Path | Exception] = {}

    def execute(path: Path) -> Path:
        if path not in done:
            start = time.perf_counter()
            try:
                run.execute(path, folder / path.name, {"MODE": "eclair"})
                done[path] = folder / path.name
            except Exception as error:  # gardée : les tests suivants ne doivent pas tout relancer
                done[path] = error
            SECONDS[path.stem] = time.perf_counter() - start
        if isinstance(done[path], Exception):
            pytest.fail(f"{path.name} : {run.describe_failure(done[path])}")
        return done[path]

    return execute


@pytest.mark.lent
@each_notebook
def test_runs_in_eclair(path, executed):
    for cell in read(executed(path)).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            if output.output_type == "stream" and output.name == "stderr":
                assert "Traceback" not in output.text and "Error" not in output.text, output.text


@pytest.mark.lent
def test_the_solved_exercises_run_whole_and_all_hold(tmp_path):
    """Le corrigé du chapitre 06, exécuté de bout en bout : chaque appel à check y réussit."""
    master = FOLDER / solutions.FOLDER / "06_exercices.ipynb"
    book = solutions.to_solved(read_notebook(master), master.name)
    solved = tmp_path / master.name
    solved.write_text(json.dumps(book), encoding="utf-8")
    run.execute(solved, tmp_path / "résultat.ipynb", {"MODE": "eclair"})
    outputs = [output for cell in read(tmp_path / "résultat.ipynb").cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    answers = solutions.read_answers(read_notebook(master), master.name)
    assert {name for name in answers if f"Exercice « {name} » : réussi" in text} == set(answers)


@pytest.mark.lent
@each_notebook
def test_pages_can_be_made(path, executed):
    page = html.write_chapter(executed(path), path.parent, "Essai")
    assert "<h1" in (executed(path).parent / page).read_text(encoding="utf-8")


@pytest.mark.lent
@each_notebook
def test_chosen_cells_are_reproducible(path, executed, tmp_path):
    """nbval réexécute le carnet, jusqu'à la dernière cellule étiquetée nbval-check-output, et compare leurs sorties."""
    book, copy = read(executed(path)), tmp_path / path.name
    chosen = [i for i, cell in enumerate(book.cells) if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert chosen, "étiquetez au moins une cellule déterministe nbval-check-output"
    book.cells = book.cells[: chosen[-1] + 1]
    nbformat.write(book, copy)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--rootdir", str(tmp_path),
               "-p", "no:cacheprovider", "-q", str(copy)]  # fmt: skip
    with run.kernel_environment():
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.lent
def test_total_time(executed, capsys):
    for path in NOTEBOOKS:
        executed(path)
    with capsys.disabled():
        each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in SECONDS.items())
        print(f"\nCarnets en éclair : {sum(SECONDS.values()):.0f} s ({each})")


def test_override_names_exist_everywhere():
    for path in NOTEBOOKS:
        run.check_parameters(path, {"MODE": "eclair", "SEED": 1})
        with pytest.raises(ValueError, match="paramètre"):
            run.check_parameters(path, {"MODDE": "eclair"})


def test_cards_are_json():
    for path in NOTEBOOKS:
        publish.read_card(path, json.loads(path.read_text(encoding="utf-8")))


def test_the_race_of_chapter_05_is_the_one_that_was_measured():
    notebook = read_notebook(ROOT / "notebooks" / "sources" / "05_mini_stylegan_fid.ipynb")
    (cell,) = [text for cell in notebook["cells"] if (text := "".join(cell["source"])).startswith("RACE = {")]
    shown = ast.literal_eval(cell.split("=", 1)[1].split("\n", 1)[0].split("#")[0] + cell.split("\n", 1)[1])
    with (ROOT / "bench" / "equal_time.csv").open(encoding="utf-8") as file:
        measured = list(csv.DictReader(file))
    for recipe, rows in shown.items():
        for seconds, seen, distances in rows:
            found = [row for row in measured if (row["recette"], row["secondes"]) == (recipe, str(seconds))]
            assert [int(row["graine"]) for row in found] == [0, 1, 2]
            assert distances == pytest.approx([float(row["frechet_faces"]) for row in found], abs=0.051)
            assert seen == pytest.approx(sum(int(row["images_vues"]) for row in found) / 3, abs=50)
    assert sum(map(len, shown.values())) * 3 == len(measured)
