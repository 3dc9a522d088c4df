"""MNIST et Fashion-MNIST : 60 000 + 10 000 images 28 × 28, dix classes, au format idx.

Y. LeCun, C. Cortes et C. Burges, 1998 ; H. Xiao, K. Rasul et R. Vollgraf, « Fashion-MNIST », 2017, arXiv 1708.07747.
Un fichier idx : 4 octets (0, 0, 8 pour des octets, nombre de dimensions), chaque dimension sur 4 octets, les valeurs.
"""

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gan_course.data.cache import Making, cached, from_arrays, stamp
from gan_course.data.images import ImageSet
from gan_course.engine.download import Wanted, fetch

FILES = {
    split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    for split, prefix in (("train", "train"), ("test", "t10k"))
}
LARGEST = 2**28  # octets lus au plus : un fichier hostile en déplierait des milliards


def locate(root: Path, dataset: str, name: str) -> Path | None:
    """Le fichier `name` dans `root/dataset/raw`, compressé ou déjà déplié ; None s'il n'y est pas."""
    file = root / dataset / "raw" / name
    return next((found for found in (file, file.with_suffix("")) if found.is_file()), None)


def is_here(root: Path, dataset: str) -> bool:
    """Vrai si les images d'apprentissage de `dataset` sont dans `root`."""
    return locate(root, dataset, FILES["train"][0]) is not None


def load_mnist(
    dataset: str, class_names: tuple[str, ...], published: Callable[[str], list[Wanted]],
    size: int, root: Path, split: str, download: bool,
) -> ImageSet:  # fmt: skip
    """MNIST ou Fashion-MNIST : uint8 (60000, 1, size, size) ou (10000, …), étiquettes de 0 à 9.

    `dataset` : "MNIST" ou "FashionMNIST", dont `published` rend les fichiers publiés. Lève FileNotFoundError,
    ConnectionError, PermissionError ou ValueError, avec le remède.
    """
    raw = root / dataset / "raw"
    absent = [name for names in FILES.values() for name in names if locate(root, dataset, name) is None]
    if set(absent) & set(FILES[split]):
        wanted = [file for file in published(dataset) if file.name in absent]
        places = " ou à ".join(url.removesuffix(wanted[0].name) for url in wanted[0].urls.values())
        by_hand = (
            f"À la main : prenez à {places} les fichiers {', '.join(absent)}, placez-les dans « {raw} », et "
            'recommencez. Sans réseau, load_images("digits") fonctionne toujours.'
        )
        fetch(wanted, raw, by_hand, download)
    files = [locate(root, dataset, name) for name in FILES[split]]

    def make() -> Making:
        images, labels = (read_idx(file, dimensions) for file, dimensions in zip(files, (3, 1)))
        if len(images) != len(labels) or labels.max() >= len(class_names):
            raise ValueError(
                f"Les fichiers de {dataset} dans « {raw} » sont abîmés : {len(images)} images, {len(labels)} "
                f"étiquettes de 0 à {labels.max()}. Effacez-les et recommencez."
            )
        return from_arrays(images[:, None], labels.astype(np.int64), class_names, size)

    return cached(root, f"{dataset}-{split}", size, tuple(map(stamp, files)), make, or_in_memory=True)


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Lit un fichier idx d'octets, compressé (.gz) ou non : uint8, à `dimensions` dimensions.

    Lève ValueError, en une phrase, si ce n'en est pas un, ou s'il est abîmé.
    """
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
            content = np.frombuffer(stream.read(LARGEST), np.uint8)  # jusqu'au bout : gzip ne vérifie qu'à la fin
        header, values = np.split(content, [4 * (1 + dimensions)])
        if header[:4].tolist() != [0, 0, 8, dimensions] or not values.size:
            problem = "son en-tête n'est pas celui d'un fichier idx"
        else:
            shape = header[4:].view(">u4").tolist()
            if values.size == math.prod(shape):
                return values.reshape(shape).copy()
            problem = f"il annonce {math.prod(shape)} valeurs et en a {values.size}"
    except (gzip.BadGzipFile, EOFError, zlib.error):
        problem = "ce n'est pas un .gz entier"
    raise ValueError(f"« {file} » est abîmé : {problem}. Effacez-le et recommencez.")
