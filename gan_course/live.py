"""Regarder un entraînement pendant qu'il tourne : une figure et une ligne d'état, sans le ralentir."""

import base64
import math
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gan_course.display import GREY, ORANGE, plot_losses, plot_scores, show_grid
from gan_course.engine.numbers import french, is_whole
from gan_course.engine.shapes import call, evaluation_mode
from gan_course.figures import finish_axes, in_kernel, new_figure, panels, png
from gan_course.losses import find_loss
from gan_course.metrics import check_rows

DRAWING_SHARE = 0.05  # part du temps que le dessin peut prendre
PRINT_EVERY = 10.0  # secondes entre deux lignes, quand la sortie est un fichier
MIN_POINTS = 1000  # 25 points ne montrent pas un nuage


def follow(
    run: Iterable[Any],
    every: float = 1.0,
    samples: int = 25,
    seed: int = 0,
    real: Tensor | None = None,
) -> Iterator[Any]:
    """Rend les Progress de `run` (ce que rend train()) en les montrant : échantillons, pertes et scores.

    every    secondes entre deux mises à jour, au moins ; les figures s'espacent davantage si elles
             prenaient plus de 5 % du temps
    samples  nombre d'images, tirées du générateur moyenné en mode évaluation, toujours pour le même z (graine
             `seed`) : deux figures se comparent. Un générateur conditionnel en montre un nombre entier de
             fois ses classes ; un générateur de points, 1 000 au moins
    real     points (M, 2) à dessiner sous le nuage, dans le laboratoire à deux dimensions

    Dans un carnet : une figure et une ligne, mises à jour sur place. Dans un terminal : la ligne seule ; dans
    un fichier, une ligne toutes les dix secondes. L'état final est toujours montré, même après break, Ctrl-C
    ou une erreur, et `run` est fermé. Une erreur de dessin avertit une fois et n'arrête pas l'entraînement.
    Le hasard de PyTorch n'est pas touché. Lève ValueError ou TypeError, tout de suite, si un argument ne
    convient pas.
    """
    if not isinstance(run, Iterable):
        raise TypeError(f"follow a reçu {type(run).__name__} ; il faut train(…) : for p in follow(train(…)).")
    if not isinstance(every, Real) or not every >= 0:
        raise ValueError(f"every={every!r} ; il faut un nombre de secondes, 0 ou plus.")
    if not is_whole(samples) or not 1 <= samples <= 400:
        raise ValueError(f"samples={samples!r} ; il faut un entier de 1 à 400.")
    return _follow(iter(run), _Screen(every, _Sampler(samples, seed), real))


def _follow(run: Iterator[Any], screen: "_Screen") -> Iterator[Any]:
    try:
        for progress in run:
            screen.see(progress)
            yield progress
    finally:
        # D'abord fermer : c'est là que train() enregistre son point de reprise.
        try:
            close = getattr(run, "close", None)
            if close is not None:
                close()
        finally:
            screen.finish()


