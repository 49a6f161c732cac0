"""Measures: the scores that suit a set of data, and the networks that they are computed with."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.evaluation import (
    OF_PAIRS,
    FeatureNetwork,
    Perceptual,
    classifier_features,
    inception_features,
    lpips_of,
    perceptual_of,
)
from jaxgan.evaluation.features.classifiers import CLASSIFIERS
from jaxgan.evaluation.features.inception import INCEPTION_VARIABLE
from jaxgan.evaluation.features.lite0 import LITE0, lite0_features
from jaxgan.evaluation.pairs import NONE, OF_NETWORKS, Networks, suited
from jaxgan.evaluation.scores import OF_FEATURES, OF_MODES
from jaxgan.media import Image, Vectors
from jaxgan.training.errors.usage import UsageError, require
from jaxgan.training.options.evaluation import FeatureOptions
from jaxgan.training.output.drawing import Drawing
from jaxgan.training.recipe.data_spec import DataSpec
from jaxgan.training.recipe.gan import Translation

__all__ = ["Measure", "border_of", "measure_for", "measures_for", "pair_networks"]

SUITS = {"mnist": "mnist-v1", "cifar10": "cifar10-v1"}  # the features of its own that a set has


class Measure(NamedTuple):
    """How a set's samples are scored: the metrics, the network that they need, the name of the set, the networks of
    scores of pairs by their names, and the border that those of the luma leave out."""

    metrics: tuple[str, ...]
    network: FeatureNetwork | None
    dataset: str
    networks: Networks = NONE
    border: int = 0

    def without_pairs(self) -> "Measure | None":
        """Returns the measure with the metrics that compare sets alone; None where there are none."""
        return self._with(tuple(metric for metric in self.metrics if metric not in OF_PAIRS))

    def of_pairs(self) -> "Measure | None":
        """Returns the measure with the metrics that compare pairs alone; None where there are none."""
        return self._with(tuple(metric for metric in self.metrics if metric in OF_PAIRS))

    def _with(self, metrics: tuple[str, ...]) -> "Measure | None":
        return self._replace(metrics=metrics) if metrics else None


def measures_for(
    options: FeatureOptions, drawing: Drawing, *, conditional: bool = False, beside: bool = False
) -> dict[str, Measure]:
    """Returns the measure of each output that is scored, by name. beside: scores outputs too that are no examples of
    the data and have a target, such as reconstructions, by pairs alone. UsageError where no output is scored."""
    data = drawing.data
    if not drawing.scored:
        raise UsageError(
            f"nothing that this experiment draws ({', '.join(drawing.outputs)}) is called as "
            f"{' or '.join(data.sets or [data.main])}, and so nothing can be scored"
        )
    others = [name for name in drawing.gan.pairs if name not in drawing.scored] if beside else []
    of_pairs, of_sets = options.metrics, options.metrics
    if others and options.metrics != "auto":
        asked = options.metrics.split(",")
        of_pairs = ",".join(metric for metric in asked if metric in OF_PAIRS)
        of_sets = ",".join(metric for metric in asked if metric not in OF_PAIRS)
    found = {}
    for name in drawing.scored:
        paired, border = name in drawing.gan.pairs, border_of(drawing.gan.translations.get(name))
        own = options if paired else dataclasses.replace(options, metrics=of_sets) if of_sets else None
        of_set = data.sets.get(name, data)
        if own is not None:
            found[name] = measure_for(own, of_set, conditional=conditional, paired=paired, border=border)
    for name in others if of_pairs else ():
        own = dataclasses.replace(options, metrics=of_pairs)
        if (measure := measure_for(own, data, paired=True).of_pairs()) is not None:
            found[name] = measure
    return found


def border_of(translation: Translation | None) -> int:
    """Returns how wide a border scores of the luma leave out of what a translation makes: its scale, as the field does,
    and none where nothing is enlarged."""
    return translation.scale if translation is not None and translation.scale > 1 else 0


def measure_for(
    options: FeatureOptions, data: DataSpec, *, conditional: bool = False, paired: bool = False, border: int = 0
) -> Measure:
    """Returns the measure that the options ask for, or that suits the data. conditional: whether images were asked for
    by their label. paired: whether each has a target. border: what scores of the luma leave out. UsageError where a set
    has no features of its own and none are named, where those that are named don't take its images, and for "classes"
    where there is no label or the network tells other classes apart."""
    name = data.name.partition(":")[0]
    network, of_pairs = _network(options, data), pair_networks(options, paired=paired and data.kind == Image.kind)
    told_apart = conditional and network is not None and network.name == SUITS.get(data.name)
    if options.metrics != "auto":
        metrics = tuple(dict.fromkeys(options.metrics.split(",")))
    elif name in OF_MODES:
        metrics = ("modes", "diversity") if data.medium.distinct else ("modes",)
    elif network:
        metrics = ("fid", "kid", "is", "prdc", "diversity", *(("classes",) if told_apart else ()))
    else:
        metrics = data.medium.metrics
    if options.metrics == "auto" and paired and data.kind == Image.kind:
        metrics = (*metrics, *suited(data.shape, of_pairs, border or None))
    without = [metric for metric in metrics if metric in OF_FEATURES and not (metric == "modes" and name in OF_MODES)]
    if without and not network:
        raise UsageError(
            f"--metrics {','.join(without)}: {data.name} has no features of its own; give --inception-weights FILE, "
            f"name a network that fits its pictures, --feature-network {', '.join(CLASSIFIERS)} or {LITE0}, or take "
            f"--metrics {'modes' if name in OF_MODES else ','.join(data.medium.metrics)}"
        )
    if "ppl" in metrics:
        raise UsageError("--metrics ppl scores a generator, which only scripts.evaluate RUN has; leave it out")
    if "classes" in metrics and not told_apart:
        raise UsageError(
            "--metrics classes scores runs of conditional GANs, in scripts.evaluate, on all classes of a set whose own "
            f"features tell them apart ({', '.join(SUITS)}); leave it out"
        )
    _check_kinds(metrics, data, paired=paired, networks=of_pairs)
    return Measure(metrics, network, name, of_pairs, border)


def _check_kinds(metrics: Sequence[str], data: DataSpec, *, paired: bool, networks: Networks) -> None:
    """Raises UsageError for metrics of something else than what is scored."""
    of_pairs = [metric for metric in metrics if metric in OF_PAIRS]
    if of_pairs and not (paired and data.kind == Image.kind):
        raise UsageError(
            f"--metrics {','.join(of_pairs)} compares pairs of images, and what this experiment draws has no targets; "
            f"take --metrics {','.join(data.medium.metrics)}"
        )
    for metric in metrics:
        if metric in OF_NETWORKS and metric not in networks:
            raise UsageError(f"--metrics {OF_NETWORKS[metric]}")
    wrong = [metric for metric in metrics if (metric == "vectors") != (data.kind == Vectors.kind)]
    if wrong:
        fitting = ",".join(data.medium.metrics)
        raise UsageError(f"--metrics {','.join(wrong)} is not of {data.medium.plural}; take --metrics {fitting}")


def pair_networks(options: FeatureOptions, *, paired: bool = True) -> Networks:
    """Returns the networks of scores of pairs; nothing is loaded for what isn't `paired`, but for what is asked for."""
    found = {}
    if options.lpips_weights is not None:
        found["lpips"] = _lpips(options, options.lpips_weights)
    if paired:
        try:
            found["perceptual"] = perceptual_of(options.perceptual_network)
        except ValueError as error:
            raise UsageError(f"--perceptual-network {options.perceptual_network}: {error}") from None
    return found


