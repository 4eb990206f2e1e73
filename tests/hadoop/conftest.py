from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hadoop.mini_hadoop import Hadoop, mini_hadoop
from vaeudf.storage import locations


@pytest.fixture(scope="session")
def hadoop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    folder = os.environ.get("VAEUDF_TEST_JARS")
    if not folder:
        pytest.skip("VAEUDF_TEST_JARS names no folder with Hadoop's jars (tests/hadoop/pom.xml)")
    with mini_hadoop(
        Path(folder).absolute() / "hadoop", tmp_path_factory.mktemp("hadoop")
    ) as running:
        yield running


@pytest.fixture
def configured(hadoop: Hadoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hadoop]:
    """The same where HADOOP_CONF_DIR says what names stand for."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hadoop.conf))
    locations._open_store.cache_clear()
    yield hadoop
    locations._open_store.cache_clear()


@pytest.fixture
def folder(hadoop: Hadoop, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a folder of this test's own, which is not there yet."""
    uri = f"{hadoop.uri}/{request.function.__name__}"
    yield uri
    locations.remove(uri)
