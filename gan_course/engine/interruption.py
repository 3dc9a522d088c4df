"""Ctrl-C pendant un entraînement : jamais au milieu d'un pas, rien de perdu, et une phrase au lieu d'une trace."""

import signal
import sys
import threading
from collections.abc import Callable


class TrainingInterrupted(KeyboardInterrupt):
    """L'entraînement a été arrêté ; le message dit à quel pas, et ce qui est enregistré."""

    def _render_traceback_(self) -> list[str]:
        """Ce que Jupyter, Colab et papermill montrent à la place d'une trace."""
        return [str(self)]


class Interruption:
    """Ce que devient Ctrl-C tant qu'un entraînement est en cours.

    stop     ce qu'il faut faire alors : enregistrer, et lever TrainingInterrupted
    working  à tenir (`with`) pendant ce qui ne doit pas être coupé ; Ctrl-C attend alors, et se lit dans `pending`

    Hors du fil principal, Python ne livre pas les signaux : il n'y a rien à faire.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        # Un verrou sert de drapeau : le prendre et le rendre ne coûte rien à chaque pas.
        self.working, self.pending, self.stop = threading.Lock(), False, stop
        self.handler = self.hear
        self.previous = None

    def listen(self) -> None:
        """Prend la place de Ctrl-C ; un noyau Jupyter la reprend à chaque cellule, il faut donc y revenir."""
        current = signal.getsignal(signal.SIGINT)
        # D'un autre que Python (un temps limité, un Ctrl-C ignoré sous nohup), on ne prend pas la place.
        if current is signal.default_int_handler and threading.current_thread() is threading.main_thread():
            self.previous = current
            signal.signal(signal.SIGINT, self.handler)

    def hear(self, number: int, frame: object) -> None:
        """Reçoit Ctrl-C : plus tard si un pas est en cours, tout de suite sinon."""
        if self.working.locked():
            self.pending = True
        else:
            self.stop()

    def end(self) -> None:
        """Rend Ctrl-C à qui l'avait."""
        if self.previous is not None and signal.getsignal(signal.SIGINT) is self.handler:
            signal.signal(signal.SIGINT, self.previous)


def quiet(error: TrainingInterrupted) -> TrainingInterrupted:
    """La même erreur, dont un terminal ne montrera que la phrase."""
    shown = sys.excepthook

    def hook(kind: type, value: BaseException, trace: object) -> None:
        print(value, file=sys.stderr) if value is error else shown(kind, value, trace)

    sys.excepthook = hook
    return error
