"""SNGAN's, SAGAN's and the projection's experiments: networks that options describe, singular values of weights, which
of them turn when, errors."""

import jax
import numpy as np
import pytest
from conftest import assert_same, differs

from experiments import cgan_projection_cifar10, sagan_cifar10, sngan_cifar10
from jaxgan import make_d_step, make_g_step, make_joint_step
from jaxgan.losses import hinge
from jaxgan.samplers import labelled, labelled_latents
from jaxgan.state import GANState
from jaxgan.terms import d_loss, g_loss, r1
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.options import of_preset

pytestmark = pytest.mark.usefixtures("as_users_have_it")

TINY = {"batch_size": 4, "latent_size": 4, "seed": 3, "width": 0.02, "discriminator_width": 0.03}
MODULES = {"sngan": sngan_cifar10, "sagan": sagan_cifar10, "projection": cgan_projection_cifar10}


def gan_of(module, size=32, **options):
    made = of_preset(module.Options, "smoke", **{**TINY, "image_size": size, **options})
    return module.build(made, DataSpec.single("random", 8, (size, size, 3), 10)), made


def parameters(module, size, **options):
    gan, _ = gan_of(module, size, **options)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    return {name: sum(leaf.size for leaf in jax.tree.leaves(player.params)) for name, player in state.players.items()}


@pytest.mark.parametrize(
    "name, generator, discriminator",
    [
        ("sngan", 4_276_739, 1_053_825),
        ("projection", 4_304_387, 1_055_105),
        ("sagan", 4_386_308, 1_075_586),
    ],
)
def test_the_papers_presets_have_as_many_parameters_as_published(name, generator, discriminator):
    """mimicry's and StudioGAN's, see tests/networks/test_resnet.py."""
    options = of_preset(MODULES[name].Options, "paper")
    gan = MODULES[name].build(options, DataSpec.single("random", 8, (32, 32, 3), 10))
    state = jax.eval_shape(gan.init, jax.random.key(0))
    of = lambda player: sum(leaf.size for leaf in jax.tree.leaves(player.params))  # noqa: E731
    assert (of(state.generator), of(state.discriminator)) == (generator, discriminator)
    assert gan.batch_size == options.batch_size * (1 if name == "sagan" else 5)


def test_spectral_norm_is_where_it_should_be():
    for name, module in MODULES.items():
        state = jax.eval_shape(gan_of(module)[0].init, jax.random.key(0))
        for player in state.players.values():
            kernels = {
                jax.tree_util.keystr(path[:-1])
                for path, _ in jax.tree.leaves_with_path(player.params)
                if getattr(path[-1], "key", "") == "kernel"
            }
            normalised = player is state.discriminator or name == "sagan"
            found = {jax.tree_util.keystr(path[:-2]) for path, _ in _vectors(player)}
            assert found == (kernels if normalised else set()) and player.once == (("spectral",) if normalised else ())
    sagan = jax.eval_shape(gan_of(sagan_cifar10)[0].init, jax.random.key(0))
    assert "attention16" in sagan.generator.params and "attention16" in sagan.discriminator.params


def _vectors(player):
    return jax.tree.leaves_with_path(player.variables.get("spectral", {}))


def matrices(player):
    """Yields the name, the weight as a matrix `[inputs, outputs]` in float64, u and v, of all that is normalised."""
    for path, u in _vectors(player):
        if path[-1].key == "u":
            inner, params = player.variables["spectral"], player.params
            for key in path[:-1]:
                inner, params = inner[key.key], params[key.key]
            weight = np.asarray(params, np.float64)
            yield jax.tree_util.keystr(path[:-1]), weight.reshape(-1, weight.shape[-1]), np.asarray(u), inner["v"]


@pytest.mark.slow
def test_the_largest_singular_value_comes_to_one_in_both_networks_and_follows():
    """SAGAN's at no rate, by NumPy's SVD; from weights that have moved far since they turned last."""
    gan, options = gan_of(sagan_cifar10)
    state = jax.jit(gan.init)(jax.random.key(0))
    state = state.replace(hyper={name: value * (0 if "rate" in name else 1) for name, value in state.hyper.items()})
    random = np.random.default_rng(0)
    moved = lambda leaf: leaf + (random.standard_normal(leaf.shape).astype(np.float32) if leaf.ndim > 1 else 0)  # noqa: E731
    for name in ("generator", "discriminator"):
        player = state.players[name]
        state = state.replace(**{name: player.replace(params=jax.tree.map(moved, player.params))})
    batch = {"image": random.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32), "label": np.arange(4, dtype=np.int32)}
    far = [abs(_used(*each[1:]) - 1) for player in state.players.values() for each in matrices(player)]
    assert np.median(far) > 0.05, "they have moved"
    state = jax.jit(lambda s: jax.lax.scan(lambda s, _: (gan.iteration(s, batch)[0], None), s, length=300)[0])(state)
    counts = {}
    for role, player in state.players.items():
        for name, matrix, u, v in matrices(player):
            assert _used(matrix, u, v) == pytest.approx(1, abs=1e-3), (role, name)
            counts[role] = counts.get(role, 0) + 1
    assert counts == {"generator": 15, "discriminator": 16} and options.normalise_generator


