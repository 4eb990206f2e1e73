"""The error of a reconstruction, on pictures whose error is known."""

from __future__ import annotations

import numpy as np

from tests.support.tolerances import near_float64
from vaeudf.images.difference import squared_error


def test_squared_error():
    black, white = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    assert squared_error(black, white) == squared_error(white, black) == 1.0
    assert squared_error(white, white) == 0.0
    assert squared_error(black, np.full((2, 3, 3), 51, np.uint8)) == near_float64(0.04, terms=18)
