"""Distances and scores of generated against real examples: arrays in, numbers out."""

from jaxgan.evaluation.classes import ClassScores, class_scores
from jaxgan.evaluation.diversity import Diversity, diversity
from jaxgan.evaluation.features.cached import content_of
from jaxgan.evaluation.features.classifiers import classifier_features, read_stacked
from jaxgan.evaluation.features.inception import INCEPTION_SHA256, inception_features
from jaxgan.evaluation.features.lpips import load_lpips
from jaxgan.evaluation.features.network import FeatureNetwork, extract
from jaxgan.evaluation.features.perceptual import feature_maps
from jaxgan.evaluation.features.torch_weights import read_pth
from jaxgan.evaluation.frechet import Gaussian, frechet_distance, gaussian
from jaxgan.evaluation.inception_score import InceptionScore, inception_score
from jaxgan.evaluation.kernel import KernelDistance, kernel_distance
from jaxgan.evaluation.modes import (
    ModeCoverage,
    NearestModes,
    kl_floor,
    mode_coverage,
    nearest_modes,
    stacked_frequencies,
)
from jaxgan.evaluation.neighbours import DensityCoverage, PrecisionRecall, density_coverage, prdc, precision_recall
from jaxgan.evaluation.pairs import OF_PAIRS, Perceptual, lpips_of, pair_values, perceptual_of
from jaxgan.evaluation.path_length import PathLength, lerp, path_length, slerp, slerp_unit
from jaxgan.evaluation.scores import HIGHER_IS_BETTER, METRICS, ONE_IS_BEST, Score, record, scores
from jaxgan.evaluation.similarity import luma, ms_ssim, psnr, psnr_y, ssim, ssim_y
from jaxgan.evaluation.sliced import sliced_wasserstein
from jaxgan.evaluation.vectors import VectorScores, vector_scores

__all__ = [
    "HIGHER_IS_BETTER",
    "INCEPTION_SHA256",
    "METRICS",
    "OF_PAIRS",
    "ONE_IS_BEST",
    "ClassScores",
    "DensityCoverage",
    "Diversity",
    "FeatureNetwork",
    "Gaussian",
    "InceptionScore",
    "KernelDistance",
    "ModeCoverage",
    "NearestModes",
    "PathLength",
    "Perceptual",
    "PrecisionRecall",
    "Score",
    "VectorScores",
    "class_scores",
    "classifier_features",
    "content_of",
    "density_coverage",
    "diversity",
    "extract",
    "feature_maps",
    "frechet_distance",
    "gaussian",
    "inception_features",
    "inception_score",
    "kernel_distance",
    "kl_floor",
    "lerp",
    "load_lpips",
    "lpips_of",
    "luma",
    "mode_coverage",
    "ms_ssim",
    "nearest_modes",
    "pair_values",
    "path_length",
    "perceptual_of",
    "prdc",
    "precision_recall",
    "psnr",
    "psnr_y",
    "read_pth",
    "read_stacked",
    "record",
    "scores",
    "slerp",
    "slerp_unit",
    "sliced_wasserstein",
    "ssim",
    "ssim_y",
    "stacked_frequencies",
    "vector_scores",
]
