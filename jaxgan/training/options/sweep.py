"""The numbers that `--sweep` varies, read and checked like the option that each of them is otherwise."""

import math
from typing import Any

from jaxgan.training.errors.usage import UsageError, shown
from jaxgan.training.options.fields import as_float32, bounds_of

__all__ = ["MOST", "swept"]

MOST = 4096  # GANs that are trained at once
FORM = "NAME=VALUE,VALUE,..., such as discriminator/learning_rate=1e-4,2e-4"


def swept(options: Any) -> list[dict[str, float]]:
    """Returns the values of `options.sweep`, each by the name of the number that it is for, as the run's state has it;
    a single empty one without a sweep. Where an option has that name, with _ for /, its bounds hold. UsageError for a
    text of another form, for what is no finite number, lies outside of the bounds, or is there twice in float32, and
    for more than 4,096 GANs of all seeds."""
    if options.sweep is None:
        _check_most(options, 1)
        return [{}]
    name, _, texts = (part.strip() for part in options.sweep.rpartition("="))
    if not name:
        raise UsageError(f"--sweep must be {FORM}, got {shown(options.sweep)}")
    numbers: list[float] = []
    bounds = bounds_of(type(options)).get(name.replace("/", "_"))
    for text in texts.split(","):
        number = _number(text)
        right = math.isfinite(as_float32(number)) and all(as_float32(number) != as_float32(one) for one in numbers)
        within = bounds is None or (bounds.hold(number) and bounds.hold(as_float32(number)))
        if not (right and within):
            each = f", each {bounds}" if bounds else ""
            raise UsageError(
                f"--sweep {shown(name)} must have numbers that float32 tells apart{each}, with commas between, "
                f"got {shown(text.strip())}{' again' if within and math.isfinite(number) else ''}"
            )
        numbers.append(number)
    _check_most(options, len(numbers))
    return [{name: number} for number in numbers]


def _check_most(options: Any, values: int) -> None:
    if options.seeds * values > MOST:
        each = f" and {values} values of --sweep" if values > 1 else ""
        raise UsageError(f"--seeds {options.seeds}{each} are {options.seeds * values} GANs; at most {MOST} at once")


def _number(text: str) -> float:
    """Returns the number that a text is, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
