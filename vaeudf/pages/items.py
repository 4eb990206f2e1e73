"""An item of the catalog as pages show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item with its picture and payload; ``item_card`` in ``parts.html.j2`` shows it.

    Attributes:
        item_id: Its id.
        image: The image file's bytes; None if the catalog no longer has it.
        facts: Payload to show below the picture: labels and values.
    """

    item_id: str
    image: bytes | None = None
    facts: Sequence[tuple[str, str]] = ()
