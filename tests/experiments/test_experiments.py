"""Every experiment at its smallest, its presets and options, and the list that `python -m experiments` prints."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import ClassVar

import jax
import numpy as np
import pytest
from conftest import assert_same, of_a_kind

from experiments import __main__ as listing
from jaxgan.training import DataSpec, UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.cli.arguments import arguments_of
from jaxgan.training.options.fields import bounds_of
from jaxgan.training.options.options import Options, differing, of_preset
from jaxgan.training.options.parsing import parse
from jaxgan.training.recipe.loading import load
from scripts.checkpoint_options import takes

pytestmark = pytest.mark.usefixtures("as_users_have_it")

ROOT = pathlib.Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if not path.stem.startswith("_"))
MODULES = {name: importlib.import_module(f"experiments.{name}") for name in NAMES}
SMOKE = ["--preset", "smoke", "--devices", "1"]


every_experiment = pytest.mark.parametrize("name", of_a_kind(NAMES))


@every_experiment
def test_two_steps_are_trained_saved_continued_and_sampled(name, tmp_path, capsys):
    module, run = MODULES[name], [*SMOKE, "--workdir", str(tmp_path / "run")]
    state = train(module.build, parse(module.Options, run))
    assert int(state.step) == 2
    params = [player.params for player in state.players.values()]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, state.ema)))
    opened = open_run(tmp_path / "run")
    assert opened.step == 2 and opened.options.preset == "smoke"
    assert_same(jax.tree.leaves(opened.state), jax.tree.leaves(state))
    assert opened.sample(3).shape[0] == 3
    if opened.drawing.held:  # what it is made of differs
        assert len(np.unique(opened.sample(3).reshape(3, -1), axis=0)) == 3
    else:
        keys, labels = jax.random.split(jax.random.key(0), 3), {"label": np.arange(3) % max(opened.data.classes, 1)}
        drawn = opened.gan.sample(opened.state, labels, keys)  # before it is rounded: two steps are few
        assert len(np.unique(np.asarray(drawn[opened.data.main]).reshape(3, -1), axis=0)) == 3
    for how in ("truncation", "toward"):  # what has latents can be asked for both, and nothing else
        assert takes(opened, how) == (opened.gan.latents is not None)
    capsys.readouterr()
    longer = [*run, "--steps", "3"]
    if opened.options.schedule != "constant":  # which goes over the run that was begun
        longer += ["--schedule-images", str(2 * opened.options.batch_size)]
    state = train(module.build, parse(module.Options, longer))
    assert int(state.step) == 3 and "continuing at step 2" in capsys.readouterr().out


@pytest.fixture(scope="module")
def made():
    """`(name, arguments) -> state, jaxpr of its iteration`: what an experiment makes of its options, traced only."""
    specs = {}

    def make(name, *arguments):
        module = MODULES[name]
        options = parse(module.Options, [*SMOKE, *arguments])
        if name not in specs:
            specs[name] = DataSpec.of(load(options), options.crop_shape)
        gan, spec = module.build(options, specs[name]), specs[name]
        key = jax.random.key(0)
        state = jax.eval_shape(gan.init, key)
        batch = spec.batch(gan.taken())
        return state, str(jax.make_jaxpr(gan.iteration)(state, batch))

    return make


WHOLE_BATCHES = {"cyclegan", "cyclegan_mnist"}  # a pool of fakes is kept over batches, not over their parts


@every_experiment
@pytest.mark.filterwarnings("ignore:.* parts of an accumulated batch by itself:UserWarning")
def test_the_common_options_reach_the_players(name, made):
    """An experiment that forgets one of them would train on without a word."""
    adam, plain = made(name, "--optimizer", "adam", "--schedule", "constant")
    sgd, _ = made(name, "--optimizer", "sgd", "--momentum", "0", "--clip-gradient-norm", "1")
    for player in adam.players:
        assert "mu=" in str(adam.players[player].opt_state)
        assert jax.tree.leaves(sgd.players[player].opt_state) == []
    assert made(name, "--schedule", "cosine")[1].count("= cos ") >= plain.count("= cos ") + 2
    if name in WHOLE_BATCHES:
        with pytest.raises(UsageError, match=r"^--accumulate must be 1"):
            made(name, "--accumulate", "2")
    else:
        assert made(name, "--accumulate", "2")[1] != plain
    assert "lookahead" in made(name, "--lookahead", "5")[0].extras and "lookahead" not in adam.extras
    module = MODULES[name]
    options = parse(module.Options, [*SMOKE, "--generator-learning-rate", "0.25", "--ema-half-life", "77"])
    options = dataclasses.replace(options, discriminator_learning_rate=0.125)
    gan = module.build(options, DataSpec.of(load(options), options.crop_shape))
    numbers = jax.jit(lambda key: gan.init(key).hyper)(jax.random.key(0))
    rates = {value.item() for key, value in numbers.items() if key.endswith("/learning_rate")}
    assert rates == {0.25, 0.125}, "of generators and of discriminators"
    assert numbers["ema_half_life"] == 77


@pytest.mark.parametrize("name", NAMES)
def test_an_option_with_another_default_takes_all_that_it_takes_elsewhere(name):
    """Such as --fit tiles, where an experiment declares --fit anew. Networks may have sizes of their own."""
    own, common = ({each.name: each.kind for each in arguments_of(one)} for one in (MODULES[name].Options, Options))
    assert {key: own[key] for key in common if key != "image_size"} == {
        key: kind for key, kind in common.items() if key != "image_size"
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_sees_the_recipe_in_the_file_or_in_the_one_it_inherits(name):
    classes = [one for one in MODULES[name].Options.__mro__ if one.__module__.startswith("experiments.")]
    stated = {field for one in classes for field in one.__annotations__}
    assert {"steps", "batch_size", "optimizer", "learning_rate"} <= stated
    if MODULES[name].Options().optimizer == "adam":
        assert {"beta1", "beta2"} <= stated


# A value outside the bounds of each common option that has any, and what is said of it.
REFUSED = {
    **dict.fromkeys(("steps", "batch_size", "accumulate", "devices", "processes"), (0, "at least 1")),
    **dict.fromkeys(("checkpoint_every", "sample_every", "eval_every", "schedule_images"), (0, "at least 1")),
    **dict.fromkeys(("warmup_images", "lookahead", "step", "process"), (-1, "at least 0")),
    **dict.fromkeys(("generator_learning_rate", "discriminator_learning_rate"), (0.0, "above 0 and finite")),
    **dict.fromkeys(("weight_decay", "l2", "ema_half_life"), (np.inf, "at least 0 and finite")),
    **dict.fromkeys(("beta1", "beta2", "momentum"), (1.0, "at least 0 and below 1")),
    "learning_rate": (np.nan, "above 0 and finite"),
    "clip_gradient_norm": (-1.0, "above 0 and finite"),
    "final_rate": (1.5, "from 0 to 1"),
    "lookahead_alpha": (0.0, "above 0 and at most 1"),
    "rotate": (181.0, "from 0 to 180 degrees"),
    "scale": (9.5, "from 0 to 9"),
    "seeds": (0, "from 1 to 4096"),
    "workers": (0, "from 1 to 1024"),
    "eval_count": (15, "from 16 to 1000000"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_keeps_the_bounds_of_the_common_options(name):
    """Also of those to which it gives another default."""
    assert set(REFUSED) == set(bounds_of(Options))
    for option, (value, expected) in REFUSED.items():
        with pytest.raises(UsageError) as refused:
            MODULES[name].Options(**{option: value})
        assert str(refused.value) == f"--{option.replace('_', '-')} must be {expected}, got {value}"


@pytest.mark.parametrize(
    "name, option, value, expected",
    [
        ("dcgan_mnist", "features", 0, "at least 1"),
        ("wgan_mnist", "features", 0, "at least 1"),
        ("dcgan_mnist", "discriminator_features", 0, "at least 1"),
        ("infogan_mnist", "latent_size", 0, "at least 1"),
        ("infogan_mnist", "categories", 1, "at least 2"),
        ("infogan_mnist", "continuous", -1, "at least 0"),
        ("infogan_mnist", "information", -1.0, "at least 0 and finite"),
        ("acgan_mnist", "class_weight", float("inf"), "at least 0 and finite"),
        ("dragan_mnist", "penalty", float("nan"), "at least 0 and finite"),
        ("wgan_gp_mnist", "penalty", -0.1, "at least 0 and finite"),
        ("wgan_gp_mnist", "critic_steps", 0, "at least 1"),
        ("wgan_mnist", "critic_steps", 0, "at least 1"),
        ("wgan_mnist", "clip", 0.0, "above 0 and finite"),
        ("gan_mnist", "dropout", 1.0, "at least 0 and below 1"),
        ("gan_mnist", "width", 0, "at least 1"),
        ("gan_mnist", "widths", 0, "at least 1"),
        ("gan_mnist", "convolutions", 0, "at least 1"),
        ("rnn_mnist", "units", 0, "at least 1"),
        ("gan_vectors", "layers", -1, "at least 0"),
        ("gan_ring", "width", 0, "at least 1"),
        ("unrolled_ring", "latent_size", 0, "at least 1"),
        ("flowgan_ring", "couplings", 0, "at least 1"),
        ("flowgan_ring", "likelihood", -1.0, "at least 0 and finite"),
        ("gan_vectors", "latent_size", 0, "at least 1"),
        ("limited_mnist", "noise", -1.0, "at least 0 and finite"),
        ("limited_mnist", "noise_images", 0, "at least 1"),
        ("limited_mnist", "dropout", -0.1, "at least 0 and below 1"),
        ("ada_digits", "strength", 1.5, "from 0 to 1"),
        ("ada_digits", "ada_images", 0.0, "above 0 and finite"),
        ("diffaugment_cifar10", "ada_target", 1.0, "above -1 and below 1"),
        ("lsgan_mnist", "real_target", 0.0, "above 0 and at most 1"),
        ("lsgan_mnist", "flip_labels", 0.6, "from 0 to 0.5"),
        ("rpgan_stacked_mnist", "r2", -1.0, "at least 0 and finite"),
        ("sngan_cifar10", "critic_steps", 0, "at least 1"),
        ("sngan_cifar10", "width", 0.0, "above 0 and at most 4"),
        ("sagan_cifar10", "discriminator_width", 5.0, "above 0 and at most 4"),
        ("cgan_projection_cifar10", "dropout", 1.0, "at least 0 and below 1"),
        ("biggan_cifar10", "orthogonal", -1.0, "at least 0 and finite"),
        ("biggan_cifar10", "width", 0, "at least 1"),
        ("unrolled_ring", "unroll", -1, "at least 0"),
        ("unrolled_ring", "historical_averaging", -1.0, "at least 0 and finite"),
        ("srgan", "pretrain_steps", -1, "at least 0"),
        ("srgan", "jpeg", 101, "from 1 to 100"),
        ("srgan", "adversarial", -1.0, "at least 0 and finite"),
        ("cyclegan", "cycle", -1.0, "at least 0 and finite"),
        ("cyclegan", "identity", float("inf"), "at least 0 and finite"),
        ("cyclegan", "blocks", -1, "at least 0"),
        ("cyclegan", "pool", 0, "at least 1"),
        ("stylegan_mnist", "growth_images", -1, "at least 0"),
        ("stylegan_mnist", "mixing", 1.5, "from 0 to 1"),
        ("stylegan2_mnist", "features", 0, "at least 1"),
        ("stylegan2_mnist", "mapping_layers", 0, "at least 1"),
        ("stylegan2_mnist", "r1", -1.0, "at least 0 and finite"),
        ("stylegan2_mnist", "r1_every", 0, "at least 1"),
        ("stylegan2_folder", "mixing", 1.5, "from 0 to 1"),
        ("stylegan2_folder", "path_length", float("nan"), "at least 0 and finite"),
        ("transfer_cifar10", "freeze", -1, "at least 0"),
        ("style_transfer", "halvings", 7, "from 0 to 6"),
        ("style_transfer", "style", -1.0, "at least 0 and finite"),
    ],
)
def test_an_experiment_refuses_what_its_own_options_cannot_be(name, option, value, expected):
    with pytest.raises(UsageError) as refused:
        parse(MODULES[name].Options, [f"--{option.replace('_', '-')}={value}"])
    assert str(refused.value) == f"--{option.replace('_', '-')} must be {expected}, got {value}"


def test_what_may_be_swept_is_bounded_like_its_option():
    for name in NAMES:
        options = MODULES[name].Options
        for argument in arguments_of(options):
            for swept in re.findall(r"`(\w+)` for --sweep", " ".join(argument.about.split())):
                assert swept in bounds_of(options)
                with pytest.raises(
                    UsageError, match=f"^--sweep {swept} must have numbers .* (at least 0 and|from 0 to) .*, got -1$"
                ):
                    options(sweep=f"{swept}=1,-1")


@pytest.mark.parametrize("name", NAMES)
def test_the_presets_name_options_and_can_be_had(name):
    options = MODULES[name].Options
    assert set(options.PRESETS) == {"paper", "smoke"}
    fields = {field.name for field in dataclasses.fields(options)}
    for preset, changes in options.PRESETS.items():
        assert set(changes) <= fields - {"preset"}
        made = parse(options, ["--preset", preset])
        assert made == of_preset(options, preset) and made.preset == preset
        assert {key: getattr(made, key) for key in changes} == changes
    assert parse(options, []) == options() == of_preset(options, "laptop")


# Few and other images for the papers' presets; of none of these scikit-learn's digits.
FEW = {
    **dict.fromkeys(("gan_ring", "flowgan_ring", "unrolled_ring", "gan_vectors"), ()),
    **{name: ["--dataset", "digits", "--channels", "3"] for name in NAMES if "stacked" in name},
    "cyclegan": ["--dataset", "a=digits,b=digits"],
    "cyclegan_mnist": ["--dataset", "a=digits,b=slanted_digits"],
    "pix2pix_glyphs": ["--dataset", "glyphs"],
    "srgan": ["--dataset", "digits", "--image-size", "28", "--load-size", "28", "--fit", "pad"],
    "transfer_cifar10": ["--dataset", "digits", "--channels", "1", "--images", "50"],
    "style_transfer": ["--dataset", "content=digits,style=digits", "--channels", "1", "--images", "20"],
}


def of_the_papers_preset(name, workdir):
    few = [*FEW.get(name, ["--dataset", "digits", "--channels", "1"])]
    few += ["--batch-size", "8", "--steps", "1", "--devices", "1", "--workdir", str(workdir)]
    return parse(MODULES[name].Options, ["--preset", "paper", *few])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_papers_preset_is_an_iteration(name, tmp_path):
    """Traced: what was of the wrong shape would show, and nothing is compiled."""
    options = of_the_papers_preset(name, tmp_path)
    spec = DataSpec.of(load(options), options.crop_shape)
    gan = MODULES[name].build(options, spec)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    after, _ = jax.eval_shape(gan.iteration, state, spec.batch(gan.taken()))
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (state, after)]
    assert shapes[0] == shapes[1]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_papers_preset_trains(name, tmp_path):
    """One step of its networks."""
    assert int(train(MODULES[name].build, of_the_papers_preset(name, tmp_path / "run")).step) == 1


@dataclasses.dataclass(frozen=True)
class PaperToo(Options):
    """An experiment with a paper preset."""

    features: int = 8
    flip: bool = True
    images: str | None = "10%"

    PRESETS: ClassVar = {"paper": {"steps": 200_000, "features": 64, "flip": False, "images": None}}


@pytest.mark.parametrize(
    "flags", [["--preset", "paper"], ["--preset=paper"], ["--preset", "laptop", "--preset", "paper"]]
)
def test_what_is_typed_wins_over_the_preset(flags):
    paper = PaperToo(preset="paper", steps=200_000, features=64, flip=False, images=None)
    assert parse(PaperToo, flags) == paper
    assert parse(PaperToo, ["--features", "3", *flags]) == dataclasses.replace(paper, features=3)
    assert parse(PaperToo, [*flags, "--features", "3", "--flip"]) == dataclasses.replace(paper, features=3, flip=True)
    assert of_preset(PaperToo, "paper", features=3) == dataclasses.replace(paper, features=3)
    assert parse(PaperToo, ["--no-flip"]) == PaperToo(flip=False)


def test_help_shows_the_defaults_of_the_preset(capsys):
    for arguments, features in (([], 8), (["--preset", "paper"], 64)):
        with pytest.raises(SystemExit):
            parse(PaperToo, [*arguments, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert f"(default: {features})" in said and "--preset paper has --steps 200000, --features 64," in said


@pytest.mark.parametrize("preset", ["smoke", "huge", ""])
def test_a_preset_that_is_not_there_is_refused_with_those_that_are(preset):
    with pytest.raises(UsageError, match=f"^--preset must be laptop or paper, got {preset or 'an empty text'}$"):
        parse(PaperToo, ["--preset", preset])
    with pytest.raises(UsageError, match=f"^--preset must be laptop or paper, got {preset or 'an empty text'}$"):
        PaperToo(preset=preset)


def written(path, options):
    record = {"experiment": PaperToo.__module__, "options": dataclasses.asdict(options)}
    path.write_text(json.dumps(record))
    return str(path)


def test_a_file_of_options_repeats_a_preset(tmp_path):
    """Whatever it has that its preset hasn't, switches that are off and nothing at all among it."""
    off = {"flip": False, "images": None}
    for options in (
        *(PaperToo(), PaperToo(**off), of_preset(PaperToo, "paper")),
        *(of_preset(PaperToo, "paper", flip=True, images="5"), of_preset(PaperToo, "paper", features=8)),
    ):
        file = written(tmp_path / "options.json", options)
        assert parse(PaperToo, ["--options", file]) == options
        assert parse(PaperToo, ["--options", file, "--preset", options.preset, "--seed", "3"]).seed == 3
    with pytest.raises(UsageError, match="is of preset paper and has all values; leave out --preset laptop"):
        parse(PaperToo, ["--options", file, "--preset", "laptop"])
    before = {key: value for key, value in dataclasses.asdict(PaperToo(features=9)).items() if key != "preset"}
    (tmp_path / "options.json").write_text(json.dumps({"experiment": PaperToo.__module__, "options": before}))
    assert parse(PaperToo, ["--options", str(tmp_path / "options.json")]) == PaperToo(features=9)


