"""Puts the scores of several runs side by side, where they were made alike.

    python -m scripts.compare RUN RUN ...
    python -m scripts.compare RUN RUN --key fid --out fid.png

It reads what `python -m scripts.evaluate` and --eval-every have written to each run's evaluations.jsonl, and ranks
numbers of one protocol only: metric and version, features and the hash of their weights, resize, rounding, numbers of
samples and of real images, the real images themselves, averaged or raw weights. Numbers of other protocols are listed
with what differs. Of a run with several GANs it shows the mean ± standard deviation.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.evaluation import HIGHER_IS_BETTER, ONE_IS_BEST
from jaxgan.files import atomic_write
from jaxgan.nearest import perhaps
from jaxgan.terminal import align_columns, say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, require_file, shown, writing
from jaxgan.training.run.directory import Run
from jaxgan.training.scoring.judge import read
from jaxgan.training.scoring.report import mean_and_std, mean_std_text

Record = dict[str, Any]

# What may differ between two numbers that are compared: whose they are, and what they came out as.
OWN = (
    *("name", "value", "std", "run", "step", "seed", "member", "latents_seed", "frozen", "dataset"),
    *("copied", "each", "libraries", "during_training", "records_of_step", "together", "acceptance"),
)


@dataclasses.dataclass(frozen=True)
class Options:
    runs: Positional[tuple[Path, ...]]
    """Run directories, at least two."""
    key: str | None = None
    """Only this score, such as fid or recall; by default all that the runs have."""
    out: Path | None = None
    """File for a plot of the scores that are ranked, .png."""

    def __post_init__(self) -> None:
        require_file(self, "out", ".png")


class Line(NamedTuple):
    """One run's numbers of one score: of each GAN, at one step."""

    run: Path
    step: int
    name: str
    values: list[float]
    protocol: dict[str, Any]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float | None:
        return mean_and_std(self.values)[1]

    @property
    def text(self) -> str:
        return mean_std_text(self.mean, self.std)


def lines_of(run: Path) -> list[Line]:
    """A run's scores: of each protocol the newest step, all GANs that were scored there. UsageError for no run, or one
    without a score."""
    if Run(run).record() is None:
        raise UsageError(f"{run} is no run directory: it has no options.json")
    found: dict[tuple[str, str], dict[int, dict[Any, Record]]] = {}
    for record in read(run):
        whole = {"samples", "real"} <= record.keys()  # a name that was damaged is none
        if whole and record.get("step") is not None and record["value"] is not None:
            protocol = {name: value for name, value in record.items() if name not in OWN}
            place = record["key"], json.dumps(protocol, sort_keys=True)
            found.setdefault(place, {}).setdefault(record["step"], {})[record["member"]] = record
    if not found:
        raise UsageError(f"{run} has no scores yet: python -m scripts.evaluate {run}")
    lines = []
    for (_, protocol), steps in found.items():
        step = max(steps)
        records = list(steps[step].values())
        values = [record["value"] for record in records]
        lines.append(Line(run, step, records[0]["name"], values, json.loads(protocol)))
    return lines


def alike(lines: Sequence[Line]) -> list[list[Line]]:
    """The lines, grouped by protocol, the best first."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(json.dumps(line.protocol, sort_keys=True), []).append(line)
    return [sorted(group, key=_rank) for group in groups.values()]


def _rank(line: Line) -> float:
    key = line.protocol["key"]
    return abs(line.mean - 1) if key in ONE_IS_BEST else -line.mean if key in HIGHER_IS_BETTER else line.mean


def differences(groups: Sequence[Sequence[Line]]) -> str:
    """In what the protocols of groups differ, as text."""
    protocols = [group[0].protocol for group in groups]
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    said = []
    for name in names:
        values = dict.fromkeys(json.dumps(protocol.get(name)) for protocol in protocols)
        if len(values) > 1 and name != "name":
            said.append(f"{name}: {' or '.join(values)}")
    return "; ".join(said)


def heading(group: Sequence[Line]) -> str:
    protocol = group[0].protocol
    real = f" against {protocol['real']:,} real ones" if protocol["real"] else ""
    better = "1 is best" if protocol["key"] in ONE_IS_BEST else "lower is better"
    better = "higher is better" if protocol["key"] in HIGHER_IS_BETTER else better
    return f"{group[0].name}: {protocol['samples']:,} samples{real}; {better}"


def plot(path: Path, groups: Sequence[Sequence[Line]]) -> None:
    """A panel a score, a bar a run with its standard deviation over GANs."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(7, 1 + len(groups) + 0.35 * sum(map(len, groups))), layout="constrained")
    sizes = [len(group) + 1.5 for group in groups]
    for axes, group in zip(figure.subplots(len(groups), squeeze=False, height_ratios=sizes)[:, 0], groups, strict=True):
        stds = [line.std or 0.0 for line in group]
        axes.barh(range(len(group)), [line.mean for line in group], xerr=stds, color="tab:blue")
        axes.set_yticks(range(len(group)), [str(line.run) for line in group])
        axes.invert_yaxis()  # the best on top
        axes.set_title(heading(group).replace(": ", "\n", 1), fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    with writing(path), atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def run(options: Options) -> None:
    runs = list(dict.fromkeys(options.runs))
    if len(runs) < 2:
        raise UsageError(f"two runs or more are compared, got {len(runs)}")
    lines = [line for directory in runs for line in lines_of(directory)]
    keys = list(dict.fromkeys(line.protocol["key"] for line in lines))
    if options.key is not None and options.key not in keys:
        raise UsageError(f"--key {shown(options.key)}: the runs have {', '.join(keys)}{perhaps(options.key, keys)}")
    ranked, others = [], []
    for key in keys if options.key is None else [options.key]:
        groups = alike([line for line in lines if line.protocol["key"] == key])
        ranked += [group for group in groups if len(group) > 1]
        if len(groups) > 1:
            others.append(f"{key} is not ranked across protocols, which differ in {differences(groups)}")
    if not ranked:
        why = others[0] if others else f"they have no score in common ({', '.join(keys)})"
        raise UsageError(f"nothing to compare: {why}; score the runs alike with python -m scripts.evaluate")
    for group in ranked:
        say(heading(group))
        rows = [[str(line.run), line.text, f"step {line.step}", _gans(len(line.values))] for line in group]
        say(*align_columns(rows), "")
    say(*others)
    if options.out:
        plot(options.out, ranked)
        say(options.out)


def _gans(count: int) -> str:
    return f"{count} GANs" if count > 1 else ""


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options, renamed={"--plot": "--out FILE.png"}))
