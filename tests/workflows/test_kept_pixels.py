"""encode_catalog --keep-pixels, night after night."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from tests.support import scene
from tests.support.deletion_vectors import delete_items
from tests.support.kept_pixels import assert_kept, kept_pixels, pixel_file_of
from tests.support.nights import Shop, assert_same_table
from tests.support.scene import LATENT_DIM, NUM_ITEMS, SPEC, make_bundle, tree
from tests.support.tables import read
from vaeudf.decoding import picture_sources
from vaeudf.encoding import udf as encoding
from vaeudf.errors import InputError, TooManyFailures
from vaeudf.images.decode import decode_image
from vaeudf.schema import ITEM_ID, PLACE
from vaeudf.spark import writing
from vaeudf.spark.kept_pixels import pixel_places
from vaeudf.table.open import open_table
from vaeudf.table.pixel_files import PixelFile
from vaeudf.workflows import encode_catalog as workflow
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table

pytestmark = pytest.mark.spark

ITEMS = 24
PICTURE = SPEC.height * SPEC.width * SPEC.channels


def open_shop(root: Path, garments: pa.Table) -> Shop:
    shop = Shop(root, "parquet", garments)
    for i in range(ITEMS):
        shop.put(f"item {i:02}", i)
    shop.open()
    return shop


def images(shop: Shop) -> dict[str, bytes]:
    return {name: data for name, (data, _) in shop.items.items() if data != b"damaged"}


def pixel_tree(table: str) -> list[str]:
    return sorted(path for path in tree(table) if path.startswith("_pixels"))


@pytest.fixture(scope="module")
def several_files():
    """A table of these few items has three data files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "PIXEL_BYTES_PER_FILE", ITEMS // 3 * PICTURE)
        yield


@pytest.fixture(scope="module")
def first_night(spark, several_files, garments, bundle_path, tmp_path_factory):
    """A table with pixels, and what the job said; tests that change it take a copy."""
    root = tmp_path_factory.mktemp("kept")
    shop = open_shop(root, garments)
    table = str(root / "a table é" / "posteriors")
    summary = encode_catalog(EncodeCatalog(shop.path, bundle_path, table, keep_pixels=True))
    return shop, table, summary


@pytest.fixture
def night(first_night, garments, bundle_path, tmp_path):
    """The same shop and table, to be changed, and the next night."""
    _, first, _ = first_night
    table = str(tmp_path / "a table é" / "posteriors")
    shutil.copytree(first, table)
    shop = open_shop(tmp_path, garments)

    def encode(**options):
        options = {"keep_pixels": True, **options}
        return encode_catalog(EncodeCatalog(shop.open(), bundle_path, table, **options))

    return shop, table, encode


def test_first_night(spark, first_night, capsys):
    shop, table, summary = first_night
    assert len(open_table(table).files) == 3
    assert_kept(table, images(shop), SPEC)
    sizes = tree(table)
    assert summary["pixel_bytes"] == sum(sizes[path] for path in pixel_tree(table))
    assert ITEMS * PICTURE < summary["pixel_bytes"] < 2 * ITEMS * PICTURE + 5000
    text = '{"height": 16, "width": 16, "channels": 3}'
    assert open_table(table).provenance["vaeudf.pixels"] == text
    assert read(table).column_names == ["item_id", "mu", "log_var", "source_version", "price"]
    assert not Path(table, "_staging").exists()

    described = maintain_table(MaintainTable(table, action="describe"))
    assert described["pixel_bytes"] == summary["pixel_bytes"]
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("pixels ")]
    expected = "16 × 16 × 3 bytes an item; 3 of 3 files have them"
    kept = f"{summary['pixel_bytes']:,} bytes"
    assert line.removeprefix("pixels").strip() == f"{expected}, {kept}"


