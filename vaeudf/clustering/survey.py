"""The first pass over all items: their number, the ranges they lie in, a uniform sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.ranges import MAX_LOG_VAR, MAX_MU, Ranges
from vaeudf.clustering.sampling import BottomK, uniform_hashes
from vaeudf.errors import InputError
from vaeudf.table.passes import Batch, Passes


@dataclass(frozen=True)
class Survey:
    """What the first pass finds.

    Attributes:
        num_items: How many items there are.
        ranges: The ranges they lie in.
        lowest: The items with the lowest hashes, as the divergence measures them.
    """

    num_items: int
    ranges: Ranges
    lowest: BottomK

    def merge(self, other: Survey) -> Survey:
        """Return the survey of both sets of items together."""
        return Survey(
            num_items=self.num_items + other.num_items,
            ranges=self.ranges.merge(other.ranges),
            lowest=self.lowest.merge(other.lowest),
        )


def survey(
    passes: Passes, divergence: Divergence, *, size: Callable[[int], int], seed: int
) -> Survey:
    """Look at all items once.

    Args:
        passes: Runs passes over the items.
        divergence: What they will be measured by.
        size: Returns how many items to keep, given the latent dimension; pickled.
        seed: Of the hashes that choose them.

    Raises:
        InputError: There are no items, or one has numbers that cannot be clustered.
    """
    work = partial(_survey_batches, divergence=divergence, size=size, seed=seed)
    found = passes(work, _merge)
    if found is None:
        raise InputError("there are no items to cluster.")
    return found


def _survey_batches(
    batches: Iterator[Batch], divergence: Divergence, size: Callable[[int], int], seed: int
) -> Survey | None:
    found: Survey | None = None
    for batch in batches:
        _check_limits(batch)
        # A null id raises now, and not after all iterations.
        batch.names(np.arange(1))
        count, latent_dim = batch.items.mu.shape
        ranges = Ranges.of(batch.items)
        if found is None:
            lowest = BottomK.empty(size(latent_dim), latent_dim)
        else:
            lowest, ranges = found.lowest, ranges.merge(found.ranges)
        items = divergence.as_measured(batch.items)
        lowest = lowest.add(uniform_hashes(items, seed), items, eligible=np.ones(count, np.bool_))
        found = Survey(count + (found.num_items if found else 0), ranges, lowest)
    return found


def _merge(one: Survey | None, other: Survey | None) -> Survey | None:
    if one is None or other is None:
        return other if one is None else one
    return one.merge(other)


def _check_limits(batch: Batch) -> None:
    for name, values, most in (
        ("log_var", batch.items.log_var, MAX_LOG_VAR),
        ("mu", batch.items.mu, MAX_MU),
    ):
        bad = np.flatnonzero((np.abs(values) > most).any(axis=1))
        if len(bad):
            row = bad[0]
            worst = values[row][np.abs(values[row]).argmax()]
            raise InputError(
                f"item {batch.names(bad[:1])[0].as_py()!r} has a {name} of {worst:g}; items can be "
                f"clustered with |{name}| up to {most:g}. Check what the encoder does with it, "
                "and leave such items out of the table."
            )
