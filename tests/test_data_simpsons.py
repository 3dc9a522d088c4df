"""Simpsons Faces : l'archive de Kaggle lue en place, kagglehub si l'on peut, un message clair sinon."""

import io
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_course.data import load_images, simpsons


def png(level, side=20):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_archive(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for level, name in enumerate(names):
            archive.writestr(name, png(level))


FACES = [f"cropped/{i}.png" for i in range(6)]


@pytest.mark.parametrize("place", ["simpsons/archive.zip", "simpsons-faces.zip", "simpsons.zip"])
def test_the_archive_is_read_where_it_is(tmp_path, place):
    write_archive(tmp_path / place, FACES)
    images = load_images("simpsons", size=16, root=tmp_path, download=False)
    assert images.images.shape == (6, 3, 16, 16) and images.labels is None
    assert images.images[:, 0, 0, 0].tolist() == list(range(6))
    assert [p.name for p in tmp_path.rglob("*.png")] == [], "rien n'est déplié"


def test_only_the_cropped_faces_and_no_classes(tmp_path):
    write_archive(tmp_path / "drive" / "mine.zip", [*FACES, "simplified/0.png", "simplified/1.png"])
    images = load_images("simpsons", size=16, root=tmp_path / "root", folder=tmp_path / "drive" / "mine.zip")
    assert len(images) == 6 and images.labels is None
    plain = load_images(tmp_path / "drive" / "mine.zip", size=16, root=tmp_path / "root")
    assert len(plain) == 8 and plain.class_names == ("cropped", "simplified"), "le cache ne les confond pas"


def test_an_unpacked_folder_is_read_too(tmp_path):
    (tmp_path / "simpsons" / "cropped").mkdir(parents=True)
    (tmp_path / "simpsons" / "cropped" / "1.png").write_bytes(png(7))
    assert len(load_images("simpsons", size=16, root=tmp_path, download=False)) == 1


def test_another_archive_is_not_taken_for_it(tmp_path):
    write_archive(tmp_path / "archive.zip", FACES)
    with pytest.raises(FileNotFoundError, match="download=False.*À la main.*kaggle.com.*faces"):
        load_images("simpsons", root=tmp_path, download=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="le dossier que vous avez donné"):
        load_images("simpsons", root=tmp_path, folder=tmp_path / "empty")


def hub(monkeypatch, download):
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))


def test_kagglehub_fetches_it_when_it_can(tmp_path, monkeypatch):
    asked = []

    def download(handle):
        asked.append(handle)
        (tmp_path / "kaggle" / "cropped").mkdir(parents=True, exist_ok=True)
        (tmp_path / "kaggle" / "cropped" / "1.png").write_bytes(png(3))
        return str(tmp_path / "kaggle")

    hub(monkeypatch, download)
    assert len(load_images("simpsons", size=16, root=tmp_path / "root")) == 1
    assert asked == [simpsons.HANDLE]


def test_what_kagglehub_refuses_is_said(tmp_path, monkeypatch):
    def download(handle):
        raise PermissionError("403 Client Error: You don't have permission")

    hub(monkeypatch, download)
    with pytest.raises(ConnectionError, match="403.*À la main"):
        load_images("simpsons", root=tmp_path)
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # comme s'il n'était pas installé
    with pytest.raises(ConnectionError, match="pip install kagglehub.*À la main"):
        load_images("simpsons", root=tmp_path)


def test_there_is_no_test_split(tmp_path):
    write_archive(tmp_path / "simpsons.zip", FACES)
    with pytest.raises(ValueError, match='split="train"'):
        load_images("simpsons", root=tmp_path, split="test")
