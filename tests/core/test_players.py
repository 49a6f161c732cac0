"""Players of every network library: the same weights give the same numbers in each."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import assert_same, differs
from flax import nnx

from jaxgan import (
    Frozen,
    GANState,
    Outcome,
    callable_player,
    d_loss,
    g_loss,
    init_player,
    init_players,
    iteration,
    joint,
    latents,
    make_d_step,
    make_g_step,
    make_joint_step,
    nnx_player,
    penalties,
    plain_player,
    terms,
    update,
)
from jaxgan.losses import hinge, non_saturating
from jaxgan.networks.layers import BatchNorm
from jaxgan.schedules import rates

RATES = {"generator/learning_rate": 0.05, "discriminator/learning_rate": 0.05, "ema_half_life": 0.0}
SGD = optax.identity()

# --- one GAN of points in five ways of writing it ---

_random = np.random.default_rng(0)
WEIGHTS = {
    name: [jnp.asarray(_random.normal(size=shape), jnp.float32) for shape in shapes]
    for name, shapes in {
        "generator": [(3, 8), (8,), (8, 2), (2,)],
        "discriminator": [(2, 8), (8,), (8, 1), (1,)],
    }.items()
}
BATCH = jnp.asarray(_random.normal(size=(4, 2)), jnp.float32)


class Dense(nn.Module):
    out: int

    @nn.compact
    def __call__(self, x):
        hidden = jnp.tanh(nn.Dense(8)(x))
        return nn.Dense(self.out)(hidden)


class NNXDense(nnx.Module):
    def __init__(self, sizes, rngs):
        self.one, self.two = nnx.Linear(sizes, 8, rngs=rngs), nnx.Linear(8, 2 if sizes == 3 else 1, rngs=rngs)

    def __call__(self, x):
        return self.two(jnp.tanh(self.one(x)))


def linen(name):
    a, b, c, d = WEIGHTS[name]
    player = init_player(jax.random.key(0), Dense(len(d)), SGD, jnp.zeros((1, len(a))))
    params = {"Dense_0": {"kernel": a, "bias": b}, "Dense_1": {"kernel": c, "bias": d}}
    return player.replace(params=params)


def plain(name):
    return plain_player(lambda p, x: jnp.tanh(x @ p[0] + p[1][None]) @ p[2] + p[3][None], list(WEIGHTS[name]), SGD)


def in_nnx(name):
    a, b, c, d = WEIGHTS[name]
    module = NNXDense(len(a), nnx.Rngs(0))
    module.one.kernel[...], module.one.bias[...], module.two.kernel[...], module.two.bias[...] = a, b, c, d
    return nnx_player(module, SGD)


def equinox(name):
    a, b, c, d = WEIGHTS[name]
    module = eqx.nn.MLP(len(a), len(d), 8, 1, jnp.tanh, key=jax.random.key(0))
    where = lambda m: [m.layers[0].weight, m.layers[0].bias, m.layers[1].weight, m.layers[1].bias]  # noqa: E731
    return callable_player(eqx.tree_at(where, module, [a.T, b, c.T, d]), SGD)


def fakes(nets, batch, draw, state):
    return nets["generator"](draw.normal("z", 3))


def generator(nets, batch, draw, state, fake):
    return {"adversarial": non_saturating.g(nets["discriminator"](fake))}


def discriminator(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    r1 = penalties.r1(net.frozen, batch)
    return {"adversarial": non_saturating.d(net(batch), net(fake)), "r1": r1}


STEP = iteration(joint(update("discriminator", discriminator, make=fakes), update("generator", generator, make=fakes)))


def trained(make):
    state = GANState.create(jax.random.key(0), make("generator"), make("discriminator"), hyper=RATES)
    state, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, _: STEP(s, BATCH), state, length=3))(state)
    return state, jax.tree.map(lambda x: x[-1], metrics)


@pytest.mark.slow
@pytest.mark.parametrize("make", [plain, in_nnx, equinox])
def test_the_same_network_learns_the_same_whoever_wrote_it(make):
    (wanted, other_metrics), (state, metrics) = trained(linen), trained(make)
    assert_same(metrics, other_metrics, 1e-5)
    for name in "generator", "discriminator":
        mine, others = (
            sorted(float(jnp.sum(x**2)) for x in jax.tree.leaves(of.players[name].params)) for of in (state, wanted)
        )
        np.testing.assert_allclose(mine, others, rtol=1e-5)
        assert differs(wanted.players[name].params, linen(name).params)


# --- layers as their libraries document them ---


class Normed(nn.Module):
    """A generator of 2×2 images with flax's own batch normalisation."""

    @nn.compact
    def __call__(self, z, condition=None, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(8)(z))
        return jnp.tanh(nn.Dense(4)(nn.relu(x))).reshape(-1, 2, 2, 1)


