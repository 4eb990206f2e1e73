"""A shop of a few garments with a model, a catalog of any kind and a table, made without Spark."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from deltalake import write_deltalake

from tests.support.scene import ARGUMENTS, LATENT_DIM, SPEC, png
from vaeudf.catalog.catalog_source import CatalogSource
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.images.decode import decode_image
from vaeudf.model.bundle import Bundle, Manifest, load_bundle, save_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.likelihood import GaussianPixels
from vaeudf.schema import (
    CATALOG_KEY,
    MODEL_ID_KEY,
    MODEL_PATH_KEY,
    PIXELS_KEY,
    posterior_schema,
)
from vaeudf.spark.writing import write_partition
from vaeudf.table.open import PosteriorTable, open_for_publishing
from vaeudf.table.pixel_files import PictureShape, PixelWriter, pixel_path
from vaeudf.table.publish import DataFile, publish

PAYLOAD = pa.schema(
    [("category", pa.string()), ("price", pa.float64()), ("stock", pa.int64()), ("new", pa.bool_())]
)
# Ids that need care in addresses, and that a page must not take for its own code.
ODD_IDS = ("a/b c.png", "é&x=1#?.png", "<script>alert(1)</script>.png", "100%.png")


class Shop(NamedTuple):
    """The garments.

    Attributes:
        folder: Where everything of it is.
        model: Path of its bundle.
        bundle: The bundle.
        images: The bytes of each item's PNG file, by item_id.
        rows: item_id, mu, log_var and payload, in the order in which tables have them.
    """

    folder: Path
    model: str
    bundle: Bundle
    images: dict[str, bytes]
    rows: pa.Table


def make_shop(
    folder: Path, num_items: int = 24, contrast: float = 1.0, brightness: float = 0.0
) -> Shop:
    """Draw garments and encode them with a model that says how its output is read.

    Args:
        folder: Where to.
        num_items: How many.
        contrast: The decoder's weights are so many times as large: with 5, two z decode to
            pictures that differ.
        brightness: Is added to what the decoder gives, before its sigmoid: with 3, its pictures are
            nearly white, as the ground that the garments are on.
    """
    torch.manual_seed(3)
    networks = conv_vae(**ARGUMENTS)
    with torch.no_grad():
        networks.encoder.head.weight[:LATENT_DIM].mul_(300.0)
        networks.encoder.head.weight[LATENT_DIM:].mul_(30.0)
        for weight in networks.decoder.parameters():
            if weight.ndim > 1:
                weight.mul_(contrast)
        networks.decoder.upsample[-1].bias.add_(brightness)
    manifest = Manifest("conv_vae", ARGUMENTS, LATENT_DIM, SPEC, likelihood=GaussianPixels(0.02))
    folder.mkdir(parents=True, exist_ok=True)
    model = str(folder / "model")
    save_bundle(Path(model), networks, manifest)
    bundle = load_bundle(model)
    images, rows = {}, []
    for number in range(num_items):
        garment = sample_garment(5, number)
        name = f"{garment.category}/{number:03d}.png"
        item_id = ODD_IDS[number] if number < len(ODD_IDS) else name
        images[item_id] = png(np.asarray(draw_garment(garment, 40)))
        rows.append(
            {
                "item_id": item_id,
                "category": garment.category,
                "price": garment.price,
                "stock": number,
                "new": number % 3 == 0,
            }
        )
    pixels = np.stack([decode_image(data, SPEC) for data in images.values()])
    mu, log_var = bundle.encoder.encode(pixels)
    table = pa.Table.from_pylist(rows)
    table = table.append_column("mu", pa.array(list(mu))).append_column(
        "log_var", pa.array(list(log_var))
    )
    return Shop(folder, model, bundle, images, table)


def folder_catalog(shop: Shop, folder: Path) -> CatalogSource:
    """Write the pictures as files."""
    for item_id, data in shop.images.items():
        path = folder / item_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return CatalogSource(str(folder), "images")


def parquet_catalog(shop: Shop, folder: Path) -> CatalogSource:
    """Write the pictures' bytes to two Parquet files of several row groups, in another order."""
    folder.mkdir(parents=True)
    names = list(reversed(shop.images))
    for number, some in enumerate((names[:7], names[7:])):
        rows = pa.table({"sku": some, "photo": [shop.images[name] for name in some]})
        pq.write_table(rows, folder / f"{number}.parquet", row_group_size=4)
    return CatalogSource(str(folder), "parquet", id_column="sku", image_column="photo")


