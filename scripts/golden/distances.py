"""Write tests/golden/distances.json: Fréchet and kernel distances and inception scores as other packages have them.

    pip install torch==2.13.0 torchvision==0.28.0 torch-fidelity==0.4.0 pytorch-fid==0.3.0 scipy==1.17.1 mpmath==1.3.0
    python -m scripts.golden.distances --out tests/golden/distances.json

The file names the versions it was made with. Only this script needs them. What is measured is `pairs()` and `logits()`,
drawn from seeds: the tests that read the file draw it again. torch-fidelity is given float64 (`torch-fidelity`) and, as
it computes by itself, float32 (`torch-fidelity float32`). `sqrtm` is the textbook's formula with SciPy's root of a
matrix. `mpmath` is the Fréchet distance in 50 digits, from the singular values of the product of the centred features,
for the small pairs: it says which of the others to believe.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from jaxgan.versions import versions

SMALL = 40  # samples and dimensions that 50 digits are computed for
SUBSETS = {"subsets": 7, "subset_size": 40, "seed": 5}
DEFAULTS = {"subsets": 10, "subset_size": 1000, "seed": 2020}  # torch-fidelity's, of its 100 subsets the first ten
SPLITS = (1, 3, 10)


def pairs():
    """Pairs of float32 features (real `[N, D]`, generated `[M, D]`) by name."""
    random = np.random.default_rng(0)

    def normal(count, size):
        return random.standard_normal((count, size))

    def mixed(size):
        return random.standard_normal((size, size)) / np.sqrt(size)

    one, two, spread = mixed(64), mixed(256), 10 ** random.uniform(-3, 3, 64)
    small, scales = mixed(16), 10 ** random.uniform(-3, 2, 16)
    found = {
        "alike": (normal(500, 64) @ one, normal(400, 64) @ one),
        "shifted": (normal(300, 64) @ one, 0.3 + normal(300, 64) @ one),
        "far from the origin": (10 + normal(300, 64) @ one, 10.2 + 1.1 * normal(300, 64) @ one),
        "fewer samples than dimensions": (normal(100, 256) @ two, 1.2 * normal(120, 256) @ two),
        "one with fewer samples": (normal(100, 64) @ one, 1.2 * normal(50, 64) @ one),
        "rectified": tuple(np.maximum(normal(count, 256) @ two - 0.5, 0) for count in (400, 350)),
        "heavy tails": (np.exp(1.5 * normal(400, 128)), np.exp(1.5 * normal(300, 128) + 0.2)),
        "of many scales": (normal(300, 64) @ one * spread, 1.3 * normal(300, 64) @ one * spread),
        "small": (normal(40, 16) @ small, 0.2 + 0.9 * normal(40, 16) @ small),
        "small, of many scales": (normal(40, 16) @ small * scales, 1.3 * normal(40, 16) @ small * scales),
        "small, heavy tails": (np.exp(1.5 * normal(40, 16)), np.exp(1.5 * normal(40, 16) + 0.2)),
        "small, fewer samples": (normal(40, 16) @ small, 1.2 * normal(9, 16) @ small),
        "small, fewer samples, both": (normal(10, 16) @ small, 1.2 * normal(12, 16) @ small),
        # For subsets of the usual size, and just enough samples.
        "a thousand": (normal(1200, 8) @ mixed(8), normal(1000, 8) @ mixed(8)),
    }
    return {name: tuple(x.astype(np.float32) for x in pair) for name, pair in found.items()}


def logits():
    """Float32 logits `[N, K]` by name."""
    random = np.random.default_rng(1)
    found = {
        "ten classes": 3 * random.standard_normal((1000, 10)),
        "not whole splits": 5 * random.standard_normal((997, 10)) + np.arange(10),
        "many classes": 4 * random.standard_normal((300, 1008)),
        "as many images as splits": random.standard_normal((10, 5)),
    }
    return {name: x.astype(np.float32) for name, x in found.items()}


def in_many_digits(mpmath, a, b):
    """‖μₐ - μᵦ‖² + tr A + tr B - 2 ‖XYᵀ‖ in the nuclear norm, where X and Y are centred, over √(N - 1)."""

    def centred(x):
        x = mpmath.matrix(x.tolist())
        means = [mpmath.fsum(x[i, j] for i in range(x.rows)) / x.rows for j in range(x.cols)]
        root = mpmath.sqrt(x.rows - 1)
        return means, mpmath.matrix([[(x[i, j] - means[j]) / root for j in range(x.cols)] for i in range(x.rows)])

    with mpmath.workdps(50):
        (mean_a, x), (mean_b, y) = centred(a), centred(b)
        product = x * y.T
        gram = product.T * product if product.cols < product.rows else product * product.T
        roots = [mpmath.sqrt(max(value, 0)) for value in mpmath.eigsy(gram, eigvals_only=True)]
        between = mpmath.fsum((p - q) ** 2 for p, q in zip(mean_a, mean_b, strict=True))
        return float(between + mpmath.fsum(v**2 for v in x) + mpmath.fsum(v**2 for v in y) - 2 * mpmath.fsum(roots))


def main():
    parser = argparse.ArgumentParser(description="Write the distances that tests compare with.")
    parser.add_argument("--out", default="tests/golden/distances.json", help="the file to write")
    out = parser.parse_args().out
    try:
        import mpmath
        import scipy.linalg
        import torch
        from pytorch_fid.fid_score import calculate_frechet_distance
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
        from torch_fidelity.metric_isc import isc_features_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric
    except ImportError as error:
        raise SystemExit(f"make_golden_distances needs {error.name}: see the packages to install at its top") from None

    def frechet(a, b):
        found = {}
        for key, x, y in (("torch-fidelity float32", a, b), ("torch-fidelity", a.astype(float), b.astype(float))):
            statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
            found[key] = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
        moments = [(x.mean(axis=0, dtype=float), np.cov(x.astype(float), rowvar=False)) for x in (a, b)]
        try:
            found["pytorch-fid"] = float(calculate_frechet_distance(*moments[0], *moments[1]))
        except (ValueError, TypeError) as error:  # an imaginary part that is too large; an argument SciPy no longer has
            print(f"pytorch-fid: {error}", file=sys.stderr)
        (mean_a, cov_a), (mean_b, cov_b) = moments
        root = scipy.linalg.sqrtm(cov_a @ cov_b)
        found["sqrtm"] = float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real))
        if max(*a.shape, *b.shape) <= SMALL:
            found["mpmath"] = in_many_digits(mpmath, a.astype(float), b.astype(float))
        return found

    def kernel(a, b, subsets, subset_size, seed):
        options = {"kid_subsets": subsets, "kid_subset_size": subset_size, "rng_seed": seed, "verbose": False}
        found = {}
        for key, x, y in (("torch-fidelity float32", a, b), ("torch-fidelity", a.astype(float), b.astype(float))):
            score = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), **options)
            found[key] = [score["kernel_inception_distance_mean"], score["kernel_inception_distance_std"]]
        return found

    def inception(x, splits):
        score = isc_features_to_metric(torch.from_numpy(x), splits=splits)
        return [score["inception_score_mean"], score["inception_score_std"]]

    golden = {
        "versions": versions("torch-fidelity", "pytorch-fid", "torch", "numpy", "scipy", "mpmath"),
        "frechet": {name: frechet(a, b) for name, (a, b) in pairs().items()},
        "kernel": {
            name: kernel(a, b, **(DEFAULTS if name == "a thousand" else SUBSETS))
            for name, (a, b) in pairs().items()
            if min(len(a), len(b)) >= SUBSETS["subset_size"]
        },
        "inception": {name: {str(n): inception(x, n) for n in SPLITS} for name, x in logits().items()},
    }
    Path(out).write_text(json.dumps(golden, indent=1) + "\n")
    print(f"wrote {out}: {golden['versions']}")


if __name__ == "__main__":
    main()
