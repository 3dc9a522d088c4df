"""Espaces de caractéristiques et évaluations ; le réseau Inception lui-même est absent d'ici."""

import dataclasses
import hashlib
import json
import sys

import pytest
import torch
from torch import nn

from gan_course import features
from gan_course.data import ImageSet, load_images
from gan_course.evaluation import IncomparableError, check_comparable, evaluate, make_reference
from gan_course.features import (
    FeatureNetwork,
    Features,
    as_uint8,
    inception,
    load_features,
    pixels,
    save_features,
)

SPACE = pixels(4, channels=1)


def image_set(count: int = 200, classes: int = 4) -> ImageSet:
    """Images grises 8 × 8, d'autant plus claires que leur classe est grande ; la classe 0 est quatre fois plus rare."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, 4 * classes, (count,), generator=draw) // 4
    noise = torch.randint(0, 40, (count, 1, 8, 8), generator=draw)
    return ImageSet((noise + 50 * labels[:, None, None, None]).to(torch.uint8), labels)


class Painter(nn.Module):
    """G(z, y) qui rend le gris de la classe y, et note ce qu'on lui demande."""

    latent_dim = 3

    def __init__(self, num_classes: int = 0):
        super().__init__()
        self.num_classes, self.asked, self.modes = num_classes, [], []
        self.norm = nn.BatchNorm1d(3)

    def forward(self, z, y=None):
        self.modes.append(self.training)
        self.asked.append(y)
        level = torch.full((len(z),), 1) if y is None else y
        return ((20 + 50 * level[:, None, None, None] + 10 * z[:, :1, None, None]) / 127.5 - 1).expand(-1, 1, 8, 8)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = FeatureNetwork((1, 28, 28), 10, dim=16, width=4).eval()
    save_features(network, "digits", {"data": "essai", "command": "aucune", "accuracy": 0.5}, tmp_path)
    return network, tmp_path


# --- images et pixels ---


def test_uint8_and_real_images_are_the_same_images():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(as_uint8(images / 127.5 - 1), images)
    assert torch.equal(SPACE(images), SPACE(images / 127.5 - 1))


@pytest.mark.parametrize(
    "images,error,words",
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), TypeError, "int64"),
        (None, TypeError, "NoneType"),
        (torch.zeros(1, 8, 8), ValueError, r"\(1, 8, 8\)"),
        (torch.zeros(0, 1, 8, 8), ValueError, "N >= 1"),
        (torch.zeros(2, 4, 8, 8), ValueError, "C = 1 ou 3"),
        (torch.full((2, 1, 8, 8), 255.0), ValueError, "de 255 à 255"),
        (torch.full((2, 1, 8, 8), float("nan")), ValueError, "divergé"),
        (torch.zeros(2, 3, 8, 8), ValueError, "1 canal.* reçu.*3"),
    ],
)
def test_bad_images(images, error, words):
    with pytest.raises(error, match=words):
        SPACE(images)


def test_pixels_average_what_they_shrink():
    board = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 255
    assert SPACE(board).abs().max() < 0.02  # un damier vu de loin est gris, jamais un moiré
    same = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(pixels(8)(same), (same / 127.5 - 1).flatten(1))
    assert (pixels(8).dim, pixels(8).name, SPACE.name) == (192, "pixels-3x8x8", "pixels-1x4x4")


def test_batches_do_not_change_features():
    images = image_set(10)
    assert torch.equal(dataclasses.replace(SPACE, batch_size=3)(images), SPACE(images))


@pytest.mark.parametrize("arguments,error", [((0,), ValueError), ((8.0,), TypeError), ((8, 2), ValueError)])
def test_pixels_refuse_bad_settings(arguments, error):
    with pytest.raises(error):
        pixels(*arguments)


def test_an_extractor_must_keep_its_promise():
    with pytest.raises(ValueError, match=r"« faux » a rendu \(2, 1, 8, 8\)"):
        Features("faux", 5, "aucun", lambda images: images)(image_set(2))


# --- réseaux du cours ---


