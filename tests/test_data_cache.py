"""Le cache : projeté, entier ou absent, et clair quand le disque refuse."""

import errno
import os
import shutil
import time
import warnings
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise
from PIL import Image

from gan_course.data import cache, load_images
from gan_course.engine import files


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i in range(12):
        target = folder / ("ab"[i % 2])
        target.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (i, 0, 0)).save(target / f"{i:02d}.png")
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def forbid_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("le cache devait suffire")

    monkeypatch.setattr("gan_course.data.decoding.decode_blocks", refuse)


def leftovers(root):
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.filterwarnings("error")
def test_second_opening_is_mapped_without_decoding(photos, root, monkeypatch):
    first = load_images(photos, size=16, root=root)
    forbid_decoding(monkeypatch)
    second = load_images(photos, size=16, root=root)
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert second.class_names == ("a", "b") and second.fingerprint() == first.fingerprint()
    second.images.add_(1)  # copie à l'écriture : le fichier reste intact
    assert torch.equal(load_images(photos, size=16, root=root).images, first.images)


def test_key_is_source_size_and_fingerprint(photos, root):
    load_images(photos, size=16, root=root)
    for options in ({"size": 8}, {"channels": 1}):
        load_images(photos, root=root, **{"size": 16} | options)
    Image.new("RGB", (20, 20), "white").save(photos / "a" / "99.png")
    assert len(load_images(photos, size=16, root=root)) == 13
    time.sleep(0.01)
    Image.new("RGB", (20, 20), (200, 0, 0)).save(photos / "a" / "00.png")
    assert load_images(photos, size=16, root=root).images[0, 0, 0, 0] == 200
    assert len(list(root.rglob("*.npy"))) == 5


def damage(root, change):
    """Change les octets du cache, dans un fichier neuf : celui d'avant est peut-être projeté."""
    (stored,) = root.rglob("*.npy")
    content = bytearray(stored.read_bytes())
    stored.unlink()
    stored.write_bytes(change(content))
    return stored


HEADER, IMAGES = 128, 12 * 3 * 16 * 16  # octets : les douze images de `photos`, entre un en-tête et une archive


def flipped(place):
    def change(content):
        content[place] ^= 4
        return content

    return change


