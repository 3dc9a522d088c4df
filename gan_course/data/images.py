"""Les images tiennent dans un seul tenseur uint8 ; un lot est une fonction pure de (seed, step).

Il n'y a donc aucun état de chargeur à sauvegarder : un entraînement repris retrouve les mêmes lots.
"""

import copy
import hashlib
import operator
from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral

import torch
from torch import Tensor

from gan_course.engine.numbers import check_positive


@lru_cache(maxsize=8)  # un lot à cheval en lit deux ; au-delà de quelques époques, rien ne sert de les garder
def epoch_order(count: int, epoch: int, seed: int, device: torch.device) -> Tensor:
    """Permutation de 0..count-1 de l'époque `epoch` : int64 (count,), tirée sur CPU, mise sur `device`."""
    # Un condensé, plutôt que seed + epoch : l'époque 1 de la graine 0 ne doit pas être l'époque 0 de la
    # graine 1.
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.randperm(count, generator=generator).to(device)


def _check_labels(labels: Tensor | None, count: int, class_names: Sequence[str] | None) -> None:
    if labels is None:
        if class_names is not None:
            raise ValueError("class_names est donné sans labels : donnez les deux, ou aucun.")
        return
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        received = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels doit être un tenseur int64 ; reçu : {received}. Ajoutez .long().")
    if labels.shape != (count,):
        raise ValueError(f"labels est de forme {tuple(labels.shape)} ; il faut ({count},).")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (class_names is not None and high >= len(class_names)):
        bound = "" if class_names is None else f" et rester sous {len(class_names)}, le nombre de class_names"
        raise ValueError(f"Étiquettes hors bornes : de {low} à {high} ; elles doivent partir de 0{bound}.")


def checked_batch(step: int, batch_size: int, count: int) -> tuple[int, int]:
    """Les deux nombres d'un lot, entiers de Python ; TypeError ou ValueError s'ils n'en font pas un."""
    batch_size = check_positive("batch_size", batch_size)
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"step doit être un entier ; reçu : {step!r}.")
    if step < 0:
        raise ValueError(f"step compte les lots depuis 0 ; reçu : {step}.")
    if batch_size > count:
        raise ValueError(
            f"Le lot demandé ({batch_size}) dépasse le jeu, qui a {count} exemples : batch_size <= {count}."
        )
    return operator.index(step), batch_size