def test_course_network_is_read_back(weights):
    network, folder = weights
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    space = load_features("digits", folder, device="cpu")
    digest = hashlib.sha256((folder / "features-digits.safetensors").read_bytes()).hexdigest()
    assert space.name == f"digits-{digest[:8]}" and space.dim == 16
    expected = network.embed(images / 127.5 - 1).detach()
    torch.testing.assert_close(space(images), expected, atol=2e-3, rtol=2e-3)  # les poids sont gardés en float16
    assert space(torch.zeros(2, 1, 64, 64)).shape == (2, 16)
    assert network(images / 127.5 - 1).shape == (5, 10)
    assert json.loads((folder / "features-digits.json").read_text(encoding="utf-8"))["data"] == "essai"
    with pytest.raises(ValueError, match="digits-"):
        space(torch.zeros(2, 3, 28, 28))


def test_course_network_not_there_yet(tmp_path):
    with pytest.raises(FileNotFoundError, match="features-faces.safetensors » manque"):
        load_features("faces", tmp_path)
    with pytest.raises(ValueError, match="Espace inconnu.*digits, objects, faces"):
        load_features("chats", tmp_path)


@pytest.mark.parametrize("change", [{"network": {"dim": 3}}, {"network": None}])
def test_a_card_that_lies_is_refused(weights, change):
    path = weights[1] / "features-digits.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ValueError, match="ne décrit pas ces poids"):
        load_features("digits", weights[1])


# --- Inception ---


def test_inception_without_torch_fidelity(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ImportError, match="pip install torch-fidelity"):
        inception()


def test_inception_refuses_other_weights(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / features.INCEPTION.name).write_bytes(b"autre")
    monkeypatch.setattr(features, "INCEPTION", features.INCEPTION._replace(urls={"ici": "http://127.0.0.1:9/poids"}))
    with pytest.raises(ConnectionError, match="posez-le dans «.*weights.»"):
        inception()


def test_inception_wiring(tmp_path, monkeypatch):
    """Le vrai réseau de torch-fidelity, aux poids tirés au hasard : ce qui l'entoure est juste."""
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with monkeypatch.context() as patch:
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor)
        model = theirs.FeatureExtractorInceptionV3("essai", ["2048"])
    path = tmp_path / "weights" / features.INCEPTION.name
    path.parent.mkdir()
    torch.save(model.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION", features.INCEPTION._replace(digest=digest))
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path))
    space = inception(device="cpu")
    images = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(space(images), model(images.expand(-1, 3, -1, -1))[0])
    assert space.dim == 2048 and space.name.startswith("inception-v3-2048-") and "299" in space.resizer


# --- évaluation ---


def test_a_conditional_generator_gets_the_labels_of_the_data():
    images, generator = image_set(), Painter(num_classes=4)
    found = evaluate(generator, images, SPACE, n=200, description="essai, train")
    drawn = torch.cat(generator.asked).bincount(minlength=4) / 200
    torch.testing.assert_close(drawn, images.labels.bincount(minlength=4) / 200, atol=0.1, rtol=0)
    assert drawn[0] < drawn[1:].min()
    assert (found.space, found.n, found.seed, found.dim) == (SPACE.name, 200, 0, 16)
    assert found.reference == "essai, train" and found.fingerprint == images.fingerprint()
    assert found.kid_interval[0] < found.kid < found.kid_interval[1] and "biaisée" not in str(found)
    text = str(found)
    for words in (SPACE.name, "n = 200", "essai, train", found.fingerprint, "graine 0", "±"):
        assert words in text


def test_precision_and_recall_never_come_without_what_real_images_the_mean_image_and_noise_get():
    digits = load_images("digits")
    space = pixels(8, 1)
    reference = make_reference(digits, space, 400)
    real, average, noise = reference.landmarks.values()
    assert list(reference.landmarks) == ["400 autres vraies images", "l'image moyenne", "du bruit"]
    assert min(real) > 0.85 and average[1] < 0.02 and noise[0] < 0.02 and noise[2] < 0.02
    whole = make_reference(digits, space, 1_200).landmarks
    assert "600 vraies images contre 600" in whole and min(whole["600 vraies images contre 600"]) > 0.85

    class Copier(nn.Module):
        latent_dim = 2

        def forward(self, z):
            return digits.images[: len(z)].float() / 127.5 - 1

    found = evaluate(Copier(), reference)
    assert found.landmarks == reference.landmarks
    assert "repère, du bruit" in str(found) and "repère, 400 autres vraies images" in str(found)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_generator_that_draws_one_thing_is_said_to(level):
    class Stuck(nn.Module):
        latent_dim = 2

        def forward(self, z):
            return (level * torch.randn(len(z), 1, 28, 28)).clamp(-1, 1) * 0.02

    with pytest.warns(UserWarning, match="regardez ses images"):
        evaluate(Stuck(), load_images("digits"), pixels(8, 1), n=300)


