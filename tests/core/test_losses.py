"""Losses against NumPy in float64, against numbers from PyTorch, and in the exactly solvable Dirac-GAN."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import GANState, d_loss, g_loss, init_player, losses, make_joint_step, terms


def softplus(x):
    return np.logaddexp(0.0, x)


def sigmoid(x):
    return np.exp(-np.logaddexp(0.0, -x))


# What each player pays and the derivatives by its own and by the other's logits, written out by hand.
# d: (real r, fake f) -> value, ∂/∂r, ∂/∂f;  g: (fake f, real r) -> value, ∂/∂f, ∂/∂r.
def logistic_d(r, f):
    return softplus(-r) + softplus(f), -sigmoid(-r), sigmoid(f)


def relativistic_average(a, b):
    below, above = sigmoid(b.mean() - a), sigmoid(b - a.mean())
    values = softplus(b.mean() - a) + softplus(b - a.mean())
    return values, -below - above.mean(), above + below.mean()  # each mean passes its gradient on to all alike


EXPECTED = {
    # Goodfellow et al. 2014 (arXiv 1406.2661), equation 1.
    "minimax": (logistic_d, lambda f, r: (-softplus(f), -sigmoid(f), 0 * r)),
    # Goodfellow et al. 2014, end of section 3: G maximises log D(G(z)).
    "non_saturating": (logistic_d, lambda f, r: (softplus(-f), -sigmoid(-f), 0 * r)),
    # Mao et al. 2017 (arXiv 1611.04076), equation 9: a = 0, b = c = 1.
    "least_squares": (
        lambda r, f: ((r - 1) ** 2 / 2 + f**2 / 2, r - 1, f),
        lambda f, r: ((f - 1) ** 2 / 2, f - 1, 0 * r),
    ),
    # Miyato et al. 2018 (arXiv 1802.05957), equations 16 and 17.
    "hinge": (
        lambda r, f: (np.maximum(0, 1 - r) + np.maximum(0, 1 + f), -1.0 * (r < 1), 1.0 * (f > -1)),
        lambda f, r: (-f, -1 + 0 * f, 0 * r),
    ),
    # Arjovsky et al. 2017 (arXiv 1701.07875), equation 2.
    "wasserstein": (lambda r, f: (f - r, -1 + 0 * r, 1 + 0 * f), lambda f, r: (-f, -1 + 0 * f, 0 * r)),
    # Jolicoeur-Martineau 2018 (arXiv 1807.00734), RSGAN.
    "relativistic": (
        lambda r, f: (softplus(f - r), -sigmoid(f - r), sigmoid(f - r)),
        lambda f, r: (softplus(r - f), -sigmoid(r - f), sigmoid(r - f)),
    ),
    # Jolicoeur-Martineau 2018, RaSGAN: the same for G with the roles swapped.
    "relativistic_average": (relativistic_average, relativistic_average),
}

_random = np.random.default_rng(0)
_vector, _map = _random.standard_normal((2, 7)), _random.standard_normal((2, 3, 2, 2, 1))
LOGITS = {
    "vector": 3 * _vector,
    "patch map": 3 * _map,
    "extreme": 1e4 * np.array([[1, -1, 1, -1, 0, 1, 0], [-1, 1, 1, -1, 1, 0, -1]]),
    "extreme patch map": 1e4 * np.sign(_map),
}

every_loss = pytest.mark.parametrize("name", EXPECTED)
every_player = pytest.mark.parametrize("player", ["d", "g"])
each_way = pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])


def _values_and_gradients(loss):
    return lambda a, b: (loss(a, b), *jax.grad(lambda a, b: jnp.sum(loss(a, b)), (0, 1))(a, b))


@every_loss
@every_player
@each_way
def test_values_and_gradients_against_numpy(name, player, transform):
    loss = transform(_values_and_gradients(getattr(getattr(losses, name), player)))
    by_hand = EXPECTED[name][player == "g"]
    for kind, pair in LOGITS.items():
        first, second = pair.astype(np.float32)
        values, *gradients = by_hand(first.astype(np.float64), second.astype(np.float64))
        size = first[0].size  # patches of one example are averaged, so each has 1/size of the gradient
        want = [values.reshape(len(first), -1).mean(1), *(g / size for g in gradients)]
        got = loss(jnp.asarray(first), jnp.asarray(second))
        for g, w in zip(got, want, strict=True):
            assert g.dtype == jnp.float32 and g.shape == w.shape, kind
            assert np.all(np.isfinite(g)), kind
            np.testing.assert_allclose(g, w, rtol=2e-6, atol=1e-6, err_msg=kind)


# torch 2.13.0, float64: sums of torch.nn.functional.binary_cross_entropy_with_logits against ones and zeros,
# softplus, 0.5 * mse_loss and relu, reduction="none", at these logits.
REAL, FAKE = [1.5, -0.75, 0.0, 4.0], [-2.0, 0.5, 0.0, 1.25]
PYTORCH = {
    "non_saturating d": [0.3283412890, 2.1109479903, 1.3862943611, 1.5200790093],
    "non_saturating g": [2.1269280110, 0.4740769842, 0.6931471806, 0.2519290813],
    "minimax g": [-0.1269280110, -0.9740769842, -0.6931471806, -1.5019290813],
    "relativistic d": [0.0297504183, 1.5019290813, 0.6931471806, 0.0619675890],
    "relativistic g": [3.5297504183, 0.2519290813, 0.6931471806, 2.8119675890],
    "relativistic_average d": [0.2307449964, 1.5022020945, 0.9285752190, 0.7419449867],
    "relativistic_average g": [4.9807449964, 1.5022020945, 2.1785752190, 4.7419449867],
    "least_squares d": [2.125, 1.65625, 0.5, 5.28125],
    "least_squares g": [4.5, 0.125, 0.5, 0.03125],
    "hinge d": [0.0, 3.25, 2.0, 2.25],
}


@pytest.mark.parametrize("which", PYTORCH)
def test_values_from_pytorch(which):
    name, player = which.split()
    own, other = (REAL, FAKE) if player == "d" else (FAKE, REAL)
    values = getattr(getattr(losses, name), player)(jnp.array(own), jnp.array(other))
    np.testing.assert_allclose(values, PYTORCH[which], rtol=1e-6, atol=1e-7)


@every_loss
@every_player
def test_bfloat16_logits_become_float32(name, player):
    loss = getattr(getattr(losses, name), player)
    first, second = (jnp.asarray(x, jnp.bfloat16) for x in LOGITS["vector"])
    values = loss(first, second)
    assert values.dtype == jnp.float32
    # Rounded once, on the way in: nothing is computed in bfloat16.
    np.testing.assert_array_equal(values, loss(first.astype(jnp.float32), second.astype(jnp.float32)))


@every_loss
@every_player
def test_mismatched_shapes_and_scalars_are_refused(name, player):
    loss = getattr(getattr(losses, name), player)
    for first, second in [((4, 1), (4,)), ((4,), (4, 1)), ((4,), (3,)), ((4,), (1,)), ((4, 2, 1), (4, 2)), ((4,), ())]:
        with pytest.raises(ValueError, match="differ in shape"):
            loss(jnp.zeros(first), jnp.zeros(second))
    with pytest.raises(ValueError, match="scalar"):
        loss(jnp.zeros(()), jnp.zeros(()))


# --- targets ---

# torch 2.13.0, float64: binary_cross_entropy_with_logits(REAL, 0.9) + binary_cross_entropy_with_logits(FAKE, 0.1), and
# 0.5 * mse_loss against the same, reduction="none".
SMOOTHED = {
    "non_saturating": [0.6783412890, 1.9859479903, 1.3862943611, 1.7950790093],
    "minimax": [0.6783412890, 1.9859479903, 1.3862943611, 1.7950790093],
    "least_squares": [2.3850000000, 1.4412500000, 0.4100000000, 5.4662500000],
}


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothed_targets_from_pytorch(name):
    loss = getattr(losses, name)
    smooth = losses.smoothed(loss, 0.9, 0.1)
    for transform in (lambda f: f, jax.jit):
        values = transform(smooth.d)(jnp.array(REAL), jnp.array(FAKE))
        np.testing.assert_allclose(values, SMOOTHED[name], rtol=1e-6)
    assert smooth.g is loss.g
    with pytest.raises(ValueError, match="differ in shape"):
        smooth.d(jnp.zeros((4, 1)), jnp.zeros(4))
    again = losses.smoothed(smooth, 0.75, 0.25)  # of targets that are between 0.1 and 0.9: 0.7 and 0.3
    expected = losses.smoothed(loss, 0.7, 0.3).d(jnp.array(REAL), jnp.array(FAKE))
    np.testing.assert_allclose(again.d(jnp.array(REAL), jnp.array(FAKE)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", SMOOTHED)
def test_the_optimum_of_a_smoothed_loss(name):
    """With real and fake equally likely at a point, D's best answer is the mean target, ½(0.9 + 0)."""
    smooth = losses.smoothed(getattr(losses, name))
    best = 0.45 if name == "least_squares" else np.log(0.45 / 0.55)
    slope = jax.grad(lambda x: smooth.d(x, x).sum())(jnp.full(1, best))
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", SMOOTHED)
def test_targets_of_maps_and_extremes(name):
    real, fake = LOGITS["extreme patch map"].astype(np.float32)
    loss = getattr(losses, name)
    ones = jnp.ones(len(real))
    both = loss.target(jnp.asarray(real), ones) + loss.target(jnp.asarray(fake), 0 * ones)
    np.testing.assert_allclose(both, loss.d(jnp.asarray(real), jnp.asarray(fake)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"targets of shape \[B\], got \(3, 1\)"):
        loss.target(jnp.zeros((3, 1)), jnp.zeros((3, 1)))


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - set(SMOOTHED)))
def test_losses_without_targets_refuse_other_ones(name):
    with pytest.raises(ValueError, match="no targets to smooth"):
        losses.smoothed(getattr(losses, name))
    with pytest.raises(ValueError, match=r"flip=0\.1: .* have targets"):
        terms.d_loss(getattr(losses, name), flip=0.1)


