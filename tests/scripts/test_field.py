"""`scripts.field`: the discriminator's answers and slopes are those of its network, and a picture is written."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import unrolled_ring
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from scripts import field

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def options_of(directory, minibatch):
    plain = ["--unroll", "0", "--pack", "2", "--minibatch", str(minibatch), "--minibatch-std", "0"]
    return parse(unrolled_ring.Options, ["--preset", "smoke", "--devices", "1", *plain, "--workdir", str(directory)])


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ring") / "run"
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(unrolled_ring.build, options_of(directory, 0))
    return directory


def test_a_discriminator_that_compares_points_has_no_field(tmp_path):
    options = options_of(tmp_path / "run", 2)
    gan = unrolled_ring.build(options, DataSpec.single("ring", 100, (1, 1, 2), 8, kind="points"))
    run = SimpleNamespace(directory=tmp_path / "run", options=options, state=jax.jit(gan.init)(jax.random.key(0)))
    with pytest.raises(UsageError, match="depends on the points beside it"):
        field.field(run, 5)


def test_the_field_is_the_discriminators(packed):
    run = open_run(packed)
    line, logits, slopes = field.field(run, 5)
    np.testing.assert_allclose(line, [-1.5, -0.75, 0, 0.75, 1.5])
    d = run.state.discriminator
    layers = [
        (np.asarray(d.params[f"Dense_{i}"]["kernel"]), np.asarray(d.params[f"Dense_{i}"]["bias"])) for i in range(3)
    ]

    def by_hand(x, y):
        h = np.array([x, y, x, y], np.float64)  # a pack of two equal points
        for i, (w, b) in enumerate(layers):
            h = h @ w + b
            h = np.where(h < 0, 0.2 * h, h) if i < 2 else h
        return h[0]

    for row, column in (0, 0), (1, 3), (4, 2):
        x, y = line[column], line[row]
        np.testing.assert_allclose(logits[row, column], by_hand(x, y), rtol=1e-4, atol=1e-6)
        h = 1e-4
        by_x, by_y = by_hand(x + h, y) - by_hand(x - h, y), by_hand(x, y + h) - by_hand(x, y - h)
        np.testing.assert_allclose(slopes[row, column], [by_x / (2 * h), by_y / (2 * h)], rtol=1e-2, atol=1e-5)


def test_a_picture_is_written(packed, tmp_path, capsys):
    options = field.Options(run=packed, out=tmp_path / "field.png")
    field.run(options)
    assert (tmp_path / "field.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith("field.png: ema weights of step 2\n")
    with pytest.raises(UsageError, match=r"there is no member 3: .* is a run of one GAN"):
        field.run(dataclasses.replace(options, member=3))
    with pytest.raises(UsageError, match="can't write"):
        field.run(dataclasses.replace(options, out=tmp_path / "nowhere" / "field.png"))
