"""A self-contained page of clusters: each centroid decoded, beside its nearest items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.divergences import Divergence
from vaeudf.pages.cluster_contents import Contents
from vaeudf.pages.dendrogram import Dendrogram
from vaeudf.pages.items import Item
from vaeudf.pages.page import write_page


@dataclass(frozen=True, kw_only=True)
class Member(Item):
    """An item of a cluster.

    Attributes:
        divergence: From the centroid; None if it is shown for another reason than being near.
        is_medoid: Whether the items of the cluster diverge least from it, in total.
    """

    divergence: float | None
    is_medoid: bool = False


@dataclass(frozen=True)
class ClusterSection:
    """What the page shows of a cluster.

    Attributes:
        number: From 0.
        size: Items.
        mean_divergence: Of its items from the centroid, in words, with its unit.
        silhouette: How much nearer they are to it than to the next one; NaN for one cluster.
        mu: The centroid's mean, (n,).
        decoded: The picture it decodes to, (H, W, C) uint8; None without a decoder.
        members: The medoid and the nearest items.
        num_outside: How many items are farther from the centroid than all that the cluster was made
            of; None where nothing was assigned.
        outliers: The items farthest from the centroid.
        name: A suggestion.
        contents: What it is made of.
    """

    number: int
    size: int
    mean_divergence: str
    silhouette: float
    mu: NDArray[np.float64]
    decoded: NDArray[np.uint8] | None
    members: Sequence[Member]
    num_outside: int | None = None
    outliers: Sequence[Member] = ()
    name: str | None = None
    contents: Contents | None = None


@dataclass(frozen=True)
class Plot:
    """A plot at the head of the page.

    Attributes:
        png: Its picture.
        alt: What it shows, for readers who cannot see it.
        caption: What it means.
    """

    png: bytes
    alt: str
    caption: str


def write_cluster_page(
    folder: str,
    sections: Sequence[ClusterSection],
    *,
    num_items: int,
    divergence: Divergence,
    slider_range: float,
    plot: Plot | None,
    facts: Sequence[tuple[str, str]] = (),
    omitted: int = 0,
    notes: Sequence[str] = (),
    dendrogram: Dendrogram | None = None,
) -> str:
    """Write ``index.html``, with all pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        sections: The clusters, in the order to show them.
        num_items: How many items were clustered.
        divergence: What they were clustered by.
        slider_range: The sliders go from -a to a.
        plot: How the objective fell, or how k was chosen; None where nothing was fitted.
        facts: What to say of the run at the end of the page: labels and values.
        omitted: How many further clusters are not on the page.
        notes: What to say of what the clusters are made of, at the end.
        dendrogram: How the clusters merge.

    Returns:
        The page's absolute path or URI.
    """
    return write_page(
        folder,
        "cluster",
        title="Clusters of the catalog",
        sections=sections,
        num_items=num_items,
        num_clusters=len(sections) + omitted,
        divergence=divergence,
        slider_range=slider_range,
        plot=plot,
        facts=facts,
        omitted=omitted,
        notes=notes,
        dendrogram=dendrogram,
    )
