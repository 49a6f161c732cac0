"""Write tests/golden/translation.npz: networks of translation written in PyTorch, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.translation --out tests/golden/translation.npz

The networks were written from the papers' figures and sections (arXiv 1611.07004, section 6.1; 1703.10593, section
7.2), not from our modules. They compute in float64. Only this script needs torch; the test that reads the file converts
PyTorch's layout to ours. `CASE/weights`: all weights, biases and running statistics one after the other, float16, in
the order of `CASE/layout`, texts `LAYER WHAT SHAPE` with the layers' names in `networks.translation`. What goes in is
`image`, brought to [-1, 1]; `CASE/train` and `CASE/eval` are every third or 13th pixel of what comes out (of a
discriminator all), float32. `shuffle/FACTOR`: `PixelShuffle` of whole numbers.
"""

import argparse
import math

import numpy as np

# By case the network and its fields; dropout of `unet6` multiplies by `mask`.
CASES = {
    "unet5": {"net": "unet", "features": 2, "depth": 5, "size": (64, 32), "channels": (3, 2)},
    "unet8": {"net": "unet", "features": 1, "depth": 8, "size": (256, 256), "channels": (1, 3), "every": 13},
    "unet6": {"net": "unet", "features": 1, "depth": 6, "size": (64, 64), "channels": (1, 3), "dropped": True},
    "resnet": {"net": "resnet", "features": 2, "blocks": 3, "halvings": 2, "size": (20, 28), "channels": (3, 2)},
    "resnet1": {"net": "resnet", "features": 2, "blocks": 1, "halvings": 1, "size": (10, 8), "channels": (2, 1)},
    "patch1": {"net": "patch", "features": 3, "halvings": 0, "size": (5, 7), "channels": (3, 0)},
    "patch16": {"net": "patch", "features": 2, "halvings": 1, "size": (21, 34), "channels": (3, 1)},
    "patch34": {"net": "patch", "features": 2, "halvings": 2, "size": (24, 50), "channels": (1, 3)},
    "patch70": {"net": "patch", "features": 2, "halvings": 3, "size": (70, 93), "channels": (3, 3)},
    "patch142": {"net": "patch", "features": 1, "halvings": 4, "size": (48, 101), "channels": (1, 1)},
    "patch286": {"net": "patch", "features": 1, "halvings": 5, "size": (96, 131), "channels": (3, 0)},
}
BATCH, EVERY = 2, 3
SHUFFLED = {2: (2, 12, 3, 4), 3: (1, 18, 2, 5)}  # by factor the input's shape


def mask(number, shape):
    """What the dropout `number`, from the first doubling on, multiplies `[B, C, H, W]` by: 0 and 2 by turns."""
    return 2.0 * ((np.indices(shape).sum(0) + number) % 2)


def image(shape, number=0):
    """Images, or with another `number` others: whole numbers from 0 to 255, `[B, C, H, W]`."""
    b, c, y, x = np.indices(shape)
    return (y * y * 7 + x * x * 13 + x * y * 5 + b * 101 + c * 57 + number * 29) % 251


def unet(torch):
    """The U-Net as a class of modules whose children have our names, like those below."""
    nn, functional = torch.nn, torch.nn.functional

    class UNet(nn.Module):
        def __init__(self, channels, features, depth, dropped=False, **_):
            super().__init__()
            self.depth, self.dropped = depth, dropped
            wide = [features, 2 * features, 4 * features] + [8 * features] * depth
            into = channels[0]
            for i in range(depth):
                inner = 0 < i < depth - 1
                self.add_module(f"down{i}", nn.Conv2d(into, wide[i], 4, 2, 1, bias=not inner))
                if inner:
                    self.add_module(f"down_norm{i}", nn.BatchNorm2d(wide[i]))
                into = wide[i]
            for i in range(depth - 1, 0, -1):
                self.add_module(f"up{i}", nn.ConvTranspose2d(into, wide[i - 1], 4, 2, 1, bias=False))
                self.add_module(f"up_norm{i}", nn.BatchNorm2d(wide[i - 1]))
                into = 2 * wide[i - 1]
            self.up0 = nn.ConvTranspose2d(into, channels[1], 4, 2, 1)

        def forward(self, x):
            kept, dropouts = [], 0
            for i in range(self.depth):
                x = getattr(self, f"down{i}")(functional.leaky_relu(x, 0.2) if i else x)
                x = getattr(self, f"down_norm{i}")(x) if hasattr(self, f"down_norm{i}") else x
                kept.append(x)
            kept.pop()
            # As the authors train it in PyTorch: of eight doublings those to 512 channels, but the first.
            for i in range(self.depth - 1, 0, -1):
                x = getattr(self, f"up_norm{i}")(getattr(self, f"up{i}")(functional.relu(x)))
                if self.dropped and self.training and 4 <= i < self.depth - 1:
                    x = x * torch.from_numpy(mask(dropouts, tuple(x.shape)))
                    dropouts += 1
                x = torch.cat([kept.pop(), x], 1)
            return torch.tanh(self.up0(functional.relu(x)))

    return UNet