def test_targets_out_of_range_are_refused():
    for real, fake in [(1.1, 0.0), (0.9, -0.1), (0.4, 0.4), (0.2, 0.8)]:
        with pytest.raises(ValueError, match="expected targets 0 ≤ fake < real ≤ 1"):
            losses.smoothed(losses.minimax, real, fake)
    with pytest.raises(ValueError, match=r"flip=1\.5"):
        terms.d_loss(losses.minimax, flip=1.5)


def test_flipped_labels_in_numpy():
    count = 4000
    view = types.SimpleNamespace(
        real={"logits": jnp.full(count, 2.0)},
        fake={"logits": jnp.full(count, -1.0)},
        keys=jax.random.split(jax.random.key(0), count),
    )
    values = np.asarray(terms.d_loss(losses.non_saturating, flip=0.2).function(view))
    # What an example costs, by whether its real and its fake target are the other one.
    costs = [
        softplus(-2) + softplus(-1),
        softplus(2) + softplus(-1),
        softplus(-2) + softplus(1),
        softplus(2) + softplus(1),
    ]
    shares = [np.mean(np.abs(values - cost) < 1e-5) for cost in costs]
    np.testing.assert_allclose(shares, [0.64, 0.16, 0.16, 0.04], atol=0.025)  # > 3 standard deviations of a share
    np.testing.assert_allclose(sum(shares), 1.0)
    every = terms.d_loss(losses.non_saturating, flip=1.0).function(view)
    np.testing.assert_allclose(every, np.full(count, costs[3]), rtol=1e-6)


