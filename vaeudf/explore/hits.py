"""Searches: the items that answer a request, with their columns and what scores are made of."""

from __future__ import annotations

import decimal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.explore.answers import Answer, Cost, Hit
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.nearness import Nearness, nearness
from vaeudf.explore.queries import Question, SearchRequest, as_command, question
from vaeudf.gaussian.variances import blurred
from vaeudf.query.blends import Blends
from vaeudf.query.task import explained
from vaeudf.schema import COSTLIEST, MISFIT, VOLUME
from vaeudf.search.per_value import most_allowed


def search(
    table: LoadedTable, request: SearchRequest, picture_path: Callable[[str], str]
) -> Answer:
    """Return the answer to a request; where pictures are ranked again, the candidates for that.

    Args:
        table: What is searched.
        request: What is asked.
        picture_path: Gives where an item's picture is, below the service's root.

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
    mu, log_var = table.posteriors(rows)
    found = mu, blurred(log_var, asked.tolerance)
    near = nearness(asked.place, *found, table.dimensions)
    return Answer(
        version=table.version,
        score=asked.score.name,
        matching=matching,
        here=here,
        dimensions_compared=0 if near is None else near.dimensions,
        hits=_hits(table, asked, rows, scores, found, near, picture_path),
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
    table: LoadedTable,
    asked: Question,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    posteriors: tuple[NDArray[Any], NDArray[np.float64]],
    near: Nearness | None,
    picture_path: Callable[[str], str],
) -> list[Hit]:
    """Return the hits; the posteriors are their mu and log(sigma² + tau²), each (m, n)."""
    places = pa.array(rows)
    names = table.ids.take(places).to_pylist()
    payload: list[dict[str, Any]] = [{}] * len(rows)
    if asked.columns:
        payload = table.payload.select(asked.columns).take(places).to_pylist()
    mu, log_var = posteriors
    parts: list[dict[str, Any]] = [{}] * len(rows)
    if asked.score.is_log_density and len(rows):
        parts = _explained(asked, mu, log_var)
    hits = []
    for place, name in enumerate(names):
        hit = Hit(
            item_id=name,
            rank=place + 1,
            row=int(rows[place]),
            mu=mu[place].tolist(),
            columns={key: _plain(value) for key, value in payload[place].items()},
            picture=picture_path(name),
            **parts[place],
        )
        setattr(hit, asked.score.name, float(scores[place]))
        if near is not None:
            hit.squared_distance = float(near.squared[place])
            hit.relative_distance = float(near.relative[place])
        hits.append(hit)
    return hits


def _explained(
    asked: Question, mu: NDArray[Any], log_var: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return what each hit's log-likelihood is made of, from mu and log(sigma² + tau²)."""
    latents, blended = asked.latents, None
    if isinstance(latents, Blends):
        blended = latents.members.blended(asked.tolerance, divergence=False)
    items = pa.table({"place": np.arange(len(mu))})
    places = np.zeros(len(mu), np.int64)
    found = explained(items, latents.z, blended, places, mu, log_var)
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
