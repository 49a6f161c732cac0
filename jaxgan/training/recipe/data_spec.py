"""The description of a run's data, for networks and for the host: its fields, each described once."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import DataSet
from jaxgan.data.sets import LABEL
from jaxgan.data.stream import Stream
from jaxgan.media import Image, Medium, Points, Vectors
from jaxgan.training.errors.usage import UsageError

__all__ = ["Data", "DataSpec", "Field"]

Data = DataSet | Stream | dict[str, DataSet]  # what a run is trained on
MOST_NAMED = 10  # classes that a message names
SINGLE: dict[str, Medium] = {Image.kind: Image(), Points.kind: Points()}  # media without numbers of their own


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a set. kind: of its medium, or "label". shape: of one example as networks take it, `()` for a label.
    classes, counts: of a label, how many there are, and how many examples each has, where that is known. low, high,
    columns: of vectors, as in `jaxgan.media.Vectors`."""

    kind: str
    shape: tuple[int, ...] = ()
    classes: int = 0
    counts: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def medium(self) -> Medium:
        """Returns the field's medium. KeyError for a label, which has none."""
        return Vectors(self.low, self.high, self.columns) if self.kind == Vectors.kind else SINGLE[self.kind]

    def decode(self, stored: jax.Array) -> jax.Array:
        """Decodes stored examples `[N, ...]` for networks; labels stay as they are."""
        return stored if self.kind == LABEL else self.medium.decode(stored)

    def batch(self, count: int) -> jax.ShapeDtypeStruct:
        """Returns the shape and type of `count` examples as networks take them."""
        return jax.ShapeDtypeStruct((count, *self.shape), jnp.int32 if self.kind == LABEL else jnp.float32)

    @property
    def text(self) -> str:
        if self.kind == LABEL:
            return f"{self.classes} classes"
        return f"{self.kind} {'×'.join(map(str, self.shape))}"


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """A set by its name, how many examples it has, and its fields, the main one first, `label` last where it has
    classes; or several `sets` by name, each described alike, of which `count` is the smallest.

    content: a checksum of all fields; of a stream from files, that of their names and sizes and of the labels.
    Properties that are of one set are refused of several with a UsageError."""

    name: str
    count: int
    fields: Mapping[str, Field] = dataclasses.field(default_factory=dict)
    content: str = ""
    sets: Mapping[str, "DataSpec"] = dataclasses.field(default_factory=dict)

    @classmethod
    def single(
        cls, name: str, count: int, shape: tuple[int, ...], classes: int = 0, *, kind: str = Image.kind
    ) -> "DataSpec":
        """Describes `count` images `[H, W, C]` (or another kind), with so many classes."""
        label = {LABEL: Field(LABEL, classes=classes)} if classes else {}
        return cls(name, count, {"image": Field(kind, shape), **label})

    @classmethod
    def of(cls, data: "Data", size: tuple[int, int] | None = None) -> "DataSpec":
        """Describes loaded data. size: height and width, where the step crops images to it."""
        if isinstance(data, dict):
            sets = {name: cls.of(one, size) for name, one in data.items()}
            named = ",".join(f"{name}={spec.name}" for name, spec in sets.items())
            return cls(named, min(spec.count for spec in sets.values()), sets=sets)
        check = zlib.crc32(np.ascontiguousarray(data.labels).data)
        if isinstance(data, Stream):
            check = zlib.crc32(np.ascontiguousarray(data.chosen).data, check) ^ data.source.identity()
            fields = {"image": Field(Image.kind, (*(size or data.transform.shape), data.transform.channels))}
        else:
            check ^= data.identity()
            fields = {name: _field(data, name, size) for name in data.fields}
        if classes := len(data.class_names):
            counts = np.bincount(data.labels, minlength=classes).tolist()
            fields[LABEL] = Field(LABEL, classes=classes, counts=tuple(counts))
        return cls(data.name, len(data), fields, f"{check:08x}")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "DataSpec":
        """Rebuilds a description from its `record`, also from JSON; runs from before there were fields had square
        images, or points, stored as images of one pixel with two channels."""
        if "fields" not in record:
            size, channels = record["size"], record["channels"]
            kind = Points.kind if (size, channels) == (1, 2) else Image.kind
            spec = cls.single(record["name"], record["count"], (size, size, channels), record["classes"], kind=kind)
            return dataclasses.replace(spec, content=record.get("content", ""))
        fields = {name: Field(**_tuples(field)) for name, field in record["fields"].items()}
        sets = {name: cls.from_record(one) for name, one in record.get("sets", {}).items()}
        return cls(record["name"], record["count"], fields, record["content"], sets)

    def record(self) -> dict[str, Any]:
        """Returns the description as a JSON record; what is as by default is left out."""
        fields = {
            name: {key: value for key, value in dataclasses.asdict(field).items() if value or key == "kind"}
            for name, field in self.fields.items()
        }
        sets = {name: one.record() for name, one in self.sets.items()}
        both = {"fields": fields, **({"sets": sets} if sets else {})}
        return {"name": self.name, "count": self.count, **both, "content": self.content}

    def facts(self) -> dict[str, Any]:
        """Returns by name what a continued run must find unchanged; a set may be renamed."""
        if self.sets:
            return {f"{name} of {key}": value for key, one in self.sets.items() for name, value in one.facts().items()}
        return {
            "count": self.count,
            **{name: field.text for name, field in self.fields.items()},
            "content": self.content,
        }

    @property
    def contents(self) -> dict[str, str]:
        """Returns the checksum of each set by its name; of a single one, under its empty name."""
        return {name: one.content for name, one in self.sets.items()} or {"": self.content}

    @property
    def field(self) -> Field:
        """Returns the main field."""
        if self.sets:
            raise UsageError(f"--dataset has several sets, {', '.join(self.sets)}, and this experiment takes one")
        return next(iter(self.fields.values()))

    @property
    def main(self) -> str:
        """Returns the name of the main field."""
        return next(name for name, field in self.fields.items() if field is self.field)

    @property
    def kind(self) -> str:
        return self.field.kind

    @property
    def medium(self) -> Medium:
        return self.field.medium

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns the shape of one example of the main field as networks take it, `(H, W, C)` for images."""
        return self.field.shape

    @property
    def size(self) -> int:
        """Pixels of a side of square images; UsageError where they aren't."""
        if len(self.shape) != 3 or self.shape[0] != self.shape[1]:
            raise UsageError(
                f"--dataset {self.name} is {self.field.text}, and this experiment needs square images: "
                "--image-size 64, for example, makes them so"
            )
        return self.shape[0]

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def classes(self) -> int:
        """Returns the number of classes; 0 without labels, and of several sets."""
        return self.fields[LABEL].classes if LABEL in self.fields else 0

    @property
    def present(self) -> tuple[int, ...]:
        """Returns the classes that have examples, ascending; all where it isn't recorded how many each has."""
        counts = self.fields[LABEL].counts if LABEL in self.fields else ()
        return tuple(number for number in range(self.classes) if not counts or counts[number])

    @property
    def notes(self) -> list[str]:
        """Returns what a user should be told of the data, a line each: which classes have no examples."""
        if self.sets:
            return [note for one in self.sets.values() for note in one.notes]
        absent = sorted(set(range(self.classes)) - set(self.present))
        if not absent:
            return []
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        which = f"{'classes' if len(absent) > 1 else 'class'} {', '.join(map(str, absent[:MOST_NAMED]))}{more}"
        has = "have" if len(absent) > 1 else "has"
        what = f"{which} of {self.name}, of 0 to {self.classes - 1}, {has} no {self.medium.plural}"
        return [f"NOTE: {what}: never learned, and neither drawn nor scored"]

    def check_label(self, label: int) -> None:
        """Raises UsageError for a label that isn't that of a class, or is that of a class without examples."""
        if not 0 <= label < self.classes:
            raise UsageError(f"the label must be from 0 to {self.classes - 1}, the data's classes, got {label}")
        if label not in self.present:
            raise UsageError(
                f"class {label} of {self.name} has no {self.medium.plural}, and was never learned; the label must be "
                f"one of {_ranges(self.present)}"
            )

    def like(self, output: str) -> Field:
        """Returns the field that an output of a GAN imitates: the field of that name, or the main field of the set of
        that name, or else the main field of all."""
        if output in self.sets:
            return self.sets[output].field
        return (
            self.fields[output]
            if output in self.fields
            else (self if self.fields else next(iter(self.sets.values()))).field
        )

    def batch(self, count: int) -> Any:
        """Returns the shapes of a batch with so many examples (of each set)."""
        if self.sets:
            return {name: one.batch(count) for name, one in self.sets.items()}
        return {name: field.batch(count) for name, field in self.fields.items()}


def _ranges(numbers: tuple[int, ...]) -> str:
    """Returns ascending numbers as text, neighbours together: 1 to 4, 7."""
    starts = [n for i, n in enumerate(numbers) if i == 0 or numbers[i - 1] < n - 1]
    ends = [n for i, n in enumerate(numbers) if i == len(numbers) - 1 or numbers[i + 1] > n + 1]
    return ", ".join(f"{a} to {b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, which is what JSON has, as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}


def _field(data: DataSet, name: str, size: tuple[int, int] | None) -> Field:
    array, kind = data.arrays[name], data.kind(name)
    if kind == Vectors.kind:
        low, high = array.min(0).tolist(), array.max(0).tolist()
        return Field(kind, array.shape[1:], low=tuple(low), high=tuple(high), columns=data.columns)
    cropped = size is not None and kind == Image.kind
    return Field(kind, (*size, array.shape[3]) if cropped and size else array.shape[1:])