def _used(matrix, u, v):
    """Returns the largest singular value of the weight in use, W / (u · W v)."""
    return np.linalg.svd(matrix, compute_uv=False)[0] / (np.asarray(u, np.float64) @ (matrix.T @ np.asarray(v)))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["joint", "alternating"])
def test_each_network_turns_once_in_its_own_update_and_never_in_the_others(shared):
    """With a penalty, at no rate: u and v after one turn, and those of the other player's update, by NumPy."""
    gan, _ = gan_of(sagan_cifar10)
    state = jax.jit(gan.init)(jax.random.key(0))
    hyper = {name: value * (0 if "rate" in name else 1) for name, value in state.hyper.items()}
    random = np.random.default_rng(1)
    for name in ("generator", "discriminator"):  # far from the end, where a second turn would not show
        player = state.players[name]
        anywhere = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), _spectral(player))
        state = state.replace(**{name: player.replace(variables={**player.variables, "spectral": anywhere})})
    state = state.replace(hyper=hyper | {"gamma": state.step * 0.0 + 1.0})
    batch = {"image": random.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32), "label": np.arange(4, dtype=np.int32)}
    terms, how = ([d_loss(hinge), r1("gamma")], [g_loss(hinge)]), {"prepare": labelled}
    sampler = labelled_latents(4)
    if shared:
        after, _ = jax.jit(make_joint_step(sampler, *terms, **how))(state, batch)
    else:
        middle, _ = jax.jit(make_d_step(sampler, terms[0], **how))(state, batch)
        assert_same(_spectral(middle.generator), _spectral(state.generator))
        after, _ = jax.jit(make_g_step(sampler, terms[1], **how))(middle, batch)
        assert_same(_spectral(after.discriminator), _spectral(middle.discriminator))
    for role, player in after.players.items():
        before = {name: v for name, _, _, v in matrices(state.players[role])}
        for name, matrix, u, v in matrices(player):
            by_hand = matrix.T @ np.asarray(before[name], np.float64)
            by_hand /= np.linalg.norm(by_hand)
            np.testing.assert_allclose(u, by_hand, atol=1e-5, err_msg=f"{role}{name}")
            other = matrix @ by_hand
            np.testing.assert_allclose(v, other / np.linalg.norm(other), atol=1e-5, err_msg=f"{role}{name}")
    images = after.evaluate("generator", np.ones((2, 4), np.float32), np.zeros(2, np.int32), weights="raw")
    assert np.isfinite(images).all() and isinstance(after, GANState)


def _spectral(player):
    return player.variables["spectral"]


@pytest.mark.slow
def test_train_and_evaluation_differ_where_they_should():
    """The generator by batch norm and dropout; the discriminator, frozen, not at all."""
    gan, _ = gan_of(sagan_cifar10, dropout=0.5)
    state = jax.jit(gan.init)(jax.random.key(0))
    labels, latents = np.arange(3, dtype=np.int32), np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    g, d = state.generator, state.discriminator

    @jax.jit
    def passes(key):
        train = {"train": True, "mutable": [], "rngs": {"dropout": key}}
        fake, _ = g.apply_fn(g.all_variables, latents, labels, **train)
        judged, _ = d.apply_fn(d.all_variables, fake, labels, **train)
        plain = d.apply_fn(d.all_variables, fake, labels, train=False)
        return fake, g.apply_fn(g.all_variables, latents, labels, train=False), judged["logits"], plain["logits"]

    one, two = passes(jax.random.key(1)), passes(jax.random.key(2))
    assert differs(one[0], two[0]) and differs(one[0], one[1])
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_allclose(one[2], one[3], atol=1e-6)


@pytest.mark.parametrize("size", [48, *(pytest.param(size, marks=pytest.mark.slow) for size in (64, 128))])
def test_other_sizes_are_made_of_their_papers_widths(size):
    for module in MODULES.values():
        counted = parameters(module, size, attention=())
        assert min(counted.values()) > 0
    gan, _ = gan_of(sagan_cifar10, size, attention=(12,) if size == 48 else (16,))
    batch = {"image": np.zeros((4, size, size, 3), np.float32), "label": np.zeros(4, np.int32)}
    state = jax.eval_shape(gan.init, jax.random.key(0))
    after, _ = jax.eval_shape(gan.iteration, state, batch)
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)


@pytest.mark.parametrize("sizes, image, reached", [((64,), 32, r"\[8, 16\]"), ((12, 16), 48, r"\[12, 24\]")])
def test_attention_at_a_size_that_is_never_reached_is_refused_in_a_line(sizes, image, reached):
    with pytest.raises(UsageError, match=f"^--attention must be sizes that both networks reach, of {reached}, got"):
        sagan_cifar10.Options(image_size=image, attention=sizes)
