"""A self-contained page of query results: the decoded z and its nearest items, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.scores import LOG_LIKELIHOOD, Score
from vaeudf.pages.items import Item
from vaeudf.pages.page import write_page


@dataclass(frozen=True, kw_only=True)
class Hit(Item):
    """One of a query's nearest items.

    Attributes:
        rank: From 1.
        score: What it was ranked by; None for a picture that could not be read, where that is
            p(x|z).
    """

    rank: int
    score: float | None


@dataclass(frozen=True, kw_only=True)
class BlendMember(Item):
    """Something that a blend is made of, named by ``item_id``, with its picture.

    Attributes:
        liked: Whether hits are to be like it, and not unlike.
    """

    liked: bool


@dataclass(frozen=True)
class Part:
    """What part of a query's density the items of one value have.

    Attributes:
        label: The value.
        share: From 0 to 1.
    """

    label: str
    share: float

    @property
    def text(self) -> str:
        """The share in whole per cent, and neither nothing nor all unless it is."""
        if 0 < self.share < 0.005:
            return "<1 %"
        return f"{100 * self.share:.0f} %" if self.share <= 0.995 or self.share == 1 else ">99 %"


@dataclass(frozen=True)
class Result:
    """One query and its hits.

    Attributes:
        query_id: Its name.
        z: Shape (n,).
        decoded: The picture z stands for, (H, W, C) uint8; None without a decoder.
        hits: Best first.
        photo: The image that is asked with, as the file has it; None unless it is one.
        parts: Which part of its density the items of which value have, the largest first.
        members: Of a blend, those with pictures.
        caption: What the picture is; said by the page itself unless given.
    """

    query_id: str
    z: NDArray[np.float64]
    decoded: NDArray[np.uint8] | None
    hits: Sequence[Hit]
    photo: bytes | None = None
    parts: Sequence[Part] = ()
    members: Sequence[BlendMember] = ()
    caption: str = ""


def write_query_page(
    folder: str,
    results: Sequence[Result],
    *,
    title: str,
    num_items: int,
    slider_range: float,
    score: Score = LOG_LIKELIHOOD,
    rule: str = "",
    share_of: str = "",
    blends: bool = False,
    candidates: int | None = None,
    facts: Sequence[tuple[str, str]] = (),
    omitted: int = 0,
) -> str:
    """Write ``index.html``, with all pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        results: What to show.
        title: The page's headline.
        num_items: How many items were searched.
        slider_range: a of the sliders' travel [-a, a].
        score: What the hits are ranked by.
        rule: By what rule they were chosen besides, as a sentence.
        share_of: What the results' parts are values of.
        blends: Whether the queries are blends.
        candidates: Of how many, the best by the score, the hits are the best by p(x|z) of their
            pictures; None if they are the best by the score itself.
        facts: What to say of the run at the end of the page: labels and values.
        omitted: How many further queries are not on the page.

    Returns:
        The page's absolute path or URI.
    """
    return write_page(
        folder,
        "query",
        title=title,
        results=results,
        num_items=num_items,
        slider_range=slider_range,
        score=score,
        rule=rule,
        share_of=share_of,
        blends=blends,
        candidates=candidates,
        facts=facts,
        omitted=omitted,
    )
