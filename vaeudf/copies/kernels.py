"""The compiled loops that find all near pairs of items.

The items are split in two by one of their coordinates, again and again. A pair of items of both
halves is near only if each is within the other's reach of the border, in that coordinate alone: the
few that are make two lists, which are compared with each other in the same way, split by another
coordinate. So far this is Quickjoin (Jacox and Samet, 2008), with a reach of each item's own in
place of one distance. Lists that are short enough, or that no split divides, are compared pair by
pair: by a lower bound of the divergence without a transcendental function, dimension by dimension
until it exceeds the threshold; and what it does not exclude by the divergence itself, in float64.

Nothing is excluded that is near: an item's reach and the bound are certified
(:mod:`vaeudf.copies.threshold`), rounding upward is monotone, so ``x + reach`` in the items' own
precision is not below what it has to reach, and the bound's rounding is in its limit.

All loops stand in one file because numba compiles a function again when the file that it is in has
changed, and not when those of the functions that it calls have.
"""

from __future__ import annotations

import math

import numpy as np

from vaeudf.search.compiled import compiled

# Codes of the divergences, see vaeudf.copies.threshold.
JEFFREYS, BHATTACHARYYA = range(2)

# What an item has for each dimension.
MEAN, LOG_VAR, WEIGHT, REACH = range(4)

# What is on the stack: a list of which to find all pairs, or two; the same, not to be split.
_WITHIN, _BETWEEN, _ALL_WITHIN, _ALL_BETWEEN = range(4)

MOST_AT_ONCE = 4096
"""Pairs that are compared without asking whether there is room for them."""
_SHORT = 48
_FEW_PAIRS = 1024
# Items of a list that decide by which coordinate it is split, and where; and the share of them
# that may be within reach of the border.
_SAMPLE = 24
_WORTH_SPLIT = 0.6
# More reaches than this count no more, so that two outliers in a sample do not outweigh the rest.
_FARTHEST = 1e4

# exp(±700) is still a normal float64; the same clip as vaeudf.gaussian's.
_MAX_LOG_SIGMA = 700.0
# Up to this square, 1/16 x² - 1/384 x⁴ grows.
_RISING = np.float32(12.0)
_LOG_2 = math.log(2.0)


# ---- divergences, symmetric to the last bit


@compiled()
def _by_sigma(log_var):
    """Return 1 / sigma, within float64's range."""
    return math.exp(-min(max(0.5 * log_var, -_MAX_LOG_SIGMA), _MAX_LOG_SIGMA))


@compiled()
def _term(code, gap, log_var, other):
    """Return what one dimension adds, by the formulas of vaeudf.gaussian.divergences."""
    difference = log_var - other
    if code == JEFFREYS:
        one = gap * _by_sigma(log_var)
        two = gap * _by_sigma(other)
        ratio = math.sinh(0.5 * difference)
        return 0.5 * (one * one + two * two) + 2.0 * ratio * ratio
    # The mean of the variances, unlike their sum, is never wider than both.
    middle = max(log_var, other) + math.log1p(math.exp(-abs(difference))) - _LOG_2
    scaled = gap * _by_sigma(middle)
    half = abs(0.5 * difference)
    bent = min(half, 20.0)
    sinh = math.sinh(bent)
    log_cosh = 0.5 * math.log1p(sinh * sinh) + (half - bent)
    return 0.125 * scaled * scaled + 0.5 * log_cosh


@compiled()
def _divergence(code, one, other, places):
    """Return the divergence of two items, summed over the dimensions in their own order."""
    total = 0.0
    for i in range(len(places)):
        a = one[places[i]]
        b = other[places[i]]
        gap = np.float64(a[MEAN]) - np.float64(b[MEAN])
        total += _term(code, gap, np.float64(a[LOG_VAR]), np.float64(b[LOG_VAR]))
    return total


@compiled()
def divergences(code, mu, log_var, other_mu, other_log_var, found):
    """Fill in the divergence of each pair of rows, (N, n) each; found is (N,)."""
    for row in range(len(mu)):
        total = 0.0
        for i in range(mu.shape[1]):
            gap = mu[row, i] - other_mu[row, i]
            total += _term(code, gap, log_var[row, i], other_log_var[row, i])
        found[row] = total