class Critic(nn.Module):
    kind: str = ""

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        x = x.reshape(len(x), -1)
        x = nn.SpectralNorm(nn.Dense(8))(x, update_stats=train) if "spectral" in self.kind else nn.Dense(8)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x) if "batch" in self.kind else x
        x = nn.Dropout(0.5, deterministic=not train)(x) if "dropout" in self.kind else x
        return {"logits": nn.Dense(1)(jnp.tanh(x))[:, 0]}


def gan(kind):
    keys = jax.random.split(jax.random.key(0), 3)
    g = init_player(keys[1], Normed(), SGD, jnp.zeros((1, 4)))
    d = init_player(keys[2], Critic(kind), SGD, jnp.zeros((1, 2, 2, 1)))
    return GANState.create(keys[0], g, d, hyper=RATES)


IMAGES = {"image": jnp.asarray(_random.uniform(-1, 1, (4, 2, 2, 1)), jnp.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["", "batch", "spectral", "dropout", "spectral and batch"])
def test_networks_with_flaxs_own_layers_train(kind, shared):
    d_terms, g_terms = [d_loss(hinge)], [g_loss(hinge)]
    d_terms += [] if "batch" in kind else [terms.r1(0.5)]
    halves = make_d_step(latents(4), d_terms), make_g_step(latents(4), g_terms)
    step = iteration(make_joint_step(latents(4), d_terms, g_terms)) if shared else iteration(*halves)
    state = gan(kind)
    after, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: step(s, IMAGES), s, length=2))(state)
    for name in state.players:
        assert differs(after.players[name].params, state.players[name].params)
    assert differs(after.generator.variables, state.generator.variables)
    outputs = after.discriminator.apply_fn(after.discriminator.all_variables, IMAGES["image"], train=False)
    assert np.isfinite(outputs["logits"]).all()


