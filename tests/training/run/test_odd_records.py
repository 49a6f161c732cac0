"""An `options.json` may be anybody's: whatever stands in it, the run is opened, repeated, continued and begun with, or
refused in one line. No run is trained here: a record without checkpoints is refused at last for these."""

import dataclasses
import json
import math
import os

import jax
import numpy as np
import pytest

from experiments import cgan_mnist, dcgan_mnist, gan_ring, gan_vectors
from jaxgan import training
from jaxgan.training import DataSpec, UsageError
from jaxgan.training.options.options import name_of, of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.run.directory import Run
from scripts import compare, evaluate

IMAGE, LABEL = {"kind": "image", "shape": [28, 28, 1]}, {"kind": "label", "classes": 2, "counts": [3, 4]}
POINTS = {"kind": "points", "shape": [1, 1, 2]}
VECTOR = {"kind": "vectors", "shape": [2], "low": [0.0, 1.0], "high": [1.0, 1.0], "columns": ["a", "b"]}
FIELDS = {dcgan_mnist: IMAGE, cgan_mnist: IMAGE, gan_ring: POINTS, gan_vectors: VECTOR}
# What JSON can hold, and more that Python reads.
NUMBERS = [-1, 0, 1, 3, 10**6, 10**9, 2**31, 2**32, 2**62, 2**63, 10**19, 2.5, -0.0, 1e308, math.nan, math.inf]
TEXTS = [
    "",
    " ",
    "x",
    "auto",
    "\0",
    "a\0b",
    "\x1b[2J",
    "\ud800",
    "a" * 10**5,
    "9" * 5000,
    "a=1,2",
    "=",
    "..",
    "/dev/zero",
]
NESTED = [[], [1], ["a"], [[1]], {}, {"a": 1}, [{}]]
ODD = [None, True, False, *NUMBERS, *TEXTS, *NESTED]


def record_of(module, **options):
    values = dataclasses.asdict(of_preset(module.Options, "smoke", dataset="x")) | options
    data = {"name": "x", "count": 7, "fields": {"image": FIELDS[module], "label": LABEL}, "content": "0"}
    return {"jaxgan": "0.2.0", "experiment": module.__name__, "options": values, "data": data, "frozen": {"a": "b"}}


def write(folder, record):
    folder.mkdir(exist_ok=True)
    (folder / "options.json").write_text(record if isinstance(record, str) else json.dumps(record))
    return folder


def in_a_line(error):
    assert str(error.value).isprintable() and len(str(error.value)) < 1500


def taken(make, case):
    """What `make()` returns; None where it is refused in a line. Anything else is a failure, told with the case."""
    try:
        return make()
    except UsageError as refusal:
        told = str(refusal)
    except Exception as error:
        raise AssertionError(f"{case!r:.200}") from error
    assert told.isprintable() and len(told) < 1500, case
    return None


FEW = [None, True, -1, 1, 2**63, 2.5, math.nan, "", "x", "a\0b", "\x1b[2J", "\ud800", "a" * 10**4, [], [1], {}]
ALL = [pytest.param(module, ODD, marks=pytest.mark.slow) for module in (gan_ring, dcgan_mnist)]


@pytest.mark.parametrize("module, odd", [(gan_ring, FEW), *ALL], ids=["ring, few", "ring", "dcgan"])
def test_each_option_is_of_its_type_or_refused(module, odd, tmp_path):
    """By what a field's default says of its type, and nothing else."""
    record, run = record_of(module), Run(tmp_path)
    for field in dataclasses.fields(module.Options):
        for value in odd:
            case = field.name, value
            write(tmp_path, {**record, "options": {**record["options"], field.name: value}})
            found = taken(run.experiment, case)
            kind = list if isinstance(field.default, tuple) else type(field.default)  # as a record has it
            same = value == record["options"][field.name] and type(value) is kind
            assert found or not same, case
            if found:
                options, number = found[1], isinstance(value, (int, float)) and not isinstance(value, bool)
                text = isinstance(value, str) and "\0" not in value and "\ud800" not in value
                fits = {
                    bool: isinstance(value, bool),
                    int: number and isinstance(value, int) and value < 2**63,
                    float: number and not (isinstance(value, int) and value >= 2**63),
                    str: text,
                    list: isinstance(value, list) and all(isinstance(each, (int, float)) for each in value),
                    type(None): value is None or number or text,
                }
                # None also where the default is another value.
                assert fits[kind] or (value is None and "None" in str(field.type)), case
                assert getattr(options, field.name) == (tuple(value) if kind is list else value), case


@pytest.mark.parametrize(
    "module, names",
    [
        (gan_ring, ["width", "latent_size", "batch_size", "seeds", "sweep", "lookahead", "accumulate", "dtype"]),
        (dcgan_mnist, ["features", "discriminator_features", "image_size", "latent_size"]),
    ],
    ids=["ring", "dcgan"],
)
@pytest.mark.usefixtures("as_users_have_it")
def test_a_network_of_any_size_is_refused_before_it_takes_memory(module, names, tmp_path):
    for name in names:
        for value in (1, 10**6, 10**9, 2**31, 2**62, "a=1", "ema_half_life=1,2", f"ema_half_life={'1,' * 10**4}1"):
            record = record_of(module, **{name: value})
            with pytest.raises(UsageError) as error:
                training.open(write(tmp_path / "run", record))
            in_a_line(error)


