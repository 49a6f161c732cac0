"""Gradient penalties against gradients derived by hand, in NumPy and float64."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxgan import GANState, init_player, latents, losses, make_d_step, penalties, terms
from jaxgan.networks import dcgan

SHAPE = (5, 2, 3, 1)  # images [B, H, W, C]
PIXELS, WIDTH, PATCHES = 6, 4, 3

_random = np.random.default_rng(0)
REAL, FAKE = _random.standard_normal((2, *SHAPE))
MIX = _random.uniform(size=SHAPE[0])
NOISE = np.random.default_rng(1).uniform(size=SHAPE)
_symmetric = _random.standard_normal((PIXELS, PIXELS))
_symmetric = _symmetric + _symmetric.T

# Every critic: its parameters, D(x) for rows x [B, PIXELS] in JAX, and ∇ₓD [B, PIXELS] derived by hand. Where D gives a
# map of patches, the gradient is that of their mean.
CRITICS = {
    # D = w·x + b; ∇D = w.
    "linear": (
        {"w": _random.standard_normal(PIXELS), "b": np.array(0.3)},
        lambda p, x: x @ p["w"] + p["b"],
        lambda p, x: np.tile(p["w"], (len(x), 1)),
    ),
    # D = ½ xᵀAx + w·x with A symmetric; ∇D = Ax + w.
    "quadratic": (
        {"A": _symmetric, "w": _random.standard_normal(PIXELS)},
        lambda p, x: 0.5 * jnp.sum(x * (x @ p["A"]), axis=1) + x @ p["w"],
        lambda p, x: x @ (p["A"] + p["A"].T) / 2 + p["w"],
    ),
    # D = v·tanh(Wx + b); ∇D = Wᵀ(v ∘ (1 - tanh²)).
    "mlp": (
        {
            "W": 0.5 * _random.standard_normal((PIXELS, WIDTH)),
            "b": 0.1 * _random.standard_normal((1, WIDTH)),
            "v": _random.standard_normal(WIDTH),
        },
        lambda p, x: jnp.tanh(x @ p["W"] + p["b"]) @ p["v"],
        lambda p, x: (p["v"] * (1 - np.tanh(x @ p["W"] + p["b"]) ** 2)) @ p["W"].T,
    ),
    # PATCHES logits of shape [B, PATCHES, 1, 1], each the one above with other weights v.
    "patches": (
        {
            "W": 0.5 * _random.standard_normal((PIXELS, WIDTH)),
            "b": 0.1 * _random.standard_normal((1, WIDTH)),
            "v": _random.standard_normal((WIDTH, PATCHES)),
        },
        lambda p, x: (jnp.tanh(x @ p["W"] + p["b"]) @ p["v"])[:, :, None, None],
        lambda p, x: (p["v"].mean(1) * (1 - np.tanh(x @ p["W"] + p["b"]) ** 2)) @ p["W"].T,
    ),
}


def _rows(images):
    return images.reshape(len(images), -1)


def _single(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


# Each penalty as a function of (critic, real, fake, mix), and the same in NumPy of a hand-derived gradient.
PENALTIES = {
    "squared_gradient_norm": (
        lambda critic, real, fake, mix: penalties.squared_gradient_norm(critic, real),
        lambda gradient: np.sum(gradient(_rows(REAL)) ** 2, axis=1),
    ),
    # Mescheder et al. 2018 (arXiv 1801.04406), equations 9 and 10, without their γ/2 and expectation.
    "r1": (
        lambda critic, real, fake, mix: penalties.r1(critic, real),
        lambda gradient: np.sum(gradient(_rows(REAL)) ** 2, axis=1),
    ),
    "r2": (
        lambda critic, real, fake, mix: penalties.r2(critic, fake),
        lambda gradient: np.sum(gradient(_rows(FAKE)) ** 2, axis=1),
    ),
    # (v · ∇D)², with the noise of another penalty as v.
    "squared_derivative": (
        lambda critic, real, fake, mix: penalties.squared_derivative(critic, real, jnp.asarray(NOISE, jnp.float32)),
        lambda gradient: np.sum(gradient(_rows(REAL)) * _rows(NOISE), axis=1) ** 2,
    ),
    # ((D(x + εv) - D(x - εv)) / 2ε)², which is the same for what is linear or quadratic, and nearly so for others.
    "squared_difference": (
        lambda critic, real, fake, mix: penalties.squared_difference(critic, real, jnp.asarray(NOISE, jnp.float32)),
        lambda gradient: np.sum(gradient(_rows(REAL)) * _rows(NOISE), axis=1) ** 2,
    ),
    # Gulrajani et al. 2017 (arXiv 1704.00028), algorithm 1: x̂ = εx + (1 - ε)x̃.
    "wgan_gp": (
        penalties.wgan_gp,
        lambda gradient: (
            (np.linalg.norm(gradient(MIX[:, None] * _rows(REAL) + (1 - MIX[:, None]) * _rows(FAKE)), axis=1) - 1) ** 2
        ),
    ),
    # Kodali et al. 2017 (arXiv 1705.07215): x̂ = x + ε·½·σ·u, σ that of all numbers of the batch.
    "dragan": (
        lambda critic, real, fake, mix: penalties.dragan(critic, real, jnp.asarray(NOISE, jnp.float32), mix),
        lambda gradient: (
            (np.linalg.norm(gradient(_rows(REAL + MIX[:, None, None, None] * REAL.std() / 2 * NOISE)), axis=1) - 1) ** 2
        ),
    ),
}

every_critic = pytest.mark.parametrize("critic", CRITICS)
every_penalty = pytest.mark.parametrize("penalty", PENALTIES)


def _penalty(penalty, critic):
    """Returns a function (parameters, real, fake, mix) -> [B]."""
    function, logits = PENALTIES[penalty][0], CRITICS[critic][1]
    return lambda params, *data: function(lambda images: logits(params, _rows(images)), *data)


def _differences(function, params):
    """Returns central differences of a float64 scalar function of a dict of arrays."""
    h, gradients = 1e-6, {}
    for name, value in params.items():
        gradients[name] = np.zeros_like(value)
        for i in np.ndindex(value.shape):
            shift = np.zeros_like(value)
            shift[i] = h
            up, down = ({**params, name: value + sign * shift} for sign in (1, -1))
            gradients[name][i] = (function(up) - function(down)) / (2 * h)
    return gradients


@every_critic
@every_penalty
def test_values_and_parameter_gradients_by_hand(critic, penalty):
    params, _, gradient = CRITICS[critic]
    function, by_hand = _penalty(penalty, critic), PENALTIES[penalty][1]
    data = _single((REAL, FAKE, MIX))
    # Differences of logits near 10 over 0.001, whose last bit is a thousandth of them.
    rounded = {"rtol": 5e-3, "atol": 5e-3} if penalty == "squared_difference" else {}
    want = by_hand(lambda x: gradient(params, x))
    for transform in (lambda f: f, jax.jit):
        values = transform(function)(_single(params), *data)
        assert values.shape == (SHAPE[0],) and values.dtype == jnp.float32
        np.testing.assert_allclose(values, want, **(rounded or {"rtol": 2e-5, "atol": 1e-6}))
    # What training uses is the penalty's gradient by the parameters, a derivative of the second order.
    of_params = jax.jit(jax.grad(lambda p: jnp.mean(function(p, *data))))(_single(params))
    want = _differences(lambda p: np.mean(by_hand(lambda x: gradient(p, x))), params)
    for name in params:
        within = rounded or {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(of_params[name], want[name], **within, err_msg=name)


@pytest.mark.parametrize("critic", ["mlp", "patches"])
@pytest.mark.parametrize("penalty", ["r1", "wgan_gp"])
def test_derivatives_up_to_the_second(critic, penalty):
    function, data = _penalty(penalty, critic), _single((REAL, FAKE, MIX))
    mean = jax.jit(lambda p: jnp.mean(function(p, *data)))
    # Norms are float32: differences over eps carry rounding of about 1e-7 / eps and truncation of about eps².
    check_grads(mean, (_single(CRITICS[critic][0]),), order=2, modes=["rev"], atol=1e-2, rtol=1e-2, eps=5e-3)


@every_penalty
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_critic_without_a_gradient(penalty, transform):
    """Values are 0² or (0 - 1)², and no NaN comes out of the root at 0."""
    function = transform(lambda w: PENALTIES[penalty][0](lambda images: _rows(images) @ w, *_single((REAL, FAKE, MIX))))
    w = jnp.zeros(PIXELS)
    np.testing.assert_array_equal(function(w), np.full(SHAPE[0], 1.0 if penalty in ("wgan_gp", "dragan") else 0.0))
    np.testing.assert_array_equal(jax.grad(lambda w: jnp.mean(function(w)))(w), np.zeros(PIXELS))


@every_penalty
@pytest.mark.parametrize("critic", ["linear", "mlp"])
def test_logits_of_a_thousand(critic, penalty):
    function, data = _penalty(penalty, critic), _single((REAL, FAKE, MIX))
    params = jax.tree.map(lambda x: 1e3 * x, _single(CRITICS[critic][0]))
    assert jnp.max(jnp.abs(CRITICS[critic][1](params, _rows(data[0])))) > 1e3
    values, gradients = jax.jit(jax.value_and_grad(lambda p: jnp.mean(function(p, *data))))(params)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((values, gradients)))


def test_norms_of_bfloat16_gradients_are_summed_in_float32():
    """A sum of 4096 ones in bfloat16 would stop at 256."""
    w = jnp.ones(4096, jnp.bfloat16)
    values = penalties.r1(lambda x: x @ w, jnp.zeros((2, 4096), jnp.bfloat16))
    assert values.dtype == jnp.float32
    np.testing.assert_array_equal(values, [4096.0, 4096.0])


@pytest.mark.parametrize("estimate", [penalties.squared_derivative, penalties.squared_difference])
@pytest.mark.parametrize("critic", ["mlp", "patches"])
def test_the_mean_over_random_tangents_is_the_squared_norm(critic, estimate):
    """Within two standard errors of 10,000 draws, in the value and in what the parameters' gradient is along itself;
    one draw's standard deviation is √2 times the value."""
    params, real = _single(CRITICS[critic][0]), jnp.asarray(REAL[:1], jnp.float32)
    tangents = jax.random.normal(jax.random.key(0), (10_000, *real.shape), jnp.float32)

    def one(params, tangent):
        return estimate(lambda x: CRITICS[critic][1](params, _rows(x)), real, tangent)[0]

    def exact(params):
        return penalties.r1(lambda x: CRITICS[critic][1](params, _rows(x)), real)[0]

    want, slope = jax.value_and_grad(exact)(params)
    draws, slopes = jax.jit(jax.vmap(lambda v: jax.jvp(lambda p: one(p, v), (params,), (slope,))))(tangents)
    squared = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(slope))
    for values, mean in ((draws, float(want)), (slopes, squared)):
        assert abs(np.mean(values) - mean) < 2 * np.std(values) / 100
    assert np.std(draws) == pytest.approx(np.sqrt(2) * float(want), rel=0.1)


