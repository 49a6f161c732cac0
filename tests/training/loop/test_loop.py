"""The training loop, in this process: the same bits whatever the chunks, and a clean end whatever happens."""

import json
import signal
import struct

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import assert_same
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tiny_dcgan import tiny

from experiments import dcgan_mnist
from jaxgan import GANState, d_loss, g_loss, init_player, iteration, latents, make_d_step, make_g_step, repeat
from jaxgan.losses import non_saturating
from jaxgan.networks.dcgan import Discriminator, Generator
from jaxgan.parallel import layout
from jaxgan.terms import Term
from jaxgan.training import GAN, DataSpec, Stopped, UsageError, sample_with, train
from jaxgan.training.checkpoints.checkpoints import Checkpoints
from jaxgan.training.compiled.program import CHUNK, compile_chunk
from jaxgan.training.loop import _summary

pytestmark = pytest.mark.usefixtures("as_users_have_it")

ONE_DEVICE = layout(jax.devices()[:1])


def assert_equal_bits(one, other):
    """Every array alike; optimisers made by two calls are two objects, so the trees' static parts are not compared."""
    assert_same(jax.tree.leaves(one), jax.tree.leaves(other))


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


NOISE = DataSpec.single("noise", 50, (28, 28, 1))


def critic_twice():
    """DCGAN with batch norm, Adam, an average, and two critic steps an iteration."""
    sampler, generator, discriminator = latents(8), Generator(28, 1, 2), Discriminator(2)

    def init(key):
        players = [
            init_player(key, generator, optax.scale_by_adam(b1=0.5), jnp.zeros((1, 8))),
            init_player(key, discriminator, optax.scale_by_adam(b1=0.5), jnp.zeros((1, 28, 28, 1))),
        ]
        rates = {"generator/learning_rate": 1e-3, "discriminator/learning_rate": 1e-3}
        return GANState.create(key, *players, hyper=rates | {"ema_half_life": 100.0})

    d_step = make_d_step(sampler, [d_loss(non_saturating)])
    g_step = make_g_step(sampler, [g_loss(non_saturating)])
    return GAN(init, iteration(repeat(d_step, 2), g_step), 16, sample_with(sampler))


def test_chunks_of_any_length_give_the_same_bits():
    gan = critic_twice()
    random = np.random.default_rng(0)
    examples = {"image": jnp.asarray(random.integers(0, 256, (50, 28, 28, 1), np.uint8))}

    def start():
        return jax.jit(gan.init)(jax.random.key(1))

    chunk = compile_chunk(gan, start(), NOISE, examples, layout=ONE_DEVICE).run
    outcomes = []
    for lengths in ([9], [1] * 9, [4, 5], [2, 7]):
        state, seen = start(), []
        for length in lengths:
            state, metrics = chunk(state, length)
            seen.append(jax.tree.map(lambda values, n=length: values[:n], metrics))
        outcomes.append((state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen)))
    assert int(outcomes[0][0].step) == 9
    assert int(outcomes[0][0].discriminator.step) == 18
    for outcome in outcomes[1:]:
        assert_same(outcome, outcomes[0])


def test_a_chunk_gives_its_state_away():
    gan = critic_twice()
    state = jax.jit(gan.init)(jax.random.key(1))
    examples = {"image": jnp.zeros((50, 28, 28, 1), jnp.uint8)}
    chunk = compile_chunk(gan, state, NOISE, examples, layout=ONE_DEVICE).run
    _, metrics = chunk(state, 1)
    assert all(values.shape == (CHUNK,) for values in metrics.values())
    assert state.generator.params["project"]["kernel"].is_deleted()


def test_a_run_leaves_what_it_promises(tmp_path, capsys):
    options = tiny(tmp_path)
    state = train(dcgan_mnist.build, options)
    directory = tmp_path / "run"
    assert int(state.step) == 12
    record = json.loads((directory / "options.json").read_text())
    assert record["experiment"] == "experiments.dcgan_mnist" and record["options"]["dataset"] == "digits"
    assert [row["step"] for row in rows(directory)] == [10]
    assert rows(directory)[0]["images"] == 80 and "discriminator/gradient_norm" in rows(directory)[0]
    assert [path.name for path in sorted((directory / "samples").iterdir())] == [
        f"{step:08d}.png" for step in (0, 5, 10, 12)
    ]
    assert sorted(int(path.name) for path in (directory / "checkpoints").iterdir()) == [4, 8, 12]
    with Image.open(directory / "training.gif") as animation:
        assert animation.n_frames == 4
    said = capsys.readouterr()
    assert str(directory) in said.out and "12/12 steps" in said.err


