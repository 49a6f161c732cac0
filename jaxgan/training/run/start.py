"""`--from RUN --players NAME`: a new run whose networks begin with those of another, of any experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import ensemble
from jaxgan.ensemble import Ensemble
from jaxgan.printable import shortened
from jaxgan.state import GANState, Variables
from jaxgan.terminal import align_columns
from jaxgan.training.distributed import processes
from jaxgan.training.errors.usage import UsageError, either
from jaxgan.training.options.options import Options, name_of
from jaxgan.training.recipe.gan import Build
from jaxgan.training.run.directory import Run
from jaxgan.training.run.experiment import experiment_named
from jaxgan.training.run.fork import Begun
from jaxgan.training.run.open_run import OpenRun, open  # noqa: A004 - the library's name for it
from jaxgan.transfer import Match, begin_with, matches

__all__ = ["match_table", "shape_text", "start"]

State = Any


def start(options: Options, build: Build, fresh: State) -> Begun:
    """Reads a step of the run `options.from_run`, by default its newest, and returns the `fresh` state, at step 0,
    whose `options.players` begin with the arrays of the players of these names there that have the same paths and
    shapes. Of several GANs all begin with them.

    UsageError where there is no such run, step or player, that run is of several GANs, or nothing of a player matches.
    """
    source = _opened(options, build)
    alone = jax.eval_shape(lambda state: ensemble.member(state, 0) if isinstance(state, Ensemble) else state, fresh)
    given: dict[str, Variables] = {}
    report: list[str] = []
    for name in options.players:
        mine = _player(alone, name, "this experiment's state")
        given[name] = _player(source.state, name, f"--from {source.directory}")
        found = matches(mine, given[name])
        _check(source.directory, name, found)
        report += match_table(name, found)
    state = _begun(fresh, jax.tree.map(np.asarray, given))
    about = f"the {' and the '.join(options.players)} of step {source.step} of {source.directory}"
    return Begun(0, state, source.step, about, tuple(report))


def _opened(options: Options, build: Build) -> OpenRun:
    """Opens the run that `--from` names. UsageError where there is none, or one of several GANs."""
    source = Path(str(options.from_run))
    record = processes.from_first(Run(source).record)
    if record is None:
        raise UsageError(f"--from {source} is no run directory: it has no options.json")
    same = record["experiment"] == name_of(build)
    if not same and experiment_named(record["experiment"]) is None:
        raise UsageError(
            f"--from {source} is a run of {shortened(record['experiment'])}, which is none of jaxgan's and isn't "
            "imported here, and no code is executed because a run names it: call `jaxgan.training.train` in a program "
            "that imports it"
        )
    run = open(source, options.step, build=build if same else None)
    if run.members:
        raise UsageError(
            f"--from {source} is a run of {len(run.members)} GANs, and --players takes networks of a run of one; train "
            "one without --seeds and --sweep"
        )
    return run


def _player(state: State, name: str, whose: str) -> Variables:
    """Returns a player's parameters and other collections. UsageError where there is no player of this name."""
    players = state.players if isinstance(state, GANState) else {}
    if name not in players:
        has = f"its players are {either(players)}" if players else "it has no players that could be named"
        raise UsageError(f"--players {shortened(name)}: {whose} has none of that name; {has}")
    return players[name].all_variables


def _check(source: Path, name: str, found: Sequence[Match]) -> None:
    """Raises UsageError where no parameter of a player matches: it is of another family of networks."""
    params = [match for match in found if match.path.startswith("params/")]
    if any(match.taken for match in params):
        return
    mine = next((match for match in params if match.here is not None), None)
    theirs = next((match for match in params if match.there is not None and match is not mine), mine)
    firsts = ""
    if mine and theirs:
        beside = "nothing" if mine.there is None else shape_text(mine.there)
        firsts = f", {mine.path} is {shape_text(mine.here)} here and {beside} there"
        if mine.there is None:
            firsts += f", which has {theirs.path} of {shape_text(theirs.there)} instead"
    raise UsageError(
        f"--from {source} has another kind of {name}: none of its arrays has path and shape of one of this {name}'s"
        f"{firsts}; take a run of the same family of networks and sizes, or other --players"
    )


def _begun(fresh: State, given: dict[str, Variables]) -> State:
    """Returns the fresh state with what is given, its arrays on the same devices as before."""

    def changed(fresh: State, given: dict[str, Variables]) -> State:
        if not isinstance(fresh, Ensemble):
            return begin_with(fresh, given)
        axes = ensemble.axes(fresh.members)
        members = jax.vmap(begin_with, in_axes=(axes, None), out_axes=axes)(fresh.members, given)
        return fresh.replace(members=members)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, fresh)
    state: State = jax.jit(changed, out_shardings=shardings)(fresh, given)
    return state


def match_table(player: str, found: Sequence[Match]) -> list[str]:
    """Returns the lines of a table: every array of a player, its shape here and there, and what becomes of it; above
    it, how much of the player is taken."""
    mine = [match for match in found if match.here is not None]
    taken = [match for match in mine if match.taken]
    numbers = [sum(int(np.prod(match.here or ())) for match in some) for some in (taken, mine)]
    share = 100 * numbers[0] / max(1, numbers[1])
    rows = [[match.path, shape_text(match.here), shape_text(match.there), _fate(match)] for match in found]
    lines = [["array", "here", "there", ""], *rows]
    counts = f"{len(taken)} of {len(mine)} arrays, {share:.1f} % of {numbers[1]:,} numbers, are taken"
    return [f"{player}: {counts}", *(f"  {line}" for line in align_columns(lines))]


def _fate(match: Match) -> str:
    if match.taken:
        return "taken"
    if match.here is None:
        return "left behind: not in this network"
    if match.there is None:
        return "begins anew: not in that network"
    return "begins anew: another " + ("type" if match.here == match.there else "shape")


def shape_text(shape: tuple[int, ...] | None) -> str:
    """Returns a shape as text, "4×4×3×64"; of a number "a number", of what isn't there "-"."""
    if shape is None:
        return "-"
    return "×".join(map(str, shape)) if shape else "a number"
