"""Noter un dossier de copies : python -m gan_course grade COPIES/ --out notes.csv.

    copies      lit un carnet rendu, quel que soit son état
    slices      y trouve une réponse, et le peu de code dont elle dépend
    subject     ce que le chapitre demande, lu dans son maître
    sandbox     ce que le système et Python interdisent à une réponse
    tampering   ce qu'elle n'a pas le droit de changer autour d'elle
    trial       éprouve les réponses d'une copie, chacune dans son processus
    feedback    le retour d'une copie en HTML ; le tableau des notes
    grade       la classe entière, en parallèle, interrompue puis reprise

Le carnet rendu n'est jamais exécuté : seules les réponses, et leurs définitions, le sont.
"""
