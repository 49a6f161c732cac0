"""The options that say where and in which precision a run computes, through the training loop."""

import importlib
import pathlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import assert_same, of_a_kind
from jax.extend.core import ClosedJaxpr, Jaxpr
from PIL import Image

from experiments import dcgan_mnist, gan_ring
from jaxgan import d_loss, data, g_loss, iteration, latents, make_d_step, make_g_step, make_joint_step, parallel, repeat
from jaxgan.losses import non_saturating
from jaxgan.networks.mlp import Discriminator, Generator
from jaxgan.terms.penalties import r1
from jaxgan.training import GAN, DataSpec, UsageError, init_with, sample_with, train
from jaxgan.training.compiled.program import compile_chunk
from jaxgan.training.options.devices import DeviceOptions, compiler_options, describe, layout_for
from jaxgan.training.options.options import of_preset
from jaxgan.training.recipe.loading import load
from jaxgan.training.recipe.members import ensemble_of, members_of

pytestmark = pytest.mark.usefixtures("as_users_have_it")

TRANSLATE = {"cyclegan", "cyclegan_mnist", "pix2pix", "pix2pix_glyphs", "repair", "srgan", "style_transfer"}
TRANSLATE |= {"vqgan_cifar10"}
STYLES = {"stylegan_mnist", "stylegan2_mnist", "stylegan2_cifar10", "stylegan2_folder"}  # keep float32 in places
DRAW = sorted({path.stem for path in pathlib.Path("experiments").glob("[a-z]*.py")} - TRANSLATE - STYLES)
TINY = {"dcgan_mnist": {"dataset": "digits", "image_size": 28, "features": 4, "latent_size": 8}, "gan_ring": {}}


def ring(tmp_path, name="run", **changes):
    options = {"steps": 4, "batch_size": 28, "workdir": str(tmp_path / name), "width": 32, "learning_rate": 0.05}
    return gan_ring.Options(**(options | {"checkpoint_every": 2, "sample_every": 4} | changes))


def sgd(options, data):
    """gan_ring with SGD, which shows a gradient of a wrong scale, and a penalty of second order."""
    shape = data.shape
    networks = Generator(shape, (options.width,) * 2), Discriminator((options.width,) * 2)
    rates = {f"{player}/learning_rate": options.learning_rate for player in ("generator", "discriminator")}
    latent, image = jnp.zeros((1, options.latent_size)), jnp.zeros((1, *shape))
    init = init_with(*networks, optax.trace(0.9), latent, image, rates | {"ema_half_life": 100.0})
    sampler = latents(options.latent_size)
    step = make_joint_step(sampler, [d_loss(non_saturating), r1(0.1)], [g_loss(non_saturating)])
    return GAN(init, iteration(step), options.batch_size, sample_with(sampler))


def metrics_of(build, options):
    """The final state, and all metrics of the run."""
    seen = []
    state = train(build, options, lambda state, metrics: seen.append(metrics))
    return state, {name: np.concatenate([metrics[name] for metrics in seen]) for name in seen[0]}


LAYOUTS = [(4, True), (2, False), (4, False)]


@pytest.fixture
def all_sharded(monkeypatch):
    monkeypatch.setattr(parallel, "SMALL", 16)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_gives_the_same_numbers_and_pictures_on_any_devices(seeds, tmp_path, all_sharded):
    expected = metrics_of(sgd, ring(tmp_path, "1", devices=1, seeds=seeds))
    picture = np.asarray(Image.open(tmp_path / "1" / "samples" / "00000004.png")).astype(int)
    for number, (devices, shard) in enumerate(LAYOUTS[: 2 if seeds == 1 else 1]):
        name = f"{devices}-{number}"
        state, metrics = metrics_of(sgd, ring(tmp_path, name, devices=devices, shard_parameters=shard, seeds=seeds))
        assert_same(jax.tree.leaves((state, metrics)), jax.tree.leaves(expected), 1e-5)
        drawn = np.asarray(Image.open(tmp_path / name / "samples" / "00000004.png")).astype(int)
        assert np.mean(np.abs(drawn - picture)) < 0.1  # a point on a pixel's border may count for its neighbour


