"""Les pages HTML du cours : un carnet exécuté devient une page, et un sommaire les relie. Rien n'y vient du réseau."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from gan_course.tools.notebook import read_notebook, source_of, to_text, with_parameters

PAGE = """<!DOCTYPE html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
{head}</head>
<body>
{body}
</body>
</html>
"""

# Un seul fichier, posé à côté des pages : il dessine les formules en SVG, sans police à charger ni réseau.
MATHJAX = "mathjax.js"
FORMULAS = f"""<script>
MathJax = {{tex: {{inlineMath: [["$", "$"]]}}, options: {{enableMenu: false}}}};
</script>
<script src="{MATHJAX}" async></script>
"""
NEIGHBOURS = "<!-- chapitres voisins -->"
CHAPTER = """<nav aria-label="Dans ce chapitre">
<a href="index.html">Tous les chapitres</a>
<ul>
{contents}
</ul>
</nav>
<main>
{body}
</main>
<nav aria-label="Autres chapitres" class="voisins">
{neighbours}
<a href="index.html">Tous les chapitres</a>
</nav>"""

INDEX = """<main>
<h1>Cours de GAN</h1>
<p>Les chapitres, tels qu'ils viennent d'être exécutés sur cette machine en mode <strong>{mode}</strong>.{remark}</p>
<ol class="sommaire">
{items}
</ol>
<h2>Et maintenant ?</h2>
<ul>
<li>La leçon entière : <code>make cours MODE=cours</code>.</li>
<li>Pas à pas, en modifiant le code : <code>make lab</code>.</li>
<li>Sur un GPU, sans rien installer : les badges Colab du README.</li>
</ul>
</main>"""


def document(title: str, body: str, head: str = "") -> str:
    """Une page HTML du cours ; `title` et `body` y sont déjà échappés."""
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return PAGE.format(title=title, style=style, head=head, body=body)


def write_chapter(executed: Path, sources: Path, title: str) -> str:
    """Écrit à côté du carnet exécuté sa page HTML, images comprises, et rend le nom de la page.

    `sources` est le dossier du carnet d'origine : ses liens vers les images en partent.
    """
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.reads(to_text(prepare(read_notebook(executed), sources)), as_version=4)
    # embed_images=True refermerait les volets <details> à leur première ligne vide.
    exporter = HTMLExporter(template_name="basic", embed_images=False, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title, "path": str(sources)}})
    body = re.sub(r'<a class="anchor-link".*?</a>', "", body)
    body = re.sub(r'(?<=src=")data:image/(?:png|gif);base64,([\w+/=\s]+)', lambda found: lighter(found[1]), body)
    parts = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', body)
    contents = "\n".join(f'<li><a href="#{place}">{name}</a></li>' for place, name in parts)
    page = executed.with_suffix(".html")
    body = body.replace('href="GLOSSAIRE.md', 'href="glossaire.html')
    write_glossary(sources / "GLOSSAIRE.md", page.with_name("glossaire.html"))
    text = CHAPTER.format(contents=contents, body=body, neighbours=NEIGHBOURS)
    page.write_text(document(html.escape(title), text, FORMULAS), encoding="utf-8")
    with resources.as_file(resources.files("mathjax") / "static/mathjax/es5/tex-svg.js") as script:
        shutil.copyfile(script, page.with_name(MATHJAX))
    return page.name


def write_glossary(source: Path, page: Path) -> None:
    """La page du glossaire, à côté de celles des chapitres, si le cours en a un."""
    from nbconvert.filters import markdown2html

    if source.is_file():
        text = markdown2html(source.read_text(encoding="utf-8")).replace('.ipynb"', '.html"')
        page.write_text(document("Glossaire", f"<main>\n{text}\n</main>", FORMULAS), encoding="utf-8")


def prepare(book: dict[str, Any], sources: Path) -> dict[str, Any]:
    """Le carnet tel que sa page le montre : les paramètres employés, les images en lui, un texte pour chaque figure."""
    # papermill ajoute la cellule des paramètres changés et, après un échec, des avertissements en anglais.
    added = {"injected-parameters", "papermill-error-cell-tag"}
    book["cells"] = [cell for cell in book["cells"] if not added & set(cell["metadata"].get("tags", []))]
    book = with_parameters(book, book["metadata"].get("papermill", {}).get("parameters", {}))
    book["cells"] = [part for cell in book["cells"] for part in folded(cell)]
    heading = "ce chapitre"
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = embed_pictures(source_of(cell), sources)
            heading = (re.findall(r"^#+ +(.+)$", cell["source"], flags=re.MULTILINE) or [heading])[-1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                shown = output["metadata"].setdefault("image/png", {})
                shown.setdefault("alt", f"Figure de la partie « {heading} »")
    return book


def folded(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """La cellule ; si son code est caché dans le carnet, le code replié, puis la cellule sans lui."""
    if not cell["metadata"].get("jupyter", {}).get("source_hidden"):
        return [cell]
    code = re.sub(r"^# @title .*\n", "", source_of(cell)).strip()
    details = f"<details><summary>Code de la figure</summary>\n\n```python\n{code}\n```\n\n</details>"
    hidden = {**cell, "metadata": {**cell["metadata"], "transient": {"remove_source": True}}}
    return [{"cell_type": "markdown", "id": f"code-{cell.get('id', '')}", "metadata": {}, "source": details}, hidden]


def lighter(picture: str) -> str:
    """L'adresse data: d'un PNG ou d'un GIF (base64), refait en WebP : sans perte, ou avec si c'est plus léger."""
    from PIL import Image, ImageSequence

    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    pauses = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]
    written = []
    for how in ({"lossless": True}, {"quality": 80}):
        file = io.BytesIO()
        image.save(file, "WEBP", save_all=True, duration=pauses, **how)
        written.append(file.getvalue())
    return f"data:image/webp;base64,{base64.b64encode(min(written, key=len)).decode()}"


def embed_pictures(source: str, folder: Path) -> str:
    """Remplace, dans un texte, chaque image du dépôt qui existe depuis `folder` par l'image elle-même (data:)."""

    def embedded(found: re.Match) -> str:
        path = folder / found[0]
        if not path.is_file():
            return found[0]
        kind = {".svg": "svg+xml", ".jpg": "jpeg"}.get(path.suffix, path.suffix[1:])
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    source = re.sub(r"https://raw\.githubusercontent\.com/[\w./-]+?/imgs/", "../imgs/", source)
    return re.sub(r"(?<![\w/:])(?:\.\./)?[\w./-]+\.(?:png|svg|gif|jpg)", embedded, source)


