"""progress_report : une image, et un fichier que l'on peut rendre."""

import importlib
import json
from datetime import datetime

import pytest
from matplotlib.figure import Figure

from gan_course import __version__
from gan_course.exercises import CHAPTERS, EXERCISES, check, hint, progress, progress_report
from gan_course.exercises.progress import Entry, draw


@pytest.fixture(autouse=True)
def fresh_session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_session()
    yield
    new_session()


def new_session():
    importlib.reload(progress)


def right(p, q):
    return p / (p + q)


def unwritten(*arguments):
    raise NotImplementedError


def read(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    return content, content["exercises"]


def test_the_file_says_what_happened(tmp_path):
    check("optimal_discriminator", lambda p, q: p)
    check("optimal_discriminator", right)
    check("optimal_discriminator", lambda p, q: q)  # une réussite reste acquise
    check("slerp", unwritten)
    hint("emd_1d")
    assert isinstance(progress_report(name="Zoé Dupont"), Figure)
    content, done = read(tmp_path / "progression.json")
    assert (content["name"], content["version"]) == ("Zoé Dupont", __version__)
    entry = done["optimal_discriminator"]
    assert entry["tried"] and entry["passed"] and entry["tries"] == 3
    assert datetime.fromisoformat(entry["first"]) <= datetime.fromisoformat(entry["last"])
    assert "slerp" not in done
    assert not done["emd_1d"]["tried"] and done["emd_1d"]["hints"] >= 1 and done["emd_1d"]["first"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["progression.json"]


def test_sessions_add_up_and_reports_do_not_count_twice(tmp_path):
    path = tmp_path / "moi.json"
    check("optimal_discriminator", lambda p, q: p)
    progress_report(path, name="Zoé")
    progress_report(path)
    first = read(path)[1]["optimal_discriminator"]
    new_session()  # Colab a redémarré
    check("optimal_discriminator", right)
    progress_report(str(path))
    content, done = read(path)
    assert content["name"] == "Zoé"
    assert done["optimal_discriminator"]["tries"] == 2 and done["optimal_discriminator"]["passed"]
    assert done["optimal_discriminator"]["first"] == first["first"]


def test_a_lost_file_loses_nothing_of_the_session(tmp_path):
    check("optimal_discriminator", right)
    progress_report()
    (tmp_path / "progression.json").unlink()
    progress_report()
    assert read(tmp_path / "progression.json")[1]["optimal_discriminator"]["passed"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "name": "", "exercises": {}}', "\udcff",
                                  '{"format": 1, "name": "", "exercises": {"slerp": {"passed": "oui"}}}'])  # fmt: skip
def test_an_unreadable_file_is_kept_aside(tmp_path, text, capsys):
    (tmp_path / "progression.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    check("optimal_discriminator", right)
    progress_report()
    assert "illisible" in capsys.readouterr().out
    (aside,) = tmp_path.glob("progression.illisible-*.json")
    assert aside.read_bytes() == text.encode("utf-8", "surrogateescape")
    assert read(tmp_path / "progression.json")[1]["optimal_discriminator"]["passed"]


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    check("optimal_discriminator", right)
    assert isinstance(progress_report(tmp_path / "absent" / "moi.json"), Figure)
    assert "n'a pas pu être écrit" in capsys.readouterr().out
    progress_report()
    assert read(tmp_path / "progression.json")[1]["optimal_discriminator"]["passed"]


def test_the_picture_shows_every_exercise():
    figure = draw(CHAPTERS, {"slerp": Entry(True, 2), "emd_1d": Entry(False, 1), "inconnu": Entry(True, 1)})
    (ax,) = figure.axes
    assert ax.get_title() == f"1 exercice réussi sur {len(EXERCISES)}"
    texts = [text.get_text() for text in ax.texts]
    assert sum(text.startswith("Chapitre") for text in texts) == len(CHAPTERS)
    assert {text.replace("\n", "") for text in texts} >= set(EXERCISES)
    assert texts.count("✓") >= 1 and texts.count("…") >= 1
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["réussi", "essayé", "pas encore essayé"]
