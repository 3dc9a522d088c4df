"""Dossier ou archive .zip d'images : les trouver, leurs classes, leurs octets ; `decoding` en fait des pixels.

Une archive n'est jamais dépliée sur le disque : chaque entrée est lue en mémoire, sans dépasser la taille qu'elle
déclare.
"""

import hashlib
import io
import os
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_course.engine.files import readable_bytes

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_BYTES = 256 * 10**6  # un fichier d'image plus gros n'en est sans doute pas une
EMPTY_ARCHIVE = b"PK\5\6" + bytes(18)
NAMED = 5  # fichiers nommés dans un message ; au-delà, on compte

Entry = Path | zipfile.ZipInfo


class Listing(NamedTuple):
    """Ce qu'il y a à lire : noms relatifs, où les lire, et les classes des sous-dossiers (ou None)."""

    names: list[str]
    entries: list[Entry]
    labels: np.ndarray | None
    class_names: list[str] | None


@contextmanager
def permissions_in_french() -> Iterator[None]:
    """Dit en français quel fichier le système refuse de lire, si personne ne l'a encore dit."""
    try:
        yield
    except PermissionError as error:
        if error.filename is None:
            raise
        raise PermissionError(
            f"Impossible de lire « {error.filename} » ({error.strerror}). Vérifiez vos droits sur ce fichier et "
            "sur les dossiers qui le contiennent."
        ) from error


def named(names: list[str]) -> str:
    """Les premiers de ces noms, séparés par des virgules, et leur nombre s'il y en a d'autres."""
    return ", ".join(names[:NAMED]) + (f"… ({len(names)} en tout)" if len(names) > NAMED else "")


def _parts(name: str) -> tuple[str, ...]:
    """« a/./b//c.png » → a, b, c.png : les `parts` d'un PurePosixPath, dix fois plus vite."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _is_image(name: str) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in _parts(name))
    return name.lower().endswith(SUFFIXES) and not hidden


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError, struct.error) as error:
        raise ValueError(
            f"L'archive « {path} » est illisible ({error}). Téléchargez-la de nouveau, en entier."
        ) from error


def _escapes(info: zipfile.ZipInfo, name: str) -> bool:
    """Vrai pour une entrée qui, dépliée, sortirait du dossier : absolue, remontante, ou lien symbolique."""
    climbs = name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in _parts(name)
    return bool(climbs) or stat.S_ISLNK(info.external_attr >> 16)


def _zip_entries(path: Path) -> tuple[dict[str, Entry], int]:
    """Images d'une archive, par nom, et nombre de fichiers ; ignore et nomme les entrées qui sortent."""
    with _open_archive(path) as archive:
        entries = [info for info in archive.infolist() if info.filename and not info.is_dir()]
        files = {info.filename.replace("\\", "/"): info for info in entries}
    escaping = {name for name, info in files.items() if _escapes(info, name)}
    if escaping:
        message = f"Entrées de « {path.name} » ignorées, elles en sortent : {named(sorted(escaping))}."
        warnings.warn(message, stacklevel=2)
    images = {name: info for name, info in files.items() if _is_image(name) and name not in escaping}
    if any(info.flag_bits & 1 for info in images.values()):
        raise ValueError(
            f"L'archive « {path} » est protégée par un mot de passe. Dépliez-la et donnez le dossier."
        )
    return images, len(files)


def _folder_entries(path: Path) -> tuple[dict[str, Entry], int]:
    """Images d'un dossier et de ses sous-dossiers, par nom relatif, et nombre total de fichiers."""

    def refuse(error: OSError) -> None:
        raise error

    files, seen = {}, set()
    for folder, subfolders, names in os.walk(path, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(folder))  # un lien vers un dossier se suit, sauf s'il tourne en rond
        subfolders[:] = [name for name in subfolders if os.path.realpath(os.path.join(folder, name)) not in seen]
        files |= {(Path(folder, name).relative_to(path)).as_posix(): Path(folder, name) for name in names}
    return {name: file for name, file in files.items() if _is_image(name) and file.is_file()}, len(files)


