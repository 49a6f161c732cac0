"""`update` and `joint`: an objective's arguments and results, and their errors."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import Discriminator, Generator, assert_same, given, tiny_batch, tiny_gan
from jax.sharding import Mesh

from jaxgan import GANState, Outcome, Step, d_loss, g_loss, init_player, iteration, joint, make_d_step, repeat, update
from jaxgan.draw import Draw
from jaxgan.ema import ema
from jaxgan.history import empty_history, history
from jaxgan.lookahead import lookahead
from jaxgan.losses import least_squares, non_saturating
from jaxgan.parallel import sharded
from jaxgan.players import plain_player
from jaxgan.schedules import cosine, linear
from jaxgan.terms import Term, every, initial_extras
from jaxgan.terms.regularizers import lecam

BATCH = tiny_batch()


def judged(nets, batch, draw, state):
    net = nets["discriminator"]
    fake = nets["generator"](batch["latent"])
    return {"adversarial": non_saturating.d(net(batch["image"])["logits"], net(fake)["logits"])}


def fooled(nets, batch, draw, state):
    return {"adversarial": non_saturating.g(nets["discriminator"](nets["generator"](batch["latent"]))["logits"])}


# --- by how much ---


def test_an_update_is_the_gradient_step_of_its_objective():
    state = tiny_gan()
    g, d = state.generator, state.discriminator

    def loss(params):
        fake = g.apply_fn({"params": g.params}, BATCH["latent"])
        real, fake_logits = (d.apply_fn({"params": params}, x)["logits"] for x in (BATCH["image"], fake))
        return jnp.mean(jnp.log1p(jnp.exp(-real)) + jnp.log1p(jnp.exp(fake_logits)))

    value, gradient = jax.value_and_grad(loss)(d.params)
    after, metrics = jax.jit(update("discriminator", judged))(state, BATCH)
    expected = jax.tree.map(lambda p, g: p - 0.25 * g, d.params, gradient)
    assert_same(after.discriminator.params, expected, 1e-6)
    assert_same(after.generator, g)
    np.testing.assert_allclose(metrics["discriminator/loss"], value, atol=1e-6)


def test_two_players_that_learn_together_each_move_along_their_part():
    state = tiny_gan()
    both = lambda *inputs: judged(*inputs) | {"fooled": fooled(*inputs)["adversarial"]}  # noqa: E731
    after, metrics = jax.jit(update(("generator", "discriminator"), both, name="all"))(state, BATCH)

    def loss(players):
        g, d = players
        fake = state.generator.apply_fn({"params": g}, BATCH["latent"])
        real, fake_logits = (state.discriminator.apply_fn({"params": d}, x)["logits"] for x in (BATCH["image"], fake))
        return jnp.mean(jnp.log1p(jnp.exp(-real)) + jnp.log1p(jnp.exp(fake_logits)) + jnp.log1p(jnp.exp(-fake_logits)))

    gradients = jax.grad(loss)((state.generator.params, state.discriminator.params))
    for name, rate, gradient in zip(("generator", "discriminator"), (0.5, 0.25), gradients, strict=True):
        expected = jax.tree.map(lambda p, g, rate=rate: p - rate * g, state.players[name].params, gradient)
        assert_same(after.players[name].params, expected, 1e-6)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in jax.tree.leaves(gradients)))
    np.testing.assert_allclose(metrics["all/gradient_norm"], norm, rtol=1e-5)


def test_a_pytree_of_losses_is_the_sum_of_its_leaves_means():
    def objective(nets, batch, draw, state):
        return {"scales": {"a": jnp.ones((4, 7)), "b": [2.0 * jnp.ones(4), jnp.arange(4.0)]}}

    _, metrics = update("generator", objective, weights={"scales": 0.5})(tiny_gan(), BATCH)
    assert float(metrics["generator/scales"]) == 1 + 2 + 1.5
    assert float(metrics["generator/loss"]) == 2.25


def test_losses_of_scales_count_each_scale_alike_whatever_its_length():
    """(½·1² + ½·0²) of the long one and (½·(-1)² + ½·2²) of the short one, worked out by hand."""
    real, fake = [jnp.full((2, 9), 2.0), jnp.full((2, 1), 0.0)], [jnp.zeros((2, 9)), jnp.full((2, 1), 2.0)]
    np.testing.assert_allclose(least_squares.d(real, fake), [3.0, 3.0])
    np.testing.assert_allclose(least_squares.g(fake), [0.5 + 0.5] * 2)
    with pytest.raises(ValueError, match=r"differ in shape, \(2, 9\) and \(2, 1\), \(2, 1\)"):
        least_squares.d(real, fake[1])


def test_an_outcome_keeps_extras_and_logs_metrics():
    def objective(nets, batch, draw, state):
        return Outcome({"zero": jnp.zeros(4)}, {"count": state.extras["count"] + 1}, {"mean": jnp.arange(4.0)})

    state = tiny_gan(extras={"count": jnp.zeros((), jnp.int32), "other": jnp.ones(3)})
    after, metrics = jax.jit(update("generator", objective, name="mine"))(state, BATCH)
    assert (int(after.extras["count"]), float(metrics["mine/mean"])) == (1, 1.5)
    assert_same(after.extras["other"], state.extras["other"])


# --- passes through networks ---


class Counting(nn.Module):
    """A network that counts its passes in `count`, and in `spectral` those that may change this collection."""

    @nn.compact
    def __call__(self, x, *, train):
        for name in "count", "spectral":
            passes = self.variable(name, "passes", jnp.zeros, (), jnp.int32)
            if self.is_mutable_collection(name) and not self.is_initializing():
                passes.value = passes.value + 1
        return nn.Dense(1)(x)


def counting(**hyper):
    players = {name: init_player(jax.random.key(0), Counting(), optax.identity(), jnp.zeros((1, 2))) for name in "ab"}
    return GANState.of(jax.random.key(0), players, hyper={"a/learning_rate": 0.1, "b/learning_rate": 0.1} | hyper)


def counts(state, name):
    of = state.players[name].variables
    return int(of["count"]["passes"]), int(of["spectral"]["passes"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_learners_passes_stay_and_its_power_iteration_turns_once(accumulate):
    def objective(nets, batch, draw, state):
        x = nets["a"](batch) + nets["a"](batch) + nets["a"].frozen(batch) + nets["b"](batch)
        return {"x": x}

    after, _ = jax.jit(update("a", objective, accumulate=accumulate))(counting(), jnp.ones((4, 2)))
    assert counts(after, "a") == (2 * accumulate, 1) and counts(after, "b") == (0, 0)


def test_a_joint_steps_passes_are_counted_over_both_of_its_halves():
    make = lambda nets, batch, draw, state: nets["a"](batch)  # noqa: E731
    own = lambda nets, batch, draw, state, generated: {"x": generated + nets["a"](batch)}  # noqa: E731
    other = lambda nets, batch, draw, state, generated: {"x": generated * nets["b"](batch)}  # noqa: E731
    step = joint(update("b", other, make=make), update("a", own, make=make))
    after, _ = jax.jit(step)(counting(), jnp.ones((4, 2)))
    assert counts(after, "a") == (2, 1) and counts(after, "b") == (1, 1)


@pytest.mark.parametrize("name", ["grad", "vmap", "cond", "scan", "checkpoint", "jit"])
def test_a_pass_that_leaves_something_is_refused_inside_a_transformation(name):
    transformations = {
        "grad": lambda f, x: jax.grad(lambda x: jnp.sum(f(x)))(x),
        "vmap": lambda f, x: jax.vmap(lambda x: f(x[None])[0])(x),
        "cond": lambda f, x: jax.lax.cond(x[0, 0] > 0, f, f, x),
        "scan": lambda f, x: jax.lax.scan(lambda c, x: (c, f(x[None])), 0.0, x)[1],
        "checkpoint": lambda f, x: jax.checkpoint(f)(x),
        "jit": lambda f, x: jax.jit(f)(x),
    }

    def inside(frozen):
        def objective(nets, batch, draw, state):
            return {"x": transformations[name](nets["a"].frozen if frozen else nets["a"], batch)}

        return objective

    with pytest.raises(ValueError, match=r"a learns and is called inside .*call nets\['a'\].frozen there"):
        update("a", inside(False))(counting(), jnp.ones((4, 2)))
    update("a", inside(True))(counting(), jnp.ones((4, 2)))


def test_every_pass_draws_for_itself_and_another_moves_none():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.Dense(1)(x) + jax.random.normal(self.make_rng("noise"), (len(x), 1))

    player = init_player(jax.random.key(0), Noisy(), optax.identity(), jnp.zeros((1, 2)))
    kept = {"first": jnp.zeros((4, 1)), "second": jnp.zeros((4, 1)), "z": jnp.zeros((4, 2))}
    state = GANState.of(jax.random.key(0), {"a": player}, hyper={"a/learning_rate": 0.0}, extras=kept)

    def drawn(more):
        def objective(nets, batch, draw, state):
            first = nets["a"](batch)
            if more:
                nets["a"].frozen(batch)
                draw.normal("another", 3)
            kept = {"first": first, "second": nets["a"](batch), "z": draw.normal("z", 2)}
            return Outcome({"x": first}, kept)

        return update("a", objective)(state, jnp.ones((4, 2)))[0].extras

    few, many = drawn(False), drawn(True)
    assert_same(few, many)
    assert np.all(few["first"] != few["second"])


# --- draws and means ---


def test_draws_are_by_name_and_example():
    draw = Draw(jax.random.key(3), 4, jnp.int32(0))
    key = jax.random.fold_in(jax.random.key(3), 3_904_355_907)  # crc32 of "a"
    expected = [jax.random.normal(jax.random.fold_in(key, i), (2,)) for i in range(4)]
    np.testing.assert_array_equal(draw.normal("a", 2), jnp.stack(expected))
    assert len(np.unique([*draw.uniform("a"), *draw.uniform("b")])) == 8
    part = Draw(jax.random.key(3), 2, jnp.int32(0), part=(1, 2))
    np.testing.assert_array_equal(part.uniform("a"), draw.uniform("a")[1::2])
    assert (part.count, draw.count) == (4, 4)


def test_every_nth_update_has_n_times_the_values():
    results = []
    for step in range(4):
        draw = Draw(jax.random.key(0), 2, jnp.int32(step))
        value, kept = draw.every(3, lambda: (jnp.array([1.0, 3.0]), jnp.float32(7)), jnp.float32(1))
        results.append((float(value[0]), float(kept)))
    assert results == [(6, 7), (0, 1), (0, 1), (6, 7)]
    scales = draw.every(3, lambda: [jnp.array([1.0, 3.0]), jnp.ones((2, 5))])
    assert float(scales[0]) == 9
    with pytest.raises(ValueError, match="n at least 1, got 0"):
        draw.every(0, lambda: jnp.ones(2))
    with pytest.raises(ValueError, match="n at least 1, got 0"):
        every(d_loss(non_saturating), 0)


@pytest.mark.parametrize("places", [4, 6, 10])
def test_a_pool_in_numpy(places):
    """It fills with the first fakes, then exchanges: only fakes are shown, and each exchange is one."""
    pool = empty_history({"x": jnp.zeros((4, 1))}, places)
    for step in range(8):
        draw = Draw(jax.random.fold_in(jax.random.key(0), step), 4, jnp.int32(2 * step + 5))  # other updates between
        fakes = {"x": 1.0 + 4 * step + jnp.arange(4.0)[:, None]}
        before = np.asarray(pool["examples"]["x"]).reshape(-1)
        shown, pool = history(pool, fakes, draw)
        fresh, out, kept = (np.asarray(x["x"]).reshape(-1) for x in (fakes, shown, pool["examples"]))
        if 4 * step < places:
            np.testing.assert_array_equal(out, fresh)
            assert set(fresh) <= set(kept)
            continue
        exchanged = out != fresh
        assert set(out[exchanged]) <= set(before) - {0.0}
        assert sorted(kept) == sorted([*(set(before) - set(out[exchanged])), *fresh[exchanged]])
        assert 0.0 not in kept
    assert_same(history(pool, fakes, draw, share=0.0)[0], fakes)
    assert set(np.asarray(history(pool, fakes, draw, share=1.0)[1]["examples"]["x"]).reshape(-1)) >= set(fresh)
    with pytest.raises(ValueError, match="pool of 2 can't exchange the 4 examples"):
        history(empty_history(fakes, 2), fakes, draw)
    with pytest.raises(ValueError, match=r"like {'x': 'float32\[1\]'}, and these are {'x': 'float32\[2\]'}"):
        history(pool, {"x": jnp.zeros((4, 2))}, draw)
    with pytest.raises(ValueError, match="over the 2 parts of an accumulated batch"):
        history(pool, fakes, Draw(draw.root, 4, draw.step, part=(0, 2)))


def test_half_of_the_fakes_are_exchanged_for_any_place_alike():
    """Shrivastava et al. 2017, section 2.3, and CycleGAN's code: each by a coin of its own, for any earlier one."""
    places, batches = 5, 4000
    full = {"examples": -1.0 - jnp.arange(5.0), "batches": jnp.int32(3)}  # of places 0 to 4, as negative numbers
    fakes = jnp.array([1.0, 2.0])

    def exchange(key):
        return history(full, fakes, Draw(key, 2, jnp.int32(0)))

    keys = jax.random.split(jax.random.key(0), batches)
    shown, pools = jax.jit(jax.vmap(exchange))(keys)
    again, _ = jax.jit(jax.vmap(exchange))(keys)
    np.testing.assert_array_equal(again, shown)
    old = np.asarray(shown) < 0
    deviation = 0.5 / np.sqrt(batches)
    assert np.abs(old.mean(0) - 0.5).max() < 4 * deviation
    assert abs(np.mean(old[:, 0] & old[:, 1]) - 0.25) < 4 * deviation, "coins of their own"
    taken = np.bincount((-1 - shown[old]).astype(int), minlength=places) / old.sum()
    assert np.abs(taken - 1 / places).max() < 4 * np.sqrt(1 / places * (1 - 1 / places) / old.sum())
    kept = np.sort(np.concatenate([pools["examples"], shown], axis=1), axis=1)  # nothing is lost, nothing is twice
    np.testing.assert_array_equal(kept, np.tile([-5.0, -4, -3, -2, -1, 1, 2], (batches, 1)))


