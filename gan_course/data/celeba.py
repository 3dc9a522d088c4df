"""CelebA : 202 599 visages de célébrités, 178 × 218, et leurs 40 attributs, lus dans l'archive officielle.

Z. Liu, P. Luo, X. Wang, X. Tang, « Deep Learning Face Attributes in the Wild », ICCV 2015. Les auteurs ne permettent
que la recherche non commerciale ; les personnes photographiées n'ont pas consenti. N'en publiez pas les images.

`img_align_celeba.zip` n'est jamais dépliée : chaque image est lue en mémoire, ramenée à son carré central et à la
taille demandée, puis gardée dans le cache.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from gan_course.data import decoding, folders
from gan_course.data.cache import Making, cached, stamp
from gan_course.data.images import ImageSet
from gan_course.engine.download import Wanted, fetch
from gan_course.engine.numbers import check_positive

# Identifiants, tailles et condensés que torchvision.datasets.CelebA donne des fichiers officiels ; le miroir a les
# mêmes fichiers, ce que vérifient les mêmes condensés.
OFFICIAL = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
MIRROR = "https://huggingface.co/datasets/Yuehao/celeba/resolve/main/"
ARCHIVE, ATTRIBUTES, PARTITION = "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"
PUBLISHED = (  # nom, octets, MD5, identifiant chez Google Drive
    (ATTRIBUTES, 26_721_026, "75e246fa4810816ffd6ee81facbd244c", "0B7EVK8r0v71pblRyaVFSWGxPY0U"),
    (PARTITION, 2_836_386, "d32c9cbf5e040fd4025c592c306e6668", "0B7EVK8r0v71pY0NSMzRuSXJEVkk"),
    (ARCHIVE, 1_443_490_838, "00d2c5bc6d35e252742224ab0c1e8fcb", "0B7EVK8r0v71pZjFTYXZWM3FlRnM"),
)
SUBFOLDERS = (".", "celeba", "CelebA", "Img", "Anno", "Eval", "CelebA/Img", "CelebA/Anno", "CelebA/Eval")
SPLITS = {"train": b"\0", "test": b"\2"}  # 1 : validation, laissée de côté
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


class Files(NamedTuple):
    """Les fichiers de CelebA chez l'étudiant ; None : absent."""

    archive: Path | None
    attributes: Path | None
    partition: Path | None


def locate(folder: Path) -> Files:
    """Cherche les trois fichiers officiels dans `folder` et ses sous-dossiers habituels.

    À défaut de l'archive, accepte le dossier `img_align_celeba` de qui l'a déjà dépliée.
    """

    def first(*names: str) -> Path | None:
        candidates = (folder / sub / name for name in names for sub in SUBFOLDERS)
        return next((file for file in candidates if file.exists()), None)

    return Files(first(ARCHIVE, ARCHIVE.removesuffix(".zip")), first(ATTRIBUTES), first(PARTITION))


def _read_rows(file: Path, lines: Iterable[str], first: int, width: int, codes: dict[str, int]) -> dict[str, bytes]:
    """{nom d'image : le code de ses `width` valeurs} ; ValueError, avec son numéro, à une ligne d'une autre forme."""
    rows = {}
    for number, line in enumerate(lines, start=first):
        image, *values = line.split() or [""]
        if len(values) != width or not codes.keys() >= set(values) or image in rows:
            raise ValueError(
                f"« {file} » est abîmé, ligne {number} : il faut un nom d'image nouveau, puis {width} valeur(s) parmi "
                f"{', '.join(codes)} ; reçu : « {line.strip()[:60]} ». Reprenez le fichier officiel, {PAGE}."
            )
        rows[image] = bytes(codes[value] for value in values)
    return rows


def read_attributes(file: Path) -> tuple[dict[str, bytes], list[str]]:
    """Lit `list_attr_celeba.txt` : {nom d'image : P octets, 0 ou 1}, et les P noms ; ValueError s'il est coupé.

    Le fichier dit combien d'images il décrit, puis les noms, puis -1 ou 1 pour chacun.
    """
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        announced, names = lines.readline().strip(), lines.readline().split()
        rows = _read_rows(file, lines, 3, len(names), {"-1": 0, "1": 1})
    if not names or announced != str(len(rows)):
        raise ValueError(
            f"« {file} » annonce {announced[:20]!r} images et en décrit {len(rows)} : il est coupé, ou ce n'est pas le "
            f"fichier d'attributs. Reprenez-le, {PAGE}."
        )
    return rows, names