def test_where_each_items_pixels_are(spark, night):
    """What a task needs to read them; rows that were deleted are left out, and move no other."""
    shop, table, _ = night
    gone = {"item 03", "item 17"}
    delete_items(table, gone)
    moved = pixel_file_of(open_table(table).files[1])
    moved.rename(moved.with_suffix(".aside"))
    without = set(pq.read_table(open_table(table).files[1])["item_id"].to_pylist())
    rows = pixel_places(spark, open_table(table))
    assert rows.columns == [ITEM_ID, *PLACE]
    found = rows.collect()
    expected = {name: data for name, data in images(shop).items() if name not in gone | without}
    assert sorted(row.item_id for row in found) == sorted(expected)
    pixels = {}
    for row in found:
        state = Path(row.image_file).stat()
        assert row.image_length == state.st_size
        assert row.image_modified == pytest.approx(state.st_mtime)
        with PixelFile(row.image_file) as file:
            pixels[row.item_id] = file.rows([row.image_row])[0]
    moved.with_suffix(".aside").rename(moved)
    kept = kept_pixels(table)
    assert {name: data.tobytes() for name, data in pixels.items()} == {n: kept[n] for n in expected}


def test_a_version_without_pixels_has_no_places(spark, catalog_table):
    rows = pixel_places(spark, open_table(catalog_table))
    assert rows.columns == [ITEM_ID, *PLACE] and rows.collect() == []


def test_few_pixels_are_read_by_several_tasks(spark, night, monkeypatch):
    _, table, _ = night
    monkeypatch.setattr(picture_sources, "_FEWEST_TOGETHER", 1)
    source = picture_sources.picture_source(spark, open_table(table), SPEC)
    rows = source.in_order(source.places(None), 3)
    assert rows.select(F.spark_partition_id()).distinct().count() == 3


@pytest.mark.slow
def test_a_changed_night(spark, night, caplog):
    shop, table, encode = night
    old = open_table(table)
    delete_items(table, ["item 05"])
    shop.put("item 03", 30)
    shop.put("new", 31)
    shop.put("bad", -1)
    shop.remove("item 07")
    # Two items whose pictures change places.
    shop.put("item 10", 11)
    shop.put("item 11", 10)
    # Whoever decoded a carried item again would not have this.
    marked = kept_pixels(table)["item 20"]
    for path in Path(table, "_pixels").rglob("*.arrow"):
        data = path.read_bytes()
        path.write_bytes(data.replace(marked, bytes(PICTURE)))
    summary = encode(max_error_fraction=0.1)
    assert (summary["encoded"], summary["carried"], summary["removed"]) == (5, ITEMS - 5, 1)
    assert summary["quarantined"] == {"unsupported_format": 1}
    expected = {name: decode_image(data, SPEC).tobytes() for name, data in images(shop).items()}
    assert kept_pixels(table) == expected | {"item 20": bytes(PICTURE)}
    for uri in old.files:
        assert pixel_file_of(uri).exists(), "an older version keeps its pixels"
    assert "encoded again" not in caplog.text


@pytest.mark.slow
def test_nights_that_change_nothing(spark, night, caplog):
    caplog.set_level("INFO")
    _, table, encode = night
    before = {path: size for path, size in tree(table).items() if not path.startswith("_runs")}
    summary = encode()
    assert (summary["outcome"], summary["carried"]) == ("nothing to do", ITEMS)
    assert summary["pixel_bytes"] == sum(before[path] for path in pixel_tree(table))
    after = {path: size for path, size in tree(table).items() if not path.startswith("_runs")}
    assert after == before and "pixels" not in caplog.text
    # Without the option the next version has none, and with it again they are made anew.
    summary = encode(keep_pixels=False)
    assert (summary["outcome"], summary["encoded"], summary["pixel_bytes"]) == ("published", 0, 0)
    assert "vaeudf.pixels" not in open_table(table).provenance
    assert (
        "version 1 of the table keeps its items' pixels; without --keep-pixels the next version "
        "has none."
    ) in caplog.text


@pytest.mark.slow
def test_first_use_on_a_table_of_before(
    spark, garments, parquet_catalog, catalog_table, bundle_path, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(writing, "PIXEL_BYTES_PER_FILE", 2**30)
    caplog.set_level("INFO")
    table = str(tmp_path / "posteriors")
    shutil.copytree(catalog_table, table)
    summary = encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, keep_pixels=True))
    assert (summary["outcome"], summary["encoded"]) == ("published", NUM_ITEMS)
    assert (
        f"{NUM_ITEMS} unchanged items are encoded again to keep their pixels: version 1 of the "
        "table was published without --keep-pixels."
    ) in caplog.text
    rows = garments.to_pydict()
    assert_kept(table, dict(zip(rows["item_id"], rows["image"], strict=True)), SPEC)
    # The rows are as without, and in the same order.
    (one,), (other,) = (open_table(uri).files for uri in (table, catalog_table))
    vectors = ["mu", "log_var"]
    assert pq.read_table(one).drop(vectors) == pq.read_table(other).drop(vectors)
    assert_same_table(read(table), read(catalog_table))


