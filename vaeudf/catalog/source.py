"""What to encode: a folder of images, or Parquet with the images' bytes, as a DataFrame."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from deltalake.exceptions import DeltaError
from py4j.protocol import Py4JJavaError
from pyarrow import fs
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType

from vaeudf.catalog.listing import (
    LENGTH,
    MODIFIED,
    PATH,
    first_file,
    is_glob,
    list_files,
    root_of,
    spark_location,
)
from vaeudf.catalog.reader import ImageReader
from vaeudf.errors import InputError, root_cause
from vaeudf.images.decode import ImageFailure
from vaeudf.images.formats import IMAGE_SUFFIXES
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
from vaeudf.storage.locations import absolute, filesystem
from vaeudf.table.delta import has_commits, open_delta
from vaeudf.table.snapshot import Snapshot, take_snapshot

# Where a row is stored, beside the catalog's own columns, which may have any names.
_STORED = {name: f"__vaeudf_{name}" for name in PLACE}
_DEEPEST_PARTITION = 4
Format = Literal["auto", "images", "parquet"]
_SUFFIXES = rf"(?i)[.]({'|'.join(IMAGE_SUFFIXES)})\z"


@dataclass(frozen=True)
class CatalogSource:
    """Where a catalog is and how to read it.

    Attributes:
        path: A folder or glob of images, or a Parquet file or folder.
        format: ``images``, ``parquet``, or ``auto``: Parquet if the first file found is Parquet.
        id_column: Parquet: the column with each item's unique id.
        image_column: Parquet: the column with the image's bytes; ``a.b`` is a field of a struct.
        version_column: Parquet: a column that changes when the image does; by default a hash of
            the bytes.
        payload_columns: Parquet: columns carried into the posterior table; None is all others.
    """

    path: str
    format: Format = "auto"
    id_column: str = ITEM_ID
    image_column: str = IMAGE
    version_column: str | None = None
    payload_columns: Sequence[str] | None = None

    def to_json(self) -> str:
        """Return a text that :meth:`from_json` reads."""
        return json.dumps({**asdict(self), "path": absolute(self.path)})

    def agrees_with(self, other: CatalogSource) -> bool:
        """Whether equal ids and versions mean equal pictures; the paths may differ."""
        ours, theirs = (
            (source.id_column, source.image_column, source.version_column)
            for source in (self, other)
        )
        return ours == theirs

    def moved_to(self, path: str) -> CatalogSource:
        """Return the same catalog at another place."""
        return replace(self, path=path)

    @classmethod
    def from_json(cls, text: str) -> CatalogSource:
        """Rebuild a source from :meth:`to_json`."""
        return cls(**json.loads(text))


def list_items(spark: SparkSession, source: CatalogSource, *, versions: bool = True) -> DataFrame:
    """Return what is known of the items without decoding an image, and where their images are.

    Args:
        spark: The session.
        source: What to read.
        versions: Whether source_version is wanted even where it is a hash of the image, which
            costs reading the images; without, it is null there.

    Returns:
        ``item_id``, ``source_version``, the payload; ``image_file``, the URI of the file that has
        the image; ``image_row``, its row there, null where the file is the image; and
        ``image_length`` and ``image_modified``, the file's bytes and when it was written last, in
        seconds since 1970.

    Raises:
        InputError: Nothing is there, or a column is missing or of the wrong type.
    """
    if resolve_format(spark, source) == "images":
        return _list_images(spark, source)
    return _list_parquet(spark, source, versions=versions)


def in_file_order(items: DataFrame, num_partitions: int) -> DataFrame:
    """Return items so that those of one file are together and in order.

    So a task's :class:`vaeudf.catalog.reader.ImageReader` reads a Parquet file once, from its
    beginning to its end.

    Args:
        items: Has the columns :data:`vaeudf.schema.PLACE`.
        num_partitions: How many tasks share them.
    """
    placed = items.repartitionByRange(num_partitions, IMAGE_FILE, IMAGE_ROW)
    return placed.sortWithinPartitions(IMAGE_FILE, IMAGE_ROW)


def hashed_version(image: bytes | None) -> str:
    """Return the source_version of an image where it is a hash, as :func:`list_items` gives it."""
    return hashlib.sha256(image or b"").hexdigest()[:HASH_DIGITS]


def has_hashed_versions(spark: SparkSession, source: CatalogSource) -> bool:
    """Whether an item's source_version is a hash of its image."""
    return source.version_column is None and resolve_format(spark, source) == "parquet"


def read_images(
    spark: SparkSession, source: CatalogSource, item_ids: Sequence[str]
) -> dict[str, bytes | None]:
    """Return some items' images; items that are not in the catalog any more are left out.

    Args:
        spark: The session.
        source: The catalog.
        item_ids: Which items.

    Returns:
        Image bytes by item_id; None for an image that cannot be read.

    Raises:
        InputError: The catalog is not there, or a column is missing or of the wrong type.
    """
    if resolve_format(spark, source) == "images":
        return _read_files(root_of(source.path), item_ids)
    # The pictures need none of the other columns, which may have gone since.
    bare = replace(source, payload_columns=(), version_column=None)
    frame, _ = _open_parquet(spark, bare)
    wanted = F.col(quoted(source.id_column)).cast("string")
    rows = frame.select(wanted.alias(ITEM_ID), F.col(source.image_column).alias(IMAGE))
    found = rows.where(F.col(ITEM_ID).isin(list(item_ids))).collect()
    return {row[ITEM_ID]: row[IMAGE] and bytes(row[IMAGE]) for row in found}


