"""check, hint : ce que devient une réponse inattendue, ce qu'en lit l'étudiant."""

import functools
import json
import re
from pathlib import Path

import pytest
import torch

from gan_course.exercises import CHAPTERS, EXERCISES, check, find, hint
from gan_course.exercises.report import examine

OPTIMAL = EXERCISES["optimal_discriminator"]


def ratio(p, q):
    return p / (p + q)


# --- ce que l'on donne à check ---------------------------------------------------------------------------------


class Method:
    def ratio(self, p, q):
        return p / (p + q)

    __call__ = ratio


PARTIAL = functools.partial(lambda e, p, q: p / (p + q), 0)


@pytest.mark.parametrize("thing", [ratio, Method().ratio, Method(), PARTIAL, torch.no_grad()(ratio)])
def test_anything_that_is_called_is_a_function(thing):
    assert examine(OPTIMAL, thing).passed


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (Method, "une classe"),
        ("ratio", 'sans guillemets : check("optimal_discriminator", ratio)'),
        (torch.tensor(0.5), "et non ce qu'elle rend (Tensor)"),
        (None, "et non ce qu'elle rend (NoneType)"),
        (lambda p: p, "attend 1 argument (p), on lui en donne 2"),
        (lambda: 0, "attend zéro argument, on lui en donne 2"),
        (lambda p, q, eps: p, "attend 3 arguments (p, q, eps), on lui en donne 2"),
    ],
)
def test_what_is_not_the_function_is_explained(thing, words):
    report = examine(OPTIMAL, thing)
    assert not report.passed and words in str(report), str(report)


def test_a_missing_named_argument_is_explained():
    report = examine(EXERCISES["discriminator_loss"], lambda real, fake: real.mean() - fake.mean())
    assert "n'a pas d'argument nommé real_label" in str(report)


def slerp(a, b, t):
    return a


def test_a_missing_answer_is_told():
    with pytest.raises(ValueError, match=r'Il manque la réponse : check\("nom_de_l_exercice", ratio\)'):
        check(ratio)
    with pytest.raises(ValueError, match=r'Il manque la réponse : check\("slerp", slerp\)'):
        check(slerp)
    with pytest.raises(ValueError, match=r'Il manque la réponse : check\("slerp", …\)'):
        check("slerp")


def test_a_name_near_none_gets_the_names_by_chapter():
    with pytest.raises(ValueError) as refusal:
        hint("toto")
    message = str(refusal.value)
    assert message.startswith("Aucun exercice ne s'appelle 'toto'.") and "Noms proches" not in message
    assert len(message.splitlines()) == 1 + len(CHAPTERS) and "chapitre 06 : denormalise, " in message


def test_names_are_looked_up_kindly():
    with pytest.raises(ValueError, match="slerp"):
        check("slerpp", ratio)
    with pytest.raises(ValueError, match="guillemets"):
        find(ratio)


# --- ce qu'une réponse peut faire ------------------------------------------------------------------------------


def raising(error):
    def answer(*_):
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising(SystemExit(3)), "exit() et quit() arrêtent le programme entier"),
        (raising(KeyboardInterrupt()), "réservé à Ctrl-C"),
        (raising(MemoryError()), "la mémoire n'y suffit pas"),
        (raising(KeyError("p")), "cette clé n'est pas dans le dictionnaire"),
        (raising(BaseException("bizarre")), "bizarre"),
        (raising(RuntimeError()), "s'arrête sur une erreur : RuntimeError."),
        (lambda p, q: torch.ones(2, 3) @ torch.ones(2, 3), "le produit de matrices ne va pas de 2x3 à 2x3"),
        (lambda p, q: torch.ones(3) + torch.ones(4), "ne s'accordent pas : 3 contre 4 dans la dimension 0"),
        (lambda p, q: torch.conv2d(torch.ones(1, 2, 4, 4), torch.ones(3, 5, 1, 1)), "attend 5 canaux et en reçoit 2"),
        (lambda p, q: torch.eye(2) @ torch.eye(2).double(), "n'a pas le bon type"),
        (lambda p, q: torch.ones(3)[3], "qui n'existe pas"),
        (lambda p, q: torch.ones(2, requires_grad=True).add_(1), "modifiée sur place"),
        (lambda p, q: torch.matmul(p), "des arguments qu'elle n'accepte pas"),
        (lambda p, q: torch.autograd.grad(p.sum(), p), "que PyTorch ne suit pas"),
        (lambda p, q: p.view(7, 7), "ne se rangent pas dans la forme [7, 7]"),
        (lambda p, q: torch.arange(3).mean(), "par .float()"),
        (lambda p, q: F.softmax(p), "le nom F n'existe pas"),  # noqa: F821
        (lambda p, q: p / None, "vaut None"),
        (lambda p, q: torch.empty(3, device="meta"), "il faut"),
        (lambda p, q: torch.randn(3, dtype=torch.int64), "n'a pas le bon type"),
        (lambda p, q: 1 / 0, "une division par zéro"),
    ],
)  # fmt: skip
def test_errors_are_told_in_french(answer, words):
    report = examine(OPTIMAL, answer)
    assert not report.passed and not report.unwritten
    # La ligne citée est ici celle de l'essai, qui porte les mots attendus : on ne lit que ce qui la précède.
    told = report.outcomes[0].detail.partition(" Ligne ")[0]
    assert words.lower() in told.lower(), str(report)


