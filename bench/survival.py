"""Ce qui survit à un disque qui s'abîme, à deux écrivains et aux arrêts brutaux : campagne complète.

    python bench/survival.py --flips 200 --truncations 200 --kills 200 --writers 45

- flips, truncations : un point de reprise dont un bit change, ou dont la fin manque ; il doit être refusé, ou le
  précédent repris, jamais lu de travers ;
- writers : deux processus écrivent le même point tant de secondes, avec verrous, puis sans (comme sur un Drive) ;
- kills : un petit entraînement arrêté tant de fois (SIGKILL, SIGTERM, Ctrl-C, deux Ctrl-C), pendant un
  téléchargement, la construction du cache, un pas ou un enregistrement, puis repris ; à la fin, tout l'état doit être,
  bit pour bit, celui du même entraînement jamais dérangé.

Sort avec le code 1 si quelque chose n'a pas survécu. Sous Windows, un seul arrêt : TerminateProcess.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_course.data import load_images
from gan_course.engine import checkpoint as engine
from gan_course.engine.checkpoint import Checkpoint, CheckpointError
from gan_course.engine.download import Wanted, fetch
from gan_course.models import dense
from gan_course.training import Recipe, train

FOREVER = 100_000  # pas : plus que la campagne n'en fera
PAYLOAD = random.Random(0).randbytes(3_000_000)
MOMENTS = ("téléchargement", "cache", "pas", "enregistrement")
STOPS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGINT SIGINT") if hasattr(signal, "SIGKILL") else ("terminate",)
DELAY = {"téléchargement": 1.2, "cache": 0.5, "pas": 0.6, "enregistrement": 0.4}  # secondes, au plus


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def read(path):
    with contextlib.redirect_stderr(io.StringIO()):  # la phrase qui annonce le précédent
        return Checkpoint(path, writer=False).load()


# L'enfant : un entraînement, avec ce qui le précède, ou un écrivain.


def training(folder, steps, every, url):
    """Télécharge, construit le cache, entraîne ; dit où il en est dans journal.txt."""
    with open(folder / "journal.txt", "w", encoding="utf-8", buffering=1) as journal:
        print("téléchargement", file=journal)
        wanted = Wanted(name="poids.bin", urls={"ici": url}, digest=hashlib.sha256(PAYLOAD).hexdigest())
        fetch([wanted], folder / "telecharges", "")
        print("cache", file=journal)
        images = load_images(folder.parent / "images", size=16, root=folder / "donnees")
        torch.manual_seed(0)
        g, d = dense.Generator((3, 16, 16), width=16), dense.Discriminator((3, 16, 16), width=16)
        recipe = Recipe(batch_size=32, penalty="r1", penalty_every=2)
        run = train(g, d, images, recipe, steps, folder / "run.pt", checkpoint_every=every, device="cpu")
        for progress in run:
            print("pas", progress.step, file=journal)


def writing(folder, name, locks):
    """Écrit sans fin des états dont tous les nombres sont égaux : un mélange se verrait."""
    if not locks:
        engine.lock = lambda file: None
    rng, model = random.Random(name), read(folder / "run.pt")
    while True:
        try:
            with Checkpoint(folder / "run.pt") as checkpoint:
                for _ in range(20):
                    mark = rng.random()
                    for tensor in (*model["generator"].values(), *model["ema"].values(), model["history"]):
                        tensor.fill_(mark)
                    checkpoint.save(model)
            time.sleep(0.02)  # à l'autre
        except CheckpointError as error:
            if locks and "Un autre entraînement" in str(error):
                (folder / f"refus-{name}").write_text(str(error), encoding="utf-8")
                time.sleep(0.01)
                continue
            raise


def is_mixed(state):
    mark = state["history"].flatten()[0]
    tensors = (*state["generator"].values(), *state["ema"].values(), state["history"])
    return not all(bool((t == mark.to(t.dtype)).all()) for t in tensors)


def child(*words):
    with open(Path(words[1], "erreurs.txt"), "w") as errors:
        command = [sys.executable, __file__, "--child", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)


# Le parent.


class Server(BaseHTTPRequestHandler):
    """Un serveur lent, qui sait reprendre un fichier en son milieu."""

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(PAYLOAD) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(PAYLOAD) - 1}/{len(PAYLOAD)}")
        self.end_headers()
        with contextlib.suppress(OSError):  # le client vient d'être tué
            for at in range(start, len(PAYLOAD), 50_000):
                self.wfile.write(PAYLOAD[at : at + 50_000])
                time.sleep(0.02)

    def log_message(self, *_):
        pass


def draw_images(folder, count=500):
    """Un dossier d'images de deux classes : assez pour que le cache prenne un moment."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / "ab"[i % 2] / f"{i:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(place, compress_level=1)


