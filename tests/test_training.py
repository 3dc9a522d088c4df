"""La boucle : ce que fait un pas, ce qu'il ne touche pas, et ce qu'elle refuse."""

import copy
import itertools
import sys
import time
import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from torch import nn

from gan_course.averaging import standing_statistics
from gan_course.data import ImageSet, gaussian_ring, load_images
from gan_course.engine.checkpoint import Checkpoint, CheckpointError
from gan_course.engine.device import Compute, choose_compute
from gan_course.losses import LOSSES
from gan_course.models import aae, conditional, dcgan, dense, points, stylegan
from gan_course.penalties import PENALTIES, r1
from gan_course.training import Gan, Recipe, TrainingDiverged, discriminator_step, generator_step, train

DIGITS = load_images("digits")
CPU = choose_compute("cpu")


def small_pair(module=dense, seed=0):
    torch.manual_seed(seed)
    if module is points:
        return points.Generator(width=16), points.Discriminator(width=16)
    return module.Generator((1, 28, 28), width=16), module.Discriminator((1, 28, 28), width=16)


def weights(module):
    return copy.deepcopy(module.state_dict())


def same(before, after):
    return all(torch.equal(before[k], after[k]) for k in before)


def drawn(gan, real):
    """Un lot de faux, portant le graphe de G."""
    return gan.generator(torch.randn(len(real), gan.generator.latent_dim))


def make_gan(recipe=None, module=dense):
    return Gan(*small_pair(module), recipe or Recipe(), CPU)


def test_discriminator_step_leaves_the_generator_alone():
    gan = make_gan(module=dense)
    before = [p.clone() for p in gan.generator.parameters()]
    d_before = weights(gan.discriminator)
    real = DIGITS.batch(0)[0]
    discriminator_step(gan, real, drawn(gan, real))
    assert all(torch.equal(a, b) for a, b in zip(before, gan.generator.parameters()))
    assert all(p.grad is None for p in gan.generator.parameters()), "D ne doit pas rétropropager dans G"
    assert not same(d_before, gan.discriminator.state_dict())


def test_generator_step_leaves_no_gradient_in_the_discriminator():
    gan = make_gan(module=dense)
    before = weights(gan.discriminator)
    g_before = weights(gan.generator)
    real = DIGITS.batch(0)[0]
    generator_step(gan, real, drawn(gan, real))
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert same(before, gan.discriminator.state_dict()) and not same(g_before, gan.generator.state_dict())


def test_each_critic_step_draws_its_own_batch():
    asked = []

    class Spy(ImageSet):
        def batch(self, step, batch_size=64, seed=0):
            asked.append(step)
            return super().batch(step, batch_size, seed)

    images = Spy(DIGITS.images, DIGITS.labels)
    recipe = Recipe(loss="wasserstein", penalty="gradient", critic_steps=5)
    critic = dense.Discriminator(width=16, dropout=0.0)
    critic.layers = nn.Sequential(*[m for m in critic.layers if not isinstance(m, nn.Dropout)])
    last = list(train(dense.Generator(width=16), critic, images, recipe, steps=3))[-1]
    assert asked == list(range(15)) and last.images_seen == 15 * 64


def test_ema_follows_parameters_and_copies_buffers():
    gan = make_gan(Recipe(ema_halflife=128, ema_rampup=1.0))
    for parameter in gan.generator.parameters():
        nn.init.ones_(parameter)
    for parameter in gan.ema.parameters():
        nn.init.zeros_(parameter)
    next(gan.generator.buffers()).fill_(7.0)
    gan.update_ema(images_seen=10_000)
    # Un lot de 64 images pour une demi-vie de 128 : la moyenne garde 2^-½ d'elle-même.
    for average in gan.ema.parameters():
        assert average.mean().item() == pytest.approx(1 - 2**-0.5, abs=1e-6)
    for average, buffer in zip(gan.ema.buffers(), gan.generator.buffers()):
        assert torch.equal(average, buffer), "une statistique de BatchNorm moyennée serait celle d'un autre réseau"