@pytest.mark.slow
def test_convolutions_give_the_same_numbers_and_pictures_on_any_devices(tmp_path):
    def build(options, data):
        gan = dcgan_mnist.build(options, data)

        def init(key):  # of the optimiser's steps alone: Adam makes of a rounding at 0 a whole step
            state = gan.init(key)
            tx = optax.trace(0.9)
            players = {
                name: getattr(state, name).replace(tx=tx, opt_state=tx.init(getattr(state, name).params))
                for name in ("generator", "discriminator")
            }
            return state.replace(**players)

        return gan._replace(init=init)

    def options(name, **changes):
        own = {"workdir": str(tmp_path / name), "steps": 5, "sample_every": 5, "batch_size": 8, "learning_rate": 0.02}
        return dcgan_mnist.Options(**own, **TINY["dcgan_mnist"], **changes)

    expected = metrics_of(build, options("1", devices=1))
    picture = np.asarray(Image.open(tmp_path / "1" / "samples" / "00000005.png")).astype(int)
    for devices, shard in LAYOUTS:
        name = f"{devices}{shard}"
        found = metrics_of(build, options(name, devices=devices, shard_parameters=shard))
        assert_same(jax.tree.leaves(found), jax.tree.leaves(expected), 1e-4)
        drawn = np.asarray(Image.open(tmp_path / name / "samples" / "00000005.png")).astype(int)
        assert np.max(np.abs(drawn - picture)) <= 1


def compiled_chunk(options, count=64, spec=None):
    """The state, and the program of a run on `count` points."""
    spec = spec or DataSpec.single("ring", count, (1, 1, 2), 8, kind="points")
    gan = gan_ring.build(options, spec)
    members = members_of(options)
    where = layout_for(options, options.batch_size, [gan.batch_size], len(members))
    gan = ensemble_of(gan, members) if members else gan
    like = where.abstract(where.gathering(jax.eval_shape(gan.init, jax.random.key(0))))
    state = jax.jit(lambda key: where.gathering(gan.init(key)), out_shardings=where.of(like))(jax.random.key(0))
    stored = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), spec.batch(count))
    examples = jax.device_put(stored, where.everywhere)
    return state, compile_chunk(gan, state, spec, examples, layout=where, options=compiler_options(options)), where