@pytest.mark.parametrize("check_vma", [True, False])
def test_a_pool_of_integers_is_one_on_all_devices(check_vma):
    def objective(nets, batch, draw, state):
        shown, pool = history(state.extras["pool"], {"tokens": batch["tokens"]}, draw)
        return Outcome({"x": shown["tokens"].astype(jnp.float32)}, {"pool": pool})

    batch = {"tokens": jnp.arange(4, dtype=jnp.int32), "x": jnp.zeros((4, 2))}
    state = counting().replace(extras={"pool": empty_history({"tokens": batch["tokens"]}, 4)})
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    step = jax.jit(sharded(update("a", objective, axis_name="data"), mesh, check_vma=check_vma))
    after, _ = step(state, batch)
    np.testing.assert_array_equal(after.extras["pool"]["examples"]["tokens"], batch["tokens"])


# --- averages and schedules ---


def test_the_average_of_anything():
    old, new = {"a": jnp.float32(4.0), "count": jnp.int32(1)}, {"a": jnp.float32(0.0), "count": jnp.int32(2)}
    after = ema(old, new, 30, 10.0)  # three half-lives
    assert (float(after["a"]), int(after["count"])) == (0.5, 2)


def test_a_player_may_have_a_half_life_of_its_own():
    state = counting(**{"ema_half_life": 8.0, "b/ema_half_life": 2.0})
    zeros = {name: {"params": jax.tree.map(jnp.zeros_like, state.players[name].params)} for name in "ab"}
    state = state.replace(ema=zeros, step=jnp.int32(1000))
    after, _ = iteration(update("a", lambda nets, batch, draw, state: {"no": jnp.zeros(4)}))(state, jnp.ones((4, 2)))
    for name, share in ("a", 1 - 0.5**0.5), ("b", 1 - 0.5**2):
        kernel = state.players[name].params["Dense_0"]["kernel"]
        np.testing.assert_allclose(after.ema[name]["params"]["Dense_0"]["kernel"], share * kernel, rtol=1e-6)


