"""Téléchargement de gros fichiers publiés : plusieurs sources, reprise là où cela s'est coupé, rien cru sur parole.

Un fichier ne prend son nom qu'une fois sa taille et son condensé reconnus. D'ici là, ce qui est reçu est dans
NOM.CONDENSÉ.partiel, ou, pendant qu'un processus le télécharge, dans NOM.CONDENSÉ.JETON.tmp, que lui seul écrit :
on s'en empare en le renommant. Un processus tué net laisse un .tmp qui ne change plus ; le suivant le reprend.
"""

import errno
import glob
import hashlib
import http.client
import os
import re
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gan_course.engine.files import DISK_FULL, check_writable, readable_bytes

TIMEOUT = 30.0  # secondes de silence avant de renoncer à une source
SLOWEST, WINDOW = 1_000, 30.0  # octets par seconde, en moyenne sur tant de secondes, sous quoi l'on y renonce aussi
ABANDONED = 60.0  # secondes sans un octet de plus : plus personne n'écrit ce .tmp
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
        kind, size = "md5" if len(self.digest) == 32 else "sha256", path.stat().st_size
        if self.size is not None and size != self.size:
            return f"{size} octets au lieu de {self.size}"
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        return None if found == self.digest else f"contenu inattendu ({kind.upper()} {found}, attendu {self.digest})"


def fetch(files: list[Wanted], folder: Path, by_hand: str) -> None:
    """Met dans `folder` ceux de `files` qui n'y sont pas intacts, chacun depuis la première source qui le rend entier.

    `by_hand` : ce qu'il reste à faire si toutes échouent. Lève OSError(ENOSPC), avant de commencer, si la place
    manque, en disant les octets qu'il faut ; PermissionError si `folder` refuse l'écriture ; ConnectionError si
    aucune source ne répond bien, avec l'échec de chacune : ce qui est reçu est gardé, recommencer reprend là.
    """
    missing = [w for w in files if not (folder / w.name).is_file() or w.problem(folder / w.name)]
    if not missing:
        return
    check_writable(folder)
    needed, free = sum(wanted.size or 0 for wanted in missing), shutil.disk_usage(folder).free
    kept = sum(_size(part) for wanted in missing for part in _parts(wanted, folder))
    if needed - kept > free:
        raise OSError(
            errno.ENOSPC,
            f"Disque plein : pour télécharger {', '.join(w.name for w in missing)}, il faut {readable_bytes(needed)} "
            f"({needed} octets) dans « {folder} ». Place libre : {readable_bytes(free)}. Libérez de la place, ou "
            "changez de dossier (root=…).",
        )
    for wanted in missing:
        if (mine := _claim(wanted, folder)) is None:
            continue  # un autre processus vient de l'apporter
        try:
            _from_any_source(wanted, mine, by_hand)
            try:
                os.replace(mine, folder / wanted.name)
            except (PermissionError, FileNotFoundError) as error:  # ouvert ailleurs (Windows), ou pris pour abandonné
                if not (folder / wanted.name).is_file():
                    message = f"« {wanted.name} » : un autre processus l'a pris en route. Recommencez."
                    raise ConnectionError(message) from error
                mine.unlink(missing_ok=True)
        finally:
            _release(wanted, mine)


def _parts(wanted: Wanted, folder: Path) -> list[Path]:
    """Les morceaux déjà reçus de ce fichier-là, les plus longs d'abord."""
    found = folder.glob(f"{glob.escape(wanted.name)}.{wanted.digest[:8]}.*")
    return sorted(found, key=_size, reverse=True)


def _size(part: Path) -> int:
    """Ses octets ; 0 si un autre processus vient de l'emporter."""
    return part.stat().st_size if part.exists() else 0


def _claim(wanted: Wanted, folder: Path) -> Path | None:
    """Un fichier que ce processus est seul à écrire, avec ce qu'une autre fois a laissé ; attend qui avance déjà.

    None si un autre a fini pendant l'attente.
    """
    mine, said = folder / f"{wanted.name}.{wanted.digest[:8]}.{secrets.token_hex(4)}.tmp", False
    while True:
        parts = _parts(wanted, folder)
        for part in parts:
            with suppress(OSError):  # pris à l'instant par un autre, ou ouvert ailleurs (Windows)
                if part.suffix == ".partiel" or time.time() - part.stat().st_mtime > ABANDONED:
                    os.rename(part, mine)
                    os.utime(mine)
                    return mine
        if not parts:
            mine.touch()
            return mine
        if not said:
            print(
                f"{wanted.name} : un autre processus le télécharge, on l'attend. S'il n'avance plus, on prendra sa "
                f"suite dans {ABANDONED:.0f} s.", file=sys.stderr,
            )  # fmt: skip
            said = True
        time.sleep(POLL)
        if (folder / wanted.name).is_file():
            return None


