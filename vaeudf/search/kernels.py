"""The compiled inner loops of the query engine: bounds, filter, exact scores, running top-k.

Every score is brought to one shape, the *value* of an item to a query, higher is nearer
(:mod:`vaeudf.gaussian.scores.score`). The loops know a score by its features, by the lines that
bound it, and by the code of its formula in :func:`exact_value`. A search goes down a tree of boxes,
all queries together: at each node only those go on whose upper bound over the box reaches their
floor. What arrives at a block of items is filtered by a float32 inner product of features with a
certified error margin, and what passes the filter is scored in float64 by the formula. Nothing that
could be among the k best is ever dropped on the strength of a float32 number.

The search goes block by block and not query by query. A single query that descends a tree is
limited by memory, however good the bounds are; a block that all its queries share stays in the
cache.

All loops stand in one file because numba compiles a function again when the file that it is in has
changed, and not when those of the functions that it calls have.
"""

from __future__ import annotations

import math

import numpy as np

from vaeudf.gaussian.scores.score import Features
from vaeudf.search.compiled import compiled
from vaeudf.search.records import Heaps, Items, Level, Local, Nodes, Partly, Queries, Work
from vaeudf.search.vectors import (
    LANES,
    ROWS,
    add_dots,
    dot,
    lowest_bit,
    multiply_tile,
    transpose_eight,
)

BLOCK = 64
"""Items per block, the unit of the filter: 64 × 20 features of 4 bytes stay in the L1 cache."""
FAN_OUT = 16
"""Children per node of the tree of boxes."""
# Queries whose sums with a block's items stay in the cache, a multiple of ROWS.
_TILE = 16 * ROWS

# The fields of the records by their places: whoever changes them, changes this file, and numba
# compiles anew. Otherwise what it keeps on disk would go on reading the old places.
_FIELDS = (
    (Features._fields, "forward weighted backward log_volume constant with_sigma masked added"),
    (
        Items._fields,
        "code features log_tau2 mu log_var labels base psi centres magnitudes order cuts bases",
    ),
    (Nodes._fields, "starts low high forward backward added narrowest widest peak"),
    (
        Queries._fields,
        "mu log_var points spread weights constant unfiltered "
        "point_down point_up spread_down weight_down closed",
    ),
    (Heaps._fields, "values labels counts floors cuts sums tally codes held at_most"),
    (Local._fields, "phi offsets lifts thresholds places scores"),
    (Level._fields, "places down up spread weight closed"),
    (
        Partly._fields,
        "cuts ends coordinates least_precision most_precision least_variance most_added size_added",
    ),
    (Work._fields, "thresholds offsets sums masks places rows numbers items"),
)
for _found, _expected in _FIELDS:
    if _found != tuple(_expected.split()):
        raise TypeError(
            f"a record has the fields {' '.join(_found)}, but vaeudf.search.kernels expects "
            f"{_expected}; write the new ones there."
        )

# The codes of the scores' formulas: those that the scores' objects have. A new score gets its name,
# in capitals, at the end, and range counts one more.
(
    LOG_LIKELIHOOD,
    MAHALANOBIS,
    EUCLIDEAN,
    KL,
    REVERSE_KL,
    JEFFREYS,
    WASSERSTEIN2,
    BHATTACHARYYA,
    MLS,
    LOG_LIKELIHOOD_BY_QUERY,
    BLEND,
) = range(11)

# exp(709.8) overflows float64; the same clip as vaeudf.gaussian's.
_MAX_LOG_SIGMA = 700.0
_LOG_2PI = math.log(2.0 * math.pi)
_HUGE = np.float32(3e38)
_ZERO = np.float32(0)
_EPS32 = 2.0**-24
# The bounds take a distance below this for 0: its square would not be a normal float32.
_NEAREST = np.float32(1e-18)
# Sums beyond this are not trusted to float32.
_LARGEST_SUM = 1e37
# Where variances are added, four of them are multiplied: float32 is not trusted beyond these.
_NARROWEST, _WIDEST = 1e-7, 1e8
# There, a dimension that a query leaves open has this variance to add: what differs from one item
# to the next is then below the margin.
_OPEN_VARIANCE = 2.0**26
# A float32 x > 0, its bits read as a whole number b, has 2^-23 b - 127 ≤ log2 x, and is at most
# 0.0861 above that; the filter takes the middle.
_PER_BIT = np.float32(2.0**-23)
_BIAS = np.float32(127)
_MIDDLE = np.float32(127 - 0.04304)
_OFF_MIDDLE = 0.0431
_LOG_2 = math.log(2.0)
_SMALLEST_NORMAL = np.float32(1.2e-38)
_INFINITE = np.float32(np.inf)


# ---- exact values: the direct formulas in float64


@compiled()
def _blurred(log_var: float, log_tau2: float) -> float:
    """Return log(exp(log_var) + tau²)."""
    if log_tau2 == -math.inf:
        return log_var
    high = max(log_var, log_tau2)
    return high + math.log1p(math.exp(min(log_var, log_tau2) - high))


@compiled()
def _sigma(log_var: float) -> float:
    """Return sigma, capped: two infinite ones would have NaN as their difference."""
    return math.exp(min(0.5 * log_var, _MAX_LOG_SIGMA))


@compiled()
def _scaled_square(distance: float, log_var: float) -> float:
    """Return distance² / exp(log_var), scaled before it is squared."""
    half = 0.5 * log_var
    half = min(max(half, -_MAX_LOG_SIGMA), _MAX_LOG_SIGMA)
    scaled = distance * math.exp(-half)
    return scaled * scaled


@compiled()
def _excess(difference: float) -> float:
    """Return e^x - 1 - x, ≥ 0, accurate near 0."""
    if abs(difference) < 1e-2:
        x = difference
        return x * x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x / 720))))
    return math.expm1(difference) - difference


@compiled()
def _log_cosh(x: float) -> float:
    """Return log cosh x, ≥ 0, accurate near 0; from 20 on a straight line."""
    bent = min(abs(x), 20.0)
    sinh = math.sinh(bent)
    return 0.5 * math.log1p(sinh * sinh) + (abs(x) - bent)


@compiled()
def _half_square(total: float) -> float:
    """Return minus half the square of the distance whose square this is."""
    # Items at one distance tie, whatever their squares' last digits are.
    distance = math.sqrt(total)
    return -0.5 * (distance * distance)


@compiled()
def exact_value(code, query_mu, query_log_var, mu, log_var, log_tau2):
    """Return one item's value to one query in float64, by the formula of the score.

    Args:
        code: The score's.
        query_mu: z, NaN in a dimension that is left open, or a Gaussian query's mean, (n,); a
            blend's centre and slopes, (2n,).
        query_log_var: A Gaussian query's log sigma², tolerance included, (n,); a blend's second
            moments and weights, (2n,).
        mu: The item's mean, (n,).
        log_var: The item's log sigma² as stored, (n,).
        log_tau2: Log of the squared tolerance of each dimension, (n,).

    Raises:
        ValueError: No score here has this code.
    """
    total = 0.0
    n = len(mu)
    if code == LOG_LIKELIHOOD:
        closed = 0
        for i in range(n):
            if not math.isnan(query_mu[i]):
                blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
                total += _scaled_square(query_mu[i] - mu[i], blurred) + blurred
                closed += 1
        return -0.5 * (total + closed * _LOG_2PI)
    if code == MAHALANOBIS:
        for i in range(n):
            if not math.isnan(query_mu[i]):
                blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
                total += _scaled_square(query_mu[i] - mu[i], blurred)
        return _half_square(total)
    if code == EUCLIDEAN:
        for i in range(n):
            if not math.isnan(query_mu[i]):
                distance = query_mu[i] - mu[i]
                total += distance * distance
        return _half_square(total)
    if code == KL:
        for i in range(n):
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            difference = query_log_var[i] - blurred
            total += _scaled_square(query_mu[i] - mu[i], blurred) + _excess(difference)
        return -0.5 * total
    if code == REVERSE_KL:
        for i in range(n):
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            difference = blurred - query_log_var[i]
            total += _scaled_square(query_mu[i] - mu[i], query_log_var[i]) + _excess(difference)
        return -0.5 * total
    if code == JEFFREYS:
        for i in range(n):
            distance = query_mu[i] - mu[i]
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            difference = query_log_var[i] - blurred
            total += _scaled_square(distance, blurred) + _excess(difference)
            total += _scaled_square(distance, query_log_var[i]) + _excess(-difference)
        return -0.5 * total
    if code == WASSERSTEIN2:
        for i in range(n):
            distance = query_mu[i] - mu[i]
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            spread = _sigma(query_log_var[i]) - _sigma(blurred)
            total += distance * distance + spread * spread
        return _half_square(total)
    if code == BHATTACHARYYA:
        for i in range(n):
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            difference = query_log_var[i] - blurred
            # Log of the mean variance, by the larger of the two: exp cannot overflow.
            largest = max(query_log_var[i], blurred)
            middle = largest + math.log1p(math.exp(-abs(difference))) - math.log(2.0)
            total += 0.25 * _scaled_square(query_mu[i] - mu[i], middle)
            total += _log_cosh(0.5 * difference)
        return -0.5 * total
    if code == MLS:
        for i in range(n):
            blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
            largest = max(query_log_var[i], blurred)
            both = largest + math.log1p(math.exp(-abs(query_log_var[i] - blurred)))
            middle = both - math.log(2.0)
            total += 0.5 * _scaled_square(query_mu[i] - mu[i], middle) + both
        return -0.5 * (total + n * _LOG_2PI)
    if code == LOG_LIKELIHOOD_BY_QUERY:
        closed = 0
        for i in range(n):
            if not math.isnan(query_mu[i]):
                blurred = _blurred(np.float64(log_var[i]), query_log_var[i])
                total += _scaled_square(query_mu[i] - mu[i], blurred) + blurred
                closed += 1
        return -0.5 * (total + closed * _LOG_2PI)
    if code == BLEND:
        weight = 0.0
        for i in range(n):
            if not math.isnan(query_mu[i]):
                blurred = _blurred(np.float64(log_var[i]), log_tau2[i])
                half = min(max(0.5 * blurred, -_MAX_LOG_SIGMA), _MAX_LOG_SIGMA)
                by_sigma = math.exp(-half)
                scaled = (query_mu[i] - mu[i]) * by_sigma
                share = query_log_var[n + i]
                square = share * (scaled * scaled)
                square += 2.0 * (query_mu[n + i] * by_sigma) * scaled
                square += (query_log_var[i] * by_sigma) * by_sigma
                total += square + share * blurred
                weight += share
        total = -0.5 * (total + weight * _LOG_2PI)
        # Beyond float64's range, terms of both signs are NaN.
        return total if total == total else -math.inf
    raise ValueError("the score has a code without a formula in vaeudf.search.kernels.exact_value")


