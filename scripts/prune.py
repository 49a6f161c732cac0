"""Prunes a run's generator: sets its smallest weights to 0, and says what that does to its scores.

    python -m scripts.prune RUN --share 0.5 0.8 0.9 --out pruned.png
    python -m scripts.prune RUN --share 0.8 --scope layer --workdir PRUNED
    python -m EXPERIMENT --options PRUNED/options.json --workdir PRUNED --steps N

Magnitude pruning, Han et al. 2015 (arXiv 1506.02626): of all kernels' weights the share that is nearest to 0 goes, over
all layers together (global) or in each (layer); biases and norms stay. A row of the table is a share and a scope, the
first the network as it was; all are drawn from the same latents, in the picture too. A second table says which layers
keep how many of their weights.

With --workdir the pruned network becomes a run of its own, at the same step, that can be sampled, scored and continued:
the third command fine-tunes it under its mask, as the run has --keep-zeros, and pruned weights stay exactly 0.
"""

import contextlib
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxgan.data.sets import LABEL
from jaxgan.media import Image
from jaxgan.pruning import magnitude_masks, prune, weight_counts
from jaxgan.state import GANState
from jaxgan.terminal import align_columns, say
from jaxgan.training import OpenRun
from jaxgan.training.checkpoints.checkpoints import Checkpoints, SaveError
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, either, require, require_file, writing
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.captions import captioned
from jaxgan.training.output.log import write_json
from jaxgan.training.output.pictures import save_png
from jaxgan.training.run.directory import Run
from jaxgan.training.run.folder import named, writing_run
from jaxgan.training.run.lock import locked
from jaxgan.training.run.provenance import session_now
from jaxgan.training.scoring.judge import Judge, judge_for
from jaxgan.training.scoring.measures import measures_for
from scripts.checkpoint_options import CheckpointOptions, data_of, open_checkpoint

