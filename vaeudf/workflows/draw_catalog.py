"""Draw a catalog of garments, so that everything can be tried without a download."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.errors import InputError
from vaeudf.schema import IMAGE, ITEM_ID
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import write_parquet
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, filesystem, make_folder
from vaeudf.storage.outputs import CATALOG_MARK, check_output, replacing
from vaeudf.workflows.cli import Summary, option, path_option

_GARMENTS_PER_TASK = 500
_SCHEMA = f"{ITEM_ID} string, category string, colour string, price double, {IMAGE} binary"


@dataclass(frozen=True)
class DrawCatalog:
    """Draw a catalog of garments, the same ones for the same seed."""

    output: str = path_option(help="folder to make")
    items: int = option(3000, help="how many garments")
    size: int = option(64, help="height and width of the pictures in pixels")
    seed: int = option(0, help="chooses the garments")
    format: Literal["parquet", "png", "jpeg"] = option(
        "parquet", help="a Parquet catalog with category, colour and price, or a folder of files"
    )
    overwrite: bool = option(False, help="replace the folder if it exists")

    def __post_init__(self) -> None:
        if self.items < 1:
            raise InputError(f"items is {self.items}; expected at least 1.")
        if not 8 <= self.size <= 4096:
            raise InputError(f"size is {self.size}; expected 8 to 4096 pixels.")


def draw_catalog(options: DrawCatalog) -> Summary:
    """Draw the garments in Spark tasks and write them."""
    watch = Stopwatch()
    check_output(options.output, options.overwrite, CATALOG_MARK)

    def draw(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        return draw_rows(batches, options)

    by_spark = [options.output] if options.format == "parquet" else []
    with spark_session("draw_catalog", *by_spark) as spark, progress(spark, watch):
        Cluster.of(spark).check_seen(options.output)
        tasks = -(-options.items // _GARMENTS_PER_TASK)
        garments = spark.range(0, options.items, 1, tasks).mapInPandas(draw, _SCHEMA)
        with replacing(options.output, CATALOG_MARK) as folder, watch.phase("draw"):
            if options.format == "parquet":
                write_parquet(garments, folder)
            else:
                suffix = "jpg" if options.format == "jpeg" else "png"
                garments.mapInPandas(
                    lambda batches: write_files(batches, folder, suffix), "written int"
                ).collect()
    return {
        "items": options.items,
        "output": absolute(options.output),
        "format": options.format,
        "seconds": watch.seconds,
    }


def draw_rows(batches: Iterator[pd.DataFrame], options: DrawCatalog) -> Iterator[pd.DataFrame]:
    """Draw the garments whose numbers are in the column ``id``."""
    image_format = "JPEG" if options.format == "jpeg" else "PNG"
    for batch in batches:
        rows = []
        for index in batch["id"]:
            garment = sample_garment(options.seed, int(index))
            stream = io.BytesIO()
            draw_garment(garment, options.size).save(stream, image_format, quality=90)
            item_id = f"{garment.category}-{index:06d}"
            rows.append(
                (item_id, garment.category, garment.colour, garment.price, stream.getvalue())
            )
        yield pd.DataFrame(rows, columns=[ITEM_ID, "category", "colour", "price", IMAGE])


def write_files(
    batches: Iterator[pd.DataFrame], folder: str, suffix: str
) -> Iterator[pd.DataFrame]:
    """Write pictures to ``folder/category/item_id.suffix``."""
    system, root = filesystem(folder)
    for batch in batches:
        for row in batch.itertuples():
            shelf = posixpath.join(root, str(row.category))
            make_folder(system, shelf)
            with system.open_output_stream(f"{shelf}/{row.item_id}.{suffix}") as stream:
                stream.write(row.image)
        yield pd.DataFrame({"written": [len(batch)]})
