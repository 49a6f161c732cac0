"""Write tests/golden/similarity.npz and tests/golden/lpips.npz: what the reference packages say of images and latents.

    pip install torch==2.13.0 torchvision==0.28.0 scikit-image==0.26.0 pytorch-msssim==1.0.0 lpips==0.1.4
    pip install torch-fidelity==0.4.0 'numpy<2.4'
    python -m scripts.golden.similarity --out tests/golden

The packages compute in float64, but for torch-fidelity's latents, which it makes float32. Only this script needs them.
What goes in follows from a seed: the tests take `pairs`, `latents`, `network_weights` and the rest from here, and the
files keep sums of what went in, so that a NumPy whose streams differ is told from an error. The entry `versions` names
the packages.

    similarity.npz   CASE/psnr, CASE/ssim (scikit-image), CASE/ssim_torch, CASE/ms_ssim (pytorch-msssim): [B]
                     CASE/lerp, slerp_any, slerp_unit (torch-fidelity) of the cases of `latents`
                     ppl/MODE/EPSILON/mean, std, kept: torch-fidelity's path length of a toy generator
    lpips.npz        NET/layers: [5, B], what each stage adds to the `lpips` package's distance, with random weights
"""

import argparse
import itertools
import json
import pathlib

import numpy as np

from jaxgan.versions import versions

PACKAGES = ("torch", "torchvision", "scikit-image", "pytorch-msssim", "lpips", "torch-fidelity", "numpy")
EPSILONS, PATHS, LATENT = (1e-4, 1e-2), 200, 6
# By torch's names: what precedes each slice's first convolution doesn't matter to its weights.
CONVOLUTIONS = {
    "alex": [(0, 3, 64, 11), (3, 64, 192, 5), (6, 192, 384, 3), (8, 384, 256, 3), (10, 256, 256, 3)],
    "vgg": [
        *((0, 3, 64, 3), (2, 64, 64, 3), (5, 64, 128, 3), (7, 128, 128, 3)),
        *((10, 128, 256, 3), (12, 256, 256, 3), (14, 256, 256, 3)),
        *((17, 256, 512, 3), (19, 512, 512, 3), (21, 512, 512, 3)),
        *((24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3)),
    ],
}
CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
SIZES = {"alex": (64, 51), "vgg": (32, 35)}


