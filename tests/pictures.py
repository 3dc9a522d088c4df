"""Petites images et archives que les essais de lecture écrivent."""

import io
import random
import zipfile

from PIL import Image

from gan_course.data import load_images

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(colour=RED, size=(20, 20)):
    return Image.new("RGB", size, colour)


def noise(size=64, seed=0):
    return Image.frombytes("RGB", (size, size), random.Random(seed).randbytes(size * size * 3))


def write(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def pack(path, contents, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def load(path, tmp_path, **options):
    return load_images(path, root=tmp_path / "root", **{"size": 16} | options)
