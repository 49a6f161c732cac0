"""A pool of earlier fakes, so that a discriminator doesn't forget what it was shown.

Shrivastava et al. 2017 (arXiv 1612.07828), section 2.3; CycleGAN, Zhu et al. 2017 (arXiv 1703.10593), section 4, keeps
50 images. An objective returns the new pool among its `Outcome.extras`:

    shown, pool = history(state.extras["pool"], fakes, draw)
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import Draw

__all__ = ["empty_history", "history"]

PyTree = Any


def empty_history(example: PyTree, places: int) -> PyTree:
    """Returns a pool of `places` for examples like this one, `[B, ...]` by name, to be put into a state's extras."""
    return jax.tree.map(lambda x: jnp.zeros((places, *jnp.shape(x)[1:]), jnp.result_type(x)), example)


def history(
    pool: PyTree, fakes: PyTree, draw: Draw, *, share: float = 0.5, name: str = "history"
) -> tuple[PyTree, PyTree]:
    """Returns the examples to show, `[B, ...]`, and the pool after it.

    Each fake is shown or, with probability `share`, exchanged for an earlier one, whose place in the pool it takes.
    Until the pool is full, fakes are shown, and kept. pool: `[places, ...]` for every leaf of `fakes` `[B, ...]`, which
    go together (an image and its source). name: of the draws, where an objective has several pools. The pool is the
    same on any number of devices. ValueError where the pool has fewer places than the global batch examples.
    """
    given = draw.gather(fakes)
    size, places = (len(jax.tree.leaves(tree)[0]) for tree in (given, pool))
    if size > places:
        raise ValueError(f"a pool of {places} can't exchange the {size} examples of a batch; make it larger")
    rounds = -(-places // size)  # in which every place has its turn
    filling = draw.step < rounds
    turn = (jnp.minimum(draw.step, rounds) * size + jnp.arange(size, dtype=jnp.int32)) % places
    place = jnp.where(
        filling, turn, jax.random.permutation(draw.key(f"{name}: places"), jnp.arange(places, dtype=jnp.int32))[:size]
    )
    exchanged = ~filling & jax.random.bernoulli(draw.key(f"{name}: exchanged"), jnp.float32(share), (size,))

    def choose(condition: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)

    shown = jax.tree.map(lambda p, x: choose(exchanged, p[place], x), pool, given)
    kept = jax.tree.map(lambda p, x: p.at[place].set(choose(exchanged | filling, x, p[place])), pool, given)
    return draw.mine(shown), jax.tree.map(jax.lax.stop_gradient, kept)
