"""Divergence: numbers of a run, or of its members, that have become NaN or infinite."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxgan.parallel import Layout
from jaxgan.training.recipe.members import Member

__all__ = ["DivergenceCheck", "finite_rows"]

State = Any


class DivergenceCheck:
    """Checks, chunk after chunk, whether a run or a member of it has become NaN or infinite."""

    def __init__(self, members: Sequence[Member], state: State, layout: Layout) -> None:
        self.members = members
        self.read = jax.jit(lambda state: state.frozen, out_shardings=layout.everywhere)
        self.frozen = np.asarray(self.read(state)) if members else np.zeros(0)

    def __call__(self, state: State, metrics: dict[str, np.ndarray], done: int) -> tuple[int, str | None, list[str]]:
        """Checks the chunk after step `done`. Returns how many of its steps came before the divergence, what ended the
        run, if anything did, and a line for each member that froze."""
        if not self.members:
            return *finite_rows(metrics, done), []
        before, self.frozen = self.frozen, np.asarray(self.read(state))
        going = int(np.sum(self.frozen == 0))
        left = f". It stays as it was before that step; {going} of {len(self.members)} go on" if going else ""
        news = []
        for member, was, now in zip(self.members, before, self.frozen, strict=True):
            if now and not was:
                # A frozen member's metrics are NaN afterwards, whatever it was that ended it.
                own = {name: values[: now - done, member.number] for name, values in metrics.items()}
                _, what = finite_rows(own, done)
                news.append(f"{member} diverged: {what or f'its state was not finite after step {now}'}{left}")
        if going:
            return len(next(iter(metrics.values()))), None, news
        last = int(self.frozen.max())
        return last - 1 - done, f"no member is left, the last one ended at step {last}", news


def finite_rows(metrics: dict[str, np.ndarray], done: int) -> tuple[int, str | None]:
    """Returns how many of the steps after `done` come before the first that isn't finite in metrics `[count]`, and what
    became not finite there."""
    finite = {name: np.isfinite(values) for name, values in metrics.items()}
    good = np.logical_and.reduce(list(finite.values()))
    count = len(good)
    if good.all():
        return count, None
    first = int(np.argmin(good))
    name = next(name for name, values in finite.items() if not values[first])
    what = f"{name} became {metrics[name][first]} at step {done + 1 + first} (of steps {done + 1} to {done + count})"
    return first, what + _explosion({name: values[:first] for name, values in metrics.items()})


def _explosion(before: dict[str, np.ndarray]) -> str:
    """Returns the gradient norm that grew a hundredfold over its median in the steps before, if one did."""
    for name, norms in before.items():
        if name.endswith("gradient_norm") and len(norms) and norms[-1] > 100 * (usual := np.median(norms)):
            return f" after {name} had exploded from {usual:.3g} to {norms[-1]:.3g}"
    return ""
