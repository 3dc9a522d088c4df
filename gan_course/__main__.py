"""Les commandes du cours : python -m gan_course run | lab | data | train | assign | grade | doctor.

Rien de lourd n'est importé ici : l'aide et le diagnostic répondent même là où PyTorch manque, et ce fichier se
lit encore par un Python trop ancien, pour pouvoir le dire.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = ("run", "lab", "data", "train", "assign", "grade", "doctor")

# Les mots d'argparse, qui n'a pas de traduction française.
FRENCH = {
    "usage: ": "usage : ",
    "options": "options ",  # suivi d'un deux-points : d'où l'espace
    "positional arguments": "arguments ",
    "show this help message and exit": "affiche cette aide",
    "%(prog)s: error: %(message)s\n": "%(prog)s : %(message)s\n",
    "argument %(argument_name)s: %(message)s": "argument %(argument_name)s : %(message)s",
    "invalid choice: %(value)r (choose from %(choices)s)": "%(value)r n'existe pas ; choisissez parmi %(choices)s",
    "invalid %(type)s value: %(value)r": "%(value)r n'est pas une valeur possible (type attendu : %(type)s)",
    "unrecognized arguments: %s": "arguments inconnus : %s",
    "the following arguments are required: %s": "il manque : %s",
    "expected one argument": "il faut une valeur",
    "expected at least one argument": "il faut au moins une valeur",
    "expected at most one argument": "il faut une valeur au plus",
    "ambiguous option: %(option)s could match %(matches)s": "%(option)s est ambigu : %(matches)s",
    "ignored explicit argument %r": "cette option ne prend pas de valeur (%r reçu)",
}


def build_parser() -> argparse.ArgumentParser:
    """Décrit les commandes et leurs options ; aucun module du cours n'est chargé."""
    # argparse passe chacun de ses messages à cette fonction, faite pour la traduction.
    argparse._ = lambda text: FRENCH.get(text, text)
    parser = argparse.ArgumentParser("python -m gan_course", description="Un cours de GAN, en français.")
    commands = parser.add_subparsers(title="commandes ", dest="command", metavar="COMMANDE")

    run = commands.add_parser("run", help="exécute les chapitres et en fait des pages HTML")
    run.add_argument(
        "--mode", default="eclair", choices=("eclair", "cours", "complet"),
        type=lambda text: text.lower().replace("é", "e"),
        help="eclair : un passage d'essai ; cours : la leçon ; complet : tout (défaut : eclair)",
    )  # fmt: skip
    run.add_argument("--chapitres", nargs="+", metavar="NN", help="numéros des chapitres (défaut : tous)")
    run.add_argument(
        "--sortie", type=Path, default=Path("build/cours"), metavar="DOSSIER",
        help="où écrire les pages (défaut : build/cours)",
    )  # fmt: skip
    run.add_argument(
        "-p", "--parametre", action="append", default=[], metavar="NOM=VALEUR",
        help="remplace un paramètre des carnets, par exemple -p SEED=3 ; peut se répéter",
    )  # fmt: skip

    commands.add_parser("lab", help="ouvre les carnets dans JupyterLab")

    add_data_command(commands)
    add_train_command(commands)
    add_assign_command(commands)
    add_grade_command(commands)
    commands.add_parser("doctor", help="dit ce qui manque pour suivre le cours, et quoi faire")
    return parser


def add_data_command(commands: argparse._SubParsersAction) -> None:
    """Décrit la commande data."""
    data = commands.add_parser("data", help="dit quelles données sont là, ou en prépare")
    data.add_argument(
        "name", nargs="?", default="list", metavar="NOM",
        help="un jeu de données ou un chemin ; « list » (défaut) les énumère",
    )  # fmt: skip
    data.add_argument("--size", type=int, metavar="PIXELS", help="côté des images (défaut : celui du jeu)")
    data.add_argument("--split", default="train", metavar="PARTIE", help="train ou test (défaut : train)")
    data.add_argument(
        "--root", type=Path, metavar="DOSSIER",
        help="dossier des données (défaut : $GAN_COURSE_DATA, sinon le cache de l'utilisateur)",
    )  # fmt: skip


def add_train_command(commands: argparse._SubParsersAction) -> None:
    """Décrit la commande train."""
    train = commands.add_parser("train", help="refait un générateur ou un espace de mesure fourni avec le cours")
    train.add_argument(
        "name", nargs="?", default="list", metavar="NOM", help="ce qu'il faut refaire ; « list » (défaut) les énumère"
    )
    train.add_argument("--steps", type=int, metavar="N", help="nombre de pas (défaut : celui du générateur fourni)")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="graine (défaut : 0)")
    train.add_argument("--root", type=Path, metavar="DOSSIER", help="dossier des données, comme pour data")
    train.add_argument(
        "--sortie", type=Path, default=Path("build/poids"), metavar="DOSSIER",
        help="où écrire poids, carte et images (défaut : build/poids)",
    )  # fmt: skip


def add_assign_command(commands: argparse._SubParsersAction) -> None:
    """Décrit la commande assign."""
    assign = commands.add_parser("assign", help="enseignant : écrit les carnets d'un devoir, et son corrigé")
    assign.add_argument(
        "--chapitres", nargs="+", default=["06"], metavar="NN", help="numéros des chapitres (défaut : 06)"
    )
    assign.add_argument(
        "--sortie", type=Path, default=Path("build/devoir"), metavar="DOSSIER",
        help="où écrire les carnets (défaut : build/devoir)",
    )  # fmt: skip
    assign.add_argument(
        "--eleves", type=Path, metavar="FICHIER",
        help="une liste de noms, .txt ou .csv : chacun reçoit sa copie, avec sa graine",
    )  # fmt: skip
    assign.add_argument("--corrige", action="store_true", help="écrit aussi le corrigé, dans un sous-dossier")
    assign.add_argument("--remplacer", action="store_true", help="remplace les fichiers déjà là")


