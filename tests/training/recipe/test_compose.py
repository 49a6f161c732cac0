"""What `compose` makes of options, networks and terms, and drawing by label, on runs as small as can be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import (
    cgan_mnist,
    dcgan_mnist,
    gan_ring,
    pacgan_stacked_mnist,
    rpgan_stacked_mnist,
    unrolled_ring,
    wgan_mnist,
)
from jaxgan import d_loss, g_loss, latents, terms
from jaxgan.data import from_arrays
from jaxgan.losses import non_saturating
from jaxgan.networks.heads import AuxiliaryClassifier, Projection
from jaxgan.samplers import labelled_latents
from jaxgan.terms import Term, auxiliary
from jaxgan.training import DataSpec, UsageError, compose, labels_needed, train
from jaxgan.training import open as open_run
from jaxgan.training.errors.usage import refusals
from jaxgan.training.options.options import of_preset
from jaxgan.training.options.parsing import parse
from scripts import sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")

DIGITS = DataSpec.single("digits", 100, (28, 28, 1), 10)


def shapes(tree):
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}


def test_networks_are_initialised_for_what_they_will_be_given():
    packed = pacgan_stacked_mnist.build(of_preset(pacgan_stacked_mnist.Options, "smoke", pack=4), DIGITS)
    state = jax.eval_shape(packed.init, jax.random.key(0))
    assert state.discriminator.params["down0"]["kernel"].shape[2] == 4
    options = of_preset(cgan_mnist.Options, "smoke")
    state = jax.eval_shape(cgan_mnist.build(options, DIGITS).init, jax.random.key(0))
    assert state.generator.params["generator"]["project"]["kernel"].shape[0] == options.latent_size + 10
    assert state.discriminator.params["discriminator"]["down0"]["kernel"].shape[2] == 1 + 10
    projected = cgan_mnist.build(dataclasses.replace(options, condition="projection"), DIGITS)
    state = jax.eval_shape(projected.init, jax.random.key(0))
    assert state.discriminator.params["embedding"]["kernel"].shape[1] == 10
    assert state.generator.params["norm0"]["scale"].shape[0] == 10


def count(players):
    """A term's start: how many modules each player has."""
    return {"players": jnp.asarray([len(player.params) for player in players.values()])}


def test_weights_extras_and_critic_steps():
    options = of_preset(dcgan_mnist.Options, "smoke")
    networks = dcgan_mnist.networks(options, DIGITS)
    gan = compose(
        options,
        DIGITS,
        networks,
        labelled_latents(options.latent_size),
        [Term("kept", lambda view: view.fake["logits"], init=count)],
        [],
        updates="alternating",
        critic_steps=3,
        weights={"gamma": 0.5},
    )
    assert gan.batch_size == 3 * options.batch_size and gan.iteration.repeats == 3
    state = gan.init(jax.random.key(0))
    assert state.hyper["gamma"] == 0.5
    np.testing.assert_array_equal(
        state.extras["players"], [len(state.generator.params), len(state.discriminator.params)]
    )


def traced(options, **how):
    """The jaxpr of an iteration of `dcgan_mnist` with these updates, and how often it draws latents."""
    draws = []

    def counted(batch, keys):
        draws.append(len(keys))
        return latents(options.latent_size)(batch, keys)

    networks, terms = dcgan_mnist.networks(options, DIGITS), ([d_loss(non_saturating)], [g_loss(non_saturating)])
    gan = compose(options, DIGITS, networks, counted, *terms, **how)
    state, batch = jax.eval_shape(gan.init, jax.random.key(0)), DIGITS.batch(gan.batch_size)
    draws.clear()
    return str(jax.make_jaxpr(gan.iteration)(state, batch)), len(draws)


@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
def test_updates_are_joint_or_alternate_as_the_experiment_says():
    """Alternating ones draw latents of their own, and in parts they alternate in any case."""
    options = of_preset(dcgan_mnist.Options, "smoke")
    assert traced(options, updates="joint")[1] == 1 and traced(options, updates="alternating")[1] == 2
    parts = dataclasses.replace(options, accumulate=2)
    assert traced(parts, updates="joint") == traced(parts, updates="alternating")
    critic = wgan_mnist.build(of_preset(wgan_mnist.Options, "smoke", critic_steps=1), DIGITS)
    assert critic.iteration.repeats == 1


