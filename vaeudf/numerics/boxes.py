"""Boxes around runs of posteriors: the least and the greatest mu and log_var in each dimension."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The number of dimensions from which one call per run is faster than reduceat, which is not
# vectorised.
_WIDE = 64


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of B runs of rows.

    Attributes:
        mu_min: Shape (B, n), as all four; in the dtype of the rows.
        mu_max: The greatest mu.
        log_var_min: The least log_var.
        log_var_max: The greatest log_var.
    """

    mu_min: NDArray[Any]
    mu_max: NDArray[Any]
    log_var_min: NDArray[Any]
    log_var_max: NDArray[Any]

    def __len__(self) -> int:
        """Return B."""
        return len(self.mu_min)

    def __getitem__(self, boxes: slice | NDArray[Any]) -> Boxes:
        """Return some of the boxes: a slice, a mask (B,) or an array of places."""
        return Boxes(*(bound[boxes] for bound in self._bounds))

    @property
    def latent_dim(self) -> int:
        """The latent dimension, n."""
        return int(self.mu_min.shape[1])

    @property
    def is_finite(self) -> bool:
        """Whether all numbers in the boxes are finite; a NaN in a box makes its bounds NaN."""
        return all(bool(np.isfinite(bound).all()) for bound in self._bounds)

    @property
    def _bounds(self) -> tuple[NDArray[Any], ...]:
        return self.mu_min, self.mu_max, self.log_var_min, self.log_var_max

    @classmethod
    def of_blocks(cls, mu: NDArray[Any], log_var: NDArray[Any], block_size: int) -> Boxes:
        """Return the boxes of consecutive blocks of rows.

        Args:
            mu: Shape (N, n).
            log_var: Shape (N, n).
            block_size: Rows of a block; the last one may have fewer.

        Returns:
            ceil(N / block_size) boxes.
        """
        if mu.shape != log_var.shape:
            raise ValueError(
                f"mu has shape {mu.shape} and log_var {log_var.shape}; expected the same."
            )
        return cls(
            *(
                _reduce_runs(extreme, values, block_size)
                for values in (mu, log_var)
                for extreme in (np.minimum, np.maximum)
            )
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Boxes]) -> Boxes:
        """Return the boxes of all parts, at least one, in their order."""
        bounds = zip(*(part._bounds for part in parts), strict=True)
        return cls(*(np.concatenate(bound) for bound in bounds))

    def coarsen(self, factor: int) -> Boxes:
        """Return the boxes around every ``factor`` consecutive ones; the last may be of fewer."""
        extremes = (np.minimum, np.maximum, np.minimum, np.maximum)
        return Boxes(
            *(_reduce_runs(e, b, factor) for e, b in zip(extremes, self._bounds, strict=True))
        )

    def to_bytes(self) -> bytes:
        """Return the boxes as text: base64 of little-endian float32 of shape (B, 4, n).

        float64 boxes grow to the next float32, so that they still hold all their rows.
        """
        lower = [_toward(bound, -np.inf) for bound in (self.mu_min, self.log_var_min)]
        upper = [_toward(bound, np.inf) for bound in (self.mu_max, self.log_var_max)]
        stacked = np.stack([lower[0], upper[0], lower[1], upper[1]], axis=1)
        return base64.b64encode(stacked.astype("<f4").tobytes())

    @classmethod
    def from_bytes(cls, data: bytes, latent_dim: int) -> Boxes:
        """Return the boxes that :meth:`to_bytes` gave.

        Args:
            data: The text.
            latent_dim: n.

        Raises:
            ValueError: It is not base64, or not of a whole number of boxes.
        """
        try:
            raw = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the boxes are not base64 ({error}).") from None
        size = 4 * 4 * latent_dim
        if len(raw) % size:
            raise ValueError(
                f"the boxes have {len(raw)} bytes; "
                f"expected a multiple of {size}, 4 float32 for each of {latent_dim} dimensions."
            )
        stacked = np.frombuffer(raw, "<f4").reshape(-1, 4, latent_dim).astype(np.float32)
        return cls(*(np.ascontiguousarray(stacked[:, i]) for i in range(4)))


def _reduce_runs(extreme: np.ufunc, values: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the extremes over consecutive runs of rows: (N, n) to (ceil(N / length), n)."""
    if length < 1:
        raise ValueError(f"a run of {length} rows; expected at least 1.")
    starts = np.arange(0, len(values), length)
    if values.shape[1] < _WIDE:
        return extreme.reduceat(values, starts, axis=0)
    runs = [extreme.reduce(values[start : start + length], axis=0) for start in starts]
    return np.array(runs, values.dtype).reshape(-1, values.shape[1])


def _toward(bound: NDArray[Any], end: float) -> NDArray[np.float32]:
    """Return the bound as float32, rounded toward ``end`` where float32 does not hold it."""
    with np.errstate(over="ignore"):
        rounded = bound.astype(np.float32)
    short = rounded > bound if end < 0 else rounded < bound
    return np.where(short, np.nextafter(rounded, np.float32(end)), rounded)
