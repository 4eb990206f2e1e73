"""What a posterior table is at its latest version, and who has written its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from vaeudf.table.delta import Commit, commits, open_delta
from vaeudf.table.open import PosteriorTable, open_table
from vaeudf.table.pixel_files import PictureShape, find_pixel_files, kept_shape


@dataclass(frozen=True)
class Description:
    """A table at its latest version.

    Attributes:
        table: The table.
        num_deleted: Rows that deletion vectors delete, which the files still hold.
        num_bytes: Of the data files.
        pictures: The shape of the pixels that it keeps; None if it keeps none.
        num_pixel_files: How many of its data files have a pixel file.
        pixel_bytes: Of these.
        reader_version: The protocol that readers must know.
        writer_version: The protocol that writers must know.
        features: The features of Delta that the table has switched on, where the protocol lists
            them.
        properties: The table's properties.
        constraints: What every row must fulfil, by name.
        columns: Name, type and comment of each column.
        comment: The table's own.
        commits: The versions whose commits the log still has, the oldest first.
    """

    table: PosteriorTable
    num_deleted: int
    num_bytes: int
    pictures: PictureShape | None
    num_pixel_files: int
    pixel_bytes: int
    reader_version: int
    writer_version: int
    features: tuple[str, ...]
    properties: Mapping[str, str]
    constraints: Mapping[str, str]
    columns: tuple[tuple[str, str, str], ...]
    comment: str
    commits: tuple[Commit, ...]


def describe(uri: str) -> Description:
    """Return what a table is.

    Raises:
        TableError: There is no posterior table, or it uses a feature of Delta's that vaeudf does
            not read.
    """
    table = open_table(uri)
    delta = open_delta(table.uri, table.version)
    protocol, metadata = delta.protocol(), delta.metadata()
    sizes = pa.table(delta.get_add_actions()).column("size_bytes").to_pylist()
    kept = find_pixel_files(table.uri, table.files)
    features = {*(protocol.reader_features or []), *(protocol.writer_features or [])}
    schema = pa.schema(delta.schema().to_arrow())
    return Description(
        table=table,
        num_deleted=sum(len(rows) for rows in table.snapshot.deleted.values()),
        num_bytes=sum(sizes),
        pictures=kept_shape(table.provenance),
        num_pixel_files=len(kept),
        pixel_bytes=sum(file.size for file in kept.values()),
        reader_version=protocol.min_reader_version,
        writer_version=protocol.min_writer_version,
        features=tuple(sorted(features)),
        properties=dict(sorted(metadata.configuration.items())),
        constraints=table.snapshot.constraints,
        columns=tuple(
            (f.name, str(f.type), (f.metadata or {}).get(b"comment", b"").decode()) for f in schema
        ),
        comment=metadata.description or "",
        commits=tuple(commits(table.uri)),
    )
