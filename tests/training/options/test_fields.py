"""Bounds that stand at the field: what is refused and in which words, and that classes which inherit keep them."""

import copy
import dataclasses
import math
import pickle

import pytest

from jaxgan.training import UsageError
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.options.fields import Bounded, bounded


@dataclasses.dataclass(frozen=True)
class Options(Bounded):
    count: int = bounded(3, at_least=1)
    """How many of them."""
    rate: float | None = bounded(None, above=0, below=math.inf)
    """By default another's."""
    share: float = bounded(0.5, at_least=0, at_most=1)
    angle: float = bounded(0.0, at_least=0, at_most=180, unit="degrees")
    most: float = bounded(0.0, at_most=2.5)
    free: int = -7


@dataclasses.dataclass(frozen=True)
class Again(Options):
    count: int = 5
    rate: float | None = 0.1
    share: float = bounded(0.75, above=0.5, below=1)


@dataclasses.dataclass(frozen=True)
class OnceMore(Again):
    share: float = 0.9


@pytest.mark.parametrize(
    "options, name, passing, refused, expected",
    [
        *((one, "count", [1, 10**9], [0, -1], "at least 1") for one in (Options, Again, OnceMore)),
        *(
            (one, "rate", [None, 1e-30, 1e30], [0.0, -1.0, math.inf, math.nan], "above 0 and finite")
            for one in (Options, Again, OnceMore)
        ),
        (Options, "share", [0, 0.0, 1.0], [-1e-9, 1.01, math.nan], "from 0 to 1"),
        *((one, "share", [0.6, 0.99], [0.5, 1.0], "above 0.5 and below 1") for one in (Again, OnceMore)),
        (OnceMore, "angle", [0.0, 180.0], [-1.0, 181.0], "from 0 to 180 degrees"),
        (OnceMore, "most", [-math.inf, 2.5], [2.6], "at most 2.5"),
    ],
)
def test_values_outside_the_bounds_are_refused_in_one_line(options, name, passing, refused, expected):
    for value in passing:
        assert getattr(options(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(UsageError) as error:
            options(**{name: value})
        assert str(error.value) == f"--{name} must be {expected}, got {value}"


@dataclasses.dataclass(frozen=True)
class Several(Bounded):
    shares: tuple[float, ...] = bounded((0.5, 1.0), at_least=0, at_most=1)
    """Some shares."""


@pytest.mark.parametrize("wrong", [(0.5, 1.5), (-0.1,), (0.2, math.nan)])
def test_bounds_are_of_each_value_of_a_tuple(wrong):
    assert Several(shares=(0.0, 1)).shares == (0.0, 1) and Several(shares=()).shares == ()
    with pytest.raises(UsageError, match=r"^--shares must be from 0 to 1, got "):
        Several(shares=wrong)


def test_the_fields_are_those_of_any_dataclass():
    options = OnceMore(count=2)
    assert Options.count == 3 and Again.count == 5 and OnceMore.share == 0.9
    values = {"count": 2, "rate": 0.1, "share": 0.9, "angle": 0.0, "most": 0.0, "free": -7}
    assert dataclasses.asdict(options) == values
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == options  # noqa: S301 - of our own
    assert dataclasses.replace(options, count=1).count == 1
    with pytest.raises(UsageError, match="--count must be at least 1, got 0"):
        dataclasses.replace(options, count=0)


def test_help_has_their_defaults_and_docstrings(capsys):
    with pytest.raises(SystemExit):
        command_line(Again, ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "How many of them. (default: 5)" in said and "By default another's. (default: 0.1)" in said
    assert command_line(Options, ["--count", "4", "--rate", "2"]) == Options(4, 2.0)
