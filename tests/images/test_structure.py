"""The similarity of gradient magnitudes, against the paper's formula, pixel by pixel in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.tolerances import FUNCTION, assert_same_float32
from vaeudf.images.structure import STABILITY, edges_of, structure_distances

# Roundings of a gradient, of a ratio, and of the sum over the places.
TERMS = 4 * FUNCTION + 64


def distances(ones, others):
    return structure_distances(edges_of(ones), edges_of(others))


def pictures(count, height=16, width=16, channels=3, seed=0):
    return np.random.default_rng(seed).random((count, height, width, channels), np.float32)


def slow_gradients(grey):
    """Prewitt's magnitudes of rows of numbers."""
    height, width = len(grey), len(grey[0])

    def at(y, x):
        return grey[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)]

    def magnitude(y, x):
        across = sum(at(y + d, x + 1) - at(y + d, x - 1) for d in (-1, 0, 1)) / 3
        down = sum(at(y + 1, x + d) - at(y - 1, x + d) for d in (-1, 0, 1)) / 3
        return math.sqrt(across**2 + down**2)

    return [magnitude(y, x) for y in range(height) for x in range(width)]


def slow_halves(grey):
    return [
        [
            sum(grey[2 * y + i][2 * x + j] for i in (0, 1) for j in (0, 1)) / 4
            for x in range(len(grey[0]) // 2)
        ]
        for y in range(len(grey) // 2)
    ]


def slow_distance(one, other, scales):
    """1 - the mean of GMS = (2ab + c) / (a² + b² + c), averaged over scales."""
    greys = []
    for picture in (one.astype(np.float64), other.astype(np.float64)):
        weights = (0.299, 0.587, 0.114) if picture.shape[2] == 3 else (1.0,)
        grey = [[sum(w * float(v) for w, v in zip(weights, p, strict=True)) for p in row]
                for row in picture]  # fmt: skip
        greys.append(grey)
    total = 0.0
    for _ in range(scales):
        greys = [slow_halves(grey) for grey in greys]
        pairs = list(zip(*map(slow_gradients, greys), strict=True))
        similar = [(2 * a * b + STABILITY) / (a * a + b * b + STABILITY) for a, b in pairs]
        total += sum(similar) / len(similar)
    return 1 - total / scales


@pytest.mark.parametrize(
    ("height", "width", "channels", "scales"),
    [(16, 16, 3, 2), (64, 64, 3, 4), (17, 25, 1, 2), (9, 80, 3, 1), (140, 130, 1, 4)],
)
def test_the_formula(height, width, channels, scales):
    ones, others = (pictures(2, height, width, channels, seed) for seed in (1, 2))
    others[1] = 0.3 * ones[0] + 0.1
    found = distances(ones, others)
    expected = [[slow_distance(one, other, scales) for other in others] for one in ones]
    assert_same_float32(found, expected, terms=TERMS)


def test_what_has_the_same_edges_is_at_distance_zero():
    ones = pictures(3)
    found = distances(ones, ones)
    assert (found.diagonal() == 0).all()
    assert_same_float32(found, found.T, terms=TERMS)
    assert (found[~np.eye(3, dtype=bool)] > 0).all() and (found < 1).all()
    # Of another brightness, or as a negative, a picture has the same edges.
    for same in (0.5 * ones, 0.5 * ones + 0.5, 0.5 - 0.5 * ones):
        assert_same_float32(distances(0.5 * ones, same).diagonal(), 0 * found[0], terms=TERMS,
                            magnitude=1.0)  # fmt: skip


def test_what_moves_goes_away():
    """A step is nearer to itself moved by two pixels than to one moved by eight, and to nothing."""
    steps = np.zeros((3, 32, 32, 1), np.float32)
    for row, place in enumerate((12, 14, 20)):
        steps[row, :, place:] = 1
    near, far = distances(steps[:1], steps[1:])[0]
    assert 0 < near < far
    flat = np.full((1, 32, 32, 1), 0.5, np.float32)
    assert distances(steps[:1], flat)[0, 0] > near


def test_many_pictures_are_compared_as_one_is():
    ones, others = pictures(2, 64, 64), pictures(150, 64, 64, seed=1)
    found = distances(ones, others)
    for row in (0, 47, 48, 49, 149):
        alone = distances(ones, others[row : row + 1])[:, 0]
        assert_same_float32(found[:, row], alone, terms=TERMS)


def test_tiny_pictures():
    assert distances(pictures(2, 1, 1), pictures(1, 1, 1, seed=1)).tolist() == [[0.0], [0.0]]
    assert distances(pictures(1, 2, 5), pictures(1, 2, 5)).tolist() == [[0.0]]
