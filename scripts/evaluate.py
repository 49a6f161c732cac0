"""Scores what a run draws, or one set of images or vectors against another, and says how each number was made.

    python -m scripts.evaluate RUN                                  what suits the run's data
    python -m scripts.evaluate RUN --metrics fid,kid,is,prdc,modes --count 10000
    python -m scripts.evaluate RUN --weights ema,0.05,0.1           of averages with --power-ema, side by side
    python -m scripts.evaluate RUN --metrics ppl                    perceptual path length, in w or z
    python -m scripts.evaluate --generated A --reference B --feature-network cifar10-v1
    python -m scripts.evaluate --generated samples.npz --reference mnist --image-size 32 --fit pad
    python -m scripts.evaluate RUN --metrics prdc --truncation 0.7     of samples nearer to the mean
    python -m scripts.evaluate RUN --reject drs                     of samples that the discriminator lets pass
    python -m scripts.evaluate RUN --pictures SET5                  a run that enlarges or restores, on whole pictures

The real images are those that the run was trained on. Beside each score stands what real images score: the set's test
images, or where it has none, one half against the other. Below that, nothing can be told. Beside a score of pairs
stands what the sources score that were to be translated, where they can be compared. Every number is kept with its
protocol as a line of RUN/evaluations.jsonl; `python -m scripts.compare` reads them.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import data, evaluation
from jaxgan.data.names import machine_memory
from jaxgan.data.sets import LABEL
from jaxgan.evaluation import INCEPTION_SHA256, Perceptual, kl_floor, stacked_frequencies
from jaxgan.evaluation.scores import K_DENSITY
from jaxgan.media import Image
from jaxgan.terminal import align_columns, say
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, refusals, require, require_file, writing
from jaxgan.training.options.data import DataOptions, real_transform
from jaxgan.training.options.fields import bounded
from jaxgan.training.output.drawing import Drawn
from jaxgan.training.output.log import write_json
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Weights
from jaxgan.training.recipe.loading import Given, held_out
from jaxgan.training.run.open_run import OpenRun
from jaxgan.training.scoring.judge import Judge, about_state, append, judge_against, judge_for
from jaxgan.training.scoring.measures import Measure, measure_for, measures_for
from jaxgan.training.scoring.path_length import path_distance, path_score
from jaxgan.training.scoring.real_data import RealData
from jaxgan.training.scoring.report import mean_and_std, mean_std_text
from scripts.checkpoint_options import open_checkpoint, threshold_of, truncation_of, undiverged
from scripts.compared_sets import ComparedSet, SetOptions, fitted, open_compared
from scripts.rejected import RejectionOptions, Rejector, drawer
from scripts.translation_options import TranslationOptions
from scripts.whole_pictures import PictureOptions, picture_table, scored_pictures

Record = dict[str, Any]

SAMPLES = 10_000
A_CLASS = 50  # images, at least
STACKS = 26_000  # of three digits, as in PacGAN's code
RENAMED = {"--images": "--generated PATH", "--samples": "--count N", "--json": "--out FILE.json"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RejectionOptions, PictureOptions, SetOptions):
    run: Positional[Path | None] = None
    """A run directory."""
    generated: str | None = None
    """Instead of a run: whatever an experiment's --dataset takes, or the plain path of a folder of pictures (or a .zip
    of one), of an .npz file with uint8 `images` or float `vectors`, or of a .csv file."""
    reference: str | None = None
    """The real images (or vectors) for --generated, a name or path too."""
    count: int | None = bounded(None, at_least=2)
    """Images to score, or paths; by default 10,000, of stacked digits 26,000, and of --generated all."""
    member: int | None = bounded(None, at_least=0)
    """Which GAN of a run with --seeds or --sweep; by default each, and their mean."""
    truncation: float = bounded(1.0, at_least=-100, at_most=100)
    """How far what a run draws stays from the mean latent (of StyleGAN: style), as in scripts.sample; 1 is as it is.
    Another is in the name of every score."""
    latent_threshold: float | None = bounded(None, above=0, below=math.inf)
    """How far from 0 the numbers of latents are at most, as in scripts.sample; named as the truncation is."""
    data_dir: str | None = None
    """Folder of TFDS's data sets; by default the run's, or as in experiments."""
    out: Path | None = None
    """File for the records of all scores, the floor's too, .json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_file(self, "out", ".json")
        self.require_rejection()
        self.check()


