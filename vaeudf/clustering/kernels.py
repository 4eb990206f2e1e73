"""The compiled inner loops of clustering: nearest centroids, and sums per cluster.

A divergence is known here by one integer, which its object in vaeudf.clustering.divergences gives
with all other arguments; another integer raises. A new divergence takes a code below and one case
in `nearest`; a new feature of centroids a code and one case in `_fill_feature`.

The loop over items is the innermost one. It adds nothing up, so the compiler may do several items
at a time without changing a bit of any divergence. An item's divergence therefore depends on the
item and the centroid alone, and not on the other items and centroids of the call.
"""

from __future__ import annotations

import numpy as np

from vaeudf.search.compiled import compiled

# Codes of the divergences, see vaeudf.clustering.divergences. A new one gets its name at the end,
# and range counts one more, as it must for features below.
KL, REVERSE_KL, JEFFREYS, WASSERSTEIN2, EUCLIDEAN = range(5)

# Codes of what centroids are made from, see vaeudf.clustering.features.
SHIFT, SECOND_MOMENT, DISPERSION, PRECISION, WEIGHTED_SHIFT = range(5)

# How many items are compared with all centroids together.
_TILE = 128
# Between the rows of a tile: without it, an item's numbers would all fall into few sets of the
# cache. Tiles of 64 dimensions are filled four times as fast with it.
_GAP = 8


@compiled()
def nearest(
    code,
    factor,
    log_var_weight,
    inverts_items,
    mu,
    dispersion,
    log_var,
    centroids,
    offsets,
    found,
    best,
    second,
):
    """Find each item's nearest centroid, and its divergences from it and from the next one.

    The divergence of an item from centroid c is

        max(0, factor · (Σ_i term_i + log_var_weight · Σ_i log_var_i + offsets[c]))

    with a term of the item's and the centroid's numbers in dimension i, which the code chooses.

    Args:
        code: Which divergence.
        factor: Of the whole sum.
        log_var_weight: How an item's Σ log variance enters.
        inverts_items: Whether the term reads the inverse of an item's dispersion.
        mu: Means, (B, n) float64.
        dispersion: sigma², or sigma where the divergence reads that, (B, n).
        log_var: log sigma², (B, n).
        centroids: Means, dispersions and their inverses, (3, k, n).
        offsets: What depends on the centroid alone, (k,).
        found: Filled with the nearest centroid, (B,) int32; the first of several.
        best: Filled with its divergence, (B,).
        second: Filled with the next one's, infinite if there is only one, (B,).
    """
    rows, n = mu.shape
    k = centroids.shape[1]
    # One row per dimension, of a constant length: the compiler then does several items at a time.
    means, dispersions, inverses = np.empty((3, n, _TILE + _GAP))
    own = np.empty(_TILE)  # what an item adds to its divergence from every centroid
    sums, least, next_least = np.empty(_TILE), np.empty(_TILE), np.empty(_TILE)
    at = np.empty(_TILE, np.int32)
    for start in range(0, rows, _TILE):
        size = min(_TILE, rows - start)
        for r in range(_TILE):
            # The last tile is filled up with copies of its last item.
            row = start + min(r, size - 1)
            total = 0.0
            for i in range(n):
                means[i, r] = mu[row, i]
                dispersions[i, r] = dispersion[row, i]
                inverses[i, r] = 1.0 / dispersion[row, i] if inverts_items else 0.0
                total += log_var_weight * log_var[row, i]
            own[r] = total
        at[:] = 0
        least[:] = np.inf
        next_least[:] = np.inf
        for c in range(k):
            sums[:] = 0.0
            for i in range(n):
                x, s, inverse_s = means[i], dispersions[i], inverses[i]
                m, v, inverse_v = centroids[0, c, i], centroids[1, c, i], centroids[2, c, i]
                if code == KL:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += inverse_v * (gap * gap + s[r])
                elif code == REVERSE_KL:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += inverse_s[r] * (gap * gap + v)
                elif code == JEFFREYS:
                    for r in range(_TILE):
                        gap = x[r] - m
                        both = s[r] * inverse_v + v * inverse_s[r]
                        sums[r] += gap * gap * (inverse_s[r] + inverse_v) + both
                elif code == WASSERSTEIN2:
                    for r in range(_TILE):
                        gap = x[r] - m
                        wider = s[r] - v
                        sums[r] += gap * gap + wider * wider
                elif code == EUCLIDEAN:
                    for r in range(_TILE):
                        gap = x[r] - m
                        sums[r] += gap * gap
                else:
                    raise ValueError("no divergence has this code")
            offset = offsets[c]
            for r in range(_TILE):
                # Rounding alone can put a divergence below 0.
                d = max(factor * (sums[r] + (own[r] + offset)), 0.0)
                before = least[r]
                nearer = d < before
                next_least[r] = min(next_least[r], before if nearer else d)
                least[r] = d if nearer else before
                at[r] = c if nearer else at[r]
        for r in range(size):
            found[start + r], best[start + r], second[start + r] = at[r], least[r], next_least[r]


