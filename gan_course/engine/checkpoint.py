"""Le fichier d'un entraînement : écrit en entier ou pas du tout, vérifié avant d'être lu, un seul écrivain.

Un point de reprise est ce qu'écrit torch.save, une archive zip, dont le commentaire de fin porte le SHA-256 de tout ce
qui précède : les CRC d'un zip ne couvrent pas ses en-têtes, et un seul bit changé passerait inaperçu. torch.load le
relit tel quel. Autour de runs/gan.pt :

    runs/gan.previous.pt    le point d'avant, repris si le dernier est abîmé
    runs/.gan.pt.lock       tenu par le processus qui écrit ; le fichier lui survit, le verrou non
    runs/gan.pt.….tmp       un point en cours d'écriture ; ceux d'un processus tué sont effacés par le suivant
"""

import glob
import hashlib
import math
import os
import pickle
import secrets
import shutil
import time
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from gan_course.engine.files import aside, atomic_write, lock
from gan_course.engine.progress import FIELDS

FORMAT = 1
SEAL = b"gan_course sha256 "
SEALED = 2 + len(SEAL) + 64  # longueur du commentaire, sur deux octets, puis le commentaire
LONGEST_NAME = 200  # octets, sur les 255 que permettent les disques : le nom provisoire est plus long
OLD = 3600  # secondes après lesquelles un fichier provisoire est abandonné, là où aucun verrou ne le dit
PARTS = ("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "scaler")
SCHEMA: dict[str, type | tuple[type, ...]] = {
    "format": int, "step": int, "seconds": (int, float), "history": Tensor, "recipe": dict, "architecture": dict,
    "data": (str, int, float), "seed": int, "world_size": int, **dict.fromkeys(PARTS, dict),
}  # fmt: skip


class CheckpointError(RuntimeError):
    """Un point de reprise illisible, impossible à écrire, tenu par un autre, ou fait pour un autre entraînement."""


class _Unusable(Exception):
    """Pourquoi un point de reprise ne peut servir : la fin d'une phrase dont il est le sujet."""


class Checkpoint:
    """Le point de reprise d'un entraînement.

    path    nom de fichier, « ~ » compris ; son dossier est créé
    writer  False pour seulement lire : aucun verrou, rien d'écrit ni de dit (les autres processus de torchrun)

    Un autre processus qui écrit déjà ce fichier le fait refuser ici, avant de calculer quoi que ce soit. Dans un même
    processus, le dernier à avoir appelé `claim` écrit seul, et le `save` des autres ne fait plus rien : une cellule
    relancée laisse souvent derrière elle un générateur, qui écraserait sinon un point plus avancé que le sien.

    Lève CheckpointError si `path` n'est pas un nom de fichier, si rien ne peut s'y écrire, ou si la place est prise.
    """

    def __init__(self, path: str | os.PathLike, *, writer: bool = True) -> None:
        self.path = _destination(path)
        self.previous = self.path.with_stem(f"{self.path.stem}.previous")
        self._sound = False  # le dernier point est-il bon ? Seul un bon point prend la place du précédent.
        # Le numéro de processus : après un fork, l'enfant hérite de l'objet mais pas du verrou.
        self._key, self._place = (os.getpid(), self.path), None
        if writer:
            self._place = _places.get(self._key) or _Place(self.path)
            _places[self._key] = self._place
            self._remove_leftovers()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self) -> None:
        """Devient, dans ce processus, celui qui écrit."""
        _writers[self._key] = self

    def close(self) -> None:
        """Rend sa place. Le verrou l'est aussi quand plus personne, dans ce processus, n'écrit ce fichier."""
        if _writers.get(self._key) is self:
            del _writers[self._key]
        self._place = None

    def load(self, map_location: torch.device | str = "cpu") -> dict[str, Any] | None:
        """Le dernier état enregistré, ou le précédent si le dernier est abîmé ; None si le fichier n'existe pas.

        Chaque octet est vérifié, puis torch lit avec `weights_only=True` : un fichier reçu d'un inconnu n'exécute
        rien. L'état rendu a toutes ses clés, du type attendu, et des nombres finis (voir `validate`).

        Lève CheckpointError si ni l'un ni l'autre ne peut servir, ou si le dernier vient d'une version plus récente.
        """
        if not self.path.exists():
            if self.previous.exists():
                self._say(f"{self.path} n'existe pas : on part de zéro. Pour reprendre, copiez-y {self.previous}.")
            return None
        try:
            state = _read(self.path, map_location)
            self._sound = True
            return state
        except _Unusable as error:
            last = error
        try:
            state = _read(self.previous, map_location)
        except (_Unusable, FileNotFoundError) as error:
            other = "" if isinstance(error, FileNotFoundError) else f", et {self.previous} {error}"
            raise CheckpointError(
                f"{self.path} {last}{other}. Supprimez-le pour repartir de zéro, ou donnez un autre nom à checkpoint=."
            ) from last
        self._say(f"{self.path} {last} ; on reprend le précédent, {self.previous}, au pas {state['step']}.")
        return state

    def save(self, state: dict[str, Any]) -> bool:
        """Écrit `state` de façon atomique, et garde le point d'avant. Rend False si un autre a pris la place.

        À tout instant, `path` contient le point précédent entier ou le nouveau entier. Lève CheckpointError si l'état
        ne se relirait pas (NaN dans les poids, clé absente) ou si l'écriture échoue (disque plein, dossier protégé) ;
        ce qui était enregistré est alors intact.
        """
        mine = self._place is not None and self._key[0] == os.getpid()
        if not mine or _writers.get(self._key, self) is not self:
            return False
        state = {"format": FORMAT, **state}
        try:
            validate(state)
            with atomic_write(self.path) as file:
                torch.save(state, file)
                _seal(file)
                self._keep_previous()
        except _Unusable as error:
            raise CheckpointError(
                f"L'état à enregistrer dans {self.path} {error}. Le point d'avant, s'il existait, est intact."
            ) from error
        except (OSError, RuntimeError) as error:  # torch.save signale un disque plein par RuntimeError
            raise CheckpointError(
                f"Impossible d'écrire le point de reprise {self.path} ({error}). Le précédent, s'il existait, est "
                "intact. Libérez de la place ou choisissez un autre dossier."
            ) from error
        self._sound = True
        return True

    def _keep_previous(self) -> None:
        """Donne au dernier point, s'il est bon, un second nom : le premier ne disparaît à aucun moment."""
        if not self._sound or not self.path.exists():
            return
        second = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.tmp")
        try:
            os.link(self.path, second)
        except OSError:  # Drive, FAT : pas de second nom pour un même fichier
            shutil.copyfile(self.path, second)
        os.replace(second, self.previous)
        second.unlink(missing_ok=True)  # entre deux noms d'un même fichier, POSIX veut que replace ne fasse rien

    def _remove_leftovers(self) -> None:
        """Efface les fichiers provisoires des morts : qui tient le verrou est seul vivant ; sinon, les vieux."""
        for leftover in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.tmp"):
            with suppress(OSError):  # un autre vient de l'effacer, ou il n'est pas à nous
                if self._place.locked or time.time() - leftover.stat().st_mtime > OLD:
                    leftover.unlink()

    def _say(self, text: str) -> None:
        if self._place is not None:
            print(text, file=aside())


