"""Ce qui manque pour suivre le cours, et quoi faire : python -m gan_course doctor.

Tout doit répondre là où PyTorch manque ou est cassé : rien n'est importé avant d'être essayé.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

GOOD, WARNING, MISSING = "bien", "à voir", "manque"
PAIR = ("torch", "torchvision")
DISK_GB, MEMORY_GB = 2, 4  # MNIST, son cache et les points de reprise ; un chapitre et JupyterLab


@dataclass(frozen=True)
class Finding:
    """Un constat : état (bien, à voir, manque), ce qui est examiné, ce qui est trouvé, ce qu'il faut faire."""

    state: str
    name: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.state:<7} {self.name:<12} {self.found}"
        return f"{line}\n{'':<21}Que faire : {self.advice}" if self.advice else line


def lower_bounds() -> dict[str, str]:
    """Les versions minimales {"torch": "2.6", …} : du pyproject.toml du dépôt, sinon du paquet installé."""
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if pyproject.exists():
        import tomllib

        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        lines = project["dependencies"] + project["optional-dependencies"]["cours"]
    else:
        lines = [line for line in importlib.metadata.requires("gan-course") or [] if "tests" not in line]
    return dict(re.findall(r"^([\w-]+) *>= *([\d.]+)", "\n".join(lines), flags=re.MULTILINE))


def as_numbers(version: str) -> tuple[int, ...]:
    """Les trois premiers nombres d'une version : « 2.15.0+cpu » donne (2, 15, 0)."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def installed(name: str) -> str | None:
    """La version installée d'un paquet, ou None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def in_colab() -> bool:
    """Vrai dans Colab, qui fournit lui-même de quoi exécuter un carnet."""
    return "COLAB_RELEASE_TAG" in os.environ


def check_python() -> Finding:
    """La version de Python, et s'il s'agit d'un environnement virtuel."""
    where = "" if sys.prefix != sys.base_prefix or in_colab() else ", hors de tout environnement virtuel"
    return Finding(GOOD, "Python", f"{platform.python_version()} sous {platform.system()}{where}")


def check_package(name: str, minimum: str) -> Finding:
    """La présence et la version d'un paquet ; torch et torchvision, qui vont par deux, doivent aussi s'importer."""
    version = installed(name)
    command = f'python -m pip install --upgrade "{name}>={minimum}"'
    if version is None:
        return Finding(MISSING, name, "absent", command)
    if as_numbers(version) < as_numbers(minimum):
        return Finding(MISSING, name, f"{version}, trop ancien ; il faut au moins {minimum}", command)
    try:
        # Une paire désaccordée, ou dont l'un a CUDA et l'autre non : seul l'import le dit.
        if name in PAIR:
            importlib.import_module(name)
    except Exception as error:  # un torch cassé lève OSError, RuntimeError, ImportError… selon ce qui est cassé
        advice = f"python -m pip install --upgrade {' '.join(PAIR)} (ensemble)"
        return Finding(MISSING, name, f"{version} ne s'importe pas ({type(error).__name__} : {error})", advice)
    return Finding(GOOD, name, version)


def check_compute() -> Finding:
    """L'appareil de calcul que le cours choisirait ici, et la précision qu'il permet."""
    import torch

    from gan_course.engine.device import best_device, choose_dtype

    device = best_device()
    reason = choose_dtype(device, "auto")[1]
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        kind = "sans CUDA" if torch.version.cuda is None else "avec CUDA"
        return Finding(
            WARNING, "calcul", f"un GPU NVIDIA est là, mais ce PyTorch ({kind}) ne le voit pas",
            "si vous voulez vous en servir, mettez le pilote à jour et installez un PyTorch avec CUDA (pytorch.org)",
        )  # fmt: skip
    if device.type == "cpu":
        advice = "rien pour les modes eclair et cours ; le mode complet est fait pour un GPU (Colab en prête)"
        return Finding(GOOD, "calcul", f"pas de GPU ; {reason}", advice)
    return Finding(GOOD, "calcul", reason)


def check_disk(folder: Path) -> Finding:
    """La place libre là où iront les données."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding(WARNING, "disque", f"impossible d'écrire dans {folder}", "changez $GAN_COURSE_DATA")
    free = shutil.disk_usage(folder).free / 1e9
    found = f"{free:.0f} Go libres pour {folder}"
    if free < DISK_GB:
        return Finding(WARNING, "disque", found, f"faites de la place : {DISK_GB} Go, ou changez $GAN_COURSE_DATA")
    return Finding(GOOD, "disque", found)


def memory_gb() -> float | None:
    """La mémoire vive de la machine en Go, ou None si le système ne la dit pas."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    if sys.platform == "win32":
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        if ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes)):
            return kilobytes.value * 1024 / 1e9
    return None


def check_memory() -> Finding:
    """La mémoire vive et le nombre de cœurs."""
    memory, cores = memory_gb(), os.cpu_count() or 1
    found = f"{cores} cœurs, " + ("mémoire inconnue" if memory is None else f"{memory:.0f} Go de mémoire")
    if memory is not None and memory < MEMORY_GB:
        return Finding(WARNING, "machine", found, "fermez les autres programmes, ou prenez le mode eclair")
    return Finding(GOOD, "machine", found)


def data_states(root: Path) -> dict[str, str]:
    """Pour chaque jeu de données connu : « sans réseau », « là » ou « à télécharger (combien, d'où) »."""
    from gan_course.data.sources import SOURCES

    return {name: source.state(root) for name, source in SOURCES.items()}


def data_table(folder: Path | None = None) -> str:
    """Le tableau des jeux de données de `python -m gan_course data`."""
    from gan_course.data import data_root

    root = data_root(folder)
    lines = [f"{name:<15} {state}" for name, state in data_states(root).items()]
    lines += ["", f"Dossier des données : {root} (pour en changer : $GAN_COURSE_DATA, ou --root)."]
    lines.append("En préparer un : python -m gan_course data mnist ; un dossier ou un .zip d'images convient aussi.")
    return "\n".join(lines)


def check_data() -> list[Finding]:
    """La place dans le dossier des données, et ce qui s'y trouve déjà."""
    try:
        from gan_course.data import data_root
    except Exception:  # torch manque ou est cassé : c'est déjà dit plus haut
        return [check_disk(Path.cwd())]
    root = data_root()
    found = ", ".join(f"{name} : {state.partition(' (')[0]}" for name, state in data_states(root).items())
    return [check_disk(root), Finding(GOOD, "données", found)]


def examine() -> list[Finding]:
    """Tous les constats, dans l'ordre où ils sont affichés."""
    findings = [check_python()]
    for name, minimum in lower_bounds().items():
        if name in ("jupyterlab", "ipykernel", "papermill", "nbconvert") and in_colab():
            continue
        findings.append(check_package(name, minimum))
    if any(finding.name == "torch" and finding.state == GOOD for finding in findings):
        findings.append(check_compute())
    return [*findings, check_memory(), *check_data()]


def report() -> int:
    """Affiche les constats ; rend 0 si le cours peut tourner, 1 s'il manque quelque chose."""
    findings = examine()
    for finding in findings:
        print(finding)
    print()
    missing = [finding.name for finding in findings if finding.state == MISSING]
    if missing:
        print(f"Le cours ne peut pas tourner : {', '.join(missing)}. Faites ce qui est dit ci-dessus, ou,")
        print('pour tout installer d\'un coup : python -m pip install -e ".[cours]"')
        return 1
    print("Le cours peut tourner : make cours (python -m gan_course run).")
    return 0
