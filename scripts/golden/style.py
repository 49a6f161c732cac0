"""Write tests/golden/style.npz: the encoder and decoder of style transfer built from PyTorch's layers, AdaIN between
them, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.style --out tests/golden/style.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. Arrays are float32: `encoder/LAYER/weight` and `bias` with the layers'
names in `networks.style`, `content` and `style` (images of different sizes, `[B, C, H, W]`), `features` of both,
`normalised` (AdaIN), `image` (decoded), `loss/...` (the paper's losses between features), and `gradient/...` of the
mean of image² with respect to some of the weights.
"""

import argparse

import numpy as np

CHANNELS, FEATURES, HALVINGS, BATCH = 3, 2, 2, 2


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/style.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.style needs torch, which is not installed: pip install torch") from None
    from torch import nn

    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}
    wide = FEATURES * 2**HALVINGS

    def conv(into, of, kernel=3, stride=1):
        return nn.Conv2d(into, of, kernel, stride, 1, padding_mode="reflect")

    encoder = nn.Sequential(
        *(conv(CHANNELS, FEATURES), nn.ReLU()),
        *(conv(FEATURES, 2 * FEATURES, 4, 2), nn.ReLU()),
        *(conv(2 * FEATURES, wide, 4, 2), nn.ReLU()),
        conv(wide, wide),
    )
    decoder = nn.Sequential(
        *(conv(wide, wide), nn.ReLU()),
        *(nn.Upsample(scale_factor=2, mode="nearest"), conv(wide, 2 * FEATURES), nn.ReLU()),
        *(nn.Upsample(scale_factor=2, mode="nearest"), conv(2 * FEATURES, FEATURES), nn.ReLU()),
        *(conv(FEATURES, CHANNELS), nn.Tanh()),
    )
    names = {"encoder": ["first", "down0", "down1", "last"], "decoder": ["first", "up1", "up0", "last"]}
    layers = {
        f"{part}/{name}": layer
        for part, net in (("encoder", encoder), ("decoder", decoder))
        for name, layer in zip(names[part], (each for each in net if isinstance(each, nn.Conv2d)), strict=True)
    }
    for name, layer in layers.items():
        for what, value in layer.named_parameters():
            numbers = random.standard_normal(tuple(value.shape)) / np.sqrt(np.prod(value.shape[1:]) or 4)
            value.data.copy_(torch.from_numpy(numbers.astype(np.float32)))
            arrays[f"{name}/{what}"] = value.detach().numpy()
    shapes = {"content": (16, 24), "style": (24, 16)}
    for name, shape in shapes.items():
        arrays[name] = random.uniform(-1, 1, (BATCH, CHANNELS, *shape)).astype(np.float32)
    content, style = (encoder(torch.from_numpy(arrays[name]).double()) for name in shapes)

    def statistics(x):
        deviation, mean = torch.std_mean(x, dim=(2, 3), correction=0, keepdim=True)
        return mean, torch.sqrt(deviation**2 + 1e-5)

    (mean, deviation), (style_mean, style_deviation) = statistics(content), statistics(style)
    normalised = (content - mean) / deviation * style_deviation + style_mean
    image = decoder(normalised)
    (image**2).mean().backward()
    loss = nn.MSELoss(reduction="none")
    arrays |= {
        "content features": content,
        "style features": style,
        "normalised": normalised,
        "image": image,
        "loss/style": sum(
            loss(x, y).mean((1, 2, 3)) for x, y in zip(statistics(content), statistics(style), strict=True)
        ),
        "loss/variation": (
            (image[:, :, 1:] - image[:, :, :-1]).abs().sum((1, 2, 3))
            + (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().sum((1, 2, 3))
        )
        / image[0].numel(),
        **{f"gradient/{name}": layers[name].weight.grad for name in ("encoder/first", "decoder/last")},
    }
    arrays = {name: np.asarray(torch.as_tensor(array).detach(), np.float32) for name, array in arrays.items()}
    np.savez_compressed(out, **arrays)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
