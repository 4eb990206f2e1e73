"""Tables and catalogs that another engine has changed, through every job.

The tables in ``tests/fixtures/changed_by_delta_spark`` were changed by delta-spark; its README says
how. Each job reads the right rows, or refuses the table before it does anything.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from deltalake import DeltaTable, write_deltalake
from deltalake import Field as DeltaField

import vaeudf
from tests.support.cases import further_cases_slow
from tests.support.deletion_vectors import commit, commits
from tests.support.scene import tree
from tests.support.tolerances import assert_within
from tests.support.versions import age
from vaeudf.catalog.source import CatalogSource, list_items, read_images
from vaeudf.errors import InputError, TableError
from vaeudf.spark.read import read_table
from vaeudf.table.open import open_table
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark

CHANGED = Path(__file__).parents[1] / "fixtures" / "changed_by_delta_spark"
MODEL = str(CHANGED / "model")
ORIGINAL = pq.read_table(CHANGED / "catalog.parquet")
ALL = sorted(ORIGINAL["item_id"].to_pylist())
DELETED = {"deletion-vectors": "37", "deleted": "3", "mapped-with-vectors": "3"}
# What a night can be published to; the others are refused by name.
WRITABLE = (
    *("deletion-vectors", "deleted", "commented", "constrained", "change-data-feed"),
    "v2-checkpoint",
)
REFUSED = {
    "mapped": "column mapping",
    "renamed": "column mapping",
    "mapped-with-vectors": "column mapping",
    "row-tracking": "the Delta features domainMetadata, rowTracking",
    "clustered": "the Delta features clustering, domainMetadata",
    "type-widening": "the Delta feature typeWidening",
    "commit-timestamps": "the Delta feature inCommitTimestamp",
}
TABLES = (*WRITABLE, *REFUSED)


def live(name: str) -> list[str]:
    return [item for item in ALL if item[-1] not in DELETED.get(name, "")]


@pytest.fixture
def copy(tmp_path):
    def copy(name: str) -> str:
        return str(shutil.copytree(CHANGED / name, tmp_path / name))

    return copy


def posteriors() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The posteriors of the table before anybody changed it, by item_id."""
    [file] = (CHANGED / "row-tracking").glob("*/part-*.parquet")
    return {row["item_id"]: (row["mu"], row["log_var"]) for row in pq.read_table(file).to_pylist()}


def best(items: list[str], z: list[float], k: int) -> list[str]:
    """The k items with the highest log q(z|x), by torch.distributions."""
    known = posteriors()
    mu, log_var = (torch.tensor([known[i][part] for i in items]).double() for part in (0, 1))
    normal = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    scores = normal.log_prob(torch.tensor(z).double()).sum(1)
    return [items[place] for place in scores.argsort(descending=True)[:k].tolist()]


Z = [0.4, -1.0, 0.2, 1.5]


@pytest.mark.parametrize("name", TABLES)
def test_an_index_has_the_live_rows_only(name):
    uri = str(CHANGED / name)
    items = live(name)
    assert open_table(uri).num_items == len(items)
    index = vaeudf.PosteriorIndex.from_table(uri)
    assert len(index) == len(items)
    assert index.search(Z, len(items))[0][0].tolist() == best(items, Z, len(items))


# What Spark reads in another way: deleted rows and other names, and other types.
@pytest.mark.parametrize(
    "name",
    further_cases_slow(
        TABLES,
        ["mapped-with-vectors", "type-widening"],
    ),
)
def test_searches_see_the_live_rows_only(spark, name):
    uri = str(CHANGED / name)
    items = live(name)
    frame = read_table(spark, open_table(uri))
    assert sorted(row[0] for row in frame.select("item_id").collect()) == items
    hits = vaeudf.top_k(uri, [Z], k=len(items)).toArrow().sort_by("rank")
    assert hits["item_id"].to_pylist() == best(items, Z, len(items))


def test_a_filtered_query_by_the_new_name(copy, tmp_path):
    uri = copy("renamed")
    z = ",".join(map(str, Z))
    output = str(tmp_path / "hits")
    column, limit = "Price (USD)", 30.0
    query_topk(
        QueryTopk(uri, z=[z], k=5, output=output, columns=[column], where=f"`{column}` < {limit}")
    )
    hits = pa.concat_tables(map(pq.read_table, Path(output).glob("*.parquet"))).sort_by("rank")
    prices = dict(zip(ORIGINAL["item_id"].to_pylist(), ORIGINAL["price"].to_pylist(), strict=True))
    cheap = [item for item in ALL if prices[item] < limit]
    assert hits["item_id"].to_pylist() == best(cheap, Z, 5)
    assert hits[column].to_pylist() == [prices[item] for item in hits["item_id"].to_pylist()]


