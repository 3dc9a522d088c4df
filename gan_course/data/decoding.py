"""Octets de fichiers → images du cours : uint8, carrées, à la taille demandée.

Chaque image subit, dans l'ordre : première vue si elle est animée, orientation EXIF, cadrage (voir CROPS), transparence
posée sur du blanc, 16 bits ramenés à 8 (65 535 devient 255), conversion en RVB ou en gris, mise à la taille par
interpolation bicubique avec anticrénelage.
"""

import errno
import io
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

from gan_course.data.cache import Block, Making, Side
from gan_course.data.folders import Listing, Reader, named, reads_heif

# "center" : le plus grand carré central ; "fit" : l'image entière, complétée en carré par du blanc ; None : l'image
# entière, étirée ou serrée en carré.
CROPS = ("center", "fit", None)
# Ce que Pillow peut essayer. Sans cette liste, un EPS renommé .png serait confié au programme Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 50 * 10**6  # un pixel en occupe quatre octets, deux fois s'il faut tourner l'image : 400 Mo
BROKEN = 2  # images illisibles tolérées dans un petit jeu ; un quart dans un grand
BLOCK = 128  # images décodées ensemble, sauf si elles pèsent plus de BLOCK_BYTES
BLOCK_BYTES = 2**23
FEW = 1000  # jusqu'à ce nombre d'images, elles sont prêtes avant que d'autres processus n'aient démarré

Decoded = tuple[list[int], np.ndarray | None, list[str]]  # numéros des images lues, leurs pixels, le nom des autres


def to_pixels(image: Image.Image, size: int, channels: int, crop: str | None = "center") -> np.ndarray:
    """Image PIL quelconque → uint8 (hauteur, largeur, channels), cadrée, qu'il reste à mettre à `size`."""
    # Un JPEG sait se décoder au 1/2, 1/4 ou 1/8 : on s'arrête un tiers au-dessus de la taille voulue, de quoi
    # décoder au demi les 178 × 218 de CelebA pour 64 pixels ; l'interpolation finit.
    image.draft(None, (size * 4 // 3, size * 4 // 3))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels, c'est trop")
    with suppress(Exception):  # une orientation illisible n'ôte rien aux pixels
        ImageOps.exif_transpose(image, in_place=True)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side) if crop == "center" else (0, 0, *image.size)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_bytes(np.asarray(image), image.mode))
    if image.mode in ("1", "P") or (image.has_transparency_data and image.mode != "RGBA"):
        # La moyenne de deux numéros de palette n'est pas une couleur.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if (factor := side // (2 * size)) < 2:
        image = image.crop(box)
    else:  # une grande photographie rétrécit d'abord par moyennes, pour la mémoire ; l'interpolation finit
        smaller = ((box[2] - box[0]) // factor, (box[3] - box[1]) // factor)
        image = image.resize(smaller, Image.Resampling.BOX, box)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    """Les valeurs d'une image PIL en 16 bits ou en réels, ramenées à 0…255, par bandes pour ménager la mémoire."""
    white = 65_535 if mode != "F" else 255 if np.nanmax(values, initial=0) > 1 else 1
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 256):
        strip = np.nan_to_num(values[start : start + 256].astype(np.float64))
        out[start : start + 256] = (strip * (255 / white)).round().clip(0, 255)
    return out


def resize(images: list[np.ndarray], size: int, crop: str | None = "center") -> np.ndarray:
    """Images uint8 (hauteur, largeur, C) quelconques → uint8 (N, C, size, size), bicubique avec anticrénelage."""
    out = np.full((len(images), images[0].shape[2], size, size), 255, np.uint8)
    for shape in {image.shape for image in images}:
        places = [i for i, image in enumerate(images) if image.shape == shape]
        longest = max(shape[:2])
        height, width = (max(1, round(size * side / longest)) if crop == "fit" else size for side in shape[:2])
        top, left = (size - height) // 2, (size - width) // 2
        # torch réduit des octets rangés par pixel avec les instructions vectorielles : dix fois plus vite que PIL, au
        # même résultat à un niveau près ; un lot d'un coup, plus vite qu'image par image.
        stack = torch.from_numpy(np.stack([images[i] for i in places])).permute(0, 3, 1, 2)
        resized = interpolate(stack, size=(height, width), mode="bicubic", antialias=True)
        out[places, :, top : top + height, left : left + width] = resized.numpy()
    return out


def _fault(name: str, error: Exception) -> str:
    """Le nom d'une image, et pourquoi elle est illisible ; relance ce qui n'est pas de son fait : mémoire, disque."""
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise OSError(
            error.errno,
            f"Lecture de « {name} » interrompue ({error.strerror}) : le disque, le réseau ou les droits. "
            "Rien n'a été gardé ; relancez.",
        ) from error
    unknown = isinstance(error, UnidentifiedImageError)  # son texte cite un objet de Python
    reason = "ce n'est pas une image connue" if unknown else str(error) or type(error).__name__
    return f"{name} ({reason})"


def _block(
    pixels: Callable[[int], np.ndarray], names: list[str], size: int, crop: str | None, numbers: range
) -> Decoded | Exception:
    """Décode les images de ces numéros, dans le processus qui l'appelle."""
    good, broken = {}, []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL commente, en anglais, les métadonnées qu'il ne comprend pas
            for number in numbers:
                try:
                    good[number] = pixels(number)
                except Exception as error:  # un fichier abîmé fait lever à PIL et à zipfile dix types d'erreur
                    broken.append(_fault(names[number], error))
        return list(good), resize(list(good.values()), size, crop) if good else None, broken
    except Exception as error:  # rendue, et relancée là où l'on attend le bloc
        return error


