"""Tables of other formats, whose Parquet files alone do not say which rows there are."""

from __future__ import annotations

import posixpath
import re

from pyarrow import fs

from vaeudf.storage.locations import absolute, filesystem

_ICEBERG_METADATA = re.compile(r"(v\d+|\d+-.+)(\.gz)?\.metadata\.json(\.gz)?")


def about_other_table(path: str, what: str) -> str | None:
    """Return what to say of a folder that is an Iceberg or Hudi table; None if it is neither.

    Args:
        path: The folder; a file or a glob is neither.
        what: What it was named as, with its verb: "catalog photos is".
    """
    system, inner = filesystem(absolute(path))
    if system.get_file_info(posixpath.join(inner, ".hoodie")).type == fs.FileType.Directory:
        name, reader = "a Hudi", "hudi"
    elif any(map(_ICEBERG_METADATA.fullmatch, _names(system, posixpath.join(inner, "metadata")))):
        name, reader = "an Iceberg", "iceberg"
    else:
        return None
    return (
        f"{what} {name} table, whose files may hold rows that were deleted or replaced; write its "
        f"rows as Parquet, such as with spark.read.format('{reader}').load(…).write.parquet(…), "
        "and name that."
    )


def _names(system: fs.FileSystem, folder: str) -> list[str]:
    if system.get_file_info(folder).type != fs.FileType.Directory:
        return []
    return [info.base_name for info in system.get_file_info(fs.FileSelector(folder))]
