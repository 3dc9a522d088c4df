"""Une classe entière, notée juste : personne ne perd par accident, personne ne gagne par ruse."""

import csv
import html
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import class_of_copies as klass
import pytest

from gan_course import __main__ as cli
from gan_course.tools.grading import copies, feedback, grade, slices, subject, trial

POINTS = {"one_hot_planes": 1, "projection_score": 2, "class_grid_inputs": 1, "conditional_accuracy": 2}
LIMITS = trial.Limits(seconds=2, memory=600)
posix = pytest.mark.skipif(os.name != "posix", reason="les signaux d'un terminal POSIX")


def read_notes(path) -> dict[str, dict[str, str]]:
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")  # sans cette marque, Excel lit les accents de travers
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";")
    return {row["copie"].removeprefix("'"): row for row in rows}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """La classe, notée une fois : (dossier des retours, notes, ce qui est attendu)."""
    home = tmp_path_factory.mktemp("classe")
    outside = home / klass.OUTSIDE
    (home / f"{klass.OUTSIDE}.là").write_text("à garder", encoding="utf-8")
    expected = klass.build(home / "copies", outside)
    start = time.perf_counter()
    assert grade.grade(home / "copies", home / "notes.csv", "03", LIMITS) == 0
    print(f"{len(expected)} copies en {time.perf_counter() - start:.0f} s")
    return home, read_notes(home / "notes.csv"), expected


@pytest.mark.lent
def test_every_file_has_its_row(graded):
    _, notes, expected = graded
    assert set(notes) == set(expected) and len(expected) >= 50


@pytest.mark.lent
@pytest.mark.parametrize("name", [*klass.COPIES, *klass.FILES])
def test_each_copy_gets_what_it_deserves(graded, name):
    home, notes, expected = graded
    (path,) = [path for path in expected if path.rpartition("/")[2] in (name, f"{name}.ipynb")]
    row, worth = notes[path], expected[path]
    earned = {exercise: int(row[exercise]) for exercise in POINTS}
    assert earned == {e: points if e in worth.earned else 0 for e, points in POINTS.items()}, row
    assert int(row["total"]) == sum(earned.values()) and row["sur"] == "6"
    page = html.unescape((home / "retours" / f"{path}.html").read_text(encoding="utf-8"))
    assert worth.word in page, page
    assert json.loads((home / "retours" / f"{path}.json").read_text(encoding="utf-8"))["key"]


@pytest.mark.lent
def test_nothing_was_written_outside_nor_told(graded):
    home, _, _ = graded
    page = (home / "retours" / "variables d'environnement.ipynb.html").read_text(encoding="utf-8")
    assert "TMPDIR" in page and "PYTEST" not in page and "PATH" not in page
    assert not (home / klass.OUTSIDE).exists() or not sys.platform.startswith("linux")
    assert (home / f"{klass.OUTSIDE}.là").exists()


@pytest.mark.lent
def test_what_is_graded_is_not_graded_again(graded, capsys):
    home, notes, expected = graded
    target = home / "copies" / "vide.ipynb"
    before = target.read_bytes()
    target.write_bytes((home / "copies" / "parfaite.ipynb").read_bytes())
    try:
        assert grade.grade(home / "copies", home / "notes.csv", "03", LIMITS) == 0
        out = capsys.readouterr().out
        assert f"Déjà notées : {len(expected) - 1} copies" in out and out.count("] ") == 1
        changed = read_notes(home / "notes.csv")
        assert changed.pop("vide.ipynb")["total"] == "6"
        assert changed == {name: row for name, row in notes.items() if name != "vide.ipynb"}
    finally:
        target.write_bytes(before)


