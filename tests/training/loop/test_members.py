"""Runs of several GANs: the loop's numbers, files, words and end, for every member and for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from point_runs import D_RATE, SELDOM, bombs, report, rows, run_points, same
from user_state import Dict

from experiments import dcgan_mnist
from jaxgan import data, ensemble
from jaxgan.evaluation import sliced_wasserstein
from jaxgan.media import Image as Shown
from jaxgan.state import ROLES
from jaxgan.training import GAN, Stopped, UsageError, open, train  # noqa: A004 - the library's name for it
from jaxgan.training.options.options import Options
from jaxgan.training.recipe.members import members_of
from scripts import sample

pytestmark = pytest.mark.usefixtures("as_users_have_it")

TINY = {"image_size": 28, "features": 2, "latent_size": 8, "checkpoint_every": 100, **SELDOM}
CHANGED = {"image_size": 4, "load_size": 6, "flip": True}


def images(tmp_path, **changes):
    """Options of a DCGAN."""
    return dcgan_mnist.Options(**{"workdir": str(tmp_path / "run"), **TINY, **changes})


def with_hyper(build, **hyper):
    """The experiment with other numbers in its state."""

    def built(options, spec):
        gan = build(options, spec)

        def init(key):
            state = gan.init(key)
            return state.replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in hyper.items()})

        return gan._replace(init=init)

    return built


# --- what is asked for -----------------------------------------------------------------------------------------------
def test_the_two_multiply_and_seeds_vary_fastest():
    members = members_of(Options(seed=5, seeds=2, sweep="a/b=1e-3, 2"))
    assert [(member.number, member.seed, member.swept) for member in members] == [
        *[(0, 5, {"a/b": 1e-3}), (1, 6, {"a/b": 1e-3})],
        *[(2, 5, {"a/b": 2.0}), (3, 6, {"a/b": 2.0})],
    ]
    assert str(members[1]) == "member 1 (seed 6, a/b 0.001)"
    assert str(members_of(Options(seeds=2))[1]) == "member 1 (seed 1)"
    assert [member.swept for member in members_of(Options(sweep=" x = 0.5 "))] == [{"x": 0.5}], "an ensemble of one"
    assert members_of(Options()) == []
    last = members_of(Options(seed=2**32 - 2, seeds=2))[-1].seed
    assert jax.random.key_data(jax.random.key(last)).tolist() == [0, 2**32 - 1]


@pytest.mark.parametrize(
    "sweep",
    [
        *("", "=", "x", "x=", "=1", " =1", "x=1,", "x=a,b", "x=1;2"),
        *("x=1,nan", "x=inf", "x=1e39", "x=1,1.0", "x=1,1.00000001"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused_in_a_line(sweep):
    form = r"--sweep must be NAME=VALUE,VALUE,.*such as discriminator/l"
    with pytest.raises(UsageError, match=rf"{form}|--sweep x must have numbers that float32 tells apart, .*, got ."):
        Options(sweep=sweep)


@pytest.mark.parametrize(
    "sweep, said",
    [
        ("discriminator/learning_rate=1e-4,-1", "each above 0 and finite, with commas between, got -1"),
        ("generator/learning_rate=0,1e-4", "each above 0 and finite, with commas between, got 0"),
        ("generator/learning_rate=1e-4,1e-50", "each above 0 and finite, with commas between, got 1e-50"),
        ("ema_half_life=-0.5", "each at least 0 and finite, with commas between, got -0.5"),
        ("ema_half_life=5,5.0", "each at least 0 and finite, with commas between, got 5.0 again"),
        ("beta1=1.0", "each at least 0 and below 1, with commas between, got 1.0"),
        ("ema_half_life=5,,6", "each at least 0 and finite, with commas between, got an empty text"),
    ],
)
def test_swept_values_have_the_bounds_of_the_option(sweep, said):
    with pytest.raises(UsageError) as error:
        Options(sweep=sweep)
    name = sweep.partition("=")[0]
    assert str(error.value) == f"--sweep {name} must have numbers that float32 tells apart, {said}"


def test_a_sweep_of_more_gans_than_fit_is_refused():
    with pytest.raises(UsageError, match="--seeds 3000 and 2 values of --sweep are 6000 GANs; at most 4096 at once"):
        Options(seeds=3000, sweep="ema_half_life=1,2")


@pytest.mark.parametrize("sweep, name", [("penalty=1,2", "penalty"), ("a=b=1,2", "a=b"), ("my own =1", "my own")])
def test_a_sweep_of_what_there_is_not_names_what_there_is(sweep, name, tmp_path):
    known = "discriminator/learning_rate, ema_half_life, generator/learning_rate"
    with pytest.raises(UsageError, match=f"--sweep {name}, but .* has are: {known}$"):
        run_points(tmp_path, sweep=sweep)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["lr", "learning_rate", "generator_learning_rate", "generator/lr"])
def test_a_swept_name_that_is_nearly_right_is_told(name, tmp_path):
    with pytest.raises(UsageError, match=r"; perhaps you meant generator/learning_rate$"):
        run_points(tmp_path, sweep=f"{name}=1,2")


def test_seeds_are_counted_and_fit_a_key():
    with pytest.raises(UsageError, match="--seeds must be from 1 to 4096, got 0"):
        Options(seeds=0)
    with pytest.raises(UsageError, match=r"--seed must be from 0 to 2\^32 - --seeds, got 4294967295"):
        Options(seed=2**32 - 1, seeds=2)


# --- each as it would be alone ---------------------------------------------------------------------------------------
@pytest.mark.slow
def test_members_of_a_dcgan_equal_runs_of_their_own(tmp_path, capsys):
    """Trained by Adam, for ten steps; and then they draw the same."""
    noise = data.from_arrays("noise", np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), np.uint8))
    both = {"seed": 3, "seeds": 2, "sweep": f"{D_RATE}=1e-4,2e-3", "steps": 10}
    state = train(dcgan_mnist.build, images(tmp_path, **both), data=noise)
    build = with_hyper(dcgan_mnist.build, **{D_RATE: 2e-3})
    alone = train(build, images(tmp_path, workdir=str(tmp_path / "alone"), seed=4, steps=10), data=noise)
    same(ensemble.member(state, 3), alone, 1e-5)
    logged, own = rows(tmp_path / "run")[-1]["members"], rows(tmp_path / "alone")[-1]
    for name, values in logged.items():
        assert values[3] == pytest.approx(own[name], rel=1e-4, abs=1e-5)
        assert len(set(values)) == 4, "no two members are alike"

    # --- its images, as a user asks for them
    out = [tmp_path / "member.npz", tmp_path / "all.npz"]
    sample.run(sample.Options(run=tmp_path / "run", out=out[:1], count=5, member=3, seed=1))
    sample.run(sample.Options(run=tmp_path / "run", out=out[1:], count=5, seed=1))
    drawn, of_all = (np.load(path)["images"] for path in out)
    opened = open(tmp_path / "run")
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(jnp.arange(5))
    expected = Shown().encode(opened.alone.sample(alone, {}, keys)["image"])
    assert drawn.shape == (5, 28, 28, 1) and of_all.shape == (4, 5, 28, 28, 1)
    for one in (drawn, of_all[3]):
        assert np.abs(one.astype(int) - np.asarray(expected).astype(int)).max() <= 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("ema weights of step 10 of all 4 members")

    # --- how good they are, and the sheet of them
    real = noise.images[np.random.default_rng(0).permutation(60)[:30]]
    distance = sliced_wasserstein(jax.random.key(0), opened.member(3).sample(30), real)
    assert report(tmp_path / "run")["members"][3]["score"] == pytest.approx(float(distance), rel=1e-4)
    key = jax.random.fold_in(jax.random.key(3), ROLES["display"])
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(64))
    shown = Shown().show_members(np.asarray(Shown().encode(opened.gan.sample(state, {}, keys)["image"])))
    with Image.open(tmp_path / "run" / "samples" / "00000010.png") as sheet:
        assert np.abs(np.asarray(sheet).astype(int) - shown[..., 0].astype(int)).max() <= 1
    with pytest.raises(UsageError, match=r"no member 4: .* has members 0 to 3"):
        open(tmp_path / "run", member=4)


def watching(options, spec):
    """No GAN, but a state that depends on every pixel and label that came, and on their order, bit by bit."""

    def iteration(state, batch):
        levels = jnp.rint((batch["image"] + 1) * 127.5).astype(jnp.uint32).ravel()
        weights = jnp.arange(levels.size, dtype=jnp.uint32) * jnp.uint32(2654435761) + jnp.uint32(1)
        seen = state["seen"] * jnp.uint32(31) + jnp.sum(levels * weights) + jnp.sum(batch["label"]).astype(jnp.uint32)
        return Dict(state | {"step": state.step + 1, "seen": seen}), {"seen": (seen >> 8).astype(jnp.float32)}

    return GAN(
        lambda key: Dict(step=jnp.int32(0), key=key, seen=jnp.uint32(1)),
        iteration,
        options.batch_size,
        lambda state, examples, keys: {"image": jnp.zeros((len(keys), *spec.shape))},
    )


def watched(tmp_path, name, **changes):
    """What was seen, of one run or of each member."""
    numbered = np.random.default_rng(0).integers(0, 256, (22, 6, 6, 1), np.uint8)
    options = {
        "steps": 7,
        "batch_size": 5,
        "checkpoint_every": 4,
        "sample_every": 100,
        "devices": 1,
        **CHANGED,
        **changes,
    }
    mine = data.from_arrays("numbered", numbered, np.arange(22, dtype=np.int32) % 3)
    state = train(watching, Options(workdir=str(tmp_path / name), **options), data=mine)
    return (state.members if changes.get("seeds", 1) > 1 else state)["seen"].tolist()


@pytest.mark.slow
def test_each_member_has_an_order_and_changes_of_its_own(tmp_path):
    together = watched(tmp_path, "run", seed=2, seeds=3)
    assert together == [watched(tmp_path, f"alone-{seed}", seed=seed) for seed in (2, 3, 4)]
    assert len(set(together)) == 3
    orders = watched(tmp_path, "unchanged", seeds=3, load_size=None, flip=False)
    assert len(set(orders)) == 3


@pytest.mark.slow
def test_a_streamed_ensemble_sees_what_one_in_memory_sees_and_is_continued(tmp_path):
    pytest.importorskip("grain")
    inside = watched(tmp_path, "inside", seeds=3)
    assert watched(tmp_path, "straight", seeds=3, stream=True) == inside
    watched(tmp_path, "run", seeds=3, stream=True, steps=5)
    assert watched(tmp_path, "run", seeds=3, stream=True, workers=1) == inside
    assert report(tmp_path / "run") == report(tmp_path / "inside"), "both are held against the same images"
    assert np.isfinite([member["score"] for member in report(tmp_path / "run")["members"]]).all()


# --- members that diverge --------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_one_that_diverges_is_told_once_and_stays_as_it_was(tmp_path, capsys):
    build, together = bombs({1: 6}), {"seeds": 3}
    straight = run_points(tmp_path, build, workdir=str(tmp_path / "straight"), **together)
    said = capsys.readouterr().out
    line = "member 1 (seed 1) diverged: generator/loss became nan at step 6 (of steps"
    assert said.count("diverged:") == 1 and line in said
    assert "It stays as it was before that step; 2 of 3 go on" in said and "diverged at step 6" in said
    assert straight.frozen.tolist() == [0, 6, 0]
    states = {}
    for name, saved in (("before", 5), ("after", 8)):
        where = {"workdir": str(tmp_path / name), **together}
        states[saved] = run_points(tmp_path, build, steps=saved, **where)
        assert capsys.readouterr().out.count("diverged:") == (saved > 6)
        same(run_points(tmp_path, build, **where), straight)
        assert capsys.readouterr().out.count("diverged:") == (saved < 6), "told once, by whichever run saw it"
        assert rows(tmp_path / name) == rows(tmp_path / "straight")
    members = report(tmp_path / "straight")["members"]
    assert [member["frozen"] for member in members] == [None, 6, None]
    assert members[1]["score"] is None and members[1]["generator/loss"] is None
    assert report(tmp_path / "straight")["summary"][0]["counted"] == 2

    kept, five = (ensemble.member(state, 1) for state in (straight, states[5]))
    for name in ("ema", "extras", "hyper"):
        same(getattr(kept, name), getattr(five, name))
    same(kept.generator.opt_state, five.generator.opt_state)
    untouched = run_points(tmp_path, bombs({7: 6}), workdir=str(tmp_path / "untouched"), **together)
    for number in (0, 2):
        same(ensemble.member(straight, number), ensemble.member(untouched, number))


@pytest.mark.slow
def test_a_run_ends_with_its_last_member(tmp_path, capsys):
    build, options = bombs({0: 12, 1: 25}), {"seeds": 2, "steps": 40}
    ending = r"^diverged: no member is left, the last one ended at step 25; the checkpoint of step 24 in"
    with pytest.raises(Stopped, match=ending) as stopped:
        run_points(tmp_path, build, **options)
    assert stopped.value.status == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "diverged:" in line]
    assert [line.split(" diverged: ")[0].split("\r")[-1].strip() for line in lines] == [
        *("member 0 (seed 0)", "member 1 (seed 1)")
    ]
    assert "go on" not in lines[1], "nobody is left to"
    assert [row["step"] for row in rows(tmp_path / "run")] == [10, 20]
    first, second = (row["members"]["generator/loss"] for row in rows(tmp_path / "run"))
    assert None not in first and second[0] is None and second[1] is not None
    assert max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()) == 24
    assert not (tmp_path / "run" / "members.json").exists()
    with pytest.raises(Stopped, match=ending):
        run_points(tmp_path, build, **options)
    assert [line[:8] for line in capsys.readouterr().out.splitlines() if "diverged:" in line] == ["member 1"]


@pytest.mark.slow
def test_a_swept_rate_that_is_too_high_is_told_with_its_value(tmp_path, capsys):
    state = run_points(tmp_path, sweep=f"{D_RATE}=1e-3,1e30")
    assert state.frozen[0] == 0 and state.frozen[1] > 0
    assert f"member 1 (seed 0, {D_RATE} 1e+30) diverged: " in capsys.readouterr().out
    record = report(tmp_path / "run")
    assert record["swept"] == D_RATE and [member[D_RATE] for member in record["members"]] == [1e-3, 1e30]
