from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.test_query import oracle
from vaeudf.errors import BundleError, InputError, TableError
from vaeudf.table import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def table(spark, parquet_catalog, bundle_path, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("tables") / "posteriors")
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, path))
    return path


@pytest.fixture(scope="module")
def folder_table(spark, image_folder, bundle_path, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("tables") / "posteriors")
    encode_catalog(EncodeCatalog(image_folder, bundle_path, path))
    return path


def expected(table: str, z: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    return oracle(pa.concat_tables(map(pq.read_table, open_table(table).files)), z, k)


def test_output(table, tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, LATENT_DIM))
    np.save(tmp_path / "z.npy", z)
    output = str(tmp_path / "out [1]" / "results")
    summary = query_topk(QueryTopk(table, queries=str(tmp_path / "z.npy"), k=5, output=output))
    assert (summary["queries"], summary["items"], summary["k"]) == (6, NUM_ITEMS, 5)
    assert summary["output"] == output
    rows = pq.read_table(output).to_pylist()
    assert list(rows[0]) == ["query_id", "rank", "item_id", "log_likelihood"]
    for number, hits in enumerate(expected(table, z, 5)):
        own = [row for row in rows if row["query_id"] == str(number)]
        assert [row["rank"] for row in own] == [1, 2, 3, 4, 5]
        assert [row["item_id"] for row in own] == [item for item, _ in hits]
        np.testing.assert_allclose(
            [row["log_likelihood"] for row in own], [score for _, score in hits], rtol=1e-9
        )


def test_printed_table(table, capsys):
    query_topk(QueryTopk(table, z=["0,0,0,0", "1,1,1,1"], k=2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["query_id", "rank", "item_id", "log_likelihood"]
    hits = expected(table, np.array([[0.0] * 4, [1.0] * 4]), 2)
    assert [line.split() for line in lines[1:]] == [
        [str(query), str(rank + 1), item, f"{score:.4f}"]
        for query in (0, 1)
        for rank, (item, score) in enumerate(hits[query])
    ]
    assert len({len(line) for line in lines}) == 1, "columns stand below each other"


def test_more_asked_than_there_are(table, tmp_path, caplog):
    caplog.set_level("INFO")
    output = str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1000, output=output))
    assert pq.read_table(output).num_rows == NUM_ITEMS
    assert f"k is 1000, but the table has {NUM_ITEMS} items: all are returned" in caplog.text


def test_overwrite(table, tmp_path):
    output = str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], output=output))
    with pytest.raises(InputError, match=r"exists already; .* replace it with --overwrite"):
        query_topk(QueryTopk(table, z=["0,0,0,0"], output=output))
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=3, output=output, overwrite=True))
    assert pq.read_table(output).num_rows == 3


def test_a_failed_search_keeps_the_older_output(table, tmp_path):
    output = str(tmp_path / "out")
    broken = str(tmp_path / "broken")
    shutil.copytree(table, broken)
    query_topk(QueryTopk(broken, z=["0,0,0,0"], output=output))
    before = tree(tmp_path / "out")
    Path(open_table(broken).files[0]).unlink()
    with pytest.raises(Exception, match="part-"):
        query_topk(QueryTopk(broken, z=["0,0,0,0"], output=output, overwrite=True))
    assert tree(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("fixture", ["table", "folder_table"])
def test_report(request, fixture, tmp_path):
    path = request.getfixturevalue(fixture)
    report = str(tmp_path / "page")
    z = ["0,0,0,0", "0.5,-1,2,0"]
    summary = query_topk(QueryTopk(path, z=z, k=3, report=report))
    assert summary["report"] == str(tmp_path / "page" / "index.html")
    page = Path(summary["report"]).read_text()
    order = [page.index(item) for hits in expected(path, np.zeros((1, 4)), 3) for item, _ in hits]
    assert order == sorted(order)
    assert page.count("<img ") == 2 + 2 * 3
    assert "no picture in the catalog" not in page


def test_report_shows_the_payload_and_output_too(table, tmp_path, garments):
    report, output = str(tmp_path / "page"), str(tmp_path / "out")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=report, output=output))
    (hit,) = pq.read_table(output)["item_id"].to_pylist()
    row = garments.to_pylist()[garments["item_id"].to_pylist().index(hit)]
    assert f"{row['category']} · {row['price']} · {row['stock']}" in (
        Path(report, "index.html").read_text()
    )


