"""What a run is before anything of it is written: options, data, the GAN, and where its arrays lie."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxgan.parallel import Layout
from jaxgan.terminal import say
from jaxgan.training.compiled.compile import batch_sizes, check_counts, check_memory, compile_for
from jaxgan.training.compiled.dry_run import dry_run
from jaxgan.training.compiled.program import Program
from jaxgan.training.distributed import processes
from jaxgan.training.errors.usage import UsageError
from jaxgan.training.options.data import real_transform
from jaxgan.training.options.devices import compiler_options, layout_for
from jaxgan.training.options.options import Options, alike
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN, Build, build_gan
from jaxgan.training.recipe.loading import Given, address, check_sets, drawn_from, load, name_sets
from jaxgan.training.recipe.members import Member, ensemble_of, members_of
from jaxgan.training.recipe.statistics import check_statistics
from jaxgan.training.run.directory import Run
from jaxgan.training.run.folder import named, refuse_others
from jaxgan.training.run.fork import Begun, fork, resolve_fork
from jaxgan.training.run.start import start
from jaxgan.training.run.tracker import check_tracker
from jaxgan.training.scoring.measures import Measure, measures_for
from jaxgan.training.scoring.real_data import RealData

__all__ = ["Setup", "estimate", "set_up"]

State = Any


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run before anything of it is written.

    run, record: the directory that the options name, and what it says of the run that it holds; None for none.
    gan: of several members their ensemble. like: the state's abstract arrays, on their devices. init: makes the state
    of step 0. compile: makes the program that trains from a state, and says how many bytes the data take.
    """

    build: Build
    options: Options
    run: Run | None
    record: dict[str, Any] | None
    spec: DataSpec
    gan: GAN
    members: list[Member]
    layout: Layout
    like: State
    init: Callable[[], State]
    compile: Callable[[State], tuple[Program, int]]
    drawing: Drawing
    real: RealData
    measures: Mapping[str, Measure]
    begun: Begun | None  # what of another run this one begins with

    @property
    def frozen(self) -> dict[str, str]:
        """The digests of the networks that nobody trains, by name."""
        return {name: network.digest for name, network in self.gan.frozen.items()}

    def begin(self) -> Begun | None:
        """Reads what `--from` names: a step and state or, with `--players`, networks; None without it."""
        if not self.options.from_run:
            return None
        if self.options.players:
            return start(self.options, self.build, self.init())
        return fork(self.options, self.build, self.like, self.init())


def set_up(build: Build, options: Options, given: Given | None) -> Setup:
    """Loads the data, builds the GAN (or several) and decides where its arrays lie. UsageError for wrong options."""
    processes.from_first(lambda: check_tracker(options))
    run = Run(named(options.workdir)) if options.workdir else None
    record = processes.from_first(run.record) if run else None
    if run and record:
        record = run.fitted(record, build, type(options))
    elif run:
        processes.from_first(lambda: refuse_others(run.directory))
    options = _resolve(options, run, record)
    check_sets(options, given)
    if processes.first():
        say(f"reading {name_sets(options, given)} ...")
    data = load(options, given)
    spec = DataSpec.of(data, options.crop_shape)
    options = dataclasses.replace(options, dataset=spec.name if given else address(options.dataset, spec.name))
    processes.check_alike({**alike(options), **spec.facts()})

    alone = build_gan(build, options, spec)
    check_counts(alone, spec)
    members = members_of(options)
    layout = layout_for(options, options.batch_size, batch_sizes(alone, spec).values(), len(members))
    gan = ensemble_of(alone, members) if members else alone
    like, init = _state_of(gan, layout, options.seed)
    check_memory(like)
    check_statistics(options, like)
    drawing = Drawing(
        *(gan, spec, like, lambda: drawn_from(options, spec, given, data)),
        members=len(members),
        everywhere=layout.everywhere,
        estimates=options.ema_statistics == "estimated",
    )
    transform, xla = real_transform(options), compiler_options(options)
    setup = Setup(
        build=build,
        options=options,
        run=run,
        record=record,
        spec=spec,
        gan=gan,
        members=members,
        layout=layout,
        like=like,
        init=init,
        compile=lambda state: compile_for(gan, state, spec, data, transform, layout=layout, options=xla),
        drawing=drawing,
        real=RealData(data, spec, transform),
        measures=measures_for(options, drawing) if options.eval_every or members else {},
        begun=None,
    )
    return setup if record else dataclasses.replace(setup, begun=setup.begin())


def _resolve(options: Options, run: Run | None, record: dict[str, Any] | None) -> Options:
    """Returns the options with what a run's record has decided before."""
    if run and record and options.fresh:
        raise UsageError(
            f"--fresh, but {run.directory} holds a run already; choose another --workdir or remove it first"
        )
    if record and options.dataset == "auto":  # decided once in a run
        options = dataclasses.replace(options, dataset=record["options"]["dataset"])
    return resolve_fork(options, record)


def _state_of(gan: GAN, layout: Layout, seed: int) -> tuple[State, Callable[[], State]]:
    """Returns the abstract arrays of a GAN's state, on their devices, and a function that makes the state of step 0."""
    key = jax.random.key(seed)
    like = layout.abstract(layout.gathering(jax.eval_shape(gan.init, key)))
    tree = jax.tree.structure(like)  # another call of init may make other functions, which are part of a tree
    init = jax.jit(lambda key: jax.tree.unflatten(tree, jax.tree.leaves(gan.init(key))), out_shardings=layout.of(like))
    return like, lambda: init(key)


def estimate(setup: Setup) -> State:
    """Prints what the run would cost, and returns the abstract state."""
    state = setup.init()
    program, size = setup.compile(state)
    with contextlib.closing(program):
        dry_run(setup.gan, setup.options, state, program.run, program.compiled, size)
    return setup.like