def test_schedules_move_rates_weights_and_optimisers_and_leave_hyper():
    @optax.inject_hyperparams
    def scaled(factor: float):
        return optax.scale(factor)

    state = tiny_gan(tx=scaled(factor=1.0))
    schedules = {
        "generator/learning_rate": lambda images, base: base / (1 + images),
        "gamma": linear(1.0, 3.0, 8),
        "generator/factor": cosine(4.0, 2.0, 8),
    }
    step = jax.jit(iteration(update("generator", fooled, weights={"adversarial": "gamma"}), schedules=schedules))
    plain = jax.jit(update("generator", fooled))
    for images, (rate, gamma, factor) in {0: (0.5, 1.0, 4.0), 4: (0.1, 2.0, 3.0), 8: (0.5 / 9, 3.0, 2.0)}.items():
        moved, _ = plain(state, BATCH)  # by half of the gradient
        expected = jax.tree.map(
            lambda p, q, by=rate * gamma * factor: p + by * 2 * (q - p), state.generator.params, moved.generator.params
        )
        before = state
        state, metrics = step(state.replace(generator=_with_factor(state.generator, 1.0)), BATCH)
        assert_same(state.generator.params, expected, 1e-5)
        np.testing.assert_allclose(metrics["hyper/gamma"], gamma, rtol=1e-6)
        assert_same(state.hyper, before.hyper)
        np.testing.assert_allclose(state.generator.opt_state.hyperparams["factor"], factor, rtol=1e-6)
        assert int(state.step) * 4 == images + 4
        state = state.replace(generator=_with_factor(state.generator, 1.0))


