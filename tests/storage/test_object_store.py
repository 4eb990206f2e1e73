"""A table and a catalog in an object store, as far as pyarrow and delta-rs go.

moto's server stands for S3. Azurite stands for Azure, in ./spark-submit.sh test-azure.

What Spark itself reads and writes there goes through its s3a connector, which is not tested here.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import vaeudf
from tests.support.azurite import azurite, make_container
from tests.support.cases import further_cases_slow
from tests.support.chunks import rows as chunk
from tests.support.files import SAMPLES
from tests.support.jobs import ROOT
from tests.support.object_store import make_bucket, object_store
from tests.support.scene import png
from vaeudf.catalog.kinds import of_kind
from vaeudf.catalog.named_files import MISSING, look_up_all
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import CatalogSource, resolve_format
from vaeudf.encoding.chunk_pixels import chunk_pixels
from vaeudf.encoding.run_record import RunRecord, write_run_record
from vaeudf.encoding.staging import clean, has_chunks, new_chunk_name, open_run, write_chunk
from vaeudf.errors import InputError, PublishConflict, TableError
from vaeudf.images.decode import ImageFailure
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.spark.writing import write_partition
from vaeudf.storage import locations as storage
from vaeudf.storage.locations import absolute, filesystem, is_empty_folder, spark_uri
from vaeudf.storage.outputs import RESULTS_MARK, check_output, replacing
from vaeudf.table.maintenance import list_versions, roll_back, vacuum
from vaeudf.table.open import PosteriorTable, open_for_publishing, open_table
from vaeudf.table.pixel_files import (
    PictureShape,
    PixelFile,
    PixelWriter,
    find_pixel_files,
    pixel_path,
)
from vaeudf.table.publish import DataFile, publish
from vaeudf.table.runs import new_run_id, published_runs

SCHEMA = posterior_schema(pa.schema([("price", pa.float64())]), {MODEL_ID_KEY: "m"})
N = 3


class Store(NamedTuple):
    """What stands for a store, and how to make a place in it that this process can open."""

    url: str
    make: Callable[[str, pytest.MonkeyPatch, str], str]


@pytest.fixture(scope="module", params=["S3", pytest.param("Azure", marks=pytest.mark.azure)])
def store(request) -> Iterator[Store]:
    start, make = {"S3": (object_store, make_bucket), "Azure": (azurite, make_container)}[
        request.param
    ]
    with start() as url:
        yield Store(url, make)


@pytest.fixture
def bucket(store, monkeypatch, request) -> str:
    """The URI of an empty bucket, or container."""
    return store.make(store.url, monkeypatch, request.node.name)


@pytest.fixture
def bucket_of_nobody(bucket) -> str:
    """The URI of a bucket, or container, that is not there."""
    name, at, account = bucket.partition("@")
    return f"{name}-of-nobody{at}{account}"


@pytest.fixture(
    params=[pytest.param("posteriors", marks=pytest.mark.slow), "nightly/a table [1] é #x +"]
)
def uri(bucket, request) -> str:
    return f"{bucket}/{request.param}"


def listing(uri: str) -> list[str]:
    files, inner = filesystem(uri)
    found = files.get_file_info(fs.FileSelector(inner, recursive=True, allow_not_found=True))
    return sorted(entry.path[len(inner) + 1 :] for entry in found if entry.is_file)


def posteriors(ids: list[str]) -> pa.RecordBatch:
    rng = np.random.default_rng(len(ids))
    mu, log_var = rng.normal(size=(2, len(ids), N)).astype(np.float32)
    columns = {
        "item_id": ids,
        "mu": list(mu),
        "log_var": list(log_var),
        "source_version": ["v"] * len(ids),
        "price": np.arange(len(ids)) / 4,
    }
    return pa.RecordBatch.from_pydict({f.name: columns[f.name] for f in SCHEMA}, SCHEMA)


def write(uri: str, run_id: str, ids: list[str]) -> list[DataFile]:
    found = write_partition(iter([posteriors(ids)]), uri, run_id, SCHEMA)
    return [DataFile(**row) for batch in found for row in batch.to_pylist()]


def put(uri: str, ids: list[str]) -> PosteriorTable:
    run_id = new_run_id()
    previous = open_for_publishing(uri, N)
    return publish(uri, previous, write(uri, run_id, ids), SCHEMA, N, run_id)


def ids_of(table: PosteriorTable) -> list[str]:
    found = []
    for file in table.files:
        files, inner = filesystem(file)
        found += pq.read_table(inner, filesystem=files)["item_id"].to_pylist()
    return sorted(found)


def test_versions(uri):
    with pytest.raises(TableError, match="does not exist"):
        open_table(uri)
    first = put(uri, ["a", "b"])
    assert first.uri == uri and ids_of(first) == ["a", "b"]
    second = put(uri.replace("s3://", "s3a://"), ["b", "c", "d"])
    assert (second.version, ids_of(second)) == (first.version + 1, ["b", "c", "d"])
    assert ids_of(open_table(uri, first.version)) == ["a", "b"]
    assert ids_of(roll_back(uri, first.version)) == ["a", "b"]
    assert [(v.num_items, v.is_whole) for v in list_versions(uri)] == [
        (2, True),
        (3, True),
        (2, True),
    ]
    third = put(uri, ["e"])
    assert published_runs(uri) == {
        file.split("/")[-2] for t in (first, second, third) for file in t.files
    }
    assert vacuum(uri, keep_days=7).removed == []
    assert ids_of(open_table(uri)) == ["e"]


def test_a_file_that_is_gone(uri):
    table = put(uri, ["a", "b"])
    files, inner = filesystem(table.files[0])
    previous = open_for_publishing(uri, N)
    run_id = new_run_id()
    (file,) = write(uri, run_id, ["c"])
    files.delete_file(f"{filesystem(uri)[1]}/{file.path}")
    with pytest.raises(TableError, match=f"data file {file.path} should have"):
        publish(uri, previous, [file], SCHEMA, N, run_id)
    files.delete_file(inner)
    assert [v.is_whole for v in list_versions(uri)] == [False]


@pytest.mark.parametrize("first", further_cases_slow([True, False], [True]))
def test_of_two_writers_one_wins(bucket, first):
    for race in range(5):
        uri = f"{bucket}/table-{race}"
        if not first:
            put(uri, ["start"])
        previous = open_for_publishing(uri, N)

        def run(name: str, uri=uri, previous=previous) -> str | None:
            run_id = new_run_id()
            files = write(uri, run_id, [name])
            try:
                publish(uri, previous, files, SCHEMA, N, run_id)
            except PublishConflict:
                return None
            return name

        with ThreadPoolExecutor(2) as pool:
            won = [name for name in pool.map(run, "ab") if name is not None]
        assert len(won) == 1 and ids_of(open_table(uri)) == won


def test_kept_pixels(uri):
    """Written with a chunk, taken over from a killed run, laid out, read, and vacuumed."""
    shape, killed = PictureShape(3, 2, 1), new_run_id()
    pixels = np.arange(18, dtype=np.uint8).reshape(3, *shape)
    with pytest.raises(KeyboardInterrupt), open_run(uri, killed, "key", keep_pixels=True) as run:
        name = new_chunk_name()
        with PixelWriter(chunk_pixels(f"{run.encoded}/{name}"), shape) as writer:
            writer.write(["a", "b", "c"], pixels)
        write_chunk(iter([chunk("a", "b", "c")]), run.encoded, name)
        raise KeyboardInterrupt
    run_id = "20240101T000000-0123abcd"
    with open_run(uri, run_id, "key", keep_pixels=True) as run:
        assert run.adopt() == 1
        (taken,) = listing(run.adopted)
        source = chunk_pixels(f"{run.adopted}/{taken}")
        placed = posteriors(["c", "a", "b"])
        places = {"__vaeudf_pixel_file": [source] * 3, "__vaeudf_pixel_row": [2, 0, 1]}
        for column, values in places.items():
            placed = placed.append_column(column, pa.array(values))
        (described,) = write_partition(iter([placed]), uri, run_id, SCHEMA, shape)
    (file,) = (DataFile(**row) for row in described.to_pylist())
    table = publish(uri, open_for_publishing(uri, N), [file], SCHEMA, N, run_id)
    (kept,) = find_pixel_files(uri, table.files).values()
    assert kept.size == file.pixel_bytes
    with PixelFile(kept.uri, shape) as found:
        assert sorted(found.item_ids()) == ["a", "b", "c"]
        rows = dict(zip(found.item_ids(), found.rows([0, 1, 2]), strict=True))
    assert {item: row[0, 0, 0] for item, row in rows.items()} == {"a": 0, "b": 6, "c": 12}
    assert clean(uri) == [killed]
    with pytest.raises(TableError, match="does not exist any more"):
        PixelFile(source)
    assert vacuum(uri, keep_days=7).removed == []
    filesystem(uri)[0].delete_file(filesystem(table.files[0])[1])  # as by another engine's VACUUM
    gone = pixel_path(file.path)
    assert vacuum(uri, keep_days=7, dry_run=True).removed == [gone]
    assert vacuum(uri, keep_days=7).removed == [gone] and gone not in listing(uri)


def test_a_killed_runs_chunks_are_taken_over(uri, monkeypatch):
    killed = new_run_id()
    with pytest.raises(KeyboardInterrupt), open_run(uri, killed, "key") as run:
        write_chunk(iter([chunk("a", "b")]), run.encoded)
        write_chunk(iter([chunk("c")]), run.encoded)
        write(uri, killed, ["a", "b", "c"])
        raise KeyboardInterrupt
    assert len(listing(f"{uri}/_staging/{killed}")) == 3
    with open_run(uri, new_run_id(), "another key") as run:
        assert run.adopt() == 0
        assert not has_chunks(run.adopted)
    with open_run(uri, new_run_id(), "key") as run:
        assert run.adopt() == 2
        # It is heard of no more, and its process is no process of this machine.
        monkeypatch.setattr("vaeudf.encoding.staging._host", lambda: "elsewhere")
        now = time.time()
        monkeypatch.setattr("vaeudf.encoding.staging.time.time", lambda: now + 7200)
        assert clean(uri) == [killed]
        assert has_chunks(run.adopted)
    assert listing(uri) == []
    # Nor is a folder forgotten of which no time is known, for want of its run.json.
    write_chunk(iter([chunk("a")]), f"{uri}/_staging/20260101T000000-0123abcd/encoded")
    assert clean(uri) == ["20260101T000000-0123abcd"]


def test_a_table_that_cannot_be_written(bucket_of_nobody):
    table = f"{bucket_of_nobody}/posteriors"
    absent = "(NO_SUCH_BUCKET|ContainerNotFound)"
    with (
        pytest.raises(InputError, match=rf"^{table} cannot be written \(.*{absent}"),
        open_run(table, new_run_id(), "key"),
    ):
        pytest.fail("the run has a folder")


def test_run_records(uri):
    for run_id in ("r1", "r2"):
        write_run_record(uri, RunRecord(run_id, "m", "model", "catalog", quarantined={"empty": 1}))
    files, inner = filesystem(f"{uri}/_runs")
    names = [info.path for info in files.get_file_info(fs.FileSelector(inner))]
    records = [row for name in names for row in pq.read_table(name, filesystem=files).to_pylist()]
    assert sorted(row["run_id"] for row in records) == ["r1", "r2"]
    assert records[0]["quarantined"] == [("empty", 1)]


def test_images(bucket):
    files, inner = filesystem(bucket)
    for name in ("a b é%41 +.png", "plain.png"):
        image = png(np.zeros((4, 5, 3), np.uint8))
        with files.open_output_stream(f"{inner}/photos/{name}") as stream:
            stream.write(image)
        # Spark's listing calls it s3a.
        place = f"{bucket.replace('s3://', 's3a://')}/photos/{name}"
        assert ImageReader("image").read(place, None, len(image), 0.0) == image
    gone = ImageReader("image").read(f"{bucket}/photos/gone.png", None, 1, 0.0)
    assert isinstance(gone, ImageFailure) and gone.reason == "unavailable"

    table = pa.table({"image": [b"%d" % i for i in range(40)]})
    pq.write_table(table, f"{inner}/rows.parquet", filesystem=files, row_group_size=16)
    info = files.get_file_info(f"{inner}/rows.parquet")
    reader = ImageReader("image")
    place = (f"{bucket}/rows.parquet", info.size, info.mtime_ns / 1e9)
    for row in (0, 15, 16, 39):
        assert reader.read(place[0], row, *place[1:]) == b"%d" % row
    with pytest.raises(InputError, match="the catalog changed while it was read"):
        ImageReader("image").read(place[0], 0, info.size + 1, place[2])


@pytest.mark.parametrize(
    "place", further_cases_slow(["photos", "2026/11/photos", "table/photos"], ["table/photos"])
)
def test_the_format_of_a_catalog(bucket, place):
    """It is looked for whether the catalog is in a Delta table, up to the bucket and no further."""
    put(f"{bucket}/table", ["a"])
    files, inner = filesystem(f"{bucket}/{place}/dress/1.jpg")
    with files.open_output_stream(inner) as stream:
        stream.write(b"picture")
    assert resolve_format(None, CatalogSource(f"{bucket}/table")) == "parquet"
    source = CatalogSource(f"{bucket}/{place}")
    if place.startswith("table/"):
        with pytest.raises(InputError, match=rf"is in the Delta table {bucket}/table, and its"):
            resolve_format(None, source)
    else:
        assert resolve_format(None, source) == "images"


def test_a_catalog_whose_parents_may_not_be_looked_at(bucket, monkeypatch):
    files, inner = filesystem(f"{bucket}/photos/1.jpg")
    with files.open_output_stream(inner) as stream:
        stream.write(b"picture")

    def has_commits(location: str) -> bool:
        if location == bucket:
            raise OSError("AWS Error ACCESS_DENIED during HeadObject operation")
        return False

    monkeypatch.setattr("vaeudf.catalog.delta.has_commits", has_commits)
    assert resolve_format(None, CatalogSource(f"{bucket}/photos")) == "images"


def test_files_that_a_catalog_names(bucket):
    for name in ("shop/photos/a b%41.jpg", "far.jpg"):
        files, inner = filesystem(f"{bucket}/{name}")
        with files.open_output_stream(inner) as stream:
            stream.write(name.encode())
    folder = f"{bucket}/shop/export"
    for path, name in {
        "../photos/a b%41.jpg": "shop/photos/a b%41.jpg",
        "./../../far.jpg": "far.jpg",
        f"{bucket}/far.jpg": "far.jpg",
        f"{bucket.replace('s3://', 's3a://')}//far.jpg": "far.jpg",
    }.items():
        (found,) = look_up_all([(path, folder)])
        assert found.length == len(name) and re.fullmatch(rf"\d+000-{len(name)}", found.version)
        image = ImageReader("image").read(found.uri, None, found.length, found.modified)
        assert image == name.encode()
    for path in ("../photos/gone.jpg", "../photos", f"{bucket}-of-nobody/a.jpg", "ftp://x/a.jpg"):
        (found,) = look_up_all([(path, folder)])
        assert (found.version, found.length) == (MISSING, 0)
        failure = ImageReader("image").read(found.uri, None, found.length, found.modified)
        assert failure.reason == "unavailable"


def test_images_without_a_suffix_in_a_store(bucket):
    for name, content in {"0042": SAMPLES["png"], "0043": b"text", "a.jpg": b"x"}.items():
        files, inner = filesystem(f"{bucket}/photos/{name}")
        with files.open_output_stream(inner) as stream:
            stream.write(content)
    names = pa.array([f"{bucket}/photos/{name}" for name in ("0042", "0043", "a.jpg", "gone")])
    assert of_kind(names, "image").to_pylist() == [True, False, True, False]


def test_folders_that_are_replaced(bucket):
    uri = f"{bucket}/results"
    files, _ = filesystem(uri)
    for content in (b"old", b"new"):
        check_output(uri, overwrite=True, marker=RESULTS_MARK)
        with replacing(uri, RESULTS_MARK) as folder:
            with files.open_output_stream(f"{filesystem(folder)[1]}/deep/{content}.txt") as stream:
                stream.write(content)
    assert listing(uri) == [RESULTS_MARK, "deep/b'new'.txt"]
    with pytest.raises(InputError, match="exists already"):
        check_output(uri, overwrite=False, marker=RESULTS_MARK)
    with pytest.raises(ZeroDivisionError), replacing(uri, RESULTS_MARK) as folder:
        with files.open_output_stream(f"{filesystem(folder)[1]}/x") as stream:
            stream.write(b"half")
        1 / 0  # noqa: B018
    assert listing(bucket) == [f"results/{RESULTS_MARK}", "results/deep/b'new'.txt"]
    assert not is_empty_folder(uri)
    with pytest.raises(InputError, match=f"{bucket}/ is a whole store; name a folder in it"):
        check_output(f"{bucket}/", overwrite=True, marker=RESULTS_MARK)


@pytest.mark.parametrize("fails_at", further_cases_slow(range(1, 7), [1, 6]))
def test_a_replacement_that_fails_half_way(bucket, monkeypatch, fails_at):
    uri, files = f"{bucket}/results", filesystem(bucket)[0]

    def write(folder: str, names: str) -> None:
        for name in names:
            with files.open_output_stream(f"{filesystem(folder)[1]}/{name}") as stream:
                stream.write(name.encode())

    write(uri, "abc")

    class Failing:
        copies = 0

        def __getattr__(self, name):
            return getattr(files, name)

        def copy_file(self, source: str, target: str) -> None:
            Failing.copies += 1
            if Failing.copies == fails_at:
                raise OSError("the store is down for a moment")
            files.copy_file(source, target)

    opened = storage._open_store
    monkeypatch.setattr("vaeudf.storage.outputs._THREADS", 1)
    with pytest.raises(OSError, match="for a moment"), replacing(uri) as folder:
        write(folder, "xyz")
        monkeypatch.setattr(storage, "_open_store", lambda *args: (Failing(), opened(*args)[1]))
    monkeypatch.setattr(storage, "_open_store", opened)
    assert listing(uri) == ["a", "b", "c"]
    assert listing(bucket) == ["results/a", "results/b", "results/c"]


def test_a_part_that_stands_aside_is_not_taken_for_the_whole(bucket, monkeypatch):
    """A store that fails while the older folder is copied, and while what was copied is removed."""
    uri, files = f"{bucket}/results", filesystem(bucket)[0]
    for name in "abc":
        with files.open_output_stream(f"{filesystem(uri)[1]}/{name}") as stream:
            stream.write(name.encode())

    class Failing:
        calls: ClassVar[list[str]] = []

        def __getattr__(self, name):
            return getattr(files, name)

        def fail_once(self, name: str, at: int, *arguments: str) -> None:
            self.calls.append(name)
            if self.calls.count(name) == at:
                raise OSError("the store is down for a moment")
            getattr(files, name)(*arguments)

        def copy_file(self, *arguments: str) -> None:
            self.fail_once("copy_file", 2, *arguments)

        def delete_dir(self, *arguments: str) -> None:
            self.fail_once("delete_dir", 1, *arguments)

    opened = storage._open_store
    monkeypatch.setattr("vaeudf.storage.outputs._THREADS", 1)
    with pytest.raises(OSError, match="for a moment"), replacing(uri) as folder:
        with files.open_output_stream(f"{filesystem(folder)[1]}/x") as stream:
            stream.write(b"x")
        monkeypatch.setattr(storage, "_open_store", lambda *args: (Failing(), opened(*args)[1]))
    monkeypatch.setattr(storage, "_open_store", opened)
    assert {"copy_file", "delete_dir"} <= set(Failing.calls)
    assert listing(uri) == ["a", "b", "c"]


def test_uris():
    for uri in ("s3://shop/a b", "s3a://shop/a b", "s3n://shop/a b"):
        assert absolute(uri) == "s3://shop/a b" and spark_uri(uri) == "s3a://shop/a b"
    assert absolute("gs://shop/s3a://x") == "gs://shop/s3a://x" == spark_uri("gs://shop/s3a://x")
    with pytest.raises(InputError, match="cannot open what://is/this"):
        filesystem("what://is/this")
    with pytest.raises(InputError, match="expected a path, or a URI"):
        filesystem("s3:bucket")


def test_a_bucket_that_is_not_there(bucket_of_nobody):
    uri = f"{bucket_of_nobody}/table"
    with pytest.raises(TableError, match=re.escape(f"table {uri} does not exist")):
        open_table(uri)


@pytest.mark.spark
@pytest.mark.slow
def test_a_query(bucket, tmp_path):
    """Spark's tasks read the table with pyarrow, so that a query needs no connector."""
    uri = f"{bucket}/a table é #"
    rows = posteriors([f"{i:04}" for i in range(500)])
    put(uri, rows["item_id"].to_pylist())
    z = np.random.default_rng(1).normal(size=(3, N))
    files, inner = filesystem(f"{uri}-z.npy")
    with files.open_output_stream(inner) as stream:
        data = io.BytesIO()
        np.save(data, z)
        stream.write(data.getvalue())
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "jobs/query_topk.py", "--table", uri),
            *("--queries", f"{uri}-z.npy", "--k", "4"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, summary = done.stdout.splitlines()
    assert json.loads(summary)["items"] == 500
    mu, log_var = (
        np.stack(rows[name].to_numpy(zero_copy_only=False)) for name in ("mu", "log_var")
    )
    best, _ = vaeudf.nearest(z, mu, log_var, 4)
    found = [line.split()[2] for line in lines[1:]]
    assert found == [f"{i:04}" for i in best.ravel()]
