"""Temps de `import gan_course` : ce qu'il ajoute à un Python nu, médiane de 15 lancements alternés."""

import subprocess
import sys
import time
from statistics import median


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


pairs = [(seconds("import gan_course"), seconds("pass")) for _ in range(15)]
print(f"import gan_course : {1000 * median(a - b for a, b in pairs):.0f} ms de plus qu'un Python nu")
