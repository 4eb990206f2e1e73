"""log p(x|z) of pictures against torch.distributions, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.tolerances import FUNCTION, assert_same_float64
from vaeudf.decoding.picture_densities import compare_pixels
from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels

SIZE = 3 * 17  # no multiple of what a processor adds at a time


def some_pairs(seed=0, pictures=7, means=5):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (pictures, SIZE), dtype=np.uint8)
    levels = rng.random((means, SIZE)).astype(np.float32)
    which, by = (grid.ravel() for grid in np.meshgrid(range(pictures), range(means)))
    order = rng.permutation(len(which))
    return pixels, levels, which[order], by[order]


def test_a_gaussian_is_torchs():
    pixels, means, which, by = some_pairs()
    means *= 3  # a decoder without a sigmoid leaves [0, 1]
    found = compare_pixels(pixels, means, which, by, GaussianPixels(0.02))
    x = torch.tensor(pixels[which] / 255)
    normal = torch.distributions.Normal(torch.tensor(means[by], dtype=torch.float64), 0.02**0.5)
    expected = normal.log_prob(x).numpy()
    size = np.abs(expected).sum(axis=1)
    terms = SIZE + 4 * FUNCTION
    assert_same_float64(found.log_densities, expected.sum(axis=1), terms=terms, magnitude=size)
    errors = (pixels[which] / 255 - means[by].astype(np.float64)) ** 2
    assert_same_float64(found.squared_errors, errors.mean(axis=1), terms=terms)


def test_a_bernoulli_is_torchs_cross_entropy():
    pixels, means, which, by = some_pairs(1)
    means[0, :5] = 0.0, 1.0, -0.5, 1.5, 1e-30
    pixels[0, :5] = 0, 255, 128, 7, 200
    found = compare_pixels(pixels, means, which, by, BernoulliPixels())
    x = torch.tensor(pixels[which] / 255)
    m = torch.tensor(means[by], dtype=torch.float64).clamp(0, 1)
    terms = torch.nn.functional.binary_cross_entropy(m, x, reduction="none").numpy()
    assert_same_float64(
        found.log_densities,
        -terms.sum(axis=1),
        terms=SIZE + 4 * FUNCTION,
        # a slope is of two logarithms, and both may be large where their sum is not
        magnitude=np.abs(terms).sum(axis=1) + 200.0,
    )


def test_pictures_of_the_same_bytes_are_equally_likely():
    pixels, means, which, by = some_pairs(2)
    pixels[3] = pixels[6]
    for likelihood in (GaussianPixels(0.01), BernoulliPixels()):
        found = compare_pixels(pixels, means, which, by, likelihood)
        for values in found:
            for mean in range(len(means)):
                (one,), (other,) = (values[(which == row) & (by == mean)] for row in (3, 6))
                assert one == other


def test_arrays_that_cannot_be_written_to():
    pixels, means, which, by = some_pairs(3)
    expected = compare_pixels(pixels, means, which, by, GaussianPixels(0.01))
    for array in (pixels, means):
        array.flags.writeable = False
    found = compare_pixels(pixels, means, which, by, GaussianPixels(0.01))
    assert (found.log_densities == expected.log_densities).all()


def test_no_pairs():
    pixels, means, *_ = some_pairs()
    none = np.empty(0, np.int64)
    found = compare_pixels(pixels, means, none, none, BernoulliPixels())
    assert found.log_densities.shape == found.squared_errors.shape == (0,)


def test_an_unknown_likelihood_is_an_error():
    pixels, means, which, by = some_pairs()
    with pytest.raises(AssertionError, match="no density for 'laplace'"):
        compare_pixels(pixels, means, which, by, "laplace")
