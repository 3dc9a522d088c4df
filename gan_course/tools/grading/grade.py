"""La classe entière : une copie par processus, autant à la fois que de cœurs, interrompue puis reprise."""

import hashlib
import json
import multiprocessing
import os
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import gan_course
from gan_course.tools import notebook, solutions
from gan_course.tools.grading import copies, feedback, subject, trial

FEEDBACK = "retours"
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass
class Work:
    """Une copie en cours : son processus, où il répondra, quand il doit avoir fini."""

    name: str
    process: Any
    answer: Connection
    start: float
    end: float


@dataclass
class Class:
    """Une classe à noter : dossier des copies, tableau à écrire, chapitre, limites, et ce qui est déjà noté."""

    folder: Path
    out: Path
    chapter: subject.Subject
    limits: trial.Limits
    version: bytes
    names: list[str] = field(default_factory=list)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """De quoi reconnaître une copie déjà notée : son contenu, les exercices, les limites."""
        path = self.folder / name
        readable = path.is_file() and not path.is_symlink() and path.stat().st_size <= copies.MAX_BYTES
        return hashlib.sha256(self.version + (path.read_bytes() if readable else b"")).hexdigest()

    def place(self, name: str, suffix: str) -> Path:
        """Le fichier de retour d'une copie."""
        path = self.out.parent / FEEDBACK / name
        return path.with_name(path.name + suffix)


def grade(
    folder: Path, out: Path, chapter: str = "06", limits: trial.Limits | None = None, processes: int | None = None
) -> int:
    """Note chaque fichier de `folder`, sous-dossiers compris ; écrit `out` et un retour par copie à côté.

    Ce qui est déjà noté ne l'est pas deux fois. Rend 0, ou 130 si l'on a interrompu. Lève FileNotFoundError si le
    dossier n'existe pas ou n'a pas de copie, ValueError si le chapitre n'existe pas.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"Aucun dossier de copies à cet endroit : {folder}")
    # Une copie a un cœur : les autres notent d'autres copies.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    (master,) = notebook.find_chapters(notebook.find_root() / "notebooks" / solutions.FOLDER, [chapter])
    limits = limits or trial.Limits()
    group = Class(folder, out, subject.read_subject(master), limits, _version(master, limits))
    group.names = list_copies(folder, out)
    if not group.names:
        raise FileNotFoundError(f"Aucune copie dans {folder}.")
    todo = [name for name in group.names if not _recall(group, name)]
    if len(todo) < len(group.names):
        print(f"Déjà notées : {len(group.names) - len(todo)} copies sur {len(group.names)}.")
    try:
        _grade_all(group, todo, processes or _cores())
    except KeyboardInterrupt:
        print(f"\nInterrompu : {len(group.results)} copies notées sur {len(group.names)}. Relancez la même commande.")
        return 130
    finally:
        rows = [(name, group.results.get(name)) for name in group.names]
        feedback.write_whole(out, feedback.notes(rows, group.chapter))
    print(f"Notes : {out}. Retours : {out.parent / FEEDBACK}.")
    return 0


def list_copies(folder: Path, out: Path) -> list[str]:
    """Tous les fichiers du dossier et de ses sous-dossiers, triés, sans ceux des outils ni ceux de la notation."""
    mine = {out.resolve(), (out.parent / FEEDBACK).resolve()}

    def counts(path: Path) -> bool:
        return not path.name.startswith(".") and path.name not in IGNORED and path.resolve() not in mine

    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if counts(here / name)]
        found += [(here / name).relative_to(folder).as_posix() for name in files if counts(here / name)]
    return sorted(found, key=str.casefold)


def _grade_all(group: Class, todo: list[str], processes: int) -> None:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # PyTorch n'est chargé qu'une fois, dans un processus qui n'exécute aucune copie
        context.set_forkserver_preload(["gan_course.tools.grading.trial", *trial.LATE_MODULES])
    waiting, running = list(reversed(todo)), []
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(_start(context, group, waiting.pop()))
            wait([work.answer for work in running], timeout=0.5)
            for work in list(running):
                late = time.monotonic() > work.end
                if work.answer.poll() or not work.process.is_alive() or late:
                    running.remove(work)
                    _finish(group, work, answer_of(work, late))
    finally:
        for work in running:
            _stop(work)


def _start(context: Any, group: Class, name: str) -> Work:
    receive, send = context.Pipe(duplex=False)
    arguments = (group.folder.resolve() / name, group.chapter, group.limits, send)
    process = context.Process(target=trial.grade_copy, args=arguments)
    process.start()
    send.close()
    now = time.monotonic()
    return Work(name, process, receive, now, now + group.limits.copy_seconds + 2 * group.limits.seconds + 60)


def answer_of(work: Work, late: bool) -> dict[str, Any]:
    """Ce que le processus d'une copie a répondu ; à défaut, ce qui lui est arrivé."""
    with suppress(EOFError, OSError, ValueError):
        if work.answer.poll():
            return json.loads(work.answer.recv_bytes())
    return _unreadable("la copie a dépassé sa durée" if late else "son processus s'est arrêté sans répondre")


