"""Simpsons Faces : près de 10 000 visages dessinés, 200 × 200, rassemblés par K. Tokis sur Kaggle.

Les personnages restent la propriété de leurs ayants droit : pour étudier, pas pour publier. L'archive est lue là où
l'étudiant l'a mise, sans la déplier ; à défaut, `kagglehub` la télécharge s'il est installé et si Kaggle y consent.
"""

from pathlib import Path

PAGE = "https://www.kaggle.com/datasets/kostastokis/simpsons-faces"
HANDLE = "kostastokis/simpsons-faces"
SUBFOLDERS = (".", "simpsons", "Simpsons", "simpsons-faces")
# Kaggle nomme ses archives archive.zip : on n'accepte ce nom-là que dans un dossier qui dit de quoi il s'agit.
ARCHIVES = ("simpsons-faces.zip", "simpsons.zip", "archive.zip")
CROPPED = "cropped"  # le jeu publié range là les visages cadrés ; un autre dossier en a des versions retouchées


def locate(place: Path) -> Path | None:
    """L'archive, ou le dossier d'images déplié, dans `place` ou ses sous-dossiers habituels ; None s'il n'y a rien.

    `place` peut être l'archive elle-même.
    """
    if place.is_file():
        return place
    for folder in (place / sub for sub in SUBFOLDERS):
        for name in ARCHIVES:
            if (folder / name).is_file() and (name != "archive.zip" or "simpsons" in folder.name.lower()):
                return folder / name
    folders = [place / sub for sub in SUBFOLDERS[1:]] + [place / CROPPED]
    return next((folder for folder in folders if folder.is_dir() and any(folder.rglob("*.[pj][np]*g"))), None)


def find_simpsons(root: Path, folder: Path | None, download: bool) -> Path:
    """Où lire les visages : chez l'étudiant (`folder`, défaut `root`), sinon par kagglehub.

    Lève FileNotFoundError ou ConnectionError, avec ce qui a échoué et le remède.
    """
    place = folder or root
    if (found := locate(place)) is not None:
        return found
    by_hand = (
        f"À la main : avec un compte Kaggle, prenez l'archive à {PAGE} (bouton « Download »), posez-la dans "
        f'« {root / "simpsons"} » sans la déplier, et recommencez ; ou dites où elle est : load_images("simpsons", '
        'folder="…"). Sans elle, load_images("faces") dessine des visages.'
    )
    if not download or folder is not None:
        reason = "et download=False" if not download else "le dossier que vous avez donné"
        raise FileNotFoundError(f"Aucune image de Simpsons Faces dans « {place} », {reason}. {by_hand}")
    return _from_kaggle(by_hand)


def _from_kaggle(by_hand: str) -> Path:
    """Le dossier où kagglehub a mis le jeu. Il lit les identifiants de l'étudiant, ou celui des secrets de Colab."""
    try:
        import kagglehub
    except ImportError:
        raise ConnectionError(
            f"Simpsons Faces n'est pas là, et le module kagglehub non plus (pip install kagglehub). {by_hand}"
        ) from None
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # réseau, identifiants, consentement : kagglehub a un type d'erreur pour chacun
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConnectionError(f"kagglehub n'a pas pu télécharger « {HANDLE} » ({reason}). {by_hand}") from error
