"""cluster_catalog: what clusters are made of, and the tree that they merge to."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scene import NUM_ITEMS
from tests.support.tables import read
from tests.support.tolerances import near_float64
from tests.support.versions import publish_rows
from vaeudf.errors import InputError
from vaeudf.schema import posterior_schema
from vaeudf.table.open import open_table
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog

pytestmark = pytest.mark.spark

HOSTILE = "<script>alert('x')</script>"
PAYLOAD = ("cluster", "divergence", "tags", "price", "sku")


@pytest.fixture(scope="module")
def described(table, tmp_path_factory) -> str:
    """A table whose payload columns are named as those of the output."""
    rows = read(table).select(posterior_schema(pa.schema([]), {}).names)
    folder = tmp_path_factory.mktemp("described")
    cluster_catalog(ClusterCatalog(table, str(folder / "clusters"), k=3))
    found = pq.read_table(folder / "clusters" / "items").to_pylist()
    largest = {row["item_id"] for row in found if row["cluster"] == 0}
    payload = {
        "cluster": [HOSTILE if i in largest else "it's" for i in rows["item_id"].to_pylist()],
        "divergence": [None if i % 9 == 0 else i % 3 for i in range(len(rows))],
        "tags": [["new", "new"] if i % 2 else None for i in range(len(rows))],
        "price": [float("nan") if i == 3 else i / 4 for i in range(len(rows))],
        "sku": [f"sku-{i}" for i in range(len(rows))],
    }
    for name, values in payload.items():
        rows = rows.append_column(name, pa.array(values))
    path = str(folder / "posteriors")
    publish_rows(path, "first", rows, open_table(table).model_id)
    return path


def options(table, output, **changes):
    return ClusterCatalog(table, str(output), **{"describe_by": list(PAYLOAD), **changes})


def check_shares(table, output):
    """Compare what is written of each cluster with pandas, on the items as they were written."""
    record = json.loads((output / "clustering.json").read_text())
    rows = read(table).select(["item_id", "cluster", "tags", "price"]).to_pandas()
    rows = rows.rename(columns={"cluster": "kind"})
    items = pq.read_table(output / "items").to_pandas().merge(rows, on="item_id")
    assert len(items) == NUM_ITEMS
    numbers = pq.read_table(output / "centroids.parquet")["cluster"].to_pylist()
    assert [one["cluster"] for one in record["clusters"]] == numbers
    for one in record["clusters"]:
        own = items[items["cluster"] == one["cluster"]]
        counts = own["kind"].value_counts().to_dict()
        values = one["columns"]["cluster"]["values"]
        assert {value["value"]: value["count"] for value in values} == counts
        for value in values:
            of_all = (items["kind"] == value["value"]).mean()
            assert value["share"] == near_float64(value["count"] / len(own), terms=2)
            assert value["share_of_all"] == near_float64(of_all, terms=2)
        assert one["columns"]["tags"]["nulls"] == own["tags"].isna().sum()
        quantiles = one["columns"]["price"]["quantiles"]
        shares = [0.05, 0.25, 0.5, 0.75, 0.95]
        expected = [own["price"].quantile(share, interpolation="lower") for share in shares]
        assert list(quantiles.values()) == ([] if own.empty else expected)
    return record


def test_what_clusters_are_made_of(described, bundle_path, image_folder, tmp_path):
    output = tmp_path / "out"
    page = {"report": str(tmp_path / "page"), "model": bundle_path, "catalog": image_folder}
    summary = cluster_catalog(options(described, output, k=3, **page))
    record = check_shares(described, output)
    facts = {one["column"]: one for one in record["described_by"]}
    assert [facts[name]["kind"] for name in PAYLOAD] == ["values"] * 3 + ["quantiles", "ids"]
    assert (facts["divergence"]["nulls"], facts["price"]["nulls"]) == (5, 1)
    assert "described_by" not in summary and "clusters" not in summary
    names = pq.read_table(output / "centroids.parquet")["name"].to_pylist()
    assert names == [one["name"] for one in record["clusters"]] and names[0] == HOSTILE
    written = Path(summary["report"]).read_text()
    assert HOSTILE not in written and "&lt;script&gt;alert(" in written
    assert "Of sku nothing is told: hardly any of its values recurs." in written
    assert written.count("farthest from the centre") >= 1
    assert "How the clusters merge" in written


@pytest.mark.slow
def test_clusters_are_as_they_are_without_a_description(described, tmp_path):
    cluster_catalog(options(described, tmp_path / "out", k=3, soft=True))
    cluster_catalog(ClusterCatalog(described, str(tmp_path / "plain"), k=3, soft=True))
    plain, own = (
        pd.read_parquet(folder / "items").sort_values("item_id", ignore_index=True)
        for folder in (tmp_path / "plain", tmp_path / "out")
    )
    pd.testing.assert_frame_equal(plain, own)
    record = json.loads((tmp_path / "plain" / "clustering.json").read_text())
    assert "clusters" not in record and "described_by" not in record
    names = pq.read_table(tmp_path / "plain" / "centroids.parquet").column_names
    assert "name" not in names


@pytest.mark.slow
def test_with_clusters_of_an_earlier_run(described, table, tmp_path):
    first = tmp_path / "first"
    cluster_catalog(ClusterCatalog(table, str(first), k=4))
    cluster_catalog(options(described, tmp_path / "assigned", assign_to=str(first), soft=True))
    check_shares(described, tmp_path / "assigned")
    assert "outside" in pq.read_table(tmp_path / "assigned" / "items").column_names
    cluster_catalog(options(described, tmp_path / "matched", k=3, match=str(first)))
    check_shares(described, tmp_path / "matched")
    # What was described can itself be used.
    cluster_catalog(options(described, tmp_path / "again", assign_to=str(tmp_path / "matched")))
    check_shares(described, tmp_path / "again")


def test_the_hierarchy(described, tmp_path):
    output = tmp_path / "out"
    summary = cluster_catalog(options(described, output, k=4, divergence="euclidean"))
    tree = json.loads((output / "hierarchy.json").read_text())
    centroids = pq.read_table(output / "centroids.parquet").to_pylist()
    assert [(leaf["cluster"], leaf["size"], leaf["name"]) for leaf in tree["leaves"]] == [
        (row["cluster"], row["size"], row["name"]) for row in centroids
    ]
    assert tree["divergence"] == "euclidean"
    # At rest, the leaves are the clusters; and all items together have their variance.
    assert tree["objective"] == near_float64(summary["objective"], terms=NUM_ITEMS)
    mu = np.stack(read(described)["mu"].to_numpy()).astype(float)
    assert tree["merges"][-1]["objective"] == near_float64(mu.var(axis=0).sum(), terms=NUM_ITEMS)
    assert [merge["clusters"] for merge in tree["merges"]] == [3, 2, 1]
    before = tree["objective"]
    for merge in tree["merges"]:
        assert merge["objective"] == near_float64(before + merge["rise"], terms=4)
        before = merge["objective"]
    assert tree["merges"][-1]["size"] == NUM_ITEMS


def test_the_tree_in_newick_notation(table, tmp_path):
    cluster_catalog(ClusterCatalog(table, str(tmp_path / "out"), k=3))
    tree = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    text = (tmp_path / "out" / "hierarchy.nwk").read_text()
    numbers = r"(\d[\d.e-]*)"
    inner = rf"\('cluster \d':{numbers},'cluster \d':{numbers}\)"
    one, other = rf"{inner}:{numbers}", rf"'cluster \d':{numbers}"
    found = re.fullmatch(rf"\((?:{one},{other}|{other},{one})\);\n", text)
    assert found is not None
    heights = [merge["objective"] - tree["objective"] for merge in tree["merges"]]
    lengths = sorted(float(number) for number in found.groups() if number is not None)
    expected = sorted([heights[0], heights[0], heights[1] - heights[0], heights[1]])
    assert lengths == [near_float64(length, terms=8) for length in expected]


def test_one_cluster(described, tmp_path):
    cluster_catalog(options(described, tmp_path / "out", k=1))
    record = check_shares(described, tmp_path / "out")
    assert [one["name"] for one in record["clusters"]] == [None]
    assert json.loads((tmp_path / "out" / "hierarchy.json").read_text())["merges"] == []
    assert (tmp_path / "out" / "hierarchy.nwk").read_text() == "'cluster 0';\n"


def test_columns_that_cannot_be_told_of_write_nothing(described, tmp_path):
    for names, message in (
        (["colour"], "describe-by is 'colour'; expected a payload column of the table: found clu"),
        (["mu"], "describe-by is 'mu', which every item has for itself; expected a payload colu"),
        (["sku", "sku"], "describe-by names 'sku' twice"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            cluster_catalog(options(described, tmp_path / "out", k=2, describe_by=names))
    assert list(tmp_path.iterdir()) == []
