"""A catalog that is Parquet files, or a Delta table, with the images' bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from vaeudf.catalog.delta import delta_snapshot
from vaeudf.catalog.kind import CatalogSource, KnownFormat
from vaeudf.catalog.listing import spark_location
from vaeudf.errors import InputError, root_cause
from vaeudf.schema import (
    HASH_DIGITS,
    IMAGE,
    IMAGE_FILE,
    IMAGE_LENGTH,
    IMAGE_MODIFIED,
    IMAGE_ROW,
    ITEM_ID,
    PLACE,
    SOURCE_VERSION,
    check_payload_names,
    quoted,
)
from vaeudf.spark.read import file_path, read_snapshot

# Where a row is stored, beside the catalog's own columns, which may have any names.
_STORED = {name: f"__vaeudf_{name}" for name in PLACE}


class ParquetCatalog:
    """Rows of Parquet files or of a Delta table, one for each item."""

    format: KnownFormat = "parquet"

    def __init__(self, source: CatalogSource) -> None:
        """Take what the options say; nothing is read yet."""
        self._source = source

    @property
    def has_hashed_versions(self) -> bool:
        """Whether source_version is a hash of the image: unless a column has it."""
        return self._source.version_column is None

    def stored_image_column(self) -> str:
        """Return what the catalog's files call the column with the images."""
        snapshot = delta_snapshot(self._source.path)
        if snapshot is None or snapshot.columns is None:
            return self._source.image_column
        column, *fields = self._source.image_column.split(".")
        return ".".join([*snapshot.columns.stored([column]), *fields])

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the rows, with their payload columns."""
        source = self._source
        frame, payload = _open_parquet(spark, source)
        if source.version_column:
            version = F.col(quoted(source.version_column)).cast("string")
        elif versions:
            # 64 bits of SHA-256 tell a changed image from an unchanged one, in half a row's bytes.
            image = F.coalesce(F.col(source.image_column), F.lit(b""))
            version = F.substring(F.sha2(image, 256), 1, HASH_DIGITS)
        else:
            version = F.lit(None).cast("string")
        return frame.select(
            F.col(quoted(source.id_column)).cast("string").alias(ITEM_ID),
            version.alias(SOURCE_VERSION),
            *(F.col(quoted(name)) for name in payload),
            *(F.col(_STORED[name]).alias(name) for name in PLACE),
        )

    def read_images(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, bytes | None]:
        """Return some rows' images."""
        # The pictures need none of the other columns, which may have gone since.
        bare = replace(self._source, payload_columns=(), version_column=None)
        frame, _ = _open_parquet(spark, bare)
        wanted = F.col(quoted(bare.id_column)).cast("string")
        rows = frame.select(wanted.alias(ITEM_ID), F.col(bare.image_column).alias(IMAGE))
        found = rows.where(F.col(ITEM_ID).isin(list(item_ids))).collect()
        return {row[ITEM_ID]: row[IMAGE] and bytes(row[IMAGE]) for row in found}

    def count_ignored(self, spark: SparkSession) -> int:
        """Return 0: other files are not counted."""
        return 0


def _read_rows(spark: SparkSession, source: CatalogSource) -> DataFrame:
    snapshot = delta_snapshot(source.path)
    try:
        place = (
            file_path().alias(_STORED[IMAGE_FILE]),
            F.col("_metadata.row_index").alias(_STORED[IMAGE_ROW]),
            F.col("_metadata.file_size").alias(_STORED[IMAGE_LENGTH]),
            F.col("_metadata.file_modification_time").cast("double").alias(_STORED[IMAGE_MODIFIED]),
        )
        if snapshot is not None and not snapshot.files:
            raise InputError(f"catalog {source.path} is empty; expected at least one item.")
        if snapshot is not None:
            return read_snapshot(spark, snapshot, *place)
        return spark.read.parquet(spark_location(source.path)).select("*", *place)
    except (PySparkException, Py4JJavaError) as error:
        raise InputError(
            f"catalog {source.path} cannot be read as Parquet: {root_cause(error)}."
        ) from None


def _open_parquet(spark: SparkSession, source: CatalogSource) -> tuple[DataFrame, list[str]]:
    """Return a catalog's rows as they are, and its payload columns, once all is known to fit."""
    frame = _read_rows(spark, source)
    names = [name for name in frame.columns if name not in _STORED.values()]
    wanted = [source.id_column, source.image_column.split(".")[0]]
    wanted += [source.version_column] if source.version_column else []
    wanted += list(source.payload_columns or [])
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"catalog {source.path} has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(names)}. "
            "Name them with --id-column, --image-column and --payload-columns."
        )
    image = F.col(source.image_column)
    try:
        found = frame.select(image).schema[0].dataType
    except PySparkException:
        raise InputError(
            f"catalog {source.path} has no field {source.image_column!r} in its column "
            f"{frame.schema[source.image_column.split('.')[0]].simpleString()}."
        ) from None
    if not isinstance(found, BinaryType):
        raise InputError(
            f"column {source.image_column!r} of catalog {source.path} holds "
            f"{found.simpleString()}; expected binary: the bytes of an image file."
        )
    payload = source.payload_columns
    if payload is None:
        payload = [name for name in names if name not in wanted]
    check_payload_names(list(payload))
    return frame, list(payload)
