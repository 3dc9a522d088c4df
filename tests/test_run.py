"""L'exécution des chapitres, sur de petits carnets fabriqués ici."""

import base64
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from gan_course import figures
from gan_course.tools import html, run
from gan_course.tools.notebook import find_chapters

ROOT = Path(__file__).resolve().parent.parent
WHERE = "import sys, os, gan_course; print(sys.executable, gan_course.__file__, os.listdir(), MODE, SEED)"


def plain(text: str) -> str:
    """Le texte, ses espaces insécables rendues ordinaires."""
    return text.replace("\u00a0", " ")


def write_notebook(folder: Path, name: str, *sources: str) -> Path:
    parameters = nbformat.v4.new_code_cell('MODE = "cours"\nSEED = 0')
    parameters.metadata["tags"] = ["parameters"]
    cells = [nbformat.v4.new_markdown_cell("# Essai"), parameters]
    notebook = nbformat.v4.new_notebook(cells=cells + [nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["gan_course"] = {"title": "Essai <1>"}
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / name)
    return folder / name


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Un dépôt vide, que run.find_root trouve."""
    monkeypatch.setattr(run, "find_root", lambda: tmp_path)
    return tmp_path


def output_text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.lent
def test_run_reports_pages_and_failures(house, capsys):
    notebooks, pages = house / "notebooks", house / "build"
    write_notebook(notebooks, "01_bon.ipynb", WHERE, "import matplotlib.pyplot as plt; plt.plot([1, 2]);")
    write_notebook(notebooks, "02_rate.ipynb", "raise ValueError('exprès')")
    write_notebook(notebooks, "03_bon.ipynb", "print('fini')")
    assert run.run("eclair", None, pages, {"SEED": 3}) == 1

    text = output_text(pages / "01_bon.ipynb")
    # Cet interpréteur, ce dépôt, un dossier vide, et les paramètres demandés.
    assert text.split()[:2] == [sys.executable, str(ROOT / "gan_course" / "__init__.py")]
    assert text.split()[2:] == ["[]", "eclair", "3"]
    assert "IPKernelApp" not in text

    out = plain(capsys.readouterr().out)
    assert "la cellule [3] a échoué" in out and "ValueError : exprès" in out
    assert "01_bon : réussi" in out and "02_rate : échec" in out and "03_bon : réussi" in out
    assert "make lab" in out and "Secondes" in out

    index = (pages / "index.html").read_text(encoding="utf-8")
    assert index.count("<li><a href=") == 3 and 'lang="fr"' in index and "Essai &lt;1&gt;" in index
    page = (pages / "01_bon.html").read_text(encoding="utf-8")
    assert 'lang="fr"' in page and "data:image/webp" in page and 'alt="Figure de la partie « Essai »"' in page
    assert "Chapitre précédent" not in page and 'href="02_rate.html">Chapitre suivant : Essai &lt;1&gt;<' in page
    assert 'href="02_rate.html">Chapitre précédent' in (pages / "03_bon.html").read_text(encoding="utf-8")
    failed = (pages / "02_rate.html").read_text(encoding="utf-8")
    assert "exprès" in failed and "An Exception was encountered" not in failed


def test_a_hostile_kernelspec_is_ignored(tmp_path, monkeypatch):
    """Un noyau « python3 » déclaré ailleurs sur la machine ne prend pas la place du nôtre."""
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/nulle/part", "{connection_file}"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = write_notebook(tmp_path, "01_bon.ipynb", WHERE)
    run.execute(notebook, tmp_path / "out.ipynb", {"MODE": "eclair"})
    assert output_text(tmp_path / "out.ipynb").startswith(sys.executable)


def test_environment_is_given_back(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with run.kernel_environment():
        assert os.environ["MPLBACKEND"] != "agg" and str(ROOT) in os.environ["PYTHONPATH"]
    assert os.environ["MPLBACKEND"] == "agg" and "PYTHONPATH" not in os.environ


def test_unknown_parameter_is_refused_before_anything_runs(house):
    write_notebook(house / "notebooks", "01_bon.ipynb")
    with pytest.raises(ValueError, match="Vouliez-vous dire SEED"):
        run.run("eclair", None, house / "build", {"SEDE": 1})
    assert not (house / "build").exists()


def test_read_overrides():
    assert run.read_overrides(["SEED=3", "MODE=cours", "PAS=1e-3"]) == {"SEED": 3, "MODE": "cours", "PAS": 1e-3}
    for bad in ("SEED", "=3", "1a=2"):
        with pytest.raises(ValueError, match="NOM=VALEUR"):
            run.read_overrides([bad])


def test_find_chapters(tmp_path):
    with pytest.raises(FileNotFoundError, match="Aucun chapitre"):
        find_chapters(tmp_path)
    for name in ("03_b.ipynb", "01_a.ipynb", "brouillon.ipynb"):
        write_notebook(tmp_path, name)
    assert [path.name for path in find_chapters(tmp_path)] == ["01_a.ipynb", "03_b.ipynb"]
    assert [path.name for path in find_chapters(tmp_path, ["3", "03"])] == ["03_b.ipynb"]
    with pytest.raises(ValueError, match="01, 03"):
        find_chapters(tmp_path, ["2"])


@pytest.mark.lent
def test_a_dead_kernel_is_told(house, capsys):
    write_notebook(house / "notebooks", "01_mort.ipynb", "import os; os._exit(1)")
    assert run.run("eclair", None, house / "build") == 1
    assert "le noyau s'est arrêté" in capsys.readouterr().out


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="Windows n'envoie pas SIGINT à un autre processus")
def test_interrupt_keeps_what_is_done(tmp_path):
    write_notebook(tmp_path / "notebooks", "01_vite.ipynb", "print('fini')")
    write_notebook(tmp_path / "notebooks", "02_lent.ipynb", "open(SEED, 'w').close()\nimport time; time.sleep(120)")
    started = tmp_path / "02_a_commence"
    words = ["run", "--sortie", str(tmp_path / "build"), "-p", f"SEED={started}"]
    code = (
        "import sys; from pathlib import Path; from gan_course import __main__; from gan_course.tools import run; "
        f"run.find_root = lambda: Path({str(tmp_path)!r}); sys.exit(__main__.main({words!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out = plain(process.communicate(timeout=60)[0])
    assert process.returncode == 130, out
    assert "01_vite : réussi" in out and "non terminé" in out
    assert (tmp_path / "build" / "01_vite.html").exists() and (tmp_path / "build" / "index.html").exists()


def page_of(folder: Path, *cells, parameters=None) -> str:
    """La page d'un carnet exécuté, fait de ces cellules."""
    notebook = nbformat.v4.new_notebook(cells=list(cells), metadata={"papermill": {"parameters": parameters or {}}})
    nbformat.write(notebook, folder / "01.ipynb")
    return (folder / html.write_chapter(folder / "01.ipynb", ROOT / "notebooks", "Essai")).read_text(encoding="utf-8")


def code(source, *tags, **metadata):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags), **metadata})


