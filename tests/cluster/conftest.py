from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.standalone import standalone_cluster
from tests.support.jobs import pack
from tests.support.scene import LATENT_DIM
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

NUM_ITEMS = 640
SLOW_HOST = "127.0.0.3"


@pytest.fixture(scope="session")
def packed() -> Path:
    """What ./spark-submit.sh pack makes."""
    return pack()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Two workers; executors on one of them can be told that they are slow."""
    environments = {SLOW_HOST: {"VAEUDF_TEST_SLOW_HOST": "1"}}
    root = tmp_path_factory.mktemp("cluster")
    with standalone_cluster(root, environments=environments) as running:
        yield running


@pytest.fixture(scope="session")
def shop(garments: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images that is encoded in ten chunks."""
    folder = tmp_path_factory.mktemp("shop")
    images = garments["image"].to_pylist()
    for i in range(NUM_ITEMS):
        path = folder / f"shelf {i % 7}" / f"{i:04}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(images[i % len(images)])
    return folder


@pytest.fixture(scope="session")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("queries") / "z.npy"
    np.save(path, np.random.default_rng(5).normal(size=(40, LATENT_DIM)))
    return path


@pytest.fixture(scope="session")
def expected(spark, shop, bundle_path, tmp_path_factory) -> str:  # type: ignore[no-untyped-def]
    """The table as one machine makes it."""
    table = str(tmp_path_factory.mktemp("expected") / "posteriors")
    encode_catalog(EncodeCatalog(str(shop), bundle_path, table))
    return table
