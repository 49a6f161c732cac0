"""Write tests/golden/restoration.npz: what scikit-image says of the luma of pairs of images.

    pip install scikit-image==0.26.0
    python -m scripts.golden.restoration --out tests/golden

It computes in float64; its luma, from 16 to 235, is rounded here, halves up, as MATLAB's `rgb2ycbcr` of uint8 is. What
goes in follows from a seed, and the file keeps sums of it. The entry `versions` names the packages.

    CASE/luma        uint8 [B, H, W] of the first images
    CASE/psnr, ssim  [B], of borders cut by as much as `cases` says; the SSIM with the window of Wang et al.
"""

import argparse
import importlib.metadata
import json
import pathlib

import numpy as np

PACKAGES = ("scikit-image", "numpy")


def cases():
    """Pairs of images [B, H, W, 3] by case, with the border."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:37, :29]
    waves = np.stack([128 + 90 * np.sin(x / 3 + y / 11), 128 + 90 * np.cos(y / 5), 255 * (x > y)], -1)
    waves = np.stack([waves, waves[:, ::-1]])
    noisy = np.clip(np.round(waves + random.normal(0, 15, waves.shape)), 0, 255).astype(np.uint8)
    waves = np.clip(np.round(waves), 0, 255).astype(np.uint8)
    coloured = waves.copy()
    coloured[..., 2] = 255 - coloured[..., 2]  # of which blue, the least of luma, differs alone
    smallest = random.integers(0, 256, (2, 2, 11, 11, 3), np.uint8)
    return {"noisy": (waves, noisy, 4), "coloured": (waves, coloured, 2), "whole": (*smallest, 0)}


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that scores of the luma are compared with.")
    parser.add_argument("--out", type=pathlib.Path, default="tests/golden", help="the folder to write to")
    out = parser.parse_args().out
    try:
        from skimage.color import rgb2ycbcr
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    except ImportError as error:
        raise SystemExit(f"restoration needs the package that its docstring names: {error}") from None
    arrays = {}
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for name, (a, b, border) in cases().items():
        lumas = [np.floor(rgb2ycbcr(x)[..., 0] + 0.5) for x in (a, b)]
        arrays[f"{name}/luma"] = lumas[0].astype(np.uint8)
        inside = slice(border, -border or None)
        each = [tuple(x[inside, inside] for x in pair) for pair in zip(*lumas, strict=True)]
        arrays[f"{name}/psnr"] = np.array([peak_signal_noise_ratio(*x, data_range=255) for x in each])
        arrays[f"{name}/ssim"] = np.array([structural_similarity(*x, data_range=255, **window) for x in each])
        arrays[f"{name}/sum"] = np.array([a.sum(dtype=np.float64), b.sum(dtype=np.float64)])
    used = json.dumps({name: importlib.metadata.version(name) for name in PACKAGES})
    np.savez_compressed(out / "restoration.npz", versions=used, **arrays)
    print(f"wrote {len(arrays)} arrays to {out / 'restoration.npz'} ({used})")


if __name__ == "__main__":
    main()
