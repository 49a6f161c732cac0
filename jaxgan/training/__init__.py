"""The host side of a run: options, loop, checkpoints, logs and pictures."""

from jaxgan.training.errors.stopping import Stopped
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.exporting.weights import load_weights
from jaxgan.training.loop import main, train
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.compose import compose, labels_needed
from jaxgan.training.recipe.data_spec import DataSpec, Field
from jaxgan.training.recipe.gan import GAN, Latents, Translation, generate_with, init_with, sample_with
from jaxgan.training.recipe.latents import latents_with, sample_through
from jaxgan.training.run.open_run import OpenRun, open  # noqa: A004 - called as `training.open`
from jaxgan.training.run.projection import load_projection

__all__ = [
    "GAN",
    "DataSpec",
    "Field",
    "Latents",
    "OpenRun",
    "Options",
    "Stopped",
    "Translation",
    "UsageError",
    "compose",
    "generate_with",
    "init_with",
    "labels_needed",
    "latents_with",
    "load_projection",
    "load_weights",
    "main",
    "open",
    "sample_through",
    "sample_with",
    "train",
]
