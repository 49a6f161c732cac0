"""What became of a run, in a word, and by which sign: from its metrics, its scores and what its pictures show.

In the order in which they are looked for:

- `diverged`: a number became NaN or infinite, or a gradient norm is a hundred times what it was;
- `collapsed`: as `jaxgan.training.scoring.verdict.collapse` has it, by scores on the way or by pictures;
- `lost modes`: classes of the data are (next to) missing among the samples, in the last two looks at them, more of them
  than half as many examples of each would leave out once in a hundred times, and no fewer than half-way;
- `not begun`: never more than one image, or next to one, whatever the latent;
- `converged`: the last third of at least six scores is, on average, less than a twentieth better than the third before;
- `learning`: none of these.

Thresholds were set on other runs than those that docs/results.md judges them by."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import binom

from jaxgan.evaluation import HIGHER_IS_BETTER
from jaxgan.training.scoring.verdict import RANKED_BY, best, collapse, means_of, ranked_key, unlearned

__all__ = ["Verdict", "on_the_way", "verdict_of"]

EXPLODED = 100.0  # times the median of the first two thirds
MISSING, CHANCE = 0.1, 0.01  # of its share that a class must have; how rarely as many are missing by chance
SCORES, GAIN = 6, 0.05

Record = dict[str, Any]
State = Literal["diverged", "collapsed", "lost modes", "not begun", "converged", "learning"]


class Verdict(NamedTuple):
    """What became of a run, or of a GAN of several, and the sign of it in words."""

    state: State
    sign: str


def verdict_of(
    metrics: Mapping[str, Sequence[float | None]],
    records: Sequence[Record],
    drawn: Sequence[Record],
    *,
    ended: str = "",
    member: int | None = None,
) -> Verdict:
    """Returns the verdict on one GAN.

    metrics: its values by name, of rows in the order of their steps; None, as NaN, for what is no number. records: of
    `evaluations.jsonl`. drawn: the signs of its pictures with their `step`, see `jaxgan.training.scoring.signs`, in the
    order of the steps. ended: why the run ended, where it did. member: its number among several."""
    records = on_the_way(records)
    pictures = _as_records(drawn, member)
    metric = _ranked(records)
    for state, sign in (
        ("diverged", _told(ended) or _not_finite(metrics) or _exploded(metrics)),
        ("collapsed", collapse(records, metric, member) or collapse(pictures, "", member)),
        ("lost modes", _lost(drawn)),
        ("not begun", unlearned(records, member) or unlearned(pictures, member)),
        ("converged", _converged(records, metric, member)),
    ):
        if sign:
            return Verdict(state, sign)  # type: ignore[arg-type]  # a tuple's text is no literal
    return Verdict("learning", _progress(records, pictures, metric, member))


def on_the_way(records: Sequence[Record]) -> list[Record]:
    """Returns the records that a run made of itself with its last options, or where there are none all that have a
    step."""
    own = [record["during_training"] for record in records if "during_training" in record]
    if own:
        return [record for record in records if record.get("during_training") == own[-1]]
    return [record for record in records if record.get("step") is not None and "member" in record]


def _ranked(records: Sequence[Record]) -> str:
    """Returns the metric that the records rank checkpoints by; "" for none."""
    keys = {record["key"] for record in records}
    return next((metric for metric, key in RANKED_BY.items() if key in keys or metric in keys), "")


def _as_records(drawn: Sequence[Record], member: int | None) -> list[Record]:
    """Returns what pictures show in the form of records of scores."""
    return [
        {"key": key, "name": key, "value": each[key], "step": each["step"], "member": member}
        for each in drawn
        for key in ("distinct", "spread")
        if isinstance(each.get(key), int | float)
    ]


def _told(ended: str) -> str:
    return ended.removeprefix("diverged: ") if ended.startswith("diverged") else ""


def _not_finite(metrics: Mapping[str, Sequence[float | None]]) -> str:
    for name, values in metrics.items():
        if len(values) and (values[-1] is None or not np.isfinite(values[-1])):
            return f"{name} is no number any more"
    return ""


def _exploded(metrics: Mapping[str, Sequence[float | None]]) -> str:
    """Returns the gradient norm that is a hundred times what it was, in words."""
    for name, values in metrics.items():
        norms = np.array([np.nan if value is None else value for value in values])
        last = max(3, len(norms) // 20)
        if not name.endswith("gradient_norm") or len(norms) < 3 * last:
            continue
        usual, now = np.median(norms[: 2 * len(norms) // 3]), np.median(norms[-last:])
        if now > EXPLODED * usual > 0:
            return f"{name} was {usual:.3g}, and is {now:.3g}"
    return ""


def _lost(drawn: Sequence[Record]) -> str:
    """Returns how many classes are missing among samples, in words."""
    looks = [each for each in drawn if "classes" in each and len(each["classes"]) == len(each.get("expected", ()))]
    if len(looks) < 3:
        return ""
    gone = [_missing(each) for each in looks]
    if not (gone[-1] and gone[-2]) or len(gone[-1]) < len(gone[len(gone) // 2]):
        return ""
    number, fewest = sum(share > 0 for share in looks[-1]["expected"]), min(map(len, gone))
    left = f"{number - len(gone[-1])} of {number} classes are drawn"
    which = ", ".join(map(str, gone[-1][:10]))
    before = f", once {number - fewest} were" if fewest < len(gone[-1]) else ", and never were more"
    return f"{left}{before} (hardly any of class {which})"


def _missing(look: Record) -> list[int]:
    """Returns the classes that are missing in a look at samples, if those are more than chance would leave out."""
    counts, shares = np.asarray(look["classes"], float), np.asarray(look["expected"], float)
    number = counts.sum()
    least = MISSING * number * shares
    gone = np.flatnonzero((counts < least) & (shares > 0))
    by_chance = binom.cdf(np.ceil(least) - 1, number, shares / 2)[shares > 0]
    rare = binom.sf(len(gone) - 1, len(by_chance), by_chance.mean()) < CHANCE
    return gone.tolist() if len(gone) and rare else []


def _course(records: Sequence[Record], metric: str, member: int | None) -> dict[int, float]:
    """Returns the score by which checkpoints are ranked, by step."""
    return means_of(records, ranked_key(records, metric), [member])


def _converged(records: Sequence[Record], metric: str, member: int | None) -> str:
    course = _course(records, metric, member)
    if len(course) < SCORES:
        return ""
    steps, values = list(course), np.array(list(course.values()))
    third = len(values) // 3
    sign = -1 if ranked_key(records, metric) in HIGHER_IS_BETTER else 1
    before, after = values[-2 * third : -third].mean(), values[-third:].mean()
    if sign * (before - after) >= GAIN * abs(before):
        return ""
    top = best(records, metric, [member])
    said = f"; the best, {top.value:.4g}, was at step {top.step:,}" if top else ""
    name = top.name if top else metric
    return f"{name} is {after:.4g} since step {steps[-third]:,}, and was {before:.4g} before{said}"


def _progress(records: Sequence[Record], pictures: Sequence[Record], metric: str, member: int | None) -> str:
    """Returns what is known of a run that has no other sign."""
    said = []
    course = _course(records, metric, member)
    if course:
        steps, values = list(course), list(course.values())
        name = next(record["name"] for record in records if record["key"] == ranked_key(records, metric))
        since = f" (it was {values[0]:.4g} at step {steps[0]:,})" if len(steps) > 1 else ""
        said.append(f"{name} is {values[-1]:.4g} at step {steps[-1]:,}{since}")
    last = {record["key"]: record["value"] for record in pictures}
    if "distinct" in last:
        varied = f", and they vary by {last['spread']:.0%} of what real ones do" if "spread" in last else ""
        said.append(f"{last['distinct']:.0%} of the images in its picture are distinct{varied}")
    elif "spread" in last:
        said.append(f"samples vary by {last['spread']:.0%} of what real ones do")
    if not said:
        return "nothing is known yet but the losses"
    return "; ".join(said)