def _unreadable(why: str) -> dict[str, Any]:
    return {"unreadable": why, "exercises": {}, "remarks": []}


def _finish(group: Class, work: Work, result: dict[str, Any]) -> None:
    """Retient le résultat d'une copie, et l'écrit ; ce qu'elle a d'impossible ne coûte rien aux autres."""
    _stop(work)
    try:
        page = feedback.page(work.name, result, group.chapter)
        feedback.notes([(work.name, result)], group.chapter)
    except Exception:  # un résultat forgé peut avoir n'importe quelle forme
        result = _unreadable("son résultat n'a pas la forme attendue ; lisez cette copie de près")
        page = feedback.page(work.name, result, group.chapter)
    group.results[work.name] = result
    verdict = f"{feedback.total(result)} points sur {group.chapter.points}"
    if "unreadable" in result:
        verdict = f"illisible ({result['unreadable']})"
    try:
        feedback.write_whole(group.place(work.name, ".html"), page)
        # Le JSON en dernier : c'est lui qui dit que la copie est notée.
        saved = json.dumps({"key": group.key(work.name), **result}, ensure_ascii=False, indent=1)
        feedback.write_whole(group.place(work.name, ".json"), saved)
    except OSError as error:  # un nom trop long, un dossier qui porte le nom du retour
        result["remarks"].append(f"son retour n'a pas pu être écrit ({error.strerror or error})")
        verdict += ", sans retour : renommez cette copie"
    seconds = time.monotonic() - work.start
    print(f"[{len(group.results)}/{len(group.names)}] {work.name} : {verdict}, {seconds:.0f} s", flush=True)


def _stop(work: Work) -> None:
    """Arrête le processus d'une copie et ceux qu'il a lancés."""
    if work.process.is_alive() or work.process.exitcode:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(work.process.pid, 9)
        work.process.kill()
    work.process.join()
    work.answer.close()


def _recall(group: Class, name: str) -> bool:
    """Reprend le résultat d'une copie déjà notée, si rien n'a changé depuis."""
    with suppress(OSError, ValueError, KeyError, AttributeError):
        saved = json.loads(group.place(name, ".json").read_text(encoding="utf-8"))
        if saved.pop("key") == group.key(name) and group.place(name, ".html").exists():
            group.results[name] = saved
            return True
    return False


def _version(master: Path, limits: trial.Limits) -> bytes:
    """L'empreinte de ce qui note : le paquet, les exercices, le maître, les limites."""
    package = Path(gan_course.__file__).parent
    sources = sorted([*package.glob("exercises/*.py"), *Path(__file__).parent.glob("*.py"), master])
    digest = hashlib.sha256(f"{gan_course.__version__} {astuple(limits)}".encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.digest()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