def test_every_item_and_shares_by_the_new_name(spark):
    uri, column = str(CHANGED / "mapped-with-vectors"), "in stock"
    items = live("mapped-with-vectors")
    stock = dict(zip(ORIGINAL["item_id"].to_pylist(), ORIGINAL["stock"].to_pylist(), strict=True))
    hits = vaeudf.all_above(uri, [Z], -1e9, columns=[column]).toArrow()
    found = zip(hits["item_id"].to_pylist(), hits[column].to_pylist(), strict=True)
    assert sorted(found) == sorted((item, stock[item]) for item in items)
    scores = hits["log_likelihood"].to_numpy()
    # As parts of the largest: every density is 0 in float64.
    parts_of_best = np.exp(scores - scores.max()).tolist()
    densities = dict(zip(hits["item_id"].to_pylist(), parts_of_best, strict=True))
    expected: dict[int, float] = {}
    for item in items:
        part = densities[item] / sum(densities.values())
        expected[stock[item]] = expected.get(stock[item], 0.0) + part
    shares = vaeudf.shares(uri, [Z], column).toArrow()
    parts = dict(zip(shares[column].to_pylist(), shares["share"].to_pylist(), strict=True))
    for value, part in expected.items():
        assert_within(parts.get(value, 0.0), part, 1e-9, why="densities by their sum")


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_clusters_and_health_of_the_live_rows(copy, tmp_path, name):
    uri = copy(name)
    output = str(tmp_path / "clusters")
    found = cluster_catalog(ClusterCatalog(uri, output=output, k=2, restarts=1, max_iterations=3))
    assert found["items"] == len(live(name))
    output = str(tmp_path / "health")
    found = inspect_table(InspectTable(uri, output=output, page=False, hub_queries=10, sample=10))
    assert found["items"] == len(live(name))


@pytest.mark.parametrize("name", further_cases_slow(REFUSED, ["mapped", "clustered"]))
def test_nights_that_are_refused_before_any_work(copy, name):
    uri = copy(name)
    before = tree(uri)
    with pytest.raises(TableError) as caught:
        encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    assert f"table {uri} " in str(caught.value)
    assert REFUSED[name] in str(caught.value)
    assert tree(uri) == before


def content(uri: str) -> dict[str, dict]:
    """A table's live rows by item_id, without the posteriors, as DuckDB-like readers see them."""
    from vaeudf.table.footers import read_row_groups
    from vaeudf.table.splits import SplitReader, join

    table = open_table(uri)
    names = tuple(n for n in table.snapshot.columns.schema.names if n not in ("mu", "log_var"))
    reader = SplitReader(table.latent_dim, names[1:])
    rows = []
    for split in join(read_row_groups(table.snapshot), 100):
        mu, _ = reader.posteriors(split)
        rows += reader.items(np.arange(len(mu))).to_pylist()
    return {row["item_id"]: row for row in rows}


def metadata(uri: str) -> tuple:
    delta = DeltaTable(uri)
    found = delta.metadata()
    comments = {f.name: f.metadata.get("comment") for f in delta.schema().fields}
    return found.description, found.configuration, comments


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITABLE)
def test_an_unchanged_night(copy, name):
    uri = copy(name)
    before, kept = content(uri), metadata(uri)
    found = encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    # The catalog is right: it still has the rows that were deleted from the table, and its prices.
    missing = len(ALL) - len(live(name))
    assert (found["carried"], found["encoded"]) == (len(live(name)), missing)
    after = content(uri)
    assert sorted(after) == ALL
    assert metadata(uri) == kept
    for row in ORIGINAL.drop("image").to_pylist():
        season = before.get(row["item_id"], {}).get("season")
        expected = row | ({"season": season} if name == "commented" else {})
        assert {key: after[row["item_id"]].get(key) for key in expected} == expected
    if name in ("commented", "constrained"):
        assert found["outcome"] == "nothing to do"
    assert open_table(uri).num_items == len(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITABLE)
