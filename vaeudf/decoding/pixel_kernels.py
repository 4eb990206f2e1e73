"""The compiled inner loops that compare pictures with what z's decode to."""

from __future__ import annotations

import math

import numpy as np

from vaeudf.model.likelihood import LEAST_LOG
from vaeudf.search.compiled import compiled

# "reassoc" lets the compiler add several products at a time; without it, it must add them one by
# one, in order. The sum of two pictures of the same bytes is the same all the same.


@compiled(fastmath={"reassoc", "contract"})
def squared_errors(pictures, means, which, by, found):
    """Find the mean squared difference of pictures from means, of levels in [0, 1].

    Args:
        pictures: Levels from 0 to 255, (P, D) uint8.
        means: Levels in units of 255, (G, D) float32.
        which: The picture of each pair, (N,) int64.
        by: Its mean, (N,) int64.
        found: Filled, (N,) float64.
    """
    size = pictures.shape[1]
    for pair in range(len(which)):
        picture, mean = pictures[which[pair]], means[by[pair]]
        total = 0.0
        for j in range(size):
            difference = np.float64(picture[j]) - 255.0 * np.float64(mean[j])
            total += difference * difference
        found[pair] = total / (255.0 * 255.0 * size)


@compiled(fastmath={"reassoc", "contract"})
def cross_entropies(pictures, means, which, by, found):
    """Find sum(x log m + (1 - x) log(1 - m)) of pictures x and means m, in nats.

    Means are clipped to [0, 1], and logarithms are at least LEAST_LOG.

    Args:
        pictures: Levels from 0 to 255, (P, D) uint8.
        means: Levels in units of 255, (G, D) float32.
        which: The picture of each pair, (N,) int64.
        by: Its mean, (N,) int64; pairs of one mean are together.
        found: Filled, (N,) float64.
    """
    size = pictures.shape[1]
    slopes = np.empty(size)
    constant = 0.0
    for pair in range(len(which)):
        if pair == 0 or by[pair] != by[pair - 1]:
            mean, constant = means[by[pair]], 0.0
            for j in range(size):
                level = min(max(np.float64(mean[j]), 0.0), 1.0)
                of_light = max(math.log(level), LEAST_LOG) if level > 0.0 else LEAST_LOG
                of_dark = max(math.log1p(-level), LEAST_LOG) if level < 1.0 else LEAST_LOG
                slopes[j] = (of_light - of_dark) / 255.0
                constant += of_dark
        picture = pictures[which[pair]]
        total = constant
        for j in range(size):
            total += np.float64(picture[j]) * slopes[j]
        found[pair] = total
