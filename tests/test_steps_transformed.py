"""One step, the same numbers under every transform; its draws; its purity; its errors."""

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import HYPER, LATENT, Discriminator, Generator, adam, assert_same, differs, given, tiny_batch, tiny_gan
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.losses import non_saturating
from jaxgan.state import GANState
from jaxgan.steps import iteration, latents, make_d_step, make_g_step, make_joint_step
from jaxgan.terms import Term, d_loss, g_loss, r1, wgan_gp

BATCHES = [tiny_batch(4, seed) for seed in range(3)]
MESH = Mesh(np.array(jax.devices()[:2]), ("data",))
KINDS = ["penalised", "normalised"]


def running_mean(view):
    """A term that draws real logits to their mean in earlier steps, which it keeps."""
    mean = view.extras["mean"]
    return (view.real["logits"] - mean) ** 2, view.extras | {"mean": 0.5 * (mean + jnp.mean(view.real["logits"]))}


def game(kind, axis_name=None, seed=0, tx=None):
    """(step, state): a GAN with gradient penalties, or one whose players both have batch norm; latents are drawn."""
    plain = kind == "penalised"
    terms = [d_loss(non_saturating), *([r1("gamma"), wgan_gp(2.0)] if plain else []), Term("kept", running_mean, 0.1)]
    joint = make_joint_step(latents(LATENT), terms, [g_loss(non_saturating)], axis_name=axis_name)
    generator = Generator(batch_norm=True, axis_name=axis_name)
    discriminator = Discriminator(batch_norm=not plain, axis_name=axis_name)
    extras = {"mean": jnp.zeros(())}
    state = tiny_gan(seed, generator=generator, discriminator=discriminator, extras=extras, tx=tx)
    return iteration(joint, axis_name=axis_name), state


def numbers(state):
    """The state's arrays without its functions: modules that differ in `axis_name` have equal numbers."""
    return jax.tree.leaves(state)


def run(step, state, batches=BATCHES):
    for batch in batches:
        state, metrics = step(state, batch)
    return state, metrics


@functools.cache
def reference(kind):
    """The state and metrics that every transform must reach: the jitted step on the whole batches."""
    step, state = game(kind)
    return run(jax.jit(step), state)


# --- transforms ---


def test_eager_and_jit_agree():
    step, state = game("normalised")
    assert_same(run(step, state, BATCHES[:1]), run(jax.jit(step), state, BATCHES[:1]), 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_jit_and_scan_agree(kind):
    (step, state), (expected, metrics) = game(kind), reference(kind)
    batches = jax.tree.map(lambda *x: jnp.stack(x), *BATCHES)
    scanned, history = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))(state, batches)
    assert_same(numbers(scanned), numbers(expected), 1e-5)
    assert_same(jax.tree.map(lambda x: x[-1], history), metrics, 1e-5)


def test_two_seeds_at_once_are_each_alone():
    step, first = game("penalised")
    second = first.replace(key=jax.random.key(7), hyper=first.hyper | {"gamma": jnp.asarray(0.1)})
    seeds = jax.tree.map(lambda *x: jnp.stack(x), first, second)
    together = run(jax.jit(jax.vmap(step, in_axes=(0, None))), seeds)
    step = jax.jit(step)
    each = [run(step, first), run(step, second)]
    for i, alone in enumerate(each):
        assert_same(jax.tree.map(lambda x, i=i: x[i], together), alone, 1e-5)
    assert differs(each[0][0].discriminator.params, each[1][0].discriminator.params)


def vmapped(step):
    """The step with the batch split over two lanes of one device; both must end in the same state."""
    lanes = jax.jit(jax.vmap(step, in_axes=(None, 0), axis_name="data"))

    def two_shards(state, batch):
        states, metrics = lanes(state, jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), batch))
        assert_same(*(jax.tree.map(lambda x, i=i: x[i], (numbers(states), metrics)) for i in (0, 1)), 1e-6)
        return jax.tree.map(lambda x: x[0], (states, metrics))

    return two_shards


def shard_mapped(step):
    specs = PartitionSpec(), PartitionSpec("data")
    return jax.jit(jax.shard_map(step, mesh=MESH, in_specs=specs, out_specs=PartitionSpec()))