def test_a_changed_night_vacuum_and_roll_back(copy, tmp_path, name):
    uri = copy(name)
    before, kept = content(uri), metadata(uri)
    version = open_table(uri).version
    wanted = live(name)
    catalog = ORIGINAL.filter(pc.is_in(ORIGINAL["item_id"], pa.array(wanted)))
    removed, changed = catalog["item_id"][0].as_py(), catalog["item_id"][1].as_py()
    images = catalog["image"].to_pylist()
    images[1] = images[5]
    place = catalog.schema.get_field_index("image")
    catalog = catalog.set_column(place, "image", pa.array(images)).slice(1)
    new = catalog.slice(3, 1).set_column(0, "item_id", pa.array(["new-000"]))
    path = str(tmp_path / "catalog.parquet")
    pq.write_table(pa.concat_tables([catalog, new]), path)

    found = encode_catalog(EncodeCatalog(path, MODEL, uri))
    assert (found["carried"], found["encoded"], found["removed"]) == (len(wanted) - 2, 2, 1)
    after = content(uri)
    assert sorted(after) == sorted({*wanted, "new-000"} - {removed})
    assert metadata(uri) == kept
    if name == "commented":
        assert {i: row["season"] for i, row in after.items()} == {
            **{i: row["season"] for i, row in before.items() if i != removed},
            "new-000": None,
        }
        assert after[changed]["season"] == before[changed]["season"]
    hits = vaeudf.top_k(uri, [Z], k=100).toArrow()
    assert sorted(hits["item_id"].to_pylist()) == sorted(after)

    maintain_table(MaintainTable(uri, action="roll_back", to_version=version))
    assert content(uri) == before
    assert metadata(uri) == kept
    age(uri, days=40)
    removed = maintain_table(MaintainTable(uri, action="vacuum", keep_days=7))["removed_files"]
    assert removed >= 1, "the file of the night that was rolled back"
    assert content(uri) == before
    hits = vaeudf.top_k(uri, [Z], k=100).toArrow()
    assert sorted(hits["item_id"].to_pylist()) == sorted(before)
    # Nor is a version harmed that is younger.
    encode_catalog(EncodeCatalog(path, MODEL, uri))
    maintain_table(MaintainTable(uri, action="vacuum", keep_days=7))
    assert sorted(content(uri)) == sorted(after)


@pytest.mark.slow
def test_an_item_that_others_have_inserted_again(copy):
    uri = copy("deleted")
    delta = DeltaTable(uri)
    again = pq.read_table(delta.file_uris()[0]).slice(0, 2)
    write_deltalake(uri, again, mode="append")
    assert open_table(uri).num_items == 23
    found = encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    assert (found["carried"], found["encoded"]) == (21, 3)
    assert open_table(uri).num_items == 24
    write_deltalake(uri, pq.read_table(open_table(uri).files[0]).slice(0, 2), mode="append")
    found = encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    assert (found["outcome"], found["carried"]) == ("published", 24)
    assert sorted(content(uri)) == ALL


@pytest.mark.slow
def test_added_columns_of_any_name(copy):
    uri = copy("deleted")
    names = ["a.b", "we`ird", "select", "image"]
    DeltaTable(uri).alter.add_columns([DeltaField(name, "integer") for name in names])
    encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    [row, *_] = content(uri).values()
    assert {name: row[name] for name in names} == dict.fromkeys(names)


def test_an_added_column_that_must_not_be_null(copy, monkeypatch):
    uri = copy("deleted")
    before = tree(uri)
    table = open_table(uri)
    required = pa.field("must", pa.int32(), nullable=False)
    schema = table.snapshot.columns.schema.append(required)
    columns = replace(table.snapshot.columns, schema=schema)
    changed = replace(table, snapshot=replace(table.snapshot, columns=columns))
    path = "vaeudf.workflows.encode_catalog.open_for_publishing"
    monkeypatch.setattr(path, lambda *_: changed)
    with pytest.raises(TableError) as caught:
        encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    assert str(caught.value) == (
        f"column 'must' was added to table {uri} as NOT NULL, and new items have no value for it; "
        f"in Spark SQL, ALTER TABLE delta.`{uri}` ALTER COLUMN `must` DROP NOT NULL."
    )
    assert tree(uri) == before


