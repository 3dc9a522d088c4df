"""Ce que plusieurs salles partagent dans leurs essais."""

from pathlib import Path

import pytest


@pytest.fixture
def shared_data() -> Path:
    """Données réelles posées à côté du dépôt ; l'essai est sauté là où elles manquent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("pas de données réelles dans ../shared/data")
    return folder