def test_a_continued_run_needs_its_values_by_whatever_preset():
    paper = of_preset(PaperToo, "paper")
    assert differing(dataclasses.replace(paper, preset="laptop"), dataclasses.asdict(paper)) == []
    assert differing(PaperToo(flip=False, images=None), dataclasses.asdict(paper)) == [
        "--preset laptop (the run has paper)",
        "--features 8 (the run has 64)",
    ]


def test_the_list_has_a_line_for_each(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments"])
    listing.main()
    *lines, empty, hint = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES and empty == "" and "NAME" in hint
    assert max(map(len, lines)) <= 120
    for each, module in zip(listing.experiments(), MODULES.values(), strict=True):
        assert each.note == module.__doc__.rstrip("\n") and each.note.startswith(each.first)
        assert each.presets == ("laptop", *module.Options.PRESETS)
        assert f"python -m experiments.{each.name}" in each.note


@pytest.mark.parametrize(
    "note, first",
    [
        ("A GAN. And more.", "A GAN"),
        ("GANs by J. Doe et al. in\n2014. And more.", "GANs by J. Doe et al. in 2014"),
        ("Version 1.5 of it.", "Version 1.5 of it"),
        ("", ""),
    ],
)
def test_the_first_sentence(note, first):
    assert listing.Experiment("name", note, ()).first == first


@pytest.mark.parametrize("name", ["gan_ring", "experiments.gan_ring"])
def test_a_name_says_how_to_run_it(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments", name])
    listing.main()
    said = capsys.readouterr().out
    assert "Goodfellow et al. 2014" in said and "python -m experiments.gan_ring --help" in said
    assert "laptop, paper, smoke" in said


@pytest.mark.parametrize(
    "name, hint", [("gan_rong", "perhaps you meant gan_ring"), ("zzz", "python -m experiments lists them")]
)
def test_an_unknown_name_is_told_in_a_line(name, hint, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments", name])
    with pytest.raises(SystemExit, match="2"):
        listing.main()
    assert capsys.readouterr().err == f"error: no experiment is named {name}; {hint}\n"


@pytest.mark.parametrize("arguments, name", [(["gan_ring", "--steps", "5"], "gan_ring"), (["--steps"], "NAME")])
def test_options_belong_to_an_experiment(arguments, name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments", *arguments])
    with pytest.raises(SystemExit, match="2"):
        listing.main()
    assert capsys.readouterr().err == (
        f"error: --steps is no option here; python -m experiments.{name} takes options\n"
    )


def test_the_list_needs_nothing_but_python():
    """`-S` leaves out all that is installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "experiments"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name in done.stdout for name in NAMES)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["in the end", "at once"])
def test_help_ends_quietly_where_nobody_reads_it(unbuffered):
    """As after `| head`, which leaves when it has what it wants; here it is gone before the first line."""
    program = "from jaxgan.training.cli.command_line import command_line; "
    program += "from jaxgan.training import DataSpec; command_line(DataSpec)"
    with subprocess.Popen(
        [sys.executable, "-c", program, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(60) == 0
