"""Optimisers against PyTorch's (tests/golden/optimizers.npz), clipping and schedules against what was worked out."""

import dataclasses
import math
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import HYPER, assert_same, differs, given, tiny_batch, tiny_gan

from jaxgan import d_loss, g_loss, iteration, make_d_step, make_g_step, make_joint_step
from jaxgan.losses import non_saturating
from jaxgan.terms import Term
from jaxgan.training import GAN, Options, UsageError, sample_with
from jaxgan.training.options.optimizer import hyper, optimizer, schedule
from jaxgan.training.options.options import differing
from jaxgan.training.recipe.compose import make_iteration, with_lookahead
from scripts.golden.optimizers import CASES, RATE, STEPS, inputs

pytestmark = pytest.mark.usefixtures("as_users_have_it")

OPTIONS = {
    "adam": {},
    "adam_slow": {"beta1": 0.9, "beta2": 0.99},
    "adam_l2": {"l2": 0.1},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "rmsprop": {"optimizer": "rmsprop"},
    "rmsprop_momentum": {"optimizer": "rmsprop", "momentum": 0.9, "l2": 0.1},
    "sgd": {"optimizer": "sgd"},
    "sgd_momentum": {"optimizer": "sgd", "momentum": 0.9},
    "sgd_l2": {"optimizer": "sgd", "momentum": 0.9, "l2": 0.1},
    "sgd_clip": {"optimizer": "sgd", "clip_gradient_norm": 1.5},
    "all": {"optimizer": "adamw", "weight_decay": 0.1, "clip_gradient_norm": 1.5},
}
D_TERMS, G_TERMS = [d_loss(non_saturating)], [g_loss(non_saturating)]


@pytest.fixture(scope="module")
def golden():
    with np.load(pathlib.Path(__file__).parents[2] / "golden" / "optimizers.npz") as file:
        arrays = dict(file)
    parameters, gradients = inputs()
    for name in parameters:  # what PyTorch was given
        np.testing.assert_array_equal(parameters[name], arrays[f"parameters/{name}"])
        np.testing.assert_array_equal(gradients[name], arrays[f"gradients/{name}"])
    return arrays


class Four(nn.Module):
    """A player whose parameters have the shapes of the golden ones: bias `[3]`, kernel `[4, 3]`."""

    judges: bool

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        three = nn.Dense(3)(x.reshape(-1, 4))
        return {"logits": three[:, 0]} if self.judges else jnp.pad(three, ((0, 0), (0, 1))).reshape(-1, 2, 2, 1)


def state_of(options, parameters):
    """Both players with these parameters and the options' optimiser."""
    state = tiny_gan(generator=Four(False), discriminator=Four(True), tx=optimizer(options), hyper=hyper(options))
    copies = [{"Dense_0": jax.tree.map(jnp.array, parameters)} for _ in range(2)]
    players = {"generator": state.generator, "discriminator": state.discriminator}
    players = {
        name: player.replace(params=params) for (name, player), params in zip(players.items(), copies, strict=True)
    }
    return state.replace(**players)


def pulling(gradients):
    """The term whose gradient by the player's parameters is `gradients[step]`, [STEPS, ...] by name."""

    def function(view):
        mine = view.params["Dense_0"]
        return sum(jnp.vdot(mine[name], jnp.asarray(g)[view.step]) for name, g in gradients.items()) * jnp.ones(4)

    return Term("pulling", function)


def trained(case, options, parameters, gradients, jit=True):
    """[STEPS, ...] of both players' parameters under these gradients, by player and name."""
    how = {"schedule": schedule(options)}
    step = iteration(make_d_step(given, [pulling(gradients)], **how), make_g_step(given, [pulling(gradients)], **how))
    step = jax.jit(step) if jit else step
    state, seen = state_of(options, parameters), []
    for _ in range(len(gradients["bias"])):
        state, _ = step(state, tiny_batch())
        seen.append({"generator": state.generator.params, "discriminator": state.discriminator.params})
    stacked = jax.tree.map(lambda *values: np.stack(values), *seen)
    return {(player, name): stacked[player]["Dense_0"][name] for player in stacked for name in parameters}


@pytest.mark.parametrize("case", CASES)
def test_optimizers_are_pytorchs(case, golden):
    options = Options(learning_rate=RATE, **OPTIONS[case])
    found = trained(case, options, *inputs())
    for (player, name), values in found.items():
        assert values.shape[0] == STEPS
        np.testing.assert_allclose(values, golden[f"{case}/{name}"], rtol=2e-6, atol=2e-6, err_msg=f"{player} {name}")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_optimizers_are_the_same_without_jit(case, golden):
    for (_, name), values in trained(case, Options(learning_rate=RATE, **OPTIONS[case]), *inputs(), jit=False).items():
        np.testing.assert_allclose(values, golden[f"{case}/{name}"], rtol=2e-6, atol=2e-6)


