"""Ce qu'est un exercice, comment une réponse est éprouvée, et comment le résultat se lit."""

import copy
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from dis import opmap
from typing import Any

import torch

from gan_course.exercises.expect import (
    Broken,
    expect_close,
    expect_fresh,
    expect_gradient,
    expect_plain,
    expect_shape,
    kind_of,
    number,
    show,
    values_of,
)
from gan_course.exercises.explain import described, explain, place, wrong_call, wrong_thing
from gan_course.exercises.isolation import (
    TimeUp,
    UserInterrupt,
    captured,
    plain_settings,
    same_randomness,
    same_settings,
    time_limit,
)
from gan_course.exercises.mistakes import MISTAKES, Mistake

__all__ = [
    "Broken", "Exercise", "Outcome", "Property", "Report", "Unusable", "examine",
    "expect_close", "expect_fresh", "expect_gradient", "expect_plain", "expect_shape", "kind_of", "number", "show",
    "values_of",
]  # fmt: skip

TIME_LIMIT = 10.0  # secondes de calcul pour toutes les propriétés d'un exercice
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Property:
    """Une propriété à vérifier : `holds(réponse)` ne rend rien, ou lève Broken avec le détail.

    consequence : ce qu'un entraînement y perdrait, quelle que soit l'erreur ; ce qui ne vaut que pour l'une d'elles se
    dit dans mistakes.py.
    """

    statement: str
    holds: Callable[[Any], object]
    consequence: str


@dataclass(frozen=True)
class Exercise:
    """Un exercice : son nom, ses propriétés dans l'ordre, ses indices du plus léger au plus explicite.

    points : 1, 2 ou 3, le nombre d'étoiles de sa difficulté ; ils vont à la réponse dont toutes les propriétés
    tiennent. expects : ce que l'étudiant donne à check, "fonction" ou "valeur" (un dictionnaire, un nombre…).
    """

    name: str
    properties: tuple[Property, ...]
    hints: tuple[str, ...]
    points: int = 1
    expects: str = "fonction"

    def __post_init__(self) -> None:
        if self.points not in (1, 2, 3) or self.expects not in ("fonction", "valeur"):
            raise ValueError(
                f"{self.name} : points={self.points!r}, expects={self.expects!r} ; voir Exercise."
            )

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Les erreurs courantes que l'on sait nommer."""
        return MISTAKES.get(self.name, ())


@dataclass(frozen=True)
class Outcome:
    """Ce qu'il est advenu d'une propriété : `detail` dit ce qui a été obtenu si elle ne tient pas."""

    statement: str
    held: bool
    detail: str = ""
    consequence: str = ""


@dataclass
class Report:
    """Le résultat d'une vérification ; se lit par print.

    notice : pourquoi rien n'a été éprouvé, ou vide. unwritten : vrai si la réponse reste à écrire. printed : ce que la
    réponse a affiché. mistake : l'erreur courante reconnue, s'il y en a une. chained : vrai si une propriété manquée
    peut en entraîner une autre. hint : le premier indice, si quelque chose ne tient pas.
    """

    name: str
    total: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    notice: str = ""
    unwritten: bool = False
    printed: str = ""
    mistake: Mistake | None = None
    chained: bool = True
    hint: str = ""

    @property
    def held(self) -> int:
        """Le nombre de propriétés qui tiennent."""
        return sum(outcome.held for outcome in self.outcomes)

    @property
    def passed(self) -> bool:
        """Vrai si toutes les propriétés tiennent."""
        return self.total > 0 and self.held == self.total

    @property
    def lines(self) -> list[str]:
        """Le compte rendu, ligne à ligne, sous le verdict."""
        lines = []
        if self.printed:
            lines += ["  Affiché par votre code :", *(f"    | {line}" for line in self.printed.splitlines())]
        if self.notice:
            lines.append(f"  {self.notice}")
        if self.mistake:
            lines.append(f"  Erreur reconnue : {self.mistake.error}")
            lines.append(f"      Conséquence : {self.mistake.consequence}")
        first = next((outcome for outcome in self.outcomes if not outcome.held), None)
        for outcome in self.outcomes:
            lines.append(f"  {'✓' if outcome.held else '✗'} {outcome.statement}")
            if outcome.detail and (outcome is first or not self.mistake):
                lines.append(f"      {outcome.detail}")
            if outcome.consequence and not self.mistake:
                lines.append(f"      Conséquence : {outcome.consequence}")
        if len(self.outcomes) - self.held > 1 and not self.mistake and self.chained:
            lines.append("  Commencez par le premier ✗ : les suivants en découlent peut-être.")
        if self.hint:
            lines.append(f'  Indice : {self.hint} Le suivant : hint("{self.name}").')
        return lines

    def __str__(self) -> str:
        plural = "s" if self.held > 1 else ""
        verdict = "réussi" if self.passed else f"{self.held} propriété{plural} sur {self.total}"
        if self.unwritten:
            verdict = "à écrire"
        return "\n".join([f"Exercice « {self.name} » : {verdict}", *self.lines])


