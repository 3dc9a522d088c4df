"""Écrit bench/RESULTS.md et bench/vitesse.png : make bench, sur une machine sans autre travail."""

import argparse
import os
import platform
import time
from pathlib import Path

import evaluation
import speed
import torch

from gan_course.engine.device import bf16_instructions
from gan_course.figures import finish_axes, panels

HERE = Path(__file__).resolve().parent


def machine():
    """Le processeur, ses cœurs, ses instructions bf16, et les versions."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    half = bf16_instructions() or "pas de bf16"
    return (
        f"{name} ({half}), {os.cpu_count()} cœurs, {torch.get_num_threads()} fils, torch {torch.__version__}, "
        f"Python {platform.python_version()}, charge au départ {os.getloadavg()[0]:.1f}"
    )


def draw(rows, path):
    """Une barre par GAN et par précision : le rapport médian au pair, et son étendue."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure, ax = panels(1, 1, width=8, height=3.4)
    for k, (precision, label) in enumerate((("float32", "float32"), ("mixed", "précision mixte"))):
        chosen = [next(r for r in rows if r["name"] == name and r["precision"] == precision) for name in names]
        ratios = [row["ratio"] for row in chosen]
        spread = [[r["ratio"] - r["low"] for r in chosen], [r["high"] - r["ratio"] for r in chosen]]
        ax.bar([i + 0.38 * k for i in range(len(names))], ratios, 0.36, yerr=spread, capsize=3, label=label)
    ax.axhline(1, color="black", linewidth=1)
    finish_axes(ax)
    ax.set_xticks([i + 0.19 for i in range(len(names))], names)
    ax.set(ylabel="fois la vitesse du pair")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    described, start = machine(), time.perf_counter()
    costs = evaluation.table(evaluation.frechet_duel(options.rounds), evaluation.prices(options.rounds))
    rows, peaks = speed.measure(blocks=options.blocks)
    draw(rows, HERE / "vitesse.png")
    minutes = (time.perf_counter() - start) / 60
    text = (
        "# Vitesse\n\n"
        "Écrit par `make bench`, qui le réécrit. Ce que chaque colonne veut dire est en tête de `speed.py` et\n"
        "d'`evaluation.py`.\n\n"
        f"{time.strftime('%d/%m/%Y')}, en {minutes:.0f} min : {described}.\n\n"
        f"{speed.table(rows, peaks)}\n\n![Rapports au pair](vitesse.png)\n\n{costs}\n"
    )
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