def test_flaxs_batch_statistics_are_those_of_the_real_and_then_the_fake_pass():
    state = gan("batch")
    after, _ = jax.jit(make_d_step(latents(4), [terms.Term("kept", lambda view: view.fake["logits"])]))(state, IMAGES)
    d = state.discriminator
    images = [IMAGES["image"], _fakes_of(state)]
    mean, var = np.zeros(8), np.ones(8)
    for image in images:
        kernel, bias = (np.asarray(d.params["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
        x = np.asarray(image, np.float64).reshape(4, -1) @ kernel + bias
        mean, var = 0.9 * mean + 0.1 * x.mean(0), 0.9 * var + 0.1 * x.var(0)
    kept = after.discriminator.variables["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(kept["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(kept["var"], var, atol=1e-6)


class Either(nn.Module):
    """A generator or a critic with our batch normalisation or flax's."""

    judges: bool = False
    norm: type = BatchNorm

    @nn.compact
    def __call__(self, x, condition=None, *, train):
        x = nn.Dense(8)(x.reshape(len(x), -1))
        if self.norm is BatchNorm:
            x = BatchNorm(momentum=0.9, name="norm")(x, train=train)
        else:
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = nn.Dense(1 if self.judges else 4)(jnp.tanh(x))
        return {"logits": x[:, 0]} if self.judges else jnp.tanh(x).reshape(-1, 2, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["joint", "alternating"])
def test_flaxs_batch_normalisation_trains_as_ours(shared):
    d_terms, g_terms = [d_loss(hinge)], [g_loss(non_saturating)]
    halves = make_d_step(latents(4), d_terms), make_g_step(latents(4), g_terms)
    step = jax.jit(iteration(make_joint_step(latents(4), d_terms, g_terms)) if shared else iteration(*halves))
    ends = []
    for norm in BatchNorm, nn.BatchNorm:
        keys = jax.random.split(jax.random.key(0), 3)
        g = init_player(keys[1], Either(norm=norm), SGD, jnp.zeros((1, 4)))
        d = init_player(keys[2], Either(judges=True, norm=norm), SGD, jnp.zeros((1, 2, 2, 1)))
        state = GANState.create(keys[0], g, d, hyper=RATES)
        for _ in range(2):
            state, metrics = step(state, IMAGES)
        ends.append(({name: p.all_variables for name, p in state.players.items()}, state.ema, metrics))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), *ends)
    assert differs(ends[0][0], {"generator": g.all_variables, "discriminator": d.all_variables})


def _fakes_of(state):
    """Returns the generator's images in the discriminator's first update."""
    g, root = state.generator, jax.random.fold_in(jax.random.fold_in(state.key, 1), 0)
    feed = jax.random.split(root, 6)[0]
    z = jnp.stack([jax.random.normal(jax.random.fold_in(feed, i), (4,)) for i in range(4)])
    image, _ = g.apply_fn(g.all_variables, z, train=True, mutable=["batch_stats"])
    return image


def test_flaxs_power_iteration_is_kept_once_an_update_and_only_in_its_players():
    state = gan("spectral")
    u = lambda state: state.discriminator.variables["batch_stats"]["SpectralNorm_0"]["Dense_0/kernel/u"]  # noqa: E731
    d_step, g_step = make_d_step(latents(4), [d_loss(hinge), terms.r1(0.5)]), make_g_step(latents(4), [g_loss(hinge)])
    after, _ = jax.jit(d_step)(state, IMAGES)
    kernel, old = np.asarray(state.discriminator.params["Dense_0"]["kernel"], np.float64), np.asarray(u(state))
    v = old @ kernel.T
    turned = v / np.linalg.norm(v) @ kernel
    np.testing.assert_allclose(u(after), turned / np.linalg.norm(turned), atol=1e-6)  # one turn, of two passes
    assert_same(u(jax.jit(g_step)(after, IMAGES)[0]), u(after))


class SpectralDense(nn.Module):
    """flax's spectral normalisation as its documentation has it; of the unit matrix it makes the weight in use."""

    @nn.compact
    def __call__(self, x, *, train):
        return nn.SpectralNorm(nn.Dense(4, use_bias=False))(x, update_stats=train)


def test_all_passes_of_an_update_have_the_weights_of_flaxs_one_turn():
    eye, key = jnp.eye(3), jax.random.key(0)
    player = init_player(key, SpectralDense(), SGD, eye)
    assert player.once == ("spectral",)
    hyper = {"D/learning_rate": 0.0, "G/learning_rate": 0.0}
    state = GANState.of(key, {"D": player, "G": plain_player(lambda p, x: p * x, jnp.ones(()), SGD)}, hyper=hyper)
    cotangent = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)

    def passes(nets, batch, draw, state):
        net, before = nets["D"], state.players["D"]
        first, second = net(batch, train=True), net(batch, train=True)
        found = {"second": second, "penalty": net.frozen(batch), "evaluation": net.frozen(batch, train=False)}
        apart = {name: jnp.max(jnp.abs(value - first)) for name, value in found.items()}
        apart["before"] = jnp.max(jnp.abs(before.apply_fn(before.all_variables, batch, train=False) - first))
        return Outcome({"loss of all": jnp.sum(second * cotangent, axis=1)}, metrics=apart)

    def other(nets, batch, draw, state):
        return {"on D": nets["D"](nets["G"](batch))}

    step, weights = jax.jit(update("D", passes)), lambda state: np.asarray(state.evaluate("D", eye, weights="raw"))
    for moved in (
        player.params,
        jax.tree.map(lambda leaf: 3 * leaf[:, ::-1] + 0.1, player.params),
    ):  # follows a moved weight
        state = state.replace(D=state.players["D"].replace(params=moved))
        after, metrics = step(state, eye)
        apart = {name: metrics[f"D/{name}"].item() for name in ("second", "penalty", "evaluation", "before")}
        assert apart.pop("before") > 1e-3 and max(apart.values()) < 1e-6
        judged, _ = jax.jit(update("G", other))(after, eye)
        assert_same(jax.tree.leaves(judged.players["D"].variables), jax.tree.leaves(after.players["D"].variables))
        for _ in range(60):
            state, metrics = step(state, eye)
        assert np.linalg.svd(weights(state), compute_uv=False)[0] == pytest.approx(1, abs=1e-3)

    # d(c · W/σ)/dW = (c - (c · W/σ) vᵀu) / σ with constant u and v, in float64; of three rows the loss is the mean.
    kernel = np.asarray(moved["layer_instance" if "layer_instance" in moved else "Dense_0"]["kernel"], np.float64)
    left, singular, right = np.linalg.svd(kernel, full_matrices=False)
    direction = np.sum(cotangent * kernel) / singular[0] * np.outer(left[:, 0], right[0])
    by_hand = np.linalg.norm((cotangent - direction) / singular[0] / 3)
    np.testing.assert_allclose(metrics["D/gradient_norm"], by_hand, rtol=1e-3)


class NNXNormed(nnx.Module):
    """A network with NNX's own batch and spectral normalisation and dropout."""

    def __init__(self, rngs):
        self.norm = nnx.SpectralNorm(nnx.Linear(2, 8, rngs=rngs), rngs=rngs)
        self.batch, self.drop = nnx.BatchNorm(8, momentum=0.9, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(jnp.tanh(self.batch(self.norm(x)))))


def test_nnxs_layers_keep_their_statistics_and_turn_once():
    d = nnx_player(NNXNormed(nnx.Rngs(1)), SGD)
    assert (d.once, d.across) == (("spectral",), ("batch normalisation",))
    state = GANState.create(jax.random.key(0), in_nnx("generator"), d, hyper=RATES)
    judge = lambda nets, batch, draw, state: {  # noqa: E731
        "adversarial": non_saturating.d(nets["discriminator"](batch), nets["discriminator"](batch + 1.0)),
        "frozen": nets["discriminator"].frozen(batch),
    }
    after, _ = jax.jit(update("discriminator", judge))(state, BATCH)
    again, _ = jax.jit(update("discriminator", judge))(state, BATCH)
    assert_same(jax.tree.leaves(after), jax.tree.leaves(again))  # dropout's keys are the update's

    (u, sigma), (new_u, _) = (
        sorted(jax.tree.leaves(of.discriminator.variables["spectral"]), key=lambda x: -x.ndim) for of in (state, after)
    )
    kernel = np.asarray(NNXNormed(nnx.Rngs(1)).norm.layer_instance.kernel[...], np.float64)
    v = np.asarray(u) @ kernel.T
    turned = v / np.linalg.norm(v) @ kernel
    np.testing.assert_allclose(new_u, turned / np.linalg.norm(turned), atol=1e-5)
    assert sigma.shape == () and differs(after.discriminator.variables["rest"], state.discriminator.variables["rest"])
    evaluated = d.apply_fn(d.all_variables, BATCH, train=False)
    assert_same(evaluated, d.apply_fn(d.all_variables, BATCH, train=False))


def test_states_of_one_module_are_one_kind_of_tree():
    module = Critic()
    one, two = (init_player(jax.random.key(n), module, SGD, jnp.zeros((1, 2, 2, 1))) for n in range(2))
    other = init_player(jax.random.key(0), Critic(), SGD, jnp.zeros((1, 2, 2, 1)))
    assert jax.tree.structure(one) == jax.tree.structure(two) != jax.tree.structure(other)


def normed(x, train):
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    return nn.Dropout(0.5, deterministic=not train)(x)


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return normed(x, train)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        return normed(x, training)


class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, *, is_training: bool):
        return normed(x, is_training)


