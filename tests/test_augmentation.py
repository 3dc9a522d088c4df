"""DiffAugment : les mêmes transformations pour les vraies et les fausses, dérivables, tirées du hasard du pas."""

from dataclasses import replace

import pytest
import torch

from gan_course.augmentation import AUGMENTATIONS, color, cutout, find_augmentation, translation
from gan_course.data import ImageSet
from gan_course.engine.device import choose_compute
from gan_course.models import dcgan
from gan_course.recipe import Recipe
from gan_course.training import Gan, discriminator_step, generator_step, train


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_shape_stays_each_image_has_its_own_draw_and_the_slope_goes_through(name):
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 24).expand(64, -1, -1, -1).clone().requires_grad_()
    y = AUGMENTATIONS[name](x)
    assert y.shape == x.shape
    assert len({image.sum().item() for image in y}) > 20, "la même transformation pour tout le lot"
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.abs().sum() > 0


def test_a_translation_moves_whole_pixels_by_an_eighth_of_the_side_at_most():
    torch.manual_seed(1)
    x, moves = torch.rand(300, 1, 16, 16), set()
    for image, moved in zip(x, translation(x)):
        found = [
            (dy, dx)
            for dy in range(-4, 5) for dx in range(-4, 5)
            if torch.allclose(moved[:, 4:12, 4:12], image[:, 4 - dy : 12 - dy, 4 - dx : 12 - dx], atol=1e-5)
        ]  # fmt: skip
        assert len(found) == 1
        moves |= set(found)
    assert {dy for dy, _ in moves} == {dx for _, dx in moves} == {-2, -1, 0, 1, 2}
    assert (translation(torch.ones(50, 1, 16, 16)) == 0).any(), "le vide laissé est gris"


def test_a_cutout_greys_one_square_of_half_the_side():
    torch.manual_seed(2)
    holes = (cutout(torch.ones(200, 3, 16, 16)) == 0)
    assert torch.equal(holes[:, 0], holes[:, 2]), "le même trou dans les trois canaux"
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert rows.max() == columns.max() == 8 and rows.min() >= 3
    assert torch.equal(holes[:, 0].sum((1, 2)), rows * columns), "un carré plein"


def test_colour_keeps_the_average_place_of_values_and_a_grey_image_stays_grey():
    torch.manual_seed(3)
    x = torch.full((500, 3, 4, 4), 0.2)
    y = color(x)
    torch.testing.assert_close(y, y[:, :1, :1, :1].expand_as(y))  # uniforme et grise, elle le reste
    shift = y[:, 0, 0, 0] - 0.2
    assert -0.5 <= shift.min() < -0.4 and 0.4 < shift.max() <= 0.5
    x = torch.zeros(500, 3, 4, 4)
    x[:, 0] = 1.0  # un rouge : la saturation va du gris au double
    spread = (lambda c: c[:, 0, 0, 0] - c[:, 1, 0, 0])(color(x))
    assert spread.min() < 0.1 and spread.max() > 1.8


def test_names_add_up_in_order_and_a_wrong_one_is_refused():
    assert find_augmentation(None) is None and find_augmentation(torch.flip) is torch.flip
    both = find_augmentation("color, translation")
    x = torch.rand(8, 3, 16, 16)
    torch.manual_seed(4)
    expected = translation(color(x))
    torch.manual_seed(4)
    assert torch.equal(both(x), expected)
    for wrong in ("colour", "color,,cutout", 3):
        with pytest.raises(ValueError, match="parmi : color, translation, cutout"):
            Recipe(augment=wrong)


def test_d_sees_only_transformed_images_real_and_fake_and_g_learns_through_them():
    seen = []

    def augment(x):
        seen.append(x.shape[0])
        return x * 0 + x.mean()  # plus rien n'y distingue une image d'une autre

    torch.manual_seed(0)
    g, d = dcgan.Generator((1, 28, 28), latent_dim=4, width=4), dcgan.Discriminator((1, 28, 28), width=4)
    gan = Gan(g, d, Recipe(batch_size=6, augment=augment), choose_compute("cpu", "float32"))
    judged = []
    d.register_forward_pre_hook(lambda module, args: judged.append(args[0]))
    real, fake = torch.rand(6, 1, 28, 28), gan.G(torch.randn(6, 4))
    discriminator_step(gan, real, fake)
    before = [p.clone() for p in g.parameters()]
    generator_step(gan, real, fake)
    assert seen == [6, 6, 6] and all(x.detach().std() < 1e-6 for x in judged)
    assert any(not torch.equal(a, b) for a, b in zip(before, g.parameters())), "la pente n'a pas traversé"


def test_a_run_with_augmentation_goes_on_exactly_where_it_stopped(tmp_path):
    images = ImageSet(torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8))
    recipe = replace(dcgan.RECIPE, batch_size=8, augment="color,translation,cutout")

    def run(steps, checkpoint=None):
        torch.manual_seed(0)
        g, d = dcgan.Generator((1, 28, 28), latent_dim=4, width=4), dcgan.Discriminator((1, 28, 28), width=4)
        *_, last = train(g, d, images, recipe, steps, checkpoint)
        return last.generator.state_dict()

    whole = run(6)
    run(3, tmp_path / "a.pt")
    resumed = run(6, tmp_path / "a.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
