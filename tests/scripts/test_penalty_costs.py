"""`scripts.benchmarks.penalties`: its table, and how many convolutions each way of R1 and R2 has."""

import collections

import jax
import jax.numpy as jnp
import pytest

from jaxgan import penalties
from jaxgan.networks.dcgan import Discriminator
from scripts.benchmarks.penalties import WAYS, Compiled, compiled, table, timed


def convolutions(jaxpr, found=None):
    """The number of each of the three primitives in a program."""
    found = collections.Counter() if found is None else found
    for equation in jaxpr.eqns:
        if equation.primitive.name.startswith("conv_"):
            found[equation.primitive.name.removeprefix("conv_")] += 1
        for each in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                convolutions(inner, found)
    return found


def test_exact_and_tangent_have_as_many_convolutions_but_for_the_images():
    """A discriminator of three convolutions, LeakyReLU between them and a dense layer, here the last convolution. With
    n layers, the exact norm: n forwards, n back to the image, and of these n to the kernel and n along; the last pass
    forwards, which nothing is taken from, has no slope. By a tangent: 2n forwards, n to the kernels and all but the
    first back. By differences: 2n forwards, twice to the kernels, twice back."""
    module = Discriminator(features=2, norm=None)
    images = jnp.zeros((2, 28, 28, 1))
    variables = module.init(jax.random.key(0), images, train=False)

    def cost(penalty):
        def mean(params):
            return jnp.mean(penalty(lambda x: module.apply({"params": params}, x, train=False)["logits"], images))

        return convolutions(jax.make_jaxpr(jax.grad(mean))(variables["params"]).jaxpr)

    forwards = convolutions(jax.make_jaxpr(lambda x: module.apply(variables, x, train=False)["logits"])(images).jaxpr)
    n = forwards["forward"]
    assert n >= 2 and set(forwards) == {"forward"}
    tangents = jnp.ones_like(images)
    exact = cost(penalties.squared_gradient_norm)
    tangent = cost(lambda critic, x: penalties.squared_derivative(critic, x, tangents))
    difference = cost(lambda critic, x: penalties.squared_difference(critic, x, tangents))
    assert exact == {"forward": 2 * n, "to_input": n, "to_kernel": n}
    assert tangent == {"forward": 2 * n, "to_input": n - 1, "to_kernel": n}
    assert difference == {"forward": 2 * n, "to_input": 2 * (n - 1), "to_kernel": 2 * n}


def test_a_row_for_each_way():
    programs = {way: Compiled(None, None, 1e9 * (i + 1), 2_000_000) for i, way in enumerate(WAYS)}
    seconds = dict(zip(WAYS, (0.010, 0.015, 0.012, 0.02), strict=True))
    assert [line.split() for line in table("net", programs, seconds)] == [
        ["net", "GFLOP", "memory", "time"],
        ["none", "1.00", "1.00", "2.0", "MB", "10.0", "ms", "1.00"],
        ["exact", "2.00", "2.00", "2.0", "MB", "15.0", "ms", "1.50"],
        ["tangent", "3.00", "3.00", "2.0", "MB", "12.0", "ms", "1.20"],
        ["difference", "4.00", "4.00", "2.0", "MB", "20.0", "ms", "2.00"],
    ]


@pytest.mark.slow
def test_programs_are_timed():
    tiny = {"widths": (4,), "blocks": (1,), "group": 4, "latent_size": 4, "batch_size": 2}
    with jax.numpy_dtype_promotion("standard"):  # Adam's beta2 on a schedule, to the power of a count
        programs = {way: compiled("r3gan_mnist", way, **tiny) for way in ("none", "tangent")}
    assert programs["none"].flop < programs["tangent"].flop
    assert all(seconds > 0 for seconds in timed(programs, 1, 1).values())
