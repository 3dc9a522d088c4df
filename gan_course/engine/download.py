"""Téléchargement de gros fichiers publiés : plusieurs sources, reprise là où cela s'est coupé, rien cru sur parole.

Un fichier ne prend son nom qu'une fois sa taille et son condensé reconnus. D'ici là, ce qui est reçu est dans
NOM.partiel, qu'un seul processus écrit : celui qui tient NOM.lock. Le système rend ce verrou si le processus meurt.
"""

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gan_course.engine.files import (
    DISK_FULL,
    announce,
    aside,
    check_writable,
    disk_full,
    lock,
    readable_bytes,
)

TIMEOUT = 30.0  # secondes de silence avant de renoncer à une source…
SLOWEST = 1_000  # … ou de débit moyen plus lent, en octets par seconde
POLL = 1.0  # secondes entre deux regards sur ce qu'un autre processus télécharge
CHUNK = 1 << 20


class Wanted(NamedTuple):
    """Un fichier publié : nom, {source : URL} par préférence, condensé MD5 ou SHA-256, octets (s'ils sont connus)."""

    name: str
    urls: Mapping[str, str]
    digest: str
    size: int | None = None

    def problem(self, path: Path) -> str | None:
        """Ce qui distingue `path` du fichier publié ; None s'ils sont identiques."""
        if not path.is_file():
            return "absent"
        kind, size = "md5" if len(self.digest) == 32 else "sha256", path.stat().st_size
        if self.size is not None and size != self.size:
            return f"{size} octets au lieu de {self.size}"
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        return None if found == self.digest else f"contenu inattendu ({kind.upper()} {found}, attendu {self.digest})"


def fetch(files: list[Wanted], folder: Path, by_hand: str, download: bool = True) -> None:
    """Met dans `folder` ceux de `files` qui n'y sont pas intacts, chacun depuis la première source qui le rend entier.

    `by_hand` : ce qu'il reste à faire si toutes échouent, ou si `download` est faux (FileNotFoundError). Lève
    OSError(ENOSPC), avant de commencer, si la place manque, en disant les octets qu'il faut ; PermissionError si
    `folder` refuse l'écriture ; ConnectionError si aucune source ne répond bien, avec l'échec de chacune : ce qui est
    reçu est gardé, recommencer reprend là.
    """
    missing = [wanted for wanted in files if wanted.problem(folder / wanted.name)]
    if not missing:
        return
    names = ", ".join(wanted.name for wanted in missing)
    if not download:
        raise FileNotFoundError(f"{names} : absent de « {folder} », et download=False. {by_hand}")
    check_writable(folder)
    needed = sum(wanted.size or 0 for wanted in missing)
    parts = [folder / f"{wanted.name}.partiel" for wanted in missing]
    kept = sum(part.stat().st_size for part in parts if part.exists())
    if needed - kept > shutil.disk_usage(folder).free:
        raise disk_full(folder, names, needed)
    for wanted, part in zip(missing, parts):
        witness = folder / f"{wanted.name}.lock"
        with open(witness, "wb") as file:
            if lock(file) is False:
                print(f"{wanted.name} : un autre processus le télécharge, on l'attend.", file=aside())
                while lock(file) is False:
                    time.sleep(POLL)
            if wanted.problem(folder / wanted.name):
                _from_any_source(wanted, part, by_hand)
                os.replace(part, folder / wanted.name)
        with suppress(OSError):  # ouvert par qui attendait (Windows)
            witness.unlink()  # qui le tenait encore, ou en crée un autre, verra le fichier à sa place et n'écrira rien


def _from_any_source(wanted: Wanted, part: Path, by_hand: str) -> None:
    failures = []
    part.touch()
    for source, url in wanted.urls.items():
        try:
            return _from_source(wanted, url, part)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in DISK_FULL:
                raise disk_full(part.parent, wanted.name, wanted.size or 0) from error
            failures.append(f"  - {source} : {_reason(error)}")
    kept, detail = part.stat().st_size, "\n".join(failures)
    resume = f"\nLes {readable_bytes(kept)} reçus sont gardés : recommencer reprendra là." if kept else ""
    raise ConnectionError(f"« {wanted.name} » n'a pu être téléchargé :\n{detail}{resume}\n{by_hand}")


