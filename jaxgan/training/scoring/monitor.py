"""Scores on the way: every so many steps samples are scored, the best checkpoint is kept, a collapse is told."""

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.pairs import OF_LUMA
from jaxgan.evaluation.scores import OF_FEATURES
from jaxgan.training.checkpoints.checkpoints import BEST, Checkpoints
from jaxgan.training.compiled.program import all_finite
from jaxgan.training.distributed import processes
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.output.drawing import Drawing, Drawn
from jaxgan.training.output.log import Log
from jaxgan.training.recipe.members import Member
from jaxgan.training.scoring.judge import Judge, about_state, append, judge_for, read
from jaxgan.training.scoring.measures import Measure
from jaxgan.training.scoring.real_data import RealData
from jaxgan.training.scoring.report import mean_and_std, mean_std_text
from jaxgan.training.scoring.verdict import RANKED_BY, Best, best, collapse, reached, symptoms, unlearned

__all__ = ["COLLAPSED", "Monitor"]

COLLAPSED = 3  # exit status of a run that ended so

State = Any
Record = dict[str, Any]


class Monitor:
    """Scores a run's states, each output by one metric, see `ranking`, and, of images, their diversity; `count`
    examples are drawn with the averaged weights. Checkpoints are ranked by the mean over the outputs. All processes
    call its methods alike; the first scores and writes `evaluations.jsonl`. batch_norm: as for
    `about_state`.

    watch: is called, in the first process, with each step that is scored and what was drawn of it.

    A step that was scored before, by a process that was killed since, isn't scored again: its state is the same.
    goal: the metric and the value at which the run is to end, see `reached`. UsageError for a first metric that
    checkpoints can't be ranked by, and for a goal in another one."""

    def __init__(
        self,
        directory: Path,
        drawing: Drawing,
        measures: Mapping[str, Measure],
        count: int,
        real: RealData,
        members: Sequence[Member],
        seed: int,
        batch_norm: str = "running averages",
        goal: tuple[str, float] | None = None,
        watch: Callable[[int, Drawn], None] = lambda step, drawn: None,
    ) -> None:
        self.watch = watch
        self.metric = ranking(measures)
        if self.metric not in RANKED_BY:
            raise UsageError(
                f"--eval-every ranks checkpoints by the first of --metrics, which can't be {self.metric}; "
                f"put {', '.join(RANKED_BY)} first"
            )
        if goal and goal[0] != self.metric:
            raise UsageError(
                f"--until {goal[0]}={goal[1]:g}: what is scored on the way is {self.metric}, the first of --metrics; "
                f"name that, or put {goal[0]} first"
            )
        self.goal = goal
        self.directory, self.count, self.real, self.drawing = directory, count, real, drawing
        self.measures = {
            name: measure._replace(metrics=(self.metric, *(("diversity",) if drawing.medium(name).distinct else ())))
            for name, measure in measures.items()
        }
        self.seeds: dict[int | None, int] = {member.number: member.seed for member in members} or {None: seed}
        self.draw, self.batch_norm = drawing.of(count), batch_norm

    @functools.cached_property
    def judges(self) -> dict[str, Judge]:
        return {name: judge_for(measure, self.real.of(name)) for name, measure in self.measures.items()}

    @functools.cached_property
    def protocol(self) -> str:
        """Returns a digest that tells this run's records from those made with other scoring options before it was
        continued."""
        made_by: list[Any] = []
        for name, measure in self.measures.items():
            network, judge = measure.network and (measure.network.name, measure.network.sha256), self.judges[name]
            made_by += [measure.metrics, network, self.count, judge.about["content"], len(judge.real)]
            made_by += [measure.networks[metric][:2] for metric in measure.metrics if metric in measure.networks]
            made_by += [measure.border] if set(measure.metrics) & set(OF_LUMA) else []
        made_by += [about] if (about := self.drawing.about()) else []
        return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]

    def records(self) -> list[Record]:
        """Returns the records that were made with these options, in the order in which they were made."""
        return [record for record in read(self.directory) if record.get("during_training") == self.protocol]

    def live(self, frozen: np.ndarray) -> list[int | None]:
        """Returns the GANs that have not diverged."""
        return [number for number in self.seeds if number is None or not frozen[number]]

    def __call__(
        self, state: State, step: int, frozen: np.ndarray, metrics: dict[str, np.ndarray], log: Log | None
    ) -> list[str]:
        """Scores the state of `step`, keeps it if it is the best so far, logs it, and returns what is to be said, on
        the first process.

        frozen: `[S]`, the members that have diverged, as `DivergenceCheck.frozen`; metrics: `[count]`, or `[count, S]`,
        of the steps before."""
        live = self.live(frozen)
        if processes.from_first(lambda: self._scored(step, live)):
            return []
        drawn = self.draw(state)
        new: list[Record] = []

        def score() -> str:
            try:
                for number, (name, judge) in itertools.product(live, self.judges.items()):
                    how = {"batch_norm": self.batch_norm, "during_training": self.protocol}
                    about = about_state(step, self.seeds[number], number, latents_seed=0, **how)
                    about |= self.drawing.about() | ({"output": name} if len(self.judges) > 1 else {})
                    images, targets = self.drawing.pair(name, drawn, number)
                    new.extend(judge(images, targets=targets, **about))
            except UsageError as error:  # a state that can't be scored ends no run
                return f"step {step}: no score ({error})"
            self.watch(step, drawn)
            return ""

        problem = processes.from_first(score)
        top = processes.from_first(lambda: best([*self.records(), *new], self.metric, live))
        if not problem and top and top[0] == step and all_finite(state):
            with contextlib.closing(Checkpoints(self.directory, BEST, max_to_keep=None)) as checkpoints:
                checkpoints.save(step, state)
                checkpoints.keep_only(step)
        if not processes.first():
            return []
        if problem:
            return [problem]
        append(
            self.directory, [{**record, "records_of_step": len(new)} for record in new]
        )  # now that the best is there
        return [_line(step, new, Best(*top) if top else None, metrics, log)]

    def _scored(self, step: int, live: list[int | None]) -> bool:
        """Tells whether all records of a step are there: a full disk or a kill may have cut them short."""
        found = [record for record in self.records() if record["step"] == step and record["member"] in live]
        if not found:
            return False
        count = found[-1].get("records_of_step") or found[-1].get("together")  # its name before 0.2
        return count is not None and len(found) >= count

    def reached(self, frozen: np.ndarray) -> Best | None:
        """Returns the first step whose score was as good as the goal; None where there is no goal, or no such step."""
        return reached(self.records(), *self.goal, self.live(frozen)) if self.goal else None

    def verdict(self, frozen: np.ndarray) -> tuple[list[str], str]:
        """Returns the lines to print at the end of a run and, where all of its GANs have collapsed, the error that ends
        it."""
        records, live = self.records(), self.live(frozen)
        lines, kept = [], ""
        if top := best(records, self.metric, live):
            kept = f"; the best state, of step {top.step}, is in {self.directory / BEST}"
            lines.append(f"best: {top.name} {top.value:.4g} at step {top.step}, kept in {self.directory / BEST}")
        idle = {number: why for number in live if (why := unlearned(records, number))}
        lines += [f"not learned yet{_member_suffix(number)}: {why}" for number, why in idle.items()]
        fallen = {number: why for number in live if (why := collapse(records, self.metric, number))}
        if fallen.keys() == {None}:
            return lines, f"collapsed: {fallen[None]}{kept}"
        lines += [f"collapsed{_member_suffix(number)}: {why}" for number, why in fallen.items()]
        return lines, f"all members have collapsed{kept}" if fallen and len(fallen) == len(live) else ""


