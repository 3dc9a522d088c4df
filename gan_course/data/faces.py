"""Visages de dessin animé : chaque image est une fonction connue de 17 nombres, tous indépendants.

Ici, les paramètres : leurs noms, leurs bornes, leur tirage. `drawing.py` en fait des pixels. Aucune photographie,
donc aucun droit à l'image : on peut tout montrer, et l'on sait exactement ce qu'un générateur a retenu.
"""

from collections.abc import Iterator

import numpy as np

from gan_course.data.drawing import EYES, HAIR_COLOURS, HAIRSTYLES, paint_faces
from gan_course.engine.numbers import check_positive

HATS = ("aucun", "bonnet", "chapeau", "casquette")
CATEGORIES = {  # paramètres entiers, et ce que veut dire chaque valeur : 0, 1, 2…
    "coiffure": tuple(HAIRSTYLES),
    "couleur des cheveux": tuple(HAIR_COLOURS),
    "lunettes": ("non", "oui"),
    "barbe": ("non", "oui"),
    "chapeau": HATS,
    "yeux": tuple(EYES),
}
RANGES = {  # paramètres continus, tirés uniformément entre ces bornes
    "peau": (0, 1),  # de la plus claire à la plus foncée
    "sourire": (0, 1),  # 0 à 0,3 : bouche fermée ; 0,6 à 1 : sourire ; rien entre les deux
    "largeur": (0, 1),  # du visage
    "fond": (0, 1),  # teinte, sur le cercle des couleurs
    "clarté du fond": (0, 1),
    "habit": (0, 1),  # teinte ; le chapeau prend la teinte opposée
    "décalage x": (-0.12, 0.12),  # en demi-largeurs d'image, vers la droite
    "décalage y": (-0.08, 0.08),  # en demi-hauteurs d'image, vers le bas
    "taille": (0.52, 0.62),  # demi-hauteur du visage, en demi-hauteurs d'image
    "inclinaison": (-12, 12),  # degrés, sens des aiguilles d'une montre
    "rotation": (-22, 22),  # degrés ; positif : le visage se tourne vers la droite de l'image
}
FREQUENCIES = {"lunettes": (0.65, 0.35), "barbe": (0.8, 0.2), "chapeau": (0.64, 0.12, 0.12, 0.12)}
FACTOR_NAMES = tuple(CATEGORIES) + tuple(RANGES)
BLOCK = 16  # visages dessinés ensemble : leurs plans intermédiaires restent dans le cache du processeur


def sample_faces(n: int, seed: int = 0, split: str = "train") -> np.ndarray:
    """Tire les paramètres de `n` visages : float32 (n, 17), colonnes dans l'ordre de FACTOR_NAMES.

    Les paramètres sont indépendants : rien n'est corrélé à rien, au contraire des vrais visages. Chaque ligne
    ne dépend que de (seed, split) et de son rang : `sample_faces(10)` est le début de `sample_faces(100)`.
    Lève ValueError ou TypeError si `n` ou `seed` ne convient pas.
    """
    random = np.random.default_rng([check_positive("seed", seed, least=0), {"train": 0, "test": 1}[split]])
    uniform = random.random((check_positive("n", n), len(FACTOR_NAMES)))
    columns = {}
    for name, draws in zip(FACTOR_NAMES, uniform.T):
        if name in RANGES:
            low, high = RANGES[name]
            columns[name] = low + (high - low) * draws
        else:
            count = len(CATEGORIES[name])
            edges = np.cumsum(FREQUENCIES.get(name, (1 / count,) * count))[:-1]
            columns[name] = np.searchsorted(edges, draws, side="right")
    smile = columns["sourire"]  # deux modes bien séparés : « > 0,5 » partage sans hésitation
    columns["sourire"] = np.where(smile < 0.5, 0.6 * smile, 0.2 + 0.8 * smile)
    return np.stack([columns[name] for name in FACTOR_NAMES], axis=1).astype(np.float32)


def face_blocks(parameters: np.ndarray, size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`draw_faces` par blocs : images uint8 (k, 3, size, size), et leurs paramètres (k, 17)."""
    size = check_positive("size", size)
    parameters = np.asarray(parameters, dtype=np.float32)
    if parameters.shape[1:] != (len(FACTOR_NAMES),) or not len(parameters) or not np.isfinite(parameters).all():
        raise ValueError(
            f"parameters est de forme {parameters.shape} ; il faut (N, {len(FACTOR_NAMES)}), des nombres finis, "
            f"dans l'ordre : {', '.join(FACTOR_NAMES)}."
        )
    for name, values in CATEGORIES.items():
        column = parameters[:, FACTOR_NAMES.index(name)]
        if not np.isin(column, range(len(values))).all():
            raise ValueError(f"« {name} » est un entier de 0 à {len(values) - 1} ; reçu : {np.unique(column)}.")
    block = max(1, BLOCK * 64**2 // size**2)
    for start in range(0, len(parameters), block):
        part = parameters[start : start + block]
        yield paint_faces(dict(zip(FACTOR_NAMES, part.T)), size), part


def draw_faces(parameters: np.ndarray, size: int = 64) -> np.ndarray:
    """Dessine les visages de paramètres donnés : uint8 (N, 3, size, size), bords adoucis sur un pixel.

    `parameters` : (N, 17), colonnes dans l'ordre de FACTOR_NAMES ; bornes dans RANGES, sens des entiers dans
    CATEGORIES. Lève ValueError si la forme ne convient pas, ou si une catégorie n'existe pas.
    """
    return np.concatenate([images for images, _ in face_blocks(parameters, size)])