def _from_source(wanted: Wanted, url: str, part: Path) -> None:
    """Complète `part` depuis `url` et le vérifie ; lève OSError en disant ce qui ne va pas."""
    if wanted.problem(part) is None:
        return
    resumed = _receive(wanted, url, part)
    if problem := wanted.problem(part):
        os.truncate(part, 0)
        if not resumed:
            raise OSError(problem)
        _from_source(wanted, url, part)  # le début, venu d'une autre fois ou source, n'était peut-être pas le bon


def _receive(wanted: Wanted, url: str, part: Path) -> int:
    """Ajoute à `part` ce qui lui manque, et rend les octets qu'il avait déjà ; OSError si la réponse est coupée."""
    have = part.stat().st_size
    if wanted.size is not None and have >= wanted.size:
        have = 0
    headers = {"User-Agent": "Mozilla/5.0 (gan-course)", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        os.truncate(part, 0)  # « rien après cet octet » : ce que nous avons n'est pas ce fichier
        return _receive(wanted, url, part)
    with answer, open(part, "r+b") as file:
        start = have if answer.status == 206 else 0  # tous les serveurs ne savent pas reprendre
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise OSError(_page_reason(answer.read(CHUNK).decode("utf-8", "replace")))
        length = re.fullmatch(r"\d+", answer.headers.get("Content-Length", ""))
        total = start + int(length[0]) if length else wanted.size
        if wanted.size not in (None, total):  # ce n'est pas le fichier : ne pas lui sacrifier ce que l'on a
            raise OSError(f"{total} octets annoncés au lieu de {wanted.size}")
        file.truncate(start)
        file.seek(start)
        with suppress(http.client.IncompleteRead):  # le compte le dira
            _copy(answer, file, wanted.name, total)
        received = file.tell()
    if total is not None and received < total:
        raise OSError(f"coupé après {readable_bytes(received)} sur {readable_bytes(total)}")
    return start


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, name: str, total: int | None) -> None:
    """Recopie la réponse, sans aller loin après `total` octets ; OSError si elle est trop lente."""
    checked, before = time.monotonic(), file.tell()
    whole = f" sur {readable_bytes(total)}" if total else ""
    # read attendrait un bloc entier, à un octet par seconde s'il le faut
    chunks = iter(lambda: answer.read1(CHUNK), b"")
    for chunk in announce(chunks, lambda _: f"{name} : {readable_bytes(file.tell())}{whole}"):
        file.write(chunk)
        received, now = file.tell(), time.monotonic()
        if total is not None and received > total:
            return
        if now - checked >= TIMEOUT:
            if received - before < SLOWEST * (now - checked):
                raise OSError(f"moins de {readable_bytes(SLOWEST)} par seconde pendant {TIMEOUT:.0f} s, trop lent")
            checked, before = now, received


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        kinds = {404: "fichier absent", 403: "accès refusé, ou quota épuisé", 429: "trop de demandes, quota épuisé"}
        return f"{kinds.get(error.code, 'erreur du serveur')} (HTTP {error.code})"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return f"aucune réponse en {TIMEOUT:.0f} s"
    text = str(getattr(error, "reason", None) or error) or type(error).__name__
    return " ".join(text.split())


def _page_reason(page: str) -> str:
    """Ce que veut dire une page reçue à la place d'un fichier : Google Drive dit ainsi que son quota est épuisé."""
    lowered = page.lower()
    if "quota exceeded" in lowered or "too many users" in lowered:
        return "quota de téléchargement épuisé (trop de monde a pris ce fichier ; il revient en 24 heures au plus)"
    if "virus" in lowered:
        return "une page de confirmation à la place du fichier (Google Drive a changé ses adresses)"
    return "une page HTML à la place du fichier"
