"""Codes between and beside other codes: mixed, moved and on the way from one to the next. Functions of arrays; codes
are `[N, K, D]`, one for each of K layers, see `jaxgan.training.recipe.gan.Latents`."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxgan.training.recipe.gan import between

__all__ = ["mixed", "moved", "walk"]


def mixed(codes: np.ndarray, styles: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    """Returns codes `[R, C, K, D]`: entry (i, j) is `codes[i]` but for the named layers, which are those of
    `styles[j]`. Style mixing, Karras et al. 2019 (arXiv 1812.04948), section 3.1. codes: `[R, K, D]`, styles: `[C, K,
    D]`. IndexError for a layer that there isn't."""
    found = np.broadcast_to(codes[:, None], (len(codes), *styles.shape)).copy()
    for layer in layers:
        if not 0 <= layer < codes.shape[1]:
            raise IndexError(f"there is no layer {layer}: layers are 0 to {codes.shape[1] - 1}")
        found[:, :, layer] = styles[:, layer]
    return found


def moved(codes: np.ndarray, directions: np.ndarray, amounts: np.ndarray, layers: Sequence[int]) -> np.ndarray:
    """Returns codes `[N, n, S, K, D]`: entry (i, j, s) is `codes[i]` with `amounts[j, s]` times `directions[j]` added
    in the named layers. codes: `[N, K, D]`, directions: `[n, D]`, amounts: `[n, S]`."""
    chosen = np.zeros((codes.shape[1], 1), np.float32)
    chosen[list(layers)] = 1
    steps = amounts[:, :, None, None] * chosen * directions[:, None, None]
    added: np.ndarray = codes[:, None, None] + steps[None].astype(np.float32)
    return added


def walk(stops: np.ndarray, frames: int, *, closed: bool, spherical: bool) -> np.ndarray:
    """Returns the points `[F, ...]` of a walk from stop to stop `[S, ...]`, S ≥ 2, with so many frames to each: from
    the first one to the last, F = (S - 1) · frames + 1, or, closed, back to the first, F = S · frames, of which the
    last leads on to the first.

    spherical: along great circles, on which points of N(0, I) keep their lengths (White 2016, arXiv 1609.04468);
    otherwise straight, as suits W. ValueError for fewer than two stops, or no frames."""
    if len(stops) < 2 or frames < 1:
        raise ValueError(f"a walk takes two stops or more and a frame to each, got {len(stops)} and {frames}")
    legs = np.arange(len(stops) if closed else len(stops) - 1)
    start, share = np.repeat(legs, frames), np.tile(np.arange(frames, dtype=np.float32) / frames, len(legs))
    if not closed:
        start, share = np.append(start, legs[-1]), np.append(share, np.float32(1))
    end = (start + 1) % len(stops)
    if spherical:
        return np.asarray(between(jnp.asarray(stops[start]), jnp.asarray(stops[end]), jnp.asarray(share[:, None])))
    part = share.reshape(-1, *[1] * (stops.ndim - 1))
    straight: np.ndarray = (1 - part) * stops[start] + part * stops[end]
    return straight
