"""A self-contained page of copies: each group's items, the one that is kept first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaeudf.pages.items import Item
from vaeudf.pages.page import write_page


@dataclass(frozen=True, kw_only=True)
class Copy(Item):
    """An item of a group.

    Attributes:
        divergence: From the item that is kept, in nats.
        kept: Whether it is that one.
    """

    divergence: float
    kept: bool = False


@dataclass(frozen=True)
class CopyGroup:
    """What the page shows of a group.

    Attributes:
        number: From 0.
        size: Items.
        members: The item that is kept, and those nearest to it.
    """

    number: int
    size: int
    members: Sequence[Copy]


def write_copies_page(
    folder: str,
    groups: Sequence[CopyGroup],
    *,
    num_items: int,
    num_groups: int,
    num_copies: int,
    divergence: str,
    nats: float,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """Write ``index.html``, with all pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        groups: Those to show, the largest first.
        num_items: How many items were compared.
        num_groups: How many groups there are.
        num_copies: How many items would go if one of each group stayed.
        divergence: The name of that by which they were.
        nats: Within which two items are a pair.
        facts: What to say of the run at the end of the page: labels and values.

    Returns:
        The page's absolute path or URI.
    """
    return write_page(
        folder,
        "copies",
        title="Copies in the catalog",
        groups=groups,
        num_items=num_items,
        num_groups=num_groups,
        num_copies=num_copies,
        divergence=divergence,
        nats=nats,
        facts=facts,
    )