@pytest.mark.parametrize(
    "change",
    [lambda c: c[: len(c) // 2], lambda c: c[:-1], lambda c: b"", lambda c: c[:4_000] + bytes(5_000) + c[9_000:]]
    + [flipped(HEADER + k * (IMAGES - 1) // 4) for k in range(5)],
)
def test_damaged_cache_is_rebuilt(photos, root, change):
    for i in range(12):
        noise(20, i).save(photos / "ab"[i % 2] / f"{i:02d}.png")
    expected = load_images(photos, size=16, root=root)
    stored = damage(root, change)
    with pytest.warns(UserWarning, match=f"{stored.name}.* est abîmé") as said:
        again = load_images(photos, size=16, root=root)
    assert torch.equal(again.images, expected.images) and torch.equal(again.labels, expected.labels)
    assert again.class_names == expected.class_names and len(said) == 1


@pytest.mark.filterwarnings("ignore:.*abîmé")
def test_no_changed_byte_is_read_as_something_else(photos, root):
    """Un octet sans effet peut passer, dans une date par exemple ; les autres font refaire le cache."""
    expected = load_images(photos, size=16, root=root)
    (stored,) = root.rglob("*.npy")
    end = stored.stat().st_size
    for place in (*range(0, HEADER, 7), *range(HEADER + IMAGES, end, 41)):
        damage(root, flipped(place))
        again = load_images(photos, size=16, root=root)
        assert torch.equal(again.images, expected.images) and torch.equal(again.labels, expected.labels), place
        assert again.class_names == expected.class_names, place


def test_large_cache_is_mapped_and_checked_here_and_there(photos, root, monkeypatch):
    """Ouvrir un gros fichier n'en lit que quelques morceaux ; une copie interrompue se voit quand même."""
    monkeypatch.setattr(cache, "WHOLE", 1_000)
    monkeypatch.setattr(cache, "SAMPLE", 100)
    monkeypatch.setattr(cache, "SAMPLES", 5)
    for i in range(12):
        noise(20, i).save(photos / "ab"[i % 2] / f"{i:02d}.png")
    expected = load_images(photos, size=16, root=root).images.clone()
    last, middle = flipped(HEADER + IMAGES - 1), flipped(HEADER + IMAGES // 2)
    for change in (lambda c: c[:-1], lambda c: c[:4_000] + bytes(5_000) + c[9_000:], last, middle):
        stored = damage(root, change)
        with pytest.warns(UserWarning, match=f"{stored.name}.* est abîmé"):
            assert torch.equal(load_images(photos, size=16, root=root).images, expected)
    damage(root, flipped(HEADER + IMAGES // 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not torch.equal(load_images(photos, size=16, root=root).images, expected)  # entre deux morceaux


def test_no_space_before_writing(photos, root, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 1_000))
    with pytest.raises(OSError, match=r"9,2 ko \(9216 octets\).*1,0 ko") as caught:
        load_images(photos, size=16, root=root)
    assert caught.value.errno == errno.ENOSPC and not leftovers(root)


def test_disk_full_midway_leaves_nothing(photos, root, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="Disque plein.*9216 octets"):
        load_images(photos, size=16, root=root)
    assert not leftovers(root)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="il faut /dev/full")
def test_disk_really_full(photos, root, monkeypatch):
    monkeypatch.setattr(files, "open", lambda path, mode: open("/dev/full", "wb"), raising=False)
    with pytest.raises(OSError, match="Disque plein"):
        load_images(photos, size=64, root=root)
    assert not leftovers(root)


def test_interruption_leaves_nothing(photos, root, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gan_course.data.decoding.to_pixels", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_images(photos, size=16, root=root)
    assert not leftovers(root)


def read_only(monkeypatch, root):
    """Les essais tournent parfois en root, pour qui chmod n'empêche rien : on simule le refus."""
    real = Path.touch

    def touch(path, *arguments, **options):
        if root in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "touch", touch)


def test_root_not_writable(photos, root, monkeypatch):
    expected = load_images(photos, size=16, root=root)
    read_only(monkeypatch, root)
    assert torch.equal(load_images(photos, size=16, root=root).images, expected.images)  # déjà là : lisible
    with pytest.raises(PermissionError, match="root=.*GAN_COURSE_DATA"):
        load_images(photos, size=8, root=root)


def test_root_that_is_a_file(photos, tmp_path):
    (tmp_path / "fichier").write_text("")
    with pytest.raises(PermissionError, match="GAN_COURSE_DATA"):
        load_images(photos, size=16, root=tmp_path / "fichier")


def test_fractals_stay_in_memory_when_root_refuses(root, monkeypatch):
    read_only(monkeypatch, root)
    with pytest.warns(UserWarning, match="GAN_COURSE_DATA.*en mémoire"):
        images = load_images("fractals", size=16, n=3, root=root)
    assert images.images.shape == (3, 3, 16, 16) and not leftovers(root)


def test_old_leftovers_are_removed(photos, root):
    folder = root / "cache"
    folder.mkdir(parents=True)
    for name, age in (("vieux.tmp", 2 * 86_400), ("neuf.tmp", 0)):
        (folder / name).write_text("")
        os.utime(folder / name, (time.time() - age,) * 2)
    load_images(photos, size=16, root=root)
    assert not (folder / "vieux.tmp").exists() and (folder / "neuf.tmp").exists()


def test_concurrent_builders(photos, root):
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: load_images(photos, size=16, root=root), range(8)))
    assert len({images.fingerprint() for images in built}) == 1
    assert [path.suffix for path in leftovers(root)] == [".npy"]


def test_interleaved_builders(photos, root):
    """Une construction commence et finit au milieu d'une autre : les deux aboutissent, au même jeu."""
    block = (np.ones((1, 1, 2, 2), np.uint8), {"labels": np.zeros(1, np.int64)})

    def build(blocks):
        return cache.cached(root, "essai", 2, (), lambda: cache.Making(blocks, 2, (1, 2, 2), {}))

    def slow():
        yield block
        build(block for _ in range(2))
        yield block

    assert len(build(slow())) == 2
    assert [path.suffix for path in leftovers(root)] == [".npy"]


def test_progress_line(capsys, monkeypatch):
    clock = iter(x / 2 for x in range(1_000))
    monkeypatch.setattr(files.time, "monotonic", lambda: next(clock))
    assert list(files.announce([1, 2, 3], str)) == [1, 2, 3]
    assert capsys.readouterr().err == ""
    list(files.announce(range(20), lambda seconds: f"photos, depuis {seconds} s"))
    lines = capsys.readouterr().err.split("\r")[1:]
    assert 5 <= len(lines) <= 11 and lines[0].startswith("photos, depuis 2.") and lines[-1].endswith("\n")


def test_progress_says_what_is_left(photos, root, capsys, monkeypatch):
    clock = iter(range(1_000))
    monkeypatch.setattr(files.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr("gan_course.data.decoding.BLOCK", 3)
    load_images(photos, size=16, root=root)
    assert "photos : 9 images sur 12, encore 0 min 01 s" in capsys.readouterr().err


def test_in_a_notebook_progress_is_not_shown_as_an_error(monkeypatch, capsys):
    clock = iter(range(0, 100, 3))
    monkeypatch.setattr(files.time, "monotonic", lambda: next(clock))
    for kernel in (False, True):
        monkeypatch.setattr(files, "in_kernel", lambda kernel=kernel: kernel)
        assert list(files.announce("ab", lambda seconds: f"{seconds} s")) == ["a", "b"]
        out, err = capsys.readouterr()
        assert "3 s" in (out if kernel else err) and not (err if kernel else out)
