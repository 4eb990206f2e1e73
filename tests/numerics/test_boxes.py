"""Boxes against loops over rows."""

from __future__ import annotations

import base64
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tolerances import UNIT_FLOAT32, assert_within
from vaeudf.numerics.boxes import Boxes

NAMES = ("mu_min", "mu_max", "log_var_min", "log_var_max")


def posteriors(count: int, latent_dim: int, dtype=np.float32, seed: int = 0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(count, latent_dim)).astype(dtype) for _ in range(2))


def looped(mu: np.ndarray, log_var: np.ndarray, block: int) -> list[list[list[float]]]:
    """Per block the four bounds, each a list of n numbers."""
    result = []
    for start in range(0, len(mu), block):
        bounds = []
        for values in (mu, log_var):
            columns = list(zip(*values[start : start + block].tolist(), strict=True))
            bounds += [[min(c) for c in columns], [max(c) for c in columns]]
        result.append(bounds)
    return result


def listed(boxes: Boxes) -> list[list[list[float]]]:
    bounds = [getattr(boxes, name).tolist() for name in NAMES]
    return [[bound[i] for bound in bounds] for i in range(len(boxes))]


@given(
    count=st.integers(0, 50),
    latent_dim=st.sampled_from([1, 2, 10, 63, 64, 70]),
    block=st.integers(1, 60),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_boxes_of_blocks(count, latent_dim, block, dtype):
    mu, log_var = posteriors(count, latent_dim, dtype)
    boxes = Boxes.of_blocks(mu, log_var, block)
    assert listed(boxes) == looped(mu, log_var, block)
    assert len(boxes) == -(-count // block)
    assert boxes.latent_dim == latent_dim
    assert all(getattr(boxes, name).dtype == dtype for name in NAMES)


@given(
    count=st.integers(0, 50),
    block=st.integers(1, 8),
    factor=st.integers(1, 10),
    latent_dim=st.sampled_from([3, 64]),
)
def test_coarser_boxes_are_those_of_longer_blocks(count, block, factor, latent_dim):
    mu, log_var = posteriors(count, latent_dim)
    coarse = Boxes.of_blocks(mu, log_var, block).coarsen(factor)
    assert listed(coarse) == looped(mu, log_var, block * factor)


def test_parts_and_the_whole():
    boxes = Boxes.of_blocks(*posteriors(20, 3), 2)
    assert listed(Boxes.concatenate([boxes[:4], boxes[4:4], boxes[4:]])) == listed(boxes)
    assert listed(boxes[np.array([7, 1])]) == [listed(boxes)[i] for i in (7, 1)]
    assert listed(boxes[np.arange(10) < 2]) == listed(boxes)[:2]


def test_text_is_little_endian_float32_in_base64():
    boxes = Boxes.of_blocks(*posteriors(7, 3), 2)
    raw = base64.b64decode(boxes.to_bytes())
    expected = [x for box in listed(boxes) for bound in box for x in bound]
    assert struct.unpack(f"<{4 * 4 * 3}f", raw) == tuple(expected)
    boxes.to_bytes().decode("ascii")


@given(count=st.integers(0, 9), latent_dim=st.integers(1, 70))
def test_text_and_back(count, latent_dim):
    boxes = Boxes.of_blocks(*posteriors(count, latent_dim), 2)
    again = Boxes.from_bytes(boxes.to_bytes(), latent_dim)
    assert listed(again) == listed(boxes)
    assert all(getattr(again, name).dtype == np.float32 for name in NAMES)
    assert again.latent_dim == latent_dim and len(again) == len(boxes)


def test_float64_boxes_grow_to_the_next_float32():
    mu, log_var = posteriors(40, 3, np.float64)
    mu[0], mu[39], log_var[0], log_var[39] = 1e300, -1e300, 0.1, -0.1
    boxes = Boxes.of_blocks(mu, log_var, 4)
    again = Boxes.from_bytes(boxes.to_bytes(), 3)
    for name in NAMES:
        wide, exact = getattr(again, name).astype(np.float64), getattr(boxes, name)
        outward = wide <= exact if name.endswith("min") else wide >= exact
        assert outward.all()
        ordinary = np.abs(exact) < 1e30
        # To the nearest float32 and on to the next.
        step = 3 * UNIT_FLOAT32 * np.abs(exact[ordinary])
        assert_within(wide[ordinary], exact[ordinary], step, why="the next float32")


def test_text_that_is_no_boxes():
    with pytest.raises(ValueError, match="the boxes are not base64"):
        Boxes.from_bytes(b"{not base64}", 3)
    text = Boxes.of_blocks(*posteriors(6, 2), 2).to_bytes()
    with pytest.raises(ValueError, match="the boxes are not base64"):
        Boxes.from_bytes(text[:8] + b"\n" + text[8:], 2)
    with pytest.raises(ValueError, match=r"have 96 bytes; expected a multiple of 80, 4 float32"):
        Boxes.from_bytes(text, 5)


def test_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match=r"mu has shape \(4, 2\) and log_var \(3, 2\)"):
        Boxes.of_blocks(np.ones((4, 2)), np.ones((3, 2)), 2)
    with pytest.raises(ValueError, match="a run of 0 rows; expected at least 1"):
        Boxes.of_blocks(np.ones((4, 2)), np.ones((4, 2)), 0)
