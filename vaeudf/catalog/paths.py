"""A catalog whose rows name image files: CSV, Parquet or a Delta table with a column of paths."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType

from vaeudf.catalog.catalog_source import CatalogSource, KnownFormat
from vaeudf.catalog.csv_files import read_csv, read_csv_header, with_numbers
from vaeudf.catalog.kinds import kinds_by_name
from vaeudf.catalog.listing import PATH, listed_files
from vaeudf.catalog.named_files import MISSING, NamedFile, look_up_all
from vaeudf.catalog.parquet import NAMED_PATH, ParquetCatalog
from vaeudf.catalog.path_template import PathTemplate, check_template_columns, path_template
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.payload import carried, tell_left_out
from vaeudf.catalog.reader import Place
from vaeudf.errors import InputError, raised_in_task
from vaeudf.images.formats import IMAGE_SUFFIXES
from vaeudf.schema import ITEM_ID, PLACE, SOURCE_VERSION, check_payload_names
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import frame_of

# Beside the payload's columns, which may have any names.
_FOLDER = "__vaeudf_folder"
# Of attachments, Airtable writes the name, and the address behind it in parentheses.
_WEB = r"(?i)(^|\()\s*https?://"
_INLINE = r"(?i)^\s*data:[^,]*,"
_DATABRICKS = r"(?i)^\s*dbfs:"
# A list as JSON, or names of images behind each other.
_SEVERAL = re.compile(
    rf"\s*\[\s*[\"'].*\]\s*\Z|.*[.]({'|'.join(IMAGE_SUFFIXES)})\s*[,;|]\s*\S", re.I | re.S
)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_TASKS_PER_CORE = 2
# Two paths of one item are compared, not all paths of a catalog.
_PATH_DIGITS = 8


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

    def stored_image_column(self, spark: SparkSession) -> str:
        """Return any name: every image is a file."""
        return self._source.image_column

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the rows, with the times and lengths of their files as versions.

        Raises:
            InputError: A column is missing, or holds web addresses; or a file cannot be read.
        """
        return self._located(self._rows(spark, self._source))

    def find_items(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, Place]:
        """Return where some items' images are; items that are not there are left out."""
        # Nothing is needed of the other columns, which may have gone since.
        bare = replace(self._source, payload_columns=(), version_column=None)
        rows = self._rows(spark, bare)
        if not item_ids:
            return {}
        rows = rows.where(F.col(ITEM_ID).isin(list(item_ids)))
        try:
            found = self._located(rows).select(ITEM_ID, *PLACE).collect()
        except PySparkException as error:
            raise raised_in_task(error) or error from None
        return {row[ITEM_ID]: tuple(row[name] for name in PLACE) for row in found}

    def count_ignored(self, spark: SparkSession) -> int:
        """Return 0: what else is there may be the images."""
        return 0

    def _rows(self, spark: SparkSession, source: CatalogSource) -> DataFrame:
        """Return item_id, source_version, the payload, the path, and what it is relative to."""
        if source.path_column is None:
            tables = _csv_files(spark, source.path)
            raise InputError(ask_for_path_column(source.path, tables))
        if self.format == "csv":
            return _read_csv(spark, source, source.path_column)
        rows = ParquetCatalog(source).list_paths(spark)
        return rows.withColumn(_FOLDER, F.lit(root_of(source.path)))

    def _located(self, rows: DataFrame) -> DataFrame:
        """Look the files up, in tasks."""
        own = (ITEM_ID, SOURCE_VERSION, NAMED_PATH, _FOLDER)
        payload = [name for name in rows.columns if name not in own]
        has_versions = self._source.version_column is not None
        types = {field.name: field for field in rows.schema.fields}
        place = zip(PLACE, (StringType(), LongType(), LongType(), DoubleType()), strict=True)
        schema = StructType(
            [
                *(types[name] for name in (ITEM_ID, SOURCE_VERSION, *payload)),
                *(StructField(name, kind) for name, kind in place),
            ]
        )
        about = f"column {self._source.path_column!r} of catalog {self._source.path}"
        root = root_of(self._source.path)

        def locate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                _check_no_web(about, batch.column(NAMED_PATH))
                named = batch.column(NAMED_PATH).to_pylist(), batch.column(_FOLDER).to_pylist()
                found = look_up_all(list(zip(*named, strict=True)))
                _check_no_windows(about, named[0], found)
                _check_one_each(about, named[0], found)
                versions = pa.array(
                    [
                        _version(file, path, folder.removeprefix(root))
                        for file, path, folder in zip(found, *named, strict=True)
                    ],
                    pa.string(),
                )
                yield pa.RecordBatch.from_arrays(
                    [
                        batch.column(ITEM_ID),
                        batch.column(SOURCE_VERSION) if has_versions else versions,
                        *(batch.column(name) for name in payload),
                        pa.array([file.uri for file in found], pa.string()),
                        pa.nulls(len(found), pa.int64()),
                        pa.array([file.length for file in found], pa.int64()),
                        pa.array([file.modified for file in found], pa.float64()),
                    ],
                    names=schema.names,
                )

        cores = Cluster.of(rows.sparkSession).num_cores
        return rows.repartition(_TASKS_PER_CORE * cores).mapInArrow(locate, schema)


