"""Le fichier d'un entraînement, et la reprise : exacte au bit près, ou refusée, quel que soit l'arrêt."""

import copy
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_course.data import ImageSet, gaussian_ring, load_images
from gan_course.engine import checkpoint as checkpoint_module
from gan_course.engine.checkpoint import SCHEMA, Checkpoint, CheckpointError, describe_architecture
from gan_course.models import conditional, dcgan, dense, points
from gan_course.training import Recipe, train

RING = gaussian_ring(2000)
DIGITS = load_images("digits")
# Pénalité paresseuse, EMA, Dropout et BatchNorm : tout ce qui a un état ou tire au hasard.
RECIPES = {
    "dense": (dense, DIGITS, dense.RECIPE),
    "conditional": (conditional, DIGITS, conditional.RECIPE),
    "points": (points, RING, replace(points.RECIPE, critic_steps=2, batch_size=64)),
    "wgan-gp": (points, RING, Recipe(loss="wasserstein", penalty="gradient", critic_steps=2)),
}


def pair(module):
    torch.manual_seed(3)
    shape = {} if module is points else {"image_shape": (1, 28, 28)}
    return module.Generator(width=16, **shape), module.Discriminator(width=16, **shape)


def read(path):
    return Checkpoint(path, writer=False).load()


def everything(progress):
    nets = (progress.generator, progress.discriminator, progress.ema)
    return [t.clone() for n in nets for t in n.state_dict().values()] + [progress.history.rows.clone()]


def run(name, steps, path=None, **options):
    module, images, recipe = RECIPES[name]
    return list(train(*pair(module), images, recipe, steps, checkpoint=path, **options))[-1]


@pytest.mark.parametrize("name", RECIPES)
def test_n_plus_n_is_bitwise_2n(name, tmp_path):
    whole = everything(run(name, 14))
    run(name, 7, tmp_path / "run.pt")
    torch.rand(5)  # du hasard consommé entre-temps ne doit rien changer
    resumed = run(name, 14, tmp_path / "run.pt")
    assert resumed.step == 14
    assert all(torch.equal(a, b) for a, b in zip(whole, everything(resumed), strict=True))


def test_a_finished_run_yields_its_last_progress_once(tmp_path):
    first = run("points", 5, tmp_path / "run.pt")
    again = list(train(*pair(points), RING, RECIPES["points"][2], 5, checkpoint=tmp_path / "run.pt"))
    assert [p.step for p in again] == [5] and again[0].d_loss == first.d_loss


@pytest.mark.parametrize("leave", ["break", "exception"])
def test_leaving_the_loop_saves(leave, tmp_path):
    path = tmp_path / "deep" / "er" / "run.pt"
    try:
        for progress in train(*pair(points), RING, Recipe(), 50, checkpoint=path):
            if progress.step == 6:
                if leave == "break":
                    break
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert read(path)["step"] == 6


