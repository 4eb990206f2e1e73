"""A catalog whose rows name image files: CSV, Parquet or a Delta table with a column of paths."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JJavaError
from pyarrow import fs
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from vaeudf.catalog.csv_files import read_csv, read_csv_header, with_numbers
from vaeudf.catalog.delta import delta_snapshot
from vaeudf.catalog.kind import CatalogSource, KnownFormat
from vaeudf.catalog.kinds import kinds_by_name
from vaeudf.catalog.listing import PATH, list_files, root_of
from vaeudf.catalog.reader import ImageReader, Place
from vaeudf.errors import InputError, root_cause
from vaeudf.images.decode import ImageFailure
from vaeudf.schema import (
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
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.read import read_snapshot
from vaeudf.storage.locations import absolute, filesystem, spark_literal

MISSING = "missing"
"""The source_version of an item whose file is not there."""

# Beside the payload's columns, which may have any names.
_NAMED, _FOLDER, _VERSION = "__vaeudf_path", "__vaeudf_folder", "__vaeudf_version"
_WEB = r"(?i)^\s*https?://"
_STORE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/]*)/*(.*)", re.DOTALL)
# A store takes some 50 ms to answer, however many requests there are.
_THREADS = 32
_TASKS_PER_CORE = 2


class PathsCatalog:
    """Rows of CSV, Parquet or a Delta table, each with the path or URI of an image file."""

    has_hashed_versions = False

    def __init__(self, source: CatalogSource) -> None:
        """Take what the options say, the format among it; nothing is read yet."""
        self._source = source

    @property
    def format(self) -> KnownFormat:
        """What the rows are in."""
        return "csv" if self._source.format == "csv" else "parquet"

    def stored_image_column(self) -> str:
        """Return any name: every image is a file."""
        return self._source.image_column

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the rows, with the times and lengths of their files as versions.

        Raises:
            InputError: A column is missing, or holds web addresses; or a file cannot be read.
        """
        return _located(self._rows(spark, self._source.payload_columns))

    def find_items(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, Place]:
        """Return where some items' images are; items that are not there are left out."""
        rows = self._rows(spark, ()).where(F.col(ITEM_ID).isin(list(item_ids)))
        found = _located(rows).select(ITEM_ID, *PLACE).collect()
        return {row[ITEM_ID]: tuple(row[name] for name in PLACE) for row in found}

    def read_images(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, bytes | None]:
        """Return some files' bytes, read by the driver."""
        places = self.find_items(spark, item_ids)
        images = ImageReader(IMAGE).read_all(places.values())
        return {
            name: None if isinstance(image, ImageFailure) else image
            for name, image in zip(places, images, strict=True)
        }

    def count_ignored(self, spark: SparkSession) -> int:
        """Return 0: what else is there may be the images."""
        return 0

    def _rows(self, spark: SparkSession, payload: Sequence[str] | None) -> DataFrame:
        """Return item_id, the path as it is written, what it is relative to, and the payload."""
        source = self._source
        if source.path_column is None:
            tables = _files(spark, source.path, "csv")
            raise InputError(
                f"catalog {source.path} is CSV; name the column with the paths or URIs of the "
                "image files: --path-column. Its columns are "
                f"{', '.join(map(repr, read_csv_header(tables[0])))}."
            )
        read = self._read_csv if self.format == "csv" else self._read_parquet
        frame = read(spark, source.path_column)
        own = [source.id_column, source.path_column, source.version_column]
        names = [name for name in frame.columns if name != _FOLDER]
        if payload is None:
            payload = [name for name in names if name not in own]
        wanted = [name for name in [*own, *payload] if name is not None]
        if missing := [name for name in wanted if name not in names]:
            raise InputError(
                f"catalog {source.path} has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(names)}. Name them with --id-column, --path-column and "
                "--payload-columns."
            )
        check_payload_names(list(payload))
        version = source.version_column
        columns = [] if version is None else [_text_of(version).alias(_VERSION)]
        return frame.select(
            _text_of(source.id_column).alias(ITEM_ID),
            *columns,
            *(F.col(quoted(name)) for name in payload),
            _text_of(source.path_column).alias(_NAMED),
            F.col(_FOLDER),
        )

    def _read_csv(self, spark: SparkSession, path_column: str) -> DataFrame:
        source = self._source
        as_written = [source.id_column, path_column]
        as_written += [] if source.version_column is None else [source.version_column]
        tables = []
        for uri in _files(spark, source.path, "csv"):
            table = read_csv(uri, as_written)
            folder = pa.array([posixpath.dirname(uri)]).take(pa.array([0] * table.num_rows))
            tables.append(table.append_column(_FOLDER, folder))
        table = pa.concat_tables(tables, promote_options="default")
        paths = table[path_column]
        web = paths.filter(pc.fill_null(pc.match_substring_regex(paths, _WEB), False))
        if len(web):
            raise InputError(_about_web(source.path, path_column, web[0].as_py()))
        others = [name for name in table.column_names if name not in (*as_written, _FOLDER)]
        for name, column in zip(others, with_numbers(table.select(others)).columns, strict=True):
            table = table.set_column(table.column_names.index(name), name, column)
        # In one chunk: of a table in several, createDataFrame may drop rows (PySpark 4.3).
        return spark.createDataFrame(table.combine_chunks())

    def _read_parquet(self, spark: SparkSession, path_column: str) -> DataFrame:
        source = self._source
        snapshot = delta_snapshot(source.path)
        try:
            if snapshot is not None:
                frame = read_snapshot(spark, snapshot)
            else:
                files = [spark_literal(uri) for uri in _files(spark, source.path, "parquet")]
                # Partition columns are found in what lies below the folder.
                base = spark_literal(root_of(source.path))
                frame = spark.read.option("basePath", base).parquet(*files)
            if path_column in frame.columns:
                column = F.col(quoted(path_column))
                if frame.select(column).dtypes[0][1] != "string":
                    raise InputError(
                        f"column {path_column!r} of catalog {source.path} holds "
                        f"{frame.select(column).dtypes[0][1]}; expected text: the paths or URIs of "
                        "image files. For images in the rows, use --image-column."
                    )
                for row in frame.where(column.rlike(_WEB)).select(column).limit(1).collect():
                    raise InputError(_about_web(source.path, path_column, row[0]))
        except (PySparkException, Py4JJavaError) as error:
            raise InputError(
                f"catalog {source.path} cannot be read as Parquet: {root_cause(error)}."
            ) from None
        return frame.withColumn(_FOLDER, F.lit(root_of(source.path)))