def test_events_hold_scalars_and_grids(tmp_path):
    """Read as TensorBoard does: records of an 8-byte length, 4 bytes of checksum, the event, 4 bytes of checksum."""
    train(dcgan_mnist.build, tiny(tmp_path))
    (path,) = (tmp_path / "run" / "tensorboard").iterdir()
    content, offset, found = path.read_bytes(), 0, set()
    while offset < len(content):
        (length,) = struct.unpack_from("<Q", content, offset)
        event = Event.FromString(content[offset + 12 : offset + 12 + length])
        found |= {(event.step, value.tag) for value in event.summary.value}
        offset += length + 16
    assert (10, "generator/loss") in found and (5, "samples") in found


def test_a_continued_run_equals_an_undisturbed_one(tmp_path):
    straight = train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "straight")))
    train(dcgan_mnist.build, tiny(tmp_path, steps=7))
    assert_equal_bits(train(dcgan_mnist.build, tiny(tmp_path)), straight)
    assert rows(tmp_path / "run") == rows(tmp_path / "straight")


@pytest.mark.slow
def test_rows_after_the_checkpoint_are_written_once(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=10))
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 20, "images": 160}\n{"step": 30, "im')
    train(dcgan_mnist.build, tiny(tmp_path, steps=20))
    assert [row["step"] for row in rows(tmp_path / "run")] == [10, 20] and "generator/loss" in rows(tmp_path / "run")[1]


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_first(number, status, tmp_path):
    def on_chunk(state, metrics):
        if int(state.step) == 6:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=r"at step 6, which is saved; continue with train\(build, .*workdir") as stopped:
        train(dcgan_mnist.build, tiny(tmp_path, sample_every=3, checkpoint_every=5), on_chunk)
    assert stopped.value.status == status
    assert signal.getsignal(number) is before
    resumed = train(dcgan_mnist.build, tiny(tmp_path))
    assert_equal_bits(resumed, train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "other"))))


def test_a_signal_before_the_first_step_claims_nothing(tmp_path):
    def build(options, data):
        gan = dcgan_mnist.build(options, data)

        def iteration(state, batch):  # which is traced before the first step
            if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:  # a second signal would not be waited for
                signal.raise_signal(signal.SIGTERM)
            return gan.iteration(state, batch)

        return gan._replace(iteration=iteration)

    with pytest.raises(Stopped, match="stopped by SIGTERM before the first step; continue with") as stopped:
        train(build, tiny(tmp_path))
    assert stopped.value.status == 143
    checkpoints = Checkpoints(tmp_path / "run")
    assert checkpoints.newest() is None
    checkpoints.close()


@pytest.mark.slow
def test_directories_of_their_own_are_named_after_the_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    for seed in (0, 1):
        train(dcgan_mnist.build, tiny(tmp_path, workdir=None, steps=1, seed=seed))
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert names == {"dcgan_mnist-20260101-000000", "dcgan_mnist-20260101-000000-2"}


def nan_at(step):
    """dcgan_mnist with a term that is NaN in one update of the discriminator."""

    def build(options, data):
        gan = dcgan_mnist.build(options, data)
        sampler = latents(options.latent_size)
        bomb = Term("bomb", lambda view: jnp.where(view.step == step - 1, jnp.nan, 0.0) * jnp.ones(options.batch_size))
        d_step = make_d_step(sampler, [d_loss(non_saturating), bomb])
        return gan._replace(iteration=iteration(d_step, make_g_step(sampler, [g_loss(non_saturating)])))

    return build


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(Stopped, match=r"bomb became nan at step 6 \(of steps \d+ to \d+\); .* step 4") as stop:
        train(nan_at(6), tiny(tmp_path))
    assert stop.value.status == 1
    checkpoints = Checkpoints(tmp_path / "run")
    assert checkpoints.newest() == 4
    like = jax.eval_shape(dcgan_mnist.build(tiny(tmp_path), dcgan_spec()).init, jax.random.key(0))
    saved = checkpoints.restore(4, like)
    checkpoints.close()
    assert all(
        np.isfinite(leaf).all() for leaf in jax.tree.leaves((saved.generator.params, saved.discriminator.params))
    )


