"""D'où viennent les pixels : une fonction par source, et `load_images` qui choisit.

Ajouter un jeu : une fonction (size, root, split, download, **options) → ImageSet, et sa ligne dans SOURCES.
"""

import difflib
import errno
import http.client
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_course.data import decoding, faces, folders, fractals, simpsons
from gan_course.data.cache import (
    Block,
    announce,
    cache_path,
    in_memory,
    read_cache,
    write_cache,
    write_or_keep,
)
from gan_course.data.celeba import load_celeba
from gan_course.data.cifar10 import load_cifar10
from gan_course.data.embedded import load_colour_digits, load_digits, resize_stack
from gan_course.data.images import ImageSet, check_positive
from gan_course.engine.files import DISK_FULL, check_writable

SPLITS = ("train", "test")
LARGEST = 2048  # au-delà, mille images ne tiennent plus sur un disque d'étudiant
FASHION_NAMES = (
    "t-shirt", "pantalon", "pull", "robe", "manteau", "sandale", "chemise", "basket", "sac", "bottine",
)  # fmt: skip


def data_root(root: str | os.PathLike | None = None) -> Path:
    """Dossier des données : `root`, sinon $GAN_COURSE_DATA, sinon le dossier de cache de l'utilisateur."""
    if root is not None:
        if not isinstance(root, (str, os.PathLike)):
            raise TypeError(f"root est le chemin d'un dossier ; reçu : {root!r}.")
        return Path(root).expanduser()
    if chosen := os.environ.get("GAN_COURSE_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gan_course"


@folders.permissions_in_french()
def load_images(
    name_or_path: str | os.PathLike,
    size: int | None = None,
    root: str | os.PathLike | None = None,
    split: str = "train",
    download: bool = True,
    **options: Any,
) -> ImageSet:
    """Charge un jeu d'images, désigné par son nom ou par le chemin d'un dossier ou d'une archive .zip.

    | nom | images | taille par défaut | options |
    |---|---|---|---|
    | "digits" | 1 500 + 297 chiffres manuscrits, embarqués | 28 | |
    | "color-digits" | trois de ces chiffres, un par canal : 1 000 classes | 28 | n=50000, seed=0 |
    | "faces" | visages dessinés ici, chacun fonction de 17 paramètres | 64 | n=2000, seed=0 |
    | "fractals" | attracteurs étranges, dessinés ici | 64 | n=2000, seed=0, palette="inferno", points=None |
    | "mnist", "fashion-mnist" | 60 000 + 10 000, téléchargées une fois | 28 | |
    | "cifar10" | 50 000 + 10 000, téléchargées une fois | 32 | folder=None |
    | "celeba" | 162 770 + 19 962 visages et 40 attributs (voir celeba.py) | 64 | folder=None, n=None, attributes=True |
    | "simpsons" | près de 10 000 visages, archive de Kaggle (voir simpsons.py) | 64 | folder=None |
    | un chemin | carré central, bicubique (voir decoding.py) | 64 | channels=3 (ou 1 : gris) |

    - `size` : côté en pixels. Les jeux de taille fixe sont agrandis ou réduits par interpolation bicubique.
    - `root` : dossier des données et du cache ; défaut : $GAN_COURSE_DATA, sinon le cache de l'utilisateur.
    - `split` : "train" ou "test" (pour un chemin, ce sous-dossier). `download=False` : ne jamais se connecter.

    Un nom de la table l'emporte sur un dossier de même nom : écrivez alors "./mnist". Lève ValueError (nom,
    contenu ou option inconnus), TypeError, FileNotFoundError (données absentes), ConnectionError (réseau),
    PermissionError ou OSError (dossier protégé, disque plein), avec le remède.
    """
    if split not in SPLITS:
        raise ValueError(f'split vaut "train" ou "test" ; reçu : {split!r}.')
    if not isinstance(name_or_path, (str, os.PathLike)) or name_or_path == "":
        raise TypeError(f"load_images attend un nom ou un chemin ; reçu : {name_or_path!r}.")
    name = os.fspath(name_or_path)
    if name in SOURCES:
        load, default_size, known = SOURCES[name]
    else:
        load, default_size, known = partial(_load_path, _existing_path(name)), 64, ("channels",)
    if unknown := sorted(set(options) - set(known)):
        accepted = f"options possibles : {', '.join(known)}" if known else "ce jeu n'a pas d'option"
        raise TypeError(f"Option inconnue pour « {name} » : {', '.join(unknown)} ; {accepted}.")
    size = check_positive("size", default_size if size is None else size)
    if size > LARGEST:
        raise ValueError(f"size={size} : c'est un côté en pixels, de {LARGEST} au plus. Essayez {default_size}.")
    return load(size=size, root=data_root(root), split=split, download=download, **options)


def _existing_path(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        if path.suffix.lower() != ".zip":
            raise ValueError(f"« {name} » n'est pas un .zip. Donnez un dossier ou un .zip d'images.")
        return path.resolve()
    if path.suffix or len(path.parts) != 1 or name.startswith("~"):
        raise FileNotFoundError(f"« {path} » n'existe pas. Le dossier courant est « {Path.cwd()} ».")
    near = difflib.get_close_matches(name.lower().replace("_", "-"), SOURCES, n=3, cutoff=0.5)
    guess = f" Vouliez-vous dire {' ou '.join(f'« {n} »' for n in near)} ?" if near else ""
    raise ValueError(
        f"Jeu de données inconnu : « {name} ».{guess} Jeux connus : {', '.join(SOURCES)}. "
        "On peut aussi donner le chemin d'un dossier ou d'un .zip d'images."
    )


def _load_path(
    path: Path, size: int, root: Path, split: str, download: bool, channels: int = 3, inside: str = ""
) -> ImageSet:
    if check_positive("channels", channels) not in (1, 3):
        raise ValueError(f"channels vaut 3 (couleurs) ou 1 (gris) ; reçu : {channels!r}.")
    key = (str(path), folders.fingerprint(path), channels, split, *filter(None, [inside]))
    target = cache_path(root, path.stem, size, *key)
    if (cached := read_cache(target)) is not None:
        return cached
    listing = folders.within(folders.list_images(path, split), inside)
    count = len(listing.names)
    blocks = announce(decoding.decode_blocks(path, listing, size, channels), count, path.name)
    names = {} if listing.class_names is None else {"class_names": np.array(listing.class_names)}
    return write_cache(target, blocks, count, (channels, size, size), names)


def _load_simpsons(size: int, root: Path, split: str, download: bool, folder: str | None = None) -> ImageSet:
    path = simpsons.find_simpsons(root, folder, download).resolve()
    return _load_path(path, size, root, split, download, inside=simpsons.CROPPED)


def _load_digits(size: int, root: Path, split: str, download: bool) -> ImageSet:
    return load_digits(size, split)  # embarqué : ni réseau, ni cache


def _load_colour_digits(
    size: int, root: Path, split: str, download: bool, n: int = 50_000, seed: int = 0
) -> ImageSet:
    return load_colour_digits(size, split, n, seed)  # une demi-seconde : pas de cache


def _load_faces(
    size: int, root: Path, split: str, download: bool, n: int = 2_000, seed: int = 0
) -> ImageSet:
    factors = faces.sample_faces(n, seed, split)

    def draw() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return faces.face_blocks(factors, size)

    return _drawn("faces", faces.FACTOR_NAMES, draw, size, root, n, seed, split)


def _load_fractals(
    size: int, root: Path, split: str, download: bool,
    n: int = 2_000, seed: int = 0, palette: str = "inferno", points: int | None = None,
) -> ImageSet:  # fmt: skip
    n = check_positive("n", n)

    def draw() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return fractals.fractal_blocks(fractals.sample_parameters(n, seed, split), size, points, palette)

    return _drawn("fractals", fractals.FACTOR_NAMES, draw, size, root, n, seed, palette, points, split)


def _drawn(
    name: str, factor_names: tuple[str, ...], draw: Callable, size: int, root: Path, n: int, *key: object
) -> ImageSet:
    """Le jeu que dessine `draw`, gardé en cache ; en mémoire si `root` refuse l'écriture."""
    target = cache_path(root, name, size, n, *key)
    if (cached := read_cache(target)) is not None:
        return cached

    def blocks() -> Iterator[Block]:
        return announce(((images, {"factors": part}) for images, part in draw()), n, name)

    return write_or_keep(target, blocks, n, (3, size, size), {"factor_names": np.array(factor_names)})


def _load_idx(
    dataset: str, class_names: tuple[str, ...], size: int, root: Path, split: str, download: bool
) -> ImageSet:
    """MNIST et Fashion-MNIST ; gardés en cache eux aussi, pour les relire sans importer torchvision."""

    def target() -> Path:
        file = root / dataset / "raw" / f"{'train' if split == 'train' else 't10k'}-images-idx3-ubyte.gz"
        found = [f.stat() for f in (file, file.with_suffix("")) if f.is_file()]
        return cache_path(root, f"{dataset}-{split}", size, [(s.st_size, s.st_mtime_ns) for s in found[:1]])

    if (cached := read_cache(target())) is not None:
        return cached
    images, labels = _read_idx(dataset, root, split == "train", download)
    blocks = [(resize_stack(images[:, None], size).numpy(), {"labels": labels.numpy()})]
    names = {"class_names": np.array(class_names)}
    try:
        return write_cache(target(), blocks, len(images), (1, size, size), names)
    except (
        OSError
    ):  # dossier protégé, celui d'un enseignant par exemple : on ne perd qu'une seconde chaque fois
        return in_memory(blocks, names)


def _read_idx(dataset: str, root: Path, train: bool, download: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (N, 28, 28) et étiquettes int64 (N,) lues par torchvision, qui les télécharge si besoin.

    Lève FileNotFoundError (absentes, et download=False), ConnectionError (téléchargement manqué),
    PermissionError, ou ValueError (fichier abîmé), chacune avec ce qu'il faut faire.
    """
    from torchvision import datasets

    source, raw = getattr(datasets, dataset), root / dataset / "raw"
    archives = [raw / name for name, _ in source.resources]
    if not all(file.with_suffix("").is_file() for file in archives):
        if all(file.is_file() for file in archives):
            return _unpack_elsewhere(source, archives, train)
        if not download:
            raise FileNotFoundError(
                f"{dataset} n'est pas dans « {root} » et download=False interdit de le chercher. Enlevez "
                f"download=False, ou placez dans « {raw} » : {', '.join(file.name for file in archives)}."
            )
        _download(source, root, raw)
    try:
        read = source(root, train=train)
    except Exception as error:  # selon l'endroit de la coupure : RuntimeError, AssertionError, IndexError…
        raise ValueError(
            f"Les fichiers de {dataset} dans « {raw} » sont abîmés ({error}). Effacez-les et recommencez."
        ) from error
    return read.data, read.targets


def _unpack_elsewhere(source: type, archives: list[Path], train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Lit des .gz déjà là depuis une copie provisoire : `root` peut être protégé, et le réseau absent."""
    offline = type(source.__name__, (source,), {"mirrors": ["file:///absent/"]})
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, source.__name__, "raw")
        raw.mkdir(parents=True)
        for archive in archives:
            shutil.copyfile(archive, raw / archive.name)
        try:
            read = offline(folder, train=train, download=True)
        except Exception as error:
            raise ValueError(
                f"Les fichiers de {source.__name__} dans « {archives[0].parent} » sont abîmés "
                f"({' '.join(str(error).split())}). Effacez-les et recommencez."
            ) from error
        return read.data, read.targets


def _download(source: type, root: Path, raw: Path) -> None:
    check_writable(raw)
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision n'en pose aucun : un réseau muet bloquerait le cours
    try:
        source(root, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in DISK_FULL:
            message = f"Disque plein : « {raw} » n'a pu recevoir {source.__name__}. Libérez de la place."
            raise OSError(errno.ENOSPC, message) from error
        wanted = ", ".join(name for name, _ in source.resources)
        raise ConnectionError(
            f"Le téléchargement de {source.__name__} a échoué ({' '.join(str(error).split())}). Vérifiez le "
            f"réseau et recommencez ; ou, à la main, prenez à {source.mirrors[0]} les fichiers {wanted}, et "
            f"placez-les dans « {raw} ». "
            'Sans réseau, load_images("digits") fonctionne toujours.'
        ) from error
    finally:
        socket.setdefaulttimeout(waited)


_MNIST_NAMES = tuple(str(digit) for digit in range(10))
# nom : fonction, taille par défaut, options
SOURCES: dict[str, tuple[Callable[..., ImageSet], int, tuple[str, ...]]] = {
    "digits": (_load_digits, 28, ()),
    "faces": (_load_faces, 64, ("n", "seed")),
    "color-digits": (_load_colour_digits, 28, ("n", "seed")),
    "fractals": (_load_fractals, 64, ("n", "seed", "palette", "points")),
    "mnist": (partial(_load_idx, "MNIST", _MNIST_NAMES), 28, ()),
    "fashion-mnist": (partial(_load_idx, "FashionMNIST", FASHION_NAMES), 28, ()),
    "cifar10": (load_cifar10, 32, ("folder",)),
    "celeba": (load_celeba, 64, ("folder", "n", "attributes")),
    "simpsons": (_load_simpsons, 64, ("folder",)),
}
