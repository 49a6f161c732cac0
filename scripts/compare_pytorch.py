"""Our DCGAN on MNIST beside PyTorch's: same architecture, initialisation, optimiser and steps, three seeds each.

    python -m experiments.dcgan_mnist --dataset mnist --seed S --workdir runs/compare/S      for S = 0, 1, 2
    python -m scripts.compare_pytorch runs/compare/0 runs/compare/1 runs/compare/2 --cache runs/compare/torch

trains the PyTorch ones (kept in --cache), draws 10,000 images from each and measures the Fréchet distance to MNIST's
60,000 training images in the 64 last features of a throwaway classifier. Such a distance means something only within
one run of this script: it is no FID. PyTorch (tried with 2.13.0, CPU) is needed here and nowhere else.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from tqdm import trange

from jaxgan import training
from jaxgan.data import ImageSet, batch_indices
from jaxgan.networks.layers import Conv
from jaxgan.training.data_options import DataOptions, load
from jaxgan.training.usage import UsageError, command_line, plain_exits

SAMPLES, LATENT, WIDTH, BATCH = 10_000, 100, 64, 64


@dataclasses.dataclass(frozen=True)
class Options:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Finished runs of experiments.dcgan_mnist on MNIST."""
    cache: Path = Path("runs/compare/torch")
    """Folder for the images that the PyTorch networks draw."""
    steps: int = 3000
    """Generator updates of the PyTorch networks."""
    data_dir: str | None = None
    """Folder of TFDS's prepared data sets."""


def pytorch_samples(seed: int, steps: int, images: np.ndarray) -> np.ndarray:
    """uint8 images `[SAMPLES, 32, 32, 1]` of a PyTorch DCGAN trained on uint8 `images`."""
    try:
        import torch
    except ImportError:
        raise UsageError("PyTorch isn't installed; it is needed for this comparison") from None
    from torch import nn as tnn
    from torch.nn.functional import softplus

    torch.manual_seed(seed)
    w = WIDTH
    generator = tnn.Sequential(
        *(tnn.ConvTranspose2d(LATENT, 4 * w, 4, 1, 0, bias=False), tnn.BatchNorm2d(4 * w), tnn.ReLU(True)),
        *(tnn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False), tnn.BatchNorm2d(2 * w), tnn.ReLU(True)),
        *(tnn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), tnn.BatchNorm2d(w), tnn.ReLU(True)),
        *(tnn.ConvTranspose2d(w, 1, 4, 2, 1), tnn.Tanh()),
    )
    discriminator = tnn.Sequential(
        *(tnn.Conv2d(1, w, 4, 2, 1), tnn.LeakyReLU(0.2, True)),
        *(tnn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), tnn.BatchNorm2d(2 * w), tnn.LeakyReLU(0.2, True)),
        *(tnn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False), tnn.BatchNorm2d(4 * w), tnn.LeakyReLU(0.2, True)),
        *(tnn.Conv2d(4 * w, 1, 4, 1, 0), tnn.Flatten(0)),
    )
    for module in [*generator, *discriminator]:
        if hasattr(module, "weight"):
            norm = isinstance(module, tnn.BatchNorm2d)
            tnn.init.normal_(module.weight, 1.0 if norm else 0.0, 0.02)
            if module.bias is not None:
                tnn.init.zeros_(module.bias)
    g_adam = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    d_adam = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    data = torch.from_numpy(images).permute(0, 3, 1, 2)
    batches = len(data) // BATCH
    for step in trange(steps, desc=f"PyTorch, seed {seed}"):
        if step % batches == 0:
            order = torch.randperm(len(data))
        real = data[order[step % batches * BATCH :][:BATCH]].float() / 127.5 - 1
        fake = generator(torch.randn(BATCH, LATENT, 1, 1))
        d_adam.zero_grad()
        (softplus(-discriminator(real)) + softplus(discriminator(fake.detach()))).mean().backward()
        d_adam.step()
        g_adam.zero_grad()
        softplus(-discriminator(fake)).mean().backward()
        g_adam.step()
    generator.eval()
    with torch.no_grad():
        drawn = torch.cat([generator(torch.randn(500, LATENT, 1, 1)) for _ in range(SAMPLES // 500)])
    return ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


class Classifier(nn.Module):
    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = images.astype(jnp.float32) / 127.5 - 1
        x = nn.relu(Conv(32, 4, 2, 1)(x))
        x = nn.relu(Conv(64, 4, 2, 1)(x))
        features = nn.relu(nn.Dense(64)(x.reshape(len(x), -1)))
        return features, nn.Dense(10)(features)


def train_classifier(data: ImageSet, held_out: int = 10_000) -> tuple[Any, float]:
    """A function `images -> features` in NumPy float64, and the accuracy on the last `held_out` images."""
    net, adam = Classifier(), optax.adam(1e-3)
    params = net.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    opt_state = adam.init(params)

    @jax.jit
    def step(params: Any, opt_state: Any, images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        def loss(params: Any) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, images)[1], labels).mean()

        updates, opt_state = adam.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    size = len(data.images) - held_out
    words = np.asarray(jax.random.key_data(jax.random.key(0)))
    for i in trange(3 * (size // 128), desc="classifier"):
        chosen = batch_indices(words, i, 128, size)
        params, opt_state = step(params, opt_state, data.images[chosen], data.labels[chosen])
    forward = jax.jit(lambda images: net.apply(params, images))

    def batches(images: np.ndarray, output: int) -> np.ndarray:
        return np.concatenate(
            [np.asarray(forward(images[i : i + 500])[output], np.float64) for i in range(0, len(images), 500)]
        )

    guesses = batches(data.images[size:], 1).argmax(1)
    return lambda images: batches(images, 0), float(np.mean(guesses == data.labels[size:]))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to features `[N, F]` and `[M, F]`; Heusel et al. 2017, equation 6."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    # tr √(AB) = tr √(√A B √A), with real eigenvalues, not negative but for rounding, also for singular A.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def compare(options: Options) -> None:
    data = load(DataOptions("mnist", options.data_dir, image_size=32, fit="pad"))
    options.cache.mkdir(parents=True, exist_ok=True)
    sets: dict[str, list[np.ndarray]] = {"PyTorch": [], "jaxgan, raw weights": [], "jaxgan, averaged weights": []}
    for seed, path in enumerate(options.runs):
        kept = options.cache / f"steps{options.steps}-seed{seed}.npy"
        if not kept.exists():
            began = time.perf_counter()
            np.save(kept, pytorch_samples(seed, options.steps, data.images))
            print(f"PyTorch, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
        sets["PyTorch"].append(np.load(kept))
        run = training.open(path)
        if run.step != options.steps:
            raise UsageError(
                f"{path} is at step {run.step}, the PyTorch networks at {options.steps}; let both run equally long"
            )
        sets["jaxgan, raw weights"].append(run.sample(SAMPLES, ema=False, seed=seed))
        sets["jaxgan, averaged weights"].append(run.sample(SAMPLES, seed=seed))
    features, accuracy = train_classifier(data)
    real = features(data.images)
    print(f"classifier: {accuracy:.2%} on 10,000 held-out images")
    print(f"floor, 10,000 real images against the other 50,000: {frechet(real[50_000:], real[:50_000]):.2f}")
    for name, drawn in sets.items():
        scores = np.array([frechet(features(images), real) for images in drawn])
        error = scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else float("nan")
        each = ", ".join(f"{score:.2f}" for score in scores)
        print(f"{name:26} {scores.mean():7.2f} ± {error:.2f} (standard error)   seeds: {each}")


if __name__ == "__main__":
    with plain_exits():
        compare(command_line(Options))
