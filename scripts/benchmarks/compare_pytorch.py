"""A plain recipe of ours beside the same in PyTorch: architecture, optimiser, batch and steps, a seed for each GAN.

    python -m experiments.gan_mnist --dataset mnist --seeds 3 --workdir RUN
    python -m scripts.benchmarks.compare_pytorch RUN

trains as many PyTorch networks as the run has GANs, as long (kept in --cache), draws 10,000 images from each and
measures the Fréchet distance to MNIST's 60,000 training images in the features of the packaged classifier mnist-v1.
Several runs of one experiment, each with a seed of its own, may be named too, with their default options but for steps.
Recipes: gan_mnist, dcgan_mnist, lsgan_mnist (least squares), wgan_gp_mnist. PyTorch (tried with 2.13.0, CPU) is needed
here and nowhere else.
"""

import dataclasses
import importlib.util
import time
from pathlib import Path

import numpy as np

from jaxgan import training
from jaxgan.evaluation import classifier_features, scores
from jaxgan.terminal import align_columns, say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, writing
from jaxgan.training.options.options import differing
from jaxgan.training.recipe.loading import load

SAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Options:
    runs: Positional[tuple[Path, ...]]
    """Finished runs of one experiment on MNIST."""
    cache: Path = Path("runs/compare")
    """Folder for the images that the PyTorch networks draw."""


def opened(paths: tuple[Path, ...]) -> tuple[str, list[training.OpenRun]]:
    """The experiment, and each of its GANs. UsageError where they aren't of one kind and length, on MNIST, with the
    options that the PyTorch recipes have."""
    if not paths:
        raise UsageError("name the runs to compare")
    runs = [training.open(path) for path in paths]
    kinds = {(type(run.options).__module__.rpartition(".")[2], run.step, run.data.name) for run in runs}
    if len(kinds) > 1 or runs[0].data.name != "mnist":
        has = "; ".join(f"{name} at step {step} on {data}" for name, step, data in sorted(kinds))
        raise UsageError(f"the runs must be of one experiment, at one step, on mnist, got {has}")
    for run in runs:
        plain = type(run.options)(**{name: getattr(run.options, name) for name in ("seed", "seeds", "ema_half_life")})
        if others := differing(plain, dataclasses.asdict(run.options)):
            raise UsageError(f"{run.directory} isn't what the PyTorch recipe is: {', '.join(others)}")
    alone = [one for run in runs for one in [run.member(m.number) for m in run.members] or [run]]
    if any(one.frozen for one in alone) or len({one.options.seed for one in alone}) < len(alone):
        raise UsageError("the GANs must have seeds of their own, and none of them diverged")
    return kinds.pop()[0], alone


def compare(options: Options) -> None:
    name, runs = opened(options.runs)
    if importlib.util.find_spec("torch") is None:
        raise UsageError("this comparison needs PyTorch, which isn't installed: pip install torch")
    from scripts.benchmarks import pytorch_recipes

    first = runs[0]
    if name not in pytorch_recipes.RECIPES:
        raise UsageError(f"{name} has no PyTorch recipe; there are {', '.join(pytorch_recipes.RECIPES)}")
    data, network = load(first.options).images, classifier_features("mnist-v1")
    with writing(options.cache):
        options.cache.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[np.ndarray]] = {"jaxgan, averaged weights": [], "jaxgan, raw weights": [], "PyTorch": []}
    for run in runs:
        seed = run.options.seed
        kept = options.cache / f"{name}-steps{run.step}-seed{seed}.npy"
        if not kept.exists():
            began = time.perf_counter()
            np.save(kept, pytorch_recipes.samples(name, run.options, seed, run.step, data, SAMPLES))
            say(f"PyTorch, seed {seed}: {time.perf_counter() - began:.0f} s")
        drawn["PyTorch"].append(np.load(kept))
        drawn["jaxgan, raw weights"].append(run.sample(SAMPLES, weights="raw", seed=seed))
        drawn["jaxgan, averaged weights"].append(run.sample(SAMPLES, seed=seed))
    lines = [[f"{name}, {first.step:,} steps", "mean ± standard error", "seeds"]]
    for whose, sets in drawn.items():
        found = np.array([scores(["fid"], network, each, data)[0].value for each in sets])
        error = f" ± {found.std(ddof=1) / np.sqrt(len(found)):.2f}" if len(found) > 1 else ""
        lines.append([whose, f"{found.mean():.2f}{error}", ", ".join(f"{value:.2f}" for value in found)])
    say(*align_columns(lines))


if __name__ == "__main__":
    with plain_exits():
        compare(command_line(Options))
