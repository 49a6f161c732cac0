"""Dense networks: their arithmetic by hand, and an experiment with them that trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import gan_ring
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.training import UsageError, train


def test_networks_compute_what_numpy_computes():
    random = np.random.default_rng(0)
    z, x = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=(5, 1, 1, 2)).astype(np.float32)
    for module, given, slope in ((Generator((1, 1, 2), (4, 6)), z, 0.0), (Discriminator((4, 6)), x, 0.2)):
        variables = module.init(jax.random.key(0), jnp.asarray(given), train=True)
        params = jax.tree.map(lambda p: random.normal(size=p.shape), variables["params"])
        h = given.reshape(5, -1).astype(np.float64)
        for i in range(3):
            layer = params[f"Dense_{i}"]
            h = h @ layer["kernel"] + layer["bias"]
            h = np.where(h > 0, h, slope * h) if i < 2 else h
        floats = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
        said = module.apply({"params": floats}, jnp.asarray(given), train=False)
        if slope:
            np.testing.assert_allclose(said["logits"], h[:, 0], rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_allclose(said, h.reshape(5, 1, 1, 2), rtol=2e-5, atol=2e-5)


def test_points_train_and_resume_like_images(tmp_path):
    def options(**changes):
        given = {"steps": 6, "batch_size": 16, "width": 8, "devices": 1, "checkpoint_every": 4, "sample_every": 3}
        return gan_ring.Options(**(given | {"workdir": str(tmp_path / "run")} | changes))

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        train(gan_ring.build, options(steps=3))
        state = train(gan_ring.build, options())
        straight = train(gan_ring.build, options(workdir=str(tmp_path / "straight")))
    for one, other in zip(jax.tree.leaves(state.ema), jax.tree.leaves(straight.ema), strict=True):
        np.testing.assert_array_equal(one, other)
    with Image.open(tmp_path / "run" / "samples" / "00000006.png") as sheet:
        assert sheet.size == (512, 512) and np.asarray(sheet).max() == 255
    with pytest.raises(UsageError, match="points of the plane, not images: --flip True doesn't go with it"):
        train(gan_ring.build, options(flip=True, workdir=None))
