"""What an experiment hands to the loop, and how a run directory says which experiment it was."""

import dataclasses
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.data import ImageSet
from jaxgan.state import GANState
from jaxgan.steps import Sampler, Step, example_keys
from jaxgan.training.logging import write_json
from jaxgan.training.options import Options, UsageError, differing
from jaxgan.training.pictures import to_uint8

__all__ = ["GAN", "Build", "DataSpec", "Run", "generate_with", "images_of"]

State = Any  # a pytree with `step` and `key`


class DataSpec(NamedTuple):
    """What networks must know of their data."""

    name: str
    count: int
    size: int
    channels: int
    classes: int

    @classmethod
    def of(cls, data: ImageSet) -> "DataSpec":
        count, size, _, channels = data.images.shape
        return cls(data.name, count, size, channels, data.classes)


class GAN(NamedTuple):
    """All that the loop knows of a GAN.

    init: `key -> state`, a pytree with an int32 `step` and a `key`.
    iteration: `(state, batch) -> (state, metrics)`, one generator update.
    batch_size: examples that an iteration consumes, all critic steps together.
    sampler: what the generator is fed, as in the steps.
    generate: `(state, inputs, ema) -> images` in [-1, 1], with averaged (ema) or raw weights.
    """

    init: Callable[[jax.Array], State]
    iteration: Step
    batch_size: int
    sampler: Sampler
    generate: Callable[[State, dict[str, jax.Array], bool], jax.Array]


Build = Callable[[Any, DataSpec], GAN]


def generate_with(state: GANState, inputs: dict[str, jax.Array], ema: bool) -> jax.Array:
    """`GAN.generate` for every GANState: the generator in evaluation mode."""
    generator = state.generator
    params, variables = generator.params, generator.variables
    if ema:
        variables = {name: value for name, value in state.ema.items() if name != "params"}
        params = state.ema["params"]
    return generator.apply(params, variables, inputs["latent"], inputs.get("condition"), train=False)


def images_of(gan: GAN, state: State, inputs: dict[str, jax.Array], ema: bool = True) -> jax.Array:
    """uint8 images `[N, H, W, C]`."""
    return to_uint8(gan.generate(state, inputs, ema))


def display_inputs(gan: GAN, key: jax.Array, first: int, count: int, classes: int) -> dict[str, jax.Array]:
    """Inputs number `first` to `first + count` of an endless list that `key` fixes, labels taking turns."""
    number = first + jnp.arange(count)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(number)
    return gan.sampler({"label": number % max(classes, 1)}, keys)


class Run:
    """A run directory: `options.json`, `metrics.jsonl`, `tensorboard/`, `samples/`, `training.gif`, `checkpoints/`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record_path = directory / "options.json"

    def record(self) -> dict[str, Any] | None:
        """What options.json says: experiment, options and data of the run; None where there is no run."""
        if not self.record_path.exists():
            return None
        try:
            record = json.loads(self.record_path.read_text())
            return {"experiment": record["experiment"], "options": record["options"], "data": record["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self.record_path} is not a run's record ({error!r}); restore it or choose another --workdir") from None

    def begin(self, build: Build, options: Options, data: DataSpec) -> None:
        """Makes the directory and its record, or checks them against what is asked for now."""
        try:
            (self.directory / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"can't write in run directory {self.directory}: {error.strerror}; choose another --workdir") from None
        now = {"experiment": name_of(build), "options": dataclasses.asdict(options), "data": data._asdict()}
        before = self.record()
        if before is not None:
            wrong = differing(options, before["options"])
            wrong += [f"{key} {now[key]} (the run has {before[key]})" for key in ("experiment", "data") if now[key] != before[key]]
            if wrong:
                raise UsageError(
                    f"{self.directory} holds a run with other options: {'; '.join(wrong)}. "
                    "Give the same options to continue it, or another --workdir"
                )
        try:
            write_json(self.record_path, now)
        except OSError as error:
            raise UsageError(f"can't write in run directory {self.directory}: {error.strerror}; choose another --workdir") from None

    def experiment(self) -> tuple[Build, Options, DataSpec]:
        """The run's build function, options and data, for those who only have the directory."""
        record = self.record()
        if record is None:
            raise UsageError(f"{self.directory} is no run directory: it has no options.json")
        module = load_module(record["experiment"])
        known = {field.name for field in dataclasses.fields(module.Options)}
        options = module.Options(**{name: value for name, value in record["options"].items() if name in known})
        return module.build, options, DataSpec(**record["data"])


def name_of(build: Build) -> str:
    """The module that `build` is in, as `python -m` takes it, or the path of a script that was run by its path."""
    name = build.__module__
    if name == "__main__":
        main = sys.modules["__main__"]
        name = main.__spec__.name if main.__spec__ else str(Path(str(main.__file__)).resolve())
    return name


def load_module(name: str) -> Any:
    """The experiment's module. UsageError where it isn't there or has no `Options` and `build`."""
    try:
        if name.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise ImportError(name)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(name)
        return module if module.Options and module.build else None
    except (ImportError, OSError, AttributeError) as error:
        raise UsageError(
            f"the run's experiment {name!r} can't be loaded ({error}); call this from the folder that holds it"
        ) from None
