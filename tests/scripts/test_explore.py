"""`scripts.explore` and what `scripts.sample` has of it, as a user types them, on a generator that is known."""

import re
import sys

import numpy as np
import painted_runs
import pytest
from PIL import Image

from experiments import gan_ring
from jaxgan.evaluation import FeatureNetwork
from jaxgan.training import UsageError, train
from jaxgan.training import open as open_run
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.output.captions import captioned
from scripts import evaluate, explore, sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return painted_runs.runs_of(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def explored(runs, tmp_path, capsys):
    """Runs the command on one of the runs: returns what its picture shows, and what it says."""

    def call(kind, tool, *words, out="a.png"):
        given = [str(runs[kind]), tool, *words, "--out", str(tmp_path / out), "--experiment", painted_runs.__file__]
        explore.run(command_line(explore.Options, given))
        said = capsys.readouterr()
        with Image.open(tmp_path / out) as picture:
            frames = getattr(picture, "n_frames", 1)
            pixels = np.atleast_3d(np.asarray(picture.convert("L"))) if frames == 1 else frames
        assert said.out.splitlines()[-1] == f"{tmp_path / out}: ema weights of step 1"
        return pixels, said.out

    return call


@pytest.fixture
def run(runs):
    return open_run(runs["mapped"], build=painted_runs)


@pytest.fixture
def reads(monkeypatch):
    """A network in the place of the packaged ones."""
    import jax.numpy as jnp

    def apply(images):
        x = jnp.asarray(images, jnp.float32)
        bright = x[:, :4, :4].mean((1, 2, 3)) - x[:, :4, 4:].mean((1, 2, 3))
        return {"features": x.reshape(len(x), -1), "logits": jnp.stack([-bright, bright], axis=1)}

    network = FeatureNetwork("brighter", "0", "none", 2, apply)
    monkeypatch.setattr(explore, "_network", lambda run, options: network)


def test_a_grid_shows_samples_by_their_numbers(explored, run):
    found, _ = explored("mapped", "grid", "--numbers", "7", "0-2", "--seed", "3")
    images = run.sample(8, seed=3)[[7, 0, 1, 2]]
    rows = [captioned([list(images[:2])], columns=["7", "0"]), captioned([list(images[2:])], columns=["1", "2"])]
    np.testing.assert_array_equal(found, np.concatenate(rows))
    dull, _ = explored("mapped", "grid", "--numbers", "5", "--truncation", "0.5")
    expected = captioned([list(run.sample(6, truncation=0.5)[5:])], columns=["5"])
    np.testing.assert_array_equal(dull, expected)


@pytest.mark.parametrize("kind", ["mapped", pytest.param("plain", marks=pytest.mark.slow)])
def test_a_truncation_sweep(kind, explored, runs):
    found, _ = explored(kind, "truncation", "--numbers", "0-2", "--truncations", "0", "-1", "1")
    run = open_run(runs[kind], build=painted_runs)
    each = [run.sample(3, truncation=share) for share in (0.0, -1.0, 1.0)]
    cells = [[each[j][i] for j in range(3)] for i in range(3)]
    np.testing.assert_array_equal(found, captioned(cells, ["0", "1", "2"], ["0", "-1", "1"]))


def test_a_mixing_matrix(explored, run):
    found, said = explored("mapped", "mixing", "--numbers", "0", "1", "--styles", "4-5", "--layers", "1", "3")
    codes, styles = run.codes([0, 1]), run.codes([4, 5])
    mixes = np.repeat(codes[:, None], 2, axis=1)
    mixes[:, :, [1, 3]] = styles[None, :, [1, 3]]
    cells = [[run.synthesize(mixes[i, j : j + 1])[0] for j in range(2)] for i in range(2)]
    whole = [[None, *run.sample(6)[4:]], *([run.sample(2)[i], *cells[i]] for i in range(2))]
    np.testing.assert_array_equal(found, captioned(whole, ["", "0", "1"], ["", "4", "5"]))
    assert "keep the class" not in said, "nothing suits the data"


def test_mixing_says_how_often_the_class_is_kept(explored, reads):
    """The class is painted by layers 0 and 1: later layers change nothing, and from layer 1 on half is the other's."""
    _, said = explored("mapped", "mixing", "--count", "200")
    rows = {line.split()[1]: re.findall(r"([\d.]+) %", line) for line in said.splitlines() if " pixels on)" in line}
    assert rows["2-3"] == ["100.0", "0.0"] == rows["3"]
    assert 10 < float(rows["1-3"][0]) < 90 and sum(map(float, rows["1-3"])) == pytest.approx(100, abs=0.2)
    assert re.search(r"\d+ pairs of samples of two classes, as brighter reads them", said)


@pytest.mark.parametrize("closed", ["--closed", "--no-closed"])
def test_a_walk_as_a_strip_and_as_a_film(closed, explored, run):
    words = ("--numbers", "3", "1", "2", "--frames", "4", closed)
    found, _ = explored("mapped", "walk", *words)
    ways = [(3, 1), (1, 2), (2, 3)][: 3 if closed == "--closed" else 2]
    codes = run.codes(4)
    between = [np.stack([(1 - t) * codes[a] + t * codes[b] for t in np.linspace(0, 1, 5)]) for a, b in ways]
    cells = [list(run.synthesize(each)) for each in between]
    expected = captioned(cells, [f"{a} to {b}" for a, b in ways])
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 1
    frames, _ = explored("mapped", "walk", *words, out="a.gif")
    assert frames == (12 if closed == "--closed" else 9)


@pytest.mark.slow
def test_walks_in_z_of_generators_that_have_no_w(explored):
    for kind in ("plain", "labelled", "mapped"):
        spherical, _ = explored(kind, "walk", "--space", "z", "--numbers", "3", "1")
        straight, _ = explored(kind, "walk", "--space", "z", "--path", "linear", "--numbers", "3", "1")
        assert spherical.shape == straight.shape and not np.array_equal(spherical, straight)
        if kind != "mapped":
            np.testing.assert_array_equal(explored(kind, "walk", "--numbers", "3", "1")[0], spherical)


def test_directions_from_weights(explored, run):
    from jaxgan.training.exploring.directions import factorised, spread

    words = ("--numbers", "4", "--directions", "2", "--layers", "2", "--strengths", "-1.5", "0", "1", "--count", "50")
    found, said = explored("mapped", "directions", *words)
    vectors, values = factorised([painted_runs.PAINT[2]])
    amounts = spread(run.codes(50)[:, 0], vectors[:2])[:, None] * np.array([-1.5, 0, 1])
    cells = []
    for j in range(2):
        codes = np.repeat(run.codes([4]), 3, axis=0)
        codes[:, 2] += amounts[j][:, None].astype(np.float32) * vectors[j].astype(np.float32)
        cells.append(list(run.synthesize(codes)))
    expected = captioned(cells, ["0: 4", "1: 4"], ["-1.5", "0", "1"])
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= 1
    shares = [line.split()[1] for line in said.splitlines() if re.match(r"[01] ", line)]
    assert shares == [f"{value / values.sum():.1%}" for value in values[:2]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mapped", "plain"])
def test_directions_from_a_classifier_raise_their_class(kind, explored, reads):
    _, said = explored(kind, "directions", "--source", "classifier", "--count", "300", "--strengths", "-2", "0", "2")
    rows = [list(map(float, re.findall(r"([\d.]+)%", line))) for line in said.splitlines() if line.startswith("class ")]
    assert len(rows) == 2
    for low, middle, high in rows:
        assert low < middle - 10 < middle + 10 < high
    _, one = explored(kind, "directions", "--source", "classifier", "--count", "300", "--classes", "1")
    assert [line.split()[1] for line in one.splitlines() if line.startswith("class ")] == ["1"]


def test_neighbours_are_those_of_the_training_images(explored, run, runs):
    found, said = explored("mapped", "neighbours", "--numbers", "3", "0", "--nearest", "2")
    real = np.load(runs["mapped"].parent / "images.npz")["images"]
    samples, table = run.sample(4)[[3, 0]], said.splitlines()
    cells = []
    for image in samples:
        apart = np.sqrt(((real.astype(float) - image.astype(float)) ** 2).sum((1, 2, 3)))
        cells.append([image, *real[np.argsort(apart)[:2]]])
        assert any(line.split()[1:] == [f"{each:.4g}" for each in np.sort(apart)[:2]] for line in table)
    np.testing.assert_array_equal(found, captioned(cells, ["3", "0"], ["sample", "1", "2"]))
    among = np.sqrt(((real[:, None].astype(float) - real[None].astype(float)) ** 2).sum((2, 3, 4)))
    median = np.median(np.where(np.eye(len(real)), np.inf, among).min(1))
    assert f"{median:.4g} of 40 training images to another; distances of pixels, from 0 to 255" in said


def test_neighbours_in_features(explored, reads):
    _, said = explored("mapped", "neighbours", "--nearest", "1")
    assert "features of brighter" in said


WRONG = {
    "mapped mixing --layers 4": "--layers: there is no layer 4: .* has layers 0 to 3, of 4, 8, 8, 16 pixels",
    "mapped mixing --layers 3-9": "--layers: there is no layer 4: .*",
    "plain mixing": "the generator of {run} has one layer, and styles are mixed between several",
    "plain walk --space w": "the generator of {run} reads z itself, and has no w: --space z",
    "mapped walk --path spherical": "--path must be linear in w, .*, got spherical; or --space z",
    "mapped walk --numbers 3": "--numbers must be two samples or more between which to walk, such as 3 17",
    "plain directions --source weights": "{run} doesn't say which weights read its latents: --source classifier",
    "plain directions": "there is no classifier of npz:images.npz; .* name it: --feature-network mnist-v1",
    "mapped directions --directions 4": "--directions must be at most 3, the numbers of a code, got 4",
    "mapped directions --layers 7": "--layers: there is no layer 7: .*",
    "plain directions --layers 1": "--layers: there is no layer 1: the generator of {run} has one layer, 0",
    "none grid": "{run} has no latent space: its GAN doesn't say how pictures come from latents",
    "mapped grid --label 1": "the generator of {run} is given no labels; leave out label 1",
    "labelled grid --label 2": "the label must be from 0 to 1, .*, got 2",
    "mapped neighbours --nearest 41": "--nearest must be at most 40, the training images, got 41",
    "mapped grid --numbers 0-999999": "grid would draw 1,000,000 images, and memory holds 12,345: name fewer --numbers",
    "mapped walk --frames 10000": "walk would draw 60,000 images, .*",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_a_run_cannot_do_is_a_line(words, runs, tmp_path, monkeypatch):
    from jaxgan.training import OpenRun

    monkeypatch.setattr(OpenRun, "most", lambda self: 16 * 12345)
    kind, *given = words.split()
    given += ["--out", str(tmp_path / "a.png"), "--experiment", painted_runs.__file__]
    with pytest.raises(UsageError) as error:
        explore.run(command_line(explore.Options, [str(runs[kind]), *given]))
    expected = WRONG[words].replace("{run}", re.escape(str(runs[kind])))
    assert re.fullmatch(expected, str(error.value)), str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_several_generators_one_is_named(tmp_path):
    directory = painted_runs.run_of(tmp_path, seeds=2)
    words = ["--out", str(tmp_path / "a.png"), "--experiment", painted_runs.__file__]

    def call(*more):
        explore.run(command_line(explore.Options, [str(directory), "grid", *more, *words]))

    with pytest.raises(UsageError, match=r"run has 2 GANs: name one of them \(--member\)$"):
        call()
    with pytest.raises(UsageError, match=r"^there is no member 2: .* has members 0 to 1$"):
        call("--member", "2")
    call("--member", "1", "--numbers", "0", "1")
    with Image.open(tmp_path / "a.png") as shown:
        samples = open_run(directory, build=painted_runs, member=1).sample(2)
        np.testing.assert_array_equal(np.asarray(shown)[..., None], captioned([list(samples)], columns=["0", "1"]))


@pytest.mark.parametrize(
    "words, expected",
    [
        ("--classes 2", "--classes must be numbers with commas between, of what brighter tells apart, 0 to 1, got 2"),
        ("--classes 1,x", "--classes must be numbers .*, got 1,x"),
        ("--source classifier --truncation 0 --classes 0 --seed 1 --count 10", "(all|none) of 10 samples are read .*"),
    ],
)
def test_classes_that_a_classifier_does_not_find_are_a_line(words, expected, runs, tmp_path, reads, monkeypatch):
    if "--count 10" in words:
        monkeypatch.setattr(explore, "_read", lambda network, images: np.ones(len(images), int))
    given = [str(runs["mapped"]), "directions", *words.split(), "--out", str(tmp_path / "a.png")]
    with pytest.raises(UsageError) as error:
        explore.run(command_line(explore.Options, [*given, "--experiment", painted_runs.__file__]))
    assert re.fullmatch(expected, str(error.value)), str(error.value)


def test_a_class_that_is_given_is_not_looked_for(runs, tmp_path, reads):
    given = [str(runs["labelled"]), "directions", "--out", str(tmp_path / "a.png")]
    with pytest.raises(UsageError, match=r"is given the class beside z: name it, --label 7$"):
        explore.run(command_line(explore.Options, [*given, "--experiment", painted_runs.__file__]))


@pytest.mark.slow
def test_points_are_no_pictures(tmp_path):
    options = {"workdir": str(tmp_path / "run"), "steps": 1, "batch_size": 8, "width": 4, "devices": 1}
    train(gan_ring.build, gan_ring.Options(**options))
    with pytest.raises(UsageError, match=r"run draws points, and what explore shows is images$"):
        explore.run(command_line(explore.Options, [str(tmp_path / "run"), "grid", "--out", str(tmp_path / "a.png")]))


@pytest.mark.parametrize(
    "words, expected",
    [
        ("grid", "--out is missing .*"),
        ("grids --out a.png", "TOOL must be grid, truncation, .* or neighbours, got grids; perhaps you meant grid"),
        ("grid --out a.gif", "--out must be a path that ends in .png, got a.gif"),
        ("walk --out a.avi", "--out must be a path that ends in .png or .gif or .mp4, got a.avi"),
        ("walk --out a.mp4", "--out a.mp4: the program ffmpeg, which writes .mp4, isn't found; install it, or name .*"),
        ("grid --out no/a.png", "can't write no/a.png: the folder .* doesn't exist"),
        ("truncation --truncations 0 nan --out a.png", "--truncations must be from -100 to 100, got 0.0,nan"),
        ("truncation --truncation 0.5 --out a.png", "--truncation is of grid and mixing and .*, not of truncation: .*"),
        ("grid --truncation nan --out a.png", "--truncation must be from -100 to 100, got nan"),
        ("grid --layers 1 --out a.png", "--layers is of mixing and directions, not of grid: leave it out"),
        ("grid --numbers 3 3 --out a.png", "--numbers must be different numbers, got 3,3"),
        ("grid --numbers 5-3 --out a.png", "--numbers must be numbers from 0 on, or ranges .* 3 17 40-47, got 5-3"),
        ("grid --numbers -1 --out a.png", "--numbers must be numbers from 0 on, .*, got -1"),
        ("grid --numbers 2147483648 --out a.png", "--numbers must be numbers from 0 on, .*"),
        ("grid --numbers 0-99999999 --out a.png", "--numbers must be numbers from 0 on, .*"),
        ("mixing --layers fine --out a.png", "--layers must be numbers from 0 on, .*, got fine"),
        ("walk --space w --path spherical --out a.png", "--path must be linear in w, .*, got spherical"),
        ("directions --source weights --classes 3 --out a.png", "--classes must be left out .*, got 3"),
        ("directions --source classifier --directions 3 --out a.png", "--directions must be left out .*, got 3"),
        ("neighbours --nearest 0 --out a.png", "--nearest must be from 1 to 100, got 0"),
    ],
)
def test_wrong_words_are_a_line(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as error:
        command_line(explore.Options, ["run", *words.split()])
    assert re.fullmatch(expected, str(error.value)), str(error.value)


def fake_ffmpeg(tmp_path, monkeypatch):
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(place))


@pytest.mark.slow
def test_walks_as_films(runs, tmp_path, monkeypatch, capsys):
    """Of both commands, through a program that writes what it is handed."""
    fake_ffmpeg(tmp_path, monkeypatch)
    given = ["--experiment", painted_runs.__file__, "--out", str(tmp_path / "a.mp4")]
    explore.run(command_line(explore.Options, [str(runs["mapped"]), "walk", "--frames", "2", *given]))
    frames = np.frombuffer((tmp_path / "a.mp4").read_bytes(), np.uint8).reshape(12, 260, 260, 3)
    run = open_run(runs["mapped"], build=painted_runs)
    expected = captioned([[run.sample(1)[0]]], least=256)
    assert np.abs(frames[0].astype(int) - expected).max() <= 1 and not np.array_equal(frames[0], frames[1])
    sample.run(command_line(sample.Options, [str(runs["mapped"]), *given]))
    assert (tmp_path / "a.mp4").stat().st_size % (90 * 3) == 0
    assert capsys.readouterr().out.count("a.mp4: ema weights of step 1") == 2


def test_sample_truncates(runs, tmp_path, capsys):
    given = [str(runs["mapped"]), "--experiment", painted_runs.__file__, "--count", "20"]
    words = ["--out", str(tmp_path / "a.npz"), str(tmp_path / "a.png"), str(tmp_path / "a.gif")]
    sample.run(command_line(sample.Options, [*given, "--truncation", "0", *words]))
    images = np.load(tmp_path / "a.npz")["images"]
    assert (images == images[0]).all()
    sample.run(command_line(sample.Options, [*given, "--out", str(tmp_path / "b.npz")]))
    run = open_run(runs["mapped"], build=painted_runs)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npz")["images"], run.sample(20))
    given[0] = str(runs["none"])
    with pytest.raises(UsageError, match=r"^--truncation: the samples of .* have no mean that they could be moved"):
        sample.run(command_line(sample.Options, [*given, "--truncation", "0.5", *words]))
    with pytest.raises(UsageError, match=r"^--truncation: the samples of .* have no mean that they could be moved"):
        evaluate.run(command_line(evaluate.Options, [*given, "--truncation", "0.5"]))
    with pytest.raises(UsageError, match=r"^no .gif or .mp4: the samples of .* have no latents to walk between$"):
        sample.run(command_line(sample.Options, [*given, "--out", str(tmp_path / "c.gif")]))
