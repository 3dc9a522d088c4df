"""Le fichier d'un entraînement : écrit en entier ou pas du tout, vérifié avant d'être lu, un seul écrivain.

Un point de reprise est ce qu'écrit torch.save, une archive zip, dont le commentaire de fin porte le SHA-256 de tout ce
qui précède : les CRC d'un zip ne couvrent pas ses en-têtes, et un seul bit changé passerait inaperçu. torch.load le
relit tel quel. Autour de runs/gan.pt :

    runs/gan.previous.pt    le point d'avant, repris si le dernier est abîmé
    runs/.gan.pt.lock       tenu par le processus qui écrit ; le fichier lui survit, le verrou non
    runs/.gan.pt.….tmp      un point en cours d'écriture ; ceux d'un processus tué sont effacés par le suivant
"""

import errno
import hashlib
import math
import os
import pickle
import re
import secrets
import shutil
import stat
import sys
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from gan_course.engine.progress import FIELDS

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

FORMAT = 1
SEAL = b"gan_course sha256 "
SEALED = 2 + len(SEAL) + 64  # longueur du commentaire, sur deux octets, puis le commentaire
LONGEST_NAME = 200  # octets, sur les 255 que permettent les disques : le nom provisoire est plus long
OLD = 3600  # secondes après lesquelles un fichier provisoire est abandonné, là où aucun verrou ne le dit
DEEPEST = 8  # dictionnaires et listes emboîtés dans l'état d'un optimiseur : trois suffisent à torch
PLAIN = (type(None), bool, int, float, str)
PARTS = ("generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "scaler")


class CheckpointError(RuntimeError):
    """Un point de reprise illisible, impossible à écrire, tenu par un autre, ou fait pour un autre entraînement."""


class _Unusable(Exception):
    """Pourquoi un point de reprise ne peut servir : la fin d'une phrase dont il est le sujet."""


class Checkpoint:
    """Le point de reprise d'un entraînement.

    path    nom de fichier, « ~ » compris ; son dossier est créé
    writer  False pour seulement lire : aucun verrou, et `save` ne fait rien (les autres processus de torchrun)

    Un autre processus qui écrit déjà ce fichier le fait refuser ici, avant de calculer quoi que ce soit. Dans un même
    processus, le dernier venu prend la place, et le `save` du précédent ne fait plus rien : une cellule relancée
    laisse souvent derrière elle un générateur, qui écraserait sinon un point plus avancé que le sien.

    Lève CheckpointError si `path` n'est pas un nom de fichier, si rien ne peut s'y écrire, ou si la place est prise.
    """

    def __init__(self, path: str | os.PathLike, *, writer: bool = True) -> None:
        self.path = _destination(path)
        self.previous = self.path.with_stem(f"{self.path.stem}.previous")
        self._sound = False  # le dernier point est-il bon ? Seul un bon point prend la place du précédent.
        self._process, self._lock, self._locked = os.getpid(), None, False
        if writer:
            self._take_place()
            self._remove_leftovers()

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Rend la place d'écrivain. Sans effet si un autre l'a déjà prise."""
        if self._holds_place():
            del _writers[self.path]
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def load(self, map_location: torch.device | str = "cpu") -> dict[str, Any] | None:
        """Le dernier état enregistré, ou le précédent si le dernier est abîmé ; None si le fichier n'existe pas.

        Chaque octet est vérifié, puis torch lit avec `weights_only=True` : un fichier reçu d'un inconnu n'exécute
        rien. L'état rendu a toutes ses clés, du type attendu, et des nombres finis (voir `validate`).

        Lève CheckpointError si ni l'un ni l'autre ne peut servir, ou si le dernier vient d'une version plus récente.
        """
        if not self.path.exists():
            if self.previous.exists():
                text = f"{self.path} n'existe pas : on part de zéro. Pour reprendre, copiez-y {self.previous}."
                print(text, file=sys.stderr)
            return None
        try:
            state = _read(self.path, map_location)
            self._sound = True
            return state
        except _Unusable as error:
            last = error
        if not self.previous.exists():
            raise CheckpointError(
                f"{self.path} {last}. Supprimez-le pour repartir de zéro, ou donnez un autre nom à checkpoint=."
            ) from last
        try:
            state = _read(self.previous, map_location)
        except _Unusable as error:
            raise CheckpointError(
                f"{self.path} {last}, et {self.previous} {error}. Remettez une copie saine de l'un des deux, supprimez "
                "les deux pour repartir de zéro, ou donnez un autre nom à checkpoint=."
            ) from error
        text = f"{self.path} {last} ; on reprend le précédent, {self.previous}, au pas {state['step']}."
        print(text, file=sys.stderr)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Écrit `state` de façon atomique, et garde le point d'avant.

        Le fichier est d'abord écrit à côté, forcé sur le disque, puis renommé : à tout instant, `path` contient le
        point précédent entier ou le nouveau entier. Sans effet si un autre a pris la place.

        Lève CheckpointError si l'état ne se relirait pas (NaN dans les poids, clé absente) ou si l'écriture échoue
        (disque plein, dossier protégé) ; ce qui était enregistré est alors intact.
        """
        if not self._holds_place():
            return
        temporary = self._provisional()
        try:
            state = {"format": FORMAT, **state}
            validate(state)
            _write(temporary, state)
            if self._holds_place():
                self._keep_previous()
                os.replace(temporary, self.path)
                self._sound = True
        except _Unusable as error:
            raise CheckpointError(
                f"L'état à enregistrer dans {self.path} {error}. Le point précédent, s'il existait, est intact."
            ) from error
        except (OSError, RuntimeError) as error:  # torch.save signale un disque plein par RuntimeError
            raise CheckpointError(
                f"Impossible d'écrire le point de reprise {self.path} ({error}). Le précédent, s'il existait, est "
                "intact. Libérez de la place ou choisissez un autre dossier."
            ) from error
        finally:
            with suppress(OSError):  # ne pas masquer l'erreur expliquée ci-dessus
                temporary.unlink(missing_ok=True)

    def _keep_previous(self) -> None:
        """Donne au dernier point, s'il est bon, un second nom : le premier ne disparaît à aucun moment."""
        if not self._sound or not self.path.exists():
            return
        second = self._provisional()
        try:
            try:
                os.link(self.path, second)
            except OSError:  # Drive, FAT : pas de second nom pour un même fichier
                shutil.copyfile(self.path, second)
            os.replace(second, self.previous)
        finally:  # entre deux noms d'un même fichier, POSIX veut que replace réussisse sans rien faire
            second.unlink(missing_ok=True)

    def _take_place(self) -> None:
        older = _writers.get(self.path)
        if older is not None and older._process == self._process:
            self._lock, self._locked, older._lock = older._lock, older._locked, None
        else:
            self._open_lock()
        _writers[self.path] = self

    def _open_lock(self) -> None:
        """Ouvre et verrouille le fichier témoin ; le créer montre aussi que le dossier accepte l'écriture."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if self.path.exists():  # relire un point de reprise d'un dossier protégé reste permis
                return
            raise CheckpointError(
                f"Impossible d'écrire dans le dossier {self.path.parent} ({error.strerror}). Choisissez-en un autre."
            ) from error
        self._lock = os.fdopen(descriptor, "r+b")
        taken = _lock(self._lock)
        if taken is False:
            holder = self._lock.read(20).decode("ascii", "replace")
            self._lock.close()
            raise CheckpointError(
                f"Un autre entraînement (processus {holder or 'inconnu'}) écrit déjà {self.path}. Attendez qu'il "
                "finisse ou arrêtez-le (un autre carnet ouvert ?), ou donnez un autre nom à checkpoint=."
            )
        self._locked = taken is True
        with suppress(OSError):  # disque plein : on ne saura pas dire qui écrit, rien de plus
            self._lock.truncate(0)
            self._lock.write(str(self._process).encode())
            self._lock.flush()

    def _holds_place(self) -> bool:
        # Après un fork, l'enfant hérite de l'objet mais pas du verrou.
        return _writers.get(self.path) is self and self._process == os.getpid()

    def _provisional(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{self._process}-{secrets.token_hex(4)}.tmp")

    def _remove_leftovers(self) -> None:
        """Efface les fichiers provisoires des morts : qui tient le verrou est seul vivant ; sinon, les vieux."""
        pattern = re.compile(rf"\.{re.escape(self.path.name)}\.(\d+)-[0-9a-f]{{8}}\.tmp")
        with suppress(OSError):
            for file in self.path.parent.iterdir():
                found = pattern.fullmatch(file.name)
                if found is None:
                    continue
                writer_gone = self._locked and int(found[1]) != self._process
                with suppress(OSError):  # un autre vient de l'effacer, ou il n'est pas à nous
                    if writer_gone or time.time() - file.stat().st_mtime > OLD:
                        file.unlink()


# Qui écrit quoi dans ce processus. Par référence faible : un entraînement oublié rend sa place.
_writers: weakref.WeakValueDictionary[Path, Checkpoint] = weakref.WeakValueDictionary()


def _destination(path: str | os.PathLike) -> Path:
    """Le chemin absolu, « ~ » développé, liens suivis. Lève CheckpointError s'il ne peut être un point de reprise."""
    wanted = f'checkpoint={path!r} reçu ; il faut un nom de fichier, par exemple "runs/gan.pt"'
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text or text.endswith(("/", os.sep)):
        raise CheckpointError(f"{wanted}.")
    try:
        # Absolu : un os.chdir au milieu de l'entraînement ne doit pas déplacer le fichier.
        absolute = Path(os.path.realpath(Path(text).expanduser()))
        too_long = len(os.fsencode(absolute.name)) > LONGEST_NAME
        mode = stat.S_IFREG if too_long else absolute.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):  # le dossier sera créé, ou son refus expliqué
        return absolute
    except (OSError, RuntimeError, ValueError) as error:  # « ~inconnu », dossier interdit, caractère impossible
        raise CheckpointError(f"{wanted}, dans un dossier où l'on peut écrire ({error}).") from error
    if too_long:
        raise CheckpointError(f"{wanted}, de {LONGEST_NAME} octets au plus.")
    if not stat.S_ISREG(mode):
        kind = "un dossier" if stat.S_ISDIR(mode) else "un tube, une prise ou un périphérique"
        raise CheckpointError(f"{wanted} ; c'est ici {kind}.")
    return absolute


