"""The small catalog's table, for the jobs that read one and leave it as it is."""

from __future__ import annotations

import pytest

from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog


@pytest.fixture(scope="session")
def table(spark, parquet_catalog, bundle_path, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("tables") / "posteriors")
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, path))
    return path
