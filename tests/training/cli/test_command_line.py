"""Every option of every command with values that newcomers type: each is taken, or refused in a line without Python's
words; names that other programs have for an option are answered with ours; help in groups."""

import dataclasses
import importlib
import pkgutil
import re
import types
import typing
from pathlib import Path

import pytest

import scripts
from experiments import dcgan_cifar10, gan_ring, lsgan_mnist, unrolled_ring, wgan_gp_mnist
from jaxgan.nearest import perhaps
from jaxgan.training import UsageError
from jaxgan.training.cli.arguments import Positional, arguments_of, sentence, types_of
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.words import ELSEWHERE
from jaxgan.training.options.fields import bounds_of
from jaxgan.training.options.options import Options as CommonOptions
from jaxgan.training.options.parsing import parse

EXPERIMENTS = [module.Options for module in (dcgan_cifar10, gan_ring, unrolled_ring, lsgan_mnist)]
SCRIPTS = [
    module.Options
    for name in sorted(info.name for info in pkgutil.walk_packages(scripts.__path__, "scripts."))
    if "golden" not in name and "pytorch_" not in name
    if hasattr(module := importlib.import_module(name), "Options")
]
COMMANDS = [*EXPERIMENTS, *SCRIPTS]
NEEDED = {"run": "r", "tool": "walk", "inputs": "a.png", "runs": "r", "dataset": "mnist", "out": "--out"}
BESIDE = {"calibrate": ["--reject=drs"]}  # without which a switch is refused
PYTHONS = re.compile(r"None\b|PosixPath|<class|invalid literal|Literal|NoneType|\('|\['|\{'|could not convert|\bTrue\b")
WRONG = {
    int: ["", "x", "-1", "nan", "inf", "1e3", "1.5", "1,", "0x10", "³", "1 2", "99999999999999999999", "9" * 5000],
    float: ["", "x", "-1", "nan", "inf", "-inf", "1e300", "0,5", "1,", "1e", "½"],
    Path: ["", ".", "nowhere/a.png", "a", "a.jpg", "a.png.exe", "a.PN", "/"],
    str: [""],
}


def of(options_type, name, text):
    """A command line that has all that is needed, and one odd value."""
    given = []
    for argument in arguments_of(options_type):
        if argument.name == name:
            continue
        if argument.name == "out" and argument.default in (dataclasses.MISSING, ()):
            given += ["--out=a.png"]
        elif argument.default is dataclasses.MISSING:
            given += [NEEDED[argument.name]]
    argument = next(argument for argument in arguments_of(options_type) if argument.name == name)
    if argument.positional:  # several come last, and a tool behind its run
        place = len(given) if argument.several else int(argument.name == "tool")
        return [*given[:place], text, *given[place:]]
    return [*given, f"{argument.typed}={text}"]


def kinds(argument):
    kind = typing.get_args(argument.kind)[0] if argument.several else argument.kind
    return [member for member in types_of(kind) if member is not types.NoneType]


def refusal(options_type, arguments):
    with pytest.raises(UsageError) as error:
        parse(options_type, arguments) if issubclass(options_type, CommonOptions) else command_line(
            options_type, arguments
        )
    said = str(error.value)
    assert said.isprintable() and len(said) < 700 and not PYTHONS.search(said), said
    return said


