"""Extracteurs de caractéristiques : l'espace dans lequel une distance entre images se mesure.

Une distance n'a de sens qu'avec son espace : chaque extracteur porte un nom, qui change avec ses poids, et dit
comment il redimensionne.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_course.data.images import ImageSet
from gan_course.data.sources import data_root
from gan_course.engine.device import best_device
from gan_course.engine.download import Wanted, fetch
from gan_course.engine.numbers import check_positive
from gan_course.pretrained import WEIGHTS, load_network, save_network

SPACES = ("digits", "objects", "faces")
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION = Wanted(
    INCEPTION_FILE,
    {"torch-fidelity": f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"},
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)


@dataclass(frozen=True, eq=False)
class Features:
    """Un espace de caractéristiques : `features(images)` → float32 (N, dim), sur le processeur.

    name        nom de l'espace, propre à ces poids : deux nombres ne se comparent que s'il est le même
    dim         D, nombre de caractéristiques par image
    resizer     comment les images sont mises à la taille du réseau, en mots
    network     fonction : images uint8 (B, C, H, W) → (B, dim)
    device      où `network` calcule
    batch_size  images traitées à la fois
    """

    name: str
    dim: int
    resizer: str
    network: Callable[[Tensor], Tensor]
    device: torch.device = torch.device("cpu")
    batch_size: int = 256

    @torch.no_grad()
    def __call__(self, images: Tensor | ImageSet) -> Tensor:
        """Calcule les caractéristiques float32 (N, dim) d'images uint8, ou réelles dans [-1, 1], (N, C, H, W).

        Lève TypeError ou ValueError si `images` n'est pas un lot d'images, ou ne convient pas à cet espace.
        """
        images = images.images if isinstance(images, ImageSet) else images
        parts = []
        for batch in as_uint8(images).split(self.batch_size):
            part = self.network(batch.to(self.device))
            if part.shape != (len(batch), self.dim):
                raise ValueError(
                    f"L'extracteur « {self.name} » a rendu {tuple(part.shape)} ; il faut ({len(batch)}, {self.dim})."
                )
            parts.append(part.float().cpu())
        return torch.cat(parts)


def as_uint8(images: Tensor, slack: float = 0.01) -> Tensor:
    """Rend des images (N, C, H, W) en uint8 ; réelles, il les faut dans [-1, 1], à `slack` près : elles sont arrondies.

    L'arrondi est celui d'un fichier d'image : sans lui, le 8 bits des vraies images suffirait à les reconnaître.
    Lève TypeError ou ValueError si ce n'est pas un lot d'images, ou s'il n'est pas à cette échelle.
    """
    if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
        received = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"Il faut un tenseur d'images, uint8 ou réelles dans [-1, 1], comme jeu.images[:20] ; reçu : {received}."
        )
    if images.dim() != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"Images de forme {tuple(images.shape)} ; il faut (N, C, H, W), N >= 1 et C = 1 ou 3. Pour une seule "
            "image, écrivez image[None]."
        )
    if images.dtype == torch.uint8:
        return images
    low, high = (bound.item() for bound in images.aminmax())  # NaN s'il y a un NaN
    if not -1 - slack <= low <= high <= 1 + slack:
        raise ValueError(
            f"Images réelles de {low:.3g} à {high:.3g} ; il les faut dans [-1, 1], ou en torch.uint8 pour [0, 255]. Un "
            "NaN vient d'un entraînement qui a divergé ; une autre échelle, d'un générateur sans tanh."
        )
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _resized(images: Tensor, size: int) -> Tensor:
    """uint8 (B, C, H, W) → float32 (B, C, size, size) dans [-1, 1] ; le filtre moyenne ce qu'il réduit."""
    x = images.float().div(127.5).sub(1)
    if x.shape[-2:] == (size, size):
        return x
    # Sans filtre, réduire replie les détails : l'erreur qui fausse le plus les FID (Parmar et al., 2022).
    return interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _check_channels(images: Tensor, channels: int, name: str) -> None:
    if images.shape[1] != channels:
        raise ValueError(
            f"L'espace « {name} » attend des images à {channels} canal(aux) ; reçu : {images.shape[1]}. Prenez un "
            "espace fait pour ces images."
        )


def pixels(size: int = 8, channels: int = 3) -> Features:
    """Donne l'espace le plus simple : les pixels eux-mêmes, réduits à size × size ; dim = channels · size².

    Un repère honnête, sans poids : il voit les couleurs et la mise en page, pas les objets. Lève TypeError ou
    ValueError si `size` n'est pas un entier au moins 1 ou si `channels` n'est ni 1 ni 3.
    """
    size = check_positive("size", size)
    if channels not in (1, 3):
        raise ValueError(f"channels vaut 3 (couleurs) ou 1 (gris) ; reçu : {channels!r}.")
    name = f"pixels-{channels}x{size}x{size}"

    def network(images: Tensor) -> Tensor:
        _check_channels(images, channels, name)
        return _resized(images, size).flatten(1)

    return Features(name, channels * size * size, f"bilinéaire avec filtre, {size} px", network)


