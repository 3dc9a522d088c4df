"""Ce qu'une vérification dit d'une erreur : son nom et sa seule conséquence, sans reproche qui n'en soit pas."""

import copy

import pytest
import torch
import torch.nn.functional as F
from test_exercises_06_critic import critic_clamped_with_the_graph

from gan_course.exercises import EXERCISES
from gan_course.exercises.mistakes import MISTAKES
from gan_course.exercises.report import Broken, Exercise, Property, examine, number


def d_loss(real, fake, real_label=1.0):
    return (F.softplus(real) - real_label * real).mean() + F.softplus(fake).mean()


def slopes(critic, real, fake):
    epsilon = torch.rand(len(real), 1, 1, 1)
    x = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    return torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]


def swapped_step(generator, discriminator, optimizer, real, z):
    fake = generator(z).detach()
    loss = F.softplus(discriminator(real)).mean() + F.softplus(-discriminator(fake)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def frechet(a, b, power):
    s_a, s_b = torch.cov(a.double().T), torch.cov(b.double().T)
    cross = torch.linalg.eigvals(s_a @ s_b).real.clamp(min=0).sqrt().sum()
    return (a.mean(0) - b.mean(0)).norm() ** power + s_a.trace() + s_b.trace() - 2 * cross


def scales_to_one(network):
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(layer.weight)
        if getattr(layer, "bias", None) is not None:
            torch.nn.init.zeros_(layer.bias)


# (exercice, réponse fausse, ce qui doit se lire, ce qui serait faux) : les reproches faux relevés par des étudiants.
FOUND = [
    ("clipped_critic_step", critic_clamped_with_the_graph, "sous with torch.no_grad()", "travaillez sur une copie"),
    ("discriminator_loss", lambda *a, **k: d_loss(*a, **k) / 2, "un facteur 1/2 de trop", "NaN"),
    ("discriminator_loss", lambda *a, **k: d_loss(*a, **k) / 2, "la valeur de l'équilibre", "ne viserait pas 0,9"),
    ("discriminator_step", swapped_step, "les signes des logits sont inversés", "sa seule perte"),
    ("frechet_distance", lambda a, b: frechet(a, b, 1), "l'écart des moyennes n'est pas au carré", "échang"),
    ("frechet_diagonal", lambda a, b: ((a.mean(0) - b.mean(0)) ** 2 + (a.std(0) - b.std(0)) ** 2).mean(),
     "la moyenne sur les coordonnées au lieu de la somme", "trop peu varié"),
    ("gradient_penalty", lambda critic, r, f: (slopes(critic, r, f).norm(dim=1) - 1).square().mean(),
     "la norme est prise par pixel", "un critique éteint"),
    ("critic_loss", lambda r, f, s, weight=10.0: r.mean() - f.mean() + weight * (s - 1).square().mean(),
     "le signe de l'écart est inversé", "sigmoïde"),
    ("lipschitz_bound", lambda weights: 1.01 * torch.stack([torch.linalg.matrix_norm(w, 2) for w in weights]).prod(),
     "divisé par une borne trop grande", "Frobenius"),
    ("initialise_weights", scales_to_one, "Échelles (weight) des BatchNorm2d", "cinquante"),
]  # fmt: skip


def conv2d_only(network):
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.weight, 1.0, 0.02)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.BatchNorm2d) and layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)


def halved_step(generator, discriminator, optimizer, real, z):
    loss = d_loss(discriminator(real), discriminator(generator(z).detach())) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def ema_the_other_way(average, model, halflife, batch_size):
    decay = 0.5 ** (batch_size / halflife)
    for a, p in zip(average.parameters(), model.parameters()):
        a.mul_(1 - decay).add_(p, alpha=decay)
    for a, b in zip(average.buffers(), model.buffers()):
        a.copy_(b)


def step_of_summed_pixels(generator, z, image, lr, prior):
    z = z.clone().requires_grad_()
    loss = (generator(z) - image).square().sum() + prior * (z.square().mean(1) - 1).square().sum()
    return (z - lr * torch.autograd.grad(loss, z)[0]).detach()


