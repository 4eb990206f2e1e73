"""Posterior tables on a real HDFS: written, read, raced for, and searched in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs

from tests.support.oracles import log_density_by_torch
from tests.support.versions import publish_rows, rows
from vaeudf import PosteriorIndex
from vaeudf.errors import InputError, PublishConflict, TableError
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.spark.writing import write_partition
from vaeudf.storage.locations import filesystem
from vaeudf.table.maintenance import list_versions, roll_back, vacuum
from vaeudf.table.open import open_for_publishing, open_posteriors, open_table
from vaeudf.table.publish import DataFile, publish
from vaeudf.table.runs import new_run_id

pytestmark = pytest.mark.hadoop

N = 3


def posteriors(ids: list[str], seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    mu, log_var = rng.normal(size=(2, len(ids), N)).astype(np.float32)
    return pa.table(
        {
            "item_id": ids,
            "mu": pa.array(list(mu), pa.list_(pa.float32())),
            "log_var": pa.array(list(log_var), pa.list_(pa.float32())),
            "source_version": ["v"] * len(ids),
            "price": np.arange(len(ids)) / 4,
        }
    )


def put(uri: str, ids: list[str], seed: int = 0):
    return publish_rows(uri, new_run_id(), posteriors(ids, seed), "m")


def test_a_table_is_published_read_back_and_searched(folder):
    uri = f"{folder}/posteriors"
    with pytest.raises(TableError, match="does not exist"):
        open_table(uri)
    ids = [f"item-{i:03}" for i in range(200)]
    first = put(uri, ids)
    assert (first.uri, rows(open_table(uri))) == (uri, ids)
    given = posteriors(ids)
    mu, log_var = (np.array(given[name].to_pylist()) for name in ("mu", "log_var"))
    z = np.random.default_rng(5).normal(size=(20, N))
    scores = log_density_by_torch(z, mu, log_var)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    index = PosteriorIndex.from_table(uri)
    found, likelihoods = index.search(z, k=5)
    assert np.array_equal(found, np.array(ids)[best])
    np.testing.assert_allclose(likelihoods, np.take_along_axis(scores, best, 1))
    assert rows(open_posteriors(uri)) == ids


def test_versions(folder):
    uri = f"{folder}/posteriors"
    first, second = put(uri, ["a", "b"]), put(uri, ["b", "c", "d"])
    assert second.version == first.version + 1
    assert rows(open_table(uri, first.version)) == ["a", "b"]
    assert rows(roll_back(uri, first.version)) == ["a", "b"]
    assert [(v.num_items, v.is_whole) for v in list_versions(uri)] == [
        (2, True),
        (3, True),
        (2, True),
    ]
    # What a killed run has left, of a year ago.
    files, inner = filesystem(uri)
    with files.open_output_stream(f"{inner}/20240101T000000-0123abcd/part-x.parquet") as stream:
        stream.write(b"x")
    assert vacuum(uri, keep_days=7).removed == []
    assert rows(open_table(uri)) == ["a", "b"]


@pytest.mark.parametrize("is_new", [True, False])
def test_of_two_writers_one_wins(folder, is_new):
    for race in range(3):
        uri = f"{folder}/table-{race}"
        if not is_new:
            put(uri, ["start"])
        previous = open_for_publishing(uri, N)
        schema = posterior_schema(pa.schema([("price", pa.float64())]), {MODEL_ID_KEY: "m"})

        def run(name: str, uri=uri, previous=previous, schema=schema) -> str | None:
            run_id = new_run_id()
            batches = posteriors([name]).cast(schema).to_batches()
            written = write_partition(iter(batches), uri, run_id, schema)
            files = [DataFile(**row) for batch in written for row in batch.to_pylist()]
            try:
                publish(uri, previous, files, schema, N, run_id)
            except PublishConflict:
                return None
            return name

        with ThreadPoolExecutor(2) as pool:
            won = [name for name in pool.map(run, "ab") if name is not None]
        assert len(won) == 1 and rows(open_table(uri)) == won


def test_names(folder):
    """Those that are not refused are written as they stand."""
    name = "a-b_c.d~!$&'()*+,;=@e"
    put(f"{folder}/{name}", ["a"])
    assert rows(open_table(f"{folder}/{name}")) == ["a"]
    files, inner = filesystem(folder)
    assert [info.base_name for info in files.get_file_info(fs.FileSelector(inner))] == [name]
    for refused in ("a b", "é", "a#b", "a:b"):
        with pytest.raises(InputError, match=r"in its path, which delta-rs writes as"):
            put(f"{folder}/{refused}", ["a"])
    assert [info.base_name for info in files.get_file_info(fs.FileSelector(inner))] == [name]


def test_names_that_the_configuration_explains(configured, folder):
    name = folder.rpartition("/")[2]
    put(f"hdfs:///{name}/a", ["a"])
    put(f"hdfs://night/{name}/b", ["b"])
    put(f"viewfs://shop/{name}/c", ["c"])
    for table in "abc":
        assert rows(open_table(f"{folder}/{table}")) == [table]
    assert rows(open_table(f"viewfs://shop/{name}/a")) == ["a"]
