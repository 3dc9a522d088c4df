"""load_images : noms, options, dossier des données, et MNIST aux adresses de torchvision, sans réseau."""

import gzip
import hashlib
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from server import serving

from gan_course.data import ImageSet, data_root, load_images
from gan_course.data.sources import SOURCES, Source
from gan_course.tools import doctor

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
def served(monkeypatch):
    """Un serveur local à la place des miroirs de torchvision ; rend la liste des chemins demandés."""
    content = idx_files()
    with serving({f"/{name}": body for name, body in content.items()}) as server:
        use_mirror(monkeypatch, f"{server.url}/", content)
        yield server.asked


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
    with pytest.warns(UserWarning, match="restent en mémoire"):
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


def test_download_into_protected_root(unplugged, tmp_path, monkeypatch):
    monkeypatch.setattr("gan_course.data.cache.Path.mkdir", make_elsewhere(tmp_path))
    with pytest.raises(PermissionError, match="GAN_COURSE_DATA"):
        load_images("mnist", root=tmp_path)


def header(magic, *shape):
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"abime", "pas un .gz entier"),
        (idx_files()["train-images-idx3-ubyte.gz"][:-40], "pas un .gz entier"),
        (idx_files()["train-images-idx3-ubyte.gz"][:-8] + bytes(8), "pas un .gz entier"),  # condensé faux
        (gzip.compress(b""), "en-tête"),
        (gzip.compress(header(0x803, 30, 28, 28)[:10]), "en-tête"),
        (gzip.compress(header(0x801, 30) + bytes(30)), "en-tête"),
        (gzip.compress(header(0xD03, 30, 28, 28) + bytes(30 * 28 * 28)), "en-tête"),
        (gzip.compress(header(0x803, 2**31, 28, 28)), "en-tête"),
        (gzip.compress(header(0x803, 30, 28, 28) + bytes(50)), "annonce 23520 valeurs et en a 50"),
        (gzip.compress(header(0x803, 3, 2, 2) + bytes(13)), "annonce 12 valeurs et en a 13"),
        (gzip.compress(header(0x803, 29, 28, 28) + bytes(29 * 28 * 28)), "29 images, 30 étiquettes"),
    ],
)
def test_damaged_files(unplugged, tmp_path, content, problem):
    raw = place_archives(tmp_path)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)abîmé.*{problem}.*Effacez.* et recommencez"):
        load_images("mnist", root=tmp_path)


def test_unpacked_files_are_read_too(unplugged, tmp_path):
    raw = place_archives(tmp_path)
    expected = load_images("mnist", root=tmp_path)
    for file in list(raw.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    images = load_images("mnist", root=tmp_path, download=False)
    assert torch.equal(images.images, expected.images) and torch.equal(images.labels, expected.labels)
    (raw / "train-images-idx3-ubyte").write_bytes((raw / "train-images-idx3-ubyte").read_bytes()[:300])
    with pytest.raises(ValueError, match="annonce 23520 valeurs et en a 284"):
        load_images("mnist", root=tmp_path)


def test_only_the_missing_file_is_fetched(served, tmp_path):
    place_archives(tmp_path, names=list(idx_files())[1:])
    assert len(load_images("mnist", root=tmp_path)) == 30
    assert served == ["/train-images-idx3-ubyte.gz"]


def test_a_new_row_is_known_everywhere(monkeypatch, tmp_path):
    """Ajouter un jeu ne demande qu'une fonction et une ligne."""

    def load(size, root, split, download, ink=9):
        return ImageSet(torch.full((2, 1, size, size), ink, dtype=torch.uint8))

    row = Source(load, 7, "deux carrés", "3 Go, une clé USB", lambda root: (root / "carres").exists())
    monkeypatch.setitem(SOURCES, "carres", row)
    assert load_images("carres", root=tmp_path, ink=3).images.unique().tolist() == [3]
    assert load_images("carres", root=tmp_path).image_shape == (1, 7, 7)
    with pytest.raises(TypeError, match="options possibles.*ink"):
        load_images("carres", encre=3)
    assert doctor.data_states(tmp_path)["carres"] == "à télécharger (3 Go, une clé USB)"
    (tmp_path / "carres").touch()
    assert "carres          là" in doctor.data_table(tmp_path)


def test_help_lists_every_set_and_its_options():
    for name, source in SOURCES.items():
        line = next(line for line in load_images.__doc__.splitlines() if f'"{name}"' in line)
        assert all(option in line for option in source.options) and str(source.size) in line


@pytest.mark.parametrize(
    "name, near",
    [("mnits", "mnist"), ("fashion_mnist", "fashion-mnist"), ("Digits", "digits"), ("fractales", "fractals")],
)
def test_unknown_names_are_guessed(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"Vouliez-vous dire .*«\u00a0{near}"):
        load_images(name, root=tmp_path)


def test_unknown_names_list_what_exists(tmp_path):
    with pytest.raises(ValueError, match="Jeux connus.*" + ", ".join(SOURCES)):
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
        ({"size": 4096}, ValueError, "size=4096.*pixels"),
        ({"root": 3}, TypeError, "root est le chemin d'un dossier.; reçu.: 3"),
        ({"split": "valid"}, ValueError, "valid"),
        ({"palette": "blue"}, TypeError, "palette.*pas d'option"),
    ],
)
def test_arguments_refused(arguments, error, word):
    with pytest.raises(error, match=word):
        load_images("digits", **arguments)


@pytest.mark.parametrize("name", ["celeba", "cifar10", "simpsons"])
def test_folder_is_the_path_of_a_folder(name, tmp_path):
    for wrong in (3, ["celeba"], b"celeba"):
        with pytest.raises(TypeError, match="folder est le chemin d'un dossier"):
            load_images(name, root=tmp_path, folder=wrong)
    with pytest.raises(FileNotFoundError, match="folder=.*nulle part.*n'existe pas"):
        load_images(name, root=tmp_path, folder="nulle part")


@pytest.mark.parametrize("wrong", [3, None, ""])
def test_neither_name_nor_path(wrong):
    with pytest.raises(TypeError, match="nom ou un chemin"):
        load_images(wrong)


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
