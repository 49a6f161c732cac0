"""`--from RUN`: a new run that begins with another's state."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgan.ensemble import Ensemble, member
from jaxgan.printable import shortened
from jaxgan.pruning import weight_counts
from jaxgan.training.distributed import processes
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.options import Options, differing, name_of
from jaxgan.training.recipe.gan import Build
from jaxgan.training.recipe.members import ensemble_of, members_of
from jaxgan.training.run.directory import Run
from jaxgan.training.run.experiment import fitting
from jaxgan.training.run.folder import named
from jaxgan.training.run.open_run import read_checkpoint

__all__ = ["Begun", "fork", "resolve_fork"]

State = Any
OWN = ("key", "hyper")  # what a new run does not take from the other
BEGINNING = ("from_run", "step", "players")  # the options that say where a run began


class Begun(NamedTuple):
    """How a run begins with another: at `step` with `state`; `source_step` is the step of the other's checkpoint.
    `about` says in words with what, and `report` which arrays matched, in lines."""

    step: int
    state: State
    source_step: int
    about: str
    report: tuple[str, ...] = ()


def resolve_fork(options: Options, record: dict[str, Any] | None) -> Options:
    """Returns the options with `--from` as an absolute path. A run that has a `record` began where that says, which
    needn't be said again. UsageError where the other run is the one in `--workdir`, and where a run that begins with
    none, or with some of its networks, would keep zeros."""
    if options.from_run is None:
        if record is None:
            if options.keep_zeros:
                raise UsageError(
                    "--keep-zeros is for runs of pruned networks, and weights that begin at 0 would never learn: add "
                    "--from RUN, or --workdir RUN, of a run that python -m scripts.prune has made"
                )
            return options
        began = {name: record["options"][name] for name in BEGINNING if name in record["options"]}
        return dataclasses.replace(options, **began)
    source = named(options.from_run, "--from").absolute()
    if options.workdir and named(options.workdir).resolve() == source.resolve():
        raise UsageError(
            f"--from {options.from_run} is the run in --workdir itself; leave --from out to continue it, "
            "or choose another --workdir"
        )
    if options.keep_zeros and options.players:
        raise UsageError(
            "--keep-zeros with --players would hold the biases of new networks at 0, where they begin; leave one out"
        )
    options = dataclasses.replace(options, from_run=str(source))
    if record and record["options"].get("from_run") == str(source):
        step = record["options"].get("step") if options.step is None else options.step
        players = options.players or tuple(record["options"].get("players", ()))
        return dataclasses.replace(options, step=step, players=players)
    return options


def fork(options: Options, build: Build, like: State, fresh: State) -> Begun:
    """Reads a step of the run `options.from_run`, by default its newest, and its state as a new run takes it: all
    that was learned, with the key and the `hyper` of the `fresh` state. `like` is as in `Checkpoints.restore`.

    UsageError where there is no such run or step, it is of another experiment, of other networks or of another number
    of GANs, there is nothing left to do, or no pruned weight whose zero is to be kept."""
    source = Path(str(options.from_run))
    record = processes.from_first(Run(source).record)
    if record is None:
        raise UsageError(f"--from {source} is no run directory: it has no options.json")
    if record["experiment"] != name_of(build):
        raise UsageError(f"--from {source} is a run of {shortened(record['experiment'])}, not of {name_of(build)}")
    _check(source, Run(source).fitted(record, build, type(options)), options, build, like)
    done, state = read_checkpoint(source, options.step, like)
    if done >= options.steps:
        raise UsageError(
            f"--steps {options.steps}, but --from {source} is at step {done} and steps are counted from 0; "
            f"give more than {done}"
        )
    if options.keep_zeros and not _has_zeros(state):
        raise UsageError(
            f"--keep-zeros is for runs of pruned networks, and --from {source} has no weight that is 0; "
            "leave it out, or prune with python -m scripts.prune"
        )
    return Begun(done, _as_new(state, fresh), done, f"step {done} of {source}")


def _check(source: Path, record: dict[str, Any], options: Options, build: Build, like: State) -> None:
    """Raises UsageError where the other run's state is not like this one's, before it is read."""
    theirs = record["options"]
    with fitting(f"--from {source}"):
        members = members_of(dataclasses.replace(options, seed=0, seeds=theirs["seeds"], sweep=theirs["sweep"]))
    mine = members_of(options)
    if len(members) != len(mine):
        raise UsageError(
            f"--from {source} is a run of {_gans(len(members))}, not of {_gans(len(mine))}; "
            "as many must come of --seeds and --sweep"
        )
    if theirs.keys() - {field.name for field in dataclasses.fields(options)}:
        return  # its options are of another time: what is restored must show it
    data = Run(source).described(record)
    with fitting(f"--from {source} has options or data that its experiment can't be built with"):
        gan = build(type(options)(**theirs), data)
        there = _shapes(jax.eval_shape((ensemble_of(gan, members) if members else gan).init, jax.random.key(0)))
    here = _shapes(like)
    for path in [*here, *(path for path in there if path not in here)]:
        if here.get(path) != there.get(path):
            are = f"{path} is {there.get(path, 'missing')} there, {here.get(path, 'missing')} here"
            others = [text for text in differing(options, theirs) if not text.startswith(("--from ", "--step "))]
            options_are = f"; its options are others: {', '.join(others)}" if others else ""
            raise UsageError(f"--from {source} is a run of other networks: {are}{options_are}")


def _has_zeros(state: State) -> bool:
    """Whether any weight of a network is exactly 0, as pruned ones are and others all but never."""
    one = member(state, 0) if isinstance(state, Ensemble) else state
    counts = [count for player in one.players.values() for count in weight_counts(player.params).values()]
    return any(left < size for size, left in counts)


def _gans(members: int) -> str:
    return f"{members} GANs together" if members else "one GAN"


def _shapes(state: State) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for path, leaf in jax.tree.leaves_with_path(state)
        if not any(f".{name}" in map(str, path) for name in OWN)
    }


def _as_new(state: State, fresh: State) -> State:
    if isinstance(state, Ensemble):
        # One that was frozen is as it was before it diverged: with other numbers it may go on.
        return fresh.replace(members=_as_new(state.members, fresh.members))
    return state.replace(**{name: getattr(fresh, name) for name in OWN if hasattr(fresh, name)})
