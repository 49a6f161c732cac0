"""Whole pictures of a folder, degraded as a run's sources are, restored by it and scored against what they were: the
protocol in which super-resolution and restoration are compared."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import data
from jaxgan.data.sources.folder import FolderSource
from jaxgan.degrade import resize
from jaxgan.evaluation import OF_PAIRS, luma, pair_values, record
from jaxgan.evaluation.pairs import Networks, suited
from jaxgan.evaluation.scores import LUMA, pair_score
from jaxgan.media import Image
from jaxgan.nearest import perhaps
from jaxgan.terminal import align_columns, progress_bar
from jaxgan.training import OpenRun
from jaxgan.training.errors.usage import UsageError, refusals, require
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.recipe.gan import Translation
from jaxgan.training.scoring.judge import about_state
from jaxgan.training.scoring.measures import border_of, pair_networks
from jaxgan.training.scoring.report import mean_and_std, mean_std_text
from scripts.checkpoint_options import CheckpointOptions
from scripts.compared_sets import address_of
from scripts.translation_options import TranslationOptions, translation_inputs

__all__ = ["PictureOptions", "picture_table", "scored_pictures"]

Record = dict[str, Any]
Values = dict[str, list[float]]  # by metric, a value for each picture

AUTO = ("psnr_y", "ssim_y", "psnr", "ssim", "lpips", "perceptual")  # those of them that suit all pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureOptions(CheckpointOptions, FeatureOptions, TranslationOptions):
    """Which whole pictures are scored, and how they are translated."""

    pictures: str | None = None
    """Instead of the run's own data, a folder of pictures (or a .zip of one), each whole and at its own size, of a run
    that learned to undo what its sources have suffered: each is degraded like these, translated and compared with what
    it was."""


class Pair(NamedTuple):
    """A picture and what it was degraded to, uint8 `[1, H, W, C]` each. copied: the latter in the former's place,
    enlarged bicubically or as it is; None where it has other channels."""

    target: np.ndarray
    source: np.ndarray
    copied: np.ndarray | None


def scored_pictures(options: PictureOptions, run: OpenRun) -> list[Record]:
    """Returns the records of a run's scores on the pictures of `options.pictures`, the means over the pictures of each
    metric, of each of its GANs. UsageError or DataError where that can't be."""
    output, translation = _restoring(options, run)
    pictures = _opened(str(options.pictures))
    networks, border = pair_networks(options), border_of(translation)
    inputs = translation_inputs(run, options)
    members = [(each.number, run.member(each.number)) for each in run.members] or [(options.member, run)]
    how = {"weights": options.weights, "tile": options.tile, "overlap": options.overlap, **inputs}
    translators = [member.translator(output, **how) for _, member in members]
    made: list[Values] = [{} for _ in members]
    copied: Values = {}
    metrics: tuple[str, ...] | None = None  # those that suit all pictures so far
    content, lumas = hashlib.sha256(), 0
    with progress_bar(len(pictures) * len(members), "translating", unit="pictures") as bar:
        for number, title in enumerate(map(pictures.title, range(len(pictures)))):
            picture = pictures[number]
            channels = run.data.like(output).shape[-1]
            try:
                pair = _degraded(translation, _with_channels(picture, channels), number, options.seed)
                fitting = _metrics(options, pair.target.shape[1:], networks, border)
                metrics = tuple(metric for metric in metrics or fitting if metric in fitting)
                _add(copied, metrics, pair.copied, pair.target, networks, border)
                for translator, values in zip(translators, made, strict=True):
                    _add(values, metrics, translator(pair.source), pair.target, networks, border)
                    bar.update(1)
            except ValueError as error:
                raise UsageError(f"{title}: {error}") from None
            content.update(repr(pair.target.shape).encode() + pair.target.tobytes())
            lumas += channels == 1 < picture.shape[-1]
    about = {
        "dataset": f"{pictures.name}, whole pictures",
        "content": content.hexdigest()[:16],
        "crop": f"to multiples of {translation.scale}" if translation.scale > 1 else None,
        "converted": f"{lumas} of {len(pictures)} pictures to {LUMA}" if lumas else None,
        "rounding": "uint8, to the nearest, sources too",
        "output": output,
        "how": _said(inputs),
        "run": str(run.directory),
    }
    found = []
    for (number, member), values in zip(members, made, strict=True):
        how = {"weights": options.weights, "batch_norm": run.batch_norm(options.weights)}
        state = about_state(run.step, member.options.seed, number, **how, latents_seed=options.seed)
        for metric in metrics or ():
            beside = _beside(translation, copied[metric], pictures.files) if metric in copied else {}
            each = {"each": _each(pictures.files, values[metric]), **beside}
            with refusals():
                score = pair_score(metric, np.array(values[metric]), channels, networks=networks, border=border)
            found.append(record(score, **state, **about, **each))
    return found


def _restoring(options: PictureOptions, run: OpenRun) -> tuple[str, Translation]:
    """Returns the name and translation of what the run makes of degraded pictures. UsageError where there is none, or
    several and none is named."""
    known = {name: each for name, each in run.gan.translations.items() if each.degrade}
    if not known:
        raise UsageError(
            f"--pictures {options.pictures}: {run.directory} doesn't make its sources of the pictures that they should "
            "become again, as super-resolution does, and so there is nothing to compare with"
        )
    if options.to is None and len(known) > 1:
        raise UsageError(f"{run.directory} makes {' or '.join(known)} of pictures: name one of them, --to")
    name = options.to or next(iter(known))
    require(options, "to", name in known, f"what {run.directory} restores, {' or '.join(known)}", perhaps(name, known))
    return name, known[name]


