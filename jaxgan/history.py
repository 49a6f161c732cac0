"""A pool of earlier fakes, so that a discriminator doesn't forget them.

Shrivastava et al. 2017 (arXiv 1612.07828), section 2.3; in CycleGAN, Zhu et al. 2017 (arXiv 1703.10593), section 4, the
pool holds 50 images. An objective returns the new pool among its `Outcome.extras`:

    shown, pool = history(state.extras["pool"], fakes, draw)
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.draw import Draw

__all__ = ["empty_history", "history"]

PyTree = Any
Pool = dict[str, Any]


def empty_history(example: PyTree, places: int) -> Pool:
    """Returns a pool with `places` for examples like this one, `[B, ...]` for every leaf, which belongs in a state's
    extras. It holds `examples` `[places, ...]`, and `batches`, the number of batches it has received."""
    zeros = jax.tree.map(lambda x: jnp.zeros((places, *jnp.shape(x)[1:]), jnp.result_type(x)), example)
    return {"examples": zeros, "batches": jnp.zeros((), jnp.int32)}


def history(pool: Pool, fakes: PyTree, draw: Draw, *, share: float = 0.5, name: str = "history") -> tuple[PyTree, Pool]:
    """Returns the examples to show, `[B, ...]`, and the new pool.

    Each fake is shown or, with probability `share`, exchanged for an earlier one, and takes its place in the pool.
    Until the pool is full, all fakes are shown and stored. The leaves of `fakes` `[B, ...]` are exchanged as one (an
    image and its source). name: the name of the draws, where an objective has several pools. The pool is the same on
    any number of devices. ValueError where fakes are not like the pool's, where the global batch has more of them than
    the pool has places, or where they are a part of an accumulated batch: each part would need the pool of the part
    before.
    """
    _check(pool, fakes, draw)
    stored, fresh = pool["examples"], draw.gather(fakes)
    size, places = (len(jax.tree.leaves(tree)[0]) for tree in (fresh, stored))
    if size > places:
        raise ValueError(f"a pool of {places} can't exchange the {size} examples of a batch; make it larger")
    rounds = -(-places // size)  # batches until every place has been filled
    filling = pool["batches"] < rounds
    turn = (pool["batches"] * size + jnp.arange(size, dtype=jnp.int32)) % places
    shuffled = jax.random.permutation(draw.key(f"{name}: places"), jnp.arange(places, dtype=jnp.int32))
    place = jnp.where(filling, turn, shuffled[:size])
    exchanged = ~filling & jax.random.bernoulli(draw.key(f"{name}: exchanged"), jnp.float32(share), (size,))

    def choose(condition: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)

    shown = jax.tree.map(lambda p, x: choose(exchanged, p[place], x), stored, fresh)
    stored = jax.tree.map(lambda p, x: p.at[place].set(choose(exchanged | filling, x, p[place])), stored, fresh)
    batches = jnp.minimum(pool["batches"] + 1, rounds)  # a higher count would tell no more, and could overflow
    return draw.mine(shown), {"examples": jax.tree.map(jax.lax.stop_gradient, stored), "batches": batches}


def _check(pool: Pool, fakes: PyTree, draw: Draw) -> None:
    if draw.part[1] > 1:
        raise ValueError(f"a pool can't be kept over the {draw.part[1]} parts of an accumulated batch; leave one out")
    kinds = [jax.tree.map(lambda x: f"{x.dtype}{list(x.shape[1:])}", tree) for tree in (pool["examples"], fakes)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"the pool was made for examples like {kinds[0]}, and these are {kinds[1]}")
