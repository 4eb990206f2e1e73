"""The answer to a search: items with their columns, and what their scores are made of."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.queries import SearchRequest, as_command

Number = float | UnsetType


class Cost(msgspec.Struct, frozen=True):
    """What a dimension adds to a log-likelihood.

    Attributes:
        dimension: Which.
        nats: Below 0, except in blends.
    """

    dimension: int
    nats: float


class Hit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An item that was found; it has its score under the name of the score.

    Attributes:
        item_id: The item.
        rank: From 1.
        row: Its number in the table's order.
        mu: Its mean, n numbers.
        columns: Its payload.
        picture: Where its picture is, below the service's root.
        misfit: What the distance from the mean adds to the log-likelihood, nats.
        volume: What the widths add to it.
        costliest: The dimensions that cost most.
        log_p_x_given_z: How likely the decoder takes the item's picture to be, nats; re-ranked.
        picture_error: Mean squared difference of its picture from what z decodes to; re-ranked.
        candidate_rank: The rank before it was ranked again.
    """

    item_id: str
    rank: int
    row: int
    mu: list[float]
    columns: dict[str, Any]
    picture: str | UnsetType = UNSET
    log_likelihood: Number = UNSET
    mahalanobis: Number = UNSET
    euclidean: Number = UNSET
    kl: Number = UNSET
    reverse_kl: Number = UNSET
    jeffreys: Number = UNSET
    wasserstein2: Number = UNSET
    bhattacharyya: Number = UNSET
    mutual_likelihood: Number = UNSET
    misfit: Number = UNSET
    volume: Number = UNSET
    costliest: list[Cost] | UnsetType = UNSET
    log_p_x_given_z: Number = UNSET
    picture_error: Number = UNSET
    candidate_rank: int | UnsetType = UNSET


class Answer(msgspec.Struct, kw_only=True):
    """The answer to a search.

    Attributes:
        version: Of the table.
        score: What hits are ranked by.
        matching: How many items fulfil the condition.
        here: How many items are expected at z; null unless it was asked with a point.
        hits: The hits, best first.
        command: The command that asks the same.
        seconds: What it took.
    """

    version: int | None
    score: str
    matching: int
    here: float | None
    hits: list[Hit]
    command: str
    seconds: float


def search(table: LoadedTable, request: SearchRequest) -> Answer:
    """Return the answer to a request.

    Raises:
        InputError: What is asked for does not fit the table, or each other.
    """
    began = time.perf_counter()
    where = None if request.where is None else table.matching(request.where)
    z = np.array([np.nan if one is None else one for one in request.z or ()], np.float64)
    found, scores = table.index.search(z, request.k, tolerance=request.tolerance, where=where)
    rows = table.rows(found[0])
    names = table.payload.schema.names if request.columns is None else list(request.columns)
    payload = table.payload.select(names).take(rows).to_pylist()
    hits = [
        Hit(
            item_id=table.ids[int(row)].as_py(),
            rank=rank,
            row=int(row),
            mu=table.posterior(int(row))[0].tolist(),
            columns=columns,
            log_likelihood=float(score),
        )
        for rank, (row, columns, score) in enumerate(
            zip(rows, payload, scores[0], strict=True), start=1
        )
    ]
    return Answer(
        version=table.version,
        score="log_likelihood",
        matching=table.num_items if where is None else int(where.sum()),
        here=None,
        hits=hits,
        command=as_command(request, table.table.uri),
        seconds=time.perf_counter() - began,
    )