def test_the_half_life_counts_the_images_that_d_sees_whatever_the_critic_steps():
    gan = make_gan(Recipe(loss="wasserstein", penalty="gp", critic_steps=2, ema_halflife=128, ema_rampup=1.0))
    for parameter in gan.generator.parameters():
        nn.init.ones_(parameter)
    for parameter in gan.ema.parameters():
        nn.init.zeros_(parameter)
    gan.update_ema(images_seen=10_000)
    # Deux lots de 64 par pas de G : une demi-vie entière.
    assert next(gan.ema.parameters()).mean().item() == pytest.approx(0.5, abs=1e-6)


def test_the_average_is_ready_when_it_is_read_and_reading_it_changes_nothing_else():
    def run(read):
        torch.manual_seed(0)
        g, d = dcgan.Generator((1, 28, 28), latent_dim=8, width=4), dcgan.Discriminator((1, 28, 28), width=4)
        for progress in train(g, d, DIGITS, Recipe(batch_size=16, g_lr=5e-3, d_lr=5e-3), steps=6):
            if read:
                progress.ema(torch.randn(3, 8))
        return progress

    often, once = run(read=True), run(read=False)
    for a, b in zip(often.generator.state_dict().values(), once.generator.state_dict().values()):
        assert torch.equal(a, b)
    expected = standing_statistics(once.gan.ema, batches=8).state_dict()
    for progress in (often, once):
        assert progress.ema is progress.ema and not progress.ema.training
        assert all(torch.equal(value, expected[name]) for name, value in progress.ema.state_dict().items())
    drawn = [t for name, t in once.generator.state_dict().items() if "running" in name]
    redone = [t for name, t in once.ema.state_dict().items() if "running" in name]
    assert not any(torch.allclose(a, b, rtol=1e-3) for a, b in zip(drawn, redone)), "celles de G, non les siennes"


def test_ema_ramps_up():
    gan = make_gan(Recipe(ema_halflife=1e9, ema_rampup=0.05))
    for parameter in gan.generator.parameters():
        nn.init.ones_(parameter)
    gan.update_ema(images_seen=64)
    assert next(gan.ema.parameters()).min() > 0.99, "au début la moyenne suit G, sinon elle garderait le bruit initial"


def test_ema_is_in_eval_mode_and_generator_in_train_mode():
    progress = next(iter(train(*small_pair(), DIGITS, Recipe(), steps=1)))
    assert not progress.ema.training and progress.generator.training


