"""Write tests/golden/inception.{npz,zip.pth,legacy.pth}: what the reference Inceptions say, and files saved by PyTorch.

    pip install torch==2.13.0 torchvision==0.28.0 torch-fidelity==0.4.0 pytorch-fid==0.3.0
    python -m scripts.golden.inception --out tests/golden

Only this script needs these packages; the tests regenerate weights and images from NumPy's seeds with the functions
here. The weights are random, in the shapes of the published ones. In the `.npz`:

    versions                     the packages, as JSON
    shapes                       the entries of torch-fidelity's state dict by name, as JSON
    MODE/SIZE/OUTPUT             the digest of an output for images of a size; MODE is torch-fidelity or pytorch-fid
    torch-fidelity/107/OUTPUT    the same for a network that resizes to 107×107 (so not at all), for a fast test
    resize/MODE/SIZE             images of a size, resized to 13×13 (NHWC), unscaled
    pth/NAME                     what is in the two `.pth` files, one in each of PyTorch's formats
"""

import argparse
import json
import pathlib
import tempfile
import zlib

import numpy as np

SIZES = {"32x32": (2, 32, 32), "75x60": (1, 75, 60), "299x299": (1, 299, 299)}
RESIZED = {"6x9": (2, 6, 9), "40x23": (2, 40, 23), "1x13": (1, 1, 13)}
SMALL = (2, 107, 107)
POOLS = ("64", "192", "768", "2048")


def random_weight(name, shape):
    """One entry of a state dict, from its name: activations neither vanish nor explode, and every entry matters."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith(("running_var", "bn.weight")):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    numbers = random.standard_normal(shape, dtype=np.float32)
    return numbers * np.float32(np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2)


def random_images(batch, height, width):
    """uint8 `[B, H, W, 3]`; each channel of its own brightness and contrast."""
    random = np.random.default_rng(height * width)
    numbers = random.normal(random.uniform(60, 190, (batch, 1, 1, 3)), 50, (batch, height, width, 3))
    return np.clip(numbers, 0, 255).astype(np.uint8)


def digest(values):
    """Of `[B, D]`: 32 of the numbers, the mean and the norm."""
    values = np.asarray(values, np.float64)
    some = values[:, :: values.shape[1] // 32][:, :32]
    return np.c_[some, values.mean(axis=1), np.linalg.norm(values, axis=1)]


def inceptions(torch, fidelity, fid, golden):
    """Both references with one set of weights, built without fetching the published ones."""

    class Unloaded(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, state):
            pass

    fidelity.load_state_dict_from_url = lambda *_, **__: {}
    shapes = {name: tuple(value.shape) for name, value in Unloaded("inception", ["2048"]).state_dict().items()}
    golden["shapes"] = json.dumps(shapes)
    state = {name: torch.from_numpy(random_weight(name, shape)) for name, shape in shapes.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "weights.pth"
        torch.save(state, path)
        one = fidelity.FeatureExtractorInceptionV3(
            "inception", [*POOLS, "logits_unbiased", "logits"], feature_extractor_weights_path=str(path)
        )
    fid.load_state_dict_from_url = lambda *_, **__: state
    return one, fid.InceptionV3(output_blocks=[0, 1, 2, 3]).eval()


def run(torch, one, two, golden):
    """Every output of both for every size."""
    for size, shape in SIZES.items():
        images = torch.from_numpy(random_images(*shape)).permute(0, 3, 1, 2)
        for name, values in zip(one.features_list, one(images), strict=True):
            golden[f"torch-fidelity/{size}/{name}"] = digest(values.numpy())
        # ToTensor's scale, as its command reads images.
        for name, values in zip(POOLS, two(images.float() / 255), strict=True):
            golden[f"pytorch-fid/{size}/{name}"] = digest(values.mean(dim=(2, 3)).numpy())
    one.INPUT_IMAGE_SIZE = SMALL[1]
    images = torch.from_numpy(random_images(*SMALL)).permute(0, 3, 1, 2)
    for name, values in zip(one.features_list, one(images), strict=True):
        golden[f"torch-fidelity/{SMALL[1]}/{name}"] = digest(values.numpy())


def resize(torch, tensorflow1, golden):
    for size, shape in RESIZED.items():
        x = torch.from_numpy(random_images(*shape)).permute(0, 3, 1, 2).float()
        one = tensorflow1(x, size=(13, 13), align_corners=False)
        two = torch.nn.functional.interpolate(x, size=(13, 13), mode="bilinear", align_corners=False)
        for mode, y in (("torch-fidelity", one), ("pytorch-fid", two)):
            golden[f"resize/{mode}/{size}"] = y.permute(0, 2, 3, 1).numpy()


def saved(torch, folder, golden):
    """A module's state dict with tensors of every kind added, in PyTorch's two formats."""
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    state = module.state_dict()
    for name, value in state.items():
        value.copy_(torch.from_numpy(random_weight(name, tuple(value.shape))))
    shared = torch.arange(24.0)
    state |= {
        "part": shared[6:18].view(3, 4).T,
        "every-other": shared.view(2, 3, 4)[:, ::2, 1:],
        "scalar": shared[5],
        "parameter": torch.nn.Parameter(torch.tensor([0.25, -1.0])),
        "empty": torch.zeros(0, 3),
        "float64": torch.tensor([[0.1, 1e300]], dtype=torch.float64),
        "float16": torch.tensor([0.1, -65504.0, 6e-8], dtype=torch.float16),
        "bfloat16": torch.tensor([0.1, -3e38, float("inf")], dtype=torch.bfloat16),
        "int64": torch.tensor([2**62 + 1, -3]),
        "int8": torch.tensor([-128, 127], dtype=torch.int8),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
    }
    torch.save(state, folder / "inception.zip.pth")
    torch.save(state, folder / "inception.legacy.pth", _use_new_zipfile_serialization=False)
    for name, value in state.items():
        golden[f"pth/{name}"] = (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()


def main():
    parser = argparse.ArgumentParser(description="Write Inception's numbers that tests compare with; needs torch.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/golden"), help="the folder to write to")
    folder = parser.parse_args().out
    try:
        import torch
        import torchvision
        from pytorch_fid import __version__ as fid_version
        from pytorch_fid import inception as fid
        from torch_fidelity import __version__ as fidelity_version
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
    except ImportError as error:
        raise SystemExit(
            f"make_golden_inception needs {error.name}: pip install torch==2.13.0 torchvision==0.28.0 "
            "torch-fidelity==0.4.0 pytorch-fid==0.3.0"
        ) from None

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    golden = {"versions": json.dumps(versions | {"torch-fidelity": fidelity_version, "pytorch-fid": fid_version})}
    with torch.no_grad():
        run(torch, *inceptions(torch, fidelity, fid, golden), golden)
        resize(torch, interpolate_bilinear_2d_like_tensorflow1x, golden)
    saved(torch, folder, golden)
    np.savez_compressed(folder / "inception.npz", **golden)
    print(f"wrote {len(golden)} arrays to {folder / 'inception.npz'} ({golden['versions']})")


if __name__ == "__main__":
    main()
