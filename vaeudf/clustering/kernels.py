"""The compiled inner loops of clustering: nearest centroids, and sums per cluster.

The loop over items is the innermost: it is no sum, so that the compiler may take several items at a
time without changing a bit of any divergence. An item's divergence therefore depends on the item
and the centroid alone, and not on what stands beside them. (With centroids innermost, ten to twenty
at a time, the search for the nearest took five times as long.)
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Codes of the divergences; see vaeudf.clustering.divergences.
KL, REVERSE_KL, JEFFREYS, WASSERSTEIN2, EUCLIDEAN = range(5)

# Items that are taken through all centroids together.
_TILE = 128


@njit(cache=True, nogil=True)
def nearest(code, mu, var, log_var, centroids, offsets, found, best, second):
    """Find each item's nearest centroid, and how far it and the next one are.

    Args:
        code: Which divergence.
        mu: Means, (B, n) float64.
        var: sigma²; for WASSERSTEIN2 sigma, (B, n).
        log_var: log sigma², (B, n).
        centroids: Means, variances (or sigmas) and their inverses, (3, k, n).
        offsets: Each centroid's Σ log variance, (k,).
        found: Filled with the nearest centroid, (B,) int32; the first of several.
        best: Filled with its divergence, (B,); a square for WASSERSTEIN2 and EUCLIDEAN.
        second: Filled with the next one's, infinite if there is only one, (B,).
    """
    rows, n = mu.shape
    k = centroids.shape[1]
    # One row per dimension, of a length that never changes: the compiler then does eight at a time.
    means, spreads, inverses = np.empty((3, n, _TILE))
    own = np.empty(_TILE)  # what an item adds to its divergence from every centroid
    sums, least, next_least = np.empty(_TILE), np.empty(_TILE), np.empty(_TILE)
    at = np.empty(_TILE, np.int32)
    for start in range(0, rows, _TILE):
        size = min(_TILE, rows - start)
        _take_tile(code, mu, var, log_var, start, size, means, spreads, inverses, own)
        at[:] = 0
        least[:] = np.inf
        next_least[:] = np.inf
        for c in range(k):
            sums[:] = 0.0
            for i in range(n):
                x, s, by = means[i], spreads[i], inverses[i]
                m, v, w = centroids[0, c, i], centroids[1, c, i], centroids[2, c, i]
                if code == KL:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += w * (gap * gap + s[r])
                elif code == REVERSE_KL:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += by[r] * (gap * gap + v)
                elif code == JEFFREYS:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += gap * gap * (by[r] + w) + (s[r] * w + v * by[r])
                elif code == WASSERSTEIN2:
                    for r in range(_TILE):
                        gap = x[r] - m
                        wider = s[r] - v
                        sums[r] += gap * gap + wider * wider
                else:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += gap * gap
            scale, offset = 1.0, 0.0
            if code == KL:
                scale, offset = 0.5, offsets[c] - n
            elif code == REVERSE_KL:
                scale, offset = 0.5, -offsets[c] - n
            elif code == JEFFREYS:
                scale, offset = 0.5, -2.0 * n
            for r in range(_TILE):
                # Of rounding alone a divergence can be below 0.
                d = max(scale * (sums[r] + (own[r] + offset)), 0.0)
                before = least[r]
                nearer = d < before
                next_least[r] = min(next_least[r], before if nearer else d)
                least[r] = d if nearer else before
                at[r] = c if nearer else at[r]
        for r in range(size):
            found[start + r], best[start + r], second[start + r] = at[r], least[r], next_least[r]


@njit(cache=True, nogil=True)
def _take_tile(code, mu, var, log_var, start, size, means, spreads, inverses, own):
    n = mu.shape[1]
    sign = -1.0 if code == KL else 1.0 if code == REVERSE_KL else 0.0
    inverted = code == REVERSE_KL or code == JEFFREYS
    for r in range(_TILE):
        # The last tile is filled up with copies of its last item.
        row = start + min(r, size - 1)
        total = 0.0
        for i in range(n):
            means[i, r] = mu[row, i]
            spreads[i, r] = var[row, i]
            inverses[i, r] = 1.0 / var[row, i] if inverted else 0.0
            total += sign * log_var[row, i]
        own[r] = total


@njit(cache=True, nogil=True)
def add_values(values, groups, anchors, sums):
    """Add (B,) values to exact sums (k, L), each to its own group's; anchors (L,)."""
    for row in range(len(values)):
        x = values[row]
        for level in range(len(anchors)):
            rounded = (x + anchors[level]) - anchors[level]
            sums[groups[row], level] += rounded
            x -= rounded


@njit(cache=True, nogil=True)
def add_features(code, mu, var, groups, pivots, anchors, sums):
    """Add what a centroid is made from to exact sums, each item to its own cluster's.

    Args:
        code: Which divergence; it says which features, see vaeudf.clustering.divergences.
        mu: Means, (B, n) float64.
        var: sigma²; for WASSERSTEIN2 sigma, (B, n).
        groups: Each item's cluster, (B,) int32.
        pivots: What each cluster's means are counted from, (k, n).
        anchors: Of the exact sums, (L, F, n).
        sums: To add to, (k, L, F, n).
    """
    rows, n = mu.shape
    levels, num_features = anchors.shape[:2]
    features = np.empty((num_features, n))
    for row in range(rows):
        cluster = groups[row]
        for i in range(n):
            gap, s = mu[row, i] - pivots[cluster, i], var[row, i]
            if code == WASSERSTEIN2:
                features[0, i], features[1, i] = gap, s
            elif code == REVERSE_KL:
                features[0, i], features[1, i] = 1.0 / s, gap / s
            else:
                features[0, i], features[1, i] = gap, gap * gap + s
                if code == JEFFREYS:
                    features[2, i], features[3, i] = 1.0 / s, gap / s
        for level in range(levels):
            for f in range(num_features):
                # Dimension by dimension, of which the compiler does several at a time.
                x, anchor, added = features[f], anchors[level, f], sums[cluster, level, f]
                for i in range(n):
                    rounded = (x[i] + anchor[i]) - anchor[i]
                    added[i] += rounded
                    x[i] -= rounded
