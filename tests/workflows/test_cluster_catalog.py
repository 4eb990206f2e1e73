from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.passes import MemoryPasses
from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.support.tables import read
from tests.support.tolerances import near_stated
from tests.support.versions import publish_rows
from vaeudf.clustering.assignment import assign
from vaeudf.clustering.divergences import KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise
from vaeudf.errors import BundleError, InputError, TableError
from vaeudf.table.open import open_table
from vaeudf.workflows import cluster_page
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def memory(table) -> MemoryPasses:
    items = pa.concat_tables(map(pq.read_table, open_table(table).files))
    arrays = (np.stack(items[name].to_numpy()) for name in ("mu", "log_var"))
    return MemoryPasses(*arrays, ids=items["item_id"].to_pylist())


def test_output(table, memory, tmp_path):
    output = tmp_path / "out [1]" / "clusters"
    summary = cluster_catalog(ClusterCatalog(table, str(output), k=3, seed=2))
    fitted = fit(memory, Plan(KL, (3,), seed=2))
    [trial] = fitted.best()
    summaries = summarise(memory, fitted, [trial], num_nearest=10)[0]
    assert summary["objective"] == trial.objective
    assert (summary["items"], summary["k"], summary["divergence"]) == (NUM_ITEMS, 3, "kl")
    assert (summary["iterations"], summary["converged"]) == (len(trial.objectives), True)
    assert (summary["largest"], summary["smallest"]) == (summaries[0].size, summaries[-1].size)
    assert summary["output"] == str(output)
    json.dumps(summary)

    items = pq.read_table(output / "items")
    assert items.column_names == ["item_id", "cluster", "divergence"]
    labels, values = assign(memory.items, trial.centroids, KL)
    expected = {name: (c, v) for name, c, v in zip(memory.ids, labels, values, strict=True)}
    assert {row["item_id"]: (row["cluster"], row["divergence"]) for row in items.to_pylist()} == (
        expected
    )

    centroids = pq.read_table(output / "centroids.parquet").to_pylist()
    for number, (row, cluster) in enumerate(zip(centroids, summaries, strict=True)):
        assert (row["cluster"], row["query_id"]) == (number, f"cluster {number}")
        assert (row["size"], row["medoid"]) == (cluster.size, cluster.medoid)
        assert row["mean_divergence"] == cluster.mean_divergence
        assert row["silhouette"] == cluster.silhouette
        assert row["mu"] == trial.centroids.mu[number].tolist()
        assert row["log_var"] == trial.centroids.log_var[number].tolist()
        found = [(near["item_id"], near["divergence"]) for near in row["nearest"]]
        assert found == list(cluster.nearest)

    trials = pq.read_table(output / "trials.parquet").to_pylist()
    assert [(row["k"], row["restart"]) for row in trials] == [(3, 0), (3, 1), (3, 2)]
    [kept] = [row for row in trials if row["kept"]]
    assert (kept["restart"], kept["objective"]) == (trial.restart, trial.objective)
    assert kept["objectives"] == list(trial.objectives)
    assert kept["silhouette"] == near_stated(summary["silhouette"], decimals=6)
    assert [row["silhouette"] for row in trials if not row["kept"]] == [None, None]

    record = json.loads((output / "clustering.json").read_text())
    shared = set(record) & set(summary)
    assert {key: record[key] for key in shared} == {key: summary[key] for key in shared}
    assert (record["table"], record["version"], record["seed"]) == (table, 1, 2)
    assert record["model_id"] == open_table(table).model_id
    assert (record["restarts"], record["max_iterations"], record["k_range"]) == (3, 100, None)


def test_centroids_are_queries(table, tmp_path, capsys):
    output = str(tmp_path / "clusters")
    cluster_catalog(ClusterCatalog(table, output, k=2))
    query_topk(QueryTopk(table, queries=f"{output}/centroids.parquet", k=1, score="reverse_kl"))
    lines = capsys.readouterr().out.splitlines()[1:]
    nearest = [
        row["nearest"][0] for row in pq.read_table(f"{output}/centroids.parquet").to_pylist()
    ]
    for line, near in zip(lines, nearest, strict=True):
        # reverse_kl of a query is KL(item ‖ query): what the clustering calls kl.
        *_, item_id, score = line.split()
        assert (item_id, score) == (near["item_id"], f"{near['divergence']:.4f}")