class Unusable(Broken):
    """Ce que la réponse est, ou ce qu'elle rend, empêche de l'éprouver : la propriété elle-même n'est pas en cause."""


class Answer:
    """La fonction d'un étudiant, telle que les propriétés l'appellent : ce qu'elle dérègle est remis aussitôt."""

    def __init__(self, thing: Callable) -> None:
        self.thing, self.error, self.empty = thing, None, False

    def __call__(self, *arguments: object, **named: object) -> Any:
        if why := wrong_call(self.thing, arguments, named):
            raise Unusable(why[0].upper() + why[1:])
        try:
            with same_settings():
                got = self.thing(*arguments, **named)
        except BaseException as error:
            self.error = error
            raise
        if inspect.isgenerator(got):
            raise Unusable("Votre fonction contient yield, et rend une suite à parcourir : il faut return.")
        if inspect.iscoroutine(got):
            got.close()
            raise Unusable("Votre fonction commence par async def : il faut def.")
        self.empty = got is None
        try:
            expect_plain(got)
        except Broken as broken:
            raise Unusable(str(broken)) from None
        return got


def examine(exercise: Exercise, thing: object, seconds: float | None = TIME_LIMIT) -> Report:
    """Éprouve `thing` sur chaque propriété de l'exercice, sans toucher aux réglages ni au hasard du notebook.

    Rend toujours un Report, quoi que fasse la réponse ; seul l'arrêt demandé par l'utilisateur (KeyboardInterrupt)
    traverse. seconds : la durée permise en tout, None pour ne pas limiter. Hors du fil principal, elle ne l'est pas.
    """
    report = Report(exercise.name, total=len(exercise.properties), chained=exercise.expects == "fonction")
    if exercise.expects == "fonction" and (why := wrong_thing(exercise.name, thing)):
        report.notice = f"À revoir : {why}"
        return report
    if exercise.expects == "valeur" and (callable(thing) or thing is None or thing is ...):
        report.unwritten = not callable(thing)
        report.notice = (
            "À vous : la réponse n'est pas encore donnée."
            if report.unwritten
            else "À revoir : il faut une valeur, et non une fonction ou une classe."
        )
        return report
    try:
        with captured() as printed, same_randomness(), plain_settings(), time_limit(seconds):
            for prop in exercise.properties:
                if not _try(prop, exercise, thing, report, seconds):
                    break
        if not report.passed and not report.unwritten:
            report.hint = exercise.hints[0]
            with captured(), same_randomness(), plain_settings(), time_limit(seconds):
                _recognise(exercise, report, seconds)
    except UserInterrupt:
        raise KeyboardInterrupt from None
    report.printed = str(printed)
    return report


def _recognise(exercise: Exercise, report: Report, seconds: float | None) -> None:
    """Note au rapport l'erreur courante dont toutes les propriétés disent la même chose que de la réponse.

    L'étudiant n'entend alors qu'elle, et ce qu'elle causerait : les reproches suivants n'en sont que les suites.
    """
    if len(report.outcomes) < report.total:
        return
    for mistake in exercise.mistakes:
        replay = Report(exercise.name, total=report.total, chained=report.chained)
        if all(
            _try(prop, exercise, mistake.wrong, replay, seconds)
            and _alike(replay.outcomes[-1], outcome, mistake.margin)
            for prop, outcome in zip(exercise.properties, report.outcomes)
        ):
            first = next(prop for prop, one in zip(exercise.properties, report.outcomes) if not one.held)
            report.mistake = replace(mistake, consequence=mistake.consequence or first.consequence)
            return


