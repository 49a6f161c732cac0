"""The latent spaces of generators, see `jaxgan.training.recipe.gan.Latents`, and samples that go through them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.samplers import Sampler
from jaxgan.training.recipe.gan import Latents, Sample, Weights, between, generate_with

__all__ = ["latents_with", "sample_through", "truncated"]

State = Any


def latents_with(sampler: Sampler, size: int, output: str = "image") -> Latents:
    """Returns the latent space of a plain GAN whose generator reads z, `size` numbers, itself."""

    def synthesize(
        state: State, codes: jax.Array, inputs: dict[str, jax.Array], *, weights: Weights = "ema"
    ) -> dict[str, jax.Array]:
        return {output: generate_with(state, {**inputs, "latent": codes[:, 0]}, weights=weights)}

    return Latents(
        draw=sampler,
        codes=lambda state, inputs, *, weights="ema": inputs["latent"][:, None],
        synthesize=synthesize,
        mean=lambda state, *, weights="ema": jnp.zeros(size, jnp.float32),
        mapped=False,
    )


def truncated(codes: jax.Array, mean: jax.Array, truncation: jax.Array | float) -> jax.Array:
    """Moves codes `[N, K, D]` towards their mean `[D]`: mean + truncation · (codes - mean), where 1 leaves them as they
    are and 0 makes all of them the mean, both exactly. Karras et al. 2019 (arXiv 1812.04948), section B. truncation: a
    number, or one for each layer, `[K]`."""
    share = jnp.asarray(truncation, jnp.float32).reshape(1, -1, 1)
    return share * codes + (1 - share) * mean[None, None]


def sample_through(latents: Latents) -> Sample:
    """Returns `GAN.sample` of a generator with a latent space: what is drawn, mapped to codes, truncated, synthesized.

    toward, share: of a walk between latents, as in `sample_with`. truncation: as in `truncated`.
    """

    def sample(
        state: State,
        examples: Any,
        keys: jax.Array,
        *,
        weights: Weights = "ema",
        toward: jax.Array | None = None,
        share: jax.Array | float = 0.0,
        truncation: jax.Array | float = 1.0,
    ) -> dict[str, jax.Array]:
        inputs = latents.draw(examples, keys)
        if toward is not None:
            end = latents.draw(examples, toward)["latent"]
            inputs = {**inputs, "latent": between(inputs["latent"], end, share)}
        codes = latents.codes(state, inputs, weights=weights)
        codes = truncated(codes, latents.mean(state, weights=weights), truncation)
        return latents.synthesize(state, codes, inputs, weights=weights)

    return sample