def wrong(argument):
    """Texts that an option can't be."""
    kind = kinds(argument)[-1]
    if argument.switch:
        return ["", "true", "1", "x"]
    folder = argument.name == "cache" or argument.about.startswith("The folder")
    if folder or argument.name == "style" or (argument.positional and kind is Path):
        return [""]  # a folder, which may be anywhere, or files that are read later
    if argument.name in ("link", "card"):
        return ["", "x", "-1", "nan"]  # a network may be modelled that costs nothing
    if argument.name in ("truncation", "truncations", "strengths"):  # which may be negative
        return [text for text in WRONG[float] if text != "-1"]
    return WRONG.get(kind, ["", "x", "-1", "none?"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__module__)
def test_every_option_refuses_what_it_cannot_be(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argument in arguments_of(command):
        for text in wrong(argument):
            said = refusal(command, of(command, argument.name, text))
            assert argument.typed in said or f"can't write {text}" in said, said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__module__)
def test_every_number_has_bounds_and_every_option_a_docstring(command):
    bounds = bounds_of(command)
    for argument in arguments_of(command):
        assert argument.about, argument.name
        assert sentence(argument).count("(") == sentence(argument).count(")"), sentence(argument)
        own = ("image_size", "load_size", "seed", "seeds", "pack", "minibatch_std", "fake_target", "power_ema")
        if {int, float} & set(kinds(argument)) and argument.name not in own:
            assert argument.name in bounds, argument.name


@pytest.mark.parametrize("command", EXPERIMENTS, ids=lambda command: command.__module__)
def test_numbers_at_the_ends_are_refused_in_words(command):
    for typed, said in {
        "--steps 0": "--steps must be at least 1, got 0",
        "--steps 2147483648": "--steps must be at least 1 and at most 2147483647, got 2147483648",
        "--steps 1e5": "--steps must be a whole number, got 1e5; write 100000",
        "--batch-size 0": "--batch-size must be at least 1, got 0",
        "--learning-rate 0": "--learning-rate must be above 0 and finite, got 0.0",
        "--learning-rate 1e-60": "--learning-rate must be above 0 and finite, as float32 holds it too, got 1e-60",
        "--learning-rate 0,001": "--learning-rate must be a number, got 0,001; write 0.001",
        "--beta2 0.99999999999": "--beta2 must be at least 0 and below 1, as float32 holds it too, got 0.99999999999",
        "--eval-every 0": "--eval-every must be at least 1, got 0",
        "--workers -1": "--workers must be from 1 to 1024, got -1",
        "--seed -1": "--seed must be from 0 to 2^32 - --seeds, got -1",
        "--seed 4294967296": "--seed must be from 0 to 2^32 - --seeds, got 4294967296",
        "--process -1": "--process must be at least 0, got -1",
        "--seed": "--seed needs a value: everything random follows from it",
        "--seed --steps 3": "--seed needs a value: everything random follows from it",
        "--batch-size ten": "--batch-size must be a whole number, got ten (images in a batch)",
    }.items():
        assert refusal(command, typed.split(" ")) == said


def test_what_is_unusual_and_right_is_taken():
    options = parse(gan_ring.Options, ["--steps=1_000", "--batch_size", "8", "--learning-rate", "1e-3", "--steps", "7"])
    assert (options.steps, options.batch_size, options.learning_rate) == (7, 8, 1e-3)
    options = parse(
        dcgan_cifar10.Options, ["--image-size", "64", "--channels", "none", "--step", "best", "--from", "r"]
    )
    assert (options.image_size, options.channels, options.step, options.from_run) == (64, None, "best", "r")
    assert parse(gan_ring.Options, ["--workdir=-x", "--data-dir", "a b"]).workdir == "-x"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__module__)
def test_every_switch_has_both_forms(command):
    for argument in arguments_of(command):
        if argument.switch:
            need = [*of(command, argument.name, "")[:-1], *BESIDE.get(argument.name, [])]
            for typed, value in ((f"--{argument.flag}", True), (f"--no-{argument.flag}", False)):
                options = command_line(command, [*need, f"--no-{argument.flag}", typed])
                assert getattr(options, argument.name) is value
            said = refusal(command, [*need, f"--{argument.flag}", "false"])
            assert said == f"--{argument.flag} takes no value; it is turned off by --no-{argument.flag}"


