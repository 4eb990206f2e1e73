"""cluster_catalog beside an earlier run: items given to its clusters, and its clusters' numbers."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.tables import read
from tests.support.tolerances import assert_same_float64
from tests.support.versions import publish_rows
from vaeudf.clustering.responsibilities import responsibilities
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.open import open_table
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def earlier(table, tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("earlier") / "clusters [1] of {x}")
    cluster_catalog(ClusterCatalog(table, folder, k=4, soft=True))
    return folder


def items_of(folder) -> dict[str, dict]:
    return {row["item_id"]: row for row in pq.read_table(f"{folder}/items").to_pylist()}


def centroids_of(folder) -> dict[int, dict]:
    rows = pq.read_table(f"{folder}/centroids.parquet").to_pylist()
    return {row["cluster"]: row for row in rows}


def record_of(folder) -> dict:
    return json.loads((Path(folder) / "clustering.json").read_text())


@pytest.fixture
def changing(table, tmp_path) -> str:
    """A table whose second version has other items: fewer, and some far from all others."""
    path, rows, model_id = str(tmp_path / "changing"), read(table), open_table(table).model_id
    publish_rows(path, "first", rows, model_id)
    place = rows.schema.get_field_index("mu")
    far = pa.array([[50.0] * 4] * 3, rows.schema.field("mu").type)
    new = rows.slice(0, 3).set_column(place, "mu", far)
    ids = pa.array([f"far {i}" for i in range(3)])
    new = new.set_column(rows.schema.get_field_index("item_id"), "item_id", ids)
    new = new.cast(rows.schema)
    publish_rows(path, "second", pa.concat_tables([rows.slice(5), new]), model_id)
    return path


def test_the_same_items_to_their_own_clusters(table, earlier, tmp_path):
    output = str(tmp_path / "assigned")
    summary = cluster_catalog(ClusterCatalog(table, output, assign_to=earlier, soft=True))
    assert (summary["outside"], summary["assigned_to"]) == (0, earlier)
    assert "iterations" not in summary and "seed" not in summary
    assert not (Path(output) / "trials.parquet").exists()
    expected = {name: {**row, "outside": False} for name, row in items_of(earlier).items()}
    assert items_of(output) == expected
    before, after = centroids_of(earlier), centroids_of(output)
    for number, row in before.items():
        assert after[number] == {**row, "outside": 0}


def test_responsibilities_of_the_mixture(table, earlier):
    rows, centroids = read(table), pq.read_table(f"{earlier}/centroids.parquet")

    def gaussians(some):
        return Gaussians(*(np.stack(some[name].to_numpy()) for name in ("mu", "log_var")))

    found = responsibilities(gaussians(rows), gaussians(centroids), centroids["size"].to_numpy())
    mine = items_of(earlier)
    for item_id, expected in zip(rows["item_id"].to_pylist(), found, strict=True):
        assert mine[item_id]["responsibilities"] == expected.tolist()
        assert_same_float64(sum(mine[item_id]["responsibilities"]), 1.0, terms=4)


def test_a_new_version_to_old_clusters(changing, earlier, bundle_path, image_folder, tmp_path):
    output, report = str(tmp_path / "assigned"), str(tmp_path / "page")
    seen = {"model": bundle_path, "catalog": image_folder, "report": report}
    summary = cluster_catalog(ClusterCatalog(changing, output, assign_to=earlier, **seen))
    assert (summary["items"], summary["outside"], summary["k"]) == (38, 3, 4)
    before, after = items_of(earlier), items_of(output)
    for item_id, row in after.items():
        assert row["outside"] == item_id.startswith("far ")
        if not row["outside"]:
            old = before[item_id]
            assert (row["cluster"], row["divergence"]) == (old["cluster"], old["divergence"])
    old, new = centroids_of(earlier), centroids_of(output)
    assert sum(row["outside"] for row in new.values()) == 3
    for number, row in new.items():
        same = ("mu", "log_var", "radius", "query_id")
        assert {name: row[name] for name in same} == {name: old[number][name] for name in same}
        assert row["size"] == sum(item["cluster"] == number for item in after.values())
    assert [row["size"] for row in new.values()] == sorted(
        (row["size"] for row in new.values()), reverse=True
    )
    page = (Path(report) / "index.html").read_text()
    assert "farther than all that the cluster was made of" in page
    assert "The objective at every iteration" not in page
    first = next(iter(new))
    assert f"cluster {first}: {new[first]['size']} items" in page

    # Once more, from what this run has written: the same radii, the same numbers.
    again = str(tmp_path / "again")
    assert cluster_catalog(ClusterCatalog(changing, again, assign_to=output))["outside"] == 3
    assert items_of(again) == after


def test_numbers_stay(changing, table, earlier, tmp_path):
    # Numbers in another order than sizes, as after some nights.
    shutil.copytree(earlier, tmp_path / "renumbered", ignore=shutil.ignore_patterns("*.crc"))
    names = {0: 7, 1: 2, 2: 0, 3: 5}
    folder = tmp_path / "renumbered"
    for path in (folder / "centroids.parquet", *(folder / "items").glob("*.parquet")):
        rows = pq.read_table(path)
        numbers = pa.array([names[n] for n in rows["cluster"].to_pylist()], pa.int32())
        place = rows.schema.get_field_index("cluster")
        pq.write_table(rows.set_column(place, "cluster", numbers), path)
    output = str(tmp_path / "rerun")
    summary = cluster_catalog(ClusterCatalog(table, output, k=4, match=str(folder)))
    assert (summary["changes"], summary["matched"]) == ([], str(folder))
    before, after = items_of(earlier), items_of(output)
    assert {i: row["cluster"] for i, row in after.items()} == {
        i: names[row["cluster"]] for i, row in before.items()
    }
    assert list(centroids_of(output)) == [names[n] for n in centroids_of(earlier)]
    assert record_of(output)["next_number"] == 8

    # A cluster more, of items that are new: it gets a number that no cluster has had, and not that
    # of one that is gone.
    record = record_of(output)
    (Path(output) / "clustering.json").write_text(json.dumps({**record, "next_number": 50}))
    more = str(tmp_path / "more")
    summary = cluster_catalog(ClusterCatalog(changing, more, k=5, match=output))
    [new] = {row["cluster"] for i, row in items_of(more).items() if i.startswith("far ")}
    assert new == 50 and {"cluster": 50, "kind": "born", "other": None} in summary["changes"]
    assert record_of(more)["next_number"] >= 51
    assert record_of(more)["changes"] == summary["changes"]


@pytest.mark.slow
def test_without_a_common_item(table, earlier, tmp_path):
    """Clusters of one model are matched by their centroids."""
    rows, model_id = read(table), open_table(table).model_id
    ids = pa.array([f"new {i}" for i in range(len(rows))])
    renamed = rows.set_column(rows.schema.get_field_index("item_id"), "item_id", ids)
    publish_rows(str(tmp_path / "same"), "first", renamed, model_id)
    publish_rows(str(tmp_path / "other"), "first", renamed, "0" * 64)
    found = {}
    for name in ("same", "other"):
        output = str(tmp_path / f"clusters of {name}")
        cluster_catalog(ClusterCatalog(str(tmp_path / name), output, k=4, match=earlier))
        found[name] = {tuple(row["mu"]): number for number, row in centroids_of(output).items()}
    assert found["same"] == {tuple(row["mu"]): n for n, row in centroids_of(earlier).items()}
    assert sorted(found["other"].values()) == [4, 5, 6, 7]


def test_what_does_not_fit(table, earlier, tmp_path):
    output, rows = str(tmp_path / "out"), read(table)
    publish_rows(str(tmp_path / "other"), "first", rows, "0" * 64)
    (tmp_path / "empty").mkdir()
    shutil.copytree(earlier, tmp_path / "damaged")
    (tmp_path / "damaged" / "clustering.json").write_text("{")
    for name, column, value in (("nan", "mu", [math.nan] * 4), ("twice", "cluster", 1)):
        shutil.copytree(earlier, tmp_path / name)
        rows = pq.read_table(f"{earlier}/centroids.parquet")
        place, kind = rows.schema.get_field_index(column), rows.schema.field(column).type
        rows = rows.set_column(place, column, pa.array([value] * 4, kind))
        pq.write_table(rows, tmp_path / name / "centroids.parquet")
    plain = {"item_id": ["a", "b"], "mu": [[0.0], [1.0]], "log_var": [[0.0], [0.0]]}
    pq.write_table(pa.table(plain), tmp_path / "one.parquet")
    for path, given, message in (
        (
            tmp_path / "other",
            earlier,
            f"the clusters of {earlier} are of the encodings of model "
            f"{open_table(table).model_id[:12]}",
        ),
        (table, tmp_path / "empty", f"{tmp_path / 'empty'} has no clustering.json and centroids."),
        (
            table,
            tmp_path / "damaged",
            f"{tmp_path / 'damaged'} is not as cluster_catalog writes it",
        ),
        (
            table,
            tmp_path / "nan",
            f"{tmp_path}/nan is not as cluster_catalog writes it (a ce",
        ),
        (table, tmp_path / "twice", f"{tmp_path}/twice is not as cluster_catalog writes it (two "),
        (tmp_path / "one.parquet", earlier, "the items have 1 dimensions, and the centroids 4;"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            cluster_catalog(ClusterCatalog(str(path), output, assign_to=str(given)))
    shutil.rmtree(tmp_path / "twice" / "items")
    shutil.copy(f"{earlier}/centroids.parquet", tmp_path / "twice")
    with pytest.raises(InputError, match="has no items, by which clusters are matched; expected"):
        cluster_catalog(ClusterCatalog(table, output, k=2, match=str(tmp_path / "twice")))
    with pytest.raises(InputError, match="one is inside the other"):
        cluster_catalog(ClusterCatalog(table, earlier, assign_to=earlier, overwrite=True))
    assert not Path(output).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"assign_to": "c", "k": 3}, "found both --assign-to and --k; expected one of them: the"),
        ({"assign_to": "c", "match": "d"}, "found both --assign-to and --match; expected one"),
        ({"assign_to": "c", "divergence": "jeffreys"}, "found both --assign-to and --divergence;"),
        ({"assign_to": "c", "seed": 3}, "found both --assign-to and --seed; expected one of"),
        (
            {"k": 3, "soft": True, "divergence": "wasserstein2"},
            "soft goes with the divergence kl; found wasserstein2, by which clusters are no",
        ),
    ],
)
def test_options_that_make_no_sense(change, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        ClusterCatalog("table", "out", **change)
