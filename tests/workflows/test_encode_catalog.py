from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tests.support.run_records import run_records
from tests.support.scene import ENCODER_TERMS, LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.support.tables import (
    matrix,
    read,
)
from tests.support.tolerances import assert_same_float32, differ
from vaeudf.catalog.source import CatalogSource, list_items
from vaeudf.encoding.udf import encode
from vaeudf.errors import (
    BundleError,
    InputError,
    PublishConflict,
    TableError,
    TooManyFailures,
    VaeUdfError,
)
from vaeudf.table.footers import read_footers
from vaeudf.table.open import open_table
from vaeudf.workflows import encode_catalog as workflow
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = pytest.mark.spark


@pytest.fixture
def table(tmp_path) -> str:
    return str(tmp_path / "a table é" / "posteriors")


def test_parquet_catalog(spark, parquet_catalog, bundle_path, bundle, table, garments):
    summary = encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
    assert json.loads(json.dumps(summary)) == summary
    assert summary["read"] == summary["encoded"] == NUM_ITEMS
    assert summary["quarantined"] == {} and summary["model_id"] == bundle.model_id
    assert set(summary["seconds"]) == {"read", "encode", "check", "lay out", "publish"}

    rows = read(table)
    assert rows.schema.field("mu").type == pa.list_(pa.field("element", pa.float32(), False))
    assert rows.column_names == [
        *("item_id", "mu", "log_var", "source_version", "category", "price", "stock")
    ]
    catalog = spark.read.parquet(parquet_catalog)
    listing = list_items(spark, CatalogSource(parquet_catalog)).collect()
    versions = {row.item_id: row.source_version for row in listing}
    encoded = sorted(encode(catalog, bundle).collect(), key=lambda row: row.item_id)
    for column in ("mu", "log_var"):
        expected = [row[column] for row in encoded]
        assert_same_float32(matrix(rows, column), expected, terms=ENCODER_TERMS)
    for row in encoded:
        at = rows["item_id"].to_pylist().index(row.item_id)
        assert rows["source_version"][at].as_py() == versions[row.item_id]
        assert rows["stock"][at].as_py() == row.stock
    folders = sorted(path.split("/")[0] for path in tree(table))
    assert folders == [summary["run_id"], "_delta_log", "_delta_log", "_runs"]


def test_folder_of_images(spark, image_folder, bundle_path, table):
    summary = encode_catalog(EncodeCatalog(image_folder, bundle_path, table))
    assert (summary["encoded"], summary["ignored_files"]) == (NUM_ITEMS, 1)
    assert read(table)["item_id"][0].as_py().startswith("bag/bag-")


@pytest.mark.slow
def test_csv_with_the_paths_of_images(spark, image_folder, bundle_path, table, tmp_path, garments):
    """Files that are missing are in quarantine, tried again by every run, and in the end there."""
    lines = ["sku;photo;price"]
    for i, row in enumerate(garments.to_pylist()):
        lines.append(f"{i:04d};{row['category']}/{row['item_id']} é.png;{row['price']}")
    lines += ["9998;bag/gone.png;1", "9999;;2"]
    shop = tmp_path / "shop"
    shutil.copytree(image_folder, shop)
    (shop / "items.csv").write_text("\n".join(lines))
    options = EncodeCatalog(
        *(f"{shop}/items.csv", bundle_path, table),
        **{"id_column": "sku", "path_column": "photo", "max_error_fraction": 0.1},
    )
    summary = encode_catalog(options)
    assert (summary["read"], summary["encoded"]) == (NUM_ITEMS + 2, NUM_ITEMS)
    assert summary["quarantined"] == {"unavailable": 2} and summary["ignored_files"] == 0
    rows = read(table)
    assert rows.column_names == ["item_id", "mu", "log_var", "source_version", "price"]
    assert sorted(rows["item_id"].to_pylist()) == [f"{i:04d}" for i in range(NUM_ITEMS)]
    assert encode_catalog(options)["outcome"] == "nothing to do"
    shutil.copy(shop / lines[1].split(";")[1], shop / "bag" / "gone.png")
    third = encode_catalog(options)
    assert (third["encoded"], third["carried"]) == (1, NUM_ITEMS)
    assert third["quarantined"] == {"unavailable": 1}
    mu = dict(zip(read(table)["item_id"].to_pylist(), matrix(read(table), "mu"), strict=True))
    assert_same_float32(mu["9998"], mu["0000"], terms=ENCODER_TERMS)
    refused(
        replace(options, path_column="foto"),
        InputError,
        "items.csv has no column 'foto'; its columns are 'sku', 'photo', 'price'",
    )