# ---- items made ready


@compiled()
def _coordinates(with_sigma, mu, log_var, log_tau2, points, log_vars):
    """Write where an item is in the space of the boxes, and its log variances there."""
    n = len(mu)
    for i in range(n):
        points[i] = mu[i]
        log_vars[i] = _blurred(np.float64(log_var[i]), log_tau2[i])
        if with_sigma:
            points[n + i] = _sigma(log_vars[i])
            log_vars[n + i] = log_vars[i]


@compiled()
def _fill_added(items):
    """Write the features for added variances: coordinates, variances, and the base."""
    psi = items.psi
    magnitudes = items.magnitudes
    d = items.mu.shape[1]
    width = psi.shape[1]
    log_volume = items.features.log_volume
    points = np.empty(d)
    log_vars = np.empty(d)
    # What is beyond the last dimension or item has the variance 1.
    for block in range(len(psi)):
        for f in range(1, width, 2):
            for j in range(BLOCK):
                psi[block, f, j] = 1
    for row in range(len(items.mu)):
        _coordinates(False, items.mu[row], items.log_var[row], items.log_tau2, points, log_vars)
        block = row // BLOCK
        j = row % BLOCK
        parent = block // FAN_OUT
        constant = 0.0
        size = 0.0
        for i in range(d):
            x = points[i] - items.centres[parent, i]
            variance = math.exp(log_vars[i])
            psi[block, 2 * i, j] = x
            psi[block, 2 * i + 1, j] = variance
            magnitudes[parent, 2 * i] = max(magnitudes[parent, 2 * i], abs(x))
            magnitudes[parent, 2 * i + 1] = max(magnitudes[parent, 2 * i + 1], variance)
            constant += log_volume * log_vars[i]
            size += abs(log_volume * log_vars[i])
        items.base[block, j] = constant
        if not size < magnitudes[parent, width]:  # NaN too
            magnitudes[parent, width] = size if size == size else np.inf


@compiled()
def fill_features(items):
    """Write the filter's features of all items; those of the queries are in _query_features.

    Args:
        items: With ``base`` filled with -inf, ``psi`` and ``magnitudes`` with 0.
    """
    forward = items.features.forward
    backward = items.features.backward
    if items.features.added > 0:
        _fill_added(items)
        return
    if not forward and not backward:  # every item is scored by the formula
        return
    weighted = items.features.weighted
    masked = items.features.masked
    log_volume = items.features.log_volume
    per_dimension = items.features.constant
    psi = items.psi
    magnitudes = items.magnitudes
    d = items.centres.shape[1]
    width = psi.shape[1]
    points = np.empty(d)
    log_vars = np.empty(d)
    squares = np.empty(len(items.cuts))
    for row in range(len(items.mu)):
        _coordinates(
            items.features.with_sigma,
            items.mu[row],
            items.log_var[row],
            items.log_tau2,
            points,
            log_vars,
        )
        block = row // BLOCK
        j = row % BLOCK
        parent = block // FAN_OUT
        constant = 0.0 if masked else per_dimension * d
        size = abs(constant)
        # What the squares of the first coordinates take from the constant.
        taken = 0.0
        squares[:] = 0.0
        cut = 0
        f = 0
        for i in range(d):
            if cut < len(squares) and i == items.cuts[cut]:
                squares[cut] = taken
                cut += 1
            x = points[items.order[i]] - items.centres[parent, i]
            log_s = log_vars[items.order[i]]
            if forward:
                precision = math.exp(-log_s) if weighted else 1.0
                along = precision * x
                square = 0.5 * along * x
                psi[block, f, j] = precision
                psi[block, f + 1, j] = along
                magnitudes[parent, f] = max(magnitudes[parent, f], precision)
                magnitudes[parent, f + 1] = max(magnitudes[parent, f + 1], abs(along))
                f += 2
                volume = log_volume * log_s
                if masked:
                    psi[block, f, j] = per_dimension - square + volume
                    # What is added up, for it may cancel.
                    added = abs(per_dimension) + square + abs(volume)
                    if not added < magnitudes[parent, f]:  # NaN too
                        magnitudes[parent, f] = added if added == added else np.inf
                    f += 1
                else:
                    constant += volume
                    taken += square
                    size += square + abs(volume)
            if backward:
                square = 0.5 * (x * x + math.exp(log_s))
                psi[block, f, j] = x
                psi[block, f + 1, j] = -square
                magnitudes[parent, f] = max(magnitudes[parent, f], abs(x))
                magnitudes[parent, f + 1] = max(magnitudes[parent, f + 1], square)
                f += 2
                if not forward:
                    constant += log_volume * log_s
                    size += abs(log_volume * log_s)
        items.base[block, j] = constant - taken
        for c in range(len(squares)):
            items.bases[block, c, j] = constant - squares[c]
        if not size < magnitudes[parent, width]:  # NaN too
            magnitudes[parent, width] = size if size == size else np.inf


# ---- the running top-k


@compiled()
def _sink(values, labels, held, i, count, value, label, code):
    """Put an item in place i of a heap, or below it: it is not worse than the one there."""
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        right = child + 1
        if right < count and (
            values[right] < values[child]
            or (values[right] == values[child] and labels[right] > labels[child])
        ):
            child = right
        worse = values[child] < value or (values[child] == value and labels[child] > label)
        if not worse:
            break
        values[i] = values[child]
        labels[i] = labels[child]
        held[i] = held[child]
        i = child
    values[i] = value
    labels[i] = label
    held[i] = code


@compiled()
def _push_per_value(heaps, q, value, label):
    """Take an item into a query's heap, which holds at most so many items of one code."""
    values = heaps.values[q]
    labels = heaps.labels[q]
    held = heaps.held[q]
    k = len(values)
    count = heaps.counts[q]
    if count == k and (value < values[0] or (value == values[0] and label > labels[0])):
        if value == values[0]:
            heaps.tally[3] = 1
        return
    code = heaps.codes[label]
    # A scan of the codes takes less time than a count of each would, which needs room for all codes
    # and all queries.
    same = 0
    for i in range(count):
        if held[i] == code:
            same += 1
    if same >= heaps.at_most:
        worst = -1
        equal = 0
        for i in range(count):
            if held[i] != code:
                continue
            if worst < 0 or values[i] < values[worst]:
                worst = i
                equal = 0
            if values[i] == values[worst]:
                equal += 1
                if labels[i] > labels[worst]:
                    worst = i
        if value < values[worst]:
            return
        if value == values[worst] or equal > 1:
            heaps.tally[3] = 1
        if value == values[worst] and label > labels[worst]:
            return
        _sink(values, labels, held, worst, count, value, label, code)
    elif count < k:
        i = count
        heaps.counts[q] = count + 1
        while i > 0:
            parent = (i - 1) >> 1
            worse = value < values[parent] or (value == values[parent] and label > labels[parent])
            if not worse:
                break
            values[i] = values[parent]
            labels[i] = labels[parent]
            held[i] = held[parent]
            i = parent
        values[i] = value
        labels[i] = label
        held[i] = code
    else:
        dropped = values[0]
        _sink(values, labels, held, 0, count, value, label, code)
        if value == dropped or values[0] == dropped:
            heaps.tally[3] = 1
    # The k-th of any k items that the codes allow is not above that of the k best.
    if heaps.counts[q] == k and values[0] > heaps.floors[q]:
        heaps.floors[q] = values[0]


@compiled()
def _push(heaps, q, value, label):
    """Take an item into a query's heap, if it is among the k best so far."""
    if len(heaps.codes):
        _push_per_value(heaps, q, value, label)
        return
    values = heaps.values[q]
    labels = heaps.labels[q]
    k = len(values)
    count = heaps.counts[q]
    if count < k:
        i = count
        heaps.counts[q] = count + 1
        while i > 0:
            parent = (i - 1) >> 1
            worse = value < values[parent] or (value == values[parent] and label > labels[parent])
            if not worse:
                break
            values[i] = values[parent]
            labels[i] = labels[parent]
            i = parent
        values[i] = value
        labels[i] = label
        if count + 1 == k and values[0] > heaps.floors[q]:
            heaps.floors[q] = values[0]
        return
    worst = values[0]
    if value == worst:
        heaps.tally[3] = 1
    if value < worst or (value == worst and label > labels[0]):
        return
    i = 0
    while True:
        child = 2 * i + 1
        if child >= k:
            break
        right = child + 1
        if right < k and (
            values[right] < values[child]
            or (values[right] == values[child] and labels[right] > labels[child])
        ):
            child = right
        worse = values[child] < value or (values[child] == value and labels[child] > label)
        if not worse:
            break
        values[i] = values[child]
        labels[i] = labels[child]
        i = child
    values[i] = value
    labels[i] = label
    if values[0] == worst:
        heaps.tally[3] = 1
    if values[0] > heaps.floors[q]:
        heaps.floors[q] = values[0]