def test_report_of_many_queries(table, tmp_path):
    report = str(tmp_path / "page")
    query_topk(QueryTopk(table, z=["0,0,0,0"] * 5, k=1, report=report, report_queries=2))
    page = Path(report, "index.html").read_text()
    assert page.count('class="result"') == 2
    assert "3 further queries are not shown" in page


def test_report_when_pictures_are_gone(spark, image_folder, bundle_path, tmp_path):
    catalog, table = str(tmp_path / "catalog"), str(tmp_path / "table")
    shutil.copytree(image_folder, catalog)
    encode_catalog(EncodeCatalog(catalog, bundle_path, table))
    shutil.rmtree(catalog)
    out, page = str(tmp_path / "out"), str(tmp_path / "page")
    options = QueryTopk(table, z=["0,0,0,0"], k=2, report=page, output=out)
    with pytest.raises(InputError, match=r"catalog .* does not exist.*--catalog"):
        query_topk(options)
    assert not (tmp_path / "page").exists() and not (tmp_path / "out").exists()
    shutil.copytree(image_folder, str(tmp_path / "moved"))
    moved = QueryTopk(
        table, z=["0,0,0,0"], k=2, report=str(tmp_path / "page"), catalog=str(tmp_path / "moved")
    )
    query_topk(moved)
    assert "no picture" not in (tmp_path / "page" / "index.html").read_text()


def refused(message: str, error: type[Exception] = InputError, **options) -> None:
    with pytest.raises(error, match=re.escape(message)):
        query_topk(QueryTopk(**options))


def test_bad_input(table, tmp_path, bundle_path):
    out = str(tmp_path / "out")
    refused("k is 0; expected at least 1", table=table, z=["0,0,0,0"], k=0, output=out)
    refused("from either --queries FILE or --z", table=table, output=out)
    refused("and not both", table=table, z=["0"], queries="q.csv", output=out)
    refused(
        "query '1' has 3 dimensions, but query '0' has 4",
        table=table,
        z=["0,0,0,0", "0,0,0"],
        output=out,
    )
    refused(
        "query '0' has 3 dimensions, but the posteriors have latent_dim 4",
        table=table,
        z=["0,0,0"],
        output=out,
    )
    refused("query '0' has nan in dimension 2", table=table, z=["0,0,nan,0"], output=out)
    refused("z is 'a,b'; expected numbers", table=table, z=["a,b"], output=out)
    refused(
        "query '0' has z = -6 in dimension 1, outside [-5, 5]",
        table=table,
        z=["0,-6,0,0"],
        z_bound=5.0,
        output=out,
    )
    refused("queries none.csv do not exist", table=table, queries="none.csv", output=out)
    refused("report-queries is 0", table=table, z=["0"], report_queries=0)
    refused("does not exist", TableError, table=f"{tmp_path}/none", z=["0,0,0,0"], output=out)
    refused("is not a Delta table", TableError, table=bundle_path, z=["0,0,0,0"], output=out)
    assert list(tmp_path.iterdir()) == []


def test_report_with_another_model(table, tmp_path):
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    refused(
        "its pictures would not be those of z",
        BundleError,
        table=table,
        z=["0,0,0,0"],
        report=str(tmp_path / "page"),
        model=str(tmp_path / "other"),
    )
    refused(
        "name it with --model",
        BundleError,
        table=table,
        z=["0,0,0,0"],
        report=str(tmp_path / "page"),
        model=str(tmp_path / "none"),
    )
    assert not (tmp_path / "page").exists()


def test_overwrite_replaces_only_results(table, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.doc").write_text("x")
    for output, message in (
        (table, "are one, or one is inside the other"),
        (f"{table}/inside", "are one, or one is inside the other"),
        (str(Path(table).parent), "are one, or one is inside the other"),
        (str(mine), "so --overwrite does not replace it"),
    ):
        refused(message, table=table, z=["0,0,0,0"], output=output, overwrite=True)
    assert open_table(table).num_items == NUM_ITEMS
    assert tree(mine) == {"thesis.doc": 1}


def test_an_older_page_is_kept_unless_overwritten(table, tmp_path):
    page = str(tmp_path / "page")
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=page))
    refused("exists already", table=table, z=["0,0,0,0"], k=1, report=page)
    query_topk(QueryTopk(table, z=["0,0,0,0"], k=1, report=page, overwrite=True))
