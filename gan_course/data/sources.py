"""D'où viennent les pixels : une ligne de SOURCES par jeu, et `load_images` qui choisit.

Ajouter un jeu : une fonction (size, root, split, download, …options) → ImageSet, et sa ligne dans SOURCES. L'aide de
`load_images`, la commande `data` et le diagnostic la lisent là.
"""

import difflib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from gan_course.data import celeba, cifar10, decoding, faces, folders, fractals, mnist, simpsons
from gan_course.data.cache import Block, Making, cached
from gan_course.data.embedded import load_colour_digits, load_digits
from gan_course.data.images import ImageSet
from gan_course.engine.download import Wanted
from gan_course.engine.numbers import check_positive

SPLITS = ("train", "test")
LARGEST = 2048  # au-delà, mille images ne tiennent plus sur un disque d'étudiant
DIGIT_NAMES = tuple(str(digit) for digit in range(10))
FASHION_NAMES = (
    "t-shirt", "pantalon", "pull", "robe", "manteau", "sandale", "chemise", "basket", "sac", "bottine",
)  # fmt: skip
Drawn = tuple[np.ndarray, np.ndarray]  # images uint8 (k, 3, size, size), leurs facteurs float32 (k, P)


@dataclass(frozen=True)
class Source:
    """Un jeu connu par son nom : comment le charger et, s'il est téléchargé, d'où, et comment voir qu'il est là."""

    load: Callable[..., ImageSet]  # fonction (size, root, split, download, …options) → ImageSet
    size: int  # côté par défaut, en pixels
    summary: str  # ce que c'est, en quelques mots, pour l'aide
    download: str = ""  # combien il y a à télécharger, et d'où ; vide : rien
    is_here: Callable[[Path], bool] = lambda root: True  # fonction (dossier des données) → vrai si c'est déjà fait

    @property
    def options(self) -> dict[str, Any]:
        """{option : valeur par défaut}, lues dans la signature de `load`."""
        known = inspect.signature(self.load).parameters.values()
        return {p.name: p.default for p in known if p.name not in ("size", "root", "split", "download")}

    def state(self, root: Path) -> str:
        """« sans réseau », « là », ou ce qu'il y a à télécharger dans `root`."""
        if not self.download:
            return "sans réseau"
        return "là" if self.is_here(root) else f"à télécharger ({self.download})"


