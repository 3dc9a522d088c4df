"""Visages dessinés et chiffres en couleurs : déterministes, variés, rapides, et fidèles à leurs paramètres."""

import numpy as np
import pytest
import torch

from gan_course.data import load_images
from gan_course.data.faces import CATEGORIES, FACTOR_NAMES, RANGES, draw_faces, sample_faces


def changed(parameters, **values):
    """Les mêmes visages, certains paramètres remplacés (le nom, espaces remplacées par des tirets bas)."""
    parameters = parameters.copy()
    for name, value in values.items():
        parameters[:, FACTOR_NAMES.index(name.replace("_", " "))] = value
    return parameters


@pytest.fixture(scope="module")
def neutral():
    """Un visage de face, sans rien, au milieu de toutes ses bornes."""
    middle = [0 if name in CATEGORIES else sum(RANGES[name]) / 2 for name in FACTOR_NAMES]
    return changed(np.array([middle], np.float32), sourire=0.0, peau=0.2)


def test_load(tmp_path):
    faces = load_images("faces", size=32, n=40, seed=3, root=tmp_path)
    assert faces.images.shape == (40, 3, 32, 32) and faces.labels is None
    assert faces.factors.shape == (40, len(FACTOR_NAMES)) and faces.factor_names == FACTOR_NAMES
    again = load_images("faces", size=32, n=40, seed=3, root=tmp_path / "autre")
    assert torch.equal(again.images, faces.images) and torch.equal(again.factors, faces.factors)
    assert torch.equal(load_images("faces", size=32, n=40, seed=3, root=tmp_path).images, faces.images)
    assert len(list(tmp_path.glob("cache/*.npy"))) == 1
    for other in ({"seed": 4}, {"split": "test"}):
        options = {"size": 32, "n": 40, "seed": 3, "root": tmp_path} | other
        assert not torch.equal(load_images("faces", **options).factors, faces.factors)


def test_default_size(tmp_path):
    assert load_images("faces", n=2, root=tmp_path).image_shape == (3, 64, 64)


def test_parameters_in_bounds_independent_and_prefixed():
    many = sample_faces(4_000, seed=1)
    assert np.array_equal(sample_faces(10, seed=1), many[:10])
    for column, name in zip(many.T, FACTOR_NAMES):
        if name in RANGES:
            assert column.min() >= np.float32(RANGES[name][0]) and column.max() <= np.float32(RANGES[name][1])
        else:
            assert np.array_equal(np.unique(column), np.arange(len(CATEGORIES[name])))
    assert np.abs(np.corrcoef(many.T) - np.eye(len(FACTOR_NAMES))).max() < 0.07
    smile = many[:, FACTOR_NAMES.index("sourire")]
    assert not ((smile > 0.3) & (smile < 0.6)).any() and 0.4 < (smile > 0.5).mean() < 0.6


def test_image_does_not_depend_on_its_neighbours():
    parameters = sample_faces(40, seed=2)
    together = draw_faces(parameters, 32).astype(int)
    alone = np.concatenate([draw_faces(parameters[i : i + 1], 32) for i in range(40)])
    assert np.abs(together - alone).max() <= 1