def _files(spark: SparkSession, path: str, kind: str) -> list[str]:
    """Return the files named as of a kind; where none is, all files."""
    names = [row[PATH] for row in list_files(spark, path).select(PATH).collect()]
    kinds = kinds_by_name(pa.array(names, pa.string()))
    named = [name for name, found in zip(names, kinds, strict=True) if found == kind]
    if not names:
        raise InputError(f"catalog {path} has no files in it; expected {kind.upper()} files.")
    return sorted(named or names)


def _text_of(column: str) -> Column:
    return F.col(quoted(column)).cast("string")


def _about_web(path: str, column: str, example: str) -> str:
    return (
        f"column {column!r} of catalog {path} holds web addresses, such as {example}; expected "
        "paths, or URIs of a store (s3://, hdfs://, file://): a night must not depend on who "
        "serves them. Download them first, as with img2dataset --output_format parquet, and encode "
        "what it writes."
    )


class _File(NamedTuple):
    """A file as it is now.

    Attributes:
        uri: Where; empty if the catalog has no path.
        version: When it was written and its length; `MISSING` if it is not there.
        length: Bytes.
        modified: Seconds since 1970.
    """

    uri: str
    version: str = MISSING
    length: int = 0
    modified: float = 0.0


def _located(rows: DataFrame) -> DataFrame:
    """Look the files up, in tasks."""
    payload = [name for name in rows.columns if name not in (ITEM_ID, _VERSION, _NAMED, _FOLDER)]
    has_versions = _VERSION in rows.columns
    types = {field.name: field for field in rows.schema.fields}
    schema = StructType(
        [
            types[ITEM_ID],
            StructField(SOURCE_VERSION, StringType()),
            *(types[name] for name in payload),
            StructField(IMAGE_FILE, StringType()),
            StructField(IMAGE_ROW, LongType()),
            StructField(IMAGE_LENGTH, LongType()),
            StructField(IMAGE_MODIFIED, DoubleType()),
        ]
    )

    def locate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for batch in batches:
                named = batch.column(_NAMED).to_pylist(), batch.column(_FOLDER).to_pylist()
                found = list(pool.map(_look_up, map(_absolute, *named)))
                versions = pa.array([file.version for file in found], pa.string())
                yield pa.RecordBatch.from_arrays(
                    [
                        batch.column(ITEM_ID),
                        batch.column(_VERSION) if has_versions else versions,
                        *(batch.column(name) for name in payload),
                        pa.array([file.uri for file in found], pa.string()),
                        pa.nulls(len(found), pa.int64()),
                        pa.array([file.length for file in found], pa.int64()),
                        pa.array([file.modified for file in found], pa.float64()),
                    ],
                    names=schema.names,
                )

    cores = Cluster(rows.sparkSession).num_cores
    return rows.repartition(_TASKS_PER_CORE * cores).mapInArrow(locate, schema)


def _absolute(path: str | None, folder: str) -> str:
    """Return where a path leads that a row of a file in a folder names; empty for none."""
    if not path:
        return ""
    if path.startswith(("/", "~", "file:")) or _STORE.match(path):
        return absolute(path)
    joined = f"{folder.rstrip('/')}/{path}"
    store = _STORE.fullmatch(joined)
    # A store knows no two dots, as in ../photos/1.jpg.
    return f"{store[1]}/{posixpath.normpath(store[2])}" if store else joined


def _look_up(uri: str) -> _File:
    if not uri:
        return _File(uri)
    if uri.startswith("/"):
        found = _look_up_local(uri)
        if found.version == MISSING and "%" in uri:
            # URIs of files are percent-encoded by most programs that write them.
            decoded = _look_up_local(unquote(uri))
            return found if decoded.version == MISSING else decoded
        return found
    try:
        files, inner = filesystem(uri)
        info = files.get_file_info(inner)
    except (OSError, pa.ArrowException, InputError):
        return _File(uri)  # who reads it will say what is wrong
    if info.type != fs.FileType.File:
        return _File(uri)
    return _found(uri, info.size, info.mtime_ns or 0)


def _look_up_local(path: str) -> _File:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return _File(path)
    if not stat.S_ISREG(status.st_mode):
        return _File(path)
    return _found(path, status.st_size, status.st_mtime_ns)


def _found(uri: str, length: int, nanoseconds: int) -> _File:
    milliseconds = nanoseconds // 10**6
    return _File(uri, f"{milliseconds * 1000}-{length}", length, milliseconds / 1000.0)
