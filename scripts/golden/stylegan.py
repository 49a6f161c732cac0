"""Write tests/golden/stylegan.npz: the first StyleGAN's networks in PyTorch, what went in and what came out.

    pip install torch==2.13.0
    python -m scripts.golden.stylegan --out tests/golden/stylegan.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch. The networks
are written here from sections 2, 3 and appendix C of Karras et al. 2019 (arXiv 1812.04948), and from table 2 and
sections 3 and 4 of Karras et al. 2018 (arXiv 1710.10196): images of 16×16 pixels, all at once and while 16×16 fades in.
Arrays are packed as in `scripts.golden.layers`, whose `read` takes them apart: weights in PyTorch's layout, named
`NETWORK/LAYER/WHAT` as in `networks.stylegan`, `NETWORK/input`, and what came out, `NETWORK/full` and `NETWORK/fading`.
"""

import argparse
import json

import numpy as np

BATCH, LATENT, STYLE, CHANNELS = 4, 5, 6, 3
WIDTHS = {4: 6, 8: 6, 16: 3}
SHARE = 0.3  # of 16×16, as far as it has faded in


def functions(torch):
    """What both networks are made of, each of a layer's weights `{name: tensor}`."""
    functional = torch.nn.functional

    def blurred(x):
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
        return functional.conv2d(x, kernel, padding=1, groups=x.shape[1])

    def scaled(weight, gain):
        return weight * gain / np.sqrt(weight[0].numel())

    class Functions:
        active = staticmethod(lambda x: functional.leaky_relu(x, 0.2))
        repeated = staticmethod(lambda x: functional.interpolate(x, scale_factor=2, mode="nearest"))
        averaged = staticmethod(lambda x: functional.avg_pool2d(x, 2))
        doubled = staticmethod(lambda x: blurred(functional.interpolate(x, scale_factor=2, mode="nearest")))
        halved = staticmethod(lambda x: functional.avg_pool2d(blurred(x), 2))

        @staticmethod
        def conv(layer, x, gain=2**0.5):
            weight = scaled(layer["weight"], gain)
            return functional.conv2d(x, weight, layer.get("bias"), padding=weight.shape[-1] // 2)

        @staticmethod
        def dense(layer, x, gain=2**0.5, rate=1.0):
            return functional.linear(x, scaled(layer["weight"], gain * rate), layer["bias"] * rate)

        @staticmethod
        def epilogue(layers, name, x, w):
            own = layers[name]
            x = x + own["strength"].reshape(1, -1, 1, 1) * own["noise"]
            x = Functions.active(x + own["bias"].reshape(1, -1, 1, 1))
            x = (x - x.mean((2, 3), keepdim=True)) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + 1e-5)
            scale, bias = Functions.dense(layers[f"{name}/adain/style"], w, gain=1).chunk(2, 1)
            return (1 + scale[..., None, None]) * x + bias[..., None, None]

    return Functions


def generator(torch, layers, z, share):
    """Returns images of latents, of whose 16×16 pixels a share has faded in."""
    f = functions(torch)
    w = z / torch.sqrt((z**2).mean(1, keepdim=True) + 1e-8)
    for i in range(2):  # our layers have the gain √2 behind the leaky ReLU, which then scales the bias too
        w = f.active(f.dense(layers[f"map/dense{i}"], w, gain=1, rate=0.01)) * np.sqrt(2)
    x = layers["constant"][""].expand(BATCH, -1, -1, -1)
    x = f.epilogue(layers, "epilogues_0", x, w)
    x = f.epilogue(layers, "epilogues_1", f.conv(layers["convs_0"], x), w)
    for i in (1, 3):
        before, x = x, f.doubled(x)
        for j in (i, i + 1):
            x = f.epilogue(layers, f"epilogues_{j + 1}", f.conv(layers[f"convs_{j}"], x), w)
    image = f.conv(layers["images_1"], x, gain=1)
    return image if share == 1 else torch.lerp(f.repeated(f.conv(layers["images_0"], before, gain=1)), image, share)


