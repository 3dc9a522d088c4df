"""Octets de fichiers → images du cours : uint8, carrées, à la taille demandée.

Chaque image subit, dans l'ordre : première vue si elle est animée, orientation EXIF, plus grand carré
central, transparence posée sur du blanc, 16 bits ramenés à 8 (65 535 devient 255), conversion en RVB ou en
gris, mise à la taille par interpolation bicubique avec anticrénelage.
"""

import ctypes
import errno
import gc
import io
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

from gan_course.data.cache import Block, Side
from gan_course.data.folders import Listing, Reader, named

MAX_PIXELS = 100 * 10**6
BLOCK = 128  # images décodées ensemble, sauf si elles pèsent plus de BLOCK_BYTES
BLOCK_BYTES = 2**25
LARGE = 2**20  # octets d'un carré qui n'attend pas les autres pour être réduit
FEW = 1000  # jusqu'à ce nombre d'images, elles sont prêtes avant que d'autres processus n'aient démarré
PR_SET_PDEATHSIG = 1  # de <sys/prctl.h>
STRIP = 256  # lignes converties ensemble, dans une image de plus de 8 bits
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def to_square(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Image PIL quelconque → son carré central, uint8 (côté, côté, channels), qu'il reste à mettre à `size`."""
    # Un JPEG sait se décoder au 1/2, 1/4 ou 1/8 : on s'arrête un tiers au-dessus de la taille voulue, de quoi
    # décoder au demi les 178 × 218 de CelebA pour 64 pixels ; l'interpolation finit.
    image.draft(None, (size * 4 // 3, size * 4 // 3))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels, c'est trop")
    with suppress(Exception):  # une orientation illisible n'ôte rien aux pixels
        ImageOps.exif_transpose(image, in_place=True)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_bytes(np.asarray(image), image.mode))
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("L" if channels == 1 else "RGB")).reshape(side, side, channels)


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    """Les valeurs d'une image PIL en 16 bits ou en réels, ramenées à 0…255, par bandes pour ménager la mémoire."""
    white = 65_535 if mode != "F" else 255 if np.nanmax(values, initial=0) > 1 else 1
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), STRIP):
        strip = np.nan_to_num(values[start : start + STRIP].astype(np.float64))
        out[start : start + STRIP] = (strip * (255 / white)).round().clip(0, 255)
    return out


def resize(squares: list[np.ndarray], size: int) -> np.ndarray:
    """Carrés uint8 (côté, côté, C), de côtés quelconques → uint8 (N, C, size, size), bicubique avec anticrénelage."""
    out = np.empty((len(squares), squares[0].shape[2], size, size), np.uint8)
    for side in {len(square) for square in squares}:
        places = [i for i, square in enumerate(squares) if len(square) == side]
        # torch réduit des octets rangés par pixel avec les instructions vectorielles : dix fois plus vite que PIL, au
        # même résultat à un niveau près ; un lot d'un coup, plus vite qu'image par image.
        stack = torch.from_numpy(np.stack([squares[i] for i in places])).permute(0, 3, 1, 2)
        out[places] = interpolate(stack, size=(size, size), mode="bicubic", antialias=True).numpy()
    return out


