"""What goes wrong in a run, tried with the real thing: one line that says what and what to do, and nothing lost."""

import itertools
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from conftest import assert_same
from PIL import Image

from experiments import dcgan_mnist
from jaxgan import d_loss, g_loss, iteration, latents, make_joint_step
from jaxgan.data import from_arrays
from jaxgan.losses import wasserstein
from jaxgan.training import Stopped, UsageError, train
from jaxgan.training.checkpoints.checkpoints import Checkpoints, SaveError
from jaxgan.training.run.lock import locked

pytestmark = pytest.mark.usefixtures("as_users_have_it")

ROOT = Path(__file__).parents[3]


def tiny(tmp_path, **changes):
    options = {"steps": 12, "batch_size": 8, "dataset": "digits", "workdir": str(tmp_path / "run")}
    options |= {"checkpoint_every": 4, "sample_every": 5, "image_size": 28, "features": 2, "latent_size": 8}
    options |= {"devices": 1}
    return dcgan_mnist.Options(**(options | changes))


def assert_equal_bits(one, other):
    assert_same(jax.tree.leaves(one), jax.tree.leaves(other))


def cut_short(step):
    files = [path for path in step.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


@pytest.mark.slow
def test_a_damaged_checkpoint_is_skipped_and_the_run_ends_with_the_same_bits(tmp_path, capsys):
    straight = train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "straight")))
    train(dcgan_mnist.build, tiny(tmp_path, steps=8))
    cut_short(tmp_path / "run" / "checkpoints" / "8")
    assert_equal_bits(train(dcgan_mnist.build, tiny(tmp_path)), straight)
    said = capsys.readouterr()
    assert "checkpoints/8 is damaged" in said.err and "going on from step 4" in said.err
    assert "continuing at step 4" in said.out
    assert (tmp_path / "run" / "damaged" / "8").is_dir(), "nothing that was saved is deleted"
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == (tmp_path / "straight" / "metrics.jsonl").read_text()


def test_where_no_checkpoint_is_whole_the_run_does_not_begin_again(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=8))
    for step in ("4", "8"):
        cut_short(tmp_path / "run" / "checkpoints" / step)
    before = sorted((tmp_path / "run" / "checkpoints").rglob("*"))
    for _ in range(2):
        with pytest.raises(UsageError, match=r"none of the checkpoints .* can be restored .*step 4: .*step 8: "):
            train(dcgan_mnist.build, tiny(tmp_path))
    assert sorted((tmp_path / "run" / "checkpoints").rglob("*")) == before


def test_a_folder_that_is_no_run_is_refused_before_the_data_are_read(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"run is not empty and holds no run: it has notes\.txt, but no options\.json"):
        train(dcgan_mnist.build, tiny(tmp_path, dataset="npz:nowhere.npz"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match=r"run/lock is a link, and a run writes to no file outside"):
        train(dcgan_mnist.build, tiny(tmp_path))
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_run_without_a_checkpoint_says_that_it_begins_again(tmp_path, capsys):
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    assert "run has no checkpoint: starting from step 0" in capsys.readouterr().out


def test_a_directory_in_use_is_refused(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    with (
        locked(tmp_path / "run"),
        pytest.raises(UsageError, match=r"is being trained by process \d+ on .*--workdir"),
    ):
        train(dcgan_mnist.build, tiny(tmp_path))
    assert int(train(dcgan_mnist.build, tiny(tmp_path, steps=5)).step) == 5, "free again"


@pytest.mark.slow
def test_a_save_that_fails_in_the_background_ends_the_run_with_a_line(tmp_path):
    def on_chunk(state, metrics):
        if int(state.step) == 6:
            checkpoints = tmp_path / "run" / "checkpoints"
            checkpoints.rename(tmp_path / "run" / "moved")
            while not checkpoints.is_file():
                try:
                    checkpoints.write_text("")
                except IsADirectoryError:  # a save that is still going on made it anew
                    shutil.rmtree(checkpoints, ignore_errors=True)

    with pytest.raises(Stopped, match=r"can't write in .*run: checkpoint .*/[48] can't be saved: ") as stopped:
        train(dcgan_mnist.build, tiny(tmp_path, sample_every=3), on_chunk)
    assert stopped.value.status == 1 and "\n" not in str(stopped.value)
    (tmp_path / "run" / "checkpoints").unlink()
    (tmp_path / "run" / "moved").rename(tmp_path / "run" / "checkpoints")
    straight = train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "straight"), sample_every=3))
    assert_equal_bits(train(dcgan_mnist.build, tiny(tmp_path, sample_every=3)), straight)


