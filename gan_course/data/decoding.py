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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

from gan_course.data.cache import Block, Side
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
STRIP = 256  # lignes converties ensemble, dans une image de plus de 8 bits
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")

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
    side, box = min(image.size), (0, 0, *image.size)
    if crop == "center":
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_bytes(np.asarray(image.crop(box)), image.mode))
        box = (0, 0, *image.size)
    image = _reduced(image, box, side // (2 * size))
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], channels)


def _reduced(image: Image.Image, box: tuple[int, int, int, int], factor: int) -> Image.Image:
    """Ce cadre de l'image ; une grande photographie y perd `factor` fois sa taille, par moyennes, pour la mémoire."""
    if factor < 2:
        return image.crop(box)
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:  # la moyenne de deux numéros n'est pas un gris
        image = image.crop(box).convert("RGB" if image.mode == "1" or "transparency" not in image.info else "RGBA")
        box = (0, 0, *image.size)
    size = ((box[2] - box[0]) // factor, (box[3] - box[1]) // factor)
    return image.resize(size, Image.Resampling.BOX, box)


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    """Les valeurs d'une image PIL en 16 bits ou en réels, ramenées à 0…255, par bandes pour ménager la mémoire."""
    white = 65_535 if mode != "F" else 255 if np.nanmax(values, initial=0) > 1 else 1
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), STRIP):
        strip = np.nan_to_num(values[start : start + STRIP].astype(np.float64))
        out[start : start + STRIP] = (strip * (255 / white)).round().clip(0, 255)
    return out


def resize(images: list[np.ndarray], size: int, crop: str | None = "center") -> np.ndarray:
    """Images uint8 (hauteur, largeur, C) quelconques → uint8 (N, C, size, size), bicubique avec anticrénelage."""
    out = np.full((len(images), images[0].shape[2], size, size), 255, np.uint8)
    for shape in {image.shape for image in images}:
        places = [i for i, image in enumerate(images) if image.shape == shape]
        height, width = size, size
        if crop == "fit":
            height, width = (max(1, round(size * length / max(shape[:2]))) for length in shape[:2])
        top, left = (size - height) // 2, (size - width) // 2
        # torch réduit des octets rangés par pixel avec les instructions vectorielles : dix fois plus vite que PIL, au
        # même résultat à un niveau près ; un lot d'un coup, plus vite qu'image par image.
        stack = torch.from_numpy(np.stack([images[i] for i in places])).permute(0, 3, 1, 2)
        resized = interpolate(stack, size=(height, width), mode="bicubic", antialias=True)
        out[places, :, top : top + height, left : left + width] = resized.numpy()
    return out


class _Decoder:
    """Décode les images de `listing`, dans le processus qui les demande."""

    def __init__(self, read: Reader, listing: Listing, size: int, channels: int, crop: str | None) -> None:
        self.read, self.listing, self.size, self.channels, self.crop = read, listing, size, channels, crop
        self.formats = (*FORMATS, "HEIF") if reads_heif() else FORMATS

    def _pixels(self, number: int) -> np.ndarray | str:
        """Une image cadrée ; ou pourquoi elle est illisible."""
        name = self.listing.names[number]
        try:
            content = io.BytesIO(self.read(self.listing.entries[number]))
            with Image.open(content, formats=self.formats) as image:
                return to_pixels(image, self.size, self.channels, self.crop)
        except MemoryError:
            raise
        except Exception as error:  # un fichier abîmé fait lever à PIL et à zipfile dix types d'erreur
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise OSError(
                    error.errno,
                    f"Lecture de « {name} » interrompue ({error.strerror}) : le disque, le réseau ou les droits. "
                    "Rien n'a été gardé ; relancez.",
                ) from error
            unknown = isinstance(error, UnidentifiedImageError)  # son texte cite un objet de Python
            reason = "ce n'est pas une image connue" if unknown else str(error) or type(error).__name__
            return f"{name} ({reason})"

    def block(self, numbers: range) -> Decoded:
        """Décode les images de ces numéros : pixels uint8 (k, channels, size, size), ou None s'il n'y en a aucune."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL commente, en anglais, les métadonnées qu'il ne comprend pas
            results = {number: self._pixels(number) for number in numbers}
        good = {number: result for number, result in results.items() if not isinstance(result, str)}
        broken = [result for result in results.values() if isinstance(result, str)]
        return list(good), resize(list(good.values()), self.size, self.crop) if good else None, broken

    def send_blocks(self, ranges: list[range], sender: Connection, inherited: list[Connection]) -> None:
        """Dans un processus à part : envoie ces blocs l'un après l'autre ; s'arrête si plus personne ne les reçoit."""
        for connection in inherited:  # tant que nous les tenons, la mort de notre parent ne les fermerait pas
            connection.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C arrête notre parent, qui nous arrête
        torch.set_num_threads(1)
        with ThreadPoolExecutor(1) as other, suppress(BrokenPipeError):
            sent = None
            for numbers in ranges:
                try:
                    result = self.block(numbers)
                except Exception as error:
                    result = error
                if sent:
                    sent.result()
                sent = other.submit(sender.send, result)  # décoder le suivant n'attend pas que celui-ci soit reçu


