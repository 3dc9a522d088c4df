"""Lecture sur place de dossiers : tous les modes, et tout ce qui peut mal tourner."""

import errno
import io
import os
import struct
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from pictures import BLUE, RED, encoded, load, noise, pack, plain, write
from PIL import EpsImagePlugin, Image, PpmImagePlugin

from gan_course.data import decoding, folders


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def animated_gif():
    frames = [plain(RED), plain(BLUE)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def palette_with_transparency():
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(1, (0, 0, 20, 10))
    return encoded(image, transparency=0)


MODES = {  # nom : (octets, couleur attendue au milieu du haut, couleur attendue au milieu du bas)
    "rvb.png": (encoded(plain()), RED, RED),
    "gris.png": (encoded(Image.new("L", (20, 20), 100)), (100,) * 3, (100,) * 3),
    "un_bit.png": (encoded(Image.new("1", (20, 20), 1)), (255,) * 3, (255,) * 3),
    "cmjn.jpg": (encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG"), RED, RED),
    "cmjn.tif": (encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "TIFF"), RED, RED),
    "16bits.png": (encoded(Image.fromarray(np.full((20, 20), 25_700, np.uint16))), (100,) * 3, (100,) * 3),
    "f.tif": (encoded(Image.fromarray(np.full((20, 20), 0.4, np.float32)), "TIFF"), (102,) * 3, (102,) * 3),
    "palette.png": (encoded(plain(BLUE).convert("P")), BLUE, BLUE),
    "palette_trouee.png": (palette_with_transparency(), RED, (255,) * 3),
    "alpha.png": (encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0))), (255,) * 3, (255,) * 3),
    "demi.png": (encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 128))), (255, 127, 127), (255, 127, 127)),
    "gris_alpha.png": (encoded(Image.new("LA", (20, 20), (0, 0))), (255,) * 3, (255,) * 3),
    "anime.gif": (animated_gif(), RED, RED),
    "un_pixel.png": (encoded(plain(BLUE, (1, 1))), BLUE, BLUE),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(folder, tmp_path, name):
    content, top, bottom = MODES[name]
    write(folder, {name: content})
    images = load(folder, tmp_path)
    assert images.images.shape == (1, 3, 16, 16) and images.labels is None
    for row, colour in ((2, top), (13, bottom)):
        assert np.abs(images.images[0, :, row, 8].numpy().astype(int) - colour).max() <= 2


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_grey(folder, tmp_path, name):
    write(folder, {name: MODES[name][0]})
    assert load(folder, tmp_path, channels=1).image_shape == (1, 16, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_central_square(folder, tmp_path, kind, size):
    image = plain(BLUE, size)
    image.paste(RED, (size[0] // 2 - 50, size[1] // 2 - 50, size[0] // 2 + 50, size[1] // 2 + 50))
    write(folder, {"image." + kind.lower(): encoded(image, kind)})
    middle = load(folder, tmp_path).images[0, :, 1:-1, 1:-1].permute(1, 2, 0).reshape(-1, 3).numpy()
    assert np.abs(middle.astype(int) - RED).max() < 30


def test_exif_orientation(folder, tmp_path):
    image = plain(BLUE, (40, 40))
    image.paste(RED, (0, 0, 40, 20))  # rouge en haut ; l'orientation 3 dit que l'appareil était à l'envers
    exif = Image.Exif()
    exif[0x0112] = 3
    write(folder, {"telephone.jpg": encoded(image, "JPEG", exif=exif)})
    pixels = load(folder, tmp_path).images[0]
    assert pixels[2, 2, 8] > 200 and pixels[0, 13, 8] > 200


def test_jpeg_draft_stays_close_to_full_decoding(folder, tmp_path):
    smooth = noise(16).resize((512, 512), Image.Resampling.BICUBIC)
    write(folder, {"a.jpg": encoded(smooth, "JPEG", quality=95), "b.png": encoded(smooth)})
    a, b = load(folder, tmp_path).images.float()
    assert (a - b).abs().mean() < 4


def test_sub_folders_are_classes_in_folder_and_zip(folder, tmp_path):
    contents = {
        "chats/1.png": encoded(plain(RED)),
        "chats/loin/2.png": encoded(plain(RED)),
        "chiens/1.PNG": encoded(plain(BLUE)),
        "notes.txt": b"rien",
        "__MACOSX/chats/._1.png": b"rien",
        ".cache/3.png": b"rien",
    }
    write(folder, contents)
    pack(tmp_path / "images.zip", {f"images/{name}": content for name, content in contents.items()})
    for path in (folder, tmp_path / "images.zip", str(folder)):
        images = load(path, tmp_path)
        assert images.class_names == ("chats", "chiens") and images.labels.tolist() == [0, 0, 1]
        assert images.images[:, 0, 0, 0].tolist() == [255, 255, 0]


def test_one_folder_is_not_a_class(folder, tmp_path):
    write(folder, {"un/1.png": encoded(plain()), "un/2.png": encoded(plain())})
    assert load(folder, tmp_path).labels is None
    write(folder, {"3.png": encoded(plain())})
    images = load(folder, tmp_path)
    assert images.labels is None and len(images) == 3


def test_a_stray_file_does_not_cost_the_labels(folder, tmp_path):
    contents = {f"images/{name}/{i}.png": encoded(plain()) for name in ("chats", "chiens") for i in range(3)}
    contents |= {"apercu.png": encoded(plain(BLUE))}
    write(folder, contents)
    for path in (folder, pack(tmp_path / "images.zip", contents)):
        with pytest.warns(UserWarning, match=r"1 image\(s\) à côté des dossiers de classes, ignorée.*apercu\.png"):
            images = load(path, tmp_path)
        assert images.labels.tolist() == [0, 0, 0, 1, 1, 1] and images.class_names == ("chats", "chiens")


def test_many_files_beside_the_folders_are_said(folder, tmp_path):
    write(folder, {f"{i}.png": encoded(plain()) for i in range(6)})
    write(folder, {"un/a.png": encoded(plain()), "deux/b.png": encoded(plain())})
    with pytest.warns(UserWarning, match="6 images sur 8 ne sont dans aucun sous-dossier.*pas d'étiquettes"):
        images = load(folder, tmp_path)
    assert images.labels is None and len(images) == 8


def test_split_folders(folder, tmp_path):
    contents = {
        f"{split}/{name}/{i}.png": encoded(plain((i, 0, 0)))
        for split, n in (("train", 3), ("test", 1))
        for name in "ab"
        for i in range(n)
    }
    write(folder, contents)
    for path in (folder, pack(tmp_path / "images.zip", contents)):
        train, test = load(path, tmp_path), load(path, tmp_path, split="test")
        assert (len(train), len(test)) == (6, 2) and train.class_names == test.class_names == ("a", "b")


def test_split_test_needs_its_folder(folder, tmp_path):
    write(folder, {"1.png": encoded(plain())})
    with pytest.raises(ValueError, match="test"):
        load(folder, tmp_path, split="test")


def test_folders_without_images(folder, tmp_path):
    with pytest.raises(ValueError, match="est vide"):
        load(folder, tmp_path)
    write(folder, {"a.txt": b"texte", "b.csv": b"1,2"})
    with pytest.raises(ValueError, match=r"2 fichier\(s\), mais aucune image.*\.png"):
        load(folder, tmp_path)


def test_truncated_images_are_skipped_counted_and_named(folder, tmp_path):
    jpeg = encoded(noise(), "JPEG")
    write(folder, {f"classe{i % 2}/{i}.jpg": jpeg for i in range(8)})
    write(folder, {"classe1/tronquee.jpg": jpeg[: len(jpeg) // 2], "classe1/vide.png": b""})
    with pytest.warns(UserWarning, match=r"2 image\(s\) sur 10 .*tronquee\.jpg .*vide\.png \(fichier vide\)"):
        images = load(folder, tmp_path)
    assert len(images) == 8 and images.labels.tolist() == [0] * 4 + [1] * 4
    assert load(folder, tmp_path).images.shape == (8, 3, 16, 16)


@pytest.mark.parametrize("good, bad, refused", [(5, 2, False), (4, 3, True), (2, 1, False), (1, 1, True), (2, 2, True)])
def test_a_few_broken_images_of_a_small_set_are_skipped(folder, tmp_path, good, bad, refused):
    write(folder, {f"{i}.png": encoded(plain()) for i in range(good)} | {f"x{i}.png": b"abime" for i in range(bad)})
    if refused:
        with pytest.raises(ValueError, match=r"Trop d'images illisibles.*x0\.png"):
            load(folder, tmp_path)
        assert not list((tmp_path / "root").rglob("*.*"))
    else:
        with pytest.warns(UserWarning, match=rf"{bad} image\(s\) sur {good + bad}"):
            assert len(load(folder, tmp_path)) == good


def test_too_many_pixels(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 50)
    write(folder, {"enorme.png": encoded(plain())})
    with pytest.raises(ValueError, match="enorme.png.*20 × 20"):
        load(folder, tmp_path)


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 20 20
1 0 0 setrgbcolor 0 0 20 20 rectfill
showpage
%%EOF
"""


def test_no_other_program_is_given_a_picture(folder, tmp_path, monkeypatch):
    """Un EPS, même renommé, irait à Ghostscript, qui exécute ce qu'il lit."""

    def refuse(*_, **__):
        raise AssertionError("un programme extérieur est lancé")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert Image.open(io.BytesIO(POSTSCRIPT)).format == "EPS"  # Pillow, sans liste, le prend
    write(folder, {"dessin.png": POSTSCRIPT, "bonne.png": encoded(plain()), "autre.png": encoded(plain())})
    with pytest.warns(UserWarning, match=r"dessin\.png \(ce n'est pas une image connue\)"):
        assert len(load(folder, tmp_path)) == 2


def test_phone_pictures_need_their_package(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # comme s'il n'était pas installé
    write(folder, {"a.png": encoded(plain()), "IMG_1.HEIC": b"...", "IMG_2.heic": b"...", "._IMG_3.heic": b"..."})
    for path in (folder, pack(tmp_path / "a.zip", {"a.png": encoded(plain()), "IMG_1.HEIC": b"", "IMG_2.heic": b""})):
        with pytest.warns(UserWarning, match=r"2 image\(s\) \.heic.*IMG_1\.HEIC, IMG_2\.heic.*pip install pillow-heif"):
            assert len(load(path, tmp_path)) == 1
    (folder / "a.png").unlink()
    with pytest.warns(UserWarning, match="pillow-heif"), pytest.raises(ValueError, match="aucune image"):
        load(folder, tmp_path)


def test_phone_pictures_are_read_with_it(folder, tmp_path, monkeypatch):
    """Un faux pillow-heif : ses fichiers sont des PPM précédés de quatre lettres."""

    class Opener(PpmImagePlugin.PpmImageFile):
        format = "HEIF"

        def _open(self):
            assert self.fp.read(4) == b"heic"
            self.fp = io.BytesIO(self.fp.read())
            super()._open()

    def register():
        Image.register_open("HEIF", Opener, lambda prefix: prefix[:4] == b"heic")

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(register_heif_opener=register))
    write(folder, {"IMG_1.HEIC": b"heic" + encoded(plain(BLUE), "PPM"), "b.png": encoded(plain())})
    assert load(folder, tmp_path).images[:, 2, 8, 8].tolist() == [255, 0]


def test_n_pictures_are_spread_over_classes(folder, tmp_path):
    write(folder, {f"a/{i}.png": encoded(plain((i, 0, 0))) for i in range(8)})
    write(folder, {f"b/{i}.png": encoded(plain((100 + i, 0, 0))) for i in range(2)})
    images = load(folder, tmp_path, n=6)
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1] and images.class_names == ("a", "b")
    assert images.images[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 100, 101]
    assert load(folder, tmp_path, n=3).labels.tolist() == [0, 0, 1]
    assert len(load(folder, tmp_path, n=10)) == 10
    with pytest.raises(ValueError, match="n=11.*10"):
        load(folder, tmp_path, n=11)


def test_n_pictures_of_a_plain_folder_are_spaced(folder, tmp_path):
    write(folder, {f"{i}.png": encoded(plain((i, 0, 0))) for i in range(9)})
    assert load(folder, tmp_path, n=3).images[:, 0, 0, 0].tolist() == [0, 3, 6]


def flag():
    """Rouge, vert, bleu, en trois bandes verticales : 60 × 20."""
    image = plain(BLUE, (60, 20))
    image.paste(RED, (0, 0, 20, 20))
    image.paste((0, 255, 0), (20, 0, 40, 20))
    return image


@pytest.mark.parametrize("turned", [False, True])
def test_crops(folder, tmp_path, turned):
    image = flag().transpose(Image.Transpose.ROTATE_270) if turned else flag()  # rouge à gauche, ou en haut
    write(folder, {"drapeau.png": encoded(image)})

    def line(crop):
        pixels = load(folder, tmp_path, size=30, crop=crop).images[0].permute(1, 2, 0)
        return (pixels if turned else pixels.transpose(0, 1)).int()

    assert line("center")[15, 15].tolist() == [0, 255, 0] and line("center")[2, 2].tolist() == [0, 255, 0]
    for crop, across in (("fit", 15), (None, 2)):
        found = [line(crop)[place, across].tolist() for place in (4, 15, 25)]
        assert (torch.tensor(found) - torch.tensor([RED, (0, 255, 0), BLUE])).abs().max() < 10
    assert line("fit")[15, 2].tolist() == line("fit")[15, 27].tolist() == [255, 255, 255]
    assert line("fit")[:, 10:20].min(dim=2).values.max() < 10  # du bord au bord, l'image occupe un tiers


def test_crop_fit_keeps_very_long_images(folder, tmp_path):
    write(folder, {"fil.png": encoded(plain(RED, (1, 5_000)))})
    image = load(folder, tmp_path, size=8, crop="fit").images[0]
    assert (image[1] == 0).sum() == 8 and image.shape == (3, 8, 8)


def test_flip_follows_each_picture_with_its_mirror(folder, tmp_path):
    write(folder, {f"{name}/{i}.png": encoded(noise(16, i)) for name in "ab" for i in range(3)})
    once, twice = load(folder, tmp_path), load(folder, tmp_path, flip=True)
    assert torch.equal(twice.images[::2], once.images) and torch.equal(twice.images[1::2], once.images.flip(-1))
    assert twice.labels.tolist() == [0] * 6 + [1] * 6 and twice.class_names == ("a", "b")
    assert len(load(folder, tmp_path, flip=True, n=2)) == 4


@pytest.mark.parametrize("wrong, error", [
    ({"crop": "milieu"}, ValueError), ({"flip": 1}, TypeError), ({"n": 0}, ValueError), ({"n": 2.5}, TypeError),
    ({"channels": 4}, ValueError), ({"channels": True}, TypeError), ({"channels": None}, TypeError),
])  # fmt: skip
def test_picture_options_refused(folder, tmp_path, wrong, error):
    write(folder, {"a.png": encoded(plain())})
    with pytest.raises(error, match=next(iter(wrong))):
        load(folder, tmp_path, **wrong)


def test_decompression_bomb_image(folder, tmp_path):
    bomb = Image.new("1", (1, 1))
    header = encoded(bomb)
    huge = header[:16] + struct.pack(">II", 100_000, 100_000) + header[24:]  # IHDR menteur, CRC faux
    write(folder, {"bombe.png": huge, "bonne.png": encoded(plain())})
    with pytest.raises(ValueError, match="bombe.png"):
        load(folder, tmp_path)


def test_linked_folders_are_read_once(folder, tmp_path):
    write(tmp_path / "ailleurs", {"a.png": encoded(plain()), "b.png": encoded(plain(BLUE))})
    write(folder, {"chiens/c.png": encoded(plain())})
    (folder / "chats").symlink_to(tmp_path / "ailleurs", target_is_directory=True)
    (folder / "chiens" / "boucle").symlink_to(folder, target_is_directory=True)
    listing = folders.list_images(folder)
    assert listing.names == ["chats/a.png", "chats/b.png", "chiens/c.png"]
    assert listing.class_names == ["chats", "chiens"]


def test_a_folder_that_cannot_be_listed_is_said(folder, monkeypatch, tmp_path):
    """Les essais tournent parfois en root, à qui rien n'est refusé : on simule le refus."""
    write(folder, {"a/c.png": encoded(plain()), "b/d.png": encoded(plain())})
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="Impossible de lire «.*b.» .*Vérifiez vos droits"):
        load(folder, tmp_path)
