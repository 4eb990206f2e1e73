"""Open what the posteriors are in: a version of a posterior table, or plain Parquet.

One version of a table holds the posteriors of one model.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltalake.exceptions import DeltaError, TableNotFoundError

from vaeudf.errors import TableError, root_cause
from vaeudf.schema import ITEM_ID, LOG_VAR, MODEL_ID_KEY, MU, SOURCE_VERSION
from vaeudf.storage.locations import absolute, delta_uri, exists, is_empty_folder
from vaeudf.table.delta import (
    has_commits,
    last_transaction,
    latest_version,
    open_delta,
)
from vaeudf.table.footers import read_row_groups
from vaeudf.table.other_formats import about_other_table
from vaeudf.table.plain_parquet import examine, parquet_files
from vaeudf.table.protocol import check_writable
from vaeudf.table.runs import holds_only_runs
from vaeudf.table.snapshot import Snapshot, take_snapshot

FORMAT = "1"
FORMAT_KEY = "vaeudf.format"
LATENT_DIM_KEY = "vaeudf.latent_dim"


@dataclass(frozen=True)
class PosteriorTable:
    """One version of a posterior table.

    Attributes:
        uri: Where it is.
        version: The Delta version; None for plain Parquet, which has no versions.
        latent_dim: n.
        snapshot: Its data files, and which of their rows are the table's.
        provenance: What the commit says of its model and catalog; has ``vaeudf.model_id``. Empty
            for plain Parquet.
        transaction: Number of the last publication; the next one must be this plus one.
    """

    uri: str
    version: int | None
    latent_dim: int
    snapshot: Snapshot
    provenance: dict[str, str]
    transaction: int

    @property
    def num_items(self) -> int:
        """Rows."""
        return self.snapshot.num_rows

    @property
    def files(self) -> tuple[str, ...]:
        """The data files' URIs."""
        return self.snapshot.files

    @property
    def model_id(self) -> str:
        """sha256 of the bundle that the posteriors come from."""
        return self.provenance[MODEL_ID_KEY]


def open_table(uri: str, version: int | None = None) -> PosteriorTable:
    """Open a posterior table at its latest version, or at an older one.

    Raises:
        TableError: There is no Delta table, it is not one of posteriors, not at that version, or
            it uses a feature of Delta's that vaeudf does not read.
    """
    table = _open(uri, version)
    if table.transaction == 0:
        raise TableError(
            f"nothing was published to table {uri} by version {table.version}; "
            "run encode_catalog first, or name a later version."
        )
    return table


def open_posteriors(uri: str, version: int | None = None) -> PosteriorTable:
    """Open a posterior table, or a file or folder of plain Parquet with item_id, mu and log_var.

    Raises:
        TableError: It is neither, or a table of another format, or a version of plain Parquet was
            asked for.
    """
    location = absolute(uri)
    files = [] if has_commits(location) else parquet_files(location)
    if not files:
        if exists(location) and not has_commits(location):
            raise TableError(
                f"{uri} holds neither a Delta table nor Parquet; expected a posterior table, as "
                "encode_catalog writes it, or Parquet with item_id, mu and log_var."
            )
        return open_table(uri, version)
    other = about_other_table(uri, f"{uri} is")
    if other is not None:
        raise TableError(other)
    if version is not None:
        raise TableError(
            f"{uri} is plain Parquet, which has no versions; leave out the version {version}."
        )
    num_items, latent_dim = examine(files)
    if latent_dim == 0:
        raise TableError(f"{uri} has no posteriors: {num_items} rows, the first without a mu.")
    return PosteriorTable(location, None, latent_dim, Snapshot(tuple(files), num_items), {}, 0)


def open_for_publishing(uri: str, latent_dim: int) -> PosteriorTable | None:
    """Return the table to publish a new version of, or None if it is to be created.

    Raises:
        TableError: The folder holds something else, the table has another latent_dim, or it uses a
            feature of Delta's with which vaeudf cannot write, or a data file cannot be read.
        InputError: delta-rs cannot write a table of that name there.
    """
    if "%" in absolute(uri):
        raise TableError(
            f"table {uri} has a % in its path, which delta-rs takes for the beginning of an "
            "escaped character; name another folder."
        )
    delta_uri(uri)  # refuses what delta-rs cannot write
    if not exists(uri) or is_empty_folder(uri):
        return None
    if not has_commits(absolute(uri)):
        if holds_only_runs(uri):
            return None
        raise TableError(
            f"{uri} is not empty and not a posterior table; name another folder with --table."
        )
    table = _open(uri, to_write=True)
    if table.latent_dim != latent_dim:
        raise TableError(
            f"table {uri} holds posteriors of latent_dim {table.latent_dim}, but the model has "
            f"latent_dim {latent_dim}; publish them to another --table."
        )
    # Spark takes an empty file for one without rows, and all its items would be encoded again.
    read_row_groups(table.snapshot)
    return table


def _open(uri: str, version: int | None = None, *, to_write: bool = False) -> PosteriorTable:
    """Open a posterior table, published or only created."""
    location = absolute(uri)
    latest = None if version is None else latest_version(location)
    if version is not None and latest is not None and version > latest:
        # delta-rs would look for every version up to it.
        raise TableError(_no_version(uri, version, latest))
    try:
        delta = open_delta(location, version)
    except (TableNotFoundError, DeltaError, OSError) as error:
        if not exists(location):
            problem = "does not exist"
        elif not has_commits(location):
            problem = "is not a Delta table: it has no commits in _delta_log"
        elif version is not None and latest is not None and not isinstance(error, OSError):
            raise TableError(_no_version(uri, version, latest)) from None
        else:
            problem = f"cannot be read as a Delta table ({root_cause(error)})"
        raise TableError(
            f"table {uri} {problem}; expected a posterior table, as encode_catalog writes it."
        ) from None
    properties = delta.metadata().configuration
    if properties.get(FORMAT_KEY) != FORMAT:
        raise TableError(
            f"table {uri} is a Delta table with columns "
            f"{', '.join(f.name for f in delta.schema().fields)}, but not a posterior table of "
            f"format {FORMAT} (its property {FORMAT_KEY} is {properties.get(FORMAT_KEY)!r})."
        )
    if to_write:
        check_writable(location, delta)
    snapshot = take_snapshot(location, delta)
    if snapshot.columns is not None and snapshot.columns.partitions:
        raise TableError(
            f"table {uri} is partitioned by {', '.join(snapshot.columns.partitions)}; expected a "
            "table as encode_catalog writes it, which is not partitioned."
        )
    fields = {field.name: field for field in delta.schema().fields}
    missing = [name for name in (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION) if name not in fields]
    if missing:
        raise TableError(
            f"table {uri} has no column {', '.join(missing)} any more; found {', '.join(fields)}. "
            "Open a version that has it, or roll back to one."
        )
    if MODEL_ID_KEY not in fields[MU].metadata:
        raise TableError(
            f"table {uri} does not say any more which model its posteriors are from: the metadata "
            f"of its column {MU} is gone. Open a version that has it, or roll back to one."
        )
    return PosteriorTable(
        uri=location,
        version=delta.version(),
        latent_dim=int(properties[LATENT_DIM_KEY]),
        snapshot=snapshot,
        provenance={key: str(value) for key, value in fields[MU].metadata.items()},
        transaction=last_transaction(delta),
    )


def _no_version(uri: str, version: int, latest: int) -> str:
    return (
        f"table {uri} has no version {version} that can be read; the latest is {latest}, "
        "and old ones go when the table is vacuumed."
    )