def dcgan_spec():
    return DataSpec.single("digits", 1797, (28, 28, 1), 10)


def test_nan_before_the_first_checkpoint_says_so(tmp_path):
    with pytest.raises(Stopped, match="no checkpoint was saved before"):
        train(nan_at(2), tiny(tmp_path))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"features": 4}, r"--features 4 \(the run has 2\)"),
        (
            {"seed": 1, "learning_rate": 1e-3},
            r"--learning-rate 0.001 \(the run has 0.0002\); --seed 1 \(the run has 0\)",
        ),
        ({"image_size": 32}, r"--image-size 32 \(the run has 28\)"),
        ({"fresh": True}, "--fresh, but .* holds a run already"),
    ],
)
def test_options_that_contradict_the_run_are_refused(changes, message, tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    before = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(UsageError, match=message):
        train(dcgan_mnist.build, tiny(tmp_path, **changes))
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_a_finished_run_says_so_and_stays(tmp_path, capsys):
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    state = train(dcgan_mnist.build, tiny(tmp_path, steps=3))
    assert int(state.step) == 4 and "is at step 4 already" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["training.gif", "neighbours.png"])
def test_what_a_kill_prevented_at_the_end_is_made_by_the_next_start(name, tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path))
    made = tmp_path / "run" / name
    before = made.read_bytes()
    made.unlink()
    train(dcgan_mnist.build, tiny(tmp_path))
    assert made.read_bytes() == before


def test_a_run_without_its_record_is_not_taken_for_a_new_one(tmp_path):
    train(dcgan_mnist.build, tiny(tmp_path, steps=4))
    (tmp_path / "run" / "options.json").unlink()
    for fresh in (False, True):
        with pytest.raises(UsageError, match=r"has checkpoints but no options\.json"):
            train(dcgan_mnist.build, tiny(tmp_path, fresh=fresh))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 2000}, "an iteration takes 2000 images, but digits has only 1797; lower --batch-size"),
        ({"dataset": "celeb_a", "data_dir": "nowhere"}, "'celeb_a' is not prepared in nowhere"),
    ],
)
def test_data_that_does_not_fit_is_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        train(dcgan_mnist.build, tiny(tmp_path, **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_auto_is_decided_once_and_written_down(tmp_path, capsys):
    train(dcgan_mnist.build, tiny(tmp_path, steps=2, dataset="auto", data_dir=str(tmp_path)))
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "reading mnist ..."
    assert second.startswith("NOTE: training on scikit-learn's 1,797 digits instead of MNIST")
    assert json.loads((tmp_path / "run" / "options.json").read_text())["options"]["dataset"] == "digits"
    train(dcgan_mnist.build, tiny(tmp_path, steps=3, dataset="auto"))  # wherever MNIST may be by now
    assert "NOTE" not in capsys.readouterr().out


def test_an_unwritable_run_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't write in run directory .*choose another --workdir"):
        train(dcgan_mnist.build, tiny(tmp_path, workdir=str(tmp_path / "file" / "run")))


def test_the_bar_shows_the_last_losses_of_who_has_a_turn():
    """Of two phases, of which the second trains others; of members, their mean, but for those that are frozen."""
    losses = {"autoencoder": [0.5, 0.0], "critic": [0.0, 0.25], "discriminator": [[1.0, 1.0], [0.3, np.nan]]}
    metrics = {f"{name}/loss": np.array(values) for name, values in losses.items()}
    assert _summary(metrics | {"critic/r1": np.ones(2)}, "5 images/s") == "5 images/s, critic 0.250, D 0.300"
    assert _summary({"generator/loss": np.ones(1)}, "") == "G 1.000"
