"""Ce qui a coûté du temps à décoder est gardé dans un fichier .npy, relu ensuite par projection en mémoire.

Deux fichiers par jeu : NOM.npy (les images) et NOM.npz (étiquettes, noms, facteurs, contrôle du premier). Chacun est
écrit à côté puis renommé, les images en dernier : tant que le .npy n'est pas là, rien n'est là, et deux
constructions simultanées ne se gênent pas. On écrit par `write`, jamais dans une projection : disque plein, celle-ci
tuerait le processus (SIGBUS).
"""

import errno
import hashlib
import math
import re
import shutil
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from gan_course.data.images import ImageSet
from gan_course.engine.files import DISK_FULL, atomic_write, check_writable, readable_bytes

Side = dict[str, np.ndarray]  # "labels" int64 (k,), "factors" float32 (k, P) ; ou des noms, "class_names"…
Block = tuple[np.ndarray, Side]  # images uint8 (k, C, H, W), et ce qui les accompagne
VERSION = 5  # à augmenter quand le décodage change : les anciens fichiers ne sont alors plus reconnus
WHOLE = 64 * 10**6  # octets : jusque-là un fichier est vérifié, puis lu, en entier ; au-delà, par morceaux
SAMPLES, SAMPLE = 64, 2**18  # ces morceaux, également espacés : 16 Mo, un centième de seconde sur un disque rapide


def cache_path(root: Path, name: str, size: int, *key: object) -> Path:
    """Fichier qui garde le jeu `name` à la taille `size` ; `key` : tout ce dont dépend son contenu."""
    content = repr((VERSION, *key)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40]
    return root / "cache" / f"{readable}-{size}px-{digest}.npy"


def _image_set(images: np.ndarray, side: Side) -> ImageSet:
    labels, factors = side.get("labels"), side.get("factors")
    return ImageSet(
        torch.from_numpy(images),
        None if labels is None else torch.from_numpy(labels),
        side["class_names"].tolist() if "class_names" in side else None,
        factors=None if factors is None else torch.from_numpy(factors),
        factor_names=side["factor_names"].tolist() if "factor_names" in side else None,
    )


def _joined(sides: Iterable[Side]) -> Side:
    sides = list(sides)
    return {key: np.concatenate([side[key] for side in sides]) for key in sides[0]}


def checksum(file: BinaryIO) -> int:
    """Somme de contrôle d'un fichier ouvert : sa taille et tous ses octets, ou SAMPLES morceaux s'il est gros."""
    size = file.seek(0, 2)
    starts = [0] if size <= WHOLE else np.linspace(0, size - SAMPLE, SAMPLES, dtype=np.int64).tolist()
    total = zlib.crc32(str(size).encode())
    for start in starts:
        file.seek(start)
        total = zlib.crc32(file.read(size if size <= WHOLE else SAMPLE), total)
    return total


def _open(path: Path) -> ImageSet:
    """Le jeu de `path` ; OSError, ValueError, KeyError… s'il manque quelque chose, ou si un octet a changé."""
    with open(path.with_suffix(".npz"), "rb") as file, np.load(file) as stored:
        side = dict(stored)  # un .npz est un zip : chaque tableau y a son contrôle
    with open(path, "rb") as file:
        if checksum(file) != side.pop("checksum"):
            raise ValueError(f"« {path} » est abîmé. Effacez-le et recommencez.")
    # Un fichier projeté que l'on coupe tue qui le lit : on ne projette que ce qui est gros. Mode "c", copie à
    # l'écriture : torch, qui veut un tableau modifiable, se tait ; le fichier reste intact.
    return _image_set(np.load(path, mmap_mode="c" if path.stat().st_size > WHOLE else None), side)


