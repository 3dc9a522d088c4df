"""Préparer 10 000 visages : l'archive lue par le paquet, contre les fichiers dépliés lus par torchvision.

    python bench/images.py [--rounds 5] [--count 10000] [--folder …]

Première fois : `load_images("celeba")` jusqu'au cache écrit, contre une époque de DataLoader (ImageFolder, Resize,
CenterCrop, ToTensor, Normalize, 2 processus). Époques suivantes : `ImageSet.batch` contre le même DataLoader. Les
deux côtés alternent, chacun dans un processus neuf ; on donne les médianes, les rapports et la mémoire de pointe.

`--folder` : où est le CelebA officiel ; sinon ../shared/data, s'il est là. Cet extrait est réduit de moitié :
`--official-size` ramène d'abord ses images aux 178 × 218 officiels.
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from statistics import median

SIZE, BATCH = 64, 64
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "deplier.py"


def ours(folder: Path, count: int) -> dict:
    """Prépare puis relit, dans ce processus ; secondes."""
    from gan_course.data import load_images

    with tempfile.TemporaryDirectory() as root:
        start = time.perf_counter()
        images = load_images("celeba", size=SIZE, root=root, folder=folder, n=count, download=False)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for step in range(len(images) // BATCH):
            images.batch(step, BATCH)
        return {"first": first, "later": time.perf_counter() - start}


def memory(folder: Path, count: int) -> dict:
    """Mémoire de pointe de la préparation, Mio : avec les processus qui décodent, pages communes comptées une fois."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            peak = max(peak, sum(map(proportional_kib, processes)))

    watcher = threading.Thread(target=watch)
    with tempfile.TemporaryDirectory() as root:
        from gan_course.data import load_images

        watcher.start()
        load_images("celeba", size=SIZE, root=root, folder=folder, n=count, download=False)
        done.set()
    watcher.join()
    return {"peak": peak / 1024}


def proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # il vient de finir
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def theirs(folder: Path, count: int) -> dict:
    """Une époque d'ImageFolder par DataLoader à 2 processus ; la suivante coûte autant, on la mesure aussi."""
    import torch
    from torchvision import datasets, transforms

    steps = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.5,) * 3, (0.5,) * 3))
    dataset = datasets.ImageFolder(folder / "extracted", transforms.Compose(steps))
    subset = torch.utils.data.Subset(dataset, range(count))
    loader = torch.utils.data.DataLoader(subset, BATCH, shuffle=True, num_workers=2, drop_last=True)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        for _batch in loader:
            pass
        times.append(time.perf_counter() - start)
    return {"first": times[0], "later": times[1]}


def prepared(folder: Path | None, count: int, official_size: bool, work: Path) -> Path:
    """Un dossier de travail avec l'archive, les attributs, et les images dépliées pour torchvision."""
    if folder is None:
        if not SHARED.is_file():
            sys.exit("Donnez --folder : le dossier où sont img_align_celeba.zip et list_attr_celeba.txt.")
        subprocess.run([sys.executable, SHARED, work, "celeba"], check=True, stdout=subprocess.DEVNULL)
        folder = work / "celeba"
    target = work / "bench"
    extracted = target / "extracted" / "img_align_celeba"
    extracted.mkdir(parents=True)
    shutil.copy(folder / "list_attr_celeba.txt", target)
    with (
        zipfile.ZipFile(folder / "img_align_celeba.zip") as source,
        zipfile.ZipFile(target / "img_align_celeba.zip", "w") as archive,
    ):
        for name in sorted(n for n in source.namelist() if n.endswith(".jpg"))[:count]:
            content = enlarged(source.read(name)) if official_size else source.read(name)
            archive.writestr(f"img_align_celeba/{Path(name).name}", content)
            (extracted / Path(name).name).write_bytes(content)
    return target


def enlarged(content: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).resize((178, 218)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def in_new_process(side: str, folder: Path, count: int) -> dict:
    command = [sys.executable, __file__, "--side", side, "--folder", folder, "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--official-size", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs", "memory"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        sides = {"ours": ours, "theirs": theirs, "memory": memory}
        print(json.dumps(sides[options.side](options.folder, options.count)))
        return
    with tempfile.TemporaryDirectory() as work:
        folder = prepared(options.folder, options.count, options.official_size, Path(work))
        runs = [
            (in_new_process("ours", folder, options.count), in_new_process("theirs", folder, options.count))
            for _ in range(options.rounds)
        ]
        peak = in_new_process("memory", folder, options.count)["peak"]
    print(f"{os.cpu_count()} cœurs ({platform.machine()}), charge {os.getloadavg()[0]:.1f}, {options.rounds} passages")
    for phase, label in (("first", "première fois"), ("later", "époque suivante")):
        speeds = [[options.count / run[phase] for run in side] for side in zip(*runs)]
        ratios = [mine / usual for mine, usual in zip(*speeds)]
        print(
            f"{label} : {median(speeds[0]):.0f} images/s contre {median(speeds[1]):.0f} ; rapport "
            f"{median(ratios):.1f} (de {min(ratios):.1f} à {max(ratios):.1f})"
        )
    print(f"mémoire de pointe pendant la préparation : {peak:.0f} Mio")


if __name__ == "__main__":
    main()
