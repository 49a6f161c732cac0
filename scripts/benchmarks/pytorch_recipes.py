"""The tutorials' plain recipes as one writes them in PyTorch: networks, losses, an iteration.

For `scripts.benchmarks.compare_pytorch`, which trains them, and `scripts.benchmarks.steps`, which times them. Options
are those of a run of the experiment that has the recipe's name. Weights start as there: convolutions from N(0, 0.02),
dense layers from a truncated normal distribution of variance 1 / inputs, biases at 0."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from jaxgan.terminal import progress_bar

__all__ = ["RECIPES", "Recipe", "Setting", "iteration", "samples"]


class Recipe(NamedTuple):
    """latent: the shape of one. d_loss: `(discriminator, real, fake) -> what it pays`; g_loss of fake logits, or, in
    `pairs`, of fake and real ones. twice: whether d_loss differentiates the discriminator by itself, which a compiled
    one can't follow."""

    generator: nn.Module
    discriminator: nn.Module
    latent: tuple[int, ...]
    d_loss: Callable[..., torch.Tensor]
    g_loss: Callable[..., torch.Tensor]
    critic_steps: int = 1
    twice: bool = False
    pairs: bool = False


class Setting(NamedTuple):
    """How PyTorch is to run a recipe."""

    compiled: bool = False
    channels_last: bool = False
    autocast: bool = False  # to bfloat16
    fused: bool = False  # Adam's updates of all parameters in one kernel
    graphs: bool = False  # of a compiled one: CUDA graphs, a launch for all of a network's kernels


EAGER = Setting()


def dense(options: Any, size: int) -> tuple[nn.Module, nn.Module]:
    w, pixels, drop = options.width, size * size, options.dropout
    widths = [(w, 2 * w), (2 * w, 4 * w)]
    generator = nn.Sequential(
        *(nn.Linear(options.latent_size, w), nn.LeakyReLU(0.2)),
        *(layer for a, b in widths for layer in (nn.Linear(a, b), nn.LeakyReLU(0.2))),
        *(nn.Linear(4 * w, pixels), nn.Tanh(), nn.Unflatten(1, (1, size, size))),
    )
    discriminator = nn.Sequential(
        *(nn.Flatten(), nn.Linear(pixels, 4 * w), nn.LeakyReLU(0.2), nn.Dropout(drop)),
        *(layer for a, b in widths[::-1] for layer in (nn.Linear(b, a), nn.LeakyReLU(0.2), nn.Dropout(drop))),
        *(nn.Linear(w, 1), nn.Flatten(0)),
    )
    for module in [*generator, *discriminator]:
        if isinstance(module, nn.Linear):
            # Cut off at two deviations, it keeps 0.8796 of one.
            std = module.in_features**-0.5 / 0.87962566
            nn.init.trunc_normal_(module.weight, 0.0, std, -2 * std, 2 * std)
            nn.init.zeros_(module.bias)
    return generator, discriminator


def dcgan(options: Any, size: int, channels: int, batch_norm: bool = True) -> tuple[nn.Module, nn.Module]:
    """For 32 or 64 pixels; the discriminator with batch norm or not."""
    widths = [options.features * 2**i for i in range(size.bit_length() - 3)]  # from the image inwards
    outwards = [*zip(widths[:0:-1], widths[-2::-1], strict=True)]

    def norm(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width)] if batch_norm else []

    def up(before: int, after: int, *how: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(before, after, *how, bias=False), nn.BatchNorm2d(after), nn.ReLU(True)]

    def down(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 4, 2, 1, bias=not batch_norm), *norm(after), nn.LeakyReLU(0.2)]

    generator = nn.Sequential(
        *up(options.latent_size, widths[-1], 4, 1, 0),
        *(layer for before, after in outwards for layer in up(before, after, 4, 2, 1)),
        *(nn.ConvTranspose2d(widths[0], channels, 4, 2, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)),
        *(layer for after, before in outwards[::-1] for layer in down(before, after)),
        *(nn.Conv2d(widths[-1], 1, 4, 1, 0), nn.Flatten(0)),
    )
    for module in [*generator, *discriminator]:
        if hasattr(module, "weight"):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return generator, discriminator


