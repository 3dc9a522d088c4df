"""L'installation : ce qui se copie ne diverge pas, et les habitudes du projet sont tenues."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
MODULES = sorted((ROOT / "gan_course").rglob("*.py"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_requirements_copy_pyproject():
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cours"]
    lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines == wanted


def test_environment_follows_pyproject():
    entries = re.findall(r"^ *- (.+)$", read("environment.yml").partition("dependencies:")[2], flags=re.MULTILINE)
    assert entries == ["python" + PROJECT["requires-python"], "pip", "pip:", "-r requirements.txt", "-e ."]


def test_only_lower_bounds():
    lines = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    for line in lines:
        assert re.fullmatch(r"[\w-]+>=[\d.]+|gan-course\[cours\]", line), line


def test_colab_constraints_respect_lower_bounds():
    from gan_course.tools.doctor import as_numbers, lower_bounds

    pins = dict(line.split("==") for line in read(".github/colab-2026-08.txt").splitlines() if "==" in line)
    core = [re.split(">=", line)[0] for line in PROJECT["dependencies"]]
    assert set(core) <= set(pins)
    for name in core:
        assert as_numbers(pins[name]) >= as_numbers(lower_bounds()[name]), name


@pytest.mark.skipif(shutil.which("sed") is None, reason="sed n'est pas installé")
def test_the_weekly_job_installs_every_lower_bound():
    command = re.search(r"sed .*(?= > bornes.txt)", read(".github/workflows/weekly.yml"))[0]
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + extras["cours"] + extras["tests"]
    assert done.stdout.split() == [line.replace(">=", "==") for line in lines if "gan-course" not in line]


def test_only_pytorch_index_is_named():
    for path in [ROOT / "Makefile", *ROOT.glob("*.txt"), *ROOT.glob("*.yml"), *(ROOT / ".github").rglob("*.*")]:
        for url in re.findall(r"index[-_]url[= ]+(\S+)", path.read_text(encoding="utf-8"), flags=re.IGNORECASE):
            assert url == "https://download.pytorch.org/whl/cpu", path


@pytest.mark.parametrize("module", ["", ".__main__", ".tools.run", ".tools.doctor"])
def test_light_import(module):
    heavy = {"torch", "torchvision", "matplotlib", "papermill", "numpy"}
    code = f"import sys, gan_course{module}; print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_version_has_one_place():
    import gan_course

    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", gan_course.__version__)


def test_ruff():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout



DRAWING, OUTSIDE = ("display", "figures", "live", "explorer"), ("tools", "__main__")
# pièce : ce qu'elle n'importe pas
FORBIDDEN = {
    "data": ("models", "training", "losses", "penalties", "recipe", *DRAWING),
    "models": ("data", "training", *DRAWING),
    "losses": ("data", "models", "training", *DRAWING),
    "penalties": ("data", "models", "training", *DRAWING),
    "training": DRAWING,
    "engine": ("data", "models", "training", "exercises", *DRAWING),
}


def test_import_directions():
    """Les données ne vont que vers la droite, et rien de la leçon ne dépend des outils."""
    for path in MODULES:
        room = path.relative_to(ROOT / "gan_course").with_suffix("").parts[0]
        modules = imported_modules(path)
        for name in FORBIDDEN.get(room, ()) + (OUTSIDE if room not in OUTSIDE else ()):
            wrong = [m for m in modules if re.match(rf"gan_course\.{name}(\.|$)", m)]
            assert not wrong, f"{path} importe {wrong}"
        if room != "data":
            assert not any(module.startswith("torchvision") for module in modules), path


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def test_public_functions_have_docstrings():
    # Les vérifications d'exercices se décrivent par la phrase de leur Property.
    described = [path for path in MODULES if not re.match(r"(chapter\d+.*|shared|mistakes)\.py", path.name)]
    for path in described:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name} : {node.name} n'a pas de docstring"


@pytest.mark.skipif(shutil.which("make") is None, reason="make n'est pas installé")
def test_default_goal_is_help():
    done = subprocess.run(["make"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "make cours" in done.stdout
