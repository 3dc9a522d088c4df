"""Ce que le système peut interdire au processus d'une réponse, là où il le permet.

Partout où `resource` existe : mémoire, temps de calcul, taille des fichiers, pas d'image mémoire. Sous Linux, en
plus : un espace réseau vide (unshare), et Landlock, qui ferme les fichiers hors de quelques dossiers, les connexions
TCP et les signaux vers les autres processus, même au code compilé. Rien de cela ne demande d'être administrateur.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # les mêmes numéros sur x86-64 et ARM 64
_READ = 0b1101  # exécuter, lire un fichier, lire un dossier
_FILE_RIGHTS = 0b110_0000_0000_0111  # ceux qui ont un sens pour un fichier : exécuter, écrire, lire, tronquer
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version de Landlock → nombre de droits sur les fichiers


class _Rules(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def cut_network() -> bool:
    """Met ce processus, qui ne doit avoir qu'un fil, dans un espace réseau vide ; faux si le système refuse."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0


def limit_resources(memory: int, seconds: float) -> None:
    """Borne ce processus : `memory` octets de plus qu'à présent, `seconds` de calcul, 64 Mio par fichier écrit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 64 * 2**20,
        resource.RLIMIT_CPU: int(seconds) + 2,
    }
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        wanted[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    except OSError:  # macOS ne tient pas compte de cette limite-là
        pass
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def close_files(readable: Iterable[str], writable: str) -> bool:
    """Ferme, par Landlock, tout fichier hors de ces dossiers, et les connexions ; faux si le système ne sait pas."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = (1 << _RIGHTS.get(version, 16)) - 1
    rules = _Rules(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0)
    if ruleset < 0:
        return False
    try:
        for path, allowed in [*((path, _READ) for path in readable), (writable, rights)]:
            _allow(libc, ruleset, path, allowed & rights)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        beneath = _Beneath(rights if os.path.isdir(path) else rights & _FILE_RIGHTS, descriptor)
        libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(beneath), 0)
    finally:
        os.close(descriptor)


def readable_folders() -> list[str]:
    """Où une réponse peut lire : Python, ses bibliothèques, le système ; du cours, tout sauf ses vérifications."""
    package = Path(__file__).resolve().parents[2]
    course = [str(path) for path in package.iterdir() if path.name not in ("exercises", "tools")]
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(os.path.isabs, sys.path)}
    kept = [path for path in python if not _holds(path, package)]
    system = ["/usr", "/lib", "/lib64", "/etc/localtime", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/dev/zero"]
    return [*kept, *course, *system, "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"]


def _holds(folder: str, package: Path) -> bool:
    """Vrai si ce dossier contient le paquet hors de site-packages : la racine du dépôt, avec ses maîtres."""
    return Path(folder).resolve() in package.parents and package.parent.name not in ("site-packages", "dist-packages")