@compiled()
def _excluded(code, a, b, limit):
    """Return whether a lower bound of the divergence of two items exceeds a limit.

    2 sinh²(d/2) ≥ ½ d², and log cosh x ≥ ½ x² - x⁴/12. A NaN excludes nothing.
    """
    total = limit - limit
    if code == JEFFREYS:
        half = a.dtype.type(0.5)
        for i in range(len(a)):
            gap = a[i, MEAN] - b[i, MEAN]
            difference = a[i, LOG_VAR] - b[i, LOG_VAR]
            total += gap * gap * (a[i, WEIGHT] + b[i, WEIGHT]) + half * difference * difference
            if total > limit:
                return True
        return False
    quarter, square, fourth = a.dtype.type(0.25), a.dtype.type(1 / 16), a.dtype.type(1 / 384)
    for i in range(len(a)):
        gap = a[i, MEAN] - b[i, MEAN]
        difference = a[i, LOG_VAR] - b[i, LOG_VAR]
        twice = difference * difference
        total += quarter * (gap * gap) / (a[i, WEIGHT] + b[i, WEIGHT])
        total += twice * square - twice * twice * fourth
        if total > limit:
            return True
    return False


# ---- splitting lists


@compiled()
def _coordinate(items, row, coordinate):
    return items[row, coordinate >> 1, coordinate & 1]


@compiled()
def _reach(items, row, coordinate, log_var_reach):
    if coordinate & 1:
        return log_var_reach
    return items[row, coordinate >> 1, REACH]


