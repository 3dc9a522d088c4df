"""Le seul endroit qui décide où et comment calculer, et qui dit pourquoi."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CHOICES = ("auto", "mixed", *PRECISIONS)


@dataclass(frozen=True)
class Compute:
    """Une décision de calcul.

    `dtype` est le type d'autocast, None pour tout garder en float32 ; `rank` et `world_size` viennent de
    torchrun (0 et 1 sans lui) ; `reason` explique la décision en une phrase.
    """

    device: torch.device
    dtype: torch.dtype | None
    memory_format: torch.memory_format
    rank: int
    world_size: int
    reason: str

    def autocast(self) -> AbstractContextManager:
        """Contexte de précision mixte pour les passages avant ; sans effet en float32."""
        # Un autocast désactivé coûte, à chaque pas d'un petit réseau, plus qu'un contexte vide.
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, dtype=self.dtype)

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Multiplicateur de perte : nécessaire en fp16 seulement, dont les petits gradients tombent à zéro."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def seeders(self) -> list[Callable]:
        """Ce qu'il faut semer pour que le hasard d'un pas soit fixé : le processeur, et l'appareil de calcul."""
        # torch.manual_seed sèmerait aussi les GPU absents : cent fois plus lent.
        found = [torch.default_generator.manual_seed]
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            found.append(torch.cuda.default_generators[index].manual_seed)
        return found + ([torch.mps.manual_seed] if self.device.type == "mps" else [])

    def hold(self, images: object) -> object:
        """Le jeu entier sur le GPU s'il y tient largement : plus aucun transfert pendant l'entraînement."""
        tensor = getattr(images, "images", None)
        if self.device.type != "cuda" or tensor is None or not hasattr(images, "to"):
            return images
        free, _ = torch.cuda.mem_get_info(self.device)
        return images.to(self.device) if tensor.numel() < free // 4 else images

    def send(self, images: Tensor) -> Tensor:
        """Met un lot d'images sur l'appareil, dans le format mémoire choisi."""
        if images.dim() != 4:
            return images.to(self.device, non_blocking=True)
        return images.to(self.device, memory_format=self.memory_format, non_blocking=True)

    def place(self, module: nn.Module) -> nn.Module:
        """Met le module sur l'appareil, ses convolutions dans le format mémoire choisi."""
        module = module.to(self.device)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.to(memory_format=self.memory_format)
        return module


def choose_compute(device: str | torch.device | None = None, precision: str = "auto") -> Compute:
    """Choisit appareil, précision, format mémoire et groupe de processus.

    `device` : None (le meilleur disponible), "cpu", "cuda", "cuda:1", "mps"… `precision` : "auto", "mixed",
    "float32", "bf16" ou "fp16". « auto » garde float32 sur CPU, prend bf16 sur les GPU dont la puce le calcule et
    fp16 sur les autres. « mixed » fait de même, et prend aussi bf16 sur les CPU qui ont des instructions pour lui
    (AMX, AVX512-BF16) : les convolutions y vont jusqu'à deux fois plus vite (bench/) ; l'anneau, qui demande des
    millièmes, y perdrait.

    Lève ValueError si la précision est inconnue ou l'appareil absent.
    """
    rank, world_size = join_process_group()
    if device is None:
        device = best_device(rank)
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"Appareil {device!r} inconnu. Essayez device=None, « cpu » ou « cuda ».") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"Appareil {str(device)!r} demandé, mais PyTorch ne voit aucun GPU. Laissez device=None ; dans Colab : "
            "menu Exécution, Modifier le type d'exécution, GPU T4."
        )
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # « mps » hors d'un Mac, « cuda:3 » sur une machine à un GPU…
        raise ValueError(
            f"Appareil {str(device)!r} demandé, mais PyTorch ne peut s'en servir ici. Laissez device=None."
        ) from error
    dtype, reason = choose_dtype(device, precision)
    # Sur GPU, les convolutions en demi-précision attendent les canaux en dernier ; sur CPU, elles y gagnent aussi.
    return Compute(device, dtype, torch.channels_last, rank, world_size, reason)


def best_device(rank: int = 0) -> torch.device:
    """Le GPU de ce processus s'il y en a un, sinon la puce d'Apple, sinon le processeur."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(device: torch.device, precision: str) -> tuple[torch.dtype | None, str]:
    """Le type d'autocast et la raison de ce choix, en français."""
    if precision not in CHOICES:
        raise ValueError(f"Précision {precision!r} inconnue. Choisissez parmi {', '.join(CHOICES)}.")
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("fp16 n'est pas utile sur CPU. Choisissez « float32 » ou « bf16 ».")
    if precision in PRECISIONS:
        return PRECISIONS[precision], f"{precision} demandé sur {device.type}"
    if device.type == "cpu" and precision == "mixed":
        if found := bf16_instructions():
            return torch.bfloat16, (
                "bf16 sur cpu : ce processeur multiplie les nombres de 16 bits bien plus vite que ceux de 32 "
                f"({found}) ; les poids restent en 32"
            )
        return None, "float32 sur cpu : ce processeur ne gagne rien aux nombres de 16 bits"
    if device.type != "cuda":
        return None, f"float32 sur {device.type} : la précision de référence, exacte d'une reprise à l'autre"
    # Une T4 dit savoir le bf16, mais l'émule lentement : d'où including_emulation=False.
    name = torch.cuda.get_device_name(device)
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, f"bf16 sur {name} : la puce le calcule, et il ne déborde pas"
    return torch.float16, f"fp16 avec multiplicateur de perte sur {name} : la puce ne calcule pas le bf16"


def bf16_instructions() -> str | None:
    """Les instructions qui multiplient le bf16 plus vite que le float32 sur ce processeur ; None s'il n'en a pas."""
    # torch.cpu ne le dit publiquement que depuis peu, et get_capabilities manque à torch 2.6.
    known = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    return next((name for name, asks in known.items() if getattr(torch.cpu, asks, lambda: False)()), None)


def join_process_group() -> tuple[int, int]:
    """Rejoint le groupe créé par torchrun, s'il y en a un. Rend (rang, nombre de processus)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if torch.cuda.is_available():
        # Chaque processus a son GPU : sans cela, tous se serviraient du premier.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


@torch.no_grad()
def average_gradients(parameters: list[Tensor], world_size: int) -> None:
    """Remplace chaque gradient par sa moyenne sur les processus, en un seul échange."""
    if world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= world_size
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def any_process(flag: bool, compute: Compute) -> bool:
    """Vrai si `flag` l'est dans l'un des processus : tous s'arrêtent alors au même pas."""
    told = torch.tensor(int(flag), device=compute.device)
    dist.all_reduce(told)
    return bool(told)


@torch.no_grad()
def broadcast_weights(modules: list[nn.Module], world_size: int) -> None:
    """Donne à tous les processus les poids du premier."""
    if world_size > 1:
        for module in modules:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)