@pytest.mark.parametrize("estimate", [penalties.squared_derivative, penalties.squared_difference])
def test_tangents_of_another_shape_are_refused(estimate):
    with pytest.raises(ValueError, match=r"of its shape \(4, 3\), got \(3,\)"):
        estimate(lambda x: jnp.sum(x, axis=1), jnp.zeros((4, 3)), jnp.zeros(3))


@pytest.mark.parametrize("epsilon", [0.0, -1e-3, float("nan")])
def test_differences_over_no_distance_are_refused(epsilon):
    with pytest.raises(ValueError, match=f"expected an epsilon above 0 to take differences over, got {epsilon}"):
        penalties.squared_difference(lambda x: jnp.sum(x, axis=1), jnp.zeros((4, 3)), jnp.zeros((4, 3)), epsilon)


@pytest.mark.parametrize("epsilon", [0.5, 0.1])
def test_differences_are_those_of_float64(epsilon):
    """With distances at which they are no derivatives any more: the mean of both sides' values is taken nowhere."""
    params, logits, _ = CRITICS["mlp"]
    found = penalties.squared_difference(
        lambda x: logits(_single(params), _rows(x)), *_single((REAL, NOISE)), epsilon=epsilon
    )
    sides = [
        np.tanh(_rows(REAL + sign * epsilon * NOISE) @ params["W"] + params["b"]) @ params["v"] for sign in (1, -1)
    ]
    np.testing.assert_allclose(found, ((sides[0] - sides[1]) / (2 * epsilon)) ** 2, rtol=2e-5)
    _, logits, gradient = CRITICS["mlp"]
    derivative = np.sum(gradient(params, _rows(REAL)) * _rows(NOISE), axis=1) ** 2
    assert np.max(np.abs(found / derivative - 1)) > 1e-3


