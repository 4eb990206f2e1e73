"""Blends as queries: several of them, with weights, asked as one; their maths is in gaussian."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.blends import LEAST_WEIGHT, Members, members_of
from vaeudf.gaussian.scores import Score, blend_score, score_named
from vaeudf.query.latents import Latents

log = logging.getLogger(__name__)

BLEND = "blend"
"""The query_id of a blend that has no other name."""
UNLIKE_WEIGHT = 0.5
"""What dislikes weigh, together, beside 1, unless another weight is asked for."""
NO_RESPONSIBILITIES = (
    "responsibilities are not for blends, which are no density of one z; leave them out, or ask "
    "without blending."
)
_ONE_TOLERANCE = (
    "the queries have tolerances of their own, which is not for blends, whose members are one "
    "query; leave them out, and name one tolerance for all."
)
# So many members are named on a page.
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Blends(Latents):
    """Q blends; ``z`` is a point for each, which a page decodes.

    Attributes:
        members: What is blended.
        names: The ids of the members, in the same order; those of items, if they are items.
        named: Whether each of these was given by people, and is not its number, shape (M,).
    """

    members: Members
    names: tuple[str, ...]
    named: NDArray[np.bool_]

    def subset(self, indices: slice | Sequence[int] | NDArray[np.integer | np.bool_]) -> Blends:
        """Return some of the blends, in the order of the indices."""
        places = np.arange(len(self))[indices]
        kept = np.isin(self.members.places, places)
        return Blends(
            ids=tuple(self.ids[place] for place in places),
            z=self.z[places],
            members=self.members.take(places),
            names=tuple(name for name, own in zip(self.names, kept, strict=True) if own),
            named=self.named[kept],
        )

    def leaving_open(self, dims: Sequence[int]) -> Blends:
        """Return the blends of points with these dimensions left open in all members, too."""
        ids = tuple(map(str, range(len(self.names))))
        opened = Latents(ids, self.members.z, self.members.log_var).leaving_open(dims)
        members = replace(self.members, z=opened.z)
        return replace(self, z=members.shown(), members=members)

    def with_tolerance(self, tolerance: ArrayLike) -> Blends:
        """Raise InputError: a blend's members have one tolerance."""
        raise InputError(_ONE_TOLERANCE)

    def check_bound(self, bound: float) -> None:
        """Raise InputError unless every coordinate of every member lies in [-bound, bound]."""
        ids = tuple(
            f"{self.ids[place]}/{name}"
            for name, place in zip(self.names, self.members.places, strict=True)
        )
        # Numbered, where two members of a blend have the same name.
        ids = ids if len(set(ids)) == len(ids) else tuple(map(str, range(len(ids))))
        Latents(ids, self.members.z, self.members.log_var).check_bound(bound)

    @property
    def most_own(self) -> int:
        """How many items at most are a query's own."""
        return int(np.bincount(self.members.places[self.named], minlength=1).max())

    def own_items(self, query_id: str) -> list[str]:
        """Return the items that are a query's own: its members that have names."""
        return [name for owner, name in self.pairs() if owner == query_id]

    def pairs(self) -> list[tuple[str, str]]:
        """Return (id of the blend, name of the member) of every member that has one."""
        rows = zip(self.names, self.members.places, self.named, strict=True)
        return [(self.ids[place], name) for name, place, named in rows if named]

    def score(self, name: str | None) -> Score:
        """Return the score of this name for blends, or else the one that they are ranked by.

        Raises:
            InputError: There is no such score, or it is not for these.
        """
        known = None if name is None else score_named(name).name
        return blend_score(known, gaussian=self.members.is_gaussian)

    @property
    def num_by_formula(self) -> int:
        """How many blends have no bound: all items are scored by the formula."""
        return int(self.members.by_formula.sum())

    def tell(self) -> None:
        """Say how many blends have no bound, if any."""
        if self.num_by_formula:
            log.info(
                "%d of %d blends have weights that add up to less than %g of what is liked: no "
                "bound holds for them, and every item is scored.",
                self.num_by_formula,
                len(self),
                LEAST_WEIGHT,
            )

    def shown_members(self, query_id: str) -> list[tuple[str, bool]]:
        """Return (name, whether it is liked) of some of a blend's members, for people."""
        own = np.flatnonzero(self.members.places == self.ids.index(query_id))[:_SHOWN]
        return [(self.names[at], not np.signbit(self.members.weights[at])) for at in own]

    def title(self, query_id: str) -> str:
        """Return a blend's name for people: with those of its members, − before disliked ones."""
        parts = [f"{'+' if liked else '−'} {name}" for name, liked in self.shown_members(query_id)]
        count = np.count_nonzero(self.members.places == self.ids.index(query_id))
        more = f" and {count - len(parts)} more" if count > len(parts) else ""
        return f"{query_id}: {' '.join(parts).removeprefix('+ ')}{more}"

    def caption(self, query_id: str) -> str:
        """Return what the picture of a blend is, which ``z`` decodes to."""
        place = self.ids.index(query_id)
        of = "the blend"
        if self.members.by_formula[place]:
            liked = self.members.weights[self.members.places == place] > 0
            of = "what is liked" if liked.any() else "its members"
        return f"what the mean of {of} decodes to"


def blend(
    members: Latents,
    groups: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    named: bool = True,
) -> Blends:
    """Return one query for each group of queries.

    Args:
        members: The queries.
        groups: To which each belongs, shape (M,), which names the blend; None for a single one.
        weights: Of any sign, shape (M,); 1 unless given.
        names: Those of the members, where they are not the queries' ids.
        named: Whether people gave these names, which may then be item_ids.

    Raises:
        InputError: A weight is not finite, all of a blend are 0, its members leave different
            dimensions open, or they have tolerances of their own.
    """
    if isinstance(members, Blends):
        raise InputError("the queries are blends already; give groups and weights once.")
    _check_tolerance(members)
    ids = members.ids
    found = members_of(members.z, members.log_var, groups, weights, ids)
    blends = [BLEND] if groups is None else [str(groups[at]) for at in found.firsts()]
    return Blends(
        ids=tuple(blends),
        z=found.shown(),
        members=found,
        names=ids if names is None else tuple(names),
        named=np.full(len(ids), named),
    )


def _check_tolerance(members: Latents) -> None:
    if members.tolerance is not None:
        raise InputError(_ONE_TOLERANCE)


def with_dislikes(
    likes: Latents, unlikes: Latents, weight: float, *, likes_are_items: bool = True
) -> Blends:
    """Return the mean of likes, less that of unlikes times a weight.

    If the likes are points, the unlikes are, too: their means, with the same dimensions open.

    Args:
        likes: What is liked.
        unlikes: Items.
        weight: What these weigh, together.
        likes_are_items: Whether the names of the likes are item_ids.

    Raises:
        InputError: The likes leave different dimensions open, or have other dimensions.
    """
    _check_tolerance(likes)
    unlikes.check_latent_dim(likes.latent_dim, "what is liked has")
    z, log_var = unlikes.z, None
    if likes.log_var is not None and unlikes.log_var is not None:
        log_var = np.concatenate([likes.log_var, unlikes.log_var])
    else:
        z = np.where(likes.is_open[0], np.nan, z)
    names = likes.ids + unlikes.ids
    shares = np.repeat([1 / len(likes), -weight / len(unlikes)], [len(likes), len(unlikes)])
    members = members_of(np.concatenate([likes.z, z]), log_var, None, shares, names)
    named = np.repeat([likes_are_items, True], [len(likes), len(unlikes)])
    return Blends(ids=(BLEND,), z=members.shown(), members=members, names=names, named=named)