def write_index(output: Path, outcomes: Sequence[Any], mode: str) -> Path:
    """Écrit index.html, le sommaire des pages, relie celles-ci, et rend son chemin ; `outcomes` : des run.Outcome."""
    items = []
    for outcome in outcomes:
        title = html.escape(outcome.title)
        link = f'<a href="{outcome.page}">{title}</a>' if outcome.page else title
        items.append(f"<li>{link}<br><strong>{outcome.verdict}</strong>, {outcome.seconds:.0f} s</li>")
    remark = ""
    if mode == "eclair":
        remark = " Ce mode vérifie que tout marche : les réseaux n'y apprennent presque rien."
    body = INDEX.format(mode=mode, remark=remark, items="\n".join(items))
    path = output / "index.html"
    path.write_text(document("Cours de GAN", body), encoding="utf-8")
    written = [outcome for outcome in outcomes if outcome.page]
    for before, outcome, after in zip([None, *written], written, [*written[1:], None]):
        links = [("Chapitre précédent", before), ("Chapitre suivant", after)]
        lines = [f'<a href="{o.page}">{what} : {html.escape(o.title)}</a>' for what, o in links if o]
        page = output / outcome.page
        page.write_text(page.read_text(encoding="utf-8").replace(NEIGHBOURS, "\n".join(lines)), encoding="utf-8")
    return path
