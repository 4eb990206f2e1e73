"""Decode items' posteriors and compare with their pictures, in the tasks that read the pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import (
    CatalogSource,
    hashed_version,
    in_file_order,
    open_catalog,
)
from vaeudf.decoding.picture_sources import MISSING
from vaeudf.decoding.udf import (
    PictureFolder,
    decode_rows,
    decoder_of_task,
    decoder_on_executors,
    tasks_for,
)
from vaeudf.images.decode import ImageFailure, decode_image, picture_png
from vaeudf.images.difference import squared_error
from vaeudf.model.bundle import Bundle
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.devices import Hardware
from vaeudf.schema import (
    CHANGED,
    IMAGE_FILE,
    ITEM_ID,
    MESSAGE,
    MU,
    ORIGINAL,
    PLACE,
    REASON,
    RECONSTRUCTION,
    SOURCE_VERSION,
    SQUARED_ERROR,
)
from vaeudf.spark.cluster import Cluster

Keep = Literal["nothing", "bytes", "files"]

_VERSION_NOW = "__version_now"
_ERRORS = [
    (ITEM_ID, pa.string(), "string"),
    (SQUARED_ERROR, pa.float64(), "double"),
    (CHANGED, pa.bool_(), "boolean"),
    (REASON, pa.string(), "string"),
    (MESSAGE, pa.string(), "string"),
]
_PICTURES = {"nothing": None, "bytes": (pa.binary(), "binary"), "files": (pa.string(), "string")}


def reconstruct(
    items: DataFrame,
    count: int,
    catalog: CatalogSource,
    bundle: Bundle,
    keep: Keep = "nothing",
    folder: str | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
) -> DataFrame:
    """Return how far decode(mu) of each item is from its picture.

    Args:
        items: Has ``item_id`` and ``mu``, and perhaps ``source_version``.
        count: How many there are.
        catalog: Has their pictures.
        bundle: The model that they were encoded with.
        keep: What to keep of the pictures: ``nothing``, their PNG files' ``bytes``, or ``files`` in
            a folder, which the tasks write when the result is evaluated.
        folder: Where to write files.
        hardware: What to decode on.

    Returns:
        ``item_id``; ``squared_error``, the mean over pixels and channels of the squared difference
        of levels in [0, 1]; ``changed``, whether the picture differs from the one that was
        encoded, null where that is not known; ``reason`` and ``message``, if there is no
        ``squared_error`` because the picture is missing or cannot be decoded. Unless nothing is
        kept, ``original``, the picture as the model sees it, and ``reconstruction``: bytes, or
        paths relative to the folder.

    Raises:
        InputError: The catalog cannot be read.
        BundleError: The model has no decoder.
    """
    spark = items.sparkSession
    opened = open_catalog(spark, replace(catalog, payload_columns=()))
    hashed = opened.has_hashed_versions
    listing = opened.list_items(spark, versions=False)
    listing = listing.select(ITEM_ID, F.col(SOURCE_VERSION).alias(_VERSION_NOW), *PLACE)
    known = F.col(SOURCE_VERSION) if SOURCE_VERSION in items.columns else F.lit(None)
    wanted = items.select(ITEM_ID, MU, known.cast("string").alias(SOURCE_VERSION))
    tasks = tasks_for(count, bundle, Cluster.of(spark).num_cores)
    placed = in_file_order(wanted.join(listing, ITEM_ID, "left"), tasks)
    model = decoder_on_executors(items, bundle, hardware)
    image_column = opened.stored_image_column(spark)
    kept = _PICTURES[keep]
    fields = [*_ERRORS, *((name, *kept) for name in (ORIGINAL, RECONSTRUCTION) if kept)]
    schema = pa.schema([(name, kind) for name, kind, _ in fields])

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        decoder = decoder_of_task(model)
        reader = ImageReader(image_column)
        with contextlib.ExitStack() as stack:
            store = None if folder is None else stack.enter_context(PictureFolder(folder))
            for batch in batches:
                rows = iter(batch.to_pylist())
                while some := list(islice(rows, decoder.spec.batch_size)):
                    found = _compare(some, reader, decoder, hashed=hashed)
                    for name in (ORIGINAL, RECONSTRUCTION) if kept else ():
                        _keep(found, name, store)
                    yield pa.RecordBatch.from_pylist(found, schema)

    return placed.mapInArrow(compare, ", ".join(f"{name} {kind}" for name, _, kind in fields))


def _compare(
    rows: list[dict[str, object]], reader: ImageReader, decoder: PictureDecoder, *, hashed: bool
) -> list[dict[str, object]]:
    """Return a row for each item, with pixels as the pictures."""
    there = [row for row in rows if row[IMAGE_FILE] is not None]
    places = (tuple(row[name] for name in PLACE) for row in there)
    # Decoded one by one: the files of a batch may be far larger than what the model sees of them.
    seen = {}
    for row, data in zip(there, reader.read_all(places), strict=True):  # type: ignore[arg-type]
        now = row[_VERSION_NOW]
        if hashed and isinstance(data, bytes):
            now = hashed_version(data)
        seen[row[ITEM_ID]] = (
            data if isinstance(data, ImageFailure) else decode_image(data, decoder.spec),
            now,
        )
    names = [str(row[ITEM_ID]) for row in rows]
    decoded = np.concatenate(list(decode_rows([row[MU] for row in rows], decoder, names, ITEM_ID)))  # type: ignore[misc]
    found: list[dict[str, object]] = []
    for row, picture in zip(rows, decoded, strict=True):
        result: dict[str, object] = {ITEM_ID: row[ITEM_ID], RECONSTRUCTION: picture}
        found.append(result)
        if row[ITEM_ID] not in seen:
            result |= {REASON: MISSING, MESSAGE: "the item is not in the catalog any more."}
            continue
        original, now = seen[row[ITEM_ID]]
        if isinstance(original, ImageFailure):
            result |= {REASON: original.reason, MESSAGE: original.message}
            continue
        known = row[SOURCE_VERSION] is not None and now is not None
        result |= {
            SQUARED_ERROR: squared_error(original, picture),
            CHANGED: now != row[SOURCE_VERSION] if known else None,
            ORIGINAL: original,
        }
    return found


def _keep(rows: list[dict[str, object]], name: str, store: PictureFolder | None) -> None:
    """Replace pixels by the bytes of a PNG file, or by its path."""
    own = [row for row in rows if isinstance(row.get(name), np.ndarray)]
    pictures = [(str(row[ITEM_ID]), picture_png(row[name])) for row in own]  # type: ignore[arg-type]
    values = [data for _, data in pictures] if store is None else store.write(pictures, f"-{name}")
    for row, value in zip(own, values, strict=True):
        row[name] = value
