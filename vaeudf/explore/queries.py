"""What is asked of a table: a request of the API, and the same question as a command."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

import msgspec

MOST_HITS = 200

K = Annotated[int, msgspec.Meta(ge=1, le=MOST_HITS)]
ItemIds = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
Numbers = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=4096)]
Coordinates = Annotated[tuple[float | None, ...], msgspec.Meta(min_length=1, max_length=4096)]


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A search; either ``z`` or ``like`` is given.

    Attributes:
        z: A point, a number for each dimension, null for one that is left open.
        query_log_var: log sigma² where z is the mean of a Gaussian, such as that of a photo.
        like: Items that hits are to be like.
        unlike: Items that hits are to be unlike.
        unlike_weight: What these weigh, together, beside 1.
        exclude_self: Leave out the items of like and unlike.
        k: How many hits.
        tolerance: How precisely z is meant, in units of z: one number, or one for each dimension.
        score: What hits are ranked by.
        where: A condition in SQL on the table's columns.
        per: At most N hits for each value of a column: COLUMN:N, or COLUMN for one.
        distinct: Hide items whose Bhattacharyya distance from a better hit is below this, nats.
        rerank: Rank the best again by the likelihood of their pictures.
        candidates: How many of the best are ranked again.
        columns: Payload columns of the hits; all unless given.
    """

    z: Coordinates | None = None
    query_log_var: Numbers | None = None
    like: ItemIds | None = None
    unlike: ItemIds | None = None
    unlike_weight: float = 0.5
    exclude_self: bool = False
    k: K = 12
    tolerance: float | Numbers = 0.0
    score: str | None = None
    where: str | None = None
    per: str | None = None
    distinct: float | None = None
    rerank: Literal["picture"] | None = None
    candidates: Annotated[int, msgspec.Meta(ge=1, le=2000)] | None = None
    columns: tuple[str, ...] | None = None


def as_command(request: SearchRequest, table_uri: str) -> str:
    """Return the command that asks the same of a table."""
    words = ["vaeudf", "query_topk", "--table", table_uri]
    if request.z is not None:
        words.append("--z=" + ",".join("*" if one is None else repr(one) for one in request.z))
    for name, ids in (("like", request.like), ("unlike", request.unlike)):
        for item_id in ids or ():
            words.append(f"--{name}={item_id}")
    words += ["--k", str(request.k)]
    return shlex.join(words)
