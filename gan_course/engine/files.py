"""Fichiers de poids : chercher une fois, vérifier toujours, lire et écrire le format safetensors.

Le format est assez court pour se passer d'une dépendance : 8 octets (longueur de l'en-tête), un en-tête JSON (type,
forme et place de chaque tenseur), puis les octets. Rien ne s'y exécute, à la différence d'un pickle.
"""

import errno
import hashlib
import http.client
import json
import os
import secrets
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def readable_bytes(count: int) -> str:
    """« 2,5 Go » pour 2 500 000 000."""
    for unit, factor in (("Go", 10**9), ("Mo", 10**6), ("ko", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}".replace(".", ",")
    return f"{count} octets"


def check_writable(folder: Path) -> None:
    """Crée `folder` s'il le faut et y écrit un fichier d'essai ; PermissionError si c'est impossible."""
    probe = folder / f"essai-{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(errno.ENOSPC, f"Disque plein : rien ne tient dans « {folder} ».") from error
        raise PermissionError(
            f"Impossible d'écrire dans « {folder} » ({error.strerror or error}). Choisissez-en un autre : "
            'load_images(…, root="mon_dossier"), ou la variable d\'environnement GAN_COURSE_DATA.'
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Fichier à écrire, qui ne prend le nom `path` qu'une fois entier ; en cas d'échec il n'en reste rien."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "x+b") as file:  # « + » : qui l'écrit peut le relire, pour en noter le condensé
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except PermissionError:
            if not path.exists():  # Windows : s'il est ouvert ailleurs, un autre vient de l'écrire
                raise
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Calcule le condensé SHA-256 d'un fichier : 64 chiffres hexadécimaux."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, source: str) -> None:
    """Lève ValueError si le condensé de `path` n'est pas `expected` ; `source` dit d'où vient le fichier."""
    found = sha256(path)
    if found != expected:
        size = readable_bytes(path.stat().st_size)
        raise ValueError(
            f"Les poids venus de « {source} » ({size}) ne sont pas ceux attendus : SHA-256 {found[:12]}…, au lieu de "
            f"{expected[:12]}…. Le fichier est incomplet ou d'une autre version : reprenez-le."
        )


def fetch(url: str, path: Path, expected: str, timeout: float = 30.0) -> Path:
    """Rend `path`, téléchargé depuis `url` s'il n'y est pas déjà ou s'il est abîmé ; son SHA-256 est `expected`.

    Rien ne prend le nom `path` avant d'être entier et vérifié. Lève ConnectionError (réseau), ValueError (autre
    contenu), PermissionError ou OSError (dossier protégé, disque plein), avec ce qu'il faut faire.
    """
    if path.is_file() and sha256(path) == expected:
        return path
    check_writable(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file, urllib.request.urlopen(url, timeout=timeout) as response:
            shutil.copyfileobj(response, file, 2**20)
        check_sha256(temporary, expected, url)
        os.replace(temporary, path)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in DISK_FULL:
            message = f"Disque plein : « {path.parent} » n'a pu recevoir {path.name}. Libérez de la place."
            raise OSError(errno.ENOSPC, message) from error
        raise ConnectionError(
            f"Le téléchargement de {url} a échoué ({error}). Vérifiez le réseau et recommencez ; ou, à la main, "
            f"prenez ce fichier ailleurs et posez-le ici : « {path} »."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Lit les tenseurs, par nom, d'un fichier .safetensors.

    Lève FileNotFoundError s'il n'existe pas, ValueError s'il est coupé ou mal formé.
    """
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        return {name: _tensor(content, start, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"« {path} » n'est pas un fichier safetensors entier ({type(error).__name__} : {error}). Reprenez-le."
        ) from error


def _tensor(content: bytearray, start: int, entry: Mapping) -> Tensor:
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= len(content) - start:
        raise ValueError(f"octets {begin} à {end} sur {len(content) - start}")
    # bytearray(…) : chaque tenseur a sa mémoire, alignée, et modifiable.
    data = torch.frombuffer(bytearray(content[start + begin : start + end]), dtype=torch.uint8)
    return data.view(DTYPES[entry["dtype"]]).view(entry["shape"])


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Écrit des tenseurs, par nom, dans un fichier .safetensors, et rend son SHA-256.

    Les mêmes tenseurs donnent les mêmes octets. Lève ValueError si un type n'est pas de DTYPES.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header, blocks, position = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype not in names:
            raise ValueError(f"« {name} » est de type {tensor.dtype} ; types possibles : {', '.join(DTYPES)}.")
        block = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        offsets = [position, position + len(block)]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        blocks.append(block)
        position += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # les données commencent à un multiple de 8
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))
    return sha256(path)
