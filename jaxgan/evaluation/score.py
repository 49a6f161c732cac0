"""A score: a number with its name and protocol."""

from typing import Any, NamedTuple

from jaxgan.evaluation.features.network import FeatureNetwork
from jaxgan.evaluation.pairs import OF_PAIRS

__all__ = ["HIGHER_IS_BETTER", "ONE_IS_BEST", "Score"]

HIGHER_IS_BETTER = {
    *("is", "precision", "recall", "density", "coverage", "modes", "quality", "distinct"),
    *("agreement", "class_coverage", "least_class_coverage", "psnr", "ssim", "ms_ssim"),
    *("psnr_y", "ssim_y", "retrieval"),
}
"""Keys of scores of which more is better."""

ONE_IS_BEST = {"spread"}
"""Keys of scores that are best at 1. Of all others less is better."""


class Score(NamedTuple):
    """A number and its protocol.

    key: its short name, such as "fid" or "recall". samples, real: the numbers of generated and of real images. std:
    over subsets or splits, or over pairs, if there are any. constants: what else the number depends on. metric: the
    metric that it belongs to. network: the network of its features; None for pixels. name: its title in records and
    tables."""

    key: str
    value: float
    samples: int
    real: int = 0
    std: float | None = None
    constants: dict[str, Any] = {}  # noqa: RUF012 - never written to
    metric: str = ""
    network: FeatureNetwork | None = None

    @property
    def of_pairs(self) -> bool:
        """Returns whether the score compares each image with its own target; otherwise it compares sets."""
        return self.metric in OF_PAIRS

    @property
    def name(self) -> str:
        published, own = TITLES.get(self.key, (self.key, self.key))
        if self.network is None:
            space = f" in {self.constants['space']}" if "space" in self.constants else ""
            of = f", features of {self.constants['network']}" if self.key in ("perceptual", "ppl") else ""
            return f"{own}{space}{of}"
        inception = self.network.name.startswith("inception")
        return f"{published} ({self.network.name})" if inception else f"{own}, classifier features {self.network.name}"


# Names of a number with Inception's features, where it compares with published ones, and with other features.
TITLES = {
    "fid": ("FID", "Fréchet distance"),
    "kid": ("KID", "kernel distance"),
    "is": ("inception score", "classifier score"),
    "agreement": ("", "share read as the class that was asked for"),
    "class_coverage": ("", "coverage inside a class, mean"),
    "least_class_coverage": ("", "coverage inside a class, least"),
    "kl": ("", "KL(modes ‖ uniform) in nats"),
    "quality": ("", "share of high-quality samples, within 3 standard deviations of a mode"),
    "swd": ("", "sliced Wasserstein distance of pixels"),
    "psnr": ("", "PSNR in dB"),
    "ssim": ("", "SSIM"),
    "ms_ssim": ("", "MS-SSIM"),
    "psnr_y": ("", "PSNR of the luma in dB"),
    "ssim_y": ("", "SSIM of the luma"),
    "retrieval": ("", "share whose nearest target is their own, in pixels"),
    "l1": ("", "mean absolute difference of pixels in [0, 1]"),
    "lpips": ("", "LPIPS"),
    "perceptual": ("", "perceptual distance"),
    "ppl": ("", "perceptual path length"),
    "vector_frechet": ("", "Fréchet distance of vectors"),
    "vector_swd": ("", "sliced Wasserstein distance of vectors"),
    "column_wasserstein": ("", "mean Wasserstein distance of a column"),
    "worst_column_wasserstein": ("", "largest Wasserstein distance of a column"),
    "distinct": ("", "share of distinct images, in pixels"),
    "spread": ("", "spread against the real images', in pixels"),
}
