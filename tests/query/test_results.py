"""What a task yields of what its fold has found, without Spark."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tests.support.folds import folded, gaussians, hits, make_request, posteriors
from tests.support.tolerances import near_score
from vaeudf.errors import InputError
from vaeudf.query import results as yielding
from vaeudf.query.results import LOG_SKIPPED, LOG_SUM, NUM_ITEMS, Columns, check_columns, results


def counts():
    """Counts that stay here."""
    told = SimpleNamespace(scored=0, rows_out=0)

    def add(*, scored: int, rows_out: int) -> None:
        told.scored += scored
        told.rows_out += rows_out

    told.add = add
    return told


def yielded(request, fold, told=None) -> pa.Table:
    columns = Columns.of(request, None)
    batches = list(results(fold, columns, told or counts()))
    assert all(batch.schema.equals(columns.schema) for batch in batches)
    return pa.Table.from_batches(batches, schema=columns.schema)


def test_columns_by_what_is_asked_for():
    z = np.zeros((2, 3))
    plain = Columns.of(make_request("kl", z, z), None)
    assert plain.struct.simpleString() == "struct<query_id:string,item_id:string,kl:double>"
    everything = Columns.of(
        make_request("log_likelihood", z, explain=True, cuts=np.full(2, -np.inf)), None
    )
    assert everything.schema.names == [
        *("query_id", "item_id", "log_likelihood", "misfit", "volume", "costliest"),
        *(LOG_SUM, LOG_SKIPPED, NUM_ITEMS),
    ]
    assert everything.struct.names == everything.schema.names
    kinds = dict(zip(everything.schema.names, everything.struct, strict=True))
    kind = kinds["costliest"].dataType.simpleString()
    assert kind == "array<struct<dimension:int,nats:double>>"


@pytest.mark.parametrize(
    "name", ["query_id", "RANK", "item_id", "Log_Likelihood", "responsibility", "misfit"]
)
def test_a_column_that_the_result_has_already(name):
    request = make_request("log_likelihood", np.zeros((1, 2)), columns=(name,), explain=True)
    message = f"column {name!r} is in the result already; leave it out."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Columns.of(request, None)


def test_a_column_named_rank_where_there_are_no_ranks():
    found = ["item_id", "rank", "responsibility"]
    check_columns(found[1:], found, score="kl", ranked=False)
    with pytest.raises(InputError, match=r"^column 'item_id' is in the result already"):
        check_columns(["item_id"], found, score="kl", ranked=False)


def test_candidates_and_their_explanations(monkeypatch):
    monkeypatch.setattr(yielding, "_ROWS_PER_BATCH", 7)
    request = make_request("log_likelihood", gaussians(6, 3)[0], k=5, explain=True)
    items = posteriors(100, 3)
    fold = folded(request, items, [np.arange(100)])
    told = counts()
    table = yielded(request, fold, told)
    found: dict = {q: [] for q in range(6)}
    for row in table.to_pylist():
        found[int(row["query_id"])].append((row["item_id"], row["log_likelihood"]))
        whole = near_score(row["log_likelihood"], items[2], dims=3)
        assert row["misfit"] + row["volume"] == whole
        assert len(row["costliest"]) == 3
    assert found == hits(fold)
    assert [len(batch) for batch in table.to_batches()] == [7, 7, 7, 7, 2]
    assert (told.scored, told.rows_out) == (600, 30)


def test_sums_stand_in_rows_of_their_own():
    request = make_request("log_likelihood", gaussians(3, 3)[0], k=2, cuts=np.full(3, -np.inf))
    fold = folded(request, posteriors(50, 3), [np.arange(50)], group=np.array([0, 2]))
    told = counts()
    table = yielded(request, fold, told)
    assert told.rows_out == table.num_rows == 6
    own = table.filter(pa.compute.is_null(table["item_id"]))
    assert own["query_id"].to_pylist() == ["0", "2"]
    assert own[LOG_SUM].to_pylist() == fold.sums.logarithms().tolist()
    assert own[LOG_SKIPPED].to_pylist() == [-np.inf] * 2
    assert own[NUM_ITEMS].to_pylist() == [50, 50]
    assert own["log_likelihood"].null_count == 2
    rest = table.filter(pa.compute.is_valid(table["item_id"]))
    assert rest[LOG_SUM].null_count == rest[NUM_ITEMS].null_count == 4


def test_nothing_is_said_of_a_sum_over_nothing():
    """With cuts there is another task that has something; without, nobody may know of others."""
    cuts = np.array([-1e3, 1e3, -np.inf, 1e3])
    request = make_request("log_likelihood", gaussians(4, 3)[0], cuts=cuts, floors=np.full(4, 1e3))
    told = counts()
    items = posteriors(50, 3)
    table = yielded(request, folded(request, items, [np.arange(50)]), told)
    assert table["query_id"].to_pylist() == ["0", "2"]
    assert told.rows_out == 2
    table = yielded(request, folded(request, items, []))
    assert table["query_id"].to_pylist() == ["2"]
    assert table[LOG_SUM].to_pylist() == [-np.inf] and table[NUM_ITEMS].to_pylist() == [0]
