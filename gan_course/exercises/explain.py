"""Dire en français, et en une phrase, l'erreur qu'une réponse a levée."""

import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

PACKAGE, TORCH = Path(__file__).parents[1], Path(torch.__file__).parent
LIBRARY = Path(inspect.__file__).parent  # la bibliothèque standard, et site-packages avec elle


# Ce que rencontrent les étudiants de ce cours : le motif de PyTorch ou de Python, et ce qu'il faut en comprendre ; {0},
# {1}… sont ses groupes. Le message d'origine suit toujours : inutile de traduire ce qu'il dit déjà clairement.
MEANINGS = (
    (r"mat1 and mat2 shapes cannot be multiplied \((\S+) and (\S+)\)",
     "le produit de matrices ne va pas de {0} à {1} : le nombre de colonnes de l'une doit être le nombre de lignes de "
     "l'autre"),
    (r"The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at non-singleton dimension (\d+)",
     "deux tenseurs ne s'accordent pas : {0} contre {1} dans la dimension {2}"),
    (r"weight of size \[.+?\], expected input.* to have (\d+) channels, but got (\d+) channels",
     "la convolution attend {0} canaux et en reçoit {1}"),
    (r"shape '(.+)' is invalid for input of size (\d+)", "{1} valeurs ne se rangent pas dans la forme {0}"),
    (r"out of range|out of bounds|too many indices", "un indice, ou une dimension (dim=…), qui n'existe pas"),
    (r"same dtype|expected scalar type|floating point or complex dtype|not implemented for '|should be the same",
     "un tenseur n'a pas le bon type (float32, float64, entiers…) : convertissez-le, par .float() sans doute"),
    (r"does not require grad and does not have a grad_fn|One of the differentiated Tensors does not require grad",
     "on dérive une valeur que PyTorch ne suit pas : requires_grad_() manque, ou detach, item ou no_grad l'a coupée"),
    (r"leaf Variable that requires grad",
     "une feuille du graphe (un paramètre) est modifiée sur place pendant que PyTorch suit les calculs : mettez cette "
     "ligne sous with torch.no_grad():"),
    (r"Target size .* must be the same as input size|Using a target size .* that is different to the input size",
     "la cible n'a pas la forme des logits : torch.full_like(logits, …) lui donne celle des siens"),
    (r"cannot assign '.*' as parameter",
     "un paramètre ne se remplace pas par un tenseur : écrivez dedans, par nn.init.normal_(layer.weight, …)"),
    (r"modified by an inplace operation",
     "une valeur dont dépend le gradient a été modifiée sur place : travaillez sur une copie, sans += ni [...] ="),
    (r"NoneType", "une valeur vaut None : un appel n'a rien rendu, ou un biais n'existe pas"),
    (r"name '(\w+)' is not defined|cannot access (?:local|free) variable '(\w+)'",
     "le nom {0} n'existe pas : faute de frappe, import oublié ou cellule non exécutée"),
    (r"positional argument|keyword argument|must be Tensor, not|invalid combination of arguments",
     "une fonction est appelée avec des arguments qu'elle n'accepte pas"),
)  # fmt: skip

KINDS = {
    ZeroDivisionError: "une division par zéro",
    KeyError: "cette clé n'est pas dans le dictionnaire",
    RecursionError: "la fonction s'appelle elle-même sans fin",
    MemoryError: "la mémoire n'y suffit pas",
    SystemExit: "exit() et quit() arrêtent le programme entier : return suffit",
    KeyboardInterrupt: "votre code lève KeyboardInterrupt, réservé à Ctrl-C",
}


def explain(error: BaseException) -> str:
    """Une erreur levée par la réponse : ce qu'elle veut dire, le message d'origine, la ligne en cause."""
    return f"Votre fonction s'arrête sur une erreur : {described(error)}.{place(error)}"


def described(error: BaseException) -> str:
    """Ce que veut dire l'erreur, suivi de son type et de la première ligne de son message."""
    message = str(error).splitlines()[0][:200] if str(error) else ""
    original = f"{type(error).__name__} : {message}" if message else type(error).__name__
    sense = meaning(error)
    return f"{sense} ({original})" if sense else original


def meaning(error: BaseException) -> str:
    """Ce que veut dire l'erreur, en français ; chaîne vide si l'on ne sait pas."""
    for kind, sense in KINDS.items():
        if isinstance(error, kind):
            return sense
    for pattern, sense in MEANINGS:
        if found := re.search(pattern, str(error)):
            return sense.format(*filter(None, found.groups()))
    return ""


def place(error: BaseException) -> str:
    """La dernière ligne du code de l'étudiant par où l'erreur est passée, ou rien."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.line and not any(
            folder in Path(frame.filename).parents for folder in (PACKAGE, TORCH, LIBRARY)
        ):
            return f" Ligne {frame.lineno} : {frame.line}"
    return ""


def wrong_thing(name: str, thing: object) -> str:
    """Pourquoi `thing`, donné à check à la place d'une fonction, ne convient pas ; vide s'il convient."""
    if isinstance(thing, type):
        return f"il faut une fonction, et {thing.__name__} est une classe."
    if callable(thing):
        return ""
    if isinstance(thing, str):
        return f'il faut la fonction elle-même, sans guillemets : check("{name}", {thing or "ma_fonction"}).'
    return (
        f"il faut la fonction elle-même, et non ce qu'elle rend ({type(thing).__name__}) : "
        f'check("{name}", ma_fonction), sans parenthèses après son nom.'
    )


def wrong_call(thing: Callable, arguments: tuple, named: dict) -> str:
    """Pourquoi `thing` ne peut pas recevoir ces arguments ; chaîne vide s'il le peut, ou si l'on ne sait pas."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):  # une fonction écrite en C
        return ""
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        pass
    else:
        return ""
    unknown = [name for name in named if name not in signature.parameters]
    if unknown:
        return f"votre fonction n'a pas d'argument nommé {unknown[0]} ; la vérification en donne un."
    expected, given = len(signature.parameters), len(arguments) + len(named)
    plural = "s" if expected > 1 else ""
    names = f" ({', '.join(signature.parameters)})" if expected else ""
    return f"votre fonction attend {expected or 'zéro'} argument{plural}{names}, on lui en donne {given}."