def _with_factor(player, factor):
    opt_state = player.opt_state
    return player.replace(opt_state=opt_state._replace(hyperparams={"factor": jnp.asarray(factor, jnp.float32)}))


def test_a_schedule_of_nothing_is_refused():
    step = iteration(update("generator", fooled), schedules={"generator/betta2": linear(0, 1, 8)})
    with pytest.raises(
        ValueError, match=r"schedules for \['generator/betta2'\], which neither hyper nor an optimiser has; there are"
    ):
        step(tiny_gan(), BATCH)


# --- a joint step ---


def generate(nets, batch, draw, state):
    return nets["generator"](batch["latent"])


def d_on(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    return {"adversarial": non_saturating.d(net(batch["image"])["logits"], net(fake)["logits"])}


def g_on(nets, batch, draw, state, fake):
    decay = sum(jnp.sum(p**2) for p in jax.tree.leaves(nets["generator"].params))
    return {"adversarial": non_saturating.g(nets["discriminator"](fake)["logits"]), "decay": decay.reshape(1)}


def test_a_joint_step_is_one_after_the_other_with_a_pass_less():
    normed = {"generator": Generator(batch_norm=True), "discriminator": Discriminator(batch_norm=True)}
    state = tiny_gan(**normed)
    d, g = (
        update("discriminator", d_on, make=generate),
        update("generator", g_on, make=generate, weights={"decay": 0.3}),
    )
    both, apart = jax.jit(joint(d, g)), jax.jit(lambda state, batch: g(d(state, batch)[0], batch))
    assert_same(both(state, BATCH)[0], apart(state, BATCH)[0], 1e-5)
    flops = [jax.jit(step).lower(state, BATCH).compile().cost_analysis()["flops"] for step in (both, d, g)]
    assert flops[0] < flops[1] + flops[2]  # in one program XLA finds the pass that both make by itself


def test_what_a_joint_step_cannot_do_is_refused():
    d, g = update("discriminator", d_on, make=generate), update("generator", g_on, make=generate)
    with pytest.raises(ValueError, match="shares the result of `make`"):
        joint(update("discriminator", judged), g)
    with pytest.raises(ValueError, match="have different functions `make`"):
        joint(update("discriminator", d_on, make=functools.partial(generate)), g)
    with pytest.raises(ValueError, match=r"\['generator'\] would learn in both"):
        joint(update(("generator", "discriminator"), d_on, make=generate), g)
    with pytest.raises(ValueError, match="differ in axis_name, None and 'data'"):
        joint(d, update("generator", g_on, make=generate, axis_name="data"))
    with pytest.raises(ValueError, match="can't be accumulated over 2 parts"):
        update("discriminator", d_on, make=generate, accumulate=2).learn(tiny_gan(), BATCH, jnp.zeros((4, 2, 2, 1)))


# --- what is refused ---


@pytest.mark.parametrize(
    "learns, objective, options, message",
    [
        ("critic", judged, {}, r"'critic' is no player of this state; it has \['discriminator', 'generator'\]"),
        ("generator", fooled, {"weights": {"l1": 1.0}}, r"weights for \['l1'\], .*it has \['adversarial'\]"),
        ("generator", fooled, {"weights": {"adversarial": "gama"}}, "has weight 'gama', which hyper lacks"),
        ("generator", lambda *_: jnp.zeros(4), {}, "expected of the objective 'generator' a dict of losses"),
        ("generator", lambda *_: {"loss": jnp.zeros(4)}, {}, r"would be called \['loss'\]; rename yours"),
        ("generator", lambda *_: Outcome({"a": jnp.zeros(4)}, {}, {"a": 1.0}), {}, r"would be called \['a'\]"),
        ("generator", lambda *_: {"a": jnp.zeros(())}, {}, "values of shape"),
    ],
)
def test_an_update_that_cannot_be_is_refused(learns, objective, options, message):
    with pytest.raises(ValueError, match=message):
        update(learns, objective, **options)(tiny_gan(), BATCH)


def test_names_of_learners_are_checked_at_once():
    with pytest.raises(ValueError, match=r"project names \['discriminator'\], which don't learn here"):
        update("generator", fooled, project={"discriminator": abs})
    for learns in [], ["a", "a"]:
        with pytest.raises(ValueError, match="names of players that learn, each once"):
            update(learns, fooled)
    with pytest.raises(ValueError, match="at least 1 part"):
        update("generator", fooled, accumulate=0)
    with pytest.raises(TypeError, match=r"make_d_step\(\) got an unexpected keyword argument 'agument'"):
        make_d_step(given, [d_loss(non_saturating)], agument=None)


def test_two_numbers_of_one_name_are_refused():
    twice = iteration(update("generator", fooled), update("generator", fooled))
    with pytest.raises(ValueError, match="two steps report generator/adversarial, generator/gradient_norm"):
        twice(tiny_gan(), BATCH)
    iteration(update("generator", fooled), update("generator", fooled, name="again"))(tiny_gan(), BATCH)
    with pytest.raises(ValueError, match="two terms would keep lecam; only one may"):
        initial_extras({}, [lecam(1.0)], [lecam(2.0)])


def test_a_pass_takes_one_key():
    many = lambda nets, batch, draw, state: {"x": nets["a"](batch, key=draw.keys("x"))}  # noqa: E731
    with pytest.raises(ValueError, match=r"a takes one key a pass, `key=`, got \(4,\) of them"):
        update("a", many)(counting(), jnp.ones((4, 2)))


def test_a_size_beside_a_batch_must_be_its():
    with pytest.raises(ValueError, match="size=7, but the batch has 4 examples"):
        update("generator", fooled, size=7)(tiny_gan(), BATCH)


def test_two_terms_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"a name of its own, got \['adversarial', 'adversarial'\]"):
        make_d_step(given, [d_loss(non_saturating), d_loss(least_squares)])