def _workers(count: int) -> int:
    """Combien de processus décodent `count` images ; 0 : le nôtre."""
    # Des fils se disputeraient l'interpréteur : à deux, ils gagnent un dixième, deux processus 1,6 fois. Hors de Linux,
    # démarrer un processus, c'est importer torch de nouveau, et relire le programme qui n'a pas de « if __name__ ».
    if sys.platform != "linux" or count <= FEW or multiprocessing.current_process().daemon:
        return 0
    return min(4, len(os.sched_getaffinity(0)))


def _send(block: Callable, ranges: list[range], sender: Connection, receivers: list[Connection]) -> None:
    """Dans un processus qui décode : chaque bloc par son tube, qui le retient tant que personne ne lit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C arrête notre parent, qui nous arrête
    torch.set_num_threads(1)
    for receiver in receivers:  # gardé ici, un tube que plus personne ne lit ne paraîtrait jamais fermé
        receiver.close()
    with suppress(BrokenPipeError):
        for numbers in ranges:
            sender.send(block(numbers))


def _decoded(block: Callable[[range], Decoded | Exception], count: int, together: int) -> Iterator[Decoded]:
    """Ce que rend `block` pour `count` images, dans l'ordre ; chaque processus qui décode a un bloc d'avance.

    Le DataLoader de torch ne conviendrait pas : ses processus sèment le générateur de torch en naissant, et attendent
    sans fin si, au moment du fork, un autre fil y tirait des nombres, un entraînement par exemple.
    """
    ranges = [range(start, min(start + together, count)) for start in range(0, count, together)]
    workers = min(_workers(count), len(ranges))
    receivers, processes, results = [], [], map(block, ranges)
    try:
        with suppress(OSError):  # plus de processus, ou de descripteurs : le nôtre suffit
            for k in range(workers):
                receiver, sender = multiprocessing.Pipe(duplex=False)
                receivers.append(receiver)
                arguments = (block, ranges[k::workers], sender, receivers)
                processes.append(multiprocessing.get_context("fork").Process(target=_send, args=arguments, daemon=True))
                processes[-1].start()
                sender.close()  # lui seul le tient : s'il meurt, nous le saurons
            results = (receivers[k % workers].recv() for k in range(len(ranges))) if workers else results
        for result in results:
            if isinstance(result, Exception):
                raise result
            yield result
    except EOFError:
        raise RuntimeError("un processus qui décode a été tué") from None
    finally:
        for process in processes:
            if process.pid:
                process.kill()
                process.join()
        for receiver in receivers:
            receiver.close()


def decode_blocks(
    path: Path, listing: Listing, size: int, channels: int, side: Side | None = None, crop: str | None = "center"
) -> Iterator[Block]:
    """Décode les images de `listing`, par blocs : images uint8 (k, channels, size, size) et leurs étiquettes.

    `side` : autres tableaux, une ligne par image, à rendre avec elles. `crop` : voir CROPS. Une image illisible est
    sautée, et sa ligne avec elle ; à la fin un avertissement les compte et les nomme. Lève ValueError, en nommant les
    premières, dès qu'il y en a plus d'un quart (sauf deux, minoritaires) ; OSError si la lecture s'interrompt
    (disque, réseau, droits) ; RuntimeError si le système tue un processus qui décode.
    """
    broken: list[str] = []
    side = (side or {}) | ({} if listing.labels is None else {"labels": listing.labels})
    total = len(listing.names)
    tolerated = max(total / 4, min(BROKEN, (total - 1) // 2))
    together = max(1, min(BLOCK, BLOCK_BYTES // (channels * size**2)))
    formats = (*FORMATS, "HEIF") if reads_heif() else FORMATS
    read = Reader(path)

    def pixels(number: int) -> np.ndarray:
        with Image.open(io.BytesIO(read(listing.entries[number])), formats=formats) as image:
            return to_pixels(image, size, channels, crop)

    block = partial(_block, pixels, listing.names, size, crop)
    with closing(read), closing(_decoded(block, total, together)) as blocks:
        try:
            for good, images, faults in blocks:
                broken += faults
                if len(broken) > tolerated:
                    raise ValueError(f"Trop d'images illisibles dans « {path} » : {named(broken)}. Remplacez-les.")
                if good:
                    yield images, {name: values[good] for name, values in side.items()}
        except (RuntimeError, MemoryError) as error:
            raise RuntimeError(
                f"Le décodage de « {path} » s'est arrêté. D'ordinaire, c'est la mémoire qui manque : fermez d'autres "
                "programmes, puis relancez."
            ) from error
    if broken:
        message = f"{len(broken)} image(s) sur {total} illisible(s), sautée(s) : {named(broken)}."
        warnings.warn(message, stacklevel=2)


def from_files(
    path: Path, listing: Listing, size: int, channels: int = 3, side: Side | None = None, crop: str | None = "center"
) -> Making:
    """De quoi faire un jeu, pour le cache, de ce que rend `decode_blocks`, dont les arguments sont les mêmes."""
    names = {} if listing.class_names is None else {"class_names": np.array(listing.class_names)}
    blocks = decode_blocks(path, listing, size, channels, side, crop)
    return Making(blocks, len(listing.names), (channels, size, size), names)
