"""A catalog that is Parquet files, or a Delta table, with the images' bytes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.catalog_source import CatalogSource, KnownFormat
from vaeudf.catalog.choice import Chosen, choose
from vaeudf.catalog.columns import CatalogColumns, Column
from vaeudf.catalog.delta import delta_snapshot
from vaeudf.catalog.files import CatalogFile, Listed, read_footers
from vaeudf.catalog.kinds import of_kind
from vaeudf.catalog.listing import LENGTH, MODIFIED, PATH, listed_files
from vaeudf.catalog.partitions import partition_values
from vaeudf.catalog.patterns import is_glob, root_of
from vaeudf.catalog.payload import tell_left_out
from vaeudf.catalog.reader import Place
from vaeudf.catalog.rows import HASH, Field, FileRows, find_inexact, list_rows
from vaeudf.errors import InputError, raised_in_task
from vaeudf.schema import ITEM_ID, PLACE, SOURCE_VERSION, quoted
from vaeudf.storage.locations import absolute
from vaeudf.table.snapshot import Snapshot

log = logging.getLogger(__name__)

# Beside the payload's columns, which may have any names.
_ID, _VERSION = "__vaeudf_id", "__vaeudf_version"
NAMED_PATH = "__vaeudf_path"
"""The paths of image files, as they are written in the catalog's rows."""


@dataclass(frozen=True)
class _Opened:
    """A catalog's files as they are now."""

    snapshot: Snapshot | None
    files: list[CatalogFile]
    columns: CatalogColumns
    ignored: int