@pytest.mark.parametrize("name, value", [
    ("lunettes", 1), ("barbe", 1), ("chapeau", 1), ("chapeau", 2), ("chapeau", 3), ("sourire", 1), ("peau", 0.9),
    ("coiffure", 1), ("coiffure", 2), ("coiffure", 3), ("coiffure", 4), ("coiffure", 5), ("coiffure", 6), ("yeux", 1),
    ("fond", 0.1), ("clarté_du_fond", 1), ("habit", 0.1), ("largeur", 1), ("décalage_x", 0.1), ("décalage_y", 0.08),
    ("taille", 0.62), ("inclinaison", 12), ("rotation", 20), ("couleur_des_cheveux", 3),
])  # fmt: skip
@pytest.mark.parametrize("size", [32, 64])
def test_every_parameter_is_seen(neutral, name, value, size):
    before = draw_faces(changed(neutral, coiffure=1), size).astype(int)
    after = draw_faces(changed(changed(neutral, coiffure=1), **{name: value}), size).astype(int)
    if (name, value) == ("coiffure", 1):
        before = draw_faces(neutral, size).astype(int)
    assert (np.abs(before - after).max(axis=1) > 25).sum() >= 4 * (size // 32) ** 2 // (4 if name == "yeux" else 1)


def test_face_is_symmetric_and_in_the_middle(neutral):
    face = draw_faces(changed(neutral, coiffure=3, lunettes=1, sourire=1.0), 64)[0].astype(int)
    difference = np.abs(face - face[:, :, ::-1]).mean(0)
    assert (difference > 40).mean() < 0.05  # le modelé et les reflets seuls sont d'un côté
    skin = draw_faces(neutral, 64)[0, :, 44, 32]
    assert skin[0] > skin[2] + 20


def test_mirrored_pose_is_a_mirrored_outline(neutral):
    left = draw_faces(changed(neutral, rotation=-20, inclinaison=-10, **{"décalage_x": -0.1}), 64)[0].astype(int)
    right = draw_faces(changed(neutral, rotation=20, inclinaison=10, **{"décalage_x": 0.1}), 64)[0].astype(int)
    assert np.abs(left - right[:, :, ::-1]).mean() < 6


def test_edges_are_smooth(neutral):
    """Le même dessin, grand puis réduit par moyenne, ressemble au dessin fait directement petit."""
    parameters = sample_faces(16, seed=5)
    large = draw_faces(parameters, 256).reshape(16, 3, 64, 4, 64, 4).mean((3, 5))
    assert np.abs(draw_faces(parameters, 64) - large).mean() < 3
    glasses = draw_faces(changed(neutral, lunettes=1), 64)
    assert len(np.unique(glasses[0, 0])) > 60


def test_any_size():
    for size in (8, 33, 128):
        assert draw_faces(sample_faces(3), size).shape == (3, 3, size, size)


@pytest.mark.parametrize("wrong, error", [
    ({"n": 0}, ValueError), ({"n": 1.5}, TypeError), ({"seed": -1}, ValueError), ({"palette": "blue"}, TypeError),
    ({"size": 0}, ValueError),
])  # fmt: skip
def test_load_refuses(tmp_path, wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        load_images("faces", root=tmp_path, **{"n": 2, "size": 16} | wrong)
    assert not list(tmp_path.glob("cache/*"))


def test_draw_refuses(neutral):
    for wrong in (np.zeros((3, 5)), np.zeros(17), np.zeros((0, 17)), np.full((1, 17), np.nan)):
        with pytest.raises(ValueError, match="N, 17"):
            draw_faces(wrong)
    with pytest.raises(ValueError, match="chapeau.*0 à 3.*7"):
        draw_faces(changed(neutral, chapeau=7))


def test_colour_digits():
    images = load_images("color-digits", n=3_000, seed=1)
    assert images.images.shape == (3_000, 3, 28, 28) and images.num_classes == 1_000
    assert torch.equal(torch.bincount(images.labels), torch.full((1_000,), 3))
    assert images.class_names[42] == "042"
    again, other = load_images("color-digits", n=3_000, seed=1), load_images("color-digits", n=3_000, seed=2)
    assert torch.equal(again.images, images.images) and not torch.equal(other.images, images.images)
    assert load_images("color-digits", n=5, size=32, split="test").image_shape == (3, 32, 32)


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_channel_is_its_digit(split):
    digits, images = (load_images(name, split=split, **o) for name, o in (("digits", {}), ("color-digits", {"n": 300})))
    known = {tuple(image.flatten().tolist()): int(label) for image, label in zip(digits.images, digits.labels)}
    for image, label in zip(images.images, images.labels.tolist()):
        assert [known[tuple(channel.flatten().tolist())] for channel in image] == [int(d) for d in f"{label:03d}"]


def test_colour_digits_refuse():
    for wrong in ({"n": 0}, {"seed": -1}, {"seed": True}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            load_images("color-digits", **wrong)