def data_root(root: str | os.PathLike | None = None) -> Path:
    """Dossier des données : `root`, sinon $GAN_COURSE_DATA, sinon le dossier de cache de l'utilisateur."""
    if root is not None:
        return _as_path("root", root)
    if chosen := os.environ.get("GAN_COURSE_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gan_course"


def _as_path(name: str, value: str | os.PathLike) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} est le chemin d'un dossier ; reçu : {value!r}.")
    return Path(value).expanduser()


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

    TABLE

    - `size` : côté en pixels. Les jeux de taille fixe sont agrandis ou réduits par interpolation bicubique.
    - `root` : dossier des données et du cache ; défaut : $GAN_COURSE_DATA, sinon le cache de l'utilisateur.
    - `split` : "train" ou "test" (pour un chemin, ce sous-dossier). `download=False` : ne jamais se connecter.
    - Pour un chemin : `channels`, 3 ou 1 (gris) ; `n`, tant d'images, réparties entre les classes ; `crop`,
      "center" (carré central), "fit" (image entière, complétée par du blanc) ou None (image entière, déformée) ;
      `flip=True`, chaque image suivie de son reflet, donc 2 n images.

    Un nom de la table l'emporte sur un dossier de même nom : écrivez alors "./mnist". Lève ValueError (nom,
    contenu ou option inconnus), TypeError, FileNotFoundError (données absentes), ConnectionError (réseau),
    PermissionError ou OSError (dossier protégé, disque plein), avec le remède.
    """
    if split not in SPLITS:
        raise ValueError(f'split vaut "train" ou "test" ; reçu : {split!r}.')
    if not isinstance(name_or_path, (str, os.PathLike)) or name_or_path == "":
        raise TypeError(f"load_images attend un nom ou un chemin ; reçu : {name_or_path!r}.")
    name = os.fspath(name_or_path)
    source = SOURCES[name] if name in SOURCES else _path_source(_existing_path(name))
    if unknown := sorted(set(options) - set(source.options)):
        known = ", ".join(source.options)
        accepted = f"options possibles : {known}" if known else "ce jeu n'a pas d'option"
        raise TypeError(f"Option inconnue pour « {name} » : {', '.join(unknown)} ; {accepted}.")
    if (folder := options.get("folder")) is not None:
        options["folder"] = _as_path("folder", folder)
        if not options["folder"].exists():
            raise FileNotFoundError(f"folder=« {folder} » n'existe pas. Le dossier courant est « {Path.cwd()} ».")
    size = check_positive("size", source.size if size is None else size)
    if size > LARGEST:
        raise ValueError(f"size={size} : c'est un côté en pixels, de {LARGEST} au plus. Essayez {source.size}.")
    return source.load(size=size, root=data_root(root), split=split, download=download, **options)


def _existing_path(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file() and path.suffix.lower() != ".zip":
        raise ValueError(f"« {name} » n'est pas un .zip. Donnez un dossier ou un .zip d'images.")
    if path.exists():
        return path.resolve()
    if path.suffix or len(path.parts) != 1 or name.startswith("~"):
        raise FileNotFoundError(f"« {path} » n'existe pas. Le dossier courant est « {Path.cwd()} ».")
    near = difflib.get_close_matches(name.lower().replace("_", "-"), SOURCES, n=3, cutoff=0.5)
    guess = f" Vouliez-vous dire {' ou '.join(f'« {n} »' for n in near)} ?" if near else ""
    raise ValueError(
        f"Jeu de données inconnu : « {name} ».{guess} Jeux connus : {', '.join(SOURCES)}. "
        "On peut aussi donner le chemin d'un dossier ou d'un .zip d'images."
    )


def _path_source(path: Path) -> Source:
    return Source(partial(_load_path, path, ""), 64, "vos images")


def _load_path(
    path: Path, inside: str, size: int, root: Path, split: str, download: bool,
    channels: int = 3, n: int | None = None, crop: str | None = "center", flip: bool = False,
) -> ImageSet:  # fmt: skip
    """Les images d'un dossier ou d'une archive ; `inside` : celles seules d'un dossier de ce nom."""
    if check_positive("channels", channels) not in (1, 3):
        raise ValueError(f"channels vaut 3 (couleurs) ou 1 (gris) ; reçu : {channels!r}.")
    if crop not in decoding.CROPS:
        raise ValueError(f'crop vaut "center", "fit" ou None ; reçu : {crop!r}.')
    if not isinstance(flip, bool):
        raise TypeError(f"flip vaut True ou False ; reçu : {flip!r}.")
    n = None if n is None else check_positive("n", n)

    def make() -> Making:
        listing = folders.list_images(path, split)
        if inside:
            listing = folders.within(listing, inside)
        if n is not None:
            listing = folders.spread(listing, n)
        making = decoding.from_files(path, listing, size, channels, crop=crop)
        return making._replace(blocks=_with_mirrors(making.blocks), count=2 * making.count) if flip else making

    key = (str(path), folders.fingerprint(path), split, channels, n, crop, flip, inside)
    return cached(root, path.stem, size, key, make)


def _with_mirrors(blocks: Iterator[Block]) -> Iterator[Block]:
    """Chaque image, puis son reflet, avec la même étiquette."""
    for images, side in blocks:
        both = np.stack([images, images[..., ::-1]], axis=1).reshape(-1, *images.shape[1:])
        yield both, {name: values.repeat(2, axis=0) for name, values in side.items()}


def _load_simpsons(size: int, root: Path, split: str, download: bool, folder: Path | None = None) -> ImageSet:
    path = simpsons.find_simpsons(root, folder, download).resolve()
    return _load_path(path, simpsons.CROPPED, size, root, split, download)


def _load_faces(size: int, root: Path, split: str, download: bool, n: int = 2_000, seed: int = 0) -> ImageSet:
    def draw() -> Iterator[Drawn]:
        return faces.face_blocks(faces.sample_faces(n, seed, split), size)

    return _drawn("faces", draw, faces.FACTOR_NAMES, size, root, n, seed, split)


