"""A path with columns in braces, such as ``images/{id}.jpg``: each row puts its own values in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vaeudf.errors import InputError

_IN_BRACES = re.compile(r"\{([^{}]+)\}")


class PathTemplate(NamedTuple):
    """A path with gaps for the values of columns.

    Attributes:
        texts: What stands before the first column, between two columns, and behind the last.
        columns: The names in braces, one fewer than texts.
    """

    texts: tuple[str, ...]
    columns: tuple[str, ...]

    def filled(self, values: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
        """Return each row's path, from its columns as text; null if one of these is null."""
        parts: list[object] = [self.texts[0]]
        for name, text in zip(self.columns, self.texts[1:], strict=True):
            parts += [values[name], text]
        return pc.binary_join_element_wise(*parts, "", null_handling="emit_null")


def path_template(text: str) -> PathTemplate | None:
    """Return a path with names in braces as a template; None if there are none in it."""
    parts = _IN_BRACES.split(text)
    return PathTemplate(tuple(parts[::2]), tuple(parts[1::2])) if len(parts) > 1 else None


def check_template_columns(
    about: str, text: str, missing: Sequence[str], names: Sequence[str]
) -> None:
    """Refuse a template with columns that are not there.

    Args:
        about: What has the columns, for the message.
        text: The template as it was written.
        missing: Those of its columns that are not there.
        names: All columns that are there.

    Raises:
        InputError: There are some.
    """
    if missing:
        raise InputError(
            f"{about} has no column {', '.join(map(repr, missing))} for --path-column {text}; "
            f"its columns are {', '.join(map(repr, names))}. Each name in braces must be one of "
            "them."
        )
