"""Ce que coûte train() : les mêmes pas, par la boucle du cours et écrits à la main, en alternance.

    python bench/loop.py

Des blocs de pas alternent entre les deux ; on donne la médiane des rapports de blocs voisins. La version à la main
fait les mêmes calculs (mêmes lots, mêmes pertes, Adam fusionné, moyenne des poids) et rien d'autre : ni contrôle des
nombres, ni historique, ni point de reprise, ni hasard à part.
"""

import copy
import time
from statistics import median

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from gan_course.data import ImageSet
from gan_course.models import conditional, dense
from gan_course.penalties import r1_r2
from gan_course.training import train

BLOCKS, STEPS = 80, 12


def by_hand(g, d, images, recipe, conditional_pair: bool):
    """Un générateur de pas écrits à la main, pour la recette d'un chapitre."""
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(g).eval().requires_grad_(False)
    g_optimizer, d_optimizer = (
        torch.optim.Adam(net.parameters(), lr=recipe.g_lr, betas=recipe.betas, fused=True) for net in (g, d)
    )
    g_weights, d_weights, averages = list(g.parameters()), list(d.parameters()), list(ema.parameters())
    step = 0
    while True:
        real, y = images.batch(step, recipe.batch_size, 0)
        real = real.to(memory_format=torch.channels_last)
        labels = (y,) if conditional_pair else ()
        fake = g(torch.randn(len(real), g.latent_dim), *labels)
        real_score, fake_score = d(real, *labels), d(fake.detach(), *labels)
        target = torch.full_like(real_score, recipe.real_label)
        loss = binary_cross_entropy_with_logits(real_score, target) + softplus(fake_score).mean()
        if recipe.penalty and step % recipe.penalty_every == 0:
            loss = loss + recipe.penalty_weight * recipe.penalty_every * r1_r2(d, real, fake.detach(), *labels)
        d_optimizer.zero_grad()
        loss.backward(inputs=d_weights)
        d_optimizer.step()
        loss = softplus(-d(fake, *labels)).mean()
        g_optimizer.zero_grad()
        loss.backward(inputs=g_weights)
        g_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, g_weights, 0.01)
            for average, buffer in zip(ema.buffers(), g.buffers()):
                average.copy_(buffer)
        step += 1
        yield


def block(run) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        next(run)
    return time.perf_counter() - start


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, torch.arange(10_000) % 10)
    print("| réseaux | à la main, ms | train(), ms | rapport médian | quartiles |\n|---|---|---|---|---|")
    for name, module in (("dense", dense), ("conditionnel", conditional)):
        make = lambda: (module.Generator((1, 28, 28)), module.Discriminator((1, 28, 28)))  # noqa: B023, E731
        loop = iter(train(*make(), images, module.RECIPE, steps=10**9, device="cpu"))
        hand = by_hand(*make(), images, module.RECIPE, module is conditional)
        block(loop), block(hand)
        times = [(block(hand), block(loop)) if i % 2 else (block(loop), block(hand))[::-1] for i in range(BLOCKS)]
        ratios = sorted(b / a for a, b in times)
        hand_ms, loop_ms = (1000 * median(t[i] for t in times) / STEPS for i in (0, 1))
        quartiles = f"{ratios[BLOCKS // 4]:.3f} à {ratios[3 * BLOCKS // 4]:.3f}"
        print(f"| {name} | {hand_ms:.2f} | {loop_ms:.2f} | {median(ratios):.3f} | {quartiles} |", flush=True)


if __name__ == "__main__":
    main()
