"""Ce que les espaces du cours voient, sur de vraies images : des défauts gradués, et ce que les yeux ont jugé."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import affine_grid, grid_sample, interpolate
from torchvision.transforms.functional import gaussian_blur

from gan_course.features import load_features
from gan_course.metrics import frechet_distance, patch_distance

N = 1_000
SPACES = ("faces", "objects")


def decode(stored, indices):
    """uint8 (N, 3, 32, 32) : le carré central de chaque visage, réduit."""
    content, starts = stored["octets"].tobytes(), stored["debuts"]
    pixels = []
    for i in indices:
        image = Image.open(io.BytesIO(content[starts[i] : starts[i + 1]])).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        pixels.append(np.asarray(image.resize((32, 32), Image.BILINEAR, (left, top, left + side, top + side))))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def real():
    """Deux moitiés de 2 000 vrais visages, et les attributs de la seconde."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "celeba_10k.npz"
    if not path.is_file():
        pytest.skip("pas de données réelles dans ../shared/data")
    with np.load(path) as stored:
        images, names = decode(stored, range(2 * N)), list(stored["noms_attributs"])
        attributes = torch.from_numpy(stored["attributs"][N : 2 * N].astype(np.int64))
    return images[:N], images[N:], dict(zip(names, attributes.T))


@pytest.fixture(scope="module")
def cartoons(real):
    """N images d'un autre jeu."""
    with np.load(Path(__file__).resolve().parents[2] / "shared" / "data" / "simpsons_mnist_10k.npz") as stored:
        return decode(stored, range(N))


def to_uint8(x):
    return (x.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)


def draw():
    return torch.Generator().manual_seed(0)


def blur(x, sigma):
    return gaussian_blur(x, 2 * round(3 * sigma) + 3, sigma)


def noise(x, level):
    return x + level * torch.randn(x.shape, generator=draw())


def redden(x, shift):
    return x + shift * torch.tensor([1.0, -0.5, -0.5])[:, None, None]


def posterise(x, levels):
    return ((x + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1


def warp(x, pixels):
    """Déforme chaque image selon un champ lisse, d'écart-type `pixels`."""
    field = interpolate(torch.randn(len(x), 2, 5, 5, generator=draw()), x.shape[2:], mode="bicubic")
    field = field / field.std() * pixels * 2 / x.shape[3]
    grid = affine_grid(torch.eye(2, 3).expand(len(x), -1, -1), x.shape, align_corners=False)
    return grid_sample(x, grid + field.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False)


def shuffle_patches(x, moved, side=8):
    """Échange au hasard `moved` des seize carrés de chaque image."""
    patches = x.unfold(2, side, side).unfold(3, side, side).flatten(2, 3).clone()
    generator = draw()
    for image in patches:
        chosen = torch.randperm(16, generator=generator)[:moved]
        image[:, chosen] = image[:, chosen.roll(1)]
    return patches.unflatten(2, (4, 4)).permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


PIXELS = {  # nom : (ce que subit chaque image de [-1, 1], ses cinq degrés, du plus faible au plus fort)
    "flou": (blur, (0.5, 0.7, 1.0, 1.5, 2.5)),
    "bruit": (noise, (0.05, 0.1, 0.2, 0.4, 0.8)),
    "couleur": (redden, (0.05, 0.1, 0.2, 0.4, 0.8)),
    "niveaux": (posterise, (16, 8, 5, 3, 2)),
    "déformation": (warp, (0.5, 1.0, 1.5, 2.5, 4.0)),
    "carrés déplacés": (shuffle_patches, (2, 4, 6, 10, 16)),
}


def fewer_modes(images, attributes, kept):
    """`kept` des huit sortes de visages (homme, sourire, jeune), et autant d'images, répétées s'il le faut."""
    kind = 4 * attributes["Male"] + 2 * attributes["Smiling"] + attributes["Young"]
    most_common = torch.bincount(kind, minlength=8).argsort(descending=True)[:kept]
    chosen = images[torch.isin(kind, most_common)]
    return chosen[torch.arange(len(images)) % len(chosen)]


@pytest.fixture(scope="module")
def graded(real, cartoons):
    """nom → cinq jeux uint8, du moins au plus abîmé."""
    _, images, attributes = real
    x = images.float() / 127.5 - 1
    sets = {name: [to_uint8(damage(x, level)) for level in levels] for name, (damage, levels) in PIXELS.items()}
    sets["sortes oubliées"] = [fewer_modes(images, attributes, kept) for kept in (7, 5, 4, 3, 2)]
    sets["autre jeu"] = [
        torch.cat([images[: N - count], cartoons[:count]]) for count in (N // 50, N // 20, N // 10, N // 4, N // 2)
    ]
    return sets


@pytest.mark.lent
@pytest.mark.parametrize("name", SPACES)
def test_a_space_sees_every_defect_grow(name, real, graded):
    """À chacun des cinq degrés de chacun des huit défauts ; et le plus fort dépasse cinq fois le plancher."""
    space = load_features(name, device="cpu")
    reference = space(real[0])
    floor = frechet_distance(reference, space(real[1]))
    for defect, sets in graded.items():
        distances = [frechet_distance(reference, space(images)) for images in sets]
        assert sorted(set(distances)) == distances, (defect, distances)
        assert distances[1] > floor and distances[-1] > 5 * floor, (defect, floor, distances)


def test_patches_see_texture_and_are_blind_to_a_mild_warp(real):
    half = N // 2
    x = real[1][:half].float() / 127.5 - 1
    seen = {name: [patch_distance(real[0][:half], to_uint8(damage(x, level))) for level in levels]
            for name, (damage, levels) in PIXELS.items()}  # fmt: skip
    for name in ("flou", "bruit", "couleur", "niveaux", "carrés déplacés"):
        assert sorted(set(seen[name])) == seen[name], (name, seen[name])
    # De 0,5 à 2,5 pixels, le visage se défait et l'écart diminue : le rééchantillonnage lisse de moins en moins.
    assert seen["déformation"][3] < seen["déformation"][0]


@pytest.mark.parametrize("name, least", [("objects", 0.8), ("faces", 0.8)])
def test_the_spaces_rank_sheets_as_they_were_ranked_by_eye(name, least):
    """Les paires jugées à l'aveugle dont les deux côtés sont dans recettes.csv, à 5 % d'images vues près."""
    bench = Path(__file__).resolve().parents[1] / "bench"
    with (bench / "recettes.csv").open(encoding="utf-8") as file:
        measured = [row for row in csv.DictReader(file) if row["graine"] == "0"]
    with (bench / "paires.csv").open(encoding="utf-8") as file:
        pairs = [row for row in csv.DictReader(file) if row["prefere"] != "egal"]

    def distance(pair, side):
        seen = int(pair[f"images_vues_{side}"])
        found = [float(row[f"frechet_{name}"]) for row in measured
                 if (row["cote"], row["recette"]) == (pair["cote"], pair[side])
                 and abs(int(row["images_vues"]) / seen - 1) < 0.05]  # fmt: skip
        return found[0] if found else None

    judged = [(distance(pair, "gauche"), distance(pair, "droite"), pair["prefere"]) for pair in pairs]
    judged = [(left, right, chosen) for left, right, chosen in judged if left is not None and right is not None]
    agreed = sum((left < right) == (chosen == "gauche") for left, right, chosen in judged)
    assert len(judged) >= 25 and agreed >= least * len(judged), (agreed, len(judged))