def _lock(file: BinaryIO) -> bool | None:
    """Verrouille `file` pour ce processus : True, False si un autre le tient, None si le disque ne sait pas faire.

    lockf plutôt que flock : un processus enfant n'en hérite pas, et ne peut donc retenir le verrou d'un parent tué.
    """
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(2**30)  # loin du numéro de processus, que Windows ne laisserait plus lire
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
    except OSError as error:
        file.seek(0)
        return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK) else None
    return True


class _Hashing:
    """Un fichier dont les octets sont condensés à mesure qu'ils s'écrivent."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.flush = file, hashlib.sha256(), file.flush

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


def _write(path: Path, state: dict[str, Any]) -> None:
    """Écrit `state`, scellé, dans un fichier neuf ; rendu une fois sur le disque."""
    with open(path, "xb") as file:
        hashing = _Hashing(file)
        torch.save(state, hashing)
        comment = SEAL + hashing.digest.hexdigest().encode()
        file.seek(-2, os.SEEK_END)  # un zip sans commentaire finit par sa longueur, zéro
        file.write(len(comment).to_bytes(2, "little") + comment)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, map_location: torch.device | str) -> dict[str, Any]:
    """L'état, vérifié et valide, que contient `path`. Lève _Unusable, ou CheckpointError d'un format futur."""
    try:
        if not path.is_file():  # ouvrir un tube attendrait sans fin
            raise _Unusable("n'est pas un fichier ordinaire")
        with open(path, "rb") as file:
            _check_bytes(file)
            file.seek(0)
            state = torch.load(file, map_location=map_location, weights_only=True)
        if isinstance(state, dict) and isinstance(state.get("format"), int) and state["format"] > FORMAT:
            raise CheckpointError(
                f"{path} a été écrit par une version plus récente de gan_course (format {state['format']}, "
                f"celle-ci lit jusqu'au format {FORMAT}). Mettez gan_course à jour."
            )
        validate(state)
        return state
    except (_Unusable, CheckpointError):
        raise
    except pickle.UnpicklingError as error:  # torch y parle anglais, de ses propres options
        raise _Unusable("contient autre chose que des tenseurs, des nombres et des textes") from error
    except OSError as error:
        raise _Unusable(f"ne se lit pas ({error.strerror or error})") from error
    except Exception as error:  # pickle, zip et torch ont chacun leurs exceptions pour un fichier mal formé
        raise _Unusable(f"est illisible ({type(error).__name__})") from error


def _check_bytes(file: BinaryIO) -> None:
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


def _is_whole(value: object, lowest: float = -math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _is_settings(value: object) -> bool:
    def is_plain(v: object) -> bool:
        return isinstance(v, PLAIN) or isinstance(v, tuple | list) and all(isinstance(item, PLAIN) for item in v)

    return isinstance(value, dict) and all(isinstance(k, str) and is_plain(v) for k, v in value.items())


def _is_architecture(value: object) -> bool:
    lines = [value.get(name) for name in PARTS[:2]] if isinstance(value, dict) else [None]
    return all(isinstance(part, list) and all(isinstance(line, str) for line in part) for part in lines)


def _is_history(value: object) -> bool:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return floats and value.ndim == 2 and value.shape[1] == len(FIELDS)


# Ce que contient un point de reprise : clé, ce qui la rend acceptable, et comment le dire.
SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda v: _is_whole(v, 1), "un entier d'au moins 1"),
    "step": (lambda v: _is_whole(v, 0), "un entier positif ou nul"),
    "seconds": (lambda v: isinstance(v, int | float) and 0 <= v < math.inf, "une durée en secondes"),
    "history": (_is_history, f"un tenseur de flottants (pas, {len(FIELDS)})"),
    "recipe": (_is_settings, "un dictionnaire de réglages"),
    "architecture": (_is_architecture, "la description des deux réseaux"),
    "data": (lambda v: isinstance(v, PLAIN), "une empreinte, texte ou nombre"),
    "seed": (_is_whole, "un entier"),
    "world_size": (lambda v: _is_whole(v, 1), "un entier d'au moins 1"),
    **{part: (lambda v: isinstance(v, dict), "un dictionnaire") for part in PARTS},
}


def validate(state: object) -> None:
    """Lève _Unusable, en nommant la clé, si `state` n'est pas l'état complet et cohérent d'un entraînement."""
    if not isinstance(state, dict) or "format" not in state:
        raise _Unusable("n'est pas un point de reprise de gan_course")
    for key, (holds, expected) in SCHEMA.items():
        if key not in state:
            raise _Unusable(f"est incomplet : « {key} » y manque")
        if not holds(state[key]):
            raise _Unusable(f"est mal formé : « {key} » devrait être {expected}")
    if len(state["history"]) != state["step"]:
        raise _Unusable(f"est mal formé : {len(state['history'])} mesures pour {state['step']} pas")
    for part in PARTS:
        for name, value in _leaves(part, state[part]):
            _check_value(part, name, value)


