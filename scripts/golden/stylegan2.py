"""Write tests/golden/stylegan2.npz: StyleGAN2's networks built from PyTorch's layers, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.stylegan2 --out tests/golden/stylegan2.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. Arrays are float32, named `NET/LAYER/WHAT` with the layers' names in
`networks.stylegan2` and PyTorch's for their weights; `NET/input`, `labels`, `g/w`, `NET/output`: a batch and what
evaluation made of it, and `NET/gradient/...` a few derivatives of the sum of outputs times `NET/weights`. 16 pixels, 3
channels, 5 classes; modulated convolutions are by groups. The discriminator is given what the generator made.
"""

import argparse

import numpy as np

SIZE, CHANNELS, FEATURES, MOST, LATENT, STYLE, MAPPING, CLASSES, BATCH = 16, 3, 3, 5, 4, 6, 2, 5, 8
DERIVED = {
    "g": ["constant", "convs_1.affine.weight", "convs_4.conv.weight", "images_1.conv.weight", "map.dense0.weight"]
}
DERIVED["d"] = ["from_image.weight", "block16.b.weight", "block8.short.weight", "conv.weight", "map.embed.weight"]


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/stylegan2.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.stylegan2 needs torch, which is not installed: pip install torch") from None
    from scripts.benchmarks.pytorch_stylegan2 import Discriminator, Generator

    random, arrays = np.random.default_rng(0), {}
    torch.set_default_dtype(torch.float64)
    style = {"style": STYLE, "mapping": MAPPING, "classes": CLASSES}
    nets = {
        "g": Generator(SIZE, CHANNELS, FEATURES, MOST, latent=LATENT, grouped=True, **style),
        "d": Discriminator(SIZE, CHANNELS, FEATURES, MOST, **style),
    }
    labels = np.arange(BATCH) % CLASSES
    arrays["labels"] = labels.astype(np.int32)
    x = torch.from_numpy(random.standard_normal((BATCH, LATENT)).astype(np.float32)).double()
    for kind, net in nets.items():
        net.eval()
        for name, value in net.state_dict().items():
            if name.endswith("kernel") or name == "w_avg":
                continue
            # Weights of the mapping network are a hundred times as large, and so are its biases.
            large = 100.0 if "map.dense" in name else 1.0
            numbers = (large * random.standard_normal(tuple(value.shape))).astype(np.float32)
            value.copy_(torch.from_numpy(np.asarray(numbers)))
            arrays[f"{kind}/{name.replace('.', '/')}"] = np.asarray(numbers)
        arrays[f"{kind}/input"] = x.detach().numpy()
        y = net(x, torch.from_numpy(labels))
        weights = random.standard_normal(tuple(y.shape)).astype(np.float32)
        (y * torch.from_numpy(weights)).sum().backward()
        arrays[f"{kind}/weights"], arrays[f"{kind}/output"] = weights, y.detach().numpy()
        for name in DERIVED[kind]:
            arrays[f"{kind}/gradient/{name.replace('.', '/')}"] = net.get_parameter(name).grad.numpy()
        if kind == "g":
            arrays["g/w"] = net.map(x, torch.from_numpy(labels)).detach().numpy()
            # As it is stored, float32, the discriminator is given it.
            x = torch.from_numpy(y.detach().numpy().astype(np.float32)).double()
    save = {name: np.asarray(array, np.int32 if name == "labels" else np.float32) for name, array in arrays.items()}
    np.savez_compressed(out, **save)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