class ParquetCatalog:
    """Rows of Parquet files or of a Delta table, one for each item."""

    format: KnownFormat = "parquet"

    def __init__(self, source: CatalogSource) -> None:
        """Take what the options say; nothing is read yet."""
        self._source = source
        self._kept: _Opened | None = None

    @property
    def has_hashed_versions(self) -> bool:
        """Whether source_version is a hash of the image: unless a column has it."""
        return self._source.version_column is None

    def stored_image_column(self, spark: SparkSession) -> str:
        """Return what the catalog's files call the column with the images."""
        return self._open(spark).columns.image_column(self._source.image_column)

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the rows, with their payload columns."""
        opened = self._open(spark)
        chosen = choose(opened.columns, self._source)
        self._tell(opened, chosen)
        hashed = versions and self.has_hashed_versions
        return self._list(spark, opened, chosen, hashed=hashed)

    def list_paths(self, spark: SparkSession) -> DataFrame:
        """Return item_id, source_version if a column has it, the payload and `NAMED_PATH`."""
        opened = self._open(spark)
        chosen = choose(opened.columns, self._source)
        self._tell(opened, chosen)
        return self._list(spark, opened, chosen, hashed=False).drop(*PLACE)

    def find_items(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, Place]:
        """Return where some rows' images are."""
        # Nothing is needed of the other columns, which may have gone since.
        bare = replace(self._source, payload_columns=(), version_column=None)
        opened = self._open(spark)
        chosen = choose(opened.columns, bare)
        if not item_ids:
            return {}
        rows = self._list(spark, opened, chosen, hashed=False)
        rows = rows.where(F.col(ITEM_ID).isin(list(item_ids))).select(ITEM_ID, *PLACE)
        try:
            found = rows.collect()
        except PySparkException as error:
            raise raised_in_task(error) or error from None
        return {row[ITEM_ID]: tuple(row[name] for name in PLACE) for row in found}

    def count_ignored(self, spark: SparkSession) -> int:
        """Return how many files are beside the Parquet files."""
        return self._open(spark).ignored

    def _open(self, spark: SparkSession) -> _Opened:
        """Return the catalog's files; looked at once, as long as this object lives."""
        if self._kept is None:
            snapshot = delta_snapshot(self._source.path)
            opened = (
                self._open_files(spark) if snapshot is None else self._open_table(spark, snapshot)
            )
            self._kept = opened
        return self._kept

    def _open_files(self, spark: SparkSession) -> _Opened:
        path = self._source.path
        listed = listed_files(spark, path).sort_by(PATH)
        rows = list(zip(*(listed[n].to_pylist() for n in (PATH, LENGTH, MODIFIED)), strict=True))
        are_parquet = of_kind(listed[PATH].combine_chunks(), "parquet").to_pylist()
        # If none is, who reads them says what is wrong.
        chosen = [row for row, is_one in zip(rows, are_parquet, strict=True) if is_one] or rows
        if not chosen:
            raise InputError(f"catalog {path} has no files in it; expected Parquet files.")
        files = read_footers(
            spark, [Listed(uri, length, (time or 0) / 1000.0) for uri, length, time in chosen]
        )
        # Without a row, a file may lack columns, or not know their types.
        files = [file for file in files if file.num_rows] or files
        texts = (self._source.id_column, self._source.version_column)
        values = partition_values([file.uri for file in files], _bases(path, files), texts)
        columns = CatalogColumns(path, files, values)
        return _Opened(None, files, columns, len(rows) - len(chosen))

    def _open_table(self, spark: SparkSession, snapshot: Snapshot) -> _Opened:
        path = self._source.path
        if not snapshot.files:
            raise InputError(f"catalog {path} is empty; expected at least one item.")
        files = read_footers(spark, [Listed(uri) for uri in snapshot.files])
        columns = CatalogColumns(path, files, snapshot.partition_values, snapshot.columns)
        return _Opened(snapshot, files, columns, 0)

    def _tell(self, opened: _Opened, chosen: Chosen) -> None:
        """Log what of the catalog is not in what is read of it."""
        tell_left_out(self._source.path, chosen.left_out)
        used = {column.name for column in chosen.columns}
        twice = {name: file for name, file in opened.columns.overlapping.items() if name in used}
        if twice:
            where = ", ".join(f"{name!r} (in {file})" for name, file in twice.items())
            log.warning(
                "columns of catalog %s that files have, too, taken from the folders' names, as "
                "Spark does: %s.",
                self._source.path,
                where,
            )

    def _list(
        self, spark: SparkSession, opened: _Opened, chosen: Chosen, *, hashed: bool
    ) -> DataFrame:
        columns = [(_ID, chosen.item_id)]
        if chosen.version is not None:
            columns.append((_VERSION, chosen.version))
        pieces = [f"{NAMED_PATH}_{place}" for place in range(len(chosen.path))]
        columns += zip(pieces, chosen.path, strict=True)
        columns += [(column.name, column) for column in chosen.payload]
        fields = [
            Field(name, column.kind, column.name, has_ids=name == _ID) for name, column in columns
        ]
        deleted = {} if opened.snapshot is None else opened.snapshot.deleted
        parts = [
            FileRows(
                file,
                tuple(column.stored[number] for _, column in columns),
                _values(number, [column for _, column in columns]),
                deleted.get(file.uri),
                {
                    i: c.inner[number]
                    for i, (_, c) in enumerate(columns)
                    if c.stored[number] and c.inner
                },
            )
            for number, file in enumerate(opened.files)
        ]
        _tell_inexact(spark, fields, parts)
        image = opened.columns.image_column(self._source.image_column) if hashed else None
        rows = list_rows(spark, fields, parts, image)
        # Spark makes text of ids, for it is its text that the ids of older tables are.
        version = F.lit(None) if chosen.version is None else F.col(_VERSION)
        return rows.select(
            F.col(_ID).cast("string").alias(ITEM_ID),
            (F.col(HASH) if hashed else version.cast("string")).alias(SOURCE_VERSION),
            *(F.col(quoted(column.name)) for column in chosen.payload),
            *([_joined(chosen.path_texts, pieces).alias(NAMED_PATH)] if pieces else []),
            *PLACE,
        )


def _joined(texts: Sequence[str], columns: Sequence[str]) -> SparkColumn:
    """Return texts and columns by turns as one text; null where a column is null."""
    parts = [F.lit(texts[0])]
    for column, text in zip(columns, texts[1:], strict=True):
        parts += [F.col(column).cast("string"), F.lit(text)]
    return F.concat(*parts)


def _values(number: int, columns: Sequence[Column]) -> dict[int, pa.Scalar]:
    """Return what a file has no column for, by the column's place."""
    return {
        place: column.values[number]
        for place, column in enumerate(columns)
        if column.values is not None
    }


def _bases(path: str, files: Sequence[CatalogFile]) -> list[str]:
    """Return, for each file, the folder that the catalog's path names."""
    if not is_glob(path):
        return [root_of(path)] * len(files)
    depth = absolute(path).rstrip("/").count("/") + 1
    parts = [file.uri.split("/") for file in files]
    return ["/".join(names[: min(depth, len(names) - 1)]) for names in parts]


def _tell_inexact(spark: SparkSession, fields: Sequence[Field], parts: Sequence[FileRows]) -> None:
    try:
        found = find_inexact(spark, fields, parts)
    except PySparkException as error:
        raise raised_in_task(error) or error from None
    if found:
        where = ", ".join(f"{name!r} (in {file})" for name, file in found.items())
        log.warning("columns whose nanoseconds are cut off to microseconds: %s.", where)
