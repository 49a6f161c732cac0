"""How often the verdict of a report is right: runs that are healthy, and runs in which something was made to go wrong.

    python -m scripts.benchmarks.verdicts
    python -m scripts.benchmarks.verdicts --first-seed 100 --healthy 6 --planted 2

trains dense GANs with the relativistic loss, R1 and R2 on the ring and on digits, all of a set in one program in a
folder that is thrown away, and reads their verdicts as `python -m scripts.report` does. From a step on, another one for
each seed,

- `collapse`: the generator's first layer is 0 before each update, so that it hardly reads the latent;
- `not finite`: that layer is NaN;
- `rates`: both players learn a thousand times as fast;
- `modes`: the discriminator is shown a part of the modes, 5 of 8 on the ring and digits below 5, and `never` from the
  first step on.

Whether a healthy run is one is told by other means than the verdict's: 5,000 samples at the end, by the ring's centres
or by a support vector machine on digits, of which each mode must have a tenth of its share. No threshold was
changed after the second command's runs, nor by these.
"""

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import gan_mnist, unrolled_ring
from experiments.rpgan_stacked_mnist import gradient_penalties
from jaxgan import d_loss, g_loss, latents
from jaxgan.data.sources import toys
from jaxgan.losses import relativistic
from jaxgan.terminal import align_columns, say
from jaxgan.training import GAN, DataSpec, Stopped, compose, open, train  # noqa: A004 - the library's name for it
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.reporting.course import read_course
from jaxgan.training.scoring.monitor import COLLAPSED
from jaxgan.training.scoring.real_data import RealData

RIGHT = {
    "healthy": ("learning", "converged"),
    "collapse": ("collapsed",),
    "not finite": ("diverged",),
    "rates": ("diverged",),
    "modes": ("lost modes",),
    "never": ("lost modes",),
}
SAMPLES, SHARE = 5000, 0.1
SETS, STEPS = ("ring", "digits"), 1500


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    first_seed: int = bounded(1000, at_least=0)
    """The seed of the first run of each kind."""
    healthy: int = bounded(10, at_least=1)
    """Healthy runs on each set."""
    planted: int = bounded(4, at_least=1)
    """Runs of each kind of fault on each set."""


def options_of(name: str, seeds: int, first: int, folder: Path) -> Any:
    every = STEPS // 10
    shared = {
        "seed": first,
        "seeds": seeds,
        "steps": STEPS,
        "workdir": str(folder),
        "eval_every": every,
        "sample_every": every,
        "checkpoint_every": STEPS,
        "eval_count": 1024,
        "devices": 1,
        "ema_half_life": 5000.0,
        "learning_rate": 1e-3,
        "beta1": 0.0,
    }
    if name == "ring":
        own = {"unroll": 0, "loss": "relativistic", "r1": 0.1, "r2": 0.1, "batch_size": 128, "width": 96}
        return unrolled_ring.Options(**{**shared, **own})
    own = {
        "dataset": "digits",
        "image_size": 8,
        "fit": "crop",
        "widths": (96, 96),
        "latent_size": 16,
        "batch_size": 64,
        "dropout": 0.0,
    }
    return gan_mnist.Options(**{**shared, **own})


def build_of(name: str) -> Callable[[Any, DataSpec], GAN]:
    if name == "ring":
        return unrolled_ring.build

    def build(options: Any, data: DataSpec) -> GAN:
        terms, weights = gradient_penalties({"r1": 5.0, "r2": 5.0})
        networks, players = gan_mnist.networks(options, data), ([d_loss(relativistic), *terms], [g_loss(relativistic)])
        return compose(
            options, data, networks, latents(options.latent_size), *players, updates="joint", weights=weights
        )

    build.__module__ = gan_mnist.__name__
    return build


def some_modes(name: str, batch: Any) -> Any:
    """The batch without a part of the modes."""
    images = batch["image"]
    if name == "ring":  # the lower half on the upper one: three modes less
        return {**batch, "image": images.at[..., 1].set(jnp.abs(images[..., 1]))}
    kept = batch["label"] < 5
    order = jnp.argsort(~kept, stable=True)
    chosen = order[jnp.arange(len(order)) % jnp.maximum(kept.sum(), 1)]
    return jax.tree.map(lambda array: array[chosen], batch)


