"""How often the verdict of a report is right: runs that are healthy, and runs in which something was made to go wrong.

    python -m scripts.benchmarks.verdicts
    python -m scripts.benchmarks.verdicts --first-seed 100 --healthy 4 --planted 2

trains dense GANs with the relativistic loss, R1 and R2 on the ring and on digits, several seeds at once, in a folder
that is thrown away, and reads the verdict as `python -m scripts.report` does. From a step on, another one for each
seed,

- `collapse`: the layer that reads the latent fades by a twentieth a step;
- `not finite`: the generator's parameters are NaN;
- `rates`: both players learn a thousand times as fast;
- `modes`: the discriminator is shown a part of the modes, 5 of 8 on the ring and digits below 5, and `never` from the
  first step on.

Whether a healthy run is one is told by other means than the verdict's: 5,000 samples at the end, by the ring's centres
or by a support vector machine on digits, of which each mode must have a tenth of its share. Thresholds were set with
the seeds from 100 on (the second command, and --healthy 8), and then left alone.
"""

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable
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
STEPS = {"ring": 2400, "digits": 1800}


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    first_seed: int = bounded(1000, at_least=0)
    """The seed of the first run of each kind."""
    healthy: int = bounded(10, at_least=1)
    """Healthy runs on each set."""
    planted: int = bounded(4, at_least=1)
    """Runs of each kind of fault on each set."""


def options_of(name: str, seeds: int, first: int, folder: Path) -> Any:
    every = STEPS[name] // 12
    shared = {
        "seed": first,
        "seeds": seeds,
        "steps": STEPS[name],
        "workdir": str(folder),
        "eval_every": every,
        "sample_every": every,
        "checkpoint_every": STEPS[name],
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


def damaged(kind: str, state: Any, now: jax.Array) -> Any:
    """The state with its fault, where it has one by now."""
    if kind == "rates":
        factor = jnp.where(now, 1000.0, 1.0)
        rates = {name: value * factor for name, value in state.hyper.items() if name.endswith("learning_rate")}
        return state.replace(hyper={**state.hyper, **rates})
    generator = state.players["generator"]
    leaves, tree = jax.tree.flatten(generator.params)
    first = next(number for number, leaf in enumerate(leaves) if leaf.ndim == 2)
    leaves[first] = leaves[first] * jnp.where(now, {"collapse": 0.95, "not finite": jnp.nan}[kind], 1.0)
    return state.replace(
        players={**state.players, "generator": generator.replace(params=jax.tree.unflatten(tree, leaves))}
    )


def planted(name: str, kind: str) -> Callable[[Any, DataSpec], GAN]:
    """A build function whose GAN has a fault from a step on, which depends on its seed."""
    build = build_of(name)
    if kind == "healthy":
        return build

    def faulty(options: Any, spec: DataSpec) -> GAN:
        gan = build(options, spec)

        def iteration(state: Any, batch: Any) -> Any:
            seed = jax.random.key_data(state.key)[1]
            begins = STEPS[name] * (3 + seed % 4) // 10
            now = state.step >= (0 if kind == "never" else begins)
            if kind in ("modes", "never"):
                batch = jax.tree.map(lambda some, all_: jnp.where(now, some, all_), some_modes(name, batch), batch)
                return gan.iteration(state, batch)
            hyper = state.hyper
            state, metrics = gan.iteration(damaged(kind, state, now), batch)
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


def judged(name: str, kind: str, seeds: int, first: int) -> list[tuple[str, str, bool]]:
    """The verdict on each run, its sign, and whether the run has all modes."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        options = options_of(name, seeds, first, directory)
        with contextlib.suppress(Stopped):
            train(planted(name, kind), options)
        course = read_course(directory)
        verdicts = [course.verdict(number) for number in course.numbers()]
        whole = [True] * len(verdicts)
        if kind == "healthy":
            drawn = open(directory, build=build_of(name)).sample(SAMPLES)
            whole = [has_all_modes(name, each, RealData.of_run(options)) for each in drawn]
        return [(*verdict, each) for verdict, each in zip(verdicts, whole, strict=True)]


def run(options: Options) -> None:
    rows, right, alarms, counted = [["set", "runs", "number", "named rightly", "named"]], [], [], []
    for name in STEPS:
        for kind in RIGHT:
            number = options.healthy if kind == "healthy" else options.planted
            found = judged(name, kind, number, options.first_seed)
            unlike = [each for each in found if not each[2]]
            expected = [RIGHT["modes"] if not whole else RIGHT[kind] for *_, whole in found]
            good = [state in names for (state, *_), names in zip(found, expected, strict=True)]
            right += good
            alarms += [not each for each, (*_, whole) in zip(good, found, strict=True) if kind == "healthy" and whole]
            counted += found
            for (state, sign, _), well in zip(found, good, strict=True):
                say(f"{name}, {kind}: {state}: {sign}{'' if well else '   <-- wrong'}")
            states = Counter(state for state, *_ in found)
            named = ", ".join(f"{count} {state}" for state, count in states.most_common())
            named += f" ({len(unlike)} of them lack modes by other means)" if unlike else ""
            rows.append([name, kind, str(len(found)), str(sum(good)), named])
    say(*align_columns(rows))
    say(f"{sum(right)} of {len(right)} runs named rightly, {sum(alarms)} false alarms in {len(alarms)} healthy runs")


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
