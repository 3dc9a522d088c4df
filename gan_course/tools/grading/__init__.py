"""Noter un dossier de copies : python -m gan_course grade COPIES/ --out notes.csv.

    copies      lit un carnet rendu, quel que soit son état
    slices      y trouve une réponse, et le peu de code dont elle dépend
    subject     ce que le chapitre demande, lu dans son maître
    jail        ce que le système peut interdire à un processus : mémoire, durée, fichiers, réseau
    guard       ce que Python peut refuser à une réponse
    tampering   ce qu'une réponse n'a pas le droit de changer autour d'elle
    worker      éprouve les réponses d'une copie, chacune dans son processus
    feedback    le retour d'une copie en HTML ; le tableau des notes
    run         la classe entière, en parallèle, interrompue puis reprise

Le carnet rendu n'est jamais exécuté : seules les réponses, et leurs définitions, le sont.
"""