@pytest.mark.parametrize("transform", [vmapped, shard_mapped])
@pytest.mark.parametrize("kind", KINDS)
def test_two_shards_of_a_batch_are_the_whole_batch(kind, transform):
    (step, state), (expected, metrics) = game(kind, "data"), reference(kind)
    actual, sharded_metrics = run(transform(step), state)
    assert_same(numbers(actual), numbers(expected), 1e-5)
    assert_same(sharded_metrics, metrics, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_sharded_over_two_devices_is_the_whole_batch(kind):
    (step, state), (expected, metrics) = game(kind), reference(kind)
    everywhere, split = NamedSharding(MESH, PartitionSpec()), NamedSharding(MESH, PartitionSpec("data"))
    batches = [jax.device_put(batch, split) for batch in BATCHES]
    sharded, sharded_metrics = run(jax.jit(step), jax.device_put(state, everywhere), batches)
    assert len(sharded.generator.params["Dense_0"]["kernel"].sharding.device_set) == 2
    assert_same(numbers(sharded), numbers(expected), 1e-5)
    assert_same(sharded_metrics, metrics, 1e-5)


@pytest.mark.parametrize("divide", ["images", "schedule"])
def test_images_are_counted_over_all_shards(divide):
    factor = {"schedule": lambda images: 1 / (1 + images)} if divide == "schedule" else {}
    steps = {}
    for axis_name in None, "data":
        parts = [make_g_step(given, [g_loss(non_saturating)], axis_name=axis_name, **factor)]
        steps[axis_name] = iteration(*parts, axis_name=axis_name)
    # So late that the half-life holds: in its ramp-up the decay is the same for any batch size.
    state = tiny_gan().replace(step=jnp.asarray(1000, jnp.int32))
    expected, actual = run(jax.jit(steps[None]), state), run(vmapped(steps["data"]), state)
    assert_same(actual, expected, 1e-6)


def test_statistics_of_each_shard_alone_are_averaged_over_shards():
    """Batch norm without `axis_name` normalises each shard by itself; what it keeps must yet be the same everywhere."""
    local = {"generator": Generator(batch_norm=True), "discriminator": Discriminator(batch_norm=True)}
    joint = make_joint_step(given, [d_loss(non_saturating)], [g_loss(non_saturating)], axis_name="data")
    run(vmapped(joint), tiny_gan(**local), BATCHES[:1])


def test_counters_among_variables_and_extras_stay_integers_over_shards():
    """A mean over devices must not turn a counter into a float: the next step would compile anew, a scan would fail."""

    def count(view):
        return view.real["logits"], {"count": view.extras["count"] + 1}

    state = tiny_gan(discriminator=Discriminator(turns=True), extras={"count": jnp.zeros((), jnp.int32)})
    step = make_d_step(given, [Term("count", count)], axis_name="data")
    after, _ = vmapped(step)(state, BATCHES[0])
    for counter in after.extras["count"], after.discriminator.variables["spectral"]["Turns_0"]["count"]:
        assert (counter.dtype, int(counter)) == (jnp.int32, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_call_compiles_nothing(kind):
    step, state = game(kind, tx=adam())
    traces = []

    @jax.jit
    def counted(state, batch):
        traces.append(1)
        return step(state, batch)

    run(counted, state)
    assert len(traces) == 1


def test_a_donated_state_survives_its_own_program():
    step, state = game("normalised", tx=adam())
    expected = run(jax.jit(step), state)
    # The state as it was created: none of its buffers may serve two of its leaves.
    assert_same(run(jax.jit(step, donate_argnums=0), state), expected, 1e-6)
    assert state.ema["params"]["Dense_0"]["kernel"].is_deleted()


# --- draws ---


def draws(make, state, size=4):
    """What one step draws: (latents, a term's number, its number an example, another term's number)."""

    def kept(name):
        def function(view):
            drawn = (view.fake["latent"], jax.random.uniform(view.key), jax.vmap(jax.random.uniform)(view.keys))
            return jnp.zeros(size), view.extras | {name: drawn}

        return Term(name, function)

    after, _ = jax.jit(make(latents(LATENT), [kept("one"), kept("two")]))(state, tiny_batch(size))
    one, two = after.extras["one"], after.extras["two"]
    return [np.asarray(x) for x in (*one, two[1], two[2])]


def test_draws_are_a_function_of_key_role_and_update():
    state = tiny_gan()
    once = draws(make_d_step, state)
    assert_same(draws(make_d_step, state), once)
    others = {
        "role": draws(make_g_step, state),
        "update": draws(make_d_step, state.replace(discriminator=state.discriminator.replace(step=jnp.asarray(1)))),
        "key": draws(make_d_step, state.replace(key=jax.random.key(1))),
    }
    for name, other in others.items():
        assert all(np.all(a != b) for a, b in zip(once, other, strict=True)), name
    # The other player's updates and the iterations done are none of this player's business.
    elsewhere = state.replace(step=jnp.asarray(9), generator=state.generator.replace(step=jnp.asarray(9)))
    assert_same(draws(make_d_step, elsewhere), once)


def test_every_example_and_every_term_has_its_own_key():
    latent, one, one_each, two, two_each = draws(make_d_step, tiny_gan())
    every_number = np.concatenate([one_each, two_each, [one, two], latent.reshape(-1)])
    assert len(np.unique(every_number)) == len(every_number)


def test_an_examples_draw_does_not_depend_on_the_batch_size():
    few, many = draws(make_d_step, tiny_gan(), 4), draws(make_d_step, tiny_gan(), 8)
    for index in 0, 2, 4:
        # Not bit for bit: a normal's last bit depends on how XLA vectorises the inverse error function.
        np.testing.assert_allclose(few[index], many[index][:4], rtol=1e-6)


# --- purity and errors ---


def global_generators():
    return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 (that it is left alone)


def test_a_step_leaves_its_input_and_the_global_generators_alone():
    step, state = game("normalised")
    copy = jax.tree.map(lambda x: np.array(jax.random.key_data(x) if x is state.key else x), state)
    before = global_generators()
    jax.eval_shape(step, state, BATCHES[0])
    run(jax.jit(step), state, BATCHES[:1])
    assert global_generators() == before
    assert_same(state.replace(key=jax.random.key_data(state.key)), copy)


def test_an_unknown_weight_is_named():
    step = make_d_step(given, [d_loss(non_saturating), r1("gama")])
    with pytest.raises(ValueError, match=r"term 'r1' has weight 'gama', which hyper lacks; it has .*'gamma'"):
        step(tiny_gan(), BATCHES[0])


@pytest.mark.parametrize("name", ["generator/learning_rate", "discriminator/learning_rate", "ema_half_life"])
def test_a_state_without_a_needed_number_is_refused(name):
    state, rest = tiny_gan(), {key: value for key, value in HYPER.items() if key != name}
    with pytest.raises(ValueError, match=name):
        GANState.create(state.key, state.generator, state.discriminator, hyper=rest)


def test_a_gradient_penalty_refuses_a_critic_with_batch_norm():
    step = make_d_step(given, [r1(1.0)])
    with pytest.raises(ValueError, match="batch_norm=False"):
        step(tiny_gan(discriminator=Discriminator(batch_norm=True)), BATCHES[0])
