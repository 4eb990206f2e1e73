"""Jobs with all their data on a real HDFS, as a user starts them; Spark is local."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tests.support.jobs import submit, summary
from tests.support.nights import assert_same_table
from tests.support.scene import NUM_ITEMS
from tests.support.tables import read
from vaeudf.storage.locations import filesystem
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]


def copy_to(uri: str, source: str) -> None:
    files, inner = filesystem(uri)
    for path in Path(source).rglob("*"):
        if path.is_file():
            with files.open_output_stream(f"{inner}/{path.relative_to(source)}") as stream:
                stream.write(path.read_bytes())


def test_from_images_to_a_page(spark, configured, folder, image_folder, bundle_path, tmp_path):
    copy_to(f"{folder}/photos [1] é", image_folder)
    name = folder.rpartition("/")[2]
    here = f"hdfs:///{name}"  # which HADOOP_CONF_DIR explains, to all three libraries
    photos, table = f"{here}/photos [1] é", f"{here}/posteriors"
    environment = {"HADOOP_CONF_DIR": str(configured.conf), "SPARK_LOCAL_IP": "127.0.0.1"}

    def job(*words: str) -> dict:
        return summary(submit(*words, **environment))

    encode = ("encode_catalog", "--catalog", photos, "--model", bundle_path, "--table", table)
    first = job(*encode)
    assert (first["encoded"], first["quarantined"]) == (NUM_ITEMS, {})
    local = str(tmp_path / "posteriors")
    encode_catalog(EncodeCatalog(image_folder, bundle_path, local))
    assert_same_table(
        *(read(uri).drop_columns("source_version") for uri in (f"{folder}/posteriors", local))
    )
    # The times and sizes of the files are as they were: nothing is read again.
    second = job(*encode)
    assert (second["encoded"], second["outcome"]) == (0, "nothing to do")

    files, inner = filesystem(folder)
    z = np.random.default_rng(5).normal(size=(3, 4))
    with files.open_output_stream(f"{inner}/z.npy") as stream:
        np.save(tmp_path / "z.npy", z)
        stream.write((tmp_path / "z.npy").read_bytes())
    found = job(
        *("query_topk", "--table", table, "--queries", f"{here}/z.npy", "--k", "4"),
        *("--output", f"{here}/results", "--report", f"{here}/page"),
    )
    assert found["queries"] == 3
    listed = files.get_file_info(fs.FileSelector(inner, recursive=True))
    written = {info.path[len(inner) + 1 :] for info in listed if info.is_file}
    assert "page/index.html" in written
    with files.open_input_stream(f"{inner}/page/index.html") as stream:
        page = stream.read().decode()
    assert page.count("<img") >= 1
    hits = read_results(files, f"{inner}/results")
    assert len(hits) == 12


def read_results(files: fs.FileSystem, folder: str) -> list[dict]:
    paths = [info.path for info in files.get_file_info(fs.FileSelector(folder))]
    parts = [path for path in paths if path.endswith(".parquet")]
    return [row for part in parts for row in pq.read_table(part, filesystem=files).to_pylist()]


def test_a_table_that_delta_rs_cannot_name(bundle_path, image_folder):
    """Refused before anything else: there is no name node at that address."""
    done = submit(
        *("encode_catalog", "--catalog", image_folder, "--model", bundle_path),
        *("--table", "hdfs://localhost:9/my posteriors"),
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: table hdfs://localhost:9/my posteriors has ' ' in its")
