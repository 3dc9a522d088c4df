"""Un cours de GAN : des carnets, et le paquet sur lequel ils reposent. La leçon d'abord, ce qui la sert à part.

training      l'algorithme : les deux étapes, Gan, train() ; recipe, losses, penalties : ce qui distingue deux GAN
models        un fichier par architecture : générateur, discriminateur et recette
data          les images : d'où viennent les pixels, et comment on en tire des lots dans [-1, 1]
latent        lerp, slerp, promenades ; inversion : de l'image au code ; probing : ce qu'un code dit des images
explorer      curseurs sur des directions latentes, deux images à relier d'un clic
evaluation    ce que valent les images : metrics, dans un espace de features ; diagnosis : « est-ce que ça apprend ? »
pretrained    les générateurs fournis
display       les figures ; live : pendant l'entraînement ; figures : celles que l'on fait glisser
exercises     les vérifications : check(...) et hint(...) ; les questions : quiz(...) ; progress_report()
engine        la machinerie : points de reprise, appareil, téléchargements, vérifications
tools         pour qui écrit le cours ou l'enseigne ; python -m gan_course en donne la liste
"""

__version__ = "0.1.0"
