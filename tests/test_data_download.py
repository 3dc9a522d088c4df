"""Le téléchargement : repris où il s'est coupé, vérifié avant de prendre son nom, jamais suspendu pour toujours."""

import hashlib
import random
import subprocess
import sys
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


def kept(folder):
    return (folder / "jeu.bin.partiel").stat().st_size


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
    assert not (tmp_path / "jeu.bin").exists()
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
    (tmp_path / "jeu.bin.partiel").write_bytes(kept)
    fetch([wanted(served, size=size)], tmp_path, HANDS)
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT and left(tmp_path) == ["jeu.bin"]


def test_a_whole_partial_needs_no_network(served, tmp_path):
    (tmp_path / "jeu.bin.partiel").write_bytes(CONTENT)
    fetch([wanted(served)], tmp_path, HANDS)
    assert not served.asked and left(tmp_path) == ["jeu.bin"]


@pytest.mark.parametrize("page", [b"<html>Quota exceeded</html>", b"<html>" + bytes(60_000)])
def test_a_page_instead_of_the_file_does_not_cost_what_is_kept(served, tmp_path, page):
    cut_at(served, "/a", 90_000)
    served.answers["/b"], served.ranges = page, False
    with pytest.raises(ConnectionError, match=r"(?s)/a.: coupé.*/b.: .*(quota|HTML)"):
        fetch([wanted(served, "/a", "/b")], tmp_path, HANDS)
    served.answers["/b"] = b"x" * 500  # une autre page, qui ne se dit pas HTML
    with pytest.raises(ConnectionError, match="500 octets annoncés au lieu de"):
        fetch([wanted(served, "/b")], tmp_path, HANDS)
    assert kept(tmp_path) == 90_000


def test_wrong_content_is_not_kept(served, tmp_path):
    served.answers["/a"] = CONTENT[:-1] + b"?"
    with pytest.raises(ConnectionError, match=r"contenu inattendu \(MD5 \w+, attendu \w+\)"):
        fetch([wanted(served)], tmp_path, HANDS)
    assert kept(tmp_path) == 0 and not (tmp_path / "jeu.bin").exists()


def test_one_byte_at_a_time_does_not_last_for_ever(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    served.answers["/a"], served.pause = CONTENT[:200], 0.02
    with pytest.raises(ConnectionError, match="trop lent"):
        fetch([wanted(served, content=CONTENT[:200])], tmp_path, HANDS)


def test_a_slow_start_is_kept_for_the_next_source(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    served.pause = 0.6  # muet dès le huitième octet
    with pytest.raises(ConnectionError, match="(?s)aucune réponse.*8 octets reçus"):
        fetch([wanted(served)], tmp_path, HANDS)
    served.pause = 0
    fetch([wanted(served, "/b")], tmp_path, HANDS)
    assert (tmp_path / "jeu.bin").read_bytes() == CONTENT


def another_process(server, folder, content=CONTENT):
    """Un autre processus, qui télécharge le même fichier."""
    file = wanted(server, content=content)
    program = f"""
from pathlib import Path
from gan_course.engine.download import Wanted, fetch
fetch([Wanted({file.name!r}, {file.urls!r}, {file.digest!r}, {file.size})], Path({str(folder)!r}), "")
"""
    return subprocess.Popen([sys.executable, "-c", program])


def test_a_killed_process_lets_the_next_one_resume(served, tmp_path, monkeypatch, capsys):
    """Le premier, à qui la suite n'arrive pas, tient la place ; tué, il ne range rien et la rend."""
    monkeypatch.setattr(download, "POLL", 0.01)
    content, lock, saved = CONTENT * 10, download.lock, []
    served.answers["/a"] = (content[:900_000], len(content))
    served.hold.clear()
    first = another_process(served, tmp_path, content)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ((tmp_path / "jeu.bin.partiel").exists() and kept(tmp_path) > 500_000):
        time.sleep(0.01)

    def killing(file):
        if (taken := lock(file)) is False and not saved:
            first.kill()
            first.wait(60)
            saved.append(kept(tmp_path))
            served.answers["/a"], served.sent = content, 0
            served.hold.set()
        return taken

    monkeypatch.setattr(download, "lock", killing)
    fetch([wanted(served, content=content)], tmp_path, HANDS)
    assert "un autre processus le télécharge" in capsys.readouterr().err
    assert served.sent == len(content) - saved[0] and left(tmp_path) == ["jeu.bin"]
    assert (tmp_path / "jeu.bin").read_bytes() == content


def test_processes_never_mix_their_bytes_and_ask_once(served, tmp_path):
    running = [another_process(served, tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert served.asked == ["/a"]
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
    assert (tmp_path / "jeu.bin.partiel").read_bytes() == CONTENT[:90_000]