class _Place:
    """Le verrou d'un point de reprise, que se partagent les Checkpoint d'un même processus ; rendu avec le dernier."""

    def __init__(self, path: Path) -> None:
        self.file, self.locked = None, False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)  # créer le témoin montre aussi que le dossier s'écrit
            descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if path.exists():  # relire un point de reprise d'un dossier protégé reste permis
                return
            raise CheckpointError(
                f"Impossible d'écrire dans le dossier {path.parent} ({error.strerror}). Choisissez-en un autre."
            ) from error
        self.file = os.fdopen(descriptor, "r+b")
        taken = lock(self.file)
        if taken is False:
            self.file.close()
            raise CheckpointError(
                f"Un autre entraînement écrit déjà {path}. Attendez qu'il finisse ou arrêtez-le (un autre carnet "
                "ouvert ?), ou donnez un autre nom à checkpoint=."
            )
        self.locked = taken is True


# Par références faibles : un entraînement oublié rend sa place.
_places: "weakref.WeakValueDictionary[tuple[int, Path], _Place]" = weakref.WeakValueDictionary()
_writers: "weakref.WeakValueDictionary[tuple[int, Path], Checkpoint]" = weakref.WeakValueDictionary()


def _destination(path: str | os.PathLike) -> Path:
    """Le chemin absolu, « ~ » développé, liens suivis. Lève CheckpointError s'il ne peut être un point de reprise."""
    try:
        text = os.fspath(path)
        # Absolu : un os.chdir au milieu de l'entraînement ne doit pas déplacer le fichier.
        absolute = Path(os.path.realpath(Path(text).expanduser()))
        ordinary = not absolute.exists() or absolute.is_file()  # un tube ferait attendre sans fin
        fits = ordinary and not text.endswith(("/", os.sep)) and len(os.fsencode(absolute.name)) <= LONGEST_NAME
    except (TypeError, OSError, RuntimeError, ValueError):  # octets, « ~inconnu », nom trop long, caractère nul
        fits = False
    if not fits:
        raise CheckpointError(
            f'checkpoint={path!r} reçu ; il faut un nom de fichier, par exemple "runs/gan.pt", et non un dossier.'
        )
    return absolute


