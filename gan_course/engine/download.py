"""Téléchargement de quelques gros fichiers publiés, essayant plusieurs sources, sans rien croire sur parole.

Un fichier n'est gardé que si sa taille et son condensé sont ceux annoncés. Quand tout échoue, le message dit quelle
source a échoué comment, et ce qu'il reste à faire à la main.
"""

import errno
import hashlib
import http.client
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gan_course.engine.files import DISK_FULL, check_writable, readable_bytes

TIMEOUT = 30  # secondes de silence avant de renoncer à une source
CHUNK = 1 << 20


class Wanted(NamedTuple):
    """Un fichier publié : nom, taille en octets, condensé MD5, et ses adresses {source : URL}, par préférence."""

    name: str
    size: int
    md5: str
    urls: Mapping[str, str]


def fetch(files: list[Wanted], folder: Path, by_hand: str) -> None:
    """Met dans `folder` ceux de `files` qui n'y sont pas, chacun depuis la première source qui le rend entier.

    `by_hand` : ce qu'il reste à faire si toutes échouent. Lève OSError(ENOSPC), avant de commencer, si la place
    manque, en disant les octets qu'il faut ; PermissionError si `folder` refuse l'écriture ; ConnectionError si
    aucune source ne répond bien, avec l'échec de chacune.
    """
    missing = [wanted for wanted in files if not (folder / wanted.name).is_file()]
    if not missing:
        return
    check_writable(folder)
    needed, free = sum(wanted.size for wanted in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"Disque plein : pour télécharger {', '.join(w.name for w in missing)}, il faut {readable_bytes(needed)} "
            f"({needed} octets) dans « {folder} ». Place libre : {readable_bytes(free)}. Libérez de la place, ou "
            "changez de dossier (root=…).",
        )
    for wanted in missing:
        failures = []
        for source, url in wanted.urls.items():
            try:
                _fetch_one(wanted, url, folder)
                break
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in DISK_FULL:
                    raise OSError(errno.ENOSPC, f"Disque plein : « {wanted.name} » n'a pu être écrit.") from error
                failures.append(f"  - {source} : {_reason(error)}")
        else:
            detail = "\n".join(failures)
            raise ConnectionError(f"« {wanted.name} » n'a pu être téléchargé :\n{detail}\n{by_hand}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        kinds = {404: "fichier absent", 403: "accès refusé, ou quota épuisé", 429: "trop de demandes, quota épuisé"}
        return f"{kinds.get(error.code, 'erreur du serveur')} (HTTP {error.code})"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return f"aucune réponse en {TIMEOUT} s"
    text = str(getattr(error, "reason", None) or error) or type(error).__name__
    return " ".join(text.split())


def _fetch_one(wanted: Wanted, url: str, folder: Path) -> None:
    """Télécharge `url` à côté, vérifie, puis renomme ; lève OSError en disant ce qui ne va pas."""
    temporary = folder / f"{wanted.name}.{secrets.token_hex(4)}.tmp"
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (gan-course)"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, open(temporary, "xb") as file:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise OSError(_page_reason(answer.read(CHUNK).decode("utf-8", "replace")))
            digest, received = _copy(answer, file, wanted)
        if received < wanted.size:
            raise OSError(f"coupé après {readable_bytes(received)} sur {readable_bytes(wanted.size)}")
        if digest != wanted.md5:
            raise OSError(f"contenu inattendu (MD5 {digest}, attendu {wanted.md5})")
        temporary.replace(folder / wanted.name)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, wanted: Wanted) -> tuple[str, int]:
    """Recopie la réponse, sans dépasser la taille annoncée ; rend son condensé et les octets reçus."""
    digest, received, start = hashlib.md5(usedforsecurity=False), 0, time.monotonic()
    last = start
    try:
        while chunk := answer.read(CHUNK):
            received += len(chunk)
            if received > wanted.size:
                raise OSError(f"plus long que les {readable_bytes(wanted.size)} annoncés")
            digest.update(chunk)
            file.write(chunk)
            now = time.monotonic()
            if now - last >= 1:
                last = now
                line = f"{wanted.name} : {readable_bytes(received)} sur {readable_bytes(wanted.size)}"
                print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
    except http.client.IncompleteRead as error:
        received += len(error.partial)
    finally:
        if last > start:
            print(file=sys.stderr)
    return digest.hexdigest(), received


def _page_reason(page: str) -> str:
    """Ce que veut dire une page reçue à la place d'un fichier : Google Drive dit ainsi que son quota est épuisé."""
    lowered = page.lower()
    if "quota exceeded" in lowered or "too many users" in lowered:
        return "quota de téléchargement épuisé (trop de monde a pris ce fichier ; il revient en 24 heures au plus)"
    if "virus" in lowered:
        return "une page de confirmation à la place du fichier (Google Drive a changé ses adresses)"
    return "une page HTML à la place du fichier"