@compiled()
def _limit(heaps, q):
    """Return the value below which an item does not matter to a query."""
    return min(heaps.floors[q], heaps.cuts[q])


@compiled()
def _take(heaps, q, value, label):
    """Take a scored item into a query's heap and sum."""
    if value >= heaps.cuts[q] and value > -np.inf:
        largest = heaps.sums[q, 0]
        if value <= largest:
            heaps.sums[q, 1] += math.exp(value - largest)
        else:
            heaps.sums[q, 1] = heaps.sums[q, 1] * math.exp(largest - value) + 1.0
            heaps.sums[q, 0] = value
    if value >= heaps.floors[q]:
        _push(heaps, q, value, label)


@compiled()
def flatten(heaps):
    """Return what the heaps hold, as (queries, values, labels), in no order."""
    total = heaps.counts.sum()
    queries = np.empty(total, np.int64)
    values = np.empty(total, np.float64)
    labels = np.empty(total, np.int64)
    at = 0
    for q in range(len(heaps.counts)):
        for i in range(heaps.counts[q]):
            # It may have been pushed before the floor rose above it.
            if heaps.values[q, i] >= heaps.floors[q]:
                queries[at] = q
                values[at] = heaps.values[q, i]
                labels[at] = heaps.labels[q, i]
                at += 1
    return queries[:at], values[:at], labels[:at]


# ---- bounds


@compiled(fastmath={"contract"})
def _distance(low, high, down, up):
    """Return the distance of a query's coordinate from a side of a box, not above it, or 0."""
    a = low - up
    b = down - high
    a = a if a > b else b
    return a if a > _NEAREST else _ZERO


@compiled(fastmath={"contract"})
def _highest(lines, t):
    """Return the highest of three lines at t; lines: intercept and slope of each, (6,)."""
    p0, m0, p1, m1, p2, m2 = lines
    x = p0 + m0 * t
    y = p1 + m1 * t
    z = p2 + m2 * t
    x = x if x > y else y
    return x if x > z else z


@compiled()
def _six(row):
    return row[0], row[1], row[2], row[3], row[4], row[5]


@compiled(fastmath={"contract"}, error_model="numpy")
def _added_whole(t, v, narrowest, widest, half):
    """Return -½ t / u, not below it, and u, where u = s + v is nearest to t.

    Below the normal numbers the bits are no logarithm: there the bound says nothing.
    """
    u = widest + v
    u = t if t < u else u
    least = narrowest + v
    u = u if u > least else least
    return -(half * (t / u)) if u > _SMALLEST_NORMAL else -_INFINITE, u


@compiled(fastmath={"contract"}, error_model="numpy")
def _added_half(t, v, narrowest, widest, half):
    """Return the same where t counts half: at the largest s, and the s that is nearest to v."""
    own = v if v < widest else widest
    own = own if own > narrowest else narrowest
    factor = (own + v) * ((own + v) / own)
    u = widest + v
    return -(half * (t / u)) if factor > _SMALLEST_NORMAL else -_INFINITE, factor


@compiled(fastmath={"contract"}, error_model="numpy")
def _bounds_of_added(nodes, node, down, up, spread, closed, count, out):
    """Add up an upper bound of the terms with added variances over one box.

    With u = s + v, the term -½ (t / u + log u) is highest where u is nearest to t. If the squared
    distance t counts half and ¼ log s is added, the two parts are highest at the largest s, and
    where s is nearest to v.
    """
    half = np.float32(0.5) * nodes.added
    whole = nodes.added == np.float32(1)
    masked = closed.shape[1] > 0
    by_log = np.float32((0.5 if whole else 0.25) * _LOG_2)
    factors = np.empty(count, np.float32)
    bits = factors.view(np.int32)
    for i in range(nodes.low.shape[1]):
        low = nodes.low[node, i]
        high = nodes.high[node, i]
        narrowest = nodes.narrowest[node, i]
        widest = nodes.widest[node, i]
        for s in range(count):
            a = _distance(low, high, down[i, s], up[i, s])
            v = spread[i, s]
            if whole:
                term, factor = _added_whole(a * a, v, narrowest, widest, half)
            else:
                term, factor = _added_half(a * a, v, narrowest, widest, half)
            if masked:
                is_open = closed[i, s] == _ZERO
                factor = np.float32(1) if is_open else factor
                term = _ZERO if is_open else term
            factors[s] = factor
            out[s] += term
        for s in range(count):
            out[s] -= by_log * (np.float32(bits[s]) * _PER_BIT - _BIAS)


@compiled(fastmath={"contract"})
def bounds(nodes, node, down, up, spread, weight, closed, count, out):
    """Write an upper bound of every query's value over one box, certified in float32.

    Args:
        nodes: The boxes.
        node: Which one.
        down: Queries' points rounded down, one row per dimension, (d, ≥ count).
        up: The same rounded up.
        spread: Variances to add to the squared distances, (d, ≥ count); (d, 0) for none.
        weight: 1 / variance for the backward terms, (d, ≥ count); (d, 0) for none.
        closed: 1, or 0 for a coordinate that a query leaves open, (d, ≥ count); (d, 0) for none.
        count: Queries.
        out: Filled up to ``count``.
    """
    d = nodes.low.shape[1]
    half = np.float32(0.5)
    forward = len(nodes.forward) > 0
    backward = len(nodes.backward) > 0
    for s in range(count):
        out[s] = _ZERO
    if len(nodes.widest) > 0:
        _bounds_of_added(nodes, node, down, up, spread, closed, count, out)
    for i in range(d):
        low = nodes.low[node, i]
        high = nodes.high[node, i]
        if forward:
            lines = _six(nodes.forward[node, i])
            if closed.shape[1] > 0 and spread.shape[1] > 0:
                # Of queries that leave dimensions open, only blends have spreads.
                for s in range(count):
                    a = _distance(low, high, down[i, s], up[i, s])
                    x = _highest(lines, a * a + spread[i, s])
                    out[s] += x if closed[i, s] > _ZERO else _ZERO
            elif closed.shape[1] > 0:
                for s in range(count):
                    a = _distance(low, high, down[i, s], up[i, s])
                    x = _highest(lines, a * a)
                    out[s] += x if closed[i, s] > _ZERO else _ZERO
            elif spread.shape[1] == 0:
                # A loop of its own for the most usual scores: no spreads to read.
                for s in range(count):
                    a = _distance(low, high, down[i, s], up[i, s])
                    out[s] += _highest(lines, a * a)
            else:
                for s in range(count):
                    a = _distance(low, high, down[i, s], up[i, s])
                    out[s] += _highest(lines, a * a + spread[i, s])
        if backward:
            lines = _six(nodes.backward[node, i])
            for s in range(count):
                a = _distance(low, high, down[i, s], up[i, s])
                w = weight[i, s]
                out[s] += _highest(lines, w) - half * (w * (a * a))
    # Each of the sums' roundings is at most the unit roundoff times the sum of the terms' absolute
    # values, and that is at most |out| plus twice what is positive in the intercepts.
    slack = np.float32((8 * d + 32) * _EPS32)
    peak = np.float32(4) * nodes.peak[node]
    for s in range(count):
        out[s] += slack * (abs(out[s]) + peak)


@compiled()
def _cannot_matter(bound, floor, constant):
    # Where floor and constant all but cancel, the bound's own slack does not cover their rounding.
    # A bound beyond float32's range, or one that is NaN, says nothing.
    return bound < floor - constant - 1e-12 * abs(constant) and bound > -_HUGE


@compiled()
def _floor32(value):
    """Return a float32 that is certainly not above a float64."""
    if not value > -3e38:
        return np.float32(-np.inf)
    if value > 3e38:
        return np.float32(3e38)
    return np.float32(value - abs(value) * 2.0**-22 - 1e-37)


# ---- the filter


@compiled()
def _four(phi, s, f):
    return phi[s, f], phi[s, f + 1], phi[s, f + 2], phi[s, f + 3]


