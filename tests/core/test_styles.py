"""Style mixing: which layers read which style, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.draw import Draw
from jaxgan.styles import mixed, mixing_cuts

LAYERS = 6


def draw(size, seed=0, **options):
    return Draw(jax.random.key(seed), size, jnp.zeros((), jnp.int32), **options)


def test_layers_before_the_cut_read_the_first_style_and_the_others_the_second():
    w, other = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    cuts = [1, 4, 5, LAYERS]
    got = mixed(jnp.asarray(w), jnp.asarray(other), jnp.asarray(cuts), LAYERS)
    want = np.stack([[w[i] if k < cut else other[i] for k in range(LAYERS)] for i, cut in enumerate(cuts)])
    np.testing.assert_array_equal(got, want)
    assert not np.array_equal(got[2, 5], got[2, 4]) and np.array_equal(got[3, 5], got[3, 0])


def test_the_first_layer_reads_the_first_style_and_every_later_cut_is_as_likely():
    cuts = np.asarray(mixing_cuts(draw(20_000), LAYERS, 0.9))
    counts = np.bincount(cuts, minlength=LAYERS + 1)
    assert counts[0] == 0 and len(counts) == LAYERS + 1
    # Standard deviations of counts of 20,000 with shares 0.18 and 0.1: 54 and 42.
    np.testing.assert_allclose(counts[1:LAYERS], 0.9 / 5 * 20_000, atol=4 * 54)
    assert abs(counts[LAYERS] - 2000) < 4 * 42


def test_never_and_always():
    assert np.all(np.asarray(mixing_cuts(draw(500), LAYERS, 0.0)) == LAYERS)
    assert np.all(np.asarray(mixing_cuts(draw(500), LAYERS, 1.0)) < LAYERS)


def test_an_examples_cut_is_its_own_on_any_number_of_devices():
    whole = mixing_cuts(draw(8), LAYERS)
    shares = jax.vmap(lambda _: mixing_cuts(draw(2, axis_name="data"), LAYERS), axis_name="data")(jnp.arange(4))
    np.testing.assert_array_equal(shares.reshape(-1), whole)
    halves = [mixing_cuts(draw(4, part=(j, 2)), LAYERS) for j in range(2)]
    np.testing.assert_array_equal(np.stack(halves, axis=1).reshape(-1), whole)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValueError, match="probability of style mixing from 0 to 1"):
        mixing_cuts(draw(4), LAYERS, probability)


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match="at least 2 layers"):
        mixing_cuts(draw(4), 1)
    for w, other, cuts in [((4, 3), (4, 1), (4,)), ((4, 3), (4, 3), (1,)), ((4, 2, 3), (4, 2, 3), (4,))]:
        with pytest.raises(ValueError, match=r"styles \[B, D\] twice"):
            mixed(jnp.zeros(w), jnp.zeros(other), jnp.zeros(cuts, jnp.int32), LAYERS)
