"""Write tests/golden/biggan.npz: BigGAN's networks, of PyTorch's functions.

    pip install torch==2.13.0
    python -m scripts.golden.biggan --out tests/golden/biggan.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch. Arrays are
float32, named `NET/LAYER/WHAT` with the layers' names in `networks.biggan` and PyTorch's layouts, `g/latent`, `labels`,
and `NET/train`, `NET/eval`: what train and evaluation mode make of the latents, and of the generator's images in train
mode. Weights are those before spectral normalisation; passes divide all of two axes or more, but for the class's
embedding in the generator, by their largest singular value, exactly. 16 pixels, a latent of 3 parts, attention at 8
pixels in both networks.
"""

import argparse
from typing import Any

import numpy as np

from scripts.golden import sagan

BATCH, PART, CLASSES, EMBEDDING = 4, 3, 3, 5
WIDTHS = {"g": (8, 10, 6), "d": (8, 10, 12)}


def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of all weights and running statistics by network, `LAYER/WHAT`."""
    first, *rest = WIDTHS["g"]
    style = EMBEDDING + PART
    g: dict[str, tuple[int, ...]] = {"class/embedding": (CLASSES, EMBEDDING)}
    g |= {"project/weight": (16 * first, PART), "project/bias": (16 * first,)}
    for i, (before, width) in enumerate(zip((first, *rest), rest, strict=False)):
        for name, channels in ((f"norm{i}a", before), (f"norm{i}b", width)):
            g |= {f"{name}/{what}/weight": (channels, style) for what in ("scale", "bias")}
            g |= {f"{name}/statistics/{what}": (channels,) for what in ("running_mean", "running_var")}
        convs = ((f"conv{i}a", before, 3), (f"conv{i}b", width, 3), (f"short{i}", before, 1))
        g |= {f"{name}/weight": (width, inputs, k, k) for name, inputs, k in convs}
        g |= {f"{name}/bias": (width,) for name, _, _ in convs}
    g |= {f"norm/{what}": (rest[-1],) for what in ("weight", "bias", "running_mean", "running_var")}
    g |= {"image/weight": (3, rest[-1], 3, 3), "image/bias": (3,)} | attention(rest[0])
    d, before = attention(WIDTHS["d"][0]), 3
    for i, width in enumerate(WIDTHS["d"]):
        convs = ((f"conv{i}a", before, 3), (f"conv{i}b", width, 3), (f"short{i}", before, 1))
        d |= {f"{name}/weight": (width, inputs, k, k) for name, inputs, k in convs}
        d |= {f"{name}/bias": (width,) for name, _, _ in convs}
        before = width
    d |= {"judge/weight": (1, before), "judge/bias": (1,), "embedding/weight": (CLASSES, before)}
    return {"g": g, "d": d}


def attention(channels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an attention layer's weights at 8 pixels."""
    few, half = max(1, channels // 8), channels // 2
    sizes = {"query": (few, channels), "key": (few, channels), "value": (half, channels), "output": (channels, half)}
    return {f"attention8/{name}/weight": (*shape, 1, 1) for name, shape in sizes.items()} | {"attention8/gate": ()}


class Run(sagan.Run):
    """Passes of both networks over weights by name, in train or evaluation mode. The discriminator's are SAGAN's."""

    attended = 8

    def __init__(self, torch: Any, weights: dict[str, Any], labels: Any, train: bool) -> None:
        largest = lambda w: torch.linalg.matrix_norm(w.flatten(1), 2)  # noqa: E731
        normed = {n: w / largest(w) if n.endswith("weight") and w.ndim > 1 else w for n, w in weights.items()}
        super().__init__(torch, normed, labels, train)

    def normalised(self, x: Any, name: str) -> Any:
        mean, var = self.w[f"{name}/running_mean"].clone(), self.w[f"{name}/running_var"].clone()
        return self.f.batch_norm(x, mean, var, training=self.train, eps=1e-5)

    def conditional(self, x: Any, style: Any, name: str) -> Any:
        scale, bias = (self.f.linear(style, self.w[f"{name}/{what}/weight"]) for what in ("scale", "bias"))
        x = self.normalised(x, f"{name}/statistics")
        return self.f.relu(x * (1 + scale[:, :, None, None]) + bias[:, :, None, None])

    def generator(self, latent: Any) -> Any:
        first, *rest = latent.split(PART, 1)
        label = self.w["class/embedding"][self.labels]
        x = self.f.linear(first, self.w["project/weight"], self.w["project/bias"]).unflatten(1, (-1, 4, 4))
        double = self.torch.nn.UpsamplingNearest2d(scale_factor=2)
        for i, part in enumerate(rest):
            style = self.torch.cat([label, part], 1)
            y = self.conv(double(self.conditional(x, style, f"norm{i}a")), f"conv{i}a")
            x = self.conv(double(x), f"short{i}") + self.conv(self.conditional(y, style, f"norm{i}b"), f"conv{i}b")
            x = self.attend(x) if i == 0 else x
        x = self.normalised(x, "norm") * self.w["norm/weight"][:, None, None] + self.w["norm/bias"][:, None, None]
        return self.torch.tanh(self.conv(self.f.relu(x), "image"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/biggan.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.biggan needs torch: pip install torch==2.13.0") from None
    torch.set_default_dtype(torch.float64)
    random = np.random.default_rng(0)
    labels = np.array([2, 0, 1, 2])
    arrays = {"labels": labels, "g/latent": random.standard_normal((BATCH, 3 * PART)).astype(np.float32)}
    for net, layers in shapes().items():
        for name, shape in layers.items():
            drawn = random.standard_normal(shape)
            if name.endswith("running_var") or name == "norm/weight":
                drawn = random.uniform(0.5, 1.5, shape)
            elif name.endswith("/bias") or "running" in name:
                drawn = 0.3 * drawn
            arrays[f"{net}/{name}"] = np.asarray(drawn + (1.0 if name.endswith("gate") else 0.0), np.float32)
    with torch.no_grad():
        for net in ("g", "d"):
            names = [name for name in arrays if name.startswith(f"{net}/")]
            weights = {name[2:]: torch.from_numpy(np.asarray(arrays[name])).double() for name in names}
            given = torch.from_numpy(arrays["g/latent" if net == "g" else "g/train"]).double()
            for mode in ("train", "eval"):
                run = Run(torch, weights, torch.from_numpy(labels), mode == "train")
                result = run.generator(given) if net == "g" else run.discriminator(given)
                arrays[f"{net}/{mode}"] = result.numpy().astype(np.float32)
    np.savez_compressed(out, **arrays)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
