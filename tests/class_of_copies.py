"""Une classe de copies du chapitre 03, faites par le code : bonnes, abîmées, malheureuses, malhonnêtes.

`build(dossier, …)` les écrit et rend {nom du fichier : Expected}. Les réponses viennent du maître.
"""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan_course.tools import solutions
from gan_course.tools.notebook import read_notebook, source_of

ROOT = Path(__file__).resolve().parent.parent
MASTER = ROOT / "notebooks" / "sources" / "03_cgan_mnist.ipynb"
NAMES = ("one_hot_planes", "projection_score", "class_grid_inputs", "conditional_accuracy")
HEAD = "def one_hot_planes(x, y, num_classes):\n"
OUTSIDE = "interdit.txt"


@dataclass(frozen=True)
class Expected:
    """Les exercices qui doivent rapporter leurs points, et un mot que doit porter le retour."""

    earned: tuple[str, ...] = ()
    word: str = ""


ALL, NONE, OTHERS = Expected(NAMES), Expected(), NAMES[1:]


def notebook(solved: bool = True) -> dict:
    """Le carnet résolu, ou celui de l'étudiant."""
    return (solutions.to_solved if solved else solutions.to_student)(read_notebook(MASTER), MASTER.name)


def answer_cell(book: dict, name: str = NAMES[0]) -> int:
    """L'indice de la cellule qui définit une réponse."""
    return next(i for i, cell in enumerate(book["cells"]) if f"def {name}(" in source_of(cell))


def code(source: str) -> dict:
    cell = {"cell_type": "code", "id": "ajout", "metadata": {}, "source": source}
    return cell | {"outputs": [], "execution_count": None}


def with_body(body: str, honest: bool = False) -> dict:
    """Le carnet résolu, sauf le premier exercice : ce corps-là, suivi ou non de la bonne réponse."""
    book = notebook()
    cell = book["cells"][answer_cell(book)]
    right = source_of(cell).partition("\n")[2]
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    cell["source"] = HEAD + lines + (right if honest else "    return x")
    return book


def with_cell(source: str, where: int = 0, honest: bool = False) -> dict:
    """Le carnet résolu, sa première réponse fausse ou non, et une cellule de plus."""
    book = notebook() if honest else with_body("pass")
    book["cells"].insert(where if where >= 0 else len(book["cells"]), code(source))
    return book


def half_done() -> dict:
    book, empty = notebook(), notebook(solved=False)
    for name in NAMES[2:]:
        book["cells"][answer_cell(book, name)] = empty["cells"][answer_cell(empty, name)]
    return book


def deleted() -> dict:
    """Il manque l'installation, les importations et le deuxième exercice."""
    book = notebook()
    gone = ("def projection_score(", "import torch", "import gan_course")
    book["cells"] = [c for c in book["cells"] if not any(word in source_of(c) for word in gone)]
    return book


def reordered() -> dict:
    book = notebook()
    book["cells"].reverse()
    return book


def duplicated() -> dict:
    """Le carnet vide, collé à la suite du carnet résolu."""
    book = notebook()
    book["cells"] += notebook(solved=False)["cells"]
    return book


def stripped() -> dict:
    """Ce que laisse un outil sans égards : ni identifiants ni métadonnées ; sources d'un seul tenant."""
    cells = [{"cell_type": c["cell_type"], "source": source_of(c)} for c in notebook()["cells"]]
    return {"nbformat": 4, "nbformat_minor": 0, "metadata": {"colab": {"provenance": []}}, "cells": cells}


def version_3() -> dict:
    cells = []
    for cell in notebook()["cells"]:
        key = "input" if cell["cell_type"] == "code" else "source"
        cells.append({"cell_type": cell["cell_type"], key: source_of(cell), "metadata": {}})
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}


def with_huge_outputs() -> dict:
    book = notebook()
    output = {"output_type": "stream", "name": "stdout", "text": ["perte 0,6931\n" * 1000] * 1600}
    book["cells"][answer_cell(book)]["outputs"] = [output]
    return book


def renamed() -> dict:
    book = copy.deepcopy(notebook())
    for cell in book["cells"]:
        text = source_of(cell).replace(
            '"one_hot_planes", one_hot_planes)', '"one_hot_planes", plans)'
        )
        cell["source"] = text.replace("def one_hot_planes(", "def plans(")
    return book


def helped() -> dict:
    """La réponse s'appuie sur une fonction, une constante et un import d'une autre cellule, plus bas."""
    book = with_body("return assemble(x, y, num_classes)")
    right = source_of(notebook()["cells"][answer_cell(notebook())]).replace(
        "one_hot_planes", "assemble"
    )
    cells = [
        "AXIS = 1",
        right.replace("dim=1", "dim=AXIS"),
        "if AXIS:\n    from torch.nn.functional import one_hot",
    ]
    book["cells"] += [code(source) for source in cells]
    return book