def _read_files(root: str, item_ids: Sequence[str]) -> dict[str, bytes | None]:
    files, inner = filesystem(root)
    infos = files.get_file_info([posixpath.join(inner, item_id) for item_id in item_ids])
    sizes = {
        item_id: info.size
        for item_id, info in zip(item_ids, infos, strict=True)
        if info.type == fs.FileType.File
    }
    places = ((posixpath.join(root, name), None, size, 0.0) for name, size in sizes.items())
    images = ImageReader(IMAGE).read_all(places)
    return {
        name: None if isinstance(image, ImageFailure) else image
        for name, image in zip(sizes, images, strict=True)
    }


def resolve_format(spark: SparkSession, source: CatalogSource) -> Literal["images", "parquet"]:
    """Return the format, looking at the first file for ``auto``.

    Raises:
        InputError: There is no file.
    """
    if source.format != "auto":
        return source.format
    if _is_delta(source.path):
        return "parquet"
    first = first_file(spark, source.path)
    if first is None:
        raise InputError(
            f"catalog {source.path} has no files in it; expected images or Parquet files."
        )
    return "parquet" if first.lower().endswith((".parquet", ".parq")) else "images"


def check_items(catalog: DataFrame, *, has_version_column: bool = False) -> int:
    """Return the number of items; there must be one at least, with unique ids that are not null.

    Reads the id column, and the versions if they are a column of the catalog: versions that are
    hashes of the images would cost reading these.

    Raises:
        InputError: The catalog is empty, an id is null or occurs more than once, or a version is
            null.
    """
    ids = catalog.groupBy(ITEM_ID).agg(F.count("*").alias("n"))
    repeated = ids.where((F.col("n") > 1) | F.col(ITEM_ID).isNull())
    total = catalog.select(ITEM_ID).count()
    if total == 0:
        raise InputError("the catalog is empty; expected at least one item.")
    examples = repeated.orderBy(F.desc("n"), ITEM_ID).limit(5).collect()
    if examples:
        names = ", ".join(f"{row[ITEM_ID]!r} ({row['n']} times)" for row in examples)
        raise InputError(
            f"item_ids must be unique and not null; {repeated.count()} are not: {names}. "
            "Mend the catalog, or name another column with --id-column."
        )
    if has_version_column:
        unknown = catalog.where(F.col(SOURCE_VERSION).isNull()).select(ITEM_ID)
        without = unknown.limit(5).collect()
        if without:
            names = ", ".join(repr(row[ITEM_ID]) for row in without)
            raise InputError(
                f"the version column is null for {unknown.count()} items, such as {names}; "
                "expected a value for each. Mend the catalog, or leave --version-column out."
            )
    return total


def count_ignored(spark: SparkSession, source: CatalogSource) -> int:
    """Return how many files of an image folder are not named as images."""
    if resolve_format(spark, source) == "parquet":
        return 0
    return list_files(spark, source.path).where(~F.col(PATH).rlike(_SUFFIXES)).count()


def _list_images(spark: SparkSession, source: CatalogSource) -> DataFrame:
    files = list_files(spark, source.path).where(F.col(PATH).rlike(_SUFFIXES))
    version = F.concat_ws("-", F.col(MODIFIED) * 1000, F.col(LENGTH))
    return files.select(
        F.expr(f"substring({PATH}, {len(root_of(source.path).rstrip('/')) + 2})").alias(ITEM_ID),
        version.alias(SOURCE_VERSION),
        F.col(PATH).alias(IMAGE_FILE),
        F.lit(None).cast("long").alias(IMAGE_ROW),
        F.col(LENGTH).alias(IMAGE_LENGTH),
        (F.col(MODIFIED) / 1000.0).alias(IMAGE_MODIFIED),
    )


def _list_parquet(spark: SparkSession, source: CatalogSource, *, versions: bool) -> DataFrame:
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


def stored_image_column(source: CatalogSource) -> str:
    """Return what the catalog's files call the column with the images."""
    snapshot = _delta_snapshot(source.path)
    if snapshot is None or snapshot.columns is None:
        return source.image_column
    column, *fields = source.image_column.split(".")
    return ".".join([*snapshot.columns.stored([column]), *fields])


def _is_delta(path: str) -> bool:
    """Whether a catalog is a Delta table.

    Raises:
        InputError: It is some of a Delta table's files, which may hold deleted rows.
    """
    location = absolute(path)
    if not is_glob(path) and has_commits(location):
        return True
    around = _table_around(root_of(path) + "/*" if is_glob(path) else location)
    if around is not None:
        raise InputError(
            f"catalog {path} is in the Delta table {around}, and its files may hold rows that "
            "are deleted there; name the table's folder."
        )
    return False


def _table_around(location: str) -> str | None:
    """Return the Delta table that a file or folder is in, or None if none is known of."""
    scheme, separator, path = location.rpartition("://")
    # Files are at most as deep as a table has partition columns.
    for _ in range(_DEEPEST_PARTITION):
        path = posixpath.dirname(path)
        if path in ("", "/"):
            break
        folder = f"{scheme}{separator}{path}"
        try:
            if has_commits(folder):
                return folder
        except (OSError, InputError):
            break  # who may read a folder may not be allowed to look at what is above it
    return None


def _delta_snapshot(path: str) -> Snapshot | None:
    """Return the latest version of a catalog that is a Delta table, else None."""
    if not _is_delta(path):
        return None
    location = absolute(path)
    try:
        return take_snapshot(location, open_delta(location))
    except (DeltaError, OSError) as error:
        raise InputError(
            f"catalog {path} is a Delta table that cannot be opened ({error}); mend the table, or "
            "name other files."
        ) from None


def _read_rows(spark: SparkSession, source: CatalogSource) -> DataFrame:
    snapshot = _delta_snapshot(source.path)
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
