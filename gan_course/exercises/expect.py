"""Ce qu'une vérification attend d'une valeur, et comment elle dit l'écart."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Broken(AssertionError):
    """Une propriété qui ne tient pas : ce qui était attendu, ce qui a été obtenu."""


# Une sous-classe, ou un objet à __torch_function__, répond ce qu'il veut à == ou à torch.allclose : seuls ces
# types-là sont lus, exactement.
PLAIN = (bool, int, float, str, type(None), np.ndarray, Tensor, nn.Parameter, torch.Size)


def expect_plain(value: object, what: str = "Le résultat") -> None:
    """Lève Broken si `value`, ou ce que contiennent ses listes, tuples et dictionnaires, est d'un type inventé."""
    kind = type(value)
    if kind in (list, tuple):
        for item in value:
            expect_plain(item, what)
    elif kind is dict:
        for key, item in value.items():
            expect_plain(key, what)
            expect_plain(item, what)
    elif kind in PLAIN or getattr(np, kind.__name__, None) is kind:
        return
    elif isinstance(value, (Tensor, np.ndarray, np.generic, int, float, str, list, tuple, dict)):
        parent = next(base for base in kind.__mro__ if base in (*PLAIN, np.generic, list, tuple, dict))
        raise Broken(
            f"{what}. Reçu {kind.__name__}, une variante de {parent.__name__}. Rendez le type ordinaire."
        )
    elif hasattr(kind, "__torch_function__"):
        raise Broken(f"{what}. Reçu {kind.__name__}, qui imite un tenseur. Rendez un Tensor ordinaire.")


def expect_close(got: object, expected: object, what: str, tolerance: float = 1e-5) -> None:
    """Lève Broken si `got` n'est pas, à `tolerance` près, la valeur attendue de `what` ; dit les deux.

    got : tenseur, tableau NumPy, nombre ou liste de nombres, de même forme que `expected`. tolerance : écart permis,
    relatif ou absolu, le plus large des deux.
    """
    expected = torch.as_tensor(expected, dtype=torch.float32).detach()
    got = values_of(got, what, tuple(expected.shape))
    right = torch.isclose(got, expected, rtol=tolerance, atol=tolerance)
    if not right.all():
        raise Broken(f"{what}. {_difference(got, expected, right)}.")


def expect_shape(got: object, shape: tuple[int, ...], what: str) -> None:
    """Lève Broken si `got` n'est pas un tenseur de forme `shape`."""
    if got is None:
        raise Broken(f"{what}. Rien n'a été rendu. N'oubliez pas return.")
    expect_plain(got, what)
    if not isinstance(got, Tensor):
        advice = " Passez-le par torch.from_numpy." if isinstance(got, np.ndarray) else ""
        raise Broken(f"{what}. Il faut un tenseur, reçu {kind_of(got)}.{advice}")
    _same_shape(tuple(got.shape), tuple(shape), what)


def expect_gradient(value: object, what: str = "La perte obtenue") -> None:
    """Lève Broken si `value` n'est pas un tenseur que PyTorch sait dériver."""
    if value is None:
        raise Broken(f"{what}. Rien n'a été rendu. N'oubliez pas return.")
    expect_plain(value, what)
    if not isinstance(value, Tensor):
        raise Broken(f"{what} est {kind_of(value)}, et non un tenseur : PyTorch n'y suit aucun gradient.")
    if not value.requires_grad:
        raise Broken(
            f"{what} n'a pas de gradient. Calculez avec des opérations de PyTorch, sans .item(), .detach(), "
            "float() ni torch.no_grad()."
        )


def expect_fresh(first: Tensor, second: Tensor, what: str) -> None:
    """Lève Broken si deux tirages successifs sont le même."""
    if torch.equal(first, second):
        raise Broken(
            f"{what} sont identiques : votre fonction fixe le hasard (torch.manual_seed, ou un Generator refait à "
            "chaque appel). C'est au carnet de le faire, une fois."
        )


def kind_of(value: object) -> str:
    """Le type de `value`, en français pour les plus courants."""
    names: dict[type, str] = {
        type(None): "rien (None)", str: "un texte (str)", bool: "un booléen (bool)", int: "un entier (int)",
        float: "un nombre (float)", list: "une liste (list)", tuple: "un tuple (tuple)",
        dict: "un dictionnaire (dict)", set: "un ensemble (set)", np.ndarray: "un tableau NumPy (ndarray)",
        Tensor: "un tenseur (Tensor)", nn.Parameter: "un paramètre (Parameter)", type(...): "des points (...)",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


def show(tensor: Tensor) -> str:
    """Un tenseur en peu de place : un nombre, ou ses premières valeurs."""
    values = [number(v) for v in tensor.detach().flatten()[:4].tolist()]
    if tensor.dim() == 0:
        return values[0]
    return f"[{' ; '.join(values)}{' ; …' if tensor.numel() > 4 else ''}]"


def number(value: float) -> str:
    """Un nombre à quatre chiffres, virgule décimale."""
    return f"{value + 0.0:.4g}".replace(".", ",")


def values_of(got: Any, what: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """`got`, tenseur, tableau NumPy, nombre ou liste, en tenseur float32 sans gradient, sur le processeur.

    Lève Broken si ce n'est pas cela, ou, `shape` étant donnée, si la forme est une autre.
    """
    if got is None:
        raise Broken(f"{what}. Rien n'a été rendu. N'oubliez pas return.")
    expect_plain(got, what)
    if isinstance(got, (list, tuple)) and any(isinstance(item, Tensor) for item in got):
        raise Broken(
            f"{what}. Reçu {kind_of(got)} de tenseurs ; il faut un seul tenseur (torch.stack les réunit)."
        )
    try:
        if not isinstance(got, (Tensor, np.ndarray, np.generic, int, float, complex, list, tuple)):
            raise TypeError
        got = torch.as_tensor(got)
        values = got.real.detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        raise Broken(f"{what}. Il faut un nombre ou un tenseur, reçu {kind_of(got)}.") from None
    if got.is_complex():
        raise Broken(f"{what}. Les valeurs sont complexes ; il faut des réels.")
    if shape is not None:
        _same_shape(tuple(values.shape), tuple(shape), what)
    return values


def _same_shape(got: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    if got != expected:
        told = ("(), un seul nombre" if shape == () else str(shape) for shape in (got, expected))
        raise Broken("{}. Forme obtenue : {} ; attendue : {}.".format(what, *told))


def _difference(got: Tensor, expected: Tensor, right: Tensor) -> str:
    """Où `got` et `expected` s'écartent : les premières valeurs si l'écart s'y voit, sinon la pire, avec son indice."""
    if got.dim() == 0 or not right.flatten()[:4].all():
        return f"Obtenu {show(got)}, attendu {show(expected)}"
    gap = (got - expected).abs().masked_fill(right, -1)
    worst = int(gap.nan_to_num(torch.inf).argmax())
    place = tuple(int(i) for i in np.unravel_index(worst, tuple(got.shape)))
    pair = f"obtenu {show(got.flatten()[worst])}, attendu {show(expected.flatten()[worst])}"
    return f"À l'indice {list(place)}, {pair} ({int((~right).sum())} valeurs fausses sur {got.numel()})"
