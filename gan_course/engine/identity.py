"""Ce qui distingue une fonction d'une autre : un point de reprise refuse de continuer avec une autre perte."""

import dis
import functools
import hashlib
import inspect
import marshal
from collections.abc import Callable
from typing import Any

PLAIN = (bool, int, float, str, type(None), tuple)


def identity(value: Any, seen: tuple = ()) -> Any:
    """Une valeur qui s'enregistre ; d'une fonction, son nom et l'empreinte de ce dont elle dépend."""
    if isinstance(value, tuple):
        return tuple(identity(item, seen) for item in value)
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", type(value).__name__)
    content = "" if value in seen else repr(_makings(value, (*seen, value)))
    return f"{name} ({hashlib.sha256(content.encode()).hexdigest()[:12]})"


def _makings(function: Callable, seen: tuple) -> tuple:
    """Ce dont dépend ce que calcule une fonction : sa source, ses défauts, ce qu'elle capture et lit autour d'elle.

    Des valeurs, on ne retient que les nombres, les textes et les fonctions : un module ne change pas, et une liste que
    la fonction remplit changerait à chaque pas.
    """
    if isinstance(function, functools.partial):
        return identity(function.func, seen), function.args, function.keywords
    if not hasattr(function, "__code__"):
        return _thing(function)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # définie par exec, ou dans un terminal : son code compilé en tient lieu
        source = marshal.dumps(function.__code__)
    read = {i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}
    around = {name: function.__globals__[name] for name in read & set(function.__globals__)}
    around |= dict(zip(function.__code__.co_freevars, (c.cell_contents for c in function.__closure__ or ())))
    around = {name: v for name, v in around.items() if isinstance(v, PLAIN) or inspect.isfunction(v)}
    owner = _thing(function.__self__) if inspect.ismethod(function) else ()
    defaults = function.__defaults__, sorted((function.__kwdefaults__ or {}).items())
    return source, repr(defaults), {name: identity(around[name], seen) for name in sorted(around)}, owner


def _thing(thing: Any) -> tuple:
    """Un objet que l'on appelle : la source de sa classe et ses réglages ; écrit en C, son nom suffit."""
    try:
        source = inspect.getsource(type(thing))
    except (OSError, TypeError):
        source = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", type(thing).__qualname__)
    settings = {name: v for name, v in getattr(thing, "__dict__", {}).items() if isinstance(v, PLAIN)}
    return source, sorted(settings.items())
