"""load_images : noms, options, dossier des données, et MNIST par le vrai code de torchvision, sans réseau."""

import gzip
import hashlib
import http.server
import shutil
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_course.data import data_root, load_images

COUNTS = {"train": 30, "t10k": 10}


def idx_files():
    """Les quatre fichiers de MNIST, en petit : {nom: octets compressés}."""
    content = {}
    for prefix, count in COUNTS.items():
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = struct.pack(">IIII", 0x803, count, 28, 28) + pixels.tobytes()
        content[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(images, mtime=0)
        content[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(
            struct.pack(">II", 0x801, count) + labels.tobytes(), mtime=0
        )
    return content


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Un serveur local à la place des miroirs de torchvision ; rend la liste des chemins demandés."""
    content, asked = idx_files(), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = content.get(self.path.split("/")[-1])
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if body and self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    use_mirror(monkeypatch, f"http://127.0.0.1:{server.server_port}/", content)
    yield asked
    server.shutdown()
    server.server_close()


def use_mirror(monkeypatch, mirror, content):
    from torchvision import datasets

    for dataset in (datasets.MNIST, datasets.FashionMNIST):
        resources = [(name, hashlib.md5(content[name]).hexdigest()) for name, _ in dataset.resources]
        monkeypatch.setattr(dataset, "resources", resources)
        monkeypatch.setattr(dataset, "mirrors", [mirror])


@pytest.fixture
def unplugged(monkeypatch):
    """Pas de réseau : rien n'écoute sur ce port."""
    use_mirror(monkeypatch, "http://127.0.0.1:9/", idx_files())


def place_archives(root, names=None, dataset="MNIST"):
    raw = root / dataset / "raw"
    raw.mkdir(parents=True)
    for name, content in idx_files().items():
        if names is None or name in names:
            (raw / name).write_bytes(content)
    return raw


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_download_then_cache(served, tmp_path, name):
    train = load_images(name, root=tmp_path)
    assert train.images.shape == (30, 1, 28, 28) and train.labels.tolist() == [i % 10 for i in range(30)]
    pixels = np.random.default_rng(30).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    assert np.array_equal(train.images[:, 0].numpy(), pixels)
    asked = len(served)
    assert asked >= 4
    test = load_images(name, root=tmp_path, split="test")
    assert len(test) == 10 and load_images(name, root=tmp_path, size=32).image_shape == (1, 32, 32)
    assert torch.equal(load_images(name, root=tmp_path, download=False).images, train.images)
    assert len(served) == asked


def test_class_names(served, tmp_path):
    assert load_images("mnist", root=tmp_path).class_names == tuple("0123456789")
    fashion = load_images("fashion-mnist", root=tmp_path)
    assert fashion.class_names[0] == "t-shirt" and fashion.class_names[9] == "bottine"
    assert fashion.select(["bottine"]).class_names == ("bottine",)


def test_archives_already_there_need_no_network(unplugged, tmp_path):
    place_archives(tmp_path)
    assert len(load_images("mnist", root=tmp_path, download=False)) == 30
    assert len(load_images("mnist", root=tmp_path, split="test")) == 10


def test_second_opening_does_not_import_torchvision(unplugged, tmp_path, monkeypatch):
    place_archives(tmp_path)
    load_images("mnist", root=tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", None)  # l'importer lèverait ImportError
    assert len(load_images("mnist", root=tmp_path)) == 30
    assert len(load_images("digits", root=tmp_path)) == 1_500


def test_read_only_root_with_data(unplugged, tmp_path, monkeypatch):
    raw = place_archives(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gan_course.data.cache.Path.touch", refuse)
    monkeypatch.setattr("gan_course.data.cache.Path.mkdir", make_elsewhere(tmp_path))
    assert len(load_images("mnist", root=tmp_path)) == 30
    assert sorted(tmp_path.rglob("*")) == before and raw.is_dir()


def make_elsewhere(root):
    real = Path.mkdir

    def mkdir(path, *arguments, **options):
        if root in path.parents:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    return mkdir


def test_download_forbidden(unplugged, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"download=False.*train-images-idx3-ubyte\.gz"):
        load_images("mnist", root=tmp_path, download=False)
    assert not list(tmp_path.iterdir())


def test_network_failure_says_what_to_do_by_hand(unplugged, tmp_path):
    with pytest.raises(ConnectionError) as caught:
        load_images("fashion-mnist", root=tmp_path)
    message = str(caught.value)
    for part in (
        "FashionMNIST",
        "127.0.0.1",
        "t10k-labels-idx1-ubyte.gz",
        str(tmp_path / "FashionMNIST" / "raw"),
    ):
        assert part in message


def test_wrong_checksum_is_a_failure(served, tmp_path, monkeypatch):
    from torchvision import datasets

    resources = [(name, "0" * 32) for name, _ in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    with pytest.raises(ConnectionError, match="MNIST a échoué"):
        load_images("mnist", root=tmp_path)


def test_download_into_protected_root(unplugged, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_course.data.cache.Path.mkdir", make_elsewhere(tmp_path))
    with pytest.raises(PermissionError, match="GAN_COURSE_DATA"):
        load_images("mnist", root=tmp_path)


def test_damaged_files(unplugged, tmp_path):
    raw = place_archives(tmp_path)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"abime")
    with pytest.raises(ValueError, match="abîmés"):
        load_images("mnist", root=tmp_path)
    for name, content in idx_files().items():
        (raw / name).with_suffix("").write_bytes(gzip.decompress(content)[:300])
    with pytest.raises(ValueError, match="abîmés.*Effacez"):
        load_images("mnist", root=tmp_path)


@pytest.mark.parametrize(
    "name, near",
    [("mnits", "mnist"), ("fashion_mnist", "fashion-mnist"), ("Digits", "digits"), ("fractales", "fractals")],
)
def test_unknown_names_are_guessed(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"Vouliez-vous dire .*«\u00a0{near}"):
        load_images(name, root=tmp_path)


def test_unknown_names_list_what_exists(tmp_path):
    with pytest.raises(ValueError, match="Jeux connus.*digits, fractals, mnist, fashion-mnist"):
        load_images("xyzzy", root=tmp_path)


def test_missing_path(tmp_path):
    for path in (tmp_path / "rien", "rien.zip", "pas/la"):
        with pytest.raises(FileNotFoundError, match="n'existe pas"):
            load_images(path, root=tmp_path)


def test_path_to_a_plain_file(tmp_path):
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"image\.png.*dossier"):
        load_images(tmp_path / "image.png", root=tmp_path)


@pytest.mark.parametrize(
    "arguments, error, word",
    [
        ({"size": 0}, ValueError, "size.*0"),
        ({"size": -3}, ValueError, "-3"),
        ({"size": 28.0}, TypeError, "28.0"),
        ({"size": "28"}, TypeError, "28"),
        ({"size": True}, TypeError, "True"),
        ({"split": "valid"}, ValueError, "valid"),
        ({"palette": "blue"}, TypeError, "palette.*pas d'option"),
    ],
)
def test_arguments_refused(arguments, error, word):
    with pytest.raises(error, match=word):
        load_images("digits", **arguments)


@pytest.mark.parametrize("wrong", [3, None, ""])
def test_neither_name_nor_path(wrong):
    with pytest.raises(TypeError, match="nom ou un chemin"):
        load_images(wrong)


def test_channels(tmp_path):
    with pytest.raises(ValueError, match="channels.*4"):
        load_images(tmp_path, root=tmp_path, channels=4)


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path))
    assert data_root() == tmp_path and data_root("ici") == Path("ici")
    monkeypatch.delenv("GAN_COURSE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    for platform, folder in (
        ("linux", tmp_path),
        ("win32", tmp_path),
        ("darwin", Path("~/Library/Caches").expanduser()),
    ):
        monkeypatch.setattr("gan_course.data.sources.sys.platform", platform)
        assert data_root() == folder / "gan_course"


def test_real_mnist(shared_data, tmp_path):
    shutil.copytree(shared_data / "MNIST", tmp_path / "MNIST")
    train = load_images("mnist", root=tmp_path, download=False)
    assert train.images.shape == (60_000, 1, 28, 28) and train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert torch.bincount(train.labels)[7] == 6_265 and len(train.select(classes=[7])) == 6_265


@pytest.mark.parametrize("size", [4096, 10**6])
def test_a_size_no_disk_would_hold(size):
    with pytest.raises(ValueError, match=f"size={size}.*pixels"):
        load_images("digits", size=size)


def test_root_is_a_path():
    with pytest.raises(TypeError, match="root est le chemin d'un dossier ; reçu : 3"):
        load_images("digits", root=3)