def _version(file: NamedFile, path: str | None, folder: str) -> str:
    """Return what changes when a row's image does, or the row names another file.

    Files of raw pixels are of one length, and those of one archive or import of one time.

    Args:
        file: As it is now.
        path: As it is written in the row, so that a catalog may be moved with its files.
        folder: What the path is relative to, below the catalog's own folder.
    """
    if file.version == MISSING:
        return MISSING
    place = f"{folder}/{path}".encode()
    return f"{file.version}-{hashlib.sha256(place).hexdigest()[:_PATH_DIGITS]}"


def ask_for_path_column(path: str, tables: Sequence[str]) -> str:
    """Return what to say of CSV files where no option names the column with the paths."""
    names = ", ".join(map(repr, read_csv_header(tables[0])))
    return (
        f"catalog {path} is CSV, such as {posixpath.basename(tables[0])}; name the column with the "
        f"paths or URIs of the image files: --path-column. Its columns are {names or 'none'}."
    )


def _read_csv(spark: SparkSession, source: CatalogSource, path_column: str) -> DataFrame:
    own = [source.id_column]
    own += [] if source.version_column is None else [source.version_column]
    named = [*own, *(source.payload_columns or ())]
    tables, paths, folders = [], [], []
    for uri in _csv_files(spark, source.path):
        template = _template_of(uri, path_column)
        of_path = [path_column] if template is None else template.columns
        table = read_csv(uri, [*named, *of_path])
        values = {name: table[name] for name in of_path}
        paths.append(values[path_column] if template is None else template.filled(values))
        folders.append(pa.repeat(posixpath.dirname(uri), table.num_rows))
        tables.append(table)
    table = pa.concat_tables(tables, promote_options="default")
    path = pa.chunked_array([chunk for one in paths for chunk in one.chunks], pa.string())
    own.append(path_column)
    _check_no_web(f"column {path_column!r} of catalog {source.path}", path)
    if source.payload_columns is None:
        names = [name for name in table.column_names if name not in own]
        payload, left_out = carried(names, str)
        tell_left_out(source.path, left_out)
    else:
        payload = list(source.payload_columns)
        check_payload_names(payload)
    versions = pa.nulls(table.num_rows, pa.string())
    if source.version_column is not None:
        versions = table[source.version_column]
    columns = {
        ITEM_ID: table[source.id_column],
        SOURCE_VERSION: versions,
        **{name: table[name] for name in payload},
    }
    with_types = with_numbers(table.select(payload))
    columns.update(zip(with_types.column_names, with_types.columns, strict=True))
    columns |= {NAMED_PATH: path, _FOLDER: pa.chunked_array(folders, pa.string())}
    return frame_of(spark, pa.table(columns))


def _template_of(uri: str, path_column: str) -> PathTemplate | None:
    """Return the path column as a template, unless a file has a column of that very name."""
    template = path_template(path_column)
    if template is None:
        return None
    names = read_csv_header(uri)
    if path_column in names:
        return None
    missing = [name for name in template.columns if name not in names]
    check_template_columns(uri, path_column, missing, names)
    return template


def _csv_files(spark: SparkSession, path: str) -> list[str]:
    """Return the files named as CSV; where none is, all files."""
    names = sorted(listed_files(spark, path)[PATH].to_pylist())
    if not names:
        raise InputError(f"catalog {path} has no files in it; expected CSV files.")
    kinds = kinds_by_name(pa.array(names, pa.string()))
    return [name for name, kind in zip(names, kinds, strict=True) if kind == "csv"] or names


def _check_no_web(about: str, paths: pa.Array | pa.ChunkedArray) -> None:
    inline = paths.filter(pc.fill_null(pc.match_substring_regex(paths, _INLINE), False))
    if len(inline):
        raise InputError(
            f"{about} holds pictures themselves, such as {inline[0].as_py().strip()[:30]}…; "
            "expected paths, or URIs of files. Decode them from base64, and write them as a column "
            "of bytes to Parquet, which --image-column names."
        )
    mounted = paths.filter(pc.fill_null(pc.match_substring_regex(paths, _DATABRICKS), False))
    if len(mounted):
        path = mounted[0].as_py().strip()
        raise InputError(
            f"{about} holds paths of Databricks, such as {path}; expected paths, or URIs of a "
            f"store. Where its files are mounted, the path is /dbfs/{path[5:].lstrip('/')}."
        )
    web = paths.filter(pc.fill_null(pc.match_substring_regex(paths, _WEB), False))
    if len(web):
        raise InputError(
            f"{about} holds web addresses, such as {web[0].as_py().strip()}; expected paths, or "
            "URIs of a store (s3://, hdfs://, file://): a night must not depend on who serves "
            "them. Download them first, as with img2dataset --output_format parquet, and encode "
            "what it writes."
        )


def _check_no_windows(about: str, paths: Sequence[str | None], found: Sequence[NamedFile]) -> None:
    for path, file in zip(paths, found, strict=True):
        if file.version == MISSING and _WINDOWS.match(path or ""):
            raise InputError(
                f"{about} holds paths of Windows, such as {path}; expected paths that this machine "
                "has. Cut off what stands before the folder with the catalog: paths may be "
                "relative to it, and backslashes may stay."
            )


def _check_one_each(about: str, paths: Sequence[str | None], found: Sequence[NamedFile]) -> None:
    for path, file in zip(paths, found, strict=True):
        if file.version == MISSING and _SEVERAL.match(path or ""):
            raise InputError(
                f"{about} holds several paths for one item, such as {(path or '').strip()[:80]}; "
                "expected one. Write a row for each picture, or a column with the first alone."
            )
