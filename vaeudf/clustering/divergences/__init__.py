"""Divergences to cluster by: each is one object, with its centroid and all else it defines.

An item is N(mu, diag s), a centroid N(m, diag v); means are over the items of a cluster, and every
formula holds for each latent dimension on its own. A centroid minimises the total of its items'
divergences from it, so that k-means by any of these lowers its objective at every step.

| name | D(item, centroid) | centroid |
|---|---|---|
| kl | KL(item ‖ centroid) | m = mean mu, v = mean(s + mu²) - m²: the moments of the mixture |
| reverse_kl | KL(centroid ‖ item) | 1/v = mean 1/s, m = v mean(mu/s) |
| jeffreys | KL in both directions, added up | the one minimum of a convex function |
| wasserstein2 | W₂² | m = mean mu, sqrt v = mean sqrt s |
| euclidean | ‖mu - m‖² | m = mean mu; v as for kl, which plays no part |

To add one: write its object in a module of its own here and name it in DIVERGENCES, give it a case
in :mod:`vaeudf.clustering.kernels`, a row in the table of the tests' references
(tests/support/divergences.py), and one in docs/clustering.md.
"""

from vaeudf.clustering.divergences.base import Divergence, Prepared
from vaeudf.clustering.divergences.euclidean import EUCLIDEAN
from vaeudf.clustering.divergences.jeffreys import JEFFREYS
from vaeudf.clustering.divergences.kl import KL
from vaeudf.clustering.divergences.reverse_kl import REVERSE_KL
from vaeudf.clustering.divergences.wasserstein2 import WASSERSTEIN2
from vaeudf.errors import InputError

__all__ = [
    "DIVERGENCES",
    "EUCLIDEAN",
    "JEFFREYS",
    "KL",
    "REVERSE_KL",
    "WASSERSTEIN2",
    "Divergence",
    "Prepared",
    "divergence_named",
]

DIVERGENCES: dict[str, Divergence] = {
    one.name: one for one in (KL, REVERSE_KL, JEFFREYS, WASSERSTEIN2, EUCLIDEAN)
}


def divergence_named(name: str) -> Divergence:
    """Return the divergence of this name.

    Raises:
        InputError: There is no such divergence.
    """
    if name not in DIVERGENCES:
        raise InputError(f"divergence is {name!r}; expected one of {', '.join(DIVERGENCES)}.")
    return DIVERGENCES[name]
