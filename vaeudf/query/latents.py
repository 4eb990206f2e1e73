"""Queries, named and checked, from the command line or from arrays.

A query is a point z, or a Gaussian N(mu, diag sigma²), stated by mu and log_var = log sigma².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.schema import MU

_Z = "z"
# What stands for a dimension that is left open.
_OPEN = ("", "*", "null", "None")


@dataclass(frozen=True)
class Latents:
    """Q named points of latent space, or Gaussians over it.

    Attributes:
        ids: One name per query, unique.
        z: Shape (Q, n) float64: the points, NaN in dimensions that are left open, or the means of
            the Gaussians, all finite.
        log_var: log sigma² of the Gaussians, the same shape, all finite; None for points.
        tolerance: tau of each point's own, the same shape, NaN where it is that of the whole run;
            None if all are.
    """

    ids: tuple[str, ...]
    z: NDArray[np.float64]
    log_var: NDArray[np.float64] | None = None
    tolerance: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise InputError("there are no queries; expected at least one z vector.")
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise InputError(f"query_id {name!r} occurs more than once; expected unique ids.")
            seen.add(name)
        if self.log_var is None:
            self._check_points()
            self._check_tolerance()
            return
        if self.tolerance is not None:
            raise InputError(
                "the queries are Gaussians with tolerances of their own; these are for points z: "
                "leave them out, or add tau² to the variances yourself."
            )
        if self.z.shape != self.log_var.shape:
            raise InputError(
                f"the queries' mu have shape {self.z.shape} and their log_var "
                f"{self.log_var.shape}; expected the same shape (Q, n) for both."
            )
        self._check_finite(self.z, "mu = ")
        self._check_finite(self.log_var, "log_var = ")

    def _check_points(self) -> None:
        self._check_finite(np.where(self.is_open, 0.0, self.z), "")
        whole = np.flatnonzero(self.is_open.all(axis=1))
        if len(whole):
            raise InputError(
                f"query {self.ids[whole[0]]!r} leaves every dimension open; expected a finite "
                "number in at least one."
            )

    def _check_tolerance(self) -> None:
        if self.tolerance is None:
            return
        bad = np.argwhere(~(np.isnan(self.tolerance) | (self.tolerance >= 0)))
        bad = bad if len(bad) else np.argwhere(np.isinf(self.tolerance))
        if len(bad):
            row, dim = bad[0]
            raise InputError(
                f"query {self.ids[row]!r} has tolerance = {self.tolerance[row, dim]:g}; expected a "
                "finite number of at least 0, in units of z."
            )

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
    def is_open(self) -> NDArray[np.bool_]:
        """Which dimensions of which points are left open, shape (Q, n)."""
        return np.isnan(self.z)

    @property
    def has_open(self) -> bool:
        """Whether a point leaves a dimension open."""
        return bool(self.is_open.any())

    def check_closed(self) -> None:
        """Raise InputError if a point leaves a dimension open: no picture belongs to it."""
        places = np.argwhere(self.is_open)
        if len(places):
            row, dim = places[0]
            raise InputError(
                f"query {self.ids[row]!r} leaves dimension {dim} open; a picture needs a number in "
                "each dimension."
            )

    def leaving_open(self, dims: Sequence[int]) -> Latents:
        """Return the points with these dimensions left open, too.

        Raises:
            InputError: There is no such dimension, nothing is left, or these are Gaussians.
        """
        if self.is_gaussian:
            raise InputError(
                "dimensions can be left open in queries that are points z; these are Gaussians."
            )
        for dim in dims:
            if not 0 <= dim < self.latent_dim:
                raise InputError(
                    f"there is no dimension {dim}; expected 0 to {self.latent_dim - 1}."
                )
        z = self.z.copy()
        z[:, list(dims)] = np.nan
        return replace(self, z=z)

    def with_tolerance(self, tolerance: ArrayLike) -> Latents:
        """Return the points with tolerances of their own.

        Args:
            tolerance: Shape (Q, 1) or (Q, n), NaN where it is that of the whole run.

        Raises:
            InputError: The tolerances have another shape or values, or these are Gaussians.
        """
        taus = np.asarray(tolerance, np.float64)
        if taus.shape not in (self.z.shape, (len(self), 1)):
            raise InputError(
                f"tolerance has shape {taus.shape}; expected (Q, n) = {self.z.shape} or (Q, 1), "
                "for each query its own; or one number, or one for each dimension."
            )
        return replace(self, tolerance=np.broadcast_to(taus, self.z.shape).copy())

    @property
    def is_gaussian(self) -> bool:
        """Whether the queries are Gaussians, not points."""
        return self.log_var is not None

    @property
    def most_own(self) -> int:
        """How many items at most are a query's own."""
        return 1

    def own_items(self, query_id: str) -> list[str]:
        """Return the items that are a query's own: what it asks with, if that is an item."""
        return [query_id]

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
            None if self.tolerance is None else self.tolerance[places],
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
        if row is None:
            raise InputError(f"{what} {name!r} is null; expected a list of numbers.")
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
            rows.append([coordinate(part) for part in text.strip("[]() ").split(",")])
        except ValueError:
            raise InputError(
                f"z is {text!r}; expected numbers with commas between, such as 0.1,-2,0, and "
                "nothing or * for a dimension that is left open."
            ) from None
    return from_rows(rows)


def coordinate(text: str) -> float:
    """Return a coordinate of z that is written as text; NaN for one that is left open.

    Raises:
        ValueError: It is no number.
    """
    if "_" in text:
        raise ValueError(text)  # which Python takes for a sign between thousands
    return math.nan if text.strip() in _OPEN else float(text)
