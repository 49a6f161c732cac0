"""Transfer from nine classes of CIFAR-10 to 500 images of the tenth, and FreezeD. Wang et al. 2018,
https://arxiv.org/abs/1805.01677; FreezeD: Mo, Cho & Shin 2020, https://arxiv.org/abs/2002.10964

What it should reach: trucks, in fewer steps than from scratch. With the discriminator's lowest layers frozen the paper
finds lower Fréchet distances than without, for StyleGAN's and SNGAN's networks.

    python -m experiments.dcgan_cifar10 --classes 0,1,2,3,4,5,6,7,8 --workdir NINE
    python -m experiments.transfer_cifar10
    python -m experiments.transfer_cifar10 --from NINE --players generator discriminator
    python -m experiments.transfer_cifar10 --from NINE --players generator discriminator --freeze 2
    python -m experiments.transfer_cifar10 --from NINE --players discriminator

The second is from scratch. `--players` says which networks begin with what those of NINE have learned, array by array
where path and shape are the same, and the run prints a table of them; optimisers and averages begin anew. Networks and
recipe are those of `experiments.dcgan_cifar10`. Three convolutions make the discriminator's features, each with its
norm; --freeze leaves so many of them, from the image on, as they began (their batch statistics follow the images).
1,000 steps take about as long as there. With half the channels, three seeds each, the Fréchet distance was 17.1 from
scratch, 8.7 with both networks and 12.3 with two layers frozen, other than in the paper (docs/results.md). --preset
paper, 40,000 steps (the paper's 50,000 are of batch 16), has not been run.
"""

import dataclasses
from typing import ClassVar

import jax

from experiments import dcgan_cifar10
from jaxgan.freezing import freeze
from jaxgan.networks.dcgan import stages
from jaxgan.state import GANState
from jaxgan.training import GAN, DataSpec, main
from jaxgan.training.errors.usage import UsageError, require
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(dcgan_cifar10.Options):
    classes: str | None = "9"
    images: str | None = "500"
    steps: int = 1000
    freeze: int = bounded(0, at_least=0)
    """The discriminator's lowest convolutions, with their norms, that are not trained (FreezeD)."""

    PRESETS: ClassVar = {
        "paper": {"steps": 40_000, "checkpoint_every": 2000, "sample_every": 2000},
        "smoke": {**dcgan_cifar10.Options.PRESETS["smoke"], "images": "50"},
    }


def build(options: Options, data: DataSpec) -> GAN:
    gan = dcgan_cifar10.build(options, data)
    # Of a continued run both are in its record; without --players all networks are another run's.
    begins = options.from_run is not None and "discriminator" in (options.players or ("discriminator",))
    learned = "0 where the discriminator doesn't begin with --from: frozen layers must have learned"
    require(options, "freeze", begins or not options.freeze, learned)
    if (count := stages(data.size)[1]) < options.freeze:
        raise UsageError(f"--freeze must be at most {count}, the discriminator's convolutions, got {options.freeze}")
    layers = [f"{name}{i}" for i in range(options.freeze) for name in (("down", "norm") if i else ("down",))]

    def init(key: jax.Array) -> GANState:
        state: GANState = gan.init(key)
        return state.replace(discriminator=freeze(state.discriminator, layers))

    return gan._replace(init=init) if layers else gan


if __name__ == "__main__":
    main(Options, build)
