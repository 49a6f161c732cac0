"""Drawing from a state: what is drawn by which examples and labels, batch after batch, on the host in the end."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from jaxgan.data.sets import LABEL
from jaxgan.draw import role_number
from jaxgan.media import Medium
from jaxgan.terminal import progress_bar
from jaxgan.training.output.pictures import picture
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN
from jaxgan.training.recipe.loading import Held
from jaxgan.training.recipe.statistics import BATCH, BATCHES, add_statistics, replace_statistics, statistics_of

__all__ = ["Drawing", "Drawn"]

State = Any  # a pytree with `step` and `key`
Drawn = dict[str, np.ndarray]
DRAWN = 256  # examples at a time, of all members together
OF_A_CLASS = 8  # columns of a picture with a class a row
COPIES = ("bicubic", "source")  # outputs that stand for what a translator is given, the first that is there
TRACED = 8  # examples on which it is found out what a sample depends on; nothing is computed
GOLDEN = np.uint64(2654435769)  # 2^32 divided by the golden ratio


class Drawing:
    """Draws from the states of a GAN, or of an ensemble with so many `members`.

    like: such a state, which may be abstract. held: reads the examples that are drawn from, which is called only where
    what is drawn depends on more than labels. everywhere: where the state is spread over processes, the sharding that
    gives each of them all. estimates: whether averaged weights are drawn with batch statistics that `estimated` finds.

    takes: the paths in a batch of what the output depends on, such as `("label",)` or `("a", "image")`."""

    def __init__(
        self,
        gan: GAN,
        data: DataSpec,
        like: State,
        held: Callable[[], Held] | None = None,
        *,
        members: int = 0,
        everywhere: jax.sharding.Sharding | None = None,
        estimates: bool = False,
    ) -> None:
        self.gan, self.data, self.members, self.everywhere = gan, data, members, everywhere
        self.estimates = estimates
        self.takes, self.outputs = _dependencies(gan, data, like)
        self.conditional = any(path[-1] == LABEL for path in self.takes)
        alone = self.takes <= {(LABEL,)}
        self.held = None if alone else held
        if not alone and held is None:
            raise ValueError(f"what is drawn depends on {sorted(self.takes)}: examples are needed")
        self._read: Held | None = None

    @property
    def by_label(self) -> bool:
        """Returns whether a label is all that the output depends on."""
        return self.takes == {(LABEL,)}

    @property
    def scored(self) -> tuple[str, ...]:
        """Returns the outputs that are examples of the data: the main field, or of several sets those called like
        one."""
        names = tuple(self.data.sets) or (self.data.main,)
        return tuple(name for name in self.outputs if name in names)

    @property
    def main(self) -> str:
        """Returns the output that counts: the first that is scored, or else the first."""
        return (*self.scored, *self.outputs)[0]

    def pair(self, output: str, drawn: Drawn, member: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns an output of what was drawn (by one member of an ensemble), and its target, None where it has
        none."""
        target = self.gan.pairs.get(output)
        pair = drawn[output], None if target is None else drawn[target]
        return pair if member is None else (pair[0][member], None if pair[1] is None else pair[1][member])

    def copied(
        self, output: str, drawn: Drawn, member: int | None = None
    ) -> tuple[str, np.ndarray] | tuple[None, None]:
        """Returns what an output's target is compared with instead of the output, to see what a translator adds: name
        and examples of an output called as one of COPIES that has the target's shape; None where there is none."""
        target = self.gan.pairs.get(output)
        for name in COPIES:
            if target is not None and name in drawn and drawn[name].shape == drawn[target].shape:
                return name, drawn[name] if member is None else drawn[name][member]
        return None, None

    @property
    def twins(self) -> dict[str, str]:
        """Maps the name of a target to that of the output that should be equal to it, whose medium it has."""
        return {target: name for name, target in self.gan.pairs.items()}

    def medium(self, output: str) -> Medium:
        """Returns the medium of an output."""
        return self.data.like(self.twins.get(output, output)).medium

    def picture(
        self, drawn: Drawn, columns: int | None = None, *, real: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """Returns a picture of what was drawn, see `jaxgan.training.output.pictures.picture`."""
        media = {name: self.medium(name) for name in drawn}
        return picture(media, drawn, columns, members=self.members, real=real)

    def examples(self) -> Held:
        """Returns the examples that are drawn from, read once."""
        if self.held is None:
            raise ValueError("what is drawn depends on no examples")
        if self._read is None:
            self._read = self.held()
        return self._read

    def about(self, *, label: int | None = None, run: int | None = None) -> dict[str, str]:
        """Returns what a score's record says of how examples were drawn; nothing for a GAN that takes none."""
        if self.held:
            return {"examples": self.examples().about}
        if not self.by_label:
            return {}
        often = "as often as in the data" if self.counts else "by turns: how often the data have them isn't recorded"
        return {"labels": f"all {label}" if label is not None else "by turns" if run else often}

    @property
    def counts(self) -> tuple[int, ...]:
        return self.data.fields[LABEL].counts if LABEL in self.data.fields else ()

    def labels(self, first: int, count: int, *, label: int | None = None, run: int | None = None) -> np.ndarray:
        """Returns the labels, int32 `[count]`, from number `first` on: all one `label`; or by turns, after `run` of
        each class that has examples; or, by default, as often as the data have them, in any stretch of numbers,
        whatever the count."""
        numbers = np.arange(first, first + count, dtype=np.uint64)
        if label is not None:
            return np.full(count, label, np.int32)
        if run or not self.counts:
            classes = np.array(self.data.present or (0,), np.int32)
            return classes[numbers // np.uint64(run or 1) % np.uint64(len(classes))]
        # Multiples of the golden ratio fill [0, 1) evenly: a class gets its share but for a few, of any number of them.
        bounds = np.cumsum(self.counts, dtype=np.float64) / sum(self.counts) * 2.0**32
        places = (numbers * GOLDEN) % np.uint64(2**32)
        return np.searchsorted(bounds, places.astype(np.float64), side="right").astype(np.int32)

    def asked(self, first: int, count: int, *, label: int | None = None, run: int | None = None) -> Any:
        """Returns stored examples `[count, ...]` for what is drawn from number `first` on: held ones in turn, or labels
        alone."""
        if self.held is None:
            known = {LABEL: self.labels(first, count, label=label, run=run)} if self.data.classes else {}
            return {name: {} for name in self.data.sets} if self.data.sets else known
        numbers = np.arange(first, first + count)

        def some(fields: Mapping[str, np.ndarray]) -> Drawn:
            found = {name: array[numbers % len(array)] for name, array in fields.items()}
            return found if label is None or LABEL not in found else {**found, LABEL: np.full(count, label, np.int32)}

        examples = self.examples().examples
        return {name: some(examples[name]) for name in examples} if self.data.sets else some(examples)

    def grid_shape(self, *, square: bool = False) -> tuple[int, int | None]:
        """Returns how many examples make a picture, and its columns: a class a row where up to 16 classes are drawn by;
        otherwise, or where `square` is asked for, None, which is as square as can be."""
        if not square and self.by_label and 1 < len(self.data.present) <= 16:
            return OF_A_CLASS * len(self.data.present), OF_A_CLASS
        return max(1, self.medium(self.main).shown // len(self.outputs)), None

    def decoded(self, examples: Any) -> Any:
        """Decodes stored examples, of each set, for networks."""
        if self.data.sets:
            return {name: _decoded(self.data.sets[name], part) for name, part in examples.items()}
        return _decoded(self.data, examples)

    def stored(self, state: State, examples: Any, keys: jax.Array, **how: Any) -> dict[str, jax.Array]:
        """Draws from a state, for stored examples, and encodes what it drew for storage; pure."""
        drawn = self.gan.sample(state, self.decoded(examples), keys, **how)
        return {name: self.medium(name).encode(made) for name, made in drawn.items()}

    def estimated(
        self, state: State, batches: int = BATCHES, batch: int = BATCH, *, raw: bool = False, hidden: bool = False
    ) -> State:
        """Returns the state with batch statistics of averaged weights, and of `raw` ones where asked for, that are
        estimated again: the means over so many batches of so many examples that they draw, each normalised by itself.
        The same state gives the same."""
        found = statistics_of(state, raw=raw)
        with progress_bar(batches, "batch statistics", unit="batches", hidden=hidden or jax.process_index() > 0) as bar:
            for number in range(batches):
                examples = self.asked(number * batch, batch)
                found = self._add_batch(state, found, np.int32(number), batches, batch, examples)
                bar.update(1)
        return replace_statistics(state, found)

    @functools.cached_property
    def _add_batch(self) -> Callable[..., Any]:
        root = jax.random.fold_in(jax.random.key(0), role_number("batch statistics"))

        def add(state: State, total: Any, number: jax.Array, batches: int, batch: int, examples: Any) -> Any:
            keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(number * batch + jnp.arange(batch))
            return add_statistics(self.gan, state, total, number, batches, self.decoded(examples), keys)

        return jax.jit(add, static_argnums=(3, 4))

    def of(
        self,
        count: int,
        *,
        key: jax.Array | int = 0,
        label: int | None = None,
        run: int | None = None,
        at_once: int | None = None,
        **how: Any,
    ) -> Callable[[State], Drawn]:
        """Returns a function that draws `count` from a state: stored arrays `[count, ...]` by output, of an ensemble
        `[S, count, ...]`, on the host. It compiles once. key: a JAX key, or a seed. label, run: as for `labels`.
        at_once: how many in a dispatch, by default 256 of all members together. how: as for `Sample`. The same key
        draws the same, whatever the count."""
        root = jax.random.key(key) if isinstance(key, int) else key
        size = max(1, min(at_once or DRAWN // max(1, self.members), count))  # of each member

        def some(state: State, first: jax.Array, examples: Any) -> dict[str, jax.Array]:
            keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(first + jnp.arange(size))
            return self.stored(state, examples, keys, **how)

        batch = jax.jit(some, out_shardings=self.everywhere)
        hidden = count <= size or jax.process_index() > 0
        axis = 1 if self.members else 0

        estimates = self.estimates and how.get("weights") != "raw"

        def draw(state: State) -> Drawn:
            state = self.estimated(state, hidden=hidden) if estimates else state
            parts = []
            with progress_bar(count, "drawing", hidden=hidden) as bar:
                for first in range(0, count, size):
                    asked = self.asked(first, size, label=label, run=run)
                    parts.append(jax.tree.map(np.asarray, batch(state, np.int32(first), asked)))
                    bar.update(size)
            whole = {name: np.concatenate([part[name] for part in parts], axis) for name in self.outputs}
            return {name: array[:, :count] if self.members else array[:count] for name, array in whole.items()}

        return draw


def _decoded(data: DataSpec, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a set as networks take them; what else there is, as it is."""
    return {name: data.fields[name].decode(x) if name in data.fields else x for name, x in stored.items()}


def _dependencies(gan: GAN, data: DataSpec, state: State) -> tuple[set[tuple[str, ...]], tuple[str, ...]]:
    """Returns the paths of what the outputs depend on in a batch of examples, and the outputs' names."""
    leaves, tree = jax.tree.flatten_with_path(data.batch(TRACED))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), TRACED))
    names: list[str] = []

    def sample(leaves: Any, state: State, keys: jax.Array) -> list[jax.Array]:
        drawn = gan.sample(state, jax.tree.unflatten(tree, leaves), keys)
        names[:] = drawn
        return list(drawn.values())

    traced = jax.make_jaxpr(sample)([leaf for _, leaf in leaves], state, keys)
    needed = _needed(traced, [True] * len(traced.jaxpr.outvars))[: len(leaves)]
    paths = [tuple(str(part.key) for part in path) for path, _ in leaves]
    return {path for path, needs in zip(paths, needed, strict=True) if needs}, tuple(names)


def _needed(traced: ClosedJaxpr, wanted: list[bool]) -> list[bool]:
    """Tells for each input of a program whether a wanted output depends on it."""
    program = traced.jaxpr
    known = {id(x) for x, wants in zip(program.outvars, wanted, strict=True) if wants}
    for equation in reversed(program.eqns):
        wants = [id(x) in known for x in equation.outvars]
        if any(wants):
            inner = equation.params.get("jaxpr") if equation.primitive.name in ("jit", "pjit") else None
            uses = _needed(inner, wants) if inner else [True] * len(equation.invars)
            variables = zip(equation.invars, uses, strict=True)
            known |= {id(x) for x, needs in variables if needs and not isinstance(x, Literal)}
    return [id(x) in known for x in program.invars]
