"""L'essai d'une réponse, dans son processus : se fermer, définir, éprouver, dire le résultat."""

import ast
import importlib
import json
import linecache
import os
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from gan_course import exercises
from gan_course.exercises.explain import explain
from gan_course.exercises.report import Report, examine
from gan_course.tools.grading import guard, sandbox, tampering
from gan_course.tools.grading.subject import Question

MAX_BYTES = 60_000  # le compte rendu doit tenir dans le tube : on ne le lit qu'une fois le processus fini
MAX_TEXT = 600
# Ce que PyTorch charge au premier appel de torch.func ou torch.compile, et qui remplace alors quelques-unes de ses
# fonctions : chargé d'avance, cela ne passe pas pour une malveillance, et ne coûte rien aux réponses.
LATE_MODULES = ("torch._dynamo",)
MODIFIED = "Le paquet ou PyTorch a été modifié par la réponse : aucun point."


@dataclass(frozen=True)
class Trial:
    """Une réponse à éprouver : question, nom, [(texte de la cellule, son numéro, instruction)], limites, dossier."""

    question: Question
    name: str
    code: list[tuple[str, int, ast.stmt]]
    memory: int
    seconds: float
    folder: str


def run_trial(trial: Trial, token: str, reply: Connection) -> None:
    """Éprouve une réponse et envoie le résultat, précédé de `token`, que la réponse ne connaît pas."""
    _settle(trial.folder)
    if hasattr(os, "fork"):
        _close_inherited(reply.fileno())
    else:
        for name in LATE_MODULES:
            importlib.import_module(name)
    exercise = exercises.find(trial.question.exercise)
    watch = tampering.Watch()
    guard.hide_course(name.rpartition(".")[0] for name in trial.question.allowed)
    folder = guard.real(trial.folder)
    readable = [*map(guard.real, sandbox.readable_folders()), folder]
    sys.path[:] = [path for path in sys.path if guard.under(path, readable)]
    sandbox.limit_resources(trial.memory * 2**20, trial.seconds)
    sandbox.close_files(readable, folder)
    refusals = guard.arm(readable, folder)

    space: dict[str, Any] = {"__name__": "copie"}
    problems = _define(trial.code, space)
    result: dict[str, Any] = {"passed": False, "held": 0, "notice": "", "outcomes": []}
    if trial.name in space:
        report = examine(exercise, watch.around(space[trial.name]), trial.seconds)
        result = _told(report, problems)
        if result["passed"]:
            fakes = (examine(exercise, fake, trial.seconds) for fake in tampering.impostors(exercise.expects))
            watch.broken = watch.broken or ("vérification" if any(_holds(fake) for fake in fakes) else "")
    else:
        result["notice"] = " ".join([f"{trial.name} n'a pas pu être défini.", *problems])
    if not watch.look():
        result |= {"passed": False, "held": 0, "outcomes": [], "notice": f"{MODIFIED} ({watch.broken})"}
    result["state"] = "réussie" if result["passed"] else "à revoir"
    result["refusals"] = [text[:MAX_TEXT] for text in refusals]
    said = json.dumps(result, ensure_ascii=False).encode("utf-8", errors="replace")
    reply.send_bytes(token.encode() + said[:MAX_BYTES])
    os._exit(0)


def hear(receive: Connection, token: str) -> dict[str, Any] | None:
    """Le résultat qu'un essai fini a envoyé ; None s'il n'a rien envoyé, ou si ce n'est pas lui qui l'a écrit."""
    try:
        if not receive.poll():
            return None
        said = receive.recv_bytes(2 * MAX_BYTES)
        return json.loads(said[len(token) :]) if said.startswith(token.encode()) else None
    except (EOFError, OSError, ValueError):
        return None


def _settle(folder: str) -> None:
    """Un dossier à soi, rien à l'écran, un seul fil, et rien d'écrit en cachette par Python."""
    os.chdir(folder)
    os.environ.update(HOME=folder, USERPROFILE=folder, TMPDIR=folder, TEMP=folder, TMP=folder)
    tempfile.tempdir = folder
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)


def _close_inherited(kept: int) -> None:
    """Ferme les descripteurs hérités, sauf `kept` : une réponse écrirait dans le tube d'une autre, ou du correcteur."""
    last = max(256, *(int(name) for name in os.listdir("/dev/fd"))) + 1 if os.path.isdir("/dev/fd") else 4096
    os.closerange(3, kept)
    os.closerange(kept + 1, last)


def _define(code: list[tuple[str, int, ast.stmt]], space: dict[str, Any]) -> list[str]:
    """Exécute les définitions, en revenant sur celles à qui un nom manquait ; rend ce qui n'a pas marché."""
    compiled = []
    for text, cell, node in code:
        name = f"{guard.STUDENT}cellule {cell}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        compiled.append((cell, compile(ast.Module([node], []), name, "exec")))
    while True:
        waiting, problems = [], []
        for cell, program in compiled:
            try:
                exec(program, space)
            except NameError as error:
                waiting.append((cell, program))
                problems.append(f"Cellule {cell} : {_short(error)}")
            except BaseException as error:
                problems.append(f"Cellule {cell} : {_short(error)}")
        if not waiting or len(waiting) == len(compiled):
            return problems
        compiled = waiting


def _short(error: BaseException) -> str:
    try:
        return explain(error)[:MAX_TEXT]
    except BaseException:
        return type(error).__name__


def _holds(report: Report) -> bool:
    return bool(report.outcomes) and len(report.outcomes) == report.total and all(o.held for o in report.outcomes)


def _told(report: Report, problems: list[str]) -> dict[str, Any]:
    """Le rapport, en ce qui se range dans un JSON."""
    outcomes = [
        [o.statement[:MAX_TEXT], o.held, o.detail[:MAX_TEXT], o.consequence[:MAX_TEXT]] for o in report.outcomes
    ]
    return {
        "passed": _holds(report),
        "held": sum(o.held for o in report.outcomes),
        "notice": " ".join([report.notice, *problems]).strip()[:MAX_TEXT],
        "outcomes": outcomes,
        "hint": report.hint,
        "printed": report.printed[:MAX_TEXT],
    }