def test_a_flag_that_is_on_is_helped_with_both_forms(capsys):
    for command, default in ((dcgan_cifar10.Options, "on"), (gan_ring.Options, "off")):
        with pytest.raises(SystemExit):
            parse(command, ["--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert (
            f"--flip, --no-flip Mirror half of the real images left to right, at random. (default: {default})" in said
        )
    assert parse(dcgan_cifar10.Options, []).flip and not parse(dcgan_cifar10.Options, ["--no-flip"]).flip
    assert parse(dcgan_cifar10.Options, ["--no-flip", "--flip"]).flip


@pytest.mark.parametrize(
    "typed, meant",
    [
        *(("--stepz", "steps"), ("--lr", "learning-rate"), ("--epochs", "steps"), ("-n", "eval-count")),
        *(("--batch", "batch-size"), ("-b", "batch-size"), ("--bs=3", "batch-size"), ("--gpu", "devices")),
        *(("--cuda", "devices"), ("--device=cuda", "devices"), ("--out-dir", "workdir"), ("--output", "workdir")),
        *(("--resume", "workdir"), ("--data", "dataset"), ("--iterations", "steps"), ("--max-steps", "steps")),
        *(("--num-samples", "eval-count"), ("--lr-g", "generator-learning-rate"), ("--ema", "ema-half-life")),
        *(("--LR_D", "discriminator-learning-rate"), ("--z-dim", "latent-size"), ("--optim", "optimizer")),
        *(("--fp16", "dtype"), ("--num_workers", "workers"), ("--mirror", "flip"), ("--no-mirror", "flip")),
        *(("--config", "options"), ("--lamda", None), ("--size=64", "image-size"), ("--learning_rte", "learning-rate")),
        *(("--b1", "beta1"), ("--wd", "weight-decay"), ("--save-every", "checkpoint-every"), ("--overwrite", "fresh")),
        *(("--no-flp", "no-flip"), ("--fid", "metrics"), ("--nz", "latent-size"), ("--pretrained", "from")),
    ],
)
def test_names_from_elsewhere_are_answered_with_ours(typed, meant):
    said = refusal(dcgan_cifar10.Options, [typed, "1"])
    name = typed.partition("=")[0]
    hint = rf"; perhaps you meant --{meant}(: [^A-Z].*)?" if meant else ""
    assert re.fullmatch(rf"{re.escape(name)} is no option{hint} \(--help lists the options\)", said), said


@pytest.mark.parametrize(
    "script, typed, meant",
    [
        *(("sample", "--num-samples", "count"), ("sample", "-n", "count"), ("sample", "--output", "out")),
        *(("sample", "--ema", "weights"), ("sample", "--class", "label"), ("sample", "--checkpoint", "step")),
        *(("evaluate", "--fid", "metrics"), ("evaluate", "--fake", "generated"), ("compare", "--metric", "key")),
        *(("data", "--experiment", "for"), ("data", "--resolution", "image-size"), ("train_features", "--lr", None)),
    ],
)
def test_names_from_elsewhere_are_answered_by_scripts_too(script, typed, meant):
    said = refusal(importlib.import_module(f"scripts.{script}").Options, ["mnist", typed, "1"])
    assert (f"perhaps you meant --{meant}" if meant else f"{typed} is no option (") in said


def test_the_words_of_others_lead_to_options_that_there_are():
    flags = {argument.flag for command in COMMANDS for argument in arguments_of(command)}
    flags |= {argument.flag for argument in arguments_of(wgan_gp_mnist.Options)}
    assert set(ELSEWHERE) - flags <= {"options"}
    for target, words in ELSEWHERE.items():
        assert len(set(words.split())) == len(words.split()) and target not in words.split(), target
        assert all(word == word.casefold() and "_" not in word for word in words.split()), target


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--optimizer", "adm"], "--optimizer must be adam, adamw, rmsprop or sgd, got adm; perhaps you meant adam"),
        (["--schedule", "Cosin"], "--schedule must be constant, linear or cosine, got Cosin; perhaps you meant cosine"),
        (["--preset", "smok"], "--preset must be laptop, paper or smoke, got smok; perhaps you meant smoke"),
        (["--metrics", "fid,kdi"], "got fid,kdi; perhaps you meant kid"),
        (["--label", "seven"], "--label is no option"),
        (["steps=100"], "steps=100 belongs to no option; perhaps you meant --steps: generator updates, counted from"),
        (["mnist"], "mnist belongs to no option; it needs one before it, such as --NAME VALUE (--help lists"),
        (["--size", "64"], "--size is no option; perhaps you meant --image-size: pixels of a side"),
        (["--size", "smoke"], "--size is now --preset (--help lists the options)"),
        (["--\x1b[31mred"], "--\\x1b[31mred is no option (--help lists the options)"),
    ],
)
def test_names_that_are_nearly_right(arguments, said):
    assert said in refusal(dcgan_cifar10.Options, arguments)


