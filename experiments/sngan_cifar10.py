"""SNGAN on CIFAR-10: a residual GAN with spectral normalisation. Miyato et al. 2018, https://arxiv.org/abs/1802.05957

What it should reach: colours, backgrounds and outlines of animals and vehicles in a quarter of an hour; a Fréchet
Inception distance of 21.7 in the paper. After 950 steps, nine minutes of one core, it is ahead of DCGAN after as long
(Fréchet distance 13.8 for 17.7, cifar10-v1, seed 0); the whole of it has not been run.

    python -m experiments.sngan_cifar10
    python -m experiments.sngan_cifar10 --dataset folder:PICTURES --image-size 48 --fit crop

It takes a quarter of an hour on two idle cores of an AMD EPYC, by the speed of its first 400 steps. Networks of
`jaxgan.networks.resnet`, as wide as the shares --width and --discriminator-width of the paper's; hinge loss. Every
weight of the discriminator is divided by its largest singular value, estimated by one more turn of a power iteration in
each of its updates: real and generated images are judged under the same weights, and so is what the generator learns
from. Other than in the paper, networks are narrow, the discriminator learns once for each step of the generator and not
five times, rates are high, images are mirrored at random, and what is shown is an average of the generator's weights.
--preset paper has its networks and recipe for 32 pixels; nobody has run it.
"""

import dataclasses
import functools
import math
from typing import Any, ClassVar, Literal

import flax.linen as nn

from jaxgan import d_loss, g_loss, latents
from jaxgan.data.transform import FitOrTiles
from jaxgan.losses import hinge
from jaxgan.networks.heads import Head, Logits, Projection
from jaxgan.networks.layers import ConditionalBatchNorm, Conv, Dense, Layer, spectral
from jaxgan.networks.resnet import PAPER, Discriminator, Generator, paper_widths, sides
from jaxgan.samplers import labelled, labelled_latents
from jaxgan.training import GAN, DataSpec, compose, labels_needed, main
from jaxgan.training import Options as CommonOptions
from jaxgan.training.errors.usage import either, require
from jaxgan.training.options.fields import bounded
from jaxgan.training.options.optimizer import OptimizerName

RECIPE = {  # of the paper, for CIFAR-10
    "steps": 100_000,
    "batch_size": 64,
    "learning_rate": 2e-4,
    "generator_learning_rate": None,
    "discriminator_learning_rate": None,
    "schedule": "linear",
    "width": 1.0,
    "discriminator_width": 1.0,
    "critic_steps": 5,
    "checkpoint_every": 5000,
    "sample_every": 5000,
    "ema_half_life": 0.0,
    "flip": False,
}


@dataclasses.dataclass(frozen=True)
class Options(CommonOptions):
    dataset: str = "cifar10"
    image_size: Literal[32, 48, 64, 128] = 32
    fit: FitOrTiles = "pad"
    flip: bool = True
    steps: int = 3400
    batch_size: int = 32
    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-3
    beta1: float = 0.0
    beta2: float = 0.9
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    checkpoint_every: int = 1000
    sample_every: int = 500
    critic_steps: int = bounded(1, at_least=1)
    """Updates of the discriminator for one of the generator, each on images of its own."""
    latent_size: int = bounded(128, at_least=1)
    """Numbers in a latent."""
    width: float = bounded(0.25, above=0, at_most=4)
    """The generator's width as a share of the paper's, which has 256 channels at 32 pixels."""
    discriminator_width: float = bounded(0.25, above=0, at_most=4)
    """The discriminator's width as a share of the paper's, which has 128 channels at 32 pixels."""
    conditional: bool = False
    """Draw the class that is asked for: conditional batch norm in the generator, a projection in the discriminator."""
    attention: tuple[int, ...] = ()
    """Sizes of features, in pixels a side, at which both networks have self-attention."""
    normalise_generator: bool = False
    """Divide the generator's weights by their largest singular values, too."""
    dropout: float = bounded(0.0, at_least=0, below=1)
    """The share of activations that is dropped in the generator's blocks in training."""

    TAKES: ClassVar = "image"
    PRESETS: ClassVar = {
        "paper": RECIPE,
        "smoke": {
            "dataset": "digits",
            "channels": 3,
            "steps": 2,
            "batch_size": 8,
            "width": 1 / 64,
            "discriminator_width": 1 / 32,
            "latent_size": 8,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "image_size", self.image_size in PAPER, either(PAPER))
        require_attention(self, paper_widths(self.image_size).halvings)


def require_attention(options: Any, halvings: int) -> None:
    """Raises UsageError unless both networks reach all sizes of --attention; halvings: the discriminator's."""
    first, second = sides(options.image_size, halvings)
    both = sorted(set(first) & set(second))
    require(options, "attention", set(options.attention) <= set(both), f"sizes that both networks reach, of {both}")


def networks(options: Options, data: DataSpec) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator."""
    widths, dtype = paper_widths(data.size), options.compute_dtype
    normalised: dict[str, Any] = {"conv": spectral(Conv), "dense": spectral(Dense)}
    last: dict[str, Any] = {"kernel_init": nn.initializers.glorot_uniform(), "dense": normalised["dense"]}
    by_class: Layer | None = None
    head: Head = Logits(**last)
    if options.conditional:
        classes = labels_needed(data)
        by_class, head = functools.partial(ConditionalBatchNorm, classes=classes), Projection(classes, **last)
    generator = Generator(
        data.size,
        data.channels,
        _scaled(widths.generator, options.width),
        dtype,
        block_norm=by_class,
        dropout=options.dropout,
        attended=options.attention,
        **(normalised if options.normalise_generator else {}),
    )
    discriminator = Discriminator(
        _scaled(widths.discriminator, options.discriminator_width),
        dtype,
        head=head,
        conv=normalised["conv"],
        halvings=widths.halvings,
        attended=options.attention,
    )
    return generator, discriminator


def _scaled(widths: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(max(1, math.floor(share * width + 0.5)) for width in widths)


def build(options: Options, data: DataSpec) -> GAN:
    sampler = labelled_latents if options.conditional else latents
    return compose(
        options,
        data,
        networks(options, data),
        sampler(options.latent_size),
        [d_loss(hinge)],
        [g_loss(hinge)],
        updates="joint" if options.critic_steps == 1 else "alternating",
        critic_steps=options.critic_steps,
        prepare=labelled if options.conditional else None,
    )


if __name__ == "__main__":
    main(Options, build)
