"""Whether a photo is like the catalog's pictures: how well the model redraws it, and them.

What a VAE has not been trained on it cannot redraw. A photo's error, the mean squared difference
from what its mean decodes to, is compared with those of a sample of the catalog's own pictures,
which go the same way through the model.

A place near the prior's mean would not tell: a photo of noise may well be encoded there. The error
does not tell either where a photo is plainer than the catalog's pictures, which is easily redrawn
(Serrà et al., 2020, find the same of likelihoods).
"""

from __future__ import annotations

import math
from threading import Lock
from time import monotonic
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import VaeUdfError
from vaeudf.explore.answers import Comparison
from vaeudf.explore.daemon_threads import DaemonExecutor
from vaeudf.explore.model import EncodedPhoto, TableModel
from vaeudf.explore.pictures import Pictures
from vaeudf.storage.refusals import STORE_ERRORS, cause_of

SAMPLED = 100
"""So many of the catalog's pictures are redrawn, evenly spread over the k-d order."""
LEAST_SAMPLED = 10
"""Fewer say nothing."""
PAUSE = 60.0
"""So many seconds after too few could be read, they are tried again: a store may be back."""
QUANTILE, FACTOR = 0.95, 2.0
"""A photo is unlike them if its error is above so many times this quantile of theirs: new pictures
of the same kind are redrawn somewhat worse than those of the training."""
# Reading waits for disks.
_THREADS = 4
_TOGETHER = 16


class Compared(NamedTuple):
    """A photo beside the catalog's pictures, or why it is not there.

    Attributes:
        comparison: None if they cannot be compared.
        why_not: None if they can.
    """

    comparison: Comparison | None
    why_not: str | None


class UsualErrors:
    """The errors of a sample of a version's pictures, found out with the first photo."""

    def __init__(self, model: TableModel, pictures: Pictures, num_items: int) -> None:
        """Read nothing yet.

        Args:
            model: Redraws pictures.
            pictures: Of the version's items.
            num_items: How many there are.
        """
        self._model, self._pictures, self._num_items = model, pictures, num_items
        self._lock = Lock()
        self._errors: NDArray[np.float64] | None = None
        self._why_not: str | None = None
        self._next_try = -math.inf

    def compare(self, photo: EncodedPhoto) -> Compared:
        """Return how well a photo is redrawn beside the catalog's pictures.

        What stands in the way does not keep the photo from being asked with.
        """
        if photo.error is None:
            return Compared(None, self._model.why_not_decode)
        if self._pictures.why_not is not None:
            return Compared(None, self._pictures.why_not)
        errors, why_not = self._sample()
        if errors is None:
            return Compared(None, why_not)
        usual = float(np.median(errors))
        limit = FACTOR * float(np.quantile(errors, QUANTILE))
        unlike = photo.error > limit
        return Compared(
            Comparison(
                error=photo.error,
                usual=usual,
                limit=limit,
                sampled=len(errors),
                unlike=unlike,
                message=_message(photo.error, usual) if unlike else None,
            ),
            None,
        )

    def _sample(self) -> tuple[NDArray[np.float64] | None, str | None]:
        """Return the errors, or why there are none."""
        with self._lock:
            if self._errors is None and monotonic() >= self._next_try:
                self._errors, self._why_not = self._try()
                self._next_try = monotonic() + PAUSE
            return self._errors, self._why_not

    def _try(self) -> tuple[NDArray[np.float64] | None, str | None]:
        """Return the errors, those of pictures that cannot be read left out; or why not."""
        try:
            errors = self._redrawn()
        except VaeUdfError as error:
            return None, str(error)
        except STORE_ERRORS as error:
            return None, f"the catalog's pictures cannot be read: {cause_of(error)}."
        if len(errors) < LEAST_SAMPLED:
            return None, (
                f"{len(errors)} of the catalog's pictures can be read, and expected were at least "
                f"{LEAST_SAMPLED}."
            )
        return errors, None

    def _redrawn(self) -> NDArray[np.float64]:
        count = min(SAMPLED, self._num_items)
        # In the middle of as many parts, of equal length, of the table's order.
        rows = ((2 * np.arange(count) + 1) * self._num_items) // (2 * count)
        spec = self._model.spec
        with DaemonExecutor(_THREADS, "usual-errors") as pool:
            read = list(pool.map(lambda row: self._pictures.pixels(int(row), spec), rows))
        found = [pixels for pixels in read if pixels is not None]
        parts = [
            self._model.redrawing_errors(np.stack(found[at : at + _TOGETHER]))
            for at in range(0, len(found), _TOGETHER)
        ]
        errors: NDArray[np.float64] = np.concatenate([np.empty(0), *parts])
        finite: NDArray[np.float64] = errors[np.isfinite(errors)]
        return finite


def _message(error: float, usual: float) -> str:
    times = f" {error / usual:,.0f} times as badly as" if usual > 0 else " worse than"
    return (
        f"This picture is unlike the catalog's: the model redraws it{times} is usual for them. "
        "What is found may have little to do with it."
    )
