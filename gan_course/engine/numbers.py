"""Les nombres : vérifier ceux qu'on nous donne, écrire les nôtres à la française."""

import math
import operator
from numbers import Integral


def is_whole(value: object) -> bool:
    """Vrai pour un nombre entier, de Python ou de numpy ; faux pour True et pour 2.0."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_positive(name: str, value: int, least: int = 1) -> int:
    """Rend `value` s'il est entier et au moins `least` ; sinon TypeError ou ValueError, en nommant `name`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} doit être un entier ; reçu : {value!r}.")
    if number < least:
        raise ValueError(f"{name} doit valoir au moins {least} ; reçu : {number}.")
    return number


def french(value: float, digits: int | str = 2) -> str:
    """Écrit un nombre à la française : virgule, espace insécable par milliers, vrai signe moins.

    digits : nombre de décimales, ou un format de Python (".3g").
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = format(value, digits if isinstance(digits, str) else f",.{digits}f")
    return text.translate({ord(","): "\u00a0", ord("."): ",", ord("-"): "−"})
