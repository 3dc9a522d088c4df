"""Où l'on en est : ce que check et hint ont vu passer, en image et dans un fichier que l'on peut rendre."""

import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_course import __version__
from gan_course.exercises.report import Report

if TYPE_CHECKING:  # matplotlib n'est chargé que pour dessiner
    from matplotlib.figure import Figure

FORMAT = 1
COLUMNS = 8  # carrés par ligne : au-delà, les noms ne se lisent plus

# État : couleur (palette d'Okabe et Ito), signe, couleur du signe. Le signe suffit, sans la couleur.
STATES = {
    "réussi": ("#0072B2", "✓", "white"),
    "essayé": ("#E69F00", "…", "black"),
    "pas encore essayé": ("#F0F0F0", "", "black"),
}


@dataclass
class Entry:
    """Ce que l'on sait d'un exercice. hints : indices demandés à hint ; first, last : dates du premier et du dernier
    essai, ISO 8601, ou vides."""

    passed: bool = False
    tries: int = 0
    hints: int = 0
    first: str = ""
    last: str = ""

    @property
    def state(self) -> str:
        """L'un des noms de STATES."""
        return "réussi" if self.passed else "essayé" if self.tries else "pas encore essayé"

    def merged(self, newer: "Entry") -> "Entry":
        """Ce que l'on sait en tout, `newer` étant venu après. Une réussite reste acquise."""
        dates = [date for date in (self.first, newer.first, self.last, newer.last) if date]
        tries, hints = self.tries + newer.tries, max(self.hints, newer.hints)
        passed = self.passed or newer.passed
        return Entry(passed, tries, hints, min(dates, default=""), max(dates, default=""))


_unsaved: dict[str, Entry] = {}  # depuis la dernière écriture
_saved: dict[str, Entry] = {}  # tel qu'écrit la dernière fois, si le fichier disparaît


def record(report: Report) -> None:
    """Retient le résultat d'une vérification ; une réponse pas encore écrite n'est pas un essai."""
    if not report.unwritten:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        known = _unsaved.get(report.name, Entry())
        _unsaved[report.name] = known.merged(Entry(report.passed, 1, 0, now, now))


def record_hint(name: str, number: int) -> None:
    """Retient que l'indice `number` a été demandé."""
    _unsaved[name] = _unsaved.get(name, Entry()).merged(Entry(hints=number))


def save(path: str | Path, name: str = "") -> dict[str, Entry]:
    """Ajoute au fichier `path` ce qui s'est passé depuis la dernière écriture, et rend le tout, par exercice.

    Le fichier est écrit à côté puis renommé : il est entier ou inchangé. S'il ne peut pas l'être, le dit sans rien
    perdre. `name` remplace le nom déjà écrit, s'il n'est pas vide.
    """
    path = Path(path).expanduser()
    owner, entries = _load(path)
    for exercise, entry in _unsaved.items():
        entries[exercise] = entries.get(exercise, Entry()).merged(entry)
    content = {
        "format": FORMAT,
        "name": name or owner,
        "version": __version__,
        "exercises": {
            exercise: {"tried": entry.tries > 0, **asdict(entry)} for exercise, entry in entries.items()
        },
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partiel")
    try:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        print(f"{path.name} n'a pas pu être écrit ({error.strerror}) ; essayez un autre dossier : path=…")
        return entries
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _unsaved.clear()
    _saved.clear()
    _saved.update(entries)
    return entries


def _load(path: Path) -> tuple[str, dict[str, Entry]]:
    """Le nom et les exercices du fichier. Illisible, il est mis de côté, et cela est dit."""
    try:
        return _read(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return "", dict(_saved)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        aside = path.with_name(f"{path.stem}.illisible-{datetime.now():%Y%m%d-%H%M%S-%f}{path.suffix}")
        try:
            path.rename(aside)
            print(
                f"{path.name} est illisible : il est gardé sous le nom {aside.name}, et l'on repart de cette séance."
            )
        except OSError:
            print(f"{path.name} est illisible et ne peut pas être mis de côté.")
        return "", dict(_saved)


def _read(content: dict[str, Any]) -> tuple[str, dict[str, Entry]]:
    if content["format"] != FORMAT or not isinstance(content["name"], str):
        raise ValueError
    entries = {}
    for exercise, fields in content["exercises"].items():
        entry = Entry(**{key: fields[key] for key in asdict(Entry())})
        if not all(
            type(value) is type(default)
            for value, default in zip(asdict(entry).values(), asdict(Entry()).values())
        ):
            raise ValueError
        entries[exercise] = entry
    return content["name"], entries


def draw(chapters: Mapping[str, Iterable[str]], entries: Mapping[str, Entry]) -> "Figure":
    """Une ligne par chapitre, un carré par exercice : réussi, essayé, pas encore essayé."""
    from gan_course.figures import new_figure

    known = {name: entries.get(name, Entry()) for names in chapters.values() for name in names}
    rows = [
        (f"Chapitre {chapter}" if start == 0 else "", list(names)[start : start + COLUMNS])
        for chapter, names in chapters.items()
        for start in range(0, len(list(names)), COLUMNS)
    ]
    figure = new_figure(8.0, 0.72 * len(rows) + 0.8, layout="constrained")
    ax = figure.subplots()
    for y, (title, names) in enumerate(rows):
        ax.text(-0.15, y, title, ha="right", va="center", fontsize=9)
        for x, name in enumerate(names):
            _square(ax, x, y, name, known[name].state)
    done = sum(entry.passed for entry in known.values())
    ax.set(xlim=(-1.3, COLUMNS), ylim=(len(rows) - 0.3, -0.5))
    ax.set_title(
        f"{done} exercice{'s' if done > 1 else ''} réussi{'s' if done > 1 else ''} sur {len(known)}",
        fontsize=11,
    )
    ax.axis("off")
    handles = [_patch(color, label) for label, (color, _, _) in STATES.items()]
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False, fontsize=8
    )
    return figure


def _square(ax: Any, x: int, y: int, name: str, state: str) -> None:
    from matplotlib.patches import Rectangle

    color, sign, ink = STATES[state]
    ax.add_patch(
        Rectangle((x + 0.25, y - 0.3), 0.5, 0.4, facecolor=color, edgecolor="#555555", linewidth=0.8)
    )
    ax.text(x + 0.5, y - 0.1, sign, ha="center", va="center", fontsize=11, color=ink)
    label = "_\n".join(textwrap.wrap(name.replace("_", " "), 14)).replace(" ", "_")
    ax.text(x + 0.5, y + 0.14, label, ha="center", va="top", fontsize=6.5, linespacing=1.0, parse_math=False)


def _patch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color, edgecolor="#555555", label=label)
