"""Ce que la notation ne doit pas coûter : chaque réponse juste des essais, passée par une copie, garde ses points."""

import importlib
import itertools
import json
import types
from pathlib import Path

import class_of_copies as klass
import pytest
from test_grading import read_notes

from gan_course.tools.grading import grade, trial

HERE = Path(__file__).resolve().parent
# torch.func charge beaucoup de modules au premier appel : une machine occupée y met son temps.
LIMITS = trial.Limits(seconds=60, memory=2048, copy_seconds=1800)
CHAPTERS = sorted(path.name[:2] for path in klass.MASTER.parent.glob("[0-9][0-9]_*.ipynb"))


def right_answers(chapter: str) -> list[tuple[Path, str, str]]:
    """(fichier d'essais, exercice, fonction) : les réponses justes qui ne demandent rien au paquet."""
    found = []
    for path in sorted(HERE.glob(f"test_exercises_{chapter}*.py")):
        module = importlib.import_module(path.stem)
        for exercise, answers in getattr(module, "RIGHT", {}).items():
            names = [a.__name__ for a in answers if isinstance(a, types.FunctionType)]
            mine = [name for name in names if getattr(getattr(module, name, None), "__module__", "") == path.stem]
            found += [(path, exercise, name) for name in mine if "package" not in name]
    return found


@pytest.mark.lent
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_right_answers_keep_their_points(chapter, tmp_path):
    """La n-ième copie d'un fichier d'essais porte la n-ième réponse juste de chaque exercice, que check y nomme."""
    answers = right_answers(chapter)
    if not answers:
        pytest.skip("ce chapitre n'a pas de réponse écrite en fonction")
    asked: dict[str, dict[str, str]] = {}
    for path, exercise, name in answers:
        number = next(n for n in itertools.count() if exercise not in asked.get(f"{path.stem} {n}.ipynb", {}))
        asked.setdefault(f"{path.stem} {number}.ipynb", {})[exercise] = name
    (tmp_path / "copies").mkdir()
    for copy, names in asked.items():
        text = (HERE / f"{copy.split()[0]}.py").read_text(encoding="utf-8")
        cells = [text, *(f'check("{exercise}", {name})' for exercise, name in names.items())]
        book = {"cells": [klass.code(source) for source in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (tmp_path / "copies" / copy).write_text(json.dumps(book), encoding="utf-8")
    assert grade.grade(tmp_path / "copies", tmp_path / "notes.csv", chapter, LIMITS) == 0
    notes = read_notes(tmp_path / "notes.csv")
    lost = {name: notes[copy]["remarques"] for copy, names in asked.items() for e, name in names.items()
            if notes[copy][e] == "0"}  # fmt: skip
    assert not lost and sum(map(len, asked.values())) == len(answers)
