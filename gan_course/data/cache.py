"""Ce qui a coûté du temps à décoder est gardé dans un fichier, relu ensuite par projection en mémoire.

Un fichier par jeu : les images au format .npy et, à leur suite, une archive .npz (étiquettes, noms, facteurs, somme de
contrôle des images). Il est écrit à côté puis renommé : il n'y est pas, ou il y est entier, et deux constructions
simultanées ne se gênent pas. On écrit par `write`, jamais dans une projection : disque plein, celle-ci tuerait le
processus (SIGBUS).
"""

import errno
import hashlib
import math
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from gan_course.data.embedded import resize_stack
from gan_course.data.images import ImageSet
from gan_course.engine.files import DISK_FULL, announce, atomic_write, check_writable, disk_full

Side = dict[str, np.ndarray]  # "labels" int64 (k,), "factors" float32 (k, P) ; ou des noms, "class_names"…
Block = tuple[np.ndarray, Side]  # images uint8 (k, C, H, W), et ce qui les accompagne
VERSION = 6  # à augmenter quand le décodage change : les anciens fichiers ne sont alors plus reconnus
WHOLE = 64 * 10**6  # octets : jusque-là des images sont vérifiées, puis lues, en entier ; au-delà, par morceaux
SAMPLES, SAMPLE = 64, 2**18  # ces morceaux, également espacés : 16 Mo, un centième de seconde sur un disque rapide


class Making(NamedTuple):
    """De quoi faire un jeu : ses blocs, combien d'images au plus, leur forme (C, H, W), et les noms qui vont avec."""

    blocks: Generator[Block]
    count: int
    image_shape: tuple[int, int, int]
    names: Side  # "class_names", "factor_names"


def from_arrays(images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], size: int) -> Making:
    """Des images uint8 (N, C, H, W) déjà lues, à mettre à `size` × `size`, et leurs étiquettes int64 (N,)."""
    resized = resize_stack(torch.from_numpy(images), size).numpy()
    blocks = (block for block in [(resized, {"labels": labels})])
    return Making(blocks, len(images), resized.shape[1:], {"class_names": np.array(class_names)})


def stamp(file: Path) -> tuple[int, int]:
    """Taille et date d'un fichier : ce qui change quand il change."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def cached(
    root: Path, name: str, size: int, key: tuple, make: Callable[[], Making], or_in_memory: bool = False
) -> ImageSet:
    """Le jeu gardé sous `root` ; s'il n'y est pas, ou s'il est abîmé, celui que décrit `make()`, gardé à son tour.

    `key` : tout ce dont dépend son contenu, outre `name` et `size`. Lève PermissionError si le dossier refuse
    l'écriture, OSError(ENOSPC) si la place manque, avant de commencer ou en route ; il ne reste alors aucun fichier.
    `or_in_memory` : avertir au lieu de lever, et rendre le jeu sans le garder.
    """
    digest = hashlib.blake2b(repr((VERSION, *key)).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40]
    path = root / "cache" / f"{readable}-{size}px-{digest}.npy"
    try:
        return _open(path)
    except Exception:  # un fichier abîmé fait lever à numpy et à zipfile dix types d'erreur
        if path.exists():
            warnings.warn(f"Le cache « {path.name} » est abîmé ou illisible : il est refait.", stacklevel=3)
    making = make()
    try:
        _write(path, name, making)
        return _open(path)
    except OSError as error:
        if not or_in_memory:
            raise
        warnings.warn(f"{error} Les images restent en mémoire ; il faudra les refaire.", stacklevel=3)
    images, sides = zip(*make().blocks)
    return _image_set(np.concatenate(images), making.names | _joined(sides))


def _image_set(images: np.ndarray, side: Side) -> ImageSet:
    parts = {key: torch.from_numpy(x) if x.dtype.kind in "if" else x.tolist() for key, x in side.items()}
    return ImageSet(torch.from_numpy(images), **parts)


def _joined(sides: Iterable[Side]) -> Side:
    sides = list(sides)
    return {key: np.concatenate([side[key] for side in sides]) for key in sides[0]}


def checksum(images: np.ndarray) -> int:
    """Somme de contrôle de toutes ces images ou, si elles sont lourdes, de SAMPLES morceaux."""
    flat = images.reshape(-1)
    pieces, length = (1, flat.size) if flat.size <= WHOLE else (SAMPLES, SAMPLE)
    total = 0
    for start in np.linspace(0, flat.size - length, pieces, dtype=np.int64):
        total = zlib.crc32(flat[start : start + length], total)
    return total


def _open(path: Path) -> ImageSet:
    """Le jeu de `path` ; une erreur quelconque s'il y manque quelque chose, ou si un octet a changé."""
    with open(path, "rb") as file:
        side = dict(np.lib.npyio.NpzFile(file))  # un .npz est un zip : chaque tableau y a son contrôle
    # Un fichier projeté que l'on coupe tue qui le lit : on ne projette que ce qui est gros. Mode "c", copie à
    # l'écriture : torch, qui veut un tableau modifiable, se tait ; le fichier reste intact.
    images = np.load(path, mmap_mode="c" if path.stat().st_size > WHOLE else None)
    if checksum(images) != side.pop("checksum"):
        raise ValueError(f"« {path} » est abîmé. Effacez-le et recommencez.")
    return _image_set(images, side)


def _write(path: Path, name: str, making: Making) -> None:
    check_writable(path.parent)
    for leftover in path.parent.glob("*.tmp"):
        with suppress(OSError):  # un autre processus vient de l'effacer, ou il n'est pas à nous
            if time.time() - leftover.stat().st_mtime > 86_400:  # secondes : celui d'un processus tué net
                leftover.unlink()
    needed, written, sides = making.count * math.prod(making.image_shape), 0, []

    def line(seconds: float) -> str:
        left = round(seconds * (making.count - written) / max(written, 1))
        return f"{name} : {written} images sur {making.count}, encore {left // 60} min {left % 60:02d} s"

    try:
        # Refermés quoi qu'il arrive : une erreur garde sinon en vie, dans un carnet, les processus qui décodent.
        with closing(making.blocks), atomic_write(path) as file:
            if needed > shutil.disk_usage(path.parent).free:
                raise OSError(errno.ENOSPC, "")
            _write_header(file, making.count, making.image_shape)
            for images, side in announce(making.blocks, line):
                file.write(np.ascontiguousarray(images).data)
                written += len(images)
                sides.append(side)
            _write_header(file, written, making.image_shape)  # il a pu falloir sauter des images illisibles
            file.flush()
            control = np.array(checksum(np.load(file.name, mmap_mode="r")))
            file.seek(0, 2)
            np.savez(file, checksum=control, **making.names, **_joined(sides))
    except OSError as error:
        if error.errno in DISK_FULL:
            raise disk_full(path.parent, f"{making.count} images de {name}", needed) from error
        raise


def _write_header(file: BinaryIO, count: int, image_shape: tuple[int, int, int]) -> None:
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *image_shape)}
    np.lib.format.write_array_header_1_0(file, header)  # de même longueur pour tout `count`
