"""What calls of `train` in one process leave behind: nothing that grows with their number."""

import gc
from dataclasses import replace

import jax
import pytest

from experiments import gan_ring
from jaxgan.training import train

OPTIONS = gan_ring.Options(
    **{**gan_ring.Options.PRESETS["smoke"], "steps": 2, "checkpoint_every": 1, "sample_every": 1, "eval_every": 1}
)


def programs():
    """Returns how many compiled programs are held on the devices."""
    gc.collect()
    return len(jax.devices()[0].client.live_executables())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_programs_of_a_run_are_freed_at_its_end(seeds, tmp_path, as_users_have_it):
    """A state's tree names the functions of its GAN, so that jax takes another GAN's state for something new."""
    counts = []
    for number in range(3):
        train(gan_ring.build, replace(OPTIONS, seeds=seeds, workdir=str(tmp_path / str(number))))
        counts.append(programs())
    assert counts[1] == counts[2]
