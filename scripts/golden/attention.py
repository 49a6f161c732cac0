"""Write tests/golden/attention.npz: self-attention built from PyTorch's layers, what went in and out, and gradients.

    pip install torch==2.13.0
    python -m scripts.golden.attention --out tests/golden/attention.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch. `CASES` are an
input `[B, H, W, C]` and the layer's fields, in the words of `jaxgan.networks.layers.SelfAttention`. Arrays are float32,
channels before pixels, named `CASE/WHAT`: `input`, `query`, `key`, `value`, `output`, the weights `[out, in]`, `gate`;
`result`; `up`, what the result's gradient is taken as; and the gradients of the sum of up · result, `input_gradient`,
`query_gradient`, ... .
"""

import argparse
from typing import Any

import numpy as np

CASES: dict[str, tuple[tuple[int, int, int, int], dict[str, Any]]] = {
    "pooled": ((2, 6, 4, 16), {}),
    "odd": ((2, 5, 7, 8), {}),
    "all": ((2, 4, 4, 8), {"pooled": False}),
    "shares": ((1, 4, 6, 12), {"query_share": 3, "value_share": 4}),
    "few": ((3, 2, 2, 3), {}),
}
WEIGHTS = ("query", "key", "value", "output")


def attended(torch: Any, x: Any, weights: Any, pooled: bool) -> Any:
    """The equations of arXiv 1805.08318, section 3, of PyTorch's functions: x `[B, C, H, W]`."""
    functional = torch.nn.functional
    query, key, value = (functional.conv2d(x, weights[name][:, :, None, None]) for name in WEIGHTS[:3])
    if pooled:
        key, value = functional.max_pool2d(key, 2), functional.max_pool2d(value, 2)
    # [B, 1, pixels, channels], and no division by the root of the channels.
    parts = (part.flatten(2).transpose(1, 2)[:, None] for part in (query, key, value))
    mean = functional.scaled_dot_product_attention(*parts, scale=1.0)[:, 0].transpose(1, 2)
    seen = functional.conv2d(mean.reshape(len(x), -1, *x.shape[2:]), weights["output"][:, :, None, None])
    return x + weights["gate"] * seen


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/attention.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.attention needs torch: pip install torch==2.13.0") from None
    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}

    def draw(*shape: int) -> Any:
        return torch.from_numpy(random.standard_normal(shape).astype(np.float32)).double().requires_grad_()

    for name, ((b, h, w, c), fields) in CASES.items():
        few, half = max(1, c // fields.get("query_share", 8)), max(1, c // fields.get("value_share", 2))
        leaves = {"input": draw(b, c, h, w), "query": draw(few, c), "key": draw(few, c), "value": draw(half, c)}
        leaves |= {"output": draw(c, half), "gate": draw()}
        result = attended(torch, leaves["input"], leaves, fields.get("pooled", True))
        up = draw(*result.shape)
        gradients = torch.autograd.grad((up * result).sum(), list(leaves.values()))
        found = leaves | {"result": result, "up": up}
        found |= {f"{leaf}_gradient": value for leaf, value in zip(leaves, gradients, strict=True)}
        arrays |= {f"{name}/{what}": value.detach().numpy().astype(np.float32) for what, value in found.items()}
    np.savez_compressed(out, **arrays)
    print(f"{out}: {len(CASES)} cases, {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