def test_per_example_averages_all_but_the_first_axis():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4, 1)
    np.testing.assert_allclose(losses.per_example(jnp.asarray(x)), [5.5, 17.5])  # means of 0..11 and 12..23
    np.testing.assert_allclose(losses.per_example(jnp.array([True, False])), [1.0, 0.0])
    with pytest.raises(ValueError, match="scalar"):
        losses.per_example(jnp.ones(()))


# The Dirac-GAN, Mescheder et al. 2018 (arXiv 1801.04406), definition 2.1: data is a Dirac at 0, the generator one at θ,
# D(x) = ψ·x and L(θ, ψ) = f(ψθ) + f(0). With v = (-∂L/∂θ, ∂L/∂ψ) one simultaneous step F = id + h·v has at the
# equilibrium (0, 0) the Jacobian
#     ∂θ'/∂θ = 1      ∂θ'/∂ψ = -h·f'(0)
#     ∂ψ'/∂θ = h·f'(0)    ∂ψ'/∂ψ = 1 - h·γ        (γ from R1 at weight γ/2: ∇ₓD = ψ, ½γψ² has the gradient γψ)
# and so the eigenvalues 1 - hγ/2 ± h·√(γ²/4 - f'(0)²). The slope f'(0) in size: f(t) = -log(1 + e^-t) has
# f'(0) = s(0) = ½ (minimax, and also non-saturating and relativistic, whose G has the same slope at 0); Wasserstein's
# f(t) = t and the hinge, which is linear about 0, have 1, and so has the relativistic average, which is twice the
# relativistic loss where all examples are one.
SLOPES = {"minimax": 0.5, "non_saturating": 0.5, "relativistic": 0.5}
SLOPES |= {"hinge": 1.0, "wasserstein": 1.0, "relativistic_average": 1.0}


