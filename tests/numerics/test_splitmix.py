"""The finaliser of SplitMix64 against numbers that others give for it."""

from __future__ import annotations

import numpy as np

from vaeudf.numerics.splitmix import STEP, mixed


def test_as_splitmix64_has_it():
    states = np.uint64(1234567) + STEP * np.arange(1, 6, dtype=np.uint64)
    assert mixed(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_every_bit_depends_on_every_bit():
    rng = np.random.default_rng(0)
    numbers = rng.integers(2**63, size=2000, dtype=np.uint64)
    for bit in range(64):
        changed = mixed(numbers) ^ mixed(numbers ^ np.uint64(1 << bit))
        shares = np.array([((changed >> np.uint64(i)) & np.uint64(1)).mean() for i in range(64)])
        assert (abs(shares - 0.5) < 0.08).all()
