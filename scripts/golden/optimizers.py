"""Write tests/golden/optimizers.npz: parameters as PyTorch's optimisers leave them, step after step.

    pip install torch==2.13.0
    python -m scripts.golden.optimizers --out tests/golden/optimizers.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch. What goes in
is `inputs()`, drawn from a seed, and stored too, so that a NumPy whose streams differ is told from an error.

    parameters/NAME          at the start
    gradients/NAME           [STEPS, ...], one of each parameter and step
    CASE/NAME                [STEPS, ...], the parameter after each step, for each case of CASES

Gradients are given, not computed: they don't depend on where the parameters are.
"""

import argparse

import numpy as np

STEPS, RATE = 5, 0.05
# What the options are called here -> torch's class and its arguments; `clip` is torch.nn.utils.clip_grad_norm_.
CASES = {
    "adam": ("Adam", {"betas": (0.5, 0.999)}),
    "adam_slow": ("Adam", {"betas": (0.9, 0.99)}),
    "adam_l2": ("Adam", {"betas": (0.5, 0.999), "weight_decay": 0.1}),
    "adamw": ("AdamW", {"betas": (0.5, 0.999), "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    "sgd": ("SGD", {}),
    "sgd_momentum": ("SGD", {"momentum": 0.9}),
    "sgd_l2": ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    "sgd_clip": ("SGD", {"clip": 1.5}),
    "all": ("AdamW", {"betas": (0.5, 0.999), "weight_decay": 0.1, "clip": 1.5}),
}


def inputs():
    """Parameters by name, and their gradients with a leading axis of steps. Some are as small as Adam's ε, some 0."""
    random = np.random.default_rng(0)
    shapes = {"bias": (3,), "kernel": (4, 3)}
    parameters = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    gradients = {name: random.normal(size=(STEPS, *shape)).astype(np.float32) for name, shape in shapes.items()}
    gradients["kernel"][:, 0] *= 1e-8
    gradients["kernel"][:, 1] = 0
    gradients["kernel"][1:3] *= 0.1  # steps that clipping leaves alone
    gradients["bias"][1:3] *= 0.1
    return parameters, gradients


def run(torch, kind, arguments):
    """Every parameter after each step, [STEPS, ...], by name."""
    parameters, gradients = inputs()
    arguments = dict(arguments)
    clip = arguments.pop("clip", None)
    tensors = {name: torch.nn.Parameter(torch.from_numpy(value).double()) for name, value in parameters.items()}
    optimizer = getattr(torch.optim, kind)(tensors.values(), lr=RATE, **arguments)
    seen = {name: [] for name in tensors}
    for step in range(STEPS):
        for name, tensor in tensors.items():
            tensor.grad = torch.from_numpy(gradients[name][step]).double()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(tensors.values(), clip)
        optimizer.step()
        for name, tensor in tensors.items():
            seen[name].append(tensor.detach().numpy().copy())
    return {name: np.stack(values).astype(np.float32) for name, values in seen.items()}


def main():
    parser = argparse.ArgumentParser(description="Write the optimisers' numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/optimizers.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit(
            "make_golden_optimizers needs torch, which is not installed: pip install torch==2.13.0"
        ) from None
    parameters, gradients = inputs()
    arrays = {f"parameters/{name}": value for name, value in parameters.items()}
    arrays |= {f"gradients/{name}": value for name, value in gradients.items()}
    for case, (kind, arguments) in CASES.items():
        arrays |= {f"{case}/{name}": value for name, value in run(torch, kind, arguments).items()}
    np.savez_compressed(out, **arrays)
    print(f"wrote {len(arrays)} arrays to {out} (torch {torch.__version__})")


if __name__ == "__main__":
    main()
