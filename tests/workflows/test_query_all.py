"""``query_topk --all --min-score S``: what is written, what is told, what is refused."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.bulk import oracle
from tests.support.scene import NUM_ITEMS
from tests.support.tables import read
from vaeudf.errors import InputError
from vaeudf.workflows.cli import parse
from vaeudf.workflows.query_topk import QueryTopk, query_topk


@pytest.mark.spark
def test_every_item_that_reaches_the_score(table, tmp_path, capsys):
    z = np.array([[0.0, 0, 0, 0], [0.5, -1, 0, 2], [50, 50, 50, 50]])
    hits = oracle(read(table), z, NUM_ITEMS)
    # Between the third and the fourth hit of the first query.
    least = (hits[0][2][1] + hits[0][3][1]) / 2
    output = str(tmp_path / "out")
    asked = ["0,0,0,0", "0.5,-1,0,2", "50,50,50,50"]
    summary = query_topk(
        QueryTopk(table, z=asked, all=True, min_score=least, columns=["stock"], output=output)
    )
    right = [
        (str(query), item)
        for query, own in enumerate(hits)
        for item, score in own
        if score >= least
    ]
    found = pq.read_table(output)
    assert found.column_names == ["query_id", "item_id", "log_likelihood", "stock"]
    assert sorted(zip(*found.select([0, 1]).to_pydict().values(), strict=True)) == sorted(right)
    counts = [sum(query == str(number) for query, _ in right) for number in range(3)]
    assert counts[0] == 3 and counts[2] == 0
    assert (summary["all"], summary["hits"]) == (True, len(right))
    assert summary["hits_per_query"] == {
        "min": 0,
        "median": float(np.median(counts)),
        "max": max(counts),
    }
    assert summary["queries_without_hits"] == sum(count == 0 for count in counts)
    assert summary["hits_by_query"] == dict(zip("012", counts, strict=True))
    assert "k" not in summary and "hub_share" not in summary
    assert capsys.readouterr().out == ""


@pytest.mark.spark
def test_conditions_and_many_queries(table, tmp_path):
    output = str(tmp_path / "out")
    np.save(tmp_path / "z.npy", np.zeros((21, 4)))
    summary = query_topk(
        QueryTopk(
            table,
            queries=str(tmp_path / "z.npy"),
            all=True,
            min_score=1e6,
            score="euclidean",
            where="stock < 12",
            output=output,
        )
    )
    # A distance of at most so much: all that the condition leaves.
    stock = pa.compute.less(read(table)["stock"], 12)
    ids = read(table).filter(stock)["item_id"].to_pylist()
    assert len(ids) == 12
    assert sorted(pq.read_table(output)["item_id"].to_pylist()) == sorted(ids * 21)
    assert summary["hits"] == 12 * 21 and summary["items"] == 12
    assert "hits_by_query" not in summary, "of up to twenty queries"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": None}, "--all needs --min-score: every item is a hit without it."),
        ({"output": None}, "--all needs --output: there may be millions of hits."),
        (
            {"k": 10},
            "--k does not go with --all: it returns every item that reaches --min-score.",
        ),
        ({"per": "category"}, "--per does not go with --all: it does not choose among the hits."),
        (
            {"distinct": 0.5},
            "--distinct does not go with --all: it does not choose among the hits.",
        ),
        (
            {"diversify": 0.5},
            "--diversify does not go with --all: it does not choose among the hits.",
        ),
        (
            {"responsibilities": True},
            "--responsibilities does not go with --all: its hits leave the tasks before the sums "
            "are known; --share has sums.",
        ),
        (
            {"report": "page"},
            "--report does not go with --all: its hits are not ranked, and there may be millions; "
            "for a page, ask with --k.",
        ),
    ],
)
def test_what_does_not_go_with_it(options, message):
    asked = {"table": "t", "z": ["0"], "all": True, "min_score": 0.0, "output": "out"}
    QueryTopk(**asked)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        QueryTopk(**asked | options)


def test_as_flags():
    flags = ["--table", "t", "--z", "0", "--all", "--min-score", "-20", "--output", "out"]
    options = parse(QueryTopk, flags)
    assert (options.all, options.min_score, options.k) == (True, -20.0, None)
    assert parse(QueryTopk, ["--table", "t", "--z", "0"]).query_options().k == 10
