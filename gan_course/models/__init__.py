"""Un fichier par architecture, lisible seul : `Generator`, `Discriminator` et la recette de son chapitre, `RECIPE`.

G(z) ou G(z, y) → images dans [-1, 1] ; D(x) ou D(x, y) → logits (B,). Chaque générateur a `latent_dim`, `image_shape`
et `num_classes` (0 : non conditionnel).
"""