def test_the_line_told_is_the_student_s():
    def answer(p, q):
        mixed = torch.ones(3)
        return torch.nn.functional.linear(mixed, torch.eye(4))

    assert "return torch.nn.functional.linear(mixed, torch.eye(4))" in str(examine(OPTIMAL, answer))


def test_recursion_generators_and_coroutines_are_told():
    def endless(p, q):
        return endless(p, q)

    def generator(p, q):
        yield p

    async def coroutine(p, q):
        return p

    assert "s'appelle elle-même sans fin" in str(examine(OPTIMAL, endless))
    assert "yield" in str(examine(OPTIMAL, generator))
    assert "async def" in str(examine(OPTIMAL, coroutine))


def test_printing_instead_of_returning_is_told():
    def answer(p, q):
        print(p / (p + q))

    text = str(examine(OPTIMAL, answer))
    assert "N'oubliez pas return" in text and "print affiche une valeur, il ne la rend pas" in text


def test_what_is_printed_is_cut(capsys):
    def answer(p, q):
        for i in range(100_000):
            print("ligne", i)
        return p / (p + q)

    report = examine(OPTIMAL, answer)
    assert report.passed and capsys.readouterr().out == ""
    assert report.printed.count("\n") == 10 and "399990 lignes de plus" in report.printed
    assert len(examine(OPTIMAL, lambda p, q: print("a" * 10**7)).printed) < 3_000


def test_the_same_error_is_told_once():
    text = str(examine(OPTIMAL, raising(KeyError("p"))))
    assert text.count("KeyError") == 1 and text.count("De même.") == 3


def test_an_unwritten_answer_and_an_unwritten_case():
    report = examine(OPTIMAL, raising(NotImplementedError()))
    assert report.unwritten and str(report).endswith("n'est pas encore écrite (NotImplementedError).")

    def partly(real, fake, real_label=1.0):
        if real_label != 1:
            raise NotImplementedError("plus tard")
        return torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean()

    report = examine(EXERCISES["discriminator_loss"], partly)
    assert report.held == 3 and "Ce cas n'est pas encore écrit" in str(report)


# --- indices, étoiles ------------------------------------------------------------------------------------------


def test_hints_go_on_from_the_one_check_gave(capsys):
    name = "lipschitz_bound"
    hints = EXERCISES[name].hints
    check(name, lambda weights: 1.0)
    assert f"Indice : {hints[0]}" in capsys.readouterr().out
    for number in (2, 3, 3):
        hint(name)
        assert f"Indice {number} sur 3 : {hints[number - 1]}" in capsys.readouterr().out


def test_every_exercise_has_a_chapter_and_points():
    assert set(EXERCISES) == {name for chapter in CHAPTERS.values() for name in chapter}
    assert all(one.name == name and one.points in (1, 2, 3) for name, one in EXERCISES.items())


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("notebooks/[0-9][0-9]_*.ipynb")), ids=lambda p: p.stem
)
def test_the_stars_of_a_chapter_are_its_points(path):
    """L'énoncé annonce une difficulté, ★ à ★★★ : ce sont les points de l'exercice que la cellule suivante vérifie."""
    stars = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            stars = len((re.findall("★+", source) or ["★" * stars])[-1])
        elif asked := re.search(r'^check\("(\w+)"', source, flags=re.MULTILINE):
            said = f"{asked[1]} : {'★' * stars or 'pas d’étoile'} dans l'énoncé, {EXERCISES[asked[1]].points} points"
            assert EXERCISES[asked[1]].points == stars, said
