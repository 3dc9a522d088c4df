"""Salle des données : d'où viennent les pixels, et comment ils deviennent des lots.

images.py    ImageSet et PointSet : un tenseur uint8, des lots fonction pure de (seed, step)
sources.py   load_images, et une ligne par jeu : où il est, combien il pèse, comment on le lit
celeba.py    les visages de CelebA et leurs attributs ; de même cifar10.py, mnist.py, simpsons.py
embedded.py  digits, color-digits, gaussian_ring, gaussian_grid : sans réseau
faces.py     visages dessinés : leurs facteurs ; drawing.py en fait des pixels
fractals.py  attracteurs étranges, dessinés à toute taille
folders.py   trouver et lire sur place les images d'un dossier ou d'une archive
decoding.py  leurs octets → images carrées, à la taille voulue
cache.py     ce qui a été décodé une fois est relu depuis un fichier, vérifié
"""

from gan_course.data.embedded import gaussian_grid, gaussian_ring
from gan_course.data.images import ImageSet, PointSet
from gan_course.data.sources import data_root, load_images

__all__ = ["ImageSet", "PointSet", "data_root", "gaussian_grid", "gaussian_ring", "load_images"]
