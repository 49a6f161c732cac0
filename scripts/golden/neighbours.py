"""Write tests/golden/neighbours.json: precision, recall, density and coverage as their authors' package has them.

    pip install prdc==0.2 scikit-learn==1.9.1 numpy==2.4.6
    python -m scripts.golden.neighbours --out tests/golden/neighbours.json

The file names the versions it was made with. Only this script needs prdc. The features are `cases()`, drawn from seeds:
the test that reads the file draws them again.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from jaxgan.versions import versions

KS = (1, 3, 5, 10)


def cases():
    """Pairs (real `[N, D]`, generated `[M, D]`) by name."""
    random = np.random.default_rng(0)

    def normal(*shape, scale=1.0, shift=0.0):
        return shift + scale * random.standard_normal(shape)

    def lattice(count, high, size):
        return random.integers(0, high, (count, size)).astype(np.float64)

    same = normal(120, 8)
    return {
        "alike": (normal(300, 8), normal(250, 8)),
        "narrower": (normal(200, 8), normal(300, 8, scale=0.7)),
        "wider": (normal(300, 8), normal(200, 8, scale=1.5)),
        "shifted": (normal(250, 3), normal(250, 3, shift=0.8)),
        "apart": (normal(60, 3), normal(50, 3, shift=50)),
        "collapsed": (normal(150, 3), normal(1, 3) + normal(150, 3, scale=0.01)),
        "wide features": (normal(80, 512), normal(90, 512, scale=1.02)),
        "float32": (normal(300, 8).astype(np.float32), normal(300, 8, scale=0.95).astype(np.float32)),
        "far from the origin": (normal(200, 8, shift=1e3), normal(220, 8, shift=1e3, scale=0.9)),
        "float32 far from the origin": tuple(normal(150, 8, shift=100.0).astype(np.float32) for _ in range(2)),
        "in planes": (normal(200, 2) @ normal(2, 8), normal(200, 2) @ normal(2, 8)),
        "against itself": (same, same.copy()),
        # Whole numbers: prdc's distances are exact, and many are equal to a radius, or 0.
        "lattice": (lattice(200, 4, 3), lattice(170, 4, 3)),
        "large lattice": (lattice(300, 9, 3), lattice(280, 8, 3)),
        "copies": (lattice(100, 2, 3), lattice(100, 2, 3)),
        "rectified": tuple(np.maximum(normal(count, 3, shift=-1.3), 0) for count in (200, 170)),
        "constant": (np.zeros((70, 3)), np.zeros((65, 3))),
        "constant, and one that isn't": (np.zeros((70, 3)), normal(65, 3)),
        "few": (normal(12, 3), normal(13, 3)),
    }


def main():
    parser = argparse.ArgumentParser(description="Write the scores that tests compare with; needs prdc.")
    parser.add_argument("--out", default="tests/golden/neighbours.json", help="the file to write")
    out = Path(parser.parse_args().out)
    try:
        import prdc
    except ImportError:
        raise SystemExit(
            "make_golden_neighbours needs prdc, which is not installed: pip install prdc==0.2 scikit-learn==1.9.1"
        ) from None

    scores = {}
    with contextlib.redirect_stdout(io.StringIO()):  # prdc prints
        for name, (real, fake) in cases().items():
            found = {k: prdc.compute_prdc(real, fake, k) for k in KS}
            scores[name] = {k: {key: float(value) for key, value in each.items()} for k, each in found.items()}
    used = versions("prdc", "scikit-learn", "numpy")
    out.write_text(json.dumps({"versions": used, "scores": scores}, indent=1) + "\n")
    print(f"wrote the scores of {len(scores)} pairs to {out} ({used})")


if __name__ == "__main__":
    main()
