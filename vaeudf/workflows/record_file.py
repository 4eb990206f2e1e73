"""What a job says of its output, as JSON beside it."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from vaeudf.storage.locations import filesystem, make_folder


def write_record(folder: str, name: str, record: Mapping[str, Any]) -> None:
    """Write a record into a folder, of any store, with the number of its format before it.

    Args:
        folder: A path or URI; it is made, if it is not there.
        name: The file's name.
        record: What JSON can hold, and no NaN.
    """
    text = json.dumps({"format": 1, **record}, indent=2, ensure_ascii=False, allow_nan=False)
    files, inner = filesystem(folder)
    make_folder(files, inner)
    with files.open_output_stream(posixpath.join(inner, name)) as stream:
        stream.write(text.encode() + b"\n")
