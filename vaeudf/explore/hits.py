"""The answer to a search: items with their columns, and what their scores are made of."""

from __future__ import annotations

import decimal
import time
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.queries import Question, SearchRequest, as_command, question
from vaeudf.gaussian.variances import blurred
from vaeudf.query.blends import Blends
from vaeudf.query.task import explained
from vaeudf.schema import COSTLIEST, MISFIT, VOLUME
from vaeudf.search.per_value import most_allowed

Number = float | UnsetType


class Cost(msgspec.Struct, frozen=True):
    """What a dimension costs a hit.

    Attributes:
        dimension: Which.
        nats: By how much its misfit lowers the log-likelihood; below 0 in some blends.
    """

    dimension: int
    nats: float


class Hit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An item that was found; it has its score under the name of the score.

    Attributes:
        item_id: The item.
        rank: From 1.
        row: Its number in this version.
        mu: Its mean, n numbers.
        columns: Its payload.
        picture: Where its picture is, below the service's root.
        log_likelihood: By this score: log q(z|x), nats; and so for the scores that follow.
        misfit: What the distance from the mean adds to the log-likelihood, nats.
        volume: What the item's widths add to it.
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
    picture: str
    log_likelihood: Number = UNSET
    mahalanobis: Number = UNSET
    euclidean: Number = UNSET
    kl: Number = UNSET
    reverse_kl: Number = UNSET
    jeffreys: Number = UNSET
    wasserstein2: Number = UNSET
    bhattacharyya: Number = UNSET
    mls: Number = UNSET
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
        here: How many items are expected at z (:class:`vaeudf.explore.density.Density`); null
            unless it was asked with a point z.
        hits: The hits, best first; with ``rerank``, the candidates.
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
    """Return the answer to a request; where pictures are ranked again, the candidates for that.

    Raises:
        InputError: What is asked for does not fit the table, or each other.
    """
    began = time.perf_counter()
    asked = question(table, request)
    where = None if request.where is None else table.matching(request.where)
    matching = table.num_items if where is None else int(np.count_nonzero(where))
    rows, scores = _found(table, asked, where)
    here = None
    if asked.is_point:
        # Of another score these are no log densities.
        least = float(np.logaddexp.reduce(scores)) if asked.score.is_log_density else -np.inf
        here = table.density.items_here(asked.latents.z[0], asked.tolerance, where, least)
    return Answer(
        version=table.version,
        score=asked.score.name,
        matching=matching,
        here=here,
        hits=_hits(table, asked, rows, scores),
        command=as_command(request, table.table.uri, table.version if table.pinned else None),
        seconds=time.perf_counter() - began,
    )


def _found(
    table: LoadedTable, asked: Question, where: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of the hits and their scores, best first."""
    if asked.own:
        where = np.ones(table.num_items, bool) if where is None else where.copy()
        where[list(asked.own)] = False
    latents, options = asked.latents, asked.options
    z, log_var, weights = latents.z, latents.log_var, None
    if isinstance(latents, Blends):
        members = latents.members
        z, log_var, weights = members.z, members.log_var, members.weights
    # So many there are, which is no news to whoever sees them.
    k, per = options.k, None
    if options.per is not None:
        codes = table.codes(options.per.column)
        per = (codes, options.per.at_most)
        k = most_allowed(
            lambda part: codes[part] if where is None else codes[part][where[part]],
            options.per.at_most,
            k,
            table.num_items,
        )
    elif where is not None or k > table.num_items:
        k = min(k, table.num_items if where is None else int(np.count_nonzero(where)))
    if k == 0:
        return np.empty(0, np.int64), np.empty(0)
    rows, scores = table.index.search(
        z,
        k,
        query_log_var=log_var,
        score=asked.score.name,
        tolerance=asked.tolerance,
        where=where,
        per=per,
        weights=weights,
        distinct=options.distinct,
    )
    return rows[0], scores[0]


def _hits(
    table: LoadedTable, asked: Question, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> list[Hit]:
    places = pa.array(rows)
    names = table.ids.take(places).to_pylist()
    payload: list[dict[str, Any]] = [{}] * len(rows)
    if asked.columns:
        payload = table.payload.select(asked.columns).take(places).to_pylist()
    mu, log_var = table.posteriors(rows)
    parts: list[dict[str, Any]] = [{}] * len(rows)
    if asked.score.is_log_density and len(rows):
        parts = _explained(asked, mu, log_var)
    version = "" if table.version is None else f"&version={table.version}"
    hits = []
    for place, name in enumerate(names):
        hit = Hit(
            item_id=name,
            rank=place + 1,
            row=int(rows[place]),
            mu=mu[place].tolist(),
            columns={key: _plain(value) for key, value in payload[place].items()},
            picture=f"/api/picture?id={quote(name, safe='')}{version}",
            **parts[place],
        )
        setattr(hit, asked.score.name, float(scores[place]))
        hits.append(hit)
    return hits


def _explained(asked: Question, mu: NDArray[Any], log_var: NDArray[Any]) -> list[dict[str, Any]]:
    """Return what each hit's log-likelihood is made of."""
    latents, blended = asked.latents, None
    if isinstance(latents, Blends):
        blended = latents.members.blended(asked.tolerance, divergence=False)
    items = pa.table({"place": np.arange(len(mu))})
    places = np.zeros(len(mu), np.int64)
    found = explained(items, latents.z, blended, places, mu, blurred(log_var, asked.tolerance))
    return [
        {
            MISFIT: row[MISFIT],
            VOLUME: row[VOLUME],
            COSTLIEST: [Cost(**one) for one in row[COSTLIEST]],
        }
        for row in found.to_pylist()
    ]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a decimal as a number, and of octets how many they are."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return float(value) if isinstance(value, decimal.Decimal) else value
