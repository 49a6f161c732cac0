"""Vector quantisation against loops in float64, its gradients by hand, and what counts its codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import Codebook
from jaxgan.networks.layers.quantize import code_shares, nearest, perplexity, straight_through

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.standard_normal((2, 3, 5, 4)).astype(np.float32)
CODES = RANDOM.standard_normal((7, 4)).astype(np.float32)


def by_hand(vectors, codes):
    """The nearest code of each vector, by a loop over both."""
    indices = np.empty(vectors.shape[:-1], np.int32)
    for place in np.ndindex(indices.shape):
        distances = [
            sum((float(a) - float(b)) ** 2 for a, b in zip(vectors[place], code, strict=True)) for code in codes
        ]
        indices[place] = distances.index(min(distances))
    return indices


def unit(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True))


def test_the_nearest_code():
    found = jax.jit(nearest)(VECTORS, CODES)
    assert found.dtype == jnp.int32 and len(np.unique(found)) > 3
    np.testing.assert_array_equal(found, by_hand(VECTORS, CODES))


def test_of_several_the_first():
    codes = np.array([[3.0, 0], [1, 0], [-1, 0], [1, 0]], np.float32)
    np.testing.assert_array_equal(nearest(np.array([[0.0, 5], [2, 9], [1, 0]]), codes), [1, 0, 1])


def test_long_codes_are_not_nearer():
    """The length of a code counts: a product alone would take the longest."""
    assert nearest(np.array([1.0, 0.0]), np.array([[9.0, 0.0], [0.9, 0.5]])) == 1


@pytest.mark.parametrize("codes", [np.zeros((0, 4)), np.zeros((7, 3)), np.zeros(4)])
def test_codes_that_do_not_fit_are_refused(codes):
    with pytest.raises(ValueError, match=r"^expected codes \[K, D\] for vectors \[..., D\]"):
        nearest(jnp.asarray(VECTORS), jnp.asarray(codes))


def test_the_gradient_goes_straight_through():
    up = RANDOM.standard_normal(VECTORS.shape).astype(np.float32)
    total = lambda vectors, codes: jnp.sum(up * straight_through(vectors, codes[nearest(vectors, codes)]))  # noqa: E731
    of_vectors, of_codes = jax.grad(total, (0, 1))(jnp.asarray(VECTORS), jnp.asarray(CODES))
    np.testing.assert_array_equal(of_vectors, up)
    assert not np.any(of_codes)
    value = straight_through(jnp.asarray(VECTORS), jnp.asarray(CODES)[by_hand(VECTORS, CODES)])
    np.testing.assert_allclose(value, CODES[by_hand(VECTORS, CODES)], atol=1e-6)


def losses_by_hand(vectors, codes, normalised):
    """Both losses `[B]`, which are equal, in float64."""
    vectors, codes = vectors.astype(np.float64), codes.astype(np.float64)
    if normalised:
        vectors, codes = unit(vectors), unit(codes)
    indices = by_hand(vectors, codes)
    return np.mean((vectors - codes[indices]) ** 2, axis=(1, 2, 3)), indices


@pytest.mark.parametrize("normalised", [False, True])
def test_the_layer_and_its_losses(normalised):
    found = Codebook(7, normalised).apply({"params": {"codes": CODES}}, VECTORS)
    loss, indices = losses_by_hand(VECTORS, CODES, normalised)
    np.testing.assert_array_equal(found.indices, indices)
    for values in (found.codebook, found.commitment):
        assert values.shape == (2,)
        np.testing.assert_allclose(values, loss, rtol=1e-5)
    codes = unit(CODES.astype(np.float64)) if normalised else CODES
    np.testing.assert_allclose(found.values, codes[indices], atol=1e-5)
    assert not normalised or np.allclose(np.sum(np.square(found.values), -1), 4, atol=1e-4)


def test_an_angle_is_all_that_counts_where_codes_are_normalised():
    scale = np.geomspace(0.01, 100, 7)[:, None].astype(np.float32)
    first, second = (
        Codebook(7).apply({"params": {"codes": CODES * by}}, VECTORS * (3 if np.ndim(by) else 1)) for by in (1, scale)
    )
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_allclose(first.codebook, second.codebook, rtol=1e-3)
    # 2 - 2 cos, its mean over the positions.
    cos = [
        float(v @ c) / np.linalg.norm(v) / np.linalg.norm(c)
        for v, c in zip(VECTORS[0].reshape(-1, 4), CODES[np.ravel(first.indices[0])], strict=True)
    ]
    np.testing.assert_allclose(first.commitment[0], np.mean(2 - 2 * np.array(cos)), rtol=1e-5)


def test_the_codebooks_gradient_by_hand():
    """Of Euclidean codes: 2 (c - v) / N, summed over the vectors of a code; none for a code that has none, and none to
    the vectors."""
    codes = np.concatenate([CODES, [[99.0] * 4]]).astype(np.float32)

    def total(params, vectors):
        return jnp.sum(Codebook(8, normalised=False).apply({"params": {"codes": params}}, vectors).codebook)

    of_codes, of_vectors = jax.jit(jax.grad(total, (0, 1)))(codes, VECTORS)
    indices, expected = by_hand(VECTORS, codes), np.zeros(codes.shape)
    for place in np.ndindex(indices.shape):
        expected[indices[place]] += 2 * (codes[indices[place]].astype(np.float64) - VECTORS[place]) / VECTORS[0].size
    np.testing.assert_allclose(of_codes, expected, rtol=1e-5, atol=1e-6)
    assert not np.any(of_codes[7]) and not np.any(of_vectors)


@pytest.mark.parametrize("name, of", [("codebook", "codes"), ("commitment", "vectors")])
def test_normalised_gradients_by_finite_differences(name, of):
    """Each loss moves its own side, in float64 on the other hand; the indices stay as they are."""
    _, indices = losses_by_hand(VECTORS, CODES, True)

    def loss(codes, vectors):  # what is differentiated, of one example
        return np.mean((unit(vectors) - unit(codes)[indices]) ** 2, axis=(1, 2, 3)).sum()

    def total(given):
        params, vectors = (given, VECTORS) if of == "codes" else (CODES, given)
        found = Codebook(7).apply({"params": {"codes": params}}, vectors)
        return jnp.sum(getattr(found, name)), jnp.sum(found.codebook if name == "commitment" else found.commitment)

    at = (CODES if of == "codes" else VECTORS).astype(np.float64)
    gradient, other = jax.jacrev(total)(jnp.asarray(at, jnp.float32))
    assert not np.any(other), "the other loss holds this side fixed"
    for place in [tuple(RANDOM.integers(at.shape)) for _ in range(10)]:
        step = np.zeros_like(at)
        step[place] = 1e-6
        fixed = VECTORS.astype(np.float64) if of == "codes" else CODES.astype(np.float64)
        up, down = ((at + s, fixed) if of == "codes" else (fixed, at + s) for s in (step, -step))
        slope = (loss(*up) - loss(*down)) / 2e-6
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-5)


def test_how_often_codes_are_used():
    indices = jnp.array([[0, 0, 0], [3, 3, 1]])
    shares = code_shares(indices, 5)
    np.testing.assert_allclose(shares, [0.5, 1 / 6, 0, 1 / 3, 0], rtol=1e-6)
    entropy = -(0.5 * np.log(0.5) + np.log(1 / 6) / 6 + np.log(1 / 3) / 3)
    np.testing.assert_allclose(perplexity(shares), np.exp(entropy), rtol=1e-6)
    np.testing.assert_allclose(perplexity(jnp.full(8, 0.125)), 8, rtol=1e-6)
    np.testing.assert_allclose(perplexity(jnp.array([0.0, 1.0])), 1)
    assert np.isfinite(jax.grad(perplexity)(jnp.array([0.0, 1.0]))).all()


def test_what_is_not_finite_stays_so():
    """A diverged encoder must be noticed."""
    vectors = jnp.asarray(VECTORS).at[0, 0, 0].set(jnp.nan)
    found = Codebook(7).apply({"params": {"codes": CODES}}, vectors)
    assert np.isnan(found.values[0, 0, 0]).all() and np.isnan(found.commitment[0]) and np.isfinite(found.commitment[1])


def test_a_codebook_without_codes_is_refused():
    with pytest.raises(ValueError, match=r"^a codebook has at least 1 code, got size=0"):
        Codebook(0).init(jax.random.key(0), VECTORS)


def test_new_codes_are_directions():
    codes = np.asarray(Codebook(200).init(jax.random.key(0), jnp.zeros((1, 16)))["params"]["codes"])
    np.testing.assert_allclose(np.mean(np.sum(codes**2, -1)), 1, rtol=0.1)