def _workers(count: int) -> int:
    """Combien de processus décodent `count` images ; 0 : le nôtre."""
    # Des fils se disputeraient l'interpréteur : à deux, ils gagnent un dixième, deux processus 1,6 fois. Hors de Linux,
    # démarrer un processus, c'est importer torch de nouveau, et relire le programme qui n'a pas de « if __name__ ».
    if sys.platform != "linux" or count <= FEW or multiprocessing.current_process().daemon:
        return 0
    return min(4, len(os.sched_getaffinity(0)))


def _blocks(decoder: _Decoder) -> Iterator[Decoded]:
    """Ce que rend `decoder.block` pour toutes les images, dans l'ordre ; chaque processus a un bloc d'avance."""
    count = len(decoder.listing.names)
    together = max(1, min(BLOCK, BLOCK_BYTES // (decoder.channels * decoder.size**2)))
    ranges = [range(start, min(start + together, count)) for start in range(0, count, together)]
    workers = min(_workers(count), len(ranges))
    fork, receivers, processes = multiprocessing.get_context("fork") if workers else None, [], []
    try:
        try:
            for k in range(workers):
                receiver, sender = fork.Pipe(duplex=False)
                receivers.append(receiver)
                arguments = (ranges[k::workers], sender, receivers)
                processes.append(fork.Process(target=decoder.send_blocks, args=arguments, daemon=True))
                processes[-1].start()
                sender.close()  # lui seul le tient : s'il meurt, nous le saurons
        except OSError:  # plus de processus, ou de descripteurs : le nôtre suffit
            workers = 0
        if not workers:
            yield from map(decoder.block, ranges)
        for i in range(len(ranges) if workers else 0):
            if isinstance(result := receivers[i % workers].recv(), Exception):
                raise result
            yield result
    except EOFError:
        raise RuntimeError("un processus a été tué") from None
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
    with closing(Reader(path)) as read, closing(_blocks(_Decoder(read, listing, size, channels, crop))) as blocks:
        try:
            for good, images, faults in blocks:
                broken += faults
                if len(broken) > tolerated:
                    raise ValueError(f"Trop d'images illisibles dans « {path} » : {named(broken)}. Remplacez-les.")
                if good:
                    yield images, {name: values[good] for name, values in side.items()}
        except (RuntimeError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            raise RuntimeError(
                f"Le décodage de « {path} » s'est arrêté ({reason}). D'ordinaire, c'est la mémoire qui manque : "
                "fermez d'autres programmes, puis relancez."
            ) from error
    if broken:
        message = f"{len(broken)} image(s) sur {total} illisible(s), sautée(s) : {named(broken)}."
        warnings.warn(message, stacklevel=2)