def test_a_page_needs_no_network(tmp_path):
    page = page_of(tmp_path, nbformat.v4.new_markdown_cell("# Un\n## Deux\n$x^2$"), code("print(1)"))
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith(("#", "data:")) or address in ("index.html", html.MATHJAX), address
    assert "http" not in page and "$x^2$" in page and (tmp_path / html.MATHJAX).stat().st_size > 1e6
    assert '<li><a href="#Deux">Deux</a></li>' in page


def test_a_page_shows_one_mode_the_one_that_ran(tmp_path):
    asked = {"MODE": "eclair", "SIZES": [1, 2], "SEED": 3}
    written = code('MODE = "cours"  # ou "é" ; voir plus haut\nSIZES = [\n    3,\n]\nSEED = 0', "parameters")
    page = page_of(tmp_path, written, code('# Parameters\nMODE = "eclair"', "injected-parameters"), parameters=asked)
    shown = re.sub(r"<[^>]+>", "", page[page.index("<main>") :])
    assert "Parameters" not in shown and shown.count("MODE") == 1
    assert 'MODE = "eclair"  # ou "é" ; voir plus haut\nSIZES = [1, 2]\nSEED = 3\n' in shown.replace("&#34;", '"')


def test_the_pictures_of_a_page_are_light_and_described(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    drawn = np.zeros((200, 300, 3), np.uint8)
    drawn[50:60] = 255, 0, 128
    files = [base64.b64encode(figures.png(Image.fromarray(pixels))).decode() for pixels in (noise, drawn)]
    outputs = [nbformat.v4.new_output("display_data", {"image/png": file}) for file in files]
    outputs[0].metadata = {"image/png": {"alt": "Du bruit"}}
    cell = code("show()")
    cell.outputs = outputs
    page = page_of(tmp_path, nbformat.v4.new_markdown_cell("## 2. Des images"), cell)
    assert 'alt="Du bruit"' in page and 'alt="Figure de la partie « 2. Des images »"' in page
    photograph, drawing = (base64.b64decode(data) for data in re.findall(r"data:image/webp;base64,([\w+/=]+)", page))
    assert len(photograph) < noise.nbytes / 2
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(drawing)).convert("RGB")), drawn), "un dessin reste exact"