@pytest.mark.slow
def test_a_batch_is_gathered_and_used_in_parts(tmp_path):
    """No device ever has an array of all 28 examples, only of its 7."""
    _, program, _ = compiled_chunk(ring(tmp_path, devices=4))
    text = program.compiled.as_text()
    shapes = set(re.findall(r"f32\[([\d,]+)\]", text))
    assert "7,32" in shapes and not [shape for shape in shapes if "28" in shape.split(",")]
    assert re.search(r"f32\[7,[1,]*2\]\S* gather\(", text)  # from the data set, which every device has


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_a_sharded_state_stays_so_chunk_after_chunk(seeds, tmp_path, all_sharded):
    shares = 4 // seeds
    seen = []

    def on_chunk(state, metrics):
        gan = state.members if seeds > 1 else state
        for player in (gan.generator, gan.discriminator):
            for tree in (player.params, player.opt_state.mu, player.opt_state.nu):
                kernel = tree["Dense_1"]["kernel"]
                assert {shard.data.size for shard in kernel.addressable_shards} == {32 * 32 // shares}
                assert len(kernel.addressable_shards) == 4
        average = gan.ema["generator"]["params"]["Dense_1"]["kernel"]
        assert {shard.data.size for shard in average.addressable_shards} == {32 * 32 // shares}
        seen.append(int(state.step))

    train(gan_ring.build, ring(tmp_path, devices=4, shard_parameters=True, seeds=seeds), on_chunk)
    assert len(seen) > 1


# --- mistakes ---


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"devices": 9},
            "--devices 9, but there are 4; XLA_FLAGS=--xla_force_host_platform_device_count=9 makes a CPU appear as 9",
        ),
        (
            {"devices": 4, "batch_size": 30},
            "a batch of 30 can't be spread evenly over 4 devices; take --batch-size 28 or 32, or fewer --devices",
        ),
        (
            {"devices": 4, "batch_size": 3},
            "a batch of 3 can't be spread evenly over 4 devices; take --batch-size 4, or fewer --devices",
        ),
        (
            {"devices": 4, "batch_size": 7, "seeds": 2},
            "a batch of 7 can't be spread evenly over 2 devices; take --batch-size 6 or 8, or fewer --devices",
        ),
    ],
)
def test_devices_that_do_not_fit_are_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(UsageError) as error:
        train(gan_ring.build, ring(tmp_path, **changes))
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_each_batch_of_several_must_fit_the_devices(tmp_path):
    """Two batches of 6 for the critic are 12 examples, which 4 devices share, but none of them is whole there."""

    def build(options, data):
        gan = gan_ring.build(options, data)
        sampler = latents(options.latent_size)
        d_step = repeat(make_d_step(sampler, [d_loss(non_saturating)]), 2)
        g_step = make_g_step(sampler, [g_loss(non_saturating)])
        return gan._replace(iteration=iteration(d_step, g_step), batch_size=2 * options.batch_size)

    with pytest.raises(UsageError, match=r"a batch of 6 .* --batch-size 4 or 8"):
        train(build, ring(tmp_path, devices=4, batch_size=6))
    odd = lambda options, data: gan_ring.build(options, data)._replace(batch_size=30)  # noqa: E731
    with pytest.raises(UsageError, match="the 30 images of an iteration can't be spread evenly over 4 devices"):
        train(odd, ring(tmp_path, devices=4))
    assert int(train(build, ring(tmp_path, devices=4, batch_size=8)).step) == 4


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one_device(count):
    with pytest.raises(UsageError, match=f"--devices must be at least 1, got {count}"):
        DeviceOptions(devices=count)


WHOLE = "parameters whole: --shard-parameters needs devices that share a batch"


@pytest.mark.parametrize(
    "changes, members, words",
    [
        ({"devices": 1}, 0, "on 1 device (cpu)"),
        ({"devices": 4}, 0, "on 4 devices (cpu)"),
        ({}, 0, "on 4 devices (cpu)"),
        ({"shard_parameters": True}, 0, "on 4 devices (cpu), parameters spread over them"),
        # Nothing is wrong with it, but it does nothing: who asks for it is told.
        (
            {"devices": 1, "shard_parameters": True},
            0,
            f"on 1 device (cpu), {WHOLE}",
        ),
        ({"devices": 4}, 2, "on 4 devices (cpu), members spread 2 ways, batches 2 ways"),
        (
            {"shard_parameters": True},
            4,
            "on 4 devices (cpu), parameters spread over them, members spread 1 ways, batches 4 ways",
        ),
    ],
)
def test_a_layout_in_words(changes, members, words):
    assert describe(layout_for(DeviceOptions(**changes), 8, [8], members)) == words


# --- precision ---


