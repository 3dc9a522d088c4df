"""Exercices du chapitre 06, dans l'ordre du carnet. Chaque module chapter06_*.py en porte deux ou trois."""

from gan_course.exercises import (
    chapter06_conditioning,
    chapter06_critic,
    chapter06_curves,
    chapter06_geometry,
    chapter06_losses,
    chapter06_pixels,
    chapter06_styles,
    chapter06_weights,
    shared,
)
from gan_course.exercises.report import Exercise

_ALL = {
    **chapter06_pixels.EXERCISES,
    **chapter06_losses.EXERCISES,
    **chapter06_weights.EXERCISES,
    **chapter06_conditioning.EXERCISES,
    **chapter06_critic.EXERCISES,
    **shared.EXERCISES,
    **chapter06_styles.EXERCISES,
    **chapter06_geometry.EXERCISES,
    **chapter06_curves.EXERCISES,
}
ORDER = (  # une étoile, deux, trois
    *("denormalise", "gan_losses", "dcgan_init", "layer_sizes", "projection_logits", "lazy_penalty"),
    *("discriminator_step", "conditional_inputs", "adain", "truncated_latents", "clipped_critic_step"),
    *("gradient_penalty", "frechet_distance", "slerp_batch", "update_ema", "training_curves"),
)
EXERCISES: dict[str, Exercise] = {name: _ALL[name] for name in ORDER}