def test_a_missing_rate_is_named():
    state = tiny_gan()
    state = state.replace(hyper={name: value for name, value in state.hyper.items() if "generator" not in name})
    with pytest.raises(ValueError, match="hyper lacks 'generator/learning_rate'"):
        update("generator", fooled)(state, BATCH)


def test_what_is_no_batch_is_refused():
    state = tiny_gan()
    for batch, sizes in ({**BATCH, "player": state.generator}, "4"), ({**BATCH, "step": jnp.int32(1)}, "4"):
        with pytest.raises(ValueError, match=rf"one B; .* has {sizes} examples and"):
            update("generator", fooled)(state, batch)
        with pytest.raises(ValueError, match="one B"):
            iteration(repeat(update("generator", fooled), 2))(state, batch)


def test_a_batch_without_arrays_needs_a_size():
    free = lambda nets, batch, draw, state: {"x": nets["a"](draw.normal("z", 2))}  # noqa: E731
    with pytest.raises(ValueError, match="a batch without arrays has no size"):
        update("a", free)(counting(), None)
    step = iteration(repeat(update("a", free, size=6), 2), update("b", lambda *inputs: {"x": jnp.zeros(1)}, size=6))
    after, _ = jax.jit(step)(counting(), None)
    assert int(after.players["a"].step) == 2 and after.step == 1

    def drawn(accumulate):
        def far(nets, batch, draw, state):
            return {"x": (draw.normal("z", 1) - nets["a"].params["Dense_0"]["bias"][None]) ** 2}

        return update("a", far, size=6, accumulate=accumulate)(counting(), None)

    three, one = (jax.tree.leaves(drawn(n)) for n in (3, 1))
    assert_same(three, one, 1e-6)
    with pytest.raises(ValueError, match="for 4 parts, got 6"):
        drawn(4)


