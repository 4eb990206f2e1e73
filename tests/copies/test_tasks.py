"""Tasks on a stored table, without Spark, against brute force; however the table is cut."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import each_value_once
from tests.support.near_pairs import certain_and_possible, groups_of, pairs_of, scattered
from tests.support.plain import write_plain
from tests.support.tables import matrix
from vaeudf.copies import shares as cutting
from vaeudf.copies import tasks as working
from vaeudf.copies.forest import connected
from vaeudf.copies.shares import Shares
from vaeudf.copies.tasks import Task
from vaeudf.copies.threshold import Threshold
from vaeudf.errors import InputError
from vaeudf.spark.writing import write_partition
from vaeudf.table.footers import read_footers, read_row_groups


@pytest.fixture(autouse=True)
def small_shares(monkeypatch):
    monkeypatch.setattr(cutting, "_FEWEST_ROWS", 1)
    monkeypatch.setattr(cutting, "_ROWS_PER_SPLIT", 32)
    monkeypatch.setattr(working, "_NUMBERS_WAITING", 150)


def groups_in(folder, mu, log_var, *, boxes):
    """The row groups of a table of these items, in k-d order if they are to have boxes."""
    ids = [f"{row:05}" for row in range(len(mu))]
    if not boxes:
        table = write_plain(folder / "items.parquet", ids, mu, log_var, row_group_size=17)
        return read_row_groups(table.snapshot)
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False))
    schema = pa.schema([("item_id", pa.string()), ("mu", vector), ("log_var", vector)])
    rows = pa.table([ids, list(mu), list(log_var)], schema=schema)
    (done,) = write_partition(iter(rows.to_batches()), str(folder), "run", schema)
    found = read_footers([f"{folder}/{path}" for path in done.column("path").to_pylist()])
    assert all(group.box is not None for group in found)
    return found


def found_in(groups, latent_dim, threshold, num_tasks, wants_pairs=True, max_pairs=10**9):
    shares = Shares.of(list(groups), latent_dim, num_tasks)
    task = Task(shares, threshold, max_pairs, wants_pairs)
    return shares, pa.Table.from_batches(
        [batch for number in range(len(shares)) for batch in task.rows(number)],
        schema=working.SCHEMA,
    )


def column(rows, name):
    return rows[name].drop_null().to_numpy()


@each_value_once(
    ("kind", ("clumps", "near", "equal", "all equal", "apart", "extreme")),
    ("name", ("jeffreys", "bhattacharyya")),
    ("num_tasks", (5, 1, 4)),
)
def test_pairs_and_groups_are_those_of_brute_force(tmp_path, kind, name, num_tasks):
    rng = np.random.default_rng(len(kind))
    count = 300
    mu, log_var = scattered(rng, count, 4, kind)
    certain, possible = certain_and_possible(name, 0.1, mu, log_var)
    groups = groups_in(tmp_path, mu, log_var, boxes=False)
    shares, rows = found_in(groups, 4, Threshold(name, 0.1), num_tasks)
    assert len(shares) == num_tasks
    is_pair = rows["divergence"].is_valid()
    pairs = rows.filter(is_pair)
    found = pairs_of(pairs["one"], pairs["other"])
    assert len(found) == pairs.num_rows, "each pair comes once"
    assert certain <= found <= possible
    assert column(rows, "pairs").sum() == len(found)
    edges = rows.filter(pa.compute.and_(pa.compute.invert(is_pair), rows["one"].is_valid()))
    connecting = connected(edges["one"].to_numpy(), edges["other"].to_numpy())
    expected = groups_of(found, count)
    assert {
        frozenset(connecting.items[connecting.labels == label].tolist())
        for label in range(len(connecting.sizes))
    } == expected
    # What the driver has to hold does not grow with the pairs.
    assert edges.num_rows <= num_tasks * sum(map(len, expected))
    _, few = found_in(groups, 4, Threshold(name, 0.1), num_tasks, wants_pairs=False)
    assert few.filter(few["divergence"].is_valid()).num_rows == 0
    assert column(few, "pairs").sum() == len(found)


def test_splits_that_are_far_apart_are_not_read(tmp_path):
    rng = np.random.default_rng(5)
    mu, log_var = scattered(rng, 1_200, 3, "clumps")
    mu[600:] += 1000
    halves = []
    for number in range(2):
        half = slice(600 * number, 600 * (number + 1))
        halves += groups_in(tmp_path / f"{number}", mu[half], log_var[half], boxes=True)
    assert len(halves) == 2
    threshold = Threshold("jeffreys", 0.1)
    shares, rows = found_in(halves, 3, threshold, 2)
    assert [len(shares.others(number, threshold)) for number in range(2)] == [0, 0]
    assert column(rows, "rows_read").sum() == 1_200
    # The files have the rows in an order of their own.
    stored = pa.concat_tables([pq.read_table(group.file) for group in halves])
    certain, possible = certain_and_possible(
        "jeffreys", 0.1, matrix(stored, "mu"), matrix(stored, "log_var")
    )
    pairs = rows.filter(rows["divergence"].is_valid())
    found = pairs_of(pairs["one"], pairs["other"])
    assert certain <= found <= possible and len(found) > 100


@pytest.mark.parametrize("num_tasks", range(1, 8))
def test_two_shares_are_compared_once(tmp_path, num_tasks):
    mu = np.zeros((40, 2), np.float32)
    groups = groups_in(tmp_path, mu, mu, boxes=False)
    groups = [group for group in groups for _ in range(4)]
    shares = Shares.of(groups, 2, num_tasks)
    threshold = Threshold("jeffreys", 0.1)
    met = [
        frozenset((share, place))
        for number in range(len(shares))
        for share in shares.own(number)
        for place in shares.others(number, threshold)
    ]
    of_share = {place: n for n in range(len(shares)) for place in shares.own(n)}
    everything = itertools.combinations(range(len(shares.splits)), 2)
    across = {frozenset(pair) for pair in everything if len({of_share[p] for p in pair}) == 2}
    assert len(met) == len(set(met)) and set(met) == across


def test_too_many_pairs_end_with_a_message(tmp_path):
    rng = np.random.default_rng(6)
    mu = rng.normal(0, 1e-3, (100, 2)).astype(np.float32)
    groups = groups_in(tmp_path, mu, np.zeros_like(mu), boxes=False)
    with pytest.raises(InputError) as caught:
        found_in(groups, 2, Threshold("jeffreys", 0.5), 1, max_pairs=1000, wants_pairs=False)
    assert str(caught.value) == (
        "nats is 0.5, within which 4,950 pairs were found so far, among 100 of 100 items; expected "
        "at most 1,000. Items that are no copies are as near as that, or thousands have the same "
        "picture: lower --nats, or allow more with --max-pairs."
    )


def test_equal_items_count_as_pairs_only_where_these_are_wanted(tmp_path):
    mu = np.zeros((100, 2), np.float32)
    groups = groups_in(tmp_path, mu, mu, boxes=False)
    threshold = Threshold("jeffreys", 0.1)
    _, rows = found_in(groups, 2, threshold, 1, max_pairs=10, wants_pairs=False)
    assert column(rows, "pairs").sum() == 4_950 and len(column(rows, "one")) == 99
    with pytest.raises(InputError, match=r"4,950 pairs were found so far"):
        found_in(groups, 2, threshold, 1, max_pairs=10)


def test_a_table_without_items():
    shares, rows = found_in([], 3, Threshold("jeffreys", 0.1), 4)
    assert len(shares) == 1 and rows.num_rows == 0
