"""Under `jax_enable_x64` a float32 GAN stays one: everything traces, keeps its types, and draws the same numbers."""

import functools
from types import SimpleNamespace

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from families import SIZE, families

from jaxgan import (
    augment,
    d_loss,
    ensemble,
    evaluation,
    g_loss,
    iteration,
    losses,
    make_d_step,
    make_g_step,
    make_joint_step,
    repeat,
    terms,
)
from jaxgan.data import batch_indices
from jaxgan.lookahead import lookahead, lookahead_start
from jaxgan.networks import classifier, inception
from jaxgan.networks.layers import Dropout
from jaxgan.parallel import layout
from jaxgan.penalties import clip_weights
from jaxgan.samplers import codes, latents, pack
from jaxgan.terms import regularizers
from jaxgan.training import DataSpec
from jaxgan.training.compiled.program import compile_chunk
from jaxgan.training.options.optimizer import OptimizerOptions, optimizer, schedule
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.gan import GAN, sample_with

pytestmark = pytest.mark.usefixtures("as_users_have_it")

FAMILIES = families()
LOSS = losses.non_saturating
D, G = [d_loss(LOSS)], [g_loss(LOSS)]
BRIEFLY = {"xla_backend_optimization_level": 0}  # compiling is all that takes time here


def types(tree):
    return {jax.tree_util.keystr(path): str(leaf.dtype) for path, leaf in jax.tree.leaves_with_path(tree)}


def float64_arrays(jaxpr):
    """Yields the operations that make an array (not a scalar) of float64, in a program and the programs
    that it calls."""
    for equation in jaxpr.eqns:
        outs = [out.aval for out in equation.outvars if hasattr(out.aval, "dtype")]
        if any(out.dtype == jnp.float64 and out.ndim for out in outs):
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(inner, jax.extend.core.ClosedJaxpr | jax.extend.core.Jaxpr):
                    yield from float64_arrays(getattr(inner, "jaxpr", inner))


def keeps_types(step, make_state, batch):
    """Traces `step` under x64: its state has the types that it has without, before and after. Returns the program."""
    without = types(jax.eval_shape(make_state))
    with jax.enable_x64(True):
        state = jax.eval_shape(make_state)
        assert types(state) == without
        program, (after, _) = jax.make_jaxpr(step, return_shape=True)(state, batch)
    assert types(after) == without
    return program.jaxpr


def stays_float32(step, make_state, batch):
    """Checks also that nothing is computed in float64 but scalars."""
    found = list(float64_arrays(keeps_types(step, make_state, batch)))
    assert not found, found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_in_float64_are_found(dtype):
    def either(x):
        return jax.lax.cond(x > 0, lambda: x * jnp.ones(3, dtype), lambda: jnp.zeros(3, dtype))

    with jax.enable_x64(True):
        program = jax.make_jaxpr(jax.jit(either))(jnp.float32(1))
    assert bool(list(float64_arrays(program.jaxpr))) == (dtype == "float64")


def test_every_second_update_traces_with_float64_on():
    """The lazy term's two branches have one type."""
    family = FAMILIES["mlp discrimination"]
    step = make_d_step(family.sampler, [*D, terms.every(terms.r1(0.1), 2)])
    stays_float32(step, family.state, family.batch())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_its_types(name):
    family = FAMILIES[name]
    penalty = [] if family.batch_norm else [terms.every(terms.r1(0.1), 2)]
    step = make_joint_step(
        family.sampler, [*D, *penalty, *family.terms[0]], [*G, *family.terms[1]], prepare=family.prepare
    )
    stays_float32(iteration(step), family.state, family.batch())


shift = functools.partial(augment.shift, pixels=2)
REGULARIZED = {
    "lecam": regularizers.lecam(0.1),
    "history": regularizers.historical_averaging("discriminator"),
}
OF_D = {
    "r1": terms.r1(0.1),
    "r2": terms.r2("gamma"),
    "wgan_gp": terms.wgan_gp(),
    "dragan": terms.dragan(),
    "flipped": d_loss(LOSS, flip=0.1),
    "smoothed": d_loss(losses.smoothed(LOSS)),
    "consistency": regularizers.consistency(shift, fake=True),
    **REGULARIZED,
}
OF_G = {
    "feature matching": regularizers.feature_matching(),
    "unrolled": terms.unrolled(LOSS, make_d_step(latents(6), D), 2),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["always", "every second"])