def discriminator(torch, layers, image, share):
    """Returns logits of images, of whose 16×16 pixels a share has faded in."""
    f = functions(torch)
    x = f.active(f.conv(layers["from_image_1"], image))
    for i in (1, 0):
        x = f.active(f.conv(layers[f"firsts_{i}"], x))
        x = f.halved(f.active(f.conv(layers[f"seconds_{i}"], x)))
        if i == 1 and share != 1:
            x = torch.lerp(f.active(f.conv(layers["from_image_0"], f.averaged(image))), x, share)
    deviation = torch.sqrt(((x - x.mean(0)) ** 2).mean(0) + 1e-8).mean()
    x = torch.cat([x, deviation.expand(BATCH, 1, 4, 4)], 1)
    x = f.active(f.conv(layers["conv"], x))
    x = f.active(f.dense(layers["dense"], x.flatten(1)))
    return f.dense(layers["judge"], x, gain=1)[:, 0]


def shapes():
    """{network: {layer: {what: shape}}}, in PyTorch's layout."""
    low, middle, high = WIDTHS[4], WIDTHS[8], WIDTHS[16]

    def conv(old, new, kernel=3, bias=True):
        return {"weight": (new, old, kernel, kernel)} | ({"bias": (new,)} if bias else {})

    g = {"map/dense0": {"weight": (STYLE, LATENT), "bias": (STYLE,)}}
    g["map/dense1"] = {"weight": (STYLE, STYLE), "bias": (STYLE,)}
    g["constant"] = {"": (low, 4, 4)}
    widths = [low, low, middle, middle, high, high]
    for i, (width, side) in enumerate(zip(widths, (4, 4, 8, 8, 16, 16), strict=True)):
        g[f"epilogues_{i}"] = {"strength": (width,), "bias": (width,), "noise": (side, side)}
        g[f"epilogues_{i}/adain/style"] = {"weight": (2 * width, STYLE), "bias": (2 * width,)}
        if i:
            g[f"convs_{i - 1}"] = conv(widths[i - 1], width, bias=False)
    g |= {"images_0": conv(middle, CHANNELS, 1), "images_1": conv(high, CHANNELS, 1)}
    d = {"from_image_0": conv(CHANNELS, middle, 1), "from_image_1": conv(CHANNELS, high, 1)}
    d |= {"firsts_0": conv(middle, middle), "firsts_1": conv(high, high)}
    d |= {"seconds_0": conv(middle, low), "seconds_1": conv(high, middle), "conv": conv(low + 1, low)}
    d["dense"] = {"weight": (low, 16 * low), "bias": (low,)}
    d["judge"] = {"weight": (1, low), "bias": (1,)}
    return {"generator": g, "discriminator": d}


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/stylegan.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.stylegan needs torch: pip install torch") from None
    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}
    inputs = {"generator": (BATCH, LATENT), "discriminator": (BATCH, CHANNELS, 16, 16)}
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        layers = {}
        for layer, parts in shapes()[name].items():
            large = 100 if layer.startswith("map/") else 1  # a mapping network's weights are used at a hundredth
            for what, shape in parts.items():
                array = (random.standard_normal(shape) * (large if what in ("weight", "bias") else 1)).astype(
                    np.float32
                )
                array = array * np.float32(0.3) if what == "bias" else array
                arrays[f"{name}/{layer}/{what}".rstrip("/")] = array
                layers.setdefault(layer, {})[what] = torch.from_numpy(array).double()
        x = arrays[f"{name}/input"] = random.standard_normal(inputs[name]).astype(np.float32)
        for case, share in (("full", 1), ("fading", SHARE)):
            arrays[f"{name}/{case}"] = network(torch, layers, torch.from_numpy(x).double(), share).numpy()
    numbers = np.concatenate([np.ravel(array).astype(np.float32) for array in arrays.values()])
    np.savez_compressed(out, index=json.dumps({name: array.shape for name, array in arrays.items()}), numbers=numbers)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
