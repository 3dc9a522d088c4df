"""Se promener à la main dans un espace latent : curseurs sur des directions, et deux images à relier d'un clic.

Là où rien ne réagit (terminal, papermill, page imprimée), une figure fixe dit la même chose.
"""

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from gan_course.display import show_grid, to_image
from gan_course.evaluation import evaluation_mode
from gan_course.latent import walk
from gan_course.widgets import in_kernel, panels

REACH = 3.0  # curseurs et bandes : de -3 à 3 écarts-types, tout ce qu'un tirage de N(0, I) visite
VIEWS = 7  # images d'une bande fixe


@torch.no_grad()
def principal_directions(
    generator: nn.Module, count: int = 4, points: int = 16, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Les `count` directions latentes qui changent le plus l'image : (count, D) unitaires, et leur part de (0, 1].

    Vecteurs propres de E[JᵀJ], où J est la dérivée de G en z, prise par différences en `points` tirages. Le bruit
    lui-même n'a pas de direction principale : N(0, I) est ronde. C'est G qui la déforme. Lève ValueError si count
    n'est pas de 1 à D.
    """
    dim = generator.latent_dim
    if not 1 <= count <= dim:
        raise ValueError(f"count={count} ; ce générateur a {dim} coordonnées latentes, il faut de 1 à {dim}.")
    device = next(generator.parameters()).device
    z = torch.randn(points, dim, generator=torch.Generator().manual_seed(seed)).to(device)
    gram = torch.zeros(dim, dim, dtype=torch.float64)
    step = 0.1 * torch.eye(dim, device=device)
    with evaluation_mode(generator):
        for one in z:
            slopes = (generator(one + step) - generator(one - step)).flatten(1).double().cpu() / 0.2
            gram += slopes @ slopes.T
    values, vectors = torch.linalg.eigh(gram)
    shares = values.flip(0).clamp_min(0) / values.clamp_min(0).sum()
    return vectors.flip(1).T[:count].float(), shares[:count].float()


def explore(
    generator: nn.Module, directions: Tensor, origin: Tensor | None = None, names: Sequence[str] | None = None
) -> Any:
    """Un curseur par direction, de -3 à 3, autour de `origin` ; sans noyau qui réagit, une bande fixe par direction.

    generator   G(z), sans classe
    directions  (K, D), une ligne par curseur ; origin (D,), défaut : 0, d'où partent toutes les directions
    names       K noms ; défaut : « direction 1 »…

    L'image dessinée est G(origin + Σ tₖ dₖ). Rend un widget, ou une Figure. Lève ValueError si une forme ne convient
    pas.
    """
    dim = generator.latent_dim
    origin = torch.zeros(dim) if origin is None else origin.detach().cpu()
    directions = directions.detach().cpu()
    if (
        directions.dim() != 2
        or directions.shape[1] != dim
        or tuple(origin.shape) != (dim,)
        or not len(directions)
    ):
        raise ValueError(
            f"directions {tuple(directions.shape)} et origin {tuple(origin.shape)} reçus ; ce générateur attend (K, "
            f"{dim}) et ({dim},)."
        )
    names = [f"direction {i + 1}" for i in range(len(directions))] if names is None else list(names)
    if len(names) != len(directions):
        raise ValueError(
            f"{len(names)} noms pour {len(directions)} directions ; il en faut un par direction."
        )
    draw = _drawer(generator)
    if not _interactive():
        times = torch.linspace(-REACH, REACH, VIEWS)
        z = (origin + times[:, None] * directions[:, None]).flatten(0, 1)
        return _strips(draw(z), names, times)
    return _sliders(draw, origin, directions, names)


def pick_and_walk(generator: nn.Module, codes: Tensor, steps: int = 25, how: str = "slerp") -> Any:
    """Les images de `codes` (K, D), chacune avec un bouton ; cliquez-en deux, et un curseur mène de l'une à l'autre.

    Sans noyau qui réagit : la promenade de la première à la dernière. how : "slerp" ou "lerp". Rend un widget, ou une
    Figure. Lève ValueError si codes n'est pas (K, D), K d'au moins 2.
    """
    if codes.dim() != 2 or len(codes) < 2 or codes.shape[1] != generator.latent_dim:
        raise ValueError(
            f"codes est de forme {tuple(codes.shape)} ; il faut (K, {generator.latent_dim}), K d'au moins 2."
        )
    codes = codes.detach().cpu()
    if not _interactive():
        images = walk(generator, codes[0], codes[-1], VIEWS, how=how)[0]
        return _strips(images.cpu(), ["de la première à la dernière"], torch.linspace(0, 1, VIEWS))
    return _picker(generator, codes, steps, how)


def _interactive() -> bool:
    return in_kernel() and os.environ.get("GAN_COURSE_STATIC") != "1"


def _drawer(generator: nn.Module) -> Callable[[Tensor], Tensor]:
    device = next(generator.parameters()).device

    @torch.no_grad()
    def draw(z: Tensor) -> Tensor:
        with evaluation_mode(generator):
            return generator(z.to(device)).cpu()

    return draw


def _strips(images: Tensor, names: Sequence[str], times: Tensor) -> Figure:
    """Une ligne d'images par nom, une colonne par instant."""
    side, columns = images.shape[-1] + 1, len(times)
    width = 8.0
    figure, ax = panels(width=width, height=0.6 + (width - 1.4) * len(names) / columns)
    show_grid(images, columns=columns, ax=ax)
    ax.set_axis_on()
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    labels = [f"{t:.2g}".replace(".", ",").replace("-", "−") for t in times.tolist()]
    ax.set_xticks([(i + 0.5) * side for i in range(columns)], labels)
    ax.set_yticks([(i + 0.5) * side for i in range(len(names))], names)
    ax.set_xlabel("position le long de la direction" if times[0] < 0 else "t, du départ (0) à l'arrivée (1)")
    return figure


def _view(image: Tensor, side: int = 256) -> bytes:
    """Une image (C, H, W) en PNG d'environ `side` pixels, aux pixels nets."""
    pixels = to_image(image)
    factor = max(1, side // pixels.shape[0])
    buffer = io.BytesIO()
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def _sliders(
    draw: Callable[[Tensor], Tensor], origin: Tensor, directions: Tensor, names: Sequence[str]
) -> Any:
    import ipywidgets

    view = ipywidgets.Image(value=_view(draw(origin[None])[0]), format="png")
    sliders = [
        ipywidgets.FloatSlider(value=0, min=-REACH, max=REACH, step=0.1, description=name) for name in names
    ]
    reset = ipywidgets.Button(description="Revenir à zéro")

    def show(_change: object = None) -> None:
        position = torch.tensor([slider.value for slider in sliders])
        view.value = _view(draw((origin + position @ directions)[None])[0])

    def back(_button: object) -> None:
        for slider in sliders:
            slider.value = 0.0

    for slider in sliders:
        slider.observe(show, names="value")
    reset.on_click(back)
    return ipywidgets.HBox([ipywidgets.VBox([*sliders, reset]), view])


def _picker(generator: nn.Module, codes: Tensor, steps: int, how: str) -> Any:
    import ipywidgets

    small = [ipywidgets.Image(value=_view(image, 64), format="png") for image in _drawer(generator)(codes)]
    buttons = [ipywidgets.Button(description=str(i + 1)) for i in range(len(codes))]
    for button in buttons:
        button.layout.width = "64px"
    label = ipywidgets.Label("Cliquez une image de départ, puis une image d'arrivée.")
    slider = ipywidgets.IntSlider(min=0, max=steps - 1, readout=False, description="t", disabled=True)
    view = ipywidgets.Image(value=_view(torch.ones(generator.image_shape)), format="png")
    chosen: list[int] = []
    frames: list[bytes] = []

    def pick(index: int) -> None:
        if len(chosen) == 2:
            chosen.clear()
        if chosen == [index]:  # une image n'a pas de chemin vers elle-même
            return
        chosen.append(index)
        if len(chosen) < 2:
            label.value = f"Départ : {index + 1}. Cliquez l'arrivée."
            return
        start, end = chosen
        frames[:] = [_view(image) for image in walk(generator, codes[start], codes[end], steps, how=how)[0]]
        label.value = f"De {start + 1} à {end + 1}, par {how}."
        slider.disabled, slider.value, view.value = False, 0, frames[0]

    def move(change: dict) -> None:
        if frames:
            view.value = frames[change["new"]]

    for index, button in enumerate(buttons):
        button.on_click(lambda _button, index=index: pick(index))
    slider.observe(move, names="value")
    faces = [ipywidgets.VBox(pair) for pair in zip(small, buttons)]
    rows = [ipywidgets.HBox(faces[i : i + 6]) for i in range(0, len(faces), 6)]
    return ipywidgets.VBox([*rows, label, slider, view])
