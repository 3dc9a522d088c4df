"""Les quatre entraînements du dernier exercice du chapitre 06 : leurs courbes, et ce qui les a produites.

Pour les refaire, quatre fois 800 pas sur l'anneau de huit gaussiennes, environ une minute chacun :
python -c "from gan_course.exercises.curves import save_curves; save_curves()"
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gan_course.recipe import Recipe

FILE = Path(__file__).with_name("curves.npz")
LETTERS = ("A", "B", "C", "D")
MEASURES = ("d_loss", "g_loss", "d_real", "d_fake")
STEPS, EVERY, MODES_EVERY = (
    800,
    4,
    20,
)  # pas d'un entraînement ; pas entre deux mesures gardées, de pertes et de modes
SEEDS = {"A": 0, "B": 0, "C": 0, "D": 1}  # un effondrement dépend de la graine : celle-ci en montre un


def recipes() -> dict[str, "Recipe"]:
    """La recette de chaque entraînement : celle du laboratoire du chapitre 01, ou ce qui l'abîme."""
    from gan_course.models import points

    sound = replace(points.RECIPE, batch_size=128, ema_halflife=2_000)
    return {
        "A": replace(sound, loss="minimax", penalty=None, d_lr=2e-3, g_lr=1e-4),
        "B": replace(sound, loss="wasserstein", penalty=None, d_lr=2e-3, g_lr=1e-4),
        "C": sound,
        "D": replace(sound, penalty=None, d_lr=4e-3, g_lr=4e-3),
    }


def make_curves() -> dict[str, dict[str, np.ndarray]]:
    """Refait les quatre entraînements. Rend, par lettre : steps, les quatre mesures, modes_steps et modes (sur 8)."""
    import torch

    from gan_course.data import gaussian_ring
    from gan_course.metrics import mode_coverage
    from gan_course.models import points
    from gan_course.training import train

    ring, curves = gaussian_ring(), {}
    for letter, recipe in recipes().items():
        seed = SEEDS[letter]
        torch.manual_seed(seed)
        run = train(points.Generator(), points.Discriminator(), ring, recipe, STEPS, seed=seed, device="cpu")
        z, modes = torch.randn(1_000, 16), []
        for progress in run:
            if progress.step % MODES_EVERY == 0:
                with torch.no_grad():
                    modes.append(mode_coverage(progress.ema(z), ring.centers, ring.std).covered)
        kept = slice(EVERY - 1, None, EVERY)
        curves[letter] = {name: progress.history[name][kept] for name in MEASURES}
        curves[letter]["steps"] = np.asarray(progress.history.steps[kept], dtype=np.int32)
        curves[letter]["modes"] = np.array(modes, dtype=np.int32)
        curves[letter]["modes_steps"] = np.arange(MODES_EVERY, STEPS + 1, MODES_EVERY, dtype=np.int32)
        print(f"{letter} : {modes[-1]} modes sur 8, {progress.seconds:.0f} s")
    return curves


def load_curves() -> dict[str, dict[str, np.ndarray]]:
    """Les courbes gardées, par lettre de "A" à "D" : ce que rend make_curves()."""
    with np.load(FILE) as stored:
        curves: dict[str, dict[str, np.ndarray]] = {letter: {} for letter in LETTERS}
        for key in stored.files:
            letter, name = key.split("_", 1)
            curves[letter][name] = stored[key]
    return curves


def plot_curves() -> "Figure":
    """Une ligne par entraînement : les pertes, les probabilités de D, les modes atteints par G."""
    from gan_course.display import GREEN, plot_losses, plot_scores
    from gan_course.figures import finish_axes, panels

    figure, axes = panels(len(LETTERS), 3, width=10.0, height=10.0)
    for (letter, curves), row in zip(load_curves().items(), axes):
        plot_losses(curves, row[0])
        plot_scores(curves, row[1], probabilities=recipes()[letter].loss != "wasserstein")
        handles = row[1].get_legend_handles_labels()[0][
            :2
        ]  # des noms courts, pour laisser leur place aux axes
        above = {
            "loc": "lower right",
            "bbox_to_anchor": (1, 1),
            "ncols": 2,
            "frameon": False,
            "borderpad": 0.2,
        }
        row[1].legend(handles, ["D(x)", "D(G(z))"], fontsize=8, **above)
        row[2].step(curves["modes_steps"], curves["modes"], color=GREEN, where="post", label="modes atteints")
        row[2].set(xlabel="pas", ylabel="modes, sur 8", ylim=(-0.3, 8.3))
        finish_axes(row[2], curves=True)
        row[0].set_ylabel(f"{letter}\nperte", fontsize=11)
    return figure


def save_curves() -> None:
    """Refait les quatre entraînements et récrit curves.npz."""
    arrays = {f"{letter}_{name}": v for letter, part in make_curves().items() for name, v in part.items()}
    np.savez_compressed(FILE, **arrays)
