"""Ce qu'une réponse n'a pas le droit de changer autour d'elle : Python, NumPy, PyTorch, les vérifications du cours.

Un ajout (un module importé plus tard) est permis ; un remplacement ne l'est pas. La comparaison se fait au retour de
chaque appel : qui remplace une fonction, puis la remet en partant, est vu tout de même.
"""

import builtins
import copy
import functools
import inspect
import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy
import torch


class Tampered(BaseException):
    """Une réponse a remplacé ce sur quoi sa vérification repose."""


class Watch:
    """L'état des modules surveillés au moment de sa création, auquel on compare ensuite."""

    def __init__(self) -> None:
        self.broken = ""
        self._saved = [(name, space, dict(space)) for name, space in _watched_spaces()]
        functions = [
            value
            for name, space in _watched_spaces()
            if name.startswith("gan_course.exercises")
            for value in space.values()
            if isinstance(value, types.FunctionType)
        ]
        self._codes = [(f, f.__code__, f.__defaults__, f.__kwdefaults__) for f in functions]

    def look(self) -> bool:
        """Vrai si rien n'a été remplacé, maintenant ni à un regard précédent."""
        missing = object()
        for name, space, saved in self._saved if not self.broken else ():
            for key, value in saved.items():
                if space.get(key, missing) is not value:
                    self.broken = f"{name}.{key}"
                    return False
        for f, code, defaults, keywords in self._codes if not self.broken else ():
            if f.__code__ is not code or f.__defaults__ is not defaults or f.__kwdefaults__ is not keywords:
                self.broken = f"{f.__module__}.{f.__qualname__}"
                return False
        return not self.broken

    def around(self, thing: Any) -> Any:
        """La même fonction, qui regarde après chaque appel si quelque chose a été remplacé."""
        if not inspect.isfunction(thing) or inspect.isgeneratorfunction(thing) or inspect.iscoroutinefunction(thing):
            return thing

        @functools.wraps(thing)
        def watched(*arguments: object, **named: object) -> Any:
            try:
                return thing(*arguments, **named)
            finally:
                if not self.look():
                    raise Tampered(self.broken)

        return watched


def _watched_spaces() -> list[tuple[str, Any]]:
    """(nom, attributs) de chaque module et de chaque classe dont une vérification dépend."""
    course = [module for name, module in sys.modules.items() if name.startswith("gan_course.") and module]
    modules = [builtins, math, copy, inspect, functools, numpy, torch, torch.nn, torch.nn.functional, torch.nn.init]
    modules += [torch.linalg, torch.autograd, torch.random, *course]
    spaces = [(module.__name__, vars(module)) for module in modules if module.__name__ != __name__]
    classes = [torch.Tensor, torch.nn.Parameter, torch.nn.Module]
    classes += [
        value
        for module in course
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__.startswith("gan_course.exercises")
    ]
    return spaces + [(f"{kind.__module__}.{kind.__qualname__}", vars(kind)) for kind in dict.fromkeys(classes)]


def impostors(expects: str) -> list[Callable | object]:
    """Des réponses qu'aucun exercice ne peut accepter : si l'une passe, c'est que la vérification est faussée."""
    if expects == "valeur":
        return [object(), -1, {}]
    return [lambda *arguments, **named: None, lambda *arguments, **named: "rien"]