@pytest.mark.lent
def test_what_no_copy_should_have_stops_nobody(tmp_path, monkeypatch, capsys):
    """Un nom trop long, un dossier qui porte le nom d'un retour, un fichier démesuré, un résultat sans forme."""
    folder, book = tmp_path / "copies", json.dumps(klass.notebook())
    for name in ("a", "n" * 245, "b.ipynb.html/c", "b", "forgée"):
        (folder / f"{name}.ipynb").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.ipynb").write_text(book, encoding="utf-8")
    with open(folder / "énorme.ipynb", "wb") as file:
        file.truncate(copies.MAX_BYTES + 1)
    answer_of = grade.answer_of
    forged = {"exercises": {"one_hot_planes": {"outcomes": [[1]]}}, "remarks": []}
    monkeypatch.setattr(grade, "answer_of", lambda work, late: forged if "forg" in work.name else answer_of(work, late))
    assert grade.grade(folder, tmp_path / "notes.csv", "03", LIMITS) == 0
    assert "sans retour : renommez cette copie" in capsys.readouterr().out
    totals = {name[:3]: row["total"] for name, row in read_notes(tmp_path / "notes.csv").items()}
    assert totals == {"a.i": "6", "nnn": "6", "b.i": "6", "for": "0", "éno": "0"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Landlock est de Linux")
def test_a_closed_process_runs_no_program(tmp_path):
    from gan_course.tools.grading import sandbox

    def runs() -> None:
        if not sandbox.close_files(sandbox.readable_folders(), str(tmp_path)):
            os._exit(77)
        os.execv("/usr/bin/env", ["env", "true"])

    process = multiprocessing.get_context("fork").Process(target=runs)
    process.start()
    process.join()
    if process.exitcode == 77:
        pytest.skip("ce noyau n'a pas Landlock")
    assert process.exitcode == 1  # PermissionError


def command(folder, out):
    words = [sys.executable, "-m", "gan_course", "grade", str(folder), "--out", str(out), "--chapitre", "3",
             "--limite", "30", "--processus", "1"]  # fmt: skip
    return subprocess.Popen(words, cwd=klass.ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8")


@pytest.mark.lent
@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "tué"])
def test_stopped_then_started_again(tmp_path, number, capsys):
    folder, out = tmp_path / "copies", tmp_path / "notes.csv"
    folder.mkdir()
    for name, book in (("a", klass.notebook()), ("b", klass.with_body("while True:\n    pass"))):
        (folder / f"{name}.ipynb").write_text(json.dumps(book), encoding="utf-8")
    process = command(folder, out)
    assert "[1/2] a.ipynb" in process.stdout.readline()
    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]
    if number == signal.SIGINT:
        assert process.returncode == 130 and "Relancez la même commande" in rest
        notes = read_notes(out)
        assert notes["a.ipynb"]["total"] == "6" and notes["b.ipynb"]["remarques"] == "pas encore notée"
    (folder / "b.ipynb").write_text(json.dumps(klass.notebook(solved=False)), encoding="utf-8")
    assert cli.main(["grade", str(folder), "--out", str(out), "--chapitre", "3", "--limite", "30"]) == 0
    rest = capsys.readouterr().out
    assert "Déjà notées : 1 copies sur 2" in rest and "a.ipynb" not in rest
    assert {name: row["total"] for name, row in read_notes(out).items()} == {"a.ipynb": "6", "b.ipynb": "0"}
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("master", sorted(klass.MASTER.parent.glob("[0-9][0-9]_*.ipynb")), ids=lambda path: path.stem)
def test_the_solutions_of_every_chapter_earn_every_point(master, tmp_path):
    from gan_course.tools import solutions
    from gan_course.tools.notebook import read_notebook

    folder = tmp_path / "copies"
    folder.mkdir()
    solved = solutions.to_solved(read_notebook(master), master.name)
    (folder / "corrigé.ipynb").write_text(json.dumps(solved), encoding="utf-8")
    assert grade.grade(folder, tmp_path / "notes.csv", master.name[:2]) == 0
    row = read_notes(tmp_path / "notes.csv")["corrigé.ipynb"]
    assert row["total"] == row["sur"] != "0" and row["remarques"] == "", row


def test_helpful_refusals(tmp_path, capsys):
    assert cli.main(["grade", str(tmp_path / "absent")]) == 1
    assert "Aucun dossier de copies" in capsys.readouterr().err
    assert cli.main(["grade", str(tmp_path), "--chapitre", "03"]) == 1
    assert "Aucune copie" in capsys.readouterr().err
    assert cli.main(["grade", str(tmp_path), "--limite", "-1"]) == 1
    assert "--limite attend un nombre positif" in capsys.readouterr().err


def test_files_of_tools_are_not_copies(tmp_path):
    tools = ".DS_Store notes.csv retours/a.ipynb.json .ipynb_checkpoints/a.ipynb __MACOSX/a"
    for name in [*tools.split(), "a.ipynb"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert grade.list_copies(tmp_path, tmp_path / "notes.csv") == ["a.ipynb"]


@posix
def test_a_link_is_not_a_copy(tmp_path):
    (tmp_path / "lien.ipynb").symlink_to(klass.MASTER)
    with pytest.raises(copies.UnreadableCopy, match="lien"):
        copies.read_cells(tmp_path / "lien.ipynb")


def test_a_hostile_copy_does_not_write_html():
    chapter = subject.Subject("Essai", [subject.Question("a", "a", 1, frozenset())], slices.Program())
    done = trial.lost("<script>1</script>") | {"outcomes": [["é", False, "<b>\x1b[2J", "\ud800"]]}
    page = feedback.page("<i>.ipynb", {"exercises": {"a": done}, "remarks": ["</p>"]}, chapter)
    assert "<script>" not in page and "<b>" not in page and "<i>" not in page and "\x1b" not in page
    page.encode("utf-8")


def names(code: str, answer: str = "f") -> list[str]:
    """Ce que la tranche de `answer` exécute, instruction par instruction."""
    import ast

    program = slices.read_program(code.split("\n---\n"))
    cut = slices.cut(program, slices.candidates(program, [answer])[0], slices.Program(), [answer])
    return [ast.unparse(statement.node).splitlines()[0] for _, statement in cut]


def test_a_slice_takes_what_the_answer_needs_and_nothing_else():
    code = "import torch\nimport os\nx = load()\n---\nK = 3\nfor i in x:\n    K += i\nprint(K)\n---\n"
    assert names(code + "def f(x):\n    return torch.ones(K) + x") == ["import torch", "K = 3", "def f(x):"]
    assert names("torch.allclose = 1\na = torch.b = 2\ndef f():\n    return a") == ["def f():"]
    assert names("try:\n    import a\n    a.b = 1\nexcept ImportError:\n    a = None\nf = a") == ["try:", "f = a"]
    assert names("f = {}\nf['a'] = 1\nf['b'] = f['a']") == ["f = {}", "f['a'] = 1", "f['b'] = f['a']"]
    assert names("def f():\n    return 1\ndef f():\n    raise NotImplementedError") == ["def f():"]
    classy = "K = 1\nif K:\n    print(K)\nclass A:\n    k = K\ndef f(a: A):\n    return a"
    assert names(classy) == ["K = 1", "class A:", "def f(a: A):"]
