"""Décisions de calcul, et plusieurs processus sous torchrun."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from gan_course.engine import device
from gan_course.engine.device import choose_compute, choose_dtype

ROOT = Path(__file__).resolve().parent.parent


def test_cpu_is_the_reference():
    compute = choose_compute("cpu")
    assert compute.dtype is None and (compute.rank, compute.world_size) == (0, 1)
    assert "float32" in compute.reason and not compute.grad_scaler().is_enabled()


@pytest.mark.parametrize("amx,avx,expected", [(1, 1, "AMX"), (0, 1, "AVX512-BF16"), (0, 0, None)])
def test_mixed_takes_bf16_on_a_cpu_only_where_it_is_fast(amx, avx, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx), raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx), raising=False)
    compute = choose_compute("cpu", "mixed")
    assert compute.dtype == (torch.bfloat16 if expected else None)
    assert "16 bits" in compute.reason and (expected or "ne gagne rien") in compute.reason


@pytest.mark.parametrize("native,expected", [(True, torch.bfloat16), (False, torch.float16)])
def test_a_t4_that_emulates_bf16_gets_fp16(native, expected, monkeypatch):
    def supported(including_emulation=True):
        return native or including_emulation  # une T4 répond oui par émulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: "Tesla T4")
    dtype, reason = choose_dtype(torch.device("cuda"), "auto")
    assert dtype == expected and "Tesla T4" in reason


def test_images_go_to_the_gpu_only_if_they_fit(monkeypatch):
    class Images:
        images = torch.zeros(1000, dtype=torch.uint8)

        def to(self, where):
            return ("déplacé", where)

    compute = device.Compute(torch.device("cuda"), None, torch.channels_last, 0, 1, "")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: (10_000, 10_000))
    assert compute.hold(Images())[0] == "déplacé"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: (2_000, 10_000))
    assert isinstance(compute.hold(Images()), Images)


TWO_PROCESSES = """
    import os, signal, sys, torch
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    import torch.distributed as dist
    from gan_course.data import gaussian_ring
    from gan_course.models import points
    from gan_course.training import Recipe, train

    def go(steps):
        # Des poids de départ différents : la boucle doit donner à tous ceux du premier.
        torch.manual_seed(int(__import__("os").environ["RANK"]))
        g, d = points.Generator(width=16), points.Discriminator(width=16)
        recipe = Recipe(batch_size=64, penalty="gp", penalty_every=2)
        return list(train(g, d, ring, recipe, steps, checkpoint=sys.argv[1], device="cpu"))[-1]

    ring = gaussian_ring(2000)
    go(3)
    dist.barrier()
    last = go(6)
    for tensor in last.ema.state_dict().values():
        mine, copies = tensor.clone(), [torch.empty_like(tensor) for _ in range(2)]
        dist.all_gather(copies, mine)
        assert torch.equal(*copies), "les processus ont divergé"
    assert last.images_seen == 6 * 64 and last.step == 6
    # Ctrl-C, reçu d'un seul processus entre deux pas : tous finissent le même, et le premier l'enregistre.
    rank = dist.get_rank()
    try:
        for progress in train(points.Generator(width=16), points.Discriminator(width=16), ring, Recipe(batch_size=64),
                              10**6, checkpoint=sys.argv[1] + ".2", device="cpu"):
            if rank == 1 and progress.step == 4:
                os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt as stop:
        assert "interrompu au pas 5" in str(stop) and "tout est enregistré" in str(stop), stop
    else:
        raise AssertionError("pas interrompu")
    dist.barrier()
    assert torch.load(sys.argv[1] + ".2", weights_only=True)["step"] == 5
    dist.destroy_process_group()
"""


SAME_WEIGHTS = """
    import sys
    import torch
    torch.set_num_threads(1)
    from torch import nn
    from gan_course.data import load_images
    from gan_course.engine import checks
    from gan_course.models import dcgan
    from gan_course.penalties import input_gradient
    from gan_course.training import Recipe, train

    def on_segments(discriminator, real, fake, labels=None):
        # WGAN-GP, où l'ε de chaque image ne dépend que d'elle : tiré au hasard, il dépendrait du rang.
        epsilon = real.flatten(1).sum(1).mul(1e3).frac().abs().view(-1, *[1] * (real.dim() - 1))
        between = epsilon * real + (1 - epsilon) * fake
        return (input_gradient(discriminator, between, labels).norm(dim=1) - 1).square().mean()

    class Draw(nn.Sequential):  # sans BatchNorm, dont les statistiques seraient celles d'une part du lot
        latent_dim = 8

        def __init__(self):
            super().__init__(
                nn.Linear(8, 16 * 49), nn.ReLU(), nn.Unflatten(1, (16, 7, 7)),
                nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
            )

    digits = load_images("digits")
    # En float64 : Adam divise par l'ampleur du gradient, et grossit les arrondis de float32 là où il est presque nul.
    torch.set_default_dtype(torch.float64)
    checks.check_parameters = lambda *arguments: None  # qui n'admet que float32
    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = dcgan.Discriminator((1, 28, 28), width=8, batch_norm=False).layers

        def forward(self, x):
            return self.layers(x.double()).flatten()
    recipes = {
        "r1": dict(penalty="r1", penalty_every=4),
        "r1+r2": dict(penalty="r1+r2", penalty_weight=0.05),
        "gp": dict(loss="wasserstein", penalty=on_segments, critic_steps=3),
    }
    found = {}
    for name, settings in recipes.items():
        torch.manual_seed(0)
        last = list(train(Draw(), Critic(), digits, Recipe(batch_size=64, **settings), 50, device="cpu"))[-1]
        for part in ("generator", "discriminator"):
            found |= {f"{name}.{part}.{k}": v for k, v in getattr(last, part).state_dict().items()}
    torch.save(found, sys.argv[1] + __import__("os").environ.get("RANK", "seul"))
"""


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="gloo sous torchrun n'est pas servi par les binaires Windows")
def test_two_processes_give_the_weights_of_one(tmp_path):
    script = tmp_path / "same.py"
    script.write_text(textwrap.dedent(SAME_WEIGHTS), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for launcher in ([], together):
        command = [sys.executable, *launcher, str(script), str(tmp_path / "poids-")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    alone, first, second = (torch.load(tmp_path / f"poids-{who}", weights_only=True) for who in ("seul", "0", "1"))
    assert alone.keys() == first.keys() and len(alone) > 20
    for name, weight in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert (weight - first[name]).abs().max() <= 1e-5, (name, (weight - first[name]).abs().max().item())


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="gloo sous torchrun n'est pas servi par les binaires Windows")
def test_two_processes_train_one_model(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(textwrap.dedent(TWO_PROCESSES), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "run.pt")], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.lent
@pytest.mark.skipif(sys.platform == "win32", reason="gloo sous torchrun n'est pas servi par les binaires Windows")
def test_the_script_of_the_page_runs_on_two_processes(tmp_path):
    page = (ROOT / "PLUSIEURS_GPU.md").read_text(encoding="utf-8")
    (tmp_path / "entrainer.py").write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "entrainer.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GAN_COURSE_DATA": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count("pas 20") == 1 and (tmp_path / "visages.pt").is_file(), done.stdout