def fingerprint(path: Path) -> str:
    """Empreinte d'une source, sans lire ses images.

    Dossier : nom, taille et date de chaque image. Archive : taille, date, et sa fin, où est la table des
    matières.
    """
    digest = hashlib.blake2b(digest_size=8)
    if path.is_dir():
        for name, file in sorted(_folder_entries(path)[0].items()):
            status = file.stat()
            digest.update(f"{name}|{status.st_size}|{status.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    else:
        status = path.stat()
        digest.update(f"{status.st_size}|{status.st_mtime_ns}".encode())
        with open(path, "rb") as file:
            file.seek(max(0, status.st_size - 65_536))
            digest.update(file.read())
    return digest.hexdigest()


def list_images(path: Path, split: str = "train") -> Listing:
    """Les images de `path`, triées par nom, et leurs classes.

    Les dossiers communs à toutes les images ne comptent pas. S'il reste un dossier nommé `split` (« train »,
    « test »), on n'y lit que lui. Si alors toutes les images sont dans des sous-dossiers, ce sont les
    classes, par ordre alphabétique. Lève ValueError s'il n'y a aucune image, si l'archive est illisible ou
    chiffrée, ou si le dossier « test » manque.
    """
    found, total = _folder_entries(path) if path.is_dir() else _zip_entries(path)
    kind = "Le dossier" if path.is_dir() else "L'archive"
    if not found:
        content = f"contient {total} fichier(s), mais aucune image" if total else "est vide"
        raise ValueError(f"{kind} « {path} » {content}. Extensions lues : {', '.join(SUFFIXES)}.")
    names = sorted(found)
    folders = [_parts(name)[:-1] for name in names]
    depth = len(os.path.commonprefix(folders))
    in_split = [len(parts) > depth and parts[depth] == split for parts in folders]
    if any(in_split):
        names = [name for name, inside in zip(names, in_split) if inside]
        folders = [parts for parts, inside in zip(folders, in_split) if inside]
        depth = len(os.path.commonprefix(folders))
    elif split != "train":
        raise ValueError(f'{kind} « {path} » n\'a pas de sous-dossier « {split} ». Utilisez split="train".')
    labels = class_names = None
    if all(len(parts) > depth for parts in folders):
        class_names = sorted({parts[depth] for parts in folders})
        number = {name: label for label, name in enumerate(class_names)}
        labels = np.array([number[parts[depth]] for parts in folders], dtype=np.int64)
    return Listing(names, [found[name] for name in names], labels, class_names)


def within(listing: Listing, folder: str) -> Listing:
    """Les seules images rangées dans un dossier nommé `folder`, sans classes ; `folder` vide : `listing` même."""
    if not folder:
        return listing
    kept = [i for i, name in enumerate(listing.names) if folder in _parts(name)[:-1]]
    kept = kept or range(len(listing.names))
    return Listing([listing.names[i] for i in kept], [listing.entries[i] for i in kept], None, None)


class Reader:
    """Lit les octets d'une image de `path`, dossier ou archive, jamais plus que déclaré ni que MAX_BYTES."""

    def __init__(self, path: Path) -> None:
        self._path, self._process, self._file = path, None, None

    def __call__(self, entry: Entry) -> bytes:
        if isinstance(entry, Path):
            _bounded(entry.stat().st_size)
            return entry.read_bytes()
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("compression inhabituelle, dont la taille ne peut être bornée")
        if self._process != os.getpid():  # ouvert une fois pour deux processus, le fichier n'aurait qu'un curseur
            self.close()
            self._process, self._file = os.getpid(), open(self._path, "rb")
            # L'entrée dit où elle est : relire le sommaire, cent mégaoctets pour CelebA, ne servirait à rien.
            self._archive = zipfile.ZipFile(io.BytesIO(EMPTY_ARCHIVE))
            self._archive.fp = self._file
        with self._archive.open(entry) as file:  # zipfile s'arrête à la taille déclarée, puis vérifie le CRC
            return file.read(_bounded(entry.file_size) + 1)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _bounded(count: int) -> int:
    if not 0 < count <= MAX_BYTES:
        raise ValueError("fichier vide" if not count else f"{readable_bytes(count)}, c'est trop")
    return count