def resnet(torch):
    """The generator of residual blocks."""
    nn, functional = torch.nn, torch.nn.functional

    class ResNet(nn.Module):
        def __init__(self, channels, features, blocks, halvings, **_):
            super().__init__()
            self.blocks, self.halvings = blocks, halvings

            def add(name, layer):
                self.add_module(name, layer)
                self.add_module(f"{name}_norm", nn.InstanceNorm2d(layer.out_channels, affine=True))

            mirrored = {"padding_mode": "reflect", "bias": False}
            add("first", nn.Conv2d(channels[0], features, 7, 1, 3, **mirrored))
            width = features
            for i in range(halvings):
                add(f"down{i}", nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False))
                width *= 2
            for i in range(blocks):
                add(f"block{i}a", nn.Conv2d(width, width, 3, 1, 1, **mirrored))
                add(f"block{i}b", nn.Conv2d(width, width, 3, 1, 1, **mirrored))
            for i in range(halvings - 1, -1, -1):
                add(f"up{i}", nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=False))
                width //= 2
            self.last = nn.Conv2d(width, channels[1], 7, 1, 3, padding_mode="reflect")

        def forward(self, x):
            def layer(name, x):
                return getattr(self, f"{name}_norm")(getattr(self, name)(x))

            x = functional.relu(layer("first", x))
            for i in range(self.halvings):
                x = functional.relu(layer(f"down{i}", x))
            for i in range(self.blocks):
                x = x + layer(f"block{i}b", functional.relu(layer(f"block{i}a", x)))
            for i in range(self.halvings - 1, -1, -1):
                x = functional.relu(layer(f"up{i}", x))
            return torch.tanh(self.last(x))

    return ResNet


def patch(torch):
    """The discriminator of patches."""
    nn = torch.nn

    class Patch(nn.Sequential):
        def __init__(self, channels, features, halvings, **_):
            super().__init__()
            kernel, pad = (4, 1) if halvings else (1, 0)
            strides = [2] * halvings + [1] if halvings else [1, 1]
            into = sum(channels)
            for i, stride in enumerate(strides):
                width = min(features * 2**i, features * 8)
                self.add_module(f"layer{i}", nn.Conv2d(into, width, kernel, stride, pad, bias=i == 0))
                if i:
                    self.add_module(f"norm{i}", nn.BatchNorm2d(width))
                self.add_module(f"relu{i}", nn.LeakyReLU(0.2))
                into = width
            self.add_module("logits", nn.Conv2d(into, 1, kernel, 1, pad))

    return Patch


def drawn(random, name, what, shape):
    """Weights that keep activations at about 1, norms' scales and variances around 1."""
    if what == "running_var" or ("norm" in name and what == "weight"):
        return random.uniform(0.5, 1.5, shape).astype(np.float16)
    fan = math.prod(shape[1:]) if len(shape) > 1 else 4
    return (random.standard_normal(shape) * math.sqrt(2 / fan)).astype(np.float16)


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/translation.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.translation needs torch, which is not installed: pip install torch") from None
    torch.set_default_dtype(torch.float64)
    kinds = {"unet": unet, "resnet": resnet, "patch": patch}
    arrays, random = {}, np.random.default_rng(0)
    for case, fields in CASES.items():
        net, every = kinds[fields["net"]](torch)(**fields), fields.get("every", EVERY)
        state = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
        weights = [drawn(random, *name.split("."), tuple(value.shape)) for name, value in state.items()]
        for value, array in zip(state.values(), weights, strict=True):
            value.copy_(torch.from_numpy(array))
        shapes = [",".join(map(str, array.shape)) for array in weights]
        arrays[f"{case}/layout"] = [
            f"{name.replace('.', ' ')} {shape}" for name, shape in zip(state, shapes, strict=True)
        ]
        arrays[f"{case}/weights"] = np.concatenate([array.ravel() for array in weights])
        given = fields["channels"] if fields["net"] == "patch" else fields["channels"][:1]
        pictures = [image((BATCH, channels, *fields["size"]), i) for i, channels in enumerate(given) if channels]
        x = torch.from_numpy(np.concatenate(pictures, 1) / 127.5 - 1)
        with torch.no_grad():
            for mode in ("eval", "train"):
                made = net.train(mode == "train")(x).numpy()
                thinned = made if fields["net"] == "patch" else made[:, :, ::every, ::every]
                arrays[f"{case}/{mode}"] = thinned.astype(np.float32)
    for factor, shape in SHUFFLED.items():
        whole = torch.arange(math.prod(shape)).reshape(shape)
        arrays[f"shuffle/{factor}"] = torch.nn.PixelShuffle(factor)(whole).numpy().astype(np.int32)
    np.savez_compressed(out, **arrays)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
