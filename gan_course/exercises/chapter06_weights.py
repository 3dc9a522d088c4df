"""Chapitre 06 : initialiser des poids (`dcgan_init`), en tenir la moyenne (`update_ema`)."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from gan_course.exercises.chapter02 import expect_normal, expect_same_parameters
from gan_course.exercises.report import Broken, Exercise, Property, expect_close

# --- dcgan_init(layer), à donner à network.apply -------------------------------------------------------------


def network() -> nn.Sequential:
    """Un petit réseau dont tous les paramètres valent 3, avec des couches que l'initialisation ne regarde pas."""
    inner = nn.Sequential(nn.Conv2d(48, 64, 3, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2))
    plain = nn.BatchNorm2d(64, affine=False)
    head = nn.GroupNorm(4, 64), nn.Flatten(), nn.Linear(64, 3), nn.Embedding(5, 8)
    layers = nn.Sequential(nn.ConvTranspose2d(40, 48, 4), nn.BatchNorm2d(48), nn.ReLU(), inner, plain, *head)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.fill_(3.0)
    return layers


def applied(answer: Callable) -> nn.Sequential:
    layers = network()
    layers.apply(answer)
    return layers


def convolutions_start_small(answer: Callable) -> None:
    layers = applied(answer)
    for weight, what in (
        (layers[0].weight, "une ConvTranspose2d"),
        (layers[3][0].weight, "une Conv2d sans biais"),
    ):
        expect_normal(weight, 0.0, 0.02, f"Poids d'{what}")
        if float(weight.detach().abs().max()) < 0.05:
            raise Broken(f"Poids d'{what} : aucun ne dépasse 0,05 ; ce n'est pas une loi normale.")


def scales_start_around_one(answer: Callable) -> None:
    layers = applied(answer)
    scales = torch.cat([layers[1].weight, layers[3][1].weight])
    expect_normal(scales, 1.0, 0.02, "Échelles (weight) des BatchNorm2d")


def biases_start_at_zero(answer: Callable) -> None:
    layers = applied(answer)
    for layer, what in ((layers[0], "la ConvTranspose2d"), (layers[1], "la BatchNorm2d")):
        expect_close(layer.bias.detach(), torch.zeros(48), f"Biais de {what}")


def the_rest_is_untouched(answer: Callable) -> None:
    layers = applied(answer)
    for layer in (layers[5], layers[7], layers[8]):
        for name, parameter in layer.named_parameters():
            what = f"{type(layer).__name__}.{name}, qui valait 3 partout"
            expect_close(parameter.detach(), torch.full_like(parameter, 3.0), what)
    for norm in (layers[1], layers[3][1], layers[4]):
        expect_close(norm.running_mean, torch.zeros(norm.num_features), "Moyenne courante d'une BatchNorm2d")
        expect_close(norm.running_var, torch.ones(norm.num_features), "Variance courante d'une BatchNorm2d")


def the_network_still_learns(answer: Callable) -> None:
    layers = network()
    before = list(layers.parameters())
    layers.apply(answer)
    expect_same_parameters(layers, before)


# --- update_ema(average, model, halflife, batch_size) --------------------------------------------------------


