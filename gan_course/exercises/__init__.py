"""Vérifier une réponse là où l'on travaille : `check("nom", ma_fonction)`, puis `hint("nom")` si l'on cale.

Une vérification éprouve des propriétés, jamais une façon d'écrire : toute réponse juste passe. Elle dit ce qui tient,
ce qui ne tient pas, ce que l'erreur causerait dans un entraînement, et donne un premier indice.
"""

from collections.abc import Callable
from difflib import get_close_matches

from gan_course.exercises import chapter01, chapter02, chapter03, chapter04, chapter05, shared
from gan_course.exercises.report import Exercise, Report, examine

EXERCISES: dict[str, Exercise] = {
    **chapter01.EXERCISES,
    **chapter02.EXERCISES,
    **chapter03.EXERCISES,
    **chapter04.EXERCISES,
    **chapter05.EXERCISES,
    **shared.EXERCISES,
}

_hints_given: dict[str, int] = {}


def find(name: str) -> Exercise:
    """L'exercice de ce nom. Lève ValueError, avec les noms les plus proches, s'il n'existe pas."""
    if name not in EXERCISES:
        near = get_close_matches(str(name), EXERCISES, n=3, cutoff=0.4) or sorted(EXERCISES)
        raise ValueError(f"Aucun exercice ne s'appelle {name!r}. Noms proches : {', '.join(near)}.")
    return EXERCISES[name]


def check(name: str, thing: Callable) -> Report:
    """Éprouve `thing`, la réponse à l'exercice `name`, et affiche le résultat en français.

    Ne lève pas d'erreur si la réponse est fausse, incomplète (`NotImplementedError`) ou se trompe de type : elle
    l'explique. Rend un Report, dont `.passed` vaut True si tout tient. Lève ValueError si l'exercice n'existe pas.
    """
    report = examine(find(name), thing)
    print(report)
    return report


def hint(name: str) -> None:
    """Affiche l'indice suivant de l'exercice `name` ; le dernier est presque la solution."""
    hints = find(name).hints
    given = min(_hints_given.get(name, 0), len(hints) - 1)
    _hints_given[name] = given + 1
    print(f"Indice {given + 1} sur {len(hints)} : {hints[given]}")
