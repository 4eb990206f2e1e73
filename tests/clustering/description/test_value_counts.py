"""Counts of values against pandas, however items are cut; bounded, where values are many."""

from __future__ import annotations

import collections

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vaeudf.clustering.description import value_counts
from vaeudf.clustering.description.value_counts import MOST_NUMBERS, ValueCounts


@pytest.fixture(autouse=True, params=[1, 2**17])
def waiting(request, monkeypatch):
    """How many values wait before they are counted: none of the batches here, or all."""
    monkeypatch.setattr(value_counts, "_WAITING", request.param)


def count(kind, k, parts):
    """The counts of parts, each a list of (clusters, column), merged."""
    whole = None
    for batches in parts:
        part = ValueCounts.empty(kind, k)
        for clusters, column in batches:
            part.add(np.asarray(clusters, np.int32), column)
        part.settle()
        if whole is None:
            whole = part
        else:
            whole.merge(part)
    whole.settle()
    return whole


def cut(clusters, column, sizes):
    ends = np.cumsum(sizes)
    return [
        (clusters[end - size : end], column.slice(end - size, size))
        for size, end in zip(sizes, ends, strict=True)
    ]


def as_dict(counts):
    values = counts.values.to_pylist()
    return {value: own.tolist() for value, own in zip(values, counts.counts, strict=True)}


@pytest.mark.parametrize("kind", ["text", "bool", "int"])
def test_values_as_pandas_counts_them(kind):
    rng = np.random.default_rng(0)
    some = {"text": ["a", "b", "", "é", None], "bool": [True, False, None], "int": [-1, 0, 7, None]}
    values = [some[kind][i] for i in rng.integers(0, len(some[kind]), 500)]
    clusters = rng.integers(0, 4, 500)
    column = pa.array(values)
    batches = cut(clusters, column, [7, 193, 100, 0, 200])
    found = count(column.type, 4, [batches[:2], batches[2:3], batches[3:]])
    frame = pd.DataFrame({"cluster": clusters, "value": pd.Series(values, dtype=object)})
    expected = pd.crosstab(frame["value"], frame["cluster"])
    assert as_dict(found) == {value: row.tolist() for value, row in expected.iterrows()}
    nulls = frame["value"].isna().groupby(frame["cluster"]).sum()
    assert found.nulls.tolist() == nulls.tolist() and found.exact


@pytest.mark.parametrize("large", [False, True])
def test_each_value_of_a_list_counts_once_for_its_item(large):
    rng = np.random.default_rng(1)
    tags = ["red", "sale", "new", None]
    lists = [
        None if rng.random() < 0.1 else [tags[i] for i in rng.integers(0, 4, rng.integers(0, 4))]
        for _ in range(300)
    ]
    clusters = rng.integers(0, 3, 300)
    column = pa.array(lists, (pa.large_list if large else pa.list_)(pa.string()))
    batches = cut(clusters, column, [120, 180])
    found = count(pa.string(), 3, [batches[:1], batches[1:]])
    expected = collections.defaultdict(lambda: [0, 0, 0])
    nulls = [0, 0, 0]
    for cluster, own in zip(clusters, lists, strict=True):
        there = set(own or ()) - {None}
        nulls[cluster] += not there
        for tag in there:
            expected[tag][cluster] += 1
    assert as_dict(found) == dict(expected) and found.nulls.tolist() == nulls


def test_no_values_and_no_items():
    found = count(
        pa.string(), 2, [[([0, 1], pa.nulls(2, pa.string()))], [([], pa.array([], "str"))]]
    )
    assert as_dict(found) == {} and found.nulls.tolist() == [1, 1] and found.exact


def test_whole_numbers_that_are_many_are_not_counted():
    few, many = pa.array(range(MOST_NUMBERS)), pa.array(range(MOST_NUMBERS + 1))
    assert len(count(few.type, 1, [[(np.zeros(len(few)), few)]]).values) == MOST_NUMBERS
    rest = [(np.zeros(1), pa.array([99]))]
    for parts in ([[(np.zeros(len(many)), many)], rest], [[(np.zeros(len(few)), few)], rest]):
        found = count(few.type, 1, parts)
        assert found.given_up and len(found.values) == 0 and not found.exact


@pytest.mark.parametrize("limit", ["values", "bytes"])
def test_what_is_forgotten_is_bounded(limit, monkeypatch):
    """No count is too high, and none is too low by more than is said."""
    if limit == "values":
        monkeypatch.setattr(value_counts, "_MOST_VALUES", 50)
    else:
        monkeypatch.setattr(value_counts, "_MOST_BYTES", 800)
    rng = np.random.default_rng(2)
    frequent = [f"often{i}" for i in range(5)]
    values = [
        frequent[rng.integers(5)] if rng.random() < 0.5 else f"x{rng.integers(2000)}"
        for _ in range(3000)
    ]
    clusters = rng.integers(0, 3, 3000)
    batches = cut(clusters, pa.array(values), [100] * 30)
    found = count(pa.string(), 3, [batches[:9], batches[9:10], batches[10:]])
    assert not found.exact and len(found.values) <= 120
    exact = collections.Counter(values)
    kept = dict(zip(found.values.to_pylist(), found.totals.tolist(), strict=True))
    assert all(
        exact[value] - found.missed <= total <= exact[value] for value, total in kept.items()
    )
    assert max(exact[value] for value in exact if value not in kept) <= found.missed
    assert found.missed < min(exact[value] for value in frequent)
    own = pd.crosstab(pd.Series(values), clusters)
    for value in frequent:
        assert as_dict(found)[value] == own.loc[value].tolist()


def test_what_each_part_forgets_adds_up(monkeypatch):
    """A value that no part has among its most frequent, and that many items have in the end."""
    monkeypatch.setattr(value_counts, "_MOST_VALUES", MOST_NUMBERS)
    parts = [
        [f"{part}-{i}" for i in range(MOST_NUMBERS)] * 10 + ["everywhere"] * (5 + part)
        for part in range(3)
    ]
    found = count(pa.string(), 1, [[(np.zeros(len(own)), pa.array(own))] for own in parts])
    # 5, 6 and 7 of it; and, as there is room for a third of the others, 10 of these.
    assert "everywhere" not in found.values.to_pylist()
    assert found.missed == 5 + 6 + 7 + 10 and len(found.values) == MOST_NUMBERS
