"""Les erreurs courantes de chaque exercice : la phrase qui nomme l'erreur, et une fonction qui la commet.

Une réponse est reconnue à son sort : si toutes les propriétés disent d'elle ce qu'elles disent de la fonction fausse,
c'est cette erreur-là. Rien n'est lu dans son texte. Ajouter une erreur, c'est ajouter une ligne à la table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot, softplus

from gan_course.latent import lerp, slerp
from gan_course.metrics import frechet_distance
from gan_course.models.stylegan import adain


@dataclass(frozen=True)
class Mistake:
    """Une erreur courante.

    consequence : vide, c'est celle de la première propriété manquée. margin : l'écart relatif permis entre ses nombres
    et ceux de la réponse.
    """

    error: str
    consequence: str
    wrong: Callable
    margin: float = 0.01


# --- des réponses justes, à une faute près -------------------------------------------------------------------


def d_loss(real: Tensor, fake: Tensor, target: float = 1.0, fake_target: float = 0.0,
           total: Callable = torch.mean) -> Tensor:  # fmt: skip
    return total(softplus(real) - target * real) + total(softplus(fake) - fake_target * fake)


def g_loss(fake: Tensor, target: float = 1.0, total: Callable = torch.mean) -> Tensor:
    return total(softplus(fake) - target * fake)


def by_log(real: Tensor, fake: Tensor, target: float) -> Tensor:
    r, f = real.sigmoid(), fake.sigmoid()
    return -(target * r.log() + (1 - target) * (1 - r).log()).mean() - (1 - f).log().mean()


def labelled(loss: Callable) -> Callable:
    return lambda real, fake, real_label=1.0: loss(real, fake, real_label)


def chain(formula: Callable) -> Callable:
    """Le dernier côté, quand chaque étage passe du côté n à formula(n, *étage)."""
    return lambda n, layers: reduce(lambda side, layer: formula(side, *layer), layers, n)


def starts(mean: float = 1.0, std: float = 0.02, kinds: type | tuple = (nn.Conv2d, nn.ConvTranspose2d)) -> Callable:
    """L'initialisation de DCGAN d'une couche, à une faute près."""

    def layer_by_layer(layer: nn.Module) -> None:
        if isinstance(layer, kinds):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, mean, 0.02)
        else:
            return
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    return layer_by_layer


def everywhere(layer_by_layer: Callable) -> Callable:
    return lambda network: network.apply(layer_by_layer)


def arc(a: Tensor, b: Tensor, t: object, clamped: bool = True, least: float = 0.0, divided: bool = True) -> Tensor:
    """slerp sans refus, ni traitement de l'angle nul s'il n'est pas ramené à un angle `least`."""
    cosine = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    omega = torch.arccos(cosine.clamp(-1, 1) if clamped else cosine).clamp_min(least)
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / (omega.sin() if divided else 1)


def rescaled(a: Tensor, b: Tensor, t: object) -> Tensor:
    """La corde, ramenée à la norme interpolée."""
    chord = lerp(a, b, t)
    norm_a, norm_b, norm = (x.norm(dim=-1, keepdim=True) for x in (a, b, chord))
    return chord / norm * lerp(norm_a, norm_b, t)


def slopes(critic: Callable, real: Tensor, fake: Tensor, dims: tuple = (1, 2, 3), draw: Callable = torch.rand,
           graph: bool = True) -> Tensor:  # fmt: skip
    """La norme, sur les axes `dims`, de la pente du critique aux points mélangés."""
    epsilon = draw(len(real), 1, 1, 1)
    x = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    return torch.linalg.vector_norm(torch.autograd.grad(critic(x).sum(), x, create_graph=graph)[0], dim=dims)


def gap(a: Tensor, b: Tensor, moment: Callable = torch.mean) -> Tensor:
    return (moment(a, 0) - moment(b, 0)).square().sum()


def planes(x: Tensor, y: Tensor, k: int) -> Tensor:
    return one_hot(y, k).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:])


def accuracies(predicted: Tensor, asked: Tensor, k: int) -> Tensor:
    return torch.stack([(predicted == asked).float()[asked == i].mean() for i in range(k)])


