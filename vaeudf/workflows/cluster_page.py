"""The page of pictures at the end of a clustering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from vaeudf.clustering.api import Clustering
from vaeudf.clustering.description.found import Description
from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.hierarchy import Hierarchy
from vaeudf.clustering.lloyd import Fitted
from vaeudf.clustering.summaries import ClusterSummary
from vaeudf.pages.cluster_contents import contents_of, notes_of
from vaeudf.pages.cluster_page import ClusterSection, Member, Plot, write_cluster_page
from vaeudf.pages.cluster_plots import choice_of_k, objective_curves
from vaeudf.pages.dendrogram import Dendrogram, Leaf, draw_dendrogram
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.page_pictures import PagePictures, read_page_pictures
from vaeudf.workflows.pictures import closing_facts, read_facts, slider_range

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle

_SUBSTANTIAL_SILHOUETTE = 0.25
"""Below such a silhouette there is no substantial structure (Kaufman and Rousseeuw, 1990)."""

_OUTLIERS = 5
# Of a tree: how many leaves make one, how many are shown, and how many clusters a leaf names.
_LEAST_LEAVES, _MOST_LEAVES, _NUMBERS_NAMED = 3, 40, 4


@dataclass(frozen=True)
class ClusterPage:
    """What a page of clusters is made from.

    Attributes:
        folder: Where to write it.
        decoder: The model that decodes the centroids.
        pictures: The catalog that has the items' pictures.
        num_items: How many items to show of each cluster at most.
        num_clusters: How many clusters to show at most.
    """

    folder: str
    decoder: Bundle
    pictures: PagePictures
    num_items: int
    num_clusters: int

    def write(
        self,
        spark: SparkSession,
        fitted: Fitted,
        clusterings: Sequence[Clustering],
        best: Clustering,
        summary: Summary,
        description: Description | None = None,
        tree: Hierarchy | None = None,
    ) -> str:
        """Write the page and return its path.

        Args:
            spark: The session, to read the pictures and payload of the items that are shown.
            fitted: All trials.
            clusterings: The best of each k.
            best: Which of them to show.
            summary: The run's last line on stdout, so far.
            description: What the clusters are made of, if that was asked for.
            tree: The clusters merged, if they are.
        """
        shown = best.clusters[: self.num_clusters]
        members = [_members(cluster)[: self.num_items] for cluster in shown]
        outliers = [_outliers(cluster, own) for cluster, own in zip(shown, members, strict=True)]
        item_ids = sorted({item_id for own in (*members, *outliers) for item_id, _ in own})
        images = read_page_pictures(spark, self.pictures, item_ids)
        facts = read_facts(spark, best.table, item_ids)
        decoded = self.decoder.decode(best.centroids.mu[: len(shown)])

        def card(item: tuple[str, float | None], cluster: ClusterSummary) -> Member:
            item_id, divergence = item
            return Member(
                item_id=item_id,
                divergence=divergence,
                image=images.get(item_id),
                facts=facts.get(item_id, ()),
                is_medoid=item_id == cluster.medoid,
            )

        sections = [
            ClusterSection(
                number=int(best.numbers[number]),
                size=cluster.size,
                mean_divergence=_mean_divergence(cluster, best.divergence),
                silhouette=cluster.silhouette,
                num_outside=cluster.num_outside,
                mu=best.centroids.mu[number],
                decoded=decoded[number],
                members=[card(item, cluster) for item in members[number]],
                outliers=[card(item, cluster) for item in outliers[number]],
                name=None if description is None else description.clusters[number].name,
                contents=None if description is None else contents_of(description, number),
            )
            for number, cluster in enumerate(shown)
        ]
        plot = _plot(fitted, clusterings, best) if best.radii is None else None
        return write_cluster_page(
            self.folder,
            sections,
            num_items=best.table.num_items,
            divergence=best.divergence,
            slider_range=slider_range(self.decoder, best.centroids.mu),
            plot=plot,
            facts=_facts_of_run(summary),
            omitted=best.k - len(shown),
            notes=() if description is None else notes_of(description),
            dendrogram=self._dendrogram(tree, best, description),
        )

    def _dendrogram(
        self, tree: Hierarchy | None, best: Clustering, description: Description | None
    ) -> Dendrogram | None:
        """Return the tree as it is shown; None where it would show nothing."""
        if tree is None or len(tree.leaves) < _LEAST_LEAVES:
            return None
        shown = min(len(tree.leaves), self.num_clusters, _MOST_LEAVES)
        roots = tree.roots(shown)
        decoded = dict(zip(roots, self.decoder.decode(tree.centroids.mu[roots]), strict=True))

        def leaf_of(place: int) -> Leaf:
            below = [int(tree.leaves[leaf]) for leaf in tree.leaves_below(place)]
            numbers = [int(best.numbers[leaf]) for leaf in sorted(below)]
            label = _named(numbers)
            if len(below) == 1 and description is not None:
                name = description.clusters[below[0]].name
                label += f" · {name}" if name else ""
            linked = len(below) == 1 and below[0] < self.num_clusters
            size = tree.size_of(place)
            return Leaf(label, size, decoded[place], link=numbers[0] if linked else None)

        return draw_dendrogram(tree, shown, leaf_of, best.divergence.unit)


def _named(numbers: Sequence[int]) -> str:
    """Return what clusters are called that are shown as one."""
    if len(numbers) == 1:
        return f"cluster {numbers[0]}"
    first = ", ".join(map(str, numbers[:_NUMBERS_NAMED]))
    more = len(numbers) - _NUMBERS_NAMED
    return f"clusters {first}" + (f" and {more} more" if more > 0 else "")


def _mean_divergence(cluster: ClusterSummary, divergence: Divergence) -> str:
    if divergence.squared:
        return f"{math.sqrt(cluster.mean_divergence):.3g} from it (root mean square)"
    return f"{cluster.mean_divergence:.3g} {divergence.unit} from it on average"


def _members(cluster: ClusterSummary) -> list[tuple[str, float | None]]:
    """Return the nearest items, the medoid before them if it is not among them."""
    members: list[tuple[str, float | None]] = list(cluster.nearest)
    if cluster.medoid is not None and cluster.medoid not in dict(members):
        members.insert(0, (cluster.medoid, None))
    return members


def _outliers(
    cluster: ClusterSummary, members: list[tuple[str, float | None]]
) -> list[tuple[str, float | None]]:
    """Return the farthest items that are not shown already, the farthest first."""
    shown = dict(members)
    others: list[tuple[str, float | None]] = [
        (item_id, value) for item_id, value in cluster.farthest if item_id not in shown
    ]
    return others[:_OUTLIERS]


def _plot(fitted: Fitted, clusterings: Sequence[Clustering], best: Clustering) -> Plot:
    """Return a plot of how k was chosen, or of how the objective fell."""
    unit = f", {best.divergence.unit}" if best.divergence.unit else ""
    label = f"mean {'square' if best.divergence.squared else 'divergence'}{unit}"
    if len(clusterings) > 1:
        plot = choice_of_k(
            [one.k for one in clusterings],
            objectives=[one.trial.objective for one in clusterings],
            silhouettes=[one.silhouette for one in clusterings],
            chosen=best.k,
            label=label,
        )
        last = ", and is the last that was tried: there may be a better one beyond it"
        last = last if best.k == clusterings[-1].k else ""
        caption = (
            "The more clusters, the nearer their centres: a bend in the upper curve, or a peak in "
            "the lower one, shows where more stop paying off. The silhouette is how much nearer "
            "items are to their own centre than to the next; of these numbers of clusters, "
            f"{best.k} has the highest{last}."
        )
        alt = "Objective and silhouette of each number of clusters"
        return Plot(plot, alt, caption + _warning_of_overlap(best.silhouette))
    curves = [trial.objectives for trial in fitted.trials]
    plot = objective_curves(curves, best=best.trial.restart, label=label)
    caption = (
        "How far items are from the centres of their clusters on average, iteration by iteration, "
        "from every set of seeds. It never rises."
    )
    alt = "The objective at every iteration"
    return Plot(plot, alt, caption + _warning_of_overlap(best.silhouette))


def _warning_of_overlap(silhouette: float) -> str:
    if math.isnan(silhouette) or silhouette >= _SUBSTANTIAL_SILHOUETTE:
        return ""
    return (
        f" The clusters are hardly set apart: their silhouette is {silhouette:.3f}, and below "
        f"{_SUBSTANTIAL_SILHOUETTE:g} is commonly read as no substantial structure. They cut the "
        "catalog up, but do not show that it has such kinds of items."
    )


def _facts_of_run(summary: Summary) -> list[tuple[str, str]]:
    facts = [
        ("items", f"{summary['items']:,}"),
        ("clusters", f"{summary['k']:,}"),
        ("divergence", summary["divergence"]),
        ("mean divergence", f"{summary['objective']:.4g}"),
    ]
    if summary["silhouette"] is not None:
        facts.append(("silhouette", f"{summary['silhouette']:.3f}"))
    if "assigned_to" in summary:
        facts.append(("clusters of", summary["assigned_to"]))
        if summary["outside"] is not None:
            facts.append(("outside", f"{summary['outside']:,}"))
    else:
        facts.append(("seeds", f"{summary['seed']}, best of {summary['restarts']}"))
        stopped = "" if summary["converged"] else ", stopped before it came to rest"
        facts.append(("iterations", f"{summary['iterations']}{stopped}"))
    if "matched" in summary:
        facts.append(("numbers of", summary["matched"]))
    return facts + closing_facts(summary)