@pytest.mark.slow
def test_files_that_another_engine_has_rewritten(spark, night, caplog):
    caplog.set_level("INFO")
    shop, table, encode = night
    DeltaTable(table).optimize.compact()
    assert [Path(uri).parent for uri in open_table(table).files] == [Path(table)]
    summary = encode()
    assert (summary["outcome"], summary["encoded"]) == ("published", ITEMS)
    assert (
        f"{ITEMS} unchanged items are encoded again to keep their pixels: version 2 of the table "
        "has lost them, as when another engine rewrites its files."
    ) in caplog.text
    assert_kept(table, images(shop), SPEC)


@pytest.mark.slow
def test_pixel_files_that_are_damaged_or_gone_are_made_anew(spark, night, caplog):
    shop, table, encode = night
    first, second, _ = map(pixel_file_of, open_table(table).files)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-100])
    summary = encode()
    kept = pq.read_metadata(open_table(table, 1).files[2]).num_rows
    assert (summary["encoded"], summary["carried"]) == (ITEMS - kept, kept)
    assert f"pixel file {second} cannot be read" in caplog.text
    assert "This run encodes its items again." in caplog.text
    assert_kept(table, images(shop), SPEC)


def fail_at(monkeypatch, name: str, error: BaseException) -> None:
    """Let a step of the job fail as it ends, once."""
    real = getattr(workflow, name)

    def fails(*arguments, **others):
        real(*arguments, **others)
        monkeypatch.setattr(workflow, name, real)
        raise error

    monkeypatch.setattr(workflow, name, fails)


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_its_pixels(
    spark, several_files, garments, bundle_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(encoding, "_FEWEST_PER_CHUNK", 5)
    shop = open_shop(tmp_path, garments)
    shop.put("item 05", -1)
    table = str(tmp_path / "posteriors")
    options = EncodeCatalog(
        shop.open(), bundle_path, table, keep_pixels=True, max_error_fraction=0.1
    )
    fail_at(monkeypatch, "write_data_files", RuntimeError("the cluster went away"))
    with pytest.raises(RuntimeError, match="went away"):
        encode_catalog(options)
    assert {path.split("/")[0] for path in tree(table)} == {"_staging"}
    chunks = sorted(Path(table).glob("_staging/*/encoded/chunk-*.parquet"))
    assert len(chunks) >= 3
    # A chunk without its pixels is of no use.
    lost = pq.read_metadata(chunks[0]).num_rows
    run = chunks[0].parents[1]
    (run / "_pixels" / "encoded" / f"{chunks[0].stem}.arrow").unlink()
    summary = encode_catalog(options)
    assert summary["resumed"] == ITEMS - lost and summary["encoded"] == ITEMS - 1
    assert_kept(table, images(shop), SPEC)
    assert not Path(table, "_staging").exists()


@pytest.mark.slow
def test_chunks_without_pixels_are_not_taken_over(
    spark, garments, bundle_path, tmp_path, monkeypatch
):
    shop = open_shop(tmp_path, garments)
    table = str(tmp_path / "posteriors")
    fail_at(monkeypatch, "encode_chunks", RuntimeError("the cluster went away"))
    with pytest.raises(RuntimeError, match="went away"):
        encode_catalog(EncodeCatalog(shop.path, bundle_path, table))
    summary = encode_catalog(EncodeCatalog(shop.path, bundle_path, table, keep_pixels=True))
    assert (summary["resumed"], summary["encoded"]) == (0, ITEMS)
    assert_kept(table, images(shop), SPEC)


@pytest.mark.slow
@pytest.mark.parametrize("error", [InputError("a reason"), RuntimeError("the cluster went away")])
def test_a_run_that_fails_leaves_no_pixels_in_the_table(spark, night, monkeypatch, error):
    shop, table, encode = night
    before = pixel_tree(table)
    shop.put("item 03", 30)
    fail_at(monkeypatch, "write_data_files", error)
    with pytest.raises(type(error)):
        encode()
    assert pixel_tree(table) == before
    assert Path(table, "_staging").exists() == isinstance(error, RuntimeError)


@pytest.mark.slow
def test_too_many_failures_leave_no_pixels(spark, garments, bundle_path, tmp_path):
    shop = open_shop(tmp_path, garments)
    shop.put("bad", -1)
    table = tmp_path / "posteriors"
    options = EncodeCatalog(shop.open(), bundle_path, str(table), keep_pixels=True)
    with pytest.raises(TooManyFailures):
        encode_catalog(options)
    assert not (table / "_pixels").exists()


@pytest.mark.slow
def test_another_model_has_pictures_of_its_own(spark, night, tmp_path, monkeypatch):
    """--full, another size, and grey: pixels are those of the version's model."""
    shop, table, encode = night
    spec = replace(SPEC, height=32, width=16, channels=1)
    sizes = {"height": 32, "width": 16, "channels": 1}
    monkeypatch.setattr(scene, "SPEC", spec)
    monkeypatch.setattr(scene, "ARGUMENTS", scene.ARGUMENTS | sizes)
    make_bundle(tmp_path / "grey", LATENT_DIM, seed=1)
    options = EncodeCatalog(shop.path, str(tmp_path / "grey"), table, keep_pixels=True)
    assert encode_catalog(options)["encoded"] == ITEMS
    assert_kept(table, images(shop), spec)
    summary = encode(full=True)
    assert (summary["encoded"], summary["carried"]) == (ITEMS, 0)
    assert_kept(table, images(shop), SPEC)


@pytest.mark.slow
def test_roll_back_to_a_version_with_pixels(spark, night):
    shop, table, encode = night
    encode(keep_pixels=False)
    maintain_table(MaintainTable(table, action="roll_back", to_version=1))
    assert_kept(table, images(shop), SPEC)
    summary = encode()
    assert (summary["outcome"], summary["carried"]) == ("nothing to do", ITEMS)


def test_a_folder_that_takes_no_pixels(spark, garments, bundle_path, tmp_path, monkeypatch):
    shop = open_shop(tmp_path, garments)
    table = tmp_path / "posteriors"
    (table / "_runs").mkdir(parents=True)
    (table / "_pixels").write_text("mine")
    options = EncodeCatalog(shop.path, bundle_path, str(table), keep_pixels=True)
    with pytest.raises(InputError) as caught:
        encode_catalog(options)
    assert str(caught.value) == (
        f"--keep-pixels: {table}/_pixels is a file; expected a folder, or nothing. Move it away, "
        "or name another --table."
    )
    (table / "_pixels").unlink()
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * ITEMS * PICTURE - 1)
    monkeypatch.setattr("vaeudf.encoding.carried_pixels.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError) as caught:
        encode_catalog(options)
    assert str(caught.value) == (
        f"--keep-pixels: 24 pictures of 16 × 16 × 3 bytes, 24 of them held twice until they are "
        f"published, take 36,864 bytes, and {table} has 36,863 free. Make room, name another "
        "--table, or leave --keep-pixels out."
    )
    assert tree(table) == {}


@pytest.mark.slow
def test_pages_of_clusters_and_health_need_no_catalog(first_night, tmp_path):
    shop, table, _ = first_night
    gone = str(tmp_path / "posteriors")
    shutil.copytree(table, gone)
    moved = Path(shop.path).rename(tmp_path / "moved")
    try:
        asked = {"k": 2, "report": str(tmp_path / "page"), "output": str(tmp_path / "clusters")}
        clusters = cluster_catalog(ClusterCatalog(gone, **asked))
        health = inspect_table(InspectTable(gone, str(tmp_path / "health"), hub_queries=20))
    finally:
        moved.rename(shop.path)
    for summary in (clusters, health):
        page = Path(summary["report"]).read_text()
        assert "no picture in the catalog" not in page
        assert re.search(r'<img src="data:image/[^"]+" alt="item \d\d"', page)
