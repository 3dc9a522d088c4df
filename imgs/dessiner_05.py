"""Refait les figures attendues du chapitre 05, à partir du carnet exécuté en mode « cours ».

    python -m papermill notebooks/05_mini_stylegan_fid.ipynb build/05.ipynb -p MODE cours   (avec GAN_COURSE_STATIC=1)
    python imgs/dessiner_05.py build/05.ipynb

Ne retient que des courbes et des images générées : aucune photographie de CelebA n'est redistribuée ici.
"""

import base64
import json
import sys
from pathlib import Path

from PIL import Image

FIGURES = {
    "figure-generees": "05_visages.png",
    "melange": "05_melange.png",
    "curseur-troncature": "05_troncature.png",
}


def main(notebook: Path) -> None:
    folder = Path(__file__).parent
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell.get("id") not in FIGURES:
            continue
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        path = folder / FIGURES[cell["id"]]
        path.write_bytes(base64.b64decode("".join(pictures[-1])))
        # 256 couleurs divisent le poids par trois, sans que l'œil y perde à cette taille.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        print(f"Écrit : imgs/{path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