def of_run(options: Options, directory: Path, given: Given | None = None) -> tuple[list[Record], list[Record]]:
    """A run's scores, and the floor's. given: the data of one's own that it was trained on, where they were."""
    run = open_checkpoint(directory, options, given)
    truncation_of(run, options.truncation), threshold_of(run, options.latent_threshold)  # refused first
    drawer(run, options)
    names = list(dict.fromkeys(map(run.named_weights, options.weights.split(","))))
    count = options.count or (STACKS if run.data.name == "stacked_mnist" else SAMPLES)
    asked = options.metrics.split(",")
    distance = _path_distance(run, options, count) if "ppl" in asked else None
    records, floor = [], []
    if others := ",".join(metric for metric in asked if metric != "ppl"):
        records, floor = _of_images(run, dataclasses.replace(options, metrics=others), count, names)
    if distance is not None:
        records += _paths(run, options, distance, count, names)
    return records, floor


def _of_images(
    run: OpenRun, options: Options, count: int, names: Sequence[Weights]
) -> tuple[list[Record], list[Record]]:
    """Scores of so many images that a run draws with weights of these names, and the floor's."""
    theirs, given = run.options, run.given
    real = RealData.of_run(theirs, given)
    for name, now in real.spec.contents.items():
        if now != (was := run.data.contents.get(name)):
            raise UsageError(
                f"{theirs.dataset} is not what {run.directory} was trained on: its checksum is {now}, was {was}"
            )
    run = dataclasses.replace(run, data=real.spec)
    conditional = run.drawing.by_label and not theirs.classes
    conditional = conditional and (options.metrics != "auto" or _enough_of_each(real, count))
    parts = [
        (output, part, turn, judge_for(part, real.of(output)))
        for output, measure in measures_for(options, run.drawing, conditional=conditional, beside=True).items()
        for part, turn in _by_labels(measure)
    ]
    for *_, turn, judge in parts:  # before anything is computed that a later refusal would lose
        judge.check(count, run.drawing.labels(0, count, run=turn) if run.drawing.by_label else None)
    records, floor, draw = [], [], drawer(run, options)
    for output, part, turn, judge in parts:
        for weights in names:
            records += _scored(run, options, draw, judge, output, count, turn, weights)
        if (sets := part.without_pairs()) is not None:
            sets_alone = dataclasses.replace(judge, measure=sets)
            held = _held(sets_alone, real.of(output).spec, theirs, given, output, count)
            floor += _floor(*held, **_named(run, output))
    return records, floor


def _require_plain(options: Options, expected: str) -> None:
    """Raises UsageError, with what is expected, where options ask for other samples than a run's own."""
    for name, plain in (("truncation", 1.0), ("latent_threshold", None), ("reject", None)):
        require(options, name, getattr(options, name) == plain, expected)


