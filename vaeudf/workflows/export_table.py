"""Hand a posterior table over to viewers, indexes and databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from vaeudf.errors import InputError
from vaeudf.spark.frames import timestamps_for_all
from vaeudf.spark.progress import progress
from vaeudf.spark.read import read_items_once
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute
from vaeudf.storage.outputs import EXPORT_MARK, check_output, replacing
from vaeudf.table.open import open_posteriors
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.conditions import rows_where, where_is_to_blame
from vaeudf.workflows.exports.atlas import COLUMNS, write_atlas
from vaeudf.workflows.exports.databases import (
    MOST_PGVECTOR,
    write_lance,
    write_pgvector,
    write_qdrant,
)
from vaeudf.workflows.exports.indexes import write_faiss, write_hnswlib
from vaeudf.workflows.exports.plain import flat_columns, write_flat
from vaeudf.workflows.exports.rows import VECTOR, Rows, chosen_rows
from vaeudf.workflows.option_groups import VersionOptions
from vaeudf.workflows.record_file import write_record

RECORD = "export.json"

Target = Literal[
    "parquet-flat", "faiss", "hnswlib", "embedding-atlas", "lance", "qdrant", "pgvector"
]


@dataclass(frozen=True)
class _Kind:
    """A kind of export.

    Attributes:
        write: Writes the rows into an empty folder.
        package: What must be importable to write it, and what pip calls it.
        taken: The names of its own columns, for a latent_dim.
        has_payload: Whether it carries payload columns.
    """

    write: Callable[[Rows, str], None]
    package: tuple[str, str] | None = None
    taken: Callable[[int], Sequence[str]] = lambda latent_dim: ()
    has_payload: bool = True


_KINDS: dict[Target, _Kind] = {
    "parquet-flat": _Kind(write_flat, taken=flat_columns),
    "faiss": _Kind(write_faiss, ("faiss", "faiss-cpu"), has_payload=False),
    "hnswlib": _Kind(write_hnswlib, ("hnswlib", "hnswlib"), has_payload=False),
    "embedding-atlas": _Kind(write_atlas, taken=lambda n: COLUMNS),
    "lance": _Kind(write_lance, ("lance", "pylance"), taken=lambda n: [VECTOR]),
    "qdrant": _Kind(write_qdrant, taken=lambda n: [VECTOR]),
    "pgvector": _Kind(write_pgvector, taken=lambda n: [VECTOR]),
}


@dataclass(frozen=True)
class ExportTable(VersionOptions):
    """Write a posterior table as other software reads it."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    to: Target = option(help="what it is for: " + ", ".join(get_args(Target)))
    output: str = path_option(help="folder to write")
    where: str | None = option(None, help="export only items that fulfil this SQL condition")
    columns: list[str] | None = option(
        None, help="a payload column to export; repeat it for more (default: all)"
    )
    overwrite: bool = option(False, help="replace --output if it exists")

    def __post_init__(self) -> None:
        self.check_version()
        if self.columns is not None and not _KINDS[self.to].has_payload:
            raise InputError(
                f"--to {self.to} has item_ids and no payload; leave out --columns, and join by "
                "item_id."
            )


def export_table(options: ExportTable) -> Summary:
    """Write the table's items as the target wants them."""
    watch = Stopwatch()
    kind = _KINDS[options.to]
    if kind.package is not None and find_spec(kind.package[0]) is None:
        module, name = kind.package
        raise InputError(
            f"--to {options.to} needs the package {module}, which is not installed; "
            f"pip install {name}."
        )
    table = open_posteriors(options.table, options.version)
    width = 2 * table.latent_dim + 2
    if options.to == "pgvector" and width > MOST_PGVECTOR:
        raise InputError(
            f"{options.table} has {table.latent_dim} dimensions, whose lifted vectors have {width} "
            f"numbers; pgvector takes at most {MOST_PGVECTOR}. Take another target."
        )
    check_output(options.output, options.overwrite, EXPORT_MARK, [table.uri])
    with spark_session("export_table", table.uri, options.output) as spark, progress(spark, watch):
        frame = read_items_once(spark, table)
        if options.where is not None:
            frame = rows_where(frame, options.where)
        columns = options.columns if kind.has_payload else ()
        with watch.phase("check"), where_is_to_blame(options.where):
            rows = chosen_rows(table, frame, columns, kind.taken(table.latent_dim))
        record: Summary = {
            "to": options.to,
            "table": table.uri,
            "version": table.version,
            "items": rows.count,
            "latent_dim": rows.latent_dim,
        }
        with (
            watch.phase("write"),
            timestamps_for_all(spark),
            where_is_to_blame(options.where),
            replacing(options.output, EXPORT_MARK) as folder,
        ):
            kind.write(rows, folder)
            write_record(
                folder, RECORD, {**record, "where": options.where, "columns": [*rows.payload]}
            )
    return {**record, "seconds": watch.seconds, "output": absolute(options.output)}