SWALLOW = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass"
THREADS = (
    "import threading, time\nfor i in range(10**5):\n"
    "    threading.Thread(target=time.sleep, args=(99,)).start()"
)
RESTORED = (
    "kept = torch.allclose\ndef fake(*a, **k):\n    torch.allclose = kept\n    return True\n"
    "torch.allclose = fake"
)
SWITCHED = (
    "kept = one_hot_planes.__dict__.setdefault('kept', [])\nkept.append(torch.allclose)\n"
    "torch.allclose = kept[0] if len(kept) > 1 else lambda *a, **k: True"
)
ARGUMENTS = (
    "import multiprocessing, os\nheld = multiprocessing.current_process()._args\nfor a in held:\n"
    f"    if isinstance(a, str):\n        held[-1].send_bytes((a + {'{FORGED}'!r}).encode())\nos._exit(0)"
)
MODE = (
    "from torch.overrides import TorchFunctionMode\nclass Mode(TorchFunctionMode):\n"
    "    def __torch_function__(self, f, types, a=(), k=None):\n"
    "        return True if f is torch.allclose else f(*a, **(k or {}))\nMode().__enter__()"
)
FORGED = '{"passed": true, "held": 4, "outcomes": [], "notice": "", "refusals": [], "state": "réussie"}'

# Nom de la copie → (de quoi la faire, ce qu'elle doit valoir)
COPIES: dict[str, tuple[Callable[[], dict], Expected]] = {
    "parfaite": (notebook, ALL),
    "parfaite aussi": (notebook, ALL),
    "vide": (lambda: notebook(solved=False), Expected((), "reste à écrire")),
    "à moitié": (half_done, Expected(NAMES[:2], "reste à écrire")),
    "cellules effacées": (deleted, Expected((NAMES[0], *NAMES[2:]), "ne définit pas projection_score")),
    "cellules mélangées": (reordered, ALL),
    "cellules en double": (duplicated, ALL),
    "sans métadonnées": (stripped, ALL),
    "format 3": (version_3, ALL),
    "sorties énormes": (with_huge_outputs, ALL),
    "Zoé d'Été, 2e envoi (1)": (notebook, ALL),
    "réponse renommée": (renamed, ALL),
    "réponse en plusieurs cellules": (helped, ALL),
    "faute de syntaxe": (lambda: with_cell("def f(:\n    pass", honest=True), ALL),
    "une réponse fausse": (lambda: with_body("pass"), Expected(OTHERS, "✗")),
    "une valeur au lieu d'une fonction": (lambda: with_cell("one_hot_planes = 3", -1), Expected(OTHERS)),
    "boucle sans fin": (lambda: with_body("while True:\n    pass"), Expected(OTHERS, "boucle sans fin")),
    "boucle qui avale tout": (
        lambda: with_body(SWALLOW),
        Expected(OTHERS, "ne s'est pas laissé interrompre"),
    ),
    "boucle au premier niveau": (lambda: with_cell("while True:\n    pass", honest=True), ALL),
    "exit": (lambda: with_body("exit()"), Expected(OTHERS, "SystemExit")),
    "os._exit": (lambda: with_body("import os\nos._exit(0)"), Expected(OTHERS, "mis fin au programme")),
    "récursion": (lambda: with_body("return one_hot_planes(x, y, num_classes)"), Expected(OTHERS, "✗")),
    "BaseException": (lambda: with_body("raise BaseException('non')"), Expected(OTHERS, "✗")),
    "segfault": (
        lambda: with_body("import faulthandler\nfaulthandler._sigsegv()"),
        Expected(OTHERS, "fait tomber Python"),
    ),
    "bavarde": (lambda: with_body("for i in range(3000):\n    print('encore', i)", honest=True), ALL),
    "fils sans fin": (
        lambda: with_body(THREADS),
        Expected(OTHERS),
    ),
    "écrit ailleurs": (
        lambda: with_body("open(r'{outside}', 'w').write('a')", honest=True),
        Expected(OTHERS, "écrire"),
    ),
    "efface ailleurs": (
        lambda: with_body("import os\nos.remove(r'{outside}.là')", honest=True),
        Expected(OTHERS, "modifier"),
    ),
    "lit le maître": (lambda: with_body(f"exec(open(r'{MASTER}').read())"), Expected(OTHERS, "lire")),
    "lit les vérifications": (
        lambda: with_body(
            f"open(r'{ROOT / 'gan_course' / 'exercises' / 'chapter03.py'}').read()", honest=True
        ),
        Expected(OTHERS, "lire"),
    ),
    "réseau": (
        lambda: with_body("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)"),
        Expected(OTHERS, "réseau"),
    ),
    "programme": (
        lambda: with_body("import subprocess\nsubprocess.run(['true'])", honest=True),
        Expected(OTHERS, "programme"),
    ),
    "fork": (lambda: with_body("import os\nwhile True:\n    os.fork()"), Expected(OTHERS, "processus")),
    "check redéfini": (lambda: with_cell("def check(*a):\n    print('réussi')"), Expected(OTHERS)),
    "points affichés": (lambda: with_cell("print('Exercice : réussi'); total = 6"), Expected(OTHERS)),
    "PyTorch modifié en haut": (
        lambda: with_cell("import torch\ntorch.allclose = lambda *a, **k: True"),
        Expected(OTHERS),
    ),
    "PyTorch modifié dedans": (
        lambda: with_body("torch.allclose = lambda *a, **k: True"),
        Expected(OTHERS, "a été modifié"),
    ),
    "PyTorch modifié puis remis": (
        lambda: with_body(RESTORED),
        Expected(OTHERS, "a été modifié"),
    ),
    "PyTorch remis à l'appel suivant": (
        lambda: with_body(SWITCHED, honest=True),
        Expected(OTHERS, "a été modifié"),
    ),
    "exercices modifiés": (
        lambda: with_cell("from gan_course.exercises import EXERCISES\nEXERCISES['one_hot_planes'] = None"),
        Expected(OTHERS),
    ),
    "paquet modifié": (
        lambda: with_body("import gan_course.exercises.report as r\nr.expect_close = print"),
        Expected(OTHERS, "pas de prendre"),
    ),
    "paquet cherché": (
        lambda: with_body("r = __import__('gan_course.exercises.report')"),
        Expected(OTHERS, "n'importe pas"),
    ),
    "réponse du paquet": (
        lambda: with_cell("from gan_course.models.conditional import join as one_hot_planes", -1),
        Expected(OTHERS, "pas de prendre celle du paquet"),
    ),
    "remonte la pile": (
        lambda: with_body("import sys\nsys._getframe(1)"),
        Expected(OTHERS, "vérification elle-même"),
    ),
    "remonte la pile, masquée": (
        lambda: with_body("import sys\ngetattr(sys, '_get' + 'frame')(1)", honest=True),
        Expected(OTHERS, "qui l'appelle"),
    ),
    "résultat forgé": (
        lambda: with_body(
            f"import os\nfor d in range(3, 80):\n    try:\n        os.write(d, {FORGED!r}.encode())\n"
            "    except OSError:\n        pass\nos._exit(0)"
        ),
        Expected(OTHERS, "mis fin au programme"),
    ),
    "résultat forgé, arguments lus": (
        lambda: with_body(ARGUMENTS.replace("{FORGED}", FORGED)),
        Expected(OTHERS, "mis fin au programme"),
    ),
    "remonte la pile, par logging": (
        lambda: with_body("import logging\ngetattr(logging, 'current' + 'frame')()", honest=True),
        Expected(OTHERS, "qui l'appelle"),
    ),
    "mode de PyTorch": (lambda: with_body(MODE, honest=True), Expected(OTHERS, "a été modifié par la réponse")),
    "appareil par défaut": (lambda: with_body("torch.set_default_device('cpu')", honest=True), ALL),
    "variables d'environnement": (
        lambda: with_body("import os\nprint('variables :', sorted(os.environ))", honest=True),
        Expected(NAMES, "variables :"),
    ),
    "tenseur menteur": (
        lambda: with_body(
            "class Liar(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, f, t, a=(), k=None):\n"
            "        return torch.tensor(True)\nreturn torch.ones(1).as_subclass(Liar)"
        ),
        Expected(OTHERS, "✗"),
    ),
}
if sys.platform.startswith("linux"):  # ailleurs, rien ne borne la mémoire
    COPIES["mémoire"] = (
        lambda: with_body("kept = []\nwhile True:\n    kept.append(bytearray(10**7))"),
        Expected(OTHERS),
    )
    # torch.save écrit sans passer par open de Python : le guet ne le voit pas, Landlock si.
    COPIES["écrit sans Python"] = (lambda: with_body("torch.save(x, r'{outside}')"), Expected(OTHERS))

