"""A state of a user's own, which is no GANState."""

import jax


class Dict(dict):
    """A state of a user's own, with the attributes that the loop needs."""

    step = property(lambda self: self["step"])
    key = property(lambda self: self["key"])


jax.tree_util.register_pytree_with_keys(
    Dict,
    lambda s: ([(jax.tree_util.DictKey(k), s[k]) for k in sorted(s)], tuple(sorted(s))),
    lambda names, leaves: Dict(zip(names, leaves, strict=True)),
)
