"""What Spark reads and writes in S3 by its own connector, s3a; moto's server stands for the store.

Spark is local. The connector comes with few of the modules of Amazon's SDK, those that
docs/clusters.md names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tests.support.jobs import submit, summary
from tests.support.object_store import make_bucket, object_store
from tests.support.scene import LATENT_DIM, png
from tests.support.tables import read
from tests.support.versions import publish_rows
from vaeudf import PosteriorIndex
from vaeudf.storage.locations import filesystem
from vaeudf.table.runs import new_run_id

pytestmark = pytest.mark.hadoop

NUM_ITEMS = 12
SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    folder = os.environ.get("VAEUDF_TEST_JARS")
    if not folder or not (Path(folder) / "s3a").is_dir():
        pytest.skip("VAEUDF_TEST_JARS names no folder with Spark's s3a (tests/hadoop/s3a.xml)")
    with object_store() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch, request) -> str:
    return make_bucket(server, monkeypatch, request.node.name)


@pytest.fixture
def properties(server, tmp_path) -> str:
    """What docs/clusters.md tells to set, with the jars themselves in place of their names."""
    jars = sorted((Path(os.environ["VAEUDF_TEST_JARS"]) / "s3a").absolute().glob("*.jar"))
    path = tmp_path / "spark.conf"
    path.write_text(
        f"spark.jars {','.join(map(str, jars))}\n"
        f"spark.hadoop.fs.s3a.endpoint {server}\n"
        "spark.hadoop.fs.s3a.path.style.access true\n"
    )
    return str(path)


def put(uri: str, data: bytes) -> None:
    files, inner = filesystem(uri)
    with files.open_output_stream(inner) as stream:
        stream.write(data)


def images() -> dict[str, bytes]:
    """Pictures by their names; the last is not one."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 256, (NUM_ITEMS - 1, *SHAPE), np.uint8)
    good = {f"item {i:02} é": png(picture) for i, picture in enumerate(pixels)}
    return {**good, "no picture": b"nothing that Pillow knows"}


def names_below(uri: str) -> set[str]:
    files, inner = filesystem(uri)
    return {info.path for info in files.get_file_info(fs.FileSelector(inner, recursive=True))}


def rows_below(uri: str) -> pa.Table:
    files, inner = filesystem(uri)
    found = files.get_file_info(fs.FileSelector(inner, recursive=True))
    parts = [pq.read_table(i.path, filesystem=files) for i in found if i.path.endswith(".parquet")]
    return pa.concat_tables(parts)


def test_a_catalog_in_parquet_a_query_and_clusters(bucket, properties, bundle_path):
    pictures = images()
    rows = pa.table({"item_id": list(pictures), "image": list(pictures.values())})
    sink = pa.BufferOutputStream()
    pq.write_table(rows.append_column("price", pa.array(np.arange(NUM_ITEMS) * 1.5)), sink)
    put(f"{bucket}/catalog [1]/part-0.parquet", sink.getvalue().to_pybytes())
    table = f"{bucket}/nightly/posteriors"

    def run(*arguments: str) -> dict:
        return summary(submit(*arguments, SPARK_CONF=properties))

    encode = (
        *("encode_catalog", "--catalog", f"{bucket}/catalog [1]", "--model", bundle_path),
        *("--table", table, "--max-error-fraction", "0.2"),
    )
    done = run(*encode)
    assert (done["encoded"], done["quarantined"]) == (NUM_ITEMS - 1, {"unsupported_format": 1})
    (bad,) = rows_below(f"{table}/_quarantine").to_pylist()
    assert (bad["item_id"], bad["reason"]) == ("no picture", "unsupported_format")
    assert sorted(read(table)["item_id"].to_pylist()) == sorted(pictures)[:-1]
    assert read(table).sort_by("item_id")["price"].to_pylist() == [1.5 * i for i in range(11)]
    assert run(*encode)["outcome"] == "nothing to do"

    z = [0.5] * LATENT_DIM
    done = run(
        *("query_topk", "--table", table, "--z", ",".join(map(str, z)), "--k", "3"),
        *("--output", f"{bucket}/results", "--report", f"{bucket}/page"),
    )
    assert done["items"] == NUM_ITEMS - 1
    (expected,), _ = PosteriorIndex.from_table(table).search([z], k=3)
    hits = rows_below(f"{bucket}/results").sort_by("rank")["item_id"].to_pylist()
    assert hits == list(expected)
    files, inner = filesystem(f"{bucket}/page/index.html")
    with files.open_input_stream(inner) as stream:
        page = stream.read().decode()
    assert all(hit in page for hit in hits)

    run("cluster_catalog", "--table", table, "--k", "2", "--output", f"{bucket}/clusters")
    clustered = rows_below(f"{bucket}/clusters/items")
    assert {"item_id", "cluster"} <= set(clustered.column_names)


def test_a_glob_of_folders(bucket, properties, bundle_path):
    for number, (name, data) in enumerate(list(images().items())[:-1]):
        put(f"{bucket}/photos/{'dresses' if number % 2 else 'shoes'}/{name}.png", data)
    put(f"{bucket}/photos/hats/hat.png", png(np.zeros(SHAPE, np.uint8)))
    done = submit(
        *("encode_catalog", "--catalog", f"{bucket.replace('s3:', 's3a:')}/photos/{{dr,sh}}*"),
        *("--model", bundle_path, "--table", f"{bucket}/posteriors"),
        SPARK_CONF=properties,
    )
    assert summary(done)["encoded"] == NUM_ITEMS - 1
    ids = read(f"{bucket}/posteriors")["item_id"].to_pylist()
    assert len(ids) == NUM_ITEMS - 1 and not any("hat" in name for name in ids)


@pytest.mark.parametrize("job", ["encode_catalog", "query_topk"])
def test_without_the_connector(bucket, bundle_path, job):
    """Said before any work, and nothing is written."""
    put(f"{bucket}/photos/hat.png", png(np.zeros(SHAPE, np.uint8)))
    table = f"{bucket}/posteriors"
    arguments = ("--catalog", f"{bucket}/photos", "--model", bundle_path)
    if job == "query_topk":
        columns = {"mu": [[0.0, 1.0]], "log_var": [[0.0, 0.0]]}
        vectors = {k: pa.array(v, pa.list_(pa.float32())) for k, v in columns.items()}
        rows = pa.table({"item_id": ["hat"], **vectors, "source_version": ["v"]})
        publish_rows(table, new_run_id(), rows, "m")
        arguments = ("--z", "0,0", "--output", f"{bucket}/results")
    before = names_below(bucket)
    done = submit(job, *arguments, "--table", table)
    assert done.returncode == 2 and done.stdout == ""
    path = f"{bucket.replace('s3:', 's3a:')}/{'results' if job == 'query_topk' else 'posteriors'}"
    assert done.stderr.splitlines()[-1] == (
        f"error: Spark cannot open {path}: Class org.apache.hadoop.fs.s3a.S3AFileSystem not found. "
        "Spark itself reads and writes a store by a connector of Hadoop's: name its packages as "
        "spark.jars.packages, or its files as spark.jars (docs/clusters.md has those for S3)."
    )
    assert names_below(bucket) == before
