"""Le téléchargement : repris où il s'est coupé, vérifié avant de prendre son nom, jamais suspendu pour toujours."""

import hashlib
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from server import serving

from gan_course.engine import download
from gan_course.engine.download import Wanted, fetch

CONTENT = random.Random(0).randbytes(100_000)
HANDS = "À la main : prenez-le ailleurs."


@pytest.fixture
def served():
    with serving({"/a": CONTENT, "/b": CONTENT}) as server:
        yield server


def wanted(server, *paths, content=CONTENT, size=True, kind="md5"):
    urls = {path: server.url + path for path in paths or ("/a",)}
    return Wanted("jeu.bin", urls, hashlib.new(kind, content).hexdigest(), len(content) if size else None)


def cut_at(server, path, count):
    server.answers[path] = (CONTENT[:count], len(CONTENT))


def left(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_whole_file_takes_its_name(served, tmp_path, kind):
    file = wanted(served, kind=kind)
    fetch([file], tmp_path / "neuf", HANDS)
    assert (tmp_path / "neuf" / "jeu.bin").read_bytes() == CONTENT and left(tmp_path / "neuf") == ["jeu.bin"]
    fetch([file], tmp_path / "neuf", HANDS)
    assert served.asked == ["/a"]


def test_a_damaged_file_is_fetched_again(served, tmp_path):
    (tmp_path / "jeu.bin").write_bytes(CONTENT[:-1] + b"?")
    fetch([wanted(served)], tmp_path, HANDS)
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [True, False])
def test_a_cut_download_resumes(served, tmp_path, size):
    """Coupé à 90 %, il en redemande 10 %."""
    cut_at(served, "/a", 90_000)
    with pytest.raises(ConnectionError, match=r"(?s)coupé après 90,0 ko sur 100,0 ko.*reprendra là.*À la main"):
        fetch([wanted(served, size=size)], tmp_path, HANDS)
    assert left(tmp_path) == [f"jeu.bin.{wanted(served).digest[:8]}.partiel"]
    served.answers["/a"], served.sent = CONTENT, 0
    fetch([wanted(served, size=size)], tmp_path, HANDS)
    assert served.sent == 10_000 and left(tmp_path) == ["jeu.bin"]
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT


