"""Samplers and packing, against NumPy and by distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgan.samplers import codes, labelled, labelled_latents, latents, pack, uniform_latents

KEYS = jax.random.split(jax.random.key(0), 4000)


def test_latents_are_normal_and_each_example_has_its_own():
    drawn = latents(3)({}, KEYS)["latent"]
    assert drawn.shape == (4000, 3) and drawn.dtype == jnp.float32
    assert stats.kstest(np.asarray(drawn).ravel(), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(latents(3)({}, KEYS[5:7])["latent"], drawn[5:7])


@pytest.mark.parametrize("threshold", [0.5, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.02, 1.5))])
def test_within_a_threshold_latents_are_truncated_normal(threshold):
    """SciPy's distribution; numbers that were inside stay, bit for bit, and each example has its own."""
    sampler, plain = latents(3), latents(3)({}, KEYS)["latent"]
    drawn = jax.jit(lambda t: sampler({}, KEYS, threshold=t))(threshold)["latent"]
    assert drawn.shape == (4000, 3) and drawn.dtype == jnp.float32
    assert np.max(np.abs(drawn)) <= np.float32(threshold)
    assert stats.kstest(np.asarray(drawn).ravel(), stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-3
    inside = np.abs(plain) <= np.float32(threshold)
    # The draw that stays is computed in another program than the plain one, and may be rounded apart in its last bits.
    np.testing.assert_allclose(np.asarray(drawn)[inside], np.asarray(plain)[inside], rtol=3e-7)
    again = np.asarray(drawn)[~inside]
    assert stats.kstest(again, stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-3
    assert len(np.unique(again)) > 0.9 * len(again)
    np.testing.assert_array_equal(sampler({}, KEYS[5:7], threshold=threshold)["latent"], drawn[5:7])


def test_a_threshold_far_out_changes_nothing_and_labels_stay():
    label = jnp.arange(4000) % 7
    inputs = labelled_latents(3)({"label": label}, KEYS, threshold=100.0)
    np.testing.assert_array_equal(inputs["latent"], latents(3)({}, KEYS)["latent"])
    np.testing.assert_array_equal(inputs["condition"], label)
    near = labelled_latents(3)({"label": label}, KEYS, threshold=0.3)
    np.testing.assert_array_equal(near["latent"], latents(3)({}, KEYS, threshold=0.3)["latent"])


def test_uniform_latents_are_uniform_and_each_example_has_its_own():
    drawn = uniform_latents(3)({}, KEYS)["latent"]
    assert drawn.shape == (4000, 3) and drawn.dtype == jnp.float32
    assert stats.kstest(np.asarray(drawn).ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(uniform_latents(3)({}, KEYS[5:7])["latent"], drawn[5:7])


def test_labels_come_from_the_batch():
    label = jnp.arange(4000) % 7
    inputs = labelled_latents(3)({"label": label}, KEYS)
    np.testing.assert_array_equal(inputs["label"], label)
    np.testing.assert_array_equal(inputs["condition"], label)
    np.testing.assert_array_equal(inputs["latent"], latents(3)({}, KEYS)["latent"])
    assert labelled({"image": 1, "label": 2}) == {"image": 1, "label": 2, "condition": 2}
    for function in (lambda: labelled({"image": 1})), (lambda: labelled_latents(3)({"image": 1}, KEYS)):
        with pytest.raises(ValueError, match=r"needs examples with a 'label' \[B\], these have"):
            function()


def test_codes_by_distribution():
    inputs = jax.jit(codes(2, (5, 3), 2))({}, KEYS)
    latent = np.asarray(inputs["latent"])
    assert latent.shape == (4000, 2 + 5 + 3 + 2)
    noise, first, second, values = np.split(latent, [2, 7, 10], axis=1)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(values.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    for i, one_hot in enumerate((first, second)):
        drawn = np.asarray(inputs["code_class"][:, i])
        np.testing.assert_array_equal(one_hot, np.eye(one_hot.shape[1])[drawn])
        assert stats.chisquare(np.bincount(drawn, minlength=one_hot.shape[1])).pvalue > 1e-3
    np.testing.assert_array_equal(inputs["code_value"], values)
    table = np.zeros((5, 3))
    np.add.at(table, tuple(np.asarray(inputs["code_class"]).T), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3  # independent of each other


def test_codes_that_are_given_are_taken():
    given = {"code_class": jnp.full((3, 1), 4), "code_value": jnp.tile(jnp.array([[0.5, -1.0]]), (3, 1))}
    inputs = codes(2, (10,), 2)(given, KEYS[:3])
    np.testing.assert_array_equal(inputs["latent"][:, 2:], [[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0.5, -1]] * 3)
    np.testing.assert_array_equal(inputs["latent"][:, :2], codes(2, (10,), 2)({}, KEYS[:3])["latent"][:, :2])


def test_a_pack_is_neighbours_channel_by_channel():
    images = np.random.default_rng(0).uniform(size=(6, 2, 3, 2)).astype(np.float32)
    packs = pack(3)({"image": jnp.asarray(images), "latent": jnp.zeros((6, 4))})
    assert set(packs) == {"image"}
    for i in range(2):
        np.testing.assert_array_equal(packs["image"][i], np.concatenate(images[3 * i : 3 * i + 3], axis=-1))
    np.testing.assert_array_equal(pack(1)({"image": images})["image"], images)


def test_packs_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match="packs of 4 images need a batch that 4 divides"):
        pack(4)({"image": jnp.zeros((6, 2, 2, 1))})
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        pack(0)
