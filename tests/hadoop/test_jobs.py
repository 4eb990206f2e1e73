"""Jobs with all their data on a real HDFS, as a user starts them; Spark is local."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.support.jobs import submit, summary
from tests.support.nights import assert_same_table
from tests.support.object_store import put_folder
from tests.support.results import read_results
from tests.support.scene import LATENT_DIM, NUM_ITEMS
from tests.support.tables import read
from vaeudf.storage.locations import filesystem
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]


def test_from_images_to_a_page(spark, hadoop, folder, image_folder, bundle_path, tmp_path):
    photos, table = f"{folder}/photos [1] é", f"{folder}/posteriors"
    put_folder(image_folder, photos)
    local = str(tmp_path / "posteriors")
    first = encode_catalog(EncodeCatalog(photos, bundle_path, table))
    assert (first["encoded"], first["quarantined"]) == (NUM_ITEMS, {})
    encode_catalog(EncodeCatalog(image_folder, bundle_path, local))
    found, expected = (read(uri).drop_columns("source_version") for uri in (table, local))
    assert_same_table(found, expected)
    # The times and sizes of the files are what they were: no image is read again.
    versions = read(table)["source_version"].to_pylist()
    assert all(re.fullmatch(r"\d{16}-\d+", version) for version in versions)
    inside = photos.removeprefix(hadoop.uri)
    assert len(set(hadoop.opened(inside))) == NUM_ITEMS
    before = len(hadoop.opened(inside))
    second = encode_catalog(EncodeCatalog(photos, bundle_path, table))
    assert (second["encoded"], second["outcome"]) == (0, "nothing to do")
    assert len(hadoop.opened(inside)) == before

    # As a user of a cluster writes it: HADOOP_CONF_DIR says to Spark, delta-rs and pyarrow where.
    files, inner = filesystem(folder)
    np.save(tmp_path / "z.npy", np.random.default_rng(5).normal(size=(3, LATENT_DIM)))
    with files.open_output_stream(f"{inner}/z.npy") as stream:
        stream.write((tmp_path / "z.npy").read_bytes())
    here = f"hdfs://{inner}"
    done = summary(
        submit(
            *("query_topk", "--table", f"{here}/posteriors", "--queries", f"{here}/z.npy"),
            *("--k", "4", "--output", f"{here}/results", "--report", f"{here}/page"),
            HADOOP_CONF_DIR=str(hadoop.conf),
            SPARK_LOCAL_IP="127.0.0.1",
        )
    )
    assert (done["queries"], done["items"]) == (3, NUM_ITEMS)
    query_topk(QueryTopk(local, queries=str(tmp_path / "z.npy"), k=4, output=f"{local}-hits"))
    hits = read_results(f"{folder}/results")
    assert len(hits) == 12 and hits == read_results(f"{local}-hits")
    with files.open_input_stream(f"{inner}/page/index.html") as stream:
        page = stream.read().decode()
    assert all(hit["item_id"] in page for hit in hits)


def test_a_table_that_delta_rs_cannot_name(bundle_path, image_folder):
    """Refused before anything else: there is no name node at that address."""
    done = submit(
        *("encode_catalog", "--catalog", image_folder, "--model", bundle_path),
        *("--table", "hdfs://localhost:9/my posteriors"),
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: table hdfs://localhost:9/my posteriors has ' ' in its")
