"""The processes that `scripts.benchmarks.steps` times: ours, and PyTorch in one of its settings.

Each says first `{"first": seconds of the first iteration with compiling, "device"}`, ours also `flop`, XLA's count of
an iteration. Then it answers every number of iterations with `{"seconds"}`, and 0, which ends it, with `{"peak": bytes,
"product": FLOP/s of a large matrix product, "copy": bytes/s of a copy, read and written}`.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from scripts.benchmarks import resident

__all__ = ["SETTINGS", "ours", "theirs"]

SETTINGS = ("eager", "eager, channels_last", "compiled", "compiled, channels_last")
COUNT = 10_000  # images of the data set, uint8, on the device
SIDE, LARGE = 2048, 1 << 26


def _best(call: Callable[[], Any], repeats: int = 10) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def _rates(
    square: Any, large: Any, product: Callable[[Any], Any], copy: Callable[[Any], Any], wait: Callable[[Any], Any]
) -> dict[str, float]:
    """FLOP/s of a product of `square` `[SIDE, SIDE]` with itself, bytes/s of a copy of `large` `[LARGE]`, float32."""
    return {
        "product": 2 * SIDE**3 / _best(lambda: wait(product(square))),
        "copy": 2 * 4 * LARGE / _best(lambda: wait(copy(large))),
    }


def _serve(
    pipe: Connection,
    run: Callable[[int], None],
    first: dict[str, Any],
    peak: Callable[[], int],
    rates: Callable[[], dict[str, float]],
) -> None:
    began = time.perf_counter()
    run(1)
    pipe.send(first | {"first": first.get("first", 0.0) + time.perf_counter() - began})
    while iterations := pipe.recv():
        began = time.perf_counter()
        run(iterations)
        pipe.send({"seconds": time.perf_counter() - began})
    most = peak()  # before more is made
    pipe.send({"peak": most, **rates()})


def ours(pipe: Connection, name: str, dtype: str) -> None:
    """The program of a run."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch is on the device as well
    import jax
    import jax.numpy as jnp

    from jaxgan.parallel import layout
    from jaxgan.training.compiled.program import CHUNK, compile_chunk
    from scripts.benchmarks.lines import LINES, lowered

    line, device = LINES[name], jax.devices()[0]
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is timed
    before = resident.forget()
    began = time.perf_counter()
    gan = line.build(dataclasses.replace(line.options, dtype=dtype), line.data)
    state = jax.jit(gan.init)(jax.random.key(0))
    shape = (COUNT, line.data.size, line.data.size, line.data.channels)
    images = jax.random.bits(jax.random.key(1), shape, jnp.uint8)
    labels = jnp.zeros(COUNT, jnp.int32)
    examples = {"image": images, "label": labels}
    program = compile_chunk(gan, state, line.data, examples, layout=layout([device]))
    says = {"device": device.device_kind, "first": time.perf_counter() - began}
    says["flop"] = (lowered(gan, line.data).cost_analysis() or {}).get("flops", float("nan"))

    def run(iterations: int) -> None:
        nonlocal state
        for start in range(0, iterations, CHUNK):
            state, _ = jax.block_until_ready(program.run(state, min(CHUNK, iterations - start)))

    def peak() -> int:
        used = device.memory_stats()
        return used["peak_bytes_in_use"] if used else resident.peak() - before

    def rates() -> dict[str, float]:
        product, copy = (jax.jit(f) for f in (lambda x: x @ x, lambda x: x + 1))
        return _rates(jnp.ones((SIDE, SIDE), dtype), jnp.ones(LARGE, jnp.float32), product, copy, jax.block_until_ready)

    _serve(pipe, run, says, peak, rates)


def theirs(pipe: Connection, name: str, dtype: str, who: str) -> None:
    """PyTorch's iteration, in one of `SETTINGS`."""
    import torch

    from scripts.benchmarks import pytorch_recipes
    from scripts.benchmarks.lines import LINES

    line, on_gpu = LINES[name], torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    before = resident.forget()
    size, channels = line.data.size, line.data.channels
    random = np.random.default_rng(0).integers(0, 256, (COUNT, channels, size, size), dtype=np.uint8)
    recipe = pytorch_recipes.RECIPES[line.recipe](line.options, size, channels)
    setting = pytorch_recipes.Setting("compiled" in who, "channels_last" in who, dtype == "bfloat16", fused=True)
    step = pytorch_recipes.iteration(recipe, line.options, torch.from_numpy(random).to(device), setting)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            step()
        wait()

    def peak() -> int:
        return torch.cuda.max_memory_allocated() if on_gpu else resident.peak() - before

    def rates() -> dict[str, float]:
        square = torch.ones(SIDE, SIDE, device=device, dtype=getattr(torch, dtype))
        large = torch.ones(LARGE, device=device)
        return _rates(square, large, lambda x: x @ x, lambda x: x + 1, lambda _: wait())

    _serve(pipe, run, {"device": torch.cuda.get_device_name() if on_gpu else "cpu"}, peak, rates)
