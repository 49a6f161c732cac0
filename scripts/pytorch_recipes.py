"""The tutorials' plain recipes as one writes them in PyTorch, for `scripts.compare_pytorch`: networks, losses, loop.

Options are those of a run of the experiment that has the recipe's name. Weights start as there: convolutions from
N(0, 0.02), dense layers from a truncated normal distribution of variance 1 / inputs, biases at 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus
from tqdm import trange

__all__ = ["RECIPES", "samples"]


class Recipe(NamedTuple):
    """latent: the shape of one. d_loss: `(discriminator, real, fake) -> what it pays`; g_loss of fake logits."""

    generator: nn.Module
    discriminator: nn.Module
    latent: tuple[int, ...]
    d_loss: Callable[..., torch.Tensor]
    g_loss: Callable[[torch.Tensor], torch.Tensor]
    critic_steps: int = 1


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


def dcgan(options: Any, batch_norm: bool = True) -> tuple[nn.Module, nn.Module]:
    """For 32 pixels, grey; the discriminator with batch norm or not."""
    w = options.features

    def norm(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width)] if batch_norm else []

    generator = nn.Sequential(
        *(nn.ConvTranspose2d(options.latent_size, 4 * w, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * w), nn.ReLU(True)),
        *(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * w), nn.ReLU(True)),
        *(nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(True)),
        *(nn.ConvTranspose2d(w, 1, 4, 2, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, w, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=not batch_norm), *norm(2 * w), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=not batch_norm), *norm(4 * w), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(4 * w, 1, 4, 1, 0), nn.Flatten(0)),
    )
    for module in [*generator, *discriminator]:
        if hasattr(module, "weight"):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return generator, discriminator


def cross_entropy(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (softplus(-judge(real)) + softplus(judge(fake))).mean()


def squares(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((judge(real) - 1) ** 2 + judge(fake) ** 2).mean()


def wasserstein_gp(weight: float) -> Callable[..., torch.Tensor]:
    def loss(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        mix = torch.rand(len(real), 1, 1, 1)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
        return judge(fake).mean() - judge(real).mean() + weight * penalty

    return loss


RECIPES: dict[str, Callable[[Any, int], Recipe]] = {
    "gan_mnist": lambda o, size: Recipe(
        *dense(o, size), (o.latent_size,), cross_entropy, lambda fake: softplus(-fake).mean()
    ),
    "dcgan_mnist": lambda o, size: Recipe(
        *dcgan(o), (o.latent_size, 1, 1), cross_entropy, lambda fake: softplus(-fake).mean()
    ),
    "lsgan_mnist": lambda o, size: Recipe(
        *dcgan(o), (o.latent_size, 1, 1), squares, lambda fake: 0.5 * ((fake - 1) ** 2).mean()
    ),
    "wgan_gp_mnist": lambda o, size: Recipe(
        *dcgan(o, batch_norm=False),
        *((o.latent_size, 1, 1), wasserstein_gp(o.penalty), lambda fake: -fake.mean(), o.critic_steps),
    ),
}


def samples(name: str, options: Any, seed: int, steps: int, images: np.ndarray, count: int) -> np.ndarray:
    """`count` uint8 images `[count, H, W, 1]` of the generator after `steps` updates on uint8 `images`."""
    torch.manual_seed(seed)
    generator, discriminator, latent, d_loss, g_loss, critic_steps = RECIPES[name](options, images.shape[1])
    rates = {"lr": options.learning_rate, "betas": (options.beta1, options.beta2)}
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), **rates) for net in (generator, discriminator))
    data, batch = torch.from_numpy(images).permute(0, 3, 1, 2), options.batch_size
    batches = len(data) // batch
    for step in trange(steps, desc=f"PyTorch, seed {seed}"):
        for number in range(step * critic_steps, (step + 1) * critic_steps):
            if number % batches == 0:
                order = torch.randperm(len(data))
            real = data[order[number % batches * batch :][:batch]].float() / 127.5 - 1
            if critic_steps == 1:  # both players share the fakes
                fake = generator(torch.randn(batch, *latent))
            else:
                with torch.no_grad():
                    fake = generator(torch.randn(batch, *latent))
            d_adam.zero_grad()
            d_loss(discriminator, real, fake.detach()).backward()
            d_adam.step()
        if critic_steps > 1:
            fake = generator(torch.randn(batch, *latent))
        g_adam.zero_grad()
        g_loss(discriminator(fake)).backward()
        g_adam.step()
    generator.eval()
    with torch.no_grad():
        drawn = torch.cat([generator(torch.randn(500, *latent)) for _ in range(-(-count // 500))])[:count]
    return ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
