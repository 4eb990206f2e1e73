from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vaeudf.catalog.prefetch import LookAhead


@pytest.mark.parametrize(("most", "most_bytes"), [(1, 10), (4, 10**9), (100, 50), (3, 0)])
def test_in_order_and_within_bounds(most, most_bytes):
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 30, 300).tolist()
    held: dict[int, int] = {}
    guard = threading.Lock()
    seen = []

    def work(i):
        with guard:
            held[i] = sizes[i]
            seen.append((len(held), sum(held.values())))
        return i

    def results(ahead):
        for i, size in enumerate(sizes):
            yield from ahead.submit(size, work, i)
        yield from ahead.drain()

    with ThreadPoolExecutor(8) as pool:
        for expected, found in enumerate(results(LookAhead(pool, most, most_bytes))):
            assert found == expected
            with guard:
                del held[found]
    assert expected == len(sizes) - 1
    # What has just been taken may still stand in held when the next one begins.
    assert max(count for count, _ in seen) <= most + 1
    assert all(count <= 2 or total <= most_bytes + 30 for count, total in seen)


def test_an_error_is_that_of_its_place():
    with ThreadPoolExecutor(2) as pool:
        ahead = LookAhead(pool, 8, 100)
        assert list(ahead.submit(1, int, "1")) == list(ahead.submit(1, int, "x")) == []
        found = ahead.drain()
        assert next(found) == 1
        with pytest.raises(ValueError, match="'x'"):
            next(found)
