"""Refait les figures attendues du chapitre 01, à partir du carnet exécuté en mode « cours ».

    python -m papermill notebooks/01_gan_bases.ipynb build/01.ipynb -p MODE cours   (avec GAN_COURSE_STATIC=1)
    python imgs/dessiner_01.py build/01.ipynb

Ne retient que des figures sans image réelle : MNIST n'est pas redistribué ici.
"""

import base64
import json
import sys
from pathlib import Path

from PIL import Image

FIGURES = {
    "curseur-simple": "01_anneau_effondre.png",
    "curseur-gueri": "01_anneau_gueri.png",
    "fonction-entrainer": "01_dense.png",
    "entrainer-convolutif": "01_convolutif.png",
}


def main(notebook: Path) -> None:
    folder = Path(__file__).parent
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell.get("id") not in FIGURES:
            continue
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        path = folder / FIGURES[cell["id"]]
        path.write_bytes(base64.b64decode("".join(pictures[-1])))
        # 64 couleurs suffisent à des courbes et à des gris, et divisent le poids par quatre.
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
        print(f"Écrit : imgs/{path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