def ranking(measures: Mapping[str, Measure]) -> str:
    """Returns the metric that checkpoints are ranked by: the first of the first output, or, where another one has no
    features to compute it in, a distance of pixels, which all images have."""
    metric = next(iter(measures.values())).metrics[0]
    lacking = metric in OF_FEATURES and any(measure.network is None for measure in measures.values())
    return "swd" if lacking and len(measures) > 1 else metric


def _member_suffix(number: int | None) -> str:
    return "" if number is None else f", member {number}"


def _score_label(record: Record) -> str:
    """Names a score among the others of a step: by its key and, where there are several outputs, by output."""
    return f"{record['output']}/{record['key']}" if "output" in record else str(record["key"])


def _line(step: int, records: Sequence[Record], top: Best | None, metrics: Any, log: Log | None) -> str:
    """Returns a line on a step's records, which are logged too."""
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(_score_label(record), []).append(record["value"])
    if log:
        log.scalars(step, {f"evaluation/{key}": float(np.mean(each)) for key, each in values.items()})
    names = {_score_label(record): record["name"].partition(",")[0] for record in records}
    names |= {
        _score_label(record): f"{record['output']}: {names[_score_label(record)]}"
        for record in records
        if "output" in record
    }
    said = [f"{names[key]} {mean_std_text(*mean_and_std(each))}" for key, each in values.items()]
    if top:
        said.append("the best so far" if top.step == step else f"best so far {top.value:.4g} at step {top.step}")
    return f"step {step}: {', '.join([*said, *symptoms(metrics)])}"
