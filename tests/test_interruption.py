"""Ctrl-C pendant un entraînement : jamais au milieu d'un pas, rien de perdu, une phrase au lieu d'une trace."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch

from gan_course.data import gaussian_ring
from gan_course.engine import checkpoint as files
from gan_course.engine.interruption import TrainingInterrupted
from gan_course.models import points
from gan_course.training import Recipe, train

RING, RECIPE = gaussian_ring(500), Recipe(batch_size=16)


def run(path=None, steps=50, images=RING):
    torch.manual_seed(0)
    return train(points.Generator(width=8), points.Discriminator(width=8), images, RECIPE, steps, checkpoint=path)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def saved_step(path):
    return torch.load(path, weights_only=True)["step"]


def test_between_two_steps_it_saves_at_once(tmp_path):
    """Le coup tombe dans le code de l'étudiant, une figure par exemple : la boucle suspendue enregistre."""
    training = run(tmp_path / "run.pt")
    with pytest.raises(TrainingInterrupted, match="interrompu au pas 3 sur 50 : tout est enregistré dans .*run.pt"):
        for progress in training:
            if progress.step == 3:
                press()
    assert saved_step(tmp_path / "run.pt") == 3
    training.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_checkpoint_it_says_that_nothing_is_kept():
    with pytest.raises(TrainingInterrupted, match="rien n'est enregistré"):
        for _ in run():
            press()


def test_a_second_press_waits_for_the_save(tmp_path, monkeypatch):
    write = torch.save

    def slow(*arguments, **named):
        press()
        write(*arguments, **named)

    monkeypatch.setattr(files.torch, "save", slow)
    with pytest.raises(TrainingInterrupted):
        for progress in run(tmp_path / "run.pt"):
            if progress.step == 20:
                press()
    assert saved_step(tmp_path / "run.pt") == 20


def test_a_press_during_the_last_save_is_heard_after_it(tmp_path, monkeypatch):
    write = torch.save
    monkeypatch.setattr(files.torch, "save", lambda *a, **named: press() or write(*a, **named))
    with pytest.raises(TrainingInterrupted, match="au pas 4 sur 4"):
        list(run(tmp_path / "run.pt", steps=4))
    assert saved_step(tmp_path / "run.pt") == 4


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignoré", "à un autre"])
def test_someone_else_s_ctrl_c_is_left_alone(handler):
    """Sous nohup, SIGINT est ignoré ; une vérification à temps limité y met le sien."""
    previous = signal.signal(signal.SIGINT, handler)
    try:
        for _ in run(steps=3):
            press()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, previous)


def test_outside_the_main_thread_nothing_listens():
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(progress.step for progress in run(steps=3)))
    thread.start()
    thread.join()
    assert seen == [1, 2, 3]


def test_a_notebook_shows_one_sentence():
    """IPython, Colab et papermill montrent ce que rend _render_traceback_ à la place d'une trace."""
    shell = pytest.importorskip("IPython").core.interactiveshell.InteractiveShell()
    told = []
    shell._showtraceback = lambda kind, value, lines: told.append(lines)
    try:
        raise TrainingInterrupted("Entraînement interrompu au pas 3 sur 50.")
    except TrainingInterrupted:
        shell.showtraceback()
    assert told == [["Entraînement interrompu au pas 3 sur 50."]]


def test_a_terminal_shows_one_sentence():
    script = """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from test_interruption import press, run
        for progress in run():
            press()
    """
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, encoding="utf-8", cwd=root,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr == "Entraînement interrompu au pas 1 sur 50 : rien n'est enregistré (checkpoint=None).\n"


CELL = """
import torch
from gan_course.data import gaussian_ring
from gan_course.live import follow
from gan_course.models import points
from gan_course.training import Recipe, train

torch.manual_seed(0)
G, D = points.Generator(width=8), points.Discriminator(width=8)
for progress in follow(train(G, D, gaussian_ring(500), Recipe(batch_size=16), 100_000, checkpoint={path!r})):
    if progress.step == 20:
        print("parti", flush=True)
"""


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="le noyau y reçoit l'interruption autrement")
def test_the_stop_button_of_a_notebook(tmp_path):
    """Un vrai noyau : arrêter la cellule, la relancer ; une ligne à chaque fois, et pas de trace en anglais."""
    client = pytest.importorskip("jupyter_client")
    manager, kernel = client.manager.start_new_kernel(kernel_name="python3")

    def listen_until(found):
        # stop_on_error=False : sans quoi le noyau jetterait la cellule demandée aussitôt après une erreur.
        kernel.execute(CELL.format(path=str(tmp_path / "run.pt")), stop_on_error=False)
        while True:
            message = kernel.get_iopub_msg(timeout=60)
            if "parti" in message["content"].get("text", ""):
                manager.interrupt_kernel()
            if found(message):
                return message["content"]

    try:
        trace = listen_until(lambda message: message["msg_type"] == "error")["traceback"]
        assert len(trace) == 1 and trace[0].startswith("Entraînement interrompu au pas ") and "enregistré" in trace[0]
        listen_until(lambda message: "Repris au pas" in message["content"].get("text", ""))
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
