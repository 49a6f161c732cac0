"""Networks that no memory holds are refused before they are made."""

import jax
import jax.numpy as jnp
import pytest

from experiments import gan_ring
from jaxgan.training import UsageError, train
from jaxgan.training.compiled import compile as compiling
from jaxgan.training.options import devices
from jaxgan.training.options.options import of_preset


def test_a_state_has_to_fit_the_memory(monkeypatch):
    """Devices that a CPU appears as share one memory: each has its own 4 MiB of it."""
    alone = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {"weights": jax.ShapeDtypeStruct((1024, 1024), jnp.float32, sharding=alone)}
    size = 2**22 * len(jax.local_devices())
    monkeypatch.setattr(devices, "machine_memory", lambda: size)
    compiling.check_memory(like)
    monkeypatch.setattr(devices, "machine_memory", lambda: size - 1)
    with pytest.raises(UsageError, match=r"^the networks, their averages and the optimiser's state take 0\.\d GiB"):
        compiling.check_memory(like)


def test_a_run_of_terabytes_writes_nothing(tmp_path):
    options = of_preset(gan_ring.Options, "smoke", width=2**24, workdir=str(tmp_path / "run"))
    with pytest.raises(UsageError, match=r"take [0-9,]{7,}\.\d GiB on a device, .*; take narrower networks"):
        train(gan_ring.build, options)
    assert not (tmp_path / "run").exists()
