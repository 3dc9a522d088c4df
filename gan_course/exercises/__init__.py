"""Vérifier une réponse là où l'on travaille : `check("nom", ma_fonction)`, puis `hint("nom")` si l'on cale.

Une vérification éprouve des propriétés, jamais une façon d'écrire : toute réponse juste passe. Elle dit ce qui tient,
ce qui ne tient pas, ce que l'erreur causerait dans un entraînement, et donne un premier indice. `quiz("01")` pose cinq
questions sur un chapitre. Tout est retenu aussitôt, d'une séance à l'autre : `progress_report()` montre où l'on en est.
"""

import re
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from gan_course.exercises import progress
from gan_course.exercises.quizzes import QUIZZES
from gan_course.exercises.quizzes import quiz as quiz
from gan_course.exercises.report import Exercise, Report, examine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Un chapitre est un fichier chapterNN.py de ce dossier, dont EXERCISES les donne dans l'ordre du carnet.
CHAPTERS: dict[str, dict[str, Exercise]] = {
    name.removeprefix("chapter"): import_module(f"{__name__}.{name}").EXERCISES
    for _, name, _ in iter_modules(__path__)
    if re.fullmatch(r"chapter\d\d", name)
}
EXERCISES: dict[str, Exercise] = {
    name: exercise for chapter in CHAPTERS.values() for name, exercise in chapter.items()
}

_MISSING = object()  # None et ... sont des réponses possibles
_hints_given: dict[str, int] = {}


def find(name: str) -> Exercise:
    """L'exercice de ce nom. Lève ValueError, avec les noms les plus proches, s'il n'existe pas."""
    if not isinstance(name, str):
        raise ValueError(
            f'Le nom de l\'exercice se met entre guillemets, en premier : check("slerp", …), reçu {name!r}.'
        )
    if name not in EXERCISES:
        near = get_close_matches(name, EXERCISES, n=3, cutoff=0.4)
        if near:
            raise ValueError(f"Aucun exercice ne s'appelle {name!r}. Noms proches : {', '.join(near)}.")
        names = "\n".join(
            f"  chapitre {number} : {', '.join(chapter)}" for number, chapter in CHAPTERS.items()
        )
        raise ValueError(f"Aucun exercice ne s'appelle {name!r}. Voici ceux du cours :\n{names}")
    return EXERCISES[name]


def check(name: str, thing: object = _MISSING) -> Report:
    """Éprouve `thing`, la réponse à l'exercice `name`, et affiche le résultat en français.

    thing : la fonction écrite, ou la valeur trouvée si l'exercice en demande une. Ne lève pas d'erreur si la réponse
    est fausse, incomplète (`NotImplementedError`), ne finit pas ou se trompe de type : elle l'explique. Rend un
    Report, dont `.passed` vaut True si tout tient. Lève ValueError si l'exercice n'existe pas, ou s'il manque le nom
    ou la réponse.
    """
    if thing is _MISSING and callable(name):
        given = getattr(name, "__name__", "ma_fonction")
        asked = given if given in EXERCISES else "nom_de_l_exercice"
        raise ValueError(f'Il manque la réponse : check("{asked}", {given}).')
    exercise = find(name)
    if thing is _MISSING:
        raise ValueError(f'Il manque la réponse : check("{name}", …), votre fonction à la place des points.')
    report = examine(exercise, thing)
    if report.hint:  # le premier indice vient d'être donné
        _hints_given[name] = max(1, _hints_given.get(name, 0))
    progress.record(report)
    print(report)
    return report


def hint(name: str) -> None:
    """Affiche l'indice suivant de l'exercice `name` ; le dernier est presque la solution."""
    hints = find(name).hints
    given = min(_hints_given.get(name, 0), len(hints) - 1)
    _hints_given[name] = given + 1
    progress.record_hint(name, given + 1)
    print(f"Indice {given + 1} sur {len(hints)} : {hints[given]}")


def progress_report(path: str | Path | None = None, name: str = "") -> "Figure":
    """Où vous en êtes, d'après toutes vos séances : rend une Figure, un carré par exercice.

    Chaque réponse est déjà enregistrée dans le dossier des données ou, dans Colab, sur votre Drive s'il est monté.
    path : un fichier à rendre, où tout est copié. Ce JSON porte `name` (facultatif), la version du paquet et, par
    exercice ou question : essayé, réussi, nombre d'essais, indices demandés, dates du premier et du dernier essai. S'il
    existe, il s'y ajoute ; illisible, il est mis de côté. Il est déclaratif : chacun peut l'écrire à la main. Il dit où
    l'on en est, il ne prouve rien ; pour noter, python -m gan_course grade éprouve les réponses elles-mêmes.
    """
    progress.load()
    entries = progress.save(name, path)
    for place in progress.places()[:1]:
        print(f"Votre progression est gardée dans « {place} ».")
    return progress.draw(CHAPTERS, entries, _question_names)


def progress_summary(chapter: str) -> str:
    """Où vous en êtes d'un chapitre, en une ligne : « Chapitre 01 : 2 exercices réussis sur 4, questions : 3 sur 5 ».

    « rien encore » si rien n'y a été essayé. Lève ValueError si le chapitre n'a ni exercice ni question.
    """
    if chapter not in {*CHAPTERS, *QUIZZES}:
        known = ", ".join(map(repr, sorted({*CHAPTERS, *QUIZZES})))
        raise ValueError(f"progress_summary({chapter!r}) : les chapitres sont {known}.")
    return progress.summary(chapter, CHAPTERS.get(chapter, ()), _question_names(chapter))


def _question_names(chapter: str) -> list[str]:
    return [question.name for question in QUIZZES.get(chapter, ())]