def damaged(content, kind, count):
    rng = random.Random(kind)
    for _ in range(count):
        if kind == "un bit changé":
            changed, place = bytearray(content), rng.randrange(8 * len(content))
            changed[place // 8] ^= 1 << place % 8
            yield bytes(changed)
        else:
            yield content[: rng.randrange(len(content))]


def damages(folder, kind, count):
    """Une ligne par situation, sans précédent puis avec : [épreuve, essais, survivants, détail]."""
    last, before = (read(folder / name) for name in ("run.pt", "run.previous.pt"))
    content, previous = (folder / "run.pt").read_bytes(), (folder / "run.previous.pt").read_bytes()
    for with_previous in (False, True):
        place = Path(tempfile.mkdtemp(dir=folder))
        if with_previous:
            (place / "run.previous.pt").write_bytes(previous)
        found = dict.fromkeys(("refusés", "précédent repris", "lus à l'identique", "FAUX"), 0)
        for changed in damaged(content, kind, count):
            (place / "run.pt").write_bytes(changed)
            try:
                state = read(place / "run.pt")
                identical, recovered = same(state, last), same(state, before)
                verdict = "lus à l'identique" if identical else "précédent repris" if recovered else "FAUX"
            except CheckpointError:
                verdict = "refusés"
            except Exception:  # une erreur qui n'est pas dite en français
                verdict = "FAUX"
            found[verdict] += 1
        detail = ", ".join(f"{n} {word}" for word, n in found.items() if n)
        title = kind + (", précédent intact" if with_previous else ", fichier seul")
        yield [title, count, count - found["FAUX"], detail]


def two_writers(folder, seconds, locks):
    """Deux écrivains, et un lecteur qui ne s'arrête pas : [épreuve, lectures, entières, détail]."""
    (folder / "run.previous.pt").unlink(missing_ok=True)
    writers = [child("writing", folder, name, int(locks)) for name in "ab"]
    reads = unreadable = mixed = 0
    ends = None
    seen = set()
    try:
        first = (folder / "run.pt").read_bytes()
        while ends is None or time.monotonic() < ends:
            if ends is None and (folder / "run.pt").read_bytes() != first:
                ends = time.monotonic() + seconds
            if ends is None:
                continue
            reads += 1
            try:
                state = read(folder / "run.pt")
                mixed += is_mixed(state)
                seen.add(float(state["history"].flatten()[0]))
            except (CheckpointError, OSError):
                unreadable += 1
        dead = sum(writer.poll() is not None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    refusals = len(list(folder.glob("refus-*")))
    detail = f"{unreadable} illisibles, {mixed} mêlés, {len(seen)} points différents, {dead} écrivain(s) tombé(s)"
    if locks:
        detail += f", {refusals} écrivain(s) refusé(s) tant que l'autre tenait la place"
    title = f"deux écrivains {seconds:g} s, {'avec' if locks else 'sans'} verrous"
    return [title, reads, reads - unreadable - mixed - dead, detail]


def wait_for(journal, word, process):
    """Attend que `word` soit écrit dans le journal ; rend les lignes lues."""
    lines = []
    while word not in [line.split()[0] for line in lines] and process.poll() is None:
        time.sleep(0.003)
        lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
        lines = [line for line in lines if line.strip()]
    return lines


def stop(process, how, rng):
    """Arrête le processus ; rend faux s'il a fallu s'y reprendre."""
    for name in how.split():
        with contextlib.suppress(OSError):  # déjà mort
            process.terminate() if name == "terminate" else process.send_signal(getattr(signal, name))
        time.sleep(rng.uniform(0, 0.05))
    try:
        process.wait(timeout=60)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def prepare(folder, moment):
    """Défait ce qu'il faut pour que le moment visé se produise."""
    (folder / "journal.txt").unlink(missing_ok=True)
    if moment == "téléchargement":
        (folder / "telecharges" / "poids.bin").unlink(missing_ok=True)
    if moment == "cache":
        shutil.rmtree(folder / "donnees", ignore_errors=True)


def kills(folder, count, url):
    """Une ligne par (arrêt, moment), puis celle de la comparaison finale."""
    rng, reached = random.Random(0), 0
    rows = {(how, moment): [0, 0, 0, []] for how in STOPS for moment in MOMENTS}  # essais, survivants, pas perdus…
    for _, (how, moment) in zip(range(count), itertools.cycle(rows)):
        prepare(folder, moment)
        every = 0.0 if moment == "enregistrement" else 0.2
        process = child("training", folder, FOREVER, every, url)
        wait_for(folder / "journal.txt", "pas" if moment == "enregistrement" else moment, process)
        time.sleep(rng.uniform(0, DELAY[moment]))
        running = process.poll() is None
        heard = stop(process, how, rng)
        try:
            state = read(folder / "run.pt")
            step = state["step"] if state else 0
            good = running and heard and step >= reached
        except CheckpointError:
            good, step = False, reached
        shown = [line.split()[1] for line in wait_for(folder / "journal.txt", "", process) if line[:4] == "pas "]
        row = rows[how, moment]
        row[0] += 1
        row[1] += good
        row[2] += max(0, int(shown[-1]) - step) if shown and "SIGINT" in how else 0
        if not running:  # il est mort tout seul
            row[3] += (folder / "erreurs.txt").read_text(errors="replace").split("\n")[-2:-1]
        reached = max(step, reached)
    for (how, moment), (tried, survived, lost, errors) in rows.items():
        if tried:
            detail = (f"{lost} pas perdus" if "SIGINT" in how else "") + " ; ".join(["", *errors])
            yield [f"{how} pendant : {moment}", tried, survived - bool(lost), detail]
    yield undisturbed(folder, reached + 5, url)


def undisturbed(folder, steps, url):
    """Finit l'entraînement malmené, en fait un autre d'une traite, et compare tout leur état."""
    calm = folder.with_name("calme")
    calm.mkdir()
    for place in (folder, calm):
        prepare(place, "téléchargement")
        child("training", place, steps, 1e9, url).wait()
    ends = [read(place / "run.pt") for place in (folder, calm)]
    for end in ends:
        end.pop("seconds")
    left = [file.name for file in folder.rglob("*") if file.name.endswith(".tmp")]
    whole = (folder / "telecharges" / "poids.bin").read_bytes() == PAYLOAD
    identical = same(*ends) and ends[0]["step"] == steps and whole
    detail = f"{steps} pas : poids, moyennes, optimiseurs, historique ; restes : {', '.join(left) or 'aucun'}"
    return ["repris, comparé à un entraînement calme", 1, int(identical), detail]


def campaign(options):
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "malmene")
        folder.mkdir()
        draw_images(Path(root, "images"))
        server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/poids.bin"
        other = Path(root, "fichier")
        other.mkdir()
        child("training", other, 3, 0.0, url).wait()
        yield from damages(other, "un bit changé", options.flips)
        yield from damages(other, "coupé", options.truncations)
        if options.writers:
            for locks in (True, False):
                yield two_writers(other, options.writers, locks)
        if options.kills:
            yield from kills(folder, options.kills, url)
        server.shutdown()


def main():
    if sys.argv[1:2] == ["--child"]:
        # Lancé à l'arrière-plan par un shell, il ignorerait Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)
        kind, folder, *rest = sys.argv[2:]
        if kind == "training":
            training(Path(folder), int(rest[0]), float(rest[1]), rest[2])
        else:
            writing(Path(folder), rest[0], bool(int(rest[1])))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200, help="bits changés")
    parser.add_argument("--truncations", type=int, default=200, help="fichiers coupés")
    parser.add_argument("--kills", type=int, default=200, help="arrêts d'un entraînement")
    parser.add_argument("--writers", type=float, default=45, help="secondes d'écriture à deux")
    torch.set_num_threads(1)
    failed = False
    print(f"{'épreuve':<42} {'essais':>7} {'réussis':>8}  détail")
    for title, tried, survived, detail in campaign(parser.parse_args()):
        failed |= survived < tried
        print(f"{title:<42} {tried:>7} {survived:>8}  {detail}{'' if survived == tried else '  <-- ÉCHEC'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