@compiled(fastmath={"contract"})
def _filter(psi, base, phi, thresholds, chosen, start, count, scores):
    """Score a block for the chosen queries, four at a time, up to the first that reach a threshold.

    With four queries by four features, each item's feature is loaded once for four queries, and the
    16 weights stay in registers. ``python -m benchmarks.search --only brute`` measures it.

    Returns:
        The place of these queries in ``chosen``, or ``count``, and how many items reach the
        threshold of each; the items' numbers are in ``scores``. NaN counts as a hit.
    """
    last = psi.shape[0] - 4
    a0 = scores[0]
    a1 = scores[1]
    a2 = scores[2]
    a3 = scores[3]
    for at in range(start, count, 4):
        # The last group repeats its last query; those numbers are not read.
        c0 = chosen[at]
        c1 = chosen[min(at + 1, count - 1)]
        c2 = chosen[min(at + 2, count - 1)]
        c3 = chosen[min(at + 3, count - 1)]
        t0 = thresholds[c0]
        t1 = thresholds[c1]
        t2 = thresholds[c2]
        t3 = thresholds[c3]
        h0 = np.int32(0)
        h1 = np.int32(0)
        h2 = np.int32(0)
        h3 = np.int32(0)
        # The first and the last four features have loops of their own, which spares two passes
        # over the scores.
        u0, u1, u2, u3 = _four(phi, c0, 0)
        v0, v1, v2, v3 = _four(phi, c1, 0)
        w0, w1, w2, w3 = _four(phi, c2, 0)
        x0, x1, x2, x3 = _four(phi, c3, 0)
        for j in range(BLOCK):
            p0 = psi[0, j]
            p1 = psi[1, j]
            p2 = psi[2, j]
            p3 = psi[3, j]
            c = base[j]
            a0[j] = (((c + u0 * p0) + u1 * p1) + u2 * p2) + u3 * p3
            a1[j] = (((c + v0 * p0) + v1 * p1) + v2 * p2) + v3 * p3
            a2[j] = (((c + w0 * p0) + w1 * p1) + w2 * p2) + w3 * p3
            a3[j] = (((c + x0 * p0) + x1 * p1) + x2 * p2) + x3 * p3
        for f in range(4, last, 4):
            u0, u1, u2, u3 = _four(phi, c0, f)
            v0, v1, v2, v3 = _four(phi, c1, f)
            w0, w1, w2, w3 = _four(phi, c2, f)
            x0, x1, x2, x3 = _four(phi, c3, f)
            for j in range(BLOCK):
                p0 = psi[f, j]
                p1 = psi[f + 1, j]
                p2 = psi[f + 2, j]
                p3 = psi[f + 3, j]
                a0[j] = (((a0[j] + u0 * p0) + u1 * p1) + u2 * p2) + u3 * p3
                a1[j] = (((a1[j] + v0 * p0) + v1 * p1) + v2 * p2) + v3 * p3
                a2[j] = (((a2[j] + w0 * p0) + w1 * p1) + w2 * p2) + w3 * p3
                a3[j] = (((a3[j] + x0 * p0) + x1 * p1) + x2 * p2) + x3 * p3
        u0, u1, u2, u3 = _four(phi, c0, last)
        v0, v1, v2, v3 = _four(phi, c1, last)
        w0, w1, w2, w3 = _four(phi, c2, last)
        x0, x1, x2, x3 = _four(phi, c3, last)
        for j in range(BLOCK):
            p0 = psi[last, j]
            p1 = psi[last + 1, j]
            p2 = psi[last + 2, j]
            p3 = psi[last + 3, j]
            s0 = (((a0[j] + u0 * p0) + u1 * p1) + u2 * p2) + u3 * p3
            a0[j] = s0
            s1 = (((a1[j] + v0 * p0) + v1 * p1) + v2 * p2) + v3 * p3
            a1[j] = s1
            s2 = (((a2[j] + w0 * p0) + w1 * p1) + w2 * p2) + w3 * p3
            a2[j] = s2
            s3 = (((a3[j] + x0 * p0) + x1 * p1) + x2 * p2) + x3 * p3
            a3[j] = s3
            h0 += np.int32(not s0 < t0)
            h1 += np.int32(not s1 < t1)
            h2 += np.int32(not s2 < t2)
            h3 += np.int32(not s3 < t3)
        if h0 + h1 + h2 + h3:
            return at, (h0, h1, h2, h3)
    return count, (np.int32(0), np.int32(0), np.int32(0), np.int32(0))


@compiled(fastmath={"contract"}, error_model="numpy")
def _score_added(psi, base, phi, half, numbers, factors):
    """Score a block for one query by a score with added variances, four dimensions at a time.

    Σ t / u over four dimensions is one fraction, whose denominator is also what log Σ u is taken
    of, by its bits.
    """
    bits = factors.view(np.int32)
    by_log = np.float32(0.5 * _LOG_2)
    for j in range(BLOCK):
        numbers[j] = base[j]
    for f in range(0, psi.shape[0], 8):
        y0, v0, y1, v1 = phi[f], phi[f + 1], phi[f + 2], phi[f + 3]
        y2, v2, y3, v3 = phi[f + 4], phi[f + 5], phi[f + 6], phi[f + 7]
        for j in range(BLOCK):
            d0 = psi[f, j] - y0
            u0 = psi[f + 1, j] + v0
            d1 = psi[f + 2, j] - y1
            u1 = psi[f + 3, j] + v1
            d2 = psi[f + 4, j] - y2
            u2 = psi[f + 5, j] + v2
            d3 = psi[f + 6, j] - y3
            u3 = psi[f + 7, j] + v3
            first = u0 * u1
            second = u2 * u3
            above = (d0 * d0 * u1 + d1 * d1 * u0) * second + (d2 * d2 * u3 + d3 * d3 * u2) * first
            below = first * second
            factors[j] = below
            numbers[j] -= half * (above / below)
        for j in range(BLOCK):
            numbers[j] -= by_log * (np.float32(bits[j]) * _PER_BIT - _MIDDLE)


@compiled()
def _filter_added(psi, base, phi, thresholds, chosen, start, count, half, scores):
    """The same as _filter for a score with added variances."""
    for at in range(start, count, 4):
        h0 = np.int32(0)
        h1 = np.int32(0)
        h2 = np.int32(0)
        h3 = np.int32(0)
        for a in range(min(4, count - at)):
            c = chosen[at + a]
            numbers = scores[a]
            _score_added(psi, base, phi[c], half, numbers, scores[4])
            threshold = thresholds[c]
            hits = np.int32(0)
            for j in range(BLOCK):
                hits += np.int32(not numbers[j] < threshold)
            if a == 0:
                h0 = hits
            elif a == 1:
                h1 = hits
            elif a == 2:
                h2 = hits
            else:
                h3 = hits
        if h0 + h1 + h2 + h3:
            return at, (h0, h1, h2, h3)
    return count, (np.int32(0), np.int32(0), np.int32(0), np.int32(0))


@compiled()
def _visit_block(items, queries, block, chosen, count, local, heaps, exactly):
    """Take one block's items into the heaps of the chosen of a parent's queries.

    If not ``exactly``, the heaps get a value that the item certainly reaches.
    """
    first = block * BLOCK
    rows = min(BLOCK, len(items.labels) - first)
    heaps.tally[0] += rows * count
    start = 0
    half = np.float32(0.5 * items.features.added)
    while True:
        if half > _ZERO:
            start, hits = _filter_added(
                items.psi[block],
                items.base[block],
                local.phi,
                local.thresholds,
                chosen,
                start,
                count,
                half,
                local.scores,
            )
        else:
            start, hits = _filter(
                items.psi[block],
                items.base[block],
                local.phi,
                local.thresholds,
                chosen,
                start,
                count,
                local.scores,
            )
        if start >= count:
            return
        for a in range(min(4, count - start)):
            c = chosen[start + a]
            q = local.places[c]
            threshold = local.thresholds[c]
            every = local.offsets[c] == np.inf
            if hits[a] == 0 and not every:
                continue
            for j in range(rows):
                if not every and local.scores[a, j] < threshold:
                    continue
                row = first + j
                if items.labels[row] < 0:
                    continue
                if exactly or every:
                    value = exact_value(
                        items.code,
                        queries.mu[q],
                        queries.log_var[q],
                        items.mu[row],
                        items.log_var[row],
                        items.log_tau2,
                    )
                    heaps.tally[1] += 1
                else:
                    value = local.scores[a, j] + local.lifts[c]
                if exactly:
                    _take(heaps, q, value, items.labels[row])
                elif value >= heaps.floors[q]:
                    _push(heaps, q, value, items.labels[row])
                # A full heap's floor may have risen, and with it what the filter lets pass.
                threshold = _floor32(_limit(heaps, q) - local.offsets[c])
                local.thresholds[c] = threshold
        start += 4


@compiled()
def new_local(num_features, count):
    """Return scratch for ``count`` queries."""
    return Local(
        np.zeros((count, num_features), np.float32),
        np.empty(count, np.float64),
        np.empty(count, np.float64),
        np.empty(count, np.float32),
        np.empty(count, np.int64),
        np.empty((5, BLOCK), np.float32),
    )


