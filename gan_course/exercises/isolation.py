"""Éprouver une réponse sans qu'elle dérange le carnet : hasard, réglages, affichage, temps."""

import io
import random
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress

import numpy as np
import torch

PRINTED_LINES, PRINTED_CHARACTERS = 10, 2_000


class TimeUp(BaseException):
    """La réponse n'a pas fini à temps. N'est pas une Exception : un `except Exception` ne l'arrête pas."""


class UserInterrupt(KeyboardInterrupt):
    """Ctrl-C, ou le bouton d'arrêt du carnet ; et non un KeyboardInterrupt levé par la réponse."""


class Printed(io.TextIOBase):
    """Retient les premières lignes de ce qui est affiché, et compte les autres."""

    def __init__(self) -> None:
        self.kept, self.room, self.lines = "", PRINTED_CHARACTERS, 0

    def write(self, text: str) -> int:
        """Retient de `text` ce qui tient encore."""
        if self.lines < PRINTED_LINES and self.room > 0:
            allowed = text[: self.room].splitlines(keepends=True)[: PRINTED_LINES - self.lines]
            self.kept += "".join(allowed)
            self.room -= sum(map(len, allowed))
        self.lines += text.count("\n")
        return len(text)

    def __str__(self) -> str:
        hidden = self.lines - self.kept.count("\n")
        kept = self.kept.rstrip("\n")
        if hidden > 0:
            kept += f"\n… ({hidden} ligne{'s' if hidden > 1 else ''} de plus, non montrée{'s' if hidden > 1 else ''})"
        return kept


@contextmanager
def captured() -> Iterator[Printed]:
    """Ce que le bloc affiche, avertissements compris, au lieu de l'afficher."""
    printed = Printed()
    with redirect_stdout(printed), redirect_stderr(printed):
        yield printed


@contextmanager
def same_randomness() -> Iterator[None]:
    """Remet, après le bloc, le hasard de PyTorch, de NumPy et de Python comme il l'a trouvé."""
    python, array = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)


@contextmanager
def same_settings() -> Iterator[None]:
    """Remet, après le bloc, type par défaut, appareil, gradients et fils de PyTorch comme il les a trouvés."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    gradients, output = torch.is_grad_enabled(), sys.stdout
    try:
        yield
    finally:
        sys.stdout = output
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def plain_settings() -> Iterator[None]:
    """Le bloc s'exécute en float32, sur le processeur, gradients permis, quels que soient les réglages du carnet."""
    with same_settings(), torch.inference_mode(False), torch.enable_grad():
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            torch.set_default_device("cpu")
        yield


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Lève TimeUp dans le bloc au bout de `seconds` secondes (None : jamais) ; Ctrl-C y lève UserInterrupt.

    Ce sont des secondes de calcul, pour qu'une machine chargée ne condamne pas une réponse juste ; une réponse qui
    attend sans calculer est arrêtée au triple.
    Hors du fil principal, Python ne livre pas de signaux : il n'y a ni limite ni UserInterrupt.
    """
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.getsignal(signal.SIGINT)  # None : posé hors de Python, on ne saurait le remettre
    if previous is None:
        yield
        return
    over, knocking = threading.Event(), threading.Event()

    def knock() -> None:
        computed, elapsed = time.process_time() + seconds, time.monotonic() + 3 * seconds
        wait = seconds / 5
        while not over.wait(wait):
            if time.process_time() > computed or time.monotonic() > elapsed:
                knocking.set()
                _interrupt()
                wait = 1.0  # une réponse peut avaler TimeUp par un `except:` : on insiste

    watch = threading.Thread(target=knock, daemon=True)
    signal.signal(signal.SIGINT, _listener(over, knocking, previous))
    try:
        with suppress(RuntimeError):  # plus un seul fil disponible : tant pis pour la limite
            if seconds is not None:
                watch.start()
        try:
            yield
        finally:
            over.set()
    finally:
        over.set()
        if watch.ident is not None:
            watch.join()
        signal.signal(signal.SIGINT, previous)


def _listener(over: threading.Event, knocking: threading.Event, previous: object) -> Callable:
    """De quoi recevoir SIGINT : le nôtre devient TimeUp, celui de l'utilisateur UserInterrupt."""

    def heard(number: int, frame: object) -> None:
        if knocking.is_set():
            knocking.clear()
            if not over.is_set():
                raise TimeUp
        elif previous != signal.SIG_IGN:
            if callable(previous):
                with suppress(KeyboardInterrupt):
                    previous(number, frame)
            raise UserInterrupt

    return heard


def _interrupt() -> None:
    """Interrompt le fil principal, même pendant time.sleep là où le système le permet."""
    try:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    except Exception:  # Windows n'a pas pthread_kill, et un bac à sable peut le refuser
        interrupt_main()
