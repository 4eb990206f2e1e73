"""The small catalog's table, for the jobs that read one and leave it as it is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.table.open import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog


@pytest.fixture(scope="session")
def catalog_table(spark, parquet_catalog, bundle_path, tmp_path_factory) -> str:
    """One version of the catalog in Parquet; what goes on from it takes a copy."""
    path = str(tmp_path_factory.mktemp("tables") / "posteriors")
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, path))
    return path


@pytest.fixture(scope="session")
def folder_table(spark, image_folder, bundle_path, tmp_path_factory) -> str:
    """One version of the catalog as a folder of images."""
    path = str(tmp_path_factory.mktemp("tables") / "of the folder")
    encode_catalog(EncodeCatalog(image_folder, bundle_path, path))
    return path


@pytest.fixture(scope="session")
def table(catalog_table) -> str:
    return catalog_table


@pytest.fixture(scope="session")
def items(table) -> dict[str, dict]:
    """The table's rows by item_id."""
    rows = pa.concat_tables(map(pq.read_table, open_table(table).files)).to_pylist()
    return {row["item_id"]: row for row in rows}


@pytest.fixture(autouse=True)
def shared_session(request) -> None:
    """Let jobs that need Spark run in the tests' session instead of starting their own."""
    if request.node.get_closest_marker("spark"):
        request.getfixturevalue("spark")
