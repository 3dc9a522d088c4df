"""CelebA : lu dans l'archive officielle ou téléchargé d'un serveur local, et tout ce qui peut mal tourner."""

import errno
import hashlib
import io
import warnings
import zipfile
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from server import serving

from gan_course.data import celeba, load_images
from gan_course.engine import download

NAMES = ("Bald", "Eyeglasses", "Smiling")
COUNT = 12
QUOTA_PAGE = b"<html><title>Google Drive - Quota exceeded</title>Too many users have viewed this file recently</html>"


def name(i):
    return f"{i + 1:06d}.jpg"


def flags(i):
    return [i % 2, (i // 2) % 2, int(i == 5)]


def photograph(i):
    buffer = io.BytesIO()
    image = Image.new("RGB", (178, 218), (0, 0, 255))
    image.paste((20 * i, 100, 0), (0, 20, 178, 198))  # le carré central, et rien d'autre
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def zipped(count=COUNT, replaced=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(count):
            archive.writestr(f"img_align_celeba/{name(i)}", (replaced or {}).get(i, photograph(i)))
    return buffer.getvalue()


def attribute_lines(count=COUNT):
    rows = [f"{name(i)} " + " ".join(f"{2 * flag - 1:2d}" for flag in flags(i)) for i in range(count)]
    return [str(count), " ".join(NAMES) + " ", *rows]


def published(count=COUNT, **options):
    """Les trois fichiers officiels, en petit : {nom : octets}. Les images 8 et 9 : validation ; 10 et 11 : test."""
    partition = "".join(f"{name(i)} {0 if i < 8 else 1 if i < 10 else 2}\n" for i in range(count))
    return {
        celeba.ARCHIVE: zipped(count, **options),
        celeba.ATTRIBUTES: ("\n".join(attribute_lines(count)) + "\n").encode(),
        celeba.PARTITION: partition.encode(),
    }


def place(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def offline(root):
    """CelebA déjà chez l'étudiant, sans fichier de partition."""
    contents = published()
    del contents[celeba.PARTITION]
    return place(root / "celeba", contents)


def load(root, **options):
    return load_images("celeba", root=root, **{"size": 32, "download": False} | options)


@pytest.fixture
def served(monkeypatch):
    """Un serveur local pour les deux sources ; rend ses réponses, que l'on peut changer, et les demandes reçues."""
    contents = published()
    answers = {f"/{source}/{file}": content for source in ("drive", "miroir") for file, content in contents.items()}
    small = [(file, len(body), hashlib.md5(body).hexdigest(), file) for file, body in contents.items()]
    monkeypatch.setattr(celeba, "PUBLISHED", small)
    with serving(answers) as server:
        monkeypatch.setattr(celeba, "OFFICIAL", f"{server.url}/drive/")
        monkeypatch.setattr(celeba, "MIRROR", f"{server.url}/miroir/")
        yield answers, server.asked


def test_pixels_and_attributes(offline, root):
    faces = load(root)
    assert faces.images.shape == (COUNT, 3, 32, 32) and faces.labels is None
    assert faces.factor_names == NAMES and faces.factors.dtype == torch.float32
    assert faces.factors.tolist() == [flags(i) for i in range(COUNT)]
    middle = faces.images[:, :, 16, 16].int()
    assert (middle - torch.tensor([(20 * i, 100, 0) for i in range(COUNT)])).abs().max() < 8
    assert faces.images[:, 2, 3:-3].max() < 60  # le bleu du haut et du bas est hors du carré
    assert not list(root.rglob("*.jpg"))


def test_attributes_follow_take_and_cache(offline, root):
    first = load(root)
    again = load(root)
    assert torch.equal(first.factors, again.factors) and again.factor_names == NAMES
    assert torch.equal(again.take(6).factors, first.factors[:6])
    assert len(list(root.rglob("*.npy"))) == 1


@pytest.mark.parametrize(
    "place_names", [("", "", ""), ("Img", "Anno", "Eval"), ("CelebA/Img", "CelebA/Anno", "celeba")]
)
def test_found_wherever_it_is(tmp_path, root, place_names):
    drive = tmp_path / "Mon Drive é"
    for sub, (file, content) in zip(place_names, published().items()):
        place(drive / sub, {file: content})
    assert len(load(root, folder=drive)) == 8
    assert len(load(drive)) == 8
    assert sorted(p.name for p in root.iterdir()) == ["cache"]


def test_unzipped_folder(tmp_path, root):
    drive = place(tmp_path / "drive", published())
    with zipfile.ZipFile(drive / celeba.ARCHIVE) as archive:
        archive.extractall(drive)
    (drive / celeba.ARCHIVE).unlink()
    assert load(root, folder=drive).factors.tolist() == [flags(i) for i in range(8)]


def test_official_splits(offline, root):
    assert len(load(root)) == COUNT
    with pytest.raises(FileNotFoundError, match=r"list_eval_partition\.txt manque"):
        load(root, split="test")
    place(offline, {celeba.PARTITION: published()[celeba.PARTITION]})
    train, test = load(root), load(root, split="test")
    assert (len(train), len(test)) == (8, 2)
    assert test.factors.tolist() == [flags(10), flags(11)]


def test_first_n(offline, root):
    assert load(root, n=5).factors.tolist() == [flags(i) for i in range(5)]
    with pytest.raises(ValueError, match="n=13.*12 images"):
        load(root, n=13)
    with pytest.raises(ValueError, match="n doit valoir"):
        load(root, n=0)


def test_without_attributes(offline, root):
    (offline / celeba.ATTRIBUTES).unlink()
    with pytest.raises(FileNotFoundError, match=r"list_attr_celeba\.txt.*download=False.*attributes=False"):
        load(root)
    faces = load(root, attributes=False)
    assert len(faces) == COUNT and faces.factors is None


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lines: lines[:-2], "annonce '12' images et en décrit 10.*coupé"),
        (lambda lines: lines[:-1] + [lines[-1][:-4]], r"ligne 14.*3 valeur"),
        (lambda lines: lines[:-1] + [lines[-2]], "ligne 14.*nouveau"),
        (lambda lines: lines[:3] + [lines[3].replace("-1", "0 ")] + lines[4:], "ligne 4"),
        (lambda lines: [], "annonce '' images et en décrit 0"),
        (lambda lines: ["10", *lines[1:4], *lines[6:]], r"1 des|2 des|décrit 8|annonce"),
    ],
)
def test_damaged_attribute_file(offline, root, damage, message):
    place(offline, {celeba.ATTRIBUTES: "\n".join(damage(attribute_lines())).encode()})
    with pytest.raises(ValueError, match=message):
        load(root)


def test_attribute_file_of_other_images(offline, root):
    lines = attribute_lines()
    lines = ["10", lines[1], *lines[4:]]  # les deux premières images n'y sont plus
    place(offline, {celeba.ATTRIBUTES: "\n".join(lines).encode()})
    with pytest.raises(ValueError, match=r"ne correspond pas.*2 des 12 images.*000001\.jpg, 000002\.jpg"):
        load(root)


def test_part_of_the_archive_is_said(offline, root):
    place(offline, {celeba.ARCHIVE: zipped(7)})
    with pytest.warns(UserWarning, match="n'a que 7 des 12 images"):
        assert load(root).factors.tolist() == [flags(i) for i in range(7)]


def test_partition_of_other_images(offline, root):
    place(offline, {celeba.PARTITION: b"999999.jpg 0\n"})
    with pytest.raises(ValueError, match="ne correspond pas.*12 des 12 images"):
        load(root)
    for wrong in (b"zero", b"01", b"012"):
        place(offline, {celeba.PARTITION: b"000001.jpg " + wrong + b"\n"})
        with pytest.raises(ValueError, match="abîmé"):
            load(root)


@pytest.mark.parametrize("file", [celeba.ATTRIBUTES, celeba.PARTITION])
def test_a_file_of_another_encoding_is_said(offline, root, file):
    place(offline, {file: "é".encode("utf-16")})
    with pytest.raises(ValueError, match=f"{file}.*(abîmé|annonce).*Reprenez"):
        load(root)


def test_broken_image_is_named_and_attributes_stay_aligned(offline, root):
    place(offline, {celeba.ARCHIVE: zipped(replaced={5: photograph(5)[:400]})})
    with pytest.warns(UserWarning, match=r"1 image\(s\) sur 12 illisible.*000006\.jpg"):
        faces = load(root)
    assert faces.factors.tolist() == [flags(i) for i in range(COUNT) if i != 5]
    assert faces.factors[:, 2].max() == 0 and len(faces) == 11


def test_fetched_from_the_official_source(served, root):
    _, asked = served
    faces = load(root, download=True)
    assert len(faces) == 8 and len(asked) == 3 and all(path.startswith("/drive/") for path in asked)
    assert sorted(p.name for p in (root / "celeba").iterdir()) == sorted(published())
    assert torch.equal(load(root).images, faces.images) and len(asked) == 3


def test_only_what_is_missing_is_fetched(served, offline, root):
    (offline / celeba.ATTRIBUTES).unlink()
    assert load(root, download=True).factor_names == NAMES
    assert served[1] == [f"/drive/{celeba.ATTRIBUTES}"]


@pytest.mark.parametrize(
    "answer", [None, QUOTA_PAGE, zipped()[:700], (zipped()[:700], len(zipped())), zipped(11), zipped()[:-1] + b"?"]
)
def test_mirror_takes_over(served, root, answer):
    answers, asked = served
    answers[f"/drive/{celeba.ARCHIVE}"] = answer
    assert len(load(root, download=True)) == 8
    assert asked[-1] == f"/miroir/{celeba.ARCHIVE}" or f"/miroir/{celeba.ARCHIVE}" in asked
    assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize(
    "drive, mirror, message",
    [
        (QUOTA_PAGE, None, r"officielle\).*quota de téléchargement épuisé.*miroir.*HTTP 404.*À la main.*folder="),
        ((zipped()[:700], len(zipped())), zipped()[:-1] + b"?", r"coupé après 700 octets.*contenu inattendu \(MD5"),
        (b"<html>Virus scan warning</html>", b"<html>bonjour</html>", "page de confirmation.*une page HTML"),
        (zipped() + b"x", zipped()[:-5], r"octets annoncés au lieu de \d+.*octets annoncés"),
    ],
)
def test_every_failure_is_told(served, root, drive, mirror, message):
    answers, _ = served
    answers[f"/drive/{celeba.ARCHIVE}"], answers[f"/miroir/{celeba.ARCHIVE}"] = drive, mirror
    with pytest.raises(ConnectionError, match="(?s)" + message):
        load(root, download=True)
    assert not list(root.rglob("*.tmp")) and not (root / "celeba" / celeba.ARCHIVE).exists()


def test_no_network(served, root, monkeypatch):
    monkeypatch.setattr(celeba, "OFFICIAL", "http://127.0.0.1:9/")
    monkeypatch.setattr(celeba, "MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(ConnectionError, match=r'(?s)officielle.*refused.*miroir.*refused.*load_images\("faces"\)'):
        load(root, download=True)


def test_silent_server(served, root, monkeypatch):
    def silent(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(download.urllib.request, "urlopen", silent)
    with pytest.raises(ConnectionError, match="aucune réponse en 30 s"):
        load(root, download=True)


def test_no_room_said_before_downloading(served, root, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(10**6, 10**6, 1_000))
    needed = sum(map(len, published().values()))
    with pytest.raises(OSError, match=rf"\({needed} octets\).*1,0 ko") as caught:
        load(root, download=True)
    assert caught.value.errno == errno.ENOSPC and not served[1]


def test_disk_full_while_downloading(served, root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_copy", full)
    with pytest.raises(OSError, match="Disque plein") as caught:
        load(root, download=True)
    assert caught.value.errno == errno.ENOSPC and not list(root.rglob("*.tmp")) and len(served[1]) == 1


def test_download_forbidden(root):
    with pytest.raises(FileNotFoundError, match=r"list_attr.*, img_align_celeba\.zip.*download=False.*À la main"):
        load(root)


def test_published_constants_are_those_of_torchvision():
    datasets = pytest.importorskip("torchvision.datasets")
    official = {file: (drive, md5) for drive, md5, file in datasets.CelebA.file_list}
    for file, _, md5, drive in celeba.PUBLISHED:
        assert official[file] == (drive, md5)


def test_real_faces(shared_data, tmp_path):
    """Trois cents vrais visages : attributs alignés, carré central comme Resize + CenterCrop."""
    with np.load(shared_data / "celeba_10k.npz") as stored:
        content, starts = stored["octets"].tobytes(), stored["debuts"]
        expected, names = stored["attributs"][:300], stored["noms_attributs"]
    faces = [content[starts[i] : starts[i + 1]] for i in range(300)]
    with zipfile.ZipFile(tmp_path / celeba.ARCHIVE, "w") as archive:
        for i, face in enumerate(faces):
            archive.writestr(f"img_align_celeba/{name(i)}", face)
    rows = [f"{name(i)} " + " ".join(str(2 * int(flag) - 1) for flag in line) for i, line in enumerate(expected)]
    (tmp_path / celeba.ATTRIBUTES).write_text("\n".join(["300", " ".join(names), *rows]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = load(tmp_path, size=64)
    assert np.array_equal(images.factors.numpy(), expected) and images.factor_names == tuple(names)
    transforms = pytest.importorskip("torchvision.transforms")
    usual = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.PILToTensor()])
    for i in range(0, 300, 30):
        reference = usual(Image.open(io.BytesIO(faces[i])))
        assert (images.images[i].float() - reference.float()).abs().mean() < 6
