"""ImageSet, PointSet et la fonction de lot."""


import numpy as np
import pytest
import torch

from gan_course.data import ImageSet, gaussian_grid, gaussian_ring

CPU = torch.device("cpu")


def make_set(count=10, channels=1, size=4, classes=3):
    images = torch.arange(count * channels * size * size).remainder(256).to(torch.uint8)
    labels = torch.arange(count) % classes
    return ImageSet(
        images.reshape(count, channels, size, size), labels, [f"classe {k}" for k in range(classes)]
    )


def test_batch_range_is_exactly_minus_one_to_one():
    """pitfalls.md : l'intervalle des vrais lots est celui de la sortie tanh d'un générateur."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x, y = ImageSet(images).batch(0, batch_size=1)
    assert x.dtype == torch.float32 and x.shape == (1, 1, 16, 16) and y is None
    assert x.min().item() == -1.0 and x.max().item() == 1.0
    expected = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    assert torch.allclose(x.flatten().double(), expected, atol=1e-7)


def numbers(count, step, batch_size, seed=0):
    """Numéros des exemples d'un lot : chacun est étiqueté du sien."""
    images = torch.zeros(count, 1, 1, 1, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count)).batch(step, batch_size, seed)[1]


def test_each_epoch_is_a_permutation_even_across_batches():
    indices = torch.cat([numbers(10, step, 4) for step in range(10)])  # 40 = 4 époques
    for epoch in indices.reshape(4, 10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert not torch.equal(indices[:10], indices[10:20])


def test_batch_is_a_pure_function_of_seed_and_step():
    first, second = make_set(50), make_set(50)
    second.batch(3, 8)
    torch.manual_seed(123)
    x, y = first.batch(7, 16, seed=5)
    torch.manual_seed(456)
    again, labels = second.batch(7, 16, seed=5)
    assert torch.equal(x, again) and torch.equal(y, labels)
    assert not torch.equal(x, first.batch(7, 16, seed=6)[0])
    assert not torch.equal(numbers(50, 1, 50), numbers(50, 0, 50, seed=1))


def test_batch_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    make_set().batch(11, 4)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_keeps_images_and_labels_together():
    images = torch.arange(200, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    x, y = ImageSet(images, torch.arange(200)).batch(2, 64)
    assert torch.equal(((x.flatten() + 1) * 127.5).round().long(), y)


def test_batch_as_large_as_the_set():
    assert sorted(numbers(5, 3, 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "arguments, error, word",
    [
        ({"step": 0, "batch_size": 11}, ValueError, "11.*10"),
        ({"step": 0, "batch_size": 0}, ValueError, "batch_size.*0"),
        ({"step": 0, "batch_size": 2.5}, TypeError, "batch_size.*2.5"),
        ({"step": -1}, ValueError, "-1"),
        ({"step": 1.0}, TypeError, "1.0"),
        ({"step": True}, TypeError, "True"),
    ],
)
def test_batch_refuses(arguments, error, word):
    with pytest.raises(error, match=word):
        make_set().batch(**{"batch_size": 4} | arguments)


GOOD = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    "arguments, error, word",
    [
        ((GOOD.float(),), TypeError, "float32"),
        ((GOOD.numpy(),), TypeError, "ndarray"),
        ((GOOD[0],), ValueError, "forme"),
        ((GOOD.expand(4, 2, 2, 2),), ValueError, "C = 1 ou 3"),
        ((GOOD[:0],), ValueError, "N >= 1"),
        ((GOOD, torch.zeros(3, dtype=torch.int64)), ValueError, r"\(3,\).*\(4,\)"),
        ((GOOD, torch.zeros(4, 1, dtype=torch.int64)), ValueError, r"\(4, 1\)"),
        ((GOOD, torch.zeros(4)), TypeError, "int64.*float32"),
        ((GOOD, [0, 1, 2, 3]), TypeError, "list"),
        ((GOOD, torch.tensor([0, 1, 2, -1])), ValueError, "-1"),
        ((GOOD, torch.tensor([0, 1, 2, 3]), ["a", "b", "c"]), ValueError, "de 0 à 3.*3"),
        ((GOOD, None, ["a"]), ValueError, "class_names"),
        ((GOOD, torch.zeros(4, dtype=torch.int64), "abc"), TypeError, "abc"),
    ],
)
def test_image_set_refuses(arguments, error, word):
    with pytest.raises(error, match=word):
        ImageSet(*arguments)


def test_factors_must_match():
    with pytest.raises(ValueError, match=r"\(3, 6\)"):
        ImageSet(GOOD, factors=torch.zeros(3, 6))


def test_description():
    images = make_set()
    assert len(images) == 10 and images.image_shape == (1, 4, 4) and images.num_classes == 3
    assert "10 images" in repr(images) and "3 classes" in repr(images)
    assert "1 image 4 × 4 en gris, 1 classe, sur" in repr(make_set(count=1, classes=1))
    assert ImageSet(GOOD).num_classes == 0 and "sans étiquettes" in repr(ImageSet(GOOD))
    assert ImageSet(GOOD, torch.tensor([0, 4, 1, 1])).num_classes == 5


def test_select_renumbers_in_the_order_given():
    images = make_set()
    chosen = images.select(["classe 2", 0])
    assert chosen.class_names == ("classe 2", "classe 0")
    assert chosen.labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert torch.equal(chosen.images, images.images[images.labels != 1])
    assert images.select([1]).labels.unique().tolist() == [0]
    assert images.select("classe 1").class_names == images.select(1).class_names == ("classe 1",)


@pytest.mark.parametrize("classes", [[3], [-1], ["inconnue"], [0, 0], []])
def test_select_refuses(classes):
    with pytest.raises(ValueError, match="lasse"):
        make_set().select(classes)


def test_select_needs_labels_and_images():
    with pytest.raises(ValueError, match="étiquettes"):
        ImageSet(GOOD).select([0])
    with pytest.raises(ValueError, match="Aucune image"):
        ImageSet(GOOD, torch.tensor([0, 0, 2, 2])).select([1])


def test_take_and_factors_follow():
    images = ImageSet(GOOD, torch.tensor([0, 1, 0, 1]), factors=torch.eye(4), factor_names=list("abcd"))
    assert torch.equal(images.take(2).factors, torch.eye(4)[:2])
    assert torch.equal(images.select([1]).factors, torch.eye(4)[[1, 3]])
    assert images.select([1]).to("cpu").factor_names == ("a", "b", "c", "d")
    assert images.take(2).images.data_ptr() == GOOD.data_ptr()
    for wrong in (5, 0, -1):
        with pytest.raises(ValueError, match=str(wrong)):
            images.take(wrong)


def test_fingerprint_tells_data_apart():
    images = make_set()
    assert images.fingerprint() == make_set().fingerprint() and len(images.fingerprint()) == 16
    other = images.images.clone()
    other[3] += 1
    different = [
        ImageSet(other, images.labels),
        ImageSet(images.images, images.labels.flip(0)),
        ImageSet(images.images),
        images.take(9),
    ]
    assert len({s.fingerprint() for s in [images, *different]}) == 5


@pytest.mark.filterwarnings("error")
def test_memory_mapped_images(tmp_path):
    np.save(tmp_path / "images.npy", make_set(20).images.numpy())
    mapped = ImageSet(torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c")))
    assert torch.equal(mapped.batch(1, 8)[0], make_set(20).batch(1, 8)[0])
    assert mapped.fingerprint() == ImageSet(make_set(20).images).fingerprint()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="il faut un GPU")
def test_same_batches_on_gpu():
    images = make_set(20)
    on_gpu = images.to("cuda")
    assert torch.equal(on_gpu.batch(2, 8)[0].cpu(), images.batch(2, 8)[0])
    assert on_gpu.select([1]).images.is_cuda and on_gpu.fingerprint() == images.fingerprint()


@pytest.mark.parametrize("points, modes", [(gaussian_ring(4_000), 8), (gaussian_grid(5_000), 25)])
def test_gaussians(points, modes):
    assert points.centers.shape == (modes, 2) and points.image_shape == (2,) and points.num_classes == modes
    counts = points.labels.bincount()
    assert counts.max() - counts.min() <= 1
    residual = points.points - points.centers[points.labels]
    assert abs(residual.std().item() / points.std - 1) < 0.05
    x, y = points.batch(0, 100)
    assert x.dtype == torch.float32 and x.shape == (100, 2) and y.shape == (100,)
    assert torch.equal(points.batch(3)[0], points.to("cpu").batch(3)[0])
    assert len(points.fingerprint()) == 16 and f"{modes} centres" in repr(points)


def test_gaussian_geometry():
    assert torch.allclose(gaussian_ring(radius=3.0).centers.norm(dim=1), torch.full((8,), 3.0))
    grid = gaussian_grid(side=3, spacing=0.5).centers
    assert torch.allclose(grid.mean(0), torch.zeros(2)) and grid.max().item() == 0.5
    assert torch.equal(gaussian_ring(seed=1).points, gaussian_ring(seed=1).points)
    assert gaussian_ring(seed=1).fingerprint() != gaussian_ring(seed=2).fingerprint()


@pytest.mark.parametrize("wrong", [{"n": 0}, {"modes": 0}, {"std": 0}, {"std": -1.0}])
def test_gaussians_refuse(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gaussian_ring(**wrong)


def test_select_takes_a_numpy_number():
    images = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 2]))
    assert len(images.select(np.int64(1))) == 2


def test_a_set_of_your_own_stays_so_on_another_device():
    class Augmented(ImageSet):
        def batch(self, *arguments, **named):
            x, y = super().batch(*arguments, **named)
            return -x, y

    moved = Augmented(torch.zeros(4, 1, 2, 2, dtype=torch.uint8)).to("cpu")
    assert type(moved) is Augmented and (moved.batch(0, 2)[0] == 1).all()
    assert make_set().to("meta").images.device.type == "meta"
