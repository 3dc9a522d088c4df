"""Dossier ou archive .zip d'images : les trouver, leurs classes, leurs octets ; `decoding` en fait des pixels.

Une archive n'est jamais dépliée sur le disque : chaque entrée est lue en mémoire, sans dépasser la taille qu'elle
déclare.
"""

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

from gan_course.data.cache import stamp
from gan_course.engine.files import readable_bytes

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PHONE_SUFFIXES = (".heic", ".heif")  # les photographies des iPhone : Pillow ne les lit qu'avec pillow-heif
STRAYS = 3  # images posées à côté des dossiers de classes, que l'on ignore ; ou un vingtième du tout
MAX_BYTES = 256 * 10**6  # un fichier d'image plus gros n'en est sans doute pas une
ESCAPE = re.compile(r"/|[A-Za-z]:|(.*/)?\.\./")  # absolue, ou remontante
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


def _pictures(files: Iterable[str]) -> list[str]:
    """Ceux de ces noms qui sont des images que l'on sait lire, triés."""
    suffixes = SUFFIXES + PHONE_SUFFIXES if reads_heif() else SUFFIXES
    return sorted(name for name in files if name.lower().endswith(suffixes))


def _visible(files: dict[str, Entry]) -> dict[str, Entry]:
    return {name: x for name, x in files.items() if not any(p.startswith((".", "__MACOSX")) for p in _parts(name))}


def _zip_entries(path: Path) -> dict[str, Entry]:
    """Fichiers d'une archive, par nom ; ignore et nomme ceux qui, dépliés, en sortiraient, et les liens."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [info for info in archive.infolist() if info.filename and not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError, struct.error) as error:
        raise ValueError(
            f"L'archive « {path} » est illisible ({error}). Téléchargez-la de nouveau, en entier."
        ) from error
    files = {info.filename.replace("\\", "/"): info for info in entries}
    escaping = {name for name, info in files.items() if ESCAPE.match(name) or stat.S_ISLNK(info.external_attr >> 16)}
    if escaping:
        message = f"Entrées de « {path.name} » ignorées, elles en sortent : {named(sorted(escaping))}."
        warnings.warn(message, stacklevel=2)
    files = _visible({name: info for name, info in files.items() if name not in escaping})
    if any(files[name].flag_bits & 1 for name in _pictures(files)):
        raise ValueError(
            f"L'archive « {path} » est protégée par un mot de passe. Dépliez-la et donnez le dossier."
        )
    return files


def _folder_entries(path: Path) -> dict[str, Entry]:
    """Fichiers d'un dossier et de ses sous-dossiers, par nom relatif."""

    def refuse(error: OSError) -> None:
        raise error

    files, seen = {}, set()
    for folder, subfolders, names in os.walk(path, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(folder))  # un lien vers un dossier se suit, sauf s'il tourne en rond
        subfolders[:] = [name for name in subfolders if os.path.realpath(os.path.join(folder, name)) not in seen]
        files |= {Path(folder, name).relative_to(path).as_posix(): Path(folder, name) for name in names}
    return {name: file for name, file in _visible(files).items() if file.is_file()}


def fingerprint(path: Path) -> object:
    """Ce qui change quand une source change, sans lire ses images : taille et date, de chacune pour un dossier."""
    if path.is_file():
        return stamp(path)
    files = _folder_entries(path)
    return [(name, *stamp(files[name])) for name in _pictures(files)]


