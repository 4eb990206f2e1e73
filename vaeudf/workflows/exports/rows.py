"""The rows of a table that an export hands over, checked and lifted, without a driver's memory."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from vaeudf.errors import InputError, TableError
from vaeudf.gaussian.lifted import lift_items, with_equal_norms
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION, quoted
from vaeudf.spark.worker import spare_modules
from vaeudf.storage.locations import filesystem
from vaeudf.table.open import PosteriorTable

VECTOR = "vector"
_OWN = (ITEM_ID, MU, LOG_VAR)
_ROWS_AT_A_TIME = 16_384


@dataclass(frozen=True)
class Rows:
    """What is exported.

    Attributes:
        table: The version.
        frame: ``item_id``, ``mu``, ``log_var`` and the payload columns.
        payload: The names of these.
        count: How many rows there are.
        center: The mean of mu, shape (n,): where the coordinates of lifted vectors begin.
    """

    table: PosteriorTable
    frame: DataFrame
    payload: tuple[str, ...]
    count: int
    center: NDArray[np.float64]

    @property
    def latent_dim(self) -> int:
        """N."""
        return self.table.latent_dim

    def lifted(self, *others: str) -> DataFrame:
        """Return ``item_id``, the lifted vectors, 2n + 1 numbers, and other columns."""
        return self._lifted(others, None)

    def with_equal_norms(self, *others: str) -> DataFrame:
        """Return the same with vectors of 2n + 2 numbers, for graphs; one pass finds the norms.

        Raises:
            TableError: As :func:`beyond_float32` says.
        """
        square = F.aggregate(
            F.col(VECTOR), F.lit(0.0), lambda total, x: total + x.cast("double") * x
        )
        is_whole = _is_whole(F.col(VECTOR), 2 * self.latent_dim + 1)
        beyond = F.min(F.when(~is_whole, F.col(ITEM_ID).cast("string")))
        ((most, bad),) = self.lifted().agg(F.max(square), beyond).collect()
        if bad is not None:
            raise beyond_float32(bad)
        return self._lifted(others, float(most))

    def _lifted(self, others: Sequence[str], most: float | None) -> DataFrame:
        center = self.center

        def lift(mu: pd.Series, log_var: pd.Series) -> pd.Series:
            spare_modules()
            if mu.empty:
                return pd.Series([], dtype=object)
            vectors = lift_items(np.stack(mu.to_list()), np.stack(log_var.to_list()), center)
            if most is not None:
                vectors = with_equal_norms(vectors, most)
            return pd.Series(list(vectors))

        as_udf = pandas_udf(returnType="array<float>")  # type: ignore[call-overload]
        vector = as_udf(lift)(F.col(MU), F.col(LOG_VAR)).alias(VECTOR)
        return self.frame.select(ITEM_ID, vector, *(F.col(quoted(name)) for name in others))


def chosen_rows(
    table: PosteriorTable, frame: DataFrame, columns: Sequence[str] | None, taken: Sequence[str]
) -> Rows:
    """Return what is exported of a table's rows; one pass counts and checks them.

    Args:
        table: The version.
        frame: Its rows, or some of them.
        columns: The payload columns to take; all if None.
        taken: Names that the target has for columns of its own.

    Raises:
        InputError: A column is not there, or has a name that is taken; or there are no rows.
        TableError: A posterior is not one of n finite numbers each.
    """
    latent_dim = table.latent_dim
    payload = _payload(frame, columns, taken)
    rows = frame.select(*(F.col(quoted(name)) for name in (*_OWN, *payload)))
    means = [F.avg(F.get(F.col(MU), F.lit(i))) for i in range(latent_dim)]
    is_whole = F.lit(True)
    for name in (MU, LOG_VAR):
        is_whole = is_whole & _is_whole(F.col(name), latent_dim)
    damaged = F.min(F.when(~F.coalesce(is_whole, F.lit(False)), F.col(ITEM_ID).cast("string")))
    (found,) = rows.agg(F.count(F.lit(1)), damaged, F.array(*means)).collect()
    count, bad, center = found
    if count == 0:
        raise InputError("no item is left to export; expected at least one. Change --where.")
    if bad is not None:
        raise TableError(
            f"item {bad!r} has no posterior of {latent_dim} finite numbers in mu and in log_var; "
            "leave it out with --where, or encode it again."
        )
    return Rows(table, rows, payload, count, np.array(center, np.float64))


def beyond_float32(item_id: str) -> TableError:
    """Return the error that says that the lifted vector of an item has an infinite number.

    One such number would make NaN of the item's scores, and of all norms that are made equal.
    """
    return TableError(
        f"item {item_id!r} has a variance too small, or a mean too large, for a lifted vector of "
        "float32, whose largest number is 3.4e38; leave it out with --where, or take "
        "--to parquet-flat."
    )


def _is_whole(column: Column, latent_dim: int) -> Column:
    infinite = F.lit(float("inf"))
    finite = F.forall(column, lambda x: x.isNotNull() & ~F.isnan(x) & (F.abs(x) < infinite))
    return (F.size(column) == latent_dim) & finite


def _payload(
    frame: DataFrame, columns: Sequence[str] | None, taken: Sequence[str]
) -> tuple[str, ...]:
    own = {*_OWN, SOURCE_VERSION}
    names = columns
    if names is None:
        names = [name for name in frame.columns if name not in own]
    reserved = {name.lower() for name in (*_OWN, *taken)}
    for name in names:
        if name not in frame.columns:
            raise InputError(
                f"the table has no column {name!r} to export; found {', '.join(frame.columns)}."
            )
        if name.lower() in reserved or names.count(name) > 1:
            raise InputError(
                f"column {name!r} would be in the export twice; name others with --columns."
            )
    return tuple(names)


def parts(folder: str, suffix: str = ".parquet") -> tuple[fs.FileSystem, list[str]]:
    """Return the files that tasks have written into a folder, in the order of their names."""
    files, inner = filesystem(folder)
    found = files.get_file_info(fs.FileSelector(inner))
    return files, sorted(
        info.path
        for info in found
        if info.is_file
        and info.path.endswith(suffix)
        and not posixpath.basename(info.path).startswith(("_", "."))
    )


def batches(folder: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the Parquet files of a folder, some thousands at a time."""
    files, paths = parts(folder)
    for path in paths:
        with files.open_input_file(path) as file:
            yield from pq.ParquetFile(file).iter_batches(_ROWS_AT_A_TIME, columns=columns)


def matrix(column: pa.Array) -> NDArray[np.float32]:
    """Return a column of lists of one length, as an array (N, length)."""
    return np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
