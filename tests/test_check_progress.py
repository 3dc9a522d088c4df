"""La progression : gardée à chaque essai, retrouvée partout ; progress_report en fait une image et un fichier."""

import errno
import importlib
import json
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gan_course import __version__
from gan_course.engine.files import lock
from gan_course.exercises import (
    CHAPTERS,
    EXERCISES,
    check,
    find,
    hint,
    progress,
    progress_report,
    progress_summary,
)
from gan_course.exercises.progress import Entry, draw
from gan_course.exercises.report import examine

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Le fichier où la progression se garde ; le dossier courant est un autre, vide."""
    path = tmp_path / "données" / "progression.json"
    (tmp_path / "carnets").mkdir()
    monkeypatch.chdir(tmp_path / "carnets")
    monkeypatch.setenv("GAN_COURSE_PROGRESS", str(path))
    new_session()
    yield path
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


def start(code):
    """Un autre processus, qui a déjà importé progress."""
    program = "from gan_course.exercises import progress\n" + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


# --- gardée aussitôt ---------------------------------------------------------------------------------------------


def test_each_check_is_kept_at_once(kept):
    check("optimal_discriminator", lambda p, q: p)
    assert not read(kept)[1]["optimal_discriminator"]["passed"]
    check("optimal_discriminator", right)
    assert read(kept)[1]["optimal_discriminator"]["passed"]
    check("optimal_discriminator", lambda p, q: q)  # une réussite reste acquise
    hint("emd_1d")
    content, done = read(kept)
    assert content["version"] == __version__
    entry = done["optimal_discriminator"]
    assert entry["tried"] and entry["passed"] and entry["tries"] == 3
    assert datetime.fromisoformat(entry["first"]) <= datetime.fromisoformat(entry["last"])
    assert not done["emd_1d"]["tried"] and done["emd_1d"]["hints"] >= 1 and done["emd_1d"]["first"] == ""
    assert sorted(path.name for path in kept.parent.iterdir()) == ["progression.json", "progression.json.lock"]
    assert not list(Path.cwd().iterdir()), "rien à côté du carnet"


def test_an_unwritten_answer_writes_nothing(kept):
    check("slerp", unwritten)
    check("training_curves", ...)
    assert not kept.parent.exists()


def test_grading_keeps_nothing(kept):
    assert examine(find("optimal_discriminator"), right).passed
    assert not kept.parent.exists() and progress.load() == {}


def test_a_restarted_kernel_finds_it_again(kept):
    check("optimal_discriminator", right)
    first = read(kept)[1]["optimal_discriminator"]
    new_session()
    check("optimal_discriminator", lambda p, q: p)
    again = read(kept)[1]["optimal_discriminator"]
    assert again["tries"] == 2 and again["passed"] and again["first"] == first["first"]
    new_session()
    assert progress.load()["optimal_discriminator"].passed


def test_a_lost_file_loses_nothing_of_the_session(kept):
    check("optimal_discriminator", right)
    kept.unlink()
    hint("emd_1d")
    assert read(kept)[1]["optimal_discriminator"]["passed"]


# --- où ----------------------------------------------------------------------------------------------------------


def test_it_lives_in_the_data_folder_and_on_a_mounted_drive(tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_COURSE_PROGRESS")
    monkeypatch.delenv("GAN_COURSE_STATIC", raising=False)
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "local"))
    monkeypatch.setattr(progress, "DRIVE", tmp_path / "MyDrive")
    check("optimal_discriminator", right)
    assert read(tmp_path / "local" / "progression.json")[1]["optimal_discriminator"]["passed"]
    new_session()
    (tmp_path / "MyDrive").mkdir()
    monkeypatch.setattr(progress, "DRIVE", tmp_path / "MyDrive")
    hint("emd_1d")
    on_drive = read(tmp_path / "MyDrive" / "gan_course" / "progression.json")[1]
    assert on_drive["emd_1d"]["hints"] and on_drive["optimal_discriminator"]["passed"], "ce qui précédait suit"


def test_a_printed_page_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_COURSE_PROGRESS")
    monkeypatch.setenv("GAN_COURSE_STATIC", "1")
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "local"))
    check("optimal_discriminator", right)
    assert not (tmp_path / "local").exists()
    assert progress_summary("01").startswith("Chapitre 01 : 1 exercice réussi sur"), "la page, elle, le sait"


# --- malgré tout -------------------------------------------------------------------------------------------------


def test_a_refused_folder_is_told_once_and_costs_nothing(kept, monkeypatch, capsys):
    real = open

    def refused(path, *arguments, **named):  # en root, chmod n'empêche rien : on simule le refus
        if str(path).startswith(str(kept.parent)):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refused)
        assert check("optimal_discriminator", right).passed
        assert check("optimal_discriminator", right).passed
        assert progress_summary("01").startswith("Chapitre 01 : 1 exercice réussi")
    assert capsys.readouterr().out.count("n'a pas pu être écrit (Permission denied)") == 1
    hint("emd_1d")  # le dossier s'ouvre : rien n'avait été oublié
    assert read(kept)[1]["optimal_discriminator"]["tries"] == 2


def test_a_folder_that_cannot_exist_is_told_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "fichier").touch()
    monkeypatch.setenv("GAN_COURSE_PROGRESS", str(tmp_path / "fichier" / "progression.json"))
    check("optimal_discriminator", right)
    hint("emd_1d")
    assert capsys.readouterr().out.count("n'a pas pu être écrit") == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "name": "", "exercises": {}}', "\udcff",
                                  '{"format": 1, "name": "", "exercises": {"slerp": {"passed": "oui"}}}'])  # fmt: skip
def test_an_unreadable_file_is_kept_aside(kept, text, capsys):
    kept.parent.mkdir()
    kept.write_bytes(text.encode("utf-8", "surrogateescape"))
    check("optimal_discriminator", right)
    assert "illisible" in capsys.readouterr().out
    (aside,) = kept.parent.glob("progression.illisible-*.json")
    assert aside.read_bytes() == text.encode("utf-8", "surrogateescape")
    assert read(kept)[1]["optimal_discriminator"]["passed"]


@pytest.mark.lent
def test_killed_while_writing_loses_nothing(kept):
    process = start("""
        import os, time
        progress.record_answer("avant", True)
        fsync = os.fsync
        def stop(descriptor):
            fsync(descriptor)
            print("écrit, pas encore renommé", flush=True)
            time.sleep(60)
        os.fsync = stop
        progress.record_answer("pendant", True)
    """)
    assert process.stdout.readline(), "arrivé au milieu de l'écriture"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert list(read(kept)[1]) == ["avant"]
    progress.record_answer("après", True)  # et le verrou du mort ne retient personne
    assert set(read(kept)[1]) == {"avant", "après"}


@pytest.mark.lent
def test_two_processes_do_not_erase_one_another(kept):
    progress.record_answer("ici", True)
    with open(kept.with_name("progression.json.lock"), "ab") as witness:
        assert lock(witness)
        process = start("""
            print("prêt", flush=True)
            progress.record_answer("là-bas", True)
        """)
        assert process.stdout.readline()
        time.sleep(1)  # il a lu le fichier, et attend son tour
        content, done = read(kept)
        assert "là-bas" not in done
        kept.write_text(json.dumps(content | {"exercises": done | {"entre-temps": done["ici"]}}), encoding="utf-8")
    assert process.wait(timeout=60) == 0
    assert set(read(kept)[1]) == {"ici", "là-bas", "entre-temps"}


# --- montrée -----------------------------------------------------------------------------------------------------


def test_the_report_works_anywhere_and_copies_what_is_known(kept, tmp_path, capsys):
    check("optimal_discriminator", right)
    new_session()
    assert isinstance(progress_report(name="Zoé Dupont"), Figure)
    assert f"« {kept} »" in capsys.readouterr().out
    assert read(kept)[0]["name"] == "Zoé Dupont"
    progress_report("à_rendre.json", name="Zoé Dupont")
    content, done = read(tmp_path / "carnets" / "à_rendre.json")
    assert content["name"] == "Zoé Dupont" and done["optimal_discriminator"]["passed"]
    check("optimal_discriminator", right)
    assert read(kept)[0]["name"] == "Zoé Dupont", "le nom reste"


def test_a_copy_brought_back_adds_up(kept):
    check("optimal_discriminator", right)
    progress_report("copie.json")
    kept.unlink()  # une autre machine, sans Drive
    new_session()
    hint("emd_1d")
    progress_report("copie.json")
    done = read(kept)[1]
    assert done["optimal_discriminator"]["tries"] == 1 and done["optimal_discriminator"]["passed"]
    assert done["emd_1d"]["hints"] and read(Path("copie.json"))[1] == done


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    check("optimal_discriminator", right)
    for _ in range(2):
        assert isinstance(progress_report(tmp_path / "absent" / "moi.json"), Figure)
    assert capsys.readouterr().out.count("moi.json » n'a pas pu être écrit") == 2


def test_a_chapter_in_one_line():
    assert progress_summary("04") == "Chapitre 04 : rien encore"
    check("emd_1d", lambda p, q, positions: p)
    assert progress_summary("04") == "Chapitre 04 : 0 exercice réussi sur 4, questions : 0 sur 5"
    progress.record_answer("quiz_04_earth_mover", True)
    assert progress_summary("04") == "Chapitre 04 : 0 exercice réussi sur 4, questions : 1 sur 5"
    with pytest.raises(ValueError, match="'4'.*'01', '02'"):
        progress_summary("4")


def test_the_picture_shows_every_exercise():
    entries = {"slerp": Entry(True, 2), "emd_1d": Entry(False, 1), "inconnu": Entry(True, 1), "q1": Entry(True, 1)}
    figure = draw(CHAPTERS, entries, lambda chapter: ["q1", "q2"] if chapter == "01" else [])
    (ax,) = figure.axes
    assert ax.get_title() == f"1 exercice réussi sur {len(EXERCISES)}"
    texts = [text.get_text() for text in ax.texts]
    assert sum(text.startswith("Chapitre") for text in texts) == len(CHAPTERS)
    assert "Chapitre 01\nquestions : 1 sur 2" in texts
    assert {text.replace("\n", "") for text in texts} >= set(EXERCISES)
    assert texts.count("✓") >= 1 and texts.count("…") >= 1
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["réussi", "essayé", "pas encore essayé"]
