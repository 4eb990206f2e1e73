"""Night after night: what is encoded again, what is carried over, and what comes of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.nights import (
    Shop,
    assert_same_table,
)
from tests.support.run_records import run_records
from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from tests.support.tables import matrix, read
from tests.support.tolerances import assert_same_bfloat16, differ
from vaeudf.encoding import udf as encoding
from vaeudf.errors import TooManyFailures
from vaeudf.table.open import open_table
from vaeudf.workflows import encode_catalog as workflow
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = pytest.mark.spark

COUNTS = ("encoded", "carried", "removed")


@pytest.fixture
def table(tmp_path) -> str:
    return str(tmp_path / "a table é" / "posteriors")


def counts(summary) -> tuple[int, ...]:
    failed = sum(summary["quarantined"].values())
    assert summary["read"] == summary["encoded"] + summary["carried"] + failed
    return tuple(summary[name] for name in COUNTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "parquet"])
def test_any_sequence_of_nights_equals_one_full_run(
    spark, garments, tmp_path, table, bundle_path, kind
):
    rng = np.random.default_rng({"images": 1, "parquet": 2}[kind])
    make_bundle(tmp_path / "other", LATENT_DIM, seed=1)
    models = [bundle_path, str(tmp_path / "other")]
    shop = Shop(tmp_path, kind, garments)
    for i in range(12):
        shop.put(f"item {i:02}", i)
    model, seen = 0, {}
    for night in range(5):
        if night:
            names = sorted(shop.items)
            for name in rng.choice(names, size=2, replace=False):
                shop.remove(name)
            for name in rng.choice(sorted(shop.items), size=3, replace=False):
                shop.put(name, int(rng.integers(-1, NUM_ITEMS)))
            for i in range(2):
                shop.put(f"item {20 + 2 * night + i}", int(rng.integers(-1, NUM_ITEMS)))
        if night in (2, 4):
            model = 1 - model
            seen = {}
        options = EncodeCatalog(shop.open(), models[model], table, max_error_fraction=0.9)
        summary = encode_catalog(options)
        # What has changed is known here by the images themselves.
        now = {name: image for name, (image, _) in shop.items.items()}
        carried = [n for n, image in now.items() if image != b"damaged" and seen.get(n) == image]
        if kind == "images":
            # There a file that was written again counts as changed.
            assert summary["carried"] <= len(carried)
        else:
            assert summary["carried"] == len(carried)
        failed = sum(image == b"damaged" for image in now.values())
        assert summary["quarantined"] == ({"unsupported_format": failed} if failed else {})
        counts(summary)
        seen = now
    full = str(tmp_path / "full")
    encode_catalog(EncodeCatalog(shop.path, models[model], full, max_error_fraction=0.9))
    assert_same_table(read(table), read(full))
    assert open_table(table).model_id == open_table(full).model_id
    assert not Path(table, "_staging").exists()


def test_only_what_has_changed_is_opened(spark, garments, tmp_path, table, bundle_path):
    shop = Shop(tmp_path, "images", garments)
    for i in range(10):
        shop.put(f"{i}", i)
    first = encode_catalog(EncodeCatalog(shop.open(), bundle_path, table))
    assert counts(first) == (10, 0, 0) and first["version_before"] is None
    shop.put("3", 13)
    shop.put("new", 20)
    shop.remove("7")
    # Whoever opened one of these would get another image, or fail.
    for i in (0, 1, 2, 4):
        path = Path(shop.path, f"{i}.png")
        state = path.stat()
        path.write_bytes(bytes(state.st_size))
        os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    before = read(table)
    second = encode_catalog(EncodeCatalog(shop.path, bundle_path, table))
    assert counts(second) == (2, 8, 1) and second["outcome"] == "published"
    assert second["version"] == first["version"] + 1 == second["version_before"] + 1
    after = read(table)
    assert after["item_id"].to_pylist() == [
        *(f"{i}.png" for i in (0, 1, 2, 3, 4, 5, 6, 8, 9)),
        "new.png",
    ]
    old = {row["item_id"]: row for row in before.to_pylist()}
    for row in after.to_pylist():
        if row["item_id"] not in ("3.png", "new.png"):
            assert row == old[row["item_id"]]
    assert old["3.png"]["mu"] not in after["mu"].to_pylist()


def test_a_night_with_nothing_to_do(spark, parquet_catalog, bundle_path, table):
    options = EncodeCatalog(parquet_catalog, bundle_path, table)
    first = encode_catalog(options)
    before = {k: v for k, v in tree(table).items() if not k.startswith("_runs")}
    second = encode_catalog(options)
    assert counts(second) == (0, NUM_ITEMS, 0) and second["outcome"] == "nothing to do"
    assert second["version"] == second["version_before"] == first["version"]
    assert {k: v for k, v in tree(table).items() if not k.startswith("_runs")} == before
    records = run_records(table).to_pylist()
    assert [r["outcome"] for r in records] == ["published", "nothing to do"]
    for record, summary in zip(records, (first, second), strict=True):
        for name in ("run_id", "read", *COUNTS, "resumed", "version", "version_before", "model_id"):
            assert record[name] == summary[name], name
        assert dict(record["seconds"]) == summary["seconds"]
        assert record["application_id"] == spark.conf.get("spark.app.id")
    assert len(spark.read.parquet(f"{table}/_runs").collect()) == 2


@pytest.mark.slow
def test_a_new_price_is_published_without_encoding(spark, garments, tmp_path, bundle_path, table):
    shop = Shop(tmp_path, "parquet", garments)
    for i in range(5):
        shop.put(f"{i}", i, price=i)
    encode_catalog(EncodeCatalog(shop.open(), bundle_path, table))
    shop.put("3", 3, price=30)
    summary = encode_catalog(EncodeCatalog(shop.open(), bundle_path, table))
    assert counts(summary) == (0, 5, 0) and summary["outcome"] == "published"
    assert read(table)["price"].to_pylist() == [0, 1, 2, 30, 4]
    # And so is a column more, or one less.
    for columns in ([], ["price"]):
        options = EncodeCatalog(shop.path, bundle_path, table, payload_columns=columns)
        assert encode_catalog(options)["outcome"] == "published"
        assert read(table).column_names[4:] == columns


@pytest.mark.slow
def test_a_catalog_that_is_read_in_another_way_is_another(
    spark, garments, tmp_path, bundle_path, table
):
    images = garments["image"].to_pylist()
    rows = {"item_id": list("abcd"), "image": images[:4], "back": images[4:8], "v": ["1"] * 4}
    paths = [str(tmp_path / name) for name in ("monday.parquet", "tuesday.parquet")]
    for path in paths:
        pq.write_table(pa.table(rows), path)

    def night(path: str, image_column: str) -> tuple[int, ...]:
        how = {"version_column": "v", "payload_columns": [], "image_column": image_column}
        return counts(encode_catalog(EncodeCatalog(path, bundle_path, table, **how)))

    assert night(paths[0], "image") == (4, 0, 0)
    # Every day's export may have a path of its own.
    assert night(paths[1], "image") == (0, 4, 0)
    front = read(table)
    # The same ids and versions, but of other pictures.
    assert night(paths[1], "back") == (4, 0, 0)
    assert differ(matrix(read(table), "mu"), matrix(front, "mu"))


@pytest.mark.slow
def test_quarantine_night_after_night(spark, garments, tmp_path, bundle_path, table):
    shop = Shop(tmp_path, "images", garments)
    for i in range(10):
        shop.put(f"{i}", i)

    def night(**how):
        options = EncodeCatalog(shop.open(), bundle_path, table, max_error_fraction=0.5, **how)
        summary = encode_catalog(options)
        return summary["outcome"], counts(summary), summary["quarantined"]

    assert night() == ("published", (10, 0, 0), {})
    # An item whose image is damaged tonight leaves the table.
    shop.put("4", -1)
    assert night() == ("published", (0, 9, 0), {"unsupported_format": 1})
    assert "4.png" not in read(table)["item_id"].to_pylist()
    # It is not tried again as long as it stays as it is, but by demand.
    assert night() == ("nothing to do", (0, 9, 0), {"unsupported_format": 1})
    assert night(retry_quarantined=True) == ("nothing to do", (0, 9, 0), {"unsupported_format": 1})
    shop.put("new", 30)
    assert night() == ("published", (1, 9, 0), {"unsupported_format": 1})
    rows = spark.read.parquet(f"{table}/_quarantine").where("item_id = '4.png'").collect()
    assert len(rows) == 2 and len({row.run_id for row in rows}) == 2
    shop.put("4", 4)
    assert night() == ("published", (1, 10, 0), {})
    assert "4.png" in read(table)["item_id"].to_pylist()


@pytest.mark.slow
def test_a_file_that_could_not_be_opened_is_tried_again(
    spark, garments, tmp_path, bundle_path, table, monkeypatch
):
    shop = Shop(tmp_path, "images", garments)
    for i in range(10):
        shop.put(f"{i}", i)
    shop.open()
    path = Path(shop.path, "4.png")
    state = path.stat()
    count = workflow.count_changes

    def and_then_one_goes(*arguments, **others):
        changes = count(*arguments, **others)
        path.unlink()
        return changes

    monkeypatch.setattr(workflow, "count_changes", and_then_one_goes)
    options = EncodeCatalog(shop.path, bundle_path, table, max_error_fraction=0.5)
    assert encode_catalog(options)["quarantined"] == {"unavailable": 1}
    monkeypatch.setattr(workflow, "count_changes", count)
    path.write_bytes(shop.images[4])
    os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    summary = encode_catalog(options)
    assert counts(summary) == (1, 9, 0) and summary["quarantined"] == {}


def fail_at(monkeypatch, name: str, error: BaseException) -> None:
    """Let a step of the job fail as it ends, once."""
    real = getattr(workflow, name)

    def fails(*arguments, **others):
        found = real(*arguments, **others)
        monkeypatch.setattr(workflow, name, real)
        if isinstance(error, BaseException):
            raise error
        return found

    monkeypatch.setattr(workflow, name, fails)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "whole", "step"),
    [
        ("image_folder", "folder_table", "encode_chunks"),
        ("parquet_catalog", "catalog_table", "write_data_files"),
    ],
)
def test_a_rerun_goes_on_where_a_run_was_broken_off(
    spark, request, bundle_path, table, monkeypatch, fixture, whole, step
):
    catalog = request.getfixturevalue(fixture)
    clean = request.getfixturevalue(whole)
    monkeypatch.setattr(encoding, "_FEWEST_PER_CHUNK", 10)
    options = EncodeCatalog(catalog, bundle_path, table)
    fail_at(monkeypatch, step, RuntimeError("the cluster went away"))
    with pytest.raises(RuntimeError, match="went away"):
        encode_catalog(options)
    left = {path.split("/")[0] for path in tree(table)}
    assert left == {"_staging"}
    # One chunk is lost.
    chunks = sorted(Path(table).glob("_staging/*/encoded/chunk-*.parquet"))
    assert len(chunks) >= 3
    lost = pq.read_metadata(chunks[0]).num_rows
    chunks[0].unlink()
    summary = encode_catalog(options)
    assert summary["resumed"] == NUM_ITEMS - lost and summary["encoded"] == NUM_ITEMS
    assert_same_table(read(table), read(clean))
    assert not Path(table, "_staging").exists()


@pytest.mark.slow
def test_what_was_encoded_before_the_catalog_changed_is_not_used(
    spark, garments, tmp_path, bundle_path, table, monkeypatch
):
    shop = Shop(tmp_path, "images", garments)
    for i in range(6):
        shop.put(f"{i}", i)
    options = EncodeCatalog(shop.open(), bundle_path, table)
    fail_at(monkeypatch, "encode_chunks", RuntimeError("the cluster went away"))
    with pytest.raises(RuntimeError, match="went away"):
        encode_catalog(options)
    shop.put("2", 20)
    shop.remove("5")
    summary = encode_catalog(options)
    assert (summary["resumed"], summary["encoded"]) == (4, 5)
    clean = str(tmp_path / "clean")
    encode_catalog(EncodeCatalog(shop.path, bundle_path, clean))
    assert_same_table(read(table), read(clean))


@pytest.mark.slow
def test_another_models_chunks_are_not_used(
    spark, parquet_catalog, bundle_path, table, tmp_path, monkeypatch
):
    fail_at(monkeypatch, "encode_chunks", RuntimeError("the cluster went away"))
    with pytest.raises(RuntimeError, match="went away"):
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
    make_bundle(tmp_path / "other", LATENT_DIM, seed=1)
    summary = encode_catalog(EncodeCatalog(parquet_catalog, str(tmp_path / "other"), table))
    assert summary["resumed"] == 0 and summary["encoded"] == NUM_ITEMS
    assert not Path(table, "_staging").exists()


@pytest.mark.slow
def test_another_precision_encodes_everything_again(
    spark, parquet_catalog, catalog_table, bundle_path, table, monkeypatch
):
    shutil.copytree(catalog_table, table)
    whole = EncodeCatalog(parquet_catalog, bundle_path, table)
    half = EncodeCatalog(parquet_catalog, bundle_path, table, precision="bfloat16")
    precise = matrix(read(table), "mu")
    # Nor is what a run of another precision has left behind taken over.
    with monkeypatch.context() as patched:
        fail_at(patched, "write_data_files", RuntimeError("the cluster went away"))
        with pytest.raises(RuntimeError, match="went away"):
            encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, full=True))
    summary = encode_catalog(half)
    assert (summary["encoded"], summary["carried"], summary["resumed"]) == (NUM_ITEMS, 0, 0)
    found = matrix(read(table), "mu")
    assert_same_bfloat16(found, precise, layers=5)
    assert not np.array_equal(found, precise)
    assert encode_catalog(half)["outcome"] == "nothing to do"
    assert encode_catalog(whole)["encoded"] == NUM_ITEMS


@pytest.mark.slow
def test_too_many_failures_are_kept_in_the_record(spark, garments, tmp_path, bundle_path, table):
    shop = Shop(tmp_path, "images", garments)
    for i in range(4):
        shop.put(f"{i}", i)
    encode_catalog(EncodeCatalog(shop.open(), bundle_path, table))
    shop.put("1", -1)
    with pytest.raises(TooManyFailures):
        encode_catalog(EncodeCatalog(shop.path, bundle_path, table))
    record = run_records(table).to_pylist()[-1]
    assert record["outcome"] == "too many errors" and "1 of 4 items" in record["message"]
    assert dict(record["quarantined"]) == {"unsupported_format": 1}
    assert record["version"] is None and record["version_before"] == 1