SHOWN = 10  # samples of each row of the picture
Scope = Literal["global", "layer"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(CheckpointOptions, FeatureOptions):
    run: Positional[Path]
    """A run directory."""
    share: tuple[float, ...] = bounded((0.5,), at_least=0, below=1)
    """Shares of the weights that are pruned, from 0 to below 1, a row each."""
    scope: tuple[Scope, ...] = ("global", "layer")
    """Rank the weights of all layers together (global), or those of each by themselves (layer); or both, a row each."""
    player: str = "generator"
    """The network that is pruned, by its name in the run's state."""
    count: int = bounded(2048, at_least=16)
    """Samples that are drawn for each row's scores."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's."""
    out: Path | None = None
    """File for a picture, .png: the same samples as they were and of each pruned network, a row each."""
    workdir: str | None = None
    """A new run directory for the pruned network, of one --share and one --scope."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".png")
        require(self, "share", len(set(self.share)) == len(self.share) > 0, "different shares, such as 0.5 0.8")
        require(self, "scope", len(set(self.scope)) == len(self.scope) > 0, "global, layer or both, each once")
        if self.workdir is not None:
            for name in ("share", "scope"):
                require(self, name, len(getattr(self, name)) == 1, "a single one with --workdir")


class Pruned(NamedTuple):
    """A row: in words how it is pruned, and the run with the pruned state."""

    about: str
    run: OpenRun


def pruned_runs(run: OpenRun, options: Options) -> list[Pruned]:
    """Returns the run as it is, and as each share and scope prunes it, by the sizes of the weights that it is drawn
    with. UsageError for a run of several GANs, or without such a player."""
    if run.members:
        raise UsageError(f"{run.directory} has {len(run.members)} GANs: name one of them (--member)")
    state = run.state
    players = state.players if isinstance(state, GANState) else {}
    if options.player not in players:
        has = f"its players are {either(players)}" if players else "it has no players by name"
        raise UsageError(f"--player {options.player}: {run.directory} has none of that name; {has}")
    weights = run.named_weights(options.weights) if options.player in state.ema else "raw"
    params = state.variables_of(options.player, weights)["params"]
    rows = [Pruned("as it was", run)]
    for share in options.share:
        for scope in options.scope:
            masks = magnitude_masks(params, share, per_layer=scope == "layer")
            after = dataclasses.replace(run, state=prune(state, options.player, masks))
            rows.append(Pruned(f"{share:g} {scope}", after))
    return rows


def judge_of(run: OpenRun, options: Options) -> Judge:
    """Returns what scores the first of the outputs that are scored. UsageError where the data are other ones."""
    real = data_of(run)
    measure = measures_for(options, run.drawing)[run.drawing.main]
    judge = judge_for(measure, real.of(run.drawing.main))
    judge.check(options.count)
    return judge


def scored(rows: Sequence[Pruned], options: Options, judge: Judge) -> list[dict[str, float]]:
    """Returns each row's scores by their names."""
    found = []
    for row in rows:
        drawn = row.run.draw(options.count, seed=options.seed, weights=options.weights)
        images, targets = row.run.drawing.pair(row.run.drawing.main, drawn)
        found.append({record["name"]: record["value"] for record in judge(images, drawn.get(LABEL), targets=targets)})
    return found


def table(rows: Sequence[Pruned], scores: Sequence[dict[str, float]], player: str) -> list[str]:
    """Returns the table's lines: how each row is pruned, how many weights it has left, and its scores."""
    lines = [["pruned", "weights left", *scores[0]]]
    for row, found in zip(rows, scores, strict=True):
        counts = weight_counts(row.run.state.players[player].params).values()
        left = sum(left for _, left in counts)
        lines.append([row.about, f"{left:,}", *(f"{found[name]:.4g}" for name in scores[0])])
    return align_columns(lines)


def layer_table(rows: Sequence[Pruned], player: str) -> list[str]:
    """Returns a table's lines: the share of each layer's weights that is left, a column a row of the other table."""
    counts = [weight_counts(row.run.state.players[player].params) for row in rows]
    lines = [["layer", "weights", *(row.about for row in rows[1:])]]
    for name, (size, _) in counts[0].items():
        lines.append([name, f"{size:,}", *(f"{100 * of[name][1] / max(1, size):.1f} %" for of in counts[1:])])
    return align_columns(lines)


def picture(rows: Sequence[Pruned], options: Options) -> np.ndarray:
    """Returns a picture of the same samples of each row, `[H, W, C]`. UsageError where no images are drawn."""
    drawing = rows[0].run.drawing
    if drawing.medium(drawing.main).kind != Image.kind:
        raise UsageError(
            f"--out {options.out}: a picture is of images, and this run draws {drawing.data.medium.plural}"
        )
    drawn = [row.run.sample(SHOWN, seed=options.seed, weights=options.weights) for row in rows]
    return captioned([list(images) for images in drawn], [row.about for row in rows], least=48)


def write_run(directory: Path, row: Pruned, options: Options) -> None:
    """Writes a run of the pruned network: its checkpoint first, and its record when that is whole. UsageError for a
    directory that holds anything else."""
    run, new = row.run, Run(directory)
    if new.record() is not None:
        raise UsageError(f"--workdir {directory} holds a run already; choose another")
    own = {"workdir": str(directory), "keep_zeros": True, "from_run": str(run.directory), "step": run.step}
    values = {**dataclasses.asdict(run.options), **own, "players": (), "fresh": False}
    new.make()
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(directory))
        try:
            with contextlib.closing(Checkpoints(directory, read_back=True)) as checkpoints:
                checkpoints.save(run.step, run.state)
        except SaveError as error:
            raise UsageError(str(error)) from error
        record = Run(run.directory).record() or {}
        session = session_now(run.build, run.step, jax.devices(), f"step {run.step} of {run.directory}, {row.about}")
        with writing_run(directory):
            write_json(new.path, {**record, "options": values, "sessions": [session]})
    experiment = str(record["experiment"])
    module = shlex.quote(experiment) if experiment.endswith(".py") else f"-m {experiment}"
    where = shlex.quote(str(directory))
    say(f"{directory}: {row.about}, step {run.step}; fine-tune it under its mask with")
    say(f"    python {module} --options {where}/options.json --workdir {where} --steps {2 * run.step}")


def run(options: Options) -> None:
    directory = None if options.workdir is None else named(options.workdir).absolute()
    if directory is not None and Run(directory).record() is not None:
        raise UsageError(f"--workdir {directory} holds a run already; choose another")
    opened = open_checkpoint(options.run, options)
    rows = pruned_runs(opened, options)
    shown = picture(rows, options) if options.out else None  # which may be refused
    scores = scored(rows, options, judge_of(opened, options))
    say(*table(rows, scores, options.player), "", *layer_table(rows, options.player))
    say(f"{options.count:,} samples, {options.weights} weights of step {opened.step}")
    if options.out and shown is not None:
        with writing(options.out):
            save_png(options.out, shown)
        say(f"{options.out}: a row each")
    if directory is not None:
        write_run(directory, rows[1], options)


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options))