def test_a_save_that_is_found_to_have_failed_between_two_chunks_ends_the_run_with_a_line(tmp_path, monkeypatch):
    """Whenever it is: in the background it may be before the next one, or with it."""

    def check(self):
        raise SaveError("checkpoint 4 can't be saved: gone")

    monkeypatch.setattr(Checkpoints, "check", check)
    with pytest.raises(
        Stopped, match=r"can't write in .*run: checkpoint 4 can't be saved: gone; what was saved"
    ) as end:
        train(dcgan_mnist.build, tiny(tmp_path))
    assert end.value.status == 1


@pytest.mark.slow
def test_data_that_changed_under_a_run_is_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    train(dcgan_mnist.build, tiny(tmp_path, steps=4), data=from_arrays("mine", images))
    changed = images.copy()
    changed[7, 3, 3] ^= 1
    with pytest.raises(UsageError, match=r"content of the data \w+ \(the run has \w+\)"):
        train(dcgan_mnist.build, tiny(tmp_path), data=from_arrays("mine", changed))
    assert int(train(dcgan_mnist.build, tiny(tmp_path), data=from_arrays("mine", images)).step) == 12


@pytest.mark.slow
def test_data_that_changed_under_a_stream_is_refused(tmp_path):
    pytest.importorskip("grain")
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    path, folder = tmp_path / "set.npz", tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    np.savez(path, images=images)
    kinds = {"npz": f"npz:{path}", "folder": f"folder:{folder}"}
    for name, dataset in kinds.items():
        train(dcgan_mnist.build, tiny(tmp_path, steps=4, dataset=dataset, stream=True, workdir=str(tmp_path / name)))
    np.savez(path, images=images[::-1])
    Image.fromarray(images[0] * 0).save(folder / "00.png")  # of another size: streamed files are known by it
    for name, dataset in kinds.items():
        with pytest.raises(UsageError, match="content of the data"):
            train(dcgan_mnist.build, tiny(tmp_path, dataset=dataset, stream=True, workdir=str(tmp_path / name)))


def test_images_that_do_not_fit_a_stream_are_refused_before_anything_is_written(tmp_path):
    pytest.importorskip("grain")
    images = np.zeros((40, 40, 50), np.uint8)
    with pytest.raises(UsageError, match=r"40×50 pixels, larger than 28×28; .*--fit crop"):
        train(dcgan_mnist.build, tiny(tmp_path, stream=True), data=from_arrays("mine", images))
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_moved_is_the_same_one(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "set.npz", images=images)
    train(dcgan_mnist.build, tiny(tmp_path, steps=4, dataset=f"npz:{tmp_path}/here/set.npz"))
    record = json.loads((tmp_path / "run" / "options.json").read_text())
    assert record["options"]["dataset"] == f"npz:{tmp_path}/here/set.npz" and record["data"]["count"] == 40
    (tmp_path / "there" / "set.npz").rename(tmp_path / "there" / "renamed.npz")
    state = train(dcgan_mnist.build, tiny(tmp_path, dataset=f"npz:{tmp_path}/there/renamed.npz"))
    assert int(state.step) == 12


@pytest.mark.slow
def test_random_changes_of_real_images_resume_with_the_same_bits(tmp_path):
    often = {"flip": True, "rotate": 10.0, "scale": 0.1, "load_size": 32}
    straight = train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "straight"), **often))
    train(dcgan_mnist.build, tiny(tmp_path, steps=7, **often))
    assert_equal_bits(train(dcgan_mnist.build, tiny(tmp_path, **often)), straight)
    plain = train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "plain")))
    with pytest.raises(AssertionError):
        assert_equal_bits(plain, straight)