def test_ctrl_c_finishes_the_step_saves_and_says_so(tmp_path):
    class Interrupting(type(RING)):
        def batch(self, step, batch_size=64, seed=0):
            if step == 4:
                os.kill(os.getpid(), signal.SIGINT)  # au milieu d'un pas
            return super().batch(step, batch_size, seed)

    images = Interrupting(RING.points, RING.labels, RING.centers, RING.std)
    with pytest.raises(KeyboardInterrupt, match="interrompu au pas 5 sur 50 : tout est enregistré dans"):
        list(train(*pair(points), images, Recipe(), 50, checkpoint=tmp_path / "run.pt"))
    assert read(tmp_path / "run.pt")["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole = list(train(*pair(points), RING, Recipe(), 9))[-1]
    resumed = list(train(*pair(points), RING, Recipe(), 9, checkpoint=tmp_path / "run.pt"))[-1]
    assert all(torch.equal(a, b) for a, b in zip(everything(whole), everything(resumed), strict=True))


KILLED_TWENTY_TIMES = """
    import os, random, signal, sys, time
    import torch
    torch.set_num_threads(1)
    from gan_course.data import gaussian_ring
    from gan_course.models import points
    from gan_course.engine.checkpoint import Checkpoint
    from gan_course.training import Recipe, train

    path, ring = sys.argv[1], gaussian_ring(2000)

    def go(steps, checkpoint):
        torch.manual_seed(0)
        g, d = points.Generator(width=16), points.Discriminator(width=16)
        # Un enregistrement à chaque pas : le coup tombe souvent pendant une écriture.
        recipe = Recipe(batch_size=32, penalty="r1", penalty_every=2)
        return list(train(g, d, ring, recipe, steps, checkpoint=checkpoint, checkpoint_every=0))[-1]

    def in_child(task):
        pid = os.fork()
        if pid == 0:
            task()
            os._exit(0)
        return pid

    go(1, None)  # ce que torch importe au premier pas n'est pas à refaire vingt fois
    random.seed(0)
    kills, reached = 0, []
    while kills < 20:
        pid = in_child(lambda: go(10**6, path))
        time.sleep(random.uniform(0.05, 0.4))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        kills += 1
        if os.path.exists(path):
            reached.append(Checkpoint(path, writer=False).load()["step"])
    assert reached == sorted(reached) and reached[-1] > 20, reached
    steps = reached[-1] + 3
    resumed, whole = go(steps, path), go(steps, None)
    for a, b in zip(whole.ema.state_dict().values(), resumed.ema.state_dict().values()):
        assert torch.equal(a, b)
    assert torch.equal(whole.history.rows, resumed.history.rows)
    assert not [f for f in os.listdir(os.path.dirname(path)) if f.endswith(".tmp")]
    print("pas atteints", reached)
"""


@pytest.mark.lent
@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL et fork n'existent pas sous Windows")
def test_killed_twenty_times_and_still_exact(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED_TWENTY_TIMES), encoding="utf-8")
    (tmp_path / "runs").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, str(script), str(tmp_path / "runs" / "run.pt")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


# Le fichier seul, sans entraînement.


def state(step=1):
    """L'état complet d'un petit entraînement, différent à chaque pas."""
    g, d = points.Generator(width=8), points.Discriminator(width=8)
    g_optimizer, d_optimizer = (torch.optim.Adam(net.parameters()) for net in (g, d))
    g(torch.randn(4, g.latent_dim)).sum().backward()
    g_optimizer.step()
    parts = dict(generator=g, discriminator=d, ema=g, g_optimizer=g_optimizer, d_optimizer=d_optimizer)
    return {name: part.state_dict() for name, part in parts.items()} | dict(
        step=step, seconds=0.5, history=torch.full((step, 5), float(step)), recipe={"betas": (0.5, 0.9)}, scaler={},
        architecture={"generator": describe_architecture(g), "discriminator": describe_architecture(d)},
        data="anneau", seed=0, world_size=1,
    )  # fmt: skip


def write(path, content, save=torch.save):
    """Écrit `content` comme le ferait Checkpoint, sans rien vérifier : torch.save, puis le condensé en commentaire."""
    buffer = io.BytesIO()
    save(content, buffer)
    comment = b"gan_course sha256 " + hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    path.write_bytes(buffer.getvalue()[:-2] + len(comment).to_bytes(2, "little") + comment)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.pt"


