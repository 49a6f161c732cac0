"""R3GAN's experiments: what their schedules come to, continuing with an optimiser that one of them changes, seeds."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import assert_same

from experiments import r3gan_cifar10, r3gan_mnist, r3gan_stacked_mnist
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.options import of_preset

pytestmark = pytest.mark.usefixtures("as_users_have_it")  # Optax raises an injected decay to an integer's power

TINY = {"widths": (4,), "blocks": (1,), "latent_size": 4, "batch_size": 4, "seed": 3}


def tiny(**options):
    return of_preset(r3gan_mnist.Options, "smoke", **{**TINY, **options})


def gan_of(options, data=None):
    return r3gan_mnist.build(options, data or DataSpec.single("random", 8, (options.image_size,) * 2 + (1,), 10))


@pytest.mark.slow
def test_numbers_at_the_beginning_half_way_and_at_the_end():
    """Worked out by hand: half way down a cosine is the mean of both ends."""
    options = tiny(learning_rate=1e-3, schedule_images=80, final_rate=0.25, r1=2.0, r2=0.0, final_gamma=0.1)
    options = dataclasses.replace(options, first_beta2=0.9, beta2=0.99, ema_half_life=1000.0)
    gan = gan_of(options)
    start = jax.jit(gan.init)(jax.random.key(0))
    batch = {"image": jax.random.normal(jax.random.key(1), (4, 32, 32, 1)), "label": np.zeros(4, np.int32)}
    step = jax.jit(gan.iteration)
    wanted = {
        "generator/learning_rate": (1e-3, 0.625e-3, 0.25e-3, 0.25e-3),
        "discriminator/learning_rate": (1e-3, 0.625e-3, 0.25e-3, 0.25e-3),
        "generator/b2": (0.9, 0.945, 0.99, 0.99),
        "discriminator/b2": (0.9, 0.945, 0.99, 0.99),
        "r1": (1.0, 0.55, 0.1, 0.1),
        "ema_half_life": (0.0, 500.0, 1000.0, 1000.0),
    }
    for i, images in enumerate((0, 40, 80, 400)):
        at = np.int32(images // 4)
        players = {name: player.replace(step=at) for name, player in start.players.items()}
        after, metrics = step(start.replace(step=at, players=players), batch)
        assert {name for name in metrics if name.startswith("hyper/")} == {f"hyper/{name}" for name in wanted}
        for name, values in wanted.items():
            np.testing.assert_allclose(metrics[f"hyper/{name}"], values[i], rtol=1e-6, atol=1e-9, err_msg=name)
        for name in ("generator", "discriminator"):  # what the optimiser used
            np.testing.assert_allclose(after.players[name].opt_state.hyperparams["b2"], wanted["generator/b2"][i])
        assert after.hyper["r1"] == 1.0 and "r2" not in after.hyper, "the state keeps where they start from"


def test_constant_rates_leave_everything_as_it_is():
    assert r3gan_mnist.schedules(tiny(schedule="constant")) == {}
    assert set(r3gan_mnist.schedules(tiny(optimizer="sgd"))) == {"r1", "r2", "ema_half_life"}


@pytest.mark.slow
def test_continuing_gives_the_same_bits(tmp_path):
    options = tiny(steps=4, schedule_images=16, workdir=str(tmp_path / "whole"))
    whole = train(r3gan_mnist.build, options)
    parts = dataclasses.replace(options, workdir=str(tmp_path / "parts"))
    train(r3gan_mnist.build, dataclasses.replace(parts, steps=2))
    state = train(r3gan_mnist.build, parts)
    assert_same(jax.tree.leaves(state), jax.tree.leaves(whole))
    b2 = 0.99 + (0.9 - 0.99) * 0.5 * (1 + np.cos(np.pi * 3 / 4))  # of the fourth update, at 12 of 16 images
    np.testing.assert_allclose(state.players["generator"].opt_state.hyperparams["b2"], b2, rtol=1e-6)


@pytest.mark.slow
def test_two_seeds_in_one_program(tmp_path):
    train(r3gan_mnist.build, tiny(seeds=2, workdir=str(tmp_path / "run")))
    run = open_run(tmp_path / "run")
    assert [member.seed for member in run.members] == [3, 4]
    drawn = np.asarray(run.sample(2))
    assert drawn.shape[:2] == (2, 2) and np.any(drawn[0] != drawn[1])


def test_the_networks_that_options_describe():
    for module, size, channels in ((r3gan_mnist, 32, 1), (r3gan_stacked_mnist, 32, 3), (r3gan_cifar10, 32, 3)):
        options = of_preset(module.Options, "paper")
        data = DataSpec.single("random", 8, (size, size, channels), 10)
        generator, judge = r3gan_mnist.networks(options, data)
        assert (generator.size, generator.channels, generator.patch) == (size, channels, 1)
        assert generator.stages == judge.stages == ((768, 2, 96),) * 4
        assert generator.classes == (10 if module is r3gan_cifar10 else None)
        shape = jax.eval_shape(
            lambda g=generator: g.init_with_output(
                jax.random.key(0), np.zeros((2, 64), np.float32), np.zeros(2, np.int32)
            )
        )[0].shape
        assert shape == (2, size, size, channels)
    assert r3gan_mnist.networks(tiny(widths=(8, 4)), DataSpec.single("random", 8, (32, 32, 1), 10))[0].patch == 4


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"widths": (8,) * 5}, r"--widths must be .* at most 32"),
        ({"widths": ()}, "--widths must be numbers of at least 1"),
        ({"widths": (8, 0)}, "--widths must be numbers of at least 1"),
        ({"widths": (8, 4), "blocks": (1, 2, 3)}, "--blocks must be one number for all stages"),
        ({"widths": (10,), "group": 4}, r"--group must be a divisor of the expanded widths \[10\]"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(wrong, words):
    with pytest.raises(UsageError, match=words):
        tiny(**wrong)