def operations(jaxpr):
    """All of a jaxpr and the jaxprs in it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, Jaxpr | ClosedJaxpr)):
            if isinstance(value, ClosedJaxpr):
                yield from operations(value.jaxpr)
            elif isinstance(value, Jaxpr):
                yield from operations(value)


# That float32 is float32 is looked at in a few, and in all by the long tests.
@pytest.mark.parametrize(
    "name, dtype",
    [(name, dtype) for name in TINY for dtype in ("float32", "bfloat16")]
    + [pytest.param(name, "float32", marks=pytest.mark.long) for name in DRAW if name not in TINY]
    + [
        pytest.param(*each.values, "bfloat16", marks=each.marks)
        for each in of_a_kind([n for n in DRAW if n not in TINY])
    ],
)
def test_only_products_in_networks_are_of_low_precision(name, dtype):
    module = importlib.import_module(f"experiments.{name}")
    changes = {"augment": "diffaugment"} if name == "ada_digits" else {}  # ADA resamples images in float32
    options = of_preset(module.Options, "smoke", dtype=dtype, batch_size=4, **changes)
    side = getattr(options, "image_size", None) or 28
    digits, points = ("digits", 64, (side, side, 1), 10), ("points", 64, (1, 1, 2), 8)
    spec = DataSpec.single(*points, kind="points") if name.endswith("ring") else DataSpec.single(*digits)
    spec = DataSpec.of(data.open_source("diabetes")) if name == "gan_vectors" else spec
    gan = module.build(options, spec)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    batch = {"label": jax.ShapeDtypeStruct((gan.batch_size,), jnp.int32), **spec.batch(gan.batch_size)}
    jaxpr, (after, metrics) = jax.make_jaxpr(gan.iteration, return_shape=True)(state, batch)
    products = [x for x in operations(jaxpr.jaxpr) if x.primitive.name.startswith(("dot_general", "conv_"))]
    assert len(products) >= 9
    # R3GAN has one dense layer at each end, of the latent and the head, in float32; so are singular values.
    wide = name.startswith(("r3gan", "sngan", "sagan", "cgan_projection", "biggan"))
    kept = [x for x in products if x.primitive.name == "dot_general" and wide]
    assert {operand.aval.dtype for each in kept for operand in each.invars} <= {jnp.dtype(dtype), jnp.dtype("float32")}
    low = {operand.aval.dtype for each in products if each not in kept for operand in each.invars}
    assert low == {jnp.dtype(dtype)}
    floats = [leaf.dtype for leaf in jax.tree.leaves((state, after)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype("float32")} and len(floats) > 30
    assert {value.dtype for value in metrics.values()} == {jnp.dtype("float32")}
    d, channels = state.discriminator, spec.channels * getattr(options, "pack", 1)
    judge = lambda d, image, label: d.apply(d.params, d.variables, image, label, train=False)  # noqa: E731
    seen = jax.ShapeDtypeStruct((gan.batch_size, *spec.shape[:-1], channels), jnp.float32)
    said = jax.eval_shape(judge, d, seen, batch["label"])
    assert {leaf.dtype for leaf in jax.tree.leaves(said)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "name, dtype",
    [pytest.param(name, "float32", marks=pytest.mark.long) for name in sorted(TRANSLATE)]
    + [pytest.param(*each.values, "bfloat16", marks=each.marks) for each in of_a_kind(sorted(TRANSLATE))],
)
def test_so_it_is_where_images_are_made_of_images(name, dtype):
    """Networks that nobody trains, which a loss compares features of, stay in float32."""
    module = importlib.import_module(f"experiments.{name}")
    options = of_preset(module.Options, "smoke", dtype=dtype, batch_size=4)
    spec = DataSpec.of(load(options), options.crop_shape)
    gan = module.build(options, spec)
    state = jax.eval_shape(gan.init, jax.random.key(0))
    jaxpr, (after, metrics) = jax.make_jaxpr(gan.iteration, return_shape=True)(state, spec.batch(gan.taken()))
    convolutions = [x for x in operations(jaxpr.jaxpr) if x.primitive.name.startswith("conv_")]
    found = {operand.aval.dtype for each in convolutions for operand in each.invars}
    assert len(convolutions) >= 9
    assert found == {jnp.dtype(dtype)} | ({jnp.dtype("float32")} if gan.frozen else set())
    floats = [leaf.dtype for leaf in jax.tree.leaves((state, after)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype("float32")} and len(floats) > 30
    assert {value.dtype for value in metrics.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", of_a_kind(sorted(STYLES)))
def test_styles_and_low_resolutions_stay_in_float32(name):
    module = importlib.import_module(f"experiments.{name}")
    gan = module.build(
        of_preset(module.Options, "smoke", dtype="bfloat16", batch_size=4),
        spec := DataSpec.single("pictures", 64, (128, 128, 3)),
    )
    state = jax.eval_shape(gan.init, jax.random.key(0))
    jaxpr, (after, metrics) = jax.make_jaxpr(gan.iteration, return_shape=True)(state, spec.batch(gan.batch_size))
    all_of_it = list(operations(jaxpr.jaxpr))
    products = [each for each in all_of_it if each.primitive.name == "dot_general"]  # styles, demodulation, the end
    assert {operand.aval.dtype for each in products for operand in each.invars} == {jnp.dtype("float32")}
    # The sides of what is convolved by 3×3; a 1×1 belongs to the block above it.
    sides = {jnp.dtype("bfloat16"): set(), jnp.dtype("float32"): set()}
    for each in all_of_it:
        if each.primitive.name == "conv_forward" and each.params["kernel"] == (3, 3):
            sides[each.invars[0].aval.dtype].add(each.params["size"][0])
    if name == "stylegan_mnist":  # all but the discriminator's last convolution
        assert {4, 8, 16, 32, 64, 128} <= sides[jnp.dtype("bfloat16")] and sides[jnp.dtype("float32")] == {4}
    else:  # the paper's four highest resolutions
        assert {16, 32, 64, 128} <= sides[jnp.dtype("bfloat16")] and {4, 8} <= sides[jnp.dtype("float32")]
        assert not {4, 8} & sides[jnp.dtype("bfloat16")]
    floats = [leaf.dtype for leaf in jax.tree.leaves((state, after)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype("float32")}
    assert {value.dtype for value in metrics.values()} == {jnp.dtype("float32")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan_mnist", "gan_ring"])
def test_a_run_in_bfloat16_learns_resumes_and_keeps_its_precision(name, tmp_path):
    module = importlib.import_module(f"experiments.{name}")

    def options(**changes):
        own = {"workdir": str(tmp_path / "run"), "steps": 4, "checkpoint_every": 2, "batch_size": 8, "devices": 1}
        return module.Options(**(own | {"dtype": "bfloat16"} | TINY[name] | changes))

    first, metrics = metrics_of(module.build, options())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((first.generator.params, first.ema, metrics)))
    straight = train(module.build, options(steps=6, workdir=str(tmp_path / "straight")))
    assert_same(jax.tree.leaves(train(module.build, options(steps=6))), jax.tree.leaves(straight))
    with pytest.raises(UsageError, match=r"--dtype float32 \(the run has bfloat16\)"):
        train(module.build, options(steps=8, dtype="float32"))


# --- the same bits ---


@pytest.mark.slow
def test_deterministic_reaches_the_compiler_and_changes_nothing_here(tmp_path, monkeypatch, capsys):
    plain = train(gan_ring.build, ring(tmp_path, "plain", devices=1))
    assert "--deterministic" not in capsys.readouterr().out
    given = []
    compile_it = jax.stages.Lowered.compile

    def spy(self, compiler_options=None, **others):
        given.append(compiler_options)
        return compile_it(self, compiler_options, **others)

    monkeypatch.setattr(jax.stages.Lowered, "compile", spy)
    same = train(gan_ring.build, ring(tmp_path, devices=1, deterministic=True))
    assert given == [{"xla_gpu_deterministic_ops": True}]
    assert_same(jax.tree.leaves(same), jax.tree.leaves(plain))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == [
        "on 1 device (cpu)",
        "--deterministic costs nothing here: a CPU gives the same bits in any case",
    ]


def test_the_compiler_knows_the_option():
    program = jax.jit(lambda x: x + 1).lower(1.0)
    program.compile(compiler_options(DeviceOptions(deterministic=True)))
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        program.compile({"xla_gpu_deterministic_opts": True})


def test_on_a_gpu_it_says_what_it_costs():
    device = SimpleNamespace(platform="gpu", device_kind="NVIDIA")
    mesh = SimpleNamespace(devices=np.array([device]), shape={"data": 1})
    words = describe(parallel.Layout(mesh), deterministic=True)
    assert words.splitlines()[1].startswith("--deterministic costs time: kernels are not tuned")
