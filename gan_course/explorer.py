"""Se promener à la main dans un espace latent : curseurs sur des directions, et deux images à relier d'un clic.

Là où rien ne réagit (terminal, papermill, page imprimée), une figure fixe dit la même chose.
"""

import base64
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gan_course.display import ORANGE, show_strips, to_image
from gan_course.engine.numbers import check_positive, french
from gan_course.engine.shapes import call, evaluation_mode
from gan_course.figures import interactive, picture, png
from gan_course.latent import check_labels, walk
from gan_course.metrics import as_tensor, check_rows

REACH = 3.0  # curseurs et bandes : de -3 à 3 écarts-types, tout ce qu'un tirage de N(0, I) visite
FACE = 72  # côté d'une image à choisir, en pixels
VIEWS = 7  # images d'une bande fixe
STEPS = 25  # images d'une promenade entre deux clics


@torch.no_grad()
def principal_directions(
    generator: nn.Module, count: int = 4, points: int = 16, seed: int = 0, y: int | None = None
) -> tuple[Tensor, Tensor]:
    """Les `count` directions latentes qui changent le plus l'image : (count, D) unitaires, et leur part de (0, 1].

    Vecteurs propres de E[JᵀJ], où J est la dérivée de G en z, prise par différences en `points` tirages. Le bruit
    lui-même n'a pas de direction principale : N(0, I) est ronde. C'est G qui la déforme. y : la classe, si G est
    conditionnel. Lève TypeError ou ValueError si un argument ne convient pas, ou si les images ne changent pas.
    """
    dim = generator.latent_dim
    if check_positive("count", count) > dim:
        raise ValueError(f"count={count} ; ce générateur a {dim} coordonnées latentes, il faut de 1 à {dim}.")
    draw = _drawer(generator, y)
    gram = torch.zeros(dim, dim, dtype=torch.float64)
    step = 0.1 * torch.eye(dim)
    for z in torch.randn(check_positive("points", points), dim, generator=torch.Generator().manual_seed(seed)):
        slopes = (draw(z + step) - draw(z - step)).flatten(1).double() / 0.2
        gram += slopes @ slopes.T
    if not 0 < gram.trace() < math.inf:
        raise ValueError(
            f"Pente de G au carré : {gram.trace().item()} ; ses images ne changent pas, ou ne sont pas finies. "
            "Vérifiez les poids de ce générateur."
        )
    values, vectors = torch.linalg.eigh(gram)
    shares = values.flip(0).clamp_min(0) / values.clamp_min(0).sum()
    return vectors.flip(1).T[:count].float(), shares[:count].float()


def explore(
    generator: nn.Module,
    directions: Tensor,
    origin: Tensor | None = None,
    names: Sequence[str] | None = None,
    y: int | None = None,
) -> Any:
    """Un curseur par direction, de -3 à 3, autour de `origin` ; sans noyau qui réagit, une bande fixe par direction.

    generator   G(z), ou G(z, y) : y est alors la classe, la même partout
    directions  (K, D), une ligne par curseur ; origin (D,), défaut : 0, d'où partent toutes les directions
    names       K noms ; défaut : « direction 1 »…

    L'image dessinée est G(origin + Σ tₖ dₖ). Rend un widget, ou une Figure. Lève TypeError ou ValueError si un
    argument ne convient pas.
    """
    dim = generator.latent_dim
    if isinstance(directions, tuple):
        raise TypeError(
            "directions : un tuple reçu ; principal_directions rend deux choses, à déballer : directions, parts = "
            "principal_directions(…)."
        )
    directions = check_rows("directions", directions, dim).cpu().float()
    origin = torch.zeros(dim) if origin is None else as_tensor("origin", origin)
    origin = check_rows("origin", origin[None], dim)[0].cpu().float()
    names = [f"direction {i + 1}" for i in range(len(directions))] if names is None else list(map(str, names))
    if len(names) != len(directions):
        raise ValueError(
            f"{len(names)} noms pour {len(directions)} directions ; il en faut un par direction."
        )
    draw = _drawer(generator, y)
    if not interactive():
        times = torch.linspace(-REACH, REACH, VIEWS)
        z = (origin + times[:, None] * directions[:, None]).flatten(0, 1)
        places = [french(t, ".2g") for t in times.tolist()]
        return show_strips(draw(z), places, "position le long de la direction", names)
    return _sliders(draw, origin, directions, names)


def pick_and_walk(generator: nn.Module, codes: Tensor, y: int | None = None) -> Any:
    """Les images de `codes` (K, D), chacune un bouton ; cliquez-en deux, et un curseur mène de l'une à l'autre.

    Sans noyau qui réagit : la promenade de la première à la dernière. Le chemin est sphérique (slerp) ; y : la classe,
    si le générateur est conditionnel. Rend un widget, ou une Figure. Lève TypeError ou ValueError si un argument ne
    convient pas ; codes doit être (K, D), K d'au moins 2.
    """
    codes = check_rows("codes", codes, generator.latent_dim, least=2).cpu().float()
    if not interactive():
        times = [french(i / (VIEWS - 1), ".2g") for i in range(VIEWS)]
        images = walk(generator, codes[0], codes[-1], VIEWS, y)[0]
        return show_strips(images, times, "t, de la première image (0) à la dernière (1)")
    return _picker(generator, codes, y)


