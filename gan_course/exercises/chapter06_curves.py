"""Chapitre 06 : lire quatre entraînements (`training_curves`). La réponse est un dictionnaire, non une fonction."""

import math

import numpy as np

from gan_course.diagnosis import french
from gan_course.exercises.curves import LETTERS, load_curves
from gan_course.exercises.report import Broken, Exercise, Property, Unusable, kind_of

# Ce que chaque verdict ferait voir, et la bonne lecture de chaque ligne.
SIGNS = {
    "apprend": "les deux courbes de D se rejoindraient près de 0,5, et G finirait par atteindre tous les modes",
    "discriminateur gagne": "D(x) serait collée à 1 et D(G(z)) à 0, la perte de D à 0, et G n'avancerait plus",
    "générateur gagne": "D(G(z)) passerait durablement au-dessus de D(x) : D se ferait duper",
    "effondrement": "les pertes resteraient bornées et D hésiterait, mais G n'atteindrait jamais que peu de modes",
    "divergence": "les pertes prendraient des valeurs sans commune mesure avec celles des premiers pas",
}
CONSEQUENCE = (
    "le remède suit le verdict : on freinerait un réseau qui n'y est pour rien, ou l'on garderait un "
    "entraînement perdu."
)
EMPTY = (None, ..., "", "…")
VERDICTS = {"A": "discriminateur gagne", "B": "divergence", "C": "apprend", "D": "effondrement"}


def verdict_on(letter: str, answer: object) -> str:
    """Le verdict donné à `letter`, en minuscules ; Broken s'il manque des lettres, Unusable si un verdict manque."""
    if not isinstance(answer, dict):
        raise Broken(f'Il faut un dictionnaire, {{"A": "…", "B": "…", …}} ; reçu {kind_of(answer)}.')
    if answer and all(value in EMPTY for value in answer.values()):
        raise NotImplementedError
    found = {str(key).strip().upper(): value for key, value in answer.items()}
    if set(found) != set(LETTERS):
        raise Broken(f"Clés reçues : {', '.join(map(str, answer)) or 'aucune'} ; il faut A, B, C et D.")
    verdict = found[letter]
    if verdict in EMPTY:
        raise Unusable(f"{letter} : verdict pas encore donné.")
    if not isinstance(verdict, str) or verdict.strip().lower() not in SIGNS:
        raise Unusable(
            f"{letter} : « {verdict} » n'est pas un verdict. Choisissez parmi : {' ; '.join(SIGNS)}."
        )
    return verdict.strip().lower()


def what_is_seen(letter: str) -> str:
    """Les faits de la seconde moitié de l'entraînement, en chiffres."""
    curves = load_curves()[letter]
    half = {name: values[len(values) // 2 :].astype(np.float64) for name, values in curves.items()}
    loss = np.abs(half["d_loss"])
    if loss.max() > 100:  # les scores d'un tel D ne se lisent plus comme des probabilités
        seen = f"la perte de D atteint {french(loss.max(), 0)} en valeur absolue"
    else:
        real, fake = (0.5 + 0.5 * math.tanh(half[name].mean() / 2) for name in ("d_real", "d_fake"))
        seen = f"la perte de D vaut {french(loss.mean())} en moyenne, D(x) {french(real)} et D(G(z)) {french(fake)}"
    low, high = int(half["modes"].min()), int(half["modes"].max())
    reached = f"{low}" if low == high else f"de {low} à {high}"
    return f"sur la seconde moitié, {seen} ; modes atteints par G : {reached}, sur 8"


def reads(letter: str) -> Property:
    """La propriété d'une lettre : le verdict donné s'accorde avec les trois figures de la ligne."""

    def holds(answer: object) -> None:
        given = verdict_on(letter, answer)
        if given != VERDICTS[letter]:
            raise Broken(f"Avec « {given} », {SIGNS[given]}. Or, {what_is_seen(letter)}.")

    return Property(
        f"entraînement {letter} : le verdict s'accorde avec ses trois figures", holds, CONSEQUENCE
    )


EXERCISES: dict[str, Exercise] = {
    "training_curves": Exercise(
        "training_curves",
        tuple(reads(letter) for letter in LETTERS),
        (
            "Commencez par l'échelle de l'axe des pertes, puis par D(x) et D(G(z)), et finissez par les modes.",
            "Un seul entraînement a des pertes sans commune mesure avec les autres ; un seul a un D qui ne se "
            "trompe jamais. "
            "Les deux derniers ont des pertes semblables : seuls les modes les distinguent.",
            "A : D(x) = 1 et D(G(z)) = 0 du début à la fin. B : les pertes s'échappent. C : huit modes. D : des pertes "
            "ordinaires, mais des modes qui manquent. Chacun de ces constats est un verdict de la liste.",
        ),
        points=3,
        expects="valeur",
    )
}
