"""DCGAN on 1,797 digits with adaptive augmentation (ADA). Karras et al. 2020, https://arxiv.org/abs/2006.06676

The discriminator sees changed images, as often as it overfits. What it should reach: `discriminator/ada`, the
probability of every change, rises from 0 as soon as the discriminator takes more than four fifths of the real images
for real, and falls when it takes fewer; digits at the end, none of them upside down or in negative, though the
discriminator sees such ones.

    python -m experiments.ada_digits
    python -m experiments.ada_digits --augment none
    python -m experiments.ada_digits --augment diffaugment
    python -m experiments.ada_digits --dataset mnist

The last has 60,000 images. After 1,500 steps of the first three nothing is gained yet, and the probability is near 0
(docs/results.md); none has been trained to its end.

Networks of `experiments.dcgan_mnist` with half the channels, the discriminator without batch norm, under which the sign
of a logit, which ADA follows, would depend on the rest of the batch; scikit-learn's digits, enlarged from 8 to 28
pixels. What ADA does is the paper's: flips and turns by quarters, affine maps, colours, a target of 0.6, a decision
every fourth step. It may reach a probability of 1 within --ada-images, where the paper has 500,000 in runs of 25
million. DiffAugment (Zhao et al. 2020, https://arxiv.org/abs/2006.10738) changes all images, by colour, translation and
cutout, at a strength that stays. --preset paper has the widths of the tutorials' DCGAN and the paper's 500,000 images;
nobody has run it here.
"""

import dataclasses
import math
from typing import ClassVar, Literal

from experiments import dcgan_mnist
from jaxgan import ada, d_loss, diffaugment, g_loss, latents, losses
from jaxgan.data.transform import FitOrTiles
from jaxgan.training import GAN, DataSpec, compose, main
from jaxgan.training.errors.usage import require, require_used
from jaxgan.training.options.fields import bounded

SIGNED = ("non_saturating", "hinge")  # losses under which a logit's sign says real or generated


@dataclasses.dataclass(frozen=True)
class Options(dcgan_mnist.Options):
    dataset: str = "digits"
    image_size: dcgan_mnist.ImageSize = 28
    fit: FitOrTiles = "crop"
    steps: int = 3000
    features: int = bounded(32, at_least=1)
    """Channels of the layers next to the image; deeper ones have twice as many each."""
    augment: Literal["none", "ada", "diffaugment"] = "ada"
    """What changes the images that the discriminator sees, in both players' updates."""
    loss: Literal["non_saturating", "hinge", "wasserstein", "least_squares"] = "non_saturating"
    """The loss of both players; ada goes with the first two."""
    ada_target: float = bounded(0.6, above=-1, below=1)
    """The mean sign of real logits above which ada's probability rises."""
    ada_images: float = bounded(50_000.0, above=0, below=math.inf)
    """Images in which ada's probability can rise from 0 to 1."""
    strength: float = bounded(1.0, at_least=0, at_most=1)
    """How strong diffaugment's changes are; 1 is the paper's. `strength` for --sweep."""

    PRESETS: ClassVar = {
        "paper": {**dcgan_mnist.FIFTY_EPOCHS, "features": 64, "ada_images": 500_000.0},
        "smoke": dcgan_mnist.Options.PRESETS["smoke"],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        signed = self.augment != "ada" or self.loss in SIGNED
        require(self, "loss", signed, f"{' or '.join(SIGNED)} with --augment ada, which follows the sign of D's logits")
        require_used(self, "strength", self.augment == "diffaugment", "--augment diffaugment")


def build(options: Options, data: DataSpec) -> GAN:
    loss = getattr(losses, options.loss)
    d_terms, augment, weights = [d_loss(loss)], None, {}
    if options.augment == "ada":
        d_terms.append(ada.controller(loss, options.ada_target, options.ada_images))
        augment = ada.augmentation(field=data.main)
    elif options.augment == "diffaugment":
        augment = diffaugment.augmentation("strength", field=data.main)
        weights["strength"] = options.strength
    return compose(
        options,
        data,
        dcgan_mnist.networks(options, data, norm=None),
        latents(options.latent_size),
        d_terms,
        [g_loss(loss)],
        updates="joint",
        weights=weights,
        augment=augment,
    )


if __name__ == "__main__":
    main(Options, build)
