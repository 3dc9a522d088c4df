"""quiz : cinq questions par chapitre, dans un carnet, dans un terminal, ou sans personne."""

import re
from collections import Counter
from contextlib import contextmanager
from html import unescape

import pytest

from gan_course.exercises import progress, quiz, quizzes

ALL = [question for asked in quizzes.QUIZZES.values() for question in asked]
FIRST = quizzes.QUIZZES["01"]
RIGHT = [question.right for question in FIRST]


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    """Les réponses retenues pendant l'essai : {nom : juste}, la dernière comptant."""
    answers = {}
    monkeypatch.setattr(progress, "record_answer", answers.__setitem__)
    monkeypatch.delenv("GAN_COURSE_STATIC", raising=False)
    return answers


# --- les questions -----------------------------------------------------------------------------------------------


def test_every_chapter_has_five_questions():
    assert list(quizzes.QUIZZES) == ["01", "02", "03", "04", "05", "06", "07"]
    assert {len(asked) for asked in quizzes.QUIZZES.values()} == {5}
    for kind in ("name", "text"):
        values = [getattr(question, kind) for question in ALL]
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("question", ALL, ids=lambda question: question.name)
def test_a_question_has_one_right_choice_and_a_reason_for_each(question):
    assert len(question.choices) in (3, 4) and 1 <= question.right <= len(question.choices)
    assert len(question.reasons) == len(question.choices)
    assert len({choice.lower() for choice in question.choices}) == len(question.choices)
    assert len(set(question.reasons)) == len(question.reasons) and all(len(r) > 25 for r in question.reasons)
    assert re.search(r"[?:.]$", question.text)
    assert all(reason.endswith(".") for reason in question.reasons)
    assert not any(choice.endswith(".") for choice in question.choices)
    for text in (question.text, *question.choices, *question.reasons):
        assert not re.search(r"\w[:;?!](\s|$)|  |[\"“”]|\.\.\.", text), text  # typographie
        assert all(len(sentence.split()) <= 40 for sentence in re.split(r"[.?] ", text)), text


def test_place_and_length_do_not_give_the_answer_away():
    places = Counter(question.right for question in ALL)
    assert set(places) == {1, 2, 3, 4} and max(places.values()) <= 10
    assert all(len({question.right for question in asked}) >= 3 for asked in quizzes.QUIZZES.values())
    for question in ALL:
        right = len(question.choices[question.right - 1])
        others = [len(choice) for i, choice in enumerate(question.choices, start=1) if i != question.right]
        if max(others) > 10:  # un nombre n'a pas de longueur qui se remarque
            assert 0.9 * min(others) <= right <= 1.1 * max(others), question.name


# --- sans personne -----------------------------------------------------------------------------------------------


def test_a_printed_page_asks_and_does_not_answer(monkeypatch, capsys, recorded):
    monkeypatch.setenv("GAN_COURSE_STATIC", "1")
    monkeypatch.setattr("gan_course.figures.in_kernel", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("rien ne doit attendre"))
    quiz("01")
    printed = " ".join(capsys.readouterr().out.split())
    for question in FIRST:
        assert all(text in printed for text in (question.text, *question.choices))
        assert not any(reason in printed for reason in question.reasons)
    assert 'quiz("01", [' in printed and not recorded


@pytest.mark.lent
def test_in_a_kernel_papermill_gets_text_and_a_student_gets_buttons():
    with kernel() as run:
        streams, shown = run('from gan_course.exercises import quiz\nquiz("01")', allow_stdin=False)
        assert FIRST[0].choices[0] in streams and not shown
        streams, shown = run('quiz("01")', allow_stdin=True)
        assert not streams and "application/vnd.jupyter.widget-view+json" in shown[0]


