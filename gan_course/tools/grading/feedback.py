"""Ce que rend la notation : un retour HTML par copie, et le tableau des notes."""

import csv
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_course.tools.grading.subject import Subject

PAGE = """<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }}
section {{ border-left: 4px solid #999; padding: 0 0 0 1rem; margin: 1.5rem 0; }}
section.done {{ border-color: #00704a; }} section.wrong {{ border-color: #b34700; }}
li {{ margin: .5rem 0; list-style: none; }} ul {{ padding: 0; }}
pre, .detail {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 0 1.5rem; color: #444; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #1a1a1a; color: #eee; }} pre, .detail {{ color: #bbb; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def page(name: str, result: dict[str, Any], subject: Subject) -> str:
    """Le retour d'une copie : une page HTML qui se suffit. Tout ce qui vient de la copie est échappé."""
    parts = [f"<p>Copie : <strong>{_text(name)}</strong></p>"]
    if "unreadable" in result:
        parts.append(f"<p>Cette copie n'a pas pu être lue : {_text(result['unreadable'])}.</p>")
    parts.append(f"<p><strong>{total(result)} points sur {maximum(subject)}</strong></p>")
    parts += [f"<p>Remarque : {_text(remark)}.</p>" for remark in result["remarks"]]
    for question in subject.questions:
        done = result["exercises"].get(question.exercise)
        if done:
            parts.append(_section(question.exercise, question.points, done))
    return PAGE.format(title=_text(f"Retour · {subject.title}"), body="\n".join(parts))


def _section(name: str, points: int, done: dict[str, Any]) -> str:
    kind = "done" if done["passed"] else "wrong"
    lines = [f'<section class="{kind}">', f"<h2>{_text(name)} : {done['points']} sur {points}, {done['state']}</h2>"]
    if done["notice"]:
        lines.append(f"<p>{_text(done['notice'])}</p>")
    lines.append("<ul>")
    for statement, held, detail, consequence in done["outcomes"]:
        lines.append(f"<li>{'✓' if held else '✗'} {_text(statement)}")
        lines += [f'<div class="detail">{_text(detail)}</div>'] if detail else []
        lines += [f'<div class="detail">Conséquence : {_text(consequence)}</div>'] if consequence else []
        lines.append("</li>")
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
    writer.writerow(["copie", *(question.exercise for question in subject.questions), "total", "sur", "remarques"])
    for name, result in rows:
        if result is None:
            writer.writerow([_cell(name), *[""] * len(subject.questions), "", maximum(subject), "pas encore notée"])
            continue
        points = [result["exercises"].get(question.exercise, {}).get("points", 0) for question in subject.questions]
        writer.writerow([_cell(name), *points, sum(points), maximum(subject), _cell(remarks(result))])
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


def maximum(subject: Subject) -> int:
    """Les points du chapitre."""
    return sum(question.points for question in subject.questions)


def write_whole(path: Path, data: bytes) -> None:
    """Écrit un fichier en entier ou pas du tout. Lève OSError, en disant quoi faire, si un tableur le tient ouvert."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except PermissionError as error:
        draft.unlink(missing_ok=True)
        raise OSError(f"{path} ne se laisse pas écrire. S'il est ouvert dans un tableur, fermez-le.") from error


def _text(value: object) -> str:
    clean = str(value).encode("utf-8", errors="replace").decode("utf-8")
    return html.escape("".join(c if c.isprintable() or c in "\n\t\u00a0\u202f" else "\ufffd" for c in clean))


def _cell(text: str) -> str:
    """Un texte sur une ligne, qu'un tableur ne prendra pas pour une formule."""
    line = " ".join(text.split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