def _seal(file: BinaryIO) -> None:
    """Ajoute à l'archive que torch.save vient d'écrire le condensé de tous ses octets, en commentaire."""
    file.seek(0)
    comment = SEAL + hashlib.file_digest(file, "sha256").hexdigest().encode()
    file.seek(-2, os.SEEK_END)  # un zip sans commentaire finit par sa longueur, zéro
    file.write(len(comment).to_bytes(2, "little") + comment)


def _check_seal(file: BinaryIO) -> None:
    """Lève _Unusable si un octet a changé, ou si le contenu déplié dépasserait le fichier (une bombe)."""
    size = file.seek(0, os.SEEK_END)
    body = size - SEALED
    file.seek(max(0, body))
    length, comment = int.from_bytes(file.read(2), "little"), file.read()
    if body < 0 or length != len(comment) or not comment.startswith(SEAL):
        raise _Unusable("est illisible ou tronqué, ou n'est pas un point de reprise de gan_course")
    digest = hashlib.sha256()
    file.seek(0)
    while body and (chunk := file.read(min(body, 2**20))):
        digest.update(chunk)
        body -= len(chunk)
    digest.update(b"\0\0")  # le condensé est celui de l'archive avant que le commentaire n'y soit ajouté
    if comment[len(SEAL) :] != digest.hexdigest().encode():
        raise _Unusable("est abîmé : ses octets ne sont plus ceux qui ont été écrits")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if sum(e.file_size for e in entries) > size or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise _Unusable("est illisible : son contenu annoncé dépasse sa taille")