@contextmanager
def kernel():
    """Un vrai noyau : la fonction rendue exécute une cellule, et rend ce qu'elle imprime et ce qu'elle affiche."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))  # celui de sys.executable
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()

    def run(code, allow_stdin):
        streams, shown = [], []

        def output(message):
            content = message["content"]
            assert message["msg_type"] != "error", content["evalue"]
            streams.append(content["text"] if message["msg_type"] == "stream" else "")
            shown.extend([content["data"]] if message["msg_type"] == "display_data" else [])

        client.execute_interactive(code, allow_stdin=allow_stdin, output_hook=output, stdin_hook=print, timeout=60)
        return "".join(streams), shown

    try:
        client.wait_for_ready(timeout=60)
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# --- par numéros -------------------------------------------------------------------------------------------------


def test_answers_by_numbers(capsys, recorded):
    wrong = 1 + RIGHT[1] % len(FIRST[1].choices)
    quiz("01", [RIGHT[0], wrong, RIGHT[2], 0, RIGHT[4]])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Réponses justes : 3 sur 5." in printed
    assert f"✓ Juste. {FIRST[0].reasons[RIGHT[0] - 1]}" in printed
    assert f"✗ Non. {FIRST[1].reasons[wrong - 1]}" in printed, "pourquoi c'est faux"
    assert FIRST[1].reasons[RIGHT[1] - 1] in printed, "et ce qui est juste"
    expected = {FIRST[0].name: True, FIRST[1].name: False, FIRST[2].name: True, FIRST[4].name: True}
    assert recorded == expected, "passer une question n'est pas y répondre"


@pytest.mark.parametrize(
    "answers", [[1] * 4, [1, 2, 3, 4, 9], [1, 2, 3, 4, -1], [1, 2, 3, 4, "1"], [True] * 5, "11111", 3]
)
def test_bad_numbers_are_refused_before_anything(answers, capsys, recorded):
    with pytest.raises(ValueError, match="il faut"):
        quiz("01", answers)
    assert not recorded and not capsys.readouterr().out


@pytest.mark.parametrize("chapter", ["08", "1", 1, None, ["01"]])
def test_an_unknown_chapter_lists_the_known_ones(chapter):
    with pytest.raises(ValueError, match="'01', '02', .*'07'"):
        quiz(chapter)


# --- dans un terminal --------------------------------------------------------------------------------------------


def in_a_terminal(monkeypatch, typed):
    said = iter(typed)

    def read(prompt):
        answer = next(said)
        if answer is EOFError:
            raise EOFError
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", read)


def test_a_terminal_types_numbers(monkeypatch, capsys, recorded):
    in_a_terminal(monkeypatch, [f" {RIGHT[0]} ", "bof", "7", str(RIGHT[1]), "", str(RIGHT[3]), str(RIGHT[4])])
    quiz("01")
    assert "Réponses justes : 4 sur 5." in capsys.readouterr().out
    assert recorded == {FIRST[i].name: True for i in (0, 1, 3, 4)}


def test_a_terminal_can_stop_in_the_middle(monkeypatch, recorded):
    in_a_terminal(monkeypatch, [str(RIGHT[0]), EOFError])
    quiz("01")
    assert recorded == {FIRST[0].name: True}


# --- en boutons --------------------------------------------------------------------------------------------------


def test_buttons_answer_once_and_explain_always(recorded):
    board = quizzes._board(FIRST)
    *cards, score = board.children
    assert len(cards) == 5
    title, *rows, told = cards[1].children
    buttons = [row.children[0] for row in rows]
    wrong = RIGHT[1] % len(buttons)
    assert FIRST[1].text in unescape(title.value) and "heading" in title.value
    assert [button.description for button in buttons] == [f"Choix {i + 1}" for i in range(len(buttons))]
    assert tuple(button.tooltip for button in buttons) == FIRST[1].choices
    assert FIRST[1].choices[0] in unescape(rows[0].children[1].value) and not told.value
    buttons[wrong].click()
    assert FIRST[1].reasons[wrong] in unescape(told.value) and 'role="alert"' in told.value
    assert "0 sur 5" in score.value and recorded == {FIRST[1].name: False}
    buttons[RIGHT[1] - 1].click()  # lire l'autre explication ne change pas la réponse
    assert told.value.count("Juste") and recorded == {FIRST[1].name: False} and "0 sur 5" in score.value
    assert (buttons[wrong].icon, buttons[RIGHT[1] - 1].icon) == ("times", "check"), "non la seule couleur"
    cards[0].children[RIGHT[0]].children[0].click()
    assert "1 sur 5" in score.value and recorded[FIRST[0].name]


def test_texts_are_escaped():
    odd = quizzes.Question("essai", "a < b ?", ("<b>", "non"), ("Car <i>.", "Car & non."), 1)
    card = quizzes._board([odd]).children[0]
    card.children[1].children[0].click()
    assert "a &lt; b" in card.children[0].value and "&lt;i&gt;" in card.children[-1].value