def test_the_distance_of_differences_suits_float32():
    """Of a DCGAN discriminator's logits: at the default the draws are the derivatives' within a few hundredths, and
    their sum within a hundredth; a hundred times as far kinks, a thousandth as far rounding spoil them."""
    key = jax.random.key(0)
    images = jax.random.uniform(key, (16, 28, 28, 1), minval=-1.0)
    module = dcgan.Discriminator(features=4, norm=None)
    variables = module.init(key, images, train=False)

    def critic(x):
        return 5 + module.apply(variables, x, train=False)["logits"]  # as far from 0 as trained ones are

    tangents = jax.random.normal(jax.random.key(1), images.shape)
    want = penalties.squared_derivative(critic, images, tangents)

    def errors(*epsilon):
        found = penalties.squared_difference(critic, images, tangents, *epsilon)
        return jnp.sqrt(jnp.mean((found - want) ** 2) / jnp.mean(want**2)), abs(jnp.sum(found) / jnp.sum(want) - 1)

    each, together = errors()
    assert each < 0.1 and together < 0.05
    assert errors(0.1)[0] > 2 * each and errors(1e-6)[0] > 2 * each


@pytest.mark.parametrize("make", [terms.r1, terms.r2])
def test_terms_along_a_tangent_draw_one_for_each_example(make):
    """D(x) = w·x, whose gradient is the same everywhere: values differ by their tangents alone."""
    w = np.array([1.0, -2.0, 0.5], np.float32)
    keys = jax.random.split(jax.random.key(3), 4)
    images = jnp.zeros((4, 3))
    view = SimpleNamespace(
        field="image",
        keys=keys,
        real={"image": images},
        fake={"image": images},
        critic=lambda x, condition: {"logits": x @ w},
        state=SimpleNamespace(discriminator=SimpleNamespace(across=())),
    )
    drawn = np.stack([jax.random.normal(key, (3,), jnp.float32) for key in keys])
    np.testing.assert_allclose(make(1.0, by="tangent").function(view), (drawn @ w) ** 2, rtol=1e-5)
    np.testing.assert_allclose(make(1.0, by="difference").function(view), (drawn @ w) ** 2, rtol=1e-3)
    np.testing.assert_allclose(make(1.0).function(view), np.full(4, 5.25), rtol=1e-6)
    with pytest.raises(ValueError, match="expected by='exact', 'tangent' or 'difference', got 'jvp'"):
        make(1.0, by="jvp")