def damaged(state: Any, factor: jax.Array, faster: jax.Array) -> Any:
    """The state with the generator's first layer times a factor, and with faster rates."""
    rates = {name: value * faster for name, value in state.hyper.items() if name.endswith("learning_rate")}
    generator = state.players["generator"]
    leaves, tree = jax.tree.flatten(generator.params)
    first = next(number for number, leaf in enumerate(leaves) if leaf.ndim == 2)
    leaves[first] = leaves[first] * factor
    players = {**state.players, "generator": generator.replace(params=jax.tree.unflatten(tree, leaves))}
    return state.replace(players=players, hyper={**state.hyper, **rates})


def planted(name: str, kinds: Sequence[str], first: int) -> Callable[[Any, DataSpec], GAN]:
    """A build function whose GANs have these faults, that of seed first + k the k-th, from a step on that depends on
    the seed."""
    build = build_of(name)
    numbers = jnp.array([list(RIGHT).index(kind) for kind in kinds])

    def faulty(options: Any, spec: DataSpec) -> GAN:
        gan = build(options, spec)

        def iteration(state: Any, batch: Any) -> Any:
            number = jax.random.key_data(state.key)[1] - first
            kind, late = numbers[number], state.step >= STEPS * (3 + number % 4) // 10

            def has(which: str) -> jax.Array:
                return (kind == list(RIGHT).index(which)) & (late | (which == "never"))

            lost = has("modes") | has("never")
            batch = jax.tree.map(lambda some, all_: jnp.where(lost, some, all_), some_modes(name, batch), batch)
            factor = jnp.where(has("collapse"), 0.0, jnp.where(has("not finite"), jnp.nan, 1.0))
            hyper = state.hyper
            state, metrics = gan.iteration(damaged(state, factor, jnp.where(has("rates"), 1000.0, 1.0)), batch)
            return state.replace(hyper=hyper), metrics

        return gan._replace(iteration=iteration)

    faulty.__module__ = build.__module__
    return faulty


def has_all_modes(name: str, samples: np.ndarray, real: RealData) -> bool:
    """Whether each mode has a tenth of its share, by other means than the verdict's."""
    if name == "ring":
        centres = toys.centres("ring")
        modes = ((samples.reshape(-1, 1, 2) - centres) ** 2).sum(-1).argmin(1)
        return bool((np.bincount(modes, minlength=8) >= SHARE * len(samples) / 8).all())
    from sklearn.svm import SVC

    images = real.examples(real.spec.count)
    read = (
        SVC().fit(images.reshape(len(images), -1) / 255, real.labels).predict(samples.reshape(len(samples), -1) / 255)
    )
    return bool((np.bincount(read, minlength=10) >= SHARE * len(samples) / 10).all())


def judged(name: str, kinds: Sequence[str], first: int) -> list[tuple[str, str, bool]]:
    """The verdict on each run, its sign, and whether a healthy run has all modes."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        options = options_of(name, len(kinds), first, directory)
        try:
            train(planted(name, kinds, first), options)
        except Stopped as stop:
            if stop.status not in (1, COLLAPSED):  # by a signal
                raise
        course = read_course(directory)
        drawn = open(directory, build=build_of(name)).sample(SAMPLES)
        real, found = RealData.of_run(options), []
        for number, kind in enumerate(kinds):
            whole = kind != "healthy" or has_all_modes(name, drawn[number], real)
            found.append((*course.verdict(number), whole))
        return found


def run(options: Options) -> None:
    kinds = [kind for kind in RIGHT for _ in range(options.healthy if kind == "healthy" else options.planted)]
    rows, right, alarms = [["set", "runs", "number", "named rightly", "named"]], [], []
    for name in SETS:
        found: dict[str, list[tuple[str, bool, bool]]] = {}
        for kind, (state, sign, whole) in zip(kinds, judged(name, kinds, options.first_seed), strict=True):
            well = state in (RIGHT[kind] if whole else RIGHT["modes"])
            found.setdefault(kind, []).append((state, well, whole))
            say(f"{name}, {kind}: {state}: {sign}{'' if well else '   <-- wrong'}")
        for kind, each in found.items():
            named = ", ".join(f"{count} {state}" for state, count in Counter(state for state, *_ in each).most_common())
            lacking = sum(not whole for *_, whole in each)
            named += f" ({lacking} lack modes by other means)" if lacking else ""
            right += [well for _, well, _ in each]
            alarms += [not well for _, well, whole in each if kind == "healthy" and whole]
            rows.append([name, kind, str(len(each)), str(sum(well for _, well, _ in each)), named])
    say(*align_columns(rows))
    say(f"{sum(right)} of {len(right)} runs named rightly, {sum(alarms)} false alarms in {len(alarms)} healthy runs")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
