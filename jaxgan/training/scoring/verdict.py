"""The history of a run's scores: which step was best, and whether the last one is a collapse.

What counts as a collapse was set before any run was looked at. From the third evaluation on, it is that

- fewer than half of the images are distinct (of real ones 99 % are), or they vary by less than a quarter of what real
  ones do (see `jaxgan.evaluation.diversity`), where that had been otherwise before: a generator that has not begun to
  learn draws the same image for every latent too, and is told apart;
- fewer than half as many modes are covered as at the best step, where a tenth of the samples were near one;
- the Fréchet or sliced Wasserstein distance is more than twice the smallest so far, as where a DCGAN's FID went from
  49 to 137 (PyTorch-StudioGAN's log of CIFAR-10) and the best was reported.

D's margin and the gradient norms are told beside it. They differ too much between losses to be judged by.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.evaluation import HIGHER_IS_BETTER, OF_PAIRS

__all__ = ["RANKED_BY", "Best", "best", "collapse", "means_of", "ranked_key", "reached", "symptoms", "unlearned"]

RANKED_BY = {"fid": "fid", "kid": "kid", "is": "is", "modes": "kl", "swd": "swd"}  # metric to the key of its number
RANKED_BY |= {"vectors": "vector_frechet"} | {metric: metric for metric in OF_PAIRS}
AT_LEAST, DISTINCT, SPREAD, MODES, WORSE = 3, 0.5, 0.25, 0.5, 2.0
QUALITY = 0.1  # share of samples near a mode, below which modes are met by chance

Record = dict[str, Any]


class Best(NamedTuple):
    """The step that scored best, and its score: of several GANs the mean."""

    step: int
    value: float
    name: str


def _by_step(records: Iterable[Record], member: int | None) -> dict[int, dict[str, float]]:
    """Returns a GAN's values by step and key, the mean over what it draws; of several records of one output the
    newest."""
    found: dict[int, dict[str, dict[str | None, float]]] = {}
    for record in records:
        if record["member"] == member and record["value"] is not None:
            found.setdefault(record["step"], {}).setdefault(record["key"], {})[record.get("output")] = record["value"]
    return {
        step: {key: float(np.mean(list(each.values()))) for key, each in keys.items()}
        for step, keys in sorted(found.items())
    }


def ranked_key(records: Sequence[Record], metric: str) -> str:
    """Returns the key of the number that checkpoints are ranked by."""
    ranked = RANKED_BY.get(metric, metric)
    return ranked if any(record["key"] == ranked for record in records) else metric


def best(records: Sequence[Record], metric: str, members: Iterable[int | None] = (None,)) -> Best | None:
    """Returns the best step by `metric` of those at which all `members` were scored, the earliest of several; None for
    none."""
    key = ranked_key(records, metric)
    means = means_of(records, key, members)
    if not means:
        return None
    sign = -1 if key in HIGHER_IS_BETTER else 1
    step = min(means, key=lambda step: sign * means[step])
    return Best(step, means[step], next(record["name"] for record in records if record["key"] == key))


def means_of(records: Sequence[Record], key: str, members: Iterable[int | None]) -> dict[int, float]:
    """Returns the mean over `members` of the value of that key, by step, of the steps at which all were scored."""
    courses = [_by_step(records, member) for member in members]
    steps = [step for step in courses[0] if all(key in course.get(step, {}) for course in courses)] if courses else []
    return {step: float(np.mean([course[step][key] for course in courses])) for step in steps}


def reached(
    records: Sequence[Record], metric: str, value: float, members: Iterable[int | None] = (None,)
) -> Best | None:
    """Returns the first step at which the number of `metric`, the mean of all `members`, was at least as good as
    `value`; None where it never was. Of "modes" it is their count, of "vectors" the Fréchet distance."""
    key = {"vectors": RANKED_BY["vectors"]}.get(metric, metric)
    sign = -1 if key in HIGHER_IS_BETTER else 1
    for step, mean in means_of(records, key, members).items():
        if sign * mean <= sign * value:
            return Best(step, mean, next(record["name"] for record in records if record["key"] == key))
    return None


def collapse(records: Sequence[Record], metric: str, member: int | None = None) -> str | None:
    """Returns the reason for which the last of a GAN's evaluations, at least the third, is of a collapsed generator, or
    None."""
    steps = _by_step(records, member)
    if len(steps) < AT_LEAST:
        return None
    last = list(steps.values())[-1]
    most = {key: max(values[key] for values in steps.values() if key in values) for key in last}
    if last.get("distinct", 1) < DISTINCT <= most["distinct"]:
        return f"{last['distinct']:.0%} of its images are distinct; {most['distinct']:.0%} were, of real ones 99% are"
    if last.get("spread", 1) < SPREAD <= most["spread"]:
        return f"its images vary by {last['spread']:.0%} of what real ones do; it was {most['spread']:.0%}"
    if "modes" in last and last["modes"] < MODES * most["modes"] and most.get("quality", 1) >= QUALITY:
        return f"{last['modes']:.0f} modes are left of {most['modes']:.0f}"
    top = best(records, metric, [member])
    key = RANKED_BY.get(metric, metric)
    if metric in ("fid", "swd", "vectors") and top and last.get(key, 0) > WORSE * top.value:
        return f"{top.name} is {last[key]:.4g}, and was {top.value:.4g} at step {top.step}"
    return None


def unlearned(records: Sequence[Record], member: int | None = None) -> str | None:
    """Returns the reason for which a GAN has not begun to learn at any of at least three evaluations, or None."""
    steps = _by_step(records, member).values()
    distinct, spread = (max((each.get(key, 1.0) for each in steps), default=1.0) for key in ("distinct", "spread"))
    if len(steps) < AT_LEAST or (distinct >= DISTINCT and spread >= SPREAD):
        return None
    return f"never more than {distinct:.0%} of its images were distinct, or they varied by more than {spread:.0%}"


def symptoms(metrics: dict[str, np.ndarray]) -> list[str]:
    """Returns D's margin and gradient norms, means over metrics `[count, ...]` by name; none where there are none of
    these."""
    means = {name: float(np.nanmean(values)) for name, values in metrics.items() if np.isfinite(values).any()}
    texts = []
    if {"discriminator/real_logits", "discriminator/fake_logits"} <= means.keys():
        texts.append(f"D's margin {means['discriminator/real_logits'] - means['discriminator/fake_logits']:.3g}")
    for name, text in {"discriminator": "D's gradient norm", "generator": "G's gradient norm"}.items():
        if f"{name}/gradient_norm" in means:
            texts.append(f"{text} {means[f'{name}/gradient_norm']:.3g}")
    return texts
