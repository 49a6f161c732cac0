"""A run's real examples, as its discriminator sees them, for scores and pictures."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan.data import DataSet, in_memory
from jaxgan.data.stream import Stream
from jaxgan.media import Image
from jaxgan.training.compiled.program import decode_examples
from jaxgan.training.options.data import DataOptions, RealTransform, real_transform
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.data_spec import Data, DataSpec
from jaxgan.training.recipe.loading import Given, drawn_order, load

__all__ = ["RealData"]

AT_ONCE = 256  # images that are transformed in one dispatch

State = Any


class RealData(NamedTuple):
    """A run's own data, as a discriminator sees them."""

    data: Data
    spec: DataSpec
    transform: RealTransform | None

    @classmethod
    def of_run(cls, options: DataOptions, given: Given | None = None) -> "RealData":
        """Loads what a run with these options is trained on."""
        data = load(options, given)
        return cls(data, DataSpec.of(data, options.crop_shape), real_transform(options))

    def of(self, output: str) -> "RealData":
        """Returns what an output is compared with: the data, or of several sets the one of its name, or the first."""
        if not isinstance(self.data, dict):
            return self
        name = output if output in self.data else next(iter(self.data))
        return RealData(self.data[name], self.spec.sets[name], self.transform)

    def examples(self, count: int) -> np.ndarray:
        """Returns `count` different examples of a single set's main field, drawn alike in every run, as a discriminator
        sees them, and as they are stored."""
        data, name = self._single(), self.spec.main
        chosen = drawn_order(data)[:count]
        if isinstance(data, Stream):
            stored = in_memory(data.source, data.chosen[chosen], data.transform)
        else:
            stored = data.arrays[name][chosen]
        one, transform = dataclasses.replace(self.spec, fields={name: self.spec.fields[name]}), self.transform
        if not transform or one.kind != Image.kind or not count:
            return stored

        @jax.jit
        def changed(images: jax.Array, numbers: jax.Array) -> jax.Array:
            return one.medium.encode(decode_examples(one, {name: images}, transform, jax.random.key(0), numbers)[name])

        numbers = np.arange(count)
        parts = [slice(first, first + AT_ONCE) for first in range(0, count, AT_ONCE)]
        return np.concatenate([np.asarray(changed(stored[part], numbers[part])) for part in parts])

    @property
    def labels(self) -> np.ndarray:
        """Returns the labels of a single set's examples, in the order of `examples`."""
        data = self._single()
        return data.labels[drawn_order(data)]

    def _single(self) -> DataSet | Stream:
        if isinstance(self.data, dict):
            raise TypeError("there are several sets: ask for that of an output")
        return self.data

    def beside(self, drawing: Drawing, count: int) -> dict[str, np.ndarray]:
        """Returns examples of the data for the pictures of media that compare."""
        return {name: self.of(name).examples(count) for name in drawing.scored if drawing.medium(name).compares}
