"""Les pages HTML du cours : un carnet exécuté devient une page, et un sommaire les relie."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = """<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; }}
h1 {{ line-height: 1.2; }} li {{ margin: .6rem 0; }} a {{ color: #00509e; }}
code {{ background: #f0f0f0; padding: .1rem .3rem; }}
section {{ border-left: 4px solid #999; padding: 0 0 0 1rem; margin: 1.5rem 0; }}
section.done {{ border-color: #00704a; }} section.wrong {{ border-color: #b34700; }}
section ul {{ padding: 0; list-style: none; }}
pre, .detail {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 0 1.5rem; color: #444; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #1a1a1a; color: #eee; }} a {{ color: #8cc4ff; }} code {{ background: #333; }}
  pre, .detail {{ color: #bbb; }}
}}
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

INDEX = """<p>Les chapitres, tels qu'ils viennent d'être exécutés sur cette machine en mode <strong>{mode}</strong>.{remark}</p>
<ol>
{items}
</ol>
<h2>Et maintenant ?</h2>
<ul>
<li>La leçon entière : <code>make cours MODE=cours</code>.</li>
<li>Pas à pas, en modifiant le code : <code>make lab</code>.</li>
<li>Sur un GPU, sans rien installer : les badges Colab du README.</li>
</ul>"""  # noqa: E501


def write_chapter(executed: Path, sources: Path, title: str) -> str:
    """Écrit à côté du carnet exécuté sa page HTML, images comprises, et rend le nom de la page.

    `sources` est le dossier du carnet d'origine : ses liens vers les images en partent.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    # En cas d'échec, papermill ajoute des cellules d'avertissement en anglais ; le sommaire le dit en français.
    notebook.cells = [
        cell for cell in notebook.cells
        if not any(tag.startswith("papermill-error") for tag in cell.metadata.get("tags", []))
    ]  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = embed_pictures(cell.source, sources)
    # embed_images=True refermerait les volets <details> à leur première ligne vide.
    exporter = HTMLExporter(embed_images=False, language_code="fr")
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title, "path": str(sources)}})
    body = body.replace("No description has been provided for this image", "Figure calculée par la cellule")
    body = body.replace("</body>", '<p><a href="index.html">Retour au sommaire</a></p>\n</body>')
    page = executed.with_suffix(".html")
    page.write_text(body, encoding="utf-8")
    return page.name


def embed_pictures(source: str, folder: Path) -> str:
    """Remplace, dans un texte, chaque chemin d'image qui existe depuis `folder` par l'image elle-même (data:)."""

    def embedded(found: re.Match) -> str:
        path = folder / found[0]
        if not path.is_file():
            return found[0]
        kind = {"svg": "svg+xml"}.get(path.suffix[1:], path.suffix[1:])
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    return re.sub(r"(?<![\w/:])(?:\.\./)?[\w./-]+\.(?:png|svg|gif)", embedded, source)


def write_index(output: Path, outcomes: Sequence[Any], mode: str) -> Path:
    """Écrit index.html, le sommaire des pages, et rend son chemin ; `outcomes` : des run.Outcome."""
    items = []
    for outcome in outcomes:
        title = html.escape(outcome.title)
        link = f'<a href="{outcome.page}">{title}</a>' if outcome.page else title
        items.append(f"<li>{link}<br><strong>{outcome.verdict}</strong>, {outcome.seconds:.0f} s</li>")
    remark = ""
    if mode == "eclair":
        remark = " Ce mode vérifie que tout marche : les réseaux n'y apprennent presque rien."
    body = INDEX.format(mode=mode, remark=remark, items="\n".join(items))
    path = output / "index.html"
    path.write_text(PAGE.format(title="Cours de GAN", body=body), encoding="utf-8")
    return path