class Deterministic(nn.Module):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x, deterministic=None):
        return normed(x, not nn.merge_param("deterministic", self.deterministic, deterministic))


@pytest.mark.parametrize("module", [Train(), Training(), IsTraining(), Deterministic(), nn.Sequential([Training()])])
def test_the_mode_is_passed_in_flaxs_words(module):
    """In training the batch's mean moves the statistics and half of the numbers are dropped, in evaluation neither."""
    player = init_player(jax.random.key(0), module, SGD, jnp.zeros((1, 2)))
    rngs, names = {"dropout": jax.random.key(1)}, list(player.variables)
    out, changed = player.apply_fn(player.all_variables, BATCH, train=True, rngs=rngs, mutable=names)
    (mean,) = (x for path, x in jax.tree.leaves_with_path(changed) if path[-1].key == "mean")
    np.testing.assert_allclose(mean, 0.1 * np.asarray(BATCH, np.float64).mean(0), rtol=1e-6)
    assert np.any(out == 0)
    out = player.apply_fn(player.all_variables, BATCH, train=False)
    np.testing.assert_allclose(out, BATCH / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_a_mode_that_a_field_sets_is_left_to_it():
    for module in Deterministic(deterministic=True), nn.Sequential([nn.BatchNorm(use_running_average=True)]):
        player = init_player(jax.random.key(0), module, SGD, jnp.zeros((1, 2)))
        out = player.apply_fn(player.all_variables, BATCH, train=True)
        np.testing.assert_allclose(out, BATCH / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_modules_need_not_take_train():
    player = init_player(jax.random.key(0), Dense(1), SGD, jnp.zeros((1, 2)))
    out, changed = player.apply_fn(player.all_variables, BATCH, train=True, mutable=[])
    assert out.shape == (4, 1) and changed == {}
    assert player.apply_fn(player.all_variables, BATCH).shape == (4, 1)


def test_a_sequence_takes_train_where_its_first_layer_does():
    for layers, size in (([nn.Dense(3), nn.relu], 2), ([Normed(), nn.relu], 4)):
        player = init_player(jax.random.key(0), nn.Sequential(layers), SGD, jnp.zeros((1, size)))
        out, _ = player.apply_fn(player.all_variables, jnp.ones((3, size)), train=True, mutable=[])
        assert len(out) == 3


# --- networks that no one trains ---


def test_a_frozen_network_has_no_gradient_and_a_digest_of_its_arrays():
    variables = {"params": {"w": jnp.arange(3.0), "b": jnp.zeros(2)}}
    features = Frozen(lambda v, x: v["params"]["w"] * x, variables)
    assert_same(features(jnp.ones(3)), jnp.arange(3.0))
    by_weights = jax.grad(lambda w: jnp.sum(Frozen(features.apply_fn, {"params": {"w": w}})(jnp.ones(3))))
    np.testing.assert_array_equal(by_weights(jnp.ones(3)), 0)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(features(x)))(jnp.ones(3)), jnp.arange(3.0))
    others = [
        {"params": {"w": jnp.arange(3.0), "b": jnp.zeros(3)}},
        {"params": {"w": jnp.arange(3.0), "c": jnp.zeros(2)}},
        {"params": {"w": jnp.arange(3.0) + 1, "b": jnp.zeros(2)}},
    ]
    digests = {Frozen(features.apply_fn, v).digest for v in (variables, *others)}
    assert len(digests) == 4 and features.digest == Frozen(features.apply_fn, variables).digest


