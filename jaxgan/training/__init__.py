"""The host side of a run: options, loop, checkpoints, logs and pictures."""

from jaxgan.training.composing import compose, labels_needed
from jaxgan.training.experiment import GAN, generate_with, init_with, sample_with
from jaxgan.training.loop import main, train
from jaxgan.training.opened import OpenRun, open  # noqa: A004 - called as `training.open`
from jaxgan.training.options import Options
from jaxgan.training.spec import DataSpec, Field
from jaxgan.training.stop import Stopped
from jaxgan.training.usage import UsageError

__all__ = [
    "GAN",
    "DataSpec",
    "Field",
    "OpenRun",
    "Options",
    "Stopped",
    "UsageError",
    "compose",
    "generate_with",
    "init_with",
    "labels_needed",
    "main",
    "open",
    "sample_with",
    "train",
]
