"""The compiled loops that connect pairs to groups, and that find rows that are equal."""

from __future__ import annotations

import numpy as np

from vaeudf.search.compiled import compiled


@compiled()
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled()
def unite(parent, one, other):
    """Unite the sets that pairs connect; the root of a set is the least of it.

    Args:
        parent: Of each member, (N,); a root is its own.
        one: Of each pair, (P,).
        other: As well.
    """
    for pair in range(len(one)):
        a = _root(parent, one[pair])
        b = _root(parent, other[pair])
        if a < b:
            parent[b] = a
        else:
            parent[a] = b


@compiled()
def roots(parent, found):
    """Fill in the root of each member, (N,)."""
    for i in range(len(parent)):
        found[i] = _root(parent, i)


@compiled()
def hash_rows(bits, found):
    """Fill in a hash of each row of whole numbers, (N, m) uint32; found is (N,) uint64."""
    for row in range(len(bits)):
        h = np.uint64(0x9E3779B97F4A7C15)
        for i in range(bits.shape[1]):
            h = (h ^ np.uint64(bits[row, i])) * np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
        found[row] = h


@compiled()
def first_equal(bits, hashes, order, found):
    """Fill in the first row that is equal to each row.

    Args:
        bits: As there.
        hashes: Of the rows.
        order: That sorts the hashes, and rows of one hash by their numbers.
        found: Filled; a row whose hash is that of another that differs is its own.
    """
    first = 0
    for place in range(len(order)):
        row = order[place]
        if place == 0 or hashes[row] != hashes[order[place - 1]]:
            first = row
        same = True
        for i in range(bits.shape[1]):
            if bits[row, i] != bits[first, i]:
                same = False
                break
        found[row] = first if same else row
