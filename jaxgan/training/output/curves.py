"""The losses of a run as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.files import atomic_write
from jaxgan.training.output.log import read_rows

__all__ = ["save_losses"]

SMOOTH = 100  # means are over this part of all points
BEYOND = 0.5  # per cent of all values at either end, which may lie so far out that nothing else could be seen
APART = 10.0  # times as large as another's, a player's losses have a panel of their own
MOST = 1e100  # beyond which no axis can be drawn


def save_losses(directory: Path) -> None:
    """Writes `losses.png` into a run directory, of all that its `metrics.jsonl` has: each player's loss over the steps,
    thin as it was logged, thick as a running mean; of several GANs thin each, thick the mean over them. Nothing where
    there aren't two rows with losses. OSError where it can't be written."""
    rows = read_rows(directory / "metrics.jsonl")
    steps = np.array([row["step"] for row in rows])
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name.endswith("/loss")]
    losses = {name.removesuffix("/loss"): _values(rows, name) for name in names}
    if len(rows) > 1 and losses:
        _draw(directory / "losses.png", steps, losses)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the thin lines `[rows, lines]` and the thick one `[rows]`, NaN where a row has no number."""
    members = [row.get("members", {}).get(name, []) for row in rows]
    count = max(map(len, members))
    means = _floats([row.get(name) for row in rows])
    if count:
        return _floats([[*each, *[None] * (count - len(each))] for each in members]), means
    return means[:, None], _running_mean(means)


def _floats(values: Sequence[Any]) -> np.ndarray:
    return np.clip(np.array(values, np.float64), -MOST, MOST)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over a window around each value, narrower at the ends, of the numbers in it; NaN without any."""
    window = np.ones(2 * (len(values) // SMOOTH // 2) + 1)
    there = np.isfinite(values)
    sums, counts = (np.convolve(each, window, "same") for each in (np.where(there, values, 0.0), there.astype(float)))
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0.5)


def _draw(path: Path, steps: np.ndarray, losses: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    sizes = [np.nanmedian(np.abs(thin)) for thin, _ in losses.values() if np.isfinite(thin).any()]
    alone = bool(sizes) and max(sizes) > APART * min(sizes)  # beside the largest the others would be flat
    panels = [{name: lines} for name, lines in losses.items()] if alone else [losses]
    figure = Figure(figsize=(8, 2 + 2.5 * len(panels)), layout="constrained")
    colours = {name: f"C{number}" for number, name in enumerate(losses)}
    for axes, shown in zip(figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True):
        for name, (thin, thick) in shown.items():
            axes.plot(steps, thin, linewidth=0.7, color=colours[name], alpha=max(0.15, 0.45 / thin.shape[1] ** 0.5))
            label = name.replace("$", r"\$")  # which would begin a formula
            axes.plot(steps, thick, linewidth=1.5, color=colours[name], label=label)
        axes.set_ylabel("loss")
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        _limit(axes, np.concatenate([thin[np.isfinite(thin)] for thin, _ in shown.values()]))
    axes.set_xlabel("steps (generator updates)")
    figure.legend(loc="outside upper left", ncols=len(losses), frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _limit(axes: Any, values: np.ndarray) -> None:
    """Leaves a few values that lie far out beyond the edge of what is drawn, and says how many."""
    if not len(values):
        return
    low, high = np.percentile(values, (BEYOND, 100 - BEYOND))
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    if out := int(np.sum((values < low) | (values > high))):
        axes.set_ylim(low, high)
        axes.set_title(f"{out:,} of {len(values):,} values lie beyond", fontsize="small", loc="right")
