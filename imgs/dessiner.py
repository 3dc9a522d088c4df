"""Refait les figures attendues d'un chapitre, à partir de son carnet exécuté en mode « cours ».

    GAN_COURSE_STATIC=1 python -m papermill notebooks/01_gan_bases.ipynb build/01.ipynb -p MODE cours
    python imgs/dessiner.py build/01.ipynb

Le nom du carnet exécuté dit le chapitre. Ne sont retenues que des figures sans image réelle : points, courbes et images
générées. MNIST, CelebA et CIFAR-10 ne sont pas redistribués ici.
"""

import base64
import io
import json
import sys
from pathlib import Path

from PIL import Image

FIGURES = {  # chapitre : {cellule : (fichier, couleurs gardées)} ; peu de couleurs suffisent à des courbes
    "01": {
        "curseur-simple": ("01_anneau_effondre.png", 64),
        "curseur-gueri": ("01_anneau_gueri.png", 64),
        "fonction-entrainer": ("01_dense.png", 64),
        "entrainer-convolutif": ("01_convolutif.png", 64),
    },
    "02": {"dcgan-voir": ("02_dcgan.png", 256)},
    "04": {
        "surfaces": ("04_surfaces.png", 128),
        "curseur": ("04_critique.png", 128),
        "conditionnel-grille": ("04_classes.png", 256),
    },
    "05": {
        "figure-generees": ("05_visages.png", 256),
        "melange": ("05_melange.png", 256),
        "curseur-troncature": ("05_troncature.png", 256),
    },
}


def main(notebook: Path) -> None:
    folder, chosen = Path(__file__).parent, FIGURES.get(notebook.stem[:2])
    if chosen is None:
        sys.exit(f"« {notebook.name} » : le nom doit commencer par {', '.join(FIGURES)}, le numéro du chapitre.")
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell.get("id") not in chosen:
            continue
        name, colours = chosen[cell["id"]]
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        picture = Image.open(io.BytesIO(base64.b64decode("".join(pictures[-1])))).convert("RGB")
        picture.quantize(colours).save(folder / name, optimize=True)
        print(f"Écrit : imgs/{name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
