"""Exécuter les chapitres, les rendre en pages HTML, et dire comment continuer.

Les outils (papermill, nbconvert) forment l'extra « cours » et ne sont importés qu'au moment de servir.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gan_course.tools import html
from gan_course.tools.notebook import find_chapters, find_root, parameter_lines, read_notebook, read_title

ANSI_ERASE_LINE = "\r\x1b[2K"
FAILED = "échec"


@dataclass(frozen=True)
class Outcome:
    """Ce qu'il est advenu d'un chapitre : secondes passées, verdict, et page HTML s'il y en a une."""

    name: str
    title: str
    seconds: float
    verdict: str
    page: str | None = None


def read_overrides(pairs: list[str]) -> dict[str, Any]:
    """Lit ["SEED=3", "MODE=cours"] en {"SEED": 3, "MODE": "cours"} ; ValueError si un « = » manque."""
    overrides = {}
    for pair in pairs:
        name, equal, value = pair.partition("=")
        if not equal or not name.isidentifier():
            raise ValueError(f"-p attend NOM=VALEUR, par exemple -p SEED=3 ; reçu : « {pair} ».")
        try:
            overrides[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            overrides[name] = value  # un mot nu, comme cours, est un texte
    return overrides


def read_parameters(path: Path) -> dict[str, str]:
    """Les noms définis par la cellule étiquetée `parameters` du carnet, et le code de leur valeur."""
    return {name: ast.unparse(value) for name, value, _ in parameter_lines(read_notebook(path))}


def check_parameters(notebook: Path, parameters: dict[str, Any]) -> None:
    """Refuse (ValueError) un paramètre que la cellule `parameters` du carnet ne définit pas.

    papermill se contente d'un avertissement, et le carnet tournerait avec la valeur que l'on croyait changer.
    """
    known = list(read_parameters(notebook))
    for name in set(parameters) - set(known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Vouliez-vous dire {near[0]} ?" if near else ""
        raise ValueError(
            f"{notebook.name} n'a pas de paramètre « {name} ».{hint} Ses paramètres : {', '.join(known) or 'aucun'}."
        )


@contextmanager
def kernel_environment() -> Iterator[None]:
    """Le temps d'une exécution, fait importer ce dépôt-ci aux noyaux, et leur fait rendre leurs figures."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    # Un MPLBACKEND=agg hérité ôterait toutes les figures des pages.
    wanted = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "GAN_COURSE_STATIC": "1",  # une page HTML n'a personne pour bouger un curseur : des images à la place
    }
    with patch.dict(os.environ, wanted):  # remet tout en place ensuite
        yield


def kernel_manager_class() -> type:
    """Classe de noyaux Jupyter lancés par l'interpréteur courant, quels que soient ceux déclarés sur la machine."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class CurrentInterpreter(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            # Sans dossier où chercher, « python3 » est le noyau d'ipykernel lui-même : sys.executable.
            return KernelSpecManager(kernel_dirs=[])

    return CurrentInterpreter


def execute(
    notebook: Path, output: Path, parameters: dict[str, Any], on_cell: Callable[[int], None] = lambda index: None
) -> None:
    """Exécute un carnet avec ces paramètres et écrit le carnet exécuté, erreur comprise, dans `output`.

    Le dossier de travail est vide et jetable : comme dans Colab, le carnet ne peut compter sur aucun fichier voisin,
    ni reprendre par mégarde l'entraînement d'une autre fois. `on_cell(i)` est appelée au début de la cellule i.
    Lève ValueError pour un paramètre inconnu, et laisse passer les erreurs de papermill.
    """
    import papermill

    check_parameters(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, kernel_environment():
        papermill.execute_notebook(
            str(notebook.resolve()), str(output.resolve()), parameters, kernel_name="python3", language="python",
            progress_bar=False, cwd=folder, kernel_manager_class=kernel_manager_class(),
            on_cell_start=lambda cell, cell_index: on_cell(cell_index),
            # Les noyaux récents avertissent, à chaque chapitre, que la machine se parle à elle-même sans chiffrer.
            extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip


def describe_failure(error: Exception) -> str:
    """Dit en français quelle cellule a échoué et pourquoi, à partir d'une erreur de papermill."""
    if not hasattr(error, "ename"):
        return f"le noyau s'est arrêté ({type(error).__name__} : {error}). Mémoire épuisée, peut-être."
    source = "\n".join(f"    {line}" for line in error.source.strip().splitlines()[:12])
    return f"la cellule [{error.exec_count}] a échoué.\n{source}\n    {error.ename} : {error.evalue}"


def run_chapter(notebook: Path, output: Path, parameters: dict[str, Any]) -> Outcome:
    """Exécute un chapitre, en écrit la page, et affiche une ligne de progression."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    title, count = read_title(notebook)
    name, live, start = notebook.stem, sys.stdout.isatty(), time.perf_counter()
    if not live:
        print(f"{name} : {count} cellules, en cours", flush=True)

    def progress(index: int) -> None:
        if live:
            seconds = time.perf_counter() - start
            print(f"{ANSI_ERASE_LINE}{name} : cellule {index + 1}/{count}, {seconds:.0f} s", end="", flush=True)

    executed = output / notebook.name
    verdict, explanation = "réussi", ""
    try:
        execute(notebook, executed, parameters, progress)
    except (PapermillExecutionError, DeadKernelError) as error:
        verdict, explanation = FAILED, describe_failure(error)
    seconds = time.perf_counter() - start
    page = html.write_chapter(executed, notebook.parent, title) if executed.exists() else None
    print(f"{ANSI_ERASE_LINE if live else ''}{name} : {verdict} en {seconds:.0f} s", flush=True)
    if explanation:
        print(f"{name} : {explanation}", flush=True)
    return Outcome(name, title, seconds, verdict, page)


def run(mode: str, numbers: list[str] | None, output: Path, overrides: dict[str, Any] | None = None) -> int:
    """Exécute les chapitres dans `mode` et écrit leurs pages dans `output`.

    Rend 0 si tous réussissent, 1 si l'un échoue (les autres sont exécutés quand même), 130 après Ctrl-C.
    Lève ValueError pour un chapitre ou un paramètre inconnu, avant d'exécuter quoi que ce soit.
    """
    require("papermill", "nbconvert", "ipykernel", "mathjax")
    chapters = find_chapters(find_root() / "notebooks", numbers)
    parameters = {"MODE": mode, **(overrides or {})}
    for chapter in chapters:
        check_parameters(chapter, parameters)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Impossible d'écrire dans {output} ({error.strerror}). Changez --sortie.") from error
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for chapter in chapters:
            outcomes.append(run_chapter(chapter, output, parameters))
    except KeyboardInterrupt:
        print("\nInterrompu : ce qui est terminé est gardé.", flush=True)
        left = chapters[len(outcomes) :]
        outcomes += [Outcome(path.stem, read_title(path)[0], 0, "non terminé") for path in left]
        interrupted = True
    failed = any(outcome.verdict == FAILED for outcome in outcomes)
    index = html.write_index(output, outcomes, mode)
    print(summary_table(outcomes))
    print(next_steps(index, mode, failed))
    return 130 if interrupted else int(failed)


def summary_table(outcomes: list[Outcome]) -> str:
    """Le tableau final : chapitre, secondes, verdict."""
    width = max(len(name) for name in ("Chapitre", *(outcome.name for outcome in outcomes)))
    lines = ["", f"{'Chapitre':<{width}}  Secondes  Verdict"]
    lines += [f"{o.name:<{width}}  {o.seconds:8.0f}  {o.verdict}" for o in outcomes]
    lines.append(f"{'Total':<{width}}  {sum(o.seconds for o in outcomes):8.0f}")
    return "\n".join(lines)


def next_steps(index: Path, mode: str, failed: bool = False) -> str:
    """Ce que l'on peut faire ensuite."""
    lines = ["", f"Les pages : {index}"]
    if failed:
        lines.append("La page d'un chapitre en échec montre l'erreur. Ce qui manque à cette machine : "
                     "python -m gan_course doctor")  # fmt: skip
    if mode == "eclair":
        lines.append("Les réseaux n'ont presque pas appris : c'était le mode éclair, qui vérifie que tout marche.")
        lines.append("La leçon entière      : make cours MODE=cours      (python -m gan_course run --mode cours)")
    lines.append("Exécuter pas à pas    : make lab                   (python -m gan_course lab)")
    lines.append("Sur un GPU, sans rien installer : les badges Colab du README.")
    return "\n".join(lines)


def require(*modules: str) -> None:
    """Lève ImportError, en disant quoi installer, si l'un de ces modules manque."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Il manque {', '.join(missing)}. Installez de quoi exécuter les carnets : "
            'python -m pip install -e ".[cours]"'
        )


def open_lab() -> int:
    """Ouvre JupyterLab sur notebooks/ et rend son code de sortie.

    La racine du serveur est le dépôt, pour que ../imgs/ s'affiche. Les maîtres, qui portent les solutions, ne sont pas
    dans la liste des fichiers : leur auteur les ouvre par leur chemin.
    """
    require("jupyterlab", "ipykernel")
    options = [f"--ServerApp.root_dir={find_root()}", "--LabApp.default_url=/lab/tree/notebooks"]
    options.append(f"--ContentsManager.hide_globs={['__pycache__', '*.pyc', 'sources']}")
    with kernel_environment():
        del os.environ["MPLBACKEND"], os.environ["GAN_COURSE_STATIC"]
        return subprocess.call([sys.executable, "-m", "jupyterlab", *options])