def test_wgan_gp_lies_at_real_where_mix_is_one():
    params, logits, gradient = CRITICS["quadratic"]
    real, fake = _single((REAL, FAKE))
    for mix, at in [(1.0, REAL), (0.0, FAKE)]:
        values = penalties.wgan_gp(lambda x: logits(_single(params), _rows(x)), real, fake, jnp.full(SHAPE[0], mix))
        np.testing.assert_allclose(values, (np.linalg.norm(gradient(params, _rows(at)), axis=1) - 1) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    "real, fake, mix", [((4, 3), (3, 3), (4,)), ((4, 3), (4, 1), (4,)), ((4, 3), (4, 3), (4, 1)), ((4, 3), (4, 3), ())]
)
def test_mismatched_shapes_are_refused(real, fake, mix):
    with pytest.raises(ValueError, match="mix of shape"):
        penalties.wgan_gp(lambda x: jnp.sum(x, axis=1), jnp.zeros(real), jnp.zeros(fake), jnp.zeros(mix))


@pytest.mark.parametrize("noise, mix", [((4, 2), (4,)), ((4, 3), (3,)), ((4, 3), (4, 1))])
def test_mismatched_noise_is_refused(noise, mix):
    with pytest.raises(ValueError, match=r"expected noise of shape \(4, 3\)"):
        penalties.dragan(lambda x: jnp.sum(x, axis=1), jnp.zeros((4, 3)), jnp.zeros(noise), jnp.zeros(mix))


