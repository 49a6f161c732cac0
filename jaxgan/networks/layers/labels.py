"""Class labels as arrays: integers `[B]` in [0, classes).

A compiled program cannot raise an error for another label. The result is NaN then, which is noticed, and not the
nearest class or none.
"""

import jax
import jax.numpy as jnp

__all__ = ["one_hot", "rows"]


def one_hot(labels: jax.Array | None, classes: int, size: int | None = None) -> jax.Array:
    """Encodes labels `[size]` as float32 `[size, classes]`: 1 at the label, otherwise 0; all NaN for a label outside of
    [0, classes). Without `size` there may be any number of labels. ValueError unless labels are integers of that shape,
    and for None."""
    if labels is None:
        count = "B" if size is None else size
        raise ValueError(
            f"this network needs labels: give as its condition integers [{count}] from 0 to {classes - 1}, got None"
        )
    shape = (size,) if size is not None else labels.shape[:1]
    if labels.shape != shape or not labels.ndim or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"expected as labels integers of shape {shape}, got {labels.dtype} of shape {labels.shape}")
    labels = labels.astype(jnp.int32)
    inside = (labels >= 0) & (labels < classes)
    return jnp.where(inside.reshape(-1, 1), jax.nn.one_hot(labels, classes, dtype=jnp.float32), jnp.nan)


def rows(table: jax.Array, labels: jax.Array | None, size: int | None = None) -> jax.Array:
    """Returns the labels' rows of a table, `[classes, ...] -> [size, ...]`, exactly; errors as in `one_hot`."""
    # Not by their index: GPUs add up the gradient of a gather in no fixed order, and a run would not repeat itself.
    return jnp.dot(one_hot(labels, len(table), size), table, precision=jax.lax.Precision.HIGHEST)
