"""Summaries that tasks make, and that are merged as a tree: nobody holds more than a few."""

from __future__ import annotations

import math
import pickle
import zlib
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

PART = "part"
STATE = "state"
STATE_TYPE = f"{PART} long, {STATE} binary"

# So many are merged on the driver itself: not worth a stage.
_FEW = 16


class Mergeable(Protocol):
    """A summary that can take in another one."""

    def merge(self, other: Any) -> None:
        """Take in another part."""


Summary = TypeVar("Summary", bound=Mergeable)


def packed(summary: Mergeable) -> bytes:
    """Return a summary as bytes; sketches are mostly zeros, and become a twentieth."""
    return zlib.compress(pickle.dumps(summary), 1)


def unpacked(data: bytes) -> Any:
    """Return what :func:`packed` was given."""
    return pickle.loads(zlib.decompress(data))


def state_batch(part: int, summary: Mergeable) -> pa.RecordBatch:
    """Return the row that a task tells of its summary."""
    return pa.RecordBatch.from_arrays(
        [pa.array([part], pa.int64()), pa.array([packed(summary)], pa.binary())], [PART, STATE]
    )


def merge_states(states: DataFrame, num_states: int, start: Summary) -> Summary:
    """Merge the summaries of many tasks into one, in the order of their parts.

    Args:
        states: Columns ``part``, unique, and ``state``.
        num_states: How many there are, or at most.
        start: An empty one.
    """
    states = states.select(PART, STATE)
    span = 1
    while num_states > _FEW:
        # Neighbours, some sixteen at a time: what one task holds, and what comes to the driver,
        # does not grow with the number of tasks.
        num_states, span = math.ceil(num_states / _FEW), span * _FEW
        states = states.repartition(num_states, F.floor(F.col(PART) / span))
        states = states.sortWithinPartitions(PART).mapInArrow(_merge_some, STATE_TYPE)
    # Not coalesced to one partition, nor one partition after the other: either would have the
    # tasks that make the summaries run one by one.
    for row in sorted(states.collect(), key=lambda row: int(row[PART])):
        start.merge(unpacked(bytes(row[STATE])))
    return start


def _merge_some(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first, merged = 0, None
    for batch in batches:
        for part, state in zip(batch.column(PART), batch.column(STATE), strict=True):
            other = unpacked(state.as_py())
            if merged is None:
                first, merged = part.as_py(), other
            else:
                merged.merge(other)
    if merged is not None:
        yield state_batch(first, merged)
