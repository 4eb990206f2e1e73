"""One version of a posterior table in memory, to be searched at once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.explore.columns import Column, describe
from vaeudf.explore.components import Components, principal_components
from vaeudf.explore.dimensions import DimensionStatistics, dimension_statistics
from vaeudf.explore.filters import Filters
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION
from vaeudf.search.index import PosteriorIndex
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.splits import SplitReader, join

_ROWS_PER_SPLIT = 65_536


class LoadedTable:
    """One version of a table; nothing of it changes.

    A row is the number of an item, from 0, in the table's own order.

    Attributes:
        table: The version.
        index: Finds rows.
        ids: The item_ids, by row.
        payload: The payload columns, by row.
        dimensions: What each latent dimension is like.
        components: The principal components of mu.
    """

    def __init__(
        self,
        table: PosteriorTable,
        index: PosteriorIndex,
        mu: NDArray[Any],
        log_var: NDArray[Any],
        ids: pa.StringArray,
        payload: pa.Table,
    ) -> None:
        """Take in a version; mu and log_var, shape (N, n), by row."""
        self.table = table
        self.index = index
        self.ids = ids
        self.payload = payload
        self.dimensions: tuple[DimensionStatistics, ...] = dimension_statistics(mu, log_var)
        self.components: Components = principal_components(mu)
        self._mu, self._log_var = mu, log_var
        self._filters = Filters(payload.append_column(ITEM_ID, ids))

    @classmethod
    def load(cls, table: PosteriorTable, *, cache: Path | None) -> LoadedTable:
        """Take in all items of a version.

        Args:
            table: The version.
            cache: A folder on this machine that keeps what was made ready of versions; None to keep
                nothing.

        Raises:
            TableError: A file cannot be read.
            InputError: A posterior is not of the table's latent_dim, or not finite.
        """
        names = _payload_names(table)
        reader = SplitReader(table.latent_dim, names, "the table has")
        means, log_vars, parts = [], [], []
        groups = [group for group in read_row_groups(table.snapshot) if group.num_rows]
        for split in join(groups, _ROWS_PER_SPLIT):
            mu, log_var = reader.posteriors(split)
            means.append(mu)
            log_vars.append(log_var)
            parts.append(reader.items(np.arange(len(mu))))
        items = pa.concat_tables(parts, promote_options="default")
        mu, log_var = np.concatenate(means), np.concatenate(log_vars)
        ids = items.column(ITEM_ID).combine_chunks()
        text = ids.to_numpy(zero_copy_only=False).astype(np.str_)
        order = np.argsort(text, kind="stable")
        given = np.empty(len(order), np.int64)
        given[order] = np.arange(len(order))
        # By their ranks: equal scores then are in the order of the ids.
        index = PosteriorIndex(mu, log_var, ids=given)
        loaded = cls(table, index, mu, log_var, ids, items.drop_columns([ITEM_ID]))
        loaded._order = order
        return loaded

    _order: NDArray[np.int64]

    @property
    def version(self) -> int | None:
        """Of the Delta table; None for plain Parquet."""
        return self.table.version

    @property
    def latent_dim(self) -> int:
        """The number of dimensions n."""
        return self.table.latent_dim

    @property
    def num_items(self) -> int:
        """How many items there are, N."""
        return len(self.ids)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What the payload columns hold."""
        return tuple(describe(name, self.payload.column(name)) for name in self.payload.schema.names)

    def row_of(self, item_id: str) -> int:
        """Return the row of an item.

        Raises:
            KeyError: There is no such item.
        """
        found = np.flatnonzero(np.asarray(pa.compute.equal(self.ids, item_id)))
        if len(found) == 0:
            raise KeyError(item_id)
        return int(found[0])

    def posterior(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mu and log_var of an item, each of shape (n,)."""
        return self._mu[row], self._log_var[row]

    def matching(self, where: str) -> NDArray[np.bool_]:
        """Return which items fulfil a condition, shape (N,), by row.

        Raises:
            InputError: It is no condition on the table's columns.
        """
        return self._filters.matching(where)

    def rows(self, found: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows of what the index has found."""
        return self._order[np.asarray(found, np.int64)]


def _payload_names(table: PosteriorTable) -> tuple[str, ...]:
    own = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)
    if table.snapshot.columns is not None:
        return tuple(name for name in table.snapshot.columns.schema.names if name not in own)
    from vaeudf.table.plain_parquet import schemas_of

    names = dict.fromkeys(name for schema in schemas_of(table.files) for name in schema.names)
    return tuple(name for name in names if name not in own)
