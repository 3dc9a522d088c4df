"""Salle des données : d'où viennent les pixels, et comment ils deviennent des lots.

images.py    ImageSet et PointSet : un tenseur uint8, des lots fonction pure de (seed, step)
sources.py   load_images : jeux embarqués, jeux téléchargés, dossiers et archives .zip
celeba.py    les visages de CelebA et leurs attributs, dans l'archive officielle ; cifar10.py, de même
download.py  plusieurs sources pour un fichier, taille et condensé vérifiés
embedded.py  digits, color-digits, gaussian_ring, gaussian_grid : sans réseau
faces.py     visages dessinés : leurs paramètres ; drawing.py et shapes.py en font des pixels
fractals.py  attracteurs étranges, dessinés à toute taille
files.py     trouver et lire sur place les images d'un dossier ou d'une archive
decoding.py  leurs octets → images carrées, à la taille voulue
cache.py     ce qui a été décodé une fois est relu depuis un fichier projeté en mémoire
"""

from gan_course.data.embedded import gaussian_grid, gaussian_ring
from gan_course.data.images import ImageSet, PointSet
from gan_course.data.sources import data_root, load_images

__all__ = ["ImageSet", "PointSet", "data_root", "gaussian_grid", "gaussian_ring", "load_images"]