@pytest.fixture
def without_links(monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def without_locks(monkeypatch):
    monkeypatch.setattr(checkpoint_module, "lock", lambda file: None)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork n'existe pas sous Windows")


@contextmanager
def other_process(task):
    """Un autre processus, qui a fini task() quand on entre, en tient le résultat, et meurt net quand on sort."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)  # les fils de calcul du parent n'ont pas survécu : les attendre serait sans fin
            kept = task()
            os.write(writing, f"{kept} ".encode())
            time.sleep(60)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        yield pid, os.read(reading, 1000).decode().strip()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)


def refusal(task):
    try:
        task()
    except CheckpointError as error:
        return str(error)
    return ""


def test_what_is_saved_is_read_back_and_torch_reads_it_too(path):
    saved = state(2)
    with Checkpoint(path) as checkpoint:
        assert checkpoint.load() is None
        checkpoint.save(saved)
        assert same(checkpoint.load(), {"format": 1, **saved})
    assert torch.load(path, weights_only=True)["step"] == 2 and zipfile.ZipFile(path).testzip() is None


def test_no_changed_bit_and_no_cut_goes_unnoticed(path):
    """En-têtes du zip compris, que ses propres CRC ne couvrent pas."""
    Checkpoint(path).save(state())
    content, draw = path.read_bytes(), random.Random(0)
    places = [draw.randrange(8 * len(content)) for _ in range(200)]
    places += [8 * i + draw.randrange(8) for i in range(len(content) - 300, len(content))]
    damaged = []
    for place in places:
        damaged.append(bytearray(content))
        damaged[-1][place // 8] ^= 1 << place % 8
    damaged += [content[: draw.randrange(len(content))] for _ in range(100)]
    damaged += [b"", content[:10], content[:-1], content + b"\0"]
    for changed in damaged:
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"(illisible|abîmé).*Supprimez-le pour repartir de zéro"):
            read(path)


@pytest.mark.parametrize("links", [True, False])
def test_the_one_before_is_kept_and_the_name_never_disappears(links, path, monkeypatch, request):
    if not links:
        request.getfixturevalue("without_links")
    seen, replace = [], os.replace

    def looking(new, old):
        seen.append(path.exists())
        replace(new, old)
        seen.append(path.exists())

    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    monkeypatch.setattr(os, "replace", looking)
    for step in (2, 3, 4):
        checkpoint.save(state(step))
        assert read(path)["step"] == step and read(path.with_name("run.previous.pt"))["step"] == step - 1
    assert all(seen) and len(seen) == 12
    assert sorted(os.listdir(path.parent)) == [".run.pt.lock", "run.previous.pt", "run.pt"]


def test_a_save_cut_between_the_two_names_is_followed_by_others(path):
    """Le dernier et le précédent sont alors un seul fichier à deux noms."""
    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    os.link(path, path.with_name("run.previous.pt"))
    checkpoint.save(state(2))
    checkpoint.save(state(3))
    assert read(path)["step"] == 3 and read(path.with_name("run.previous.pt"))["step"] == 2


def test_a_damaged_last_one_falls_back_to_the_one_before(path, capsys):
    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    checkpoint.save(state(2))
    checkpoint.close()
    path.write_bytes(path.read_bytes()[:-100])
    checkpoint = Checkpoint(path)
    assert checkpoint.load()["step"] == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "run.pt est illisible ou tronqué" in said and "run.previous.pt, au pas 1" in said
    checkpoint.save(state(2))  # le point abîmé ne doit pas chasser le bon
    assert read(path)["step"] == 2 and read(path.with_name("run.previous.pt"))["step"] == 1


def test_two_damaged_files_are_both_named(path):
    path.write_bytes(b"abc")
    path.with_name("run.previous.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run\.pt est illis.*run\.previous\.pt est illis.*Supprimez"):
        read(path)


def test_a_deleted_last_one_means_from_scratch_and_says_so(path, capsys):
    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    checkpoint.save(state(2))
    path.unlink()
    assert checkpoint.load() is None and "on part de zéro" in capsys.readouterr().err
    checkpoint.save(state(1))
    assert read(path)["step"] == 1


def test_a_failed_write_leaves_the_previous_file(path, monkeypatch):
    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))

    def full_disk(content, file):
        file.write(b"debut")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", full_disk)
    with pytest.raises(CheckpointError, match="Le précédent, s'il existait, est intact. Libérez de la place"):
        checkpoint.save(state(2))
    monkeypatch.undo()
    assert read(path)["step"] == 1 and sorted(os.listdir(path.parent)) == [".run.pt.lock", "run.pt"]
    checkpoint.save(state(2))
    assert read(path)["step"] == 2


@needs_fork
def test_a_disk_that_really_refuses_bytes_leaves_the_previous_file(path):
    import resource

    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, usual[1]))
    try:
        with pytest.raises(CheckpointError, match="Impossible d'écrire"):
            checkpoint.save(state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert read(path)["step"] == 1 and sorted(os.listdir(path.parent)) == [".run.pt.lock", "run.pt"]


def test_a_checkpoint_executes_nothing(path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(path.with_name("piraté")),))

    for save in (write, lambda path, content: torch.save(content, path)):
        save(path, {"format": 1, "x": Evil()})
        with pytest.raises(CheckpointError):
            read(path)
        assert not path.with_name("piraté").exists()


def test_other_files_are_refused(path):
    torch.save({"weights": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="n'est pas un point de reprise"):
        read(path)
    write(path, {"weights": torch.ones(3)})
    with pytest.raises(CheckpointError, match="n'est pas un point de reprise"):
        read(path)
    write(path, points.Generator())
    with pytest.raises(CheckpointError, match="autre chose que des tenseurs"):
        read(path)


def test_a_newer_format_is_refused_rather_than_the_one_before_resumed(path):
    write(path, {"format": 99})
    write(path.with_name("run.previous.pt"), {"format": 1, **state()})
    with pytest.raises(CheckpointError, match="plus récente.*99.*Mettez gan_course à jour"):
        read(path)


def test_bombs_are_refused_unread(path):
    def deflated(content, file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(50_000_000))

    write(path, None, save=deflated)
    with pytest.raises(CheckpointError, match="son contenu annoncé dépasse sa taille"):
        read(path)
    with open(path, "wb") as file:
        file.truncate(50 * 10**9)  # creux : aucun octet sur le disque
    with pytest.raises(CheckpointError, match="illisible ou tronqué"):
        read(path)


def bad(**change):
    """L'état, une clé changée."""
    return state(2) | change


def spoiled(part, value):
    spoilt = state(2)
    tensor = next(t for t in spoilt[part].values() if isinstance(t, torch.Tensor))
    tensor.view(-1)[1] = value
    return spoilt


INVALID = {
    **{f"sans {key}": (lambda key=key: {k: v for k, v in state(2).items() if k != key}, f"« {key} »")
       for key in SCHEMA if key != "format"},
    **{f"{key} d'un autre type": (lambda key=key: bad(**{key: {1, 2}}), f"« {key} »")
       for key in SCHEMA if key != "format"},
    "pas négatif": (lambda: bad(step=-1), "pour -1 pas"),
    "pas booléen": (lambda: bad(step=True), "« step »"),
    "historique plat": (lambda: bad(history=torch.zeros(10)), "« history »"),
    "historique trop court": (lambda: bad(history=torch.zeros(1, 5)), r"« history » est de forme \(1, 5\) pour 2 pas"),
    "architecture d'un seul": (lambda: bad(architecture={"generator": []}), "« architecture »"),
    "tenseur immense": (lambda: bad(ema={"x": torch.zeros(1).expand(10**13)}), "sans contenu dans ema : x"),
    "recouvrement immense": (
        lambda: bad(ema={"x": torch.zeros(20_001).as_strided((10_000, 10_000), (1, 1))}),
        "sans contenu dans ema : x"),
    "NaN": (lambda: spoiled("generator", float("nan")), r"contient des NaN dans generator : \w+\.0\.weight"),
    "infini": (lambda: spoiled("discriminator", -float("inf")), "nombres infinis dans discriminator"),
    "NaN dans Adam": (
        lambda: bad(g_optimizer={"state": {0: {"exp_avg": torch.tensor([0.0, float("nan")])}}, "param_groups": []}),
        "NaN dans g_optimizer : state.0.exp_avg"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_state_is_refused_in_french_read_or_written(name, path):
    make, words = INVALID[name]
    torch.manual_seed(0)
    invalid = {"format": 1, **make()}
    write(path, invalid)
    with pytest.raises(CheckpointError, match=words):
        read(path)
    path.unlink()
    checkpoint = Checkpoint(path)
    checkpoint.save(state(1))
    with pytest.raises(CheckpointError, match=f"{words}.*est intact"):
        checkpoint.save(invalid)
    assert read(path)["step"] == 1


def test_large_but_finite_weights_are_not_infinite(path):
    large = state()
    next(iter(large["generator"].values())).fill_(3e38)  # leur somme déborde
    Checkpoint(path).save(large)
    assert read(path)["step"] == 1


@needs_fork
def test_another_process_is_refused_until_the_first_is_gone(path):
    Checkpoint(path).save(state(1))
    with other_process(lambda: Checkpoint(path)):
        assert f"Un autre entraînement écrit déjà {path}" in refusal(lambda: Checkpoint(path))
        assert read(path)["step"] == 1  # lire reste permis
    with Checkpoint(path) as checkpoint:  # tué net, l'autre n'a rien rendu ; son verrou est mort avec lui
        checkpoint.save(state(2))
        with other_process(lambda: refusal(lambda: Checkpoint(path))) as (_, said):
            assert "écrit déjà" in said
    with other_process(lambda: refusal(lambda: Checkpoint(path))) as (_, said):
        assert said == ""


@needs_fork
def test_in_one_process_the_newer_takes_the_place_over(path):
    older = Checkpoint(path)
    older.save(state(1))
    newer = Checkpoint(path)
    assert older.save(state(2)), "tant qu'il n'a pas commencé, le nouveau n'écarte personne"
    newer.claim()
    assert newer.save(state(5)) and not older.save(state(3))
    assert read(path)["step"] == 5
    older.close()
    del older
    newer.save(state(6))
    with other_process(lambda: refusal(lambda: Checkpoint(path))) as (_, said):
        assert "écrit déjà" in said and read(path)["step"] == 6
    del newer  # un entraînement oublié rend sa place
    with other_process(lambda: refusal(lambda: Checkpoint(path))) as (_, said):
        assert said == ""


@needs_fork
def test_a_refused_resume_keeps_no_lock(path):
    list(train(*pair(points), RING, Recipe(), 2, checkpoint=path))
    with pytest.raises(CheckpointError, match="autre recette") as kept:  # un carnet garde l'erreur, et sa trace
        train(*pair(points), RING, Recipe(batch_size=32), 4, checkpoint=path)
    with other_process(lambda: refusal(lambda: Checkpoint(path))) as (_, said):
        assert said == "" and kept


@needs_fork
def test_a_forked_child_does_not_write_in_its_parent_s_place(path):
    checkpoint = Checkpoint(path)
    checkpoint.save(state(3))
    with other_process(lambda: checkpoint.save(state(1))):
        pass
    assert read(path)["step"] == 3


@needs_fork
@pytest.mark.lent
def test_two_writers_without_locks_never_mix(path, without_locks):
    """Sur Drive, rien n'empêche deux écrivains : chaque point lu doit être, entier, celui de l'un ou de l'autre."""

    def write_forever(step):
        checkpoint, mine = Checkpoint(path), state(step)
        while True:
            checkpoint.save(mine)

    children = []
    for step in (1, 2):
        pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)
            torch.manual_seed(step)
            write_forever(step)
        children.append(pid)
    try:
        expected = {}
        for step in (1, 2):
            torch.manual_seed(step)
            expected[step] = {"format": 1, **state(step)}
        while not path.exists():
            time.sleep(0.01)
        found = [read(path) for _ in range(300)]
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert all(same(one, expected[one["step"]]) for one in found) and {one["step"] for one in found} == {1, 2}


@pytest.mark.parametrize("locks", [True, False])
def test_what_killed_processes_left_is_removed(locks, path, request):
    if not locks:
        request.getfixturevalue("without_locks")
    names = ["run.pt.0123abcd.tmp", "run.pt.89abcdef.tmp", "run.pt.notes", "a.pt.0123abcd.tmp"]
    for name in names:
        path.with_name(name).touch()
    os.utime(path.with_name(names[0]), (0, 0))
    Checkpoint(path).save(state())
    left = names[2:] if locks else names[1:]  # sans verrou, le récent est peut-être d'un vivant
    assert sorted(os.listdir(path.parent)) == sorted([*left, ".run.pt.lock", "run.pt"])


@pytest.mark.parametrize("name", ["", ".", "runs/", "nul\0", "x" * 250, True, None, b"a.pt", "~nul/a.pt"], ids=repr)
def test_a_checkpoint_must_be_a_file_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r'reçu ; il faut un nom de fichier, par exemple "runs/gan.pt"'):
        Checkpoint(name)
    assert os.listdir(tmp_path) == []


def test_train_refuses_a_bad_name_before_training(tmp_path):
    with pytest.raises(CheckpointError, match="et non un dossier"):
        train(*pair(points), RING, Recipe(), 1, checkpoint=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pas de tubes nommés sous Windows")
def test_a_pipe_never_blocks(path):
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="un nom de fichier"):
        Checkpoint(path)
    path.unlink()
    checkpoint = Checkpoint(path)
    checkpoint.save(state())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="pas un fichier ordinaire"):
        checkpoint.load()