def test_a_state_checks_its_names():
    key, player = jax.random.key(0), tiny_gan().generator
    for name in "ema", "init", "order":
        with pytest.raises(ValueError, match=rf"can't be called \['{name}'\]"):
            GANState.of(key, {name: player}, hyper={})
    with pytest.raises(ValueError, match=r"averaged names \['h'\]; the players are \['g'\]"):
        GANState.of(key, {"g": player}, averaged=["h"], hyper={})
    with pytest.raises(ValueError, match="hyper lacks 'ema_half_life', in images, for 'g'"):
        GANState.of(key, {"g": player}, averaged=["g"], hyper={})
    with pytest.raises(TypeError, match=r"the state has no \['generatr'\]"):
        tiny_gan().replace(generatr=player)
    assert tiny_gan().replace(generator=player).generator is player


def test_weak_numbers_of_a_users_extras_compile_once():
    state, traces = tiny_gan(extras={"p": jnp.asarray(0.5)}), []

    def objective(nets, batch, draw, state):
        traces.append(1)
        return Outcome(fooled(nets, batch, draw, state), {"p": state.extras["p"] + jnp.float32(1)})

    step = jax.jit(update("generator", objective))
    state, _ = step(state, BATCH)
    step(state, BATCH)
    assert len(traces) == 1


