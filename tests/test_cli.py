"""La ligne de commande et le diagnostic, en français jusque dans leurs refus."""

import subprocess
import sys
from pathlib import Path

import pytest

from gan_course import __main__ as cli
from gan_course.tools import doctor, run

ROOT = Path(__file__).resolve().parent.parent


def plain(text: str) -> str:
    """Le texte, ses espaces insécables rendues ordinaires."""
    return text.replace("\u00a0", " ")


def test_no_command_prints_help(capsys):
    assert cli.main([]) == 0
    out = plain(capsys.readouterr().out)
    assert "usage : python -m gan_course" in out and "doctor" in out
    assert "positional" not in out and "show this help" not in out


@pytest.mark.parametrize("word, near", [("rnu", "run"), ("docteur", "doctor"), ("datas", "data")])
def test_unknown_command_offers_the_nearest(capsys, word, near):
    assert cli.main([word]) == 2
    assert f"Vouliez-vous dire « {near} »" in plain(capsys.readouterr().err)


@pytest.mark.parametrize("words, message", [
    (["run", "--mode", "rapide"], "'rapide' n'existe pas ; choisissez parmi"),
    (["run", "--chapitres"], "il faut au moins une valeur"),
    (["run", "--vite"], "arguments inconnus : --vite"),
    (["publish", "--verifier"], "arguments inconnus : --verifier"),
    (["data", "--size", "grand"], "'grand' n'est pas une valeur possible"),
])  # fmt: skip
def test_bad_options_are_answered_in_french(capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    err = plain(capsys.readouterr().err)
    assert stopped.value.code == 2
    assert message in err
    assert "error" not in err and "invalid" not in err


def test_mode_accepts_an_accent():
    assert cli.build_parser().parse_args(["run", "--mode", "Éclair"]).mode == "eclair"


@pytest.mark.parametrize("error, code", [
    (ValueError("Valeur refusée."), 1), (OSError("Disque plein."), 1), (KeyboardInterrupt(), 130),
])  # fmt: skip
def test_errors_become_exit_codes(monkeypatch, capsys, error, code):
    def fail():
        raise error

    monkeypatch.setattr(doctor, "report", fail)
    assert cli.main(["doctor"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_missing_module_points_to_doctor(monkeypatch, capsys):
    def fail(root):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(doctor, "data_table", fail)
    assert cli.main(["data"]) == 1
    assert "doctor" in capsys.readouterr().err


def test_data_lists_and_prepares(capsys, tmp_path):
    assert cli.main(["data", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "digits" in out and "mnist" in out and str(tmp_path) in out
    assert cli.main(["data", "digits", "--size", "16"]) == 0
    assert "16 × 16" in plain(capsys.readouterr().out)
    assert cli.main(["data", "mnsit"]) == 1
    assert "mnist" in capsys.readouterr().err


def test_lab_without_jupyterlab_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["lab"]) == 1
    assert ".[cours]" in capsys.readouterr().err


def test_doctor_here(capsys):
    assert cli.main(["doctor"]) == 0
    out = plain(capsys.readouterr().out)
    for name in ("Python", "torch", "torchvision", "calcul", "machine", "disque", "données", "papermill"):
        assert name in out


def test_doctor_without_torch(monkeypatch, capsys):
    versions = doctor.installed
    monkeypatch.setattr(doctor, "installed", lambda name: None if name == "torch" else versions(name))
    assert doctor.report() == 1
    out = plain(capsys.readouterr().out)
    assert "manque torch" in " ".join(out.split()) and "torch>=2.6" in out


def test_doctor_runs_where_nothing_is_installed():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", "import sys; sys.path.insert(0, '.'); "
         "from gan_course.__main__ import main; sys.exit(main(['doctor']))"],
        capture_output=True, text=True, cwd=ROOT, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Le cours ne peut pas tourner" in done.stdout and not done.stderr


@pytest.mark.parametrize("version, state", [
    ("2.5.1", doctor.MISSING), ("2.6.0", doctor.GOOD), ("2.15.0+cpu", doctor.GOOD),
])  # fmt: skip
def test_doctor_compares_versions_as_numbers(monkeypatch, version, state):
    monkeypatch.setattr(doctor, "installed", lambda name: version)
    assert doctor.check_package("torch", "2.6").state == state


def test_doctor_sees_a_pair_that_does_not_import(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda name: "2.13.0+cpu")
    assert doctor.check_package("torchvision", "0.21").state == doctor.GOOD

    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    finding = doctor.check_package("torchvision", "0.21")
    assert finding.state == doctor.MISSING and "nms" in finding.found and "(ensemble)" in finding.advice


def test_doctor_data_states(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").touch()
    states = doctor.data_states(tmp_path)
    assert states["mnist"] == "là" and states["digits"] == "sans réseau"
    assert states["fashion-mnist"].startswith("à télécharger")


def test_old_python_is_told(monkeypatch, capsys):
    monkeypatch.setattr(cli.sys, "version_info", (3, 8, 0))
    assert cli.main(["doctor"]) == 1
    assert "Python 3.8 est trop ancien" in plain(capsys.readouterr().out)


def test_doctor_sees_downloaded_sets_and_a_folder_that_is_a_file(tmp_path):
    states = doctor.data_states(tmp_path)
    assert states["cifar10"].startswith("à télécharger") and states["celeba"].startswith("à télécharger")
    (tmp_path / "cifar-10-python.tar.gz").touch()
    (tmp_path / "celeba").mkdir()
    (tmp_path / "celeba" / "img_align_celeba.zip").touch()
    states = doctor.data_states(tmp_path)
    assert states["cifar10"] == states["celeba"] == "là"
    finding = doctor.check_disk(tmp_path / "cifar-10-python.tar.gz")
    assert finding.state == doctor.WARNING and "GAN_COURSE_DATA" in finding.advice


def test_empty_data_name_lists_the_sets(capsys):
    assert cli.main(["data", ""]) == 0
    assert "mnist" in capsys.readouterr().out
