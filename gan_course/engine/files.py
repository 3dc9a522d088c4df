"""Fichiers : écrire tout ou rien, et dire en français qu'un dossier refuse ou que le disque est plein."""

import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar

from gan_course.engine.numbers import french

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

Piece = TypeVar("Piece")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def readable_bytes(count: int) -> str:
    """« 2,5 Go » pour 2 500 000 000."""
    for unit, factor in (("Go", 10**9), ("Mo", 10**6), ("ko", 10**3)):
        if count >= factor:
            return f"{french(count / factor, 1)} {unit}"
    return f"{count} octets"


def disk_full(folder: Path, what: str, needed: int) -> OSError:
    """L'erreur à lever quand `what`, qui demande `needed` octets, ne tient pas dans `folder`."""
    free = shutil.disk_usage(folder).free
    return OSError(
        errno.ENOSPC,
        f"Disque plein : {what} demande {readable_bytes(needed)} ({needed} octets) dans « {folder} ». Place libre : "
        f"{readable_bytes(free)}. Libérez de la place, ou changez de dossier (root=…).",
    )


def check_writable(folder: Path) -> None:
    """Crée `folder` s'il le faut et y écrit un fichier d'essai ; PermissionError si c'est impossible."""
    probe = folder / f"essai-{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(errno.ENOSPC, f"Disque plein : rien ne tient dans « {folder} ».") from error
        raise PermissionError(
            f"Impossible d'écrire dans « {folder} » ({error.strerror or error}). Choisissez-en un autre : "
            'load_images(…, root="mon_dossier"), ou la variable d\'environnement GAN_COURSE_DATA.'
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Fichier à écrire, qui ne prend le nom `path` qu'une fois entier ; en cas d'échec il n'en reste rien."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "x+b") as file:  # « + » : qui l'écrit peut le relire, pour en noter le condensé
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except PermissionError:
            if not path.exists():  # Windows : s'il est ouvert ailleurs, un autre vient de l'écrire
                raise
    finally:
        temporary.unlink(missing_ok=True)


def lock(file: BinaryIO) -> bool | None:
    """Verrouille `file` pour ce processus : True, False si un autre le tient, None si le disque ne sait pas faire.

    lockf plutôt que flock : un processus enfant n'en hérite pas, et ne peut donc retenir le verrou d'un parent tué.
    """
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK) else None
    return True


def in_kernel() -> bool:
    """Vrai dans un carnet (Jupyter, Colab, papermill), faux dans un terminal, IPython compris."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython() if ipython else None, "kernel", None) is not None


def aside() -> TextIO:
    """Là où dire où l'on en est : stderr, sauf dans un carnet, qui le montrerait en rouge comme une erreur."""
    return sys.stdout if in_kernel() else sys.stderr


def announce(pieces: Iterable[Piece], line: Callable[[float], str]) -> Iterator[Piece]:
    """Rend `pieces` ; au-delà de 2 s, écrit `line(secondes)`, où l'on en est, une fois par seconde (voir aside)."""
    start = last = time.monotonic()
    for piece in pieces:
        yield piece
        now = time.monotonic()
        if now - start >= 2 and now - last >= 1:
            last = now
            print(f"\r{line(now - start):<78}", end="", file=aside(), flush=True)
    if last > start:
        print(file=aside())
