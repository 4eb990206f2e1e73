"""A version in memory, and its items in the order of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from vaeudf.explore.answers import Answer
from vaeudf.explore.hits import search
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.queries import SearchRequest
from vaeudf.table.open import open_posteriors


def load(uri: str, cache: Path | None = None) -> LoadedTable:
    return LoadedTable.load(open_posteriors(uri), cache=cache)


def ask(table: LoadedTable, **request: Any) -> Answer:
    """What the service answers to a request in JSON."""
    text = msgspec.json.encode(request)
    return search(table, msgspec.json.decode(text, type=SearchRequest), "/pictures/{}".format)


def by_row(table: LoadedTable, items: pa.Table) -> pa.Table:
    """Items in the order of a loaded table's rows."""
    place = {item_id: row for row, item_id in enumerate(items["item_id"].to_pylist())}
    return items.take([place[item_id] for item_id in table.ids.to_pylist()])


def best(scores: np.ndarray, ids: list[str], k: int, *, ascending: bool = False) -> list[int]:
    """The places of the k best scores, equal ones by the UTF-8 of their ids; NaN is none."""
    keys = scores if ascending else -scores
    order = sorted(np.flatnonzero(~np.isnan(keys)), key=lambda i: (keys[i], ids[i].encode()))
    return [int(place) for place in order[:k]]
