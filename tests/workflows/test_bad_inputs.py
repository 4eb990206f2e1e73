"""Every job says of bad input what it is, in one line, with exit code 2, and writes nothing.

Exit code 1 is for faults that another try may mend; schedulers rely on it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.scene import tree
from vaeudf.workflows.cli import main
from vaeudf.workflows.jobs import find_job

pytestmark = pytest.mark.spark

# Names that only a programmer knows: of Java's packages, and of Python's exceptions.
UGLY = re.compile(
    r"Traceback|\bjava\.|\borg\.apache|py4j|\b\w*(Error|Exception)\b: |\(run again with --debug"
)
Z = ("--z", "0,0,0,0")


@pytest.fixture
def refused(spark, tmp_path, capsys):
    """Run a job that must refuse its input; returns the message."""

    def refused(job, *argv):
        before = tree(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(*find_job(job), list(map(str, argv)))
        out, err = capsys.readouterr()
        message = err.strip().splitlines()[-1]
        assert caught.value.code == 2, message
        assert out == "" and message.startswith("error: "), (out, err)
        assert not UGLY.search(message), message
        assert "Traceback" not in err
        assert tree(tmp_path) == before, message
        return message.removeprefix("error: ")

    return refused


# ---- a posterior table whose files are damaged


def data_file(table):
    inner = (p for p in Path(table).glob("*/*.parquet") if not p.parent.name.startswith("_"))
    return sorted(inner)[0]


def truncated(table):
    path = data_file(table)
    path.write_bytes(path.read_bytes()[:-100])


def emptied(table):
    data_file(table).write_bytes(b"")


def lost(table):
    data_file(table).unlink()


def a_folder(table):
    path = data_file(table)
    path.unlink()
    path.mkdir()


def overwritten(table):
    path = data_file(table)
    data = bytearray(path.read_bytes())
    data[4:500] = bytes(496)
    path.write_bytes(data)


def log_overwritten(table):
    last = sorted((Path(table) / "_delta_log").glob("*.json"))[-1]
    last.write_text("{not json\n")


def log_begins_late(table):
    (Path(table) / "_delta_log" / f"{0:020}.json").unlink()


@pytest.fixture
def table(catalog_table, tmp_path):
    shutil.copytree(catalog_table, tmp_path / "posteriors")
    return tmp_path / "posteriors"


TABLE_DAMAGE = [truncated, emptied, lost, a_folder, overwritten, log_overwritten, log_begins_late]


@pytest.mark.parametrize("damage", further_cases_slow(TABLE_DAMAGE, [truncated, log_overwritten]))
def test_damaged_tables(refused, table, parquet_catalog, bundle_path, tmp_path, damage):
    out = tmp_path / "out"
    damage(table)
    for job, argv in [
        ("query_topk", Z),
        ("query_topk", (*Z, "--where", "true")),
        ("cluster_catalog", ("--k", 2, "--output", out)),
        ("find_copies", ("--output", out)),
        ("inspect_table", ("--output", out, "--no-page")),
        ("decode_latents", ("--traverse", 0, "--like", "item-000", "--output", out)),
        ("encode_catalog", ("--catalog", parquet_catalog, "--model", bundle_path)),
    ]:
        found = refused(job, "--table", table, *argv)
        where = str(table) if damage in (log_overwritten, log_begins_late) else "part-"
        assert where in found, (job, found)


def test_a_checksum_beside_a_data_file_that_does_not_fit(
    refused, table, parquet_catalog, bundle_path
):
    # Files that were copied by hand, and their hidden neighbours left behind.
    path = data_file(table)
    path.with_name(f".{path.name}.crc").write_bytes(b"crc\0\0\0\2\0" + bytes(16))
    found = refused(
        "encode_catalog", "--table", table, "--catalog", parquet_catalog, "--model", bundle_path
    )
    assert str(path) in found


# ---- plain Parquet in place of a table

MU = pa.array([[0.0] * 4] * 2)
GOOD = {"item_id": ["a", "b"], "mu": MU, "log_var": MU}


NO_TABLES = {
    "no ids": {"mu": MU, "log_var": MU},
    "text": {**GOOD, "mu": ["x", "y"]},
    "a null": {**GOOD, "mu": pa.array([[0.0] * 4, None])},
    "another length": {**GOOD, "mu": pa.array([[0.0] * 4, [0.0] * 3])},
    "a null inside": {**GOOD, "mu": pa.array([[0.0] * 4, [0.0, 0.0, 0.0, None]])},
    "infinite": {**GOOD, "log_var": pa.array([[0.0] * 4, [np.inf] * 4])},
    "a null for an id": {**GOOD, "item_id": ["a", None]},
    "rounded ids": {**GOOD, "item_id": pa.array([1.5, 2.0**53])},
    "bytes for ids": {**GOOD, "item_id": pa.array([b"\xff", b"\xfe"])},
    "lists of lists": {**GOOD, "mu": pa.array([[[0.0]], [[0.0]]])},
    "structs": {**GOOD, "mu": pa.array([{"x": 0.0}] * 2)},
    "no rows": {name: column[:0] for name, column in GOOD.items()},
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_plain_parquet_that_is_no_table(refused, tmp_path, name):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table(NO_TABLES[name]), path)
    refused("query_topk", "--table", path, *Z)


@pytest.mark.parametrize(
    "name",
    further_cases_slow(NO_TABLES, ["no ids", "a null inside"]),
)
def test_plain_parquet_that_is_no_table_in_rows_of_spark(refused, tmp_path, name):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table(NO_TABLES[name]), path)
    refused("query_topk", "--table", path, *Z, "--where", "true")
    refused("cluster_catalog", "--table", path, "--k", 1, "--output", tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    further_cases_slow([b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"item_id,mu\n"], [b"PAR1"]),
)
def test_files_that_are_no_parquet(refused, tmp_path, content):
    for name in ("plain.parquet", "folder/plain.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        for table in {path, path.parent}:
            refused("query_topk", "--table", table, *Z)
            refused("query_topk", "--table", table, *Z, "--where", "true")


# ---- conditions, names, outputs


# No SQL, no such column, no condition, and one that fails while it is computed.
@pytest.mark.parametrize(
    "where",
    further_cases_slow(
        [
            "",
            "price <",
            "nothing = 1",
            "price",
            "price = 'x'",
            "1/0 = 1",
            "mu > 3",
            "sum(price) > 1",
            "item_id in (select 1)",
            "rand() < 'x'",
            "; drop table t",
            "\x00",
            "🧥",
        ],
        ["price <", "nothing = 1", "price", "1/0 = 1"],
    ),
)
def test_conditions(refused, catalog_table, where):
    refused("query_topk", "--table", catalog_table, *Z, "--where", where)


@pytest.mark.parametrize(
    "name", further_cases_slow(["nothing", "", "a.b", "`", "mu[0]", "*"], ["nothing", "mu[0]"])
)
def test_columns(refused, catalog_table, name):
    refused("query_topk", "--table", catalog_table, *Z, "--columns", name)


def test_outputs_that_cannot_be_written(refused, catalog_table, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    for output in (
        tmp_path / "file",
        tmp_path / "folder",
        tmp_path / "file" / "below",
        "nofs://a/b",
        "s3://",
        catalog_table,
    ):
        for job, argv in [
            ("query_topk", Z),
            ("cluster_catalog", ("--k", 2)),
            ("find_copies", ()),
            ("inspect_table", ("--no-page",)),
            ("decode_latents", Z),
        ]:
            refused(job, "--table", catalog_table, "--output", output, *argv)


# ---- what can be known before Spark starts is said before


def test_a_catalog_that_is_not_there_is_found_before_spark_starts(
    refused, catalog_table, bundle_path, tmp_path, monkeypatch
):
    def start(name):
        raise AssertionError("Spark was started")

    none = tmp_path / "none"
    out = tmp_path / "out"
    page = ("--table", catalog_table, "--report", out, "--catalog", none)
    for job, argv in [
        ("encode_catalog", ("--catalog", none, "--model", bundle_path, "--table", tmp_path / "t")),
        ("train_vae", ("--catalog", none, "--output", out)),
        ("query_topk", (*Z, *page)),
        ("cluster_catalog", ("--k", 2, "--output", tmp_path / "c", *page)),
    ]:
        monkeypatch.setattr(f"vaeudf.workflows.{job}.spark_session", start)
        found = refused(job, *argv)
        assert found.startswith(
            f"catalog {none} does not exist; expected a folder, a glob or a file."
        )


# ---- catalogs


GARMENT = {"item_id": ["a", "b"], "image": [b"x", b"y"]}


def written(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, **options)
    return sink.getvalue().to_pybytes()


def unreadable_codec():
    # Codec 3, LZO, which no library writes and pyarrow does not read: field 4 of each column chunk.
    data = written(GARMENT, compression="snappy", use_dictionary=False)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[start:-8].replace(b"\x15\x02\x16", b"\x15\x06\x16")
    assert footer != data[start:-8]
    return data[:start] + footer + data[-8:]


CATALOGS = {
    "truncated.parquet": written(GARMENT)[:-20],
    "empty.parquet": b"",
    "html.parquet": b"<!doctype html><p>404",
    "half.parquet": b"PAR1" + bytes(500),
    "codec.parquet": unreadable_codec(),
    "no-id.parquet": written({"image": [b"x"]}),
    "no-image.parquet": written({"item_id": ["a"]}),
    "text-image.parquet": written({"item_id": ["a"], "image": ["x"]}),
    "numbers.parquet": written({"item_id": ["a"], "image": [1]}),
    "list-ids.parquet": written({"item_id": [["a"]], "image": [b"x"]}),
    "struct-ids.parquet": written({"item_id": [{"a": 1}], "image": [b"x"]}),
    "bytes-ids.parquet": written({"item_id": [b"\xff\xfe"], "image": [b"x"]}),
    "null-id.parquet": written({"item_id": ["a", None], "image": [b"x", b"y"]}),
    "twice.parquet": written({"item_id": ["a", "a"], "image": [b"x", b"y"]}),
    "no-rows.parquet": written({"item_id": pa.array([], pa.string()), "image": [b"x"][:0]}),
    "notes.txt": b"no catalog",
    "shards.tar": bytes(1024),
    "list.csv": b"item_id,price\na,1\n",
    "empty.csv": b"",
    "latin1.csv": "item_id,path\né,x.jpg\n".encode("latin1"),
}


def refuse_catalog(refused, bundle_path, tmp_path, name, *, in_folder):
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / name).write_bytes(CATALOGS[name])
    catalog, table = folder if in_folder else folder / name, tmp_path / "t"
    found = refused(
        "encode_catalog", "--catalog", catalog, "--model", bundle_path, "--table", table
    )
    assert str(folder) in found or name in found or "item_ids" in found or "empty" in found


# Files that cannot be read, columns, their types, ids, no rows, and what is no Parquet.
@pytest.mark.parametrize(
    "name",
    further_cases_slow(
        CATALOGS,
        [
            *("truncated.parquet", "no-id.parquet", "text-image.parquet", "null-id.parquet"),
            *("twice.parquet", "no-rows.parquet", "notes.txt", "list.csv"),
        ],
    ),
)
def test_catalogs_that_are_none(refused, bundle_path, tmp_path, name):
    refuse_catalog(refused, bundle_path, tmp_path, name, in_folder=False)


@pytest.mark.parametrize(
    "name",
    further_cases_slow(
        CATALOGS,
        ["truncated.parquet", "notes.txt"],
    ),
)
def test_folders_of_such_catalogs(refused, bundle_path, tmp_path, name):
    refuse_catalog(refused, bundle_path, tmp_path, name, in_folder=True)


@pytest.mark.parametrize(
    "name",
    further_cases_slow(
        ["truncated.parquet", "no-image.parquet", "notes.txt", "empty.csv"], ["no-image.parquet"]
    ),
)
def test_training_and_exporting_on_such_catalogs(refused, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CATALOGS[name])
    refused("train_vae", "--catalog", path, "--output", tmp_path / "out")
