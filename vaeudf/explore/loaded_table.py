"""One version of a posterior table in memory, to be searched at once."""

from __future__ import annotations

import logging
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.errors import InputError, root_cause
from vaeudf.explore.cache import VersionCache
from vaeudf.explore.columns import Column, ValueCount, describe, folders
from vaeudf.explore.components import Components, principal_components
from vaeudf.explore.density import Density
from vaeudf.explore.dimensions import DimensionStatistics, dimension_statistics
from vaeudf.explore.filters import Filters
from vaeudf.explore.nearness import radii
from vaeudf.explore.reading import Items, read_items
from vaeudf.numerics.text_order import text_order
from vaeudf.query.per_value import Per
from vaeudf.schema import ITEM_ID
from vaeudf.search.index import PosteriorIndex
from vaeudf.table.open import PosteriorTable

log = logging.getLogger(__name__)

# Statistics are those of so many items, evenly spread over the k-d order, or of all if they are not
# more: a share of 0.5 % is then known to 4 % of itself.
_SAMPLE = 2**17
_INDEX, _FILTER, _ORDER, _ITEMS, _FACTS = (
    "index",
    "filter",
    "order.npy",
    "items.arrow",
    "facts.json",
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version's items.

    Attributes:
        dimensions: What each latent dimension is like.
        components: The principal components of mu.
        columns: What the payload columns hold.
        folders: The folders that items are in, if their item_ids say so.
    """

    dimensions: tuple[DimensionStatistics, ...]
    components: Components
    columns: tuple[Column, ...]
    folders: tuple[ValueCount, ...]


class LoadedTable:
    """One version of a table; nothing of it changes, and any number of threads may use it.

    A row is the number of an item, from 0: in the table's own order, or in a k-d order where that
    is none.

    Attributes:
        table: The version.
        pinned: Whether the version was named, and is no other when there is a newer one.
        index: Finds rows; equal scores are in the order of the item_ids.
        ids: The item_ids, by row.
        payload: The payload columns, by row.
        dimensions: What each latent dimension is like.
        components: The principal components of mu.
        columns: What the payload columns hold.
        folders: The folders that items are in, if their item_ids say so.
        density: Counts the items at a point.
    """

    def __init__(
        self,
        table: PosteriorTable,
        index: PosteriorIndex,
        order: NDArray[np.int64],
        items: pa.Table,
        facts: Facts,
    ) -> None:
        """Take in a version that was made ready.

        Args:
            table: The version.
            index: Of its items, by row.
            order: The rows in the order of their item_ids, shape (N,).
            items: ``item_id`` and the payload, by row, each in one chunk.
            facts: What is known of them.
        """
        self.table = table
        self.pinned = False
        self.index = index
        self.ids: pa.StringArray = items.column(ITEM_ID).chunk(0)
        self.payload = items.drop_columns([ITEM_ID])
        self.dimensions = facts.dimensions
        self.components = facts.components
        self.columns = facts.columns
        self.folders = facts.folders
        self.density = Density(index, np.array([one.sigma for one in facts.dimensions]))
        self._order = order
        self._filters = Filters(items)
        self.codes = lru_cache(maxsize=8)(self._codes)
        # Whatever is still to be made ready, now and not in the first request.
        index.search(np.array(facts.components.mean), 1)
        radii(len(facts.dimensions))

    @classmethod
    def load(
        cls, table: PosteriorTable, *, cache: Path | None, pinned: bool = False
    ) -> LoadedTable:
        """Take in all items of a version.

        Args:
            table: The version.
            cache: A folder on this machine that keeps what is made ready, and from which it is
                mapped into memory; None to keep nothing. One that cannot be written is told of.
            pinned: Whether the version was named, and is no other when there is a newer one.

        Raises:
            TableError: A file cannot be read.
            InputError: A posterior is not of the table's latent_dim, or not finite; or there are
                none.
        """
        loaded = cls._loaded(table, cache)
        loaded.pinned = pinned
        return loaded

    @classmethod
    def _loaded(cls, table: PosteriorTable, cache: Path | None) -> LoadedTable:
        place = None if cache is None else VersionCache(cache, table)
        if place is not None and place.is_there():
            try:
                place.verify()
                return cls._mapped(table, place.folder)
            except Exception as error:  # whatever a damaged file raises
                log.warning(
                    "%s is damaged (%s), and is made again.", place.folder, root_cause(error)
                )
                place.forget()
        items = read_items(table)
        names = items.columns.column(ITEM_ID).chunk(0)
        order = text_order(names)
        index = PosteriorIndex.in_order(items.mu, items.log_var, order)
        index.keep_compact()
        facts = _facts(items)
        if place is not None:
            try:
                place.make(lambda folder: _write(folder, index, order, items.columns, facts))
                return cls._mapped(table, place.folder)
            except OSError as error:
                log.warning(
                    "%s cannot be written (%s): the table is held in memory, and read anew at the "
                    "next start.",
                    place.folder,
                    root_cause(error),
                )
        return cls(table, index, order, items.columns, facts)

    @classmethod
    def _mapped(cls, table: PosteriorTable, folder: Path) -> LoadedTable:
        index = PosteriorIndex.open(str(folder / _INDEX))
        index.keep_compact(str(folder / _FILTER))
        order = np.load(folder / _ORDER, mmap_mode="r", allow_pickle=False)
        items = pa.ipc.open_file(pa.memory_map(str(folder / _ITEMS))).read_all()
        facts = msgspec.json.decode((folder / _FACTS).read_bytes(), type=Facts)
        if not len(index) == len(order) == len(items):
            raise InputError("its files do not fit each other")
        return cls(table, index, np.asarray(order), items, facts)

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
    def names(self) -> tuple[str, ...]:
        """The names of the payload columns."""
        return tuple(self.payload.schema.names)

    def row_of(self, item_id: str) -> int:
        """Return the row of an item.

        Raises:
            KeyError: There is no such item.
        """
        wanted = item_id.encode("utf-8", "surrogatepass")
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self._name(middle).encode() < wanted:
                low = middle + 1
            else:
                high = middle
        if low == len(self._order) or self._name(low).encode() != wanted:
            raise KeyError(item_id)
        return int(self._order[low])

    def posterior(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mu and log_var of an item, each of shape (n,)."""
        mu, log_var = self.posteriors(np.array([row]))
        return mu[0], log_var[0]

    def posteriors(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mu and log_var of items, each of shape (m, n)."""
        mu, log_var = self.index.in_place
        return mu[rows], log_var[rows]

    def matching(self, where: str) -> NDArray[np.bool_]:
        """Return which items fulfil a condition, shape (N,), by row.

        Raises:
            InputError: It is no condition on the table's columns.
        """
        return self._filters.matching(where)

    def _name(self, place: int) -> str:
        return str(self.ids[int(self._order[place])].as_py())

    def _codes(self, column: str) -> NDArray[np.int32]:
        """Return a number for each item's value of a column, by row; equal values have the same."""
        codes = Per(column).codes(self.payload)
        # As the index remembers it.
        codes.flags.writeable = False
        return codes


def _facts(items: Items) -> Facts:
    count = len(items.mu)
    step = -(-count // _SAMPLE)
    mu, log_var = items.mu[step // 2 :: step], items.log_var[step // 2 :: step]
    payload = items.columns.drop_columns([ITEM_ID])
    return Facts(
        dimensions=dimension_statistics(mu, log_var),
        components=principal_components(mu),
        columns=tuple(describe(name, payload.column(name)) for name in payload.schema.names),
        folders=folders(items.columns.column(ITEM_ID)),
    )


def _write(
    folder: Path, index: PosteriorIndex, order: NDArray[np.int64], items: pa.Table, facts: Facts
) -> None:
    index.save(str(folder / _INDEX))
    index.save_compact(str(folder / _FILTER))
    np.save(folder / _ORDER, order, allow_pickle=False)
    with pa.ipc.new_file(str(folder / _ITEMS), items.schema) as file:
        file.write_table(items)
    (folder / _FACTS).write_bytes(msgspec.json.encode(facts))
