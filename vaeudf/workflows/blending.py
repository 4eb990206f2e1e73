"""The options that make one query of several: --blend, --unlike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from vaeudf.errors import InputError
from vaeudf.gaussian.blends import LEAST_SHARE
from vaeudf.gaussian.scores import blend_score, score_named
from vaeudf.query.blends import NO_RESPONSIBILITIES, Blends, blend
from vaeudf.query.latents import Latents
from vaeudf.query.shares import NO_SHARES
from vaeudf.workflows.cli import Summary


class Blending(Protocol):
    """What says whether queries are blended, among a job's options."""

    @property
    def blend(self) -> bool:
        """Whether all queries are one."""

    @property
    def like(self) -> Sequence[str] | None:
        """Items that hits are to be like."""

    @property
    def unlike(self) -> Sequence[str] | None:
        """Items that hits are to be unlike."""

    @property
    def unlike_weight(self) -> float:
        """What these weigh, together."""

    @property
    def queries(self) -> str | None:
        """A file of queries."""

    @property
    def responsibilities(self) -> bool:
        """Whether each hit's share of the sum of q(z|x) is wanted."""

    @property
    def share(self) -> str | None:
        """What shares of the density are of."""

    @property
    def score(self) -> str | None:
        """The name of the score."""


def check_blending(options: Blending, default_weight: float) -> None:
    """Check the options that make one query of several.

    Args:
        options: The options.
        default_weight: That of the unlikes.

    Raises:
        InputError: They do not go together, or the weight is out of range.
    """
    if options.unlike and options.queries:
        raise InputError(
            "unlike is for --like, --z and --image; in a file of queries, name what belongs "
            "together in a column group, and write weights below 0 in a column weight."
        )
    if not 0 <= options.unlike_weight < math.inf:
        raise InputError(
            f"unlike-weight is {options.unlike_weight}; expected a finite number of at least 0."
        )
    if options.unlike_weight * LEAST_SHARE >= 1:
        raise InputError(
            f"unlike-weight is {options.unlike_weight:g}; expected less than {1 / LEAST_SHARE:g}, "
            "for beside such a weight nothing of what is liked is left in float64."
        )
    if options.unlike_weight != default_weight and not options.unlike:
        raise InputError("unlike-weight goes with --unlike; name that, too.")
    if not (options.blend or options.unlike):
        return
    if options.score is not None:
        blend_score(score_named(options.score).name, gaussian=True)
    if options.responsibilities:
        raise InputError(NO_RESPONSIBILITIES)
    if options.share is not None:
        raise InputError(NO_SHARES)


def blended(latents: Latents, options: Blending) -> Latents:
    """Return what is asked for: one query of all, if they are to be blended."""
    if not options.blend or isinstance(latents, Blends):
        return latents
    return blend(latents, named=bool(options.like))


def facts_of(latents: Latents) -> Summary:
    """Return what the summary says of blends; nothing of other queries."""
    if not isinstance(latents, Blends):
        return {}
    facts: Summary = {"members": len(latents.names)}
    if latents.num_by_formula:
        facts["without_bound"] = latents.num_by_formula
    return facts
