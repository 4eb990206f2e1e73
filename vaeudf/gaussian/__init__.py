"""Diagonal Gaussians: densities, divergences, and the scores that items are ranked by."""

from vaeudf.gaussian.checks import (
    check_gaussian_shapes,
    check_mean_shapes,
    check_shapes,
    check_tolerance,
)
from vaeudf.gaussian.densities import (
    LOG_2PI,
    euclidean_distance,
    log_prob,
    mahalanobis_distance,
)
from vaeudf.gaussian.divergences import (
    bhattacharyya_distance,
    expected_log_prob,
    jeffreys_divergence,
    kl_divergence,
    mutual_log_likelihood,
    reverse_kl_divergence,
    wasserstein2_distance,
)

__all__ = [
    "LOG_2PI",
    "bhattacharyya_distance",
    "check_gaussian_shapes",
    "check_mean_shapes",
    "check_shapes",
    "check_tolerance",
    "euclidean_distance",
    "expected_log_prob",
    "jeffreys_divergence",
    "kl_divergence",
    "log_prob",
    "mahalanobis_distance",
    "mutual_log_likelihood",
    "reverse_kl_divergence",
    "wasserstein2_distance",
]