def test_another_source_goes_on_where_the_first_stopped(served, tmp_path):
    cut_at(served, "/a", 60_000)
    fetch([wanted(served, "/a", "/b")], tmp_path, HANDS)
    assert served.sent == 100_000 and (tmp_path / "jeu.bin").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_again(served, tmp_path):
    cut_at(served, "/a", 60_000)
    served.ranges = False
    fetch([wanted(served, "/a", "/b")], tmp_path, HANDS)
    assert served.sent == 160_000 and (tmp_path / "jeu.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"autre chose", CONTENT[:50_000] + b"?", CONTENT + b"trop", bytes(100_000)])
@pytest.mark.parametrize("size", [True, False])
def test_a_wrong_beginning_costs_one_more_download(served, tmp_path, kept, size):
    (tmp_path / f"jeu.bin.{wanted(served).digest[:8]}.partiel").write_bytes(kept)
    fetch([wanted(served, size=size)], tmp_path, HANDS)
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT and left(tmp_path) == ["jeu.bin"]


def test_a_whole_partial_needs_no_network(served, tmp_path):
    (tmp_path / f"jeu.bin.{wanted(served).digest[:8]}.partiel").write_bytes(CONTENT)
    fetch([wanted(served)], tmp_path, HANDS)
    assert not served.asked and left(tmp_path) == ["jeu.bin"]


def test_the_partial_of_another_file_is_not_taken(served, tmp_path):
    other = tmp_path / "jeu.bin.00000000.partiel"
    other.write_bytes(CONTENT[:50_000])
    fetch([wanted(served)], tmp_path, HANDS)
    assert served.sent == 100_000 and other.exists()


@pytest.mark.parametrize("page", [b"<html>Quota exceeded</html>", b"<html>" + bytes(60_000)])
def test_a_page_instead_of_the_file_does_not_cost_what_is_kept(served, tmp_path, page):
    cut_at(served, "/a", 90_000)
    served.answers["/b"], served.ranges = page, False
    with pytest.raises(ConnectionError, match=r"(?s)/a.: coupé.*/b.: .*(quota|HTML)"):
        fetch([wanted(served, "/a", "/b")], tmp_path, HANDS)
    served.answers["/b"] = b"x" * 500  # une autre page, qui ne se dit pas HTML
    with pytest.raises(ConnectionError, match="500 octets annoncés au lieu de"):
        fetch([wanted(served, "/b")], tmp_path, HANDS)
    assert next(tmp_path.glob("*.partiel")).stat().st_size == 90_000


def test_wrong_content_is_not_kept(served, tmp_path):
    served.answers["/a"] = CONTENT[:-1] + b"?"
    with pytest.raises(ConnectionError, match=r"contenu inattendu \(MD5 \w+, attendu \w+\)"):
        fetch([wanted(served)], tmp_path, HANDS)
    assert not list(tmp_path.iterdir())


def test_one_byte_at_a_time_does_not_last_for_ever(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WINDOW", 0.2)
    served.pause = 0.02
    with pytest.raises(ConnectionError, match="trop lent"):
        fetch([wanted(served)], tmp_path, HANDS)


def test_a_slow_start_is_kept_for_the_next_source(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    served.pause = 0.6  # muet dès le huitième octet
    with pytest.raises(ConnectionError, match="(?s)aucune réponse.*8 octets reçus"):
        fetch([wanted(served)], tmp_path, HANDS)
    served.pause = 0
    fetch([wanted(served, "/b")], tmp_path, HANDS)
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT


def abandoned(tmp_path, file, age, count=90_000):
    """Ce que laisse un processus tué il y a `age` secondes."""
    part = tmp_path / f"{file.name}.{file.digest[:8]}.0123abcd.tmp"
    part.write_bytes(CONTENT[:count])
    os.utime(part, (time.time() - age,) * 2)
    return part


def test_a_killed_download_is_resumed(served, tmp_path):
    abandoned(tmp_path, wanted(served), age=3_600)
    fetch([wanted(served)], tmp_path, HANDS)
    assert served.sent == 10_000 and left(tmp_path) == ["jeu.bin"]


def test_a_download_killed_just_now_is_waited_for_then_resumed(served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "ABANDONED", 0.3)
    monkeypatch.setattr(download, "POLL", 0.05)
    abandoned(tmp_path, wanted(served), age=0)
    fetch([wanted(served)], tmp_path, HANDS)
    assert served.sent == 10_000 and left(tmp_path) == ["jeu.bin"]
    assert "un autre processus" in capsys.readouterr().err


def test_what_another_process_brings_is_taken(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "POLL", 0.05)
    part = abandoned(tmp_path, wanted(served), age=0)
    threading.Timer(0.2, lambda: (part.write_bytes(CONTENT), part.rename(tmp_path / "jeu.bin"))).start()
    fetch([wanted(served)], tmp_path, HANDS)
    assert not served.asked and (tmp_path / "jeu.bin").read_bytes() == CONTENT


def test_two_processes_never_mix_their_bytes(served, tmp_path):
    program = f"""
from pathlib import Path
from gan_course.engine import download
download.POLL = 0.05
url, digest, size = {served.url + "/a"!r}, {wanted(served).digest!r}, {len(CONTENT)}
download.fetch([download.Wanted("jeu.bin", {{"ici": url}}, digest, size)], Path({str(tmp_path)!r}), "")
"""
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert left(tmp_path) == ["jeu.bin"] and (tmp_path / "jeu.bin").read_bytes() == CONTENT


def test_interruption_keeps_what_came(served, tmp_path, monkeypatch):
    copy = download._copy

    def interrupted(*arguments):
        copy(*arguments)
        raise KeyboardInterrupt

    cut_at(served, "/a", 90_000)
    monkeypatch.setattr(download, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch([wanted(served)], tmp_path, HANDS)
    (part,) = tmp_path.iterdir()
    assert part.suffix == ".partiel" and part.read_bytes() == CONTENT[:90_000]


def test_a_download_taken_by_another_process_is_said(served, tmp_path, monkeypatch):
    """Il hésite si longtemps à vérifier que l'autre le croit mort, et prend la suite."""
    whole = download._from_any_source

    def slow(file, mine, by_hand):
        whole(file, mine, by_hand)
        mine.rename(mine.with_suffix(".autre"))

    monkeypatch.setattr(download, "_from_any_source", slow)
    with pytest.raises(ConnectionError, match="un autre processus l'a pris en route. Recommencez"):
        fetch([wanted(served)], tmp_path, HANDS)