def test_a_folder_that_cannot_be_written_is_refused_at_once(path, monkeypatch):
    path.with_name("runs").write_text("un fichier, pas un dossier")
    with pytest.raises(CheckpointError, match="Impossible d'écrire dans le dossier .*runs"):
        Checkpoint(path.with_name("runs") / "a.pt")
    Checkpoint(path).save(state(4))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint_module.os, "open", refuse)
    with pytest.raises(CheckpointError, match="Impossible d'écrire dans le dossier"):
        Checkpoint(path.with_name("autre.pt"))
    assert Checkpoint(path).load()["step"] == 4  # relire un point d'un dossier protégé reste permis


def test_the_file_stays_where_it_was_named(tmp_path, monkeypatch):
    """Ni un changement de dossier au milieu de l'entraînement, ni un lien, ne le déplacent."""
    (tmp_path / "ailleurs").mkdir()
    (tmp_path / "lien.pt").symlink_to(tmp_path / "ailleurs" / "vrai.pt")
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("lien.pt")
    monkeypatch.chdir("/")
    checkpoint.save(state())
    assert (tmp_path / "lien.pt").is_symlink() and read(tmp_path / "ailleurs" / "vrai.pt")["step"] == 1


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Checkpoint("~/runs/a.pt").save(state())
    assert (tmp_path / "runs" / "a.pt").exists()