def read_cache(path: Path) -> ImageSet | None:
    """Le jeu gardé dans `path` ; None s'il n'y est pas, ou s'il est abîmé, ce que dit un avertissement : à refaire."""
    try:
        return _open(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
        if path.exists():
            warnings.warn(f"Le cache « {path.name} » est abîmé ou illisible : il est refait.", stacklevel=3)
        return None


def _write_header(file: BinaryIO, count: int, image_shape: tuple[int, ...]) -> None:
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *image_shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _remove_leftovers(folder: Path) -> None:
    """Efface les fichiers provisoires de plus d'un jour : ceux d'un processus tué net."""
    for leftover in folder.glob("*.tmp"):
        try:
            if time.time() - leftover.stat().st_mtime > 86_400:
                leftover.unlink()
        except OSError:
            pass  # un autre processus vient de l'effacer, ou il n'est pas à nous


@contextmanager
def _closed(blocks: Iterable[Block]) -> Iterator[Iterable[Block]]:
    """`blocks`, refermé quoi qu'il arrive : une erreur garde sinon en vie, dans un carnet, ceux qui décodent."""
    try:
        yield blocks
    finally:
        if hasattr(blocks, "close"):
            blocks.close()


def in_memory(blocks: Iterable[Block], names: Side) -> ImageSet:
    """Le jeu que rendent `blocks`, sans rien écrire."""
    images, sides = zip(*blocks)
    return _image_set(np.concatenate(images), names | _joined(sides))


def write_cache(
    path: Path, blocks: Iterable[Block], count: int, image_shape: tuple[int, ...], names: Side
) -> ImageSet:
    """Écrit dans `path` les images de `blocks` (au plus `count`, de forme `image_shape`) et rend le jeu relu.

    `names` : "class_names", "factor_names". Lève PermissionError si le dossier refuse l'écriture,
    OSError(ENOSPC) si la place manque, avant de commencer ou en route ; dans tous ces cas il ne reste aucun
    fichier.
    """
    check_writable(path.parent)
    _remove_leftovers(path.parent)
    needed, free = count * math.prod(image_shape), shutil.disk_usage(path.parent).free
    full = (
        f"Disque plein : pour {count} images, il faut {readable_bytes(needed)} ({needed} octets) dans "
        f"« {path.parent} ». Libérez de la place, ou changez de dossier (root=…) ou de taille (size=…)."
    )
    if needed > free:
        raise OSError(errno.ENOSPC, f"{full} Place libre : {readable_bytes(free)}.")
    written, sides = 0, []
    try:
        with _closed(blocks), atomic_write(path) as file:
            _write_header(file, count, image_shape)
            for images, side in blocks:
                file.write(np.ascontiguousarray(images).data)
                written += len(images)
                sides.append(side)
            _write_header(file, written, image_shape)  # il a pu falloir sauter des images illisibles
            control = np.array(checksum(file))
            with atomic_write(path.with_suffix(".npz")) as side_file:
                np.savez(side_file, checksum=control, **names, **_joined(sides))
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(errno.ENOSPC, full) from error
        raise
    finally:
        if not path.exists():
            path.with_suffix(".npz").unlink(missing_ok=True)
    return _open(path)


def write_or_keep(
    path: Path, blocks: Callable[[], Iterable[Block]], count: int, image_shape: tuple[int, ...], names: Side
) -> ImageSet:
    """`write_cache` si le dossier le permet ; sinon le jeu en mémoire, et un avertissement : il faudra le refaire."""
    try:
        return write_cache(path, blocks(), count, image_shape, names)
    except OSError as error:
        warnings.warn(f"{error} Les images restent en mémoire ; il faudra les refaire.", stacklevel=3)
        return in_memory(blocks(), names)


def announce(blocks: Iterable[Block], count: int, name: str) -> Iterator[Block]:
    """Rend `blocks` ; au-delà de 2 s, tient une ligne d'avancement sur stderr, une fois par seconde."""
    start = last = time.monotonic()
    done = 0
    with _closed(blocks):
        for block in blocks:
            yield block
            done += len(block[0])
            now = time.monotonic()
            if now - start >= 2 and now - last >= 1:
                last = now
                left = round((now - start) * (count - done) / max(done, 1))
                line = f"{name} : {done} images sur {count}, encore {left // 60} min {left % 60:02d} s"
                print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
    if last > start:
        line = f"{name} : {done} images prêtes en {time.monotonic() - start:.0f} s"
        print(f"\r{line:<78}", file=sys.stderr, flush=True)
