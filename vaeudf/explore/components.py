"""The principal components of a table's mu."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaeudf.health.examine import SLIDER_SHARE


class Components(msgspec.Struct, frozen=True, kw_only=True):
    """The directions in which mu varies most, those of the most variance first.

    Attributes:
        axes: Unit vectors, n of n numbers; the largest number of each is positive.
        mean: Of mu, n numbers: where all coordinates are 0.
        share: Of the variance that each axis has.
        low: 0.5 % of the items have a smaller coordinate along each axis.
        high: 0.5 % of the items have a greater one.
    """

    axes: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def principal_components(mu: NDArray[Any]) -> Components:
    """Return the principal components of mu, shape (S, n), S ≥ 1."""
    means = np.asarray(mu, np.float64)
    centre = means.mean(axis=0)
    apart = means - centre
    values, vectors = np.linalg.eigh(apart.T @ apart / len(apart))
    order = np.argsort(-values, kind="stable")
    values, axes = np.maximum(values[order], 0.0), vectors.T[order]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    tail = 0.5 * (1 - SLIDER_SHARE)
    low, high = np.quantile(apart @ axes.T, (tail, 1 - tail), axis=0)
    total = values.sum()
    share = values / total if total > 0 else np.zeros_like(values)
    return Components(
        axes=tuple(map(tuple, axes.tolist())),
        mean=tuple(centre.tolist()),
        share=tuple(share.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )
