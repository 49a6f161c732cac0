"""Command lines: every mistake is one line, every option is explained, a file of options repeats a run."""

import dataclasses
import json
import re
import warnings

import pytest

from experiments.dcgan_mnist import Options
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import UsageError, flag
from jaxgan.training.options.options import as_named_now, differing
from jaxgan.training.options.parsing import parse


def test_defaults_and_given_values():
    assert parse(Options, []) == Options()
    given = parse(Options, ["--steps", "7", "--batch-size=3", "--image-size", "64", "--fresh", "--data-dir", "d"])
    assert given == Options(steps=7, batch_size=3, image_size=64, fresh=True, data_dir="d")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--stepz", "3"], "--stepz"),
        (["--steps", "many"], r"^--steps must be a whole number, got many \(generator updates, counted "),
        (["--steps"], "--steps"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--batch-size", "-4"], "--batch-size must be at least 1, got -4"),
        (["--dry-run", "--coordinator", "auto"], "--dry-run must be used without --coordinator"),
        (["--sample-every", "0"], "--sample-every must be at least 1, got 0"),
        (["--image-size", "30"], "--image-size must be 16, 28, 32, 64 or 128, got 30"),
        (["--options"], "--options needs a file"),
        (["--options", "nowhere.json"], "--options nowhere.json can't be read"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, message, capsys):
    with pytest.raises(UsageError, match=message) as error:
        parse(Options, arguments)
    assert "\n" not in str(error.value) and "│" not in str(error.value)
    assert capsys.readouterr().err == ""


def test_a_warning_is_one_line_that_says_it(capsys):
    shown = warnings.showwarning
    with plain_exits(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("parts of a batch", stacklevel=1)
    assert capsys.readouterr().err == "warning: parts of a batch\n"
    assert warnings.showwarning is shown


def test_help_explains_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Options, ["--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Options):
        assert re.search(rf"--{flag(field.name)}(, --no-{flag(field.name)})? ", said)
        default = ("off", "on")[field.default] if isinstance(field.default, bool) else field.default
        assert field.default in (None, ()) or f"(default: {default})" in said
    assert "--options PATH" in said and "Radford" in said and "None" not in said


def test_a_file_repeats_a_run_in_a_new_directory(tmp_path):
    options = Options(steps=5, features=8, dataset="digits", workdir="old", log="wandb")
    path = tmp_path / "options.json"
    path.write_text(json.dumps({"experiment": "experiments.dcgan_mnist", "options": dataclasses.asdict(options)}))
    assert parse(Options, ["--options", str(path)]) == dataclasses.replace(options, workdir=None, log=None)
    assert parse(Options, [f"--options={path}", "--steps", "9"]).steps == 9


@pytest.mark.parametrize(
    "content", ["", "[]", '{"experiment": "e", "options": 3}', '{"experiment": "e", "options": {}}']
)
def test_a_file_of_something_else_is_refused(content, tmp_path):
    path = tmp_path / "options.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"--options .*options\.json"):
        parse(Options, ["--options", str(path)])


@pytest.mark.parametrize(
    "name, value", [("no_such", 1), ("features", "abc"), ("image_size", 30), ("seed", 0.5), ("batch_size", 8.5)]
)
def test_a_file_is_checked_like_a_command_line(name, value, tmp_path):
    path = tmp_path / "options.json"
    path.write_text(json.dumps({"experiment": "experiments.dcgan_mnist", "options": {name: value}}))
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        parse(Options, ["--options", str(path)])


def written(path, **options):
    path.write_text(json.dumps({"experiment": "experiments.dcgan_mnist", "options": options}))
    return ["--options", str(path)]


def test_a_repeated_run_has_a_directory_and_machines_of_its_own(tmp_path):
    """And begins where the other did."""
    own = {"workdir": "/a", "fresh": True, "dry_run": True, "coordinator": "a:1", "processes": 2, "process": 1}
    repeated = parse(Options, written(tmp_path / "o.json", **own, from_run="/b", step=3))
    assert repeated == Options(from_run="/b", step=3)


@pytest.mark.parametrize(
    "name",
    [
        *("workdir=/a", "--workdir", "workdir ", "work-dir", "WORKDIR", "workdir\n", "-workdir", "coordinator=a:1"),
        *("from", "from-run", "no-stream", "options", "preset=paper", "PRESETS", "MAY_CHANGE", "__class__", "help", ""),
    ],
)
def test_a_file_has_options_by_their_exact_names_alone(name, tmp_path):
    for value in (True, "x", 1, None):
        with pytest.raises(UsageError, match=r"^--options .*o\.json: there is no option --") as error:
            parse(Options, written(tmp_path / "o.json", **{name: value}))
        assert str(error.value).isprintable()


def test_a_name_that_is_almost_one_is_answered_with_it(tmp_path):
    for name, meant in (("learningrate", "learning-rate"), ("batchsize", "batch-size"), ("workdir=/a", "workdir")):
        with pytest.raises(UsageError, match=rf"there is no option --{name}; perhaps you meant --{meant}$"):
            parse(Options, written(tmp_path / "o.json", **{name: 3}))


def test_what_is_typed_goes_before_the_file(tmp_path):
    file = written(tmp_path / "o.json", steps=7, flip=True, learning_rate=1, classes="3,7")
    assert parse(Options, file) == Options(steps=7, flip=True, learning_rate=1.0, classes="3,7")
    typed = [*file, "--steps", "8", "--no-flip", "--classes", "None"]
    assert parse(Options, typed) == Options(steps=8, learning_rate=1.0)


@pytest.mark.parametrize(
    "changes",
    [
        *({"features": 0}, {"latent_size": 0}, {"seed": -1}, {"seed": 2**32}, {"learning_rate": float("nan")}),
        *({"learning_rate": 0.0}, {"beta1": 1.0}, {"ema_half_life": -5.0}, {"dataset": ""}, {"rotate": 200.0}),
    ],
)
def test_values_that_cannot_work_are_refused_in_a_program_too(changes):
    (name,) = changes
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be .*, got"):
        Options(**changes)


def test_only_what_changes_no_number_may_differ():
    before = dataclasses.asdict(Options())
    allowed = Options(steps=1, checkpoint_every=1, sample_every=1, workdir="w", data_dir="d", fresh=True)
    assert differing(allowed, before) == []
    assert differing(Options(beta1=0.9, batch_size=32), before) == [
        "--batch-size 32 (the run has 64)",
        "--beta1 0.9 (the run has 0.5)",
    ]


@pytest.mark.parametrize("old, new, value", [("--size", "--preset", "smoke"), ("--eval-samples", "--eval-count", "64")])
def test_options_that_there_were_are_refused_with_those_there_are(old, new, value):
    for arguments in [old, value], [f"{old}={value}"]:
        with pytest.raises(UsageError, match=rf"^{old} is now {new} \(--help lists the options\)$"):
            parse(Options, arguments)


def test_a_file_from_before_has_its_options_by_the_names_that_they_have_now(tmp_path):
    path = tmp_path / "options.json"
    options = Options(preset="paper", eval_count=99, features=8)
    old = dataclasses.asdict(options)
    old |= {"size": old.pop("preset"), "eval_samples": old.pop("eval_count")}
    path.write_text(json.dumps({"experiment": "experiments.dcgan_mnist", "options": old}))
    assert parse(Options, ["--options", str(path)]) == options
    with pytest.raises(UsageError, match="is of preset paper and has all values; leave out --preset smoke"):
        parse(Options, ["--options", str(path), "--preset", "smoke"])


@dataclasses.dataclass(frozen=True)
class OfOnesOwn(Options):
    size: int = 3
    """An experiment's option by a name that a common one had once."""


def test_an_older_name_may_be_that_of_another_option_by_now():
    options = OfOnesOwn(size=4, preset="paper")
    assert as_named_now(dataclasses.asdict(options)) == dataclasses.asdict(options)
    assert parse(OfOnesOwn, ["--size", "4"]) == OfOnesOwn(size=4)


def test_a_name_that_there_was_is_refused_with_the_one_there_is():
    with pytest.raises(UsageError, match=r"^--rate is now --learning-rate \(--help lists the options\)$"):
        command_line(Options, ["--rate=1"], renamed={"--rate": "--learning-rate"})