def test_what_others_read(spark, catalog_table):
    """The files behind the log are what delta-rs and Spark make of the table."""
    assert DeltaTable(catalog_table).count() == NUM_ITEMS
    frame = spark.read.parquet(*open_table(catalog_table).files)
    assert dict(frame.dtypes)["mu"] == "array<float>"
    assert frame.count() == NUM_ITEMS


@pytest.mark.slow
def test_a_full_night_is_the_next_version(
    spark, parquet_catalog, catalog_table, bundle_path, table
):
    shutil.copytree(catalog_table, table)
    first = open_table(table).version
    second = encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, full=True))
    assert second["version"] == first + 1 and second["encoded"] == NUM_ITEMS
    assert read(table).num_rows == NUM_ITEMS
    assert open_table(table, first).num_items == NUM_ITEMS


@pytest.mark.slow
def test_partitioning_of_the_catalog_does_not_show(
    spark, catalog_table, garments, bundle_path, table, tmp_path
):
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    for i in range(NUM_ITEMS):
        pq.write_table(garments.slice(i, 1), pieces / f"{i}.parquet")
    encode_catalog(EncodeCatalog(str(pieces), bundle_path, table))
    one, two = read(catalog_table), read(table)
    for column in ("mu", "log_var"):
        assert_same_float32(matrix(one, column), matrix(two, column), terms=ENCODER_TERMS)
    assert one.drop(["mu", "log_var"]) == two.drop(["mu", "log_var"])


@pytest.mark.slow
def test_more_row_groups_and_files(spark, parquet_catalog, bundle_path, table, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 1000)
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
    files = open_table(table).files
    assert len(files) > 2
    assert all(group.box.latent_dim == LATENT_DIM for group in read_footers(files))
    ids = [pq.read_table(file)["item_id"].to_pylist() for file in files]
    assert sorted(i for part in ids for i in part) == read(table)["item_id"].to_pylist()
    stats = pa.table(DeltaTable(table).get_add_actions(flatten=True)).to_pylist()
    assert sorted((s["min.item_id"], s["max.item_id"], s["num_records"]) for s in stats) == sorted(
        (min(part), max(part), len(part)) for part in ids
    )


@pytest.mark.slow
def test_payload_of_every_kind(spark, garments, bundle_path, tmp_path, table):
    from datetime import date, datetime, timezone
    from decimal import Decimal

    one = garments.slice(0, 1).select(["item_id", "image"])
    extra = {
        "when": datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone.utc),
        "day": date(2026, 1, 2),
        "cost": Decimal("12.30"),
        "tags": ["new", "sale"],
        "size": {"eu": 38, "uk": 12},
        "flag": True,
        "note": None,
    }
    path = str(tmp_path / "c.parquet")
    columns = {name: pa.array([value]) for name, value in extra.items()}
    columns["note"] = pa.array([None], pa.string())
    pq.write_table(pa.table({**one.to_pydict(), **columns}), path)
    encode_catalog(EncodeCatalog(path, bundle_path, table))
    (row,) = read(table).to_pylist()
    assert {name: row[name] for name in extra} == extra


@pytest.mark.slow
def test_chosen_payload(spark, parquet_catalog, bundle_path, table):
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, payload_columns=["price"]))
    assert read(table).column_names[4:] == ["price"]


@pytest.fixture
def damaged(garments, tmp_path) -> str:
    """A catalog in which 2 of 40 images are damaged, in two ways."""
    images = garments["image"].to_pylist()
    images[3], images[5] = b"", images[5][:100]
    place = garments.column_names.index("image")
    path = str(tmp_path / "damaged.parquet")
    pq.write_table(garments.set_column(place, "image", pa.array(images)), path)
    return path