def _path_distance(run: OpenRun, options: Options, count: int) -> Perceptual:
    """Returns the distance that path lengths are measured by. UsageError, before anything is computed, with a
    truncation or a threshold, for a run that has no paths, and for more of them than memory holds."""
    _require_plain(options, "left out with ppl, whose paths are between all latents")
    space = (run.member(run.members[0].number) if run.members else run).latent_space
    if count > (most := machine_memory() // 4 // (2 * 4 * len(space.layers) * space.size)):
        raise UsageError(
            f"--count must be at most {most:,} paths, whose codes a quarter of this memory holds, got {count:,}"
        )
    return path_distance(options, run.data.like(run.drawing.main))


def _paths(
    run: OpenRun, options: Options, distance: Perceptual, count: int, names: Sequence[Weights]
) -> Iterator[Record]:
    """Records of the path lengths of each of a run's GANs."""
    data = run.data.like(run.drawing.main)
    of_data = {"dataset": run.data.name, "size": list(data.shape), "rounding": None, "compares": "pairs"}
    for member, seed in _members(run, options):
        space = (run.member(member) if run.members else run).in_float32().latent_space
        for weights in names:
            with refusals():
                score = path_score(space, distance, count, seed=options.seed, weights=weights)
            about = _about(run, options, seed, member, weights) | run.drawing.about()
            yield evaluation.record(score, **of_data, **about, **_named(run, run.drawing.main))


def _about(run: OpenRun, options: Options, seed: int, member: int | None, weights: Weights) -> Record:
    """Returns what a record says of the state that was scored."""
    how = {"weights": weights, "batch_norm": run.batch_norm(weights)}
    about = about_state(run.step, seed, member, **how, latents_seed=options.seed, run=str(run.directory))
    return about | ({"frozen": run.frozen} if run.frozen else {})


def _enough_of_each(real: RealData, count: int) -> bool:
    """Tells whether classes have so many images, drawn and real, that they are scored unasked."""
    labels, present = real.labels[:count], list(real.spec.present)
    fewest = np.bincount(labels, minlength=real.spec.classes)[present].min()
    return len(labels) >= A_CLASS * len(present) and bool(fewest > K_DENSITY)


def _by_labels(measure: Measure) -> Iterator[tuple[Measure, int | None]]:
    """Metrics whose images are drawn alike, and after how many of a class the next one has its turn, None where classes
    come as often as in the data: scores by class count each class alike, and sets are compared as they are."""
    others = tuple(metric for metric in measure.metrics if metric != "classes")
    if others:
        yield measure._replace(metrics=others), None
    if len(others) < len(measure.metrics):
        yield measure._replace(metrics=("classes",)), 1


def _scored(
    run: OpenRun,
    options: Options,
    draw: Callable[..., Drawn],
    judge: Judge,
    output: str,
    count: int,
    turn: int | None,
    weights: Weights,
) -> Iterator[Record]:
    """Records of one of a run's outputs, of each of its GANs. draw: what draws of it, see `drawer`."""
    truncation = truncation_of(run, options.truncation) | threshold_of(run, options.latent_threshold)
    drawn = draw(count, seed=options.seed, weights=weights, run=turn, **truncation)
    passes = {"standing_statistics": options.standing_statistics} if options.standing_statistics else {}
    protocol = truncation | passes
    for member, seed in _members(run, options):
        about = _about(run, options, seed, member, weights) | run.drawing.about(run=turn) | _named(run, output)
        about |= protocol
        about |= {**draw.protocol, "acceptance": draw.rate} if isinstance(draw, Rejector) else {}
        images, targets = run.drawing.pair(output, drawn, member if run.members else None)
        copied = _copied(judge, *run.drawing.copied(output, drawn, member if run.members else None), targets)
        for record in judge(images, drawn.get(LABEL), targets=targets, **about):
            ways = [f"{way.replace('_', ' ')} {value:g}" for way, value in protocol.items()]
            ways += [options.reject] if options.reject else []
            name = {"name": ", ".join([record["name"], *ways])} if ways else {}
            yield {**record, **name, **({"copied": copied[record["key"]]} if record["key"] in copied else {})}


def _copied(
    judge: Judge, name: str | None, source: np.ndarray | None, targets: np.ndarray | None
) -> dict[str, dict[str, Any]]:
    """What scores of pairs say of the sources themselves, by key: below that, a translator has done harm. Nothing of
    what has no source of its target's shape."""
    pairs = judge.measure.of_pairs()
    found: dict[str, dict[str, Any]] = {}
    if source is None or pairs is None:
        return found
    for metric in pairs.metrics:
        one = dataclasses.replace(judge, measure=pairs._replace(metrics=(metric,)))
        with contextlib.suppress(UsageError):  # of sources that all equal their targets
            for record in one(source, targets=targets):
                found[record["key"]] = {"output": name, "value": record["value"], "std": record["std"]}
    return found


def _members(run: OpenRun, options: Options) -> Iterator[tuple[int | None, int]]:
    """Number and seed of each GAN that hasn't diverged, or of the one that was asked for."""
    if not run.members:
        if run.frozen:
            say(f"member {options.member} has diverged, and is as it was before step {run.frozen}", error=True)
        yield options.member, run.options.seed
    for member in undiverged(run):
        yield member.number, member.seed


def _held(
    judge: Judge, spec: DataSpec, theirs: DataOptions, given: Given | None, output: str, count: int
) -> tuple[Judge, np.ndarray, np.ndarray | None, str]:
    """Real examples that no GAN was trained on, prepared alike, their labels, and by which they are judged; of a set
    without, one half, judged by the other."""
    try:
        held, what = held_out(theirs, given)
    except data.DataError as error:
        plural = spec.medium.plural
        say(f"the floor is of training {plural}: {error}", error=True)
        half, labels = len(judge.real) // 2, judge.labels
        other = dataclasses.replace(judge, real=judge.real[half:], labels=labels if labels is None else labels[half:])
        first = slice(min(half, count))
        what = f"one half of the training {plural} against the other"
        return other, judge.real[first], labels if labels is None else labels[first], what
    one = RealData(held, DataSpec.of(held, theirs.crop_shape), real_transform(theirs)).of(output)
    images = one.examples(min(count, one.spec.count))
    return judge, images, one.labels[: len(images)], what


def _named(run: OpenRun, output: str) -> dict[str, str]:
    """Returns what a record says of the output, where there are several."""
    return {"output": output} if len(run.drawing.scored) > 1 or output not in run.drawing.scored else {}


def _floor(judge: Judge, held: np.ndarray, labels: np.ndarray | None, what: str, **about: Any) -> list[Record]:
    """Scores real images."""
    try:
        return judge(held, labels, keep=True, scored=what, **about)
    except UsageError as error:
        say(f"no floor: {error}", error=True)
        return []


def of_pictures(options: Options, directory: Path) -> tuple[list[Record], list[Record]]:
    """A run's scores on whole pictures, and no floor."""
    return scored_pictures(options, open_checkpoint(directory, options)), []


def of_sets(options: Options, generated: str, reference: str) -> tuple[list[Record], list[Record]]:
    """Scores of one set against another, each given by name or path, and the floor's."""
    for name in ("step", "member", "experiment"):
        require(options, name, getattr(options, name) is None, "given with a run, not with --generated")
    _require_plain(options, "given with a run, not with --generated")
    require(options, "standing_statistics", not options.standing_statistics, "given with a run, not with --generated")
    real = open_compared(reference, options, options.data_dir, classes=options.classes)
    mine = fitted(open_compared(generated, options, options.data_dir), real, (generated, reference))
    if options.count is not None and options.count > len(mine.examples):
        plural = real.spec.medium.plural
        raise UsageError(f"--count {options.count:,}: {generated} has {len(mine.examples):,} {plural}; leave it out")
    split = "train" if real.named else None
    judge = judge_against(measure_for(options, real.spec), real.examples, reference, split, real.labels)
    about = {"rounding": "uint8, as stored" if real.kind == Image.kind else None, **options.record()}
    records = judge(mine.examples[: options.count], scored=generated, **about)
    return records, [{**record, **options.record()} for record in _floor(*_held_of(judge, real, options, reference))]


def _held_of(
    judge: Judge, real: ComparedSet, options: Options, reference: str
) -> tuple[Judge, np.ndarray, np.ndarray | None, str]:
    """Real examples that the reference hasn't, its test split, and by which they are judged; of a set without one half
    of it, judged by the other."""
    if real.named:
        with contextlib.suppress(data.DataError):
            held = open_compared(reference, options, options.data_dir, classes=options.classes, split="test")
            return judge, held.examples, held.labels, f"the test {real.spec.medium.plural}"
    half, labels = len(real.examples) // 2, real.labels
    first, last = (None, None) if labels is None else (labels[:half], labels[half:])
    other = dataclasses.replace(judge, real=real.examples[half:], labels=last)
    return other, real.examples[:half], first, "one half of the reference, by the other"


def table(records: Sequence[Record], floor: Sequence[Record]) -> list[str]:
    """Scores a line each, of several GANs their mean ± standard deviation over these, with the floor beside them, and
    of pairs what their sources score."""
    lowest = {_row(record)[:2]: record for record in floor}
    numbers = list(dict.fromkeys(record.get("member") for record in records))
    several = [f"member {number}" for number in numbers] if len(numbers) > 1 else []
    lines = [["", *several, f"mean ± std over {len(several)} GANs" if several else "score", "samples"]]
    lines[0] += ["real images", "samples"] if floor else []
    copied = [record["copied"]["output"] for record in records if "copied" in record]
    lines[0] += [f"{copied[0]}, copied"] if copied else []
    compared = len({record.get("weights") for record in records}) > 1
    for output, key, weights in _rows(records):
        these = [record for record in records if _row(record) == (output, key, weights)]
        values = [record["value"] for record in these]
        mean, std = mean_and_std(values)
        each = [f"{value:.4g}" for value in values] if several else []
        name = these[0]["name"] if output is None else f"{output}: {these[0]['name']}"
        name += f", {weights} weights" if compared else ""
        lines.append([name, *each, mean_std_text(mean, std if several else these[0]["std"]), _counts(these[0])])
        if floor:
            low = lowest.get((output, key))
            lines[-1] += [mean_std_text(low["value"], low["std"]), _counts(low)] if low else ["", ""]
        if copied:
            beside = these[0].get("copied")
            lines[-1] += [mean_std_text(beside["value"], beside["std"]) if beside else ""]
    return align_columns(lines)


def _beside(records: Sequence[Record], floor: Sequence[Record]) -> list[Record]:
    """Returns the records, each with what real images score by the same measure, where that was found."""
    lowest = {_row(record)[:2]: {name: record[name] for name in ("value", "std", "scored")} for record in floor}
    return [{**record, "floor": lowest[key]} if (key := _row(record)[:2]) in lowest else record for record in records]


def _row(record: Record) -> tuple[str | None, str, str | None]:
    """Returns the table's row that a record belongs to: its output, where a run has several, its key and weights."""
    return record.get("output"), record["key"], record.get("weights")


def _rows(records: Sequence[Record]) -> list[tuple[str | None, str, str | None]]:
    """Returns the rows of records, those of different weights below each other."""
    rows = list(dict.fromkeys(map(_row, records)))
    scores = list(dict.fromkeys(row[:2] for row in rows))
    return sorted(rows, key=lambda row: scores.index(row[:2]))


def _counts(record: Record) -> str:
    pairs = " pairs" if record.get("compares") == "pairs" else ""
    return f"{record['samples']:,}{pairs}" + (f" against {record['real']:,}" if record["real"] else "")


def notes(records: Sequence[Record], floor: Sequence[Record]) -> Iterator[str]:
    """Returns the lines that one must know to read the table."""
    if floor:
        yield f"real images: {floor[0]['scored']}"
    if used := next((record["features"] for record in records if record["features"]), None):
        yield "features: {network}, sha256 {sha256}; resize: {resize}".format(**used)
        if not used["network"].startswith("inception"):
            yield f"features of {used['network']} compare only with each other, not with published numbers"
        elif used["sha256"] != INCEPTION_SHA256:
            yield f"that is not the published file, {INCEPTION_SHA256}: another network, unless its arrays are the same"
    for record in records:
        if record["key"] == "kl" and record["constants"]["of"] == 1000:
            uniform, digits = (kl_floor(record["samples"], p) for p in (np.ones(1000), stacked_frequencies()))
            yield f"KL of a perfect sampler: {uniform:.4f} for uniform digits, {digits:.4f} for MNIST's frequencies"
            break


def run(options: Options) -> None:
    if (options.run is None) == (options.generated is None):
        raise UsageError("name a run directory, or --generated and --reference")
    if (options.generated is None) != (options.reference is None):
        raise UsageError("--generated and --reference are given together: a name or path each")
    if options.run:
        for name in (field.name for field in dataclasses.fields(SetOptions)):
            require(options, name, getattr(options, name) is None, "given with --generated, not with a run")
    if options.pictures:
        for name in ("count", "generated"):
            require(options, name, getattr(options, name) is None, "left out where --pictures are scored")
        _require_plain(options, "left out where --pictures are scored")
    else:
        for field in dataclasses.fields(TranslationOptions):
            unset = getattr(options, field.name) in (None, ())
            require(options, field.name, unset, "given with --pictures")
    if options.run:
        records, floor = of_pictures(options, options.run) if options.pictures else of_run(options, options.run)
    else:
        say(f"reading {options.generated} and {options.reference} ...")
        records, floor = of_sets(options, str(options.generated), str(options.reference))
    say(*(picture_table(records) if options.pictures else [*table(records, floor), *notes(records, floor)]))
    if options.run:
        with writing(options.run / "evaluations.jsonl"):
            append(options.run, _beside(records, floor))
    if options.out:
        with writing(options.out):
            write_json(options.out, [*records, *floor])


if __name__ == "__main__":
    with plain_exits():
        run(command_line(Options, renamed=RENAMED))