def pairs():
    """Pairs of images [B, H, W, C] by case, with the range of their values."""
    random = np.random.default_rng(5)

    def around(image, deviation):
        noisy = image.astype(np.float64) + random.normal(size=image.shape) * deviation
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)

    def smooth(*shape):
        """A wave in each channel: structure at every scale, as photographs have it and noise has not."""
        batch, height, width, channels = shape
        y, x = np.mgrid[:height, :width]
        waves = np.zeros(shape)
        for period in (5, 13, 40, 120):
            phase = random.uniform(0, 2 * np.pi, (2, batch, 1, 1, channels))
            grid = 2 * np.pi / period
            waves += np.sin(grid * y[..., None] + phase[0]) * np.sin(grid * x[..., None] + phase[1])
        return np.round(127.5 + 30 * waves).astype(np.uint8)

    def flat(shape, value):
        return np.full(shape, value, np.uint8)

    waves, small = smooth(2, 40, 33, 3), (2, 24, 24, 1)
    noise = random.integers(0, 256, waves.shape, dtype=np.uint8)
    large, odd = smooth(2, 176, 192, 3), smooth(2, 161, 163, 1)
    cases = {
        "noise": (noise, random.integers(0, 256, noise.shape, dtype=np.uint8), 255),
        "noisy": (waves, around(waves, 12), 255),
        "barely": (waves, around(waves, 0.3), 255),
        "inverted": (waves, 255 - waves, 255),
        "dark": (around(flat(small, 2), 0.7), around(flat(small, 3), 0.7), 255),
        "bright": (around(flat(small, 251), 0.7), around(flat(small, 252), 0.7), 255),
        "even": (flat(small, 3), flat(small, 250), 255),
        "smallest": (noise[:, :11, :11], around(noise[:, :11, :11], 40), 255),
        "unit": ((waves / 255).astype(np.float32), (around(waves, 20) / 255).astype(np.float32), 1),
        "signed": ((waves / 127.5 - 1).astype(np.float32), (around(waves, 5) / 127.5 - 1).astype(np.float32), 2),
        "large": (large, around(large, 25), 255),
        "large barely": (large, around(large, 0.3), 255),
        "large inverted": (large, np.where([True, False, False], 255 - large, around(large, 25)), 255),
        "large bright": (around(flat(large.shape, 251), 0.7), around(flat(large.shape, 252), 0.7), 255),
        "large dimmed": (large, (large // 4).astype(np.uint8), 255),
        "odd": (odd, around(odd, 60), 255),
    }
    return {name: (a, b, float(data_range)) for name, (a, b, data_range) in cases.items()}


def latents():
    """Pairs of latents by case, with t: normal ones, by layers, and those that need care (in line, opposite, none)."""
    random = np.random.default_rng(6)
    a, b = random.normal(size=(2, 20, LATENT)).astype(np.float32)
    layered = random.normal(size=(2, 4, 3, LATENT)).astype(np.float32)
    special = np.stack([a[0], a[0], a[1], 0 * a[1]]), np.stack([a[0], 2 * a[0], -a[1], b[1]])
    return {"normal": (a, b, 0.3), "end": (a, b, 1e-4), "layered": (*layered, 0.75), "special": (*special, 0.25)}


def path_latents(mode):
    """Both ends of PATHS ways, as torch-fidelity draws them with its default seed: normal; uniform and scaled to length
    1 where the interpolation scales too."""
    random = np.random.RandomState(2020)
    if mode != "slerp_unit":
        return tuple(random.randn(PATHS, LATENT).astype(np.float32) for _ in range(2))
    uniform = (random.rand(PATHS, LATENT).astype(np.float32) for _ in range(2))
    return tuple(each / np.linalg.norm(each, axis=1, keepdims=True) for each in uniform)


def toy_generator(latents, tanh):
    """Latents [B, 6] to images [B, 4, 4, 3] in [-1, 1]; tanh is that of the arrays given."""
    weights = np.random.default_rng(7).normal(size=(LATENT, 48)).astype(latents.dtype) / 4
    return tanh(latents @ weights).reshape(-1, 4, 4, 3)


def network_weights(net):
    """Random weights by the names of torchvision's state dict, and of the lpips package's; scaled so that every stage
    answers (He et al. 2015)."""
    random = np.random.default_rng(8)
    backbone = {}
    for index, inputs, outputs, kernel in CONVOLUTIONS[net]:
        shape = (outputs, inputs, kernel, kernel)
        scale = np.float32(np.sqrt(2 / (inputs * kernel**2)))
        backbone[f"features.{index}.weight"] = random.standard_normal(shape, np.float32) * scale
        backbone[f"features.{index}.bias"] = random.standard_normal(outputs, np.float32) * np.float32(0.1)
    linear = {
        f"lin{i}.model.1.weight": random.random((1, channels, 1, 1), np.float32)
        for i, channels in enumerate(CHANNELS[net])
    }
    return backbone, linear


def network_images(net):
    """Two batches of images [3, H, W, 3] in [-1, 1]: far, near and all but equal pairs."""
    random = np.random.default_rng(9)
    a = random.uniform(-1, 1, (3, *SIZES[net], 3))
    b = random.uniform(-1, 1, a.shape)
    share = np.array([1, 0.2, 0.001])[:, None, None, None]
    return a.astype(np.float32), (a + share * (b - a)).astype(np.float32)


def of_pairs(torch, skimage_metrics, pytorch_msssim):
    arrays = {}
    for name, (a, b, data_range) in pairs().items():
        arrays[f"{name}/sum"] = np.array([a.sum(dtype=np.float64), b.sum(dtype=np.float64)])
        a, b = a.astype(np.float64), b.astype(np.float64)
        each = list(zip(a, b, strict=True))
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
        arrays[f"{name}/psnr"] = [skimage_metrics.peak_signal_noise_ratio(*x, data_range=data_range) for x in each]
        arrays[f"{name}/ssim"] = [
            skimage_metrics.structural_similarity(*x, data_range=data_range, **options) for x in each
        ]
        tensors = [torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in (a, b)]
        options = {"data_range": data_range, "size_average": False}
        arrays[f"{name}/ssim_torch"] = pytorch_msssim.ssim(*tensors, **options).numpy()
        if min(a.shape[1:3]) > 160:
            arrays[f"{name}/ms_ssim"] = pytorch_msssim.ms_ssim(*tensors, **options).numpy()
    return arrays


def of_paths(torch, torch_fidelity):
    """torch-fidelity's interpolations, and its whole path length with a squared distance in place of LPIPS."""
    from torch_fidelity import noise

    arrays = {}
    ours = {"lerp": noise.batch_lerp, "slerp_any": noise.batch_slerp_any, "slerp_unit": noise.batch_slerp_unit}
    for name, (a, b, t) in latents().items():
        for mode, interpolate in ours.items():
            arrays[f"{name}/{mode}"] = interpolate(torch.from_numpy(a).double(), torch.from_numpy(b).double(), t)

    class Generator(torch_fidelity.GenerativeModelBase):
        z_size, z_type, num_classes = LATENT, "normal", 0

        def __init__(self, mode):
            super().__init__()
            self.z_type = "unit" if mode == "slerp_unit" else "normal"

        def forward(self, z):
            seen.append(z.numpy())
            return torch.from_numpy(toy_generator(z.double().numpy(), np.tanh))

    class Squared(torch_fidelity.SampleSimilarityBase):
        def __init__(self, name, **options):
            super().__init__(name)

        def forward(self, a, b):
            return ((a - b) ** 2).sum(dim=(1, 2, 3))

    torch_fidelity.register_sample_similarity("squared", Squared)
    for mode, epsilon in itertools.product(ours, EPSILONS):
        seen: list[np.ndarray] = []
        found = torch_fidelity.metric_ppl.calculate_ppl(
            1, input1=Generator(mode), input1_model_num_samples=PATHS, cuda=False, verbose=False, batch_size=PATHS,
            ppl_reduction="none", ppl_sample_similarity="squared", ppl_z_interp_mode=mode, ppl_epsilon=epsilon,
        )  # fmt: skip
        if not np.allclose(seen[0][:PATHS], path_latents(mode)[0], rtol=1e-6, atol=0):
            raise SystemExit("torch-fidelity draws other latents than path_latents")
        for name, key in {"mean": "mean", "std": "std", "kept": "raw"}.items():
            arrays[f"ppl/{mode}/{epsilon:g}/{name}"] = found[f"perceptual_path_length_{key}"]
    return arrays


def of_networks(torch, lpips):
    arrays = {}
    for net in CONVOLUTIONS:
        backbone, linear = network_weights(net)
        model = lpips.LPIPS(pretrained=False, net=net, pnet_rand=True, verbose=False)
        state = model.state_dict()
        for name, array in backbone.items():
            (target,) = [key for key in state if key.startswith("net.slice") and key.endswith(name[len("features") :])]
            state[target] = torch.from_numpy(array)
        for name, array in linear.items():
            state[name] = state[name.replace("lin", "lins.", 1)] = torch.from_numpy(array)
        model.load_state_dict(state)
        images = network_images(net)
        tensors = [torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in images]
        _, single = model(*tensors, retPerLayer=True)
        _, layers = model.double()(*(x.double() for x in tensors), retPerLayer=True)
        off = [float((a / b - 1).abs().max()) for a, b in zip(single, layers, strict=True)]
        print(f"{net}, float32 against float64, relative: {off}")
        arrays[f"{net}/layers"] = np.stack([layer.numpy().reshape(-1) for layer in layers])
        arrays[f"{net}/sum"] = np.array([x.sum(dtype=np.float64) for x in (*images, *backbone.values())])
    return arrays


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that similarity tests compare with; needs torch.")
    parser.add_argument("--out", type=pathlib.Path, default="tests/golden", help="the folder to write to")
    out = parser.parse_args().out
    try:
        import lpips
        import pytorch_msssim
        import skimage.metrics
        import torch
        import torch_fidelity
        import torch_fidelity.metric_ppl
    except ImportError as error:
        raise SystemExit(f"make_golden_similarity needs packages that its docstring names: {error}") from None

    used = json.dumps(versions(*PACKAGES))
    with torch.no_grad():
        files = {
            "similarity": of_pairs(torch, skimage.metrics, pytorch_msssim) | of_paths(torch, torch_fidelity),
            "lpips": of_networks(torch, lpips),
        }
    for name, arrays in files.items():
        arrays = {key: np.asarray(array) for key, array in arrays.items()}
        np.savez_compressed(out / f"{name}.npz", versions=used, **arrays)
        print(f"wrote {len(arrays)} arrays to {out / name}.npz ({used})")


if __name__ == "__main__":
    main()
