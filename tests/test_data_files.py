"""Lecture sur place de dossiers : tous les modes, et tout ce qui peut mal tourner."""

import errno
import os
import struct

import numpy as np
import pytest
from pictures import BLUE, RED, encoded, load, noise, pack, plain, write
from PIL import Image

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


def test_no_labels_when_folders_are_not_classes(folder, tmp_path):
    write(folder, {"un/1.png": encoded(plain()), "un/2.png": encoded(plain())})
    assert load(folder, tmp_path).labels is None
    write(folder, {"3.png": encoded(plain()), "deux/4.png": encoded(plain())})
    assert load(folder, tmp_path).labels is None


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


def test_too_many_broken_images(folder, tmp_path):
    jpeg = encoded(noise(), "JPEG")
    write(folder, {"bonne.jpg": jpeg, "tronquee.jpg": jpeg[: len(jpeg) // 2]})
    with pytest.raises(ValueError, match=r"tronquee\.jpg"):
        load(folder, tmp_path)
    assert not list((tmp_path / "root").rglob("*.*"))


def test_skips_in_several_blocks(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "BLOCK", 3)
    write(folder, {f"{i}.png": encoded(plain((i, 0, 0))) if i != 4 else b"abime" for i in range(8)})
    with pytest.warns(UserWarning, match=r"4\.png"):
        images = load(folder, tmp_path)
    assert images.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_too_many_pixels(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 50)
    write(folder, {"enorme.png": encoded(plain())})
    with pytest.raises(ValueError, match="enorme.png.*20 × 20"):
        load(folder, tmp_path)


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


@pytest.mark.parametrize("channels", [True, 3.0, np.array([3, 1]), "3", None])
def test_channels_is_an_integer(folder, tmp_path, channels):
    write(folder, {"a.png": encoded(plain())})
    with pytest.raises(TypeError, match="channels doit être un entier"):
        load(folder, tmp_path, channels=channels)
