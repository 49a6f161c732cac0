"""Compares a run on ring or grid with the density of its data, which is known.

    python -m scripts.density RUN
    python -m scripts.density RUN --step 1000 --weights raw

It says how well the discriminator's logit is log p/q, the ratio of the data's density p and the generator's q:
correlations by values and by ranks, over samples, over samples and points of the data, and over those of either where
log p/q is above -10; the logit of the last step against the samples of --weights. Far from a mode log p falls as a
square and log p/q is some hundreds below zero, where a discriminator can't follow: the quantiles of log p/q, and how
many standard deviations samples are away from the mode nearest to each, say whether that is so. q is the generator's
own density where it is a flow, else estimated from the distance of the 32nd neighbour among 200,000 samples. Below
stand the modes that samples reach, and the share of samples within 3 standard deviations
of one, as they are drawn, after rejection sampling and after Metropolis-Hastings chains, see `scripts.sample --reject`.
Of a flow it also says the log density that it gives held-out points, beside the data's own.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma
from scipy.stats import pearsonr, spearmanr

from jaxgan.data.sources import toys
from jaxgan.evaluation import nearest_modes
from jaxgan.terminal import align_columns, say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require
from jaxgan.training.options.fields import bounded
from jaxgan.training.recipe.gan import Weights
from scripts.checkpoint_options import CheckpointOptions, open_checkpoint
from scripts.rejected import RejectionOptions, Rejector

NEIGHBOUR, SAMPLES = 32, 200_000  # of the estimated density
HELD_OUT = 1  # the seed of points that no set has
AT_ONCE = 4096
FINITE = -10.0  # the log ratio below which a discriminator hardly sees a point of the data: one of 22,000
FEWEST = 30  # points whose correlation is said


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RejectionOptions, CheckpointOptions):
    run: Positional[Path]
    """A run directory of a GAN of points, on ring or grid."""
    count: int = bounded(10_000, at_least=100)
    """Samples, and held-out points."""


class Likeness(NamedTuple):
    """Correlations of logits with log ratios, by their values and by their ranks."""

    pearson: float
    spearman: float


def likeness(logits: np.ndarray, log_ratios: np.ndarray) -> Likeness:
    """Returns the correlations of logits and log ratios `[N]`; NaN for fewer than `FEWEST`, and where either is the
    same for all."""
    if len(logits) < FEWEST or not (np.ptp(logits) and np.ptp(log_ratios)):
        return Likeness(math.nan, math.nan)
    return Likeness(float(pearsonr(logits, log_ratios)[0]), float(spearmanr(logits, log_ratios)[0]))


def neighbour_density(points: np.ndarray, samples: np.ndarray, neighbour: int = NEIGHBOUR) -> np.ndarray:
    """Estimates the log density at points `[N, 2]`, float64 `[N]`, of what other samples `[M, 2]` were drawn from, from
    the distance r of the k-th nearest: ψ(k) - log M - log πr². Its standard deviation is about 1/√k where the density
    hardly changes over r. Loftsgaarden & Quesenberry 1965; with ψ(k) for log k the logarithm is unbiased (Kozachenko &
    Leonenko 1987). ValueError for fewer samples than k."""
    if len(samples) < neighbour:
        raise ValueError(f"the {neighbour}th neighbour needs as many samples, got {len(samples)}")
    distances = cKDTree(samples).query(points, [neighbour])[0][:, 0]
    return np.asarray(digamma(neighbour) - np.log(len(samples)) - np.log(np.pi) - 2 * np.log(distances), np.float64)


def log_density(run: OpenRun, points: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns the log density of points `[N, 1, 1, 2]` that the generator, a flow, says, float64 `[N]`."""
    found = run.gan.log_density
    if found is None:
        raise UsageError(f"the generator of {run.directory} knows no density")
    nats = jax.jit(lambda state, points: found(state, points, weights=weights))(run.drawn_state, points)
    return np.asarray(nats, np.float64)


def likelihood_lines(run: OpenRun, options: Options) -> list[str]:
    """Returns what there is to say of the log density of held-out points."""
    points, _ = toys.draw(run.data.name, HELD_OUT, options.count)
    nats, own = log_density(run, points, options.weights), toys.log_density(run.data.name, points[:, 0, 0])
    rows = [["log density of held-out points", "nats", "standard error"]]
    for name, values in (("the flow's", nats), ("the data's", own), ("difference, KL(p ‖ q)", own - nats)):
        rows.append([name, f"{values.mean():.4g}", f"{values.std(ddof=1) / np.sqrt(len(values)):.2g}"])
    expected = f"the data's expected one is {-toys.entropy(run.data.name):.4f} nats, minus its entropy"
    return [*align_columns(rows), expected]


