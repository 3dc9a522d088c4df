"""Refait la figure attendue du chapitre 02, à partir du carnet exécuté en mode « cours ».

    GAN_COURSE_STATIC=1 python -m papermill notebooks/02_dcgan_celeba.ipynb build/02.ipynb -p MODE cours -p STEPS 250
    python imgs/dessiner_02.py build/02.ipynb

Ne retient que des visages générés : ceux de CelebA ne sont pas redistribués ici.
"""

import base64
import io
import json
import sys
from pathlib import Path

from PIL import Image

FIGURES = {
    "dcgan-voir": "02_dcgan.png",
}


def main(notebook: Path) -> None:
    folder = Path(__file__).parent
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell.get("id") not in FIGURES:
            continue
        pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
        picture = Image.open(io.BytesIO(base64.b64decode("".join(pictures[-1])))).convert("RGB")
        path = folder / FIGURES[cell["id"]]
        # 128 couleurs : à l'œil, rien ne se perd, et le fichier pèse trois fois moins.
        picture.quantize(128).save(path, optimize=True)
        print(f"Écrit : imgs/{path.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
