"""How likely pictures are given what z decodes to: log p(x|z), in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.decoding import pixel_kernels
from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels, Likelihood


class Compared(NamedTuple):
    """Pairs of a picture and a mean, compared.

    Attributes:
        log_densities: log p(x|z), nats, shape (N,).
        squared_errors: The mean squared difference, levels in [0, 1], shape (N,).
    """

    log_densities: NDArray[np.float64]
    squared_errors: NDArray[np.float64]


def compare_pixels(
    pictures: NDArray[np.uint8],
    means: NDArray[np.float32],
    which: NDArray[np.int64],
    by: NDArray[np.int64],
    likelihood: Likelihood,
) -> Compared:
    """Return log p(x|z) of pairs of a picture x and the mean that a z decodes to.

    Sums are of float64. The formulas are those of :mod:`vaeudf.model.likelihood`.

    Args:
        pictures: Levels from 0 to 255, shape (P, D).
        means: Levels in units of 255, shape (G, D).
        which: The picture of each pair, shape (N,).
        by: Its mean, shape (N,).
        likelihood: How the decoder's output is read.
    """
    pixels, centres = _read_only(pictures), _read_only(means)
    # Pairs of one mean together: it stays in the cache.
    order = np.argsort(by, kind="stable")
    which, by = which[order], by[order]
    errors = np.empty(len(which))
    pixel_kernels.squared_errors(pixels, centres, which, by, errors)
    match likelihood:
        case GaussianPixels():
            log_densities = likelihood.log_density(errors, pictures.shape[1])
        case BernoulliPixels():
            log_densities = np.empty(len(which))
            pixel_kernels.cross_entropies(pixels, centres, which, by, log_densities)
        case _:
            raise AssertionError(f"there is no density for {likelihood!r}")
    found = Compared(np.empty(len(which)), np.empty(len(which)))
    found.log_densities[order], found.squared_errors[order] = log_densities, errors
    return found


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as the compiled loops take it, of one type whether it can be written to."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view