def inception(device: str | torch.device | None = None) -> Features:
    """Donne l'espace du FID des articles : les 2 048 nombres de « pool3 », avant le classifieur d'Inception v3.

    Ses poids (96 Mo) sont cherchés une fois et gardés dans « weights », à côté des données : un fichier qu'on y pose
    soi-même est vérifié, et suffit. `device` : None prend le meilleur appareil.

    Les images grises sont répétées sur trois canaux. Il faut plus de 2 048 images pour une covariance de plein
    rang ; les articles en prennent 10 000 ou 50 000. Sources : Szegedy et al., 2016 ; Heusel et al., 2017.

    Lève ImportError sans torch-fidelity, ConnectionError si le réseau manque.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ImportError(
            "Le réseau Inception vient de torch-fidelity, qui n'est pas installé : pip install torch-fidelity. "
            'Sans lui : features.pixels(8), ou features.load_features("digits").'
        ) from error
    (url,) = INCEPTION.urls.values()
    folder = data_root() / "weights"
    fetch([INCEPTION], folder, f"Recommencez plus tard, ou prenez {url} ailleurs et posez-le dans « {folder} ».")
    device = best_device() if device is None else torch.device(device)
    weights = str(folder / INCEPTION.name)
    model = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
    model = model.to(device).eval()
    name, resizer = f"inception-v3-2048-{INCEPTION.digest[:8]}", "bilinéaire de TensorFlow 1, 299 px (torch-fidelity)"
    return Features(name, 2048, resizer, lambda x: model(x.expand(-1, 3, -1, -1))[0], device, batch_size=32)


class FeatureNetwork(nn.Module):
    """Petit classifieur du cours : `embed(x)` (B, dim) est l'espace, `forward(x)` (B, num_classes) les logits.

    x : (B, C, H, H) dans [-1, 1], de forme image_shape. `width` : cartes de la première couche ; trois étages à pas 2.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, dim: int = 64, width: int = 32) -> None:
        super().__init__()
        self.config = dict(image_shape=list(image_shape), num_classes=num_classes, dim=dim, width=width)
        layers, inputs = [], image_shape[0]
        for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (4 * width, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
            inputs = outputs
        # 2 × 2 cases, et non une seule moyenne : savoir où est chaque trait distingue un 6 d'un 9.
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * inputs, dim))
        self.head = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(dim, num_classes))

    def embed(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def save_features(network: FeatureNetwork, name: str, card: Mapping[str, Any], folder: Path = WEIGHTS) -> Path:
    """Écrit « features-NOM.safetensors » (en float16) et sa carte « features-NOM.json », et rend le premier chemin.

    `card` dit d'où vient le réseau : data, command, accuracy… ; la forme du réseau et le SHA-256 s'y ajoutent.
    """
    content = {"name": name, **card, "network": network.config}
    return save_network(network, folder / f"features-{name}.safetensors", content)


def load_features(name: str, folder: str | Path = WEIGHTS, device: str | torch.device | None = None) -> Features:
    """Donne l'espace d'un petit réseau du cours, sans réseau internet : "digits", "objects" ou "faces".

    Le nom de l'espace porte le début du SHA-256 des poids : réentraîner le réseau en fait un autre espace.
    `features-NOM.json`, à côté des poids, dit sur quoi et comment il a été entraîné.

    Lève ValueError (nom inconnu, poids ou carte abîmés) ou FileNotFoundError (poids absents de cette version).
    """
    if name not in SPACES:
        raise ValueError(f"Espace inconnu : {name!r}. Choisissez {', '.join(SPACES)}, ou bien pixels(), inception().")
    path = Path(folder) / f"features-{name}.safetensors"
    network = load_network(path, lambda card: FeatureNetwork(**card["network"]))
    device = best_device() if device is None else torch.device(device)
    # Canaux en dernier : les mêmes nombres à 1e-6 près, une fois et demie plus vite sur processeur.
    network = network.to(device, memory_format=torch.channels_last)
    channels, size = network.config["image_shape"][:2]
    space = f"{name}-{network.card['sha256'][:8]}"

    def embed(images: Tensor) -> Tensor:
        _check_channels(images, channels, space)
        return network.embed(_resized(images, size).contiguous(memory_format=torch.channels_last))

    return Features(space, network.config["dim"], f"bilinéaire avec filtre, {size} px", embed, device)
