"""Passes over items in memory, cut into parts and batches in any way."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial, reduce

import numpy as np
import pyarrow as pa

from vaeudf.clustering.divergences import KL
from vaeudf.clustering.survey import survey
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Batch


class MemoryPasses:
    """As the passes over a table; the work and its results are pickled, as Spark does."""

    def __init__(
        self, mu, log_var, ids=None, parts: int | Sequence[int] = 1, rows=1000, order=None
    ):
        self.items = Gaussians(np.asarray(mu, np.float64), np.asarray(log_var, np.float64))
        self.ids = np.array([f"i{i:05}" for i in range(len(mu))] if ids is None else ids, object)
        self.order = np.arange(len(mu)) if order is None else np.asarray(order)
        self.parts = np.array_split(self.order, parts)
        self.rows = rows
        self.count = 0

    def __call__(self, work, merge):
        self.count += 1
        work = pickle.loads(pickle.dumps(work))
        found = [pickle.loads(pickle.dumps(work(self.batches(part)))) for part in self.parts]
        return reduce(merge, found)

    def batches(self, part):
        for first in range(0, len(part), self.rows):
            rows = part[first : first + self.rows]
            yield Batch(
                self.items.take(rows), lambda some, rows=rows: pa.array(self.ids[rows[some]])
            )


def surveyed(passes, divergence=KL, *, size=1, seed=0):
    """What the first pass finds, with a sample of a given size."""
    return survey(passes, divergence, size=partial(_given, size=size), seed=seed)


def _given(latent_dim, size):
    return size
