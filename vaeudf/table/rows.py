"""Read a version's posteriors into memory, without Spark."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.splits import SplitReader, join

# Rows that are read together.
_ROWS_PER_SPLIT = 65_536


def read_posteriors(
    table: PosteriorTable,
) -> tuple[pa.Array, NDArray[np.floating], NDArray[np.floating]]:
    """Return the item_ids (N,), mu (N, n) and log_var (N, n) of all items of a table, in its order.

    Raises:
        TableError: A file cannot be read.
        InputError: A posterior is not of the table's latent_dim, or not finite; or there are none.
    """
    reader = SplitReader(table.latent_dim, (), "the table has")
    ids: list[pa.ChunkedArray] = []
    means: list[NDArray[np.floating]] = []
    log_vars: list[NDArray[np.floating]] = []
    groups = [group for group in read_row_groups(table.snapshot) if group.num_rows]
    if not groups:
        raise InputError(f"table {table.uri} has no items at this version.")
    for split in join(groups, _ROWS_PER_SPLIT):
        mu, log_var = reader.posteriors(split)
        means.append(mu)
        log_vars.append(log_var)
        ids.append(reader.items(np.arange(len(mu))).column(ITEM_ID))
    names = pa.concat_arrays([chunk for column in ids for chunk in column.chunks])
    return names, np.concatenate(means), np.concatenate(log_vars)
