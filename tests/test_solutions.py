"""Les carnets-maîtres : ce qui en sort, ce qui y est refusé, et qu'aucune solution ne passe chez l'étudiant."""

import copy
import json
import re
from pathlib import Path

import nbformat
import pytest

from gan_course.exercises import EXERCISES
from gan_course.tools import solutions
from gan_course.tools.notebook import source_of

ROOT = Path(__file__).resolve().parent.parent
MASTERS = sorted((ROOT / "notebooks" / "sources").glob("[0-9][0-9]_*.ipynb"))
each_master = pytest.mark.parametrize("path", MASTERS, ids=[path.stem for path in MASTERS])
BLOCK = re.compile(r"### BEGIN SOLUTION\n(.*?)^[ \t]*### END SOLUTION", re.MULTILINE | re.DOTALL)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def notebook(*sources: str) -> dict:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source.splitlines(keepends=True),
         "outputs": [], "execution_count": None}
        for i, source in enumerate(sources)
    ]  # fmt: skip
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def student_source(*sources: str) -> str:
    return source_of(solutions.to_student(notebook(*sources), "essai")["cells"][-1])


ANSWER = "def f(x):\n    ### BEGIN SOLUTION\n    y = 2 * x\n    return y\n    ### END SOLUTION"


def test_a_solution_becomes_an_exception_at_the_same_indentation():
    assert student_source(ANSWER) == "def f(x):\n    raise NotImplementedError"
    method = "class A:\n    def f(self):\n        ### BEGIN SOLUTION\n        return 1\n        ### END SOLUTION\n\nA()"
    assert student_source(method) == "class A:\n    def f(self):\n        raise NotImplementedError\n\nA()"
    two = ANSWER + "\n\n\n" + ANSWER.replace("f(", "g(")
    assert student_source(two).count("raise NotImplementedError") == 2


def test_a_solution_at_the_left_margin_becomes_a_comment():
    text = 'lu = {"a": None}\n### BEGIN SOLUTION\nlu = {"a": 3}\n### END SOLUTION\ncheck("valeur", lu)'
    assert student_source(text) == 'lu = {"a": None}\n# À vous d\'écrire ici.\ncheck("valeur", lu)'


def test_the_solved_notebook_keeps_the_solution_and_loses_the_marks():
    solved = solutions.to_solved(notebook(ANSWER), "essai")
    assert source_of(solved["cells"][0]) == "def f(x):\n    y = 2 * x\n    return y"


def test_the_master_is_left_as_it_is_and_outputs_are_dropped():
    master = notebook(ANSWER)
    master["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "4"}]
    before = copy.deepcopy(master)
    assert solutions.to_student(master, "essai")["cells"][0]["outputs"] == []
    assert master == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("### BEGIN SOLUTION\nx = 1", "sans ### END SOLUTION"),
        ("x = 1\n### END SOLUTION", "sans ### BEGIN SOLUTION"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "une autre"),
        ("### BEGIN SOLUTION\n# rien\n### END SOLUTION", "vide"),
        ("#### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "illisible"),
        ("### begin solution\nx = 1\n### END SOLUTION", "sans ### BEGIN SOLUTION"),
        ("def f():\n    raise NotImplementedError", "attend une réponse"),
        ("x = [\n    ### BEGIN SOLUTION\n    1,\n    ### END SOLUTION\n]", "plus du Python"),
    ],
)
def test_a_bad_master_is_refused_by_cell(source, message):
    with pytest.raises(ValueError, match=message) as refusal:
        solutions.to_student(notebook("y = 2", source), "06_essai.ipynb")
    assert "06_essai.ipynb, cellule « c1 »" in str(refusal.value)


def test_answers_are_read_in_the_calls_to_check():
    call = 'check("double", f);'
    assert solutions.read_answers(notebook("%pip install rien\n", ANSWER, call), "essai") == {"double": "f"}
    with pytest.raises(ValueError, match=r'check\("double", g\)'):
        solutions.read_answers(notebook(ANSWER, 'check("double", g)'), "essai")


@each_master
def test_every_answer_has_its_exercise(path):
    answers = solutions.read_answers(read(path), path.name)
    assert answers and set(answers) <= set(EXERCISES)


@each_master
def test_the_student_notebook_is_the_committed_one_and_leaks_nothing(path):
    """publish --check compare les fichiers ; ici, que rien d'une solution n'y passe."""
    committed = read(ROOT / "notebooks" / path.name)
    master = read(path)
    student = solutions.student_notebook(path)
    assert [cell["id"] for cell in student["cells"]] == [cell["id"] for cell in master["cells"]]
    assert student == solutions.student_notebook(path)
    assert {cell["id"] for cell in student["cells"]} <= {cell["id"] for cell in committed["cells"]}
    everything = "\n".join(source_of(cell) for cell in committed["cells"])
    assert "SOLUTION" not in everything
    bodies = [body for cell in master["cells"] for body in BLOCK.findall(source_of(cell))]
    assert len(bodies) >= len(solutions.read_answers(master, path.name))
    for body in bodies:
        assert body.strip() not in everything, body


@each_master
def test_a_master_is_valid_and_stripped(path):
    master = nbformat.read(path, as_version=4)
    nbformat.validate(master)
    assert len({cell.id for cell in master.cells}) == len(master.cells)
    for cell in master.cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None), cell.id
    assert "widgets" not in master.metadata
