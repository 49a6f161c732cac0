"""Write tests/golden/layers.npz: PyTorch's layers, what went in, what came out, and the gradients.

    pip install torch==2.13.0
    python -m scripts.golden.layers --out tests/golden/layers.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. `CASES` are the layers, in the words of `jaxgan.networks.layers`.
One float32 array, `numbers`, holds the arrays that `index` (JSON) names and gives the shapes of; `read` takes them
apart. Their names are `CASE/WHAT`: `input`; PyTorch's names for learned arrays and buffers, before (`weight`, `u`) and
after (`u_after`) a pass in training; `output`; `up`, what the output's gradient is taken as; and the gradients of
the sum of up · output, `input_gradient`, `weight_gradient`, ... . A case's `labels` or `style` are its condition.
"""

import argparse
import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

SHAPES = {0: (2, 4), 1: (2, 7, 4), 2: (2, 5, 4, 4), 3: (2, 3, 4, 3, 4)}  # by dimensions, channels last
FEATURES, CLASSES, STYLE = 4, 3, 3


class Case(NamedTuple):
    """A layer: its class, how many dimensions its images have, the fields it is given, and what is around its weights
    ("", "equalized" or "spectral") with which options."""

    layer: str
    dimensions: int
    fields: dict[str, Any] = {}  # noqa: RUF012 - not changed
    around: str = ""
    options: dict[str, Any] = {}  # noqa: RUF012 - not changed


