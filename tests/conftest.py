"""What every test shares: four CPU devices, strict arrays, one compilation cache, and a tiny GAN to play with.

The tiny GAN has 2×2 images of one channel, latents of 4 numbers and layers of 8 units. Its discriminator is smooth, so
that second derivatives can be compared, and tests give it `optax.identity()` as optimiser where a wrong scale of the
gradient must show: Adam would hide it.
"""

import gc
import importlib.metadata
import os
import pathlib
import tempfile

# Before jax is imported, which reads all of this once. Subprocesses inherit it, and so find what is compiled already.
_cache = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "jax"
# Four devices; machine code that LLVM has not optimised; with jaxlib 0.10 fusions in the older of two ways, at which
# later ones stop. Each of the latter makes compiling, most of what a suite does, about a third shorter. XLA's own
# passes, and so programs and FLOP, are those of users.
_flags = {"--xla_force_host_platform_device_count": "4", "--xla_backend_optimization_level": "0"}
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _flags["--xla_cpu_use_fusion_emitters"] = "false"
for _flag, _value in _flags.items():
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}={_value}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Threads of XLA's pool, where all four devices may wait for each other at once; with one a core, none may be left.
os.environ.setdefault("NPROC", "16")
# No test fetches anything, on a machine with a network either: its way out is a proxy that isn't there.
os.environ.update(dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9"), no_proxy="127.0.0.1,localhost")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
_statistics = tempfile.TemporaryDirectory()  # of images, which must not outlive what computes them
os.environ["JAXGAN_CACHE"] = _statistics.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import pytest  # noqa: E402

from jaxgan.networks.layers import BatchNorm  # noqa: E402
from jaxgan.players import init_player  # noqa: E402
from jaxgan.state import GANState  # noqa: E402

# By `update` and not by environment: a user's program, run by a test in a process of its own, is not held to these.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

needs_tfds = pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="TFDS_DATA_DIR is not set")

# A run of experiments.dcgan_mnist that is as small as can be.
TINY_RUN = ["--devices", "1", "--dataset", "digits", "--image-size", "28"]
TINY_RUN += ["--features", "2", "--latent-size", "8", "--batch-size", "8"]
LATENT = 4
HYPER = {"generator/learning_rate": 0.5, "discriminator/learning_rate": 0.25, "ema_half_life": 20.0, "gamma": 0.7}


def pytest_configure(config: pytest.Config) -> None:
    # jax writes cache entries in place: a test that kills a process, or reads while another writes, may leave or meet
    # half of one. jax then compiles afresh and says so; that is no failure.
    config.addinivalue_line("filterwarnings", "ignore:Error .* persistent compilation cache entry:UserWarning")


# A file's tests run in one process, and files are handed out in this order: the longest first, so that no process is
# left with one of them at the end. The rest come as they are found.
LONGEST = [
    "core/test_roads.py",
    "core/test_games.py",
    "training/loop/test_kills.py",
    "training/distributed/test_distributed.py",
    "training/distributed/test_two_processes.py",
    "experiments/test_experiments.py",
    "training/loop/test_runs_of_sets.py",
    "training/run/test_fork.py",
    "training/scoring/test_members_end.py",
    "training/loop/test_members.py",
    "training/loop/test_processes.py",
    "training/options/test_device_options.py",
    "training/scoring/test_monitor.py",
    "training/checkpoints/test_elastic.py",
    "core/test_compositions.py",
    "training/loop/test_loop.py",
    "test_readme.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {pathlib.Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))  # stable
    both = [item.nodeid for item in items if item.get_closest_marker("slow") and item.get_closest_marker("long")]
    if both:
        raise pytest.UsageError(f"long tests must not be slow ones, which .ci/run runs: {', '.join(both)}")


# Experiments of which each has something that no other does: the slow tests train, export and trace these, one by one,
# and the long ones all others too.
KINDS = {"cyclegan_mnist", "flowgan_ring", "infogan_mnist", "r3gan_mnist", "srgan", "stylegan2_mnist", "vaegan_mnist"}
KINDS |= {"vqgan_cifar10"}


def of_a_kind(names, fast=("gan_ring", "dcgan_mnist")):
    """Experiments as parameters of a test that takes seconds for each: some are fast tests, one of a kind slow."""
    marks = {name: () if name in fast else pytest.mark.slow if name in KINDS else pytest.mark.long for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


_starts: dict[np.random.Generator, dict[str, object]] = {}


@pytest.fixture(autouse=True, scope="module")
def programs_go_with_their_file():
    """A process has seventy files to run: the programs of all would fill gigabytes and the memory maps it may have."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which may draw too
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A random stream of a test's module begins anew with each test: no test depends on those that ran before it. Tests
    of prepared sets are skipped where TFDS can't be imported."""
    if item.get_closest_marker("data"):
        pytest.importorskip("tensorflow_datasets", exc_type=ImportError)
    for stream in vars(item.module).values():
        if isinstance(stream, np.random.Generator):
            stream.bit_generator.state = _starts.setdefault(stream, stream.bit_generator.state)


class Generator(nn.Module):
    """latent `[B, 4]`, condition None or `[B, K]` -> images `[B, 2, 2, 1]`."""

    batch_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, latent, condition=None, *, train):
        x = latent if condition is None else jnp.concatenate([latent, condition], axis=1)
        x = nn.Dense(8, use_bias=not self.batch_norm)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train)
        return jnp.tanh(nn.Dense(4)(jnp.tanh(x))).reshape(-1, 2, 2, 1)


