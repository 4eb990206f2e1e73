"""Which columns of a table are queries: ids, points or Gaussians, in lists or one by one."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.query.blends import Blends, blend
from vaeudf.query.files.vectors import plain_text, vectors
from vaeudf.query.latents import Latents, from_rows
from vaeudf.schema import LOG_VAR, MU, QUERY_ID
from vaeudf.table.ids import ids_as_text

log = logging.getLogger(__name__)

_Z = "z"
_LOG_SIGMA = "log_sigma"
_GROUP = "group"
_WEIGHT = "weight"
_TOLERANCE = "tolerance"


def with_own_names(table: pa.Table) -> pa.Table:
    """Return a table whose columns of queries are named in small letters, as databases may not.

    A column keeps its name if another one would have the same.
    """
    lower = [name.lower() for name in table.column_names]
    names = [
        small if is_read(name) and lower.count(small) == 1 else name
        for name, small in zip(table.column_names, lower, strict=True)
    ]
    return table.rename_columns(names)


def has_vectors(names: Iterable[str]) -> bool:
    """Whether some of these columns hold points or Gaussians, or parts of them."""
    names = [name.lower() for name in names]
    return any(_has(names, stem) for stem in (_Z, MU, LOG_VAR))


def is_read(name: str) -> bool:
    """Whether a column of this name, in any letters, is one that queries are made from."""
    name = name.lower()
    if name in (QUERY_ID, _GROUP, _WEIGHT):
        return True
    return any(_has([name], stem) for stem in (_Z, MU, LOG_VAR, _TOLERANCE))


def queries_of(table: pa.Table, path: str) -> Latents:
    """Return the queries of a table.

    Args:
        table: Has a column ``z`` of vectors, or one per dimension named z0, z1, …; or ``mu`` and
            ``log_var`` in the same two ways; and optionally ``query_id``, and for points
            ``tolerance``, a number or as ``z``. Numbers may be text.
        path: Where it is from, for messages.

    Raises:
        InputError: It has other columns, or values of other kinds.
    """
    names = table.column_names
    ids = _ids(table.column(QUERY_ID), path) if QUERY_ID in names else None
    if ids is None:
        _tell_names(names, path)
    if not (_has(names, MU) or _has(names, LOG_VAR)):
        points = from_rows(_rows(table, _Z, path), ids)
        if not _has(names, _TOLERANCE):
            return points
        return points.with_tolerance(_tolerances(table, points, path))
    _check_gaussian_columns(names, path)
    return from_rows(_rows(table, MU, path), ids, _rows(table, LOG_VAR, path))


def is_grouped(table: pa.Table) -> bool:
    """Whether the columns ``group`` and ``weight`` are both there, and make blends of queries."""
    return {_GROUP, _WEIGHT} <= set(table.column_names)


def blends_of(table: pa.Table, path: str) -> Blends:
    """Return the blends of a table: one for each value of ``group``, or one of all.

    Args:
        table: As of :func:`queries_of`, perhaps with columns ``group`` and ``weight``. A
            ``query_id`` names a member, and need not be unique but in its group.
        path: Where it is from, for messages.

    Raises:
        InputError: As of :func:`queries_of`; a group is null, a weight no finite number, all of a
            group are 0, or its members leave different dimensions open.
    """
    groups = weights = None
    if _GROUP in table.column_names:
        column = table.column(_GROUP)
        missing = pc.sum(pc.is_null(column, nan_is_null=True)).as_py()
        if missing:
            raise InputError(f"queries {path}: group is null in {missing} rows.")
        groups = ids_as_text(column, f"queries {path} have group").to_pylist()
        table = table.drop_columns([_GROUP])
    if _WEIGHT in table.column_names:
        column = plain_text(table.column(_WEIGHT))
        point = _decimal_point([column, *_numbered_columns(table)], path)
        weights = _numbers(column, _WEIGHT, point, path)
        bad = np.flatnonzero(~np.isfinite(weights))
        if len(bad):
            raise InputError(
                f"queries {path} have weight = {column[int(bad[0])].as_py()!r} in row {bad[0]}; "
                "expected a finite number."
            )
        table = table.drop_columns([_WEIGHT])
    names = list(map(str, range(table.num_rows)))
    named = QUERY_ID in table.column_names
    if named:
        names = _ids(table.column(QUERY_ID), path)
        table = table.drop_columns([QUERY_ID])
    _check_once(names, groups, path)
    called = names
    if groups is not None:
        called = [f"{group}/{name}" for group, name in zip(groups, names, strict=True)]
        # A group and a name may have slashes of their own.
        called = called if len(set(called)) == len(called) else list(map(str, range(len(names))))
    members = queries_of(table.append_column(QUERY_ID, pa.array(called, pa.string())), path)
    return blend(members, groups, weights, names, named=named)


def _check_once(names: Sequence[str], groups: Sequence[str] | None, path: str) -> None:
    """Raise InputError if a name occurs twice in a group."""
    seen: set[tuple[str, str]] = set()
    for row, name in enumerate(names):
        member = ("" if groups is None else groups[row], name)
        if member in seen:
            within = "" if groups is None else f" in the group {groups[row]!r}"
            raise InputError(
                f"queries {path}: query_id {name!r} occurs more than once{within}; expected unique "
                "ids of a group's members."
            )
        seen.add(member)


def tell_of_blends(table: pa.Table, path: str) -> None:
    """Say that a column might have been meant to make blends."""
    for name in (_GROUP, _WEIGHT):
        if name in table.column_names:
            log.info(
                "queries %s have a column %s, which is not used; with --blend, the queries of each "
                "group are one, weighted by weight.",
                path,
                name,
            )


def _tell_names(names: Sequence[str], path: str) -> None:
    """Say that the queries are numbered, if a column might have been meant to name them."""
    stems = [stem for stem in (_Z, MU, LOG_VAR, _LOG_SIGMA, _TOLERANCE) if _has(names, stem)]
    numbered = {name for stem in stems for _, name in _numbered(names, stem)}
    others = [name for name in names if name and name not in numbered and name not in stems]
    if others:
        log.info(
            "queries %s have no column query_id and are named 0, 1, 2, …; not used: %s.",
            path,
            ", ".join(map(repr, others)),
        )


def _ids(column: pa.ChunkedArray, path: str) -> list[str]:
    """Return the ids as text, as they are written."""
    if column.null_count:
        raise InputError(f"queries {path}: query_id is null in {column.null_count} rows.")
    texts: list[str] = ids_as_text(column, f"queries {path} have query_id").to_pylist()
    return texts


def _check_gaussian_columns(names: Sequence[str], path: str) -> None:
    """Raise InputError unless these are the columns of Gaussians, and of nothing else."""
    found = MU if _has(names, MU) else LOG_VAR
    if _has(names, _TOLERANCE):
        raise InputError(
            f"queries {path} have {found} and tolerance; expected tolerance with points z alone: "
            "leave it out, and name one with --tolerance for all Gaussians."
        )
    if _has(names, _Z):
        raise InputError(
            f"queries {path} have both z and {found}; expected z alone for points, or mu and "
            "log_var alone for Gaussians: take out or rename the rest."
        )
    if not _has(names, MU):
        raise InputError(
            f"queries {path} have log_var but no mu; expected both for Gaussian queries: add the "
            "means as mu."
        )
    if not _has(names, LOG_VAR):
        if _has(names, _LOG_SIGMA):
            raise InputError(
                f"queries {path} have mu and log_sigma but no log_var; expected "
                "log_var = 2·log_sigma: write that instead."
            )
        raise InputError(
            f"queries {path} have mu but no log_var; expected both for Gaussian queries: add "
            "log_var = log sigma², or name the column z if points are meant."
        )


def _rows(table: pa.Table, stem: str, path: str) -> Sequence[ArrayLike]:
    """Return the vectors of a column, or else of the columns numbered after its name."""
    if stem in table.column_names:
        return vectors(table.column(stem), f"queries {path}: {stem}")
    numbered = _numbered(table.column_names, stem)
    numbers = [number for number, _ in numbered]
    other = "; or mu and log_var in the same way, for Gaussians" if stem == _Z else ""
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise InputError(
            f"queries {path} have the columns {', '.join(table.column_names)}; expected {stem}, a "
            f"list of numbers, or {stem}0, {stem}1, …, one column per dimension{other}."
        )
    columns = {name: plain_text(table.column(name)) for _, name in numbered}
    point = _decimal_point(_numbered_columns(table), path)
    return list(
        np.stack([_numbers(column, name, point, path) for name, column in columns.items()], axis=1)
    )


def _tolerances(table: pa.Table, points: Latents, path: str) -> NDArray[np.float64]:
    """Return the points' own tolerances, shape (Q, n) or (Q, 1), NaN for none."""
    numbered = _numbered(table.column_names, _TOLERANCE)
    if _TOLERANCE not in table.column_names:
        if len(numbered) != points.latent_dim:
            raise InputError(
                f"queries {path} have the columns {', '.join(name for _, name in numbered)}, but z "
                f"has {points.latent_dim} dimensions; expected a column {_TOLERANCE} for all of "
                "them, or one for each."
            )
        rows = _rows(table, _TOLERANCE, path)
    elif numbered:
        raise InputError(
            f"queries {path} have both {_TOLERANCE} and {numbered[0][1]}; expected one column for "
            "all dimensions, or one for each: leave the others out."
        )
    else:
        column = plain_text(table.column(_TOLERANCE))
        beside = _numbered_columns(table) or _semicolon_lists(table)
        if _is_numeric(column.type) or (beside and _are_single_numbers(column)):
            point = _decimal_point([column, *beside], path)
            return _numbers(column, _TOLERANCE, point, path)[:, None]
        rows = vectors(column, f"queries {path}: {_TOLERANCE}")
    found = np.full((len(points), points.latent_dim), np.nan)
    for place, (name, row) in enumerate(zip(points.ids, rows, strict=True)):
        taus = np.atleast_1d(np.asarray(row if row is not None else np.nan, np.float64))
        if taus.shape not in ((1,), (points.latent_dim,)):
            raise InputError(
                f"queries {path}: tolerance of query {name!r} has {taus.size} numbers, but z has "
                f"{points.latent_dim}; expected one number, or one for each dimension."
            )
        found[place] = taus
    return found


