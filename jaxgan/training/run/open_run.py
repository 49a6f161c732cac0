"""Opens a run in a notebook or another program: `run = jaxgan.training.open(RUN)`, `run.sample(64)`, `run.state`,
`run.translate(pictures)`, `run.project(images)`."""

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import jax
import numpy as np

from jaxgan import ensemble
from jaxgan.data.names import machine_memory
from jaxgan.data.sets import LABEL
from jaxgan.ema import width_name
from jaxgan.media import Image
from jaxgan.nearest import perhaps
from jaxgan.printable import listed, shortened
from jaxgan.state import GANState
from jaxgan.terminal import progress_bar
from jaxgan.training.checkpoints.checkpoints import BEST, Checkpoints
from jaxgan.training.errors.usage import UsageError, refusals
from jaxgan.training.exploring.latent_space import LatentSpace
from jaxgan.training.exploring.projector import Space
from jaxgan.training.options.options import Options
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.output.whole import Translator
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import GAN, Build, Translation, Weights
from jaxgan.training.recipe.loading import Given, Held, drawn_from
from jaxgan.training.recipe.members import Member, ensemble_of, members_of
from jaxgan.training.recipe.statistics import estimated_from, protocol_of, statistics_of
from jaxgan.training.run.directory import Run
from jaxgan.training.run.experiment import experiment_of, fitting
from jaxgan.training.run.folder import named
from jaxgan.training.run.projection import Projected, advanced, labels_of, projected, projector_of

__all__ = ["OpenRun", "open", "read_checkpoint"]

State = Any


