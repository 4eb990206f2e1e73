"""One Spark session for all tests, and a small catalog, model and table."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pyspark.sql import SparkSession

from tests.support.population import Population, make_population
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import Bundle, save_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.manifest import Manifest
from vaeudf.spark.session import session_builder

LATENT_DIM = 4
NUM_ITEMS = 40
SPEC = ImageSpec(16, 16)

os.environ["PYSPARK_PYTHON"] = sys.executable
# Nearly half of a JVM's work in a minute of small jobs is optimising code that it then leaves.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = (
        session_builder("tests")
        .master("local[2,2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.log.level", "OFF")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    yield session
    session.stop()


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


def make_bundle(path: Path, latent_dim: int, seed: int) -> Bundle:
    """Write a bundle with random weights, scaled so that posteriors differ from item to item."""
    torch.manual_seed(seed)
    arguments = {
        "height": SPEC.height,
        "width": SPEC.width,
        "channels": SPEC.channels,
        "latent_dim": latent_dim,
        "base_channels": 4,
    }
    networks = conv_vae(**arguments)
    with torch.no_grad():
        networks.encoder.head.weight[:latent_dim].mul_(5000.0)
        networks.encoder.head.weight[latent_dim:].mul_(300.0)
    return save_bundle(path, networks, Manifest("conv_vae", arguments, latent_dim, SPEC))


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tree(path: str | Path) -> dict[str, int]:
    """Every file below a folder with its size, to see that nothing was written or lost."""
    root = Path(path)
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
