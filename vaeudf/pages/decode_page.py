"""A self-contained page of decoded pictures: points, traversals, walks, reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vaeudf.pages.page import write_page


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        label: What it is called.
        pixels: (H, W, C) uint8; None for a photo.
        photo: The bytes of an image file, instead of pixels; None if it is not available.
        note: A line below the label.
        z: The point that it was decoded from, shape (n,), to show as sliders.
    """

    label: str
    pixels: NDArray[np.uint8] | None = None
    photo: bytes | None = None
    note: str = ""
    z: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Tiles:
    """Pictures beside each other, as many as fit.

    Attributes:
        title: The section's headline; may be empty.
        text: A paragraph above the pictures.
        pictures: In order.
        is_strip: Whether they are in one row, which scrolls if it is too wide.
    """

    kind: ClassVar[str] = "tiles"
    title: str
    text: str
    pictures: Sequence[Picture]
    is_strip: bool = False


@dataclass(frozen=True)
class Sheet:
    """Pictures in labelled rows and columns.

    Attributes:
        title: The section's headline; may be empty.
        text: A paragraph above the pictures.
        rows: The pictures; a label is a picture's alt text, a note is shown below it.
        row_labels: One for each row.
        column_labels: One for each column, or empty.
        corner: What the rows and the columns stand for.
    """

    kind: ClassVar[str] = "sheet"
    title: str
    text: str
    rows: Sequence[Sequence[Picture]]
    row_labels: Sequence[str]
    column_labels: Sequence[str] = ()
    corner: str = ""


@dataclass(frozen=True)
class Pair:
    """A picture and its reconstruction.

    Attributes:
        item_id: Its id.
        original: The picture as the model sees it, (H, W, C); None if it is not available.
        reconstruction: The same shape.
        squared_error: Mean over pixels and channels, of levels in [0, 1]; None without original.
        note: A further line.
    """

    item_id: str
    original: NDArray[np.uint8] | None
    reconstruction: NDArray[np.uint8]
    squared_error: float | None
    note: str = ""


@dataclass(frozen=True)
class Pairs:
    """Originals beside their reconstructions.

    Attributes:
        title: The section's headline; may be empty.
        text: A paragraph above the pictures.
        pairs: In order.
    """

    kind: ClassVar[str] = "pairs"
    title: str
    text: str
    pairs: Sequence[Pair]


Section = Tiles | Sheet | Pairs


def write_decode_page(
    folder: str,
    sections: Sequence[Section],
    *,
    title: str,
    lead: str,
    notes: str = "",
    slider_range: float = 3.0,
    facts: Sequence[tuple[str, str]] = (),
) -> str:
    """Write ``index.html``, with all pictures in it.

    Args:
        folder: Where to write; made if it does not exist.
        sections: What the page shows.
        title: The page's headline.
        lead: What the page is, in a sentence or two.
        notes: The last paragraph.
        slider_range: a of the sliders' range [-a, a].
        facts: Labels and values that describe the run.

    Returns:
        The page's absolute path or URI.
    """
    return write_page(
        folder,
        "decode",
        title=title,
        lead=lead,
        sections=sections,
        notes=notes,
        slider_range=slider_range,
        facts=facts,
    )
