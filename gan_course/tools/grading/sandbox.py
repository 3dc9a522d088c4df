"""Ce qui est interdit au processus d'une réponse : par le système là où il le permet, par Python partout.

Le système. Partout où `resource` existe : mémoire, temps de calcul, taille des fichiers, pas d'image mémoire. Sous
Linux, en plus : un espace réseau vide (unshare), et Landlock, qui ferme les fichiers hors de quelques dossiers, les
programmes, les connexions TCP et les signaux vers les autres processus, même au code compilé. Rien de cela ne demande
d'être administrateur.

Python. Un guet posé par sys.addaudithook, que rien n'enlève ensuite. C'est une barrière, pas un coffre : du code
compilé passe à côté ; là où Landlock existe, il tient aussi pour ce code.
"""

import ctypes
import os
import struct
import sys
import threading
import types
from collections.abc import Iterable
from pathlib import Path

import numpy
import torch

STUDENT = "<copie, "  # début du nom de fichier donné au code des copies

# --- ce que le système interdit ----------------------------------------------------------------------------------

_CLONE_NEWUSER, _CLONE_NEWNET, _PR_SET_NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # les mêmes numéros sur x86-64 et ARM 64
_EXECUTE, _READ_FILE, _READ_FOLDER = 0b1, 0b100, 0b1000


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
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 64 * 2**20, resource.RLIMIT_CPU: int(seconds) + 2}
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
    """Ferme, par Landlock, tout fichier hors de ces dossiers, les programmes et les connexions ; faux s'il manque."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1  # les droits que cette version connaît
    rules = struct.pack("=QQQ", files, 3, 3)[: 24 if version >= 6 else 16 if version >= 4 else 8]  # réseau, signaux
    ruleset = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if ruleset < 0:
        return False
    for path, rights in [*((path, _READ_FILE | _READ_FOLDER) for path in readable), (writable, files & ~_EXECUTE)]:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rights &= files if os.path.isdir(path) else _READ_FILE
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
        os.close(descriptor)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    closed = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return closed


def readable_folders() -> list[str]:
    """Où une réponse peut lire : Python, ses bibliothèques, le système ; du cours, tout sauf ses vérifications."""
    package = Path(__file__).resolve().parents[2]
    course = [str(path) for path in package.iterdir() if path.name not in ("exercises", "tools")]
    # Ni sys.path[0], ni PYTHONPATH : ce sont le dossier d'où l'on note, et les copies des autres.
    libraries = {str(Path(module.__file__).parents[1]) for module in (torch, numpy)}
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, *libraries}
    system = ["/usr", "/lib", "/lib64", "/etc/localtime", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/dev/zero"]
    kept = [path for path in python if not _holds(path, package)]
    return [*kept, *course, *system, "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"]


def _holds(folder: str, package: Path) -> bool:
    """Vrai si ce dossier contient le paquet hors de site-packages : la racine du dépôt, avec ses maîtres."""
    return Path(folder).resolve() in package.parents and package.parent.name not in ("site-packages", "dist-packages")


# --- ce que Python interdit --------------------------------------------------------------------------------------

_ALWAYS = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "os.fork",
    "pty.spawn", "os.kill", "ctypes.", "gc.get_", "sys._current_", "sys.addaudithook",
    "sys.settrace", "sys.setprofile", "resource.", "winreg.", "webbrowser.", "urllib.", "http.", "ftplib.", "smtplib.",
)  # fmt: skip
_NAMES = {
    "socket": "joindre le réseau", "urllib": "joindre le réseau", "http": "joindre le réseau",
    "subprocess": "lancer un programme", "os": "agir sur les processus", "resource": "changer ses limites",
}  # fmt: skip
_WRITES = {  # événement → nombre de chemins parmi ses arguments
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
    "os.chmod": 1, "os.chown": 1, "os.utime": 1, "os.setxattr": 1, "os.removexattr": 1,
}  # fmt: skip
_READS = ("os.listdir", "os.scandir", "os.getxattr", "os.listxattr")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FRAMES = ("tb_frame", "gi_frame", "cr_frame", "ag_frame")
_GO_BETWEENS = ("inspect", "traceback", "logging", "torch._jit_internal")  # rendent la pile à qui la leur demande


class Refused(PermissionError):
    """Ce qu'une réponse n'a pas le droit de faire pendant la notation."""


def arm(readable: Iterable[str], writable: str) -> list[str]:
    """Pose le guet sur ce processus, pour toujours ; rend la liste, qui s'allonge, de ce qu'il a refusé."""
    refusals: list[str] = []
    busy = threading.local()  # le guet lui-même déclenche des événements
    allowed = [*readable, writable]

    def watch(event: str, arguments: tuple) -> None:
        if getattr(busy, "now", False):
            return
        busy.now = True
        try:
            if what := _objection(event, arguments, allowed, writable):
                # Le compte rendu d'une erreur cherche lui aussi des sources : ce n'est pas la réponse qui les lit.
                if _inside_a_copy() and len(refusals) < 20 and what not in refusals:
                    refusals.append(what)
                raise Refused(f"Refusé pendant la notation : {what}.")
        finally:
            busy.now = False

    sys.addaudithook(watch)
    return refusals


def _objection(event: str, arguments: tuple, allowed: list[str], writable: str) -> str:
    """Ce qu'un événement a de défendu ; vide s'il est permis."""
    if event == "open":
        path, mode, flags = arguments
        writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITING)
        if isinstance(path, int) or under(path, [writable, real(os.devnull)] if writing else allowed):
            return ""
        return f"écrire {_short(path)}, hors de son dossier" if writing else f"lire {_short(path)}"
    if event in _WRITES:
        outside = [path for path in arguments[: _WRITES[event]] if not under(path, [writable])]
        return f"modifier {_short(outside[0])}, hors de son dossier" if outside else ""
    if event in _READS:
        folder = "." if arguments[0] is None else arguments[0]
        return "" if under(folder, allowed) else f"lire le dossier {_short(folder)}"
    if event.startswith(_ALWAYS):
        return _NAMES.get(event.partition(".")[0], f"appeler {event}")
    looking = event == "sys._getframe" or (event == "object.__getattr__" and arguments[1] in _FRAMES)
    return "regarder qui l'appelle" if looking and _asked_by_a_student() else ""


def _is_student(frame: types.FrameType) -> bool:
    return frame.f_code.co_filename.startswith(STUDENT)


def _asked_by_a_student() -> bool:
    """Vrai si c'est une copie qui demande, elle-même ou par un intermédiaire ; PyTorch en a le droit."""
    frame = sys._getframe(3)  # cette fonction, _objection et watch sont au-dessus de qui demande
    while frame.f_back and not _is_student(frame) and frame.f_globals.get("__name__") in _GO_BETWEENS:
        frame = frame.f_back
    return _is_student(frame) or threading.current_thread() is not threading.main_thread()


