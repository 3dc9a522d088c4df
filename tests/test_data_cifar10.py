"""CIFAR-10 : l'archive officielle en petit, ses lots dépliés, des dossiers de classes, ou un serveur local."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from gan_course.data import cifar10, load_images

PER_BATCH = 20


def batch(seed):
    data = np.random.default_rng(seed).integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)
    return {"data": data, "labels": [(i + seed) % 10 for i in range(PER_BATCH)]}


@pytest.fixture
def official(monkeypatch):
    """Six petits lots à la place des officiels : {nom : octets}, et l'archive."""
    names = [*cifar10.BATCH_MD5["train"], *cifar10.BATCH_MD5["test"]]
    contents = {name: pickle.dumps(batch(seed), protocol=2) for seed, name in enumerate(names)}
    digests = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    small = {split: {name: digests[name] for name in known} for split, known in cifar10.BATCH_MD5.items()}
    monkeypatch.setattr(cifar10, "BATCH_MD5", small)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    archive = buffer.getvalue()
    monkeypatch.setattr(cifar10, "ARCHIVE_SIZE", len(archive))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(archive).hexdigest())
    return contents, archive


def load(root, **options):
    return load_images("cifar10", root=root, **{"download": False} | options)


@pytest.mark.parametrize("sub", ["", "cifar10"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_archive_and_batches(official, tmp_path, sub, unpacked):
    contents, archive = official
    place = tmp_path / sub
    (place / cifar10.BATCHES).mkdir(parents=True)
    if unpacked:
        for name, content in contents.items():
            (place / cifar10.BATCHES / name).write_bytes(content)
    else:
        (place / cifar10.ARCHIVE).write_bytes(archive)
    train, test = load(tmp_path), load(tmp_path, split="test")
    assert train.images.shape == (5 * PER_BATCH, 3, 32, 32) and len(test) == PER_BATCH
    assert train.class_names[:3] == ("avion", "automobile", "oiseau") and test.num_classes == 10
    assert np.array_equal(test.images.reshape(PER_BATCH, -1).numpy(), batch(5)["data"])
    assert train.labels.tolist() == sum((batch(seed)["labels"] for seed in range(5)), [])
    assert load(tmp_path, size=16).image_shape == (3, 16, 16)
    assert train.select(["chat"]).class_names == ("chat",)
    again = load(tmp_path)
    assert torch.equal(again.images, train.images) and len(list(tmp_path.rglob("*.npy"))) == 3


def test_damaged_archive(official, tmp_path):
    archive = official[1]
    for wrong in (archive[: len(archive) // 2], b"<html>", b""):
        (tmp_path / cifar10.ARCHIVE).write_bytes(wrong)
        with pytest.raises(ValueError, match="abîmé|n'est pas l'officiel"):
            load(tmp_path)


def test_unknown_pickle_is_never_opened(official, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "piège"), "w")

    folder = tmp_path / cifar10.BATCHES
    folder.mkdir()
    for name, content in official[0].items():
        (folder / name).write_bytes(content)
    (folder / "data_batch_2").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"data_batch_2 n'est pas l'officiel"):
        load(tmp_path)
    assert not (tmp_path / "piège").exists()
    (folder / "data_batch_2").unlink()
    with pytest.raises(ValueError, match="abîmé ou incomplet"):
        load(tmp_path)


def test_class_folders(tmp_path):
    for split, count in (("train", 2), ("test", 1)):
        for label, name in enumerate(cifar10.ENGLISH):
            folder = tmp_path / "drive" / "cifar10" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (label * 20, i, 0)).save(folder / f"{i:04d}.png")
    root = tmp_path / "root"
    train, test = (load(root, folder=tmp_path / "drive", split=split) for split in ("train", "test"))
    assert train.labels.tolist() == [i // 2 for i in range(20)] and test.labels.tolist() == list(range(10))
    assert train.class_names == cifar10.FRENCH and train.images[::2, 0, 0, 0].tolist() == [20 * i for i in range(10)]
    by_path = load_images(tmp_path / "drive" / "cifar10", size=32, root=root)
    assert by_path.class_names == cifar10.ENGLISH and torch.equal(by_path.images, train.images)


def test_other_class_folders(tmp_path):
    for name in ("airplane", "bird"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "train" / name / "0.png")
    with pytest.raises(ValueError, match="automobile"):
        load(tmp_path)


def test_fetched_from_the_mirror(official, tmp_path, monkeypatch):
    source = tmp_path / "serveur.tar.gz"
    source.write_bytes(official[1])
    monkeypatch.setattr(cifar10, "OFFICIAL", "http://127.0.0.1:9/")
    monkeypatch.setattr(cifar10, "MIRROR", source.as_uri())
    assert len(load(tmp_path / "root", download=True)) == 5 * PER_BATCH
    assert (tmp_path / "root" / cifar10.ARCHIVE).is_file()


def test_every_source_fails(official, tmp_path, monkeypatch):
    source = tmp_path / "serveur.tar.gz"
    source.write_bytes(official[1][:-10] + bytes(10))
    monkeypatch.setattr(cifar10, "OFFICIAL", "http://127.0.0.1:9/")
    monkeypatch.setattr(cifar10, "MIRROR", source.as_uri())
    with pytest.raises(ConnectionError, match="(?s)Toronto.*refused.*miroir.*MD5.*À la main.*folder="):
        load(tmp_path / "root", download=True)


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=False.*À la main"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder=.*cifar-10-python\.tar\.gz"):
        load(tmp_path, folder=tmp_path)


def test_constants_are_those_of_torchvision():
    official = pytest.importorskip("torchvision.datasets").CIFAR10
    assert (official.url, official.tgz_md5) == (cifar10.OFFICIAL, cifar10.ARCHIVE_MD5)
    assert dict(official.train_list) == cifar10.BATCH_MD5["train"]
    assert dict(official.test_list) == cifar10.BATCH_MD5["test"]
