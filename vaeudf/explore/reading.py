"""Reads all items of a version into memory, in an order in which near items follow each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.numerics.kd_tree import kd_order, scale_of
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.plain_parquet import schemas_of
from vaeudf.table.splits import SplitReader, join

# Rows that are read together.
_ROWS_PER_SPLIT = 2**18
_OWN = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)


class Items(NamedTuple):
    """The items of a version.

    Attributes:
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        columns: ``item_id``, as text, and the payload, N rows.
    """

    mu: NDArray[Any]
    log_var: NDArray[Any]
    columns: pa.Table


def read_items(table: PosteriorTable) -> Items:
    """Return all items of a version: in the table's order if that is a k-d order, else in one.

    Raises:
        TableError: A file cannot be read.
        InputError: A posterior is not of the table's latent_dim, or not finite; or there are none.
    """
    groups = [group for group in read_row_groups(table.snapshot) if group.num_rows]
    if not groups:
        raise InputError(f"table {table.uri} has no items at this version.")
    reader = SplitReader(table.latent_dim, payload_names(table), "the table has")
    means: list[NDArray[Any]] = []
    log_vars: list[NDArray[Any]] = []
    parts: list[pa.Table] = []
    for split in join(groups, _ROWS_PER_SPLIT):
        mu, log_var = reader.posteriors(split)
        means.append(mu)
        log_vars.append(log_var)
        parts.append(reader.items(np.arange(len(mu))))
    items = Items(
        np.concatenate(means),
        np.concatenate(log_vars),
        pa.concat_tables(parts, promote_options="default").combine_chunks(),
    )
    # Files that others have added have no boxes, and are in any order.
    return items if all(group.box is not None for group in groups) else _in_order(items)


def payload_names(table: PosteriorTable) -> tuple[str, ...]:
    """Return the names of a version's payload columns, in its order."""
    if table.snapshot.columns is not None:
        names = table.snapshot.columns.schema.names
    else:
        names = [name for schema in schemas_of(table.files) for name in schema.names]
    return tuple(name for name in dict.fromkeys(names) if name not in _OWN)


def _in_order(items: Items) -> Items:
    order = kd_order(items.mu, scale=scale_of(items.log_var))
    return Items(items.mu[order], items.log_var[order], items.columns.take(pa.array(order)))