def _cases() -> dict[str, Case]:
    plain = {
        "plain": {"kernel": 3},
        "strided": {"kernel": 4, "stride": 2, "padding": 1},
        "groups": {"kernel": 3, "groups": 2, "padding": 1},
        "dilation": {"kernel": 2, "dilation": 2, "padding": 1},
        "all": {"kernel": 3, "stride": 2, "padding": 2, "groups": 4, "dilation": 2, "use_bias": False},
    }
    modes = {mode: {"kernel": 3, "padding": 2, "padding_mode": mode} for mode in ("reflect", "replicate", "circular")}
    doubled = {"kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}
    grouped = {"kernel": 3, "stride": 2, "groups": 2, "output_padding": 1}
    axes = {
        1: {"kernel": (3,), "stride": (2,), "padding": (1,)},
        2: {"kernel": (1, 3), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        3: {"kernel": (1, 3, 2), "stride": (2, 1, 1), "padding": (0, 2, 1), "dilation": (1, 2, 1)},
    }
    cases = {}
    for n in (1, 2, 3):
        both = plain | {"axes": axes[n]}
        found = {f"Conv/{name}": Case("Conv", n, fields) for name, fields in (both | modes).items()}
        more = {"doubled": doubled, "grouped": grouped}
        found |= {f"ConvTranspose/{name}": Case("ConvTranspose", n, fields) for name, fields in (both | more).items()}
        for layer in ("Conv", "ConvTranspose"):
            strided = Case(layer, n, plain["strided"])
            rate = {"gain": 1.3, "lr_multiplier": 0.1}
            found[f"{layer}/equalized"] = strided._replace(around="equalized", options=rate)
            found[f"{layer}/spectral"] = strided._replace(around="spectral")
            in_groups = Case(layer, n, plain["groups"])
            found[f"{layer}/spectral in groups"] = in_groups._replace(around="spectral", options={"turns": 3})
        found |= {name: Case(name, n) for name in ("BatchNorm", "InstanceNorm", "LayerNorm", "PixelNorm", "AdaIN")}
        found["GroupNorm"] = Case("GroupNorm", n, {"groups": 2, "epsilon": 1e-3})
        found["InstanceNorm/bare"] = Case("InstanceNorm", n, {"affine": False})
        found |= {name: Case(name, n) for name in ("ConditionalBatchNorm", "ConditionalInstanceNorm")}
        cases |= {f"{name}/{n}d": case for name, case in found.items()}
    cases |= {"Dense": Case("Dense", 0), "Embed": Case("Embed", 0), "PixelNorm/0d": Case("PixelNorm", 0)}
    for name in ("Dense", "Embed"):
        cases[f"{name}/spectral"] = cases[name]._replace(around="spectral")
        cases[f"{name}/equalized"] = cases[name]._replace(around="equalized", options={"lr_multiplier": 0.01})
    return cases


CASES = _cases()


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The file's arrays by name."""
    with np.load(path) as file:
        shapes, numbers = json.loads(str(file["index"])), file["numbers"]
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = np.split(numbers, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def weighted(case, torch):
    """PyTorch's layer with a `weight` of the cases `Conv`, `ConvTranspose`, `Dense` and `Embed`."""
    channels = SHAPES[case.dimensions][-1]
    if case.layer == "Embed":
        return torch.nn.Embedding(CLASSES, FEATURES)
    if case.layer == "Dense":
        return torch.nn.Linear(channels, FEATURES)
    names = {"kernel": "kernel_size", "use_bias": "bias"}
    fields = {names.get(name, name): value for name, value in case.fields.items()}
    return getattr(torch.nn, f"{case.layer}{case.dimensions}d")(channels, FEATURES, **fields)


def norm(case, torch):
    """(images, {name: learned array}, condition) -> images, of PyTorch's own functions, channels before pixels."""
    functional, channels = torch.nn.functional, SHAPES[case.dimensions][-1]
    by_batch = lambda x: functional.batch_norm(x, None, None, training=True)  # noqa: E731
    instances = functional.instance_norm

    def scaled(x, scale, bias):
        shape = (len(scale) if scale.ndim == 2 else 1, channels, *[1] * (x.ndim - 2))
        return x * scale.reshape(shape) + bias.reshape(shape)

    def by_class(normalised):
        table = functional.embedding
        return lambda x, p, labels: scaled(normalised(x), table(labels, p["weight"]), table(labels, p["bias"]))

    def ada_in(x, p, style):
        scale, bias = functional.linear(style, p["weight"], p["bias"]).split(channels, 1)
        return scaled(instances(x), 1 + scale, bias)

    return {
        "BatchNorm": lambda x, p, _: functional.batch_norm(x, None, None, p["weight"], p["bias"], training=True),
        "InstanceNorm": lambda x, p, _: instances(x, weight=p.get("weight"), bias=p.get("bias")),
        "GroupNorm": lambda x, p, _: functional.group_norm(x, 2, p["weight"], p["bias"], eps=1e-3),
        "LayerNorm": lambda x, p, _: scaled(functional.layer_norm(x, x.shape[1:]), p["weight"], p["bias"]),
        "PixelNorm": lambda x, p, _: functional.rms_norm(x.movedim(1, -1), (channels,), eps=1e-8).movedim(-1, 1),
        "ConditionalBatchNorm": by_class(by_batch),
        "ConditionalInstanceNorm": by_class(instances),
        "AdaIN": ada_in,
    }[case.layer]


def learned_by_norm(case, torch, draw):
    """A norm's arrays by PyTorch's names; none of what learns nothing."""
    channels = SHAPES[case.dimensions][-1]
    if case.layer == "PixelNorm" or not case.fields.get("affine", True):
        return {}
    shapes = {"weight": (channels,), "bias": (channels,)}
    if case.layer.startswith("Conditional"):
        shapes = dict.fromkeys(shapes, (CLASSES, channels))
    if case.layer == "AdaIN":
        shapes = {"weight": (2 * channels, STYLE), "bias": (2 * channels,)}
    return {name: draw(shape).requires_grad_() for name, shape in shapes.items()}


def run_weighted(case, torch, draw, x):
    """(output, {name: array before}, {name: leaf whose gradient counts}, {name: array after})."""
    layer = weighted(case, torch)
    leaves = {name: draw(tuple(value.shape)).requires_grad_() for name, value in layer.named_parameters()}
    call = lambda weights: torch.func.functional_call(layer, weights, (x,))  # noqa: E731
    if case.around == "equalized":
        weight, rate = leaves["weight"], case.options["lr_multiplier"]
        # What goes into one output: channels (of a transposed weight the first axis) times taps, or all classes.
        outputs = {"ConvTranspose": 1, "Embed": 1}.get(case.layer, 0)
        inputs = weight.numel() // weight.shape[outputs]
        used = {name: value * rate for name, value in leaves.items()}
        used["weight"] = used["weight"] * (case.options.get("gain", math.sqrt(2)) / math.sqrt(inputs))
        return call(used), leaves, leaves, {}
    if case.around != "spectral":
        return call(leaves), leaves, leaves, {}
    turns = case.options.get("turns", 1)
    layer = torch.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=turns).double().train()
    state = layer.parametrizations.weight[0]
    with torch.no_grad():
        for name, value in (("_u", state._u), ("_v", state._v)):
            setattr(state, name, draw(tuple(value.shape)))  # of any length: PyTorch's turn begins at v's direction
        layer.parametrizations.weight.original.copy_(leaves["weight"])
        if "bias" in leaves:
            layer.bias.copy_(leaves["bias"])
    before = {**leaves, "u": state._u.clone(), "v": state._v.clone()}
    output = layer(x)
    grown = {"weight": layer.parametrizations.weight.original, "bias": getattr(layer, "bias", None)}
    matrix = state._reshape_weight_to_matrix(leaves["weight"])
    after = {"u_after": state._u, "v_after": state._v, "sigma": state._u @ matrix @ state._v}
    return output, before, {name: value for name, value in grown.items() if value is not None}, after


def arrays_of(case, torch, random):
    """All of a case's arrays, by name."""

    def draw(shape):  # sixteenths, which the file holds in less room
        return torch.from_numpy(np.round(16 * random.standard_normal(shape)) / 16)

    x = draw(SHAPES[case.dimensions]).movedim(-1, 1).contiguous().requires_grad_()
    labels, condition, after = torch.tensor([2, 0]), {}, {}
    if case.layer in ("Conv", "ConvTranspose", "Dense"):
        output, before, leaves, after = run_weighted(case, torch, draw, x)
    elif case.layer == "Embed":
        condition["labels"] = torch.tensor([2, 0, 2, 1])
        output, before, leaves, after = run_weighted(case, torch, draw, condition["labels"])
    else:
        before = leaves = learned_by_norm(case, torch, draw)
        if case.layer.startswith("Conditional"):
            condition["labels"] = labels
        elif case.layer == "AdaIN":
            condition["style"] = draw((2, STYLE)).requires_grad_()
        output = norm(case, torch)(x, leaves, *condition.values() or (None,))
    up = draw(tuple(output.shape))
    wanted = {"input": x} if case.layer != "Embed" else {}
    wanted |= leaves | {name: value for name, value in condition.items() if value.requires_grad}
    gradients = torch.autograd.grad((up * output).sum(), list(wanted.values()))
    found = {"output": output, "up": up, **condition, **before, **after}
    found |= {"input": x} if case.layer != "Embed" else {}
    found |= {f"{name}_gradient": value for name, value in zip(wanted, gradients, strict=True)}
    return {name: value.detach().numpy() for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/layers.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("make_golden_layers needs torch, which is not installed: pip install torch==2.13.0") from None
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}
    for name, case in CASES.items():
        arrays |= {f"{name}/{what}": array for what, array in arrays_of(case, torch, random).items()}
    index = json.dumps({name: array.shape for name, array in arrays.items()})
    numbers = np.concatenate([array.reshape(-1) for array in arrays.values()]).astype(np.float32)
    np.savez_compressed(out, index=np.array(index), numbers=numbers)
    print(f"{out}: {len(CASES)} layers, {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
