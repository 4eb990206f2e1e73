"""Pictures of a sample of items in memory, and how far they are from what z's decode to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.images.structure import Edges, edges_of, structure_distances
from vaeudf.model.likelihood import LEAST_LOG, BernoulliPixels, Likelihood

# Levels that are held as float64 at a time: of pictures, and of what z's decode to.
_LEVELS_PER_BLOCK = 2**22
_LEVELS_DECODED = 2**24


class PictureDistances(NamedTuple):
    """How far N pictures are from what Q z's decode to.

    Attributes:
        errors: The mean squared difference, levels in [0, 1], shape (Q, N).
        log_densities: log p(x|z) in nats, up to a constant and a factor above 0, shape (Q, N).
        structure: In structure (:mod:`vaeudf.images.structure`), of the first S z's, shape (S, N).
    """

    errors: NDArray[np.float64]
    log_densities: NDArray[np.float64]
    structure: NDArray[np.float32]


@dataclass(frozen=True)
class SampledPictures:
    """Pictures as the model sees them.

    Attributes:
        pixels: Shape (N, H, W, C).
    """

    pixels: NDArray[np.uint8]

    def distances(
        self, levels: NDArray[np.float32], likelihood: Likelihood | None, num_structured: int
    ) -> PictureDistances:
        """Compare all pictures with what z's decode to.

        Args:
            levels: What they decode to, in [0, 1], shape (Q, H, W, C).
            likelihood: How the decoder's output is read; None ranks by squared error, which is how
                a Gaussian ranks, whatever its variance.
            num_structured: How many of the z's the structure is compared of.
        """
        rows = max(1, _LEVELS_DECODED // self.pixels[0].size)
        groups = [
            self._compared(levels[start : start + rows], likelihood)
            for start in range(0, len(levels), rows)
        ]
        errors, log_densities = (np.concatenate(parts) for parts in zip(*groups, strict=True))
        structure = structure_distances(edges_of(levels[:num_structured]), self._edges)
        return PictureDistances(errors, log_densities, structure)

    def _compared(
        self, levels: NDArray[np.float32], likelihood: Likelihood | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return errors and log densities of all pictures, shape (Q, N) each."""
        means = levels.reshape(len(levels), -1).astype(np.float64)
        factors, constants = -2.0 * means, np.square(means).sum(axis=1)
        bernoulli = isinstance(likelihood, BernoulliPixels)
        if bernoulli:
            # The sum of x log m + (1 - x) log(1 - m) is x · (log m - log(1 - m)) + sum log(1 - m).
            ones, zeros = (_log(p) for p in (np.clip(means, 0, 1), 1 - np.clip(means, 0, 1)))
            factors = np.concatenate([factors, ones - zeros])
        products = np.empty((len(factors), len(self.pixels)))
        squares = np.empty(len(self.pixels))
        flat = self.pixels.reshape(len(self.pixels), -1)
        for rows in self._blocks():
            x = flat[rows] / 255.0
            products[:, rows] = factors @ x.T
            squares[rows] = np.square(x).sum(axis=1)
        count = len(means)
        errors = products[:count] + squares + constants[:, None]
        errors /= flat.shape[1]
        densities = -errors
        if bernoulli:
            densities = products[count:] + zeros.sum(axis=1)[:, None]
        return errors, densities

    @cached_property
    def _edges(self) -> Edges:
        found = [edges_of(self.pixels[rows] / np.float32(255)) for rows in self._blocks()]
        return Edges(np.concatenate([one.magnitudes for one in found]), found[0].weights)

    def _blocks(self) -> Iterator[slice]:
        rows = max(1, _LEVELS_PER_BLOCK // self.pixels[0].size)
        for start in range(0, len(self.pixels), rows):
            yield slice(start, start + rows)


def _log(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(probabilities), LEAST_LOG)
