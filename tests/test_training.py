"""La boucle : ce que fait un pas, ce qu'il ne touche pas, et ce qu'elle refuse."""

import copy
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from torch import nn

from gan_course.data import ImageSet, gaussian_ring, load_images
from gan_course.engine.device import choose_compute
from gan_course.engine.randomness import step_seed
from gan_course.losses import LOSSES
from gan_course.models import conditional, dcgan, dense, points
from gan_course.penalties import PENALTIES
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


def make_gan(recipe=None, module=dense):
    return Gan(*small_pair(module), recipe or Recipe(), CPU)


def test_discriminator_step_leaves_the_generator_alone():
    gan = make_gan(module=dense)
    before = [p.clone() for p in gan.generator.parameters()]
    d_before = weights(gan.discriminator)
    real = DIGITS.batch(0)[0]
    discriminator_step(gan, real, gan.fake(len(real), None))
    assert all(torch.equal(a, b) for a, b in zip(before, gan.generator.parameters()))
    assert all(p.grad is None for p in gan.generator.parameters()), "D ne doit pas rétropropager dans G"
    assert not same(d_before, gan.discriminator.state_dict())


def test_generator_step_leaves_no_gradient_in_the_discriminator():
    gan = make_gan(module=dense)
    before = weights(gan.discriminator)
    g_before = weights(gan.generator)
    real = DIGITS.batch(0)[0]
    generator_step(gan, real, gan.fake(len(real), None))
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
    PENALTIES["r1"] = lambda *args: calls.append(1) or original(*args)
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
        losses.append(discriminator_step(gan, real, gan.fake(len(real), None))[0])
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


def test_long_histories_grow():
    from gan_course.engine.progress import History

    history = History()
    for i in range(1000):
        history.append(torch.full((5,), float(i)))
    assert (history["g_loss"] == np.arange(1000)).all()


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
        torch.manual_seed(step_seed(0, step))
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
        (dict(images=COLOUR), r"\(1, 28, 28\).*\(3, 32, 32\)"),
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

    with pytest.raises(ValueError, match=r"\(64, 1\) ; il faut \(64,\)"):
        next(train(dense.Generator(width=16), Column(width=16), DIGITS, Recipe(), 1))


@pytest.mark.parametrize(
    "field,value",
    [("loss", "bce"), ("penalty", "gp"), ("batch_size", 0), ("critic_steps", 1.5), ("g_lr", 0), ("clip", -1)]
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

    assert "loss" not in History()
    with pytest.raises(KeyError, match="'loss' n'est pas une mesure.*d_loss"):
        History()["loss"]
