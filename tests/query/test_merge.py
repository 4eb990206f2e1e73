"""Merging partial results: against Python's sort by (-value, UTF-8 bytes of the id)."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import vaeudf.query.merge
from tests.support.tolerances import assert_within
from vaeudf.errors import InputError
from vaeudf.gaussian.checks import check_k
from vaeudf.query.merge import BestValues, TopK

VALUES = st.sampled_from([-np.inf, -1e300, -2.0, -1.0, 0.0, -0.0, 0.5, 7.0])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def table(names, **payload):
    return pa.table({"item_id": pa.array(names, pa.string()), **payload})


def add(best, candidates):
    """Add (query, value, id) with a payload that follows from these."""
    queries, values, names = zip(*candidates, strict=True) if candidates else ((), (), ())
    items = table(
        names,
        length=pa.array([len(name) for name in names], pa.int64()),
        both=pa.array([[f"{q}{name}"] for q, name in zip(queries, names, strict=True)], _LISTS),
    )
    best.add(np.array(queries, np.int64), np.array(values, np.float64), items)


_LISTS = pa.list_(pa.string())


def contents(best):
    """[(query, value, id)] as kept, once the payload is seen to be each row's own."""
    queries, values, items = best.result()
    if items is None:
        assert len(queries) == len(values) == 0
        return []
    assert len(queries) == len(values) == len(items)
    assert queries.dtype == np.int64 and values.dtype == np.float64
    names = items.column("item_id").to_pylist()
    assert items.column("length").to_pylist() == [len(name) for name in names]
    expected = [[f"{q}{name}"] for q, name in zip(queries.tolist(), names, strict=True)]
    assert items.column("both").to_pylist() == expected
    return list(zip(queries.tolist(), values.tolist(), names, strict=True))


def by_hand(candidates, k):
    kept = []
    for query in sorted({query for query, _, _ in candidates}):
        own = [row for row in candidates if row[0] == query]
        kept += sorted(own, key=lambda row: (-row[1], row[2].encode()))[:k]
    return kept


@st.composite
def batches(draw):
    """(number of queries, k, batches of candidates in any order), few of them distinct."""
    num_queries = draw(st.integers(1, 4))
    names = draw(st.lists(TEXT, unique=True, max_size=12))
    pairs = [(query, name) for query in range(num_queries) for name in names]
    pairs = draw(st.permutations(pairs))[: draw(st.integers(0, len(pairs)))]
    candidates = [(query, draw(VALUES), name) for query, name in pairs]
    cuts = sorted(draw(st.lists(st.integers(0, len(candidates)), max_size=5)))
    ends = [0, *cuts, len(candidates)]
    parts = [candidates[a:b] for a, b in itertools.pairwise(ends)]
    return num_queries, draw(st.integers(1, 14)), parts


@given(batches(), st.sampled_from([1, 2, 7, 2**17]))
@example((1, 1, [[(0, 0.0, "b")], [(0, -0.0, "a")]]), 1)
@settings(max_examples=200, deadline=None)
def test_any_batches_in_any_order(case, waiting):
    num_queries, k, parts = case
    everything = [row for part in parts for row in part]
    expected = by_hand(everything, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaeudf.query.merge, "_WAITING", waiting)
        best = TopK(k, np.full(num_queries, -np.inf))
        so_far = []
        for part in parts:
            before = best.floors.copy()
            add(best, part)
            so_far += part
            assert (best.floors >= before).all()
            check_floors(best.floors, so_far, k)
        assert contents(best) == expected
        check_floors(best.floors, everything, k)
        # To ask changes nothing, and more can come after it.
        assert contents(best) == expected
        add(best, [(0, 9.0, "one more than there were")])
        everything.append((0, 9.0, "one more than there were"))
        assert contents(best) == by_hand(everything, k)


def check_floors(floors, candidates, k):
    """Never above the k-th best value of what has come so far."""
    for query, floor in enumerate(floors.tolist()):
        values = sorted((row[1] for row in candidates if row[0] == query), reverse=True)
        assert floor <= (values[k - 1] if len(values) >= k else -np.inf)


