"""Clusters merged bottom-up, two at a time, by how little that raises the objective.

The objective is the mean divergence of all items from the centroid of their cluster. For the items
x of a cluster A with the mean features a, the sum of D(x, c) is a constant and |A| D(a, c)
(Banerjee et al. 2005, equation 2.3). So to merge A and B, whose centroids are a and b, to a cluster
with the centroid c raises it by (|A| D(a, c) + |B| D(b, c)) / N: Ward's criterion for Bregman
divergences (Telgarsky and Dasgupta 2012, "Agglomerative Bregman clustering"; Ward 1963 for squared
distances). It is exact, and needs the sums of features that the last pass has added up, and no item
again. Jeffreys' divergence is the sum of two such, with a mean each, and its centroid is neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.features import counted_from
from vaeudf.clustering.lloyd import Trial
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]

# Numbers in the features of the pairs that are looked at together.
_NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Merge:
    """Two clusters that become one.

    Attributes:
        left: Place of one of them: below m a leaf, m + i what the i-th merge made.
        right: Place of the other, as SciPy's ``linkage`` numbers them.
        size: Items of both.
        rise: By how much the mean divergence of all items from their own centroids rises.
        objective: That mean divergence, once they are one.
    """

    left: int
    right: int
    size: int
    rise: float
    objective: float


@dataclass(frozen=True)
class Hierarchy:
    """A tree of clusters, which has each number of clusters from 1 to m.

    Attributes:
        leaves: Which clusters are its leaves, m places among those that it was made of: all that
            have items.
        sizes: Items of each leaf, (m,).
        objective: The mean divergence of the items from their own leaf's centroid.
        merges: m - 1 of them, in the order in which they are made.
        centroids: Of the leaves, and of what each merge made, 2 m - 1 of them.
    """

    leaves: NDArray[np.int64]
    sizes: NDArray[np.int64]
    objective: float
    merges: tuple[Merge, ...]
    centroids: Gaussians

    def cut(self, k: int) -> NDArray[np.int64]:
        """Return which of k clusters each leaf belongs to, (m,): from 0, the largest first.

        Args:
            k: How many clusters, from 1 to m.
        """
        roots = self.roots(k)
        groups = np.empty(len(self.leaves), np.int64)
        for group, root in enumerate(roots):
            groups[self.leaves_below(root)] = group
        return groups

    def roots(self, k: int) -> list[int]:
        """Return the places of the k clusters that are there before the last k - 1 merges.

        The largest come first.

        Args:
            k: How many, from 1 to m.

        Raises:
            ValueError: It is another number.
        """
        m = len(self.leaves)
        if not 1 <= k <= m:
            raise ValueError(f"k is {k}; expected 1 to {m}.")
        done = self.merges[: m - k]
        gone = {place for merge in done for place in (merge.left, merge.right)}
        roots = [place for place in range(m + len(done)) if place not in gone]
        return sorted(roots, key=lambda place: (-self.size_of(place), place))

    def size_of(self, place: int) -> int:
        """Return how many items a leaf or a merged cluster has."""
        m = len(self.leaves)
        return int(self.sizes[place]) if place < m else self.merges[place - m].size

    def height_of(self, place: int) -> float:
        """Return the objective at which a cluster is made; a leaf is there from the beginning."""
        m = len(self.leaves)
        return self.objective if place < m else self.merges[place - m].objective

    def leaves_below(self, place: int) -> list[int]:
        """Return the places of the leaves that a cluster is made of, from left to right."""
        m, found, waiting = len(self.leaves), [], [place]
        while waiting:
            one = waiting.pop()
            if one < m:
                found.append(one)
            else:
                merge = self.merges[one - m]
                waiting += [merge.right, merge.left]
        return found


def hierarchy_of(trial: Trial, divergence: Divergence, *, least_log_var: _Array) -> Hierarchy:
    """Return a trial's clusters, merged until there is one.

    Its leaves are the items as they were assigned, with the best centroid for each leaf: where the
    trial's centroids have come to rest, these are almost the same.

    Args:
        trial: With its tally.
        divergence: What the items were assigned by.
        least_log_var: The items' least log sigma², (n,).
    """
    assert trial.tally is not None
    counts = trial.tally.counts
    leaves = np.flatnonzero(counts > 0)
    used = trial.centroids.take(leaves)
    nodes = _Nodes(
        divergence, least_log_var, trial.tally.means()[leaves], used, counts[leaves].astype(float)
    )
    # What the items' mean divergence from the trial's centroids is above that from the best ones.
    excess = nodes.excess(used, np.arange(len(leaves))) @ counts[leaves] / counts.sum()
    objective = float(trial.objective) - max(float(excess), 0.0)
    merges = _merged(nodes, objective)
    return Hierarchy(leaves, counts[leaves], objective, merges, nodes.centroids())


def _merged(nodes: _Nodes, objective: float) -> tuple[Merge, ...]:
    """Merge all nodes, the two next that raise the objective least.

    A merged cluster takes the slot of one that it is made of.
    """
    m = nodes.num_leaves
    at = np.arange(m)
    rises = np.full((m, m), np.inf)
    for slot in range(1, m):
        rises[slot, :slot] = rises[:slot, slot] = nodes.rises(slot, at[:slot])
    nearest, least = rises.argmin(axis=1), rises.min(axis=1)
    total = nodes.counts[:m].sum()
    alive = np.ones(m, bool)
    merges: list[Merge] = []
    for _ in range(m - 1):
        kept = int(least.argmin())
        gone = int(nearest[kept])
        left, right = sorted((int(at[kept]), int(at[gone])))
        # Below 0 only by rounding: items are no nearer to one centroid than each to its own.
        rise = max(float(least[kept]), 0.0) / float(total)
        objective += rise
        at[kept] = nodes.merge(left, right)
        merges.append(Merge(left, right, int(nodes.counts[at[kept]]), rise, objective))

        alive[gone] = False
        rises[gone], rises[:, gone], least[gone] = np.inf, np.inf, np.inf
        others = np.flatnonzero(alive & (np.arange(m) != kept))
        rises[kept] = np.inf
        rises[kept, others] = nodes.rises(int(at[kept]), at[others])
        rises[:, kept] = rises[kept]
        for slot in (kept, *others[np.isin(nearest[others], (kept, gone))]):
            nearest[slot] = rises[slot].argmin()
            least[slot] = rises[slot, nearest[slot]]
        nearer = others[rises[kept, others] < least[others]]
        nearest[nearer], least[nearer] = kept, rises[kept, nearer]
    return tuple(merges)


class _Nodes:
    """Leaves and what they are merged to, with the means of their items' features.

    Attributes:
        num_leaves: m.
        counts: Items of each node, (2 m - 1,); those of nodes that are not made yet are 0.
    """

    def __init__(
        self,
        divergence: Divergence,
        least_log_var: _Array,
        means: _Array,
        pivots: Gaussians,
        counts: _Array,
    ) -> None:
        """Start with the leaves.

        Args:
            divergence: What the items are measured by.
            least_log_var: The items' least log sigma², (n,).
            means: Of the features, (m, F, n).
            pivots: What they are counted from, m of them.
            counts: Items, (m,).
        """
        m = len(counts)
        self.num_leaves = m
        self._divergence = divergence
        self._least = least_log_var
        self._means = np.concatenate([means, np.zeros((m - 1, *means.shape[1:]))])
        self._pivots = np.concatenate([pivots.mu, np.zeros((m - 1, pivots.mu.shape[1]))])
        self.counts = np.concatenate([counts, np.zeros(m - 1)])
        self._next = m
        best = divergence.centroids(means, pivots, least_log_var)
        targets = divergence.medoid_targets(means, pivots, least_log_var)
        self._centroids = _with_room(best, m - 1)
        self._targets = tuple(_with_room(target, m - 1) for target in targets)
        # What the costs of the best centroids are: 0 for Bregman divergences.
        self._costs = np.zeros(2 * m - 1)
        self._costs[:m] = divergence.medoid_cost(best, targets)

    def centroids(self) -> Gaussians:
        """Return the best centroid of every node."""
        return self._centroids

    def excess(self, centroids: Gaussians, places: NDArray[np.int64]) -> _Array:
        """Return what nodes' items are farther from given centroids than from the best, each (B,).

        Args:
            centroids: One for each node.
            places: The nodes, (B,).
        """
        targets = tuple(target.take(places) for target in self._targets)
        costs: _Array = self._divergence.medoid_cost(centroids, targets) - self._costs[places]
        return costs

    def rises(self, place: int, others: NDArray[np.int64]) -> _Array:
        """Return by how much the sum of divergences rises if a node is merged with others, (B,)."""
        at_once = max(1, _NUMBERS_AT_ONCE // self._means[0].size)
        parts = [others[i : i + at_once] for i in range(0, len(others), at_once)]
        return np.concatenate([np.empty(0), *(self._rises(place, part) for part in parts)])

    def _rises(self, place: int, others: NDArray[np.int64]) -> _Array:
        places = np.full(len(others), place)
        _, centroids = self._joined(places, others)
        mine = self.counts[place] * self.excess(centroids, places)
        return np.asarray(mine + self.counts[others] * self.excess(centroids, others))

    def merge(self, left: int, right: int) -> int:
        """Make one of two nodes, and return its place."""
        place, self._next = self._next, self._next + 1
        pair = np.array([left]), np.array([right])
        (means, pivots), centroids = self._joined(*pair)
        targets = self._divergence.medoid_targets(means, pivots, self._least)
        self.counts[place] = self.counts[left] + self.counts[right]
        self._means[place], self._pivots[place] = means[0], pivots.mu[0]
        _put(self._centroids, place, centroids)
        for all_of_kind, one in zip(self._targets, targets, strict=True):
            _put(all_of_kind, place, one)
        self._costs[place] = self._divergence.medoid_cost(centroids, targets)[0]
        return place

    def _joined(
        self, one: NDArray[np.int64], other: NDArray[np.int64]
    ) -> tuple[tuple[_Array, Gaussians], Gaussians]:
        """Return the means of pairs' features and their pivots, and their best centroids."""
        share = (self.counts[one] / (self.counts[one] + self.counts[other]))[:, None]
        # Near the pair's mean, so that the second moment about it loses nothing.
        mu = share * self._pivots[one] + (1 - share) * self._pivots[other]
        log_var = np.maximum(self._centroids.log_var[one], self._centroids.log_var[other])
        features = self._divergence.features
        mine, theirs = (
            counted_from(features, self._means[node], self._pivots[node] - mu)
            for node in (one, other)
        )
        means = share[:, :, None] * mine + (1 - share)[:, :, None] * theirs
        pivots = Gaussians(mu, log_var)
        return (means, pivots), self._divergence.centroids(means, pivots, self._least)


def _with_room(gaussians: Gaussians, more: int) -> Gaussians:
    room = np.zeros((more, gaussians.mu.shape[1]))
    return Gaussians(
        np.concatenate([gaussians.mu, room]), np.concatenate([gaussians.log_var, room])
    )


def _put(all_of_kind: Gaussians, place: int, one: Gaussians) -> None:
    all_of_kind.mu[place], all_of_kind.log_var[place] = one.mu[0], one.log_var[0]