@dataclasses.dataclass(frozen=True, eq=False)
class OpenRun:
    """A run as it was at a checkpoint: of one GAN, or of an ensemble.

    state: a GANState, or an `Ensemble`. gan: what `state` belongs to. alone: the GAN of one member. members: of an
    ensemble; empty for one GAN. frozen: of a member that has diverged, the step before which its weights are; or 0.
    given: the data of one's own that it was trained on, where they were named. build: makes the GAN. standing: over how
    many batches its batch statistics are estimated before anything is drawn, see `with_standing_statistics`."""

    directory: Path
    options: Options
    data: DataSpec
    step: int
    state: State = dataclasses.field(repr=False)
    gan: GAN = dataclasses.field(repr=False)
    alone: GAN = dataclasses.field(repr=False)
    members: tuple[Member, ...] = ()
    frozen: int = 0
    given: Given | None = dataclasses.field(default=None, repr=False)
    build: Build | None = dataclasses.field(default=None, repr=False)
    standing: int = 0

    def member(self, number: int) -> "OpenRun":
        """Returns one of an ensemble's GANs, as a run of its own. UsageError where there is none of that number."""
        if not 0 <= number < len(self.members):
            has = f"has members 0 to {len(self.members) - 1}" if self.members else "is a run of one GAN"
            raise UsageError(f"there is no member {number}: {self.directory} {has}")
        one = dataclasses.replace(self.options, seed=self.members[number].seed, seeds=1, sweep=None)
        state = ensemble.member(self.state, number)
        frozen = int(self.state.frozen[number])
        return dataclasses.replace(self, options=one, state=state, gan=self.alone, members=(), frozen=frozen)

    def in_float32(self) -> "OpenRun":
        """Returns the run with networks that compute in float32, for what bfloat16 would round away; parameters are
        float32 in any case."""
        if self.build is None or self.options.dtype == "float32":
            return self
        options = dataclasses.replace(self.options, dtype="float32")
        alone = self.build(options, self.data)
        gan = ensemble_of(alone, self.members) if self.members else alone
        return dataclasses.replace(self, options=options, gan=gan, alone=alone)

    def with_standing_statistics(self, batches: int) -> "OpenRun":
        """Returns the run that draws with standing statistics: batch statistics, of the raw weights too, that are the
        means over so many batches that it draws, each as large as in training and normalised by itself. They are
        computed when something is drawn first; classes come as often as in the data. Brock et al. 2019, see
        `jaxgan.standing`. UsageError for fewer than 1 batch, and where no averaged network has batch statistics."""
        if batches < 1:
            raise UsageError(f"standing statistics are the means over 1 batch or more, got {batches}")
        if not statistics_of(self.state):
            raise UsageError(f"no standing statistics: no averaged network of {self.directory} has batch norms")
        return dataclasses.replace(self, standing=batches)

    def batch_norm(self, weights: Weights) -> str:
        """Returns what a score's record says of the batch statistics that these weights are drawn with."""
        if self.standing:
            return estimated_from(self.standing, self.options.batch_size)
        return protocol_of(self.options.ema_statistics, weights)

    @functools.cached_property
    def drawing(self) -> Drawing:
        """Returns the `Drawing` of the run's GAN, which draws from its state."""

        def read() -> Held:
            try:
                return drawn_from(self.options, self.data, self.given)
            except UsageError as error:
                raise UsageError(
                    f"what {self.directory} draws depends on examples, and: {error}; a set of one's own is given as "
                    "`jaxgan.training.open(RUN, data=...)`"
                ) from None

        return Drawing(self.gan, self.data, self.state, read, members=len(self.members))

    @functools.cached_property
    def drawn_state(self) -> State:
        """Returns the state that is drawn from: `state` or, with `--ema-statistics estimated` and with standing
        statistics, one whose batch statistics are estimated again."""
        if self.standing:
            return self.drawing.estimated(self.state, self.standing, self.options.batch_size, raw=True)
        return self.drawing.estimated(self.state) if self.options.ema_statistics == "estimated" else self.state

    @property
    def weights(self) -> tuple[str, ...]:
        """Returns the names of the weights that the run can draw with: "ema", "raw", and the widths of --power-ema."""
        state = self.state.members if self.members else self.state
        return state.weights if isinstance(state, GANState) else ("ema", "raw")

    def named_weights(self, name: str) -> Weights:
        """Returns the name as `weights` has it, "0.1" for "0.10". UsageError for one that isn't there."""
        named = name
        with contextlib.suppress(ValueError, TypeError):
            named = width_name(name)
        if named not in self.weights:
            raise UsageError(f"weights must be one of {', '.join(self.weights)}, got {shortened(name)}")
        return named

    def check(self, label: int | None) -> None:
        """Raises UsageError for a label that the run's generator can't be asked for."""
        if label is not None and not self.drawing.conditional:
            raise UsageError(f"the generator of {self.directory} is given no labels; leave out label {label}")
        if label is not None:
            self.data.check_label(label)

    def most(self) -> int:
        """Returns how many examples, of each member of an ensemble, half of this machine's memory holds twice, as when
        the parts in which they are drawn are put together."""
        fields = [self.data.like(self.drawing.twins.get(name, name)) for name in self.drawing.outputs]
        each = sum(math.prod(field.shape) * (1 if field.kind == Image.kind else 4) for field in fields)
        return machine_memory() // 4 // (each * max(1, len(self.members)))

    def sample(self, count: int, **how: Any) -> np.ndarray:
        """Draws `count` examples: images, uint8 `[count, H, W, C]`, points, float32 `[count, 1, 1, 2]`, or
        vectors, float32 `[count, D]`; of an ensemble, those of all members on the same latents, `[S, count, ...]`. Of
        several outputs it is the first that is scored; `draw` has all, and what `how` may be."""
        return self.draw(count, **how)[self.drawing.main]

    def draw(
        self,
        count: int,
        *,
        seed: int = 0,
        weights: Weights = "ema",
        label: int | None = None,
        run: int | None = None,
        **how: Any,
    ) -> dict[str, np.ndarray]:
        """Draws all outputs of the run's GAN, by name, and `label` `[count]` where it was asked for by labels alone.

        weights: "ema", the averaged ones, "raw", those of the last step, or a width of --power-ema, "0.05".
        label: of a conditional GAN, the class of all examples, from 0.
        run: classes take turns, after so many of each. By default classes come as often as the data have them.
        how: what else the experiment's `sample` takes.
        A generator that needs examples is given held-out ones, see `jaxgan.training.recipe.loading.drawn_from`. The
        same seed draws the same, however many are asked for (the same floats but for rounding). UsageError for a count
        below 1, for other weights, and for a label that there is none of."""
        if "ema" in how:
            raise UsageError('ema=True is now weights="ema", and ema=False weights="raw"')
        weights = self.checked(count, weights, label)
        state = self.state if weights == "raw" and not self.standing else self.drawn_state
        drawn = self.drawing.of(count, key=seed, label=label, run=run, weights=weights, **how)(state)
        asked = self.drawing.labels(0, count, label=label, run=run) if self.drawing.by_label else None
        return drawn if asked is None else {**drawn, LABEL: asked}

    def checked(self, count: int, weights: Weights, label: int | None) -> Weights:
        """Returns the weights as this run names them. UsageError for a count, weights or a label that nothing can be
        drawn with."""
        weights = self.named_weights(weights)
        if count < 1:
            raise UsageError(f"the count must be at least 1, got {count}")
        if count > (most := self.most()):
            raise UsageError(f"the count must be at most {most}, as half of this machine's memory holds, got {count}")
        self.check(label)
        return weights

    @functools.cached_property
    def latent_space(self) -> LatentSpace:
        """Returns the latent space of the run's generator, for what looks into it. UsageError where what is drawn comes
        from no latents, and for an ensemble."""
        if self.members:
            raise UsageError(f"{self.directory} has {len(self.members)} GANs: name one of them (--member)")
        if self.gan.latents is None:
            raise UsageError(
                f"{self.directory} has no latent space: its GAN doesn't say how pictures come from latents"
            )
        return LatentSpace(self.drawing, self.drawn_state)

    def codes(
        self, count: int | Sequence[int], *, seed: int = 0, label: int | None = None, weights: Weights = "ema"
    ) -> np.ndarray:
        """Returns the codes of samples, float32 `[N, K, D]`, one for each layer of the generator: of the first `count`
        that `sample` draws with this seed, or of those of some numbers. UsageError where `sample` or `latent_space`
        raises one."""
        numbers = range(count) if isinstance(count, int) else count
        weights = self.checked(len(numbers), weights, label)
        if min(numbers) < 0 or max(numbers) >= 2**31:
            raise UsageError(f"numbers of samples must be from 0 to {2**31 - 1}, got {shortened(list(numbers))}")
        return self.latent_space.codes(self.latent_space.inputs(numbers, seed=seed, label=label), weights=weights)

    def synthesize(
        self, codes: np.ndarray, *, label: int | Sequence[int] | None = None, weights: Weights = "ema"
    ) -> np.ndarray:
        """Draws what becomes of codes `[N, K, D]`, as `sample` does. Of a conditional GAN that reads its class beside
        the code, the classes are those of `sample`, or `label`, one for all or one for each code. UsageError as there,
        and for codes of another shape."""
        codes = np.asarray(codes)
        count = len(codes) if codes.ndim else 0
        if label is None or isinstance(label, int):
            weights = self.checked(count, weights, label)
        else:
            weights = self.checked(count, weights, None)
            label = labels_of(self, label, count)
        with refusals():
            inputs = self.latent_space.inputs(range(len(codes)), label=label)
            return self.latent_space.synthesize(codes, inputs, weights=weights)

    def picture(
        self, count: int, columns: int | None = None, *, real: Mapping[str, np.ndarray] | None = None, **how: Any
    ) -> np.ndarray:
        """Returns a picture of `count` drawn examples, in rows of `columns` (by default as square as can be), uint8
        `[H, W, C]`; classes take turns, a row each. real: examples of the data by output, shown behind what is drawn
        of media that compare, such as points. how: as for `draw`."""
        drawn = self.draw(count, **{"run": columns or 1, **how})
        return self.drawing.picture({name: drawn[name] for name in self.drawing.outputs}, columns, real=real)

    def translate(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        to: str | None = None,
        *,
        weights: Weights = "ema",
        tile: int | None = None,
        overlap: int | None = None,
        **how: Any,
    ) -> Any:
        """Translates whole pictures of any size: one, uint8 `[H, W, C]`, several of one size, `[N, H, W, C]`, or a list
        of pictures of different sizes -> the same, uint8 of s times the height and width and as many channels as the
        run makes; of an ensemble those of all members, `[S, ...]`, each. Larger ones are translated in tiles.

        to: what they become, of a run that makes several things. weights: as for `draw`. tile, overlap: as of
        a `Translator`. how: what else the experiment's translation takes.

        UsageError for pictures that are no uint8 or have other channels, for what this run doesn't make or take, and
        where half of this machine's memory doesn't hold the result twice."""
        if self.members:
            settings = {"weights": weights, "tile": tile, "overlap": overlap, **how}
            parts = [self.member(each.number).translate(images, to, **settings) for each in self.members]
            several = isinstance(images, list | tuple)
            return [np.stack(each) for each in zip(*parts, strict=True)] if several else np.stack(parts)
        translator = self.translator(to, weights=weights, tile=tile, overlap=overlap, **how)
        pictures = [np.asarray(each) for each in images] if isinstance(images, list | tuple) else [np.asarray(images)]
        batches = [_pictures(each, translator.translation.channels) for each in pictures]
        with refusals():
            total = sum(len(batch) * translator.tiles(*batch.shape[1:3]) for batch in batches)
            self.check_memory(sum(translator.result_bytes(batch.shape) for batch in batches))
            with progress_bar(total, "translating", unit="tiles") as bar:
                made = [translator(batch, bar.update) for batch in batches]
        made = [batch if each.ndim == 4 else batch[0] for batch, each in zip(made, pictures, strict=True)]
        return made if isinstance(images, list | tuple) else made[0]

    def project(
        self,
        images: np.ndarray,
        label: int | Sequence[int] | None = None,
        *,
        space: Space | None = None,
        steps: int = 1000,
        starts: int = 1,
        weights: Weights = "ema",
        network: str | None = None,
    ) -> Projected:
        """Finds codes whose images are given ones, uint8 `[N, H, W, C]`: `run.synthesize(found.codes,
        label=found.labels)` draws them.

        label: of a conditional generator, one for all or one for each. space: "w", "w+" (a style for each layer) or,
        the only one of a generator without a mapping, "z". By default the first. steps, starts: as of a `Projector`.
        network: whose features are compared, see `jaxgan.evaluation.features.perceptual.feature_maps`; by default a
        packaged classifier's.
        UsageError for a run of several GANs, without a latent space or of no images, and for what doesn't fit it."""
        how: Any = {"space": space, "steps": steps, "starts": starts, "weights": weights, "network": network}
        projector = projector_of(self, np.asarray(images), label, **how)
        with progress_bar(steps, "projecting", unit="steps") as bar:
            *_, last = advanced(projector, projector.start(), bar)
        return projected(self, projector, last, np.asarray(images), tuple(map(str, range(len(images)))))

    def check_memory(self, size: int) -> None:
        """Raises UsageError for a result of so many bytes that half of this machine's memory doesn't hold it twice, as
        when it is written to a file."""
        if size > (most := machine_memory() // 4):
            raise UsageError(
                f"what the pictures become has {size:,} bytes; at most {most:,}, a quarter of this machine's memory, "
                "are made at once"
            )

    def translator(
        self,
        to: str | None = None,
        *,
        weights: Weights = "ema",
        tile: int | None = None,
        overlap: int | None = None,
        **how: Any,
    ) -> Translator:
        """Returns what translates whole pictures as `translate` does, one after another. UsageError as there, and for
        an ensemble."""
        if self.members:
            raise UsageError(f"{self.directory} has {len(self.members)} GANs: name one of them (--member)")
        weights = self.named_weights(weights)
        for name, size, least in (("tile", tile, 1), ("overlap", overlap, 0)):
            if size is not None and size < least:
                raise UsageError(f"the {name} must be at least {least}, got {size}")
        translation = self.translation(to)
        _check_takes(translation, how)
        with refusals():
            translator = Translator(translation, self.drawn_state, weights, tile, overlap, how)
            translator.sizes()
        return translator

    def translation(self, to: str | None = None) -> Translation:
        """Returns how whole pictures become `to`, by default the only thing that the run makes of them. UsageError
        where it makes none, no such, or several and none is named."""
        known = self.gan.translations
        if not known:
            raise UsageError(f"{self.directory} makes nothing of pictures: its GAN draws, and translates none")
        if to is None and len(known) > 1:
            raise UsageError(f"{self.directory} makes {' or '.join(known)} of pictures: name one of them (--to)")
        if to is not None and to not in known:
            makes = f"{self.directory} makes {' or '.join(known)} of pictures"
            raise UsageError(f"{makes}, not {shortened(to)} (--to){perhaps(to, known)}")
        return next(iter(known.values())) if to is None else known[to]


def open(  # noqa: A001
    directory: str | Path,
    step: int | Literal["best"] | None = None,
    *,
    member: int | None = None,
    data: Given | None = None,
    build: Build | ModuleType | None = None,
) -> OpenRun:
    """Opens the run in a directory at `step` (by default its newest checkpoint; "best" is what --eval-every found to
    be), on the first device; `member` picks one GAN of an ensemble. `data` is the set of one's own, or several by name,
    that it was trained on, for what needs examples of it. It may be training still.

    build: the experiment, a module with `Options` and `build`, or its `build`. By default the one that the run's record
    names, where that is a module which was imported before, or is in the package `experiments` beside jaxgan. No other
    is taken: a run directory is read as data, whoever made it. Opening executes nothing that is named or lies in it,
    fetches nothing and writes nothing. (What is drawn from examples reads the set that the record names.)

    UsageError where there is no run, no such checkpoint or no such member, the experiment must be given, or the record
    doesn't fit it."""
    where = named(directory, "run directory").absolute()
    if not (step in (None, BEST) or (isinstance(step, int) and not isinstance(step, bool))):
        raise UsageError(f"the step must be a number or {BEST}, got {shortened(step)}")
    build, options, spec = Run(where).experiment(None if build is None else experiment_of(build))
    members = members_of(options)
    with fitting(f"{where / 'options.json'} has options or data that its experiment can't be built with"):
        alone = build(options, spec)
        gan = ensemble_of(alone, members) if members else alone
        like = jax.eval_shape(gan.init, jax.random.key(options.seed))
    checkpoint = read_checkpoint(where, step, like)
    run = OpenRun(where, options, spec, *checkpoint, gan, alone, tuple(members), given=data, build=build)
    return run if member is None else run.member(member)


def read_checkpoint(directory: Path, step: int | Literal["best"] | None, like: State) -> tuple[int, State]:
    """Reads a run's checkpoint of `step`, by default its newest, as from `Checkpoints.restore`. UsageError where
    there is none."""
    name = BEST if step == "best" else "checkpoints"
    with contextlib.closing(Checkpoints(directory, name, read_only=True)) as checkpoints:
        if isinstance(step, int):
            return step, checkpoints.restore(step, like)
        found = checkpoints.restore_newest(like)
    if found is None:
        raise UsageError(
            f"{directory} has no best checkpoint: that is found by a run with --eval-every"
            if step == "best"
            else f"{directory} has no checkpoint yet"
        )
    return found


def _pictures(images: np.ndarray, channels: int) -> np.ndarray:
    """Returns `[N, H, W, C]` of one picture or several. UsageError for what isn't uint8 of so many channels."""
    expected = f"uint8 [H, W, {channels}] or [N, H, W, {channels}]"
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != channels:
        shape = ", ".join(map(str, images.shape))
        raise UsageError(f"pictures must be {expected}, of numbers from 0 to 255, got {images.dtype} [{shape}]")
    if 0 in images.shape[-3:]:
        raise UsageError(f"pictures must have at least one pixel, got {'×'.join(map(str, images.shape[-3:-1]))}")
    return images if images.ndim == 4 else images[None]


def _check_takes(translation: Translation, given: Mapping[str, Any]) -> None:
    """Raises UsageError for what a translation doesn't take beside state, images and weights, and for what it needs."""
    beside = list(inspect.signature(translation.apply).parameters.values())[2:]
    known = {each.name: each for each in beside if each.kind is not each.VAR_KEYWORD and each.name != "weights"}
    takes = f"it takes {', '.join(known)}" if known else "it takes nothing beside pictures"
    if all(each.kind is not each.VAR_KEYWORD for each in beside):
        for name in given:
            if name not in known:
                raise UsageError(f"the run's translation takes no {shortened(name)}: {takes}{perhaps(name, known)}")
    missing = [name for name, each in known.items() if each.default is each.empty and name not in given]
    if missing:
        raise UsageError(f"the run's translation needs {listed(missing, 3)}: name it (--{missing[0]} ...)")
