"""Décoder dans d'autres processus : les mêmes images, les mêmes défauts, et rien d'autre de changé."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_course.data import decoding, files

linux = pytest.mark.skipif(sys.platform != "linux", reason="ailleurs, tout se décode dans le même processus")


@pytest.fixture
def listing(tmp_path):
    for i in range(2 * decoding.BLOCK + 3):
        Image.new("RGB", (20 + i % 3, 24), (i % 256, 255 - i % 256, 7)).save(tmp_path / f"{i:03d}.png")
    (tmp_path / "130.png").write_bytes(b"pas une image")
    (tmp_path / "131.png").write_bytes(b"")
    return files.list_images(tmp_path)


def decoded(path, listing):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        numbers = {"number": np.arange(len(listing.names))}
        blocks = list(decoding.decode_blocks(path, listing, 16, 3, numbers))
    images, sides = zip(*blocks)
    return np.concatenate(images), np.concatenate([side["number"] for side in sides]), str(said[-1].message)


@linux
@pytest.mark.parametrize("packed", (False, True))
def test_other_processes_decode_the_same_images(tmp_path, listing, monkeypatch, packed):
    if packed:
        tmp_path = Path(shutil.make_archive(tmp_path.parent / tmp_path.name, "zip", tmp_path))
        listing = files.list_images(tmp_path)
    alone = decoded(tmp_path, listing)
    monkeypatch.setattr(decoding, "FEW", 0)
    assert decoding._workers(len(listing.names)) > 0
    together = decoded(tmp_path, listing)
    assert len(alone[0]) == len(listing.names) - 2
    assert (alone[0] == together[0]).all() and (alone[1] == together[1]).all()
    assert 130 not in alone[1] and 131 not in alone[1] and alone[1][-1] == len(listing.names) - 1
    assert alone[2] == together[2]
    assert "2 image(s) sur" in alone[2] and "130.png (ce n'est pas" in alone[2] and "131.png (fichier vide)" in alone[2]


@linux
def test_a_killed_process_is_said_in_french(tmp_path, listing, monkeypatch):
    here = os.getpid()

    def killed(*_):
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(decoding, "FEW", 0)
    monkeypatch.setattr(decoding, "to_square", killed)
    with pytest.raises(RuntimeError, match="mémoire qui manque"):
        list(decoding.decode_blocks(tmp_path, listing, 16, 3))


@linux
def test_decoding_processes_die_with_the_one_that_waits(tmp_path, listing):
    program = f"""
import multiprocessing, os, signal
from pathlib import Path
from gan_course.data import decoding, files
decoding.FEW = 0
path = Path({str(tmp_path)!r})
blocks = decoding.decode_blocks(path, files.list_images(path), 64, 3)
next(blocks)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=120)
    workers = [int(word) for word in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL and workers
    deadline = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, workers))


def running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_large_images_do_not_wait_for_each_other(tmp_path, monkeypatch):
    for i in range(6):
        Image.effect_noise((900, 700), 60).convert("RGB").save(tmp_path / f"{i}.png")
    seen, resize = [], decoding.resize
    monkeypatch.setattr(decoding, "resize", lambda squares, size: seen.append(squares) or resize(squares, size))
    ((images, _),) = decoding.decode_blocks(tmp_path, files.list_images(tmp_path), 16, 3)
    assert max(sum(square.nbytes for square in squares) for squares in seen) == 700 * 700 * 3
    monkeypatch.setattr(decoding, "LARGE", 2**30)
    ((together, _),) = decoding.decode_blocks(tmp_path, files.list_images(tmp_path), 16, 3)
    assert len(seen[-1]) == 6 and (images == together).all()


def test_blocks_of_large_results_are_shorter(tmp_path, monkeypatch):
    for i in range(3):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 2 * 8 * 8)
    blocks = decoding.decode_blocks(tmp_path, files.list_images(tmp_path), 8, 1)
    assert [len(images) for images, _ in blocks] == [2, 1]


@pytest.mark.parametrize("few", (0, 1000))
def test_decoding_leaves_the_random_generator_alone(tmp_path, listing, monkeypatch, few):
    monkeypatch.setattr(decoding, "FEW", few)
    before = torch.random.get_rng_state()
    decoded(tmp_path, listing)
    assert (torch.random.get_rng_state() == before).all()
