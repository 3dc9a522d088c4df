"""Ce qu'est un exercice, comment une réponse est éprouvée, et comment le résultat se lit."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


class Broken(AssertionError):
    """Une propriété qui ne tient pas : ce qui était attendu, ce qui a été obtenu."""


@dataclass(frozen=True)
class Property:
    """Une propriété à vérifier : `holds(réponse)` ne rend rien, ou lève Broken avec le détail."""

    statement: str
    holds: Callable[[Callable], None]
    consequence: str


@dataclass(frozen=True)
class Exercise:
    """Un exercice : son nom, ses propriétés dans l'ordre, ses indices du plus léger au plus explicite."""

    name: str
    properties: tuple[Property, ...]
    hints: tuple[str, ...]


@dataclass
class Report:
    """Le résultat d'une vérification ; se lit par print."""

    name: str
    lines: list[str] = field(default_factory=list)
    held: int = 0
    total: int = 0

    @property
    def passed(self) -> bool:
        """Vrai si toutes les propriétés tiennent."""
        return self.total > 0 and self.held == self.total

    def __str__(self) -> str:
        plural = "s" if self.held > 1 else ""
        verdict = "réussi" if self.passed else f"{self.held} propriété{plural} sur {self.total}"
        return "\n".join([f"Exercice « {self.name} » : {verdict}", *self.lines])


def examine(exercise: Exercise, thing: Callable) -> Report:
    """Éprouve `thing` sur chaque propriété de l'exercice, sans toucher au hasard du notebook."""
    report = Report(exercise.name, total=len(exercise.properties))
    if not callable(thing):
        report.lines.append(f"  À revoir : il faut donner la fonction elle-même, et non {type(thing).__name__}.")
        return report
    for prop in exercise.properties:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                prop.holds(thing)
        except NotImplementedError:
            report.lines = ["  À vous : la fonction n'est pas encore écrite (NotImplementedError)."]
            report.held = 0
            return report
        except Broken as broken:
            report.lines += [f"  ✗ {prop.statement}", f"      {broken}", f"      Conséquence : {prop.consequence}"]
        except (Exception, SystemExit) as error:  # la réponse d'un étudiant peut lever n'importe quoi
            report.lines += [f"  ✗ {prop.statement}", f"      {explain(error)}"]
        else:
            report.held += 1
            report.lines.append(f"  ✓ {prop.statement}")
    if not report.passed:
        report.lines.append(f"  Indice : {exercise.hints[0]} Pour aller plus loin : hint({exercise.name!r}).")
    return report


def explain(error: BaseException) -> str:
    """Une erreur levée par la réponse, en une ligne : son type, son message, la ligne en cause."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f", ligne {frame.lineno} : {frame.line}" if frame.line else ""
    return f"Votre fonction a levé {type(error).__name__} ({str(error).splitlines()[0] if str(error) else ''}){where}"


def expect_close(got: object, expected: object, what: str, tolerance: float = 1e-5) -> None:
    """Lève Broken si `got` n'est pas, à `tolerance` près, la valeur attendue de `what` ; dit les deux."""
    expected = torch.as_tensor(expected, dtype=torch.float32)
    if got is None:
        raise Broken(f"{what} : rien n'a été rendu. N'oubliez pas return.")
    try:
        got = torch.as_tensor(got, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise Broken(f"{what} : il faut un nombre ou un tenseur, reçu {type(got).__name__}.") from None
    expect_shape(got, tuple(expected.shape), what)
    if not torch.allclose(got, expected, rtol=tolerance, atol=tolerance):
        raise Broken(f"{what} : obtenu {show(got)}, attendu {show(expected)}.")


def expect_shape(got: object, shape: tuple[int, ...], what: str) -> None:
    """Lève Broken si `got` n'est pas un tenseur de forme `shape`."""
    if not isinstance(got, torch.Tensor):
        raise Broken(f"{what} : il faut un tenseur, reçu {type(got).__name__}.")
    if tuple(got.shape) != tuple(shape):
        raise Broken(f"{what} : forme {tuple(got.shape)} obtenue, {tuple(shape)} attendue.")


def show(tensor: torch.Tensor) -> str:
    """Un tenseur en peu de place : un nombre, ou ses premières valeurs."""
    values = [f"{v:.4g}" for v in tensor.flatten()[:4].tolist()]
    if tensor.dim() == 0:
        return values[0]
    return f"[{', '.join(values)}{', …' if tensor.numel() > 4 else ''}]"