def test_lazy_penalty_is_scaled_and_skipped():
    calls = []
    original = PENALTIES["r1"]
    PENALTIES["r1"] = lambda *args, **named: calls.append(1) or original(*args, **named)
    try:
        recipe = Recipe(penalty="r1", penalty_every=4, penalty_weight=1.0)
        list(train(*small_pair(points), gaussian_ring(1000), recipe, steps=9))
    finally:
        PENALTIES["r1"] = original
    assert len(calls) == 3  # pas 0, 4 et 8
    # Un facteur énorme : la pénalité domine la perte, et son échelle se lit sans ambiguïté.
    gan = make_gan(Recipe(penalty="r1", penalty_every=4, penalty_weight=1e4, d_lr=1e-12), points)
    real = gaussian_ring(1000).batch(0)[0]
    losses = []
    for _ in range(2):  # le pas 0 calcule la pénalité, le pas 1 la saute
        torch.manual_seed(0)
        losses.append(discriminator_step(gan, real, drawn(gan, real))[0])
    assert (losses[0] - losses[1]).item() == pytest.approx(4e4 * gan.last_penalty.item(), rel=1e-2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("penalty", [None, "gradient", "r1", "r1+r2"])
def test_every_combination_runs(loss, penalty):
    recipe = Recipe(loss=loss, penalty=penalty, batch_size=32)
    progress = list(train(*small_pair(points), gaussian_ring(500), recipe, steps=3))[-1]
    assert np.isfinite([progress.d_loss, progress.g_loss, progress.d_real, progress.d_fake]).all()
    assert (progress.penalty > 0) == (penalty is not None)


def test_original_wgan_clips_and_uses_rmsprop():
    recipe = Recipe(loss="wasserstein", clip=0.01, critic_steps=5, optimizer="rmsprop", g_lr=5e-5, d_lr=5e-5)
    progress = list(train(*small_pair(points), gaussian_ring(500), recipe, steps=2))[-1]
    assert max(p.abs().max() for p in progress.discriminator.parameters()) <= 0.01


def test_progress_tells_facts():
    run = train(*small_pair(), DIGITS, Recipe(batch_size=32), steps=4)
    seen = [(p.step, p.steps, p.images_seen, p.images_per_second > 0) for p in run]
    assert seen == [(i, 4, 32 * i, True) for i in (1, 2, 3, 4)]
    progress = list(train(*small_pair(), DIGITS, Recipe(batch_size=32), steps=4))[-1]
    assert list(progress.history.steps) == [1, 2, 3, 4]
    assert progress.history["d_loss"].shape == (4,) and progress.history["d_loss"][-1] == progress.d_loss
    assert set(progress.history) == {"d_loss", "g_loss", "d_real", "d_fake", "penalty"}


def test_a_run_without_end_costs_nothing_in_advance():
    """steps=10**9, et break quand on veut : rien n'est réservé pour les pas qu'on ne fera pas."""
    for progress in train(*small_pair(points), gaussian_ring(500), Recipe(batch_size=2), steps=10**9):
        if progress.step == 1_500:
            break
    assert progress.rows.numel() < 20_000
    assert len(progress.history["d_loss"]) == 1_500 and (progress.history["d_loss"] != 0).all()


def test_the_notebook_randomness_is_untouched():
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    pair = copy.deepcopy(small_pair())
    torch.manual_seed(7)
    for _ in train(*pair, DIGITS, Recipe(), steps=2):
        pass
    assert torch.equal(torch.randn(3), expected)


def test_drawing_samples_in_the_loop_changes_nothing():
    results = []
    for draw in (False, True):
        g, d = small_pair()
        for _ in train(g, d, DIGITS, Recipe(), steps=4):
            if draw:
                torch.randn(100)
        results.append(weights(g))
    assert same(*results)


def test_seeds_change_the_run():
    outcomes = []
    for seed in (0, 0, 1):
        g, d = small_pair()
        list(train(g, d, DIGITS, Recipe(), steps=2, seed=seed))
        outcomes.append(weights(g))
    assert same(outcomes[0], outcomes[1]) and not same(outcomes[0], outcomes[2])


def test_same_as_steps_written_by_hand():
    g, d = small_pair()
    g2, d2 = copy.deepcopy(g), copy.deepcopy(d)
    list(train(g, d, DIGITS, Recipe(), steps=5))
    bce = nn.BCEWithLogitsLoss()
    optimizers = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (g2, d2)]
    for step in range(5):
        torch.manual_seed(4_099 * step)
        real, _ = DIGITS.batch(step, 64)
        fake = g2(torch.randn(64, 100))
        loss = bce(d2(real), torch.ones(64)) + bce(d2(fake.detach()), torch.zeros(64))
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        loss = bce(d2(fake), torch.ones(64))
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
    for a, b in zip([*g.parameters(), *d.parameters()], [*g2.parameters(), *d2.parameters()]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_divergence_stops_in_french_and_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    g, d = small_pair()
    run = train(g, d, DIGITS, Recipe(), steps=10, checkpoint=path, checkpoint_every=0)
    for _ in range(3):
        next(run)
    with torch.no_grad():
        next(d.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="pas 4.*garde le pas 3.*g_lr"):
        list(run)
    assert torch.load(path, weights_only=True)["step"] == 3


def test_nan_weights_are_never_saved(tmp_path):
    """La perte d'un pas peut être finie quand ce pas vient de rendre les poids infinis."""
    path = tmp_path / "run.pt"
    g, d = small_pair()
    run = train(g, d, DIGITS, Recipe(), steps=10, checkpoint=path, checkpoint_every=1e9)
    next(run)
    with torch.no_grad():
        next(d.parameters()).fill_(float("inf"))
    with pytest.raises(TrainingDiverged):
        run.close()
    assert not path.exists()


class Sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 1), nn.Flatten(0), nn.Sigmoid())

    def forward(self, x):
        return self.layers(x)


def no_latent():
    return nn.Linear(3, 3)


