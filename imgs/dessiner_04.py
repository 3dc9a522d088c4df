"""Refait les figures attendues du chapitre 04, à partir du carnet exécuté en mode « cours ».

    python -m papermill notebooks/04_wgan.ipynb build/04.ipynb -p MODE cours   (avec GAN_COURSE_STATIC=1)
    python imgs/dessiner_04.py build/04.ipynb

Ne retient que des points et des courbes : aucune photographie de CIFAR-10 n'est redistribuée ici.
"""

import base64
import json
import sys
from pathlib import Path

from PIL import Image

FIGURES = {  # cellule : fichier, couleurs gardées
    "surfaces": ("04_surfaces.png", 128),
    "curseur": ("04_critique.png", 128),
}


def main(notebook: Path) -> None:
    folder = Path(__file__).parent
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell.get("id") not in FIGURES:
            continue
        name, colours = FIGURES[cell["id"]]
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        path = folder / name
        path.write_bytes(base64.b64decode("".join(pictures[-1])))
        # Peu de couleurs suffisent à des courbes, et divisent le poids par quatre.
        Image.open(path).convert("RGB").quantize(colours).save(path, optimize=True)
        print(f"Écrit : imgs/{path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
