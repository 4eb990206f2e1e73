"""Write the posterior table's data files from Spark, each task its own."""

from __future__ import annotations

import itertools
import posixpath
import uuid
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, quoted
from vaeudf.storage import filesystem
from vaeudf.table import DataFile

# At 80 bytes a row of ten dimensions, files of some 150 MB.
ROWS_PER_FILE = 2_000_000
ROWS_PER_GROUP = 65_536

_FILE_TYPE = "path string, size long, num_rows long, min_id string, max_id string"


def write_data_files(
    posteriors: DataFrame, num_rows: int, table_uri: str, run_id: str, schema: pa.Schema
) -> list[DataFile]:
    """Write rows, sorted by item_id, as Parquet files in a folder of the table.

    Args:
        posteriors: Rows with the columns of ``schema``.
        num_rows: How many there are.
        table_uri: The table.
        run_id: Name of the folder; a run's own, so that what a failed run leaves is its own too.
        schema: The files' schema.
    """
    num_files = -(-num_rows // ROWS_PER_FILE)
    columns = [F.col(quoted(name)) for name in schema.names]
    ordered = posteriors.select(*columns).repartitionByRange(num_files, ITEM_ID)
    ordered = ordered.sortWithinPartitions(ITEM_ID)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from write_partition(batches, table_uri, run_id, schema)

    # Collected once: evaluating this DataFrame again would write everything again.
    return [DataFile(**row.asDict()) for row in ordered.mapInArrow(write, _FILE_TYPE).collect()]


def write_partition(
    batches: Iterator[pa.RecordBatch], table_uri: str, run_id: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Write one partition to one file; yield a row that describes it, or none if it is empty."""
    # Tasks are retried and run twice; a name of its own keeps every attempt's file apart, and
    # only the attempt that Spark counts has its file named in the commit.
    path = f"{run_id}/part-{uuid.uuid4().hex}.parquet"
    system, inner = filesystem(table_uri)
    full_path = posixpath.join(inner, path)
    filled = (batch.cast(schema) for batch in batches if batch.num_rows)
    first = next(filled, None)
    if first is None:
        return
    system.create_dir(posixpath.dirname(full_path), recursive=True)
    num_rows, last_id = 0, None
    with _open_writer(full_path, schema, system) as writer:
        for group in _row_groups(itertools.chain([first], filled)):
            last_id = _check_ascending(group, last_id)
            writer.write_table(group, row_group_size=group.num_rows)
            num_rows += group.num_rows
    description = {
        "path": path,
        "size": system.get_file_info(full_path).size,
        "num_rows": num_rows,
        "min_id": first.column(ITEM_ID)[0].as_py(),
        "max_id": last_id,
    }
    yield pa.RecordBatch.from_pylist([description])


def _check_ascending(group: pa.Table, last_id: str | None) -> str:
    """Return the group's last item_id; rows are sorted, so that equal ones stand together."""
    ids = [last_id, *group.column(ITEM_ID).to_pylist()]
    for before, after in itertools.pairwise(ids):
        if before == after:
            raise InputError(
                f"item_id {after!r} came twice: the catalog changed while it was read. "
                "Nothing was published; run again."
            )
    return str(ids[-1])


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches to tables of ROWS_PER_GROUP rows or a little more."""
    # Each write of pyarrow's starts a row group, and one of a few hundred rows costs more in the
    # footer than it holds.
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        gathered.append(batch)
        if sum(b.num_rows for b in gathered) >= ROWS_PER_GROUP:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)


def _open_writer(path: str, schema: pa.Schema, system: pa.fs.FileSystem) -> pq.ParquetWriter:
    plain = [f.name for f in schema if not pa.types.is_nested(f.type)]
    return pq.ParquetWriter(
        path,
        schema,
        filesystem=system,
        compression="zstd",
        # Byte-stream-split would make the vectors 20 % smaller, but Spark before 4.2 and with it
        # many a reader cannot decode it inside lists.
        use_dictionary=plain,
        # A lowest and highest mu over all dimensions at once says nothing about any row.
        write_statistics=plain,
    )
