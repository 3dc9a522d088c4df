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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_course.engine.files import readable_bytes

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PHONE_SUFFIXES = (".heic", ".heif")  # les photographies des iPhone : Pillow ne les lit qu'avec pillow-heif
STRAYS = 3  # images posées à côté des dossiers de classes, que l'on ignore ; ou un vingtième du tout
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


def reads_heif() -> bool:
    """Vrai si l'on peut lire les .heic : il y faut pillow-heif, que cet appel branche sur Pillow."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _pictures(names: Iterable[str]) -> list[str]:
    """Ceux de ces noms qui sont des images que l'on sait lire."""
    suffixes = SUFFIXES + PHONE_SUFFIXES if reads_heif() else SUFFIXES
    return [name for name in names if name.lower().endswith(suffixes) and not _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in _parts(name))


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


def _zip_entries(path: Path) -> dict[str, Entry]:
    """Fichiers d'une archive, par nom ; ignore et nomme les entrées qui en sortent."""
    with _open_archive(path) as archive:
        entries = [info for info in archive.infolist() if info.filename and not info.is_dir()]
        files = {info.filename.replace("\\", "/"): info for info in entries}
    escaping = {name for name, info in files.items() if _escapes(info, name)}
    if escaping:
        message = f"Entrées de « {path.name} » ignorées, elles en sortent : {named(sorted(escaping))}."
        warnings.warn(message, stacklevel=2)
    if _pictures(name for name, info in files.items() if info.flag_bits & 1):
        raise ValueError(
            f"L'archive « {path} » est protégée par un mot de passe. Dépliez-la et donnez le dossier."
        )
    return {name: info for name, info in files.items() if name not in escaping}


def _folder_entries(path: Path) -> dict[str, Entry]:
    """Fichiers d'un dossier et de ses sous-dossiers, par nom relatif."""

    def refuse(error: OSError) -> None:
        raise error

    files, seen = {}, set()
    for folder, subfolders, names in os.walk(path, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(folder))  # un lien vers un dossier se suit, sauf s'il tourne en rond
        subfolders[:] = [name for name in subfolders if os.path.realpath(os.path.join(folder, name)) not in seen]
        files |= {(Path(folder, name).relative_to(path)).as_posix(): Path(folder, name) for name in names}
    return files


