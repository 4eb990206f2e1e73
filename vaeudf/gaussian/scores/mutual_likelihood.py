"""The mutual likelihood of two Gaussians: the log density of their difference at zero."""

from __future__ import annotations

from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.divergences import mutual_log_likelihood
from vaeudf.gaussian.scores.added import AddedVariances
from vaeudf.gaussian.scores.score import Features

MUTUAL_LIKELIHOOD = AddedVariances(
    name="mls",
    code=8,
    reference=mutual_log_likelihood,
    between_gaussians=True,
    ascending=False,
    unit="nats",
    features=Features(added=1.0, constant=-0.5 * LOG_2PI),
)
