"""What the footers of Parquet files say of their row groups, before any row is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaeudf.errors import TableError, root_cause
from vaeudf.numerics.boxes import Boxes
from vaeudf.schema import MU
from vaeudf.storage.locations import filesystem
from vaeudf.table.snapshot import FileColumns, Snapshot

BOXES_KEY = "vaeudf.boxes"
"""Footer key of the row groups' boxes, see :meth:`vaeudf.numerics.boxes.Boxes.to_bytes`."""

BLOCK_SIZE_KEY = "vaeudf.block_size"
"""Footer key of how many rows the smallest cells of the k-d order have, for other readers."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file.

    Attributes:
        file: The file's URI.
        index: Its place in the file, from 0.
        num_rows: Rows, without those that deletion vectors delete.
        box: The box around its posteriors, one of length 1; None if the footer has none. With
            deleted rows it may be larger than needed.
        deleted: The places in the group of the rows that deletion vectors delete, ascending.
        columns: What the file calls the table's columns; None if just so.
    """

    file: str
    index: int
    num_rows: int
    box: Boxes | None
    deleted: NDArray[np.int64] = field(default_factory=lambda: _NONE)
    columns: FileColumns | None = None

    def stored_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places in the group, as it is stored, of some of its rows.

        Args:
            rows: Numbers below :attr:`num_rows`.
        """
        # The i-th deleted row comes after deleted[i] - i rows that are not.
        return rows + np.searchsorted(self.deleted - np.arange(len(self.deleted)), rows, "right")


def read_row_groups(snapshot: Snapshot) -> list[RowGroup]:
    """Return the row groups of a version's data files, in order, reading footers alone.

    Raises:
        TableError: As :func:`read_footer`.
    """
    found = []
    first, file = 0, ""
    for group in read_footers(snapshot.files):
        first, file = (first if group.file == file else 0), group.file
        deleted = snapshot.deleted.get(file, _NONE)
        own = deleted[slice(*np.searchsorted(deleted, [first, first + group.num_rows]))] - first
        first += group.num_rows
        found.append(
            replace(
                group,
                num_rows=group.num_rows - len(own),
                deleted=own,
                columns=snapshot.columns,
            )
        )
    return found


def read_footers(uris: Sequence[str], threads: int = 16) -> list[RowGroup]:
    """Return the row groups of many Parquet files, in order, reading footers alone.

    Args:
        uris: The files.
        threads: How many to read at a time; an object store answers each after some 50 ms.

    Raises:
        TableError: As :func:`read_footer`.
    """
    with ThreadPoolExecutor(threads) as pool:
        return [group for groups in pool.map(read_footer, uris) for group in groups]


def read_footer(uri: str) -> list[RowGroup]:
    """Return the row groups of a Parquet file, reading its footer alone.

    Raises:
        TableError: The file cannot be read, or its boxes do not fit its row groups.
    """
    system, inner = filesystem(uri)
    try:
        footer = pq.read_metadata(inner, filesystem=system)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(
            f"data file {uri} cannot be read as Parquet ({root_cause(error)}). If the table was "
            "vacuumed since it was opened, open it again; else put the file back, or roll the "
            "table back to a version before it with maintain_table."
        ) from None
    boxes = _boxes(uri, footer)
    groups = (footer.row_group(i) for i in range(footer.num_row_groups))
    return [
        RowGroup(
            file=uri,
            index=i,
            num_rows=group.num_rows,
            box=None if boxes is None else boxes[i : i + 1],
        )
        for i, group in enumerate(groups)
    ]


def _boxes(uri: str, footer: pq.FileMetaData) -> Boxes | None:
    text = (footer.metadata or {}).get(BOXES_KEY.encode())
    if text is None or footer.num_rows == 0:
        return None
    latent_dim = _latent_dim(footer)
    try:
        boxes = Boxes.from_bytes(text, latent_dim)
    except ValueError as error:
        problem = str(error).rstrip(".")
    else:
        if len(boxes) == footer.num_row_groups:
            return boxes
        problem = f"there are {len(boxes)}"
    raise TableError(
        f"data file {uri} has {BOXES_KEY} in its footer that do not fit its row groups: {problem}; "
        f"expected {footer.num_row_groups} boxes of {latent_dim} dimensions. Something has "
        "rewritten the file: publish the table again with encode_catalog."
    )


def _latent_dim(footer: pq.FileMetaData) -> int:
    """Return how many numbers a mu has; 1 in a file without any."""
    groups = (footer.row_group(i) for i in range(footer.num_row_groups))
    paths = (footer.schema.column(place).path for place in range(footer.num_columns))
    # A list's column has a path such as mu.list.element.
    columns = [place for place, path in enumerate(paths) if path.split(".")[0] == MU]
    values = sum(group.column(place).num_values for group in groups for place in columns)
    return max(1, int(values) // int(footer.num_rows))