def test_quarantine(spark, damaged, garments, bundle_path, table, caplog):
    caplog.set_level("INFO")
    options = EncodeCatalog(damaged, bundle_path, table, max_error_fraction=0.05)
    summary = encode_catalog(options)
    assert summary["read"] == NUM_ITEMS and summary["encoded"] == NUM_ITEMS - 2
    assert summary["quarantined"] == {"empty": 1, "truncated": 1}
    assert "2 items are in quarantine (1 empty, 1 truncated)" in caplog.text
    ids = garments["item_id"].to_pylist()
    rows = spark.read.parquet(f"{table}/_quarantine").collect()
    assert {(r.item_id, r.reason, r.run_id) for r in rows} == {
        (ids[3], "empty", summary["run_id"]),
        (ids[5], "truncated", summary["run_id"]),
    }
    assert all(r.message and r.source_version for r in rows)
    assert not {ids[3], ids[5]} & set(read(table)["item_id"].to_pylist())


def what_people_see(table: str) -> dict[str, int] | None:
    """The table's files, but for the records of runs and what a run keeps for the next one."""
    if not Path(table).exists():
        return None
    return {k: v for k, v in tree(table).items() if k.split("/")[0] not in ("_runs", "_staging")}


def refused(options: EncodeCatalog, error: type[VaeUdfError], message: str) -> None:
    """The job must fail with this text and leave the table's folder as it was."""
    before = what_people_see(options.table)
    with pytest.raises(error, match=re.escape(message)):
        encode_catalog(options)
    assert (what_people_see(options.table) or None) == before


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True])
def test_too_many_failures_publish_nothing(
    spark, damaged, garments, catalog_table, bundle_path, table, published
):
    if published:
        shutil.copytree(catalog_table, table)
    refused(
        EncodeCatalog(damaged, bundle_path, table),
        TooManyFailures,
        "2 of 40 items cannot be encoded, more than --max-error-fraction 0.01 allows; nothing was "
        "published. By reason: empty 1, truncated 1. For example: "
        f"{garments['item_id'][5]}: this PNG file of 100 bytes ends too early; "
        f"{garments['item_id'][3]}: 0 bytes. What could be encoded is kept for the next run.",
    )
    # And so it is: with more errors allowed nothing has to be encoded again.
    options = EncodeCatalog(damaged, bundle_path, table, max_error_fraction=0.05)
    summary = encode_catalog(options)
    assert summary["resumed"] == (2 if published else NUM_ITEMS)
    assert summary["encoded"] == (0 if published else NUM_ITEMS - 2)
    assert summary["quarantined"] == {"empty": 1, "truncated": 1}
    assert not Path(table, "_staging").exists()