class _Sampler:
    """Échantillons d'un générateur pour un z fixé, tiré une fois pour toutes sur le processeur."""

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self.z: Tensor | None = None
        self.labels: Tensor | None = None
        self.columns: int | None = None

    def __call__(self, generator: nn.Module, device: torch.device) -> Tensor:
        """Images (N, C, H, W) ou points (N, 2), en mode évaluation, sans toucher au hasard de PyTorch."""
        if self.z is None:
            self._draw_latents(generator)
        z, y = self.z.to(device), None if self.labels is None else self.labels.to(device)
        devices = [device] if device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices), evaluation_mode(generator):
            # Un générateur peut tirer du bruit même en évaluation : le même à chaque figure.
            torch.default_generator.manual_seed(self.seed)
            if devices:
                torch.cuda.manual_seed(self.seed)
            return call(generator, z, y)

    def _draw_latents(self, generator: nn.Module) -> None:
        count, classes = self.samples, getattr(generator, "num_classes", 0)
        if draws_points(generator):
            count = max(count, MIN_POINTS)
        if classes:
            count = classes * math.ceil(count / classes)
            self.labels = torch.arange(count) % classes
            # Une colonne par classe ; deux ou trois s'il y en a peu, pour une planche moins étroite.
            self.columns = classes * max(1, 6 // classes) if classes <= 20 else None
        self.z = torch.randn(count, generator.latent_dim, generator=torch.Generator().manual_seed(self.seed))


class _Screen:
    """Ce qui est affiché, et quand l'afficher de nouveau."""

    def __init__(self, every: float, sampler: _Sampler, real: Tensor | None) -> None:
        self.every, self.sampler, self.real = every, sampler, real
        self.kernel = in_kernel()
        self.tty = not self.kernel and sys.stdout.isatty()
        self.last: Any = None
        self.first_step, self.started = 0, time.perf_counter()
        self.pause = every if self.kernel or self.tty else max(every, PRINT_EVERY)
        self.next_line, self.next_figure = -math.inf, -math.inf if self.kernel else math.inf
        self.drawn_step, self.width = -1, 0
        self.handles: dict[str, Any] = {}
        self.warned = False

    def see(self, progress: Any) -> None:
        """Met à jour ce qui doit l'être ; ne coûte qu'une lecture d'horloge le reste du temps."""
        now = time.perf_counter()
        if self.last is None:
            self.first_step, self.started = progress.step, now
            self.unit = "points" if draws_points(progress.ema) else "images"  # une fois : lire ema refait sa BatchNorm
        self.last = progress
        if now >= self.next_figure:
            self._attempt(self._draw)
            spent = time.perf_counter() - now
            self.next_figure = now + spent + max(self.every, spent * (1 / DRAWING_SHARE - 1))
        if now >= self.next_line:
            self._attempt(self._write, self.status())
            self.next_line = time.perf_counter() + self.pause

    def finish(self) -> None:
        """Montre le dernier état et ferme la ligne."""
        if self.last is None:
            return
        if self.kernel and self.drawn_step != self.last.step:
            self._attempt(self._draw)
        self._attempt(self._write, self.status(final=True), "\n")

    def status(self, final: bool = False) -> str:
        """« pas 812/2 000 · 12 400 images/s · D 0,64 · G 1,02 · reste 1 min 20 s »."""
        p = self.last
        elapsed, done = time.perf_counter() - self.started, p.step - self.first_step
        parts = [f"pas {french(p.step, 0)}/{french(p.steps, 0)}"]
        if math.isfinite(p.images_per_second) and p.images_per_second > 0:
            parts.append(f"{french(p.images_per_second, 0)} {self.unit}/s")
        parts += [f"D {french(p.d_loss)}", f"G {french(p.g_loss)}"]
        if final:
            parts.append(f"{'terminé' if p.step >= p.steps else 'arrêté'} en {duration(elapsed)}")
        elif done:
            parts.append(f"reste {duration(elapsed / done * (p.steps - p.step))}")
        return " · ".join(parts)

    def _draw(self) -> None:
        self.drawn_step = self.last.step
        samples = self.sampler(self.last.ema, torch.device(self.last.device))
        picture = png(draw_state(self.last, samples, self.sampler.columns, self.real))
        # Un PNG déjà fait : IPython redessinerait une Figure deux fois pour la rogner.
        text = f"Échantillons, pertes et scores de D au pas {french(self.last.step, 0)}"
        bundle = {"image/png": base64.b64encode(picture).decode(), "text/plain": text}
        self._show("figure", bundle, metadata={"image/png": {"alt": text}})

    def _write(self, line: str, end: str = "") -> None:
        if self.kernel:
            self._show("ligne", {"text/plain": line})
        elif self.tty:
            # Des espaces effacent ce qui dépasserait d'une ligne plus longue.
            print("\r" + line.ljust(self.width), end=end, flush=True)
            self.width = len(line)
        else:
            print(line, flush=True)

    def _show(self, name: str, bundle: dict, **options: Any) -> None:
        """Affiche, puis met à jour sur place, ce que désigne `name`."""
        from IPython.display import display

        if name in self.handles:
            self.handles[name].update(bundle, raw=True, **options)
        else:
            self.handles[name] = display(bundle, raw=True, display_id=True, **options)

    def _attempt(self, action: Any, *arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:  # le dessin n'est pas l'entraînement : il ne doit jamais l'arrêter
            if not self.warned:
                self.warned = True
                warnings.warn(
                    f"L'affichage a échoué ({type(error).__name__} : {error}) ; l'entraînement continue.",
                    stacklevel=2,
                )


def draw_state(
    progress: Any, samples: Tensor, columns: int | None = None, real: Tensor | None = None
) -> Figure:
    """Figure d'un instant : à gauche les échantillons, à droite les pertes au-dessus des scores de D."""
    figure = new_figure(9.0, 3.9)
    left = figure.add_axes([0.005, 0.02, 0.44, 0.9])
    if samples.dim() == 2:
        left.set_position([0.06, 0.13, 0.38, 0.79])
        show_points(samples, real, left)
    else:
        show_grid(samples, columns=columns, ax=left)
    left.set_title(f"Échantillons au pas {french(progress.step, 0)}", fontsize=10)
    # À droite, de quoi écrire la moitié du dernier nombre de pas.
    upper, lower = figure.add_axes([0.53, 0.57, 0.44, 0.36]), figure.add_axes([0.53, 0.12, 0.44, 0.36])
    plot_losses(progress.history, upper)
    plot_scores(progress.history, lower, probabilities=find_loss(progress.recipe.loss).probability)
    upper.set_xlabel("")
    upper.tick_params(labelbottom=False)
    for ax in (upper, lower):
        ax.tick_params(labelsize=8)
        ax.yaxis.label.set_size(9)
    return figure


def show_points(fake: Tensor, real: Tensor | None = None, ax: Axes | None = None) -> Figure:
    """Nuage de points générés (N, 2), sur les points réels (M, 2) en gris s'ils sont donnés.

    Lève ValueError si une forme ne convient pas ou si un point n'est pas fini.
    """
    if ax is None:
        _, ax = panels(width=4.6, height=4.6)
    clouds = [(check_rows("Les points", fake, dim=2).cpu().float(), ORANGE, "générés", 5)]
    if real is not None:
        clouds.insert(0, (check_rows("Les points réels", real, dim=2).cpu().float(), GREY, "réels", 3))
    for points, colour, name, size in clouds:
        ax.scatter(*points.T, s=size, color=colour, label=name, alpha=0.6, linewidths=0)
    # Le cadre suit les vrais points s'il y en a : il ne bouge pas d'une figure à l'autre.
    reach = 1.25 * max(float(clouds[0][0].abs().max()), 1e-3)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x₁", ylabel="x₂", aspect="equal")
    finish_axes(ax)
    return ax.figure


def draws_points(generator: nn.Module) -> bool:
    """Vrai pour le laboratoire en deux dimensions, dont les « images » sont des points du plan."""
    return tuple(getattr(generator, "image_shape", ())) == (2,)


def duration(seconds: float) -> str:
    """Durée lisible : « 4 s », « 1 min 20 s », « 2 h 05 min »."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"