def _numbered_columns(table: pa.Table) -> list[pa.ChunkedArray]:
    """Return the columns that hold one number of each vector."""
    stems = (_Z, MU, LOG_VAR, _TOLERANCE)
    names = [name for stem in stems for _, name in _numbered(table.column_names, stem)]
    return [plain_text(table.column(name)) for name in names]


def _semicolon_lists(table: pa.Table) -> list[pa.ChunkedArray]:
    """Return a column of lists that are text with semicolons, where a comma is a decimal point."""
    columns = [plain_text(table.column(name)) for name in (_Z,) if name in table.column_names]
    return [column for column in columns if _first_with(";", [column]) is not None]


def _are_single_numbers(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return False
    single = r"^\s*[+-]?[0-9]*[.,]?[0-9]*([eE][+-]?[0-9]+)?\s*$"
    return bool(pc.all(pc.match_substring_regex(column, single)).as_py())


def _decimal_point(columns: Sequence[pa.ChunkedArray], path: str) -> str:
    """Return what stands before the decimals of numbers that are text."""
    texts = [column for column in columns if pa.types.is_string(column.type)]
    with_comma, with_point = _first_with(",", texts), _first_with(".", texts)
    if with_comma is None:
        return "."
    if with_point is not None:
        raise InputError(
            f"queries {path} have the numbers {with_comma!r} and {with_point!r}; expected the same "
            "decimal point in all. Write them with points, such as 0.25, and no signs between "
            "thousands."
        )
    return ","


def _first_with(sign: str, columns: Sequence[pa.ChunkedArray]) -> str | None:
    for column in columns:
        if not pa.types.is_string(column.type):
            continue
        found = column.filter(pc.match_substring(column, sign))
        if len(found):
            return str(found[0].as_py())
    return None


def _numbers(column: pa.ChunkedArray, name: str, point: str, path: str) -> NDArray[np.float64]:
    """Return a column's numbers, NaN for what is missing."""
    numbers = column
    if pa.types.is_string(column.type):
        numbers = pc.utf8_trim_whitespace(numbers)
        numbers = pc.if_else(pc.equal(numbers, ""), None, numbers)
        if point != ".":
            numbers = pc.replace_substring(numbers, point, ".")
    elif not (_is_numeric(column.type) or pa.types.is_null(column.type)):
        _refuse(column[0].as_py(), name, 0, path)
    try:
        found = pc.cast(numbers, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        values = column.to_pylist()
        bad = (i for i, one in enumerate(numbers.to_pylist()) if not _is_number(one))
        place = next(bad, 0)
        _refuse(values[place], name, place, path)
    return np.asarray(found, np.float64)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_number(value: object) -> bool:
    try:
        pc.cast(pa.scalar(value), pa.float64())
    except pa.ArrowException:
        return False
    return True


def _refuse(value: object, name: str, place: int, path: str) -> NoReturn:
    raise InputError(
        f"queries {path} have {name} = {value!r} in row {place}; expected a number."
    ) from None


def _has(names: Iterable[str], stem: str) -> bool:
    names = list(names)
    return stem in names or bool(_numbered(names, stem))


def _numbered(names: Iterable[str], stem: str) -> list[tuple[int, str]]:
    pattern = re.compile(rf"^{stem}_?(\d+)$")
    return sorted((int(match[1]), name) for name in names if (match := pattern.match(name)))
