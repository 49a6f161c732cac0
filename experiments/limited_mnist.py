"""DCGAN on a thousand images, and cures for a discriminator that learns by heart. Karras et al. 2020,
https://arxiv.org/abs/2006.06676, shows what few images do

What it should reach: digits, and a discriminator that comes to tell the thousand images from others of their kind:
`scripts.margin` says how well. With instance noise and LeCam's term it does so less.

    python -m experiments.limited_mnist
    python -m experiments.limited_mnist --noise 0.5
    python -m experiments.limited_mnist --lecam 0.1
    python -m experiments.limited_mnist --consistency 10 --dropout 0.3
    python -m experiments.limited_mnist --together
    python -m scripts.margin RUN

The first, with scores, takes 17 minutes on one core of an Intel Xeon beside another run; `--dry-run` says 7 minutes for
two idle ones. Numbers are in docs/results.md.

Networks and recipe of `experiments.dcgan_mnist`. Instance noise (Sønderby et al. 2017, arXiv 1610.04490) falls
linearly to nothing at the end of --noise-images; LeCam's term (Tseng et al. 2021, arXiv 2104.03310); consistency under
shifts of two pixels, for real and generated images (Zhao et al. 2021, arXiv 2002.04724); dropout; real and generated
images in one batch.
"""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from experiments import dcgan_mnist
from jaxgan import augment, d_loss, g_loss, latents
from jaxgan.losses import non_saturating
from jaxgan.state import GANState
from jaxgan.terms import Example, regularizers
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require
from jaxgan.training.options.fields import bounded


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    images: str | None = "1000"
    noise: float = bounded(0.0, at_least=0, below=math.inf)
    """Standard deviation of the noise on all that the discriminator sees, at the beginning; images are in [-1, 1]."""
    noise_images: int = bounded(150_000, at_least=1)
    """Real images after which there is none."""
    lecam: float = bounded(0.0, at_least=0, below=math.inf)
    """Weight of LeCam's term; `lecam` for --sweep."""
    consistency: float = bounded(0.0, at_least=0, below=math.inf)
    """Weight of consistency under shifts; `consistency` for --sweep."""
    dropout: float = bounded(0.0, at_least=0, below=1)
    """The share of the discriminator's activations that is dropped in training."""
    together: bool = False
    """Show the discriminator real and generated images in one batch."""

    PRESETS: ClassVar = {
        "paper": dcgan_mnist.FIFTY_EPOCHS,
        "smoke": {
            **dcgan_mnist.Options.PRESETS["smoke"],
            "images": "100",
            "noise": 0.5,
            "lecam": 0.1,
            "consistency": 1.0,
            "dropout": 0.1,
        },
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        # Shifted images are judged by themselves, and batch norm would make that another judge.
        require(self, "together", not (self.together and self.consistency), "left out with --consistency")


def fading_noise(options: Options, example: Example, keys: jax.Array, state: GANState) -> Example:
    """The example with instance noise as strong as it is after the images that were seen."""
    seen = jnp.asarray(state.step, jnp.float32) * options.batch_size
    left = jnp.maximum(0.0, 1.0 - seen / options.noise_images)
    return {**example, "image": augment.noise(example["image"], keys, options.noise * left)}


def build(options: Options, data: DataSpec) -> GAN:
    generator, discriminator = dcgan_mnist.networks(options, data)
    d_terms = [d_loss(non_saturating)]
    if options.lecam:
        d_terms.append(regularizers.lecam("lecam"))
    if options.consistency:
        shifted = lambda images, keys: augment.shift(images, keys, 2)  # noqa: E731 - used at once
        d_terms.append(regularizers.consistency(shifted, "consistency", fake=True))
    return compose(
        options,
        data,
        (generator, discriminator.clone(dropout=options.dropout)),
        latents(options.latent_size),
        d_terms,
        [g_loss(non_saturating)],
        updates="joint",
        weights={name: weight for name in ("lecam", "consistency") if (weight := getattr(options, name))},
        together=options.together,
        augment=functools.partial(fading_noise, options) if options.noise else None,
    )


if __name__ == "__main__":
    main(Options, build)