def test_every_case_differs_from_the_others(golden):
    """Or else agreeing with one of them would say nothing of an option."""
    for case in CASES:
        for other in CASES:
            same = np.allclose(golden[f"{case}/kernel"], golden[f"{other}/kernel"], rtol=1e-4, atol=1e-4)
            assert same == (case == other), f"{case}, {other}"


def test_the_default_leaves_saved_runs_as_they_are():
    """The same tree of optimiser state and the same bits as the experiments had before there were options."""
    parameters, gradients = inputs()
    before, now = optax.scale_by_adam(b1=0.5), optimizer(Options())
    old, new = before.init(parameters), now.init(parameters)
    assert_same(new, old)
    for step in range(STEPS):
        given_now = {name: jnp.asarray(g[step]) for name, g in gradients.items()}
        (u, old), (v, new) = jax.jit(before.update)(given_now, old), jax.jit(now.update)(given_now, new, parameters)
        assert_same((v, new), (u, old))
    assert optimizer(Options(optimizer="sgd")).init(parameters) == optax.EmptyState()


def test_clipping_takes_the_norm_over_all_parameters_of_a_player():
    """(3, 4) has norm 5: to 1.5 it is (0.9, 1.2), whichever arrays the numbers are in; the metric says 5 still."""
    zeros = {"bias": np.zeros(3, np.float32), "kernel": np.zeros((4, 3), np.float32)}
    gradients = {name: np.zeros((2, *value.shape), np.float32) for name, value in zeros.items()}
    gradients["bias"][0, 1], gradients["kernel"][0, 2, 0] = 3, 4
    gradients["bias"][1, 1], gradients["kernel"][1, 2, 0] = 0.3, 0.4
    options = Options(optimizer="sgd", learning_rate=1.0, clip_gradient_norm=1.5)
    found = trained("clip", options, zeros, gradients)
    for player in ("generator", "discriminator"):
        np.testing.assert_allclose(found[player, "bias"][:, 1], [-0.9, -1.2], rtol=1e-6)
        np.testing.assert_allclose(found[player, "kernel"][:, 2, 0], [-1.2, -1.6], rtol=1e-6)
        assert np.count_nonzero(found[player, "bias"]) == np.count_nonzero(found[player, "kernel"]) == 2
    _, metrics = jax.jit(make_g_step(given, [pulling(gradients)]))(state_of(options, zeros), tiny_batch())
    assert float(metrics["generator/gradient_norm"]) == pytest.approx(5)


@pytest.mark.parametrize(
    "changes, images, factors",
    [
        ({"schedule": "linear"}, [0, 500, 1000, 5000], [1, 0.5, 0, 0]),
        ({"schedule": "linear", "final_rate": 0.1}, [0, 500, 1000, 5000], [1, 0.55, 0.1, 0.1]),
        ({"schedule": "linear", "schedule_images": 200}, [50, 100, 200, 1000], [0.75, 0.5, 0, 0]),
        ({"schedule": "cosine"}, [0, 250, 500, 1000, 5000], [1, 0.5 + 0.5**1.5, 0.5, 0, 0]),
        ({"schedule": "cosine", "final_rate": 0.2}, [0, 500, 1000, 5000], [1, 0.6, 0.2, 0.2]),
        ({"warmup_images": 100}, [0, 25, 100, 1000], [0, 0.25, 1, 1]),
        ({"schedule": "linear", "warmup_images": 500}, [0, 250, 500, 750, 1000], [0, 0.375, 0.5, 0.25, 0]),
    ],
)
def test_schedules(changes, images, factors):
    """Over 100 batches of 10 images, where nothing else is said."""
    options = Options(steps=100, batch_size=10, **changes)
    for factor in (schedule(options), jax.jit(schedule(options))):
        found = [factor(jnp.float32(count)) for count in images]
        np.testing.assert_allclose(found, factors, atol=1e-6)
        assert {(value.dtype, value.shape) for value in found} == {(jnp.float32.dtype, ())}
    critic = schedule(options, repeats=5)
    np.testing.assert_allclose([critic(jnp.float32(5 * count)) for count in images], factors, atol=1e-6)


