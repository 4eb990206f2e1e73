"""Which task compares which parts of a table: shares of consecutive splits, and pairs of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.copies.threshold import Threshold
from vaeudf.numerics.boxes import Boxes
from vaeudf.table.footers import RowGroup
from vaeudf.table.splits import Split, join

# Rows that are read together, and the most that a task holds; fewer of wide posteriors.
_ROWS_PER_SPLIT, _NUMBERS_PER_SPLIT = 65_536, 2**21
_ROWS_PER_SHARE, _NUMBERS_PER_SHARE = 2**20, 2**24
# Below this many rows a task costs more than it saves.
_FEWEST_ROWS = 65_536


@dataclass(frozen=True)
class Shares:
    """A table in shares of about equally many rows, one for each task.

    Attributes:
        splits: All splits, in the order of the table.
        starts: The number of each split's first item, and the number of items, (S + 1,).
        bounds: The first split of each share, and S, (T + 1,).
        latent_dim: n.
    """

    splits: tuple[Split, ...]
    starts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    latent_dim: int

    @classmethod
    def of(cls, groups: list[RowGroup], latent_dim: int, num_tasks: int) -> Shares:
        """Cut a table's row groups into shares.

        Args:
            groups: Those that have rows.
            latent_dim: n.
            num_tasks: How many shares there are to be, unless they would be too small or too large.
        """
        splits = join(groups, max(1, min(_ROWS_PER_SPLIT, _NUMBERS_PER_SPLIT // latent_dim)))
        starts = np.cumsum([0, *(split.num_rows for split in splits)])
        most = max(1, min(_ROWS_PER_SHARE, _NUMBERS_PER_SHARE // latent_dim))
        wanted = min(num_tasks, -(-int(starts[-1]) // _FEWEST_ROWS))
        wanted = max(1, wanted, -(-int(starts[-1]) // most))
        # Each ends with the split that is nearest to its even part.
        ends = np.searchsorted(starts, np.linspace(0, starts[-1], wanted + 1)[1:-1])
        bounds = np.unique([0, *ends, len(splits)]) if splits else np.zeros(2, np.int64)
        return cls(tuple(splits), starts, bounds.astype(np.int64), latent_dim)

    def __len__(self) -> int:
        """Return T, at least 1."""
        return len(self.bounds) - 1

    def own(self, share: int) -> range:
        """Return the splits of a share."""
        return range(int(self.bounds[share]), int(self.bounds[share + 1]))

    def others(self, share: int, threshold: Threshold) -> list[int]:
        """Return the splits of other shares that a share's task compares its own with.

        Of two shares one task reads both: as in a tournament, each reads half of the others. Splits
        that no item of its own can be near to are left out, by their boxes.
        """
        own = self.own(share)
        boxes = [box for place in own if (box := self.splits[place].box) is not None]
        mine = Boxes.concatenate(boxes) if len(boxes) == len(own) else None
        found = []
        for other in range(len(self)):
            ahead = (other - share) % len(self)
            first = ahead < len(self) - ahead or (2 * ahead == len(self) and share < other)
            if ahead and first:
                found += [
                    place
                    for place in self.own(other)
                    if _may_reach(mine, self.splits[place].box, threshold)
                ]
        return found

    def widest(self) -> NDArray[np.float64]:
        """Return the largest log sigma² of each dimension; infinite where no box tells."""
        found = np.full(self.latent_dim, -np.inf)
        for split in self.splits:
            most = np.inf if split.box is None else split.box.log_var_max[0]
            found = np.maximum(found, most)
        return found


def _may_reach(mine: Boxes | None, box: Boxes | None, threshold: Threshold) -> bool:
    return mine is None or box is None or bool(threshold.may_reach(mine, box).any())
