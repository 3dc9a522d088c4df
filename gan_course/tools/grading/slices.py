"""Trouver une réponse dans une copie, et le peu de code dont elle dépend.

Une tranche est faite d'instructions du premier niveau qui définissent un nom : import, def, class, affectation. Le
reste d'un carnet (boucles, entraînements, appels, affectation à un attribut d'un module) n'est jamais exécuté.
"""

import ast
import symtable
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gan_course.tools.solutions import checked, parse_cell

MAX_CANDIDATES = 3  # une copie peut garder plusieurs essais ; on éprouve les derniers


@dataclass(frozen=True)
class Statement:
    """Une définition : le nœud, sa cellule (numérotée à partir de 1), les noms qu'elle donne et ceux qu'elle lit."""

    node: ast.stmt
    cell: int
    gives: frozenset[str]
    reads: frozenset[str]
    changes: bool = False  # nom[clé] = …, qui complète une définition précédente


@dataclass
class Program:
    """Les définitions d'un carnet, les noms qu'il fait vérifier, le texte de ses cellules, et ce qu'il faut en dire."""

    statements: list[Statement] = field(default_factory=list)
    checked: list[tuple[str, str]] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_program(cells: Sequence[str]) -> Program:
    """Les définitions de ces cellules de code ; une cellule qui n'est pas du Python est sautée, et on le dit."""
    program = Program(cells=list(cells))
    for number, text in enumerate(cells, start=1):
        try:
            tree = parse_cell(text)
            program.statements += [found for node in tree.body if (found := _statement(node, number))]
            program.checked += checked(tree)
        except (SyntaxError, ValueError) as error:  # ValueError : un octet nul
            line = f", ligne {error.lineno}" if getattr(error, "lineno", None) else ""
            program.remarks.append(f"cellule de code {number} illisible (erreur de syntaxe{line})")
        except (RecursionError, MemoryError):
            program.remarks.append(f"cellule de code {number} trop compliquée pour être lue")
    return program


def candidates(program: Program, names: Iterable[str]) -> list[list[Statement]]:
    """Les réponses possibles de ces noms, la dernière d'abord, sans celles qui restent à écrire."""
    found: list[list[Statement]] = []
    for name in names:
        mine: list[list[Statement]] = []
        for statement in program.statements:
            if name not in statement.gives:
                continue
            if statement.changes and mine:
                mine[-1].append(statement)
            else:
                mine.append([statement])
        found += [group for group in reversed(mine) if not is_stub(group[0].node)]
    return found[:MAX_CANDIDATES]


def is_defined(program: Program, names: Iterable[str]) -> bool:
    """Vrai si la copie définit l'un de ces noms, fût-ce sans l'avoir écrit."""
    return any(statement.gives & set(names) for statement in program.statements)


def cut(program: Program, answer: list[Statement], support: Program, reserved: Iterable[str]) -> list[tuple]:
    """La tranche d'une réponse : [(programme, instruction)], à exécuter dans cet ordre.

    support : le carnet distribué, pour les noms que la copie a perdus. reserved : les noms de la réponse, dont les
    autres définitions sont laissées de côté.
    """
    kept = {id(statement): statement for statement in answer}
    lent: dict[int, Statement] = {}
    stars = [statement for statement in program.statements if "*" in statement.gives]
    kept.update({id(statement): statement for statement in stars})
    todo, seen = list(answer), set(reserved)
    while todo:
        for name in todo.pop().reads - seen:
            seen.add(name)
            for source, chosen in ((program, kept), (support, lent)):
                found = [s for s in source.statements if name in s.gives and not is_unwritten(s.node)]
                chosen.update({id(statement): statement for statement in found})
                todo += found
                if found:
                    break
    ordered = [(support, s) for s in support.statements if id(s) in lent]
    return ordered + [(program, s) for s in program.statements if id(s) in kept]


def is_stub(node: ast.stmt) -> bool:
    """Vrai pour une réponse qui reste à donner : une fonction non écrite, ou nom = None."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return isinstance(node.value, ast.Constant) and node.value.value in (None, ...)
    return is_unwritten(node)


def is_unwritten(node: ast.stmt) -> bool:
    """Vrai pour une fonction dont le corps n'est que raise NotImplementedError, pass ou …"""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        or (isinstance(line, ast.Raise) and line.exc is not None and "NotImplementedError" in ast.dump(line.exc))
        for line in node.body
    )


def course_imports(statements: Iterable[Statement]) -> set[str]:
    """Ce que ces instructions prennent au paquet du cours, à toute profondeur : {"gan_course.latent.slerp"}."""
    taken = set()
    for statement in statements:
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Import):
                taken |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                taken |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in taken if name.split(".")[0] == "gan_course"}


def _statement(node: ast.stmt, cell: int) -> Statement | None:
    node = _definitions_only(node)
    gives = _gives(node)
    if not gives:
        return None
    changes = isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Assign) and any(isinstance(target, ast.Subscript) for target in node.targets)
    )
    reads = _reads(symtable.symtable(ast.unparse(node), "<copie>", "exec"))
    return Statement(node, cell, frozenset(gives), frozenset(reads | (gives if changes else set())), changes)


def _definitions_only(node: ast.stmt) -> ast.stmt:
    """Un if ou un try du premier niveau, réduit à ses définitions."""
    for part in ("body", "orelse", "finalbody"):
        if isinstance(node, ast.If | ast.Try) and getattr(node, part, None):
            setattr(node, part, _kept(getattr(node, part)) or ([ast.Pass()] if part == "body" else []))
    for handler in getattr(node, "handlers", ()):
        handler.body = _kept(handler.body) or [ast.Pass()]
    if isinstance(node, ast.Try) and not (node.handlers or node.finalbody):
        node.finalbody = [ast.Pass()]
    return ast.fix_missing_locations(node)


def _kept(body: list[ast.stmt]) -> list[ast.stmt]:
    return [line for line in (_definitions_only(line) for line in body) if _gives(line)]


def _gives(node: ast.AST) -> set[str]:
    """Les noms que définit une instruction ; vide si elle fait autre chose, ou davantage."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Import():
            return {alias.asname or alias.name.split(".")[0] for alias in node.names}
        case ast.ImportFrom():
            return {alias.asname or alias.name for alias in node.names}
        case ast.Assign():
            names = [_target(target) for target in node.targets]
            return set().union(*names) if all(names) else set()
        case ast.AnnAssign() | ast.AugAssign():
            return _target(node.target) if node.value else set()
        case ast.If() | ast.Try():
            lines = node.body + node.orelse + getattr(node, "finalbody", [])
            lines += [line for handler in getattr(node, "handlers", ()) for line in handler.body]
            return set().union(*(_gives(line) for line in lines))
    return set()


def _target(node: ast.expr) -> set[str]:
    match node:
        case ast.Name() | ast.Starred(value=ast.Name()) | ast.Subscript(value=ast.Name()):
            inner = node if isinstance(node, ast.Name) else node.value
            return {inner.id}
        case ast.Tuple() | ast.List():
            names = [_target(element) for element in node.elts]
            return set().union(*names) if all(names) else set()
    return set()


def _reads(table: symtable.SymbolTable) -> set[str]:
    """Les noms globaux que lit un code, ses fonctions comprises ; leurs variables locales n'en sont pas."""
    top = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return names.union(*(_reads(child) for child in table.get_children()))
