"""One population in several places, and brute force over it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.reference import assert_same_score, reference_scores
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.query.latents import Latents
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.spark.writing import write_partition
from vaeudf.table.publish import DataFile, publish


class Population(NamedTuple):
    """The same items in two places.

    Attributes:
        items: All of them, with payload, ids in no order.
        mu: (N, n).
        log_var: (N, n).
        table: Path of a table of four files, with boxes.
        parquet: Path of a folder of plain Parquet, without.
    """

    items: pa.Table
    mu: np.ndarray
    log_var: np.ndarray
    table: str
    parquet: str


NUM_ITEMS = 3_000
SIZE = 64
PAYLOAD = pa.schema(
    [
        ("stock", pa.int32()),
        ("brand", pa.string()),
        ("seen", pa.timestamp("us", "UTC")),
        ("price", pa.decimal128(10, 2)),
        ("sizes", pa.list_(pa.int64())),
    ]
)
SCHEMA = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})


def make_items() -> pa.Table:
    """Items of which some are copies of others, with ids that no two orders agree on."""
    rng = np.random.default_rng(11)
    rows = np.arange(NUM_ITEMS)
    rows[-300:] = np.repeat(rng.choice(NUM_ITEMS - 300, 30), 10)
    mu = rng.normal(size=(NUM_ITEMS, 3)).astype(np.float32)[rows]
    log_var = rng.normal(-4, 0.7, size=(NUM_ITEMS, 3)).astype(np.float32)[rows]
    letters = rng.choice(["a", "B", "b", "é", "ﾡ", "😀"], NUM_ITEMS)
    start = datetime(1850, 1, 1, tzinfo=timezone.utc)
    numbers = rng.permutation(NUM_ITEMS).tolist()

    def some(values):
        return [None if number % 7 == 0 else value for number, value in enumerate(values)]

    return pa.table(
        {
            "item_id": [f"{letter}{i}" for letter, i in zip(letters, numbers, strict=True)],
            "mu": list(mu),
            "log_var": list(log_var),
            "source_version": ["v"] * NUM_ITEMS,
            "stock": some(numbers),
            "brand": some(f"brand é {i % 5}" for i in numbers),
            "seen": some(start + timedelta(days=40 * i, microseconds=i) for i in numbers),
            "price": some(Decimal(i).scaleb(-2) for i in numbers),
            "sizes": some([None, *range(i % 3)] for i in numbers),
        },
        schema=pa.schema([pa.field(field.name, field.type) for field in SCHEMA]),
    )


def write_table(items: pa.Table, mu: np.ndarray, uri: str) -> None:
    """Publish items as a table of four files, each of runs of 64 rows with their boxes."""
    order = kd_order(mu, SIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaeudf.spark.writing.rows_per_group", lambda latent_dim: SIZE)
        files = []
        for rows in np.array_split(order, 4):
            batches = items.take(pa.array(rows)).combine_chunks().to_batches()
            for batch in write_partition(iter(batches), uri, "run", SCHEMA):
                files += [DataFile(**row) for row in batch.to_pylist()]
    publish(uri, None, files, SCHEMA, mu.shape[1], "made")


def write_parquet(items: pa.Table, folder: Path) -> None:
    """Write files of row groups of several sizes; one file without rows, one without row groups."""
    folder.mkdir()
    for number, (start, size) in enumerate([(0, 100), (1_000, 333), (2_000, 5_000)]):
        pq.write_table(items.slice(start, 1_000), folder / f"{number}.parquet", row_group_size=size)
    pq.write_table(items.slice(0, 0), folder / "empty.parquet")
    pq.ParquetWriter(folder / "nothing.parquet", items.schema).close()


def make_population(folder: Path) -> Population:
    items = make_items()
    mu, log_var = (np.array(items[name].to_pylist(), np.float32) for name in ("mu", "log_var"))
    found = Population(items, mu, log_var, str(folder / "table"), str(folder / "parquet"))
    write_table(items, mu, found.table)
    write_parquet(items, Path(found.parquet))
    return found


def queries_around(population: Population, count: int, seed: int = 0) -> Latents:
    """Gaussians at items, near items, and where there are none."""
    rng = np.random.default_rng([count, seed])
    z = rng.normal(size=(count, 3)) * rng.choice([1.0, 3.0], size=(count, 1))
    log_var = rng.normal(-2, 1, size=(count, 3))
    own = rng.integers(0, NUM_ITEMS, size=-(-count // 4))
    z[::4], log_var[::4] = population.mu[own], population.log_var[own]
    return Latents(tuple(f"q{i}" for i in range(count)), z, log_var)


def points(queries: Latents) -> Latents:
    return Latents(queries.ids, queries.z)


def all_scores(population: Population, queries: Latents, name: str, tolerance=0.0) -> np.ndarray:
    mu, log_var = population.mu, population.log_var
    return reference_scores(name, queries.z, queries.log_var, mu, log_var, tolerance)


def assert_hits(population, found: pa.Table, queries, name, k, tolerance=0.0, wanted=None) -> None:
    """Assert that these are the k best items of every query, by brute force.

    Args:
        population: The items.
        found: What Spark has found.
        queries: What was asked for.
        name: The score.
        k: How many.
        tolerance: tau.
        wanted: Which items count for which query, (Q, N); all of them unless given.
    """
    scores = all_scores(population, queries, name, tolerance)
    keys = scores if SCORES[name].ascending else -scores
    ids = np.array(population.items["item_id"].to_pylist())
    by_name = np.argsort(np.argsort([text.encode() for text in ids.tolist()]))
    hits: dict[str, list[dict]] = {query: [] for query in queries.ids}
    for row in found.to_pylist():
        hits[row["query_id"]].append(row)
    for q, query in enumerate(queries.ids):
        order = np.lexsort((by_name, keys[q]))
        if wanted is not None:
            order = order[wanted[q, order]]
        order = order[:k]
        own = sorted(hits[query], key=lambda row: row["rank"])
        assert [row["rank"] for row in own] == list(range(1, len(order) + 1)), query
        assert [row["item_id"] for row in own] == ids[order].tolist(), query
        found_scores = [row[name] for row in own]
        items = population.mu, population.log_var
        assert_same_score(name, found_scores, scores[q, order], queries.log_var, *items, tolerance)