def _leaves(part: str, value: dict) -> Iterator[tuple[str, object]]:
    """Chaque tenseur, nombre ou texte d'une partie, et son nom ; « state.0.exp_avg » pour un optimiseur."""
    waiting, seen = [((), value)], set()
    while waiting:
        keys, value = waiting.pop()
        if not isinstance(value, dict | list | tuple):
            yield ".".join(map(str, keys)), value
        elif len(keys) > DEEPEST:
            raise _Unusable(f"est mal formé : « {part} » est trop profond")
        elif id(value) not in seen:  # un même objet cité mille fois n'est parcouru qu'une
            seen.add(id(value))
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            waiting += [((*keys, key), item) for key, item in reversed(items)]


def _check_value(part: str, name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        if not isinstance(value, PLAIN):
            raise _Unusable(f"contient un objet inattendu ({type(value).__name__}) dans {part} : {name}")
        return
    # Une dimension de pas nul répète les mêmes nombres : la parcourir n'apprendrait rien, et pourrait ne pas finir.
    value = value.detach()[tuple(slice(1) if stride == 0 else slice(None) for stride in value.stride())]
    if value.is_meta or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise _Unusable(f"contient un tenseur sans contenu dans {part} : {name}")
    # Une somme finie garantit des nombres finis, sans tenseur intermédiaire ; infinie, elle peut avoir débordé.
    if not (value.is_floating_point() or value.is_complex()) or bool(value.sum().isfinite()):
        return
    if not bool(value.isfinite().all()):
        kind = "des NaN" if bool(value.isnan().any()) else "des nombres infinis"
        raise _Unusable(f"contient {kind} dans {part} : {name}")


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
