"""Lecture sur place d'archives .zip, bonnes, abîmées ou malveillantes."""

import io
import struct
import warnings
import zipfile

import numpy as np
import pytest
from pictures import encoded, load, noise, pack, plain
from PIL import Image

from gan_course.data import folders


def test_zips_without_images(tmp_path):
    with pytest.raises(ValueError, match="aucune image"):
        load(pack(tmp_path / "texte.zip", {"lisez-moi.txt": b"texte"}), tmp_path)
    with pytest.raises(ValueError, match="est vide"):
        load(pack(tmp_path / "vide.zip", {}), tmp_path)


def test_corrupt_zip(tmp_path):
    whole = pack(tmp_path / "a.zip", {f"{i}.png": encoded(noise(seed=i)) for i in range(4)}).read_bytes()
    for name, content in {"coupee": whole[: len(whole) // 2], "html": b"<html>", "rien": b""}.items():
        (tmp_path / f"{name}.zip").write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.zip.*illisible"):
            load(tmp_path / f"{name}.zip", tmp_path)


def test_zip_with_a_damaged_entry(tmp_path):
    path = pack(tmp_path / "a.zip", {f"{i}.png": encoded(noise(seed=i)) for i in range(8)})
    content = bytearray(path.read_bytes())
    content[500:520] = bytes(20)  # au milieu de la première image
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"1 image\(s\) sur 8 .*0\.png"):
        assert len(load(path, tmp_path)) == 7


def test_encrypted_zip(tmp_path):
    path = pack(tmp_path / "a.zip", {"1.png": encoded(plain())})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # l'indicateur « chiffré »
    path.write_bytes(content)
    with pytest.raises(ValueError, match="mot de passe"):
        load(path, tmp_path)


def test_climbing_entries_are_ignored_and_named(tmp_path):
    link = zipfile.ZipInfo("lien.png")
    link.external_attr = 0o120777 << 16
    png = encoded(plain())
    contents = {
        "../../sortie.png": png,
        "/absolue.png": png,
        "C:\\disque.png": png,
        link: b"/etc/hosts",
        "bonne.png": png,
    }
    with pytest.warns(UserWarning, match=r"ignorées.*\.\./\.\./sortie\.png.*lien\.png"):
        images = load(pack(tmp_path / "a.zip", contents), tmp_path)
    assert len(images) == 1 and not list(tmp_path.rglob("sortie.png"))
    with warnings.catch_warnings(), pytest.raises(ValueError, match="aucune image"):
        warnings.simplefilter("ignore")
        load(pack(tmp_path / "b.zip", {"../sortie.png": png}), tmp_path)


def test_entry_that_unpacks_to_more_than_it_declares(tmp_path):
    """La lecture s'arrête à la taille déclarée : la bombe ne gonfle jamais en mémoire."""
    tracemalloc = pytest.importorskip("tracemalloc")
    zeros = bytes(64 * 10**6)
    path = pack(tmp_path / "a.zip", {"bombe.png": zeros}, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + offset
        content[start : start + 4] = struct.pack("<I", 1_000)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="bombe.png"):
        load(path, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 10**6


def test_entry_that_declares_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_BYTES", 1_000)
    path = pack(tmp_path / "a.zip", {"grosse.png": bytes(5_000)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"grosse\.png.*5,0 ko"):
        load(path, tmp_path)


def test_unbounded_compressions_are_refused(tmp_path):
    path = pack(tmp_path / "a.zip", {"1.png": encoded(plain())}, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="compression"):
        load(path, tmp_path)


def test_archive_is_read_in_place(tmp_path):
    path = pack(tmp_path / "a.zip", {f"{i}.png": encoded(plain()) for i in range(3)})
    load(path, tmp_path)
    assert not list(tmp_path.rglob("*.png"))
    assert [p.suffix for p in (tmp_path / "root" / "cache").iterdir()] == [".npy"]


def test_real_archive(shared_data, tmp_path):
    """Mille visages de CelebA, dans une archive comme celle que l'on télécharge."""
    with np.load(shared_data / "celeba_10k.npz") as stored:
        content, starts = stored["octets"].tobytes(), stored["debuts"]
    faces = {f"img_align_celeba/{i:06d}.jpg": content[starts[i] : starts[i + 1]] for i in range(1_000)}
    images = load(pack(tmp_path / "celeba.zip", faces), tmp_path, size=64)
    assert images.images.shape == (1_000, 3, 64, 64) and images.labels is None
    face = Image.open(io.BytesIO(faces["img_align_celeba/000007.jpg"]))
    expected = np.asarray(face.crop((0, 10, 89, 99)).resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(images.images[7].permute(1, 2, 0).numpy().astype(int) - expected).mean() < 1


def test_an_entry_without_a_name(tmp_path):
    entry = zipfile.ZipInfo("x")
    entry.filename = entry.orig_filename = ""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, b"abc")
        archive.writestr("a.png", encoded(plain()))
    assert len(load(tmp_path / "a.zip", tmp_path)) == 1