@pytest.mark.parametrize(
    ("condition", "message"),
    further_cases_slow(
        [
            ("no_such_function(price) > 0", "Cannot resolve routine `no_such_function`"),
            ("no_such_column > 0", "with name `no_such_column` cannot be resolved"),
            ("cast(item_id as int) > 0", 'cannot be cast to "INT"'),
        ],
        [("no_such_column > 0", "with name `no_such_column` cannot be resolved")],
        several=True,
    ),
)
def test_constraints_that_cannot_be_checked(copy, condition, message):
    uri = copy("deleted")
    # As if another engine had checked the constraint: delta-rs would refuse to add it.
    found = [a["metaData"] for _, actions in commits(uri) for a in actions if "metaData" in a][-1]
    found["configuration"] |= {"delta.constraints.odd": condition}
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7}
    protocol["writerFeatures"] = ["checkConstraints"]
    commit(uri, [{"protocol": protocol}, {"metaData": found}])
    version = open_table(uri).version
    with pytest.raises(TableError) as caught:
        encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    text = str(caught.value)
    assert f"of table {uri} ({condition}) cannot be checked: " in text
    assert message in text
    assert "SQLSTATE" not in text
    assert open_table(uri).version == version


def test_rows_that_break_a_constraint_are_not_published(copy, tmp_path):
    uri = copy("constrained")
    before = tree(uri)
    place = ORIGINAL.schema.get_field_index("price")
    prices = [-1.0, None, *ORIGINAL["price"].to_pylist()[2:]]
    path = str(tmp_path / "catalog.parquet")
    pq.write_table(ORIGINAL.set_column(place, "price", pa.array(prices)), path)
    with pytest.raises(InputError) as caught:
        encode_catalog(EncodeCatalog(path, MODEL, uri))
    first = ", ".join(repr(i) for i in sorted(ORIGINAL["item_id"].to_pylist()[:2]))
    assert str(caught.value) == (
        f"2 items break the constraint positive of table {uri} (price > 0), such as {first}. "
        "Nothing was published; mend the catalog, or drop the constraint."
    )
    assert caught.value.exit_code == 2
    assert tree(uri) == before


def test_a_constraint_on_what_the_catalog_does_not_have(copy, tmp_path):
    uri = copy("constrained")
    path = str(tmp_path / "catalog.parquet")
    pq.write_table(ORIGINAL.drop("price"), path)
    before = tree(uri)
    with pytest.raises(TableError, match=r"constraint positive of .* \(price > 0\) cannot be"):
        encode_catalog(EncodeCatalog(path, MODEL, uri))
    assert tree(uri) == before


@pytest.mark.slow
def test_the_catalog_has_an_added_column_by_now(copy, tmp_path):
    uri = copy("commented")
    path = str(tmp_path / "catalog.parquet")
    pq.write_table(ORIGINAL.append_column("season", pa.array(["winter"] * len(ALL))), path)
    encode_catalog(EncodeCatalog(path, MODEL, uri))
    assert {row["season"] for row in content(uri).values()} == {"winter"}
    assert metadata(uri)[2]["season"] == "by hand"
    # Now it is the catalog's, and goes with it.
    encode_catalog(EncodeCatalog(str(CHANGED / "catalog.parquet"), MODEL, uri))
    assert all("season" not in row for row in content(uri).values())
    pq.write_table(ORIGINAL.append_column("SEASON", pa.array(["winter"] * len(ALL))), path)
    uri = str(shutil.copytree(CHANGED / "commented", tmp_path / "another"))
    with pytest.raises(TableError, match="has a column 'season' that was added to it, and the cat"):
        encode_catalog(EncodeCatalog(path, MODEL, uri))


def test_describe(copy, capsys):
    uri = copy("deletion-vectors")
    found = maintain_table(MaintainTable(uri, action="describe"))
    assert (found["version"], found["items"], found["deleted_rows"]) == (4, 19, 5)
    text = capsys.readouterr().out
    assert "19, and 5 deleted ones in its files" in text
    assert "reader 3, writer 7" in text
    assert "appendOnly, deletionVectors, invariants" in text
    assert "Apache-Spark/4.2" in text
    maintain_table(MaintainTable(copy("commented"), action="describe"))
    text = capsys.readouterr().out
    assert "Items of the shop" in text
    assert "interval 90 days" in text
    assert "in euro" in text


