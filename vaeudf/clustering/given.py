"""Items assigned to centroids that are given, and that do not move."""

from __future__ import annotations

from dataclasses import replace

from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.lloyd import Fitted, Trial, by_size
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.ranges import Ranges
from vaeudf.clustering.survey import survey
from vaeudf.clustering.tallies import Anchors, tally_all
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Passes


def fit_given(passes: Passes, centroids: Gaussians, divergence: Divergence) -> Fitted:
    """Assign the items to given centroids, in two passes.

    Args:
        passes: Runs passes over the items.
        centroids: k of them, of as many dimensions as the items.
        divergence: What to measure by.

    Returns:
        One trial with these centroids, the one with the most items first; its ``ranks`` say which
        of those given each one is, and an item equally near to several belongs to the first given.

    Raises:
        InputError: There are no items, or an item has numbers that cannot be clustered.
    """
    found = survey(passes, divergence, size=_no_sample, seed=0)
    # The sums' units follow from bounds of every item's divergence from every centroid.
    found = replace(found, ranges=found.ranges.merge(Ranges.of(centroids)))
    anchors = Anchors.of(divergence, found)
    [tally] = tally_all(passes, [centroids], divergence, anchors)
    k = len(centroids)
    trial = Trial(
        k, 0, centroids=centroids, objectives=(tally.objective(),), converged=True, tally=tally
    )
    plan = Plan(divergence, (k,), restarts=1, max_iterations=1)
    return Fitted(plan=plan, survey=found, anchors=anchors, trials=(by_size(trial),))


def _no_sample(latent_dim: int) -> int:
    return 1