def add_grade_command(commands: argparse._SubParsersAction) -> None:
    """Décrit la commande grade."""
    grade = commands.add_parser("grade", help="enseignant : note un dossier de copies")
    grade.add_argument("copies", type=Path, metavar="COPIES", help="le dossier des carnets rendus")
    grade.add_argument(
        "--out", type=Path, default=Path("notes.csv"), metavar="FICHIER",
        help="le tableau à écrire ; les retours vont à côté, dans retours (défaut : notes.csv)",
    )  # fmt: skip
    grade.add_argument("--chapitre", default="06", metavar="NN", help="numéro du chapitre (défaut : 06)")
    grade.add_argument(
        "--limite", type=float, default=10.0, metavar="SECONDES", help="durée permise par exercice (défaut : 10)"
    )
    grade.add_argument(
        "--memoire", type=int, default=1024, metavar="MIO", help="mémoire permise par exercice, en Mio (défaut : 1024)"
    )
    grade.add_argument("--processus", type=int, metavar="N", help="copies à la fois (défaut : autant que de cœurs)")


def run_command(arguments: argparse.Namespace) -> int:
    """Exécute les chapitres demandés ; rend 1 si l'un d'eux échoue."""
    from gan_course.tools import run

    overrides = run.read_overrides(arguments.parametre)
    return run.run(arguments.mode, arguments.chapitres, arguments.sortie, overrides)


def lab_command(arguments: argparse.Namespace) -> int:
    """Ouvre JupyterLab sur le dossier des carnets."""
    from gan_course.tools import run

    return run.open_lab()


def data_command(arguments: argparse.Namespace) -> int:
    """Énumère les jeux de données, ou prépare celui qui est nommé."""
    from gan_course.tools import doctor

    if arguments.name in ("list", ""):
        print(doctor.data_table(arguments.root))
        return 0
    from gan_course.data import load_images

    root = None if arguments.root is None else str(arguments.root)
    print(load_images(arguments.name, size=arguments.size, root=root, split=arguments.split))
    return 0


def train_command(arguments: argparse.Namespace) -> int:
    """Énumère ce que le cours fournit, ou refait ce qui est nommé."""
    from gan_course.tools import retrain
    from gan_course.training import TrainingDiverged

    if arguments.name == "list":
        print(retrain.table())
        return 0
    root = None if arguments.root is None else str(arguments.root)
    try:
        path = retrain.make(arguments.name, arguments.steps, arguments.seed, root, arguments.sortie)
    except TrainingDiverged as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Poids, carte et images : {path.with_suffix('.*')}")
    return 0


def assign_command(arguments: argparse.Namespace) -> int:
    """Écrit les carnets d'un devoir."""
    from gan_course.tools import assign

    written = assign.assign(
        arguments.chapitres, arguments.sortie, arguments.eleves, arguments.corrige, arguments.remplacer
    )
    print(f"Carnets écrits dans {arguments.sortie} : {len(written)}.")
    return 0


def grade_command(arguments: argparse.Namespace) -> int:
    """Note un dossier de copies ; rend 130 si l'on a interrompu."""
    from gan_course.tools.grading import grade, worker

    for name in ("limite", "memoire", "processus"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} attend un nombre positif ; reçu : {value}.")
    limits = worker.Limits(arguments.limite, arguments.memoire, max(180.0, 12 * arguments.limite))
    return grade.grade(arguments.copies, arguments.out, arguments.chapitre, limits, arguments.processus)


def doctor_command(arguments: argparse.Namespace) -> int:
    """Affiche le diagnostic de la machine ; rend 1 si le cours ne peut pas tourner."""
    from gan_course.tools import doctor

    return doctor.report()


def main(words: Sequence[str] | None = None) -> int:
    """Lit la ligne de commande, exécute la commande et rend le code de sortie du programme."""
    if sys.version_info < (3, 11):  # noqa: UP036 - un Python trop ancien arrive jusqu'ici, et doit être dit
        print("Python %d.%d est trop ancien : il faut Python 3.11 ou plus récent." % sys.version_info[:2])  # noqa: UP031
        print("Installez-le (https://www.python.org/downloads/), puis recommencez avec ce Python-là.")
        return 1
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        # Un terminal qui ne sait pas écrire un caractère ne doit pas arrêter le cours.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1, cutoff=0.4)
        hint = f" Vouliez-vous dire « {near[0]} » ?" if near else ""
        print(f"Commande inconnue : « {words[0]} ».{hint} Commandes : {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    parser = build_parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return 0
    actions = {"run": run_command, "lab": lab_command, "data": data_command}
    actions |= {"train": train_command, "assign": assign_command, "grade": grade_command, "doctor": doctor_command}
    try:
        return actions[arguments.command](arguments)
    except ModuleNotFoundError as error:
        print(f"Il manque le module « {error.name} ». Lancez : python -m gan_course doctor", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        # Ces erreurs-là disent déjà en français ce qui est arrivé et quoi faire : la trace n'apprendrait rien.
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrompu.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
