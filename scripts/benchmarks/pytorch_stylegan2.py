"""StyleGAN2 as one writes it in PyTorch, from Karras et al. 2020 (arXiv 1912.04958) and 2020 (arXiv 2006.06676).

For `scripts.benchmarks.steps`, which times it, and `scripts.golden.stylegan2`, whose numbers `networks.stylegan2` is
held to. Parameters have the names and places of `networks.stylegan2`. Images are `[B, C, H, W]`.
"""

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scripts.benchmarks.pytorch_recipes import Setting

__all__ = ["Discriminator", "Generator", "iteration"]

FIR = (1.0, 3.0, 3.0, 1.0)


def active(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def normed(x: torch.Tensor) -> torch.Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    """A dense layer with an equalised rate."""

    def __init__(self, before: int, after: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.full((after,), bias / rate))
        self.rate, self.scale = rate, rate / math.sqrt(before)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class Conv(nn.Module):
    """A convolution with an equalised rate."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.scale, self.stride, self.padding = 1 / math.sqrt(before * kernel**2), stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class Filter(nn.Module):
    """The low-pass filter. `up`: zeros between pixels first; `down`: every second pixel after it."""

    def __init__(self, channels: int, before: int, after: int, *, up: bool = False, down: bool = False) -> None:
        super().__init__()
        taps = torch.tensor(FIR) / sum(FIR)
        self.register_buffer("kernel", (torch.outer(taps, taps) * (4 if up else 1)).expand(channels, 1, 4, 4).clone())
        self.pads, self.up, self.down, self.channels = (before, after, before, after), up, 2 if down else 1, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.up:  # a transposed convolution puts the zeros between; it pads by 3 and cuts what is too much
            before, after = self.pads[:2]
            x = F.conv_transpose2d(x, self.kernel, stride=2, groups=self.channels)
            return F.pad(x, (before - 3, after - 2, before - 3, after - 2))
        kernel = self.kernel.to(x.dtype)
        if self.pads[0] == self.pads[1]:
            return F.conv2d(x, kernel, stride=self.down, padding=self.pads[0], groups=self.channels)
        return F.conv2d(F.pad(x, self.pads), kernel, stride=self.down, groups=self.channels)


class Modulated(nn.Module):
    """A modulated convolution. `grouped`: kernels of each example, and a convolution by groups; otherwise scaled
    images, and one kernel."""

    def __init__(
        self, before: int, after: int, kernel: int, *, up: bool = False, demodulate: bool = True, grouped: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.scale, self.up, self.demodulate, self.grouped = 1 / math.sqrt(before * kernel**2), up, demodulate, grouped
        # With gain 4, as where zeros are put between pixels: the transposed convolution has done so.
        self.filter = Filter(after, 1, 1) if up else nn.Identity()
        if up:
            self.filter.kernel *= 4

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        weight = self.weight * self.scale
        pad = weight.shape[-1] // 2
        if self.grouped:
            kernels = weight[None] * style[:, None, :, None, None]
            if self.demodulate:
                kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
            batch, channels, *size = x.shape
            x = x.reshape(1, batch * channels, *size)
            if self.up:
                kernels = kernels.transpose(1, 2).reshape(batch * channels, -1, *weight.shape[2:])
                x = F.conv_transpose2d(x, kernels, stride=2, groups=batch)
            else:
                x = F.conv2d(x, kernels.reshape(-1, channels, *weight.shape[2:]), padding=pad, groups=batch)
            return self.filter(x.reshape(batch, -1, *x.shape[2:]))
        x = x * style[:, :, None, None]
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2) if self.up else F.conv2d(x, weight, padding=pad)
        x = self.filter(x)
        if not self.demodulate:
            return x
        factors = (style.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        return x * factors[:, :, None, None]


class MappingNetwork(nn.Module):
    def __init__(self, latent: int, features: int, layers: int, classes: int) -> None:
        super().__init__()
        self.classes, self.layers = classes, layers
        if classes:
            self.embed = Dense(classes, features)
        widths = [latent + (features if classes else 0), *[features] * layers]
        for i in range(layers):
            self.add_module(f"dense{i}", Dense(widths[i], widths[i + 1], rate=0.01))

    def forward(self, latent: torch.Tensor | None, label: torch.Tensor | None = None) -> torch.Tensor:
        parts = [] if latent is None else [normed(latent)]
        if self.classes:
            table = self.embed.weight
            parts.append(normed(self.embed(F.one_hot(label, self.classes).to(table.dtype))))
        x = torch.cat(parts, 1)
        for i in range(self.layers):
            x = active(self.get_submodule(f"dense{i}")(x))
        return x


class Styled(nn.Module):
    def __init__(self, before: int, after: int, side: int, style: int, *, up: bool, grouped: bool) -> None:
        super().__init__()
        self.affine = Dense(style, before, bias=1.0)
        self.conv = Modulated(before, after, 3, up=up, grouped=grouped)
        self.noise_strength, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(after))
        self.register_buffer("image", torch.randn(side, side))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x = self.conv(x, self.affine(w))
        noise = self.image
        if self.training:
            noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device, dtype=x.dtype)
        return active(x + noise * self.noise_strength + self.bias[:, None, None])


class ToImage(nn.Module):
    def __init__(self, before: int, channels: int, style: int, *, grouped: bool) -> None:
        super().__init__()
        self.affine = Dense(style, before, bias=1.0)
        self.conv = Modulated(before, channels, 1, demodulate=False, grouped=grouped)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.conv(x, self.affine(w)) + self.bias[:, None, None]


def sides_and_widths(size: int, features: int, most: int) -> list[tuple[int, int]]:
    return [(side, min(most, features * size // side)) for side in (4 << i for i in range(size.bit_length() - 2))]


class Generator(nn.Module):
    """latent `[B, L]`, labels `[B]` -> images. `w_avg` is a buffer that moves in training."""

    def __init__(
        self,
        size: int,
        channels: int,
        features: int,
        most: int,
        *,
        latent: int,
        style: int,
        mapping: int,
        classes: int = 0,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        levels = sides_and_widths(size, features, most)
        self.count = 2 * len(levels)
        self.map = MappingNetwork(latent, style, mapping, classes)
        self.register_buffer("w_avg", torch.zeros(style))
        self.constant = nn.Parameter(torch.randn(levels[0][1], 4, 4))
        width, number = levels[0][1], 0
        for i, (side, after) in enumerate(levels):
            for up in (False,) if side == 4 else (True, False):
                made = Styled(width, after, side, style, up=up, grouped=grouped)
                self.add_module(f"convs_{number}", made)
                width, number = after, number + 1
            self.add_module(f"images_{i}", ToImage(after, channels, style, grouped=grouped))
        self.enlarge = Filter(channels, 2, 1, up=True)

    def mapping(self, latent: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        w = self.map(latent, label)
        if self.training:
            self.w_avg.lerp_(w.detach().mean(0), 0.005)
        return w

    def synthesize(self, w: torch.Tensor) -> torch.Tensor:
        """w: `[B, K, D]`."""
        x = self.constant.expand(len(w), *self.constant.shape)
        image: Any = None
        for i in range(self.count - 1):
            x = self.get_submodule(f"convs_{i}")(x, w[:, i])
            if i % 2 == 0:
                own = self.get_submodule(f"images_{i // 2}")(x, w[:, i + 1])
                image = own if image is None else self.enlarge(image) + own
        return image

    def forward(self, latent: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.synthesize(self.mapping(latent, label)[:, None].expand(-1, self.count, -1))


class Block(nn.Module):
    def __init__(self, width: int, below: int) -> None:
        super().__init__()
        self.a, self.b = Conv(width, width, 3, 1, 1), Conv(width, below, 3, 2)
        self.short = Conv(width, below, 1, bias=False)
        self.before, self.down = Filter(width, 2, 2), Filter(width, 1, 1, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = active(self.b(self.before(active(self.a(x)))))
        return (y + self.short(self.down(x))) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """images, labels `[B]` -> logits `[B]`; groups of the minibatch's standard deviation are consecutive examples."""

    def __init__(
        self,
        size: int,
        channels: int,
        features: int,
        most: int,
        *,
        style: int = 0,
        mapping: int = 8,
        classes: int = 0,
        group: int = 4,
    ) -> None:
        super().__init__()
        levels, self.group, self.classes, self.style = sides_and_widths(size, features, most), group, classes, style
        self.from_image = Conv(channels, features, 1)
        self.sides = [side for side, _ in levels[:0:-1]]
        for (_, below), (side, width) in zip(levels[-2::-1], levels[:0:-1], strict=True):
            self.add_module(f"block{side}", Block(width, below))
        width = levels[0][1]
        self.conv = Conv(width + 1, width, 3, 1, 1)
        self.dense, self.judge = Dense(16 * width, width), Dense(width, style if classes else 1)
        if classes:
            self.map = MappingNetwork(0, style, mapping, classes)

    def forward(self, image: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        x = active(self.from_image(image))
        for side in self.sides:
            x = self.get_submodule(f"block{side}")(x)
        groups = x.reshape(-1, self.group, *x.shape[1:])
        deviation = (groups.var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        extra = deviation.repeat_interleave(self.group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        x = active(self.conv(torch.cat([x, extra], 1)))
        x = self.judge(active(self.dense(x.flatten(1))))
        if not self.classes:
            return x[:, 0]
        return (x * self.map(None, label)).sum(1) / math.sqrt(self.style)


def r1(judge: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """The mean squared gradient of D at real images."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def mixed(w: torch.Tensor, other: torch.Tensor, count: int, share: float) -> torch.Tensor:
    """w `[B, K, D]`, which in so large a share of the images is another one from a random layer on."""
    cut = torch.randint(1, count, (len(w), 1), device=w.device)
    cut = torch.where(torch.rand(len(w), 1, device=w.device) < share, cut, count)
    first = torch.arange(count, device=w.device)[None] < cut
    return torch.where(first[:, :, None], w[:, None], other[:, None])


class Training:
    """Trains by one update of each player in every `step`, see `iteration`."""

    def __init__(self, options: Any, images: torch.Tensor, setting: Setting) -> None:
        self.options, self.images, self.setting, self.device = options, images, setting, images.device
        self.layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        size, channels = images.shape[2], images.shape[1]
        widths: dict[str, Any] = {"features": options.features, "most": options.max_features}
        styles = {"latent": options.latent_size, "style": options.latent_size, "mapping": options.mapping_layers}
        self.g: Any = Generator(size, channels, **widths, **styles).to(self.device, memory_format=self.layout)
        self.d: Any = Discriminator(size, channels, **widths).to(self.device, memory_format=self.layout)
        self.averaged = copy.deepcopy(self.g).requires_grad_(False)
        rates = {"lr": options.learning_rate, "betas": (options.beta1, options.beta2), "fused": setting.fused or None}
        self.g_adam, self.d_adam = (torch.optim.Adam(net.parameters(), **rates) for net in (self.g, self.d))
        self.synthesize, self.judge = self.g.synthesize, self.d
        if setting.compiled:
            how: dict[str, Any] = {"mode": "reduce-overhead"} if setting.graphs else {}
            self.synthesize, self.judge = (
                torch.compile(net, dynamic=False, **how) for net in (self.synthesize, self.judge)
            )
        self.length, self.order, self.count = torch.zeros((), device=self.device), torch.empty(0), 0

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.setting.autocast)

    def real(self) -> torch.Tensor:
        size, batches = self.options.batch_size, len(self.images) // self.options.batch_size
        if self.count % batches == 0:
            self.order = torch.randperm(len(self.images)).to(self.device)
        chosen = self.images[self.order[self.count % batches * size :][:size]]
        return (chosen.float() / 127.5 - 1).to(memory_format=self.layout)

    def styles(self) -> torch.Tensor:
        options = self.options
        shape = options.batch_size, options.latent_size
        w = self.g.mapping(torch.randn(*shape, device=self.device))
        other = self.g.map(torch.randn(*shape, device=self.device)) if options.mixing else w
        return mixed(w, other, self.g.count, options.mixing)

    def path_length(self, w: torch.Tensor) -> torch.Tensor:
        drawn = self.g.synthesize(w)
        noise = torch.randn_like(drawn) / math.sqrt(drawn.shape[2] * drawn.shape[3])
        (slope,) = torch.autograd.grad((drawn * noise).sum(), w, create_graph=True)
        length = slope.square().sum(2).mean(1).sqrt()
        self.length = self.length.lerp(length.detach().mean(), 0.01)
        return (length - self.length).square().mean()

    def step(self) -> None:
        options = self.options
        if self.setting.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        real = self.real()
        with self.precision():
            w = self.styles()
            fake = self.synthesize(w)
            loss = (F.softplus(-self.judge(real)) + F.softplus(self.judge(fake.detach()))).mean()
            if options.r1 and self.count % options.r1_every == 0:
                loss = loss + options.r1 / 2 * options.r1_every * r1(self.d, real)
        self.d_adam.zero_grad()
        loss.backward()
        self.d_adam.step()
        self.d.requires_grad_(False)  # whose gradients nobody would use
        with self.precision():
            loss = F.softplus(-self.judge(fake)).mean()
            if options.path_length and self.count % options.path_length_every == 0:
                loss = loss + options.path_length * options.path_length_every * self.path_length(w[::2])
        self.g_adam.zero_grad()
        loss.backward()
        self.g_adam.step()
        self.d.requires_grad_(True)
        with torch.no_grad():
            share = 1 - 0.5 ** (options.batch_size / options.ema_half_life)
            torch._foreach_lerp_([*self.averaged.parameters()], [*self.g.parameters()], share)
        self.count += 1


def iteration(options: Any, images: torch.Tensor, setting: Setting) -> Callable[[], None]:
    """Returns a function that trains by one update of each player on uint8 `images` `[N, C, H, W]`, as
    `experiments.stylegan2_mnist` does with these options: one generator pass for both, R1 and path length in every so
    many updates, averaged weights. What is differentiated twice isn't compiled, since it can't be."""
    return Training(options, images, setting).step
