"""A program that tests start several times at once, to make one run of several processes:

    python tests/together.py WHAT ADDRESS PROCESSES PROCESS RUN

WHAT is `meet` (tries what `jaxgan.training.distributed.processes` has), `read` (writes the newest checkpoint to
RUN/read.npz), or `train` (until step `LAST`), `compute` (for ever), `save` (at every chunk, for ever) and `idle` (until
step 400)."""

import re
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxgan.training import UsageError
from jaxgan.training.checkpoints import checkpoints
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.distributed import processes
from jaxgan.training.errors.stopping import Stopped, catch_signals

HEARTBEAT = 6  # seconds, so that the tests needn't wait for the 30 of a real run
LAST = 2000


def layout():
    """A mesh of all devices, and how the state lies on it."""
    mesh = Mesh(np.array(jax.devices()), "data")
    whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    return {"key": whole, "rows": rows, "step": whole, "weights": whole}


def init():
    key = jax.random.key(1)
    rows, weights = jax.random.normal(key, (8, 3)), jax.random.bits(key, (4096,)).astype(jnp.float32)
    return {"key": key, "rows": rows, "step": jnp.int32(0), "weights": weights}


def like():
    shapes = jax.eval_shape(init)
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), shapes, layout())


@jax.jit
def chunk(state, count):
    """Sums of whole numbers, the same in any order: any number of processes comes to the same bits."""

    def one(i, state):
        moved = jnp.round(state["rows"] * 8 + jnp.float32(i + 1)) % 64
        return state | {"rows": moved, "step": state["step"] + 1, "weights": state["weights"] + jnp.sum(moved)}

    return jax.lax.fori_loop(0, count, one, state)


def meet(run):
    """Everything but training, each checked where it is known what must come out."""
    number, count = jax.process_index(), jax.process_count()
    assert processes.several() and processes.first() == (number == 0) and count == 2
    assert processes.agree(0, 7) == (0, 7)
    assert processes.agree(15 * number, 10 + number) == (15, 10)
    np.testing.assert_array_equal(processes.gather(number, 5), [[0, 5], [1, 5]])

    assert processes.from_first(lambda: {"name": f"from {number}", "long": [0] * 1000})["name"] == "from 0"
    for error in (UsageError("wrong"), Stopped("over", 3), PermissionError(13, "Permission denied", "a/file")):

        def fail(error=error):
            raise error

        with pytest.raises(type(error), match=re.escape(str(error))):
            processes.from_first(fail)

    whole = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    for shape in ((1, 2), (2, 1)):
        mesh = Mesh(np.array(jax.devices()).reshape(shape), ("seed", "data"))
        for spec in (("seed", "data"), ("data",), (None, "data"), ()):
            sharding = NamedSharding(mesh, PartitionSpec(*spec))
            own = whole[processes.share(sharding, whole.shape)]
            array = processes.global_array(sharding, whole.shape, own)
            assert array.sharding == sharding and len(own) * own.shape[1] in (12, 24)
            np.testing.assert_array_equal(processes.multihost_utils.process_allgather(array, tiled=True), whole)
    with pytest.raises(ValueError, match=r"share of \(4, 6, 3\) has shape \(4, 6, 3\), got \(1, 6, 3\)"):
        processes.global_array(sharding, whole.shape, whole[:1])
    print("all agreed", flush=True)


def copied(state):
    """The state on the host, whole."""
    state = state | {"key": jax.random.key_data(state["key"])}
    whole = jax.jit(lambda x: x, out_shardings=jax.tree.map(lambda _: layout()["key"], state))(state)
    return {name: np.asarray(leaf) for name, leaf in whole.items()}


def read(run):
    """What is in the newest checkpoint, as this number of processes gets it."""
    checkpoints = Checkpoints(run, read_only=True)
    step, state = checkpoints.restore_newest(like())
    arrays = copied(state)
    if processes.first():
        np.savez(run / "read.npz", **arrays)
    print(f"read {step}", flush=True)


def train(run, what):
    checkpoints = Checkpoints(run)
    with processes.explain_aborts(), catch_signals() as caught:
        done, state = checkpoints.restore_newest(like()) or (0, jax.jit(init, out_shardings=layout())())
        print(f"begins at {done}", flush=True)
        try:
            while done < LAST or what != "train":
                state = jax.block_until_ready(chunk(state, jnp.int32(20)))
                done += 20
                stop, _ = processes.agree(caught[0] if caught else 0, 0)
                if stop or what == "save" or done % 200 == 0:
                    checkpoints.save(done, state)
                if stop:
                    checkpoints.close()
                    raise Stopped(f"stopped by {signal.Signals(stop).name} at step {done}", 128 + stop)
                if what == "idle" and done == 400:
                    checkpoints.close()
                    print("idle", flush=True)
                    time.sleep(600)
                print(f"step {done}", flush=True)
            checkpoints.close()
        except (ValueError, RuntimeError, OSError) as error:
            raise processes.lost_process(error) or error from error
    print(f"done {done}", flush=True)


if __name__ == "__main__":
    _, what, address, count, number, run = sys.argv
    processes.HEARTBEAT, checkpoints.SIGHT = HEARTBEAT, 1
    with processes.exit_at_once(), plain_exits():
        if int(count) > 1:
            processes.join(address, int(count), int(number))
        if what in ("meet", "read"):
            {"meet": meet, "read": read}[what](Path(run))
        else:
            train(Path(run), what)
