"""Décoder dans d'autres processus : les mêmes images, les mêmes défauts, et rien d'autre de changé."""

import errno
import multiprocessing
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

from gan_course.data import cache, decoding, folders, load_images

linux = pytest.mark.skipif(sys.platform != "linux", reason="ailleurs, tout se décode dans le même processus")


@pytest.fixture
def listing(tmp_path):
    for i in range(2 * decoding.BLOCK + 3):
        Image.new("RGB", (20 + i % 3, 24), (i % 256, 255 - i % 256, 7)).save(tmp_path / f"{i:03d}.png")
    (tmp_path / "130.png").write_bytes(b"pas une image")
    (tmp_path / "131.png").write_bytes(b"")
    return folders.list_images(tmp_path)


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
        listing = folders.list_images(tmp_path)
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
    """Celui qui reste est arrêté, même si un carnet garde l'erreur, et tout ce qu'elle tient."""
    to_pixels = decoding.to_pixels

    def first_is_killed(*arguments):
        try:
            (tmp_path / "premier").touch(exist_ok=False)
        except FileExistsError:
            return to_pixels(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(decoding, "FEW", 0)
    monkeypatch.setattr(decoding, "_workers", lambda count: 2)
    monkeypatch.setattr(decoding, "to_pixels", first_is_killed)
    with pytest.raises(RuntimeError, match="mémoire qui manque") as kept:
        list(decoding.decode_blocks(tmp_path, listing, 16, 3))
    assert kept and not multiprocessing.active_children()


@linux
@pytest.mark.lent
def test_another_thread_that_draws_numbers_does_not_hang_decoding(tmp_path, listing):
    """Un entraînement dans un autre fil tient, au moment du fork, le verrou du générateur de torch."""
    program = f"""
import threading, torch
from pathlib import Path
from gan_course.data import decoding, folders
decoding.FEW = 0
room = torch.empty(4_000_000)
for _ in range(2):
    threading.Thread(target=lambda: [room.normal_() for _ in range(10**9)], daemon=True).start()
path = Path({str(tmp_path)!r})
for _ in range(3):
    print(sum(len(images) for images, _ in decoding.decode_blocks(path, folders.list_images(path), 16, 3)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(len(listing.names) - 2)] * 3, done.stderr


@linux
@pytest.mark.lent
def test_decoding_processes_die_with_the_one_that_waits(tmp_path, listing):
    program = f"""
import multiprocessing, os, signal
from pathlib import Path
from gan_course.data import cache, decoding, folders, load_images
decoding.FEW = 0
path = Path({str(tmp_path)!r})
blocks = decoding.decode_blocks(path, folders.list_images(path), 64, 3)
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


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
def test_large_images_are_reduced_before_anything_else(tmp_path, monkeypatch, mode):
    """Une grande photographie ne doit exister en entier qu'une fois ; les pixels sont les mêmes, à peu près."""
    image = Image.radial_gradient("L").resize((900, 700)).convert("RGB")
    image.paste((200, 30, 30), (300, 100, 600, 300))
    suffix = "tif" if mode == "CMYK" else "png"
    image.convert(mode).save(tmp_path / f"a.{suffix}")
    kept, resize = [], decoding.resize
    monkeypatch.setattr(decoding, "resize", lambda images, *options: kept.extend(images) or resize(images, *options))
    ((images, _),) = decoding.decode_blocks(tmp_path, folders.list_images(tmp_path), 16, 3)
    assert kept[0].size < 3 * (3 * 16) ** 2
    whole = np.array(image.convert(mode).convert("RGB").crop((100, 0, 800, 700)))
    expected = resize([whole], 16)
    assert np.abs(images.astype(int) - expected).max() < 20 and np.abs(images.astype(int) - expected).mean() < 1.5


def test_blocks_of_large_results_are_shorter(tmp_path, monkeypatch):
    for i in range(3):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 2 * 8 * 8)
    blocks = decoding.decode_blocks(tmp_path, folders.list_images(tmp_path), 8, 1)
    assert [len(images) for images, _ in blocks] == [2, 1]


@pytest.mark.parametrize("few", (0, 1000))
def test_a_passing_failure_is_not_kept(tmp_path, listing, monkeypatch, few):
    """Un disque qui ne répond plus n'est pas une image abîmée : sans quoi le jeu resterait incomplet, en silence."""
    monkeypatch.setattr(decoding, "FEW", few)
    read = Path.read_bytes

    def failing(path):
        if path.name == "007.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match="007.png.* interrompue"):
        load_images(tmp_path, size=8, root=tmp_path / "root")
    assert not list((tmp_path / "root" / "cache").iterdir())


@linux
def test_without_processes_to_start_this_one_decodes(tmp_path, listing, monkeypatch):
    alone = decoded(tmp_path, listing)
    monkeypatch.setattr(decoding, "FEW", 0)
    monkeypatch.setattr(os, "fork", lambda: (_ for _ in ()).throw(BlockingIOError(errno.EAGAIN, "Resource")))
    assert (decoded(tmp_path, listing)[0] == alone[0]).all()


@linux
def test_an_error_leaves_no_process_behind(tmp_path, listing, monkeypatch):
    monkeypatch.setattr(decoding, "FEW", 0)
    monkeypatch.setattr(cache, "announce", interrupted)
    try:
        load_images(tmp_path, size=16, root=tmp_path / "root")
    except KeyboardInterrupt as error:
        kept = error  # un carnet garde la dernière erreur, et tout ce qu'elle tient
    assert kept and not multiprocessing.active_children()
    assert not list((tmp_path / "root" / "cache").iterdir())


def interrupted(blocks, line):
    yield next(blocks)
    assert multiprocessing.active_children()
    raise KeyboardInterrupt


def test_unreadable_metadata_do_not_cost_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "a.png", exif=b"zzzz" + exif.tobytes())
    assert len(load_images(tmp_path, size=8, root=tmp_path / "root")) == 1


@pytest.mark.parametrize(
    "mode, values, expected", [("I;16", [0, 257, 65_535], [0, 1, 255]), ("F", [0, 0.5, 1], [0, 128, 255])]
)
def test_deep_images_are_brought_to_bytes(mode, values, expected):
    column = np.array(values * 200, np.uint16 if mode == "I;16" else np.float32)[:, None]  # plusieurs bandes
    assert decoding._to_bytes(column, mode)[:, 0].tolist() == expected * 200


@pytest.mark.parametrize("few", (0, 1000))
def test_decoding_leaves_the_random_generator_alone(tmp_path, listing, monkeypatch, few):
    monkeypatch.setattr(decoding, "FEW", few)
    before = torch.random.get_rng_state()
    decoded(tmp_path, listing)
    assert (torch.random.get_rng_state() == before).all()
