"""The host side of a run: options, loop, checkpoints, logs and pictures."""

from jaxgan.training.experiment import GAN, DataSpec, generate_with
from jaxgan.training.loop import main, train
from jaxgan.training.options import Options, UsageError
from jaxgan.training.stop import Stopped

__all__ = ["GAN", "DataSpec", "Options", "Stopped", "UsageError", "generate_with", "main", "train"]