def test_the_generator_comes_back_as_it_was():
    generator = Painter().train()
    generator.norm.eval()
    before = torch.get_rng_state()
    evaluate(generator, image_set(), SPACE, n=50)
    assert not any(generator.modes) and generator.training and not generator.norm.training
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_same_numbers_whatever_the_batches():
    images, generator = image_set(), Painter(4)
    first = evaluate(generator, images, SPACE, n=100, seed=3)
    assert evaluate(generator, images, dataclasses.replace(SPACE, batch_size=7), n=100, seed=3) == first
    assert evaluate(generator, images, SPACE, n=100, seed=4) != first
    assert evaluate(generator, make_reference(images, SPACE, 100, 3), seed=3) == first


def test_better_generators_compare_lower():
    images = image_set()
    good, bad = evaluate(Painter(4), images, SPACE, n=150), evaluate(Painter(), images, SPACE, n=150)
    assert good < bad and bad > good and good.coverage > bad.coverage
    check_comparable(good, evaluate(Painter(4), images, SPACE, n=150, seed=9))


@pytest.mark.parametrize(
    "images,space,n,words",
    [
        (image_set(), pixels(3, 1), 100, "espaces.*pixels-1x4x4 et pixels-1x3x3"),
        (image_set(), SPACE, 90, "nombres d'images.*100 et 90"),
        (image_set(199), SPACE, 100, "références"),
        (image_set(), dataclasses.replace(SPACE, resizer="sans filtre"), 100, "redimensionnements.*sans filtre"),
    ],
)
def test_other_protocols_are_not_compared(images, space, n, words):
    a, b = evaluate(Painter(), image_set(), SPACE, n=100), evaluate(Painter(), images, space, n=n)
    with pytest.raises(IncomparableError, match=words):
        a < b  # noqa: B015
    with pytest.raises(IncomparableError, match=words):
        check_comparable(a, a, b)


def test_evaluation_says_when_it_is_biased():
    with pytest.warns(UserWarning, match="plein rang"):
        found = evaluate(Painter(), image_set(), SPACE, n=16)
    assert "biaisée" in str(found)


UNLABELLED = ImageSet(image_set().images)
NAMED = ImageSet(image_set().images, image_set().labels, list("abcd"))


@pytest.mark.parametrize(
    "generator,images,options,error,words",
    [
        (Painter(), image_set(), {}, ValueError, "Dites dans quel espace"),
        (Painter(), image_set(), {"features": SPACE, "n": 201}, ValueError, "n=201 dépasse"),
        (Painter(), image_set(), {"features": SPACE, "n": 0}, ValueError, "au moins 1"),
        (Painter(), image_set(), {"features": SPACE, "n": 1}, ValueError, "au moins 2"),
        (Painter(), torch.zeros(9, 2), {"features": SPACE}, TypeError, "ImageSet"),
        (nn.Identity(), image_set(), {"features": SPACE}, ValueError, "latent_dim"),
        (Painter(4), UNLABELLED, {"features": SPACE}, ValueError, "pas d'étiquettes"),
        (Painter(3), image_set(), {"features": SPACE}, ValueError, "3 classes et le jeu en a 4"),
        (Painter(5), NAMED, {"features": SPACE}, ValueError, "5 classes et le jeu en a 4"),
        (Painter(), make_reference(image_set(), SPACE, 50), {"n": 60}, ValueError, "déjà son espace"),
        (Painter(), make_reference(image_set(), SPACE, 50), {"features": pixels(2, 1)}, ValueError, "déjà son espace"),
        (Painter(), ImageSet(torch.zeros(9, 1, 9, 9, dtype=torch.uint8)), {"features": SPACE}, ValueError, "taille"),
    ],
)
def test_bad_evaluations(generator, images, options, error, words):
    with pytest.raises(error, match=words):
        evaluate(generator, images, **options)


def test_a_diverged_generator_is_not_measured():
    generator = Painter()
    generator.forward = lambda z: torch.full((len(z), 1, 8, 8), float("nan"))
    with pytest.raises(ValueError, match="divergé"):
        evaluate(generator, image_set(), SPACE, n=20)
