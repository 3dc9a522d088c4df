"""Un juge indépendant : un petit classifieur entraîné sur les vrais chiffres de MNIST, jamais montré aux GAN.

Entraîné une fois (trois époques), gardé dans build/bench/. Sa justesse sur les 10 000 images de test est imprimée :
on juge le juge d'abord.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gan_course.data import load_images

PATH = Path("build/bench/judge.pt")


def network() -> nn.Sequential:
    layers = []
    for inputs, outputs in ((1, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def load_judge() -> nn.Module:
    """Le juge, en mode évaluation ; l'entraîne si build/bench/judge.pt n'existe pas."""
    judge = network()
    if PATH.exists():
        judge.load_state_dict(torch.load(PATH, weights_only=True))
    else:
        fit(judge)
        PATH.parent.mkdir(parents=True, exist_ok=True)
        torch.save(judge.state_dict(), PATH)
    judge.eval()
    test = load_images("mnist", split="test")
    read = torch.cat([predict(judge, test.batch(step, 500)[0]) for step in range(20)])
    truth = torch.cat([test.batch(step, 500)[1] for step in range(20)])
    print(f"Juge : {100 * (read == truth).float().mean():.2f} % des 10 000 vraies images de test")
    return judge


def fit(judge: nn.Module, epochs: int = 3, batch_size: int = 128) -> None:
    torch.manual_seed(0)
    train = load_images("mnist")
    steps = epochs * len(train) // batch_size
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for step in range(steps):
        x, y = train.batch(step, batch_size)
        x = torch.roll(x, torch.randint(-2, 3, (2,)).tolist(), (2, 3))
        loss = cross_entropy(judge(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def predict(judge: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Classe lue sur chaque image (N, 1, 28, 28) de [-1, 1]."""
    return judge(images).argmax(1)