COLOUR = ImageSet(torch.zeros(100, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    "change,words",
    [
        (dict(steps=0), "steps=0"),
        (dict(steps=-5), "steps=-5"),
        (dict(steps=2.5), "entier"),
        (dict(recipe=Recipe(batch_size=5000)), "5000 dépasse le jeu, qui compte 1500"),
        (dict(images=COLOUR), r"\(4, 1, 28, 28\).*\(4, 3, 32, 32\)"),
        (dict(generator=no_latent()), "latent_dim"),
        (dict(discriminator=Sigmoid()), "sigmoïde"),
        (dict(discriminator=dcgan.Discriminator((1, 28, 28), width=8), recipe=Recipe(penalty="r1")), "BatchNorm"),
        (dict(recipe=Recipe(penalty="gradient")), "Dropout"),
        (dict(discriminator=conditional.Discriminator()), "10"),
        (dict(device="cuda:0"), "GPU"),
        (dict(device="gpu"), "inconnu"),
        (dict(precision="fp8"), "fp8"),
        (dict(precision="fp16", device="cpu"), "bf16"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_calls_are_refused_at_once(change, words):
    if torch.cuda.is_available() and change.get("device") == "cuda:0":
        pytest.skip("un GPU est présent")
    g, d = small_pair()
    arguments = dict(generator=g, discriminator=d, images=DIGITS, recipe=Recipe(), steps=1) | change
    with pytest.raises(ValueError, match=words):
        train(**arguments)


def test_conditional_needs_labels_in_range():
    g, d = conditional.Generator(width=4), conditional.Discriminator(width=4)
    with pytest.raises(ValueError, match="pas d'étiquettes"):
        train(g, d, ImageSet(DIGITS.images), Recipe(), 1)
    with pytest.raises(ValueError, match="de 0 à 11.*num_classes=12"):
        train(g, d, ImageSet(DIGITS.images, DIGITS.labels + 2 * (DIGITS.labels == 9)), Recipe(), 1)


def test_unflattened_logits_are_explained():
    class Column(dense.Discriminator):
        def forward(self, x, y=None):
            return super().forward(x)[:, None]

    with pytest.raises(ValueError, match=r"\(4, 1\) ; il faut \(4,\)"):
        train(dense.Generator(width=16), Column(width=16), DIGITS, Recipe(), 1)


@pytest.mark.parametrize(
    "field,value",
    [("loss", "bce"), ("penalty", "wgan"), ("batch_size", 0), ("critic_steps", 1.5), ("g_lr", 0), ("clip", -1)]
    + [("betas", (0.5, 1.0)), ("real_label", 1.2), ("optimizer", "sgd"), ("ema_halflife", -1), ("penalty_every", 0)],
)
def test_recipes_refuse_nonsense(field, value):
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})


def test_recipes_are_frozen_and_smoothing_needs_a_target():
    with pytest.raises(FrozenInstanceError):
        Recipe().loss = "hinge"
    with pytest.raises(ValueError, match="lissage|real_label"):
        replace(Recipe(real_label=0.9), loss="wasserstein")


def test_bf16_on_cpu_trains():
    progress = list(train(*small_pair(dcgan), DIGITS, Recipe(), steps=2, precision="bf16", device="cpu"))[-1]
    assert np.isfinite(progress.d_loss) and next(progress.generator.parameters()).dtype == torch.float32


def test_a_measure_that_does_not_exist_is_named():
    from gan_course.engine.progress import History

    history = History(torch.zeros(0, 5))
    assert "loss" not in history
    with pytest.raises(KeyError, match="'loss' n'est pas une mesure.*d_loss"):
        history["loss"]


# Une fonction par niveau : c'est ce que traverse un étudiant qui ouvre la source d'un pas.
MOST_FUNCTIONS, MOST_FILES = 20, 7


def functions_of_one_step(generator, discriminator, images, recipe):
    """Les fonctions du paquet, et leurs fichiers, que traverse le troisième pas d'un entraînement."""
    seen = set()

    def note(frame, event, _):
        name = frame.f_code.co_filename.replace("\\", "/")
        if event == "call" and "/gan_course/" in name:
            seen.add((name.rpartition("/gan_course/")[2], frame.f_code.co_firstlineno))

    training = train(generator, discriminator, images, recipe, steps=3)
    next(training), next(training)
    sys.setprofile(note)
    try:
        next(training)
    finally:
        sys.setprofile(None)
    return seen


NOISE = ImageSet(torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8))


@pytest.mark.parametrize("module", [dense, conditional, dcgan, stylegan, aae], ids=["01", "03", "02", "05", "07"])
def test_one_step_is_short_to_trace(module):
    if module is stylegan:
        pair, images = (stylegan.Generator(width=4), stylegan.Discriminator(width=4)), NOISE
    elif module is aae:
        pair, images = (aae.Generator((1, 28, 28), width=4), aae.Discriminator()), DIGITS
    else:
        pair, images = small_pair(module), DIGITS
    recipe = replace(module.RECIPE, batch_size=8, penalty_every=1)
    seen = functions_of_one_step(*pair, images, recipe)
    assert len(seen) <= MOST_FUNCTIONS, sorted(seen)
    assert len({file for file, _ in seen}) <= MOST_FILES, sorted(seen)


def test_a_loop_never_run_is_said():
    with pytest.warns(UserWarning, match="rien ne s'est entraîné.*for progress in train"):
        train(*small_pair(), DIGITS, Recipe(), steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(train(*small_pair(), DIGITS, Recipe(), steps=2))


def test_help_begins_with_three_lines_to_copy():
    text = train.__doc__
    assert text.index("for progress in train(") < text.index("Rien ne s'entraîne") < text.index("generator, discrim")
    assert "total" in text


def test_a_resumed_run_says_where_it_starts(tmp_path, capsys):
    path = tmp_path / "run.pt"
    list(train(*small_pair(points), gaussian_ring(500), Recipe(), 3, path))
    assert not capsys.readouterr().out
    list(train(*small_pair(points), gaussian_ring(500), Recipe(), 5, path))
    assert capsys.readouterr().out == "Repris au pas 3 sur 5 (run.pt).\n"
    (progress,) = train(*small_pair(points), gaussian_ring(500), Recipe(), 4, path)
    assert progress.step == 5 and len(progress.history.steps) == 5
    assert "Déjà au pas 5" in (said := capsys.readouterr().out) and "steps=4 est un total" in said


def test_a_failed_save_on_the_way_is_said_and_training_goes_on(tmp_path, monkeypatch):
    path, broken = tmp_path / "run.pt", []
    training = train(*small_pair(points), gaussian_ring(500), Recipe(), 4, path, checkpoint_every=0)
    save = torch.save

    def full(*arguments, **named):
        if len(broken) < 2:
            broken.append(1)
            raise OSError(28, "No space left on device")
        return save(*arguments, **named)

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(UserWarning, match="Libérez de la place.*L'entraînement continue"):
        assert [progress.step for progress in training] == [1, 2, 3, 4]
    assert torch.load(path, weights_only=True)["step"] == 4


def test_saves_on_the_way_are_spaced(tmp_path, monkeypatch):
    clock, saves, save = itertools.count(), [], torch.save
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))  # une seconde par regard
    monkeypatch.setattr(torch, "save", lambda *given, **named: saves.append(1) or save(*given, **named))
    list(train(*small_pair(points), gaussian_ring(500), Recipe(), 60, tmp_path / "run.pt", checkpoint_every=20))
    assert 3 <= len(saves) <= 4  # deux ou trois en route, et le dernier


