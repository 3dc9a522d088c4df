"""CIFAR-10 : 50 000 + 10 000 photographies 32 × 32 de dix classes.

A. Krizhevsky, « Learning Multiple Layers of Features from Tiny Images », 2009. On lit, où qu'ils soient, l'archive
officielle sans la déplier, ou ses lots déjà dépliés ; sinon un dossier de classes (train/airplane/0000.jpg).
"""

import hashlib
import pickle
import tarfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from gan_course.data import decoding, folders
from gan_course.data.cache import Making, cached, from_arrays, stamp
from gan_course.data.images import ImageSet
from gan_course.engine.download import Wanted, fetch

OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MIRROR = "https://huggingface.co/datasets/liangnanying/cifar-10-python/resolve/main/cifar-10-python.tar.gz"
ARCHIVE, BATCHES = "cifar-10-python.tar.gz", "cifar-10-batches-py"
ARCHIVE_SIZE, ARCHIVE_MD5 = 170_498_071, "c58f30108f718f92721af3b95e74349a"
BATCH_MD5 = {  # ceux de torchvision.datasets.CIFAR10
    "train": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
}
ENGLISH = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FRENCH = ("avion", "automobile", "oiseau", "chat", "cerf", "chien", "grenouille", "cheval", "bateau", "camion")
SUBFOLDERS = (".", "cifar10", "cifar-10", "CIFAR10", "cifar")


def locate(folder: Path) -> Path | None:
    """L'archive officielle, ses lots dépliés, ou un dossier de classes, dans `folder` ; None s'il n'y a rien."""
    places = [folder / sub for sub in SUBFOLDERS]
    for place in places:
        if (place / BATCHES / "test_batch").is_file():
            return place / BATCHES
        if (place / ARCHIVE).is_file():
            return place / ARCHIVE
    return next((place for place in places if (place / "train" / ENGLISH[0]).is_dir()), None)


def load_cifar10(size: int, root: Path, split: str, download: bool, folder: Path | None = None) -> ImageSet:
    """CIFAR-10 : uint8 (50000, 3, size, size) ou (10000, …), étiquettes de 0 à 9, noms de classes français.

    `folder` : où est l'archive officielle, ou ce qui en tient lieu ; défaut : `root`. À défaut elle est téléchargée
    dans `root`. Lève FileNotFoundError, ConnectionError, ValueError ou OSError, avec le remède.
    """
    source = locate(folder or root)
    if source is None and folder is not None:
        raise FileNotFoundError(f"Rien de CIFAR-10 dans folder=« {folder} » : ni {ARCHIVE}, ni {BATCHES}, ni train/.")
    if source is None:
        by_hand = (
            f"À la main : prenez {ARCHIVE} à {OFFICIAL} ou à {MIRROR}, posez-la dans « {root} », et recommencez. Si "
            'elle est déjà ailleurs : load_images("cifar10", folder="…").'
        )
        urls = {"université de Toronto (source officielle)": OFFICIAL, "miroir": MIRROR}
        fetch([Wanted(ARCHIVE, urls, ARCHIVE_MD5, ARCHIVE_SIZE)], root, by_hand, download)
        source = root / ARCHIVE
    if source.is_dir() and source.name != BATCHES:
        print_of, make = folders.fingerprint(source), partial(_of_folders, source, split, size)
    else:
        files = [source] if source.is_file() else sorted(source.glob("*_batch*"))
        print_of, make = [stamp(file) for file in files], partial(_of_batches, source, split, size)
    key = (str(source.resolve()), print_of)
    return cached(root, f"cifar10-{split}", size, key, make, or_in_memory=True)


def _of_folders(source: Path, split: str, size: int) -> Making:
    listing = folders.list_images(source, split)
    if tuple(listing.class_names or ()) != ENGLISH:
        raise ValueError(f"« {source} » doit avoir, dans {split}/, les dossiers {', '.join(ENGLISH)}.")
    return decoding.from_files(source, listing._replace(class_names=FRENCH), size)


def _of_batches(source: Path, split: str, size: int) -> Making:
    """Depuis l'archive ou ses lots dépliés."""
    expected, contents = BATCH_MD5[split], {}
    try:
        if source.is_dir():
            contents = {name: (source / name).read_bytes() for name in expected}
        else:
            with tarfile.open(source, "r|gz") as archive:  # en un seul passage, sans rien déplier
                for member in archive:
                    if (name := Path(member.name).name) in expected and member.isfile():
                        contents[name] = archive.extractfile(member).read()
    except (tarfile.TarError, zlib.error, EOFError, FileNotFoundError) as error:
        raise ValueError(f"« {source} » est abîmé ou incomplet ({error}). Effacez-le et recommencez.") from error
    pixels, labels = [], []
    for name, digest in expected.items():
        # Défaire un pickle exécute ce qu'il contient : jamais avant d'avoir reconnu le fichier officiel.
        if hashlib.md5(contents.get(name, b""), usedforsecurity=False).hexdigest() != digest:
            raise ValueError(f"« {source} » : le lot {name} n'est pas l'officiel. Effacez-le et recommencez.")
        batch = pickle.loads(contents.pop(name), encoding="latin1")
        pixels.append(batch["data"])
        labels += batch["labels"]
    images = np.concatenate(pixels).reshape(-1, 3, 32, 32)
    return from_arrays(images, np.array(labels, dtype=np.int64), FRENCH, size)
