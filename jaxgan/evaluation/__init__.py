"""How far what was generated is from what is real: arrays in, numbers out."""

from jaxgan.evaluation.sliced import sliced_wasserstein

__all__ = ["sliced_wasserstein"]