class Block(nn.Module):
    """A residual block of `networks.resnet`: `up`, the generator's, which doubles the image; `down`, which halves it;
    or neither. `first`: of images, no ReLU before its first convolution."""

    def __init__(self, channels: int, width: int, *, up: bool = False, down: bool = False, first: bool = False) -> None:
        super().__init__()
        norms = [nn.BatchNorm2d(channels), nn.BatchNorm2d(width)] if up else [nn.Identity(), nn.Identity()]
        resize = nn.Upsample(scale_factor=2) if up else nn.Identity()
        self.pool = nn.AvgPool2d(2) if down else nn.Identity()
        self.main = nn.Sequential(
            *(norms[0], nn.Identity() if first else nn.ReLU(), resize, nn.Conv2d(channels, width, 3, 1, 1)),
            *(norms[1], nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), self.pool),
        )
        short = [resize, nn.Conv2d(channels, width, 1)] if up else [self.pool, nn.Conv2d(channels, width, 1)]
        self.short = nn.Sequential(*short) if up or down else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x) + self.short(x)


class Sum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum((2, 3))


def residual(options: Any, size: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """Networks of `networks.resnet`; weights are as PyTorch draws them, since nobody looks at what they draw."""
    w, n = options.features, size.bit_length() - 3
    generator = nn.Sequential(
        *(nn.Linear(options.latent_size, 16 * w), nn.Unflatten(1, (w, 4, 4))),
        *(Block(w, w, up=True) for _ in range(n)),
        *(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, channels, 3, 1, 1), nn.Tanh()),
    )
    downs = (Block(channels if i == 0 else w, w, down=True, first=i == 0) for i in range(n - 1))
    discriminator = nn.Sequential(*downs, Block(w, w), Block(w, w), nn.ReLU(), Sum(), nn.Linear(w, 1), nn.Flatten(0))
    return generator, discriminator


