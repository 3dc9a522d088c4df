"""Ce que Python refuse à une réponse : un guet posé par sys.addaudithook, que rien n'enlève ensuite.

C'est une barrière, pas un coffre : du code compilé passe à côté. Sous Linux, Landlock la double (jail.close_files).
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable

STUDENT = "<copie, "  # début du nom de fichier donné au code des copies
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


class Refused(PermissionError):
    """Ce qu'une réponse n'a pas le droit de faire pendant la notation."""


def arm(readable: Iterable[str], writable: str) -> list[str]:
    """Pose le guet sur ce processus, pour toujours ; rend la liste, qui s'allonge, de ce qu'il a refusé."""
    refusals: list[str] = []
    busy = threading.local()  # le guet lui-même déclenche des événements
    inside = [writable]
    allowed = [*readable, writable]

    def refuse(what: str) -> None:
        # Le compte rendu d'une erreur cherche lui aussi des sources : ce n'est pas la réponse qui les lit.
        if _inside_a_copy() and len(refusals) < 20 and what not in refusals:
            refusals.append(what)
        raise Refused(f"Refusé pendant la notation : {what}.")

    def watch(event: str, arguments: tuple) -> None:
        if getattr(busy, "now", False):
            return
        busy.now = True
        try:
            judge(event, arguments)
        finally:
            busy.now = False

    def judge(event: str, arguments: tuple) -> None:
        if event == "open":
            _look_at_open(arguments, allowed, inside, refuse)
        elif event in _WRITES:
            for path in arguments[: _WRITES[event]]:
                if not under(path, inside):
                    refuse(f"modifier {_short(path)}, hors de son dossier")
        elif event in _READS:
            if not under("." if arguments[0] is None else arguments[0], allowed):
                refuse(f"lire le dossier {_short(arguments[0] or '.')}")
        elif event.startswith(_ALWAYS):
            refuse(_NAMES.get(event.partition(".")[0], f"appeler {event}"))
        elif event == "sys._getframe" or (
            event == "object.__getattr__" and arguments[1] in ("tb_frame", "gi_frame", "cr_frame", "ag_frame")
        ):
            if _asked_by_a_student():
                refuse("regarder qui l'appelle")

    sys.addaudithook(watch)
    return refusals


def _look_at_open(arguments: tuple, allowed: list[str], inside: list[str], refuse: Callable[[str], None]) -> None:
    path, mode, flags = arguments
    if isinstance(path, int):
        return
    writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITING)
    if writing and not under(path, [*inside, real(os.devnull)]):
        refuse(f"écrire {_short(path)}, hors de son dossier")
    if not writing and not under(path, allowed):
        refuse(f"lire {_short(path)}")


def _asked_by_a_student() -> bool:
    """Vrai si c'est une copie qui demande, elle-même ou à travers inspect et traceback ; PyTorch en a le droit."""
    frame = sys._getframe(3)  # cette fonction, judge et watch sont au-dessus de qui demande
    while frame.f_back and os.path.basename(frame.f_code.co_filename) in ("inspect.py", "traceback.py"):
        frame = frame.f_back
    main = threading.current_thread() is threading.main_thread()
    return frame.f_code.co_filename.startswith(STUDENT) or not main


def _inside_a_copy() -> bool:
    """Vrai si du code d'une copie est en cours, ou si un fil qu'elle a lancé demande quelque chose."""
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith(STUDENT):
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
