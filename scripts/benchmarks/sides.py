"""The processes that `scripts.benchmarks.steps` times: ours, and PyTorch in one of its settings.

Each says first `{"first": seconds of the first iteration with compiling, "device"}`, ours also `flop`, XLA's count of
an iteration. Then it answers every number of iterations with `{"seconds"}`, and 0, which ends it, with `{"peak": bytes,
"product": FLOP/s of large matrix products, "copy": bytes/s of a copy, read and written}`.
"""

import dataclasses
import importlib.util
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from scripts.benchmarks import resident

__all__ = ["SETTINGS", "ours", "settings", "theirs"]

SETTINGS = ("eager", "eager, channels_last", "compiled", "compiled, channels_last")
ON_GPU = ("reduce-overhead", "reduce-overhead, channels_last")  # compiled, and replayed as CUDA graphs
COUNT = 10_000  # images of the data set, uint8, on the device
# On a GPU a product of 2,048 is over in less time than its launch takes, and a smaller copy stays in the cache.
SIDE, LARGE = {"cpu": 2048, "gpu": 8192}, {"cpu": 1 << 26, "gpu": 1 << 29}
PRODUCTS = 4  # one after another, in a program or a row of launches


def settings() -> tuple[str, ...]:
    """Returns the settings of PyTorch that can be tried here, none where it isn't installed."""
    if importlib.util.find_spec("torch") is None:
        return ()
    import torch

    return SETTINGS + ON_GPU if torch.cuda.is_available() else SETTINGS


def _best(call: Callable[[], Any], repeats: int = 10) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def _rates(
    square: Any, large: Any, products: Callable[[Any], Any], copy: Callable[[Any], Any], wait: Callable[[Any], Any]
) -> dict[str, float]:
    """FLOP/s of the `products` of `square` `[n, n]`, bytes/s of a copy of `large` `[m]`, float32."""
    return {
        "product": PRODUCTS * 2 * len(square) ** 3 / _best(lambda: wait(products(square))),
        "copy": 2 * 4 * len(large) / _best(lambda: wait(copy(large))),
    }


def _products(square: Any) -> Any:
    """Multiplies `PRODUCTS` times by `square` `[n, n]`. Of numbers with variance 1 / n all results have it too: zeros,
    ones and powers of two take less power, at which a GPU runs faster than it does on a network's numbers."""
    result = square
    for _ in range(PRODUCTS):
        result = result @ square
    return result


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
        where = "cpu" if device.platform == "cpu" else "gpu"
        side, large = SIDE[where], LARGE[where]
        square = (jax.random.normal(jax.random.key(2), (side, side)) * side**-0.5).astype(dtype)
        many = jax.random.normal(jax.random.key(3), large)
        return _rates(square, many, jax.jit(_products), jax.jit(lambda x: x + 1), jax.block_until_ready)

    _serve(pipe, run, says, peak, rates)


def theirs(pipe: Connection, name: str, dtype: str, who: str) -> None:
    """PyTorch's iteration, in one of `settings()`."""
    import torch

    from scripts.benchmarks import pytorch_recipes, pytorch_stylegan2
    from scripts.benchmarks.lines import LINES

    line, on_gpu = LINES[name], torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    before = resident.forget()
    size, channels = line.data.size, line.data.channels
    random = np.random.default_rng(0).integers(0, 256, (COUNT, channels, size, size), dtype=np.uint8)
    setting = pytorch_recipes.Setting(
        *("eager" not in who, "channels_last" in who, dtype == "bfloat16"), fused=True, graphs="reduce-overhead" in who
    )
    images = torch.from_numpy(random).to(device)
    if line.recipe == "stylegan2":  # whose updates have lazy penalties
        step = pytorch_stylegan2.iteration(line.options, images, setting)
    else:
        recipe = pytorch_recipes.RECIPES[line.recipe](line.options, size, channels)
        step = pytorch_recipes.iteration(recipe, line.options, images, setting)

    def run(iterations: int) -> None:
        for _ in range(iterations):
            step()
        wait()

    def peak() -> int:
        return torch.cuda.max_memory_allocated() if on_gpu else resident.peak() - before

    def rates() -> dict[str, float]:
        where = "gpu" if on_gpu else "cpu"
        side, large = SIDE[where], LARGE[where]
        square = (torch.randn(side, side, device=device) * side**-0.5).to(getattr(torch, dtype))
        return _rates(square, torch.randn(large, device=device), _products, lambda x: x + 1, lambda _: wait())

    _serve(pipe, run, {"device": torch.cuda.get_device_name() if on_gpu else "cpu"}, peak, rates)
