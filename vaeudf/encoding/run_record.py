"""One row per run of encode_catalog, in the table's folder ``_runs``."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from vaeudf.errors import TableError, root_cause
from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.table.runs import RUNS

Outcome = Literal["published", "nothing to do", "too many errors", "lost the race", "held back"]

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("outcome", pa.string()),
        ("started", pa.timestamp("us", "UTC")),
        ("model_id", pa.string()),
        ("model", pa.string()),
        ("catalog", pa.string()),
        ("version_before", pa.int64()),
        ("version", pa.int64()),
        ("read", pa.int64()),
        ("encoded", pa.int64()),
        ("resumed", pa.int64()),
        ("carried", pa.int64()),
        ("removed", pa.int64()),
        ("quarantined", pa.map_(pa.string(), pa.int64())),
        ("images_per_second", pa.float64()),
        ("seconds", pa.map_(pa.string(), pa.float64())),
        ("application_id", pa.string()),
        ("message", pa.string()),
    ]
)
"""What is kept of a run; see docs/operations.md for what each column means."""


@dataclass
class RunRecord:
    """What is known of a run; filled in as the run goes on.

    Attributes:
        run_id: The run.
        model_id: sha256 of the bundle that it encodes with.
        model: Where the bundle is.
        catalog: Where the catalog is.
        version_before: The version that was published last; None if there was none.
        started: When the run began.
        outcome: How it ended; None while it runs.
        version: The version that it has published, or found to be up to date.
        read: Items of the catalog.
        encoded: Items whose posterior is new.
        resumed: Items, failures included, that were taken over from runs that were killed.
        carried: Items whose posterior is the last version's.
        removed: Items of the last version that are not in the catalog any more.
        ignored_files: Files of an image folder that are not named as images; not kept.
        quarantined: Items that could not be encoded, by reason.
        images_per_second: Images encoded, over the seconds that encoding took.
        pixel_bytes: Of the pixels that the version keeps; not kept itself.
        seconds: By phase.
        application_id: What Spark calls the run.
        message: Why it failed.
    """

    run_id: str
    model_id: str
    model: str
    catalog: str
    version_before: int | None = None
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    outcome: Outcome | None = None
    version: int | None = None
    read: int = 0
    encoded: int = 0
    resumed: int = 0
    carried: int = 0
    removed: int = 0
    ignored_files: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    images_per_second: float = 0.0
    pixel_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    application_id: str | None = None
    message: str | None = None

    @property
    def num_failed(self) -> int:
        """Items that could not be encoded."""
        return sum(self.quarantined.values())

    def summary(self) -> dict[str, Any]:
        """Return what the job prints of it."""
        return {
            "outcome": self.outcome,
            "read": self.read,
            "encoded": self.encoded,
            "resumed": self.resumed,
            "carried": self.carried,
            "removed": self.removed,
            "quarantined": self.quarantined,
            "run_id": self.run_id,
            "model_id": self.model_id,
            "model": self.model,
            "catalog": self.catalog,
            "version_before": self.version_before,
            "application_id": self.application_id,
            "ignored_files": self.ignored_files,
            "images_per_second": self.images_per_second,
            "pixel_bytes": self.pixel_bytes,
            "version": self.version,
            "seconds": self.seconds,
        }


def write_run_record(table: str, record: RunRecord) -> None:
    """Keep the record of a run in a table's folder.

    Raises:
        OSError: It cannot be written.
    """
    row = {name: getattr(record, name) for name in SCHEMA.names}
    for name in ("quarantined", "seconds"):
        row[name] = list(row[name].items())
    files, inner = filesystem(posixpath.join(table, RUNS))
    make_folder(files, inner)
    path = posixpath.join(inner, f"{record.run_id}.parquet")
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), path, filesystem=files)


def last_runs(table: str, count: int) -> list[dict[str, Any]]:
    """Return the records of a table's last runs, the oldest first: the columns of :data:`SCHEMA`.

    Raises:
        TableError: One of them is damaged.
    """
    files, inner = filesystem(posixpath.join(table, RUNS))
    found = files.get_file_info(fs.FileSelector(inner, allow_not_found=True))
    # Their names begin with the time when they started.
    paths = sorted(entry.path for entry in found if entry.extension == "parquet")[-count:]
    return [row for path in paths for row in _read_record(files, path)]


def _read_record(files: fs.FileSystem, path: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(
            path, filesystem=files, schema=SCHEMA
        ).to_pylist()
    except pa.ArrowInvalid as error:
        raise TableError(
            f"run record {path} cannot be read as Parquet ({root_cause(error)}); remove the "
            "file, which the table does not need."
        ) from None
    return rows