def fingerprint(path: Path) -> str:
    """Empreinte d'une source, sans lire ses images.

    Dossier : nom, taille et date de chaque image. Archive : taille, date, et sa fin, où est la table des
    matières.
    """
    digest = hashlib.blake2b(digest_size=8)
    if path.is_dir():
        found = _folder_entries(path)
        for name in sorted(_pictures(found)):
            if not (file := found[name]).is_file():
                continue
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
    « test »), on n'y lit que lui. Si alors les images sont dans des sous-dossiers, ce sont les classes, par ordre
    alphabétique ; quelques images restées à côté sont ignorées, et un avertissement les nomme. Lève ValueError s'il
    n'y a aucune image, si l'archive est illisible ou chiffrée, ou si le dossier « test » manque.
    """
    unpacked = path.is_dir()
    files = _folder_entries(path) if unpacked else _zip_entries(path)
    found = {name: files[name] for name in _pictures(files) if not unpacked or files[name].is_file()}
    kind = "Le dossier" if unpacked else "L'archive"
    _warn_of_phones(path, files)
    if not found:
        content = f"contient {len(files)} fichier(s), mais aucune image" if files else "est vide : aucune image"
        raise ValueError(f"{kind} « {path} » {content}. Extensions lues : {', '.join(SUFFIXES)}.")
    names = sorted(found)
    folders = [_parts(name)[:-1] for name in names]
    depth = len(os.path.commonprefix(folders))
    in_split = [k for k, parts in enumerate(folders) if parts[depth : depth + 1] == (split,)]
    if not in_split and split != "train":
        raise ValueError(f'{kind} « {path} » n\'a pas de sous-dossier « {split} ». Utilisez split="train".')
    kept, classes = _classes(names, folders, in_split or list(range(len(names))))
    names, class_names, labels = [names[k] for k in kept], None, None
    if classes is not None:
        class_names = sorted(set(classes))
        number = {name: label for label, name in enumerate(class_names)}
        labels = np.array([number[name] for name in classes], dtype=np.int64)
    return Listing(names, [found[name] for name in names], labels, class_names)


def _classes(names: list[str], folders: list[tuple], images: list[int]) -> tuple[list[int], list[str] | None]:
    """Parmi ces images, celles à garder, et le dossier de classe de chacune ; None si les dossiers n'en sont pas."""
    depth = len(os.path.commonprefix([folders[k] for k in images]))
    strays = [names[k] for k in images if len(folders[k]) == depth]
    if not strays:
        return images, [folders[k][depth] for k in images]
    inside = [k for k in images if len(folders[k]) > depth]
    inner = len(os.path.commonprefix([folders[k] for k in inside]))
    classes = [folders[k][inner] for k in inside if len(folders[k]) > inner]
    if len(set(classes)) < 2 or len(classes) < len(inside):
        return images, None
    if len(strays) > max(STRAYS, len(images) // 20):
        message = f"{len(strays)} images sur {len(images)} ne sont dans aucun sous-dossier : pas d'étiquettes."
        warnings.warn(f"{message} Rangez-les si vous en voulez : {named(strays)}.", stacklevel=3)
        return images, None
    message = f"{len(strays)} image(s) à côté des dossiers de classes, ignorée(s) : {named(strays)}."
    warnings.warn(f"{message} Pour les garder, rangez-les dans un de ces dossiers.", stacklevel=3)
    return inside, classes


def _warn_of_phones(path: Path, names: Iterable[str]) -> None:
    skipped = [name for name in names if name.lower().endswith(PHONE_SUFFIXES) and not _is_hidden(name)]
    if skipped and not reads_heif():
        message = f"{len(skipped)} image(s) .heic de « {path.name} » laissée(s) de côté : {named(sorted(skipped))}."
        warnings.warn(f"{message} Pour les lire : pip install pillow-heif, puis relancez.", stacklevel=2)


def spread(listing: Listing, n: int) -> Listing:
    """`n` images, en parts égales entre les classes, autant qu'elles en ont, et régulièrement espacées dans chacune.

    Lève ValueError s'il n'y en a pas tant.
    """
    total = len(listing.names)
    if n > total:
        raise ValueError(f"n={n} dépasse le nombre d'images, {total}. Baissez n, ou ne le donnez pas.")
    labels = np.zeros(total, np.int64) if listing.labels is None else listing.labels
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    rank = np.empty(total, np.int64)
    for numbers in members:
        rank[numbers] = np.arange(len(numbers))
    by_turns = np.lexsort((labels, rank))[:n]  # la première de chaque classe, puis la deuxième de chacune…
    shares = np.bincount(labels[by_turns], minlength=len(members))
    kept = [numbers[np.arange(share) * len(numbers) // share] for numbers, share in zip(members, shares) if share]
    return picked(listing, np.sort(np.concatenate(kept)).tolist())


def picked(listing: Listing, kept: list[int]) -> Listing:
    """Ces images-là d'un `listing`, étiquettes comprises."""
    labels = None if listing.labels is None else listing.labels[kept]
    return Listing([listing.names[i] for i in kept], [listing.entries[i] for i in kept], labels, listing.class_names)


def within(listing: Listing, folder: str) -> Listing:
    """Les seules images rangées dans un dossier nommé `folder`, sans classes ; `folder` vide : `listing` même."""
    if not folder:
        return listing
    kept = [i for i, name in enumerate(listing.names) if folder in _parts(name)[:-1]]
    return picked(listing, kept or list(range(len(listing.names))))._replace(labels=None, class_names=None)


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