def test_only_the_last_save_must_succeed(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="Libérez de la place"):
        list(train(*small_pair(points), gaussian_ring(500), Recipe(), 2, tmp_path / "run.pt"))


def test_restoring_is_all_or_nothing(tmp_path):
    """Un D abîmé ne laisse pas un G déjà remplacé."""
    path = tmp_path / "run.pt"
    list(train(*small_pair(points), gaussian_ring(500), Recipe(), 2, path))
    with Checkpoint(path) as file:
        state = file.load()
        state["d_optimizer"]["param_groups"][0]["params"].pop()
        file.save(state)
    g, d = small_pair(points, seed=1)
    before = weights(g), weights(d)
    with pytest.raises(CheckpointError, match="d_optimizer y est abîmé.*Rien n'a changé"):
        train(g, d, gaussian_ring(500), Recipe(), 4, path)
    assert same(before[0], g.state_dict()) and same(before[1], d.state_dict())


def ours(real, fake):
    return (1 - real).relu().mean() + (1 + fake).relu().mean(), -fake.mean()


def slope(discriminator, real, fake, labels=None):
    return r1(discriminator, real)


def test_a_loss_and_a_penalty_of_your_own():
    """Une fonction vaut le nom : la charnière et R1, écrites ici, donnent les mêmes poids que celles du paquet."""
    results = []
    for loss, penalty in (("hinge", "r1"), (ours, slope)):
        g, d = small_pair(points)
        list(train(g, d, gaussian_ring(500), Recipe(loss=loss, penalty=penalty, penalty_weight=0.1), 5))
        results.append(weights(g))
    assert same(*results)