class Turns(nn.Module):
    """Counts in `spectral` how often it was turned, where the caller lets it change, and shrinks by that count."""

    @nn.compact
    def __call__(self, x):
        count = self.variable("spectral", "count", jnp.zeros, (), jnp.int32)
        if self.is_mutable_collection("spectral") and not self.is_initializing():
            count.value = count.value + 1
        return x / (1 + count.value.astype(x.dtype))


class Discriminator(nn.Module):
    """images `[B, ...]` -> `{"logits": [B]}`, and `{"class": [B, classes]}` where there are classes."""

    batch_norm: bool = False
    turns: bool = False
    classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image, condition=None, *, train):
        x = image.reshape(image.shape[0], -1)
        x = x if condition is None else jnp.concatenate([x, condition], axis=1)
        x = nn.Dense(8, use_bias=not self.batch_norm)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train)
        if self.turns:
            x = Turns()(x)
        x = jnp.tanh(x)
        said = {"logits": nn.Dense(1)(x).reshape(-1)}
        return said | {"class": nn.Dense(self.classes)(x)} if self.classes else said


@pytest.fixture
def as_users_have_it():
    """optax's Adam is not written for strict promotion, and users don't set it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def adam(eps: float = 1e-8) -> optax.GradientTransformation:
    """optax's Adam, which is not written for strict promotion (it raises a float to an int32 power)."""
    inner = optax.scale_by_adam(eps=eps)

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


def tiny_gan(
    seed=0, *, generator=None, discriminator=None, tx=None, hyper=None, extras=None, condition=None, channels=1
) -> GANState:
    """A state at step 0; modules, optimiser, hyper-parameters (added to HYPER) and extras may be given."""
    key = jax.random.key(seed)
    g_key, d_key = jax.random.split(jax.random.fold_in(key, 99))
    tx = tx or optax.identity()
    return GANState.create(
        key,
        init_player(g_key, generator or Generator(), tx, jnp.zeros((1, LATENT)), condition),
        init_player(d_key, discriminator or Discriminator(), tx, jnp.zeros((1, 2, 2, channels)), condition),
        hyper=HYPER | (hyper or {}),
        extras=extras,
    )


def tiny_batch(size=4, seed=0) -> dict[str, jax.Array]:
    """`size` images in [-1, 1], made with NumPy, and the latents that `given` feeds the generator."""
    random = np.random.default_rng(seed)
    image = random.uniform(-1, 1, (size, 2, 2, 1)).astype(np.float32)
    return {"image": jnp.asarray(image), "latent": jnp.asarray(random.normal(size=(size, LATENT)).astype(np.float32))}


def given(batch, keys):
    """The sampler that takes the latents from the batch, so that a test knows them."""
    return {"latent": batch["latent"]}


def assert_same(actual, expected, tolerance=0.0) -> None:
    """Two pytrees of one structure with equal dtypes and values: bit for bit, or within a tolerance, absolute below 1
    and relative above, since float32 rounds in proportion."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, f"{name}: {a.dtype}, expected {b.dtype}"
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance, err_msg=name)


def differs(a, b) -> bool:
    """Whether any number of two pytrees differs."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(np.any(np.asarray(x) != np.asarray(y)) for x, y in pairs)