FILES: dict[str, tuple[bytes, str]] = {
    "tronquée.ipynb": (b'{"cells": [{"cell_type": "code", "sour', "JSON"),
    "liste.ipynb": (b"[1, 2]", "pas un carnet"),
    "rien.ipynb": (b"", "vide"),
    "binaire.ipynb": (bytes(range(256)) * 9, "JSON"),
    "copie.docx": (b"PK", "extension .docx"),
    "copie.ipynb.txt": (b"{}", "extension .txt"),
    "=1+1.ipynb": (b"{}", "pas un carnet"),
}


def build(folder: Path, outside: Path) -> dict[str, Expected]:
    """Écrit la classe dans `folder` ; `outside` est le chemin que certaines copies voudraient écrire."""
    expected = {}
    for name, (make, worth) in COPIES.items():
        text = json.dumps(make(), ensure_ascii=False).replace("{outside}", str(outside).replace("\\", "\\\\"))
        place = folder / ("groupe B" if name == "parfaite aussi" else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.ipynb").write_text(text, encoding="utf-8-sig" if name == "format 3" else "utf-8")
        expected[(place / f"{name}.ipynb").relative_to(folder).as_posix()] = worth
    for name, (data, word) in FILES.items():
        (folder / name).write_bytes(data)
        expected[name] = Expected((), word)
    return expected
