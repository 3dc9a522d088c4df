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
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack


class Tampered(BaseException):
    """Une réponse a remplacé ce sur quoi sa vérification repose."""


class Watch:
    """L'état des modules surveillés au moment de sa création, auquel on compare ensuite."""

    def __init__(self) -> None:
        self.broken = ""
        self._saved = [(name, space, dict(space)) for name, space in _watched_spaces()]
        checks = [values for name, _, values in self._saved if name.startswith("gan_course.exercises")]
        functions = [f for values in checks for f in values.values() if isinstance(f, types.FunctionType)]
        self._inner = [(f, _inner(f)) for f in functions]

    def look(self) -> bool:
        """Vrai si rien n'a été remplacé, maintenant ni à un regard précédent."""
        self.broken = self.broken or self._replaced()
        return not self.broken

    def _replaced(self) -> str:
        """Le nom de ce qui a été remplacé, ou rien."""
        missing = object()
        for name, space, saved in self._saved:
            for key, value in saved.items():
                if space.get(key, missing) is not value:
                    return f"{name}.{key}"
        for f, inner in self._inner:
            if any(now is not before for now, before in zip(_inner(f), inner)):
                return f"{f.__module__}.{f.__qualname__}"
        # Un mode intercepte tout appel à PyTorch ; torch.set_default_device en pose un, qui est permis.
        modes = [*_get_current_function_mode_stack(), *_get_current_dispatch_mode_stack()]
        return next((f"mode {type(mode).__name__}" for mode in modes if type(mode) is not DeviceContext), "")

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


def _inner(f: types.FunctionType) -> tuple:
    return f.__code__, f.__defaults__, f.__kwdefaults__


def _watched_spaces() -> list[tuple[str, Any]]:
    """(nom, attributs) de chaque module et de chaque classe dont une vérification dépend."""
    course = [module for name, module in sys.modules.items() if name.startswith("gan_course.") and module]
    modules = [builtins, math, copy, inspect, functools, numpy, torch, torch.nn, torch.nn.functional, torch.nn.init]
    modules += [torch.linalg, torch.autograd, torch.random, *course]
    kinds = [torch.Tensor, torch.nn.Parameter, torch.nn.Module]
    kinds += [kind for module in course for kind in vars(module).values() if inspect.isclass(kind)
              and kind.__module__.startswith("gan_course.exercises")]  # fmt: skip
    names = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in kinds}
    names |= {module.__name__: module for module in modules if module.__name__ != __name__}
    return [(name, vars(space)) for name, space in names.items()]


def impostors(expects: str) -> list[Callable | object]:
    """Des réponses qu'aucun exercice ne peut accepter : si l'une passe, c'est que la vérification est faussée."""
    if expects == "valeur":
        return [object(), -1, {}]
    return [lambda *arguments, **named: None, lambda *arguments, **named: "rien"]
