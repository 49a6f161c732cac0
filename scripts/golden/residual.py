"""Write tests/golden/residual.npz: residual networks built from PyTorch's layers, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.residual --out tests/golden/residual.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. Arrays are float32, named `NET/LAYER/WHAT` with the layers' names in
`networks.resnet` and PyTorch's for their weights and running statistics, and `NET/input`, `NET/train`, `NET/eval`: a
batch, and what train and evaluation mode made of it. 32 pixels, 3 channels; the discriminator is given what the
generator made in train mode, which is stored once.
"""

import argparse
from types import SimpleNamespace

import numpy as np

SIZE, CHANNELS, FEATURES, LATENT, BATCH = 32, 3, 2, 5, 2


def named(net, kind):
    """(name, layer) of all layers with weights, in `networks.resnet`'s names."""
    blocks = [layer for layer in net if type(layer).__name__ == "Block"]
    weighted = [layer for layer in net if layer not in blocks and any(True for _ in layer.parameters())]
    yield from zip({"g": ["project", "norm", "image"], "d": ["judge"]}[kind], weighted, strict=True)
    for i, block in enumerate(blocks):
        inner = [layer for layer in block.main if any(True for _ in layer.parameters())]
        names = ["norm{}a", "conv{}a", "norm{}b", "conv{}b"] if kind == "g" else ["conv{}a", "conv{}b"]
        yield from ((name.format(i), layer) for name, layer in zip(names, inner, strict=True))
        yield from ((f"short{i}", layer) for layer in block.short.modules() if type(layer).__name__ == "Conv2d")


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/residual.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("make_golden_residual needs torch, which is not installed: pip install torch") from None
    from scripts.benchmarks.pytorch_recipes import residual

    random, arrays = np.random.default_rng(0), {}
    torch.set_default_dtype(torch.float64)
    nets = residual(SimpleNamespace(features=FEATURES, latent_size=LATENT), SIZE, CHANNELS)
    x = random.standard_normal((BATCH, LATENT)).astype(np.float32)
    arrays["g/input"] = x
    x = torch.from_numpy(x).double()
    with torch.no_grad():
        for kind, net in zip("gd", nets, strict=True):
            for name, layer in named(net, kind):
                for what, value in layer.state_dict().items():
                    if what == "num_batches_tracked":
                        continue
                    shape = tuple(value.shape)
                    if what == "running_var" or (name.startswith("norm") and what == "weight"):
                        numbers = random.uniform(0.5, 1.5, shape)
                    else:
                        numbers = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 4)
                    value.copy_(torch.from_numpy(numbers.astype(np.float32)))
                    arrays[f"{kind}/{name}/{what}"] = value.numpy().copy()
            arrays[f"{kind}/eval"] = net.eval()(x).numpy()
            # As it is stored, float32, the discriminator is given it.
            arrays[f"{kind}/train"] = net.train()(x).numpy().astype(np.float32)
            x = torch.from_numpy(arrays[f"{kind}/train"]).double()
    np.savez_compressed(out, **{name: array.astype(np.float32) for name, array in arrays.items()})
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
