"""Les générateurs fournis : chargés sans réseau, vérifiés, refaits par une commande."""

import hashlib
import json

import pytest
import torch
from PIL import Image

from gan_course import __main__ as cli
from gan_course.averaging import standing_statistics
from gan_course.data import ImageSet
from gan_course.features import SPACES, load_features, pixels
from gan_course.models import dcgan
from gan_course.pretrained import WEIGHTS, generators, load_generator, save_generator
from gan_course.tools import retrain


@pytest.fixture
def saved(tmp_path):
    g = dcgan.Generator((3, 32, 32), width=4).eval()
    save_generator(g, "essai-32", "dcgan", {"image_shape": [3, 32, 32], "width": 4}, {"seed": 0}, tmp_path)
    return g, tmp_path


def test_the_same_images_after_a_round_trip(saved):
    g, folder = saved
    again = load_generator("essai-32", folder)
    z = torch.randn(2, 100)
    torch.testing.assert_close(again(z), g(z), atol=5e-3, rtol=0)
    assert again.card["seed"] == 0 and not again.training and again(z).dtype == torch.float32


def test_unknown_names_offer_the_nearest(saved):
    with pytest.raises(ValueError, match="Vouliez-vous dire « essai-32 »"):
        load_generator("esai-32", saved[1])
    with pytest.raises(ValueError, match="aucun dans cette version"):
        load_generator("x", saved[1] / "vide")


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c[:20], lambda c: b"", lambda c: c[:-1] + b"\xff"])
def test_damaged_weights_are_refused(saved, spoil):
    folder = saved[1]
    path = folder / "essai-32.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match="SHA-256.*incomplet"):
        load_generator("essai-32", folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="essai-32.safetensors » manque"):
        load_generator("essai-32", folder)


LIES = [
    ({"model": "rien"}, "ne décrit pas"),
    ({"model": "points"}, "ne décrit pas"),
    ({"arguments": {"width": 8}}, "ne décrit pas"),
    ({"arguments": {"width": 0}}, "ne décrit pas"),
    ({"arguments": None}, "ne décrit pas"),
    ({"sha256": None}, "SHA-256"),
]


@pytest.mark.parametrize("change,words", LIES)
def test_a_card_that_lies_is_refused(saved, change, words):
    card = saved[1] / "essai-32.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps({k: v for k, v in {**content, **change}.items() if v is not None}), encoding="utf-8")
    with pytest.raises(ValueError, match=words) as caught:
        load_generator("essai-32", saved[1])
    assert "\n" not in str(caught.value) and "Réinstallez" in str(caught.value)
    card.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="illisible"):
        generators(saved[1])


def test_weights_that_are_not_tensors_are_refused(saved):
    """Un fichier que sa carte reconnaît, mais qui n'est pas du safetensors."""
    path = saved[1] / "essai-32.safetensors"
    path.write_bytes(b"rien")
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = hashlib.sha256(b"rien").hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ValueError, match="ne décrit pas"):
        load_generator("essai-32", saved[1])


def test_weights_laid_out_for_a_gpu_are_saved_the_same(tmp_path):
    g, arguments = dcgan.Generator((3, 32, 32), width=4), {"image_shape": [3, 32, 32], "width": 4}
    plain = save_generator(g, "a", "dcgan", arguments, {}, tmp_path).read_bytes()
    g.to(memory_format=torch.channels_last)
    assert save_generator(g, "b", "dcgan", arguments, {}, tmp_path).read_bytes() == plain


def test_what_the_course_provides_loads_and_fits_in_12_megabytes():
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) < 12e6
    for name in SPACES:
        space = load_features(name)
        channels = 1 if name == "digits" else 3
        assert space(torch.zeros(2, channels, 32, 32, dtype=torch.uint8)).shape == (2, space.dim)
    for name, card in generators().items():
        g = load_generator(name)
        labels = torch.zeros(2, dtype=torch.long) if g.num_classes else None
        images = g(torch.randn(2, g.latent_dim), labels)
        assert tuple(images.shape[1:]) == g.image_shape and images.std() > 0.1
        assert {"data", "command", "machine", "seed", "evaluation", "minutes"} <= set(card), name
        assert name in retrain.GENERATORS and (WEIGHTS / f"{name}.png").is_file()


def test_making_a_generator_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shape = {"image_shape": (3, 32, 32), "width": 4}
    entry = retrain.Entry("02", "fractals", 32, "dcgan", "objects", shape, shape, 3, changes={"batch_size": 8})
    monkeypatch.setitem(retrain.GENERATORS, "essai", entry)
    monkeypatch.setattr(retrain, "load_features", lambda name: pixels(2))
    images = ImageSet(torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8))
    monkeypatch.setattr(retrain.Entry, "images", lambda self, root: images)
    assert cli.main(["train", "essai", "--steps", "2", "--sortie", str(tmp_path / "sortie")]) == 0
    g = load_generator("essai", tmp_path / "sortie")
    assert g.card["steps"] == 2 and g.card["command"].endswith("train essai --steps 2 --seed 0")
    assert g.card["evaluation"]["n"] == 40 and (tmp_path / "sortie" / "essai.png").is_file()
    assert "Fréchet" in capsys.readouterr().out
    fresh = standing_statistics(g)
    for name, value in g.named_buffers():
        if name.endswith("running_var"):
            torch.testing.assert_close(value, dict(fresh.named_buffers())[name], rtol=0.02, atol=1e-4)


def test_the_sheet_has_one_row_per_class(tmp_path):
    asked = []

    class Recorder(torch.nn.Module):
        latent_dim, num_classes = 4, 3

        def forward(self, z, y):
            asked.append(y)
            return torch.zeros(len(z), 3, 8, 8)

    retrain.save_sheet(Recorder(), tmp_path / "planche.png", 0)
    assert asked[0].tolist() == [0] * 21 + [1] * 21 + [2] * 21
    with Image.open(tmp_path / "planche.png") as sheet:
        assert sheet.width > 5 * sheet.height, "trois lignes de vingt et une images"


@pytest.mark.parametrize("labelled", [True, False])
def test_making_a_space_from_end_to_end(tmp_path, monkeypatch, labelled):
    def load(name, size, root, split="train"):
        pixels = torch.randint(0, 64, (256, 3, 32, 32), dtype=torch.uint8)
        pixels[::2] += 128  # une image sur deux est claire
        bright = torch.arange(256) % 2 == 0
        if labelled:
            return ImageSet(pixels, bright.long())
        return ImageSet(pixels, factors=bright.float()[:, None].repeat(1, 3), factor_names=("a", "b", "c"))

    monkeypatch.setattr(retrain, "load_images", load)
    space = retrain.Space("essai", 32, 6, 1, True, held_out=0 if labelled else 64)
    monkeypatch.setitem(retrain.SPACES, "objects", space)
    retrain.make("features-objects", folder=tmp_path)
    card = json.loads((tmp_path / "features-objects.json").read_text(encoding="utf-8"))
    assert float(card["accuracy"].split(" %")[0]) > 90 and load_features("objects", tmp_path).dim == 64


def test_the_command_lists_what_it_can_make(capsys):
    assert cli.main(["train"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*retrain.GENERATORS, "features-faces"))
    assert cli.main(["train", "rien"]) == 1
    assert "celeba-residual-64" in capsys.readouterr().err
