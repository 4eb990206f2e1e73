"""The scores that items can be ranked by: one object each, by name.

To add one, write its object in a module of this package and name it here, give its formula a code
and a case in ``exact_value`` of :mod:`vaeudf.search.kernels`, and add a row to ``FORMS`` in
``tests/support/reference.py``, with the same formula by other code: all tests of the scores then
take it in.
"""

from __future__ import annotations

from vaeudf.errors import InputError
from vaeudf.gaussian.scores.bhattacharyya import BHATTACHARYYA
from vaeudf.gaussian.scores.blend import blend_score
from vaeudf.gaussian.scores.euclidean import EUCLIDEAN
from vaeudf.gaussian.scores.kl import JEFFREYS, KL, REVERSE_KL
from vaeudf.gaussian.scores.log_likelihood import LOG_LIKELIHOOD, LOG_LIKELIHOOD_BY_QUERY
from vaeudf.gaussian.scores.mahalanobis import MAHALANOBIS
from vaeudf.gaussian.scores.mutual_likelihood import MUTUAL_LIKELIHOOD
from vaeudf.gaussian.scores.score import Score
from vaeudf.gaussian.scores.wasserstein2 import WASSERSTEIN2

__all__ = [
    "BHATTACHARYYA",
    "EUCLIDEAN",
    "JEFFREYS",
    "KL",
    "LOG_LIKELIHOOD",
    "LOG_LIKELIHOOD_BY_QUERY",
    "MAHALANOBIS",
    "MUTUAL_LIKELIHOOD",
    "REVERSE_KL",
    "SCORES",
    "WASSERSTEIN2",
    "Score",
    "blend_score",
    "choose_score",
    "score_named",
]

_ALL = (
    LOG_LIKELIHOOD,
    MAHALANOBIS,
    EUCLIDEAN,
    KL,
    REVERSE_KL,
    JEFFREYS,
    WASSERSTEIN2,
    BHATTACHARYYA,
    MUTUAL_LIKELIHOOD,
)
SCORES = {score.name: score for score in _ALL}
"""All scores by name, in the order in which they are listed for people."""

if len(SCORES) < len(_ALL) or len({score.code for score in _ALL}) < len(_ALL):
    raise ValueError("two scores have the same name or code; expected one of its own for each.")


def score_named(name: str) -> Score:
    """Return the score of this name.

    Raises:
        InputError: There is no such score.
    """
    if name not in SCORES:
        raise InputError(f"score is {name!r}; expected one of {', '.join(SCORES)}.")
    return SCORES[name]


def choose_score(name: str | None, *, gaussian: bool, remedy: str) -> Score:
    """Return the score to rank by for queries of one kind.

    Args:
        name: Its name; None for ``kl`` if the queries are Gaussians, and ``log_likelihood`` if they
            are points z.
        gaussian: Whether the queries are Gaussians.
        remedy: How to ask with Gaussians, for the message.

    Raises:
        InputError: There is no such score, or it is between Gaussians and the queries are points.
    """
    if name is None:
        return KL if gaussian else LOG_LIKELIHOOD
    score = score_named(name)
    if score.between_gaussians and not gaussian:
        *others, last = (one.name for one in _ALL if not one.between_gaussians)
        raise InputError(
            f"score {name} is between two Gaussians, but the queries are points z; "
            f"{remedy}, or choose {', '.join(others)} or {last}."
        )
    return score