@compiled(fastmath={"contract", "reassoc"})
def _query_features(features, queries, q, centre, magnitudes, phi, s):
    """Write a query's features, relative to a centre, to phi[s]; return (constant, size).

    The size is that of the sum of the absolute values of what the filter adds up, at most.
    """
    d = len(centre)
    constant = queries.constant[q]
    size = magnitudes[phi.shape[1]]
    if features.added > 0:
        d = queries.points.shape[1]
        narrowest = np.inf
        widest = 0.0
        farthest = 0.0
        masked = queries.closed.shape[1] > 0
        for i in range(d):
            x = queries.points[q, i] - centre[i]
            v = queries.spread[q, i]
            if masked and queries.closed[q, i] == 0:
                x, v = 0.0, _OPEN_VARIANCE
                constant += 0.5 * math.log(v)
                # What is left of the term, at most ½ (t + s) / v, for log(1 + s / v) ≤ s / v: a
                # quarter of what the margin adds for this size.
                size += 0.01 * (magnitudes[2 * i] * magnitudes[2 * i] + magnitudes[2 * i + 1])
            phi[s, 2 * i] = x
            phi[s, 2 * i + 1] = v
            distance = abs(x) + magnitudes[2 * i]
            # The least of the added variances, lowered by its rounding.
            least = (v + centre[d + i]) * (1 - 1e-12)
            size += 0.5 * features.added * distance * distance / least if least > 0 else np.inf
            narrowest = min(narrowest, least)
            widest = max(widest, v + magnitudes[2 * i + 1])
            farthest = max(farthest, distance)
        # Fourfold products of variances, and of three with a squared distance, are normal numbers.
        usual = narrowest > _NARROWEST and widest < _WIDEST and farthest < 1e5
        # |½ log u| of each dimension is at most 9.3.
        size += 10.0 * d
        return constant, size if usual else np.inf
    if features.masked:
        for i in range(d):
            f = 3 * i
            if queries.closed[q, i] == 0:
                phi[s, f] = 0
                phi[s, f + 1] = 0
                phi[s, f + 2] = 0
                continue
            x = queries.points[q, i] - centre[i]
            square = 0.5 * (x * x + queries.spread[q, i])
            phi[s, f] = -square
            phi[s, f + 1] = x
            phi[s, f + 2] = 1
            size += square * magnitudes[f] + abs(x) * magnitudes[f + 1] + magnitudes[f + 2]
        return constant, size
    if not features.backward:
        if features.forward:
            for i in range(d):
                x = queries.points[q, i] - centre[i]
                square = 0.5 * (x * x + queries.spread[q, i])
                phi[s, 2 * i] = -square
                phi[s, 2 * i + 1] = x
                size += square * magnitudes[2 * i] + abs(x) * magnitudes[2 * i + 1]
        return constant, size
    step = 4 if features.forward else 2
    f = 0
    for i in range(d):
        x = queries.points[q, i] - centre[i]
        w = queries.weights[q, i]
        if features.forward:
            square = 0.5 * (x * x + queries.spread[q, i])
            phi[s, f] = -square
            phi[s, f + 1] = x
            size += square * magnitudes[f] + abs(x) * magnitudes[f + 1]
        f += step
        phi[s, f - 2] = w * x
        phi[s, f - 1] = w
        size += abs(w * x) * magnitudes[f - 2] + w * magnitudes[f - 1]
        constant -= 0.5 * w * (x * x)
    return constant, size


@compiled()
def _cancelled(features, queries, q, magnitudes):
    """Return what a blend's spreads below 0 lack in the size: twice their absolute terms."""
    step = 3 if features.masked else 2
    size = 0.0
    for i in range(queries.points.shape[1]):
        size += max(-queries.spread[q, i], 0.0) * magnitudes[step * i]
    return size