# (exercice, réponse fausse, ce qui la nomme) ; les autres erreurs courantes sont dans les essais de leur chapitre.
USUAL = [
    ("discriminator_loss", lambda r, f, real_label=1.0: (F.softplus(r) - real_label * r).sum() + F.softplus(f).sum(),
     "la somme sur le lot au lieu de la moyenne"),
    ("generator_loss", lambda logits: F.logsigmoid(logits).mean(), "il manque un signe moins"),
    ("initialise_weights", conv2d_only, "une sorte de convolution est oubliée"),
    ("frechet_diagonal", lambda a, b: (a.mean(0) - b.mean(0)).norm() + (a.std(0) - b.std(0)).square().sum(),
     "l'écart des moyennes n'est pas au carré"),
    ("gan_losses", lambda r, f, real_label=1.0: ((F.softplus(r) - real_label * r).sum() + F.softplus(f).sum(),
                                                  F.softplus(-f).sum()), "la somme sur le lot au lieu de la moyenne"),
    ("discriminator_step", halved_step, "un facteur 1/2 de trop"),
    ("update_ema", ema_the_other_way, "decay et 1 - decay sont échangés"),
    ("inversion_step", step_of_summed_pixels, "l'erreur est une somme sur les pixels"),
]  # fmt: skip


@pytest.mark.parametrize("name, answer, said", USUAL)
def test_a_usual_mistake_is_named(name, answer, said):
    text = str(examine(EXERCISES[name], answer))
    assert said in text.splitlines()[1] and text.count("Conséquence") == 1, text


@pytest.mark.parametrize("name, answer, said, silent", FOUND)
def test_a_false_reproach_is_gone(name, answer, said, silent):
    text = str(examine(EXERCISES[name], answer))
    assert said in text and silent not in text.partition("Indice")[0], text
    assert text.count("Conséquence") <= 1


def test_most_exercises_know_their_usual_mistakes():
    assert set(MISTAKES) <= set(EXERCISES)
    assert sum(map(len, MISTAKES.values())) >= 100 and len(MISTAKES) >= 35
    for mistake in (one for several in MISTAKES.values() for one in several):
        assert mistake.error.endswith(".") and (not mistake.consequence or mistake.consequence.endswith("."))
        assert mistake.error[0] != mistake.error[0].upper() or not mistake.error[0].isalpha(), mistake.error


def holds(words):
    def one(answer):
        if answer() < 2:
            raise Broken(f"{words}. Obtenu {number(answer())}.")

    return one


def exercise(**fields):
    properties = tuple(Property(f"propriété {i}", holds(f"Cas {i}"), f"suite {i}.") for i in range(3))
    return Exercise("essai", properties, ("Un indice.", "Presque tout."), **fields)


def test_an_unknown_mistake_has_one_consequence_that_of_the_first_property():
    text = str(examine(exercise(), lambda: 1))
    assert "Conséquence : suite 0." in text and text.count("Conséquence") == 1
    assert "Obtenu" in text and "Cas 2" in text, "les faits, eux, restent tous"
    assert "Commencez par le premier ✗ : les suivants en découlent peut-être." in text


@pytest.mark.parametrize("value, known", [(1.0, True), (1.004, True), (1.5, False), (-1.0, False)])
def test_a_mistake_is_known_by_its_values(monkeypatch, value, known):
    from gan_course.exercises import report
    from gan_course.exercises.mistakes import Mistake

    monkeypatch.setitem(report.MISTAKES, "essai", (Mistake("un de moins.", "", lambda: 1.0),))
    found = examine(exercise(), lambda: value)
    assert (found.mistake is not None) is known
    assert ("Erreur reconnue : un de moins." in str(found)) is known
    assert str(found).count("Conséquence : suite 0.") == 1


def test_recognising_does_not_touch_the_answer_s_report():
    loss = EXERCISES["discriminator_loss"]
    first, again = (examine(loss, lambda *a, **k: d_loss(*a, **k) / 2) for _ in range(2))
    assert str(first) == str(again) and first.held == 0 and len(first.outcomes) == 4
    state = copy.deepcopy(torch.get_rng_state())
    examine(EXERCISES["truncated_latents"], lambda n, d, limit: torch.randn(n, d).clamp(-limit, limit))
    assert torch.equal(state, torch.get_rng_state())
