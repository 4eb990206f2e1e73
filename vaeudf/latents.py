"""Query vectors z: from the command line, or from Parquet, CSV, JSON lines or .npy files."""

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
from vaeudf.schema import QUERY_ID
from vaeudf.storage import exists, filesystem

_Z = "z"
_NUMBERED = re.compile(r"^z_?(\d+)$")
# An id is text: 007 is not 7, and NA is not a missing id.
_ID_TYPE = {QUERY_ID: pa.string()}
_CSV = pyarrow.csv.ConvertOptions(column_types=_ID_TYPE, null_values=[""], strings_can_be_null=True)
_FORMATS = "Parquet (.parquet), CSV (.csv), JSON lines (.jsonl, .ndjson, .json) or NumPy (.npy)"


@dataclass(frozen=True)
class Latents:
    """Q named points of latent space.

    Attributes:
        ids: One name per point, unique.
        z: Shape (Q, n) float64, all finite.
    """

    ids: tuple[str, ...]
    z: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise InputError("there are no queries; expected at least one z vector.")
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise InputError(f"query_id {name!r} stands more than once; expected unique ids.")
            seen.add(name)
        bad = np.argwhere(~np.isfinite(self.z))
        if len(bad):
            row, dim = bad[0]
            raise InputError(
                f"query {self.ids[row]!r} has {self.z[row, dim]} in dimension {dim}; "
                "expected finite numbers only."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def latent_dim(self) -> int:
        """The number of dimensions n."""
        return int(self.z.shape[1])

    def check_latent_dim(self, latent_dim: int) -> None:
        """Raise InputError unless the vectors have this many dimensions."""
        if self.latent_dim != latent_dim:
            raise InputError(
                f"query {self.ids[0]!r} has {self.latent_dim} dimensions, but the posteriors have "
                f"latent_dim {latent_dim}."
            )

    def check_bound(self, bound: float) -> None:
        """Raise InputError unless every coordinate lies in [-bound, bound]."""
        if not bound > 0:
            raise InputError(f"z-bound is {bound}; expected more than 0.")
        outside = np.argwhere(np.abs(self.z) > bound)
        if len(outside):
            row, dim = outside[0]
            count = len(np.unique(outside[:, 0]))
            raise InputError(
                f"query {self.ids[row]!r} has z = {self.z[row, dim]:g} in dimension {dim}, outside "
                f"[-{bound:g}, {bound:g}] ({count} such queries of {len(self)}); "
                "mend them, or raise --z-bound."
            )


def from_rows(rows: Sequence[ArrayLike], ids: Sequence[str] | None = None) -> Latents:
    """Make latents of Q vectors; their ids are "0", "1", … unless given.

    Raises:
        InputError: Vectors of different lengths or of none, or something that is no number.
    """
    names = tuple(ids) if ids is not None else tuple(map(str, range(len(rows))))
    vectors: list[NDArray[np.float64]] = []
    for name, row in zip(names, rows, strict=True):
        try:
            vector = np.asarray(row, dtype=np.float64)
        except (ValueError, TypeError):
            raise InputError(f"query {name!r} is {row!r}; expected a list of numbers.") from None
        if vector.ndim != 1 or vector.size == 0:
            raise InputError(
                f"query {name!r} has shape {vector.shape}; expected (n,), a list of n numbers."
            )
        if vectors and len(vector) != len(vectors[0]):
            raise InputError(
                f"query {name!r} has {len(vector)} dimensions, but query {names[0]!r} has "
                f"{len(vectors[0])}; all need the same number."
            )
        vectors.append(vector)
    return Latents(names, np.stack(vectors) if vectors else np.empty((0, 0)))


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
    counting may start at 1), and optionally ``query_id``. ``.npy`` holds an array (Q, n).

    Raises:
        InputError: No such file, an unknown format, or not such a table.
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
    if _Z in table.column_names:
        rows = table.column(_Z).to_pylist()
    else:
        numbered = sorted(
            (int(match[1]), name) for name in table.column_names if (match := _NUMBERED.match(name))
        )
        numbers = [number for number, _ in numbered]
        if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise InputError(
                f"queries {path} have the columns {', '.join(table.column_names)}; expected z, a "
                "list of numbers, or z0, z1, …, one column per dimension."
            )
        columns = [table.column(name).to_pylist() for _, name in numbered]
        rows = list(zip(*columns, strict=True))
    return from_rows(rows, ids)
