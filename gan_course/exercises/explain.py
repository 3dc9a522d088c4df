"""Dire en français, et en une phrase, l'erreur qu'une réponse a levée."""

import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

PACKAGE, TORCH = Path(__file__).parents[1], Path(torch.__file__).parent
LIBRARY = Path(inspect.__file__).parent  # la bibliothèque standard, et site-packages avec elle


def missing_attribute(kind: str, name: str) -> str:
    """Ce que veut dire « l'objet de type `kind` n'a pas d'attribut `name` »."""
    kind = kind.rpartition(".")[2]
    if isinstance(getattr(torch.nn, kind, None), type) and kind != "Parameter":
        return (
            f"cette couche ({kind}) n'a pas de {name} : regardez d'abord de quel type elle est (isinstance)"
        )
    wanted = ", là où il faut un tenseur" if kind != "Tensor" and hasattr(torch.Tensor, name) else ""
    return f"{name} n'existe pas sur cet objet : il n'est pas du type que vous croyez ; ici un {kind}{wanted}"


# Le motif de PyTorch ou de Python, et ce qu'il faut en comprendre, texte ou fonction ; {0}, {1}… sont ses groupes.
MEANINGS = (
    (r"mat1 and mat2 shapes cannot be multiplied \((\S+) and (\S+)\)",
     "le produit de matrices ne va pas de {0} à {1} : le nombre de colonnes de l'une doit être le nombre de lignes de "
     "l'autre"),
    (r"The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at non-singleton dimension (\d+)",
     "deux tenseurs ne s'accordent pas : {0} contre {1} dans la dimension {2}"),
    (r"inconsistent tensor size|vector and vector expected|1D tensors expected|size mismatch",
     "un produit (@, dot, mv) reçoit des tenseurs dont les formes ne vont pas ensemble"),
    (r"shape '(.+)' is invalid for input of size (\d+)", "{1} valeurs ne se rangent pas dans la forme {0}"),
    (r"Sizes of tensors must match except in dimension (\d+)",
     "torch.cat : hors de la dimension {0}, les formes doivent être les mêmes"),
    (r"stack expects each tensor to be equal size", "torch.stack : les tenseurs doivent avoir tous la même forme"),
    (r"Tensors must have same number of dimensions", "torch.cat : les tenseurs n'ont pas le même nombre de dimensions"),
    (r"The expanded size of the tensor|expand\(", "expand : une dimension qui ne vaut pas 1 ne se répète pas ainsi"),
    (r"Dimension out of range", "la dimension demandée (dim=…) n'existe pas : le tenseur en a moins"),
    (r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)",
     "l'indice {0} sort de la dimension {1}, qui compte {2} places"),
    (r"too many indices for tensor of dimension (\d+)", "il y a plus d'indices que de dimensions ({0})"),
    (r"weight of size \[(.+?)\], expected input.* to have (\d+) channels, but got (\d+) channels",
     "la convolution attend {1} canaux et en reçoit {2}"),
    (r"all tensors to be on the same device|same device", "des tenseurs sont sur des appareils différents"),
    (r"expected m1 and m2 to have the same dtype|same dtype|expected scalar type|should be the same",
     "des tenseurs de types différents (float32, float64, entiers…) se rencontrent : convertissez l'un d'eux"),
    (r"result type (\w+) can't be cast to the desired output type (\w+)",
     "un tenseur de type {1} ne peut pas recevoir sur place des valeurs de type {0} : convertissez d'abord"),
    (r"could not infer output dtype|must be either a floating point or complex dtype",
     "une moyenne ou un écart-type demande des réels : passez par .float()"),
    (r"not implemented for '(\w+)'", "cette opération n'existe pas pour le type {0} : passez sans doute par .float()"),
    (r"one_hot is only applicable to index tensor", "one_hot attend des étiquettes entières (torch.int64)"),
    (r"Class values must be smaller than num_classes", "one_hot reçoit une étiquette plus grande que K - 1"),
    (r"a (view of a )?leaf Variable that requires grad",
     "un tenseur dont on demande le gradient a été modifié sur place : travaillez sur une copie"),
    (r"modified by an inplace operation",
     "une valeur nécessaire au gradient a été modifiée sur place : écrivez le calcul sans += ni indices à gauche de ="),
    (r"does not require grad and does not have a grad_fn|One of the differentiated Tensors does not require grad",
     "on dérive une valeur que PyTorch ne suit pas : requires_grad_() manque, ou detach, item ou no_grad l'a coupée"),
    (r"appears to not have been used in the graph",
     "on dérive par rapport à une valeur dont le résultat ne dépend pas"),
    (r"grad can be implicitly created only for scalar outputs",
     "on ne dérive qu'un nombre : sommez d'abord (.sum())"),
    (r"backward through the graph a second time", "le graphe a déjà servi : create_graph=True le garde"),
    (r"Can't call numpy\(\) on Tensor that requires grad", ".numpy() refuse un tenseur suivi : .detach() d'abord"),
    (r"cannot be converted to Scalar|can be converted to Python scalars",
     "un tenseur de plusieurs valeurs n'est pas un nombre : .item() et float() n'en prennent qu'une"),
    (r"Boolean value of Tensor with more than one value|truth value of an array",
     "if ou while reçoit un tenseur de plusieurs valeurs : choisissez (.any(), .all()) ou passez par torch.where"),
    (r"DefaultCPUAllocator|out of memory|Unable to allocate", "la mémoire n'y suffit pas : un tenseur est trop grand"),
    (r"'NoneType' object|NoneType", "une valeur vaut None : un appel n'a rien rendu, ou un biais n'existe pas"),
    (r"name '(\w+)' is not defined|cannot access (?:local|free) variable '(\w+)'",
     "le nom {0} n'existe pas : faute de frappe, import oublié ou cellule non exécutée"),
    (r"'([\w.]+)' object has no attribute '(\w+)'", missing_attribute),
    (r"cannot assign '\S+' as parameter", "un poids ne se remplace pas par un tenseur : écrivez dedans, sur place "
     "(nn.init…)"),
    (r"shape mismatch: value tensor of shape .* cannot be broadcast to indexing result",
     "les valeurs à écrire ne sont pas aussi nombreuses que les places choisies par le masque"),
    (r"has no attribute '(\w+)'", "{0} n'existe pas dans ce module"),
    (r"No module named '(\S+)'", "le module {0} n'est pas installé"),
    (r"unsupported operand type\(s\) for (\S+?): '(\w+)' and '(\w+)'", "{0} ne sait pas combiner {1} et {2}"),
    (r"object is not callable", "des parenthèses suivent une valeur qui n'est pas une fonction"),
    (r"object is not (?:subscriptable|iterable)|iteration over a 0-d tensor",
     "un nombre seul ne s'indice pas et ne se parcourt pas"),
    (r"(?:not enough|too many) values to unpack", "à gauche de =, il n'y a pas autant de noms que de valeurs à droite"),
    (r"positional argument|keyword argument|must be Tensor, not|invalid combination of arguments",
     "une fonction est appelée avec des arguments qu'elle n'accepte pas"),
)  # fmt: skip

KINDS = {
    ZeroDivisionError: "une division par zéro",
    KeyError: "cette clé n'est pas dans le dictionnaire",
    IndexError: "un indice sort de la liste",
    RecursionError: "la fonction s'appelle elle-même sans fin",
    MemoryError: "la mémoire n'y suffit pas",
    SystemExit: "exit() et quit() arrêtent le programme entier : return suffit",
    KeyboardInterrupt: "votre code lève KeyboardInterrupt, réservé à Ctrl-C",
    StopIteration: "next est appelé sur une suite épuisée",
    EOFError: "input() attend une saisie : la vérification n'en donne pas",
    AssertionError: "un assert de votre code ne tient pas",
    FileNotFoundError: "ce fichier n'existe pas",
    PermissionError: "l'accès est refusé",
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
    if not isinstance(error, (KeyError, SystemExit, KeyboardInterrupt, AssertionError)):
        for pattern, sense in MEANINGS:
            if found := re.search(pattern, str(error)):
                groups = [group for group in found.groups() if group is not None]
                return sense(*groups) if callable(sense) else sense.format(*groups)
    return next((sense for kind, sense in KINDS.items() if isinstance(error, kind)), "")


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
