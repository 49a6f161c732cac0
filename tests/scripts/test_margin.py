"""`scripts.margin`: whose logits it means, and what it refuses."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY_RUN
from sklearn import metrics

from experiments import dcgan_mnist
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.options.data import DataOptions
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.loading import load
from scripts import margin

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.mark.slow
def test_the_mean_logits_of_known_unknown_and_generated_images(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = [*TINY_RUN, "--steps", "2", "--workdir", str(folder), "--images", "1200"]
    options = parse(dcgan_mnist.Options, arguments)
    train(dcgan_mnist.build, options)
    found = margin.measure(open_run(folder), options)
    run = open_run(folder)
    d = run.state.discriminator

    def mean(images):
        said = d.apply(d.params, d.variables, images.astype(np.float32) / 127.5 - 1, None, train=False)
        return float(np.mean(said["logits"]))

    known = load(options).images
    pixels = {image.tobytes() for image in known}
    everything = load(DataOptions("digits", image_size=options.image_size, fit=options.fit)).images
    rest = np.stack([image for image in everything if image.tobytes() not in pixels])
    assert len(known) == 1200 and 590 <= len(rest) <= 597  # 1,797 digits, a few of them twice
    # As many of each, 597: of the known ones a part is drawn.
    assert found.unseen == pytest.approx(mean(rest), abs=0.02 * abs(mean(rest)) + 1e-3)
    assert found.seen == pytest.approx(mean(known), abs=0.02 * abs(mean(known)) + 1e-3)
    assert found.generated == pytest.approx(mean(run.sample(597, weights="raw")), abs=1e-4)
    by_hand = margin.Margin(3.0, 1.0, -1.0, 0.5)
    assert by_hand.margin == 2 and by_hand.share == 0.5 and 0 < found.above < 1
    capsys.readouterr()
    margin.run(margin.Options(run=folder))
    said = capsys.readouterr().out
    assert f"{found.seen:.4g}" in said and f"{found.share:.4g}" in said and "r_v" in said

    with pytest.raises(UsageError, match="no images that the run wasn't trained on"):
        margin.measure(run, dataclasses.replace(options, images=None))


def test_how_often_one_stands_above_the_other_is_the_area_under_the_curve():
    random = np.random.default_rng(0)
    for shift, digits in ((0.0, 3), (0.7, 3), (0.7, 0)):  # in the last there are many ties
        first, second = np.round(random.normal(shift, 1, 50), digits), np.round(random.normal(0, 1, 70), digits)
        area = metrics.roc_auc_score(np.repeat([1, 0], [50, 70]), np.concatenate([first, second]))
        assert margin.above(first, second) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize(
    "kind, pack, takes",
    [("points", 1, ()), ("image", 2, ()), ("image", 1, ("label",))],
    ids=["points", "packs", "labels"],
)
def test_a_discriminator_that_judges_no_single_images_is_refused(kind, pack, takes):
    spec = DataSpec.single("some", 10, (1, 1, 2) if kind == "points" else (28, 28, 1), kind=kind)
    options = SimpleNamespace(pack=pack)
    run = SimpleNamespace(directory="RUN", members=0, data=spec, options=options, drawing=SimpleNamespace(takes=takes))
    with pytest.raises(UsageError, match="points, packs or labels: it must judge single images"):
        margin.measure(run, options)