def test_a_step_multiplies_rate_and_decay_by_the_schedule():
    """Without a gradient, decay λ leaves p·(1 - η·λ·(1 - t/T)) of p: here t/T is 0, 1/4, 1/2."""
    parameters = inputs()[0]
    none = {name: np.zeros((3, *value.shape), np.float32) for name, value in parameters.items()}
    changes = {"optimizer": "sgd", "weight_decay": 0.5, "schedule": "linear", "schedule_images": 16}
    options = Options(generator_learning_rate=0.8, discriminator_learning_rate=0.4, **changes)
    found = trained("decay", options, parameters, none)
    for player, rate in (("generator", 0.8), ("discriminator", 0.4)):
        left = np.cumprod([1 - rate * 0.5 * factor for factor in (1, 0.75, 0.5)])
        expected = left[:, None, None] * parameters["kernel"]
        np.testing.assert_allclose(found[player, "kernel"], expected, rtol=1e-6)


def test_rates_of_their_own():
    common = {"generator/learning_rate": 0.3, "discriminator/learning_rate": 0.3, "ema_half_life": 50.0}
    assert hyper(Options(learning_rate=0.3, ema_half_life=50.0)) == common
    own = Options(learning_rate=0.3, generator_learning_rate=0.1, ema_half_life=50.0)
    assert hyper(own) == common | {"generator/learning_rate": 0.1}
    own = Options(learning_rate=0.3, discriminator_learning_rate=4e-4, ema_half_life=50.0)
    assert hyper(own) == common | {"discriminator/learning_rate": 4e-4}


def test_widths_of_averages():
    """γ as Karras et al. 2024 print it, under the name by which the average is asked for afterwards."""
    found = hyper(Options(power_ema=(0.05, 0.10)))
    assert {name: round(found[name], 2) for name in found if name.startswith("power")} == {
        "power_ema/0.05": 16.97,
        "power_ema/0.1": 6.94,
    }
    assert not any(name.startswith("power") for name in hyper(Options()))
    for wrong in ((0.05, 0.05), (0.0,), (0.05, 0.3), (-0.1,), (math.nan,)):
        expected = r"^--power-ema must be different widths above 0 and below 0\.2887, such as 0\.05 0\.1, got "
        with pytest.raises(UsageError, match=expected):
            Options(power_ema=wrong)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"generator_learning_rate": 0.0}, "--generator-learning-rate must be above 0 and finite, got 0.0"),
        (
            {"discriminator_learning_rate": math.inf},
            "--discriminator-learning-rate must be above 0 and finite, got inf",
        ),
        ({"beta2": 1.0}, "--beta2 must be at least 0 and below 1, got 1.0"),
        ({"momentum": -0.1, "optimizer": "sgd"}, "--momentum must be at least 0 and below 1, got -0.1"),
        ({"momentum": 0.9}, "--momentum must be 0 with --optimizer adam, which has --beta1 instead, got 0.9"),
        ({"optimizer": "adamw"}, "--weight-decay must be above 0, such as 0.01, with --optimizer adamw, .* got 0.0"),
        ({"weight_decay": -1.0}, "--weight-decay must be at least 0 and finite, got -1.0"),
        ({"l2": math.nan}, "--l2 must be at least 0 and finite, got nan"),
        ({"clip_gradient_norm": 0.0}, "--clip-gradient-norm must be above 0 and finite, got 0.0"),
        ({"schedule_images": 9}, "--schedule-images must be given together with --schedule linear or cosine, got 9"),
        ({"final_rate": 0.1}, "--final-rate must be given together with --schedule linear or cosine, got 0.1"),
        ({"final_rate": 1.1, "schedule": "cosine"}, "--final-rate must be from 0 to 1, got 1.1"),
        ({"schedule_images": 0, "schedule": "cosine"}, "--schedule-images must be at least 1, got 0"),
        ({"warmup_images": -1}, "--warmup-images must be at least 0, got -1"),
        ({"lookahead": -1}, "--lookahead must be at least 0, got -1"),
        ({"lookahead_alpha": 0.0}, "--lookahead-alpha must be above 0 and at most 1, got 0.0"),
        ({"accumulate": 0}, "--accumulate must be at least 1, got 0"),
        ({"accumulate": 3}, "--accumulate must be a divisor of --batch-size, which is 64, got 3"),
    ],
)
def test_what_cannot_work_is_told_in_a_line(changes, message):
    with pytest.raises(UsageError, match=message) as error:
        Options(**changes)
    assert "\n" not in str(error.value)