def test_a_range_of_k(table, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_page, "_SUBSTANTIAL_SILHOUETTE", -1.0)
    output, report = str(tmp_path / "clusters"), str(tmp_path / "page")
    options = ClusterCatalog(table, output, k_range="1-5/2", report=report)
    summary = cluster_catalog(options)
    trials = pq.read_table(f"{output}/trials.parquet").to_pylist()
    assert sorted({row["k"] for row in trials}) == [1, 3, 5]
    assert sum(row["k"] == 1 for row in trials) == 1, "one cluster needs no restarts"
    silhouettes = {row["k"]: row["silhouette"] for row in trials if row["silhouette"] is not None}
    assert sorted(silhouettes) == [3, 5] and summary["k"] == max(silhouettes, key=silhouettes.get)
    page = Path(summary["report"]).read_text()
    assert f"of these numbers of clusters, {summary['k']} has the highest" in page
    assert "Objective and silhouette of each number of clusters" in page
    assert "hardly set apart" not in page


def test_the_page(table, tmp_path, garments, monkeypatch):
    monkeypatch.setattr(cluster_page, "_SUBSTANTIAL_SILHOUETTE", 1.1)
    output, report = str(tmp_path / "clusters"), str(tmp_path / "page")
    cluster_catalog(
        ClusterCatalog(table, output, k=3, report=report, report_items=4, report_clusters=2)
    )
    rows = pq.read_table(f"{output}/centroids.parquet").to_pylist()
    page = (Path(report) / "index.html").read_text()
    assert page.count('<section class="result"') == 2 and "1 smaller cluster is not shown" in page
    for row in rows[:2]:
        assert f"cluster {row['cluster']}: {row['size']} items" in page
        assert all(near["item_id"] in page for near in row["nearest"][:3])
        assert row["medoid"] in page
    assert page.count(">medoid<") == 2
    assert "The clusters are hardly set apart: their silhouette is" in page
    for fact in (f"<dd>{table}, version 1</dd>", f"<dd>{open_table(table).model_id[:12]}</dd>"):
        assert fact in page
    assert page.count("no picture in the catalog") == 0
    assert len(re.findall(r'alt="Decoded centre of cluster \d"', page)) == 2


def test_a_model_of_another_latent_dim(tmp_path, image_folder, bundle_path):
    """It is seen before anything is clustered."""
    rows = {"item_id": ["a", "b"], "mu": [[0.0], [1.0]], "log_var": [[0.0], [0.0]]}
    pq.write_table(pa.table(rows), tmp_path / "items.parquet")
    output, report = tmp_path / "clusters", tmp_path / "page"
    options = ClusterCatalog(
        str(tmp_path / "items.parquet"),
        str(output),
        k=2,
        report=str(report),
        model=bundle_path,
        catalog=image_folder,
    )
    message = f"model {bundle_path} has latent_dim 4, but the posteriors have latent_dim 1; name"
    with pytest.raises(BundleError, match=f"^{re.escape(message)}"):
        cluster_catalog(options)
    assert not output.exists() and not report.exists()


@pytest.mark.slow
def test_plain_parquet_and_an_older_version(table, tmp_path):
    plain = ClusterCatalog(
        str(Path(open_table(table).files[0]).parent), str(tmp_path / "plain"), k=2
    )
    named = ClusterCatalog(table, str(tmp_path / "named"), k=2, version=1)
    summaries = [cluster_catalog(options) for options in (plain, named)]
    assert summaries[0]["objective"] == summaries[1]["objective"]
    assert (summaries[0]["version"], summaries[1]["version"]) == (None, 1)

    changing = str(tmp_path / "changing")
    rows = read(table)
    publish_rows(changing, "first", rows.slice(0, 25), open_table(table).model_id)
    publish_rows(changing, "second", rows, open_table(table).model_id)
    old, new = (
        cluster_catalog(ClusterCatalog(changing, str(tmp_path / f"v{v}"), k=2, version=v))
        for v in (1, 2)
    )
    assert (old["items"], new["items"]) == (25, NUM_ITEMS)
    assert new["objective"] == summaries[0]["objective"] != old["objective"]