@pytest.mark.parametrize(
    "how, message",
    [
        ({"updates": "joint", "critic_steps": 2}, "got critic_steps=2: use 'alternating'"),
        ({"updates": "both"}, "updates must be 'joint' or 'alternating', got 'both'"),
    ],
)
def test_updates_that_cannot_be_had_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        traced(of_preset(dcgan_mnist.Options, "smoke"), **how)


def test_a_penalty_of_weight_zero_is_left_out_and_others_have_half_their_gamma():
    build = lambda **values: rpgan_stacked_mnist.build(  # noqa: E731
        of_preset(rpgan_stacked_mnist.Options, "smoke", **values), DIGITS
    )
    state = build(r1=3.0, r2=0.0).init(jax.random.key(0))
    assert state.hyper["r1"] == 1.5 and "r2" not in state.hyper
    assert "batch_stats" not in state.generator.variables


def test_an_unlabelled_set_is_refused():
    for classes, has in enumerate(["no labels", "one class alone"]):
        with pytest.raises(UsageError, match=f"--dataset folder:x has {has}, and this .* two classes or more; use mn"):
            labels_needed(DataSpec.single("folder:x", 9, (28, 28, 1), classes))
    assert labels_needed(DIGITS) == 10


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cgan") / "run"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        options = ["--preset", "smoke", "--devices", "1", "--condition", "projection", "--workdir", str(directory)]
        train(cgan_mnist.build, parse(cgan_mnist.Options, options))
    return directory


def test_a_conditional_gan_draws_what_is_asked_for(conditional):
    run = open_run(conditional)
    drawing = run.drawing
    assert drawing.takes == {("label",)} and drawing.by_label and drawing.grid_shape() == (80, 8)
    np.testing.assert_array_equal(drawing.labels(0, 80, run=8), np.repeat(np.arange(10), 8))
    np.testing.assert_array_equal(drawing.labels(5, 20, run=1), np.arange(5, 25) % 10)
    # The same latents, another label: another image. Labels one by one are what taking turns gives.
    turns = run.sample(20, run=1)
    for label in 3, 7:
        asked = run.sample(20, label=label)
        np.testing.assert_array_equal(asked[label::10], turns[label::10])


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_outside_the_classes_is_refused(conditional, label, tmp_path):
    with pytest.raises(UsageError, match=f"the label must be from 0 to 9, the data's classes, got {label}"):
        open_run(conditional).sample(2, label=label)
    for name in "a.png", "a.gif", "a.npz":
        with pytest.raises(UsageError, match=r"label must be (from 0 to 9|at least 0)"):
            sample.run(sample.Options(run=conditional, out=(tmp_path / name,), label=label))
    assert list(tmp_path.iterdir()) == []


def test_a_generator_without_labels_is_asked_for_none(tmp_path):
    options = ["--preset", "smoke", "--devices", "1", "--workdir", str(tmp_path / "run")]
    train(dcgan_mnist.build, parse(dcgan_mnist.Options, options))
    run = open_run(tmp_path / "run")
    assert run.drawing.takes == set() and run.drawing.grid_shape() == (64, None)
    with pytest.raises(UsageError, match="is given no labels; leave out label 3"):
        run.sample(2, label=3)


def test_a_pack_that_does_not_divide_the_batch_is_refused():
    for arguments in ["--pack", "3"], ["--pack", "0"], ["--pack", "8", "--accumulate", "2"]:
        with pytest.raises(UsageError, match="--pack must be a divisor of"):
            parse(pacgan_stacked_mnist.Options, ["--preset", "smoke", *arguments])


def test_heads_are_what_their_experiments_say():
    options = of_preset(cgan_mnist.Options, "smoke", condition="projection")
    gan = cgan_mnist.build(options, DIGITS)
    state = gan.init(jax.random.key(0))
    assert isinstance(state.discriminator.apply_fn.module.head, Projection)


