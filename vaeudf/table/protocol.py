"""What a Delta table demands of whoever reads or writes it, and what vaeudf can do.

The rule of the Delta protocol: read a table only if every reader feature is known, and write to it
only if every writer feature is. delta-rs has lists of its own; these are of what *vaeudf* does with
data files, which it reads and writes itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from deltalake import DeltaTable

from vaeudf.errors import TableError
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION, quoted
from vaeudf.table.delta import full_paths

_READ = {
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
}
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
# What delta-spark 4.4 can take out of a table again.
_DROPPED = {
    "domainMetadata",
    "inCommitTimestamp",
    "rowTracking",
    "typeWidening",
    "typeWidening-preview",
    "vacuumProtocolCheck",
}
_MAPPING = "delta.columnMapping.mode"
_PHYSICAL_NAME = "delta.columnMapping.physicalName"
_ID = "delta.columnMapping.id"


def check_readable(uri: str, delta: DeltaTable) -> None:
    """Check that vaeudf can tell a version's rows from its data files.

    Args:
        uri: The table, absolute.
        delta: A version of it.

    Raises:
        TableError: The version uses a feature that vaeudf does not read.
    """
    unknown = sorted({*(delta.protocol().reader_features or [])} - _READ)
    if unknown:
        raise TableError(
            f"table {uri} uses {_named(unknown)}, which vaeudf does not read; read it with an "
            "engine that does, or write its rows to a table without it."
        )
    nested = [
        f.name for f in delta.schema().fields if _has_other_names(json.loads(f.type.to_json()))
    ]
    if _is_mapped(delta) and nested:
        raise TableError(
            f"table {uri} has fields in {', '.join(nested)} that its files name otherwise; vaeudf "
            "reads other names of whole columns only. Rename them back."
        )


def check_writable(uri: str, delta: DeltaTable) -> None:
    """Check that a version can be replaced without harm, before any work is done for it.

    Args:
        uri: The table, absolute.
        delta: Its latest version.

    Raises:
        TableError: The table uses a feature that would not be kept, or not be obeyed, or names
            files in its own folder by full paths.
    """
    check_readable(uri, delta)
    unknown = sorted({*(delta.protocol().writer_features or [])} - _WRITTEN)
    if unknown:
        raise TableError(
            f"table {uri} uses {_named(unknown)}, with which vaeudf cannot write; "
            f"{_remedy(uri, unknown)}."
        )
    check_paths(uri, delta)
    for found, remedy in _rules(uri, delta):
        raise TableError(
            f"table {uri} has {found}, which vaeudf cannot keep when it writes; {remedy}, or "
            "encode to another --table."
        )


def check_paths(uri: str, delta: DeltaTable) -> None:
    """Check that delta-rs finds a version's files, lest it take them for ones of no version.

    Args:
        uri: The table, absolute.
        delta: A version of it.

    Raises:
        TableError: The version names files in the table's folder by full paths.
    """
    found = full_paths(uri, delta)
    if found:
        raise TableError(
            f"table {uri} names data files by full paths, such as {found[0]}. It can be read, but "
            "delta-rs, with which vaeudf writes, does not find such files, and a vacuum would "
            "remove them. Write to it and vacuum it with the engine that named them so, or encode "
            "to another --table."
        )


def uses_vectors(delta: DeltaTable) -> bool:
    """Whether files of a table's versions may be deletion vectors."""
    return "deletionVectors" in (delta.protocol().writer_features or [])


def _named(features: Sequence[str]) -> str:
    return f"the Delta feature{'s' if len(features) > 1 else ''} {', '.join(features)}"


def _remedy(uri: str, features: Sequence[str]) -> str:
    """Return what can be done about features, the end of a message."""
    if not _DROPPED >= {*features}:
        return "Delta has no way to take that out, so encode to another --table"
    # rowTracking needs domainMetadata.
    drops = [f"ALTER TABLE delta.`{uri}` DROP FEATURE {one}" for one in reversed(features)]
    return f"in Spark SQL, {', then '.join(drops)}; or encode to another --table"


def stored_names(delta: DeltaTable) -> dict[str, str]:
    """Return what the data files call the columns that have another name there."""
    if not _is_mapped(delta):
        return {}
    found = {f.name: str(f.metadata.get(_PHYSICAL_NAME, f.name)) for f in delta.schema().fields}
    return {name: stored for name, stored in found.items() if name != stored}


def column_ids(delta: DeltaTable) -> dict[str, int]:
    """Return the columns' field ids in the data files, if columns are found by these."""
    if delta.metadata().configuration.get(_MAPPING, "none").lower() != "id":
        return {}
    return {f.name: int(f.metadata[_ID]) for f in delta.schema().fields if _ID in f.metadata}


def _has_other_names(kind: Any) -> bool:
    """Whether a type, as the log states it, has fields that the files name otherwise."""
    if isinstance(kind, list):
        return any(_has_other_names(part) for part in kind)
    if not isinstance(kind, dict):
        return False
    stored = kind.get("metadata", {}).get(_PHYSICAL_NAME, kind.get("name"))
    return stored != kind.get("name") or any(
        _has_other_names(part) for name, part in kind.items() if name != "metadata"
    )


def constraints(delta: DeltaTable) -> dict[str, str]:
    """Return the conditions in SQL that every row must fulfil, by name.

    Those are the table's CHECK constraints, and NOT NULL of columns besides vaeudf's own, which
    never have nulls.
    """
    prefix = "delta.constraints."
    found = {
        key.removeprefix(prefix): condition
        for key, condition in delta.metadata().configuration.items()
        if key.startswith(prefix)
    }
    for field in delta.schema().fields:
        if not field.nullable and field.name not in (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION):
            found[f"{field.name} NOT NULL"] = f"{quoted(field.name)} IS NOT NULL"
    return found


def _is_mapped(delta: DeltaTable) -> bool:
    return delta.metadata().configuration.get(_MAPPING, "none").lower() != "none"


def _rules(uri: str, delta: DeltaTable) -> Iterator[tuple[str, str]]:
    """Yield what a commit of ours would lose or break, and how to take it out."""
    properties = delta.metadata().configuration
    if _is_mapped(delta):
        yield (
            "column mapping",
            f"in Spark SQL, ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ('{_MAPPING}' = 'none') "
            "takes it out, once no column has a blank or one of ,;{}()= in its name",
        )
    if properties.get("delta.appendOnly", "false").lower() == "true":
        yield "the property delta.appendOnly", "set it to false"
    for field in delta.schema().fields:
        for key in field.metadata:
            if key.startswith(("delta.generationExpression", "delta.identity", "delta.invariants")):
                yield f"the rule {key} on column {field.name}", "drop the column"
