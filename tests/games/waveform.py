"""HiFi-GAN's objective: Kong et al. 2020 (arXiv 2010.05646). Scales and periods of unequal length, feature matching."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import GANState, init_player, iteration, joint, update
from jaxgan.losses import least_squares
from jaxgan.terms.regularizers import feature_distance


def synthesize(nets, batch, draw, state):
    return nets["generator"](batch["mel"])


def generator(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    real, outputs = net(batch["wave"]), net(fake)
    return {
        "adversarial": least_squares.g(outputs["logits"]),
        "features": feature_distance(real["maps"], outputs["maps"]),
        "mel": jnp.abs(spectrum(fake) - spectrum(batch["wave"])),
    }


def discriminator(nets, batch, draw, state, fake):
    net = nets["discriminator"]
    return {"adversarial": least_squares.d(net(batch["wave"])["logits"], net(fake)["logits"])}


def make(axis_name=None, accumulate=None):
    how = {"make": synthesize, "axis_name": axis_name, "accumulate": accumulate or 1}
    d = update("discriminator", discriminator, **how)
    g = update("generator", generator, weights={"features": 2.0, "mel": 45.0}, **how)
    return iteration(joint(d, g)) if accumulate is None else iteration(d, g)


def spectrum(wave):
    """Returns logarithmic magnitudes of windows of 16 samples, in place of a mel spectrogram."""
    frames = jnp.stack([wave[:, i : i + 16, 0] for i in range(0, wave.shape[1] - 15, 8)], axis=1)
    window = jnp.asarray(np.hanning(16), jnp.float32)[None, None]
    parts = jnp.fft.rfft(frames * window)
    return jnp.log(jnp.sqrt(parts.real**2 + parts.imag**2 + 1e-3))


class Generator(nn.Module):
    """A generator: frames `[B, T / 4, M]` -> a waveform `[B, T, 1]`."""

    @nn.compact
    def __call__(self, mel):
        x = nn.ConvTranspose(4, (8,), (4,))(jnp.tanh(nn.Conv(4, (3,))(mel)))
        return jnp.tanh(nn.Conv(1, (5,))(jnp.tanh(x)))


class Judge(nn.Module):
    """A discriminator of two scales and a period of 3, which does not divide the length."""

    @nn.compact
    def __call__(self, wave):
        logits, maps = [], []

        def judge(x, kernel, stride):
            x = jnp.tanh(nn.Conv(4, kernel, stride)(x))
            maps.append(x)
            logits.append(nn.Conv(1, kernel)(x)[..., 0])

        judge(wave, (5,), (2,))
        judge((wave[:, ::2] + wave[:, 1::2]) / 2, (5,), (2,))
        judge(wave[:, : wave.shape[1] // 3 * 3].reshape(len(wave), -1, 3, 1), (3, 1), (2, 1))
        return {"logits": logits, "maps": maps}


def start(key=jax.random.key(0), tx=optax.identity()):  # noqa: B008 - constants
    pitch = jax.random.uniform(key, (8, 1, 1), minval=0.05, maxval=0.5)
    wave = jnp.sin(jnp.arange(32, dtype=jnp.float32)[None, :, None] * pitch)
    batch = {"wave": wave, "mel": jax.random.normal(key, (8, 8, 3))}
    g_key, d_key = jax.random.split(key)
    hyper = {"generator/learning_rate": 1e-3, "discriminator/learning_rate": 0.05, "ema_half_life": 1e3}
    g, d = init_player(g_key, Generator(), tx, batch["mel"]), init_player(d_key, Judge(), tx, wave)
    return GANState.create(key, g, d, hyper=hyper), batch
