"""Ctrl-C pendant un entraînement : jamais au milieu d'un pas, rien de perdu, une phrase au lieu d'une trace."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
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


def python(script):
    """Exécute un programme dans un autre processus, ce dossier à portée d'import."""
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, encoding="utf-8",
        cwd=Path(__file__).parent.parent, env=environment,
    )  # fmt: skip


@pytest.mark.lent
def test_a_terminal_shows_one_sentence():
    script = """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from test_interruption import press, run
        for progress in run():
            press()
    """
    done = python(script)
    assert done.returncode != 0
    assert done.stderr == "Entraînement interrompu au pas 1 sur 50 : rien n'est enregistré (checkpoint=None).\n"


class Pressing(type(RING)):
    """Le huitième lot déclenche Ctrl-C, au milieu d'un pas."""

    def batch(self, step, *arguments):
        if step == 8:
            press()
        return super().batch(step, *arguments)


def test_with_two_trainings_no_step_is_cut_and_both_are_saved(tmp_path):
    pressing = Pressing(RING.points, RING.labels, RING.centers, RING.std)
    one, two = run(tmp_path / "a.pt"), run(tmp_path / "b.pt", images=pressing)
    with pytest.raises(TrainingInterrupted):
        for _ in zip(one, two):
            pass
    assert saved_step(tmp_path / "a.pt") == 9 and saved_step(tmp_path / "b.pt") == 9


@pytest.mark.parametrize("other", ["jamais parcouru", "refusé"])
def test_a_training_that_does_not_start_leaves_the_running_one_its_file(other, tmp_path):
    path = tmp_path / "run.pt"
    running = run(path, steps=20)
    next(running)
    if other == "refusé":
        with pytest.raises(files.CheckpointError, match="autre"):
            train(points.Generator(width=4), points.Discriminator(width=4), RING, RECIPE, 20, checkpoint=path)
    else:
        with pytest.warns(UserWarning, match="rien ne s'est entraîné"):
            run(path)
    list(running)
    assert saved_step(path) == 20


def test_the_same_cell_run_twice_goes_on_where_it_was(tmp_path, capsys):
    """Sans « run.close() », la variable tient l'ancienne boucle : ses derniers pas ne sont pas perdus."""
    path, kept = tmp_path / "run.pt", []
    for expected in (7, 14):
        kept.append(run(path))
        for progress in kept[-1]:
            if progress.step % 7 == 0:
                break
        assert progress.step == expected
    assert "Repris au pas 7" in capsys.readouterr().out
    for _ in range(20):
        next(kept[0])
    kept[0].close()
    assert saved_step(path) == 7, "l'ancienne n'écrit plus"
    kept[1].close()
    assert saved_step(path) == 14


def test_a_training_prepared_early_starts_from_what_was_saved_since(tmp_path):
    path = tmp_path / "run.pt"
    first = run(path)
    next(first)
    second = run(path)
    for _ in range(5):
        next(first)
    assert next(second).step == 7


@pytest.mark.lent
def test_what_a_variable_still_holds_is_saved_at_the_end_of_the_program(tmp_path):
    script = f"""
        from test_interruption import run
        training = run({str(tmp_path / "run.pt")!r})
        for progress in training:
            if progress.step == 5:
                break
    """
    done = python(script)
    assert done.returncode == 0 and done.stderr == "" and saved_step(tmp_path / "run.pt") == 5


def test_a_loop_closed_in_another_thread_gives_ctrl_c_back():
    training = run()
    next(training)
    thread = threading.Thread(target=training.close)
    thread.start()
    thread.join()
    with pytest.raises(KeyboardInterrupt) as stopped:
        press()
    assert type(stopped.value) is KeyboardInterrupt
    list(run(steps=1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_cell_keeps_nothing_in_memory():
    torch.manual_seed(0)
    generator = points.Generator(width=8)
    seen = weakref.ref(generator)
    with pytest.raises(TrainingInterrupted):
        for _ in train(generator, points.Discriminator(width=8), RING, RECIPE, 50):
            press()
    del generator, _
    gc.collect()
    assert seen() is None


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
