"""Cures for mode collapse on points of the plane, unrolled discriminator steps above all. Metz et al. 2017,
https://arxiv.org/abs/1611.02163

What it should reach: all eight modes of the ring, where the same GAN without unrolling rotates or drops modes (figure
2 of the paper).

    python -m experiments.unrolled_ring
    python -m experiments.unrolled_ring --unroll 0
    python -m experiments.unrolled_ring --unroll 0 --pack 2
    python -m experiments.unrolled_ring --unroll 0 --loss relativistic --r1 1 --r2 1
    python -m scripts.field RUN --out field.png

The generator's gradient flows through --unroll updates of the discriminator, Adam's included; the discriminator itself
learns as ever. Beside it stand packing (Lin et al. 2018, arXiv 1712.04086) and the relativistic loss with both gradient
penalties (Huang et al. 2024, arXiv 2501.05441), which go together with it too. Networks, latents and batch of
`experiments.gan_ring`; --dataset grid has 25 modes.
"""

import dataclasses
from typing import ClassVar, Literal

from experiments import gan_ring
from jaxgan import d_loss, g_loss, latents, losses, make_d_step
from jaxgan.samplers import pack
from jaxgan.terms import r1, r2, unrolled
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.usage import require

EPS_ROOT = 1e-12  # under Adam's root, through which the generator's gradient flows


@dataclasses.dataclass(frozen=True)
class Options(gan_ring.Options):
    unroll: int = 5
    """Discriminator steps that the generator looks ahead; 0 for none."""
    pack: int = 1
    """Points that the discriminator judges together; a divisor of the batch."""
    loss: Literal["non_saturating", "relativistic"] = "non_saturating"
    """What the players pay."""
    r1: float = 0.0
    """The gamma of the penalty on real points; its weight, half of it, is `r1` for --sweep."""
    r2: float = 0.0
    """The gamma of the penalty on generated points; its weight, half of it, is `r2` for --sweep."""

    SIZES: ClassVar = {"smoke": {**gan_ring.Options.SIZES["smoke"], "unroll": 2, "pack": 2, "r1": 1.0}}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "unroll", self.unroll >= 0, "at least 0")
        parts = self.batch_size // self.accumulate
        divides = self.pack >= 1 and parts % self.pack == 0
        require(self, "pack", divides, f"a divisor of {parts}, the points of a batch (of a part, with --accumulate)")
        for name in ("r1", "r2"):
            require(self, name, 0 <= getattr(self, name) < float("inf"), "at least 0 and finite")


def build(options: Options, data: DataSpec) -> GAN:
    loss, sampler = getattr(losses, options.loss), latents(options.latent_size)
    penalties = [term(name) for name, term in (("r1", r1), ("r2", r2)) if getattr(options, name)]
    d_terms, g_term, prepare = [d_loss(loss), *penalties], g_loss(loss), pack(options.pack)
    if options.unroll:
        g_term = unrolled(loss, make_d_step(sampler, d_terms, prepare=prepare), options.unroll)
    return compose(
        options,
        data,
        gan_ring.networks(options, data),
        sampler,
        d_terms,
        [g_term],
        weights={term.name: getattr(options, term.name) / 2 for term in penalties},
        eps_root=EPS_ROOT if options.unroll else 0.0,
        prepare=prepare,
    )


if __name__ == "__main__":
    main(Options, build)
