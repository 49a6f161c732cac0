"""Pictures of codes in rows and columns: truncation, style mixing, directions and walks. Stored examples out, which
`jaxgan.training.output.captions` lays out with what stands beside them."""

from collections.abc import Sequence

import numpy as np

from jaxgan.training.exploring.codes import mixed, moved, walk
from jaxgan.training.exploring.latent_space import Inputs, LatentSpace
from jaxgan.training.recipe.gan import Weights

__all__ = ["along_directions", "mixing_matrix", "truncation_sweep", "walked"]


def truncation_sweep(
    space: LatentSpace, inputs: Inputs, truncations: Sequence[float], *, weights: Weights = "ema"
) -> np.ndarray:
    """Returns the pictures `[N, T, H, W, C]` of N samples at T truncations, as in figure 8 of Karras et al. 2019 (arXiv
    1812.04948): 1 is the sample, 0 the mean code's picture, and below 0 lies the sample's opposite."""
    codes = space.codes(inputs, weights=weights)
    several = [space.truncated(codes, each, weights=weights) for each in truncations]
    return space.synthesize(np.stack(several, axis=1), inputs, weights=weights)


def mixing_matrix(
    space: LatentSpace,
    inputs: Inputs,
    styles: Inputs,
    layers: Sequence[int],
    *,
    weights: Weights = "ema",
    truncation: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the pictures of R samples `[R, H, W, C]`, of C others `[C, H, W, C]`, and `[R, C, H, W, C]` of the former
    with the styles of the latter in the named layers. Karras et al. 2019 (arXiv 1812.04948), figure 3."""
    rows, columns = (space.codes(each, weights=weights, truncation=truncation) for each in (inputs, styles))
    return (
        space.synthesize(rows, inputs, weights=weights),
        space.synthesize(columns, styles, weights=weights),
        space.synthesize(mixed(rows, columns, layers), inputs, weights=weights),
    )


def along_directions(
    space: LatentSpace,
    inputs: Inputs,
    directions: np.ndarray,
    amounts: np.ndarray,
    layers: Sequence[int],
    *,
    weights: Weights = "ema",
    truncation: float = 1.0,
) -> np.ndarray:
    """Returns the pictures `[N, n, S, H, W, C]` of N samples moved by `amounts` `[n, S]` along n unit vectors `[n, D]`
    in the named layers, from their codes after truncation."""
    codes = space.codes(inputs, weights=weights, truncation=truncation)
    return space.synthesize(moved(codes, directions, amounts, layers), inputs, weights=weights)


def walked(
    space: LatentSpace,
    inputs: Inputs,
    frames: int,
    *,
    closed: bool,
    mapped: bool,
    spherical: bool,
    weights: Weights = "ema",
    truncation: float = 1.0,
) -> np.ndarray:
    """Returns the pictures `[F, H, W, C]` of a walk from sample to sample, see `walk`, in w (`mapped`) or in z. In z
    the class of a conditional GAN stays that of the first sample. ValueError for a walk in w where there is none."""
    if mapped and not space.mapped:
        raise ValueError("this generator reads z itself and has no w: walk in z")
    stops = space.codes(inputs, weights=weights) if mapped else inputs["latent"]
    points = walk(stops, frames, closed=closed, spherical=spherical)
    first = {name: np.repeat(value[:1], len(points), axis=0) for name, value in inputs.items()}
    codes = points if mapped else space.codes({**first, "latent": points}, weights=weights)
    codes = space.truncated(codes, truncation, weights=weights)
    return space.synthesize(codes, first, weights=weights, what="walking")
