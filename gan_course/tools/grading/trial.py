"""Éprouver les réponses d'une copie. La copie a son processus, et chaque réponse le sien, que l'on peut tuer.

Celui d'une réponse se ferme d'abord (sandbox), puis définit, éprouve et dit le résultat.
"""

import ast
import importlib
import json
import linecache
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from gan_course import exercises
from gan_course.exercises.explain import explain
from gan_course.exercises.report import Report, examine
from gan_course.tools.grading import copies, sandbox, slices, subject, tampering

MAX_BYTES = 60_000  # le compte rendu doit tenir dans le tube : on ne le lit qu'une fois le processus fini
MAX_TEXT = 600
# Ce que PyTorch charge au premier appel de torch.func ou torch.compile, et qui remplace alors quelques-unes de ses
# fonctions : chargé d'avance, cela ne passe pas pour une malveillance, et ne coûte rien aux réponses.
LATE_MODULES = ("torch._dynamo",)
MODIFIED = "Le paquet ou PyTorch a été modifié par la réponse : aucun point."
KEPT_VARIABLES = ("SYSTEMROOT", "LANG", "LC_ALL", "OMP_NUM_THREADS")  # le reste du système ne regarde pas une copie


@dataclass(frozen=True)
class Limits:
    """Ce qu'une réponse peut prendre : secondes par exercice, Mio de mémoire, secondes pour toute la copie."""

    seconds: float = 10.0
    memory: int = 1024
    copy_seconds: float = 180.0


# --- le processus d'une copie ------------------------------------------------------------------------------------


def grade_copy(path: Path, chapter: subject.Subject, limits: Limits, reply: Connection) -> None:
    """Note la copie `path`, dans le processus qui lui est consacré, et envoie le résultat, en JSON, à `reply`."""
    leads = hasattr(os, "setsid")
    if leads:
        os.setsid()
    result = {"exercises": {}, "remarks": [], "offline": sandbox.cut_network()}
    try:
        program = slices.read_program(copies.read_cells(path))
        result["remarks"] = program.remarks
    except (copies.UnreadableCopy, OSError) as error:
        result["unreadable"] = str(error)
    end = time.monotonic() + limits.copy_seconds
    late = f"La copie a déjà pris {limits.copy_seconds:.0f} secondes : cet exercice n'a pas été éprouvé."
    for question in chapter.questions if "unreadable" not in result else ():
        left = end - time.monotonic()
        done = grade_question(question, program, chapter.support, limits, left) if left > 0 else lost(late)
        result["exercises"][question.exercise] = done
    # En JSON : relire un pickle, ce serait exécuter ce qu'il demande.
    reply.send_bytes(json.dumps(result).encode())
    if leads:  # ce que la copie a lancé ne lui survit pas
        os.killpg(0, signal.SIGKILL)


def grade_question(
    question: subject.Question, program: slices.Program, support: slices.Program, limits: Limits, left: float
) -> dict[str, Any]:
    """Le meilleur résultat des réponses que la copie donne à un exercice ; `left` : les secondes qui lui restent."""
    # La copie a pu renommer sa réponse : ce qu'elle fait vérifier compte aussi.
    renamed = [name for exercise, name in program.checked if exercise == question.exercise]
    names = list(dict.fromkeys([question.answer, *renamed]))
    found = slices.candidates(program, names)
    if not found:
        if slices.is_defined(program, names):
            return lost("La réponse reste à écrire.", "à écrire")
        return lost(f"La copie ne définit pas {question.answer}.", "absente")
    results = []
    for answer in found:
        cut = slices.cut(program, answer, support, names)
        why = subject.objection(question, [statement for source, statement in cut if source is program])
        name = next(name for name in names if name in answer[0].gives)
        results.append(lost(why, "refusée") if why else in_a_child(question, name, cut, limits, left))
        if results[-1]["passed"]:
            break
    best = max(results, key=lambda result: (result["passed"], result["held"]))  # la dernière écrite, à égalité
    return {**best, "points": question.points if best["passed"] else 0}


def lost(notice: str, state: str = "à revoir") -> dict[str, Any]:
    """Le résultat d'un exercice qui n'a pas pu être éprouvé, et pourquoi."""
    return {"passed": False, "held": 0, "points": 0, "state": state, "notice": notice, "outcomes": [], "refusals": []}


def in_a_child(
    question: subject.Question, name: str, cut: list[tuple], limits: Limits, left: float
) -> dict[str, Any]:
    """Éprouve une réponse dans un processus fils, que l'on tue s'il tarde, et rend son résultat."""
    method = "fork" if hasattr(os, "fork") else "spawn"
    context = multiprocessing.get_context(method)
    seconds = max(1.0, min(limits.seconds, left))
    code = [(source.cells[s.cell - 1], s.cell, s.node) for source, s in cut]
    with tempfile.TemporaryDirectory(prefix="copie-", ignore_cleanup_errors=True) as folder:
        receive, send = context.Pipe(duplex=False)
        trial = (question, name, code, limits.memory, seconds, folder, send)
        child = context.Process(target=run_trial, args=trial, daemon=True)
        child.start()
        send.close()
        grace = 3 if method == "fork" else 60  # Windows recharge PyTorch
        token = _heard(receive, seconds + grace)
        # La vérification a sa propre limite, qui s'explique mieux ; celle-ci arrête ce qui ne l'entend pas. On attend
        # un message, puis la fin du processus : join(durée) se fierait à un tube que l'essai a fermé.
        said = _heard(receive, seconds + grace)
        end = time.monotonic() + 1
        while child.exitcode is None and time.monotonic() < end:
            time.sleep(0.005)
        if late := child.exitcode is None:
            child.kill()
            child.join()
        receive.close()
    with suppress(ValueError):
        if token and said.startswith(token):  # sinon, ce n'est pas l'essai qui l'a écrit
            return json.loads(said[len(token) :])
    return lost(_death(late, child.exitcode or 0, seconds))


