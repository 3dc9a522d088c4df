"""Chapitre 07 : lire quatre mesures de correspondance (`correspondence_reading`). La réponse est un dictionnaire."""

from functools import cache
from typing import TYPE_CHECKING

import torch

from gan_course.diagnosis import french
from gan_course.exercises.report import Broken, Exercise, Property, kind_of
from gan_course.probing import canonical_correlations, chance, correspondence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTERS = ("A", "B", "C", "D")
MEASURES = ("corrélation\ncanonique", "R² linéaire", "R² voisines")
# Ce que chaque lecture ferait voir, et la bonne lecture de chaque figure.
SIGNS = {
    "linéaire": "les trois mesures dépasseraient nettement le hasard, le R² linéaire compris",
    "courbe": "le R² des voisines dépasserait nettement le hasard, quand le R² linéaire y resterait",
    "rien": "les trois mesures seraient près de zéro, comme le hasard",
    "trop peu d'images": "le hasard lui-même donnerait des valeurs hautes : rien ne les distinguerait de la mesure",
}
READINGS = {"A": "courbe", "B": "rien", "C": "trop peu d'images", "D": "linéaire"}


def _averages(found: object) -> list[float]:
    return [getattr(found, name).mean().item() for name in ("canonical", "linear", "neighbours")]


def _fitted_and_measured_together(codes: torch.Tensor, parameters: torch.Tensor) -> list[float]:
    """Les mesures de quelqu'un qui ajuste et mesure sur les mêmes images : ce qu'il ne faut pas faire."""
    x, y = codes - codes.mean(0), parameters - parameters.mean(0)
    weights = torch.linalg.lstsq(x, y).solution
    linear = 1 - (x @ weights - y).square().sum() / y.square().sum()
    nearest = torch.cdist(x, x).topk(2, largest=False).indices
    neighbours = 1 - (y[nearest].mean(1) - y).square().sum() / y.square().sum()
    return [canonical_correlations(x, y, x, y).mean().item(), linear.item(), neighbours.item()]


@cache
def readings() -> dict[str, tuple[list[float], list[float]]]:
    """Par lettre : (les trois mesures, les trois du hasard). Fabriquées ici, de correspondances connues."""
    draw = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    parameters = torch.rand(2_000, 4, generator=draw, dtype=torch.float64) * 6 - 3
    # Quatre morceaux de chaque paramètre, battus comme des cartes : tout y est, mais aucune droite ne le retrouve.
    piece = ((parameters + 3) / 1.5).floor().clamp(0, 3)
    bent = (
        torch.tensor([1.0, 3.0, 0.0, 2.0], dtype=torch.float64)[piece.long()] + (parameters + 3) / 1.5 - piece
    )
    straight = parameters @ normal(4, 12) + 0.5 * normal(2_000, 12)
    codes = {"A": bent, "B": normal(2_000, 12), "D": straight}
    found = {}
    for letter, code in codes.items():
        luck = torch.tensor([_averages(one) for one in chance(code, parameters, repeats=3)]).mean(0)
        found[letter] = _averages(correspondence(code, parameters)), luck.tolist()
    few, chosen, shuffled = normal(60, 40), parameters[:60], parameters[60:120]
    found["C"] = _fitted_and_measured_together(few, chosen), _fitted_and_measured_together(few, shuffled)
    return {letter: found[letter] for letter in LETTERS}


def plot_readings() -> "Figure":
    """Quatre figures, de A à D : trois mesures de correspondance, et les mêmes quand les paramètres sont mélangés."""
    from gan_course.display import BLUE, GREY
    from gan_course.figures import finish_axes, panels

    figure, axes = panels(1, len(LETTERS), width=10.0, height=3.0)
    for ax, (letter, (measured, luck)) in zip(axes, readings().items()):
        places = torch.arange(len(MEASURES))
        ax.bar(places - 0.2, measured, 0.38, color=BLUE, label="mesure")
        ax.bar(places + 0.2, luck, 0.38, color=GREY, hatch="//", label="paramètres mélangés")
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel="", ylabel="valeur" if letter == "A" else "", ylim=(-0.6, 1.3), title=letter)
        finish_axes(ax)
        ax.set_xticks(places, [name.replace("R² ", "R²\n") for name in MEASURES], fontsize=8)
        if letter != "A":
            ax.get_legend().remove()
    return figure


def cleaned(answer: object) -> dict[str, str]:
    """Le dictionnaire de l'étudiant, lettres en majuscules, lectures en minuscules ; Broken s'il n'est pas complet."""
    if not isinstance(answer, dict):
        raise Broken(f'Il faut un dictionnaire, {{"A": "…", "B": "…", …}} ; reçu {kind_of(answer)}.')
    if answer and all(value in (None, ..., "", "…") for value in answer.values()):
        raise NotImplementedError
    found = {str(key).strip().upper(): value for key, value in answer.items()}
    if set(found) != set(LETTERS):
        raise Broken(f"Clés reçues : {', '.join(map(str, answer)) or 'aucune'} ; il faut A, B, C et D.")
    for letter, reading in found.items():
        if not isinstance(reading, str) or reading.strip().lower().replace("’", "'") not in SIGNS:
            raise Broken(
                f"{letter} : « {reading} » n'est pas une lecture. Choisissez parmi : {' ; '.join(SIGNS)}."
            )
    return {letter: reading.strip().lower().replace("’", "'") for letter, reading in found.items()}


def reads(letter: str, consequence: str) -> Property:
    """La propriété d'une lettre : la lecture donnée s'accorde avec la figure."""

    def holds(answer: object) -> None:
        given = cleaned(answer)[letter]
        if given != READINGS[letter]:
            measured, luck = (", ".join(french(v) for v in values) for values in readings()[letter])
            raise Broken(
                f"Avec « {given} », {SIGNS[given]}. Or, dans l'ordre de la figure, les mesures valent {measured} et "
                f"celles du hasard {luck}."
            )

    return Property(f"figure {letter} : la lecture s'accorde avec les barres", holds, consequence)


CORRESPONDENCE_READING = Exercise(
    "correspondence_reading",
    (
        reads("A", "vous concluriez qu'il n'y a rien, faute d'avoir cherché autre chose qu'une droite."),
        reads("B", "vous verriez une correspondance là où il n'y en a pas."),
        reads("C", "vous publieriez un hasard : ajuster et mesurer sur les mêmes images flatte toujours."),
        reads("D", "vous chercheriez une forme compliquée à ce qu'une matrice suffit à dire."),
    ),
    (
        "Regardez d'abord les barres grises : une mesure ne dit rien si le hasard fait aussi bien.",
        "Là où le hasard est près de zéro, comparez ensuite le R² linéaire et celui des voisines.",
        "Une figure a des barres grises hautes ; une a toutes ses barres à zéro ; une n'a que le R² des voisines ; la "
        "dernière les a toutes trois, loin au-dessus du hasard.",
    ),
    points=1,
    expects="valeur",
)
