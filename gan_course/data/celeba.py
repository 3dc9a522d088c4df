"""CelebA : 202 599 visages de célébrités, 178 × 218, et leurs 40 attributs, lus dans l'archive officielle.

Z. Liu, P. Luo, X. Wang, X. Tang, « Deep Learning Face Attributes in the Wild », ICCV 2015. Les auteurs ne permettent
que la recherche non commerciale ; les personnes photographiées n'ont pas consenti. N'en publiez pas les images.

`img_align_celeba.zip` n'est jamais dépliée : chaque image est lue en mémoire, ramenée à son carré central et à la
taille demandée, puis gardée dans le cache.
"""

import warnings
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
SPLIT_NUMBERS = {"train": 0, "test": 2}  # 1 : validation, laissée de côté
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

    def first(name: str, is_there: str) -> Path | None:
        candidates = [folder / sub / name for sub in SUBFOLDERS]
        return next((file for file in candidates if getattr(file, is_there)()), None)

    archive = first(ARCHIVE, "is_file") or first(ARCHIVE.removesuffix(".zip"), "is_dir")
    return Files(archive, first(ATTRIBUTES, "is_file"), first(PARTITION, "is_file"))


def read_attributes(file: Path) -> tuple[dict[str, int], np.ndarray, list[str]]:
    """Lit `list_attr_celeba.txt` : {nom d'image : ligne}, tableau uint8 (N, P) de 0 et de 1, et les P noms.

    Le fichier dit combien d'images il décrit, puis les noms, puis -1 ou 1 pour chacun. Lève ValueError, avec le
    numéro de ligne, s'il est coupé, ou si une ligne n'a pas la forme attendue.
    """
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        announced, names = lines.readline().strip(), lines.readline().split()
        rows, values = {}, bytearray()
        for number, line in enumerate(lines, start=3):
            image, *flags = line.split() or [""]
            if not image:
                continue
            ones = flags.count("1")
            if len(flags) != len(names) or ones + flags.count("-1") != len(names) or image in rows:
                raise ValueError(
                    f"« {file} », ligne {number} : il faut un nom d'image nouveau, puis {len(names)} valeurs -1 ou 1 ; "
                    f"reçu : « {line.strip()[:60]} ». Reprenez le fichier officiel, {PAGE}."
                )
            rows[image] = len(rows)
            values += bytes(flag == "1" for flag in flags)
    if not names or announced != str(len(rows)):
        raise ValueError(
            f"« {file} » annonce {announced[:20]!r} images et en décrit {len(rows)} : il est coupé, ou ce n'est pas le "
            f"fichier d'attributs. Reprenez-le, {PAGE}."
        )
    return rows, np.frombuffer(values, np.uint8).reshape(len(rows), len(names)), names


def read_partition(file: Path) -> dict[str, int]:
    """Lit `list_eval_partition.txt` : {nom d'image : 0, apprentissage ; 1, validation ; 2, test}."""
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        pairs = [line.split() for line in lines if line.strip()]
    if not pairs or any(len(pair) != 2 or pair[1] not in ("0", "1", "2") for pair in pairs):
        raise ValueError(f"« {file} » est abîmé : il faut « 000001.jpg 0 » à chaque ligne. Reprenez-le, {PAGE}.")
    return {name: int(number) for name, number in pairs}


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
    lacking = [] if found.archive else [ARCHIVE]
    lacking += [ATTRIBUTES] if attributes and not found.attributes else []
    if not lacking:
        return found
    wanted = [
        Wanted(name, {"Google Drive (source officielle)": OFFICIAL + drive, "miroir": MIRROR + name}, md5, size)
        for name, size, md5, drive in PUBLISHED
        if name in lacking or (ARCHIVE in lacking and name == PARTITION and not found.partition)
    ]
    by_hand = (
        f"À la main : prenez {' et '.join(lacking)} à {PAGE} ou à {MIRROR} avec un navigateur, posez-les dans "
        f"« {root / 'celeba'} », et recommencez. S'ils sont déjà ailleurs, sur un Drive monté par exemple : "
        'load_images("celeba", folder="…").'
    )
    if ATTRIBUTES in lacking:
        by_hand += " Sans les attributs : attributes=False."
    if not download:
        raise FileNotFoundError(f"{' et '.join(lacking)} : absent de « {place} », et download=False. {by_hand}")
    fetch(wanted, root / "celeba", by_hand + ' Sans réseau, load_images("faces") dessine des visages.')
    fetched = locate(root / "celeba")
    return Files(*(mine or other for mine, other in zip(found, fetched)))


def _aligned(found: Files, size: int, split: str, n: int | None, attributes: bool) -> Making:
    """Les images de la partition, et la ligne d'attributs de chacune ; les contrôle l'un par l'autre."""
    listing = folders.list_images(found.archive)
    images = [PurePosixPath(name).name for name in listing.names]
    kept = _in_split(images, found, split)[:n]
    if n is not None and len(kept) < n:
        raise ValueError(f"n={n} dépasse la partition « {split} », qui a {len(kept)} images.")
    side, names = {}, {}
    if attributes:
        rows, values, attribute_names = read_attributes(found.attributes)
        if orphans := [image for image in images if image not in rows]:
            raise ValueError(
                f"« {found.attributes} » ne correspond pas aux images : {len(orphans)} des {len(images)} images de "
                f"« {found.archive} » n'y sont pas ({folders.named(orphans)}). Prenez les deux ensemble, {PAGE}."
            )
        if len(rows) > len(images):
            message = f"« {found.archive.name} » n'a que {len(images)} des {len(rows)} images que décrit {ATTRIBUTES}."
            warnings.warn(message, stacklevel=2)
        side["factors"] = values[[rows[images[i]] for i in kept]].astype(np.float32)
        names["factor_names"] = np.array(attribute_names)
    listing = folders.picked(listing, kept)._replace(labels=None, class_names=None)
    return decoding.making(found.archive, listing, size, side=side)._replace(names=names)


def _in_split(images: list[str], found: Files, split: str) -> list[int]:
    """Numéros des images de la partition officielle ; sans son fichier, toutes sont dans « train »."""
    if found.partition is None:
        if split == "train":
            return list(range(len(images)))
        raise FileNotFoundError(f'{PARTITION} manque : sans lui, toutes les images sont dans split="train".')
    numbers = read_partition(found.partition)
    if orphans := [image for image in images if image not in numbers]:
        raise ValueError(f"« {found.partition} » ne connaît pas {len(orphans)} images : {folders.named(orphans)}.")
    kept = [i for i, image in enumerate(images) if numbers[image] == SPLIT_NUMBERS[split]]
    if not kept:
        raise ValueError(f"Aucune image de « {found.archive} » n'est dans la partition « {split} ».")
    return kept
