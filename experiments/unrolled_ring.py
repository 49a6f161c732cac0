"""Unrolled GAN on points of the plane: the generator looks some discriminator steps ahead. Metz et al. 2017,
https://arxiv.org/abs/1611.02163

What it should reach: all eight modes of the ring, where the same GAN without unrolling rotates or drops modes (figure
2 of the paper).

    python -m experiments.unrolled_ring
    python -m experiments.unrolled_ring --unroll 0
    python -m scripts.field RUN --out field.png

The generator's gradient flows through --unroll updates of the discriminator, Adam's included; the discriminator
itself learns as ever. Networks of `experiments.gan_ring`, its latents and batch.
"""

import dataclasses
from typing import ClassVar

from experiments import gan_ring
from jaxgan import d_loss, g_loss, latents, make_d_step
from jaxgan.losses import non_saturating
from jaxgan.terms import unrolled
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.usage import require

EPS_ROOT = 1e-12  # under Adam's root, through which the generator's gradient flows


@dataclasses.dataclass(frozen=True)
class Options(gan_ring.Options):
    unroll: int = 5
    """Discriminator steps that the generator looks ahead; 0 for none."""

    SIZES: ClassVar = {"smoke": {**gan_ring.Options.SIZES["smoke"], "unroll": 2}}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "unroll", self.unroll >= 0, "at least 0")


def build(options: Options, data: DataSpec) -> GAN:
    sampler, d_terms = latents(options.latent_size), [d_loss(non_saturating)]
    g_term = g_loss(non_saturating)
    if options.unroll:
        g_term = unrolled(non_saturating, make_d_step(sampler, d_terms), options.unroll)
    return compose(options, data, gan_ring.networks(options, data), sampler, d_terms, [g_term], eps_root=EPS_ROOT)


if __name__ == "__main__":
    main(Options, build)
