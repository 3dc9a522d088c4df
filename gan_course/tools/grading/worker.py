"""Éprouver les réponses d'une copie. La copie a son processus, et chaque réponse le sien, que l'on peut tuer."""

import json
import multiprocessing
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gan_course.tools.grading import copies, sandbox, slices, subject
from gan_course.tools.grading.trial import Trial, hear, run_trial


@dataclass(frozen=True)
class Limits:
    """Ce qu'une réponse peut prendre : secondes par exercice, Mio de mémoire, secondes pour toute la copie."""

    seconds: float = 10.0
    memory: int = 1024
    copy_seconds: float = 180.0


def grade_copy(path: Path, chapter: subject.Subject, limits: Limits, reply: Connection) -> None:
    """Note la copie `path`, dans le processus qui lui est consacré, et envoie le résultat à `reply`."""
    if hasattr(os, "setsid"):
        os.setsid()
    offline = sandbox.cut_network()
    try:
        program = slices.read_program(copies.read_cells(path))
    except (copies.UnreadableCopy, OSError) as error:
        _send(reply, {"unreadable": str(error), "exercises": {}, "remarks": []})
        return
    end = time.monotonic() + limits.copy_seconds
    done = {}
    for question in chapter.questions:
        left = end - time.monotonic()
        late = f"La copie a déjà pris {limits.copy_seconds:.0f} secondes : cet exercice n'a pas été éprouvé."
        done[question.exercise] = (
            grade_question(question, program, chapter.support, limits, left) if left > 0 else lost(late)
        )
    _send(reply, {"exercises": done, "remarks": program.remarks, "offline": offline})


def _send(reply: Connection, result: dict[str, Any]) -> None:
    # En JSON : relire un pickle, ce serait exécuter ce qu'il demande.
    reply.send_bytes(json.dumps(result).encode())


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
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="copie-", ignore_cleanup_errors=True) as folder:
        receive, send = context.Pipe(duplex=False)
        trial = Trial(question, name, code, limits.memory, seconds, folder)
        child = context.Process(target=run_trial, args=(trial, token, send), daemon=True)
        child.start()
        send.close()
        # La vérification a sa propre limite, qui s'explique mieux ; celle-ci arrête ce qui ne l'entend pas. On attend
        # un message, puis la fin du processus : join(durée) se fierait à un tube que l'essai a fermé.
        receive.poll(seconds + (3 if method == "fork" else 60))
        end = time.monotonic() + 1
        while child.exitcode is None and time.monotonic() < end:
            time.sleep(0.005)
        if late := child.exitcode is None:
            child.kill()
            child.join()
        result = hear(receive, token)
        receive.close()
    return result or lost(_death(late, child.exitcode or 0, seconds))


def _death(late: bool, code: int, seconds: float) -> str:
    """Pourquoi le processus d'une réponse n'a rien dit."""
    if late:
        return f"La réponse n'a pas fini en {seconds:.0f} secondes, et ne s'est pas laissé interrompre."
    if code == -24:  # SIGXCPU
        return f"La réponse a calculé plus de {seconds:.0f} secondes."
    if code < 0:
        return f"La réponse a fait tomber Python (signal {-code}) : mémoire épuisée, ou code compilé en faute ?"
    return f"La réponse a mis fin au programme (code {code}) au lieu de rendre une valeur."