def _inside_a_copy() -> bool:
    """Vrai si du code d'une copie est en cours, ou si un fil qu'elle a lancé demande quelque chose."""
    frame = sys._getframe()
    while frame is not None and not _is_student(frame):
        frame = frame.f_back
    return frame is not None or threading.current_thread() is not threading.main_thread()


def real(path: object) -> str:
    """Le chemin que ce chemin désigne vraiment, liens suivis."""
    return os.path.normcase(os.path.realpath(os.fsdecode(path)))


def under(path: object, folders: Iterable[str]) -> bool:
    """Vrai si ce chemin est l'un de ces dossiers, donnés par real, ou dans l'un d'eux."""
    if isinstance(path, int):
        return False
    place = real(path)
    return any(place == folder or place.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def _short(path: object) -> str:
    return f"« {os.path.basename(os.fsdecode(path)) or '/'} »" if not isinstance(path, int) else "un dossier"


def hide_course(allowed: Iterable[str]) -> None:
    """Rend le paquet du cours introuvable, sauf ces modules : une réponse n'en importe pas la solution."""
    kept = set(allowed)
    kept |= {".".join(name.split(".")[:n]) for name in kept for n in range(1, name.count(".") + 1)}
    for name in [name for name in sys.modules if name.partition(".")[0] == "gan_course" and name not in kept]:
        del sys.modules[name]

    class Closed:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == "gan_course":
                raise ModuleNotFoundError(f"Pendant la notation, une réponse n'importe pas {name}.", name=name)

    sys.meta_path.insert(0, Closed)
