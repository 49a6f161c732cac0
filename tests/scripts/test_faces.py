"""`scripts.faces`: what the detector is shown, what is counted, and what can't be."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments import dcgan_celeba
from jaxgan import data
from jaxgan.training import UsageError, open, train  # noqa: A004 - the library's name for it
from jaxgan.training.options.options import of_preset
from scripts import faces

RANDOM = np.random.default_rng(0)


class Cascade:
    """Finds a face in what is bright, and keeps what it was shown."""

    def __init__(self):
        self.shown, self.how = [], set()

    def detect_multi_scale(self, image, *how, **more):
        self.shown.append(image)
        self.how.add((*how, *more.values()))
        return [{"r": 0}] if image.mean() > 127 else []


def test_images_are_shown_as_large_as_faces_are_looked_for():
    """Of any size and one or three channels; a window is between a third and all of what is shown, 96 pixels."""
    cascade, counted = Cascade(), []
    for shape in ((1, 1, 1), (25, 25, 1), (32, 32, 3), (64, 64, 3), (80, 48, 3)):
        images = np.stack([np.full(shape, level, np.uint8) for level in (200, 20, 255)])
        assert faces.found(cascade, images, counted.append).tolist() == [True, False, True]
    assert len(counted) == 15 and {image.shape for image in cascade.shown} == {(96, 96)}
    assert cascade.how == {(1.2, 1.0, (32, 32), (96, 96), 1)}
    image = RANDOM.integers(0, 256, (64, 64, 1), np.uint8)
    faces.found(cascade, image[None])
    np.testing.assert_array_equal(cascade.shown[-1][16:-16, 16:-16], image[..., 0])
    np.testing.assert_array_equal(cascade.shown[-1][16:-16, :16], np.repeat(image[:, :1, 0], 16, axis=1))
    assert faces.found(cascade, np.empty((0, 8, 8, 3), np.uint8)).shape == (0,)


@pytest.mark.slow
def test_scikit_images_own_faces_are_found_and_its_others_are_not():
    """A fifth of them, where it is installed; its whole set is what the setting was chosen by."""
    pytest.importorskip("skimage")
    from skimage.data import lfw_subset

    images = np.rint(255 * lfw_subset()).astype(np.uint8)[..., None]
    read = faces.found(faces.detector(), np.concatenate([images[:20], images[100:120]]))
    assert read[:20].mean() >= 0.95 and read[20:].mean() <= 0.05


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_have_it")
def test_samples_stand_beside_training_images(tmp_path, monkeypatch, capsys):
    images = np.concatenate([np.full((6, 28, 28), 250, np.uint8), np.zeros((2, 28, 28), np.uint8)])
    np.savez(tmp_path / "set.npz", images=images)
    how = {"dataset": f"npz:{tmp_path / 'set.npz'}", "channels": 1, "steps": 1, "workdir": str(tmp_path / "run")}
    train(dcgan_celeba.build, of_preset(dcgan_celeba.Options, "smoke", **how))
    cascade = Cascade()
    monkeypatch.setattr(faces, "detector", lambda: cascade)
    faces.run(faces.Options(run=tmp_path / "run", count=20))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["training", "images", "75.0", "%", "8"] in lines
    assert ["samples", f"{5 * sum(image.mean() > 127 for image in cascade.shown[:20]):.1f}", "%", "20"] in lines
    drawn = [Image.fromarray(image[..., 0]) for image in open(tmp_path / "run").sample(20)]
    for image, shown in zip(drawn, cascade.shown, strict=False):
        np.testing.assert_array_equal(shown[16:-16, 16:-16], image.resize((64, 64), Image.Resampling.LANCZOS))


def test_what_has_no_faces_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(UsageError, match=r"^faces are found by scikit-image, .*: pip install 'jaxgan\[faces\]'$"):
        faces.detector()
    options, vectors = faces.Options(run=Path("r")), data.open_source("diabetes")
    run = SimpleNamespace(directory="r", members=[], data=SimpleNamespace(kind=vectors.kind("vector")))
    run.data.medium = SimpleNamespace(plural="vectors")
    with pytest.raises(UsageError, match=r"^r draws vectors, and faces are looked for in images$"):
        faces.shares(run, options)
    run.members = [0, 1]
    with pytest.raises(UsageError, match=r"^r has 2 GANs; name one of them, --member 0$"):
        faces.shares(run, options)
