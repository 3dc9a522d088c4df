"""Distribuer un devoir : noms, graines, corrigé à part, et rien d'écrasé sans le dire."""

import json

import pytest

from gan_course import __main__ as cli
from gan_course.tools import assign, run
from gan_course.tools.notebook import source_of


def sources(path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join(source_of(cell) for cell in cells)


def test_the_plain_assignment_and_its_solution(tmp_path, capsys):
    assert cli.main(["assign", "--chapitres", "3", "--sortie", str(tmp_path), "--corrige"]) == 0
    assert "2" in capsys.readouterr().out
    handed, solved = sources(tmp_path / "03_cgan_mnist.ipynb"), sources(tmp_path / "corrige" / "03_cgan_mnist.ipynb")
    assert "raise NotImplementedError" in handed and "SOLUTION" not in handed + solved
    assert "raise NotImplementedError" not in solved and len(solved) > len(handed)
    assert "colab-badge" not in handed and "../imgs/" not in handed


def test_each_student_has_a_copy_and_a_seed(tmp_path):
    students = tmp_path / "élèves.csv"
    students.write_bytes("Nom;Prénom;Note\r\nDUPONT;Zoé;12\r\nN’Diaye;Awa Fatou;\r\n".encode("cp1252"))
    out = tmp_path / "devoir"
    files = assign.assign(["03"], out, students, solved=False, replace=False)
    assert [f.name for f in files] == ["03_cgan_mnist_DUPONT-Zoé.ipynb", "03_cgan_mnist_N'Diaye-Awa-Fatou.ipynb"]
    seeds = [run.read_parameters(path)["SEED"] for path in files]
    assert seeds == [str(assign.seed_of(name)) for name in ("DUPONT Zoé", "N’Diaye Awa Fatou")]
    assert len(set(seeds)) == 2 and "# graine des poids" in sources(files[0])
    others = [sources(path).replace(f"SEED = {seed}", "") for path, seed in zip(files, seeds)]
    assert others[0] == others[1]


def test_seeds_do_not_change_from_year_to_year():
    assert assign.seed_of("DUPONT Zoé") == assign.seed_of("dupont zoe\u0301") == 295
    seeds = [assign.seed_of(f"Élève {i}") for i in range(200)]
    assert len(set(seeds)) > 195 and len({seed % 10 for seed in seeds}) == 10


def test_nothing_is_overwritten_silently(tmp_path, capsys):
    words = ["assign", "--chapitres", "03", "--sortie", str(tmp_path)]
    path = tmp_path / "03_cgan_mnist.ipynb"
    assert cli.main(words) == 0 and cli.main(words) == 0  # le même contenu : rien n'est perdu
    path.write_text("ma version", encoding="utf-8")
    assert cli.main([*words, "--corrige"]) == 1
    assert "--remplacer" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "ma version" and not (tmp_path / "corrige").exists()
    assert cli.main([*words, "--remplacer"]) == 0 and "NotImplementedError" in sources(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# classe de TD\nZoé Dupont\n\n  Ana López \n", ["Zoé Dupont", "Ana López"]),
        ("\ufeffprénom,nom\nZoé,Dupont\n", ["Dupont Zoé"]),
        ("Dupont\tZoé\nMartin\tLéo\n", ["Dupont Zoé", "Martin Léo"]),
    ],
)
def test_lists_are_read(tmp_path, text, names):
    path = tmp_path / "liste.txt"
    path.write_text(text, encoding="utf-8")
    assert assign.read_students(path) == names


@pytest.mark.parametrize(("text", "message"), [("", "aucun nom"), ("Zoé\nZoé\n", "deux fois : Zoé")])
def test_bad_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "liste.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        assign.read_students(path)


def test_names_that_do_not_make_distinct_files_are_refused():
    assert assign.file_names(["../../etc/passwd", "Anne-Laure d’Été"]) == {
        "../../etc/passwd": "etc-passwd",
        "Anne-Laure d’Été": "Anne-Laure-d'Été",
    }
    for names, message in ((["Zoé A", "zoe-a"], "même fichier"), (["!!!"], "nom de fichier"), (["x" * 200], "nom de")):
        with pytest.raises(ValueError, match=message):
            assign.file_names(names)


def test_a_chapter_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="SEED"):
        assign.with_seed({"cells": [{"metadata": {"tags": ["parameters"]}, "source": "MODE = 1"}]}, 3)
