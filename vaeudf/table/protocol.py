"""What a Delta table demands of whoever reads or writes it, and what vaeudf can do.

The rule of the Delta protocol: read a table only if every reader feature is known, and write to it
only if every writer feature is. delta-rs has lists of its own; these are of what *vaeudf* does with
data files, which it reads and writes itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from deltalake import DeltaTable

from vaeudf.errors import TableError

# Deletion vectors and column mapping: as long as no row is deleted by a vector, and no column is
# stored under another name; see _check_vectors and _check_names.
_READ = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "deletionVectors", "columnMapping"}
# What can be there unused, see _rules; and what delta-rs 1.6 can commit to.
_WRITTEN = {
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "generatedColumns",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
}
_MAPPING = "delta.columnMapping.mode"
_PHYSICAL_NAME = "delta.columnMapping.physicalName"


def check_readable(uri: str, delta: DeltaTable) -> None:
    """Check that the rows of a version are what its data files hold.

    Args:
        uri: The table, absolute.
        delta: A version of it.

    Raises:
        TableError: The version uses a feature that vaeudf does not read.
    """
    for feature in delta.protocol().reader_features or []:
        if feature not in _READ:
            raise TableError(
                f"table {uri} uses the Delta feature {feature}, which vaeudf does not read; in "
                f"Spark SQL, ALTER TABLE delta.`{uri}` DROP FEATURE {feature} takes it out."
            )
    _check_vectors(uri, delta)
    _check_names(uri, delta)


def check_writable(uri: str, delta: DeltaTable) -> None:
    """Check that a version can be replaced without harm, before any work is done for it.

    Args:
        uri: The table, absolute.
        delta: Its latest version.

    Raises:
        TableError: The table uses a feature that would not be kept, or not be obeyed.
    """
    check_readable(uri, delta)
    for feature in delta.protocol().writer_features or []:
        if feature not in _WRITTEN:
            raise TableError(
                f"table {uri} uses the Delta feature {feature}, with which vaeudf cannot write; in "
                f"Spark SQL, ALTER TABLE delta.`{uri}` DROP FEATURE {feature} takes it out. Or "
                "encode to another --table."
            )
    for found, remedy in _rules(delta):
        raise TableError(
            f"table {uri} has {found}, which vaeudf cannot keep when it writes; {remedy}, or "
            "encode to another --table."
        )


def uses_vectors(delta: DeltaTable) -> bool:
    """Whether files of a table's versions may be deletion vectors."""
    return "deletionVectors" in (delta.protocol().writer_features or [])


def _check_vectors(uri: str, delta: DeltaTable) -> None:
    # Only with the feature: to look for vectors reads the log once more.
    num_files = pa.table(delta.deletion_vectors()).num_rows if uses_vectors(delta) else 0
    if num_files:
        raise TableError(
            f"table {uri} has rows that deletion vectors delete, in {num_files} of its data files; "
            f"vaeudf does not read these. In Spark SQL, REORG TABLE delta.`{uri}` APPLY (PURGE) "
            "writes the files without the rows."
        )


def _check_names(uri: str, delta: DeltaTable) -> None:
    if not _is_mapped(delta):
        return
    stored = {f.name: str(f.metadata.get(_PHYSICAL_NAME, f.name)) for f in delta.schema().fields}
    renamed = [f"{name} is {other}" for name, other in stored.items() if name != other]
    if renamed:
        raise TableError(
            f"table {uri} has columns that its files name otherwise ({', '.join(renamed)}); vaeudf "
            f"does not read these. Rename them back, or turn the table's property {_MAPPING} off."
        )


def _is_mapped(delta: DeltaTable) -> bool:
    return delta.metadata().configuration.get(_MAPPING, "none") != "none"


def _rules(delta: DeltaTable) -> Iterator[tuple[str, str]]:
    """Yield what a commit of ours would lose or break, and how to take it out."""
    properties = delta.metadata().configuration
    if _is_mapped(delta):
        yield "column mapping", f"turn its property {_MAPPING} off"
    if properties.get("delta.appendOnly") == "true":
        yield "the property delta.appendOnly", "set it to false"
    for key in properties:
        if key.startswith("delta.constraints."):
            name = key.removeprefix("delta.constraints.")
            yield f"the constraint {name}", f"drop it (ALTER TABLE … DROP CONSTRAINT {name})"
    for field in delta.schema().fields:
        for key in field.metadata:
            if key.startswith(("delta.generationExpression", "delta.identity", "delta.invariants")):
                yield f"the rule {key} on column {field.name}", "drop the column"
