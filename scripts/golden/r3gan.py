"""Write tests/golden/r3gan.npz: R3GAN's networks built from PyTorch's layers, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.r3gan --out tests/golden/r3gan.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. The networks are written from the paper, Huang et al. 2024 (arXiv
2501.05441), for 16 pixels, 3 channels and 3 classes; bilinear interpolation by two is the transposed convolution with
the outer product of (1, 3, 3, 1) / 4, zero beyond the edge, and halving its transpose, divided by 4. Arrays are
float32, named `NET/LAYER/WHAT` with the layers' names in `networks.r3gan` and PyTorch's for their weights; `latent`,
`label`, `image` (what the generator makes of them, and the discriminator is given), `logits`, and `slopes`: the
gradient of the sum of logits with respect to the image.
"""

import argparse
import itertools

import numpy as np

STAGES = [(12, 2, 4), (8, 1, 2), (4, 2, 1)]  # width, blocks, groups; from 4×4 pixels on
CHANNELS, CLASSES, LATENT, BATCH, EXPANSION = 3, 3, 5, 4, 2


def modules(torch):
    """Both networks, with weights as PyTorch draws them."""
    nn, functional = torch.nn, torch.nn.functional
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    filters = torch.outer(taps, taps)[None, None]

    class Block(nn.Module):
        def __init__(self, width, groups):
            super().__init__()
            inner = EXPANSION * width
            self.expand = nn.Conv2d(width, inner, 1)
            self.spatial = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
            self.project = nn.Conv2d(inner, width, 1, bias=False)

        def forward(self, x):
            y = functional.leaky_relu(self.expand(x), 0.2)
            return x + self.project(functional.leaky_relu(self.spatial(y), 0.2))

    def double(x):
        kernel = filters.repeat(x.shape[1], 1, 1, 1)
        return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])

    def halve(x):
        kernel = filters.repeat(x.shape[1], 1, 1, 1) / 4
        return functional.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])

    def blocks():
        return nn.ModuleList(nn.ModuleList(Block(width, groups) for _ in range(n)) for width, n, groups in STAGES)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width for width, *_ in STAGES]
            self.embedding = nn.Embedding(CLASSES, LATENT)
            self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
            self.modulation = nn.Linear(2 * LATENT, widths[0], bias=False)
            self.widths = nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in itertools.pairwise(widths))
            self.stages = blocks()
            self.image = nn.Conv2d(widths[-1], CHANNELS, 1, bias=False)

        def forward(self, latent, label):
            style = self.modulation(torch.cat([latent, self.embedding(label)], 1))
            x = self.basis * style[:, :, None, None]
            for i, stage in enumerate(self.stages):
                x = self.widths[i - 1](double(x)) if i else x
                for block in stage:
                    x = block(x)
            return self.image(x)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width for width, *_ in STAGES]
            self.image = nn.Conv2d(CHANNELS, widths[-1], 1, bias=False)
            self.stages = blocks()
            self.widths = nn.ModuleList(nn.Conv2d(b, a, 1, bias=False) for a, b in itertools.pairwise(widths))
            self.depthwise = nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False)
            self.judge = nn.Linear(widths[0], 1)
            self.embedding = nn.Linear(widths[0], CLASSES, bias=False)

        def forward(self, x, label):
            x = self.image(x)
            for i in reversed(range(len(STAGES))):
                for block in self.stages[i]:
                    x = block(x)
                x = self.widths[i - 1](halve(x)) if i else x
            x = self.depthwise(x).flatten(1)
            return self.judge(x)[:, 0] + self.embedding(x).gather(1, label[:, None])[:, 0]

    return {"g": Generator(), "d": Discriminator()}


def ours(name):
    """A parameter's name in the file, of PyTorch's in the modules above."""
    parts = name.split(".")
    if parts[0] == "stages":
        return f"stage{parts[1]}_block{parts[2]}/{parts[3]}/{parts[4]}"
    if parts[0] == "widths":
        return f"width{int(parts[1]) + 1}/{parts[2]}"
    return "/".join(parts)


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/r3gan.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.r3gan needs torch, which is not installed: pip install torch") from None

    random = np.random.default_rng(0)
    torch.set_default_dtype(torch.float64)
    nets, arrays = modules(torch), {}
    with torch.no_grad():
        for kind, net in nets.items():
            for name, value in net.named_parameters():
                shape = tuple(value.shape)
                numbers = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 4)
                value.copy_(torch.from_numpy(numbers.astype(np.float32)))
                arrays[f"{kind}/{ours(name)}"] = value.numpy().copy()
        arrays["latent"] = random.standard_normal((BATCH, LATENT)).astype(np.float32)
        arrays["label"] = np.arange(BATCH) % CLASSES
        label = torch.from_numpy(arrays["label"])
        arrays["image"] = nets["g"](torch.from_numpy(arrays["latent"]).double(), label).numpy().astype(np.float32)
    image = torch.from_numpy(arrays["image"]).double().requires_grad_()  # as it is stored
    logits = nets["d"](image, label)
    (slopes,) = torch.autograd.grad(logits.sum(), image)
    arrays |= {"logits": logits.detach().numpy(), "slopes": slopes.numpy()}
    integers = {"label": arrays.pop("label").astype(np.int32)}
    np.savez_compressed(out, **{name: array.astype(np.float32) for name, array in arrays.items()}, **integers)
    print(f"{out}: {len(arrays) + 1} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
