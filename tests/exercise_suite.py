"""Ce que les exercices de tout chapitre doivent tenir : les essais sont écrits une fois, ici."""

import sys
from collections.abc import Callable

import pytest
import torch

from gan_course.exercises import EXERCISES
from gan_course.exercises.report import Report, examine


def failures(report: Report) -> list[str]:
    """Les énoncés des propriétés refusées."""
    return [line for line in report.lines if line.lstrip().startswith("✗")]


def spoil(*arguments, **named):
    """Met à zéro tous les tenseurs reçus, dans les listes aussi."""
    for argument in (*arguments, *named.values()):
        if isinstance(argument, torch.Tensor):
            argument.detach().zero_()
        elif isinstance(argument, (list, tuple)):
            spoil(*argument)


def constants() -> dict[str, torch.Tensor]:
    """Les tenseurs écrits une fois pour toutes dans les modules de vérification."""
    return {
        f"{name}.{key}": value
        for name, module in list(sys.modules.items())
        if name.startswith("gan_course.exercises.")
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    }


def each(answers: dict) -> list:
    return [
        pytest.param(name, a, id=f"{name}-{i}")
        for name, several in answers.items()
        for i, a in enumerate(several)
    ]


def exercise_tests(chapter: dict, right: dict, wrong: dict) -> dict[str, Callable]:
    """Les essais d'un chapitre, par nom, à verser dans le module qui les demande.

    `right` : {exercice : réponses justes} ; `wrong` : {exercice : (réponse fausse, mot de la propriété refusée)}.
    """

    def test_the_chapter_is_reachable_by_name():
        assert set(right) == set(wrong) == set(chapter) <= set(EXERCISES)
        assert all(len(exercise.properties) >= 3 and len(exercise.hints) >= 2 for exercise in chapter.values())
        assert all(len(right[name]) >= 3 and len(wrong[name]) >= 3 for name in chapter)

    @pytest.mark.parametrize("name, answer", each(right))
    def test_right_answers_pass(name, answer):
        report = examine(chapter[name], answer)
        assert report.passed, str(report)

    @pytest.mark.parametrize("name, case", each(wrong))
    def test_wrong_answers_are_refused_by_name(name, case):
        answer, word = case
        report = examine(chapter[name], answer)
        assert not report.passed
        assert any(word in line for line in failures(report)), str(report)
        assert "Indice" in str(report)

    @pytest.mark.parametrize("name", chapter)
    def test_an_unwritten_answer_is_not_an_error(name):
        def unwritten(*arguments):
            raise NotImplementedError

        report = examine(chapter[name], unwritten)
        assert not report.passed and "À vous" in str(report) and not failures(report)

    @pytest.mark.parametrize("name", chapter)
    def test_a_crash_is_explained(name):
        def crashing(*arguments):
            return {}["absent"]

        assert "KeyError" in str(examine(chapter[name], crashing))

    @pytest.mark.parametrize("name", chapter)
    def test_an_answer_cannot_spoil_the_next_one(name):
        """Une réponse qui écrase tout ce qu'elle reçoit ne touche pas aux constantes des vérifications."""
        before = {key: value.clone() for key, value in constants().items()}
        examine(chapter[name], spoil)
        assert [key for key, value in constants().items() if not torch.equal(value, before[key])] == []

    return {name: value for name, value in locals().items() if name.startswith("test_")}