def test_another_function_is_another_run(tmp_path):
    path, ring = tmp_path / "run.pt", gaussian_ring(500)

    def scaled(factor):
        return lambda real, fake: (factor * (fake - real).mean(), -fake.mean())

    list(train(*small_pair(points), ring, Recipe(loss=scaled(1.0)), 2, path))
    list(train(*small_pair(points), ring, Recipe(loss=scaled(1.0)), 3, path))  # la même source, la même valeur captée
    for other in (scaled(2.0), ours, "wasserstein"):
        with pytest.raises(CheckpointError, match="autre recette : loss"):
            train(*small_pair(points), ring, Recipe(loss=other), 4, path)


def test_what_a_function_reads_around_it_is_part_of_it(tmp_path):
    """Une constante ou une aide du carnet, changée, fait un autre entraînement."""
    path, ring = tmp_path / "run.pt", gaussian_ring(500)

    def written(scale, sign):
        cell = {"torch": torch}
        exec(f"K = {scale}\ndef gap(a, b): return {sign}(a - b).mean()\n"
             "def loss(real, fake): return K * gap(fake, real), -fake.mean()", cell)  # fmt: skip
        return Recipe(loss=cell["loss"])

    list(train(*small_pair(points), ring, written(1, "+"), 2, path))
    list(train(*small_pair(points), ring, written(1, "+"), 3, path))
    for other in (written(2, "+"), written(1, "-")):
        with pytest.raises(CheckpointError, match="autre recette : loss"):
            train(*small_pair(points), ring, other, 4, path)


@pytest.mark.parametrize(
    "change,words",
    [
        (dict(loss=lambda real, fake: fake.mean()), "perte de D. échoue quand elle reçoit D"),
        (dict(loss=lambda real: (real.mean(), real.mean())), "perte de D. échoue"),
        (dict(loss=lambda real, fake: (fake - real, fake)), r"perte de D. a rendu un tenseur de forme \(4,\)"),
        (dict(loss=lambda real, fake: (fake.mean(), 0.0)), "perte de G. a rendu float"),
        (dict(penalty=lambda discriminator, real, fake: real.sum()), "pénalité. échoue quand elle reçoit .*labels"),
        (dict(penalty=lambda discriminator, real, fake, labels: 0.0), "pénalité. a rendu float"),
        (dict(penalty=lambda discriminator, real, fake, labels: real.square().sum()), "sans graphe de calcul"),
    ],
)
def test_your_own_functions_are_tried_before_the_first_step(change, words):
    with pytest.raises(ValueError, match=words):
        train(*small_pair(points), gaussian_ring(500), Recipe(**change), 1)


def test_gradient_is_another_name_of_gp():
    assert Recipe(penalty="gradient") == Recipe(penalty="gp")


def test_settings_may_follow_the_images_seen(tmp_path):
    recipe = Recipe(
        batch_size=32, penalty="r1", g_lr=lambda n: 1e-3 / (1 + n), d_lr=lambda n: 2e-3 - 1e-6 * n,
        betas=(0.0, lambda n: min(0.99, 0.9 + n / 1e4)), penalty_weight=lambda n: 1 + n, ema_halflife=lambda n: 10 * n,
    )  # fmt: skip
    g, d = small_pair(points)
    for progress in train(g, d, gaussian_ring(500), recipe, 4):
        gan, seen = progress.gan, 32 * (progress.step - 1)
        (g_group,), (d_group,) = gan.g_optimizer.param_groups, gan.d_optimizer.param_groups
        assert g_group["lr"] == 1e-3 / (1 + seen) and d_group["lr"] == 2e-3 - 1e-6 * seen
        assert g_group["betas"] == d_group["betas"] == (0.0, 0.9 + seen / 1e4) and gan.penalty_weight == 1 + seen
    whole = weights(g)
    for steps in (2, 4):  # reprise exacte : les réglages ne dépendent que des images vues
        g, d = small_pair(points)
        list(train(g, d, gaussian_ring(500), recipe, steps, tmp_path / "run.pt"))
    assert same(whole, weights(g))


