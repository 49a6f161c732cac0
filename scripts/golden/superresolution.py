"""Write tests/golden/superresolution.npz: SRGAN's and ESRGAN's networks in PyTorch, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.superresolution --out tests/golden/superresolution.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. The networks are written here from figure 4 of Ledig et al. 2017
(arXiv 1609.04802) and figure 4 and section 3.1 of Wang et al. 2018 (arXiv 1809.00219). Arrays are float32, packed as in
`scripts.golden.layers`, whose `read` takes them apart, and named `CASE/LAYER/WHAT` with the layers' names in
`networks.superresolution` and PyTorch's for their weights and running statistics, and `CASE/input`, `CASE/eval` and,
where there is batch normalisation, `CASE/train`.
"""

import argparse
import json

import numpy as np

FEATURES, GROWTH, BLOCKS, BATCH = 2, 3, 2, 2


def srresnet(torch):
    """The class of SRGAN's generator."""
    nn, functional = torch.nn, torch.nn.functional

    class Residual(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.a, self.b = (nn.Conv2d(FEATURES, FEATURES, 3, 1, 1, bias=not norm) for _ in range(2))
            self.norm_a, self.norm_b = (nn.BatchNorm2d(FEATURES) if norm else nn.Identity() for _ in range(2))
            self.prelu = nn.PReLU()

        def forward(self, x):
            return x + self.norm_b(self.b(self.prelu(self.norm_a(self.a(x)))))

    class SRResNet(nn.Module):
        def __init__(self, channels, scale, norm, ends, base):
            super().__init__()
            self.scale, self.base = scale, base
            self.head = nn.Sequential(nn.Conv2d(channels, FEATURES, ends, padding=ends // 2), nn.PReLU())
            self.blocks = nn.Sequential(*(Residual(norm) for _ in range(BLOCKS)))
            self.body = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1, bias=not norm)
            self.norm = nn.BatchNorm2d(FEATURES) if norm else nn.Identity()
            self.ups = nn.ModuleList()
            for factor in [scale] if scale < 4 else [2, 2]:
                conv = nn.Conv2d(FEATURES, FEATURES * factor * factor, 3, 1, 1)
                self.ups.append(nn.Sequential(conv, nn.PixelShuffle(factor), nn.PReLU()))
            self.last = nn.Conv2d(FEATURES, channels, ends, padding=ends // 2)

        def forward(self, image):
            x = self.head(image)
            x = x + self.norm(self.body(self.blocks(x)))
            for up in self.ups:
                x = up(x)
            x = self.last(x)
            if self.base == "bilinear":
                x = x + functional.interpolate(image, scale_factor=self.scale, mode="bilinear", align_corners=False)
            if self.base == "bicubic":  # with Keys' a = -1/2, which PyTorch has where it antialiases
                x = x + functional.interpolate(image, scale_factor=self.scale, mode="bicubic", antialias=True)
            return x

        def named(self):
            yield from {"first": self.head[0], "first_prelu": self.head[1], "body": self.body}.items()
            for i, block in enumerate(self.blocks):
                yield from {f"block{i}a": block.a, f"block{i}b": block.b, f"block{i}_prelu": block.prelu}.items()
                yield from {f"block{i}a_norm": block.norm_a, f"block{i}b_norm": block.norm_b}.items()
            yield "body_norm", self.norm
            for i, up in enumerate(self.ups):
                yield from {f"up{i}": up[0], f"up{i}_prelu": up[2]}.items()
            yield "last", self.last

    return SRResNet


def rrdbnet(torch):
    """The class of ESRGAN's generator."""
    nn, functional = torch.nn, torch.nn.functional

    class DenseBlock(nn.Module):
        def __init__(self):
            super().__init__()
            outs = [GROWTH] * 4 + [FEATURES]
            self.convs = nn.ModuleList(nn.Conv2d(FEATURES + i * GROWTH, n, 3, 1, 1) for i, n in enumerate(outs))

        def forward(self, x):
            x1 = functional.leaky_relu(self.convs[0](x), 0.2)
            x2 = functional.leaky_relu(self.convs[1](torch.cat((x, x1), 1)), 0.2)
            x3 = functional.leaky_relu(self.convs[2](torch.cat((x, x1, x2), 1)), 0.2)
            x4 = functional.leaky_relu(self.convs[3](torch.cat((x, x1, x2, x3), 1)), 0.2)
            return x + 0.2 * self.convs[4](torch.cat((x, x1, x2, x3, x4), 1))

    class RRDBNet(nn.Module):
        def __init__(self, channels, scale):
            super().__init__()
            self.factors = [scale] if scale < 4 else [2, 2]
            self.head, self.body = nn.Conv2d(channels, FEATURES, 3, 1, 1), nn.Conv2d(FEATURES, FEATURES, 3, 1, 1)
            self.blocks = nn.ModuleList(nn.Sequential(*(DenseBlock() for _ in range(3))) for _ in range(BLOCKS))
            self.ups = nn.ModuleList(nn.Conv2d(FEATURES, FEATURES, 3, 1, 1) for _ in self.factors)
            self.detail, self.last = nn.Conv2d(FEATURES, FEATURES, 3, 1, 1), nn.Conv2d(FEATURES, channels, 3, 1, 1)

        def forward(self, image):
            first = x = self.head(image)
            for block in self.blocks:
                x = x + 0.2 * block(x)
            x = first + self.body(x)
            for factor, up in zip(self.factors, self.ups, strict=True):
                x = functional.leaky_relu(up(functional.interpolate(x, scale_factor=factor, mode="nearest")), 0.2)
            return self.last(functional.leaky_relu(self.detail(x), 0.2))

        def named(self):
            yield from {"first": self.head, "body": self.body, "detail": self.detail, "last": self.last}.items()
            yield from ((f"up{i}", up) for i, up in enumerate(self.ups))
            for i, block in enumerate(self.blocks):
                for j, dense in enumerate(block):
                    yield from ((f"block{i}_dense{j}_{k}", conv) for k, conv in enumerate(dense.convs))

    return RRDBNet


def vgg(torch):
    """The class of SRGAN's discriminator."""
    nn = torch.nn

    class VGG(nn.Module):
        def __init__(self, channels, height, width):
            super().__init__()
            n, parts, before = FEATURES, [], channels
            for i, (width_, stride) in enumerate([(w, s) for w in (n, 2 * n, 4 * n, 8 * n) for s in (1, 2)]):
                parts += [nn.Conv2d(before, width_, 3, stride, 1, bias=i == 0)]
                parts += [nn.BatchNorm2d(width_)] if i else []
                parts += [nn.LeakyReLU(0.2)]
                before = width_
            self.main = nn.Sequential(*parts)
            for _ in range(4):
                height, width = (height + 1) // 2, (width + 1) // 2
            self.rest = nn.Sequential(
                nn.Flatten(), nn.Linear(8 * n * height * width, 16 * n), nn.LeakyReLU(0.2), nn.Linear(16 * n, 1)
            )

        def forward(self, image):
            return self.rest(self.main(image)).flatten()

        def named(self):
            kinds = {"conv": nn.Conv2d, "norm": nn.BatchNorm2d}
            for name, kind in kinds.items():
                layers = [layer for layer in self.main if isinstance(layer, kind)]
                yield from ((f"{name}{i + (name == 'norm')}", layer) for i, layer in enumerate(layers))
            yield from {"dense": self.rest[1], "logits": self.rest[3]}.items()

    return VGG


def networks(torch):
    """{case: (network, height and width of what it is given)}; `named` of a network has its layers by our names."""
    SRResNet, RRDBNet, VGG = srresnet(torch), rrdbnet(torch), vgg(torch)
    return {
        "srresnet4": (SRResNet(3, 4, norm=True, ends=9, base=None), (5, 6)),
        "srresnet3": (SRResNet(1, 3, norm=False, ends=3, base="bilinear"), (5, 4)),
        "srresnet2": (SRResNet(3, 2, norm=False, ends=5, base="bicubic"), (4, 7)),
        "rrdb4": (RRDBNet(3, 4), (5, 4)),
        "rrdb3": (RRDBNet(1, 3), (3, 4)),
        "vgg": (VGG(3, 17, 33), (17, 33)),
    }


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/superresolution.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.superresolution needs torch: pip install torch") from None
    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}
    with torch.no_grad():
        for case, (net, size) in networks(torch).items():
            for name, layer in net.named():
                for what, value in layer.state_dict().items():
                    if what == "num_batches_tracked":
                        continue
                    shape = tuple(value.shape)
                    positive = what == "running_var" or ("norm" in name and what == "weight") or "prelu" in name
                    numbers = random.uniform(0.2, 1.2, shape) if positive else random.standard_normal(shape)
                    if len(shape) > 1:
                        numbers *= np.sqrt(2 / np.prod(shape[1:]))
                    value.copy_(torch.from_numpy(numbers.astype(np.float32)))
                    arrays[f"{case}/{name}/{what}"] = value.numpy().copy()
            channels = next(net.parameters()).shape[1]
            x = random.uniform(-1, 1, (BATCH, channels, *size)).astype(np.float32)
            arrays[f"{case}/input"] = x
            arrays[f"{case}/eval"] = net.eval()(torch.from_numpy(x).double()).numpy()
            if any(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules()):
                arrays[f"{case}/train"] = net.train()(torch.from_numpy(x).double()).numpy()
    numbers = np.concatenate([np.ravel(array).astype(np.float32) for array in arrays.values()])
    np.savez_compressed(out, index=json.dumps({name: array.shape for name, array in arrays.items()}), numbers=numbers)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
