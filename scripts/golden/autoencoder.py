"""Write tests/golden/autoencoder.npz: VQGAN's autoencoder in PyTorch, what went in, what came out, and gradients.

    pip install torch==2.13.0
    python -m scripts.golden.autoencoder --out tests/golden/autoencoder.npz

The file in the repository was made with torch 2.13.0 on a CPU, in float64. Only this script needs torch; the test that
reads the file converts PyTorch's layout to ours. The network is written here from table 7 and equation 4 of Esser et
al. 2021 (arXiv 2012.09841) and, for codes compared by their angle, section 3.2 of Yu et al. 2022 (arXiv 2110.04627).
Arrays are float32, packed as in `scripts.golden.layers`, whose `read` takes them apart, and named
`CASE/encoder.LAYER/WHAT` with the layers' names in `networks.autoencoder`. `CASE/input_gradient` and
`CASE/codes_gradient` are of the sum of `CASE/up` times the image, plus the codebook's loss, plus a quarter of the
commitment, each summed over the batch.
"""

import argparse
import json

import numpy as np

WIDTHS, BLOCKS, CODES, CODE_SIZE, BATCH, SIZE = (4, 8), 1, 6, 3, 2, (8, 12)


def blocks(torch):
    """The classes of a residual and a non-local block, and the function that makes their norm."""
    nn, functional = torch.nn, torch.nn.functional

    def norm(width):
        return nn.GroupNorm(width // 4, width, eps=1e-6)

    class Residual(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.norm_a, self.a = norm(before), nn.Conv2d(before, after, 3, padding=1)
            self.norm_b, self.b = norm(after), nn.Conv2d(after, after, 3, padding=1)
            self.short = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

        def forward(self, x):
            y = self.a(functional.silu(self.norm_a(x)))
            return self.short(x) + self.b(functional.silu(self.norm_b(y)))

    class Attention(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm = norm(width)
            self.query, self.key, self.value, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))

        def forward(self, x):
            y = self.norm(x)
            # One head over the pixels, [B, 1, h·w, C].
            q, k, v = (part(y).flatten(2).transpose(1, 2)[:, None] for part in (self.query, self.key, self.value))
            y = functional.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
            return x + self.out(y)

    return Residual, Attention, norm


def coder(torch):
    """The class of encoder and decoder, whose layers are called in order."""
    nn, functional, (Residual, Attention, norm) = torch.nn, torch.nn.functional, blocks(torch)

    class Coder(nn.Module):
        def __init__(self, channels, out, decodes):
            super().__init__()
            self.layers, width = nn.ModuleDict(), WIDTHS[-1] if decodes else WIDTHS[0]
            self.layers["first"] = nn.Conv2d(channels, width, 3, padding=1)
            middle = {"middle_a": Residual(WIDTHS[-1], WIDTHS[-1]), "attention": Attention(WIDTHS[-1])}
            middle["middle_b"] = Residual(WIDTHS[-1], WIDTHS[-1])
            if decodes:
                self.layers.update(middle)
            levels = list(enumerate(WIDTHS))
            for i, after in reversed(levels) if decodes else levels:
                if i and not decodes:
                    self.layers[f"down{i}"] = nn.Conv2d(width, width, 3, stride=2, padding=1)
                for j in range(BLOCKS):
                    self.layers[f"level{i}_{j}"] = Residual(width, after)
                    width = after
                if i and decodes:
                    self.layers[f"up{i}"] = nn.Conv2d(width, WIDTHS[i - 1], 3, padding=1)
                    width = WIDTHS[i - 1]
            if not decodes:
                self.layers.update(middle)
            self.layers["norm"] = norm(width)
            if not decodes:
                self.layers["latents"] = nn.Conv2d(width, out, 3, padding=1)

        def forward(self, x):
            for name, layer in self.layers.items():
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest") if name.startswith("up") else x
                x = layer(x)
                x = functional.silu(x) if name == "norm" else x
            return x

    return Coder


def autoencoder(torch):
    """The class of the autoencoder."""
    nn, functional, Coder = torch.nn, torch.nn.functional, coder(torch)

    class Autoencoder(nn.Module):
        def __init__(self, channels, normalised):
            super().__init__()
            self.normalised = normalised
            self.encoder, self.decoder = Coder(channels, CODE_SIZE, False), Coder(CODE_SIZE, None, True)
            self.last = nn.Conv2d(WIDTHS[0], channels, 3, padding=1)
            self.codes = nn.Parameter(torch.zeros(CODES, CODE_SIZE))

        def forward(self, image):
            z, codes = self.encoder(image).permute(0, 2, 3, 1), self.codes
            if self.normalised:  # of length √D, the root mean square 1
                z, codes = (CODE_SIZE**0.5 * functional.normalize(x, dim=-1) for x in (z, codes))
            indices = torch.cdist(z.reshape(-1, CODE_SIZE), codes).argmin(-1).reshape(z.shape[:3])
            q = codes[indices]
            codebook, commitment = ((a - b).square().mean((1, 2, 3)) for a, b in ((z.detach(), q), (z, q.detach())))
            passed = z + (q - z).detach()
            image = self.last(self.decoder(passed.permute(0, 3, 1, 2)))
            return {"latents": z, "indices": indices, "codebook": codebook, "commitment": commitment, "image": image}

    return Autoencoder


def main():
    parser = argparse.ArgumentParser(description="Write the numbers that tests compare with; needs torch.")
    parser.add_argument("--out", default="tests/golden/autoencoder.npz", help="the file to write")
    out = parser.parse_args().out
    try:
        import torch
    except ImportError:
        raise SystemExit("scripts.golden.autoencoder needs torch: pip install torch") from None
    torch.set_default_dtype(torch.float64)
    random, arrays = np.random.default_rng(0), {}
    for case, channels, normalised in (("euclidean", 3, False), ("angular", 1, True)):
        net = autoencoder(torch)(channels, normalised)
        for name, value in net.named_parameters():
            shape = tuple(value.shape)
            numbers = random.standard_normal(shape)
            if "norm" in name and name.endswith("weight"):
                numbers = random.uniform(0.2, 1.2, shape)
            elif len(shape) > 2:
                numbers *= np.sqrt(2 / np.prod(shape[1:]))
            with torch.no_grad():
                value.copy_(torch.from_numpy(numbers.astype(np.float32)))
            arrays[f"{case}/{name.replace('.layers.', '/')}"] = value.detach().numpy().copy()
        x = torch.from_numpy(random.uniform(-1, 1, (BATCH, channels, *SIZE)).astype(np.float32)).double()
        up = random.standard_normal((BATCH, channels, *SIZE)).astype(np.float32)
        made = net(x.requires_grad_())
        total = (torch.from_numpy(up) * made["image"]).sum() + (made["codebook"] + 0.25 * made["commitment"]).sum()
        total.backward()
        arrays |= {f"{case}/input": x.detach().numpy(), f"{case}/up": up}
        arrays |= {f"{case}/{name}": value.detach().numpy() for name, value in made.items()}
        arrays |= {f"{case}/input_gradient": x.grad.numpy(), f"{case}/codes_gradient": net.codes.grad.numpy()}
    numbers = np.concatenate([np.ravel(array).astype(np.float32) for array in arrays.values()])
    np.savez_compressed(out, index=json.dumps({name: array.shape for name, array in arrays.items()}), numbers=numbers)
    print(f"{out}: {len(arrays)} arrays, torch {torch.__version__}")


if __name__ == "__main__":
    main()
