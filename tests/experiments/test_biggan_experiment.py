"""BigGAN's experiment: networks that options describe, what each term and each step of an iteration is, errors."""

import jax
import numpy as np
import pytest

from experiments import biggan_cifar10
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.options import of_preset

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def gan_of(size=32, preset="smoke", classes=10, **options):
    made = of_preset(biggan_cifar10.Options, preset, **{"image_size": size, **options})
    return biggan_cifar10.build(made, DataSpec.single("random", 8, (size, size, 3), classes)), made


def counts(state):
    return [sum(leaf.size for leaf in jax.tree.leaves(each.params)) for each in (state.generator, state.discriminator)]


def test_the_papers_preset_has_as_many_parameters_as_published():
    """StudioGAN's, see tests/networks/test_biggan.py; and its rates, batch and steps of either player."""
    gan, options = gan_of(preset="paper")
    state = jax.eval_shape(gan.init, jax.random.key(0))
    assert counts(state) == [9_416_196, 2_415_170]
    assert gan.batch_size == 5 * 64 and options.steps == 100_000
    half_life = -64 * np.log(2) / np.log(0.9999)
    assert options.ema_half_life == pytest.approx(half_life, rel=1e-4)


def test_the_papers_networks_at_128_pixels_are_options_away():
    gan, _ = gan_of(128, "paper", 1000, latent_size=120, attention=(64,))
    assert counts(jax.eval_shape(gan.init, jax.random.key(0))) == [70_433_988, 87_982_370]


def test_an_iteration_is_two_updates_of_the_discriminator_and_one_of_the_generator():
    gan, options = gan_of()
    state = jax.eval_shape(gan.init, jax.random.key(0))
    batch = {name: np.zeros((gan.batch_size, *shape), kind) for name, shape, kind in FIELDS}
    after, metrics = jax.eval_shape(gan.iteration, state, batch)
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)
    assert gan.batch_size == 2 * options.batch_size and "generator/orthogonal" in metrics
    assert state.hyper.keys() >= {"orthogonal"} and "discriminator/orthogonal" not in metrics
    without, _ = gan_of(orthogonal=0.0)
    other = jax.eval_shape(without.init, jax.random.key(0))
    assert "orthogonal" not in other.hyper
    assert "generator/orthogonal" not in jax.eval_shape(without.iteration, other, batch)[1]


FIELDS = [("image", (32, 32, 3), np.float32), ("label", (), np.int32)]


@pytest.mark.slow
def test_an_iteration_moves_every_parameter_and_turns_as_often_as_a_player_learns():
    """All but what stands behind an attention's gate, which is closed at first; the gates open. (The regularisation,
    whose gradient is the rounding of 0 there, would move them.) Samples are of the class that is asked for, and change
    under a threshold that is near."""
    gan, _ = gan_of(orthogonal=0.0)
    state = jax.jit(gan.init)(jax.random.key(0))
    random = np.random.default_rng(0)
    batch = {
        "image": random.uniform(-1, 1, (gan.batch_size, 32, 32, 3)).astype(np.float32),
        "label": (np.arange(gan.batch_size) % 10).astype(np.int32),
    }
    after, metrics = jax.jit(gan.iteration)(state, batch)
    for name, player in state.players.items():
        pairs = zip(jax.tree.leaves_with_path(player.params), jax.tree.leaves(after.players[name].params), strict=True)
        still = {jax.tree_util.keystr(path) for (path, old), new in pairs if np.all(old == new)}
        behind = {f"['attention16']['{each}']['kernel']" for each in ("query", "key", "value", "output")}
        assert still == (behind if name == "generator" else set()), "the discriminator has learned twice"
        assert after.players[name].step == (1 if name == "generator" else 2)
    assert all(np.isfinite(value) for value in metrics.values())
    keys, labels = jax.random.split(jax.random.key(1), 6), {"label": np.array([0, 0, 0, 1, 1, 1], np.int32)}
    same = jax.random.wrap_key_data(np.asarray(jax.random.key_data(keys))[[0, 1, 2, 0, 1, 2]])
    sample = jax.jit(lambda keys, t: gan.sample(after, labels, keys, latent_threshold=t)["image"])
    far, near = sample(same, 50.0), sample(same, 0.5)
    plain = jax.jit(lambda keys: gan.sample(after, labels, keys)["image"])(same)
    np.testing.assert_allclose(far, plain, atol=1e-6)
    assert np.any(np.abs(far[:3] - far[3:]) > 0) and np.any(near != plain)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"latent_size": 30}, r"^--latent-size must be a multiple of 4 at 32 pixels, got 30"),
        ({"image_size": 128}, r"^--latent-size must be a multiple of 6 at 128 pixels, got 80"),
        ({"attention": (64,)}, r"^--attention must be sizes that both networks reach, of \[8, 16\], got"),
        ({"image_size": 48}, r"^--image-size must be .*, got 48"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(options, message):
    with pytest.raises(UsageError, match=message) as error:
        biggan_cifar10.Options(**options)
    assert "\n" not in str(error.value)


def test_data_without_classes_are_refused():
    with pytest.raises(UsageError, match=r"random has no labels, and this experiment needs two classes or more"):
        gan_of(classes=0)