def test_an_animation_stays_one(tmp_path):
    frames = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (0, 120, 250)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=[80, 80, 2000], loop=0)
    cell = code("show()")
    picture = f'<img alt="Promenade" src="data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}">'
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": picture})]
    data = re.search(r"data:image/webp;base64,([\w+/=]+)", page_of(tmp_path, cell))[1]
    animation = Image.open(io.BytesIO(base64.b64decode(data)))
    assert animation.n_frames == 3 and animation.info["loop"] == 0
    animation.seek(2)
    animation.load()
    assert animation.info["duration"] == 2000


def test_published_pictures_are_those_of_the_repository(tmp_path):
    """Un carnet publié les montre depuis GitHub ; sa page, sans réseau, les prend ici."""
    address = "https://raw.githubusercontent.com/UN/DE.UX/branche/v1/imgs/bandeau.png"
    page = page_of(tmp_path, nbformat.v4.new_markdown_cell(f"![Un bandeau]({address})"))
    assert "http" not in page and "data:image/webp" in page


def test_lab_serves_the_repository_and_opens_the_notebooks(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(run, "require", lambda *modules: None)
    monkeypatch.setattr(run, "find_root", lambda: tmp_path)
    monkeypatch.setattr(run.subprocess, "call", lambda command: called.append(command) or 0)
    assert run.open_lab() == 0
    assert f"--ServerApp.root_dir={tmp_path}" in called[0], "sans quoi ../imgs/ ne s'affiche pas"
    assert "--LabApp.default_url=/lab/tree/notebooks" in called[0]
    assert any("hide_globs" in word and "'sources'" in word for word in called[0])


def test_an_output_that_cannot_be_written_is_refused_before_running(tmp_path):
    (tmp_path / "fichier").touch()
    with pytest.raises(OSError, match="Impossible d'écrire.*--sortie"):
        run.run("eclair", ["1"], tmp_path / "fichier" / "pages")


def test_the_glossary_has_its_page_beside_those_of_the_chapters(tmp_path):
    page = page_of(tmp_path, nbformat.v4.new_markdown_cell("Un [lot](GLOSSAIRE.md#lot)."))
    glossary = (tmp_path / "glossaire.html").read_text(encoding="utf-8")
    assert 'href="glossaire.html#lot"' in page and 'id="lot"' in glossary
    assert 'href="01_gan_bases.html' in glossary and ".ipynb" not in glossary


def test_the_code_that_a_notebook_hides_is_folded_in_its_page(tmp_path):
    source = '# @title Figure : un carré { display-mode: "form" }\ndraw(12)\n\ndraw(34)'
    drawing = code(source, jupyter={"source_hidden": True})
    drawing.outputs = [nbformat.v4.new_output("stream", text="dessinée\n")]
    page = page_of(tmp_path, code("teach()"), drawing)
    shown = re.sub(r"<[^>]+>", "", page[page.index("<main>") :])
    fold = page[page.index("<details>") : page.index("</details>")]
    folded = re.sub(r"<[^>]+>", "", fold)
    assert "draw(12)" in folded and "draw(34)" in folded and "teach" not in folded and "@title" not in shown
    assert shown.count("draw(12)") == 1 and "teach()" in shown and "dessinée" in shown.split("Code de la figure")[1]


def test_pages_keep_folds_closed_and_carry_their_pictures(tmp_path):
    """Un volet <details> peut contenir des lignes vides ; images et liens restent justes."""
    text = (
        "[![badge](../imgs/colab-badge.svg)](https://exemple.fr/a.png)\n\n"
        "<details><summary>Indice</summary>\n\nPremier.\n\n![figure](../imgs/bandeau.png)\n\n</details>\n\n"
        '<details><summary>Figure</summary><img src="../imgs/bandeau.png" alt="ici"></details>\n\n`../imgs/rien.png`'
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    nbformat.write(notebook, tmp_path / "01.ipynb")
    html.write_chapter(tmp_path / "01.ipynb", ROOT / "notebooks", "Essai")
    page = (tmp_path / "01.html").read_text(encoding="utf-8")
    fold = page[page.index("<summary>Indice") : page.index("<summary>Figure")]
    assert "Premier." in fold[: fold.index("</details>")]
    assert page.count('src="data:image/webp;base64,') == 2 and page.count('src="data:image/svg+xml;base64,') == 1
    assert "https://exemple.fr/a.png" in page and "../imgs/rien.png" in page