def _alike(one: Outcome, other: Outcome, margin: float) -> bool:
    """Vrai si deux réponses ont le même sort : mêmes mots et, à `margin` près, mêmes nombres."""
    one_told, other_told = (re.sub(r" Ligne \d+ : .*", "", outcome.detail) for outcome in (one, other))
    if one.held != other.held or NUMBER.split(one_told) != NUMBER.split(other_told):
        return False
    numbers = ([float(n.replace(",", ".")) for n in NUMBER.findall(told)] for told in (one_told, other_told))
    return all(math.isclose(a, b, rel_tol=margin, abs_tol=margin / 100) for a, b in zip(*numbers))


def _try(prop: Property, exercise: Exercise, thing: Any, report: Report, seconds: float | None) -> bool:
    """Éprouve une propriété et l'ajoute au rapport ; faux s'il est inutile de continuer."""
    torch.manual_seed(0)
    given = Answer(thing) if exercise.expects == "fonction" else None
    try:
        if given is None:
            expect_plain(thing, "La réponse")
        prop.holds(given or copy.deepcopy(thing))
    except UserInterrupt:
        raise
    except Unusable as why:
        report.outcomes.append(Outcome(prop.statement, False, _once(str(why), report)))
        return True
    except Broken as broken:
        detail = _once(str(broken), report)
        if (
            given
            and given.empty
            and "N'oubliez pas return" in detail
            and "print(" in _source(thing)
            and not report.outcomes
        ):
            detail += " print affiche une valeur, il ne la rend pas."
        told = _told_already(prop, report)
        report.outcomes.append(Outcome(prop.statement, False, detail, "" if told else prop.consequence))
        return True
    except TimeUp as late:
        detail = (
            f"Votre fonction n'a pas fini après {number(seconds)} secondes de calcul "
            f"(ou {number(3 * seconds)} secondes d'attente) : une boucle sans fin ?"
        )
        if len(report.outcomes) + 1 < report.total:
            detail += " Les autres propriétés n'ont pas été essayées."
        detail += place(late)
        report.outcomes.append(Outcome(prop.statement, False, detail))
        return False
    except BaseException as error:  # la réponse d'un étudiant peut lever n'importe quoi
        if _is_unwritten(error) and not report.outcomes:
            report.unwritten = True
            report.notice = "À vous : la fonction n'est pas encore écrite (NotImplementedError)."
            if given is None:
                report.notice = "À vous : la réponse n'est pas encore donnée."
            return False
        report.outcomes.append(Outcome(prop.statement, False, _told(error, given, report)))
        return True
    report.outcomes.append(Outcome(prop.statement, True))
    return True


def _told_already(prop: Property, report: Report) -> bool:
    """Vrai si la conséquence est à taire : une fonction a souvent une seule erreur, et la première propriété l'a dite.

    Les lectures d'une valeur, elles, se trompent séparément : chacune a la sienne, une fois.
    """
    if report.chained:
        return report.held < len(report.outcomes)
    return any(outcome.consequence == prop.consequence for outcome in report.outcomes)


def _told(error: BaseException, given: Answer | None, report: Report) -> str:
    """L'erreur en français ; une seule fois si elle revient à chaque propriété."""
    if given is None or error is not given.error:
        return _once(f"Ce que vous rendez ne se laisse pas éprouver : {described(error)}.", report)
    if _is_unwritten(error):
        return _once(f"Ce cas n'est pas encore écrit (NotImplementedError).{place(error)}", report)
    return _once(explain(error), report)


def _once(detail: str, report: Report) -> str:
    return "De même." if any(detail == outcome.detail for outcome in report.outcomes) else detail


def _is_unwritten(error: BaseException) -> bool:
    """Vrai pour un `raise NotImplementedError` : PyTorch lève le même pour un type qu'une opération ne connaît pas."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    raised_here = last.tb_frame.f_code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]
    return isinstance(error, NotImplementedError) and raised_here


def _source(thing: object) -> str:
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return ""