class Batches:
    """Des exemples, leurs étiquettes, et des lots sans état : ce qu'ont en commun images et points.

    `examples` : uint8 (N, C, H, W) ou float32 (N, D) ; `labels` : int64 (N,) ou None.
    """

    def __init__(self, examples: Tensor, labels: Tensor | None) -> None:
        self.examples, self.labels = examples, labels

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, step: int, batch_size: int = 64, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """Le lot numéro `step` : exemples float32 (B, …), étiquettes int64 (B,) ou None ; fonction pure des trois.

        Des images sont rendues dans [-1, 1] : 0 devient exactement -1, et 255 exactement 1. Les époques sont mises
        bout à bout : la position p = step * batch_size + i tombe dans l'époque p // N, dont la permutation donne
        l'exemple. Un lot peut donc être à cheval sur deux époques, et chaque époque voit tout, une fois.

        Lève TypeError ou ValueError si `batch_size` dépasse le jeu, ou si l'un n'est pas un entier qui convient.
        """
        examples, count = self.examples, len(self.examples)
        if not (type(step) is type(batch_size) is int and 0 <= step and 0 < batch_size <= count):
            step, batch_size = checked_batch(step, batch_size, count)
        epoch, start = divmod(step * batch_size, count)
        indices = epoch_order(count, epoch, seed, examples.device)[start : start + batch_size]
        if len(indices) < batch_size:
            rest = epoch_order(count, epoch + 1, seed, examples.device)[: batch_size - len(indices)]
            indices = torch.cat([indices, rest])
        x = examples.index_select(0, indices)
        if x.dtype == torch.uint8:
            # Diviser par 127,5 (et non multiplier par son inverse) : 0 et 255 tombent exactement sur -1 et 1.
            x = x.float().div_(127.5).sub_(1)
        return x, None if self.labels is None else self.labels.index_select(0, indices)

    def to(self, device: torch.device | str) -> "Batches":
        """Le même jeu, de la même classe, tous ses tenseurs sur `device` : à faire quand il tient sur le GPU."""
        moved, there = copy.copy(self), {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                if id(value) not in there:  # un même tenseur sous deux noms ne s'y trouve qu'une fois
                    there[id(value)] = value.to(device)
                setattr(moved, name, there[id(value)])
        return moved

    def fingerprint(self) -> str:
        """Identité peu coûteuse du contenu, 16 chiffres hexadécimaux : sert à refuser d'autres données.

        Forme, 64 exemples régulièrement espacés, toutes les étiquettes.
        """
        values = self.examples
        digest = hashlib.blake2b(repr((tuple(values.shape), str(values.dtype))).encode(), digest_size=8)
        sample = torch.linspace(0, len(values) - 1, min(64, len(values)), dtype=torch.float64).long()
        digest.update(values[sample.to(values.device)].cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


class ImageSet(Batches):
    """Un jeu d'images : un tenseur uint8, ses étiquettes, et des lots sans état.

    - `images` : uint8 (N, C, H, W), C = 1 ou 3 ; en mémoire, projeté depuis un fichier, ou sur le GPU ;
    - `labels` : int64 (N,) de 0 à K-1, ou None ; `class_names` : K noms, ou None ;
    - `factors` : float32 (N, P) ou None, grandeurs continues connues de chaque image (les fractales en
      ont) ; `factor_names` : leurs P noms.

    Lève TypeError ou ValueError, en disant ce qui a été reçu, si types, formes ou longueurs ne s'accordent
    pas.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        class_names: Sequence[str] | None = None,
        *,
        factors: Tensor | None = None,
        factor_names: Sequence[str] | None = None,
    ):
        if not isinstance(images, Tensor) or images.dtype != torch.uint8:
            received = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"images doit être un tenseur torch uint8 (0 à 255) ; reçu : {received}.")
        if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            raise ValueError(
                f"images est de forme {tuple(images.shape)} ; il faut (N, C, H, W), N >= 1 et C = 1 ou 3."
            )
        if isinstance(class_names, str):
            raise TypeError(f"class_names doit être une suite de noms ; reçu un texte : {class_names!r}.")
        _check_labels(labels, len(images), class_names)
        if factors is not None and (factors.ndim != 2 or len(factors) != len(images)):
            shape = tuple(factors.shape)
            raise ValueError(f"factors est de forme {shape} ; il faut ({len(images)}, P).")
        super().__init__(images, labels)
        self.images = images
        self.class_names = None if class_names is None else tuple(class_names)
        self.factors = factors
        self.factor_names = None if factor_names is None else tuple(factor_names)

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        kind = "en gris" if channels == 1 else "en couleurs"
        count, classes = f"{len(self)} image{'s' if len(self) > 1 else ''}", "sans étiquettes"
        if self.num_classes:
            classes = f"{self.num_classes} classe{'s' if self.num_classes > 1 else ''}"
        device = self.images.device
        return f"<ImageSet : {count} {height} × {width} {kind}, {classes}, sur {device}>"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return tuple(self.images.shape[1:])

    @property
    def num_classes(self) -> int:
        """Nombre de classes ; 0 si le jeu n'a pas d'étiquettes."""
        if self.class_names is not None:
            return len(self.class_names)
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def _subset(self, index: slice | Tensor, labels: Tensor | None, names: Sequence | None) -> "ImageSet":
        factors = None if self.factors is None else self.factors[index]
        images = self.images[index]
        return ImageSet(images, labels, names, factors=factors, factor_names=self.factor_names)

    def select(self, classes: Sequence[int | str]) -> "ImageSet":
        """Les images des classes données, par numéro ou nom : `select([7])`, `select(["sac", "bottine"])`.

        Les étiquettes sont renumérotées 0, 1, … dans l'ordre donné, et `class_names` réduit de même. Lève
        ValueError si le jeu n'a pas d'étiquettes, ou si une classe est inconnue, répétée ou vide.
        """
        if self.labels is None:
            raise ValueError("select choisit par classe, or ce jeu n'a pas d'étiquettes. Utilisez take(n).")
        wanted = [classes] if isinstance(classes, (str, Integral)) else list(classes)
        numbers = [self._class_number(c) for c in wanted]
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"select attend au moins une classe, chacune une seule fois ; reçu : {wanted}.")
        renumber = torch.full((self.num_classes,), -1, device=self.labels.device)
        renumber[numbers] = torch.arange(len(numbers), device=self.labels.device)
        labels = renumber[self.labels]
        kept = (labels >= 0).nonzero().squeeze(1)
        if not len(kept):
            raise ValueError(f"Aucune image n'appartient à {wanted} dans ce jeu.")
        names = None if self.class_names is None else [self.class_names[n] for n in numbers]
        return self._subset(kept, labels[kept], names)

    def _class_number(self, wanted: int | str) -> int:
        if isinstance(wanted, str):
            if wanted in (self.class_names or ()):
                return self.class_names.index(wanted)
        elif 0 <= operator.index(wanted) < self.num_classes:
            return operator.index(wanted)
        named = f" ({', '.join(self.class_names)})" if self.class_names else ""
        raise ValueError(f"Classe inconnue : {wanted!r}. Classes du jeu : 0 à {self.num_classes - 1}{named}.")

    def take(self, n: int) -> "ImageSet":
        """Les `n` premières images, sans copie.

        Attention : les classes d'un dossier se suivent ; ses premières images sont toutes de la première
        classe.
        """
        if check_positive("n", n) > len(self):
            raise ValueError(f"take({n}) dépasse le jeu, qui a {len(self)} images.")
        return self._subset(slice(0, n), None if self.labels is None else self.labels[:n], self.class_names)


class PointSet(Batches):
    """Un nuage de points du plan, pour le laboratoire à deux dimensions ; mêmes lots que `ImageSet`.

    - `points` : float32 (N, 2) ; `labels` : int64 (N,), numéro de la gaussienne d'où vient le point ;
    - `centers` : float32 (K, 2) ; `std` : écart-type commun, même unité que les points.
    """

    def __init__(self, points: Tensor, labels: Tensor, centers: Tensor, std: float):
        for name, value in (("points", points), ("centers", centers)):
            if value.dtype != torch.float32 or value.ndim != 2 or value.shape[1] != 2 or not len(value):
                received = f"{value.dtype} {tuple(value.shape)}"
                raise ValueError(f"{name} doit être float32 (N, 2) ; reçu : {received}.")
        _check_labels(labels, len(points), [str(k) for k in range(len(centers))])
        super().__init__(points, labels)
        self.points, self.centers, self.std = points, centers, float(std)

    def __repr__(self) -> str:
        return f"<PointSet : {len(self)} points, {len(self.centers)} centres, écart-type {self.std:g}>"

    @property
    def image_shape(self) -> tuple[int]:
        """(2,) : pour `train`, un point est une image à deux nombres."""
        return (2,)

    @property
    def num_classes(self) -> int:
        """Nombre de gaussiennes."""
        return len(self.centers)