def _read(path: Path, map_location: torch.device | str) -> dict[str, Any]:
    """L'état, vérifié et valide, que contient `path`. Lève _Unusable, FileNotFoundError, ou CheckpointError."""
    try:
        if path.exists() and not path.is_file():  # ouvrir un tube attendrait sans fin
            raise _Unusable("n'est pas un fichier ordinaire")
        with open(path, "rb") as file:
            _check_seal(file)
            file.seek(0)
            state = torch.load(file, map_location=map_location, weights_only=True)
        if isinstance(state, dict) and isinstance(state.get("format"), int) and state["format"] > FORMAT:
            raise CheckpointError(
                f"{path} a été écrit par une version plus récente de gan_course (format {state['format']}, "
                f"celle-ci lit jusqu'au format {FORMAT}). Mettez gan_course à jour."
            )
        validate(state)
        return state
    except (_Unusable, CheckpointError, FileNotFoundError):
        raise
    except pickle.UnpicklingError as error:  # torch y parle anglais, de ses propres options
        raise _Unusable("contient autre chose que des tenseurs, des nombres et des textes") from error
    except OSError as error:
        raise _Unusable(f"ne se lit pas ({error.strerror or error})") from error
    except Exception as error:  # pickle, zip et torch ont chacun leurs exceptions pour un fichier mal formé
        raise _Unusable(f"est illisible ({type(error).__name__})") from error


def validate(state: object) -> None:
    """Lève _Unusable, en nommant la clé, si `state` n'est pas l'état complet et cohérent d'un entraînement."""
    if not isinstance(state, dict) or "format" not in state:
        raise _Unusable("n'est pas un point de reprise de gan_course")
    for key, kind in SCHEMA.items():
        if key not in state:
            raise _Unusable(f"est incomplet : « {key} » y manque")
        if not isinstance(state[key], kind) or isinstance(state[key], bool):
            raise _Unusable(f"est mal formé : « {key} » y est de type {type(state[key]).__name__}")
    if tuple(state["history"].shape) != (state["step"], len(FIELDS)):
        shape = tuple(state["history"].shape)
        raise _Unusable(f"est mal formé : « history » est de forme {shape} pour {state['step']} pas")
    lines = [state["architecture"].get(name) for name in PARTS[:2]]
    if not all(isinstance(part, list) and all(isinstance(line, str) for line in part) for part in lines):
        raise _Unusable("est mal formé : « architecture » ne décrit pas les deux réseaux")
    for part in PARTS:
        for name, tensor in _tensors(state[part]):
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise _Unusable(f"contient un tenseur sans contenu dans {part} : {name}")
            # Une somme finie garantit des nombres finis ; infinie, elle peut avoir débordé.
            if not math.isfinite(tensor.sum().abs()) and not bool(tensor.isfinite().all()):
                kind = "des NaN" if bool(tensor.isnan().any()) else "des nombres infinis"
                raise _Unusable(f"contient {kind} dans {part} : {name}")


def _tensors(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Chaque tenseur d'une partie, et son nom ; « state.0.exp_avg » pour un optimiseur."""
    if isinstance(value, Tensor):
        yield name, value.detach()
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(item, f"{name}.{key}" if name else str(key))


def describe_architecture(module: nn.Module) -> list[str]:
    """Une ligne par couche et par tenseur : assez pour reconnaître un autre réseau et dire où il diffère.

    On note les classes et les formes plutôt que repr(), dont le texte change d'une version de torch à l'autre.
    """
    lines = [f"{name or 'réseau'} : {type(layer).__name__}" for name, layer in module.named_modules()]
    lines += [f"{name} : {list(tensor.shape)}" for name, tensor in module.state_dict().items()]
    # Ce que formes et classes ne montrent pas : le nombre de classes, la façon de suréchantillonner…
    settings = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str | tuple) and k[0] != "_"}
    lines += [f"{name} : {value!r}" for name, value in sorted(settings.items()) if name != "training"]
    return lines


def first_difference(saved: list[str], present: list[str]) -> str | None:
    """La première ligne qui diffère entre deux descriptions, dite des deux côtés ; None si elles sont égales."""
    for i in range(max(len(saved), len(present))):
        before = saved[i] if i < len(saved) else "rien"
        now = present[i] if i < len(present) else "rien"
        if before != now:
            return f"« {before} » dans le fichier, « {now} » ici"
    return None