def test_a_schedule_over_the_whole_run_fixes_its_length():
    """A constant rate doesn't mind more steps; others would have had other rates all along."""
    run = dataclasses.asdict(Options(steps=100, batch_size=10))
    assert differing(Options(steps=200, batch_size=10), run) == []
    run = dataclasses.asdict(Options(steps=100, batch_size=10, schedule="linear"))
    longer = Options(steps=200, batch_size=10, schedule="linear")
    assert differing(longer, run) == ["--schedule-images 2000 (the run has 1000)"]
    assert differing(dataclasses.replace(longer, schedule_images=1000), run) == []
    run["schedule_images"] = 1000
    assert differing(Options(steps=100, batch_size=10, schedule="linear"), run) == []
    assert differing(Options(steps=100, batch_size=10), run) == ["--schedule constant (the run has linear)"]
    old = {name: value for name, value in run.items() if "schedule" not in name}  # from before there were any
    assert differing(Options(steps=200, batch_size=10), old) == []
    assert differing(longer, old) == ["--schedule linear (the run has constant)"]


def test_without_a_schedule_rates_stay_and_are_no_metrics():
    assert schedule(Options()) is None and schedule(Options(warmup_images=1)) is not None
    metrics = [
        jax.eval_shape(make_iteration(o, given, D_TERMS, G_TERMS, updates="joint"), tiny_gan(), tiny_batch())[1]
        for o in (Options(), Options(schedule="linear"))
    ]
    assert set(metrics[1]) - set(metrics[0]) == {"hyper/generator/learning_rate", "hyper/discriminator/learning_rate"}


def test_taking_turns_is_one_pass_or_as_many_as_there_are_parts():
    batch, options, state = tiny_batch(4), Options(batch_size=4), tiny_gan()
    sizes = set()

    def noticed(example):
        sizes.add(len(example["image"]))
        return example

    whole = iteration(make_d_step(given, D_TERMS), make_g_step(given, G_TERMS))
    for accumulate, plain in ((1, iteration(make_joint_step(given, D_TERMS, G_TERMS))), (2, whole)):
        parts = dataclasses.replace(options, accumulate=accumulate)
        sizes.clear()
        found = jax.jit(make_iteration(parts, given, D_TERMS, G_TERMS, updates="joint", prepare=noticed))(state, batch)
        assert_same(found, jax.jit(plain)(state, batch), 0 if accumulate == 1 else 1e-6)
        assert sizes == {4 // accumulate} and differs(found[0].generator.params, state.generator.params)


def test_taking_turns_follows_the_schedule():
    """At the end of a linear one nothing moves any more, in parts or not."""
    batch, start = tiny_batch(4), tiny_gan()
    for accumulate in (1, 2):
        options = Options(batch_size=4, schedule="linear", schedule_images=4, accumulate=accumulate)
        step = jax.jit(make_iteration(options, given, D_TERMS, G_TERMS, updates="joint"))
        state, _ = step(start, batch)
        after, _ = step(state, batch)
        for player in ("generator", "discriminator"):
            assert differs(getattr(state, player).params, getattr(start, player).params)
            assert_same(getattr(after, player).params, getattr(state, player).params)


def test_looking_ahead_goes_back_every_so_often():
    """Zhang et al.'s algorithm 1 with k = 2: φ + α·(θ - φ), where θ is where two plain iterations lead."""
    batch = tiny_batch(4)
    options = Options(batch_size=4)
    step = make_iteration(options, given, D_TERMS, G_TERMS, updates="joint")
    start = tiny_gan()
    gan = GAN(lambda key: start, jax.jit(step), 4, sample_with(given))
    assert with_lookahead(options, gan) is gan
    ahead = with_lookahead(dataclasses.replace(options, lookahead=2, lookahead_alpha=0.25), gan)
    key = jax.random.key(0)
    (one, _), (state, _) = gan.iteration(gan.init(key), batch), ahead.iteration(ahead.init(key), batch)
    assert_same(state.generator.params, one.generator.params)
    (two, _), (state, _) = gan.iteration(one, batch), ahead.iteration(state, batch)
    for player in ("generator", "discriminator"):
        slow, fast = (getattr(of, player).params for of in (gan.init(key), two))
        expected = jax.tree.map(lambda a, b: np.float32(0.75 * np.float64(a) + 0.25 * np.float64(b)), slow, fast)
        assert_same(jax.tree.map(np.asarray, getattr(state, player).params), expected, 1e-6)
        assert differs(slow, fast)
    assert ahead.batch_size == gan.batch_size and set(HYPER) == set(state.hyper)
