"""Dessine imgs/bandeau.png : des chiffres tirés par le GAN conditionnel du chapitre 03, sans choisir.

    python imgs/dessiner_bandeau.py            (MNIST, graine 0, 1 500 pas : 86 secondes sur deux cœurs)

Une ligne par classe, dix-huit colonnes ; une colonne partage son z. Les images ne sont pas triées.
"""

from pathlib import Path

import torch
from PIL import Image

from gan_course.data import load_images
from gan_course.display import to_image
from gan_course.live import follow
from gan_course.models import conditional
from gan_course.training import train

COLUMNS, SEED, STEPS = 18, 0, 1_500

torch.manual_seed(SEED)
networks = conditional.Generator(), conditional.Discriminator()
for progress in follow(train(*networks, load_images("mnist"), conditional.RECIPE, STEPS, seed=SEED)):
    pass
z = torch.randn(COLUMNS, networks[0].latent_dim, generator=torch.Generator().manual_seed(SEED))
with torch.no_grad():
    rows = [progress.ema(z.to(progress.device), torch.full((COLUMNS,), k).to(progress.device)) for k in range(10)]
grid = torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2)
image = Image.fromarray(to_image(-grid))  # encre noire sur fond blanc : lisible sur une page claire
image = image.convert("L").resize((2 * image.width, 2 * image.height), Image.NEAREST)
image.save(Path(__file__).with_name("bandeau.png"))