def test_clipping_holds_every_parameter():
    params = {"a": jnp.array([-3.0, 0.005, 0.02]), "b": {"c": jnp.array([[0.01, -0.011]], jnp.bfloat16)}}
    clipped = penalties.clip_weights(0.01)(params)
    np.testing.assert_array_equal(clipped["a"], np.float32([-0.01, 0.005, 0.01]))
    assert clipped["b"]["c"].dtype == jnp.bfloat16
    for limit in 0, -1, float("nan"):
        with pytest.raises(ValueError, match="limit above 0"):
            penalties.clip_weights(limit)


def test_a_critic_that_drops_the_batch_axis_is_refused():
    with pytest.raises(ValueError, match="scalar"):
        penalties.r1(jnp.sum, jnp.zeros((4, 3)))


class _Flat(nn.Module):
    """A generator of images of one grey value each."""

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        scale = self.param("scale", nn.initializers.zeros, (), jnp.float32)
        return scale * jnp.tile(latent[:, :1, None, None], (1, 28, 28, 1))


def _metrics_of_a_d_step(term, **options):
    """Returns shapes of the metrics of one update of a tiny DCGAN discriminator; traced, not computed."""

    def run():
        key, images = jax.random.key(0), jnp.zeros((2, 28, 28, 1))
        state = GANState.create(
            key,
            init_player(key, _Flat(), optax.identity(), jnp.zeros((2, 3))),
            init_player(key, dcgan.Discriminator(features=2, **options), optax.identity(), images),
            hyper={"generator/learning_rate": 1, "discriminator/learning_rate": 1, "ema_half_life": 0, "gamma": 2},
        )
        return make_d_step(latents(3), [terms.d_loss(losses.wasserstein), term])(state, {"image": images})[1]

    return jax.eval_shape(run)


@pytest.mark.parametrize(
    "term",
    [
        terms.r1("gamma"),
        terms.r2("gamma"),
        terms.r1("gamma", by="tangent"),
        terms.r2("gamma", by="difference"),
        terms.wgan_gp(),
        terms.dragan(),
    ],
    ids=["r1", "r2", "r1 by a tangent", "r2 by differences", "wgan_gp", "dragan"],
)
def test_terms_refuse_batch_norm_and_take_a_discriminator_without(term):
    with pytest.raises(ValueError, match="norm=None"):
        _metrics_of_a_d_step(term)
    assert _metrics_of_a_d_step(term, norm=None)[f"discriminator/{term.name}"].shape == ()