@pytest.mark.slow
@pytest.mark.parametrize("module", [gan_ring, dcgan_mnist], ids=["ring", "dcgan"])
@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # of 1e308
def test_opening_ends_in_a_line_whatever_the_options(module, tmp_path):
    record = record_of(module)
    for name in record["options"]:
        for value in ODD:
            write(tmp_path / "run", {**record, "options": {**record["options"], name: value}})
            with pytest.raises(UsageError) as error:
                training.open(tmp_path / "run")
            in_a_line(error)


def places(value, place=()):
    """The paths of all values in a JSON value."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*place, key))


LEFT_OUT = object()


def put(value, place, new):
    """A copy with another value in that place, or without one."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = put(value[place[0]], place[1:], new)
    return {key: part for key, part in copy.items() if part is not LEFT_OUT} if isinstance(copy, dict) else copy


SHAPES = [[28, 28, 1], [1, 1, 2], [2**20, 2**20, 3], [2**15, 2**15, 1], [1, -1, 2], [1.0, 1, 2], [2], [10**9], [0]]
PARTS = [{"image": {}}, {"image": IMAGE}, {"label": LABEL}, {"image": LABEL}, {"label": IMAGE}, {"a": {"fields": {}}}]


@pytest.mark.parametrize("module", FIELDS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_description_of_data_is_whole_or_refused(module):
    """What is taken is described as it is written: nothing is made up for what is missing."""
    data = record_of(module)["data"]
    several = {"name": "x", "count": 7, "fields": {}, "sets": {"a": data, "b": data}, "content": ""}
    old = {"name": "x", "count": 7, "size": 8, "channels": 3, "classes": 2, "content": "0"}
    for whole in (data, several, old):
        assert DataSpec.from_record(whole).record()
        for place in places(whole):
            for value in [*ODD, *SHAPES, *PARTS]:
                spec = taken(lambda: DataSpec.from_record(put(whole, place, value)), (place, value))  # noqa: B023
                for one in (spec.sets or {"": spec}).values() if spec else ():
                    assert isinstance(one.name, str) and isinstance(one.count, int) and one.count >= 1
                    assert isinstance(one.content, str) and one.medium and one.classes >= 0
                    assert math.prod(one.shape) < 2**31 and all(side >= 1 for side in one.shape)
                    assert jax.tree.leaves(one.batch(3)) and json.dumps(one.record())
        for place in (place for place in places(whole) if place and isinstance(place[-1], str)):
            taken(lambda: DataSpec.from_record(put(whole, place, LEFT_OUT)), place)  # noqa: B023


def test_large_data_take_no_memory(tmp_path):
    for module, shape in ((gan_ring, [1, 1, 10**9]), (cgan_mnist, [2**15, 2**15, 1]), (cgan_mnist, [28, 28, 2**20])):
        record = record_of(module)
        record["data"]["fields"] = {"image": {**FIELDS[module], "shape": shape}, "label": {**LABEL, "classes": 2}}
        with pytest.raises(UsageError) as error:
            training.open(write(tmp_path / "run", record))
        in_a_line(error)


# --- the file itself ---

DEEP = "[" * 100_000
WHOLE = json.dumps(record_of(gan_ring))
FILES = {
    "nothing": ("", "it is no JSON"),
    "deep": (DEEP, "it is nested too deeply"),
    "deep inside": (WHOLE.replace('"0.2.0"', DEEP + "]" * 100_000), "it is nested too deeply"),
    "list": ("[]", "it is no table"),
    "number": ("5", "it is no table"),
    "null": ("null", "it is no table"),
    "twice": ('{"experiment": "a", ' + WHOLE[1:], "it has the same name twice"),
    "option twice": (WHOLE.replace('"steps"', '"width"'), "it has the same name twice"),
    "long number": (WHOLE.replace('"steps": 2', '"steps": ' + "9" * 5000), "an integer of 5000 digits"),
    "not UTF-8": (WHOLE.replace("smoke", "\xff"), "it is no UTF-8"),
    "no options": ('{"experiment": "e"}', 'its "options" must be a table'),
    "no experiment": ('{"options": {}}', 'its "experiment" must be text'),
    "frozen": (WHOLE.replace('"frozen": {"a": "b"}', '"frozen": {"a": 1}'), 'its "frozen" must be a table, each text'),
    "sessions": (WHOLE[:-1] + ', "sessions": [1]}', 'its "sessions" must be a list, each a table'),
    "cut": (WHOLE[:300], "it is no JSON"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_record_is_told_in_a_line_everywhere(name, tmp_path):
    content, message = FILES[name]
    run = tmp_path / "run"
    run.mkdir()
    (run / "options.json").write_bytes(content.encode("latin-1"))
    everywhere(run, message)


def everywhere(run, message):
    """What reads a record says the same: opening, scoring, comparing, continuing, `--from` and `--options`."""
    calls = [
        lambda: training.open(run),
        lambda: evaluate.run(evaluate.Options(run=run)),
        lambda: compare.run(compare.Options(runs=(run, run.parent))),
        lambda: training.train(gan_ring.build, gan_ring.Options(workdir=str(run))),
        lambda: Run(run).record(),
        lambda: parse(gan_ring.Options, ["--options", str(run / "options.json")]),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=message) as error:
            call()
        in_a_line(error)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    makers = {"pipe": os.mkfifo, "folder": os.mkdir}
    for name, make in makers.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / "options.json")
        everywhere(tmp_path / name, "it is no regular file")
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "options.json").open("wb") as file:
        file.truncate(2**30)
    everywhere(tmp_path / "large", "it has more than 67,108,864 bytes")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "options.json").symlink_to("options.json")
    everywhere(tmp_path / "loop", "symbolic links")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 2.5}, "--width must be an integer of 64 bits, got 2.5"),
        ({"seeds": 10**9}, "--seeds must be from 1 to 4096, got 1000000000"),
        ({"sweep": 5}, "--sweep must be text or none, got 5"),
        ({"from_run": [1]}, "--from must be text or none, got 1"),
        ({"step": "newest"}, "--step must be an integer of 64 bits or best or none, got newest"),
        ({"dataset": None}, "--dataset must be text, got none"),
        ({"dtype": "object"}, "--dtype must be float32 or bfloat16, got object"),
        ({"stream": 1}, "--stream must be true or false, got 1"),
        ({"checkpoint_every": 0}, "--checkpoint-every must be at least 1, got 0"),
        ({"beta1": math.nan}, "--beta1 must be at least 0 and below 1, got nan"),
    ],
)
def test_a_wrong_option_is_told_in_the_same_words_everywhere(change, message, tmp_path):
    run = write(tmp_path / "run", record_of(gan_ring, **change))
    calls = [
        lambda: training.open(run),
        lambda: parse(gan_ring.Options, ["--options", str(run / "options.json")]),
        lambda: gan_ring.Options(**change),
    ]
    if "seeds" not in change and "checkpoint_every" not in change and "beta1" not in change:
        calls.append(lambda: training.train(gan_ring.build, gan_ring.Options(workdir=str(run))))
    for call in calls:
        with pytest.raises(UsageError, match=message.replace("(", r"\(")) as error:
            call()
        in_a_line(error)