def test_traps_that_raise_no_error_are_said():
    class Judge(dense.Discriminator):
        def forward(self, x, y=None):
            return torch.sigmoid(super().forward(x))

    with pytest.warns(UserWarning, match="entre 0 et 1, même sur des images outrées"):
        next(train(dense.Generator(width=16), Judge(width=16), DIGITS, Recipe(), 1))

    class Bright(dense.Generator):
        def forward(self, z, y=None):
            return torch.sigmoid(super().forward(z))

    with pytest.warns(UserWarning, match="ne rend rien sous 0.*tanh"):
        next(train(Bright(width=16), dense.Discriminator(width=16), DIGITS, Recipe(), 1))


def test_points_on_one_side_and_faint_scores_are_no_trap():
    class Corner(points.Generator):
        def forward(self, z, y=None):
            return super().forward(z).abs()

    class Faint(dense.Discriminator):
        def forward(self, x, y=None):
            return 0.01 * torch.sigmoid(super().forward(x))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(train(Corner(width=16), points.Discriminator(width=16), gaussian_ring(500), Recipe(), 1))
        next(train(dense.Generator(width=16), Faint(width=16), DIGITS, Recipe(), 1))


def test_a_slow_network_is_said_after_one_step(monkeypatch):
    clock = iter(range(0, 10**6, 50))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.warns(UserWarning, match="un pas en .* h pour les 1999"):
        next(train(*small_pair(points), gaussian_ring(500), Recipe(), 2_000))


def test_the_tutorial_s_generator_is_recognised():
    class Tutorial(nn.Module):
        latent_dim = 100

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.ConvTranspose2d(100, 1, 28), nn.Tanh())

        def forward(self, z):
            return self.layers(z)

    with pytest.raises(ValueError, match=r"z de forme \(B, nz, 1, 1\).*z\[:, :, None, None\]"):
        train(Tutorial(), small_pair()[1], DIGITS, Recipe(), 1)


def test_one_image_has_no_deviation():
    with pytest.raises(ValueError, match="batch_size=1 avec BatchNorm"):
        train(*small_pair(), DIGITS, Recipe(batch_size=1), 1)


def test_a_loss_that_is_no_number_stops_training_without_a_checkpoint_too():
    g, d = small_pair(points)
    training = train(g, d, gaussian_ring(500), Recipe(), 5)
    next(training)
    with torch.no_grad():
        next(d.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="Aucun point de reprise"):
        next(training)


def test_a_recipe_s_target_reaches_the_loss():
    gan, real = make_gan(Recipe(real_label=0.7), points), gaussian_ring(500).batch(0)[0]
    fake = drawn(gan, real)
    with torch.no_grad():
        logits = gan.D(real), gan.D(fake)
    expected = gan.loss.discriminator(*logits, 0.7).item()
    assert discriminator_step(gan, real, fake)[0] == pytest.approx(expected, rel=1e-5)


def test_the_generator_of_a_relativistic_pair_is_judged_against_the_real_ones():
    gan, real = make_gan(Recipe(loss="relativistic"), points), gaussian_ring(500).batch(0)[0]
    fake = drawn(gan, real)
    with torch.no_grad():
        expected = gan.loss.generator(gan.D(fake), gan.D(real)).item()
    assert generator_step(gan, real, fake) == pytest.approx(expected, rel=1e-5)


def test_a_penalty_receives_the_labels_of_its_images():
    seen = []

    def spy(discriminator, real, fake, labels):
        seen.append(labels)
        return r1(discriminator, real, labels)

    g, d = conditional.Generator(width=4), conditional.Discriminator(width=4)
    list(train(g, d, DIGITS, Recipe(penalty=spy, batch_size=32), 1))
    assert torch.equal(seen[-1], DIGITS.batch(0, 32)[1])