def test_a_term_reports_metrics_of_its_own():
    term = Term("mine", lambda view: Outcome(view.fake["logits"], {}, {"largest": jnp.max(view.fake["logits"])}))
    _, metrics = make_d_step(given, [term])(tiny_gan(), BATCH)
    assert metrics["discriminator/mine/largest"] >= metrics["discriminator/mine"]


def test_an_iteration_takes_updates_and_functions_of_ones_own():
    own = Step(lambda state, batch: (state, {"own": jnp.ones(())}))
    _, metrics = iteration(update("generator", fooled), own)(tiny_gan(), BATCH)
    assert {"own", "generator/loss"} <= set(metrics)
    with pytest.raises(ValueError, match="at least one step"):
        iteration()
    assert g_loss(non_saturating).name == "adversarial"


# --- what is refused when a step is traced ---


def outcome(losses, **results):
    return update("generator", lambda nets, batch, draw, state: Outcome(losses, **results))


@pytest.mark.parametrize("losses, named", [({}, "no loss"), ({"a": None}, "'a'"), ({"a": jnp.ones(4), "b": []}, "'b'")])
def test_an_objective_without_losses_is_refused(losses, named):
    with pytest.raises(ValueError, match=named):
        jax.eval_shape(outcome(losses), tiny_gan(), BATCH)


