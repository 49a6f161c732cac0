"""The latent spaces of generators, see `jaxgan.training.recipe.gan.Latents`, and samples that go through them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.samplers import Sampler
from jaxgan.training.recipe.gan import Latents, Sample, Weights, drawn_inputs, generate_with

__all__ = ["latents_with", "sample_through", "style_latents", "truncated"]

State = Any


def latents_with(
    sampler: Sampler,
    size: int,
    output: str = "image",
    *,
    generate: Callable[..., jax.Array] = generate_with,
    factors: Callable[..., list[jax.Array]] | None = None,
) -> Latents:
    """Returns the latent space of a generator that reads z, `size` numbers, itself. generate: `(state, inputs, *,
    weights) -> images`, by default the player called "generator". factors: as of `Latents`."""

    def synthesize(
        state: State, codes: jax.Array, inputs: dict[str, jax.Array], *, weights: Weights = "ema"
    ) -> dict[str, jax.Array]:
        return {output: generate(state, {**inputs, "latent": codes[:, 0]}, weights=weights)}

    return Latents(
        draw=sampler,
        codes=lambda state, inputs, *, weights="ema": inputs["latent"][:, None],
        synthesize=synthesize,
        mean=lambda state, *, weights="ema": jnp.zeros(size, jnp.float32),
        factors=factors,
        mapped=False,
    )


def style_latents(sampler: Sampler, generator: nn.Module, output: str = "image") -> Latents:
    """Returns the latent space of a StyleGAN, whose player is called "generator": a module with the methods `mapping`
    and `synthesize`, the names of its `layers`, and `factors`, as `jaxgan.networks.stylegan2.Generator` has them."""
    names: tuple[str, ...] = generator.layers

    def codes(state: State, inputs: dict[str, jax.Array], *, weights: Weights = "ema") -> jax.Array:
        given = inputs["latent"], inputs.get("condition")
        w = state.evaluate("generator", *given, weights=weights, method="mapping")
        return jnp.repeat(w[:, None], len(names), axis=1)

    def synthesize(
        state: State, codes: jax.Array, inputs: dict[str, jax.Array], *, weights: Weights = "ema"
    ) -> dict[str, jax.Array]:
        del inputs  # w knows its class
        return {output: state.evaluate("generator", codes, weights=weights, method="synthesize")}

    def mean(state: State, *, weights: Weights = "ema") -> jax.Array:
        w: jax.Array = state.variables_of("generator", weights)["w_avg"]["mean"]
        return w

    def factors(state: State, *, weights: Weights = "ema") -> list[jax.Array]:
        matrices: list[jax.Array] = generator.factors(state.variables_of("generator", weights)["params"])
        return matrices

    return Latents(sampler, codes, synthesize, mean, names, factors)


def truncated(codes: jax.Array, mean: jax.Array, truncation: jax.Array | float) -> jax.Array:
    """Moves codes `[N, K, D]` towards their mean `[D]`: mean + truncation · (codes - mean), where 1 leaves them as they
    are and 0 makes all of them the mean, both exactly. Karras et al. 2019 (arXiv 1812.04948), section B. truncation: a
    number, or one for each layer, `[K]`."""
    share = jnp.asarray(truncation, jnp.float32).reshape(1, -1, 1)
    return share * codes + (1 - share) * mean[None, None]


def sample_through(latents: Latents, beside: Callable[..., dict[str, jax.Array]] | None = None) -> Sample:
    """Returns `GAN.sample` of a generator with a latent space: what is drawn, mapped to codes, truncated, synthesized.

    beside: `(state, examples, *, weights="ema") -> drawn`, what is shown after it, such as reconstructions.
    toward, share: of a walk between latents, as in `sample_with`. truncation: as in `truncated`. latent_threshold: of a
    sampler that takes one: numbers of a latent that are further from 0 are drawn again, BigGAN's truncation, see
    `jaxgan.samplers.latents`.
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
        latent_threshold: jax.Array | float | None = None,
    ) -> dict[str, jax.Array]:
        inputs = drawn_inputs(latents.draw, examples, keys, toward, share, latent_threshold)
        codes = latents.codes(state, inputs, weights=weights)
        codes = truncated(codes, latents.mean(state, weights=weights), truncation)
        drawn = latents.synthesize(state, codes, inputs, weights=weights)
        return drawn | beside(state, examples, weights=weights) if beside else drawn

    return sample
