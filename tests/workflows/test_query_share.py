"""``query_topk --share COLUMN``: what is printed, written and shown on the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from scipy.special import logsumexp

from tests.support.bulk import oracle
from tests.support.scene import NUM_ITEMS, tree
from tests.support.tables import matrix, read
from tests.support.tolerances import assert_within, score_bound
from vaeudf.errors import InputError
from vaeudf.workflows.query_output import write_results
from vaeudf.workflows.query_topk import QueryTopk, query_topk
from vaeudf.workflows.share_table import Leading

Z = {"0,0,0,0": [0.0, 0, 0, 0], "0.5,-1,0,2": [0.5, -1, 0, 2]}


def expected(items: pa.Table, column: str) -> list[dict[object, float]]:
    """p(value | z) by torch's densities and SciPy's sums."""
    value_of = dict(zip(items["item_id"].to_pylist(), items[column].to_pylist(), strict=True))
    found = []
    for pairs in oracle(items, np.array(list(Z.values())), len(items)):
        total = logsumexp([score for _, score in pairs])
        by_value: dict[object, list[float]] = {}
        for name, score in pairs:
            by_value.setdefault(value_of[name], []).append(score)
        found.append({value: np.exp(logsumexp(s) - total) for value, s in by_value.items()})
    return found


@pytest.mark.spark
def test_printed(table, capsys):
    summary = query_topk(QueryTopk(table, z=list(Z), k=1, share="category"))
    assert summary["share"] == "category" and "share_output" not in summary
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["query_id", "rank", "item_id", "log_likelihood"]
    assert lines[3] == ["query_id", "category", "share"]
    right = []
    for query, parts in enumerate(expected(read(table), "category")):
        ordered = sorted(parts.items(), key=lambda pair: -pair[1])
        told = [pair for place, pair in enumerate(ordered) if not place or pair[1] >= 0.0005]
        right += [[str(query), value, f"{share:.1%}"] for value, share in told]
        rest = sum(share for _, share in ordered[len(told) :])
        if rest >= 0.0005:
            right.append([str(query), f"({len(ordered) - len(told)}", "others)", f"{rest:.1%}"])
    assert lines[4:] == right


@pytest.mark.spark
def test_written_beside_the_hits(table, tmp_path):
    output = str(tmp_path / "out")
    asked = {"z": list(Z), "where": "stock < 12", "k": 2, "output": output}
    summary = query_topk(QueryTopk(table, **asked, share="stock"))
    assert summary["share_output"] == f"{output}-share"
    assert pq.read_table(output).num_rows == 4
    found = pq.read_table(f"{output}-share")
    assert found.column_names == ["query_id", "stock", "share", "share_error"]
    items = read(table)
    items = items.filter(pa.compute.less(items["stock"], 12))
    right = expected(items, "stock")
    assert len(right[0]) == 12 and found.num_rows == 24
    for row in found.to_pylist():
        share = right[int(row["query_id"])][row["stock"]]
        log_share = np.log(max(share, 1e-300))
        near = 4 * score_bound(log_share, matrix(items, "log_var"), dims=4, items=NUM_ITEMS)
        assert_within(row["share"], share, share * near + 1e-15, why="exp of two log-sums")
        assert row["share_error"] == 0
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"out exists already; .*--overwrite"):
        query_topk(QueryTopk(table, **asked, share="stock"))
    assert tree(tmp_path) == before
    query_topk(QueryTopk(table, **asked, share="category", overwrite=True))
    assert pq.read_table(f"{output}-share").column_names[1] == "category"


@pytest.mark.slow
@pytest.mark.spark
def test_shares_of_older_hits_go(table, tmp_path):
    output, beside = str(tmp_path / "out"), tmp_path / "out-share"
    asked = {"z": list(Z), "k": 1, "output": output}
    query_topk(QueryTopk(table, **asked, share="category"))
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"out exists already; .*--overwrite"):
        query_topk(QueryTopk(table, **asked))
    assert tree(tmp_path) == before
    np.save(beside / "z.npy", np.zeros((1, 4)))
    used = {"queries": str(beside / "z.npy"), "output": output, "overwrite": True}
    with pytest.raises(InputError, match=r"out-share and .*z.npy are one, or one is inside"):
        query_topk(QueryTopk(table, **used))
    # Without hits beside them they would seem to belong to the new ones, too.
    (tmp_path / "out").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"out-share exists already; .*--overwrite"):
        query_topk(QueryTopk(table, **asked))
    (tmp_path / "moved").rename(tmp_path / "out")
    query_topk(QueryTopk(table, **(asked | {"z": ["1,1,1,1"]}), overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    # Hits of this name are no shares.
    query_topk(QueryTopk(table, **(asked | {"output": str(beside)})))
    query_topk(QueryTopk(table, **asked, overwrite=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out-share"]
    with pytest.raises(InputError, match=r"out-share is not the output of such a job"):
        query_topk(QueryTopk(table, **asked, share="category", overwrite=True))


@pytest.mark.slow
@pytest.mark.spark
def test_hits_and_shares_are_replaced_together(spark, tmp_path):
    def hits(score: float):
        rows = [("0", 1, "a", score)]
        return spark.createDataFrame(rows, "query_id string, rank int, item_id string, s double")

    def shares(share: float, value: str = "'dress'"):
        # What Spark evaluates only when it writes.
        rows = spark.createDataFrame([("0", share)], "query_id string, share double")
        return rows.selectExpr("query_id", f"{value} as category", "share")

    def written():
        found = tree(tmp_path)
        assert {name.split("/")[0] for name in found} == {"out", "out-share"}
        return [
            pq.read_table(tmp_path / name).column(column)[0].as_py()
            for name, column in (("out", "s"), ("out-share", "share"))
        ]

    output = str(tmp_path / "out")
    write_results(spark, hits(1.0), shares(1.0), output, ranked=True)
    assert written() == [1.0, 1.0]
    with pytest.raises(PySparkException):
        write_results(spark, hits(2.0), shares(2.0, "raise_error(query_id)"), output, ranked=True)
    assert written() == [1.0, 1.0]
    found, beside = write_results(spark, hits(3.0), shares(3.0), output, ranked=True)
    assert written() == [3.0, 3.0]
    assert found.first()["s"] == beside.first()["share"] == 3.0


@pytest.mark.spark
def test_what_stands_in_the_place_of_the_shares_stays(table, tmp_path):
    output, other = str(tmp_path / "out"), tmp_path / "out-share"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    options = {"z": ["0,0,0,0"], "share": "category", "output": output, "overwrite": True}
    with pytest.raises(InputError, match=r"out-share is not the output of such a job"):
        query_topk(QueryTopk(table, **options))
    assert [path.name for path in tmp_path.iterdir()] == ["out-share"]


@pytest.mark.spark
def test_with_all(table, tmp_path):
    output = str(tmp_path / "out")
    options = {"all": True, "min_score": -1e9, "share": "category", "output": output}
    summary = query_topk(QueryTopk(table, z=list(Z), **options))
    assert summary["hits"] == 2 * NUM_ITEMS
    shares = pq.read_table(f"{output}-share")
    assert_within(shares["share"].to_numpy().sum(), 2.0, 1e-9, why="all of two queries")


@pytest.mark.slow
@pytest.mark.spark
def test_on_the_page(table, tmp_path):
    page = tmp_path / "page"
    summary = query_topk(QueryTopk(table, z=list(Z), k=2, share="category", report=str(page)))
    html = Path(summary["report"]).read_text(encoding="utf-8")
    said = re.findall(r'<span class="part">(.*?)</span>', html)
    best = [
        max(parts, key=lambda value: parts[value]) for parts in expected(read(table), "category")
    ]
    for value in best:
        assert any(text.endswith(f" % {value}") for text in said)
    assert html.count("<h3>category</h3>") == 2


@pytest.mark.spark
def test_what_is_refused(table, tmp_path, items):
    output = str(tmp_path / "out")

    def refused(message: str, **options) -> None:
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            query_topk(QueryTopk(table, output=output, **options))
        assert not list(tmp_path.iterdir())

    like = next(iter(items))
    refused(
        "share is for log_likelihood, but the score is kl; with --score log_likelihood",
        like=[like],
        share="category",
    )
    refused("share is of 'size', which the posteriors have no", z=["0,0,0,0"], share="size")
    refused(
        "share is the column 'mu', which holds array<float>; expected text,",
        z=["0,0,0,0"],
        share="mu",
    )


def test_the_rest():
    assert Leading([("a", 0.75), (None, 0.125)], 3).rest == 0.125
    assert Leading([("a", 1.0), ("b", 1e-17)], 0).rest == 0.0
