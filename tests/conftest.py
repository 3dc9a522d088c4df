"""Ce que plusieurs salles partagent dans leurs essais."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def hears_ctrl_c() -> None:
    """Lancé à l'arrière-plan par un shell, pytest ignorerait Ctrl-C, et ses processus fils aussi."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def no_progress_kept() -> Iterator[None]:
    """Un essai qui appelle check ne touche pas à la progression de qui le lance, même depuis un autre processus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_COURSE_PROGRESS", "")
        yield


@pytest.fixture(autouse=True)
def same_randomness() -> None:
    """Chaque essai part de la même graine, seul ou parmi les autres : un échec se reproduit."""
    torch.manual_seed(0)


@pytest.fixture
def shared_data() -> Path:
    """Données réelles posées à côté du dépôt ; l'essai est sauté là où elles manquent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("pas de données réelles dans ../shared/data")
    return folder