def _release(wanted: Wanted, mine: Path) -> None:
    """Garde ce qui est reçu pour une autre fois, s'il n'est pas déjà à sa place."""
    with suppress(OSError):
        if mine.stat().st_size:
            os.replace(mine, mine.with_name(f"{wanted.name}.{wanted.digest[:8]}.partiel"))
        mine.unlink(missing_ok=True)


def _from_any_source(wanted: Wanted, mine: Path, by_hand: str) -> None:
    failures = []
    for source, url in wanted.urls.items():
        try:
            os.utime(mine)  # la source précédente a pu se taire longtemps : ce fichier n'est pas abandonné
            return _from_source(wanted, url, mine)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in DISK_FULL:
                raise OSError(errno.ENOSPC, f"Disque plein : « {wanted.name} » n'a pu être écrit.") from error
            failures.append(f"  - {source} : {_reason(error)}")
    kept = _size(mine)
    resume = f"\nLes {readable_bytes(kept)} reçus sont gardés : recommencer reprendra là." if kept else ""
    detail = "\n".join(failures)
    raise ConnectionError(f"« {wanted.name} » n'a pu être téléchargé :\n{detail}{resume}\n{by_hand}")


def _from_source(wanted: Wanted, url: str, mine: Path) -> None:
    """Complète `mine` depuis `url` et le vérifie ; lève OSError en disant ce qui ne va pas."""
    reused = mine.stat().st_size
    if reused and wanted.problem(mine) is None:
        return
    reused = _receive(wanted, url, mine)
    problem = wanted.problem(mine)
    if problem and reused:  # le début, venu d'une autre fois ou d'une autre source, n'est peut-être pas le bon
        os.truncate(mine, 0)
        _receive(wanted, url, mine)
        problem = wanted.problem(mine)
    if problem:
        os.truncate(mine, 0)
        raise OSError(problem)


def _open(url: str, start: int) -> tuple[http.client.HTTPResponse, int]:
    """La réponse, et l'octet où elle commence : `start`, ou 0 si le serveur ne sait pas reprendre."""
    headers = {"User-Agent": "Mozilla/5.0 (gan-course)", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # « rien après cet octet » : ce que nous avons n'est pas ce fichier
            return _open(url, 0)
        raise
    if getattr(answer, "status", None) != 206:
        return answer, 0
    if answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        return answer, start
    answer.close()
    return _open(url, 0)


def _receive(wanted: Wanted, url: str, mine: Path) -> int:
    """Ajoute à `mine` ce qui lui manque, et rend les octets qu'il avait déjà ; OSError si la réponse est coupée."""
    have = mine.stat().st_size
    if wanted.size is not None and have >= wanted.size:
        have = 0
    answer, start = _open(url, have)
    with answer, open(mine, "r+b") as file:
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise OSError(_page_reason(answer.read(CHUNK).decode("utf-8", "replace")))
        length = re.fullmatch(r"\d+", answer.headers.get("Content-Length", ""))
        announced = start + int(length[0]) if length else None
        if have and wanted.size and announced not in (None, wanted.size):  # ne pas lui sacrifier ce que l'on a
            raise OSError(f"{readable_bytes(announced)} annoncés au lieu de {readable_bytes(wanted.size)}")
        total, cut = wanted.size or announced, False
        file.truncate(start)
        file.seek(start)
        try:
            _copy(answer, file, wanted.name, start, total)
        except http.client.IncompleteRead:
            cut = True
        received = file.tell()
    if cut or (total is not None and received < total):
        whole = f" sur {readable_bytes(total)}" if total else ""
        raise OSError(f"coupé après {readable_bytes(received)}{whole}")
    return start


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, name: str, received: int, total: int | None) -> None:
    """Recopie la réponse, sans dépasser `total` octets ; OSError si elle est plus longue, ou trop lente."""
    start = last = checked = time.monotonic()
    then = received
    try:
        while chunk := answer.read1(CHUNK):  # read attendrait un bloc entier, à un octet par seconde s'il le faut
            received += len(chunk)
            if total is not None and received > total:
                file.truncate(0)
                raise OSError(f"plus long que les {readable_bytes(total)} annoncés")
            file.write(chunk)
            now = time.monotonic()
            if now - checked >= WINDOW:
                if received - then < SLOWEST * (now - checked):
                    raise OSError(f"moins de {readable_bytes(SLOWEST)} par seconde pendant {WINDOW:.0f} s, trop lent")
                checked, then = now, received
            if now - last >= 1:
                last = now
                file.flush()  # la date du fichier dit aux autres processus que celui-ci avance
                whole = f" sur {readable_bytes(total)}" if total else ""
                print(f"\r{f'{name} : {readable_bytes(received)}{whole}':<78}", end="", file=sys.stderr, flush=True)
    finally:
        if last > start:
            print(file=sys.stderr)


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
