"""The schema of a table's next version: the catalog's columns, and those that others have added."""

from __future__ import annotations

import json
import logging

import pyarrow as pa

from vaeudf.errors import TableError
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, PAYLOAD_KEY, SOURCE_VERSION, quoted
from vaeudf.table.delta import Commit, open_delta, publication_number, read_commits
from vaeudf.table.open import PosteriorTable

log = logging.getLogger(__name__)

_OWN_METADATA = b"vaeudf."


def next_schema(schema: pa.Schema, previous: PosteriorTable | None) -> pa.Schema:
    """Return the schema of the next version of a table.

    Columns keep their comments and whether they may be null, and columns that others have added
    stay, after ours.

    Args:
        schema: What a run writes, from :func:`vaeudf.schema.posterior_schema`.
        previous: The version that this one replaces; None if there is none.

    Raises:
        TableError: An added column has the name of one that the catalog has by now, in other
            capitals, which Delta does not tell apart; or it must not be null.
    """
    if previous is None or previous.snapshot.columns is None:
        return schema
    old = previous.snapshot.columns.schema
    added = added_columns(schema, previous)
    lower = {name.lower(): name for name in schema.names}
    for name in added:
        if name.lower() in lower:
            raise TableError(
                f"table {previous.uri} has a column {name!r} that was added to it, and the catalog "
                f"has {lower[name.lower()]!r}; rename one of them, or leave the catalog's out with "
                "--payload-columns."
            )
    required = [name for name in added if not old.field(name).nullable]
    if required:
        raise TableError(
            f"column {required[0]!r} was added to table {previous.uri} as NOT NULL, and new items "
            f"have no value for it; in Spark SQL, ALTER TABLE delta.`{previous.uri}` ALTER COLUMN "
            f"{quoted(required[0])} DROP NOT NULL."
        )
    ours = [_kept(field, old) for field in schema]
    return pa.schema([*ours, *(old.field(name) for name in added)], schema.metadata)


def added_columns(schema: pa.Schema, previous: PosteriorTable | None) -> list[str]:
    """Return the columns of a version that are neither a run's own nor the catalog's of before.

    Args:
        schema: What a run writes.
        previous: The version; None if there is none.
    """
    if previous is None or previous.snapshot.columns is None:
        return []
    before = _payload_columns(previous)
    own = {ITEM_ID, MU, LOG_VAR, SOURCE_VERSION, *schema.names, *before}
    return [name for name in previous.snapshot.columns.schema.names if name not in own]


def same_payload_columns(schema: pa.Schema, previous: PosteriorTable | None) -> bool:
    """Whether a version knows the same columns to be the catalog's as a run's schema does."""
    key = PAYLOAD_KEY.encode()
    known = None if previous is None else previous.provenance.get(PAYLOAD_KEY)
    return known is None or known == schema.field(MU).metadata[key].decode()


def changed_by_others(table: PosteriorTable) -> bool:
    """Whether somebody else has changed a table since vaeudf published to it last."""
    for version, actions in read_commits(table.uri, newest_first=True):
        if publication_number(actions) == table.transaction:
            return False
        is_later = table.version is None or version > table.version
        if not is_later and not Commit.of(version, actions).is_note:
            return True
    return True


def _kept(field: pa.Field, old: pa.Schema) -> pa.Field:
    """Return a field with what others have said of it, under whatever capitals."""
    before = next((one for one in old if one.name.lower() == field.name.lower()), None)
    if before is None:
        return field
    theirs = {
        key: value
        for key, value in (before.metadata or {}).items()
        if not key.startswith(_OWN_METADATA)
    }
    return field.with_metadata(theirs | (field.metadata or {})).with_nullable(
        field.nullable and before.nullable
    )


def _payload_columns(table: PosteriorTable) -> list[str]:
    """Return the columns that the table's last run carried over from the catalog."""
    text = table.provenance.get(PAYLOAD_KEY)
    if text is not None:
        return [str(name) for name in json.loads(text)]
    # Versions of before this was kept: they had no columns but ours when they were published.
    version = _last_publication(table)
    if version is not None:
        return [field.name for field in open_delta(table.uri, version).schema().fields]
    log.warning(
        "table %s no longer has the log of the last run's commit: columns that the catalog does "
        "not have are kept, as if others had added them.",
        table.uri,
    )
    return []


def _last_publication(table: PosteriorTable) -> int | None:
    """Return the version that vaeudf published last, or None if the log has it no more."""
    for version, actions in read_commits(table.uri, newest_first=True):
        if publication_number(actions) == table.transaction:
            return version
    return None