def _drawer(generator: nn.Module, y: int | None) -> Callable[[Tensor], Tensor]:
    """La fonction z (B, D) → images (B, C, H, W), sur le processeur ; toutes de la classe y s'il y en a."""
    label, parameter = check_labels(generator, y, 1), next(generator.parameters())

    @torch.no_grad()
    def draw(z: Tensor) -> Tensor:
        z = z.to(parameter)
        with evaluation_mode(generator):
            return call(generator, z, None if label is None else label.expand(len(z))).cpu()

    return draw


def _view(image: Tensor, side: int = 256) -> bytes:
    """Une image (C, H, W) en PNG d'environ `side` pixels, aux pixels nets."""
    pixels = to_image(image)
    factor = max(1, side // pixels.shape[0])
    return png(Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1)))


def _sliders(
    draw: Callable[[Tensor], Tensor], origin: Tensor, directions: Tensor, names: Sequence[str]
) -> Any:
    import ipywidgets

    view = picture(_view(draw(origin[None])[0]))
    # Le nombre qu'un curseur écrit lui-même aurait un point pour virgule.
    options = {"value": 0, "min": -REACH, "max": REACH, "step": 0.1, "readout": False}
    sliders = [ipywidgets.FloatSlider(description=name, **options) for name in names]
    labels = [ipywidgets.Label(french(0, 1)) for _ in names]
    reset = ipywidgets.Button(description="Revenir à zéro")

    def show(_change: object = None) -> None:
        position = torch.tensor([slider.value for slider in sliders])
        view.value = _view(draw((origin + position @ directions)[None])[0])
        for slider, label in zip(sliders, labels):
            label.value = french(slider.value, 1)

    def back(_button: object) -> None:
        for slider in sliders:
            slider.value = 0.0

    for slider in sliders:
        slider.observe(show, names="value")
    reset.on_click(back)
    rows = [ipywidgets.HBox(pair) for pair in zip(sliders, labels)]
    return ipywidgets.HBox([ipywidgets.VBox([*rows, reset]), view])


def _picker(generator: nn.Module, codes: Tensor, y: int | None) -> Any:
    import ipywidgets

    style, buttons = _faces(_drawer(generator, y)(codes))
    label = ipywidgets.Label("Cliquez sur une image de départ, puis sur une image d'arrivée.")
    slider = ipywidgets.IntSlider(min=0, max=STEPS - 1, readout=False, description="t", disabled=True)
    view = picture(_view(torch.ones(generator.image_shape)))
    chosen: list[int] = []
    frames: list[bytes] = []

    def pick(index: int) -> None:
        if len(chosen) == 2:
            chosen.clear()
        if chosen == [index]:  # une image n'a pas de chemin vers elle-même
            return
        chosen.append(index)
        if len(chosen) < 2:
            label.value = f"Départ : {index + 1}. Cliquez sur l'arrivée."
            return
        start, end = chosen
        try:
            images = walk(generator, codes[start], codes[end], STEPS, y)[0]
        except ValueError as error:  # codes nuls ou opposés : une erreur levée par un clic ne se verrait pas
            label.value = str(error)
            chosen.clear()
            return
        frames[:] = [_view(image) for image in images]
        label.value = f"De {start + 1} à {end + 1}, par slerp."
        slider.disabled, slider.value, view.value = False, 0, frames[0]

    def mark() -> None:
        for index, button in enumerate(buttons):
            button.layout.border = f"4px solid {ORANGE}" if index in chosen else None

    def move(change: dict) -> None:
        if frames:
            view.value = frames[change["new"]]

    for index, button in enumerate(buttons):
        button.on_click(lambda _button, index=index: (pick(index), mark()))
    slider.observe(move, names="value")
    rows = [ipywidgets.HBox(buttons[i : i + 6]) for i in range(0, len(buttons), 6)]
    return ipywidgets.VBox([style, *rows, label, slider, view])


def _faces(images: Tensor) -> tuple[Any, list[Any]]:
    """Un bouton par image, qui la montre sous son numéro, et le style (un widget HTML) qui les habille."""
    import ipywidgets

    name = f"image-{secrets.token_hex(4)}"  # deux promenades d'un même carnet n'ont pas les mêmes images
    rules, buttons = [], []
    for i, image in enumerate(images, start=1):
        layout = ipywidgets.Layout(width=f"{FACE}px", height=f"{FACE}px")
        buttons.append(ipywidgets.Button(description=str(i), tooltip=f"Choisir l'image {i}", layout=layout))
        buttons[-1].add_class(f"{name}-{i}")
        face = base64.b64encode(_view(image, FACE)).decode()
        rules.append(
            f".jupyter-button.{name}-{i} {{ background: url(data:image/png;base64,{face}) center / cover !important; "
            f"image-rendering: pixelated; text-align: left; line-height: 18px; padding: 0 0 {FACE - 18}px; }} "
            f".{name}-{i}::first-line {{ color: black; background: white; }}"
        )
    return ipywidgets.HTML(f"<style>{' '.join(rules)}</style>"), buttons
