"""Cinq questions par chapitre, à répondre de mémoire : quiz("01"). Une réponse fausse dit pourquoi elle l'est.

Un chapitre est un fichier quiz_NN.json de ce dossier. Les choix y sont numérotés à partir de 1, comme à l'écran.
"""

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gan_course.engine.numbers import is_whole
from gan_course.exercises import progress


@dataclass(frozen=True)
class Question:
    """Une question : ses choix, pour chacun la raison qui le rend juste ou faux, et le numéro du bon."""

    name: str
    text: str
    choices: tuple[str, ...]
    reasons: tuple[str, ...]
    right: int

    def shown(self, number: int) -> str:
        """La question et ses choix, pour un écran de texte."""
        lines = textwrap.wrap(f"{number}. {self.text}", 100, subsequent_indent="   ")
        return "\n".join([*lines, *(f"   {i}) {choice}" for i, choice in enumerate(self.choices, start=1))])

    def verdict(self, chosen: int) -> str:
        """Ce que vaut le choix `chosen`, et pourquoi."""
        if chosen == self.right:
            return f"✓ Juste. {self.reasons[chosen - 1]}"
        best = f"La bonne réponse est la {self.right}, « {self.choices[self.right - 1]} »."
        return f"✗ Non. {self.reasons[chosen - 1]}\n{best} {self.reasons[self.right - 1]}"


def _read(path: Path) -> Iterator[Question]:
    for q in json.loads(path.read_text(encoding="utf-8")):
        choices, reasons = zip(*q["choices"])
        yield Question(f"{path.stem}_{q['name']}", q["question"], choices, reasons, q["right"])


QUIZZES = {path.stem[-2:]: tuple(_read(path)) for path in sorted(Path(__file__).parent.glob("quiz_*.json"))}


def quiz(chapter: str, answers: Sequence[int] | None = None) -> None:
    """Pose les questions du chapitre "01", "02"…, explique chaque réponse et retient les justes.

    Dans un carnet, des boutons, dont le premier clic compte ; dans un terminal, on tape un numéro. Là où personne ne
    répond (papermill, GAN_COURSE_STATIC=1), les questions sont seulement affichées. answers : les numéros de vos choix,
    dans l'ordre, au lieu de cliquer ; 0 passe une question. Lève ValueError si un argument ne convient pas.
    """
    asked = QUIZZES.get(chapter) if isinstance(chapter, str) else None
    if not asked:
        raise ValueError(f"quiz({chapter!r}) : les chapitres sont {', '.join(map(repr, QUIZZES))}.")
    if answers is not None:
        _check_answers(asked, answers)
        _one_by_one(asked, iter(answers))
    elif (audience := _audience()) == "boutons":
        from IPython.display import display

        display(_board(asked))
    elif audience == "clavier":
        with suppress(EOFError):  # Ctrl-D : la suite une autre fois
            _one_by_one(asked, map(_typed, asked))
    else:
        print("\n\n".join(question.shown(i) for i, question in enumerate(asked, start=1)))
        print(f'\nPour répondre, donnez les numéros de vos choix : quiz("{chapter}", [2, 1, 4, 0, 3])')


def _check_answers(asked: Sequence[Question], answers: Sequence[int]) -> None:
    if not isinstance(answers, Sequence) or len(answers) != len(asked):
        raise ValueError(f"answers={answers!r} ; il faut une liste de {len(asked)} numéros, un par question.")
    for number, (question, answer) in enumerate(zip(asked, answers), start=1):
        most = len(question.choices)
        if not is_whole(answer) or not 0 <= answer <= most:
            raise ValueError(f"Question {number} : {answer!r} reçu ; il faut un numéro de 1 à {most}, ou 0.")


def _audience() -> str:
    """Ce dont dispose qui répond : "boutons", "clavier", ou "" s'il n'y a personne."""
    from gan_course.figures import in_kernel  # charge matplotlib

    if os.environ.get("GAN_COURSE_STATIC") == "1":
        return ""
    if in_kernel():  # papermill et nbconvert disent au noyau que personne ne saisit rien ; Colab, on ne sait
        kernel = sys.modules["IPython"].get_ipython().kernel
        return "boutons" if getattr(kernel, "_allow_stdin", True) or "google.colab" in sys.modules else ""
    return "clavier" if sys.stdin is not None and sys.stdin.isatty() else ""


def _one_by_one(asked: Sequence[Question], answers: Iterator[int]) -> None:
    """Affiche chaque question, prend sa réponse (0 : aucune), et dit ce qu'elle vaut."""
    right = 0
    for number, question in enumerate(asked, start=1):
        print(question.shown(number))
        if chosen := next(answers):
            right += chosen == question.right
            progress.record_answer(question.name, chosen == question.right)
            for line in f"Votre choix : {chosen}. {question.verdict(chosen)}".splitlines():
                print(textwrap.fill(line, 100, initial_indent="   ", subsequent_indent="   "))
        print()
    print(f"Réponses justes : {right} sur {len(asked)}.")


def _typed(question: Question) -> int:
    typed, most = "", len(question.choices)
    while not typed.isdecimal() or int(typed) > most:
        typed = input(f"   Votre choix, de 1 à {most} (Entrée pour passer) : ").strip() or "0"
    return int(typed)


def _board(asked: Sequence[Question]) -> Any:
    """Les questions en boutons, que Tab et Espace parcourent. Le premier clic compte, les autres expliquent."""
    from ipywidgets import HTML, Button, HBox, Layout, VBox

    first, score = {}, HTML()

    def card(number: int, question: Question) -> Any:
        told, rows = HTML(), []

        def choose(button: Any, chosen: int) -> None:
            right = chosen == question.right
            if question.name not in first:
                first[question.name] = right
                progress.record_answer(question.name, right)
                score.value = _html(f"Réponses justes : {sum(first.values())} sur {len(asked)}.")
            button.button_style, button.icon = ("success", "check") if right else ("danger", "times")
            told.value = _html(question.verdict(chosen), 'role="alert"')  # lu aussitôt par un lecteur d'écran

        for i, choice in enumerate(question.choices, start=1):
            button = Button(description=f"Choix {i}", tooltip=choice, layout=Layout(flex="0 0 7em"))
            button.on_click(lambda button, chosen=i: choose(button, chosen))
            rows.append(HBox([button, HTML(_html(choice), layout=Layout(flex="1 1 auto"))]))
        title = _html(f"{number}. {question.text}", 'role="heading" aria-level="4"')
        return VBox([HTML(title, layout=Layout(margin="1em 0 0 0")), *rows, told])

    return VBox([*(card(i, question) for i, question in enumerate(asked, start=1)), score])


def _html(text: str, attributes: str = "") -> str:
    return f'<div style="line-height: 1.5; white-space: pre-line" {attributes}>{escape(text)}</div>'
