"""Où l'on en est : ce que check, hint et quiz ont vu passer, gardé aussitôt dans un fichier, et montré en image."""

import json
import os
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_course import __version__
from gan_course.engine.files import atomic_write, lock
from gan_course.exercises.report import Report

if TYPE_CHECKING:  # matplotlib n'est chargé que pour dessiner
    from matplotlib.figure import Figure

FORMAT = 1
FILE = "progression.json"
DRIVE = Path("/content/drive/MyDrive")  # un Drive monté dans Colab
LOCK_WAIT = 5.0  # secondes ; écrire quelques Ko n'en prend jamais tant
COLUMNS = 8  # carrés par ligne : au-delà, les noms ne se lisent plus

# État : couleur (palette d'Okabe et Ito), signe, couleur du signe. Le signe suffit, sans la couleur.
STATES = {
    "réussi": ("#0072B2", "✓", "white"),
    "essayé": ("#E69F00", "…", "black"),
    "pas encore essayé": ("#F0F0F0", "", "black"),
}


@dataclass(frozen=True)
class Entry:
    """Ce que l'on sait d'un exercice ou d'une question. hints : indices demandés à hint ; first, last : dates du
    premier et du dernier essai, ISO 8601, ou vides."""

    passed: bool = False
    tries: int = 0
    hints: int = 0
    first: str = ""
    last: str = ""

    @property
    def state(self) -> str:
        """L'un des noms de STATES."""
        return "réussi" if self.passed else "essayé" if self.tries else "pas encore essayé"

    def tried(self, passed: bool) -> "Entry":
        """La même, après un essai de plus. Une réussite reste acquise."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return Entry(self.passed or passed, self.tries + 1, self.hints, self.first or now, now)

    def merged(self, other: "Entry") -> "Entry":
        """Ce que savent l'une ou l'autre. Réunir deux fois n'ajoute rien : peu importe qui relit quoi, et quand."""
        dates = [date for date in (self.first, other.first, self.last, other.last) if date]
        tries, hints = max(self.tries, other.tries), max(self.hints, other.hints)
        return Entry(
            self.passed or other.passed, tries, hints, min(dates, default=""), max(dates, default="")
        )


_known: dict[str, Entry] = {}  # ce que ce processus sait : le fichier et lui ne font que se compléter
_told: set[Path] = set()  # où l'on n'a pas pu écrire : c'est dit une fois


def record(report: Report) -> None:
    """Retient le résultat d'une vérification ; une réponse pas encore écrite n'est pas un essai."""
    if not report.unwritten:
        _learn(report.name, lambda entry: entry.tried(report.passed))


def record_hint(name: str, number: int) -> None:
    """Retient que l'indice `number` a été demandé."""
    _learn(name, lambda entry: replace(entry, hints=max(entry.hints, number)))


def record_answer(name: str, right: bool) -> None:
    """Retient la réponse donnée à une question."""
    _learn(name, lambda entry: entry.tried(right))


def places() -> list[Path]:
    """Les fichiers où se lit la progression, d'abord celui où elle s'écrit ; aucun, et elle ne dure que la séance.

    $GAN_COURSE_PROGRESS le nomme (vide : aucun). Sinon il est dans le dossier des données ; dans Colab, dont le disque
    disparaît, sur le Drive s'il est monté. Une page que l'on imprime (GAN_COURSE_STATIC=1) n'en a pas.
    """
    from gan_course.data.sources import data_root  # tard : noter une copie n'en a pas besoin

    if (chosen := os.environ.get("GAN_COURSE_PROGRESS")) is not None:
        return [Path(chosen)] if chosen else []
    if os.environ.get("GAN_COURSE_STATIC") == "1":
        return []
    drive = [DRIVE / "gan_course" / FILE] if DRIVE.is_dir() else []
    try:
        return [*drive, data_root() / FILE]
    except RuntimeError:  # un utilisateur sans dossier personnel
        return drive


def load() -> dict[str, Entry]:
    """Ce que l'on sait de chaque exercice et de chaque question, de ce processus ou d'un autre."""
    for path in places():
        with suppress(OSError):
            _catch_up(path)
    return dict(_known)


def save(name: str = "", copy: str | Path | None = None) -> dict[str, Entry]:
    """Écrit tout ce que l'on sait dans le fichier `copy` et là où il se garde, et le rend.

    name : celui de l'étudiant ; vide, celui du fichier reste. Ce que ces fichiers savaient de plus s'y ajoute. Si l'un
    ne peut être écrit, le dit sans rien perdre.
    """
    if copy is not None:
        copy = Path(copy).expanduser()
        try:
            _write(copy, name)
        except OSError as error:
            print(f"« {copy} » n'a pas pu être écrit ({error.strerror}) ; essayez un autre dossier : path=…")
    for path in places()[:1]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                _write(path, name)
        except OSError as error:
            if path not in _told:
                _told.add(path)
                print(
                    f"« {path} » n'a pas pu être écrit ({error.strerror}) : rien ne sera gardé d'une séance à l'autre."
                )
    return dict(_known)


