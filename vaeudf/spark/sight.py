"""Whether tasks see, at a path of this machine, what is there."""

from __future__ import annotations

import os
from itertools import islice
from typing import NamedTuple

# So many of a folder's names tell it from another folder at the same path.
_NAMES = 16


class Sight(NamedTuple):
    """What is at a path, or at the nearest folder above it that is there.

    Attributes:
        path: Where this is.
        size: Of a file, in bytes; None for a folder.
        names: Of some of what is in the folder.
    """

    path: str
    size: int | None
    names: tuple[str, ...]

    @classmethod
    def of(cls, path: str) -> Sight:
        """Look at a local path."""
        while not os.path.exists(path) and path != os.path.dirname(path):
            path = os.path.dirname(path)
        if os.path.isfile(path):
            return cls(path, os.path.getsize(path), ())
        with os.scandir(path) as entries:
            return cls(path, None, tuple(entry.name for entry in islice(entries, _NAMES)))

    def is_same_here(self) -> bool:
        """Whether it looks the same in this process, which may be on another machine."""
        if self.size is not None:
            return os.path.isfile(self.path) and os.path.getsize(self.path) == self.size
        if not os.path.isdir(self.path):
            return False
        found = sum(os.path.lexists(os.path.join(self.path, name)) for name in self.names)
        # Some may have gone meanwhile.
        return 2 * found >= len(self.names)
