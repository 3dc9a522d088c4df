"""Le hasard propre à l'entraînement, et les interruptions qui attendent la fin d'un pas."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Graine du pas `step` : deux pas, deux graines d'entraînement ou deux processus n'ont jamais la même suite."""
    return (seed * 1_000_003 + step * 4_099 + rank) % 2**32


@contextmanager
def step_randomness(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Le hasard du pas `step`, fonction pure de (seed, step, rank) ; celui du notebook ressort intact.

    Deux conséquences : dessiner des images pendant l'entraînement n'en change pas la suite, et un point de reprise
    contient tout le hasard de l'entraînement dès qu'il contient `seed` et `step`. Rien dans la boucle ne tire de
    `random` ni de numpy.
    """
    on_cuda = device.type == "cuda"
    outer = torch.get_rng_state()
    outer_cuda = torch.cuda.get_rng_state(device) if on_cuda else None
    # torch.manual_seed sèmerait aussi tous les GPU, même absents : cent fois plus lent.
    torch.default_generator.manual_seed(step_seed(seed, step, rank))
    if on_cuda:
        torch.cuda.manual_seed(step_seed(seed, step, rank))
    elif device.type == "mps":
        torch.mps.manual_seed(step_seed(seed, step, rank))
    try:
        yield
    finally:
        torch.set_rng_state(outer)
        if on_cuda:
            torch.cuda.set_rng_state(outer_cuda, device)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Retarde Ctrl-C jusqu'à la fin du bloc : un pas n'est jamais coupé entre D et G.

    Lève KeyboardInterrupt en sortie de bloc si Ctrl-C a été reçu. Hors du fil principal, Python ne livre pas les
    signaux et il n'y a rien à retarder.
    """
    received, previous = [], None
    if threading.current_thread() is threading.main_thread():
        previous = signal.getsignal(signal.SIGINT)  # None : posé hors de Python, on ne saurait le remettre
    if previous is not None:
        signal.signal(signal.SIGINT, lambda *_: received.append(True))
    try:
        yield
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
    if received and previous != signal.SIG_IGN:
        raise KeyboardInterrupt