def _learn(name: str, change: Callable[[Entry], Entry]) -> None:
    """Change ce que l'on sait de `name`, et l'enregistre aussitôt."""
    load()
    _known[name] = change(_known.get(name, Entry()))
    save()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Chacun son tour : aucun autre processus n'écrit entre la lecture et l'écriture de `path`."""
    with open(path.with_name(f"{path.name}.lock"), "ab") as witness:
        end = time.monotonic() + LOCK_WAIT
        while lock(witness) is False and time.monotonic() < end:
            time.sleep(0.01)
        yield


def _write(path: Path, name: str) -> None:
    """Ajoute au fichier tout ce que l'on sait ; il est entier ou inchangé, même si le processus est tué."""
    owner = _catch_up(path)
    content = {
        "format": FORMAT,
        "name": str(name or owner),
        "version": __version__,
        "exercises": {known: {"tried": entry.tries > 0, **asdict(entry)} for known, entry in _known.items()},
    }
    with atomic_write(path) as file:
        file.write(
            (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8", errors="replace")
        )


def _catch_up(path: Path) -> str:
    """Ajoute à ce que l'on sait ce que dit le fichier, et rend le nom qu'il porte. Illisible, il est mis de côté."""
    try:
        owner, entries = _read(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        aside = path.with_name(f"{path.stem}.illisible-{datetime.now():%Y%m%d-%H%M%S-%f}{path.suffix}")
        path.rename(aside)  # s'il ne peut pas l'être, OSError : on ne l'écrasera pas
        print(
            f"{path.name} est illisible : il est gardé sous le nom {aside.name}, et l'on repart de cette séance."
        )
        return ""
    for name, entry in entries.items():
        _known[name] = _known.get(name, Entry()).merged(entry)
    return owner


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


def summary(chapter: str, exercises: Iterable[str], questions: Iterable[str]) -> str:
    """Une ligne : « Chapitre 01 : 2 exercices réussis sur 4, questions : 3 sur 5 »."""
    entries, exercises, questions = load(), list(exercises), list(questions)
    if not any(entries.get(name, Entry()).tries for name in exercises + questions):
        return f"Chapitre {chapter} : rien encore"
    counts = [_count(exercises, entries)] if exercises else []
    counts += [f"questions : {_done(questions, entries)} sur {len(questions)}"] if questions else []
    return f"Chapitre {chapter} : {', '.join(counts)}"


def _done(names: Iterable[str], entries: Mapping[str, Entry]) -> int:
    return sum(entries.get(name, Entry()).passed for name in names)


def _count(names: Collection[str], entries: Mapping[str, Entry]) -> str:
    done = _done(names, entries)
    plural = "s" if done > 1 else ""
    return f"{done} exercice{plural} réussi{plural} sur {len(names)}"


def draw(
    chapters: Mapping[str, Iterable[str]],
    entries: Mapping[str, Entry],
    questions: Callable[[str], Collection[str]] = lambda chapter: (),
) -> "Figure":
    """Une ligne par chapitre, un carré par exercice : réussi, essayé, pas encore essayé.

    questions : fonction (chapitre) → les noms de ses questions, dont les réussites sont comptées sous son titre.
    """
    from gan_course.figures import new_figure

    known = {name: entries.get(name, Entry()) for names in chapters.values() for name in names}
    titles = {chapter: f"Chapitre {chapter}" for chapter in chapters}
    for chapter in chapters:
        if names := questions(chapter):
            titles[chapter] += f"\nquestions : {_done(names, entries)} sur {len(names)}"
    rows = [
        (titles[chapter] if start == 0 else "", list(names)[start : start + COLUMNS])
        for chapter, names in chapters.items()
        for start in range(0, len(list(names)), COLUMNS)
    ]
    figure = new_figure(8.0, 0.72 * len(rows) + 0.8, layout="constrained")
    ax = figure.subplots()
    for y, (title, names) in enumerate(rows):
        ax.text(-0.15, y, title, ha="right", va="center", fontsize=9)
        for x, name in enumerate(names):
            _square(ax, x, y, name, known[name].state)
    ax.set(xlim=(-1.3, COLUMNS), ylim=(len(rows) - 0.3, -0.5))
    ax.set_title(_count(known, entries), fontsize=11)
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