@compiled()
def _take_sample(rows, first, last, sample, count):
    """Add some rows of a list, evenly spaced, to a sample; return how many it then has."""
    step = max(1, (last - first) // _SAMPLE)
    for place in range(first, last, step):
        if count == len(sample):
            break
        sample[count] = rows[place]
        count += 1
    return count


@compiled()
def _choose(one, other, rows, a, b, c, d, log_var_reach, sample, values):
    """Choose a coordinate and a border for two lists, or for one if the second is empty.

    The coordinate is the one in which the sample's items are farthest apart, in units of their
    reach, by the geometric mean: a few that are very far off do not decide.

    Returns:
        The coordinate, or -1 if no split is worth it, and the border.
    """
    own = _take_sample(rows, a, b, sample, 0)
    count = _take_sample(rows, c, d, sample, own)
    border = one[0, 0, 0]
    best = -1
    most = 1.0
    half = count // 2
    for coordinate in range(2 * one.shape[1]):
        # Each distance is of two items that are far from each other in the lists.
        product = 1.0
        for s in range(half):
            items = one if s < own else other
            peers = one if s + half < own else other
            x = np.float64(_coordinate(items, sample[s], coordinate))
            y = np.float64(_coordinate(peers, sample[s + half], coordinate))
            reach = np.float64(_reach(items, sample[s], coordinate, log_var_reach))
            product *= 1.0 + min(abs(x - y) / reach, _FARTHEST)
        if product > most:
            most = product
            best = coordinate
    if best < 0:
        return best, border
    for s in range(count):
        values[s] = _coordinate(one if s < own else other, sample[s], best)
    ordered = np.sort(values[:count])
    # Both sides get at least one: the highest value is above the border.
    place = (count - 1) // 2
    while place > 0 and ordered[place] == ordered[count - 1]:
        place -= 1
    border = ordered[place]
    if border == ordered[count - 1]:
        return -1, border
    near = 0
    for s in range(count):
        items = one if s < own else other
        x = _coordinate(items, sample[s], best)
        reach = _reach(items, sample[s], best, log_var_reach)
        if x - reach <= border and x + reach >= border:
            near += 1
    if near > _WORTH_SPLIT * count:
        return -1, border
    return best, border


@compiled()
def _divide(items, rows, first, last, coordinate, border):
    """Put a list's rows at or below the border first; return where the others begin."""
    low = first
    high = last - 1
    while low <= high:
        if _coordinate(items, rows[low], coordinate) <= border:
            low += 1
        else:
            rows[low], rows[high] = rows[high], rows[low]
            high -= 1
    return low


@compiled()
def _near_border(below, above, rows, a, b, c, d, coordinate, log_var_reach, top):
    """Copy the rows of two lists that are within reach of each other's nearest to the top.

    Args:
        below: Items of the list from a to b, all at or below the border.
        above: Items of the list from c to d, all above it.
        rows: With room for both at the top.
        a: Where the first list begins.
        b: Where it ends.
        c: Where the second begins.
        d: Where it ends.
        coordinate: Which.
        log_var_reach: Of log variances.
        top: Where to copy to.

    Returns:
        Where the first copied list ends, and the second.
    """
    if a == b or c == d:
        return top, top
    highest = _coordinate(below, rows[a], coordinate)
    for place in range(a + 1, b):
        highest = max(highest, _coordinate(below, rows[place], coordinate))
    lowest = _coordinate(above, rows[c], coordinate)
    for place in range(c + 1, d):
        lowest = min(lowest, _coordinate(above, rows[place], coordinate))
    middle = top
    for place in range(a, b):
        row = rows[place]
        reach = _reach(below, row, coordinate, log_var_reach)
        if _coordinate(below, row, coordinate) + reach >= lowest:
            rows[middle] = row
            middle += 1
    end = middle
    for place in range(c, d):
        row = rows[place]
        reach = _reach(above, row, coordinate, log_var_reach)
        if _coordinate(above, row, coordinate) - reach <= highest:
            rows[end] = row
            end += 1
    return middle, end


@compiled()
def _box_around(items, rows, first, last, box):
    """Fill in the least and greatest mean and log variance of a list, and what its widest weigh.

    Args:
        items: The list's.
        rows: Has the list from first to last, at least one.
        first: Where it begins.
        last: Where it ends.
        box: Filled, (n, 6): least and greatest mean, least and greatest log variance, least and
            greatest weight.
    """
    for i in range(len(box)):
        for field in range(3):
            box[i, 2 * field] = items[rows[first], i, field]
            box[i, 2 * field + 1] = box[i, 2 * field]
    for place in range(first + 1, last):
        item = items[rows[place]]
        for i in range(len(box)):
            for field in range(3):
                x = item[i, field]
                box[i, 2 * field] = min(box[i, 2 * field], x)
                box[i, 2 * field + 1] = max(box[i, 2 * field + 1], x)


@compiled()
def _excluded_from(code, a, box, limit):
    """Return whether an item's divergence from all of a box exceeds a limit, by a lower bound."""
    total = limit - limit
    zero = total
    half, quarter = a.dtype.type(0.5), a.dtype.type(0.25)
    square, fourth = a.dtype.type(1 / 16), a.dtype.type(1 / 384)
    for i in range(len(a)):
        x = a[i, MEAN]
        gap = max(max(box[i, 0] - x, x - box[i, 1]), zero)
        y = a[i, LOG_VAR]
        difference = max(max(box[i, 2] - y, y - box[i, 3]), zero)
        if code == JEFFREYS:
            total += gap * gap * (a[i, WEIGHT] + box[i, 4]) + half * difference * difference
        else:
            # Up to there the polynomial grows.
            twice = min(difference * difference, _RISING)
            total += quarter * (gap * gap) / (a[i, WEIGHT] + box[i, 5])
            total += twice * square - twice * twice * fourth
        if total > limit:
            return True
    return False


@compiled()
def _keep_reaching(code, items, rows, first, last, box, limit):
    """Put a list's rows first that a box does not exclude; return where they end."""
    end = first
    for place in range(first, last):
        row = rows[place]
        if not _excluded_from(code, items[row], box, limit):
            rows[place] = rows[end]
            rows[end] = row
            end += 1
    return end


@compiled()
def _push(stack, depth, kind, a, b, c, d, top):
    stack[depth, 0] = kind
    stack[depth, 1] = a
    stack[depth, 2] = b
    stack[depth, 3] = c
    stack[depth, 4] = d
    stack[depth, 5] = top
    return depth + 1


@compiled()
def _grown(array, needed):
    if needed <= len(array):
        return array
    larger = np.empty((2 * needed, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


# ---- finding pairs


@compiled()
def _compare(code, one, other, rows, entry, places, limit, nats, found, values, count):
    """Compare all pairs of a list, or of two; return how many pairs there are then."""
    kind, a, b, c, d = entry[0], entry[1], entry[2], entry[3], entry[4]
    within = kind == _WITHIN or kind == _ALL_WITHIN
    for i in range(a, b):
        item = one[rows[i]]
        for j in range(i + 1 if within else c, b if within else d):
            peer = other[rows[j]]
            if _excluded(code, item, peer, limit):
                continue
            value = _divergence(code, item, peer, places)
            if value <= nats:
                found[count, 0] = rows[i]
                found[count, 1] = rows[j]
                values[count] = value
                count += 1
    return count


@compiled()
def begin(one, other, same):
    """Return what :func:`find` starts from: rows, stack, and how deep it is.

    Args:
        one: Items, (N, n, 4).
        other: Items, (M, n, 4).
        same: Whether they are the same items, of which all pairs are wanted, each once.
    """
    n, m = len(one), len(other)
    rows = np.empty(2 * (n + m) + 64, np.int32)
    stack = np.empty((64, 6), np.int64)
    for i in range(n):
        rows[i] = i
    if same:
        depth = _push(stack, 0, _WITHIN, 0, n, n, n, n)
    else:
        for i in range(m):
            rows[n + i] = i
        depth = _push(stack, 0, _BETWEEN, 0, n, n, n + m, n + m)
    return rows, stack, depth


@compiled()
def find(code, one, other, places, log_var_reach, limit, nats, rows, stack, depth, found, values):
    """Find near pairs until all are found, or there may be no room for more.

    Args:
        code: Which divergence.
        one: Items, (N, n, 4): mean, log variance, weight in the lower bound, and reach of the mean
            for each dimension; the dimensions in an order in which the first tell most items apart.
        other: Items, (M, n, 4); the same array where all pairs of one set are wanted.
        places: Where each dimension is in that order, (n,).
        log_var_reach: The reach of log variances.
        limit: What the lower bound must not exceed.
        nats: What the divergence must not exceed.
        rows: As :func:`begin` or the last call gave it.
        stack: As well.
        depth: As well; 0 at the end.
        found: Filled with pairs of rows, (P, 2) int32; more than MOST_AT_ONCE.
        values: Filled with their divergences, (P,).

    Returns:
        ``rows``, ``stack`` and ``depth`` for the next call, how many pairs were found, and how many
        were compared.
    """
    count = 0
    compared = 0
    sample = np.empty(2 * _SAMPLE + 4, np.int32)
    scratch = np.empty(2 * _SAMPLE + 4, one.dtype)
    entry = np.empty(6, np.int64)
    box = np.empty((one.shape[1], 6), one.dtype)
    while depth > 0 and count + MOST_AT_ONCE <= len(values):
        depth -= 1
        entry[:] = stack[depth]
        kind, a, b, c, d, top = entry[0], entry[1], entry[2], entry[3], entry[4], entry[5]
        within = kind == _WITHIN or kind == _ALL_WITHIN
        size = b - a
        pairs = size * (size - 1) // 2 if within else size * (d - c)
        if pairs == 0:
            continue
        if kind == _BETWEEN and pairs > _FEW_PAIRS:
            _box_around(other, rows, c, d, box)
            b = _keep_reaching(code, one, rows, a, b, box, limit)
            if a == b:
                continue
            _box_around(one, rows, a, b, box)
            d = _keep_reaching(code, other, rows, c, d, box, limit)
            entry[2], entry[4] = b, d
            size = b - a
            pairs = size * (d - c)
            if pairs == 0:
                continue
        if (within and size <= _SHORT) or (not within and pairs <= _FEW_PAIRS):
            kind = _ALL_WITHIN if within else _ALL_BETWEEN
        stack = _grown(stack, depth + 8)
        coordinate = -1
        if kind == _WITHIN or kind == _BETWEEN:
            coordinate, border = _choose(
                one, other, rows, a, b, c, d, log_var_reach, sample, scratch
            )
        if coordinate < 0:
            if pairs <= MOST_AT_ONCE:
                count = _compare(
                    code, one, other, rows, entry, places, limit, nats, found, values, count
                )
                compared += pairs
            elif within:
                half = a + size // 2
                depth = _push(stack, depth, _ALL_WITHIN, a, half, half, half, top)
                depth = _push(stack, depth, _ALL_WITHIN, half, b, b, b, top)
                depth = _push(stack, depth, _ALL_BETWEEN, a, half, half, b, top)
            elif size > d - c:
                half = a + size // 2
                depth = _push(stack, depth, _ALL_BETWEEN, a, half, c, d, top)
                depth = _push(stack, depth, _ALL_BETWEEN, half, b, c, d, top)
            else:
                half = c + (d - c) // 2
                depth = _push(stack, depth, _ALL_BETWEEN, a, b, c, half, top)
                depth = _push(stack, depth, _ALL_BETWEEN, a, b, half, d, top)
            continue
        first = _divide(one, rows, a, b, coordinate, border)
        if within:
            depth = _push(stack, depth, _WITHIN, a, first, first, first, top)
            depth = _push(stack, depth, _WITHIN, first, b, b, b, top)
            rows = _grown(rows, top + size)
            middle, end = _near_border(
                one, one, rows, a, first, first, b, coordinate, log_var_reach, top
            )
            depth = _push(stack, depth, _BETWEEN, top, middle, middle, end, end)
            continue
        second = _divide(other, rows, c, d, coordinate, border)
        depth = _push(stack, depth, _BETWEEN, a, first, c, second, top)
        depth = _push(stack, depth, _BETWEEN, first, b, second, d, top)
        rows = _grown(rows, top + size + d - c)
        middle, end = _near_border(
            one, other, rows, a, first, second, d, coordinate, log_var_reach, top
        )
        depth = _push(stack, depth, _BETWEEN, top, middle, middle, end, end)
        top = end
        # The first list of a pair is of ``one``: here it is the upper one.
        middle, end = _near_border(
            other, one, rows, c, second, first, b, coordinate, log_var_reach, top
        )
        depth = _push(stack, depth, _BETWEEN, middle, end, top, middle, end)
    return rows, stack, depth, count, compared