def test_a_run_whose_checkpoints_are_gone_does_not_begin_again(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=30))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(UsageError, match=r"was trained to step 30 at least, .* bring back a copy"):
        train(dcgan_mnist.build, tiny(tmp_path, steps=40))
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_an_error_of_the_callers_own_is_not_taken_for_a_full_disk(tmp_path):
    def on_chunk(state, metrics):
        (tmp_path / "nowhere" / "mine.csv").open()

    with pytest.raises(FileNotFoundError, match=r"mine\.csv"):
        train(dcgan_mnist.build, tiny(tmp_path), on_chunk)


def test_a_finished_run_keeps_its_record(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path))
    train(dcgan_mnist.build, tiny(tmp_path, steps=5))
    assert json.loads((tmp_path / "run" / "options.json").read_text())["options"]["steps"] == 12


def test_a_picture_that_was_damaged_does_not_stop_the_animation(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=6))
    (tmp_path / "run" / "samples" / "00000000.png").write_bytes(b"no picture")
    train(dcgan_mnist.build, tiny(tmp_path))
    with Image.open(tmp_path / "run" / "training.gif") as animation:
        assert animation.n_frames == 4  # steps 5, 6, 10, 12


@pytest.mark.slow
def test_an_exploding_gradient_is_told_by_name(tmp_path):
    """A critic without any bound, at a rate that doubles its weights with every step."""

    def build(options, data):
        gan = dcgan_mnist.build(options, data)
        step = make_joint_step(latents(8), [d_loss(wasserstein)], [g_loss(wasserstein)])

        def init(key):
            state = gan.init(key)
            d = state.discriminator
            d = d.replace(tx=optax.identity(), opt_state=optax.identity().init(d.params))
            return state.replace(discriminator=d)

        return gan._replace(init=init, iteration=iteration(step))

    options = tiny(tmp_path, steps=400, learning_rate=30.0, checkpoint_every=1000, sample_every=1000)
    with pytest.raises(Stopped, match=r"diverged: .* after discriminator/gradient_norm had exploded from .* to "):
        train(build, options)


def test_a_dry_run_says_what_it_costs_and_writes_nothing(tmp_path, capsys):
    train(dcgan_mnist.build, tiny(tmp_path, dry_run=True))
    said = capsys.readouterr().out
    assert "Generator" in said and "memory on the device" in said and "12 steps" in said
    assert list(tmp_path.iterdir()) == []


OUT_OF_MEMORY = """
import resource, sys
import jax
from experiments import dcgan_mnist
from jaxgan.training import main
jax.devices()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
main(dcgan_mnist.Options, dcgan_mnist.build)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit of memory to set")
def test_a_batch_that_does_not_fit_memory_is_one_line(tmp_path):
    batch = ["--devices", "1", "--dataset", "digits", "--image-size", "128", "--fit", "crop", "--batch-size", "1797"]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, *batch, "--workdir", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert last.startswith("out of memory (RESOURCE_EXHAUSTED") and "lower --batch-size (1797)" in last
    assert "--accumulate 2" in last


@pytest.mark.slow
def test_gradients_accumulate_as_the_way_out_of_memory_says(tmp_path):
    """optax.MultiSteps: nothing moves but every third step."""

    def build(options, data):
        gan = dcgan_mnist.build(options, data)

        def init(key):
            state = gan.init(key)
            players = {}
            for name in ("generator", "discriminator"):
                player = getattr(state, name)
                tx = optax.MultiSteps(optax.scale_by_adam(), 3).gradient_transformation()
                players[name] = player.replace(tx=tx, opt_state=tx.init(player.params))
            return state.replace(**players)

        return gan._replace(init=init)

    seen = []

    def on_chunk(state, metrics):
        seen.append(np.asarray(state.generator.params["project"]["kernel"]))

    train(build, tiny(tmp_path, steps=6, sample_every=1), on_chunk)
    same = [np.array_equal(one, other) for one, other in itertools.pairwise(seen)]
    assert same == [True, False, True, True, False]
