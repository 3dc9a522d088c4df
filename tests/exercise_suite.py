"""Ce que les exercices de tout chapitre doivent tenir : les essais sont écrits une fois, ici."""

import sys
from collections.abc import Callable, Iterable

import pytest
import torch

from gan_course.exercises import EXERCISES
from gan_course.exercises.report import Exercise, Report, examine


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


def message_tests(chapter: dict, cases: list[tuple[str, Callable, str]]) -> dict[str, Callable]:
    """L'essai, à verser dans le module, de ce qu'un rapport doit dire : (exercice, réponse, mots)."""

    @pytest.mark.parametrize("name, answer, words", cases)
    def test_the_messages_tell_what_happened(name, answer, words):
        assert words in str(examine(chapter[name], answer))

    return {"test_the_messages_tell_what_happened": test_the_messages_tell_what_happened}


def exercise_tests(chapter: dict, right: dict, wrong: dict) -> dict[str, Callable]:
    """Les essais d'un chapitre, par nom, à verser dans le module qui les demande.

    `right` : {exercice : réponses justes} ; `wrong` : {exercice : (réponse fausse, mot de la propriété refusée, ce que
    le rapport dit encore de l'erreur)}, le dernier facultatif.
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
        answer, word, *said = case
        report = examine(chapter[name], answer)
        assert not report.passed
        assert any(word in line for line in failures(report)), str(report)
        assert "Indice" in str(report)
        assert all(fragment in str(report) for fragment in said), str(report)
        assert str(report).count("Conséquence") <= 1, "une seule cause, une seule conséquence"

    usual = [(name, mistake) for name in chapter for mistake in chapter[name].mistakes]

    @pytest.mark.parametrize("name, mistake", usual)
    def test_each_usual_mistake_is_named_first_and_alone(name, mistake):
        """Deux erreurs que les propriétés ne distinguent pas n'ont qu'une phrase : elle doit être vraie des deux."""
        report = examine(chapter[name], mistake.wrong)
        text = str(report)
        assert not report.passed and report.mistake.error == mistake.error, text
        assert text.splitlines()[1] == f"  Erreur reconnue : {mistake.error}"
        assert text.splitlines()[2].startswith("      Conséquence : ") and report.mistake.consequence
        assert text.count("Conséquence") == 1 and text.count("Obtenu") <= 1
        assert "s'arrête sur une erreur" not in text and "ne se laisse pas éprouver" not in text

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


def reading_tests(exercise: Exercise, truth: dict[str, str], readings: Iterable[str], noun: str) -> dict[str, Callable]:
    """Les essais d'un exercice où l'on donne une lecture par figure, {lettre : lecture}, à verser dans le module.

    `truth` : les bonnes lectures ; `readings` : toutes celles possibles ; `noun` : ce que désigne une lettre.
    """

    @pytest.mark.parametrize(
        "answer",
        [
            dict(truth),
            {letter: reading.capitalize() for letter, reading in reversed(truth.items())},
            {letter.lower(): f" {reading.replace(chr(39), '’')} " for letter, reading in truth.items()},
        ],
    )
    def test_the_right_readings_pass(answer):
        assert examine(exercise, answer).passed

    @pytest.mark.parametrize("letter", truth)
    @pytest.mark.parametrize("reading", readings)
    def test_each_mistake_is_explained_by_what_is_seen(letter, reading):
        report = examine(exercise, {**truth, letter: reading})
        if reading == truth[letter]:
            assert report.passed
            return
        (failure,) = failures(report)
        assert f"{noun} {letter}" in failure and f"« {reading} »" in str(report)
        assert f"« {truth[letter]} »" not in str(report), "le message ne doit pas donner la réponse"

    @pytest.mark.parametrize("answer", [None, dict.fromkeys(truth, ...), dict.fromkeys(truth)])
    def test_an_empty_form_is_not_a_mistake(answer):
        report = examine(exercise, answer)
        assert report.unwritten and not failures(report)
        assert "la réponse n'est pas encore donnée" in str(report)

    return {name: value for name, value in locals().items() if name.startswith("test_")}