@pytest.mark.parametrize("change", [{"width": 2.5}, {"seeds": 10**9}, {"sweep": 5}, {"seeds": None}, {"step": [1]}])
@pytest.mark.usefixtures("as_users_have_it")
def test_a_run_is_not_begun_with_one_that_can_not_be(change, tmp_path):
    other = write(tmp_path / "other", record_of(gan_ring, **change))
    options = of_preset(gan_ring.Options, "smoke", from_run=str(other), workdir=str(tmp_path / "new"))
    with pytest.raises(UsageError, match=f"other.*: --{next(iter(change))} must be ") as error:
        training.train(gan_ring.build, options)
    in_a_line(error)
    assert not (tmp_path / "new").exists()


def test_a_list_is_a_tuple_again(tmp_path):
    """A record has lists for both; a run of such options is opened and continued."""
    record = record_of(gan_ring) | {"experiment": name_of(Several)}
    run = write(tmp_path, {**record, "options": {**record["options"], "widths": [3, 4], "table": {"a": 1.0}}})
    _, options, _ = Run(run).experiment(training.run.experiment.Experiment(gan_ring.build, Several))
    assert options == of_preset(Several, "smoke", dataset="x", widths=(3, 4), table={"a": 1.0})
    fitted = Run(run).fitted(Run(run).record(), Several, Several)
    assert fitted["options"]["widths"] == (3, 4)
    for widths in ([3, "a"], 3, [3.5], [[3]]):
        with pytest.raises(UsageError, match=r"--widths must be a list, each an integer of 64 bits, got"):
            Several(widths=widths)
    for pair in ((1, 2), [1], "ab"):
        with pytest.raises(UsageError, match=r"--pair must be a list, an integer of 64 bits, text, got"):
            Several(pair=pair)
    for table in ({"a": "b"}, {1: 1.0}, [1]):
        with pytest.raises(UsageError, match=r"--table must be a table, each a number or none, got"):
            Several(table=table)


def test_what_a_program_gives_is_as_a_record_can_hold_it(tmp_path):
    options = gan_ring.Options(width=np.int64(4), learning_rate=np.float32(0.5), workdir=tmp_path, flip=np.bool_(True))
    values = dataclasses.asdict(options)
    assert json.loads(json.dumps(values)) == values | {"power_ema": [], "players": []}
    assert (options.width, options.learning_rate, options.workdir, options.flip) == (4, 0.5, str(tmp_path), True)


@dataclasses.dataclass(frozen=True)
class Several(gan_ring.Options):
    """Options of types that a command line of ours has nowhere."""

    widths: tuple[int, ...] = (1,)
    pair: tuple[int, str] = (1, "a")
    table: dict[str, float] | None = None
