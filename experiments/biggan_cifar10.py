"""BigGAN on CIFAR-10, narrow enough for a laptop. Brock, Donahue & Simonyan 2019, https://arxiv.org/abs/1809.11096

What it should reach: classes that differ in colours, backgrounds and outlines in a quarter of an hour. The paper has a
Fréchet Inception distance of 14.73 on CIFAR-10, StudioGAN 4.16. What it reaches here has not been measured yet.

    python -m experiments.biggan_cifar10
    python -m experiments.biggan_cifar10 --dataset folder:CLASSES --image-size 128 --attention 64 --latent-size 120
    python -m scripts.sample RUN --latent-threshold 0.5 --out truncated.png
    python -m scripts.evaluate RUN --standing-statistics 100

It should take a quarter of an hour on two idle cores of an AMD EPYC. Networks of `jaxgan.networks.biggan`: an embedding
of the classes that all conditional batch norms share, a latent whose parts go to one block each, self-attention at 16
pixels, spectral normalisation and orthogonal initialisation in both networks, a projection in the discriminator. Hinge
loss, orthogonal regularisation of the generator, two steps of the discriminator for one of the generator. Other than in
the paper, networks are a twelfth as wide, batches have 32 images and not 2,048, and rates are high. --preset paper has
StudioGAN's networks and recipe for 32 pixels, since the paper's for CIFAR-10 is not printed; nobody has run it.
"""

import dataclasses
import math
from typing import ClassVar, Literal

import flax.linen as nn

from experiments.sngan_cifar10 import require_attention
from jaxgan import d_loss, g_loss
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import hinge
from jaxgan.networks.biggan import PAPER, Discriminator, Generator, paper_widths, parts, projection
from jaxgan.samplers import labelled, labelled_latents
from jaxgan.terms.regularizers import orthogonal
from jaxgan.training import GAN, DataSpec, compose, labels_needed, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import either, require
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "cifar10"
    image_size: Literal[32, 64, 128, 256] = 32
    fit: FitOrTiles = "pad"
    flip: bool = True
    steps: int = 3000
    batch_size: int = 32
    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-3
    generator_learning_rate: float | None = 5e-4
    beta1: float = 0.0
    beta2: float = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    checkpoint_every: int = 500
    sample_every: int = 250
    critic_steps: int = bounded(2, at_least=1)
    """Updates of the discriminator for one of the generator, each on images of its own."""
    latent_size: int = bounded(80, at_least=1)
    """Numbers in a latent, of which the first features and each block get a part: 4 at 32 pixels, 6 at 128."""
    embedding: int = bounded(32, at_least=1)
    """Numbers in a class's embedding."""
    width: int = bounded(8, at_least=1)
    """The generator's width: at 32 pixels it has four times as many channels. 96 in the paper."""
    discriminator_width: int = bounded(16, at_least=1)
    """The discriminator's: at 32 pixels it has twice as many channels."""
    attention: tuple[int, ...] = (16,)
    """Sizes of features, in pixels a side, at which both networks have self-attention."""
    orthogonal: float = bounded(1e-4, at_least=0, below=math.inf)
    """Weight of the generator's orthogonal regularisation; `orthogonal` for --sweep. 0 leaves it out."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": {
            "steps": 100_000,
            "batch_size": 64,
            "learning_rate": 2e-4,
            "generator_learning_rate": None,
            "beta1": 0.5,
            "beta2": 0.999,
            "schedule": "constant",
            "critic_steps": 5,
            "embedding": 128,
            "width": 96,
            "discriminator_width": 96,
            "orthogonal": 0.0,
            "checkpoint_every": 5000,
            "sample_every": 5000,
            "ema_half_life": 443_614.0,  # of 0.9999 an update of 64 images
        },
        "smoke": {
            "dataset": "digits",
            "channels": 3,
            "steps": 2,
            "batch_size": 8,
            "width": 1,
            "discriminator_width": 2,
            "latent_size": 8,
            "embedding": 4,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "image_size", self.image_size in PAPER, either(PAPER))
        cut = parts(self.image_size)
        require(self, "latent_size", self.latent_size % cut == 0, f"a multiple of {cut} at {self.image_size} pixels")
        require_attention(self, paper_widths(self.image_size).halvings)


def networks(options: Options, data: DataSpec) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator."""
    classes, dtype = labels_needed(data), options.compute_dtype
    widths = paper_widths(data.size, options.width, options.discriminator_width)
    generator = Generator(
        data.size,
        data.channels,
        classes,
        widths.generator,
        options.embedding,
        dtype,
        attended=options.attention,
    )
    discriminator = Discriminator(
        widths.discriminator,
        dtype,
        head=projection(classes),
        halvings=widths.halvings,
        attended=options.attention,
    )
    return generator, discriminator


def build(options: Options, data: DataSpec) -> GAN:
    regularised = [orthogonal("orthogonal")] if options.orthogonal else []
    return compose(
        options,
        data,
        networks(options, data),
        labelled_latents(options.latent_size),
        [d_loss(hinge)],
        [g_loss(hinge), *regularised],
        updates="joint" if options.critic_steps == 1 else "alternating",
        critic_steps=options.critic_steps,
        weights={"orthogonal": options.orthogonal} if regularised else None,
        prepare=labelled,
    )


if __name__ == "__main__":
    main(Options, build)
