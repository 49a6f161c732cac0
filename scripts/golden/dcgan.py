"""Write tests/golden/dcgan.npz: DCGANs built from PyTorch's own layers, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.dcgan --out tests/golden/dcgan.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. Arrays are float32 and named `CASE/NET/WHAT`: CASE is `32` (32 pixels,
3 channels) or `28` (28 pixels, 1 channel), NET is `g` or `d`, WHAT is one of

    projection/weight, up0/weight, norm0/bias, down0/bias, ...   weights as torch's state_dict has them
    norm0/running_mean, norm0/running_var                        running statistics at the start
    norm0/running_mean_after, norm0/running_var_after            and after one batch in train mode
    input, train, eval                                           the batch, what train and eval mode made of it

The discriminator's input is the generator's output in train mode, which is stored once.
"""

import argparse

import numpy as np

CASES = {"32": {"size": 32, "channels": 3, "features": 3}, "28": {"size": 28, "channels": 1, "features": 3}}
LATENT, BATCH = 8, 3


def layers(torch, *, size, channels, features):
    """Both nets as lists of (name, layer), in order: Radford et al. 2016 (arXiv 1511.06434)."""
    nn = torch.nn
    base = 7 if size == 28 else 4
    n = {28: 2, 32: 3}[size]
    width = features * 2 ** (n - 1)
    generator = [("projection", nn.ConvTranspose2d(LATENT, width, base, 1, 0, bias=False))]
    for i in range(n):
        out = channels if i == n - 1 else width // 2
        generator += [
            (f"norm{i}", nn.BatchNorm2d(width)),
            ("", nn.ReLU()),
            (f"up{i}", nn.ConvTranspose2d(width, out, 4, 2, 1, bias=i == n - 1)),
        ]
        width = out
    generator += [("", nn.Tanh())]

    discriminator, width = [], channels
    for i in range(n):
        out = features * 2**i
        discriminator += [(f"down{i}", nn.Conv2d(width, out, 4, 2, 1, bias=i == 0))]
        discriminator += [(f"norm{i}", nn.BatchNorm2d(out))] if i else []
        discriminator += [("", nn.LeakyReLU(0.2))]
        width = out
    discriminator += [("judgement", nn.Conv2d(width, 1, base, 1, 0))]
    return {"g": generator, "d": discriminator}


def randomise(torch, net, random):
    """Weights, and batch norm's statistics too, from NumPy; large enough that every layer matters to the output."""
    for name, layer in net:
        if not name:
            continue
        for key, value in layer.state_dict().items():
            if key == "num_batches_tracked":
                continue
            shape = tuple(value.shape)
            if key == "running_var" or (name.startswith("norm") and key == "weight"):
                numbers = random.uniform(0.5, 1.5, shape)
            else:
                fan_in = value[0].numel() if value.ndim == 4 else 16
                numbers = random.standard_normal(shape) / np.sqrt(fan_in)
            value.copy_(torch.from_numpy(numbers.astype(np.float32)))


def run(torch, net, x, prefix):
    """The arrays of one net by name, and its output in train mode."""
    module = torch.nn.Sequential(*(layer for _, layer in net))
    arrays = {
        f"{prefix}/{name}/{key}": value.clone().numpy()
        for name, layer in net
        if name
        for key, value in layer.state_dict().items()
        if key != "num_batches_tracked"
    }
    arrays[f"{prefix}/eval"] = module.eval()(x).numpy()
    train = module.train()(x)
    arrays[f"{prefix}/train"] = train.numpy()
    for name, layer in net:
        if name.startswith("norm"):
            for key in ("running_mean", "running_var"):
                arrays[f"{prefix}/{name}/{key}_after"] = layer.state_dict()[key].clone().numpy()
    return arrays, train


def main():
    parser = argparse.ArgumentParser(description="Write the DCGAN numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/dcgan.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("make_golden_dcgan needs torch, which is not installed: pip install torch==2.13.0") from None

    random, arrays = np.random.default_rng(0), {}
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        for case, options in CASES.items():
            nets = layers(torch, **options)
            for net in nets.values():
                randomise(torch, net, random)
            latent = random.standard_normal((BATCH, LATENT, 1, 1)).astype(np.float32)
            arrays[f"{case}/g/input"] = latent
            made, images = run(torch, nets["g"], torch.from_numpy(latent).double(), f"{case}/g")
            # As it will be stored: float32.
            judged, _ = run(torch, nets["d"], images.float().double(), f"{case}/d")
            arrays |= made | judged
    np.savez_compressed(out, **{name: array.astype(np.float32) for name, array in arrays.items()})
    print(f"wrote {len(arrays)} arrays to {out} (torch {torch.__version__})")


if __name__ == "__main__":
    main()
