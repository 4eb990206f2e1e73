from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hadoop.mini_hdfs import Hdfs, mini_hdfs
from vaeudf.storage import locations


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    folder = os.environ.get("VAEUDF_TEST_JARS")
    if not folder:
        pytest.skip("VAEUDF_TEST_JARS names no folder with Hadoop's jars (tests/hadoop/pom.xml)")
    with mini_hdfs(Path(folder).absolute() / "hadoop", tmp_path_factory.mktemp("hdfs")) as running:
        yield running


@pytest.fixture
def configured(hdfs: Hdfs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hdfs]:
    """The same where HADOOP_CONF_DIR says what names stand for."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf))
    locations._open_store.cache_clear()
    yield hdfs
    locations._open_store.cache_clear()


@pytest.fixture
def folder(hdfs: Hdfs, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a folder of this test's own, which is not there yet."""
    uri = f"{hdfs.uri}/{request.function.__name__}"
    yield uri
    locations.remove(uri)
