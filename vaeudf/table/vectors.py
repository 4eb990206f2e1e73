"""Columns of vectors: Arrow lists to arrays, each item checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID


def to_matrix(
    batch: pa.Table | pa.RecordBatch,
    name: str,
    latent_dim: int,
    expected: str = "the queries have",
) -> NDArray[np.floating]:
    """Return a column of lists as an array (B, n).

    Args:
        batch: Has the column.
        name: Of the column.
        latent_dim: n.
        expected: What has n dimensions, for the message.

    Raises:
        InputError: An item's list has another length, or numbers that are not finite.
    """
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    wrong = np.flatnonzero(lengths != latent_dim)
    if len(wrong):
        raise InputError(
            f"{_item(batch, wrong[0])} has a {name} of {lengths[wrong[0]]} numbers, "
            f"but {expected} {latent_dim} dimensions."
        )
    flat = column.flatten()
    if not pa.types.is_float32(flat.type):
        flat = flat.cast(pa.float64())
    matrix = flat.to_numpy(zero_copy_only=False).reshape(-1, latent_dim)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise InputError(f"{_item(batch, bad[0])} has a {name} that is null, NaN or infinite.")
    return matrix  # type: ignore[no-any-return]


def _item(batch: pa.Table | pa.RecordBatch, row: int) -> str:
    if ITEM_ID not in batch.schema.names:
        return f"row {row} of a row group"
    return f"item {batch.column(ITEM_ID)[int(row)].as_py()!r}"
