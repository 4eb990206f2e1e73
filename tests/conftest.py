"""One Spark session for all tests, and a small catalog, model and table."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.logger.logger import JSONFormatter, PySparkLogger
from pyspark.sql import SparkSession

from tests.support import connectors, java
from tests.support.connect_server import SERVER, connect_server
from tests.support.population import Population, make_population
from tests.support.scene import (
    LATENT_DIM,
    NUM_ITEMS,
    make_bundle,
    png,
)
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.model.bundle import Bundle
from vaeudf.spark.classic_session import session_builder
from vaeudf.spark.raised import raise_without_logging

# What is imported and collected stays, so that nothing is gained by looking through it for garbage.
gc.disable()
os.environ["PYSPARK_PYTHON"] = sys.executable
# A loaded machine is not a fault of what is tested.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
os.environ.setdefault("SPARK_SUBMIT_OPTS", " ".join(java.OPTIONS))
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


def _add_handler(logger: logging.Logger, handler: logging.Handler) -> None:
    if handler.formatter is None:
        handler.setFormatter(JSONFormatter())
    logging.Logger.addHandler(logger, handler)


# pytest adds the handler that captures messages to every logger that does not propagate. PySpark's
# own would have it write JSON from then on.
PySparkLogger.addHandler = _add_handler  # type: ignore[method-assign]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--connect",
        action="store_true",
        help="run the tests' Spark at a server of Spark Connect, not in their process",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the files that take long first: in the end no process waits long for another."""
    if config.getoption("--connect"):
        inside = pytest.mark.skip(reason="asks the context or the JVM of Spark in this process")
        for item in items:
            if item.get_closest_marker("classic"):
                item.add_marker(inside)
    long = {item.path for item in items if item.get_closest_marker("spark")}
    # Stable: what is in one file stays together, and in order.
    items.sort(key=lambda item: item.path not in long and "workflows" not in item.path.parts)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.freeze()


@pytest.fixture(scope="session")
def spark(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkSession]:
    # Generating and compiling code for each query takes a fifth of Spark's work on a few rows. Runs
    # with slow tests, and the jobs in processes of their own, do it as Spark does by default.
    generates = any(item.get_closest_marker("slow") for item in request.session.items)
    if request.config.getoption("--connect"):
        with _server(tmp_path_factory.mktemp("server"), generates=generates) as url:
            request.config.stash[SERVER] = url
            session = SparkSession.builder.remote(url).getOrCreate()
            yield session
            session.stop()
        return
    with pytest.MonkeyPatch.context() as environment:
        # Only for the tests that need it: others see to it that its absence is noticed.
        if any(item.get_closest_marker("hadoop") for item in request.session.items):
            arguments = connectors.submit_arguments()
            if arguments is not None:
                environment.setenv("PYSPARK_SUBMIT_ARGS", arguments)
        session = _session(generates=generates)
    yield session
    session.stop()


def _session(*, generates: bool) -> SparkSession:
    return (
        session_builder("tests")
        .master("local[2,2]")
        .config(map=_settings(generates=generates))
        .config("spark.executorEnv.PYTHONPATH", str(Path(__file__).parents[1]))
        .getOrCreate()
    )


def _server(folder: Path, *, generates: bool) -> AbstractContextManager[str]:
    raise_without_logging()
    settings = {**_settings(generates=generates), "spark.sql.session.timeZone": "UTC"}
    return connect_server(folder, settings, python_path=str(Path(__file__).parents[1]))


def _settings(*, generates: bool) -> dict[str, str]:
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "3",
        "spark.sql.codegen.wholeStage": str(generates).lower(),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.log.level": "OFF",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.python.daemon.module": "tests.support.daemon",
    }


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "bundle"
    make_bundle(path, LATENT_DIM, seed=0)
    return str(path)


@pytest.fixture(scope="session")
def bundle(bundle_path: str) -> Bundle:
    from vaeudf.model.bundle import load_bundle

    return load_bundle(bundle_path)


@pytest.fixture(scope="session")
def garments() -> pa.Table:
    """A catalog in memory: item_id, image and a payload of several types."""
    rows = []
    for i in range(NUM_ITEMS):
        garment = sample_garment(7, i)
        rows.append(
            {
                "item_id": f"{garment.category}-{i:03d}",
                "image": png(np.asarray(draw_garment(garment, 32))),
                "category": garment.category,
                "price": garment.price,
                "stock": i,
            }
        )
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def parquet_catalog(garments: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("catalog") / "parquet"
    folder.mkdir()
    pq.write_table(garments.slice(0, 25), folder / "a.parquet")
    pq.write_table(garments.slice(25), folder / "b.parquet")
    return str(folder)


@pytest.fixture(scope="session")
def image_folder(garments: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same items as files, in a folder whose name holds everything that needs care."""
    folder = tmp_path_factory.mktemp("catalog") / "new [2026] é%20 {a,b}"
    for row in garments.to_pylist():
        shelf = folder / row["category"]
        shelf.mkdir(parents=True, exist_ok=True)
        (shelf / f"{row['item_id']} é.png").write_bytes(row["image"])
    (folder / "README.txt").write_text("no image")
    return str(folder)


@pytest.fixture(scope="session")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    return make_population(tmp_path_factory.mktemp("population"))
