"""Ce que le chapitre demande : exercices, réponses, points, et ce qu'une réponse peut prendre au paquet."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_course.tools import solutions
from gan_course.tools.grading import slices
from gan_course.tools.notebook import code_of, read_notebook


@dataclass(frozen=True)
class Question:
    """Un exercice : son nom, le nom de la réponse, ses points, et ce qu'elle peut importer du cours."""

    exercise: str
    answer: str
    points: int
    allowed: frozenset[str]


@dataclass
class Subject:
    """Un chapitre à noter : ses questions, et le carnet distribué, pour ce qu'une copie a perdu."""

    title: str
    questions: list[Question]
    support: slices.Program

    @property
    def points(self) -> int:
        """Le total des points du chapitre."""
        return sum(question.points for question in self.questions)


def read_subject(master: Path) -> Subject:
    """Lit un maître. Lève ValueError s'il est mal formé, ou s'il nomme un exercice qui n'existe pas."""
    from gan_course.exercises import find

    notebook = read_notebook(master)
    answers = solutions.read_answers(notebook, master.name)
    support = slices.read_program(code_of(solutions.to_student(notebook, master.name)))
    solved = slices.read_program(code_of(solutions.to_solved(notebook, master.name)))
    questions = []
    for exercise, answer in answers.items():
        found = slices.candidates(solved, [answer])
        if not found:
            raise ValueError(f"{master.name} : la solution de « {exercise} » ({answer}) n'est pas une définition.")
        cut = slices.cut(solved, found[0], support, [answer])
        allowed = slices.course_imports(statement for _, statement in cut)
        questions.append(Question(exercise, answer, find(exercise).points, frozenset(allowed)))
    card = notebook["metadata"].get("gan_course", {})
    return Subject(card.get("title", master.stem), questions, support)


# Ce par quoi une réponse remonterait jusqu'à la vérification qui l'appelle. Aucun exercice n'en a besoin.
INNER_NAMES = frozenset(
    "__globals__ __closure__ __code__ __subclasses__ __builtins__ f_back f_globals f_locals tb_frame gi_frame "
    "_getframe currentframe addaudithook settrace setprofile meta_path".split()
)


def objection(question: Question, statements: Sequence[slices.Statement]) -> str:
    """Pourquoi cette réponse ne sera pas éprouvée ; vide si rien ne s'y oppose."""
    taken = slices.course_imports(statements) - question.allowed
    modules = {name.rpartition(".")[0] for name in question.allowed}
    refused = sorted(name for name in taken if name not in modules)
    if refused:
        return f"La réponse appelle {refused[0]} : l'exercice demande de l'écrire, pas de prendre celle du paquet."
    for statement in statements:
        for node in ast.walk(statement.node):
            word = getattr(node, "attr", None) or getattr(node, "value", None)
            if isinstance(word, str) and word in INNER_NAMES:
                return f"La réponse cherche à lire la vérification elle-même ({word})."
    return ""