@given(batches(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_results_merge_into_the_result_of_all(case, random):
    num_queries, k, parts = case
    floors = np.full(num_queries, -np.inf)
    merged = TopK(k, floors)
    random.shuffle(parts)
    for part in parts:
        own = TopK(k, floors)
        add(own, part)
        queries, values, items = own.result()
        merged.add(queries, values, items)
    assert contents(merged) == by_hand([row for part in parts for row in part], k)


def test_floors_rise_to_the_kth_value():
    best = TopK(2, np.array([-np.inf, -3.0, 5.0, -np.inf]))
    add(best, [(0, 1.0, "a"), (0, 4.0, "b"), (1, -1.0, "a"), (2, 5.5, "a"), (2, 6.0, "b")])
    best.result()
    assert best.floors.tolist() == [1.0, -3.0, 5.5, -np.inf]
    add(best, [(0, 2.0, "c"), (1, -2.0, "b"), (2, 0.0, "c")])
    best.result()
    assert best.floors.tolist() == [2.0, -2.0, 5.5, -np.inf]


def test_known_floors_are_neither_lowered_nor_changed_in_place():
    known = np.array([2.0, 7.0])
    best = TopK(1, known)
    add(best, [(0, 3.0, "a"), (1, 6.0, "a")])
    best.result()
    assert best.floors.tolist() == [3.0, 7.0] and known.tolist() == [2.0, 7.0]


def test_what_waits_is_merged_before_it_is_too_much(monkeypatch):
    monkeypatch.setattr(vaeudf.query.merge, "_WAITING", 10)
    best = TopK(2, np.full(3, -np.inf))
    for start in range(0, 300, 4):
        add(best, [(row % 3, float(row), f"{row:03d}") for row in range(start, start + 4)])
        assert best._num_waiting < 10
    assert_within(best.floors, [294, 295, 296], 9, why="rows that wait, less than ten of them")
    assert [row[1] for row in contents(best)] == [297.0, 294.0, 298.0, 295.0, 299.0, 296.0]


@pytest.mark.parametrize("batch", [1, 5, 14])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_string_ids_tie_in_the_order_of_their_utf8_bytes(monkeypatch, batch, kind):
    # UTF-16, as Java and JavaScript compare, puts 👕 before ｚ; a locale puts é next to e.
    names = ["👕", "ｚ", "é", "z", "e", "Z", "", "a\u0301", "\u00e1", "ab", "a", "10", "9", "한"]
    monkeypatch.setattr(vaeudf.query.merge, "_WAITING", 1)
    for k in (14, 3):
        best = TopK(k, np.full(2, -np.inf))
        for start in range(0, 14, batch):
            part = names[start : start + batch]
            for query in (1, 0):
                items = pa.table({"item_id": pa.array(part, kind)})
                best.add(np.full(len(part), query), np.zeros(len(part)), items)
        queries, _, items = best.result()
        assert queries.tolist() == [0] * k + [1] * k
        assert items.column("item_id").to_pylist() == sorted(names, key=str.encode)[:k] * 2
        assert items.schema.field("item_id").type == kind


def test_queries_tell_equal_ids_and_values_apart():
    best = TopK(1, np.full(3, -np.inf))
    add(best, [(2, 1.0, "b"), (0, 1.0, "b"), (2, 1.0, "a"), (0, 2.0, "c"), (1, 1.0, "a")])
    assert contents(best) == [(0, 2.0, "c"), (1, 1.0, "a"), (2, 1.0, "a")]


def test_batches_need_not_agree_on_every_type():
    best = TopK(2, np.full(1, -np.inf))
    zeros = np.zeros(2, np.int64)
    narrow = pa.table({"item_id": ["b", "d"], "stock": pa.array([1, 2], pa.int32())})
    wide = pa.table({"item_id": pa.array(["a", "c"], pa.large_string()), "stock": [2**40, 3]})
    best.add(zeros, np.array([1.0, 0.0]), narrow)
    best.add(zeros, np.array([1.0, 0.0]), wide)
    items = best.result()[2]
    assert items.column("item_id").to_pylist() == ["a", "b"]
    assert items.column("stock").to_pylist() == [2**40, 1]


def test_nothing_came():
    best = TopK(5, np.full(2, -np.inf))
    queries, values, items = best.result()
    assert len(queries) == len(values) == 0 and items is None
    add(best, [])
    queries, values, items = best.result()
    assert len(queries) == len(values) == len(items) == 0
    assert items.column_names == ["item_id", "length", "both"]
    add(best, [(1, 2.0, "a")])
    assert contents(best) == [(1, 2.0, "a")]
    assert contents(TopK(5, np.empty(0))) == []


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one(k):
    with pytest.raises(InputError, match=f"^k is {k}; expected at least 1\\.$"):
        check_k(k)
    with pytest.raises(InputError, match=f"^k is {k}; expected at least 1\\.$"):
        TopK(k, np.empty(0))


@pytest.mark.parametrize("k", [2.5, 2.0, "3", None, True])
def test_k_is_a_whole_number(k):
    message = f"^k is {re.escape(repr(k))}; expected a whole number\\.$"
    with pytest.raises(InputError, match=message):
        check_k(k)
    with pytest.raises(InputError, match=message):
        TopK(k, np.empty(0))


def test_k_of_any_integer_type():
    assert check_k(1) == check_k(np.int32(1)) == 1
    assert check_k(10**12) == 10**12


# ---- values without items


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_best_values_tell_a_floor(k, most, seed):
    rng = np.random.default_rng(seed)
    waiting = int(rng.integers(1, 200))
    best, everything = BestValues(k), [[] for _ in range(6)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaeudf.query.merge, "_WAITING", waiting)
        for _ in range(int(rng.integers(0, 8))):
            queries = np.flatnonzero(rng.random(6) < 0.6)
            values = rng.integers(-9, 9, size=(len(queries), int(rng.integers(1, 30)))).astype(
                float
            )
            best.add(queries, values)
            for query, own in zip(queries, values, strict=True):
                everything[query].extend(own)
        queries, values, weights = best.weighted(most)
    for query in range(6):
        told, weight = values[queries == query], weights[queries == query]
        expected = np.sort(everything[query])[::-1][:k]
        assert len(told) <= most and weight.sum() == len(expected)
        reached = np.cumsum(weight)
        # Each told value is the lowest of those it stands for.
        assert told.tolist() == [expected[place - 1] for place in reached]
        assert len(expected) < k or told[-1] == expected[-1]
