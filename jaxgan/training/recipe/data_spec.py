"""The description of a run's data, for networks and for the host: its fields, each described once."""

import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import DataSet
from jaxgan.data.sets import LABEL
from jaxgan.data.stream import Stream
from jaxgan.media import Image, Medium, Points, Vectors
from jaxgan.printable import listed, shortened
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.fields import as_type

__all__ = ["Data", "DataSpec", "Field"]

Data = DataSet | Stream | dict[str, DataSet]  # what a run is trained on
MOST_NAMED = 10  # classes that a message names
LARGEST = 2**31 - 1  # numbers of an example, and classes, whose labels are int32
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
    def from_record(cls, record: Any) -> "DataSpec":
        """Rebuilds a description from its `record`, also from JSON; runs from before there were fields had square
        images, or points, stored as images of one pixel with two channels. UsageError for what describes no data."""
        if isinstance(record, Mapping) and record.get("sets"):
            types = {"name": str, "count": int, "content": str, "sets": dict[str, dict[str, Any]]}
            several = _values({"content": "", **record}, types)
            if any(one.get("sets") for one in several["sets"].values()):
                raise UsageError("its sets have sets")
            sets = {name: cls.from_record(one) for name, one in several["sets"].items()}
            return cls(several["name"], several["count"], content=several["content"], sets=sets)
        if isinstance(record, Mapping) and "fields" not in record:
            types = {"name": str, "count": int, "size": int, "channels": int, "classes": int, "content": str}
            old = _values({"content": "", **record}, types)
            shape = (old["size"], old["size"], old["channels"])
            kind = Points.kind if shape == (1, 1, 2) else Image.kind
            spec = cls.single(old["name"], old["count"], shape, old["classes"], kind=kind)
            spec = dataclasses.replace(spec, content=old["content"])
        else:
            types = {"name": str, "count": int, "content": str, "fields": dict[str, dict[str, Any]]}
            one = _values(record, types)
            fields = {
                name: Field(**{"kind": "", **_values(field, get_type_hints(Field), optional=True)})
                for name, field in one["fields"].items()
            }
            spec = cls(one["name"], one["count"], fields, one["content"])
        if not spec.fields or next(iter(spec.fields.values())).kind == LABEL:
            raise UsageError("it has no field of examples")
        for name, field in spec.fields.items():
            if wrong := _wrong(name, field):
                raise UsageError(f"its field {shortened(name)} has {wrong}")
        return spec

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
        which = f"{'classes' if len(absent) > 1 else 'class'} {listed(absent, MOST_NAMED)}"
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


def _values(record: Any, types: Mapping[str, Any], *, optional: bool = False) -> dict[str, Any]:
    """Returns the values of a JSON record as of these types; those that are missing are left out where they are
    `optional`, and other names then refused. UsageError for a record that doesn't fit."""
    if not isinstance(record, Mapping):
        raise UsageError("it is no table")
    if optional and (others := record.keys() - types.keys()):
        raise UsageError(f"it has no {shortened(min(map(str, others)))}")
    found = {}
    for name in types.keys() & record.keys() if optional else types:
        try:
            found[name] = as_type(record.get(name), types[name])
        except TypeError as error:
            raise UsageError(f'its "{name}" must be {error}, got {shortened(record.get(name))}') from None
    if found.get("count", 1) < 1:
        raise UsageError(f"it has {found['count']} examples")
    return found


def _wrong(name: str, field: Field) -> str | None:
    """Says what of a field can't be; None where nothing is."""
    ranks = {Image.kind: 3, Points.kind: 3, Vectors.kind: 1, LABEL: 0}
    width = field.shape[0] if field.kind == Vectors.kind and field.shape else 0
    if field.kind not in ranks or (field.kind == LABEL) != (name == LABEL):
        return f"the kind {shortened(field.kind)}"
    if len(field.shape) != ranks[field.kind] or min(field.shape, default=1) < 1 or math.prod(field.shape) > LARGEST:
        return f"the shape {shortened(field.shape)}"
    if (
        not 0 <= field.classes <= LARGEST
        or len(field.counts) not in (0, field.classes)
        or min(field.counts, default=0) < 0
    ):
        return f"{field.classes} classes and {len(field.counts)} counts"
    numbers = {"low": field.low, "high": field.high, "columns": field.columns}
    return next(
        (f"{len(each)} {key} for {width} columns" for key, each in numbers.items() if len(each) not in (0, width)), None
    )


def _field(data: DataSet, name: str, size: tuple[int, int] | None) -> Field:
    array, kind = data.arrays[name], data.kind(name)
    if kind == Vectors.kind:
        low, high = array.min(0).tolist(), array.max(0).tolist()
        return Field(kind, array.shape[1:], low=tuple(low), high=tuple(high), columns=data.columns)
    cropped = size is not None and kind == Image.kind
    return Field(kind, (*size, array.shape[3]) if cropped and size else array.shape[1:])
