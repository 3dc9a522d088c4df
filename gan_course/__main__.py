"""Les commandes du cours : python -m gan_course, puis l'un des noms du tableau COMMANDS.

Rien de lourd n'est importé ici : l'aide et le diagnostic répondent même là où PyTorch manque, et ce fichier se
lit encore par un Python trop ancien, pour pouvoir le dire.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

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


def run(asked: argparse.Namespace) -> int:
    """Exécute les chapitres demandés ; rend 1 si l'un d'eux échoue."""
    from gan_course.tools import run

    return run.run(asked.mode, asked.chapitres, asked.sortie, run.read_overrides(asked.parametre))


def lab(asked: argparse.Namespace) -> int:
    """Ouvre JupyterLab sur le dossier des carnets."""
    from gan_course.tools import run

    return run.open_lab()


def data(asked: argparse.Namespace) -> int:
    """Énumère les jeux de données, ou prépare celui qui est nommé."""
    if asked.name in ("list", ""):
        from gan_course.tools import doctor

        print(doctor.data_table(asked.root))
        return 0
    from gan_course.data import load_images

    print(load_images(asked.name, size=asked.size, root=asked.root, split=asked.split))
    return 0


def train(asked: argparse.Namespace) -> int:
    """Énumère ce que le cours fournit, ou refait ce qui est nommé."""
    from gan_course.tools import retrain
    from gan_course.training import TrainingDiverged

    if asked.name == "list":
        print(retrain.table())
        return 0
    try:
        path = retrain.make(asked.name, asked.steps, asked.seed, asked.root, asked.sortie)
    except TrainingDiverged as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Poids, carte et images : {path.with_suffix('.*')}")
    return 0


def assign(asked: argparse.Namespace) -> int:
    """Écrit les carnets d'un devoir."""
    from gan_course.tools import assign

    written = assign.assign(asked.chapitres, asked.sortie, asked.eleves, asked.corrige, asked.remplacer)
    print(f"Carnets écrits dans {asked.sortie} : {len(written)}.")
    return 0


def grade(asked: argparse.Namespace) -> int:
    """Note un dossier de copies ; rend 130 si l'on a interrompu."""
    from gan_course.tools.grading import grade, trial

    for name in ("limite", "memoire", "processus"):
        value = getattr(asked, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} attend un nombre positif ; reçu : {value}.")
    limits = trial.Limits(asked.limite, asked.memoire, max(180.0, 12 * asked.limite))
    return grade.grade(asked.copies, asked.out, asked.chapitre, limits, asked.processus)


def publish(asked: argparse.Namespace) -> int:
    """Récrit ce qui se déduit des maîtres, ou le compare."""
    from gan_course.tools import publish

    return publish.publish(asked.check, asked.slug, asked.ref)


def doctor(asked: argparse.Namespace) -> int:
    """Affiche le diagnostic de la machine ; rend 1 si le cours ne peut pas tourner."""
    from gan_course.tools import doctor

    return doctor.report()


def option(*names: str, **settings: object) -> tuple:
    """Un argument d'une commande, tel qu'add_argument l'attend."""
    return names, settings


def folder(default: str, what: str) -> tuple:
    """L'option --sortie, son dossier par défaut, et ce qui s'y écrit."""
    return option("--sortie", type=Path, default=Path(default), metavar="DOSSIER", help=f"{what} (défaut : {default})")


ROOT = option("--root", type=str, metavar="DOSSIER",
              help="dossier des données (défaut : $GAN_COURSE_DATA, sinon le cache de l'utilisateur)")  # fmt: skip