@compiled()
def _enter_parent(items, queries, parent, chosen, count, heaps, local):
    """Fill the scratch for the queries that reach a parent.

    The margin bounds the difference between the filter's float32 number and the float64 value of
    any item of the parent: a sum of m products of rounded factors is wrong by at most
    (m + 3) u Σ |phi_f| |psi_f|, to first order, in whatever order it is summed (Higham, Accuracy
    and Stability of Numerical Algorithms, §3.1). It is infinite where float32 may overflow.
    """
    relative = (local.phi.shape[1] + 8) * 1.01 * _EPS32
    beyond = 0.0
    if items.features.added > 0:
        # A difference of rounded numbers, its square, a rounded sum, three products and a quotient
        # on the way of each term; and the logarithms by the bits, one for four dimensions.
        relative = (local.phi.shape[1] + 40) * 1.01 * _EPS32
        beyond = (0.5 * _LOG_2 * _OFF_MIDDLE + 1e-5) * (local.phi.shape[1] // 8)
    centre = items.centres[parent]
    magnitudes = items.magnitudes[parent]
    for s in range(count):
        q = chosen[s]
        local.places[s] = q
        constant, size = _query_features(
            items.features, queries, q, centre, magnitudes, local.phi, s
        )
        if items.code == BLEND:
            size += _cancelled(items.features, queries, q, magnitudes)
        margin = relative * size + 1e-12 * abs(constant) + beyond
        offset = constant + margin
        if queries.unfiltered[q] or not size < _LARGEST_SUM or not abs(offset) < np.inf:
            offset = np.inf
        local.offsets[s] = offset
        local.lifts[s] = constant - margin
        local.thresholds[s] = _floor32(_limit(heaps, q) - offset)


@compiled()
def scan_directly(items, queries, heaps):
    """Take every item into the heaps of all queries, by the direct formula alone."""
    num_queries = len(queries.mu)
    heaps.tally[0] += num_queries * len(items.mu)
    for row in range(len(items.mu)):
        if items.labels[row] < 0:
            continue
        for q in range(num_queries):
            value = exact_value(
                items.code,
                queries.mu[q],
                queries.log_var[q],
                items.mu[row],
                items.log_var[row],
                items.log_tau2,
            )
            _take(heaps, q, value, items.labels[row])


@compiled()
def scan(items, queries, chosen, heaps):
    """Take every item into the heaps of the chosen queries, without bounds."""
    count = len(chosen)
    local = new_local(items.psi.shape[1], count)
    every = np.arange(count)
    num_blocks = len(items.base)
    for parent in range(len(items.centres)):
        _enter_parent(items, queries, parent, chosen, count, heaps, local)
        for block in range(parent * FAN_OUT, min((parent + 1) * FAN_OUT, num_blocks)):
            _visit_block(items, queries, block, every, count, local, heaps, True)


@compiled()
def enter(items, queries, parent, heaps, local):
    """Fill the scratch for all queries at a parent."""
    count = len(queries.points)
    _enter_parent(items, queries, parent, np.arange(count), count, heaps, local)


@compiled()
def take_products(items, queries, parent, products, local, heaps):
    """Take a parent's items into the heaps, its features having been multiplied already.

    Args:
        items: The items.
        queries: The queries, all of which are in ``local``.
        parent: Which parent.
        products: Of the queries' features and the items', (blocks, Q, BLOCK) float32.
        local: The queries' scratch.
        heaps: The heaps.
    """
    count = len(queries.points)
    chosen = np.empty(count, np.int64)
    first = parent * FAN_OUT
    for b in range(len(products)):
        block = first + b
        base = items.base[block]
        kept = 0
        for s in range(count):
            hits = np.int32(0)
            threshold = local.thresholds[s]
            numbers = products[b, s]
            for j in range(BLOCK):
                hits += np.int32(not numbers[j] + base[j] < threshold)
            chosen[kept] = s
            kept += 1 if hits > 0 or local.offsets[s] == np.inf else 0
        if kept:
            _visit_block(items, queries, block, chosen, kept, local, heaps, True)


# ---- products of the first coordinates' features, and the others' for the pairs that are left


@compiled()
def _transpose(psi, first, rows):
    """Write a block's features from ``first`` on to ``rows``, (BLOCK, F): item by item."""
    source, stride = psi.ctypes.data, psi.strides[0]
    target, target_stride = rows.ctypes.data, rows.strides[0]
    for f in range(first, psi.shape[0], 8):
        for j in range(0, BLOCK, 8):
            transpose_eight(
                source + f * stride + 4 * j,
                stride,
                target + j * target_stride + 4 * f,
                target_stride,
            )


@compiled()
def _multiply_tile(psi, base, first, thresholds, start, count, sums, masks):
    """Multiply the first features of a block and of ``count`` queries from ``start`` on.

    Args:
        psi: The block's features, (F, BLOCK).
        base: What is added to the sums before they are compared, (BLOCK,).
        first: The queries' first features, (≥ start + count, W).
        thresholds: Of the queries, (≥ start + count,).
        start: The first query.
        count: How many, a multiple of ROWS.
        sums: Room for the sums, (count, BLOCK).
        masks: Room for the bits of the items that reach the thresholds, (count,).
    """
    for s in range(0, count, ROWS):
        for r in range(ROWS):
            masks[s + r] = np.uint64(0)
        for j in range(0, BLOCK, LANES):
            bits = multiply_tile(
                psi.ctypes.data + 4 * j,
                psi.strides[0],
                base.ctypes.data + 4 * j,
                first.ctypes.data + (start + s) * first.strides[0],
                first.shape[1],
                sums.ctypes.data + s * sums.strides[0] + 4 * j,
                sums.strides[0],
                thresholds.ctypes.data + 4 * (start + s),
            )
            shift = np.uint64(j)
            masks[s] |= np.uint64(bits[0]) << shift
            masks[s + 1] |= np.uint64(bits[1]) << shift
            masks[s + 2] |= np.uint64(bits[2]) << shift
            masks[s + 3] |= np.uint64(bits[3]) << shift
            masks[s + 4] |= np.uint64(bits[4]) << shift
            masks[s + 5] |= np.uint64(bits[5]) << shift


@compiled()
def _take_out(masks, sums, count, places, rows, numbers):
    """Write the pairs whose bits are set: query, item and sum; return how many there are."""
    one = np.uint64(1)
    found = np.uint64(0)
    for s in range(count):
        mask = masks[s]
        while mask:
            j = np.uint64(lowest_bit(mask))
            mask &= mask - one
            places[found] = s
            rows[found] = j
            numbers[found] = sums[s, j]
            found += one
    return np.int64(found)


@compiled()
def _multiply_on(phi, items, base, thresholds, begin, end, start, count, places, rows, numbers):
    """Add the products of the features from ``begin`` to ``end`` to the sums of some pairs.

    Args:
        phi: The queries' features, (Q, F).
        items: The block's, item by item, (BLOCK, F).
        base: What is added to the sums before they are compared, (BLOCK,).
        thresholds: Of the queries, (Q,).
        begin: The first feature.
        end: The one behind the last, a multiple of 8 away.
        start: The query that the places are counted from.
        count: How many pairs.
        places: Their queries.
        rows: Their items.
        numbers: Their sums so far.

    Returns:
        How many reach the thresholds; they are in the first places.
    """
    # Four at a time: the last are repeated.
    for i in range(count, (count + 3) // 4 * 4):
        places[i] = places[count - 1]
        rows[i] = rows[count - 1]
    for i in range(0, count, 4):
        add_dots(
            phi.ctypes.data + start * phi.strides[0] + 4 * begin,
            phi.strides[0],
            items.ctypes.data + 4 * begin,
            items.strides[0],
            places.ctypes.data + 4 * i,
            rows.ctypes.data + 4 * i,
            (end - begin) // 8,
            numbers.ctypes.data + 4 * i,
        )
    # Unsigned numbers are places as they are: Python's others count from the end.
    kept = np.uint64(0)
    first = np.uint64(start)
    for i in range(count):
        s = np.uint64(places[i])
        j = np.uint64(rows[i])
        total = numbers[i]
        places[kept] = s
        rows[kept] = j
        numbers[kept] = total
        kept += np.uint64(not total + base[j] < thresholds[first + s])
    return np.int64(kept)


@compiled()
def _add_rest(features, partly, queries, q, parent, centre, offset, offsets, s):
    """Write offsets[:, s]: an offset, and what the coordinates behind each stage add at most.

    In a product of the first coordinates' features, the item's constant has the logarithms of the
    others already. What else they add is highest where the item's coordinate is the query's own,
    and its variance the least or the largest of the parent's.
    """
    total = 0.0
    size = 0.0
    end = len(centre)
    masked = features.masked
    for stage in range(len(partly.ends) - 1, -1, -1):
        for i in range(partly.coordinates[stage], end):
            if masked and queries.closed[q, i] == 0:
                continue
            if features.forward:
                # -½ p v, where v may be below 0.
                v = queries.spread[q, i]
                p = partly.least_precision[parent, i] if v > 0 else partly.most_precision[parent, i]
                total -= 0.5 * p * v
                size += abs(p * v)
            if features.backward:
                # -½ w s; and -½ w y², which the query's constant has for all coordinates.
                y = queries.points[q, i] - centre[i]
                w = queries.weights[q, i]
                total += 0.5 * w * (y * y - partly.least_variance[parent, i])
                size += w * (y * y + partly.least_variance[parent, i])
            if masked:
                # What a closed coordinate adds whatever the query is.
                total += partly.most_added[parent, i]
                size += partly.size_added[parent, i]
        end = partly.coordinates[stage]
        # Far more than the sums' rounding in float64.
        offsets[stage, s] = offset + (total + 1e-12 * size)


@compiled()
def _same_features(items, one, other):
    """Return whether two parents have the same centre and magnitudes."""
    for i in range(items.centres.shape[1]):
        if items.centres[one, i] != items.centres[other, i]:
            return False
    for f in range(items.magnitudes.shape[1]):
        if items.magnitudes[one, f] != items.magnitudes[other, f]:
            return False
    return True


@compiled()
def _set_thresholds(items, queries, partly, parent, count, visited, heaps, local, work):
    """Fill the offsets and thresholds of all stages for the queries in ``local``."""
    for s in range(count):
        q = local.places[s]
        offset = local.offsets[s]
        if visited[parent, q] or offset == np.inf:
            work.thresholds[:, s] = _INFINITE
            continue
        if len(partly.least_precision):
            centre = items.centres[parent]
            _add_rest(items.features, partly, queries, q, parent, centre, offset, work.offsets, s)
        else:
            work.offsets[:, s] = offset
        _update_thresholds(heaps, q, work, s)
    work.thresholds[:, count:] = _INFINITE


@compiled()
def _update_thresholds(heaps, q, work, s):
    limit = _limit(heaps, q)
    for stage in range(len(work.offsets)):
        # An offset that is NaN says nothing, and neither does the threshold then.
        work.thresholds[stage, s] = _floor32(limit - work.offsets[stage, s])


@compiled()
def _take_unfiltered(items, queries, parent, q, heaps):
    """Take all of a parent's items into the heap of a query that has no filter there."""
    size = BLOCK * FAN_OUT
    for row in range(parent * size, min((parent + 1) * size, len(items.labels))):
        if items.labels[row] < 0:
            continue
        value = exact_value(
            items.code,
            queries.mu[q],
            queries.log_var[q],
            items.mu[row],
            items.log_var[row],
            items.log_tau2,
        )
        heaps.tally[1] += 1
        _take(heaps, q, value, items.labels[row])


@compiled()
def _note_pairs(items, first, start, count, local, low, heaps, work, pending, waiting):
    """Raise the floors by pairs that have passed the filter, and keep those that still matter.

    Args:
        items: The items.
        first: The row that the pairs' rows are counted from.
        start: The query in ``local`` that their places are counted from.
        count: How many there are in ``work``.
        local: The queries' scratch.
        low: Heaps of values that items certainly reach, whose floors are those of ``heaps``.
        heaps: The heaps.
        work: Has the pairs, and the thresholds, which rise with the floors.
        pending: Queries, rows, and values that are certainly not exceeded.
        waiting: How many pairs are in ``pending``, which has room for these.

    Returns:
        How many there are now.
    """
    before = -1
    for i in range(count):
        row = first + work.rows[i]
        s = start + work.places[i]
        if s != before:
            if before >= 0:
                _update_thresholds(heaps, local.places[before], work, before)
            before = s
        if row >= len(items.labels) or items.labels[row] < 0:
            continue
        q = local.places[s]
        value = work.numbers[i] + local.lifts[s]
        if value >= low.floors[q]:
            _push(low, q, value, items.labels[row])
    if before >= 0:
        _update_thresholds(heaps, local.places[before], work, before)
    queries, rows, uppers = pending
    for i in range(count):
        row = first + work.rows[i]
        if row >= len(items.labels) or items.labels[row] < 0:
            continue
        s = start + work.places[i]
        q = local.places[s]
        upper = work.numbers[i] + local.offsets[s]
        if not upper < _limit(heaps, q):  # NaN says nothing
            queries[waiting] = q
            rows[waiting] = row
            uppers[waiting] = upper
            waiting += 1
    return waiting


@compiled()
def take_pending(items, queries, pending, waiting, heaps):
    """Take the pairs that were kept into the heaps, where they still matter, by the formula."""
    places, rows, uppers = pending
    for i in range(waiting):
        q = places[i]
        if uppers[i] < _limit(heaps, q):
            continue
        row = rows[i]
        value = exact_value(
            items.code,
            queries.mu[q],
            queries.log_var[q],
            items.mu[row],
            items.log_var[row],
            items.log_tau2,
        )
        heaps.tally[1] += 1
        _take(heaps, q, value, items.labels[row])


@compiled()
def _new_work(stages, count, width):
    return Work(
        np.empty((stages, count), np.float32),
        np.empty((stages, count)),
        np.empty((_TILE, BLOCK), np.float32),
        np.empty(_TILE, np.uint64),
        np.empty(_TILE * BLOCK, np.int32),
        np.empty(_TILE * BLOCK, np.int32),
        np.empty(_TILE * BLOCK, np.float32),
        np.empty((BLOCK, width), np.float32),
    )


@compiled()
def scan_partly(items, queries, partly, visits, step, visited, heaps, low, pending, waiting):
    """Take the items of some parents into the heaps of some queries, by partial products first.

    Args:
        items: The items.
        queries: The queries, in the items' order of coordinates.
        partly: The stages of the products.
        visits: Which parents, and where the queries of each begin and end among the chosen ones.
        step: Of how many blocks one is looked at; if not of all, nothing is taken, and only the
            floors are raised.
        visited: Which parents' items a query has seen already, (parents, Q).
        heaps: The heaps.
        low: Heaps of values that items certainly reach, whose floors are those of ``heaps``.
        pending: Room for pairs that wait for their exact values: queries, rows and bounds.
        waiting: How many are in it.

    Returns:
        How many are in it at the end.
    """
    parents, begins, stops, chosen = visits
    most = 0
    for v in range(len(parents)):
        most = max(most, stops[v] - begins[v])
    # A tile has a multiple of ROWS queries.
    most = (most + ROWS - 1) // ROWS * ROWS
    width = items.psi.shape[1]
    stages = len(partly.ends)
    local = new_local(width, most)
    work = _new_work(stages, most, width)
    first = np.zeros((most, partly.ends[0]), np.float32)
    last_cut = len(items.cuts)
    for v in range(len(parents)):
        parent = parents[v]
        here = chosen[begins[v] : stops[v]]
        count = len(here)
        same = v > 0 and begins[v] == begins[v - 1] and stops[v] == stops[v - 1]
        if not (same and _same_features(items, parent, parents[v - 1])):
            _enter_parent(items, queries, parent, here, count, heaps, local)
            first[:count] = local.phi[:count, : partly.ends[0]]
        _set_thresholds(items, queries, partly, parent, count, visited, heaps, local, work)
        for s in range(count):
            if step == 1 and local.offsets[s] == np.inf and not visited[parent, here[s]]:
                _take_unfiltered(items, queries, parent, here[s], heaps)
        last = min((parent + 1) * FAN_OUT, len(items.base))
        for block in range(parent * FAN_OUT, last, step):
            psi = items.psi[block]
            transposed = False
            for start in range(0, count, _TILE):
                tile = min(_TILE, (count - start + ROWS - 1) // ROWS * ROWS)
                cut = partly.cuts[0]
                _multiply_tile(
                    psi,
                    items.base[block] if cut == last_cut else items.bases[block, cut],
                    first,
                    work.thresholds[0],
                    start,
                    tile,
                    work.sums,
                    work.masks,
                )
                for s in range(tile):
                    # NaN would pass.
                    if work.thresholds[0, start + s] == _INFINITE:
                        work.masks[s] = np.uint64(0)
                pairs = _take_out(work.masks, work.sums, tile, work.places, work.rows, work.numbers)
                if pairs and stages > 1 and not transposed:
                    _transpose(psi, partly.ends[0], work.items)
                    transposed = True
                for stage in range(1, stages):
                    cut = partly.cuts[stage]
                    pairs = _multiply_on(
                        local.phi,
                        work.items,
                        items.base[block] if cut == last_cut else items.bases[block, cut],
                        work.thresholds[stage],
                        partly.ends[stage - 1],
                        partly.ends[stage],
                        start,
                        pairs,
                        work.places,
                        work.rows,
                        work.numbers,
                    )
                if pairs == 0:
                    continue
                for i in range(pairs):
                    work.numbers[i] += items.base[block, work.rows[i]]
                if waiting + pairs > len(pending[0]):
                    take_pending(items, queries, pending, waiting, heaps)
                    waiting = 0
                waiting = _note_pairs(
                    items, block * BLOCK, start, pairs, local, low, heaps, work, pending, waiting
                )
        size = min(BLOCK * FAN_OUT, len(items.labels) - parent * BLOCK * FAN_OUT)
        size = size if step == 1 else 0
        for s in range(count):
            heaps.tally[0] += 0 if visited[parent, here[s]] else size
    if step > 1:
        # All items come later.
        low.counts[:] = 0
        return 0
    return waiting


@compiled()
def mean_values(items, queries, means, out):
    """Write the mean of the filter's numbers of each parent's items for every query.

    Args:
        items: The items.
        queries: The queries, in the items' order of coordinates.
        means: Means of the features and of the base, (parents, F + 1) float32.
        out: Filled, (Q, parents).
    """
    count = len(queries.points)
    width = items.psi.shape[1]
    phi = np.zeros((count, width), np.float32)
    constants = np.empty(count)
    for parent in range(len(items.centres)):
        if parent == 0 or not _same_features(items, parent, parent - 1):
            for q in range(count):
                constants[q], _ = _query_features(
                    items.features,
                    queries,
                    q,
                    items.centres[parent],
                    items.magnitudes[parent],
                    phi,
                    q,
                )
        for q in range(count):
            number = dot(
                phi.ctypes.data + q * phi.strides[0],
                means.ctypes.data + parent * means.strides[0],
                width // 8,
            )
            out[q, parent] = number + means[parent, width] + constants[q]


@compiled()
def count_partly(items, queries, partly, blocks, chosen, heaps):
    """Return how many pairs of some blocks and queries reach each stage's threshold.

    Args:
        items: The items.
        queries: The queries, in the items' order of coordinates.
        partly: The stages.
        blocks: Which blocks, (B,).
        chosen: The queries for each of them, (B, m).
        heaps: Their floors.

    Returns:
        Shape (S,).
    """
    most = chosen.shape[1]
    width = items.psi.shape[1]
    stages = len(partly.ends)
    reached = np.zeros(stages, np.int64)
    local = new_local(width, most)
    work = _new_work(stages, most, width)
    nowhere = np.zeros((len(items.centres), len(queries.points)), np.bool_)
    for b in range(len(blocks)):
        block = blocks[b]
        parent = block // FAN_OUT
        _enter_parent(items, queries, parent, chosen[b], most, heaps, local)
        _set_thresholds(items, queries, partly, parent, most, nowhere, heaps, local, work)
        _transpose(items.psi[block], 0, work.items)
        for s in range(most):
            for j in range(BLOCK):
                total = _ZERO
                begin = 0
                for stage in range(stages):
                    total += dot(
                        local.phi.ctypes.data + s * local.phi.strides[0] + 4 * begin,
                        work.items.ctypes.data + j * work.items.strides[0] + 4 * begin,
                        (partly.ends[stage] - begin) // 8,
                    )
                    begin = partly.ends[stage]
                    cut = partly.cuts[stage]
                    base = items.base[block, j]
                    if cut < len(items.cuts):
                        base = items.bases[block, cut, j]
                    if total + base < work.thresholds[stage, s]:
                        break
                    reached[stage] += 1
    return reached


@compiled()
def _new_level(queries, count):
    d = queries.points.shape[1]
    spreads = count if queries.spread_down.shape[1] else 0
    weights = count if queries.weight_down.shape[1] else 0
    masks = count if queries.closed.shape[1] else 0
    return Level(
        np.empty(count, np.int64),
        np.empty((d, count), np.float32),
        np.empty((d, count), np.float32),
        np.empty((d, spreads), np.float32),
        np.empty((d, weights), np.float32),
        np.empty((d, masks), np.float32),
    )


@compiled()
def _gather(queries, level, count):
    """Bring what the bounds need of these queries together, so that they run along memory."""
    d = queries.points.shape[1]
    for s in range(count):
        q = level.places[s]
        for i in range(d):
            level.down[i, s] = queries.point_down[q, i]
            level.up[i, s] = queries.point_up[q, i]
    if level.spread.shape[1]:
        for s in range(count):
            q = level.places[s]
            for i in range(d):
                level.spread[i, s] = queries.spread_down[q, i]
    if level.weight.shape[1]:
        for s in range(count):
            q = level.places[s]
            for i in range(d):
                level.weight[i, s] = queries.weight_down[q, i]
    if level.closed.shape[1]:
        for s in range(count):
            q = level.places[s]
            for i in range(d):
                level.closed[i, s] = queries.closed[q, i]


@compiled()
def descend(items, nodes, queries, chosen, heaps):
    """Take into the heaps of the chosen queries every item that can still matter.

    It descends depth first; at each box only those queries go on whose bound reaches their current
    floor.
    """
    num_levels = len(nodes.starts) - 1
    d = queries.points.shape[1]
    total = len(chosen)
    places = np.empty((num_levels, total), np.int64)
    down = np.empty((num_levels, d, total), np.float32)
    up = np.empty((num_levels, d, total), np.float32)
    spreads = total if queries.spread_down.shape[1] else 0
    weights = total if queries.weight_down.shape[1] else 0
    spread = np.empty((num_levels, d, spreads), np.float32)
    weight = np.empty((num_levels, d, weights), np.float32)
    masks = total if queries.closed.shape[1] else 0
    closed = np.empty((num_levels, d, masks), np.float32)
    counts = np.zeros(num_levels, np.int64)
    next_child = np.zeros(num_levels, np.int64)
    last_child = np.zeros(num_levels, np.int64)
    bound = np.empty(total, np.float32)
    reached = np.empty(total, np.int64)
    local = new_local(items.psi.shape[1], total)

    # A level's entry l holds the queries at a node of level l + 1, whose children are of level l;
    # the root is the parent of the whole top level.
    level = num_levels - 1
    places[level, :] = chosen
    counts[level] = total
    _gather(
        queries,
        Level(places[level], down[level], up[level], spread[level], weight[level], closed[level]),
        total,
    )
    next_child[level] = 0
    last_child[level] = nodes.starts[level + 1] - nodes.starts[level]
    if level == 0:
        _enter_parent(items, queries, 0, places[0], total, heaps, local)
    while True:
        if next_child[level] == last_child[level]:
            level += 1
            if level == num_levels:
                return
            continue
        child = next_child[level]
        next_child[level] += 1
        here = places[level]
        count = counts[level]
        bounds(
            nodes,
            nodes.starts[level] + child,
            down[level],
            up[level],
            spread[level],
            weight[level],
            closed[level],
            count,
            bound,
        )
        heaps.tally[2] += count
        kept = 0
        if level == 0:
            for s in range(count):
                reached[kept] = s
                kept += not _cannot_matter(
                    bound[s], _limit(heaps, here[s]), queries.constant[here[s]]
                )
            if kept:
                _visit_block(items, queries, child, reached, kept, local, heaps, True)
            continue
        below = places[level - 1]
        for s in range(count):
            q = here[s]
            below[kept] = q
            kept += not _cannot_matter(bound[s], _limit(heaps, q), queries.constant[q])
        if kept == 0:
            continue
        level -= 1
        counts[level] = kept
        next_child[level] = child * FAN_OUT
        last_child[level] = min(
            (child + 1) * FAN_OUT, nodes.starts[level + 1] - nodes.starts[level]
        )
        _gather(
            queries,
            Level(below, down[level], up[level], spread[level], weight[level], closed[level]),
            kept,
        )
        if level == 0:
            _enter_parent(items, queries, child, below, kept, heaps, local)


@compiled()
def _repeat(numbers, default, out):
    """Fill an array with the numbers again and again; with a default if there are none."""
    d = len(numbers)
    for e in range(len(out)):
        out[e] = numbers[e % d] if d else default


@compiled(fastmath={"contract"}, error_model="numpy")
def _bounds_for_one(nodes, first, last, down, up, spread, weight, closed, scratch, out):
    """Write an upper bound of one query's value over each of some boxes next to each other.

    They are those of ``bounds``, whose loops run along queries; here they run along the dimensions
    of all boxes. ``python -m benchmarks.explore`` measures it.

    Args:
        nodes: The boxes.
        first: The first of them.
        last: The one behind the last of them, at most FAN_OUT away.
        down: The query's point rounded down, as often as boxes may come, (FAN_OUT d,).
        up: The same rounded up.
        spread: What is added to the squared distances, or 0.
        weight: 1 / variance for the backward terms, or 0.
        closed: 1, or 0 for a coordinate that the query leaves open.
        scratch: Of shape (2, FAN_OUT d).
        out: Filled up to ``last - first``.
    """
    d = nodes.low.shape[1]
    size = (last - first) * d
    half = np.float32(0.5)
    terms = scratch[0]
    low = nodes.low[first:last].reshape(size)
    high = nodes.high[first:last].reshape(size)
    for e in range(size):
        terms[e] = _ZERO
    if len(nodes.widest) > 0:
        narrowest = nodes.narrowest[first:last].reshape(size)
        widest = nodes.widest[first:last].reshape(size)
        factors = scratch[1]
        bits = factors.view(np.int32)
        part = half * nodes.added
        whole = nodes.added == np.float32(1)
        by_log = np.float32((0.5 if whole else 0.25) * _LOG_2)
        # A loop for each, or it would not run along memory.
        if whole:
            for e in range(size):
                a = _distance(low[e], high[e], down[e], up[e])
                term, factor = _added_whole(a * a, spread[e], narrowest[e], widest[e], part)
                is_open = closed[e] == _ZERO
                factors[e] = np.float32(1) if is_open else factor
                terms[e] = _ZERO if is_open else term
        else:
            for e in range(size):
                a = _distance(low[e], high[e], down[e], up[e])
                term, factor = _added_half(a * a, spread[e], narrowest[e], widest[e], part)
                is_open = closed[e] == _ZERO
                factors[e] = np.float32(1) if is_open else factor
                terms[e] = _ZERO if is_open else term
        for e in range(size):
            terms[e] -= by_log * (np.float32(bits[e]) * _PER_BIT - _BIAS)
    if len(nodes.forward) > 0:
        lines = nodes.forward[first:last].reshape((size, 6))
        for e in range(size):
            a = _distance(low[e], high[e], down[e], up[e])
            x = _highest(_six(lines[e]), a * a + spread[e])
            terms[e] += x if closed[e] > _ZERO else _ZERO
    if len(nodes.backward) > 0:
        lines = nodes.backward[first:last].reshape((size, 6))
        for e in range(size):
            a = _distance(low[e], high[e], down[e], up[e])
            w = weight[e]
            terms[e] += _highest(_six(lines[e]), w) - half * (w * (a * a))
    # As in bounds, and in whatever order it is summed.
    slack = np.float32((8 * d + 32) * _EPS32)
    four = np.float32(4)
    for c in range(last - first):
        total = _ZERO
        for e in range(c * d, (c + 1) * d):
            total += terms[e]
        out[c] = total + slack * (abs(total) + four * nodes.peak[first + c])


@compiled()
def _enter_node(bound, order, count):
    """Fill ``order`` with a node's children, best bound first; bounds that say nothing lead."""
    for c in range(count):
        if not bound[c] > -_HUGE:
            bound[c] = np.float32(np.inf)
        place = c
        while place > 0 and bound[order[place - 1]] < bound[c]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = c


@compiled()
def descend_alone(items, nodes, queries, heaps):
    """Do what ``descend`` does for one query, the only one.

    A node's children come best first: what follows the first that cannot matter cannot, either.
    """
    num_levels = len(nodes.starts) - 1
    d = queries.points.shape[1]
    width = FAN_OUT * d
    tiled = np.empty((5, width), np.float32)
    _repeat(queries.point_down[0], _ZERO, tiled[0])
    _repeat(queries.point_up[0], _ZERO, tiled[1])
    _repeat(queries.spread_down[0], _ZERO, tiled[2])
    _repeat(queries.weight_down[0], _ZERO, tiled[3])
    _repeat(queries.closed[0], np.float32(1), tiled[4])
    scratch = np.empty((2, width), np.float32)
    bound = np.empty((num_levels, FAN_OUT), np.float32)
    order = np.empty((num_levels, FAN_OUT), np.int64)
    counts = np.zeros(num_levels, np.int64)
    next_child = np.zeros(num_levels, np.int64)
    first_child = np.zeros(num_levels, np.int64)
    local = new_local(items.psi.shape[1], 1)
    alone = np.zeros(1, np.int64)

    level = num_levels
    child = 0
    while True:
        # Go down to the node ``child``, whose children are of the level below.
        level -= 1
        start = nodes.starts[level]
        first_child[level] = child * FAN_OUT
        counts[level] = min(FAN_OUT, nodes.starts[level + 1] - start - first_child[level])
        next_child[level] = 0
        _bounds_for_one(
            nodes,
            start + first_child[level],
            start + first_child[level] + counts[level],
            tiled[0],
            tiled[1],
            tiled[2],
            tiled[3],
            tiled[4],
            scratch,
            bound[level],
        )
        heaps.tally[2] += counts[level]
        _enter_node(bound[level], order[level], counts[level])
        if level == 0:
            _enter_parent(items, queries, child, alone, 1, heaps, local)
        while True:
            if next_child[level] == counts[level]:
                level += 1
                if level == num_levels:
                    return
                continue
            place = order[level, next_child[level]]
            next_child[level] += 1
            if _cannot_matter(bound[level, place], _limit(heaps, 0), queries.constant[0]):
                next_child[level] = counts[level]
                continue
            child = first_child[level] + place
            if level > 0:
                break
            _visit_block(items, queries, child, alone, 1, local, heaps, True)


@compiled()
def _level_of_all(queries):
    """Return a level's scratch with all queries in it."""
    count = len(queries.points)
    level = _new_level(queries, count)
    level.places[:] = np.arange(count)
    _gather(queries, level, count)
    return level


@compiled()
def reaching(nodes, node, queries, floors):
    """Return the queries whose bound over one box reaches their floor, ascending."""
    here = _level_of_all(queries)
    count = len(floors)
    bound = np.empty(count, np.float32)
    bounds(nodes, node, here.down, here.up, here.spread, here.weight, here.closed, count, bound)
    kept = 0
    for s in range(count):
        here.places[kept] = s
        kept += not _cannot_matter(bound[s], floors[s], queries.constant[s])
    return here.places[:kept].copy()


@compiled()
def count_reaching(nodes, which, queries, floors):
    """Return for every one of these boxes how many queries' bounds reach their floor."""
    here = _level_of_all(queries)
    count = len(floors)
    bound = np.empty(count, np.float32)
    reached = np.zeros(len(which), np.int64)
    for i in range(len(which)):
        bounds(
            nodes, which[i], here.down, here.up, here.spread, here.weight, here.closed, count, bound
        )
        for s in range(count):
            reached[i] += not _cannot_matter(bound[s], floors[s], queries.constant[s])
    return reached


@compiled()
def most_promising(nodes, queries, number):
    """Return the nodes with the highest bounds for every query, (Q, number), best first."""
    here = _level_of_all(queries)
    total = len(queries.points)
    bound = np.empty(total, np.float32)
    best = np.full((total, number), np.float32(-np.inf))
    found = np.zeros((total, number), np.int64)
    for node in range(len(nodes.low)):
        bounds(nodes, node, here.down, here.up, here.spread, here.weight, here.closed, total, bound)
        for s in range(total):
            if node >= number and not bound[s] > best[s, number - 1]:
                continue
            place = min(node, number - 1)
            while place > 0 and bound[s] > best[s, place - 1]:
                best[s, place] = best[s, place - 1]
                found[s, place] = found[s, place - 1]
                place -= 1
            best[s, place] = bound[s]
            found[s, place] = node
    return found


@compiled()
def promising(nodes, queries, target, chosen, found):
    """Write to each chosen query the node of level ``target`` that a greedy descent ends at."""
    num_levels = len(nodes.starts) - 1
    total = len(chosen)
    here = _new_level(queries, total)
    bound = np.empty(total, np.float32)
    best = np.empty(total, np.float32)
    which = np.empty(total, np.int64)
    # Level by level; the queries of one node are next to each other.
    places = chosen.copy()
    at = np.zeros(total, np.int64)
    for level in range(num_levels - 1, target - 1, -1):
        size = nodes.starts[level + 1] - nodes.starts[level]
        start = 0
        while start < total:
            stop = start + 1
            while stop < total and at[stop] == at[start]:
                stop += 1
            count = stop - start
            here.places[:count] = places[start:stop]
            _gather(queries, here, count)
            first = 0
            last = size
            if level < num_levels - 1:
                first = at[start] * FAN_OUT
                last = min(first + FAN_OUT, size)
            for child in range(first, last):
                bounds(
                    nodes,
                    nodes.starts[level] + child,
                    here.down,
                    here.up,
                    here.spread,
                    here.weight,
                    here.closed,
                    count,
                    bound,
                )
                for s in range(count):
                    if child == first or bound[s] > best[start + s]:
                        best[start + s] = bound[s]
                        which[start + s] = child
            start = stop
        order = np.argsort(which, kind="mergesort")
        places = places[order]
        at = which[order]
    for s in range(total):
        found[places[s]] = at[s]


@compiled()
def raise_floors(items, queries, level, node, chosen, heaps):
    """Raise the chosen queries' floors by the items of one node of the tree."""
    count = len(chosen)
    local = new_local(items.psi.shape[1], count)
    every = np.arange(count)
    width = FAN_OUT**level
    first = node * width
    last = min(first + width, len(items.base))
    for block in range(first, last):
        if block == first or block % FAN_OUT == 0:
            _enter_parent(items, queries, block // FAN_OUT, chosen, count, heaps, local)
        _visit_block(items, queries, block, every, count, local, heaps, False)
