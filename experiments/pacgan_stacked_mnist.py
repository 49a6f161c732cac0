"""PacGAN on stacked MNIST, 1,000 modes. Lin, Khetan, Fanti & Oh 2018, https://arxiv.org/abs/1712.04086

What it should reach: with packs of two nearly all modes, where the same networks without packing miss many; in the
paper 1,000 against 79 of 1,000.

    python -m experiments.pacgan_stacked_mnist
    python -m experiments.pacgan_stacked_mnist --pack 1
    python -m scripts.evaluate RUN --metrics modes

The first takes 2.4 minutes on two cores of an AMD EPYC; pictures and numbers are in docs/results.md.

The discriminator judges m images at once, stacked as channels, so that it sees where they are too much alike; the
generator is as it was. Networks and recipe of `experiments.dcgan_mnist` at 28 pixels with 32 features, its Adam as in
the paper; --discriminator-features makes the discriminator weaker than the generator, which is where methods come
apart. --minibatch-std is ProGAN's other way to show it variety (Karras et al. 2018, arXiv 1710.10196).
"""

import dataclasses
from typing import ClassVar

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, latents
from jaxgan.losses import non_saturating
from jaxgan.networks.minibatch import MinibatchStdDev
from jaxgan.samplers import pack
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    dataset: str = "stacked_mnist"
    image_size: dcgan_mnist.ImageSize = 28
    features: int = 32
    pack: int = 2
    """Images that the discriminator judges together, m in the paper; a divisor of the batch."""
    minibatch_std: int = 0
    """Packs in a group whose standard deviation the discriminator is shown; 0 for none."""

    PRESETS: ClassVar = {
        "paper": {"steps": 100_000, "features": 64, "checkpoint_every": 5000, "sample_every": 5000},
        "smoke": {**dcgan_mnist.Options.PRESETS["smoke"], "channels": 3},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = self.batch_size // self.accumulate
        divides = self.pack >= 1 and parts % self.pack == 0
        require(self, "pack", divides, f"a divisor of {parts}, the images of a batch (of a part, with --accumulate)")
        packs, group = parts // self.pack, self.minibatch_std
        require(
            self, "minibatch_std", group >= 0 and packs % (group or 1) == 0, f"0 or a divisor of {packs}, the packs"
        )


def build(options: Options, data: DataSpec) -> GAN:
    (generator, discriminator), sampler = dcgan_mnist.networks(options, data), latents(options.latent_size)
    if options.minibatch_std:
        discriminator = discriminator.clone(minibatch=MinibatchStdDev(options.minibatch_std))
    terms = [d_loss(non_saturating)], [g_loss(non_saturating)]
    networks, packed = (generator, discriminator), pack(options.pack)
    return compose(options, data, networks, sampler, *terms, updates="joint", prepare=packed)


if __name__ == "__main__":
    main(Options, build)