@compiled()
def add_values(values, groups, anchors, sums):
    """Add (B,) values to exact sums (k, L), each to its own group's; anchors (L,)."""
    for row in range(len(values)):
        x = values[row]
        for level in range(len(anchors)):
            rounded = (x + anchors[level]) - anchors[level]
            sums[groups[row], level] += rounded
            x -= rounded


@compiled()
def nearest_in_runs(
    code,
    factor,
    log_var_weight,
    inverts_items,
    mu,
    dispersion,
    log_var,
    centroids,
    offsets,
    ends,
    found,
    best,
    second,
):
    """As `nearest`, where items come in runs, each with two centroids of its own.

    Args:
        code: As for `nearest`; so are all others but these.
        factor: As there.
        log_var_weight: As there.
        inverts_items: As there.
        mu: As there.
        dispersion: As there.
        log_var: As there.
        centroids: Those of each run after those of the run before, (3, 2 R, n).
        offsets: As there, (2 R,).
        ends: Where each run ends, (R,) int64.
        found: Filled with 0 or 1 for each item, (B,) int32.
        best: As there.
        second: As there.
    """
    start = 0
    for run in range(len(ends)):
        end = ends[run]
        own = slice(2 * run, 2 * run + 2)
        if end > start:
            nearest(
                code,
                factor,
                log_var_weight,
                inverts_items,
                mu[start:end],
                dispersion[start:end],
                log_var[start:end],
                centroids[:, own],
                offsets[own],
                found[start:end],
                best[start:end],
                second[start:end],
            )
        start = end


@compiled()
def weighted_total(weights, values):
    """Return the sum of values (B,) times their weights, added up in their order."""
    total = 0.0
    for row in range(len(values)):
        total += weights[row] * values[row]
    return total


@compiled()
def add_weighted_features(codes, mu, dispersion, weights, groups, pivots, sums):
    """Add what centroids are made from to plain sums, each item times its weight.

    Args:
        codes: Which features, (F,) int64.
        mu: Means, (B, n) float64.
        dispersion: sigma², or sigma where the divergence reads that, (B, n).
        weights: Shape (B,).
        groups: Each item's cluster, (B,) int32.
        pivots: What each cluster's means are counted from, (k, n).
        sums: To add to, (k, F, n).
    """
    rows, n = mu.shape
    values = np.empty(n)
    for row in range(rows):
        cluster = groups[row]
        for f in range(len(codes)):
            _fill_feature(codes[f], mu[row], dispersion[row], pivots[cluster], values)
            for i in range(n):
                sums[cluster, f, i] += weights[row] * values[i]


@compiled()
def _fill_feature(code, x, s, p, values):
    """Fill values (n,) with a feature of one item: mean x, dispersion s, pivot p."""
    n = len(values)
    if code == SHIFT:
        for i in range(n):
            values[i] = x[i] - p[i]
    elif code == SECOND_MOMENT:
        for i in range(n):
            gap = x[i] - p[i]
            values[i] = gap * gap + s[i]
    elif code == DISPERSION:
        for i in range(n):
            values[i] = s[i]
    elif code == PRECISION:
        for i in range(n):
            values[i] = 1.0 / s[i]
    elif code == WEIGHTED_SHIFT:
        for i in range(n):
            values[i] = (x[i] - p[i]) / s[i]
    else:
        raise ValueError("no feature has this code")


@compiled()
def add_features(codes, mu, dispersion, groups, pivots, anchors, sums):
    """Add what centroids are made from to exact sums, each item to its own cluster's.

    Args:
        codes: Which features, (F,) int64.
        mu: Means, (B, n) float64.
        dispersion: sigma², or sigma where the divergence reads that, (B, n).
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
        for f in range(num_features):
            _fill_feature(codes[f], mu[row], dispersion[row], pivots[cluster], features[f])
        for level in range(levels):
            for f in range(num_features):
                # The loop over dimensions is the innermost: the compiler does several at a time.
                values, anchor, added = features[f], anchors[level, f], sums[cluster, level, f]
                for i in range(n):
                    rounded = (values[i] + anchor[i]) - anchor[i]
                    added[i] += rounded
                    values[i] -= rounded