# Une commande par ligne : son nom, ce qu'elle fait, ce qui l'exécute, ses arguments.
COMMANDS = {
    "run": ("exécute les chapitres et en fait des pages HTML", run, [
        option("--mode", default="eclair", choices=("eclair", "cours", "complet"),
               type=lambda text: text.lower().replace("é", "e"),
               help="eclair : un passage d'essai ; cours : la leçon ; complet : tout (défaut : eclair)"),
        option("--chapitres", nargs="+", metavar="NN", help="numéros des chapitres (défaut : tous)"),
        folder("build/cours", "où écrire les pages"),
        option("-p", "--parametre", action="append", default=[], metavar="NOM=VALEUR",
               help="remplace un paramètre des carnets, par exemple -p SEED=3 ; peut se répéter"),
    ]),
    "lab": ("ouvre les carnets dans JupyterLab", lab, []),
    "data": ("dit quelles données sont là, ou en prépare", data, [
        option("name", nargs="?", default="list", metavar="NOM",
               help="un jeu de données ou un chemin ; « list » (défaut) les énumère"),
        option("--size", type=int, metavar="PIXELS", help="côté des images (défaut : celui du jeu)"),
        option("--split", default="train", metavar="PARTIE", help="train ou test (défaut : train)"),
        ROOT,
    ]),
    "train": ("refait un générateur ou un espace de mesure fourni avec le cours", train, [
        option("name", nargs="?", default="list", metavar="NOM",
               help="ce qu'il faut refaire ; « list » (défaut) les énumère"),
        option("--steps", type=int, metavar="N", help="nombre de pas (défaut : celui du générateur fourni)"),
        option("--seed", type=int, default=0, metavar="N", help="graine (défaut : 0)"),
        ROOT,
        folder("build/poids", "où écrire poids, carte et images"),
    ]),
    "assign": ("enseignant : écrit les carnets d'un devoir, et son corrigé", assign, [
        option("--chapitres", nargs="+", default=["06"], metavar="NN", help="numéros des chapitres (défaut : 06)"),
        folder("build/devoir", "où écrire les carnets"),
        option("--eleves", type=Path, metavar="FICHIER",
               help="une liste de noms, .txt ou .csv : chacun reçoit sa copie, avec sa graine"),
        option("--corrige", action="store_true", help="écrit aussi le corrigé, dans un sous-dossier"),
        option("--remplacer", action="store_true", help="remplace les fichiers déjà là"),
    ]),
    "grade": ("enseignant : note un dossier de copies", grade, [
        option("copies", type=Path, metavar="COPIES", help="le dossier des carnets rendus"),
        option("--out", type=Path, default=Path("notes.csv"), metavar="FICHIER",
               help="le tableau à écrire ; les retours vont à côté, dans retours (défaut : notes.csv)"),
        option("--chapitre", default="06", metavar="NN", help="numéro du chapitre (défaut : 06)"),
        option("--limite", type=float, default=10.0, metavar="SECONDES",
               help="durée permise par exercice (défaut : 10)"),
        option("--memoire", type=int, default=1024, metavar="MIO",
               help="mémoire permise par exercice, en Mio (défaut : 1024)"),
        option("--processus", type=int, metavar="N", help="copies à la fois (défaut : autant que de cœurs)"),
    ]),
    "publish": ("auteur : récrit carnets des étudiants, badges et tableau du README", publish, [
        option("--check", action="store_true", help="compare seulement ; code 1 et différences s'il y en a"),
        option("--slug", metavar="ORG/REPO", help="adresse du dépôt (défaut : pyproject.toml, sinon l'origine git)"),
        option("--ref", metavar="NOM",
               help="branche ou étiquette que suivent les étudiants (défaut : ref dans pyproject.toml, sinon main)"),
    ]),
    "doctor": ("dit ce qui manque pour suivre le cours, et quoi faire", doctor, []),
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Décrit les commandes et leurs options ; aucun module du cours n'est chargé."""
    # argparse passe chacun de ses messages à cette fonction, faite pour la traduction.
    argparse._ = lambda text: FRENCH.get(text, text)
    parser = argparse.ArgumentParser("python -m gan_course", description="Un cours de GAN, en français.")
    commands = parser.add_subparsers(title="commandes ", dest="command", metavar="COMMANDE")
    for name, (what, _, arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        for names, settings in arguments:
            command.add_argument(*names, **settings)
    return parser


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
    asked = parser.parse_args(words)
    if asked.command is None:
        parser.print_help()
        return 0
    try:
        return COMMANDS[asked.command][1](asked)
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