class _Scaled(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return self.param("w", nn.initializers.normal(), (1, 1)) * x + (100.0 if train else 0.0)


def test_players_start_from_keys_of_their_own_and_are_drawn_with_either_weights():
    key, x = jax.random.key(7), jnp.ones((1, 1))
    players = init_players(key, {"a": _Scaled(), "b": _Scaled()}, SGD, {"a": [x], "b": [x], "c": []})
    for number, own in zip("ab", jax.random.split(jax.random.fold_in(key, 4), 2), strict=True):  # 4: the role "init"
        assert_same(players[number].params, init_player(own, _Scaled(), SGD, x).params)
    state = GANState.of(key, players, averaged=["a"], hyper={"ema_half_life": 0.0})
    state = state.replace(
        a=players["a"].replace(params={"w": jnp.array([[3.0]])}), ema={"a": {"params": {"w": jnp.array([[2.0]])}}}
    )
    assert state.evaluate("a", x) == 2.0 and state.evaluate("a", x, weights="raw") == 3.0  # not 103: evaluation mode
    with pytest.raises(KeyError):
        state.evaluate("b", x)  # is not averaged


def test_rates_follow_one_factor():
    assert rates(None, "a", "b") == {}
    assert {name: f(4.0, 3.0) for name, f in rates(lambda images: images / 8, "a", "b").items()} == {
        "a/learning_rate": 1.5,
        "b/learning_rate": 1.5,
    }