def of_ones_own(sampler, d_terms, head=None):
    """A `build` of a user's own, who doesn't ask whether the data suit it."""

    def build(options, data):
        generator, discriminator = dcgan_mnist.networks(options, data)
        discriminator = discriminator.clone(head=head) if head else discriminator
        networks, g_terms = (generator, discriminator), [g_loss(non_saturating)]
        return compose(options, data, networks, sampler, d_terms, g_terms, updates="joint")

    return build


@pytest.mark.parametrize(
    "build, message",
    [
        (of_ones_own(latents(8), [terms.wgan_gp()]), "this discriminator has batch normalisation"),
        (of_ones_own(labelled_latents(8), [d_loss(non_saturating)]), "needs examples with a 'label'"),
        (
            of_ones_own(latents(8), [auxiliary.classify_real_and_fake()], AuxiliaryClassifier(10)),
            "an auxiliary classifier needs 'label' of each example",
        ),
    ],
)
def test_what_the_library_refuses_of_ones_own_experiment_is_one_line(build, message, tmp_path):
    data = from_arrays("mine", np.zeros((16, 28, 28, 1), np.uint8))
    options = of_preset(dcgan_mnist.Options, "smoke", devices=1, workdir=str(tmp_path / "run"))
    with pytest.raises(UsageError, match=message):
        train(build, options, data=data)


def test_an_error_that_is_not_the_librarys_stays_what_it_is():
    with pytest.raises(ValueError, match="reshape"), refusals():
        np.zeros(3).reshape(2)
    with pytest.raises(ValueError, match="mine"), refusals():
        raise ValueError("mine")


@pytest.mark.slow
def test_unrolled_steps_have_the_rate_that_the_discriminator_has():
    """Where it has fallen to 0, looking ahead shows the discriminator as it is."""
    for schedule, same in (({"schedule": "linear", "schedule_images": 1}, True), ({}, False)):
        said = []
        for unroll in (0, 2):
            options = of_preset(unrolled_ring.Options, "smoke", unroll=unroll, **schedule)
            gan = unrolled_ring.build(options, DataSpec.single("ring", 100, (1, 1, 2), 8, kind="points"))
            state = jax.jit(gan.init)(jax.random.key(0))
            batch = {"image": jax.random.normal(jax.random.key(1), (options.batch_size, 1, 1, 2))}
            said.append(float(jax.jit(gan.iteration)(state, batch)[1]["generator/adversarial"]))
        assert (abs(said[0] - said[1]) < 1e-6) == same


@pytest.mark.parametrize(
    "options, changes, message",
    [
        (unrolled_ring.Options, {"optimizer": "rmsprop"}, "--optimizer must be another one with --unroll"),
        (unrolled_ring.Options, {"minibatch_std": 7}, "--minibatch-std must be 0 or a divisor of 256"),
        (pacgan_stacked_mnist.Options, {"minibatch_std": 3}, "--minibatch-std must be 0 or a divisor of 32, the packs"),
        (pacgan_stacked_mnist.Options, {"minibatch_std": -1}, "--minibatch-std must be 0 or a divisor of 32"),
    ],
)
def test_what_does_not_go_together_is_refused(options, changes, message):
    with pytest.raises(UsageError, match=message):
        options(**changes)


def test_points_are_not_drawn_for_images():
    for module in (gan_ring, unrolled_ring):
        with pytest.raises(UsageError, match="--dataset digits has images, and this experiment draws points"):
            module.build(of_preset(module.Options, "smoke"), DIGITS)


def test_a_discriminator_is_shown_the_deviation_of_packs():
    options = of_preset(pacgan_stacked_mnist.Options, "smoke", pack=2, minibatch_std=2)
    state = jax.eval_shape(pacgan_stacked_mnist.build(options, DIGITS).init, jax.random.key(0))
    assert "across_examples" in state.discriminator.variables
    assert state.discriminator.params["judge"]["kernel"].shape == (7 * 7 * (2 * options.features + 1), 1)