@pytest.mark.parametrize(
    "extras, named",
    [
        ({"new": jnp.zeros(3)}, r"extras\['new'\] was not there and is float32\[3\]"),
        ({"kept": jnp.zeros(4)}, r"extras\['kept'\] was float32\[3\] and is float32\[4\]"),
        ({"kept": jnp.zeros(3, jnp.int32)}, r"was float32\[3\] and is int32\[3\]"),
        ({"kept": {"one": jnp.zeros(3)}}, r"was float32\[3\] and is not there any more"),
    ],
)
@pytest.mark.parametrize("paired", [False, True], ids=["alone", "joint"])
def test_extras_that_the_state_lacks_are_refused_outside_of_a_scan_too(extras, named, paired):
    step, make = outcome({"a": jnp.ones(4)}, extras=extras), lambda nets, batch, draw, state: jnp.ones(4)
    if paired:
        results = Outcome({"a": jnp.ones(4)}, extras)
        g = update("generator", lambda nets, batch, draw, state, made: results, make=make)
        d = update("discriminator", lambda nets, batch, draw, state, made: {"a": jnp.ones(4)}, make=make)
        step = joint(d, g)
    with pytest.raises(ValueError, match=named):
        jax.eval_shape(step, tiny_gan(extras={"kept": jnp.zeros(3)}), BATCH)


def test_a_projection_and_a_network_may_not_change_what_a_state_is_made_of():
    class Sowing(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("seen", "inputs", x)  # appends at each call
            return nn.Dense(1)(x)

    player = init_player(jax.random.key(0), Sowing(), optax.identity(), jnp.zeros((4, 2)))
    state = GANState.of(jax.random.key(0), {"a": player}, hyper={"a/learning_rate": 0.1})
    with pytest.raises(ValueError, match=r"players\['a'\].variables\['seen'\]\['inputs'\]\[1\] was not there"):
        jax.eval_shape(update("a", lambda nets, batch, *rest: {"x": nets["a"](batch)}), state, jnp.ones((4, 2)))
    longer = update("generator", fooled, project={"generator": lambda params: jax.tree.map(lambda p: p[None], params)})
    with pytest.raises(ValueError, match=r"params\['Dense_0'\]\['bias'\] was float32\[8\] and is float32\[1, 8\]"):
        jax.eval_shape(longer, tiny_gan(), BATCH)


def test_an_iteration_is_counted_once():
    inner = iteration(update("generator", fooled))
    for step in (inner, repeat(inner, 2), lookahead(inner, 2)):
        with pytest.raises(ValueError, match="an iteration inside of another would count twice"):
            iteration(step)
    with pytest.raises(ValueError, match=r"lookahead takes an iteration, .*, got Update"):
        lookahead(update("generator", fooled), 2)
    with pytest.raises(ValueError, match=r"expected steps, .*, got list"):
        iteration([update("generator", fooled)])
    again, _ = jax.jit(repeat(inner, 2))(tiny_gan(), BATCH)
    assert int(again.step) == int(again.generator.step) == 2


def test_a_state_is_of_one_key_and_of_numbers():
    key, player = jax.random.key(0), tiny_gan().generator
    for wrong in 0, jax.random.PRNGKey(0), jax.random.split(key, 2):
        with pytest.raises(ValueError, match=r"expected one key as jax\.random\.key"):
            GANState.of(wrong, {"g": player}, hyper={})
    with pytest.raises(ValueError, match=r"'x' has the shape \(2,\)"):
        GANState.of(key, {"g": player}, hyper={"x": [1.0, 2.0]})
    for tx in 1e-3, optax.scale_by_adam:
        with pytest.raises(ValueError, match=r"expected an optimiser such as optax.scale_by_adam\(\), got"):
            plain_player(lambda params: params, jnp.ones(1), tx)
    step = iteration(update("generator", fooled), schedules={"gamma": lambda images, base: jnp.stack([base, base])})
    with pytest.raises(ValueError, match=r"the schedule of 'gamma' must return a number, got the shape \(2,\)"):
        jax.eval_shape(step, tiny_gan(), BATCH)