class Scale(nn.Module):
    """A channel's learned image times a linear function of the latent."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.linear, self.basis = nn.Linear(latent, width, bias=False), nn.Parameter(torch.randn(width, 4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)[:, :, None, None] * self.basis


class Bottleneck(nn.Module):
    """A residual block of `networks.r3gan`."""

    def __init__(self, width: int, inner: int, groups: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv2d(width, inner, 1), nn.LeakyReLU(0.2), nn.Conv2d(inner, inner, 3, 1, 1, groups=groups)),
            *(nn.LeakyReLU(0.2), nn.Conv2d(inner, width, 1, bias=False)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.main(x)


def r3gan(options: Any, size: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """Networks of `networks.r3gan`, with PyTorch's own bilinear interpolation; weights are as PyTorch draws them."""
    widths, group, n = options.widths, options.group, len(options.widths)
    blocks = options.blocks if len(options.blocks) == n else options.blocks * n
    patch = size // (2 << n)

    def stage(i: int) -> list[nn.Module]:
        inner = options.expansion * widths[i]
        return [Bottleneck(widths[i], inner, inner // min(group, inner)) for _ in range(blocks[i])]

    def between(i: int) -> list[nn.Module]:
        return [nn.Conv2d(widths[i - 1], widths[i], 1, bias=False), nn.Upsample(scale_factor=2, mode="bilinear")]

    def back(i: int) -> list[nn.Module]:
        return [nn.AvgPool2d(2), nn.Conv2d(widths[i], widths[i - 1], 1, bias=False)]

    generator = nn.Sequential(
        *(Scale(options.latent_size, widths[0]), *stage(0)),
        *(layer for i in range(1, n) for layer in (*between(i), *stage(i))),
        *(nn.Conv2d(widths[-1], channels * patch**2, 1, bias=False), nn.PixelShuffle(patch)),
        *([nn.Tanh()] if options.tanh else []),
    )
    discriminator = nn.Sequential(
        *(nn.PixelUnshuffle(patch), nn.Conv2d(channels * patch**2, widths[-1], 1, bias=False)),
        *(layer for i in range(n - 1, 0, -1) for layer in (*stage(i), *back(i))),
        *(*stage(0), nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False)),
        *(nn.Flatten(), nn.Linear(widths[0], 1, bias=False), nn.Flatten(0)),
    )
    return generator, discriminator


def cross_entropy(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (softplus(-judge(real)) + softplus(judge(fake))).mean()


def squares(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((judge(real) - 1) ** 2 + judge(fake) ** 2).mean()


def wasserstein_gp(weight: float) -> Callable[..., torch.Tensor]:
    def loss(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        mix = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return judge(fake).mean() - judge(real).mean() + weight * penalty

    return loss


def relativistic(gamma: float) -> Callable[..., torch.Tensor]:
    """Pairs, with R1 and R2 on the passes that are there already."""

    def loss(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        images = [x.detach().requires_grad_() for x in (real, fake)]
        logits = [judge(x) for x in images]
        slopes = [torch.autograd.grad(y.sum(), x, create_graph=True)[0] for x, y in zip(images, logits, strict=True)]
        penalty = sum((slope.flatten(1) ** 2).sum(1).mean() for slope in slopes)
        return softplus(logits[1] - logits[0]).mean() + gamma / 2 * penalty

    return loss


RECIPES: dict[str, Callable[[Any, int, int], Recipe]] = {
    "gan_mnist": lambda o, size, channels: Recipe(
        *dense(o, size), (o.latent_size,), cross_entropy, lambda fake: softplus(-fake).mean()
    ),
    "dcgan_mnist": lambda o, size, channels: Recipe(
        *dcgan(o, size, channels), (o.latent_size, 1, 1), cross_entropy, lambda fake: softplus(-fake).mean()
    ),
    "lsgan_mnist": lambda o, size, channels: Recipe(
        *dcgan(o, size, channels), (o.latent_size, 1, 1), squares, lambda fake: 0.5 * ((fake - 1) ** 2).mean()
    ),
    "wgan_gp_mnist": lambda o, size, channels: Recipe(
        *dcgan(o, size, channels, batch_norm=False),
        *((o.latent_size, 1, 1), wasserstein_gp(o.penalty), lambda fake: -fake.mean(), o.critic_steps, True),
    ),
    "r3gan_mnist": lambda o, size, channels: Recipe(
        *r3gan(o, size, channels),
        (o.latent_size,),
        relativistic(o.r1),
        lambda fake, real: softplus(real - fake).mean(),
        twice=True,
        pairs=True,
    ),
    "residual": lambda o, size, channels: Recipe(
        *residual(o, size, channels), (o.latent_size,), cross_entropy, lambda fake: softplus(-fake).mean()
    ),
}


def iteration(recipe: Recipe, options: Any, images: torch.Tensor, setting: Setting = EAGER) -> Callable[[], None]:
    """Returns a function that trains the recipe's networks by one update of the generator on uint8 `images` `[N, C, H,
    W]`, on whose device they are."""
    device, batch, steps = images.device, options.batch_size, recipe.critic_steps
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    generator, discriminator = (
        net.to(device, memory_format=layout) for net in (recipe.generator, recipe.discriminator)
    )
    rates = {"lr": options.learning_rate, "betas": (options.beta1, options.beta2), "fused": setting.fused or None}
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), **rates) for net in (generator, discriminator))
    if setting.compiled:
        how: dict[str, Any] = {"mode": "reduce-overhead"} if setting.graphs else {}
        generator = torch.compile(generator, dynamic=False, **how)
        discriminator = discriminator if recipe.twice else torch.compile(discriminator, dynamic=False, **how)
    batches, number, order = len(images) // batch, 0, torch.empty(0)

    def precision() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=setting.autocast)

    def drawn() -> torch.Tensor:
        return generator(torch.randn(batch, *recipe.latent, device=device))

    def step() -> None:
        nonlocal number, order
        for _ in range(steps):
            if setting.graphs:  # what the graphs put out before may be overwritten from here on
                torch.compiler.cudagraph_mark_step_begin()
            if number % batches == 0:
                order = torch.randperm(len(images)).to(device)
            real = images[order[number % batches * batch :][:batch]].float() / 127.5 - 1
            number += 1
            # At one step each both players share the fakes.
            with precision(), contextlib.nullcontext() if steps == 1 else torch.no_grad():
                fake = drawn()
            d_adam.zero_grad()
            with precision():
                loss = recipe.d_loss(discriminator, real.to(memory_format=layout), fake.detach())
            loss.backward()
            d_adam.step()
        discriminator.requires_grad_(False)  # whose gradients nobody would use
        with precision():
            logits = discriminator(fake if steps == 1 else drawn())
            with torch.no_grad():
                others = [discriminator(real.to(memory_format=layout))] if recipe.pairs else []
            loss = recipe.g_loss(logits, *others)
        g_adam.zero_grad()
        loss.backward()
        g_adam.step()
        discriminator.requires_grad_(True)

    return step


def samples(name: str, options: Any, seed: int, steps: int, images: np.ndarray, count: int) -> np.ndarray:
    """`count` uint8 images `[count, H, W, 1]` of the generator after `steps` updates on uint8 `images`."""
    torch.manual_seed(seed)
    recipe = RECIPES[name](options, images.shape[1], images.shape[3])
    step = iteration(recipe, options, torch.from_numpy(images).permute(0, 3, 1, 2))
    with progress_bar(steps, f"PyTorch, seed {seed}", unit="steps") as bar:
        for _ in range(steps):
            step()
            bar.update(1)
    generator = recipe.generator.eval()
    with torch.no_grad():
        drawn = torch.cat([generator(torch.randn(500, *recipe.latent)) for _ in range(-(-count // 500))])[:count]
    return ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