@pytest.mark.slow
def test_not_one_item_that_can_be_encoded(spark, bundle_path, table, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    options = EncodeCatalog(f"{tmp_path}/a.png", bundle_path, table, max_error_fraction=1.0)
    refused(options, TooManyFailures, "1 of 1 items cannot be encoded")


def test_bad_catalogs(spark, parquet_catalog, bundle_path, table, tmp_path):
    refused(EncodeCatalog(f"{tmp_path}/none", bundle_path, table), InputError, "does not exist")
    twice = str(tmp_path / "twice.parquet")
    pq.write_table(pa.table({"item_id": ["a", "a"], "image": [b"x", b"y"]}), twice)
    refused(EncodeCatalog(twice, bundle_path, table), InputError, "'a' (2 times)")
    refused(
        EncodeCatalog(parquet_catalog, bundle_path, table, id_column="sku"),
        InputError,
        "no column 'sku'; it has item_id, image",
    )
    empty = str(tmp_path / "empty.parquet")
    schema = pa.schema([("item_id", pa.string()), ("image", pa.binary())])
    pq.write_table(schema.empty_table(), empty)
    refused(EncodeCatalog(empty, bundle_path, table), InputError, "the catalog is empty")


def test_bad_models_and_tables(spark, parquet_catalog, catalog_table, bundle_path, table, tmp_path):
    damaged = str(tmp_path / "damaged")
    shutil.copytree(bundle_path, damaged)
    weights = Path(damaged, "encoder.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    refused(EncodeCatalog(parquet_catalog, damaged, table), BundleError, "has sha256")

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "x.txt").write_text("x")
    options = EncodeCatalog(parquet_catalog, bundle_path, str(folder))
    refused(options, TableError, "not empty and not a posterior table")

    shutil.copytree(catalog_table, table)
    make_bundle(tmp_path / "wide", LATENT_DIM + 1, seed=0)
    options = EncodeCatalog(parquet_catalog, str(tmp_path / "wide"), table)
    refused(options, TableError, "latent_dim 4, but the model has latent_dim 5")


@pytest.mark.slow
def test_another_model_replaces_all(spark, parquet_catalog, catalog_table, bundle, table, tmp_path):
    shutil.copytree(catalog_table, table)
    before = read(table)
    other = make_bundle(tmp_path / "other", LATENT_DIM, seed=1)
    encode_catalog(EncodeCatalog(parquet_catalog, str(tmp_path / "other"), table))
    assert open_table(table).model_id == other.model_id != bundle.model_id
    assert differ(matrix(read(table), "mu"), matrix(before, "mu"))


@pytest.mark.slow
def test_losing_a_race_leaves_the_winner_alone(
    spark, parquet_catalog, catalog_table, bundle_path, table, monkeypatch
):
    shutil.copytree(catalog_table, table)
    write = workflow.write_data_files
    seen = {}

    def and_another_night_ends_meanwhile(*arguments):
        files = write(*arguments)
        monkeypatch.setattr(workflow, "write_data_files", write)
        options = EncodeCatalog(parquet_catalog, bundle_path, table, full=True)
        seen["winner"] = encode_catalog(options)
        seen["tree"] = {
            k: v
            for k, v in tree(table).items()
            if k.split("/")[0] not in (files[0].path.split("/")[0], "_staging", "_runs")
        }
        return files

    monkeypatch.setattr(workflow, "write_data_files", and_another_night_ends_meanwhile)
    with pytest.raises(PublishConflict, match="another run published"):
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, full=True))
    assert what_people_see(table) == seen["tree"]
    assert not Path(table, "_staging").exists()
    outcomes = run_records(table)["outcome"].to_pylist()
    assert sorted(outcomes) == ["lost the race", "published", "published"]
    assert open_table(table).version == seen["winner"]["version"]


def test_bad_options():
    with pytest.raises(InputError, match=r"max-error-fraction is 1.5; expected 0 to 1"):
        EncodeCatalog("c", "m", "t", max_error_fraction=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["publish", "log_quarantine"])
def test_a_failure_after_the_commit_keeps_what_was_published(
    spark, parquet_catalog, bundle_path, table, monkeypatch, failing
):
    real = getattr(workflow, failing)

    def fails_at_the_end(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, failing, fails_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
    assert read(table).num_rows == NUM_ITEMS
    assert not Path(table, "_staging").exists()


@pytest.mark.slow
def test_a_catalog_that_changes_while_it_is_read(
    spark, garments, bundle_path, table, tmp_path, monkeypatch
):
    path = str(tmp_path / "c.parquet")
    pq.write_table(garments, path)
    count = workflow.count_changes

    def and_then_it_changes(*arguments, **others):
        changes = count(*arguments, **others)
        time.sleep(1)
        pq.write_table(pa.concat_tables([garments.slice(1), garments.slice(5, 1)]), path)
        return changes

    monkeypatch.setattr(workflow, "count_changes", and_then_it_changes)
    with pytest.raises(Exception, match="changed while it was read"):
        encode_catalog(EncodeCatalog(path, bundle_path, table))
    assert not Path(table).exists()


def test_exit_codes_of_what_stops_a_night():
    assert (InputError.exit_code, BundleError.exit_code, TableError.exit_code) == (2, 2, 2)
    assert (TooManyFailures.exit_code, PublishConflict.exit_code) == (3, 4)


@pytest.mark.slow
def test_a_file_of_zero_bytes_is_in_quarantine(spark, garments, bundle_path, tmp_path):
    folder, table = tmp_path / "photos", str(tmp_path / "posteriors")
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(garments["image"][i].as_py())
    (folder / "copied in vain é.png").touch()
    options = EncodeCatalog(str(folder), bundle_path, table, max_error_fraction=0.5)
    summary = encode_catalog(options)
    assert (summary["read"], summary["encoded"], summary["quarantined"]) == (4, 3, {"empty": 1})
    assert summary["ignored_files"] == 0
    assert encode_catalog(options)["outcome"] == "nothing to do"