def test_mixed_precision_is_that_of_the_networks_and_not_of_the_losses():
    seen = []
    g, d = small_pair()
    d.layers.register_forward_hook(lambda module, given, scores: seen.append(scores.dtype))
    training = train(g, d, DIGITS, Recipe(penalty="r1"), 1, precision="bf16", device="cpu")
    seen.clear()
    next(training)
    assert len(seen) == 4 and set(seen) == {torch.bfloat16}  # vrais, faux, pénalité, puis les faux pour G


def test_fp16_leaves_the_penalty_in_float32():
    compute = replace(choose_compute("cpu"), dtype=torch.float16)
    gan = Gan(*small_pair(), Recipe(penalty="r1"), compute)
    with gan.penalty_autocast:
        assert not torch.is_autocast_enabled("cpu")


def test_the_history_a_reader_keeps_is_a_copy(tmp_path):
    for progress in train(*small_pair(points), gaussian_ring(500), Recipe(), 3, tmp_path / "run.pt"):
        progress.history["d_loss"][:] = 7
    assert (progress.history["d_loss"] != 7).all()


def test_time_goes_on_where_it_was(tmp_path):
    first = list(train(*small_pair(points), gaussian_ring(500), Recipe(), 3, tmp_path / "run.pt"))[-1]
    second = next(train(*small_pair(points), gaussian_ring(500), Recipe(), 5, tmp_path / "run.pt"))
    assert second.seconds > first.seconds > 0


def test_functions_that_differ_are_told_apart_and_the_same_one_is_recognised():
    class Scaled:
        def __init__(self, factor):
            self.factor, self.calls = factor, []

        def __call__(self, real, fake):
            self.calls.append(1)
            return self.factor * (fake - real).mean(), -fake.mean()

        def method(self, real, fake):
            return self(real, fake)

    def gap(real, fake, *, factor=1.0):
        return factor * (fake - real).mean(), -fake.mean()

    def steep(real, fake, *, factor=2.0):
        return factor * (fake - real).mean(), -fake.mean()

    steep.__qualname__ = gap.__qualname__
    log = []

    def logging(real, fake):
        log.append(float(real.detach().mean()))
        return (fake - real).mean(), -fake.mean()

    def identity(loss):
        return Recipe(loss=loss).identity()["loss"]

    for one, other in ((Scaled(1.0), Scaled(2.0)), (Scaled(1.0).method, Scaled(2.0).method), (gap, steep)):
        assert identity(one) != identity(other)
    before, called = identity(logging), Scaled(1.0)
    list(train(*small_pair(points), gaussian_ring(500), Recipe(loss=logging), 2))
    assert identity(logging) == before and log
    list(train(*small_pair(points), gaussian_ring(500), Recipe(loss=called), 2))
    assert identity(called) == identity(Scaled(1.0))


def test_a_checkpoint_from_where_precision_needed_no_scaler_is_resumed(tmp_path, monkeypatch):
    """Écrit en float32 sur un processeur, repris en fp16 sur une T4."""
    list(train(*small_pair(points), gaussian_ring(500), Recipe(), 2, tmp_path / "run.pt"))
    monkeypatch.setattr(Compute, "grad_scaler", lambda self: torch.amp.GradScaler("cpu", enabled=True))
    assert list(train(*small_pair(points), gaussian_ring(500), Recipe(), 3, tmp_path / "run.pt"))[-1].step == 3


def test_a_judge_that_ignores_the_classes_is_refused():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(784, 1)

        def forward(self, x):
            return self.layer(x.flatten(1)).squeeze(1)

    with pytest.raises(ValueError, match=r"discriminateur échoue.*forward\(self, x, y\)"):
        train(conditional.Generator(width=4), Blind(), DIGITS, Recipe(), 1)


def test_weights_of_any_dimension_can_train():
    g, d = small_pair()
    g.extra = nn.Parameter(torch.zeros(1, 1, 2, 3, 3))
    assert next(train(g, d, DIGITS, Recipe(), 1)).step == 1


@pytest.mark.parametrize("every", [None, "30", -1])
def test_seconds_between_saves_are_a_number(every):
    with pytest.raises(ValueError, match="checkpoint_every=.* reçu"):
        train(*small_pair(), DIGITS, Recipe(), 1, checkpoint_every=every)