def pair(start: float = 0.0, target: float = 1.0) -> tuple[nn.Module, nn.Module]:
    """Une moyenne dont tous les paramètres valent `start`, et son modèle, dont ils valent `target`."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.no_grad():
        for network, value in ((average, start), (model, target)):
            for parameter in network.parameters():
                parameter.fill_(value)
        for _ in range(3):
            model(torch.randn(16, 3) + 2)
    return average, model


def parameters_reach(network: nn.Module, value: float, what: str) -> None:
    for name, parameter in network.named_parameters():
        expect_close(
            parameter.detach(), torch.full_like(parameter, value), f"{what} (paramètre {name})", 1e-3
        )


def halflife_halves_the_gap(answer: Callable) -> None:
    for halflife, batch_size in ((640, 64), (1000, 100)):
        average, model = pair()
        for _ in range(10):
            answer(average, model, halflife, batch_size)
        parameters_reach(average, 0.5, f"Moyenne partie de 0 vers 1, après {halflife} images, la demi-vie")


def the_unit_is_the_image(answer: Callable) -> None:
    average, model = pair()
    answer(average, model, 1000, 500)
    parameters_reach(average, 1 - 0.5**0.5, "Un pas de 500 images, demi-vie 1 000")
    average, model = pair()
    for _ in range(2):
        answer(average, model, 1000, 250)
    parameters_reach(average, 1 - 0.5**0.5, "Deux pas de 250 images, demi-vie 1 000")


def buffers_are_copied(answer: Callable) -> None:
    average, model = pair()
    answer(average, model, 1000, 64)
    for name in ("running_mean", "running_var"):
        got, expected = getattr(average[1], name), getattr(model[1], name)
        expect_close(got, expected, f"Tampon {name} de la moyenne, celui du modèle attendu", 1e-5)
    kept = {name: buffer.clone() for name, buffer in average.named_buffers()}
    for buffer in model.buffers():
        buffer.add_(1)
    for name, buffer in average.named_buffers():
        if not torch.equal(buffer, kept[name]):
            raise Broken(
                f"Tampon {name} : celui de la moyenne change quand celui du modèle change ; ils partagent leur mémoire."
            )


def counters_stay_whole(answer: Callable) -> None:
    average, model = pair()
    answer(average, model, 1000, 64)
    got = average[1].num_batches_tracked
    if got.dtype != torch.int64 or int(got) != 3:
        raise Broken(
            f"Tampon num_batches_tracked : obtenu {got.item()!r} ({got.dtype}), attendu 3 (torch.int64)."
        )


def model_is_left_alone(answer: Callable) -> None:
    average, model = pair(target=2.0)
    objects = [id(p) for p in average.parameters()]
    for _ in range(2):
        answer(average, model, 1000, 64)
    parameters_reach(model, 2.0, "Le modèle, après deux mises à jour de sa moyenne")
    if any(not p.requires_grad for p in model.parameters()):
        raise Broken("Les poids du modèle ne sont plus entraînables.")
    if [id(p) for p in average.parameters()] != objects:
        raise Broken("Les paramètres de la moyenne ont été remplacés par d'autres : modifiez-les sur place.")
    if any(p.grad_fn is not None for p in average.parameters()):
        raise Broken("La moyenne porte un graphe de calcul : entourez le calcul de torch.no_grad().")


EXERCISES: dict[str, Exercise] = {
    "dcgan_init": Exercise(
        "dcgan_init",
        (
            Property(
                "les poids des convolutions, transposées ou non, suivent N(0 ; 0,02²)",
                convolutions_start_small,
                "les activations ne partiraient pas à l'échelle de l'article.",
            ),
            Property(
                "les échelles de BatchNorm2d suivent N(1 ; 0,02²)",
                scales_start_around_one,
                "ce ne serait pas le départ de l'article : près de 1, un peu différent d'une carte à l'autre.",
            ),
            Property(
                "leurs biais, quand ils existent, sont nuls",
                biases_start_at_zero,
                "chaque carte part avec un décalage que rien ne justifie.",
            ),
            Property(
                "rien d'autre ne change : ni les autres couches, ni les statistiques de BatchNorm2d",
                the_rest_is_untouched,
                "des couches dont l'article ne dit rien perdraient ce qu'elles avaient.",
            ),
            Property(
                "les paramètres restent les mêmes objets, entraînables",
                the_network_still_learns,
                "l'optimiseur ne pourrait plus les modifier.",
            ),
        ),
        (
            "La fonction reçoit une seule couche, que isinstance permet de reconnaître ; elle ne rend rien.",
            "nn.init.normal_(layer.weight, moyenne, écart_type) écrit sur place. Une convolution peut n'avoir pas de "
            "biais, et une BatchNorm2d(affine=False) n'a ni échelle ni biais : ils valent alors None.",
            "si isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) : nn.init.normal_(layer.weight, 0.0, 0.02) ; "
            "si c'est "
            "une nn.BatchNorm2d dont layer.weight n'est pas None : nn.init.normal_(layer.weight, 1.0, 0.02) ; dans les "
            "deux cas, nn.init.zeros_(layer.bias) s'il n'est pas None.",
        ),
        points=1,
    ),
    "update_ema": Exercise(
        "update_ema",
        (
            Property(
                "après `halflife` images, la moitié du chemin est faite",
                halflife_halves_the_gap,
                "la mémoire de la moyenne ne serait pas celle que halflife annonce.",
            ),
            Property(
                "la demi-vie se compte en images, non en pas",
                the_unit_is_the_image,
                "changer la taille des lots changerait la moyenne sans qu'on le sache.",
            ),
            Property(
                "les tampons réels (statistiques de BatchNorm) sont copiés du modèle, sans partager sa mémoire",
                buffers_are_copied,
                "les poids moyens tourneraient avec d'autres statistiques que celles du modèle : images délavées ou "
                "saturées.",
            ),
            Property(
                "les tampons entiers sont copiés, et restent entiers",
                counters_stay_whole,
                "la moyenne n'aurait pas les compteurs du modèle : le point de reprise serait faux, ou illisible.",
            ),
            Property(
                "le modèle ne change pas, et la moyenne se modifie sur place, sans graphe",
                model_is_left_alone,
                "la moyenne ne suivrait plus le modèle sans le déranger.",
            ),
        ),
        (
            "Une demi-vie h : à chaque image, l'écart est multiplié par 0.5 ** (1 / h). Et pour un lot ?",
            "decay = 0.5 ** (batch_size / halflife). Parcourez average.parameters() et model.parameters() ensemble, "
            "puis les deux .buffers().",
            "sous torch.no_grad() : pour (a, p) dans zip(average.parameters(), model.parameters()), "
            "a.mul_(decay).add_(p, alpha=1 - decay) ; pour (a, b) dans zip(average.buffers(), model.buffers()), "
            "a.copy_(b).",
        ),
        points=3,
    ),
}