def _load_fractals(
    size: int, root: Path, split: str, download: bool,
    n: int = 2_000, seed: int = 0, palette: str = "inferno", points: int | None = None,
) -> ImageSet:  # fmt: skip
    def draw() -> Iterator[Drawn]:
        return fractals.fractal_blocks(fractals.sample_parameters(n, seed, split), size, points, palette)

    return _drawn("fractals", draw, fractals.FACTOR_NAMES, size, root, n, seed, palette, points, split)


def _drawn(
    name: str, draw: Callable[[], Iterator[Drawn]], factor_names: tuple[str, ...], size: int, root: Path, n: int,
    *key: object,
) -> ImageSet:  # fmt: skip
    """Le jeu que dessine `draw`, gardé en cache ; en mémoire si `root` refuse l'écriture."""
    n = check_positive("n", n)

    def make() -> Making:
        blocks = ((images, {"factors": part}) for images, part in draw())
        return Making(blocks, n, (3, size, size), {"factor_names": np.array(factor_names)})

    return cached(root, name, size, (n, *key), make, or_in_memory=True)


def _torchvision_files(dataset: str) -> list[Wanted]:
    """Les fichiers de MNIST ou FashionMNIST, aux adresses et aux condensés que torchvision tient à jour."""
    from torchvision import datasets

    source = getattr(datasets, dataset)
    return [
        Wanted(name, {urlsplit(mirror).netloc: mirror + name for mirror in source.mirrors}, md5)
        for name, md5 in source.resources
    ]


def _mnist_source(dataset: str, class_names: tuple[str, ...], summary: str, download: str) -> Source:
    load = partial(mnist.load_mnist, dataset, class_names, _torchvision_files)
    return Source(load, 28, summary, download, lambda root: mnist.is_here(root, dataset))


SOURCES: dict[str, Source] = {
    "digits": Source(
        lambda size, root, split, download: load_digits(size, split), 28, "1 500 + 297 chiffres manuscrits, embarqués"
    ),
    "faces": Source(_load_faces, 64, "visages dessinés ici, chacun fonction de 17 facteurs"),
    "color-digits": Source(
        lambda size, root, split, download, n=50_000, seed=0: load_colour_digits(size, split, n, seed),
        28, "trois chiffres, un par canal : 1 000 classes",
    ),
    "fractals": Source(_load_fractals, 64, "attracteurs étranges, dessinés ici"),
    "mnist": _mnist_source("MNIST", DIGIT_NAMES, "60 000 + 10 000 chiffres manuscrits", "12 Mo, une fois"),
    "fashion-mnist": _mnist_source("FashionMNIST", FASHION_NAMES, "60 000 + 10 000 vêtements", "31 Mo, une fois"),
    "cifar10": Source(
        cifar10.load_cifar10, 32, "50 000 + 10 000 photographies de dix classes",
        "170 Mo, université de Toronto", lambda root: cifar10.locate(root) is not None,
    ),
    "celeba": Source(
        celeba.load_celeba, 64, "162 770 + 19 962 visages et 40 attributs (voir celeba.py)",
        "1,5 Go, Google Drive ou son miroir", lambda root: celeba.locate(root).archive is not None,
    ),
    "simpsons": Source(
        _load_simpsons, 64, "près de 10 000 visages dessinés (voir simpsons.py)",
        "archive de Kaggle, avec un compte", lambda root: simpsons.locate(root) is not None,
    ),
}  # fmt: skip


def _table() -> str:
    """Le tableau des jeux, pour l'aide de `load_images`."""
    lines = ["| nom | images | taille par défaut | options |", "|---|---|---|---|"]
    rows = {f'"{name}"': source for name, source in SOURCES.items()} | {"un chemin": _path_source(Path())}
    for name, source in rows.items():
        options = ", ".join(f"{option}={default!r}" for option, default in source.options.items())
        download = f" ; à télécharger : {source.download}" if source.download else ""
        lines.append(f"| {name} | {source.summary}{download} | {source.size} | {options} |")
    return "\n    ".join(lines)


if load_images.__doc__:  # python -OO les enlève
    load_images.__doc__ = load_images.__doc__.replace("TABLE", _table())