# Reprendre : seulement le même entraînement.


def other_run(**change):
    """Un second entraînement qui diffère du premier en un point, sur le même fichier."""
    base = dict(generator=None, discriminator=None, images=DIGITS, recipe=Recipe(), steps=3, seed=0)
    g, d = pair(dcgan)
    return base | {"generator": g, "discriminator": d} | change


@pytest.mark.parametrize(
    "change,words",
    [
        (dict(recipe=Recipe(loss="hinge")), "autre recette : loss = 'non_saturating' dans le fichier, 'hinge' ici"),
        (dict(recipe=Recipe(g_lr=1e-3)), "g_lr = 0.0002 dans le fichier, 0.001 ici"),
        (dict(generator=dense.Generator()), "autre générateur : .*dans le fichier"),
        (dict(discriminator=dcgan.Discriminator((1, 28, 28), width=8)), r"autre discriminateur : .*\[16, 1"),
        (
            dict(generator=dcgan.Generator((1, 28, 28), width=16, upsampling="resize", kernel_size=3)),
            "autre générateur",
        ),
        (dict(images=DIGITS.select([7])), "autres images"),
        (dict(seed=1), "autre graine : 0 dans le fichier, 1 ici"),
    ],
    ids=lambda v: "" if isinstance(v, str) else next(iter(v)),
)
def test_another_run_is_refused_naming_the_difference(change, words, tmp_path):
    path = tmp_path / "run.pt"
    list(train(**other_run(), checkpoint=path))
    before = path.read_bytes()
    g = change.get("generator", pair(dcgan)[0])
    untouched = copy.deepcopy(g.state_dict())
    arguments = other_run(**change) | {"generator": g}
    with pytest.raises(CheckpointError, match=words):
        train(**arguments, checkpoint=path)
    assert path.read_bytes() == before
    assert all(torch.equal(a, b) for a, b in zip(untouched.values(), g.state_dict().values()))


def test_a_file_older_than_a_setting_means_its_default(tmp_path):
    path = tmp_path / "run.pt"
    list(train(**other_run(), checkpoint=path))
    state = read(path)
    del state["recipe"]["reconstruction"], state["recipe"]["cycle"]
    write(path, state)
    *_, progress = train(**other_run(steps=4), checkpoint=path)
    assert progress.step == 4
    del state["recipe"]["g_lr"]
    write(path, state)
    with pytest.raises(CheckpointError, match="g_lr = 0.0002 dans le fichier, 0.001 ici"):
        train(**other_run(recipe=Recipe(g_lr=1e-3)), checkpoint=path)


def test_lucky_numbers_do_not_share_a_checkpoint(tmp_path):
    """Deux classes d'un même jeu, même forme, mêmes réseaux : reprendre l'une sur l'autre n'aurait aucun sens."""
    g, d = pair(dense)
    list(train(g, d, DIGITS.select([3]), Recipe(), 2, checkpoint=tmp_path / "run.pt"))
    with pytest.raises(CheckpointError, match="autres images"):
        train(g, d, DIGITS.select([7]), Recipe(), 2, checkpoint=tmp_path / "run.pt")
    assert isinstance(DIGITS.select([3]), ImageSet)


