"""What leaves the house draws what the run draws: in a process without jaxgan, of every experiment."""

import dataclasses
import importlib
import importlib.util
import json
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest
from conftest import of_a_kind
from exporting_runs import opened
from point_runs import run_points

from jaxgan.networks import convolution
from jaxgan.networks.layers import resample
from jaxgan.training import UsageError, load_weights
from jaxgan.training import open as open_run
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.exporting.generator import Generator, Input, generator_of
from jaxgan.training.exporting.programs import natively, onnx_model, stablehlo
from jaxgan.training.exporting.weights import save_weights
from scripts import export

pytestmark = pytest.mark.usefixtures("as_users_have_it")

ROOT = pathlib.Path(__file__).parents[3]
NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if not path.stem.startswith("_"))
FAST = ("dcgan_mnist", "cgan_mnist")
STABLEHLO = of_a_kind(NAMES, fast=FAST)
ONNX = [name if name in FAST else pytest.param(name, marks=pytest.mark.long) for name in NAMES]
WITHOUT_JAXGAN = """
import sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("jaxgan", "flax", "experiments"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import jax, numpy as np
given = np.load(sys.argv[2])
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
np.save(sys.argv[3], program.call(*[given[name] for name in given]))
"""


def given(run, generator, count=3):
    """Inputs of a generator, and what its GAN itself draws of them."""
    random, inputs = np.random.default_rng(0), {}
    for name, one in generator.inputs.items():
        shape = tuple(count if size == "n" else size for size in one.shape)
        inputs[name] = random.uniform(-1, 1, shape).astype(np.float32)
    state = run.drawn_state
    if "latent" not in inputs:
        rest = {name: value for name, value in inputs.items() if name != "picture"}
        return inputs, run.translation(generator.output).apply(state, inputs["picture"], **rest)
    # By keys, as a run draws: the latents are those that the sampler makes of them.
    asked = run.drawing.asked(0, count)
    if "label" in inputs:
        inputs["label"] = asked["label"]
    examples = run.drawing.decoded(asked)
    keys = jax.random.split(jax.random.key(3), count)
    drawn = run.gan.latents.draw(examples, keys)
    size = generator.inputs["latent"].shape[1]  # of an InfoGAN that of the noise, which stands first
    inputs["latent"] = np.asarray(drawn["latent"])[:, :size]
    inputs |= {name: np.asarray(drawn[name]) for name in ("code_class", "code_value") if name in inputs}
    how = {"truncation": inputs["truncation"]} if "truncation" in inputs else {}
    return inputs, run.gan.sample(state, examples, keys, **how)[generator.output]


def generators(run):
    """All that a run can be exported as, with inputs and what its GAN itself makes of them."""
    for to in run.gan.translations if run.gan.latents is None else (None,):
        generator = generator_of(run, to=to)
        yield generator, *given(run, generator)


@pytest.mark.parametrize("name", STABLEHLO)
def test_every_generator_leaves_as_stablehlo(name):
    run = opened(name)
    for generator, inputs, expected in generators(run):
        program = jax.export.deserialize(bytearray(stablehlo(generator)))
        assert program.platforms == ("cpu", "cuda", "tpu")
        drawn = np.asarray(program.call(*inputs.values()))
        np.testing.assert_allclose(drawn, np.asarray(expected, np.float32), rtol=1e-5, atol=1e-5)
        assert np.ptp(drawn, axis=0).max() > 1e-3


def test_a_program_draws_the_runs_points_where_jaxgan_cannot_be_imported(tmp_path):
    run_points(tmp_path, steps=4)
    out = tmp_path / "out"
    export.export(command_line(export.Options, [str(tmp_path / "run"), "--out", str(out)]))
    run = open_run(tmp_path / "run")
    inputs = run.latent_space.inputs(range(5), seed=7)
    np.savez(tmp_path / "given.npz", latent=inputs["latent"])
    files = [out / "generator.stablehlo", tmp_path / "given.npz", tmp_path / "drawn.npy"]
    subprocess.run([sys.executable, "-c", WITHOUT_JAXGAN, *map(str, files)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(files[2]), run.sample(5, seed=7), atol=1e-5)

    config = json.loads((out / "config.json").read_text())
    assert config["experiment"] == "experiments.gan_ring" and config["step"] == 4 and config["weights"] == "ema"
    latent = {"shape": ["n", 2], "dtype": "float32", "meaning": "numbers from N(0, 1)"}
    assert config["inputs"] == {"latent": latent}
    assert config["files"] == {"safetensors": "generator.safetensors", "stablehlo": "generator.stablehlo"}
    card = (out / "README.md").read_text()
    assert "python -m scripts.evaluate` has not been run" in card and "none was stated" in card and "few" in card


def test_weights_come_back(tmp_path):
    run_points(tmp_path, steps=4)
    export.export(command_line(export.Options, [str(tmp_path / "run"), "--out", str(tmp_path), "--weights", "raw"]))
    state, found = open_run(tmp_path / "run").state, load_weights(tmp_path)
    assert jax.tree.structure(found) == jax.tree.structure({"generator": state.generator.all_variables})
    jax.tree.map(np.testing.assert_array_equal, found["generator"], dict(state.generator.all_variables))

    whole = (tmp_path / "generator.safetensors").read_bytes()
    (tmp_path / "generator.safetensors").write_bytes(whole[:-7])
    with pytest.raises(UsageError, match=r"generator.safetensors can't be read: .*; export the run again"):
        load_weights(tmp_path)
    with pytest.raises(UsageError, match=r"nowhere has no generator.safetensors: python -m scripts.export RUN --out"):
        load_weights(tmp_path / "nowhere")


def test_weights_keep_their_shapes_and_order(tmp_path):
    """A scalar, as StyleGAN's strengths of noise are, and an array that lies in memory the other way round."""
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3).T
    given = {"generator": {"params": {"strength": np.float32(3), "kernel": kernel}}}
    save_weights(tmp_path / "generator.safetensors", given, {})
    found = load_weights(tmp_path)["generator"]["params"]
    assert found["strength"].shape == () and found["strength"] == 3
    np.testing.assert_array_equal(found["kernel"], kernel)