def delta_catalog(shop: Shop, folder: Path) -> CatalogSource:
    """Write them to a Delta table."""
    rows = pa.table({"item_id": list(shop.images), "image": list(shop.images.values())})
    write_deltalake(str(folder), rows)
    return CatalogSource(str(folder), "parquet")


def csv_catalog(shop: Shop, folder: Path) -> CatalogSource:
    """Write the pictures as files, and CSV that names them."""
    (folder / "photos").mkdir(parents=True)
    with open(folder / "shop.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "file"])
        for number, (item_id, data) in enumerate(shop.images.items()):
            (folder / "photos" / f"{number}.png").write_bytes(data)
            writer.writerow([item_id, f"photos/{number}.png"])
    return CatalogSource(str(folder), "csv", path_column="file")


def named_in_parquet_catalog(shop: Shop, folder: Path) -> CatalogSource:
    """Write the pictures as files, and Parquet of which a column is in their names."""
    (folder / "photos").mkdir(parents=True)
    numbers = list(range(len(shop.images)))
    for number, data in zip(numbers, shop.images.values(), strict=True):
        (folder / "photos" / f"{number}.png").write_bytes(data)
    rows = pa.table({"item_id": list(shop.images), "number": numbers})
    (folder / "rows").mkdir()
    pq.write_table(rows, folder / "rows" / "all.parquet")
    return CatalogSource(
        str(folder / "rows"), "parquet", path_column=str(folder / "photos" / "{number}.png")
    )


CATALOGS = {
    "folder": folder_catalog,
    "parquet": parquet_catalog,
    "delta": delta_catalog,
    "csv": csv_catalog,
    "named": named_in_parquet_catalog,
}


def publish_shop(
    shop: Shop,
    table: str,
    run: str,
    *,
    catalog: CatalogSource | None = None,
    rows: pa.Table | None = None,
    keep_pixels: bool = False,
) -> PosteriorTable:
    """Publish the items as a table's next version, in two data files.

    Args:
        shop: The items.
        table: The table.
        run: Names the folder of the data files.
        catalog: What the table says of its pictures.
        rows: Other rows than the shop's.
        keep_pixels: Whether the table keeps what the encoder got.
    """
    rows = shop.rows if rows is None else rows
    provenance = {MODEL_ID_KEY: shop.bundle.model_id, MODEL_PATH_KEY: shop.model}
    if catalog is not None:
        provenance[CATALOG_KEY] = catalog.to_json()
    shape = PictureShape.of(SPEC)
    if keep_pixels:
        provenance[PIXELS_KEY] = shape.to_json()
    schema = posterior_schema(PAYLOAD, provenance)
    rows = rows.append_column("source_version", pa.array(["v"] * len(rows))).select(schema.names)
    previous = open_for_publishing(table, LATENT_DIM)
    files = []
    for part in (rows.slice(0, len(rows) // 2), rows.slice(len(rows) // 2)):
        batches = part.cast(schema).combine_chunks().to_batches()
        written = write_partition(iter(batches), table, run, schema)
        for file in (DataFile(**row) for batch in written for row in batch.to_pylist()):
            files.append(file)
            if keep_pixels:
                ids = pq.read_table(Path(table, file.path))["item_id"].to_pylist()
                with PixelWriter(str(Path(table, pixel_path(file.path))), shape) as writer:
                    writer.write(ids, np.stack([decode_image(shop.images[i], SPEC) for i in ids]))
    return publish(table, previous, files, schema, LATENT_DIM, run)
