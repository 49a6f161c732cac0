"""`scripts.codes`: what it walks, how it reads, what it refuses; and that a trained code means something."""

import numpy as np
import pytest
from conftest import TINY_RUN, needs_tfds
from PIL import Image

from experiments import dcgan_mnist, infogan_mnist
from jaxgan.evaluation import classifier_features, extract
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.parsing import parse
from scripts import codes

pytestmark = pytest.mark.usefixtures("as_users_have_it")


def test_each_code_is_walked_and_nothing_else():
    stops = np.array([-1.0, 0, 2])
    categorical, first, second = codes.walks(4, 2, 5, stops)
    np.testing.assert_array_equal(categorical[0], [[0, 1, 2, 3]] * 5)
    assert not categorical[1].any() and categorical[1].shape == (5, 4, 2)
    for number, (classes, values) in enumerate((first, second)):
        np.testing.assert_array_equal(classes, [[0] * 3, [1] * 3, [2] * 3, [3] * 3, [0] * 3])
        np.testing.assert_array_equal(values[..., number], [stops] * 5)
        assert not values[..., 1 - number].any()


def test_how_often_a_walk_goes_on():
    """Two walks of four steps; the mean goes along (1, 0), one walk turns round once, the other rests and turns."""
    along = np.array([[0, 1, 2, 1, 4], [0, 2, 2, 0, 3]])
    logits = np.stack([along, [[5, 4, 3, 2, 5], [1, 2, 3, 4, 1]]], axis=-1).astype(float)
    assert codes.one_way(logits) == (3 / 4, 5.5 / 8)
    assert codes.one_way(logits[:, ::-1]) == (3 / 4, 5.5 / 8), "back is a walk too"
    assert codes.one_way(np.zeros((2, 5, 3))) == (0.5, 0.5), "nothing that changes is no direction"


def test_runs_without_codes_are_refused(tmp_path):
    arguments = [*TINY_RUN, "--steps", "2", "--workdir", str(tmp_path / "run")]
    train(dcgan_mnist.build, parse(dcgan_mnist.Options, arguments))
    with pytest.raises(UsageError, match="a run with no codes; name one of infogan_mnist"):
        codes.run(codes.Options(run=tmp_path / "run", out=tmp_path / "codes.png"))
    assert not (tmp_path / "codes.png").exists()


@pytest.mark.data
@needs_tfds
@pytest.mark.long
def test_a_code_that_was_learned_changes_the_picture_and_what_is_read_of_it_one_way(tmp_path, capsys):
    """Chen et al. 2016, figure 2. Without a meaning values' most frequent readings would have the shares that they have
    when readings are dealt out at random, and half of single walks' steps would go on."""
    small = ["--dataset", "mnist", "--image-size", "28", "--features", "16", "--steps", "1200", "--devices", "1"]
    seldom = ["--checkpoint-every", "1200", "--sample-every", "1200", "--ema-half-life", "1000"]
    walked = tmp_path / "run"
    train(infogan_mnist.build, parse(infogan_mnist.Options, [*small, *seldom, "--workdir", str(walked)]))
    capsys.readouterr()
    codes.run(codes.Options(run=walked, out=tmp_path / "codes.png"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    with Image.open(tmp_path / "codes.png") as picture:
        assert picture.size[0] == 10 * 58 + 2
    shares = [float(line[-1].rstrip("%")) for line in lines if line[0] == "categorical"]
    run = open_run(walked)
    images = codes.drawn(run, 0, *codes.walks(10, 2, 200, np.zeros(1))[0])
    read = extract(classifier_features("mnist-v1"), images.reshape(-1, 28, 28, 1))["logits"].argmax(1)
    deals = [np.random.default_rng(deal).permutation(read).reshape(10, -1) for deal in range(200)]
    chance = max(np.mean([100 * np.bincount(dealt).max() / len(dealt) for dealt in deal]) for deal in deals)
    assert len(shares) == 10 and np.mean(shares) > 1.25 * chance, f"{np.mean(shares)} and {chance}"
    continuous = [[float(x.rstrip("%")) for x in line[-2:]] for line in lines if line[0] == "continuous"]
    assert len(continuous) == 2
    for mean, single in continuous:
        assert mean == 100 and single > 60
    for number, (classes, values) in enumerate(codes.walks(10, 2, 20, np.linspace(-1, 1, 5, dtype=np.float32))[1:]):
        images = codes.drawn(run, 0, classes, values).astype(float)
        far = np.abs(images - images[:, :1]).mean((0, 2, 3, 4))
        assert (np.diff(far) > 0).all() and far[-1] > 5, f"continuous {number}: {far}"