@pytest.mark.slow
def test_results_are_replaced_only_if_asked_to(table, tmp_path):
    output = str(tmp_path / "clusters")
    cluster_catalog(ClusterCatalog(table, output, k=2))
    before = tree(output)
    with pytest.raises(InputError, match="exists already; name another folder"):
        cluster_catalog(ClusterCatalog(table, output, k=3))
    assert tree(output) == before
    cluster_catalog(ClusterCatalog(table, output, k=3, overwrite=True))
    assert pq.read_table(f"{output}/centroids.parquet").num_rows == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    with pytest.raises(InputError, match="is not the output of such a job"):
        cluster_catalog(ClusterCatalog(table, str(tmp_path / "mine"), k=3, overwrite=True))
    assert tree(tmp_path / "mine") == {"thesis.doc": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "expected the number of clusters, from either --k or --k-range; found neither."),
        (
            {"k": 3, "k_range": "2-4"},
            "expected the number of clusters, from either --k or --k-range; found both.",
        ),
        ({"k_range": "4"}, "k-range is '4'; expected FROM-TO or FROM-TO/STEP with at least two "),
        ({"k_range": "9-2"}, "k-range is '9-2'; expected FROM-TO"),
        ({"k_range": "0-2"}, "k-range is '0-2'; expected FROM-TO"),
        ({"k_range": "2-9/0"}, "k-range is '2-9/0'; expected FROM-TO"),
        ({"k_range": "2-4/3"}, "k-range is '2-4/3'; expected FROM-TO"),
        ({"k": 0}, "k is 0; expected at least 1."),
        ({"k": 2, "divergence": "cosine"}, "divergence is 'cosine'; expected one of kl, "),
        ({"k": 2, "restarts": 0}, "restarts is 0; expected at least 1."),
        ({"k": 2, "version": -1}, "version is -1; expected 0 or more."),
        ({"k": 2, "report_items": 0}, "report-items is 0; expected at least 1."),
        ({"k": 2, "report_items": 5}, "report-items goes with --report; name that, too."),
        ({"k": 2, "model": "m"}, "model goes with --report; name that, too."),
        ({"k": 2, "report_clusters": 0}, "report-clusters is 0; expected at least 1."),
    ],
)
def test_options_that_make_no_sense(change, message):
    with pytest.raises(InputError) as error:
        ClusterCatalog("table", "out", **change)
    assert str(error.value).startswith(message)


def test_what_cannot_be_done_writes_nothing(table, bundle_path, tmp_path):
    output, report = str(tmp_path / "out"), str(tmp_path / "page")
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    for change, kind, message in (
        ({"k": NUM_ITEMS + 1}, InputError, r"^k is 41, but .* has only 40 items; expected at most"),
        ({"k_range": "2-50"}, InputError, "^k is 50, but"),
        (
            {"k": 2, "version": 99},
            TableError,
            "has no version 99 that can be read; the latest is 1",
        ),
        ({"k": 2, "output": table}, InputError, "is inside the other"),
        ({"k": 2, "report": output}, InputError, "is inside the other"),
        (
            {"k": 2, "report": report, "model": str(tmp_path / "other")},
            BundleError,
            "its pictures would not be those of z",
        ),
        ({"k": 2, "report": report, "catalog": str(tmp_path / "none")}, InputError, "--catalog"),
        ({"k": 2, "table": str(tmp_path / "nothing")}, TableError, "does not exist"),
    ):
        values = {"table": table, "output": output, **change}
        before = tree(tmp_path)
        with pytest.raises(kind, match=message):
            cluster_catalog(ClusterCatalog(**values))
        assert tree(tmp_path) == before


def test_numbers_that_cannot_be_clustered_write_nothing(spark, tmp_path):
    mu = [[0.0, 1.0], [2.0, 3.0]]
    rows = pa.table({"item_id": ["a", "b"], "mu": mu, "log_var": [[0.0, 0.0], [0.0, -300.0]]})
    pq.write_table(rows, tmp_path / "items.parquet")
    with pytest.raises(
        InputError, match=r"^item 'b' has a log_var of -300; items can be clustered"
    ):
        cluster_catalog(ClusterCatalog(str(tmp_path / "items.parquet"), str(tmp_path / "out"), k=1))
    assert set(tree(tmp_path)) == {"items.parquet"}