@pytest.mark.parametrize("name", [*OF_D, *OF_G])
def test_every_term_keeps_the_types(name, lazy):
    family = FAMILIES["dcgan deviation"]
    term = (OF_D | OF_G)[name]._replace(name="under test")
    term = terms.every(term, 2) if lazy else term
    extras = REGULARIZED[name].init if name in REGULARIZED else None
    make = make_d_step if name in OF_D else make_g_step
    step = make(family.sampler, [*(D if name in OF_D else G), term])
    state = functools.partial(family.state, hyper={"gamma": 0.1}, extras=extras)
    stays_float32(step, state, family.batch())


LOSSES = ["hinge", "least_squares", "minimax", "non_saturating", "relativistic", "relativistic_average", "wasserstein"]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_float32(name):
    loss = getattr(losses, name)
    logits = jax.ShapeDtypeStruct((SIZE,), jnp.float32)
    with jax.enable_x64(True):
        for side in (loss.d, loss.g):
            program, out = jax.make_jaxpr(side, return_shape=True)(logits, logits)
            assert out.dtype == jnp.float32
            assert not list(float64_arrays(program.jaxpr))


def test_losses_are_all_here():
    found = [name for name in losses.__all__ if isinstance(getattr(losses, name), losses.AdversarialLoss)]
    assert sorted(found) == LOSSES


def jitter(example, keys, state):
    images = augment.flip(example["image"], keys)
    images = augment.rotate_and_scale(augment.noise(images, keys, 0.1), keys, 10.0, 0.1)
    return {**example, "image": augment.random_crop(augment.shift(images, keys, 2), keys, 28)}


FADING = schedule(OptimizerOptions(schedule="cosine", schedule_images=100, warmup_images=10))
STEPS = {
    "D": lambda sampler: make_d_step(sampler, D),
    "D, clipped": lambda sampler: make_d_step(sampler, D, project=clip_weights()),
    "G": lambda sampler: make_g_step(sampler, G, schedule=FADING),
    "D, repeated, and G": lambda sampler: iteration(repeat(make_d_step(sampler, D), 2), make_g_step(sampler, G)),
    "accumulated": lambda sampler: iteration(
        *(make(sampler, of, accumulate=2) for make, of in ((make_d_step, D), (make_g_step, G)))
    ),
    "together": lambda sampler: make_joint_step(sampler, D, G, together=True),
    "augmented": lambda sampler: make_joint_step(sampler, D, G, augment=jitter),
    "simultaneous": lambda sampler: iteration(make_joint_step(sampler, D, G, simultaneous=True)),
}


@pytest.mark.filterwarnings("ignore:a minibatch layer")  # of which parts of a batch see parts
@pytest.mark.parametrize("name", STEPS)
def test_every_step_keeps_the_types(name):
    family = FAMILIES["dcgan deviation"]
    stays_float32(STEPS[name](family.sampler), family.state, family.batch())


def test_packs_and_lookahead_keep_the_types():
    family = FAMILIES["dcgan deviation"]
    family = family.but(prepare=pack(2), discriminator=family.discriminator.clone(minibatch=None))
    step = lookahead(iteration(make_joint_step(family.sampler, D, G, prepare=pack(2))), 3)
    stays_float32(step, lambda: lookahead_start(family.state()), family.batch())


def test_members_and_mapped_axes_keep_the_types():
    family = FAMILIES["mlp discrimination"]
    step = iteration(make_joint_step(family.sampler, D, G))
    members = functools.partial(ensemble.begin, lambda key: family.state(), jax.random.split(jax.random.key(0), 2))
    batches = jax.tree.map(lambda x: jnp.stack([x, x]), family.batch())
    stays_float32(ensemble.map_members(step), members, batches)
    mapped = iteration(make_joint_step(family.sampler, D, G, axis_name="data"))
    stays_float32(jax.vmap(mapped, (None, 0), None, axis_name="data"), family.state, batches)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_every_optimizer_keeps_its_types(name):
    how = {"weight_decay": 0.01} if name == "adamw" else {"l2": 0.01, "clip_gradient_norm": 1.0}
    family, options = FAMILIES["mlp discrimination"], OptimizerOptions(optimizer=name, **how)
    step = iteration(make_joint_step(family.sampler, D, G, schedule=schedule(options)))
    stays_float32(step, functools.partial(family.state, optimizer(options)), family.batch())


def test_metrics_are_float32():
    family = FAMILIES["mlp discrimination"]
    step = iteration(make_joint_step(family.sampler, D, G))
    with jax.enable_x64(True):
        _, metrics = jax.eval_shape(step, jax.eval_shape(family.state), family.batch())
    assert set(types(metrics).values()) == {"float32"}


