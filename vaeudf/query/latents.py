"""Queries: from the command line, or from Parquet, CSV, JSON lines or .npy files.

A query is a point z, or a Gaussian N(mu, diag sigma²), stated by mu and log_var = log sigma².
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.schema import LOG_VAR, MU, QUERY_ID
from vaeudf.storage.locations import exists, filesystem

_Z = "z"
_LOG_SIGMA = "log_sigma"
# An id is text: 007 is not 7, and NA is not a missing id.
_ID_TYPE = {QUERY_ID: pa.string()}
_CSV = pyarrow.csv.ConvertOptions(column_types=_ID_TYPE, null_values=[""], strings_can_be_null=True)
_FORMATS = "Parquet (.parquet), CSV (.csv), JSON lines (.jsonl, .ndjson, .json) or NumPy (.npy)"


@dataclass(frozen=True)
class Latents:
    """Q named points of latent space, or Gaussians over it.

    Attributes:
        ids: One name per query, unique.
        z: Shape (Q, n) float64, all finite: the points, or the means of the Gaussians.
        log_var: log sigma² of the Gaussians, the same shape, all finite; None for points.
    """

    ids: tuple[str, ...]
    z: NDArray[np.float64]
    log_var: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise InputError("there are no queries; expected at least one z vector.")
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise InputError(f"query_id {name!r} occurs more than once; expected unique ids.")
            seen.add(name)
        if self.log_var is None:
            self._check_finite(self.z, "")
            return
        if self.z.shape != self.log_var.shape:
            raise InputError(
                f"the queries' mu have shape {self.z.shape} and their log_var "
                f"{self.log_var.shape}; expected the same shape (Q, n) for both."
            )
        self._check_finite(self.z, "mu = ")
        self._check_finite(self.log_var, "log_var = ")

    def _check_finite(self, array: NDArray[np.float64], label: str) -> None:
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            row, dim = bad[0]
            raise InputError(
                f"query {self.ids[row]!r} has {label}{array[row, dim]} in dimension {dim}; "
                "expected finite numbers only."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def latent_dim(self) -> int:
        """The number of dimensions n."""
        return int(self.z.shape[1])

    @property
    def is_gaussian(self) -> bool:
        """Whether the queries are Gaussians, not points."""
        return self.log_var is not None

    def subset(self, indices: slice | Sequence[int] | NDArray[np.integer | np.bool_]) -> Latents:
        """Return some of the queries, in the order of the indices.

        Args:
            indices: Places from 0, or a slice, or Q truth values.

        Raises:
            InputError: It would have no query, or one of them twice.
            IndexError: There is no such query.
        """
        places = np.arange(len(self))[indices]
        return Latents(
            tuple(self.ids[place] for place in places),
            self.z[places],
            None if self.log_var is None else self.log_var[places],
        )

    def check_latent_dim(self, latent_dim: int, expected: str = "the posteriors have") -> None:
        """Raise InputError unless the vectors have latent_dim dimensions; expected says why."""
        if self.latent_dim != latent_dim:
            raise InputError(
                f"query {self.ids[0]!r} has {self.latent_dim} dimensions, but {expected} "
                f"latent_dim {latent_dim}."
            )

    def check_bound(self, bound: float) -> None:
        """Raise InputError unless every coordinate, of z or of mu, lies in [-bound, bound]."""
        if not bound > 0:
            raise InputError(f"z-bound is {bound}; expected more than 0.")
        outside = np.argwhere(np.abs(self.z) > bound)
        if len(outside):
            row, dim = outside[0]
            count = len(np.unique(outside[:, 0]))
            raise InputError(
                f"query {self.ids[row]!r} has {MU if self.is_gaussian else _Z} = "
                f"{self.z[row, dim]:g} in dimension {dim}, outside "
                f"[-{bound:g}, {bound:g}] ({count} such queries of {len(self)}); "
                "mend them, or raise --z-bound."
            )


def from_rows(
    rows: Sequence[ArrayLike],
    ids: Sequence[str] | None = None,
    log_vars: Sequence[ArrayLike] | None = None,
) -> Latents:
    """Make latents of Q vectors; their ids are "0", "1", … unless given.

    Args:
        rows: The points z, or the means if there are log_vars; each of shape (n,).
        ids: One name per query, unique.
        log_vars: log sigma² of Gaussian queries, each of shape (n,).

    Raises:
        InputError: Vectors of different lengths, empty vectors, or something that is not a number.
    """
    names = tuple(ids) if ids is not None else tuple(map(str, range(len(rows))))
    if log_vars is None:
        return Latents(names, _stacked(rows, names, "query"))
    if len(log_vars) != len(rows):
        raise InputError(
            f"there are {len(rows)} mu and {len(log_vars)} log_var; expected one of each per query."
        )
    return Latents(
        names,
        _stacked(rows, names, "mu of query"),
        _stacked(log_vars, names, "log_var of query"),
    )


def _stacked(rows: Sequence[ArrayLike], names: Sequence[str], what: str) -> NDArray[np.float64]:
    vectors: list[NDArray[np.float64]] = []
    for name, row in zip(names, rows, strict=True):
        try:
            vector = np.asarray(row, dtype=np.float64)
        except (ValueError, TypeError):
            raise InputError(f"{what} {name!r} is {row!r}; expected a list of numbers.") from None
        if vector.ndim != 1 or vector.size == 0:
            raise InputError(
                f"{what} {name!r} has shape {vector.shape}; expected (n,), a list of n numbers."
            )
        if vectors and len(vector) != len(vectors[0]):
            raise InputError(
                f"{what} {name!r} has {len(vector)} dimensions, but {what} {names[0]!r} has "
                f"{len(vectors[0])}; all need the same number."
            )
        vectors.append(vector)
    return np.stack(vectors) if vectors else np.empty((0, 0))


def parse_z(texts: Sequence[str]) -> Latents:
    """Read vectors typed by a person, such as "0.1,-2,0".

    Raises:
        InputError: A text is not a list of numbers.
    """
    rows = []
    for text in texts:
        try:
            rows.append([float(part) for part in text.strip("[]() ").split(",")])
        except ValueError:
            raise InputError(
                f"z is {text!r}; expected numbers with commas between, such as 0.1,-2,0."
            ) from None
    return from_rows(rows)


def read_latents(path: str) -> Latents:
    """Read queries from a file.

    Tables have a column ``z`` of lists, or one column per dimension named z0, z1, … (or z_0, …;
    counting may start at 1), and optionally ``query_id``. For Gaussian queries there are ``mu`` and
    ``log_var`` = log sigma² instead of ``z``, in either form. ``.npy`` holds points, (Q, n).

    Raises:
        InputError: There is no such file, or it has an unknown format or other columns.
    """
    if not exists(path):
        raise InputError(f"queries {path} do not exist; expected a file: {_FORMATS}.")
    suffix = path.rsplit(".", 1)[-1].lower()
    system, inner = filesystem(path)
    try:
        if suffix in ("parquet", "parq"):
            return _from_table(pq.read_table(inner, filesystem=system), path)
        with system.open_input_stream(inner) as stream:
            if suffix == "csv":
                return _from_table(pa.csv.read_csv(stream, convert_options=_CSV), path)
            if suffix in ("jsonl", "ndjson", "json"):
                return _from_table(_read_json(stream.read()), path)
            if suffix == "npy":
                data = io.BytesIO(stream.read())
                return _from_array(np.lib.format.read_array(data, allow_pickle=False), path)
    except (pa.ArrowException, ValueError, OSError, KeyError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"queries {path} cannot be read: {error}.") from None
    raise InputError(f"queries {path} have an unknown format; expected {_FORMATS}.")


def _read_json(data: bytes) -> pa.Table:
    table = pyarrow.json.read_json(io.BytesIO(data))
    if QUERY_ID in table.column_names and pa.types.is_timestamp(table.schema.field(QUERY_ID).type):
        # Ids that look like dates, which would be written in another way than they came.
        options = pyarrow.json.ParseOptions(explicit_schema=pa.schema(_ID_TYPE))
        table = pyarrow.json.read_json(io.BytesIO(data), parse_options=options)
    return table


def _from_array(array: NDArray[np.generic], path: str) -> Latents:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"queries {path} hold an array of shape {array.shape} and type {array.dtype}; "
            "expected numbers of shape (Q, n)."
        )
    return from_rows(list(array))


def _from_table(table: pa.Table, path: str) -> Latents:
    ids = None
    if QUERY_ID in table.column_names:
        column = table.column(QUERY_ID)
        if column.null_count:
            raise InputError(f"queries {path}: query_id is null in {column.null_count} rows.")
        ids = pc.cast(column, pa.string()).to_pylist()
    names = table.column_names
    if not (_has(names, MU) or _has(names, LOG_VAR)):
        return from_rows(_rows(table, _Z, path), ids)
    _check_gaussian_columns(names, path)
    return from_rows(_rows(table, MU, path), ids, _rows(table, LOG_VAR, path))


def _check_gaussian_columns(names: list[str], path: str) -> None:
    """Raise InputError unless these are the columns of Gaussians, and of nothing else."""
    found = MU if _has(names, MU) else LOG_VAR
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


def _rows(table: pa.Table, stem: str, path: str) -> list[ArrayLike]:
    """Return the vectors of a column of lists, or else of the columns numbered after its name."""
    if stem in table.column_names:
        return list(table.column(stem).to_pylist())
    numbered = _numbered(table.column_names, stem)
    numbers = [number for number, _ in numbered]
    other = "; or mu and log_var in the same way, for Gaussians" if stem == _Z else ""
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise InputError(
            f"queries {path} have the columns {', '.join(table.column_names)}; expected {stem}, a "
            f"list of numbers, or {stem}0, {stem}1, …, one column per dimension{other}."
        )
    columns = [table.column(name).to_pylist() for _, name in numbered]
    return list(zip(*columns, strict=True))


def _has(names: list[str], stem: str) -> bool:
    return stem in names or bool(_numbered(names, stem))


def _numbered(names: list[str], stem: str) -> list[tuple[int, str]]:
    pattern = re.compile(rf"^{stem}_?(\d+)$")
    return sorted((int(match[1]), name) for name in names if (match := pattern.match(name)))