def _opened(text: str) -> FolderSource:
    address, _ = address_of(text)
    source = data.open_source(address)
    if not isinstance(source, FolderSource):
        raise UsageError(f"--pictures must be a folder of pictures, or a .zip of one, got {text}")
    return source


def _with_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """Returns a picture, uint8 `[H, W, C]`, with so many channels: colours become their luma, from 16 to 235, which is
    what the field restores and measures, and grey three equal channels."""
    if picture.shape[-1] == channels:
        return picture
    return np.asarray(luma(picture[None])[0]) if channels == 1 else np.repeat(picture, channels, -1)


def _degraded(translation: Translation, picture: np.ndarray, number: int, seed: int) -> Pair:
    """Returns a picture, of which rows and columns are left out at the end where the scale doesn't divide them, and
    what it is degraded to with a key of its own, in 8 bits as a file has it. ValueError for one that is too small."""
    scale, degrade = translation.scale, translation.degrade
    height, width = (side // scale * scale for side in picture.shape[:2])
    if degrade is None or not height * width:
        raise ValueError(f"a picture of {picture.shape[0]}×{picture.shape[1]} pixels can't be shrunk {scale} times")
    target = picture[None, :height, :width]
    keys = jax.random.fold_in(jax.random.key(seed), number)[None]
    medium = Image()
    source = medium.encode(jax.jit(degrade)(medium.decode(jnp.asarray(target)), keys))
    copied = medium.encode(resize(medium.decode(source), (height, width))) if scale > 1 else source
    fits = copied.shape == target.shape
    return Pair(target, np.asarray(source), np.asarray(copied) if fits else None)


def _metrics(options: PictureOptions, shape: tuple[int, ...], networks: Networks, border: int) -> tuple[str, ...]:
    """Returns what a picture of this shape is scored by, in order."""
    if options.metrics == "auto":
        fitting = suited(shape, networks, border)
        return tuple(metric for metric in AUTO if metric in fitting)
    metrics = tuple(dict.fromkeys(options.metrics.split(",")))
    right = set(metrics) <= set(OF_PAIRS) - {"retrieval"}
    require(options, "metrics", right, f"of pictures one by one, {', '.join(m for m in OF_PAIRS if m != 'retrieval')}")
    return metrics


def _add(
    values: Values,
    metrics: Sequence[str],
    images: np.ndarray | None,
    targets: np.ndarray,
    networks: Networks,
    border: int,
) -> None:
    """Adds the score of a picture, by each metric, to `values`; nothing where there are no `images`."""
    for metric in metrics if images is not None else ():
        found = pair_values(metric, images, targets, networks, border)
        values.setdefault(metric, []).append(float(found[0]))


def _each(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """Returns values by picture; None for an infinite one, which JSON doesn't know."""
    return {name: value if np.isfinite(value) else None for name, value in zip(names, values, strict=True)}


def _beside(translation: Translation, values: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    """Returns what a record says of the sources themselves."""
    mean, std = mean_and_std([value for value in values if np.isfinite(value)])
    name = "bicubic" if translation.scale > 1 else "source"
    return {"copied": {"output": name, "value": mean, "std": std, "each": _each(names, values)}}


def _said(how: dict[str, Any]) -> dict[str, Any]:
    """Returns what a record says of what a translation was given beside pictures: numbers, and of arrays a digest."""
    return {
        name: hashlib.sha256(value.tobytes()).hexdigest()[:16] if isinstance(value, np.ndarray) else value
        for name, value in how.items()
    }


def picture_table(records: Sequence[Record]) -> Iterator[str]:
    """Yields a line a picture, of several GANs with their means ± standard deviations over these, and below them the
    means over the pictures, of each GAN and of all; beside each score what copying the source scores."""
    numbers = list(dict.fromkeys(record["member"] for record in records))
    by_metric: dict[str, list[Record]] = {}
    for one in records:
        by_metric.setdefault(one["key"], []).append(one)
    header, rows = [""], {name: [name] for name in records[0]["each"]}
    below = {number: [f"member {number}"] for number in numbers} if len(numbers) > 1 else {}
    mean = ["mean"]
    for key, these in by_metric.items():
        header.append(key)
        for name, row in rows.items():
            row.append(_text([one["each"][name] for one in these]))
        for number, one in zip(below, these, strict=False):
            below[number].append(_text([one["value"]]))
        mean.append(_text([one["value"] for one in these]))
        if copied := these[0].get("copied"):
            header.append(copied["output"])
            for name, row in rows.items():
                row.append(_text([copied["each"][name]]))
            for line in below.values():
                line.append("")
            mean.append(_text([copied["value"]]))
    yield from align_columns([header, *rows.values(), *below.values(), mean])
    yield from _notes(records, by_metric)


def _notes(records: Sequence[Record], by_metric: dict[str, list[Record]]) -> Iterator[str]:
    """Yields what one must know to read the table."""
    first = records[0]
    protocol = [f"{first['dataset']}: {first['samples']} pictures"]
    protocol += [f"cut {first['crop']}"] if first["crop"] else []
    protocol += [f"converted: {first['converted']}"] if first["converted"] else []
    yield ", ".join(protocol)
    for key, (one, *_) in by_metric.items():
        said = ", ".join(f"{name} {value}" for name, value in one["constants"].items() if name != "sha256")
        yield f"{key}: {one['name']}" + (f" ({said})" if said else "")


def _text(values: Sequence[float | None]) -> str:
    """Returns the text of one value, or of several the mean ± standard deviation; None is of equal pictures."""
    known = [value for value in values if value is not None]
    return mean_std_text(*mean_and_std(known)) if known else "equal"