@pytest.mark.parametrize("name", ["dcgan_mnist", pytest.param("stylegan2_mnist", marks=pytest.mark.slow)])
def test_programs_for_others_hold_no_operation_of_ours(name):
    run = opened(name)
    generator = generator_of(run)
    inputs, expected = given(run, generator)
    native = natively(jax.make_jaxpr(generator.draw)(*inputs.values()))
    np.testing.assert_allclose(jax.jit(native)(*inputs.values()), np.asarray(expected), rtol=1e-5, atol=1e-5)
    ours = {primitive.name for primitive in (*convolution.NATIVE, *resample.NATIVE)}
    assert any(one in str(jax.make_jaxpr(generator.draw)(*inputs.values())) for one in ours)
    assert not any(one in str(jax.make_jaxpr(native)(*inputs.values())) for one in ours)


@pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is not None, reason="jax2onnx is installed")
def test_onnx_without_its_converter_is_refused():
    with pytest.raises(UsageError, match=r"^--format onnx needs jax2onnx, .*: pip install .*--no-deps jax2onnx$"):
        onnx_model(generator_of(opened("dcgan_mnist")))


@pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed")
@pytest.mark.parametrize("name", ONNX)
def test_every_generator_leaves_as_onnx(name):
    import onnxruntime

    run = opened(name)
    for generator, inputs, expected in generators(run):
        session = onnxruntime.InferenceSession(onnx_model(generator).SerializeToString())
        (drawn,) = session.run(None, {name: np.asarray(value) for name, value in inputs.items()})
        np.testing.assert_allclose(drawn, np.asarray(expected, np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed")
def test_the_layer_that_cannot_leave_as_onnx_is_named():
    class Wild(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(2, name="tame")(x)
            return x + jax.pure_callback(np.abs, jax.ShapeDtypeStruct((), np.float32), np.float32(1))

    module = nn.Sequential([nn.Dense(2), Wild()])
    variables = module.init(jax.random.key(0), np.zeros((1, 4), np.float32))
    made = Generator(lambda latent: module.apply(variables, latent), {"latent": Input(("n", 4))}, "image", (2,), {})
    with pytest.raises(
        UsageError, match=r"^jax2onnx can't convert Sequential/layers_1 \(.*pure_callback.*; export it as"
    ):
        onnx_model(made)


def test_an_infogans_codes_are_inputs_and_all_networks_that_draw_are_saved():
    found = generator_of(opened("infogan_mnist"))
    assert {name: (one.shape, one.dtype) for name, one in found.inputs.items()} == {
        "latent": (("n", 8), np.float32),
        "code_class": (("n", 1), np.int32),
        "code_value": (("n", 2), np.float32),
    }
    assert set(found.variables) == {"generator"}
    assert set(generator_of(opened("vaegan_mnist")).variables) == {"decoder"}


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_what_latents_are_is_said(kind):
    found = generator_of(opened("gan_mnist", "--latents", kind)).inputs["latent"].meaning
    assert found == {"normal": "numbers from N(0, 1)", "uniform": "numbers, uniform in [-1, 1)"}[kind]


def test_what_cannot_be_exported_is_a_line(tmp_path):
    run = opened("dcgan_mnist")
    with pytest.raises(UsageError, match=r"^RUN can't be exported: it draws from no latents"):
        generator_of(dataclasses.replace(run, gan=run.gan._replace(latents=None)))
    with pytest.raises(UsageError, match=r"^RUN has 2 GANs: name one of them \(--member\)$"):
        generator_of(dataclasses.replace(run, members=(None, None)))
    with pytest.raises(UsageError, match=r"^--format must be of safetensors, stablehlo or onnx, got stablehlp"):
        command_line(export.Options, ["RUN", "--out", str(tmp_path), "--format", "stablehlp"])


@pytest.mark.slow
def test_what_several_things_become_of_pictures_is_named():
    run = opened("cyclegan_mnist")
    with pytest.raises(UsageError, match=r"makes b or a of pictures: name one of them \(--to\)"):
        generator_of(run)
    assert generator_of(run, to="b").output == "b"