def _heard(receive: Connection, seconds: float) -> bytes:
    """Le message suivant d'un essai ; rien s'il ne vient pas à temps, ou si le tube est fermé."""
    try:
        return receive.recv_bytes(2 * MAX_BYTES) if receive.poll(seconds) else b""
    except (EOFError, OSError):
        return b""


def _death(late: bool, code: int, seconds: float) -> str:
    """Pourquoi le processus d'une réponse n'a rien dit."""
    if late:
        return f"La réponse n'a pas fini en {seconds:.0f} secondes, et ne s'est pas laissé interrompre."
    if code == -24:  # SIGXCPU
        return f"La réponse a calculé plus de {seconds:.0f} secondes."
    if code < 0:
        return f"La réponse a fait tomber Python (signal {-code}) : mémoire épuisée, ou code compilé en faute ?"
    return f"La réponse a mis fin au programme (code {code}) au lieu de rendre une valeur."


# --- le processus d'une réponse ----------------------------------------------------------------------------------


def run_trial(
    question: subject.Question, name: str, code: list[tuple[str, int, ast.stmt]], memory: int, seconds: float,
    folder: str, reply: Connection,
) -> None:  # fmt: skip
    """Éprouve la réponse `name`, définie par `code` : [(texte de la cellule, son numéro, instruction)].

    Envoie d'abord un mot de passe, que la réponse ne connaîtra pas, puis le résultat, qu'il précède.
    """
    _settle(folder, reply)
    exercise = exercises.find(question.exercise)
    watch = tampering.Watch()
    sandbox.hide_course(module.rpartition(".")[0] for module in question.allowed)
    folder = sandbox.real(folder)
    readable = [*map(sandbox.real, sandbox.readable_folders()), folder]
    sys.path[:] = [path for path in sys.path if sandbox.under(path, readable)]
    token = secrets.token_hex(16).encode()
    reply.send_bytes(token)
    sandbox.limit_resources(memory * 2**20, seconds)
    sandbox.close_files(readable, folder)
    refusals = sandbox.arm(readable, folder)

    space: dict[str, Any] = {"__name__": "copie"}
    problems = _define(code, space)
    result = lost(" ".join([f"{name} n'a pas pu être défini.", *problems]))
    if name in space:
        report = examine(exercise, watch.around(space[name]), seconds)
        result = _told(report, problems)
        if result["passed"]:
            fakes = (examine(exercise, fake, seconds) for fake in tampering.impostors(exercise.expects))
            watch.broken = watch.broken or ("vérification" if any(_holds(fake) for fake in fakes) else "")
    if not watch.look():
        result = lost(f"{MODIFIED} ({watch.broken})")
    result["refusals"] = [text[:MAX_TEXT] for text in refusals]
    said = json.dumps(result, ensure_ascii=False).encode("utf-8", errors="replace")
    reply.send_bytes(token + said[:MAX_BYTES])
    os._exit(0)


def _settle(folder: str, reply: Connection) -> None:
    """Un dossier à soi, rien à l'écran, un seul fil, et rien d'hérité : ni variables, ni descripteurs."""
    os.chdir(folder)
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=folder, USERPROFILE=folder, TMPDIR=folder, TEMP=folder, TMP=folder)
    tempfile.tempdir = folder
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    if hasattr(os, "fork"):  # une réponse écrirait dans le tube d'une autre, ou du correcteur
        last = max(256, *(int(name) for name in os.listdir("/dev/fd"))) + 1 if os.path.isdir("/dev/fd") else 4096
        os.closerange(3, reply.fileno())
        os.closerange(reply.fileno() + 1, last)
    else:
        for module in LATE_MODULES:
            importlib.import_module(module)


def _define(code: list[tuple[str, int, ast.stmt]], space: dict[str, Any]) -> list[str]:
    """Exécute les définitions, en revenant sur celles à qui un nom manquait ; rend ce qui n'a pas marché."""
    compiled = []
    for text, cell, node in code:
        name = f"{sandbox.STUDENT}cellule {cell}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        compiled.append((cell, compile(ast.Module([node], []), name, "exec")))
    while True:
        waiting, problems = [], []
        for cell, program in compiled:
            try:
                exec(program, space)
            except BaseException as error:
                waiting += [(cell, program)] if isinstance(error, NameError) else []
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
    passed = _holds(report)
    return {
        **lost(" ".join([report.notice, *problems]).strip()[:MAX_TEXT], "réussie" if passed else "à revoir"),
        "passed": passed,
        "held": sum(o.held for o in report.outcomes),
        "outcomes": [
            [o.statement[:MAX_TEXT], o.held, o.detail[:MAX_TEXT], o.consequence[:MAX_TEXT]] for o in report.outcomes
        ],
        "hint": report.hint,
        "printed": report.printed[:MAX_TEXT],
    }
