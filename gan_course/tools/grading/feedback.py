"""Ce que rend la notation : un retour HTML par copie, et le tableau des notes."""

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_course.engine.files import atomic_write
from gan_course.tools.grading.subject import Subject
from gan_course.tools.html import document


def page(name: str, result: dict[str, Any], subject: Subject) -> str:
    """Le retour d'une copie : une page HTML qui se suffit. Tout ce qui vient de la copie est échappé."""
    title = _text(f"Retour · {subject.title}")
    parts = [f"<main>\n<h1>{title}</h1>\n<p>Copie : <strong>{_text(name)}</strong></p>"]
    if "unreadable" in result:
        parts.append(f"<p>Cette copie n'a pas pu être lue : {_text(result['unreadable'])}.</p>")
    parts.append(f"<p><strong>{total(result)} points sur {subject.points}</strong></p>")
    parts += [f"<p>Remarque : {_text(remark)}.</p>" for remark in result["remarks"]]
    for question in subject.questions:
        done = result["exercises"].get(question.exercise)
        if done:
            parts.append(_section(question.exercise, question.points, done))
    return document(title, "\n".join([*parts, "</main>"]))


def _section(name: str, points: int, done: dict[str, Any]) -> str:
    kind = "done" if done["passed"] else "wrong"
    lines = [f'<section class="{kind}">', f"<h2>{_text(name)} : {done['points']} sur {points}, {done['state']}</h2>"]
    lines += [f"<p>{_text(done['notice'])}</p>"] if done["notice"] else []
    lines.append("<ul>")
    for statement, held, detail, consequence in done["outcomes"]:
        details = [detail, consequence and f"Conséquence : {consequence}"]
        told = "".join(f'\n<div class="detail">{_text(text)}</div>' for text in details if text)
        lines.append(f"<li>{'✓' if held else '✗'} {_text(statement)}{told}</li>")
    lines.append("</ul>")
    if done.get("hint"):
        lines.append(f"<p>Indice : {_text(done['hint'])}</p>")
    if done["refusals"]:
        lines.append(f"<p>Pendant la notation, la réponse a voulu {_text(' ; '.join(done['refusals']))} : refusé.</p>")
    if done.get("printed"):
        lines.append(f"<p>Affiché par la réponse :</p>\n<pre>{_text(done['printed'])}</pre>")
    return "\n".join([*lines, "</section>"])


def notes(rows: Sequence[tuple[str, dict[str, Any] | None]], subject: Subject) -> bytes:
    """Le tableau des notes : CSV à points-virgules, UTF-8 avec marque d'ordre, ce qu'ouvre un Excel français.

    rows : (nom de la copie, son résultat, ou None si elle n'est pas encore notée).
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=";", lineterminator="\r\n")
    exercises = [question.exercise for question in subject.questions]
    writer.writerow(["copie", *exercises, "total", "sur", "remarques"])
    for name, result in rows:
        if result is None:
            points, remark = [""] * (len(exercises) + 1), "pas encore notée"
        else:
            points = [result["exercises"].get(exercise, {}).get("points", 0) for exercise in exercises]
            points, remark = [*points, total(result)], remarks(result)
        writer.writerow([_cell(name), *points, subject.points, _cell(remark)])
    return stream.getvalue().encode("utf-8-sig", errors="replace")


def remarks(result: dict[str, Any]) -> str:
    """Ce que l'enseignant doit savoir d'une copie, sur une ligne."""
    said = [f"illisible : {result['unreadable']}"] if "unreadable" in result else []
    said += result["remarks"]
    for name, done in result["exercises"].items():
        if not done["passed"] and done["notice"] and done["state"] not in ("à écrire", "absente"):
            said.append(f"{name} : {done['notice']}")
        if done["refusals"]:
            said.append(f"{name} : a voulu {', '.join(done['refusals'])}")
    absent = [name for name, done in result["exercises"].items() if done["state"] == "absente"]
    if absent:
        said.append(f"sans réponse : {', '.join(absent)}")
    return " | ".join(said)


def total(result: dict[str, Any]) -> int:
    """Les points d'une copie."""
    return sum(done["points"] for done in result["exercises"].values())


def write_whole(path: Path, text: bytes | str) -> None:
    """Écrit un fichier en entier ou pas du tout. Lève OSError, en disant quoi faire, si un tableur le tient ouvert."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as file:
            file.write(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    except PermissionError as error:
        raise OSError(f"{path} ne se laisse pas écrire. S'il est ouvert dans un tableur, fermez-le.") from error


def _text(value: object) -> str:
    clean = str(value).encode("utf-8", errors="replace").decode("utf-8")
    return html.escape("".join(c if c.isprintable() or c in "\n\t\u00a0\u202f" else "\ufffd" for c in clean))


def _cell(text: str) -> str:
    """Un texte sur une ligne, qu'un tableur ne prendra pas pour une formule."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
