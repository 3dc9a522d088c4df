"""Un cours de GAN : des carnets, et le paquet sur lequel ils reposent. Le plan de la maison :

data        les images : d'où viennent les pixels, et comment on en tire des lots dans [-1, 1]
models      un fichier par architecture : générateur, discriminateur et recette
losses      les pertes adverses, fonctions des logits ; penalties : les pénalités sur le discriminateur
training    Recipe et train(), la boucle de tous les GAN du cours ; gan : ce qu'elle entraîne ; checkpoint : reprendre
device      où calculer et en quelle précision
latent      lerp, slerp, promenades ; inversion : de l'image au code ; correspondence : ce qu'un code dit des images
explorer    curseurs sur des directions latentes, deux images à relier d'un clic
diagnosis   « est-ce que ça apprend ? »
evaluation  ce que valent les images : metrics, dans un espace de features
zoo         les générateurs fournis ; making : les refaire
display     les figures ; live : pendant l'entraînement ; widgets : sous la main
exercises   les vérifications : check(...), hint(...) et progress_report()
grading     noter un dossier de copies ; assignment : distribuer un devoir ; masters : une source par chapitre
python -m gan_course run | lab | data | train | assign | grade | doctor
"""

__version__ = "0.1.0"
