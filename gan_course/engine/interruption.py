"""Ctrl-C pendant un entraînement : jamais au milieu d'un pas, rien de perdu, et une phrase au lieu d'une trace.

Un entraînement (`run`) est ici ce qui a : `working`, un verrou tenu pendant ce qui ne doit pas être coupé ; `pending`,
vrai si Ctrl-C a été reçu pendant ce temps ; `shared`, vrai si d'autres processus avancent avec lui ; `save()` ; et
`place()`, où il en est, en une phrase.
"""

import atexit
import signal
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any, NoReturn

alive: "weakref.WeakSet[Any]" = weakref.WeakSet()  # les entraînements commencés et non finis, dans ce processus


class TrainingInterrupted(KeyboardInterrupt):
    """L'entraînement a été arrêté ; le message dit à quel pas, et ce qui est enregistré."""

    def _render_traceback_(self) -> list[str]:
        """Ce que Jupyter, Colab et papermill montrent à la place d'une trace."""
        return [str(self)]


def listen() -> None:
    """Prend la place de Ctrl-C, si Python l'a et si nous sommes dans le fil principal, le seul à recevoir les signaux.

    D'un autre que Python (un temps limité, un Ctrl-C ignoré sous nohup), on ne prend pas la place.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, hear)


def forget(run: Any) -> None:
    """Cet entraînement est fini ; le dernier rend Ctrl-C à Python."""
    alive.discard(run)
    if not alive and threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is hear:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hear(number: int, frame: object) -> None:
    """Reçoit Ctrl-C : à la fin du pas si l'un est en cours, tout de suite sinon."""
    runs = list(alive)
    if busy := [run for run in runs if run.working.locked() or run.shared]:
        for run in busy:
            run.pending = True
    elif runs:
        stop(max(runs, key=lambda run: run.seconds))
    else:
        signal.default_int_handler(number, frame)


def stop(run: Any) -> NoReturn:
    """Enregistre tous les entraînements en cours, et lève TrainingInterrupted, qui dit où en est celui-ci."""
    for other in list(alive):
        if other is not run:
            with suppress(Exception):  # c'est de celui-ci que l'on parle
                other.save()
    run.pending = False
    run.save()
    if sys.excepthook is not _hook:
        _shown.append(sys.excepthook)
        sys.excepthook = _hook
    raise TrainingInterrupted(run.place())


_shown: list[Any] = []  # ce qui montrait les erreurs avant nous


def _hook(kind: type, value: BaseException, trace: object) -> None:
    """Dans un terminal, la phrase suffit."""
    print(value, file=sys.stderr) if isinstance(value, TrainingInterrupted) else _shown[-1](kind, value, trace)


@atexit.register
def save_the_suspended() -> None:
    """À la fin du programme, enregistre ceux qu'une variable tenait encore, arrêtés entre deux pas."""
    for run in list(alive):
        if not run.working.locked():
            with suppress(Exception):
                run.save()