class _Decoder:
    """Décode les images de `listing`, dans le processus qui les demande."""

    def __init__(self, read: Reader, listing: Listing, size: int, channels: int) -> None:
        self.read, self.listing, self.size, self.channels = read, listing, size, channels

    def _square(self, number: int) -> np.ndarray | str:
        """Le carré central d'une image, déjà réduit s'il est grand ; ou pourquoi elle est illisible."""
        name = self.listing.names[number]
        try:
            with Image.open(io.BytesIO(self.read(self.listing.entries[number]))) as image:
                square = to_square(image, self.size, self.channels)
            if square.nbytes <= LARGE:
                return square
            return resize([square], self.size)[0].transpose(1, 2, 0)  # 128 photographies ne tiendraient pas ensemble
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

    def block(self, numbers: range) -> tuple[list[int], np.ndarray | None, list[str]]:
        """Numéros des images lisibles, leurs pixels, uint8 (k, channels, size, size) ou None, et le nom des autres."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL commente, en anglais, les métadonnées qu'il ne comprend pas
            results = {number: self._square(number) for number in numbers}
        squares = {number: result for number, result in results.items() if not isinstance(result, str)}
        broken = [result for result in results.values() if isinstance(result, str)]
        return list(squares), resize(list(squares.values()), self.size) if squares else None, broken


def _workers(count: int) -> int:
    """Combien de processus décodent `count` images ; 0 : le nôtre."""
    # Des fils se disputeraient l'interpréteur : à deux, ils ne vont pas plus vite qu'un. Hors de Linux, démarrer un
    # processus, c'est importer torch de nouveau, et relire le programme qui n'aurait pas de « if __name__ ».
    if sys.platform != "linux" or count <= FEW or multiprocessing.current_process().daemon:
        return 0
    return min(4, len(os.sched_getaffinity(0)))


_decoder: _Decoder | None = None  # dans un processus qui décode : le sien, reçu à la naissance


def _settle(decoder: _Decoder, parent: int) -> None:
    """À la naissance d'un processus : mourir avec celui qui attend nos images, et ne pas recopier sa mémoire."""
    global _decoder
    _decoder = decoder
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C arrête notre parent, qui nous arrête
    torch.set_num_threads(1)
    gc.freeze()  # le ramasse-miettes écrirait dans chaque page héritée, que Linux devrait alors dédoubler


def _decode(numbers: range) -> tuple[list[int], np.ndarray | None, list[str]]:
    return _decoder.block(numbers)


def _blocks(decoder: _Decoder) -> Iterator[tuple[list[int], np.ndarray | None, list[str]]]:
    """Ce que rend `decoder.block` pour toutes les images, dans l'ordre, deux blocs d'avance par processus."""
    count = len(decoder.listing.names)
    together = max(1, min(BLOCK, BLOCK_BYTES // (decoder.channels * decoder.size**2)))
    ranges = deque(range(start, min(start + together, count)) for start in range(0, count, together))
    workers = min(_workers(count), len(ranges))
    if not workers:
        yield from map(decoder.block, ranges)
        return
    fork = multiprocessing.get_context("fork")
    with closing(_Pool(workers, fork, _settle, (decoder, os.getpid()))) as pool:
        try:
            waiting = deque(pool.submit(_decode, ranges[i]) for i in range(min(2 * workers, len(ranges))))
        except (OSError, RuntimeError):  # plus de processus, de fils ou de descripteurs : le nôtre suffit
            pool.kill()
            yield from map(decoder.block, ranges)
            return
        for _ in waiting:
            ranges.popleft()
        while waiting:
            result = waiting.popleft().result()
            if ranges:
                waiting.append(pool.submit(_decode, ranges.popleft()))
            yield result


class _Pool(ProcessPoolExecutor):
    """Des processus, que l'on arrête en la fermant."""

    def close(self) -> None:
        self.shutdown(wait=True, cancel_futures=True)

    def kill(self) -> None:
        """Arrête ceux qui ont démarré quand les autres n'ont pas pu."""
        for process in list((self._processes or {}).values()):
            process.kill()
            process.join()


def decode_blocks(
    path: Path, listing: Listing, size: int, channels: int, side: Side | None = None
) -> Iterator[Block]:
    """Décode les images de `listing`, par blocs : images uint8 (k, channels, size, size) et leurs étiquettes.

    `side` : autres tableaux, une ligne par image, à rendre avec elles. Une image illisible est sautée, et sa
    ligne avec elle ; à la fin un avertissement les compte et les nomme. Lève ValueError, en nommant les
    premières, dès qu'il y en a plus d'un quart ; OSError si la lecture s'interrompt (disque, réseau, droits) ;
    RuntimeError si le système tue un processus qui décode.
    """
    broken: list[str] = []
    side = (side or {}) | ({} if listing.labels is None else {"labels": listing.labels})
    total = len(listing.names)
    with closing(Reader(path)) as read, closing(_blocks(_Decoder(read, listing, size, channels))) as blocks:
        try:
            for good, images, faults in blocks:
                broken += faults
                if len(broken) > total / 4:
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