def d_step(real_sign: float = -1.0, scale: float = 1.0, zero: str = "before", graph: bool = False) -> Callable:
    """Un pas de D, à une faute près : signe, facteur, place de zero_grad, graphe des faux."""

    def step(generator, discriminator, optimizer, real, z) -> Tensor:  # noqa: ANN001
        fake = generator(z) if graph else generator(z).detach()
        loss = scale * (g_loss(-real_sign * discriminator(real)) + g_loss(real_sign * discriminator(fake)))
        if zero == "before":
            optimizer.zero_grad()
        loss.backward()
        if zero == "after":
            optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    return step


def stretch(weight: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(weight, 2)


def critic_step(clip: str = "after", zero: bool = True, least_dim: int = 1, measure: Callable = stretch) -> Callable:
    """Un pas de WGAN, à une faute près : ce que l'on écrête et quand, les gradients gardés, la borne rendue."""

    def step(critic, optimizer, loss, limit) -> float:  # noqa: ANN001
        if zero:
            optimizer.zero_grad()
        loss.backward()
        if clip == "after":
            optimizer.step()
        for p in critic.parameters():
            if clip and p.dim() >= least_dim:
                p.data.clamp_(-limit, limit)
        if clip != "after":
            optimizer.step()
        return math.prod(float(measure(p.detach())) for p in critic.parameters() if p.dim() == 2)

    return step


def ema(decay: Callable = lambda ratio: 0.5**ratio, buffers: bool = True, swapped: bool = False) -> Callable:
    """Un pas de moyenne mobile, de facteur decay(lot / demi-vie), à une faute près."""

    @torch.no_grad()
    def update(average, model, halflife, batch_size) -> None:  # noqa: ANN001
        average, model = (model, average) if swapped else (average, model)
        for a, p in zip(average.parameters(), model.parameters()):
            a.lerp_(p, 1 - decay(batch_size / halflife))
        for a, b in zip(average.buffers(), model.buffers()):
            a.copy_(b if buffers else a)

    return update


def judged(discriminator: Callable, mean: Tensor, std: object, sign: float = 1.0) -> Tensor:
    codes, draws = (mean + std * torch.randn_like(mean)).detach(), torch.randn_like(mean)
    return g_loss(sign * discriminator(draws)) + g_loss(-sign * discriminator(codes))


def descend(generator, z, image, lr, prior) -> Tensor:  # noqa: ANN001
    z = z.detach().clone().requires_grad_()
    error, shell = (generator(z) - image).square().flatten(1).mean(1), (z.square().mean(1) - 1).square()
    (slope,) = torch.autograd.grad((error + prior * shell).sum(), z)
    return (z - lr * slope).detach()


# --- la table : « l'erreur | sa conséquence », qui la commet, la marge s'il tire au sort -----------------------------

HALF = "un facteur 1/2 de trop : il faut la somme des deux moyennes, non leur moyenne."
SWAPPED = ("les signes des logits sont inversés : softplus(-logit) va aux vrais, softplus(logit) aux faux. | "
           "D apprendrait à noter 0 les vrais et 1 les faux.")
SUMS = "vous faites la somme sur le lot au lieu de la moyenne. | la perte, et le pas, grandiraient avec le lot."
SMOOTHED = "vous lissez aussi les faux : leur cible doit rester 0. | l'optimum de D irait là où G se trompe."
SATURATING = ("c'est la forme saturante, moyenne(log(1 - D(G(z)))) : il faut -moyenne(log D(G(z))). | "
              "tant que D reconnaît tous ses faux, la pente s'éteint et G n'apprend rien.")
LOGARITHM = ("vous prenez un logarithme après une sigmoïde ou une exponentielle : pour un logit de ±200, float32 y a "
             "lu 0 ou l'infini. softplus, elle, part du logit. | un seul exemple suffirait à tout changer en NaN.")
SCALES = ("les échelles de BatchNorm2d sont tirées autour de 0 : leur moyenne doit être 1. | "
          "chaque étage diviserait son signal par cinquante : G rendrait du gris et n'apprendrait rien.")
VARIANCE = "vous prenez 0,02 pour une variance : c'est l'écart-type, dernier argument de normal_."
ONE_KIND = "une sorte de convolution est oubliée : il faut Conv2d et ConvTranspose2d."
CHORD = "vous interpolez en ligne droite, (1 - t) a + t b : c'est lerp, non slerp."
RESCALED = "vous suivez la corde, puis ramenez la norme : l'angle n'avance pas à vitesse constante."
REVERSED = "a et b sont échangés, ou t et 1 - t."
ZERO_SINE = ("si l'angle est nul, sin ω l'est aussi, et 0 / 0 donne NaN : borner le cosinus ne suffit pas, traitez à "
             "part un angle presque nul.")
UNCLAMPED = "l'arrondi pousse le cosinus au-delà de 1, où arccos donne NaN : bornez-le, par .clamp(-1, 1)."
SQUARE = ("ψ(h) reste de forme (B, 1) : avec un terme (B,), la somme devient (B, B). Il manque .squeeze(1). | "
          "la perte comparerait chaque image à toutes les autres, sans que PyTorch s'en plaigne.")
PAIRS = "vous additionnez les produits de h avec les e(y) de tout le lot, au lieu du seul e(y) de son image."
NO_PSI = "il manque ψ(h), le terme qui ne dépend pas de la classe."
UNSTYLED = "vous ne centrez ni ne réduisez les cartes avant de leur donner le style."
NO_SQUARE = "l'écart des moyennes n'est pas au carré : il faut ‖μ_a - μ_b‖²."
NO_SPREAD = ("il ne reste que l'écart des moyennes : l'étalement des nuages ne compte pas. | "
             "un générateur effondré sur l'image moyenne aurait une bonne note.")
STALE = "il manque optimizer.zero_grad() : les gradients du pas précédent s'ajoutent aux vôtres."
FROBENIUS = "c'est la norme de Frobenius : il faut la plus grande valeur singulière, matrix_norm(weight, 2)."

_TABLE: dict[str, tuple] = {
    # chapitre 01
    "normalise": (
        ("vos pixels vont de 0 à 1, et non de -1 à 1 : il reste à multiplier par 2 et à retirer 1. | "
         "G finit par tanh : D reconnaîtrait les vraies images à ce qu'elles ne sont jamais négatives.",
         lambda pixels: pixels.float() / 255),
        ("vous centrez et réduisez par la moyenne et l'écart-type de MNIST, 0,1307 et 0,3081. | "
         "les pixels iraient de -0,42 à 2,82 : tanh ne peut pas les imiter.",
         lambda pixels: (pixels.float() / 255 - 0.1307) / 0.3081),
        ("vous étirez les pixels de leur minimum à leur maximum : l'échelle doit être fixe, de 0 à 255.",
         lambda pixels: 2 * (pixels.float() - pixels.min()) / (pixels.max().float() - pixels.min()) - 1),
    ),
    "discriminator_loss": (
        (HALF, labelled(lambda r, f, t: d_loss(r, f, t) / 2)), (SWAPPED, labelled(lambda r, f, t: d_loss(f, r))),
        (SWAPPED, labelled(lambda r, f, t: d_loss(f, r, t))), (LOGARITHM, labelled(by_log)),
        (SUMS, labelled(lambda r, f, t: d_loss(r, f, t, total=torch.sum))),
        ("une seule moyenne pour les deux lots réunis : chacune se prend sur le sien.",
         labelled(lambda r, f, t: 2 * d_loss(r, f, t, total=torch.sum) / (len(r) + len(f)))),
        ("real_label n'est pas employé : la cible des vrais reste 1.", labelled(lambda r, f, t: d_loss(r, f))),
        (SMOOTHED, labelled(lambda r, f, t: d_loss(r, f, t, 1 - t))),
    ),
    "generator_loss": (
        (SATURATING, lambda logits: -softplus(logits).mean()), (SUMS, lambda logits: g_loss(logits, total=torch.sum)),
        ("softplus du mauvais argument : softplus(logit) est la perte de D ; pour G, c'est softplus(-logit). | "
         "G descendrait vers des faux mieux reconnus.", lambda logits: softplus(logits).mean()),
        ("il manque un signe moins : la perte est l'opposé de la moyenne de log D. | "
         "G monterait la pente qu'il doit descendre.", lambda logits: logsigmoid(logits).mean()),
        (LOGARITHM, lambda logits: -logits.sigmoid().log().mean()),
    ),
    "optimal_discriminator": (
        ("vous rendez q / (p + q), la probabilité d'être faux. | D noterait 1 les faux.", lambda p, q: q / (p + q)),
        ("p / q est un rapport de densités : la probabilité est p / (p + q).", lambda p, q: p / q),
    ),
    # chapitre 02
    "output_size": (
        ("il manque le - 1 de (n - 1) s : le dernier tampon n'est pas suivi d'un pas.",
         chain(lambda n, k, s, p, op: n * s - 2 * p + k + op)),
        ("la marge p n'est retirée que d'un côté : il faut 2 p. | vous liriez 9, 19, 39… au lieu de 8, 16, 32.",
         chain(lambda n, k, s, p, op: (n - 1) * s - p + k + op)),
        ("output_padding est oublié. | avec un noyau impair, il manquerait un pixel à chaque étage : 4, 7, 13, 25.",
         chain(lambda n, k, s, p, op: (n - 1) * s - 2 * p + k)),
    ),
    "initialise_weights": (
        (SCALES, lambda network: [nn.init.normal_(p, 0.0, 0.02) for p in network.parameters()], 0.5),
        (SCALES, everywhere(starts(mean=0.0)), 0.5), (VARIANCE, everywhere(starts(std=0.02**0.5)), 0.5),
        (ONE_KIND, everywhere(starts(kinds=nn.Conv2d))),
    ),
    "slerp": (
        (CHORD, lerp), (RESCALED, rescaled), (REVERSED, lambda a, b, t: slerp(b, a, t)), (ZERO_SINE, arc),
        (UNCLAMPED, lambda a, b, t: arc(a, b, t, clamped=False, least=1e-3)),
        ("il manque la division par sin ω.", lambda a, b, t: arc(a, b, t, divided=False)),
    ),
    "remove_component": (
        ("il manque la division par other · other : vous supposez ‖other‖ = 1.", lambda d, o: d - (d @ o) * o),
        ("vous rendez la projection, c'est-à-dire ce qu'il fallait retirer.", lambda d, o: (d @ o) / (o @ o) * o),
    ),
    # chapitre 03
    "one_hot_planes": (
        ("les plans viennent avant l'image : c'est torch.cat([x, planes], dim=1).",
         lambda x, y, k: torch.cat([planes(x, y, k), x], 1)),
        ("vous ajoutez un seul plan, qui porte le numéro de la classe : il en faut K, un par classe. | "
         "un numéro n'est pas une quantité : la classe 8 passerait pour le double de la classe 4.",
         lambda x, y, k: torch.cat([x, y.to(x)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)),
    ),
    "projection_score": (
        (SQUARE, lambda h, y, e, psi: psi(h) + (e(y) * h).sum(1)), (NO_PSI, lambda h, y, e, psi: (e(y) * h).sum(1)),
        (PAIRS, lambda h, y, e, psi: psi(h).squeeze(1) + (h @ e(y).T).sum(1)),
        ("vous moyennez e(y) × h au lieu de la sommer.", lambda h, y, e, psi: psi(h).squeeze(1) + (e(y) * h).mean(1)),
    ),
    "class_grid_inputs": (
        ("y suit l'ordre 0, 1, 2, 0, 1, 2… : repeat au lieu de repeat_interleave.",
         lambda k, columns, d: (torch.randn(columns, d).repeat(k, 1), torch.arange(k).repeat(columns))),
        ("chaque case a son propre z : il en faut un par colonne, le même pour toutes les classes.",
         lambda k, columns, d: (torch.randn(k * columns, d), torch.arange(k).repeat_interleave(columns)), 0.1),
        ("torch.rand tire entre 0 et 1 : z suit N(0, I), que donne torch.randn.",
         lambda k, columns, d: (torch.rand(columns, d).repeat(k, 1), torch.arange(k).repeat_interleave(columns)), 0.1),
    ),
    "conditional_accuracy": (
        ("vous moyennez parmi les images lues k, et non parmi celles demandées dans la classe k. | "
         "c'est la précision du jugement : une classe que G dessine rarement aurait une bonne note.",
         lambda p, a, k: accuracies(a, p, k)),
        ("une classe jamais demandée reçoit 0 : on n'en sait rien, il faut nan.",
         lambda p, a, k: accuracies(p, a, k).nan_to_num(0)),
    ),
    # chapitre 04
    "emd_1d": (
        ("vous ne mesurez que l'écart des moyennes : la valeur absolue porte sur chaque F - G, avant la somme. | "
         "ce qui va à droite compenserait ce qui va à gauche.",
         lambda p, q, x: ((p - q).cumsum(0)[:-1] * x.diff()).sum().abs()),
        ("les longueurs positions.diff() sont oubliées : vous supposez un pas de 1.",
         lambda p, q, x: (p - q).cumsum(0).abs().sum()),
        ("c'est la variation totale, Σ |p - q| / 2 : elle ne voit pas de combien la masse se déplace.",
         lambda p, q, x: (p - q).abs().sum() / 2),
    ),
    "critic_loss": (
        ("le signe de l'écart est inversé : il faut moyenne(faux) - moyenne(vrais), que l'on descend. | "
         "le critique noterait les faux au-dessus des vrais.",
         lambda r, f, s, weight=10.0: r.mean() - f.mean() + weight * (s - 1).square().mean()),
        ("vous passez les scores par une sigmoïde : un critique n'en a pas.",
         lambda r, f, s, weight=10.0: f.sigmoid().mean() - r.sigmoid().mean() + weight * (s - 1).square().mean()),
        ("vous moyennez les pentes d'abord : (s - 1)² se calcule image par image, puis se moyenne. | "
         "une image trop raide en excuserait une autre trop plate.",
         lambda r, f, s, weight=10.0: f.mean() - r.mean() + weight * (s.mean() - 1).square()),
        (SUMS, lambda r, f, s, weight=10.0: f.sum() - r.sum() + weight * (s - 1).square().sum()),
    ),
    "gradient_penalty": (
        ("la norme est prise par pixel, sur l'axe des canaux : il la faut par image, .flatten(1).norm(dim=1). | "
         "chaque pixel, et non l'image, serait tiré vers 1 : le critique serait bien trop raide.",
         lambda critic, r, f: (slopes(critic, r, f, dims=(1,)) - 1).square().mean(), 0.1),
        ("la norme est prise sur tout le lot : il en faut une par image, .flatten(1).norm(dim=1).",
         lambda critic, r, f: (slopes(critic, r, f, dims=(0, 1, 2, 3)) - 1).square(), 0.1),
        ("les scores sont moyennés avant la dérivée, et chaque pente divisée par la taille du lot : prenez leur somme.",
         lambda critic, r, f: (slopes(critic, r, f) / len(r) - 1).square().mean(), 0.1),
        ("la pénalité tire la pente vers 0, et non vers 1.",
         lambda critic, r, f: slopes(critic, r, f).square().mean(), 0.1),
        ("vous ne punissez que les pentes supérieures à 1 : WGAN-GP punit aussi les trop faibles.",
         lambda critic, r, f: (slopes(critic, r, f) - 1).clamp(min=0).square().mean(), 0.1),
        ("la pente est prise aux vraies images : il la faut entre vrai et faux, en ε x + (1 - ε) G(z).",
         lambda critic, r, f: (slopes(critic, r, r) - 1).square().mean(), 0.1),
        ("ε suit une loi normale (randn) : il le faut uniforme entre 0 et 1 (rand).",
         lambda critic, r, f: (slopes(critic, r, f, draw=torch.randn) - 1).square().mean(), 0.1),
        ("le graphe de la pente n'est pas gardé : il manque create_graph=True.",
         lambda critic, r, f: (slopes(critic, r, f, graph=False) - 1).square().mean(), 0.1),
    ),
    "lipschitz_bound": (
        (FROBENIUS, lambda weights: math.prod(float(w.norm()) for w in weights)),
        ("vous additionnez les bornes des couches : elles se multiplient.", lambda weights: sum(map(stretch, weights))),
        ("c'est la norme du produit des matrices : elle oublie les ReLU, et ce qui s'étire d'une couche à l'autre.",
         lambda weights: stretch(reduce(lambda product, weight: weight @ product, weights))),
    ),
    # chapitre 05
    "frechet_diagonal": (
        ("vous comparez les variances : il faut les écarts-types.", lambda a, b: gap(a, b) + gap(a, b, torch.var)),
        ("vous faites la moyenne sur les coordonnées au lieu de la somme.",
         lambda a, b: (gap(a, b) + gap(a, b, torch.std)) / a.shape[1]),
        ("une racine carrée de trop : le FID est le carré d'une distance.",
         lambda a, b: (gap(a, b) + gap(a, b, torch.std)).sqrt()),
        (NO_SPREAD, gap), (NO_SQUARE, lambda a, b: gap(a, b).sqrt() + gap(a, b, torch.std)),
    ),
    "adain_transfer": (
        (UNSTYLED, lambda c, s: c * s.std((2, 3), keepdim=True) + s.mean((2, 3), keepdim=True)),
        ("les arguments sont échangés : vous rendez le dessin du style.",
         lambda c, s: adain(s, c.std((2, 3)), c.mean((2, 3)))),
    ),
    "truncate_styles": (
        ("layers n'est pas employé : toutes les couches sont tronquées.",
         lambda w, mean, psi, layers: mean + psi * (w - mean)),
        ("psi et 1 - psi sont échangés.", lambda w, mean, psi, layers: torch.cat(
            [(1 - psi) * w[:, :layers] + psi * mean, w[:, layers:]], 1)),
    ),
    # chapitre 06
    "denormalise": (
        ("vous tronquez au lieu d'arrondir : il manque .round() avant le changement de type. | "
         "toutes les images générées seraient assombries d'un demi-gris : un FID le voit, vous non.",
         lambda x: ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8)),
        ("vous partez de [0, 1] : ici les images vont de -1 à 1. | toute la moitié sombre deviendrait noire.",
         lambda x: (x * 255).round().clamp(0, 255).to(torch.uint8)),
        ("rien ne borne les valeurs : en uint8, 256 redevient 0. Il manque .clamp(0, 255). | "
         "des points noirs apparaîtraient au milieu des zones blanches.",
         lambda x: ((x + 1) * 127.5).round().long().remainder(256).to(torch.uint8)),
    ),
    "gan_losses": (
        (HALF, labelled(lambda r, f, t: (d_loss(r, f, t) / 2, g_loss(f)))),
        (SWAPPED, labelled(lambda r, f, t: (d_loss(f, r), g_loss(f)))),
        (SUMS, labelled(lambda r, f, t: (d_loss(r, f, t, total=torch.sum), g_loss(f, total=torch.sum)))),
        (SMOOTHED, labelled(lambda r, f, t: (d_loss(r, f, t, 1 - t), g_loss(f)))),
        (SATURATING, labelled(lambda r, f, t: (d_loss(r, f, t), -softplus(f).mean()))),
        (LOGARITHM, labelled(lambda r, f, t: (by_log(r, f, t), -f.sigmoid().log().mean()))),
        ("les deux pertes sont échangées : celle de D vient d'abord.",
         labelled(lambda r, f, t: (g_loss(f), d_loss(r, f, t)))),
        ("vous lissez aussi la cible de G : real_label ne concerne que les vrais, dans la perte de D. | "
         "G s'arrêterait avant d'avoir convaincu D.", labelled(lambda r, f, t: (d_loss(r, f, t), g_loss(f, t)))),
    ),
    "discriminator_step": (
        (SWAPPED, d_step(real_sign=1.0)), (HALF, d_step(scale=0.5)), (STALE, d_step(zero="never")),
        ("zero_grad vient après backward : il efface ce que vous venez de calculer. | D n'apprendrait rien.",
         d_step(zero="after")),
        ("les faux gardent leur graphe, et backward remonte dans G : il manque .detach(), ou torch.no_grad(). | "
         "le pas de G partirait de gradients qui servaient D : G apprendrait à se faire prendre.", d_step(graph=True)),
    ),
    "conditional_inputs": (
        ("one_hot ne connaît pas K : sans num_classes, il s'arrête à la plus grande étiquette du lot. | "
         "un lot où manque la dernière classe n'aurait pas assez de plans, et le réseau le refuserait.",
         lambda z, x, y, k: (torch.cat([z, one_hot(y)], 1), torch.cat([x, planes(x, y, -1)], 1))),
    ),
    "projection_logits": (
        (SQUARE, lambda x, y, e, psi: psi(h := x.sum((2, 3))) + (e(y) * h).sum(1)),
        (PAIRS, lambda x, y, e, psi: psi(h := x.sum((2, 3))).squeeze(1) + (h @ e(y).T).sum(1)),
        (NO_PSI, lambda x, y, e, psi: (e(y) * x.sum((2, 3))).sum(1)),
        ("vous moyennez les cartes sur leurs positions : h en est la somme.",
         lambda x, y, e, psi: psi(h := x.mean((2, 3))).squeeze(1) + (e(y) * h).sum(1)),
    ),
    "lazy_penalty": (
        ("il manque le facteur every : un pas sur `every` doit payer pour tous. | "
         "la pénalité pèserait `every` fois moins : elle corrige D trop peu, ou pas du tout.",
         lambda step, every, weight, penalty: weight * penalty() if step % every == 0 else 0.0),
        (".item(), ou .detach(), coupe le graphe de la pénalité.",
         lambda step, every, weight, penalty: weight * every * penalty().item() if step % every == 0 else 0.0),
    ),
    "clipped_critic_step": (
        ("vous écrêtez avant optimizer.step(), qui fait ressortir les poids des bornes.", critic_step(clip="before")),
        ("les paramètres ne sont pas écrêtés. p.clamp(…) rend un nouveau tenseur, seul p.clamp_(…) écrit dans p ; et "
         "borner les gradients ne borne pas les poids.", critic_step(clip="")),
        ("les biais ne sont pas écrêtés : WGAN écrête tous les paramètres.", critic_step(least_dim=2)),
        (STALE, critic_step(zero=False)), (FROBENIUS, critic_step(measure=torch.norm)),
    ),
    "frechet_distance": (
        ("vous ne gardez que les variances : les corrélations comptent.",
         lambda a, b: gap(a, b) + gap(a, b, torch.std)),
        ("il manque le facteur 2 devant tr((S_a S_b)^½).",
         lambda a, b: (frechet_distance(a, b) + gap(a, b) + a.var(0).sum() + b.var(0).sum()) / 2),
        (NO_SQUARE, lambda a, b: gap(a, b).sqrt() + frechet_distance(a - a.mean(0), b - b.mean(0))), (NO_SPREAD, gap),
        ("vous traitez S_a S_b comme symétrique (eigvalsh) : elle ne l'est pas. Prenez S_a^½ S_b S_a^½.",
         lambda a, b: gap(a, b) + (s := torch.cov(a.double().T)).trace() + (u := torch.cov(b.double().T)).trace()
         - 2 * torch.linalg.eigvalsh(s @ u).clamp(min=0).sqrt().sum()),
    ),
    "slerp_batch": (
        (CHORD, lerp), (RESCALED, rescaled), (REVERSED, lambda a, b, t: slerp(b, a, t)),
        ("un seul angle sert à tout le lot : il en faut un par ligne (dim=-1, keepdim=True).",
         lambda a, b, t: arc(a.flatten(), b.flatten(), t).view_as(a)),
    ),
    "dcgan_init": (
        (SCALES, starts(mean=0.0), 0.5), (VARIANCE, starts(std=0.02**0.5), 0.5), (ONE_KIND, starts(kinds=nn.Conv2d)),
        (SCALES, lambda layer: [nn.init.normal_(p, 0.0, 0.02) for p in layer.parameters(recurse=False)], 0.5),
    ),
    "update_ema": (
        ("average et model sont échangés : vous déplacez le modèle. | l'entraînement lui-même serait freiné.",
         ema(swapped=True)),
        ("les tampons (statistiques de BatchNorm) ne sont pas copiés.", ema(buffers=False)),
        ("e au lieu de 2 : exp(-lot / halflife) donne une constante de temps, non une demi-vie.",
         ema(lambda ratio: math.exp(-ratio))),
        ("decay et 1 - decay sont échangés. | la moyenne suivrait G presque aussitôt, et tremblerait comme lui.",
         ema(lambda ratio: 1 - 0.5**ratio)),
    ),
    "adain": (
        (UNSTYLED, lambda x, scale, shift: x * scale[..., None, None] + shift[..., None, None]),
        ("vous multipliez par 1 + échelle : ici, l'échelle est l'écart-type voulu.",
         lambda x, scale, shift: adain(x, 1 + scale, shift)),
    ),
    "truncated_latents": (
        ("vous écrêtez (clamp) : ce qui dépasse doit être tiré de nouveau.",
         lambda n, d, limit: torch.randn(n, d).clamp(-limit, limit), 0.1),
        ("vous tirez une loi uniforme (rand) : à l'intérieur du seuil, la loi reste la gaussienne.",
         lambda n, d, limit: (2 * torch.rand(n, d) - 1) * limit, 0.2),
        ("vous multipliez par le seuil : rien n'est retiré.", lambda n, d, limit: limit * torch.randn(n, d), 0.2),
    ),
    # chapitre 07
    "slerp_path": (
        (CHORD, lerp), (RESCALED, rescaled), (REVERSED, lambda a, b, t: slerp(b, a, t)),
        ("vous tournez a et b eux-mêmes : tournez leurs directions, la norme s'interpole à part.",
         lambda a, b, t: arc(a, b, t[:, None, None], least=1e-3)),
    ),
    "latent_discriminator_loss": (
        (HALF, lambda d, mean, log_variance: judged(d, mean, (log_variance / 2).exp()) / 2, 0.1),
        ("vrai et faux sont échangés : le vrai est le tirage de N(0, I), le faux est le code. | "
         "l'encodeur fuirait la gaussienne au lieu de la rejoindre.",
         lambda d, mean, log_variance: judged(d, mean, (log_variance / 2).exp(), -1), 0.1),
        ("exp(log σ²) est la variance : l'écart-type est exp(log σ² / 2).",
         lambda d, mean, log_variance: judged(d, mean, log_variance.exp()), 0.1),
        ("les codes sont μ seul : il manque σ ε.", lambda d, mean, log_variance: judged(d, mean, 0.0), 0.1),
    ),
    "inversion_step": (
        ("le signe du pas est inversé : il faut z - lr × pente. | l'erreur grandirait à chaque pas.",
         lambda g, z, x, lr, prior: descend(g, z, x, -lr, prior)),
        ("prior n'est pas employé.", lambda g, z, x, lr, prior: descend(g, z, x, lr, 0.0)),
        ("la perte est une moyenne sur le lot : il en faut la somme. | "
         "doubler le lot diviserait par deux le pas de chaque image.",
         lambda g, z, x, lr, prior: descend(g, z, x, lr / len(z), prior)),
        ("l'erreur est une somme sur les pixels : il faut leur moyenne. | le pas dépendrait de la taille de l'image.",
         lambda g, z, x, lr, prior: descend(g, z, x, lr * x[0].numel(), prior / x[0].numel())),
    ),
}  # fmt: skip
MISTAKES = {
    name: tuple(Mistake(*said.partition(" | ")[::2], *rest) for said, *rest in several)
    for name, several in _TABLE.items()
}