def test_a_label_in_words_is_answered_with_its_number():
    assert refusal(of_script("sample"), ["run", "--label", "seven"]).endswith(
        "must be a whole number, got seven; write 7"
    )
    said = refusal(of_script("sample"), ["run", "--label", "cat"])
    assert (
        said
        == "--label must be a whole number, got cat (the class of all images, counted from 0, of a conditional GAN)"
    )


def of_script(name):
    return importlib.import_module(f"scripts.{name}").Options


def test_what_is_missing_is_named_with_the_usage():
    said = refusal(of_script("codes"), ["--out", "a.png"])
    assert said.startswith("RUN is missing (a run of experiments.infogan_mnist); usage: ")
    assert "RUN --out PATH [OPTIONS]" in said
    said = refusal(of_script("sample"), ["--out", "a.png", "run"])
    assert "RUN is missing (a run directory); it comes before --out, which takes all that follows" in said
    assert "--out is missing (file for the picture, .png)" in refusal(of_script("codes"), ["run"])


@dataclasses.dataclass(frozen=True)
class Several:
    """What a tuple takes."""

    first: Positional[str]
    """One."""
    rest: Positional[tuple[int, ...]] = ()
    """Others."""
    sizes: tuple[int, ...] = (1, 2)
    """Some sizes."""


def test_values_of_a_tuple():
    assert command_line(Several, ["a", "3", "4"]) == Several("a", (3, 4))
    assert command_line(Several, ["a", "--sizes", "3", "4"]) == Several("a", sizes=(3, 4))
    assert command_line(Several, ["--sizes=3", "--sizes", "4", "--", "--a", "-5"]) == Several("--a", (-5,), (3, 4))
    assert command_line(Several, ["a", "--sizes", "-3", "4", "-5", "6"]) == Several("a", sizes=(-3, 4, -5, 6))
    with pytest.raises(UsageError, match=r"^-x is no option "):
        command_line(Several, ["a", "--sizes", "-3", "-x"])
    with pytest.raises(UsageError, match=r"^--sizes must be a whole number, with spaces between, got 3,4 "):
        command_line(Several, ["a", "--sizes", "3,4"])
    with pytest.raises(UsageError, match=r"^--sizes needs a value: some sizes$"):
        command_line(Several, ["a", "--sizes"])


def headings(text):
    return re.findall(r"^(\S.*):$", text, re.MULTILINE)


def test_help_is_in_groups_and_paragraphs(capsys, monkeypatch):
    """The experiment's own first; the note's paragraphs as they were written; no escape codes."""
    for columns in ("120", "80", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit) as stop:
            parse(dcgan_cifar10.Options, ["--help"])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        own, *others = headings(said)
        assert "own" in own and others == ["run", "data", "optimiser", "scores", "devices"]
        assert "\x1b" not in said and "│" not in said and "None" not in said
        note, options = said.split(f"{own}:")
        assert max(map(len, options.splitlines())) <= int(columns)
        wide = [line for line in note.splitlines() if len(line) > int(columns)]
        assert all(line.startswith("    python -m") for line in wide), "commands stay on their lines"
        if columns == "120":
            assert dcgan_cifar10.__doc__.strip() in note
        assert note.count("\n\n") == said[: len(note)].count("\n\n") >= 6
    positions = [options.index(f"--{name} ") for name in ("features", "workdir", "dataset", "steps", "metrics")]
    assert positions == sorted(positions)


def test_without_a_terminal_a_line_has_the_width_of_a_docstring(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    for command in SCRIPTS:
        with pytest.raises(SystemExit):
            command_line(command, ["-h"])
        said = capsys.readouterr().out
        for paragraph in importlib.import_module(command.__module__).__doc__.strip().split("\n\n"):
            assert paragraph in said
        assert "\x1b" not in said and "None" not in said


def test_perhaps():
    assert perhaps("Adm", ["adam", "sgd"]) == "; perhaps you meant adam"
    assert perhaps("fashion-MNIST", ["mnist", "fashion_mnist"]) == "; perhaps you meant fashion_mnist"
    assert perhaps("quux", ["adam"]) == "" == perhaps("", [])