# --- the same numbers with and without ---

KEYS = jax.random.split(jax.random.key(3), 16)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 1)).astype(np.float32)


def valued(term, keys):
    """Returns the values of a term whose discriminator is the sum of cubes."""

    def judged(image):
        return {"image": image, "logits": jnp.sum(image**3, axis=(1, 2, 3))}

    state = SimpleNamespace(discriminator=SimpleNamespace(across=()))
    critic = lambda images, condition: judged(images)  # noqa: E731 - used at once
    view = SimpleNamespace(
        keys=keys, state=state, field="image", critic=critic, real=judged(IMAGES), fake=judged(IMAGES[::-1])
    )
    return term.function(view)


DRAWS = {
    "latents": lambda keys: latents(3)({}, keys),
    "codes": lambda keys: codes(3, (4, 5), 2)({}, keys),
    "flip": lambda keys: augment.flip(IMAGES, keys),
    "random_crop": lambda keys: augment.random_crop(IMAGES, keys, 5),
    "shift": lambda keys: augment.shift(IMAGES, keys, 3),
    "noise": lambda keys: augment.noise(IMAGES, keys, 0.1),
    "rotate_and_scale": lambda keys: augment.rotate_and_scale(IMAGES, keys, 20.0, 0.2),
    "flipped": functools.partial(valued, d_loss(LOSS, flip=0.4)),
    "wgan_gp": functools.partial(valued, terms.wgan_gp()),
    "dragan": functools.partial(valued, terms.dragan()),
    "dropout": lambda keys: Dropout(0.3).apply({}, IMAGES, train=True, rngs={"dropout": keys[0]}),
    "order": jax.vmap(lambda key: batch_indices(key, jnp.int32(3), 8, 100)),
    "sliced_wasserstein": lambda keys: evaluation.sliced_wasserstein(keys[0], IMAGES[:8], IMAGES[8:], 16),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_the_same_numbers(name):
    """jax draws other numbers in float64 and int64."""
    plain = jax.jit(DRAWS[name])(KEYS)
    with jax.enable_x64(True):
        wide = jax.jit(DRAWS[name])(KEYS)
    assert types(wide) == types(plain)
    jax.tree.map(np.testing.assert_array_equal, wide, plain)


@pytest.mark.slow
def test_the_loops_program_trains_to_the_same_state():
    family = FAMILIES["mlp"]
    images = np.random.default_rng(2).standard_normal((50, 2)).astype(np.float32)
    step = iteration(make_joint_step(family.sampler, [*D, terms.every(terms.r1(0.1), 2)], G))
    gan = GAN(lambda key: family.state(), step, SIZE, sample_with(family.sampler))
    spec, ends = DataSpec.single("points", 50, (2,), kind="points"), []
    for wide in (False, True):
        with jax.enable_x64(wide):
            state = jax.jit(gan.init)(jax.random.key(0))
            examples, where = {"image": jnp.asarray(images)}, layout(jax.devices()[:1])
            program = compile_chunk(gan, state, spec, examples, layout=where, options=BRIEFLY)
            after, buffer = program.run(state, 20)
            assert buffer["discriminator/r1"].dtype == jnp.float32
            drawn = Drawing(gan, spec, after).of(3)(after)
            assert after.step.dtype == jnp.int32 and int(after.step) == 20
            trained = after.generator.params, after.discriminator.params, after.ema
            ends.append(jax.tree.map(np.asarray, (trained, drawn)))
    assert types(ends[0]) == types(ends[1])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), *ends)


# --- what is evaluated ---


def test_feature_networks_and_distances_are_float32():
    images, colour = jnp.zeros((2, 176, 176, 3), jnp.float32), jnp.zeros((1, 75, 75, 3), jnp.float32)
    small = functools.partial(classifier.Classifier((4, 8), (1, 0)).init_with_output, train=False)
    with jax.enable_x64(True):
        for init in (inception.InceptionV3().init_with_output, small):
            said_and_variables = jax.eval_shape(init, jax.random.key(0), colour)
            assert set(types(said_and_variables).values()) == {"float32"}
        for compare in (evaluation.psnr, evaluation.ssim, evaluation.ms_ssim):
            assert jax.eval_shape(compare, images, images).dtype == jnp.float32
        digits = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.uint8)
        outputs = jax.eval_shape(evaluation.classifier_features("mnist-v1").apply, digits)
        assert {values.dtype for values in outputs.values()} == {jnp.dtype("float32")}
