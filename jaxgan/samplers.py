"""Samplers of a generator's inputs: `(batch, keys [B]) -> inputs`, see `jaxgan.adversarial`.

Also `labelled` and `pack`, which a step takes as `prepare`: a function that real and fake examples pass before a
discriminator sees them.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxgan.terms.term import Example

__all__ = ["Sampler", "coded", "codes", "labelled", "labelled_latents", "latents", "pack", "uniform_latents"]

Sampler = Callable[[Example, jax.Array], Example]
"""What a generator is fed, of a batch of real examples and keys `[B]`."""


def latents(size: int) -> Sampler:
    """Returns the sampler of plain GANs: latents `[B, size]` from N(0, I).

    It takes a `threshold` too, above 0: numbers outside of [-threshold, threshold] are drawn again until none is, so
    that all are from a truncated normal distribution; those inside stay. The truncation trick of Brock et al. 2019
    (arXiv 1809.11096), section 3.1.
    """

    def sampler(batch: Example, keys: jax.Array, *, threshold: jax.Array | float | None = None) -> Example:
        drawn = jax.vmap(lambda key: jax.random.normal(key, (size,), jnp.float32))(keys)
        return {"latent": drawn if threshold is None else _within(drawn, keys, threshold)}

    return sampler


def _within(drawn: jax.Array, keys: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Draws again what is outside of [-threshold, threshold], `[B, L]`. However often that would take, the last draw is
    from the normal distribution's part inside."""
    most = jnp.asarray(threshold, jnp.float32)

    def again(key: jax.Array) -> jax.Array:
        return jax.random.truncated_normal(jax.random.fold_in(key, 1), -most, most, drawn.shape[1:], jnp.float32)

    return jnp.where(jnp.abs(drawn) > most, jax.vmap(again)(keys), drawn)


def uniform_latents(size: int) -> Sampler:
    """Returns the sampler of latents `[B, size]` that are uniform in [-1, 1), as Goodfellow et al. 2014 (arXiv
    1406.2661) and DCGAN's paper have them; their variance is 1/3."""

    def one(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (size,), jnp.float32, minval=-1.0)

    return lambda batch, keys: {"latent": jax.vmap(one)(keys)}


def labelled_latents(size: int) -> Sampler:
    """Returns the sampler of conditional GANs: latents `[B, size]` from N(0, I), and the batch's labels `[B]` as
    `label` and as `condition`, so that fakes have the same classes as the real images. It takes a `threshold` as that
    of `latents` does. ValueError for a batch without labels.
    """
    plain: Callable[..., Example] = latents(size)

    def sampler(batch: Example, keys: jax.Array, *, threshold: jax.Array | float | None = None) -> Example:
        return labelled({**plain(batch, keys, threshold=threshold), "label": _label(batch)})

    return sampler


def labelled(example: Example) -> Example:
    """Returns the example with its `label` as `condition`, which networks are given: the `prepare` of conditional GANs.
    ValueError for an example without labels."""
    return {**example, "condition": _label(example)}


def _label(example: Example) -> jax.Array:
    if "label" not in example:
        raise ValueError(f"a conditional GAN needs examples with a 'label' [B], these have {sorted(example)}")
    return example["label"]


def codes(size: int, categories: Sequence[int] = (10,), continuous: int = 2) -> Sampler:
    """Returns the sampler of InfoGAN. Its `latent` `[B, L]` is noise from N(0, I), `size` numbers, then one-hot codes,
    uniform over each of `categories`, then `continuous` codes uniform in [-1, 1]. The codes are also returned, as
    `code_class` `[B, len(categories)]` and `code_value` `[B, continuous]`. Chen et al. 2016 (arXiv 1606.03657), section
    4.

    Where the batch has `code_class` or `code_value`, these are used instead of draws, for example to vary one code.
    """

    def one(key: jax.Array) -> Example:
        noise, classes, values = jax.random.split(key, 3)
        highest = jnp.asarray(categories, jnp.int32)
        return {
            "noise": jax.random.normal(noise, (size,), jnp.float32),
            "code_class": jax.random.randint(classes, (len(categories),), 0, highest, jnp.int32),
            "code_value": jax.random.uniform(values, (continuous,), jnp.float32, minval=-1.0),
        }

    def sampler(batch: Example, keys: jax.Array) -> Example:
        drawn = jax.vmap(one)(keys) | {name: batch[name] for name in ("code_class", "code_value") if name in batch}
        return {"latent": coded(drawn.pop("noise"), drawn["code_class"], drawn["code_value"], categories), **drawn}

    return sampler


def coded(noise: jax.Array, classes: jax.Array, values: jax.Array, categories: Sequence[int]) -> jax.Array:
    """Returns InfoGAN's latent `[B, L]` of noise `[B, size]`, a class of each of `categories`, int32 `[B,
    len(categories)]`, and continuous codes `[B, continuous]`."""
    one_hots = [jax.nn.one_hot(classes[:, i], n, dtype=jnp.float32) for i, n in enumerate(categories)]
    return jnp.concatenate([noise, *one_hots, values], axis=1)


def pack(m: int) -> Callable[[Example], Example]:
    """Returns the `prepare` of PacGAN: m neighbours become one example of m times the channels, `[m·B, H, W, C] -> [B,
    H, W, m·C]`, which the discriminator judges as one. Lin et al. 2018 (arXiv 1712.04086), section 3. All other entries
    of an example (labels, latents) are left out, since a pack has none. ValueError where m does not divide the
    examples."""
    if m < 1:
        raise ValueError(f"expected packs of at least 1 image, got {m}")

    def prepare(example: Example) -> Example:
        size, height, width, channels = example["image"].shape
        if size % m:
            raise ValueError(f"packs of {m} images need a batch that {m} divides, on every device; got {size} images")
        packs = example["image"].reshape(size // m, m, height, width, channels)
        return {"image": jnp.moveaxis(packs, 1, 3).reshape(size // m, height, width, m * channels)}

    return prepare
