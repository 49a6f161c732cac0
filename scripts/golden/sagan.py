"""Write tests/golden/sagan.npz: class-conditional residual networks with attention, of PyTorch's functions.

    pip install torch==2.13.0
    python -m scripts.golden.sagan --out tests/golden/sagan.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch. Arrays are
float32, named `NET/LAYER/WHAT` with the layers' names in `networks.resnet` and PyTorch's layouts, `g/latent`, `labels`,
and `NET/train`, `NET/eval`: what train and evaluation mode make of the latents, and of the generator's images in train
mode. 24 pixels from 6×6 on, widths that differ from block to block, attention at 12 pixels in both networks,
conditional batch norm in blocks and plain batch norm behind them, a projection in the discriminator.
"""

import argparse
from typing import Any

import numpy as np

from scripts.golden.attention import attended

BATCH, LATENT, CLASSES, SIZE = 3, 5, 3, 24
WIDTHS = {"g": (10, 12, 8), "d": (8, 12, 16)}


def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of all weights and running statistics by network, `LAYER/WHAT`."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    first, *rest = WIDTHS["g"]
    g = {"project/weight": (36 * first, LATENT), "project/bias": (36 * first,)}
    for i, (before, width) in enumerate(zip((first, *rest), rest, strict=False)):
        for name, channels in ((f"norm{i}a", before), (f"norm{i}b", width)):
            g |= {f"{name}/{what}": (CLASSES, channels) for what in ("weight", "bias")}
            g |= {f"{name}/{what}": (channels,) for what in ("running_mean", "running_var")}
        convs = ((f"conv{i}a", before, 3), (f"conv{i}b", width, 3), (f"short{i}", before, 1))
        g |= {f"{name}/weight": (width, inputs, k, k) for name, inputs, k in convs}
        g |= {f"{name}/bias": (width,) for name, _, _ in convs}
    g |= {f"norm/{what}": (rest[-1],) for what in ("weight", "bias", "running_mean", "running_var")}
    g |= {"image/weight": (3, rest[-1], 3, 3), "image/bias": (3,)} | attention(rest[0])
    found["g"], before = g, 3
    d = attention(WIDTHS["d"][0])
    for i, width in enumerate(WIDTHS["d"]):
        inner = before if i else width
        convs = ((f"conv{i}a", before, inner, 3), (f"conv{i}b", inner, width, 3), (f"short{i}", before, width, 1))
        d |= {f"{name}/weight": (outputs, inputs, k, k) for name, inputs, outputs, k in convs}
        d |= {f"{name}/bias": (outputs,) for name, _, outputs, _ in convs}
        before = width
    d |= {"judge/weight": (1, before), "judge/bias": (1,), "embedding/weight": (CLASSES, before)}
    found["d"] = d
    return found


def attention(channels: int) -> dict[str, tuple[int, ...]]:
    """The shapes of an attention layer's weights at 12 pixels."""
    few, half = max(1, channels // 8), channels // 2
    sizes = {"query": (few, channels), "key": (few, channels), "value": (half, channels), "output": (channels, half)}
    return {f"attention12/{name}/weight": shape for name, shape in sizes.items()} | {"attention12/gate": ()}


class Run:
    """Passes of both networks over weights by name, in train or evaluation mode."""

    attended = 12  # pixels a side

    def __init__(self, torch: Any, weights: dict[str, Any], labels: Any, train: bool) -> None:
        self.torch, self.w, self.labels, self.train = torch, weights, labels, train
        self.f = torch.nn.functional

    def conv(self, x: Any, name: str) -> Any:
        weight = self.w[f"{name}/weight"]
        return self.f.conv2d(x, weight, self.w[f"{name}/bias"], padding=weight.shape[-1] // 2)

    def norm(self, x: Any, name: str) -> Any:
        mean, var = self.w[f"{name}/running_mean"].clone(), self.w[f"{name}/running_var"].clone()
        normalised = self.f.batch_norm(x, mean, var, training=self.train, eps=1e-5)
        scale, bias = self.w[f"{name}/weight"], self.w[f"{name}/bias"]
        if scale.ndim == 2:
            scale, bias = scale[self.labels][:, :, None, None], bias[self.labels][:, :, None, None]
        else:
            scale, bias = scale[:, None, None], bias[:, None, None]
        return self.f.relu(normalised * scale + bias)

    def attend(self, x: Any) -> Any:
        names = ("query", "key", "value", "output")
        weights = {name: self.w[f"attention{self.attended}/{name}/weight"].flatten(1) for name in names}
        return attended(self.torch, x, weights | {"gate": self.w[f"attention{self.attended}/gate"]}, pooled=True)

    def generator(self, latent: Any) -> Any:
        x = self.f.linear(latent, self.w["project/weight"], self.w["project/bias"]).unflatten(1, (-1, 6, 6))
        double = self.torch.nn.UpsamplingNearest2d(scale_factor=2)
        for i in range(2):
            y = self.conv(double(self.norm(x, f"norm{i}a")), f"conv{i}a")
            x = self.conv(double(x), f"short{i}") + self.conv(self.norm(y, f"norm{i}b"), f"conv{i}b")
            x = self.attend(x) if i == 0 else x
        return self.torch.tanh(self.conv(self.norm(x, "norm"), "image"))

    def discriminator(self, x: Any) -> Any:
        for i in range(3):
            pool = (lambda x: self.f.avg_pool2d(x, 2)) if i < 2 else (lambda x: x)
            y = self.conv(self.f.relu(x) if i else x, f"conv{i}a")
            x = pool(self.conv(self.f.relu(y), f"conv{i}b")) + pool(self.conv(x, f"short{i}"))
            x = self.attend(x) if i == 0 else x
        x = self.f.relu(x).sum((2, 3))
        own = (self.w["embedding/weight"][self.labels] * x).sum(1)
        return self.f.linear(x, self.w["judge/weight"], self.w["judge/bias"])[:, 0] + own


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/sagan.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.sagan needs torch: pip install torch==2.13.0") from None
    torch.set_default_dtype(torch.float64)
    random = np.random.default_rng(0)
    labels = np.array([2, 0, 1])
    arrays = {"labels": labels, "g/latent": random.standard_normal((BATCH, LATENT)).astype(np.float32)}
    for net, layers in shapes().items():
        for name, shape in layers.items():
            spread = 1 / np.sqrt(np.prod(shape[1:]) or 4)
            drawn = random.standard_normal(shape) * spread
            if name.endswith("running_var") or (name.startswith("norm") and name.endswith("weight")):
                drawn = random.uniform(0.5, 1.5, shape)
            arrays[f"{net}/{name}"] = np.asarray(drawn + (1.0 if name.endswith("gate") else 0.0), np.float32)
    with torch.no_grad():
        for net in ("g", "d"):
            names = [name for name in arrays if name.startswith(f"{net}/")]
            weights = {name[2:]: torch.from_numpy(np.asarray(arrays[name])).double() for name in names}
            given = torch.from_numpy(arrays["g/latent"] if net == "g" else arrays["g/train"]).double()
            for mode in ("train", "eval"):
                run = Run(torch, weights, torch.from_numpy(labels), mode == "train")
                result = run.generator(given) if net == "g" else run.discriminator(given)
                arrays[f"{net}/{mode}"] = result.numpy().astype(np.float32)
    np.savez_compressed(out, **arrays)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
