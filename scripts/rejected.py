"""Samples that a run's discriminator lets pass, for the commands that draw: discriminator rejection sampling and
Metropolis-Hastings chains, see `jaxgan.rejection`."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.sets import LABEL
from jaxgan.rejection import (
    Bound,
    Calibration,
    Chain,
    acceptance,
    bound_of,
    calibrate,
    calibration_z,
    metropolis_hastings,
)
from jaxgan.state import GANState
from jaxgan.terminal import progress_bar, say
from jaxgan.training import OpenRun
from jaxgan.training.errors.usage import UsageError, require_used
from jaxgan.training.options.fields import Bounded, bounded
from jaxgan.training.output.drawing import Drawn
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.recipe.loading import drawn_from

__all__ = ["RejectionOptions", "Rejector", "drawer"]

AT_ONCE = 256  # examples in a dispatch
PIECE = 16  # proposals of a chain in a dispatch
FEWEST = 16  # real examples to calibrate on
Judge = Callable[[Any, jax.Array, Mapping[str, jax.Array]], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectionOptions(Bounded):
    """Which samples a discriminator lets pass."""

    GROUP: ClassVar[str] = "rejection"

    reject: Literal["drs", "mh"] | None = None
    """Draw by the discriminator too: drs, rejection sampling (arXiv 1810.06758), or mh, each sample the end of a
    Metropolis-Hastings chain that starts from a real example (arXiv 1811.11357)."""
    calibrate: bool = True
    """Fit the ratio of densities to the discriminator's logits of held-out and generated examples. Without, the logit
    itself is taken for its logarithm, as it should be of the logistic loss alone."""
    burn_in: int = bounded(10_000, at_least=FEWEST)
    """Samples by which the largest ratio is found, and by which logits are calibrated."""
    percentile: float = bounded(80.0, at_least=0, below=100)
    """Of drs: the share of samples, in per cent, that are accepted with a probability below one half."""
    chain: int = bounded(640, at_least=1)
    """Of mh: samples that a chain is offered."""

    def require_rejection(self) -> None:
        """Raises UsageError for options that have no effect without --reject, or with the other of its ways."""
        for name in ("calibrate", "burn_in"):
            require_used(self, name, self.reject is not None, "--reject drs or mh")
        require_used(self, "percentile", self.reject == "drs", "--reject drs")
        require_used(self, "chain", self.reject == "mh", "--reject mh")


class Ratio(NamedTuple):
    """How logits become log ratios, and what was found out on the way."""

    calibration: Calibration
    fakes: np.ndarray  # logits of the burn-in
    labels: np.ndarray  # what it was asked for by, 0 where by nothing
    said: tuple[str, ...]

    def bounds(self, classes: int, percentile: float) -> Bound:
        """Returns the bound of each class, `[classes]`: samples that are asked for by their class are of the right
        density where each has the bound of its own. A class that is not in the burn-in gets that of all."""
        ratios = np.asarray(self.calibration(jnp.asarray(self.fakes)))
        of_all = bound_of(jnp.asarray(ratios), percentile)
        parts = [ratios[self.labels == one] for one in range(classes)]
        found = [bound_of(jnp.asarray(part), percentile) if len(part) else of_all for part in parts]
        return jax.tree.map(lambda *each: jnp.stack(each), *found)


def drawer(run: OpenRun, options: RejectionOptions) -> Callable[..., Drawn]:
    """Returns what draws of a run as `OpenRun.draw` does: that or, with --reject, a `Rejector` of it. UsageError where
    there is nothing to reject by."""
    return Rejector(run, options) if options.reject else run.draw


class Rejector:
    """Draws a run's main output as `OpenRun.draw` does, what its discriminator lets pass by `options`, and says how
    much that was. The same seed draws the same, however many are asked for. UsageError for a run whose discriminator
    doesn't judge single examples, and for several GANs.

    rate: the share of samples that was accepted of those that were drawn last."""

    def __init__(self, run: OpenRun, options: RejectionOptions) -> None:
        self.run, self.options, self.rate = run, options, 0.0
        self._logits = _judge(run)
        self._reals: dict[int | None, tuple[Mapping[str, np.ndarray], np.ndarray, str]] = {}

    @property
    def protocol(self) -> dict[str, Any]:
        """Returns what a score's record says of how samples were chosen."""
        own = {"drs": {"percentile": self.options.percentile}, "mh": {"chain": self.options.chain}}
        how = {"method": self.options.reject, "calibrated": self.options.calibrate, "burn_in": self.options.burn_in}
        return {"rejection": {**how, **own[str(self.options.reject)]}}

    def __call__(
        self,
        count: int,
        *,
        seed: int = 0,
        weights: Weights = "ema",
        label: int | None = None,
        run: int | None = None,
        **how: Any,
    ) -> Drawn:
        """Returns `count` samples, stored, by the name of the main output, and `label` `[count]` where they were asked
        for by labels. Arguments as of `OpenRun.draw`."""
        weights = self.run.checked(count, weights, label)
        asked = self.run.drawing.asked(0, count, label=label, run=run)
        burning, *keys = jax.random.split(jax.random.key(seed), 3)
        judged = functools.partial(self._judged, weights=weights, **how)
        ratio = self._ratio(judged, burning, label)
        say(*ratio.said)
        if self.options.reject == "drs":
            drawn = self._rejection(judged, ratio, asked, keys, count)
        else:
            drawn = self._chains(judged, ratio, asked, keys, count, label)
        return {**drawn, **({LABEL: asked[LABEL]} if self.run.drawing.by_label else {})}

    def _judged(
        self, state: Any, asked: Any, keys: jax.Array, *, weights: Weights, **how: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Returns stored samples and their logits."""
        drawing = self.run.drawing
        made = drawing.gan.sample(state, drawing.decoded(asked), keys, weights=weights, **how)[drawing.main]
        return drawing.medium(drawing.main).encode(made), self._logits(state, made, asked)

    def _ratio(self, judged: Callable[..., Any], root: jax.Array, label: int | None) -> Ratio:
        """Draws the burn-in, and calibrates its logits."""
        run, count = self.run, self.options.burn_in

        @jax.jit
        def logits(state: Any, first: jax.Array, asked: Any) -> jax.Array:
            keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(first + jnp.arange(AT_ONCE))
            found: jax.Array = judged(state, asked, keys)[1]
            return found

        parts = []
        with progress_bar(count, "burning in") as bar:
            for first in range(0, count, AT_ONCE):
                asked = run.drawing.asked(first, AT_ONCE, label=label)
                parts.append(np.asarray(logits(run.drawn_state, np.int32(first), asked)))
                bar.update(AT_ONCE)
        fakes = np.concatenate(parts)[:count]
        by_label = run.drawing.by_label
        labels = run.drawing.labels(0, count, label=label) if by_label else np.zeros(count, np.int32)
        if not np.isfinite(fakes).all():
            raise UsageError(f"the discriminator of {run.directory} gives samples logits that are not finite")
        if not self.options.calibrate:
            return Ratio(Calibration(), fakes, labels, ("not calibrated: log p/q is taken to be the logit",))
        _, reals, about = self._real(label)
        calibration, said = self._calibrated(reals, fakes, about)
        return Ratio(calibration, fakes, labels, (said,))

    def _calibrated(self, reals: np.ndarray, fakes: np.ndarray, about: str) -> tuple[Calibration, str]:
        """Calibrates on one half of real and generated examples, and looks at the other half."""
        count = min(len(reals), len(fakes)) // 2
        calibration = calibrate(reals[:count], fakes[:count])
        if not calibration.slope > 0:
            raise UsageError(
                f"--reject {self.options.reject}: the discriminator of {self.run.directory} doesn't tell {about} from "
                f"generated ones (log p/q falls with its logit, slope {calibration.slope:.3g}): it has nothing to "
                "reject by"
            )
        others = reals[count : 2 * count], fakes[count : 2 * count]
        before, after = calibration_z(*others), calibration_z(*map(calibration, others))
        sign = "-" if calibration.shift < 0 else "+"
        said = (
            f"calibrated on {count:,} of {about} and as many samples: log p/q = {calibration.slope:.3g} · logit {sign} "
            f"{abs(calibration.shift):.3g}; Z of as many others {before:.1f} before, {after:.1f} after"
        )
        return calibration, said

    def _real(self, label: int | None) -> tuple[Mapping[str, np.ndarray], np.ndarray, str]:
        """Returns stored real examples, of one class or of all, their logits, and which they are, in words."""
        if label in self._reals:
            return self._reals[label]
        run = self.run
        held = drawn_from(run.options, run.data, run.given)
        examples, about = held.examples, held.about
        if label is not None:
            examples = {name: array[examples[LABEL] == label] for name, array in examples.items()}
            about = f"{about} of class {label}"
        count = len(examples[run.data.main])
        if count < FEWEST:
            raise UsageError(
                f"--reject needs at least {FEWEST} real examples, and there are {count} ({about}); drs needs none with "
                "--no-calibrate"
            )

        self._reals[label] = examples, self.logits(examples), about
        return self._reals[label]

    def logits(self, stored: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the discriminator's logits, float32 `[N]`, of stored examples, at least one: their fields by name."""
        count = len(stored[self.run.data.main])

        @jax.jit
        def judged(state: Any, stored: Mapping[str, jax.Array]) -> jax.Array:
            return self._logits(state, self.run.drawing.decoded(stored)[self.run.data.main], stored)

        state, parts = self.run.drawn_state, []
        for first in range(0, count, AT_ONCE):
            numbers = np.arange(first, first + AT_ONCE) % count
            parts.append(judged(state, {name: array[numbers] for name, array in stored.items()}))
        return np.concatenate(parts)[:count]

    def _rejection(
        self, judged: Callable[..., Any], ratio: Ratio, asked: Any, keys: list[jax.Array], count: int
    ) -> Drawn:
        """Discriminator rejection sampling: of each number, samples are drawn until one is accepted."""
        percentile = self.options.percentile
        by_label = self.run.drawing.by_label
        bounds = ratio.bounds(self.run.data.classes if by_label else 1, percentile)
        size = min(AT_ONCE, count * PIECE)

        @jax.jit
        def attempt(state: Any, numbers: jax.Array, tries: jax.Array, asked: Any) -> tuple[jax.Array, ...]:
            proposals, uniforms = (_folded(key, numbers, tries) for key in keys)
            drawn, logits = judged(state, asked, proposals)
            ratios = ratio.calibration(logits)
            bound = jax.tree.map(lambda x: x[asked[LABEL] if by_label else jnp.zeros(size, jnp.int32)], bounds)
            drawn_uniforms = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(uniforms)
            return drawn, drawn_uniforms < acceptance(ratios, bound), ratios > bound.maximum

        kept, tried, above = {}, np.zeros(count, np.int64), 0
        pending = np.arange(count)
        with progress_bar(count, "rejecting") as bar:
            while len(pending):
                some = pending[:size]
                width = size // len(some)  # tries of each at once, of which the first that is accepted counts
                numbers = np.resize(np.repeat(some, width), size)
                tries = np.resize(tried[some][:, None] + np.arange(width), size)
                parts = jax.tree.map(lambda array, numbers=numbers: array[numbers], asked)
                drawn, accepts, over = map(np.asarray, attempt(self.run.drawn_state, numbers, tries, parts))
                accepts, over = (x[: len(some) * width].reshape(-1, width) for x in (accepts, over))
                first, found = accepts.argmax(axis=1), accepts.any(axis=1)
                for place in np.flatnonzero(found):
                    kept[int(some[place])] = drawn[place * width + first[place]]
                used = np.where(found, first + 1, width)
                above += int(over[np.arange(width) < used[:, None]].sum())
                tried[some] += used
                pending = np.concatenate([some[~found], pending[size:]])
                bar.update(int(found.sum()))
        self.rate = count / int(tried.sum())
        whole = "the burn-in of their class" if by_label else "the burn-in"
        say(
            f"drs: {count:,} of {tried.sum():,} samples accepted, {100 * self.rate:.2f} %; {above:,} had larger ratios "
            f"than all of {whole}"
        )
        return {self.run.drawing.main: np.stack([kept[number] for number in range(count)])}

    def _chains(
        self,
        judged: Callable[..., Any],
        ratio: Ratio,
        asked: Any,
        keys: list[jax.Array],
        count: int,
        label: int | None,
    ) -> Drawn:
        """The ends of Metropolis-Hastings chains, each of which starts from a real example of its class; one that has
        accepted none starts anew from a sample."""
        real, logits, _ = self._real(label)
        length, size, state = self.options.chain, min(AT_ONCE, count), self.run.drawn_state
        piece = min(PIECE, length)

        @jax.jit
        def advanced(
            state: Any, chain: Chain, numbers: jax.Array, first: jax.Array, end: jax.Array, asked: Any
        ) -> Chain:
            def propose(tries: jax.Array) -> tuple[jax.Array, jax.Array]:
                drawn, logits = judged(state, asked, _folded(keys[0], numbers, jnp.full(size, tries)))
                return drawn, ratio.calibration(logits)

            def uniforms(tries: jax.Array) -> jax.Array:
                folded = _folded(keys[1], numbers, jnp.full(size, tries))
                found = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(folded)
                return jnp.where(tries < end, found, jnp.inf)  # which accepts none

            tries = first + jnp.arange(piece, dtype=jnp.int32)
            return metropolis_hastings(chain, propose, tries, jax.vmap(uniforms)(tries))

        @jax.jit
        def sampled(state: Any, numbers: jax.Array, asked: Any) -> Chain:
            """Chains that begin at the sample that no chain from a real example is offered."""
            drawn, logits = judged(state, asked, _folded(keys[0], numbers, jnp.full(size, length)))
            return Chain.start(drawn, ratio.calibration(logits))

        parts, accepted, offered, anew = [], 0, 0, 0
        with progress_bar(count * length, "proposing") as bar:

            def run(chain: Chain, numbers: np.ndarray, start: int, part: Any) -> Chain:
                for first in range(start, end := start + length, piece):
                    chain = advanced(state, chain, numbers, np.int32(first), np.int32(end), part)
                    bar.update(piece * size)
                return chain

            for first in range(0, count, size):
                numbers = np.arange(first, first + size) % count
                part = jax.tree.map(lambda array, numbers=numbers: array[numbers], asked)
                places = _starts(real, numbers, part, self.run.drawing.by_label)
                start = real[self.run.data.main][places], ratio.calibration(jnp.asarray(logits[places]))
                chain = run(Chain.start(*start), numbers, 0, part)
                stuck, whole = np.asarray(chain.accepted) == 0, min(size, count - first)
                accepted += int(chain.accepted[:whole].sum())
                offered += whole * length
                if stuck[:whole].any():
                    anew += int(stuck[:whole].sum())
                    other = run(sampled(state, numbers, part), numbers, length + 1, part)
                    shape = (-1, *(1,) * (chain.example.ndim - 1))
                    chain = chain._replace(example=jnp.where(stuck.reshape(shape), other.example, chain.example))
                parts.append(np.asarray(chain.example))
        self.rate = accepted / offered
        say(
            f"mh: {100 * self.rate:.2f} % of {length:,} samples accepted by each of {count:,} chains from real "
            f"examples; {anew:,} accepted none, and began anew from a sample"
        )
        return {self.run.drawing.main: np.concatenate(parts)[:count]}


def _folded(key: jax.Array, numbers: jax.Array, tries: jax.Array) -> jax.Array:
    """Returns a key for each number and try, both `[N]`."""
    return jax.vmap(lambda number, one: jax.random.fold_in(jax.random.fold_in(key, number), one))(numbers, tries)


def _starts(real: Mapping[str, np.ndarray], numbers: np.ndarray, asked: Any, by_label: bool) -> np.ndarray:
    """Returns the places of real examples that chains of these numbers start from, of the classes that are asked for.
    UsageError for a class that has none."""
    if not by_label:
        return numbers % len(next(iter(real.values())))
    places = []
    for number, label in zip(numbers, asked[LABEL], strict=True):
        of_class = np.flatnonzero(real[LABEL] == label)
        if not len(of_class):
            raise UsageError(f"--reject mh: there is no real example of class {label} that a chain could start from")
        places.append(of_class[number % len(of_class)])
    return np.array(places)


def _judge(run: OpenRun) -> Judge:
    """Returns the run's discriminator in evaluation mode: `(state, examples, stored) -> logits [N]`, where what it is
    asked for by is taken from `stored`. UsageError for one that doesn't judge single examples."""
    asked, where = "--reject", run.directory
    if run.members:
        raise UsageError(f"{asked}: {where} has {len(run.members)} GANs; name one with --member")
    if run.drawing.held is not None or run.data.sets:
        raise UsageError(f"{asked}: what {where} draws is made of examples, and no two samples are of one distribution")
    state = run.state
    if not isinstance(state, GANState) or "discriminator" not in state.players:
        raise UsageError(f"{asked}: {where} has no discriminator to reject by")
    if getattr(run.options, "pack", 1) > 1 or "across_examples" in state.discriminator.variables:
        raise UsageError(f"{asked}: the discriminator of {where} judges several examples at once, and none by itself")

    def logits(state: Any, examples: jax.Array, stored: Mapping[str, jax.Array]) -> jax.Array:
        given = [stored[LABEL]] if run.drawing.by_label else []
        d = state.discriminator
        outputs = d.apply(d.params, d.variables, examples, *given, train=False)
        found: jax.Array = outputs["logits"] if isinstance(outputs, Mapping) else outputs
        return found

    example = jnp.zeros((2, *run.data.field.shape), jnp.float32)
    shape = jax.eval_shape(logits, state, example, {LABEL: jnp.zeros(2, jnp.int32)})
    if getattr(shape, "shape", None) != (2,):
        raise UsageError(f"{asked}: the discriminator of {where} gives no single logit for an example, as of patches")
    return logits