def _lpips(options: FeatureOptions, weights: str) -> Perceptual:
    net, _, files = weights.partition(":")
    backbone, _, linear = files.partition(",")
    require(options, "lpips_weights", bool(linear) and net in ("alex", "vgg"), "alex:BACKBONE,LINEAR or vgg:...")
    try:
        return lpips_of(net, backbone, linear)
    except (OSError, ValueError) as error:
        raise UsageError(f"--lpips-weights {weights}: {error}") from None


def _network(options: FeatureOptions, data: DataSpec) -> FeatureNetwork | None:
    """Returns the network that is named, or else the packaged classifier of the set if it takes these images, or else
    Inception where the environment names its weights."""
    wanted, packaged = options.feature_network, SUITS.get(data.name)
    try:
        if wanted == "auto" and packaged and not options.inception_weights:
            with contextlib.suppress(ValueError):
                return _taking(classifier_features(packaged), data)
        named = options.inception_weights or (data.kind == Image.kind and os.environ.get(INCEPTION_VARIABLE))
        if wanted == "auto" and not named:
            return None
        if wanted == LITE0:
            return _taking(lite0_features(), data)
        if wanted in CLASSIFIERS:
            return _taking(classifier_features(wanted), data)
        mode: Literal["torch-fidelity", "pytorch-fid"] = "torch-fidelity"
        if wanted == "inception-pytorch-fid":
            mode = "pytorch-fid"
        return _taking(inception_features(options.inception_weights, mode), data)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _taking(network: FeatureNetwork, data: DataSpec) -> FeatureNetwork:
    """Returns the network; ValueError, its own, where it doesn't take such images."""
    kind = jnp.uint8 if data.kind == Image.kind else jnp.float32
    jax.eval_shape(network.apply, jax.ShapeDtypeStruct((1, *data.shape), kind))
    return network
