"""The files of merged clusters: hierarchy.json, and the tree alone in Newick's notation."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from vaeudf.clustering.api import Clustering
from vaeudf.clustering.hierarchy import Hierarchy, hierarchy_of
from vaeudf.clustering.lloyd import Fitted

log = logging.getLogger(__name__)

HIERARCHY, NEWICK = "hierarchy.json", "hierarchy.nwk"

# All pairs are compared, so that twice as many take four times as long.
_MOST_LEAVES = 2_000


def find_hierarchy(fitted: Fitted, best: Clustering) -> Hierarchy | None:
    """Return the clusters merged until there is one; None, and a word, if they are too many.

    Args:
        fitted: The fit that they belong to.
        best: The clusters.
    """
    if best.k > _MOST_LEAVES:
        log.info(
            "%d clusters are not merged to a hierarchy, which is made of up to %d.",
            best.k,
            _MOST_LEAVES,
        )
        return None
    least = fitted.survey.ranges.low_log_var
    return hierarchy_of(best.trial, best.divergence, least_log_var=least)


def hierarchy_files(
    tree: Hierarchy, best: Clustering, names: Sequence[str | None] | None
) -> dict[str, str]:
    """Return the text of each file.

    Args:
        tree: The merged clusters.
        best: The clusters.
        names: Suggested for them, if they were described.
    """
    leaves = []
    for leaf, size in zip(tree.leaves.tolist(), tree.sizes.tolist(), strict=True):
        named = {} if names is None else {"name": names[leaf]}
        leaves.append({"cluster": int(best.numbers[leaf]), **named, "size": size})
    merges = [
        {
            "left": merge.left,
            "right": merge.right,
            "size": merge.size,
            "rise": merge.rise,
            "objective": merge.objective,
            "clusters": len(leaves) - place,
        }
        for place, merge in enumerate(tree.merges, 1)
    ]
    record = {
        "format": 1,
        "divergence": best.divergence.name,
        "objective": tree.objective,
        "leaves": leaves,
        "merges": merges,
    }
    labels = [
        f"cluster {leaf['cluster']}" + (f": {leaf['name']}" if leaf.get("name") else "")
        for leaf in leaves
    ]
    text = json.dumps(record, indent=2, allow_nan=False)
    return {HIERARCHY: text + "\n", NEWICK: newick(tree, labels) + "\n"}


def newick(tree: Hierarchy, labels: Sequence[str]) -> str:
    """Return the tree in Newick's notation.

    The length of a branch is by how much the objective rises from one merge to the next.

    Args:
        tree: The merged clusters.
        labels: Of the leaves.
    """
    texts = ["'" + label.replace("'", "''") + "'" for label in labels]
    for merge in tree.merges:
        branches = []
        for child in (merge.left, merge.right):
            branches.append(f"{texts[child]}:{merge.objective - tree.height_of(child)!r}")
            # Else the texts of a thousand merges within each other would all be kept.
            texts[child] = ""
        texts.append(f"({','.join(branches)})")
    return texts[-1] + ";"