CATALOGS = {
    "catalog-with-vectors": "image",
    "catalog-mapped-by-id": "picture",
    "catalog-partitioned": "image",
}


def items_of(catalog: str) -> list[str]:
    return [i for i in ALL if catalog != "catalog-with-vectors" or i[-1] != "3"]


@pytest.mark.parametrize("name", further_cases_slow(CATALOGS, ["catalog-with-vectors"]))
def test_items_and_images_of_a_delta_table(spark, copy, name):
    source = CatalogSource(copy(name), image_column=CATALOGS[name])
    expected = items_of(name)
    rows = {row["item_id"]: row for row in list_items(spark, source).collect()}
    assert sorted(rows) == expected
    assert len({row["source_version"] for row in rows.values()}) > 1
    category = "the category" if name == "catalog-partitioned" else "category"
    for row in ORIGINAL.to_pylist():
        if row["item_id"] in expected:
            assert rows[row["item_id"]][category] == row["category"]
            assert rows[row["item_id"]]["stock"] == row["stock"]
    images = read_images(spark, source, [*expected[:2], "x"])
    by_id = dict(zip(ORIGINAL["item_id"].to_pylist(), ORIGINAL["image"].to_pylist(), strict=True))
    assert images == {item: by_id[item] for item in expected[:2]}


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGS)
def test_a_catalog_that_is_a_delta_table(spark, copy, tmp_path, name):
    catalog, table = copy(name), str(tmp_path / "table")
    image = CATALOGS[name]
    expected = items_of(name)
    found = encode_catalog(EncodeCatalog(catalog, MODEL, table, image_column=image))
    assert found["read"] == found["encoded"] == len(expected)
    rows = content(table)
    category = "the category" if name == "catalog-partitioned" else "category"
    for row in ORIGINAL.to_pylist():
        if row["item_id"] in expected:
            assert rows[row["item_id"]][category] == row["category"]
            assert rows[row["item_id"]]["stock"] == row["stock"]
    mu = {r["item_id"]: r["mu"] for r in read_table(spark, open_table(table)).collect()}
    known = posteriors()
    for item in expected:
        np.testing.assert_array_equal(np.float32(mu[item]), np.float32(known[item][0]))
    # The next night reads the images, to hash them.
    found = encode_catalog(EncodeCatalog(catalog, MODEL, table, image_column=image))
    assert found["outcome"] == "nothing to do"


@pytest.mark.parametrize("inside", further_cases_slow(["*.parquet", "part*", ""], [""]))
def test_files_of_a_delta_table_are_no_catalog(spark, copy, inside):
    catalog = copy("catalog-with-vectors")
    path = f"{catalog}/{inside}" if inside else str(next(Path(catalog).glob("*.parquet")))
    with pytest.raises(InputError) as caught:
        list_items(spark, CatalogSource(path), versions=False)
    assert str(caught.value) == (
        f"catalog {path} is in the Delta table {catalog}, and its files may hold rows that are "
        "deleted there; name the table's folder."
    )


def test_a_catalog_with_files_of_older_versions(spark, copy, tmp_path):
    """Read as plain Parquet, the folder would give the rows of all versions."""
    catalog = copy("catalog-with-vectors")
    Path(catalog, "old.parquet").write_bytes(Path(CHANGED / "catalog.parquet").read_bytes())
    assert list_items(spark, CatalogSource(catalog), versions=False).count() == 21


def test_a_catalog_without_rows(spark, copy, tmp_path):
    catalog = copy("catalog-with-vectors")
    DeltaTable(catalog).create_write_transaction([], "overwrite", DeltaTable(catalog).schema())
    with pytest.raises(InputError, match=r"catalog .* is empty; expected at least one item\."):
        list_items(spark, CatalogSource(catalog))


def test_a_catalog_with_a_feature_that_is_not_read(spark, copy):
    catalog = copy("catalog-with-vectors")
    log = Path(catalog, "_delta_log")
    text = (log / f"{0:020}.json").read_text().splitlines()
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
    features = {"readerFeatures": ["invented"], "writerFeatures": ["invented"]}
    shutil.rmtree(log)
    log.mkdir()
    lines = [line for line in text if "protocol" not in json.loads(line)]
    lines.append(json.dumps({"protocol": protocol | features}))
    (log / f"{0:020}.json").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="invented"):
        list_items(spark, CatalogSource(catalog), versions=False)