def list_images(path: Path, split: str = "train") -> Listing:
    """Les images de `path`, triées par nom, et leurs classes.

    Les dossiers communs à toutes les images ne comptent pas. S'il reste un dossier nommé `split` (« train »,
    « test »), on n'y lit que lui. Si alors les images sont dans des sous-dossiers, ce sont les classes, par ordre
    alphabétique ; quelques images restées à côté sont ignorées, et un avertissement les nomme. Lève ValueError s'il
    n'y a aucune image, si l'archive est illisible ou chiffrée, ou si le dossier « test » manque.
    """
    kind, files = ("Le dossier", _folder_entries(path)) if path.is_dir() else ("L'archive", _zip_entries(path))
    phones = [name for name in sorted(files) if name.lower().endswith(PHONE_SUFFIXES)]
    if phones and not reads_heif():
        message = f"{len(phones)} image(s) .heic de « {path.name} » laissée(s) de côté : {named(phones)}."
        warnings.warn(f"{message} Pour les lire : pip install pillow-heif, puis relancez.", stacklevel=2)
    names = _pictures(files)
    if not names:
        content = f"contient {len(files)} fichier(s), mais aucune image" if files else "est vide : aucune image"
        raise ValueError(f"{kind} « {path} » {content}. Extensions lues : {', '.join(SUFFIXES)}.")
    depth = len(os.path.commonprefix([_parts(name)[:-1] for name in names]))
    if in_split := [name for name in names if split in _parts(name)[depth : depth + 1]]:
        names = in_split
    elif split != "train":
        raise ValueError(f'{kind} « {path} » n\'a pas de sous-dossier « {split} ». Utilisez split="train".')
    classes = _classes(names)
    if classes is None:
        return Listing(names, [files[name] for name in names], None, None)
    class_names, labels = np.unique(list(classes.values()), return_inverse=True)
    return Listing(list(classes), [files[name] for name in classes], labels.astype(np.int64), class_names.tolist())


def _classes(names: list[str]) -> dict[str, str] | None:
    """{image : sa classe}, sans les quelques-unes restées à côté des dossiers ; None si ceux-ci n'en sont pas."""
    folders = {name: _parts(name)[:-1] for name in names}
    depth = len(os.path.commonprefix(list(folders.values())))
    strays = [name for name in names if len(folders[name]) == depth]
    inside = {name: parts for name, parts in folders.items() if len(parts) > depth}
    if strays:
        depth = len(os.path.commonprefix(list(inside.values())))
    classes = {name: parts[depth] for name, parts in inside.items() if len(parts) > depth}
    if len(set(classes.values())) < 2 or len(classes) < len(inside):
        return None
    if len(strays) > max(STRAYS, len(names) // 20):
        message = f"{len(strays)} images sur {len(names)} ne sont dans aucun sous-dossier : pas d'étiquettes."
        warnings.warn(f"{message} Rangez-les si vous en voulez : {named(strays)}.", stacklevel=3)
        return None
    if strays:
        message = f"{len(strays)} image(s) à côté des dossiers de classes, ignorée(s) : {named(strays)}."
        warnings.warn(f"{message} Pour les garder, rangez-les dans un de ces dossiers.", stacklevel=3)
    return classes


def spread(listing: Listing, n: int) -> Listing:
    """`n` images, en parts égales entre les classes, autant qu'elles en ont, et régulièrement espacées dans chacune.

    Lève ValueError s'il n'y en a pas tant.
    """
    if n > len(listing.names):
        raise ValueError(f"n={n} dépasse le nombre d'images, {len(listing.names)}. Baissez n, ou ne le donnez pas.")
    labels = np.zeros(len(listing.names)) if listing.labels is None else listing.labels
    classes = sorted((np.flatnonzero(labels == label) for label in np.unique(labels)), key=len)
    kept = []
    for k, numbers in enumerate(classes):  # ce que les petites classes n'ont pas, les grandes se le partagent
        share = min(len(numbers), (n - len(kept)) // (len(classes) - k))
        kept += numbers[np.arange(share) * len(numbers) // max(share, 1)].tolist()
    return picked(listing, sorted(kept))


def picked(listing: Listing, kept: list[int]) -> Listing:
    """Ces images-là d'un `listing`, étiquettes comprises."""
    labels = None if listing.labels is None else listing.labels[kept]
    return Listing([listing.names[i] for i in kept], [listing.entries[i] for i in kept], labels, listing.class_names)


def within(listing: Listing, folder: str) -> Listing:
    """Les seules images rangées dans un dossier de ce nom, ou toutes s'il n'y en a pas ; sans classes."""
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
