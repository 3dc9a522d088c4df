"""Un chapitre et ses deux visages : du carnet-maître viennent celui de l'étudiant et celui qui est résolu.

Le maître, `notebooks/sources/NN_nom.ipynb`, est le carnet entier. Dans ses cellules de réponse, la solution est entre
deux lignes, celles de nbgrader :

    def generator_loss(fake_logits):
        ### BEGIN SOLUTION
        return F.softplus(-fake_logits).mean()
        ### END SOLUTION

Dans le carnet de l'étudiant, une solution décalée (le corps d'une fonction) devient `raise NotImplementedError`, au
même décalage ; une solution écrite tout à gauche devient un commentaire, et le carnet s'exécute de bout en bout.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan_course.tools.notebook import code_of, read_notebook, rewritten, source_of

FOLDER = "sources"
TO_WRITE = "# À vous d'écrire ici."
_BEGIN, _END = re.compile(r"\s*### BEGIN SOLUTION\s*"), re.compile(r"\s*### END SOLUTION\s*")


def to_student(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """Le carnet de l'étudiant : le maître sans ses solutions, mêmes cellules, mêmes identifiants.

    Lève ValueError, en nommant le carnet `name` et la cellule, si une marque manque, est de trop ou en contient une
    autre, si une cellule attend une réponse que le maître ne donne pas, ou n'est plus du Python une fois vidée.
    """
    student = _rewrite(notebook, name, lambda lines: [_stub(lines)])
    for cell in student["cells"]:
        text = source_of(cell)
        if cell["cell_type"] == "code" and (TO_WRITE in text or "raise NotImplementedError" in text):
            _refuse_bad_syntax(text, f"{name}, cellule « {cell.get('id', '?')} »")
    return student


def to_solved(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """Le carnet résolu : le maître sans ses marques. Lève ValueError comme to_student."""
    return _rewrite(notebook, name, lambda lines: lines)


def read_answers(notebook: dict[str, Any], name: str) -> dict[str, str]:
    """{exercice : nom de la réponse}, lu dans les appels check("exercice", réponse) du maître, dans leur ordre.

    Lève ValueError si la réponse vérifiée n'est définie dans aucune cellule qui porte une solution.
    """
    answers: dict[str, str] = {}
    solved: set[str] = set()
    for text in code_of(notebook):
        tree = parse_cell(text)
        if any(_BEGIN.fullmatch(line) for line in text.splitlines()):
            solved |= defined_names(tree)
        for exercise, answer in checked(tree):
            if answer not in solved:
                raise ValueError(
                    f'{name} : check("{exercise}", {answer}) vérifie une réponse que le maître ne donne pas. '
                    f"Définissez {answer} dans une cellule qui porte ### BEGIN SOLUTION et ### END SOLUTION."
                )
            answers[exercise] = answer
    return answers


def checked(tree: ast.AST) -> list[tuple[str, str]]:
    """Les couples (exercice, nom de la réponse) des appels check("exercice", réponse) d'un code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check":
            match node.args:
                case [ast.Constant(value=str(exercise)), ast.Name(id=answer)]:
                    found.append((exercise, answer))
    return found


def defined_names(tree: ast.Module) -> set[str]:
    """Les noms qu'un code définit à son premier niveau : fonctions, classes, affectations simples."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names


def student_notebook(master: Path) -> dict[str, Any]:
    """Le carnet de l'étudiant, lu dans un maître. Lève ValueError pour une réponse sans solution, ou sans exercice."""
    from gan_course.exercises import find  # charge torch

    notebook = read_notebook(master)
    for exercise in read_answers(notebook, master.name):
        find(exercise)
    return to_student(notebook, master.name)


def _rewrite(notebook: dict[str, Any], name: str, replace: Callable[[list[str]], list[str]]) -> dict[str, Any]:
    """Une copie du carnet où `replace` dit ce que devient chaque solution ; sorties et compteurs sont retirés."""

    def change(text: str, cell: dict[str, Any]) -> str:
        if cell["cell_type"] != "code":
            return text
        cell["outputs"], cell["execution_count"] = [], None
        lines = text.splitlines(keepends=True)
        return "".join(_rewrite_cell(lines, replace, f"{name}, cellule « {cell.get('id', '?')} »"))

    return rewritten(notebook, change)


def _rewrite_cell(lines: list[str], replace: Callable[[list[str]], list[str]], where: str) -> list[str]:
    """Les lignes d'une cellule, chaque solution remplacée ; ValueError si les marques ne vont pas par deux."""
    kept: list[str] = []
    solution: list[str] | None = None
    for line in lines:
        if _BEGIN.fullmatch(line):
            if solution is not None:
                raise ValueError(f"{where} : une solution en contient une autre. Fermez d'abord la première.")
            solution = []
        elif _END.fullmatch(line):
            if solution is None:
                raise ValueError(f"{where} : ### END SOLUTION sans ### BEGIN SOLUTION au-dessus.")
            if not any(text.strip() and not text.lstrip().startswith("#") for text in solution):
                raise ValueError(f"{where} : la solution est vide. Écrivez-la entre les deux marques.")
            kept += replace(solution)
            solution = None
        elif "BEGIN SOLUTION" in line or "END SOLUTION" in line:
            raise ValueError(f"{where} : marque illisible, « {line.strip()} ». Elle est seule sur sa ligne, avec ###.")
        elif solution is not None:
            solution.append(line)
        elif "raise NotImplementedError" in line:
            raise ValueError(
                f"{where} attend une réponse et le maître ne la donne pas. Remplacez raise NotImplementedError "
                "par la solution, entre ### BEGIN SOLUTION et ### END SOLUTION."
            )
        else:
            kept.append(line)
    if solution is not None:
        raise ValueError(f"{where} : ### BEGIN SOLUTION sans ### END SOLUTION au-dessous.")
    if kept and lines and not lines[-1].endswith("\n"):
        kept[-1] = kept[-1].removesuffix("\n")
    return kept


def _stub(solution: list[str]) -> str:
    """Ce que l'étudiant trouve à la place d'une solution, au décalage de celle-ci."""
    first = next(line for line in solution if line.strip())
    indent = first[: len(first) - len(first.lstrip())]
    return f"{indent}raise NotImplementedError\n" if indent else f"{TO_WRITE}\n"


def parse_cell(text: str) -> ast.Module:
    """L'arbre du code d'une cellule, sans ses lignes propres à Jupyter (%, !). Lève SyntaxError si rien n'y fait."""
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.parse(re.sub(r"^([ \t]*)[%!].*$", r"\1pass", text, flags=re.MULTILINE))


def _refuse_bad_syntax(text: str, where: str) -> None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise ValueError(
            f"{where} : sans sa solution, ce n'est plus du Python (ligne {error.lineno}). Mettez entre les marques des "
            "instructions entières."
        ) from error
