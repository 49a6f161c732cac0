"""`python -m scripts.data`, in this process and as users start it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import archive
from PIL import Image
from tfds_records import write_prepared

from experiments import dcgan_cifar10
from jaxgan.training import UsageError
from jaxgan.training.options.options import of_preset
from scripts.data import Options, parse, run

ROOT = Path(__file__).parents[2]
IMAGES = np.zeros((6, 4, 4), np.uint8)
IMAGES[1:4] = np.arange(16).reshape(4, 4) * 17  # 0 17 ... 255, three times
IMAGES[4, 0, 0] = IMAGES[5, 0, 1] = 100


def save(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def test_a_set_is_described(tmp_path, capsys):
    name = save(tmp_path / "my set.npz", images=IMAGES, labels=[0, 1, 1, 1, 0, 2])
    run(Options(name, out=tmp_path / "a.png"))
    first, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert first == ["reading", *name.split(), "..."]
    assert lines[0] == ["npz:my", "set.npz"] and lines[1] == ["images", "6,", "4×4×1"]
    values = [*[0] * 16, *[17 * i for i in range(16)] * 3, *[0] * 30, 100, 100]
    mean, deviation = np.mean(values), np.std(values)
    expected = f"values 0 to 255, mean {mean:.4g}, standard deviation {deviation:.4g}"
    assert " ".join(lines[2]) == expected
    assert lines[3:7] == [["classes", "3"], ["0", "2"], ["1", "3"], ["2", "1"]]
    assert " ".join(lines[7]) == "doubles 2 images are exact copies of another"
    assert " ".join(lines[8]) == "empty 1 images are of one colour"
    counts = np.histogram(values, 16, (0, 256))[0]
    shares = [float(line[3].rstrip("%")) for line in lines[10:26]]
    np.testing.assert_allclose(shares, 100 * counts / 96, atol=0.051)
    assert lines[10][:3] == ["0", "to", "16"] and lines[10][4] == "█" * 40
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG" and min(picture.size) >= 8


def test_classes_without_images_are_said(tmp_path, capsys):
    for labels, notes in (([1, 2, 2, 1, 4, 4], 1), ([0, 1, 1, 0, 1, 0], 0)):
        run(Options(save(tmp_path / "a.npz", images=IMAGES, labels=labels), out=tmp_path / "a.png"))
        said = capsys.readouterr().out
        assert said.count("NOTE: classes 0, 3 of npz:a.npz, of 0 to 4, have no images") == notes == said.count("NOTE")


def test_a_stream_is_described_alike(tmp_path, capsys):
    name = save(tmp_path / "a.npz", images=IMAGES, labels=[0, 1, 1, 1, 0, 2])
    run(Options(name, out=tmp_path / "a.png"))
    whole = capsys.readouterr().out
    run(Options(name, stream=True, out=tmp_path / "a.png"))
    assert capsys.readouterr().out == whole


def test_random_changes_are_in_the_picture(tmp_path, capsys):
    name = save(tmp_path / "a.npz", images=IMAGES)
    run(Options(name, out=tmp_path / "a.png"))
    run(Options(name, out=tmp_path / "b.png", flip=True, image_size=4, load_size=8))
    assert "6, 4×4×1" in capsys.readouterr().out
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_points_are_described(tmp_path, capsys):
    run(Options("ring", out=tmp_path / "a.png"))
    said = capsys.readouterr().out
    assert "100,000, points of the plane" in said and "doubles   none" in said and "empty" not in said


def test_the_picture_goes_beside_the_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(Options(save(tmp_path / "a.npz", images=IMAGES)))
    assert (tmp_path / "runs" / "data" / "npz-a.npz.png").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't write file/a\.png: the folder .*/file is a file"):
        run(Options(f"npz:{tmp_path}/a.npz", out=Path("file/a.png")))


def prepare(tmp_path):
    """Something to be wrong about: each a mishap of its own."""
    Image.fromarray(IMAGES[1]).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for name in ("empty", "mixed/cat", "cut", "text"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("mixed/x.png", "mixed/cat/x.png", "cut/x.png"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "cut" / "y.png").write_bytes(content[:60])
    (tmp_path / "text" / "a.png").write_text("hello")
    archive(tmp_path / "out.zip", {"a.png": content, "../x.png": content})
    save(tmp_path / "two.npz", images=np.zeros((3, 4, 4, 2), np.uint8))
    save(tmp_path / "keys.npz", x=IMAGES)
    save(tmp_path / "object.npz", images=np.array([{}], object))
    save(tmp_path / "labels.npz", images=IMAGES, labels=[0, 1, 2, -3, 0, 0])
    half = write_prepared(tmp_path, [np.zeros((4, 4, 3), np.uint8)])
    (half / "mine-train.array_record-00000-of-00001").unlink()


def test_names_of_classes_and_columns_do_not_reach_a_terminal(tmp_path, capsys):
    """Not as they are: \\x1b begins what colours a terminal, or worse."""
    folder = tmp_path / "s" / "\x1b[31mred\x07"
    folder.mkdir(parents=True)
    Image.fromarray(IMAGES[1]).save(folder / "a.png")
    (tmp_path / "t.csv").write_text("\x1b[31mred,b\n" + "0.5,1\n1.5,2\n" * 4)
    for dataset in f"folder:{tmp_path}/s", f"csv:{tmp_path}/t.csv":
        run(Options(dataset, out=tmp_path / "a.png"))
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err and "\\x1b[31mred" in said.out


MISTAKES = [
    (["folder:{}/nowhere"], "nowhere is not there"),
    (["folder:{}/empty"], "holds no pictures"),
    (["folder:{}/mixed"], "put all pictures into subfolders, or none"),
    (["folder:{}/cut"], "y.png can't be read"),
    (["folder:{}/text", "--skip-bad-images"], "none of the 1 images"),
    (["folder:{}/out.zip"], "'../x.png'; don't use this archive"),
    (["npz:{}/two.npz"], "2 channels; 1 (grey) or 3 (RGB)"),
    (["npz:{}/keys.npz"], "holds x; uint8 `images`"),
    (["npz:{}/object.npz"], "Object arrays cannot be loaded"),
    (["npz:{}/labels.npz"], "image 3 has label -3; 0 to 2 are expected"),
    (["mine", "--data-dir", "{}"], "remove it and prepare 'mine' again"),
    (["digits", "--classes", "3,x"], "digits has no class 'x'"),
    (["digits", "--fit", "squeeze"], "squeeze"),
    (["digits", "--imagesize", "3"], "--imagesize"),
    (["no such set"], "'no such set' is no data set"),
]


def start(*arguments):
    command = [sys.executable, "-m", "scripts.data", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("arguments, message", MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_users_mistake_is_one_line_and_status_2(arguments, message, tmp_path):
    prepare(tmp_path)
    done = start(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == 2 and done.stdout in ("", f"reading {arguments[0].format(tmp_path)} ...\n")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr


@pytest.mark.slow
def test_the_command(tmp_path):
    prepare(tmp_path)
    done = start(f"folder:{tmp_path}/cut", "--skip-bad-images", "--out", str(tmp_path / "out.png"))
    assert done.returncode == 0 and done.stderr == ""
    _, first, *rest = done.stdout.splitlines()
    assert first.startswith("NOTE: left out 1 of 2 images: ") and "  images    1, 4×4×3" in rest
    assert (tmp_path / "out.png").exists() and rest[-1] == f"{tmp_path}/out.png: 1 of them, as a network gets them"
    shown = start("--help")
    assert shown.returncode == 0 and "--skip-bad-images" in shown.stdout and os.linesep in shown.stdout


@pytest.fixture
def photographs(tmp_path):
    """A folder of two pictures of 40×48."""
    (tmp_path / "photos").mkdir()
    for name in "ab":
        Image.fromarray(np.full((40, 48, 3), 200, np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    return f"folder:{tmp_path / 'photos'}"


def test_the_options_of_an_experiment_are_what_it_has_itself(photographs, tmp_path, capsys):
    """dcgan_cifar10 pads to 32 pixels, which no larger picture fits, and mirrors; this script crops."""
    given = [photographs, "--out", str(tmp_path / "a.png")]
    for name in "dcgan_cifar10", "experiments.dcgan_cifar10":
        options, loaded_as = parse([*given, "--for", name])
        assert (options.fit, options.flip, options.image_size) == ("pad", True, 32)
        assert isinstance(loaded_as, dcgan_cifar10.Options) and loaded_as.dataset == photographs
        with pytest.raises(UsageError, match=r"40×48 pixels, larger than 32×32; choose an --image-size and --fit crop"):
            run(options, loaded_as)
    run(*parse([*given, "--for=dcgan_cifar10", "--fit", "crop", "--no-flip"]))
    assert "images    2, 32×32×3" in capsys.readouterr().out
    options, alone = parse(given)
    assert options is alone and (options.fit, options.flip, options.image_size) == ("crop", False, None)
    options, loaded_as = parse(["--for", "dcgan_cifar10", "--preset", "smoke"])
    assert loaded_as == of_preset(dcgan_cifar10.Options, "smoke") and options.dataset == "digits"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["--for", "dcgan_cifra"],
            "--for must be the name of an experiment, got dcgan_cifra; perhaps you meant dcgan_cifar10",
        ),
        (["--for", "os"], "--for must be the name of an experiment, got os; python -m experiments lists them"),
        (["--for"], "--for needs a value"),
        (["--preset", "paper"], "--preset must be given together with --for, got paper"),
        (["--for", "gan_ring", "--preset", "papr"], "got papr; perhaps you meant paper"),
        (["--for", "dcgan_mnist", "--image-size", "50"], "--image-size must be 16, 28, 32, 64 or 128, got 50"),
        (["--for", "dcgan_mnist", "--fitt", "crop"], "--fitt is no option; perhaps you meant --fit: how images of"),
    ],
)
def test_what_the_experiment_refuses_is_refused(arguments, said):
    with pytest.raises(UsageError) as error:
        parse(["digits", *arguments])
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["mnist", "folder:nowhere", "csv:a.csv", "no_such_set"])
def test_sets_of_another_kind_are_refused_by_their_name(name, monkeypatch):
    """Before anything is opened."""
    monkeypatch.setattr("jaxgan.data.open_source", lambda *arguments: pytest.fail("it was opened"))
    with pytest.raises(
        UsageError, match=f"--dataset {name} is no set of points, which this experiment draws: use ring"
    ):
        run(*parse([name, "--for", "gan_ring"]))
    for toy, experiment, kind in (("ring", "dcgan_mnist", "images"), ("grid", "gan_vectors", "vectors")):
        with pytest.raises(UsageError, match=f"--dataset {toy} is no set of {kind}, which this experiment draws: use"):
            run(*parse([toy, "--for", experiment]))
