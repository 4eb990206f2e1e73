"""Whether a photo is like the catalog's pictures: how well the model redraws it, and them.

What a VAE has not been trained on it cannot redraw. A photo's error, the mean squared difference
from what its mean decodes to, is compared with those of a sample of the catalog's own pictures,
which go the same way through the model.

A place near the prior's mean would not tell: a photo of noise may well be encoded there. The error
does not tell either where a photo is plainer than the catalog's pictures, which is easily redrawn
(Serrà et al., 2020, find the same of likelihoods).

The sample may take a minute to read, from Parquet in a store. No photo waits for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import VaeUdfError
from vaeudf.explore.answers import Comparison
from vaeudf.explore.model import EncodedPhoto, TableModel
from vaeudf.explore.pictures import Pictures
from vaeudf.storage.refusals import STORE_ERRORS, cause_of

log = logging.getLogger(__name__)

SAMPLED = 100
"""So many of the catalog's pictures are redrawn, evenly spread over the k-d order."""
LEAST_SAMPLED = 10
"""Fewer say nothing."""
PAUSE = 60.0
"""So many seconds after too few could be read, they are tried again: a store may be back."""
QUANTILE, FACTOR = 0.95, 2.0
"""A photo is unlike them if its error is above so many times this quantile of theirs: new pictures
of the same kind are redrawn somewhat worse than those of the training."""
READING = "the catalog's pictures are being read; ask again in a moment."
"""Said until they are."""
_TOGETHER = 16


class Compared(NamedTuple):
    """A photo beside the catalog's pictures, or why it is not there.

    Attributes:
        comparison: None if they cannot be compared.
        why_not: None if they can.
        pending: Whether they can be as soon as the catalog's pictures are read.
    """

    comparison: Comparison | None
    why_not: str | None
    pending: bool = False


class UsualErrors:
    """The errors of a sample of a version's pictures, which are read once a photo is compared."""

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
        self._reading = False

    def compare(self, photo: EncodedPhoto, start: Callable[[Callable[[], None]], None]) -> Compared:
        """Return how well a photo is redrawn beside the catalog's pictures, without waiting.

        What stands in the way does not keep the photo from being asked with.

        Args:
            photo: The photo.
            start: Has something done in the background: the catalog's pictures are read there, if
                that has not been tried yet, or is to be tried again.
        """
        if photo.error is None:
            return Compared(None, self._model.why_not_decode)
        if self._pictures.why_not is not None:
            return Compared(None, self._pictures.why_not)
        with self._lock:
            if self._errors is None and not self._reading and monotonic() >= self._next_try:
                start(self._read)
                self._reading = True
            errors, why_not, reading = self._errors, self._why_not, self._reading
        if errors is None:
            return Compared(None, READING if reading else why_not, pending=reading)
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

    def _read(self) -> None:
        """Find out the errors, or why there are none."""
        try:
            errors, why_not = self._try()
        except Exception:
            log.exception("the catalog's pictures are not redrawn")
            errors, why_not = None, "a fault of the service; what it printed says more."
        with self._lock:
            self._errors, self._why_not, self._reading = errors, why_not, False
            self._next_try = monotonic() + PAUSE

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
        found = self._pictures.sample(rows.tolist(), self._model.spec)
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
