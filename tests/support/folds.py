"""Requests, and items for a task to fold into their results."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vaeudf.gaussian.scores import SCORES
from vaeudf.query.latents import from_rows
from vaeudf.query.request import Request
from vaeudf.query.task import Fold

# Their order by UTF-8 bytes is neither that of UTF-16 nor any without case.
ALPHABET = ["a", "B", "b", "é", "z", "ﾡ", "😀", "-", "日"]


def named(count: int, rng) -> list[str]:
    letters = rng.choice(ALPHABET, size=count)
    return [f"{letter}{i}" for i, letter in zip(rng.permutation(count), letters, strict=True)]


def posteriors(count: int, n: int, copies: int = 1, seed: int = 0):
    """Items, each of which comes some times over, in no order; ids, mu and log_var."""
    rng = np.random.default_rng([count, n, copies, seed])
    rows = rng.permutation(np.arange(count) % -(-count // copies))
    mu = rng.normal(size=(count, n)).astype(np.float32)[rows]
    log_var = rng.normal(-2, 1, size=(count, n)).astype(np.float32)[rows]
    return named(count, rng), mu, log_var


def gaussians(count: int, n: int, seed: int = 0):
    rng = np.random.default_rng([count, n, seed])
    return rng.normal(size=(count, n)), rng.normal(-2, 1, size=(count, n))


def make_request(name, z, log_var=None, k=5, tolerance=0.0, floors=None, **others) -> Request:
    floors = np.full(len(z), -np.inf) if floors is None else floors
    return Request(
        queries=from_rows(z, None, log_var),
        k=k,
        score=SCORES[name],
        tolerance=tolerance,
        floors=floors,
        **others,
    )


def getter(ids):
    table = pa.table({"item_id": ids, "place": np.arange(len(ids))})
    return lambda rows: table.take(pa.array(rows))


def folded(request, items, batches, in_order=True, group=None) -> Fold:
    """A fold that has taken in these batches, which are arrays of rows."""
    ids, mu, log_var = items
    fold = Fold(request, np.arange(len(request.queries)) if group is None else group)
    for rows in batches:
        get = getter([ids[row] for row in rows])
        fold.add(mu[rows], log_var[rows], get, in_order=in_order)
    return fold


def hits(fold: Fold) -> dict[int, list[tuple[str, float]]]:
    queries, scores, table = fold.result()
    found: dict[int, list[tuple[str, float]]] = {int(q): [] for q in fold.group}
    names = [] if table is None else table["item_id"].to_pylist()
    for query, name, score in zip(queries.tolist(), names, scores.tolist(), strict=True):
        found[query].append((name, score))
    return found
