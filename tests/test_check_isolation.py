"""Ce qu'une vérification ne laisse pas passer, et ce qui reste intact autour d'elle : réglages, hasard, temps."""

import random
import signal
import threading
import time

import numpy as np
import pytest
import torch

from gan_course.exercises import EXERCISES
from gan_course.exercises.report import (
    Broken,
    Exercise,
    Property,
    examine,
    expect_close,
    expect_gradient,
    expect_plain,
    expect_shape,
)

OPTIMAL = EXERCISES["optimal_discriminator"]


def ratio(p, q):
    return p / (p + q)


def exercise(*holds, **fields):
    properties = tuple(Property(f"propriété {i}", one, "conséquence") for i, one in enumerate(holds))
    return Exercise("essai", properties, ("Un indice.", "Presque tout."), **fields)


# --- les types qui mentent ------------------------------------------------------------------------------------


class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True


class Mimic:
    def __torch_function__(self, *_):
        return torch.tensor(True)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2).as_subclass(Liar),
        Mimic(),
        (torch.zeros(2).as_subclass(Liar), 1),
        type("R", (float,), {})(1.0),
    ],
)
def test_types_that_could_lie_are_refused(value):
    with pytest.raises(Broken):
        expect_plain(value)
    with pytest.raises(Broken):
        expect_close(value, torch.zeros(2), "une valeur")
    for name in EXERCISES:
        if EXERCISES[name].expects == "fonction":
            assert not examine(EXERCISES[name], lambda *_, **__: value).passed


# --- ce qui reste intact ---------------------------------------------------------------------------------------


def test_settings_and_randomness_are_put_back():
    def answer(p, q):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        torch.set_num_threads(3)
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(5)
        return p / (p + q)

    before = (
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
        torch.get_num_threads(),
    )
    assert examine(OPTIMAL, answer).passed
    assert torch.equal(before[0], torch.get_rng_state()) and before[2] == random.getstate()
    assert before[1] == np.random.get_state()[1].tolist() and before[3] == torch.get_num_threads()
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert torch.get_default_device() == torch.device("cpu")


def test_the_notebook_s_settings_do_not_change_the_verdict():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            report = examine(EXERCISES["discriminator_loss"], right_loss)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert report.passed, str(report)


def right_loss(real, fake, real_label=1.0):
    softplus = torch.nn.functional.softplus
    return (softplus(real) - real_label * real).mean() + softplus(fake).mean()


# --- le temps --------------------------------------------------------------------------------------------------


def endless(p, q):
    while True:
        pass


def asleep(p, q):
    time.sleep(60)


def stubborn(p, q):
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


@pytest.mark.parametrize("answer", [endless, asleep, stubborn])
def test_an_endless_answer_is_stopped(answer):
    handler, start = signal.getsignal(signal.SIGINT), time.monotonic()
    report = examine(OPTIMAL, answer, seconds=0.3)
    assert time.monotonic() - start < 5 and signal.getsignal(signal.SIGINT) is handler
    assert not report.passed and len(report.outcomes) == 1
    assert "n'a pas fini après 0,3 secondes de calcul (ou 0,9 secondes d'attente)" in str(report)
    assert "Les autres propriétés n'ont pas été essayées." in str(report)
    assert examine(OPTIMAL, ratio).passed


def test_the_user_s_own_interrupt_goes_through():
    def answer(p, q):
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        examine(OPTIMAL, answer)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_there_is_no_limit_but_a_verdict():
    reports = []
    thread = threading.Thread(target=lambda: reports.append(examine(OPTIMAL, ratio, seconds=0.1)))
    thread.start()
    thread.join()
    assert reports[0].passed


# --- une valeur au lieu d'une fonction -------------------------------------------------------------------------


def test_a_value_is_examined_as_a_copy():
    def spoils(value):
        value["a"] += 1
        expect_close(value["a"], 2, "a")

    asked = exercise(spoils, spoils, expects="valeur", points=3)
    assert examine(asked, {"a": 1}).passed
    assert "propriété 0" in str(examine(asked, {"a": 5}))
    assert "KeyError" in str(examine(asked, {}))
    assert examine(asked, None).unwritten and examine(asked, ...).unwritten
    assert "une valeur, et non une fonction" in str(examine(asked, dict))
    assert not examine(asked, {"a": torch.ones(()).as_subclass(Liar)}).passed


@pytest.mark.parametrize("fields", [{"points": 0}, {"points": 4}, {"expects": "texte"}])
def test_an_exercise_checks_its_own_fields(fields):
    with pytest.raises(ValueError, match="essai"):
        exercise(**fields)


# --- ce qu'attend une vérification -----------------------------------------------------------------------------


@pytest.mark.parametrize("got", [1, 1.0, True, np.float64(1), np.ones(()), torch.ones((), dtype=torch.int32),
                                 torch.nn.Parameter(torch.ones(())), torch.ones(()).double()])  # fmt: skip
def test_a_number_may_come_in_any_type(got):
    expect_close(got, 1.0, "un")


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (None, "N'oubliez pas return"),
        ("1", "un texte"),
        (1j, "complexes"),
        (torch.ones(1), "Forme obtenue : (1,) ; attendue : (), un seul nombre"),
        ([torch.ones(())], "torch.stack"),
        (float("nan"), "Obtenu nan, attendu 1"),
        (set(), "un ensemble"),
    ],
)
def test_what_is_not_the_number_is_told(got, words):
    with pytest.raises(Broken) as told:
        expect_close(got, 1.0, "un")
    assert words.lower() in str(told.value).lower()


def test_the_worst_value_is_shown_with_its_index():
    got = torch.zeros(2, 3, 4)
    got[1, 2, 0], got[0, 2, 1] = 5.0, 1.0
    with pytest.raises(
        Broken, match=r"À l'indice \[1, 2, 0\], obtenu 5, attendu 0 \(2 valeurs fausses sur 24\)"
    ):
        expect_close(got, torch.zeros(2, 3, 4), "un tableau")


def test_shapes_and_gradients_are_told():
    with pytest.raises(Broken, match="torch.from_numpy"):
        expect_shape(np.ones(2), (2,), "x")
    with pytest.raises(Broken, match="N'oubliez pas return"):
        expect_shape(None, (2,), "x")
    with pytest.raises(Broken, match="n'a pas de gradient"):
        expect_gradient(torch.ones(()))
    with pytest.raises(Broken, match="et non un tenseur"):
        expect_gradient(1.0)