def read_partition(file: Path) -> dict[str, bytes]:
    """Lit `list_eval_partition.txt` : {nom d'image : un octet, voir SPLITS}."""
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        return _read_rows(file, lines, 1, 1, {"0": 0, "1": 1, "2": 2})


def load_celeba(
    size: int, root: Path, split: str, download: bool,
    folder: Path | None = None, n: int | None = None, attributes: bool = True,
) -> ImageSet:  # fmt: skip
    """CelebA à `size` pixels : uint8 (N, 3, size, size) ; `factors` (N, 40), 0 ou 1, et leurs noms officiels.

    - `folder` : où sont les fichiers officiels ; défaut : `root`. Ce qui manque est téléchargé dans `root/celeba` ;
    - `n` : s'arrêter aux `n` premières images ; `attributes=False` : se passer du fichier d'attributs.

    Lève FileNotFoundError, ConnectionError, ValueError ou OSError, avec le remède.
    """
    n = None if n is None else check_positive("n", n)
    found = _complete(root, folder, download, attributes)
    stamps = [file and stamp(file) for file in found[1:]]
    key = (str(found.archive.resolve()), folders.fingerprint(found.archive), stamps, split, n, attributes)
    return cached(root, f"celeba-{split}", size, key, lambda: _aligned(found, size, split, n, attributes))


def _complete(root: Path, folder: Path | None, download: bool, attributes: bool) -> Files:
    """Les fichiers, cherchés chez l'étudiant puis, si on le permet, téléchargés."""
    place = folder or root
    found = locate(place)
    have = {
        ARCHIVE: found.archive,
        ATTRIBUTES: found.attributes or not attributes,
        PARTITION: found.partition or found.archive,  # sans elle, l'archive de l'étudiant est toute dans « train »
    }
    wanted = [
        Wanted(name, {"Google Drive (source officielle)": OFFICIAL + drive, "miroir": MIRROR + name}, md5, size)
        for name, size, md5, drive in PUBLISHED
        if not have[name]
    ]
    if not wanted:
        return found
    by_hand = (
        f"À la main : prenez-le à {PAGE} ou à {MIRROR} avec un navigateur, posez-le dans « {root / 'celeba'} », et "
        f"recommencez. S'il est déjà ailleurs que dans « {place} », sur un Drive monté par exemple : "
        'load_images("celeba", folder="…"). Sans les attributs : attributes=False. Sans réseau, load_images("faces") '
        "dessine des visages."
    )
    fetch(wanted, root / "celeba", by_hand, download)
    return Files(*(mine or fetched for mine, fetched in zip(found, locate(root / "celeba"))))


def _aligned(found: Files, size: int, split: str, n: int | None, attributes: bool) -> Making:
    """Les images de la partition, et la ligne d'attributs de chacune ; les contrôle l'un par l'autre."""
    listing = folders.list_images(found.archive)
    images = [PurePosixPath(name).name for name in listing.names]

    def check_known(rows: dict[str, bytes], file: Path) -> None:
        if orphans := [image for image in images if image not in rows]:
            raise ValueError(
                f"« {file} » ne correspond pas aux images : {len(orphans)} des {len(images)} images de "
                f"« {found.archive} » n'y sont pas ({folders.named(orphans)}). Prenez les deux ensemble, {PAGE}."
            )

    if found.partition:
        numbers = read_partition(found.partition)
        check_known(numbers, found.partition)
    elif split == "train":
        numbers = dict.fromkeys(images, SPLITS[split])
    else:
        raise FileNotFoundError(f'{PARTITION} manque : sans lui, toutes les images sont dans split="train".')
    kept = [i for i, image in enumerate(images) if numbers[image] == SPLITS[split]][:n]
    if len(kept) < (n or 1):
        raise ValueError(f"n={n} : la partition « {split} » de « {found.archive} » n'a que {len(kept)} images.")
    listing = folders.picked(listing, kept)
    if not attributes:
        return decoding.from_files(found.archive, listing, size)
    rows, names = read_attributes(found.attributes)
    check_known(rows, found.attributes)
    if len(rows) > len(images):
        message = f"« {found.archive.name} » n'a que {len(images)} des {len(rows)} images que décrit {ATTRIBUTES}."
        warnings.warn(message, stacklevel=2)
    flags = np.frombuffer(b"".join(rows[images[i]] for i in kept), np.uint8).reshape(len(kept), -1)
    making = decoding.from_files(found.archive, listing, size, side={"factors": flags.astype(np.float32)})
    return making._replace(names={"factor_names": np.array(names)})
