"""Which of a catalog's columns are carried into the posterior table, if no option names them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from vaeudf.schema import why_reserved

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class LeftOut(NamedTuple):
    """A column that the posterior table cannot have, and why not."""

    name: str
    why: str


def carried(
    names: Iterable[str], look_up: Callable[[str], _T | LeftOut]
) -> tuple[list[_T], list[LeftOut]]:
    """Return the columns that the table can have, and the others.

    Args:
        names: Those of the catalog.
        look_up: Returns the column of a name, or says why it cannot be carried.
    """
    found, left_out = [], []
    taken: dict[str, str] = {}
    for name in names:
        why = why_reserved(name) or taken.get(name.lower())
        column = look_up(name) if why is None else LeftOut(name, why)
        if isinstance(column, LeftOut):
            left_out.append(column)
        else:
            taken[name.lower()] = f"it differs from {name!r} in capitals alone"
            found.append(column)
    return found, left_out


def tell_left_out(path: str, left_out: Sequence[LeftOut]) -> None:
    """Log what the table will not have of a catalog, in one line."""
    if left_out:
        reasons = "; ".join(f"{column.name!r}, for {column.why}" for column in left_out)
        log.warning("columns of catalog %s that the table will not have: %s.", path, reasons)