def ratio_lines(run: OpenRun, options: Options, samples: np.ndarray) -> list[str]:
    """Returns what there is to say of the discriminator's logits at samples `[N, 1, 1, 2]`, and points of the data."""
    rejector, name = Rejector(run, options), run.data.name
    held, _ = toys.draw(name, HELD_OUT, len(samples))
    points = np.concatenate([samples, held])
    logits = rejector.logits({"image": points})
    if run.gan.log_density is None:
        others = run.draw(SAMPLES, seed=options.seed + 1, weights=options.weights, at_once=AT_ONCE)["image"]
        q, how = neighbour_density(points[:, 0, 0], others[:, 0, 0]), f"estimated from {SAMPLES:,} samples"
    else:
        q, how = log_density(run, points, options.weights), "the flow's own"
    ratios, rows = toys.log_density(name, points[:, 0, 0]) - q, [["logit and log p/q", "Pearson", "Spearman"]]
    drawn = np.arange(len(points)) < len(samples)
    for what, some in (
        ("at samples", drawn),
        (f"at samples where it is above {FINITE:g}", drawn & (ratios > FINITE)),
        ("at samples and points of the data", np.ones(len(points), bool)),
        (f"at those where it is above {FINITE:g}", ratios > FINITE),
    ):
        found = likeness(logits[some], ratios[some])
        rows.append([f"{what}, {some.sum():,}", *("-" if math.isnan(x) else f"{x:.3f}" for x in found)])
    return [*align_columns(rows), *distance_lines(name, samples[:, 0, 0], ratios[drawn]), f"the density q is {how}"]


def distance_lines(name: str, samples: np.ndarray, log_ratios: np.ndarray) -> list[str]:
    """Returns how far samples `[N, 2]` are from the mode nearest to each, quantiles of that and of log p/q `[N]`."""
    apart = np.linalg.norm(samples[:, None] - toys.centres(name), axis=-1)
    share = np.bincount(apart.argmin(axis=1), minlength=apart.shape[1]).max() / len(samples)
    rows = [["at samples", "1 %", "median", "99 %"]]
    for what, values in (
        ("log p/q", log_ratios),
        ("from the nearest mode, in standard deviations", apart.min(axis=1) / toys.SIGMA[name]),
    ):
        rows.append([what, *(f"{x:.3g}" for x in np.quantile(values, (0.01, 0.5, 0.99)))])
    return [*align_columns(rows), f"the mode that is nearest to most is so to {100 * share:.1f} % of samples"]


def mode_lines(run: OpenRun, options: Options, samples: np.ndarray) -> list[str]:
    """Returns the modes of samples `[N, 1, 1, 2]` as they are, and of as many by each way of rejection."""
    name = run.data.name
    rows = [["samples", "modes", "near a mode", "accepted"]]
    for how in ("as they are", "drs", "mh"):
        rate = 1.0
        if how != "as they are":
            rejector = Rejector(run, dataclasses.replace(options, reject=how))
            try:
                samples = rejector(options.count, seed=options.seed, weights=options.weights)["image"]
            except UsageError as error:  # of a discriminator that tells nothing
                say(str(error), error=True)
                continue
            rate = rejector.rate
        found = nearest_modes(samples[:, 0, 0], toys.centres(name), 3 * toys.SIGMA[name])
        of = f"{found.modes} of {len(toys.centres(name))}"
        rows.append([how, of, f"{100 * found.quality:.2f} %", f"{100 * rate:.2f} %"])
    return align_columns(rows)


def run(options: Options) -> None:
    require(options, "reject", options.reject is None, "left out: samples by either way stand beside each other")
    opened = open_checkpoint(options.run, options)
    if opened.data.name not in toys.SIGMA:
        raise UsageError(f"{options.run} is a run on {opened.data.name}; the density of ring and grid is known")
    if opened.members:
        raise UsageError(f"{options.run} has {len(opened.members)} GANs; name one with --member")
    how: dict[str, Any] = {"seed": options.seed, "weights": options.weights}
    samples = opened.draw(options.count, **how)["image"]
    if opened.gan.log_density is not None:
        say(*likelihood_lines(opened, options))
    if "discriminator" in opened.state.players:
        say(*ratio_lines(opened, options, samples))
        say(*mode_lines(opened, options, samples))
    say(f"{options.weights} weights of step {opened.step}")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