class DiracGenerator(nn.Module):
    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        theta = self.param("theta", nn.initializers.zeros, (), jnp.float32)
        return jnp.zeros_like(latent) + theta


class DiracDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, image, condition=None, *, train):
        return {"logits": (self.param("psi", nn.initializers.zeros, (), jnp.float32) * image)[:, 0]}


def _jacobian(loss, h, penalties=(), simultaneous=True):
    """Returns d(θ', ψ')/d(θ, ψ) of one joint step at (0, 0), by forward mode through the library's own step."""
    batch = {"image": jnp.zeros((3, 1))}
    key = jax.random.key(0)
    state = GANState.create(
        key,
        init_player(key, DiracGenerator(), optax.identity(), batch["image"]),
        init_player(key, DiracDiscriminator(), optax.identity(), batch["image"]),
        hyper={"generator/learning_rate": h, "discriminator/learning_rate": h, "ema_half_life": 0.0},
    )
    step = make_joint_step(
        lambda batch, keys: {"latent": jnp.zeros_like(batch["image"])},
        [d_loss(loss), *penalties],
        [g_loss(loss)],
        simultaneous=simultaneous,
    )

    def update(point):
        generator = state.generator.replace(params={"theta": point[0]})
        discriminator = state.discriminator.replace(params={"psi": point[1]})
        after, _ = step(state.replace(generator=generator, discriminator=discriminator), batch)
        return jnp.stack([after.generator.params["theta"], after.discriminator.params["psi"]])

    assert np.all(np.asarray(update(jnp.zeros(2))) == 0.0)  # an equilibrium
    return np.asarray(jax.jit(jax.jacfwd(update))(jnp.zeros(2)), np.float64)


def _assert_eigenvalues(jacobian, expected):
    np.testing.assert_allclose(
        np.sort_complex(np.linalg.eigvals(jacobian)), np.sort_complex(np.array(expected, complex)), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("name", SLOPES)
def test_dirac_gan_without_a_penalty_circles_outwards(name):
    h, slope = 0.1, SLOPES[name]
    jacobian = _jacobian(getattr(losses, name), h)
    np.testing.assert_allclose(jacobian, [[1, h * slope], [-h * slope, 1]], atol=1e-7)
    _assert_eigenvalues(jacobian, [1 + 1j * h * slope, 1 - 1j * h * slope])


@pytest.mark.parametrize(
    "name, gamma, h", [("non_saturating", 0.3, 0.1), ("minimax", 4.0, 0.2), ("wasserstein", 1.0, 0.5)]
)
@pytest.mark.parametrize("penalty", [terms.r1, terms.r2])
def test_dirac_gan_with_a_gradient_penalty_converges(name, gamma, h, penalty):
    jacobian = _jacobian(getattr(losses, name), h, [penalty(gamma / 2)])
    root = h * np.sqrt(complex(gamma**2 / 4 - SLOPES[name] ** 2))
    _assert_eigenvalues(jacobian, [1 - h * gamma / 2 + root, 1 - h * gamma / 2 - root])
    assert np.max(np.abs(np.linalg.eigvals(jacobian))) < 1


def test_dirac_gan_in_turns_stays_on_the_circle():
    """Mescheder et al. 2018, lemma 2.4: in turns, the eigenvalues 1 - α²/2 ± √((1 - α²/2)² - 1) with α = h·f'(0) lie on
    the unit circle."""
    h = 0.4
    alpha = h * SLOPES["non_saturating"]
    middle = 1 - alpha**2 / 2
    root = np.sqrt(complex(middle**2 - 1))
    jacobian = _jacobian(losses.non_saturating, h, simultaneous=False)
    _assert_eigenvalues(jacobian, [middle + root, middle - root])
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(jacobian)), 1.0, atol=1e-6)
