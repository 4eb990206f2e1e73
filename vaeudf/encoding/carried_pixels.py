"""Pixels that are kept from one version of a table to the next, without decoding an image again."""

from __future__ import annotations

import logging
import posixpath
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession

from vaeudf.errors import InputError, TableError
from vaeudf.schema import ITEM_ID
from vaeudf.spark.kept_pixels import read_with_pixel_places
from vaeudf.spark.read import read_items_once, read_table
from vaeudf.storage.locations import filesystem
from vaeudf.table.evolution import changed_by_others
from vaeudf.table.open import PosteriorTable
from vaeudf.table.pixel_files import (
    KeptFile,
    PictureShape,
    PixelFile,
    find_pixel_files,
    kept_shape,
)
from vaeudf.table.runs import PIXELS

log = logging.getLogger(__name__)

# Files opened at a time; an object store answers each after some 50 ms.
_THREADS = 16


class CarriedPixels:
    """What a run does with the pixels of the version before.

    Attributes:
        shape: Of the pictures that the run keeps; None if it keeps none.
    """

    def __init__(
        self,
        table: str,
        last: PosteriorTable | None,
        comparable: PosteriorTable | None,
        shape: PictureShape | None,
    ) -> None:
        """Take what is known before the run begins.

        Args:
            table: Where the table is.
            last: Its last version; None if there is none.
            comparable: The same, if its posteriors are those that the run would give.
            shape: Of the pictures to keep; None if none are kept.

        Raises:
            InputError: The table's folder cannot take pixel files.
        """
        self.shape = shape
        self._table, self._last, self._comparable = table, last, comparable
        folder = posixpath.join(table, PIXELS)
        system, inner = filesystem(folder)
        if shape is not None and system.get_file_info(inner).type == fs.FileType.File:
            raise InputError(
                f"--keep-pixels: {folder} is a file; expected a folder, or nothing. Move it away, "
                "or name another --table."
            )

    @property
    def are_kept(self) -> bool:
        """Whether the run keeps pixels."""
        return self.shape is not None

    @property
    def are_as_before(self) -> bool:
        """Whether the run keeps what the last version keeps."""
        return self._last is not None and kept_shape(self._last.provenance) == self.shape

    @property
    def num_bytes(self) -> int:
        """Bytes of the pixels that the last version keeps."""
        if self._last is None or not self.are_as_before or not self.are_kept:
            return 0
        return sum(f.size for f in find_pixel_files(self._last.uri, self._last.files).values())

    def read_last(self, spark: SparkSession) -> DataFrame | None:
        """Return the last version's items, each once; None if there is none.

        If its posteriors and pixels can be carried over, they have
        :data:`vaeudf.schema.PIXEL_PLACE`: null where there are no pixels, or their file cannot be
        read or is of other rows.

        Raises:
            TableError: A data file cannot be read.
        """
        if self.shape is None or self._comparable is None:
            return None if self._last is None else read_items_once(spark, self._last)
        table = self._comparable
        read_table(spark, table)  # which checks the data files
        kept = _sound(find_pixel_files(table.uri, table.files), self.shape)
        rows = read_with_pixel_places(spark, table, kept)
        return rows.dropDuplicates([ITEM_ID]) if changed_by_others(table) else rows

    def check(self, num_items: int, num_todo: int, num_without: int) -> None:
        """Check that there is room for the pixels, and say what becomes of the last version's.

        Args:
            num_items: How many items the catalog has.
            num_todo: How many of them are encoded, and so held twice until they are published.
            num_without: How many are unchanged, but the last version has not their pixels.

        Raises:
            InputError: There is no room.
        """
        if self.shape is None:
            if self._last is not None and kept_shape(self._last.provenance) is not None:
                log.info(
                    "version %d of the table keeps its items' pixels; without --keep-pixels the "
                    "next version has none.",
                    self._last.version,
                )
            return
        if self._comparable is not None:
            self._tell_missing(num_without, self._comparable)
        _check_room(self._table, self.shape, num_items, num_todo)

    @staticmethod
    def _tell_missing(count: int, table: PosteriorTable) -> None:
        if not count:
            return
        was_kept = kept_shape(table.provenance) is not None
        log.info(
            "%d unchanged items are encoded again to keep their pixels: version %d of the table %s",
            count,
            table.version,
            "has lost them, as when another engine rewrites its files."
            if was_kept
            else "was published without --keep-pixels.",
        )


def _sound(found: Mapping[str, KeptFile], shape: PictureShape) -> dict[str, KeptFile]:
    """Return the pixel files that have a picture for each row, and warn of the others."""

    def problem(file: str) -> str | None:
        system, inner = filesystem(file)
        uri, expected = found[file].uri, pq.read_metadata(inner, filesystem=system).num_rows
        try:
            with PixelFile(uri, shape) as pixels:
                if pixels.num_rows == expected:
                    return None
                return f"pixel file {uri} has {pixels.num_rows} rows; its data file has {expected}."
        except TableError as error:
            return str(error)

    with ThreadPoolExecutor(_THREADS) as pool:
        problems = dict(zip(found, pool.map(problem, found), strict=True))
    for text in filter(None, problems.values()):
        log.warning("%s This run encodes its items again.", text)
    return {file: kept for file, kept in found.items() if problems[file] is None}


def _check_room(table: str, shape: PictureShape, num_items: int, num_todo: int) -> None:
    system, inner = filesystem(table)
    if not isinstance(system, fs.LocalFileSystem):
        return
    needed = (num_items + num_todo) * shape.num_bytes
    free = shutil.disk_usage(inner).free
    if needed > free:
        raise InputError(
            f"--keep-pixels: {num_items:,} pictures of {shape} bytes, {num_todo:,} of them held "
            f"twice until they are published, take {needed:,} bytes, and {table} has {free:,} "
            "free. Make room, name another --table, or leave --keep-pixels out."
        )
