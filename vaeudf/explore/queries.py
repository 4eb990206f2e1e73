"""What is asked of a table: a request of the API, checked, and the same question as a command."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.gaussian.blends import LEAST_SHARE
from vaeudf.gaussian.checks import Tolerance, check_tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.query.blends import UNLIKE_WEIGHT, Blends, blend, with_dislikes
from vaeudf.query.latents import Latents
from vaeudf.query.options import CANDIDATES, QueryOptions
from vaeudf.query.per_value import Per

MOST_HITS = 200

ItemIds = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
Numbers = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=4096)]
Coordinates = Annotated[tuple[float | None, ...], msgspec.Meta(min_length=1, max_length=4096)]
Text = Annotated[str, msgspec.Meta(max_length=10_000)]


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A search; one of ``z`` and ``like`` is given.

    Attributes:
        z: A point: a number for each dimension, null for one that is left open.
        query_log_var: log sigma² where z is the mean of a Gaussian, such as that of a photo.
        like: Items that hits are to be like; several are one question, their blend.
        unlike: Items that hits are to be unlike.
        unlike_weight: What these weigh, together, beside 1.
        exclude_self: Whether to leave out the items of ``like`` and ``unlike``.
        k: How many hits.
        tolerance: How precisely z is meant, in units of z: one number, or one for each dimension.
        score: What hits are ranked by; log_likelihood for a point, kl for items and photos.
        where: A condition in SQL on the table's columns.
        per: At most N hits for each value of a column: COLUMN:N, or COLUMN for one.
        distinct: Hide items whose Bhattacharyya distance from a better hit is below this, nats.
        rerank: Rank the best again by the likelihood of their own pictures.
        candidates: How many of the best are ranked again; 200 unless given.
        columns: The payload columns of the hits; all of them unless given.
    """

    z: Coordinates | None = None
    query_log_var: Numbers | None = None
    like: ItemIds | None = None
    unlike: ItemIds | None = None
    unlike_weight: float = UNLIKE_WEIGHT
    exclude_self: bool = False
    k: Annotated[int, msgspec.Meta(ge=1, le=MOST_HITS)] = 12
    tolerance: float | Numbers = 0.0
    score: Text | None = None
    where: Text | None = None
    per: Text | None = None
    distinct: float | None = None
    rerank: Literal["picture"] | None = None
    candidates: Annotated[int, msgspec.Meta(ge=1, le=2000)] | None = None
    columns: tuple[Text, ...] | None = None

    @property
    def num_candidates(self) -> int:
        """How many items the search is to find: the hits, or what they are chosen from."""
        return self.k if self.rerank is None else self.candidates or CANDIDATES


@dataclass(frozen=True)
class Question:
    """A request, as the search takes it.

    Attributes:
        latents: One query.
        place: Where it is, shape (n,), NaN in open dimensions: z, or the mean of what is liked.
        options: What is asked for of it.
        score: What items are ranked by.
        tolerance: tau.
        own: The rows of the items that it is about, if these are left out.
        columns: The payload columns of the hits.
    """

    latents: Latents
    place: NDArray[np.float64]
    options: QueryOptions
    score: Score
    tolerance: Tolerance
    own: tuple[int, ...]
    columns: tuple[str, ...]

    @property
    def is_point(self) -> bool:
        """Whether it is asked with a point z, and not with Gaussians or a blend."""
        return not self.latents.is_gaussian and not isinstance(self.latents, Blends)


def question(table: LoadedTable, request: SearchRequest) -> Question:
    """Return what a request asks of a table.

    Raises:
        InputError: It does not fit the table, or its parts do not fit each other.
    """
    _check(request)
    n = table.latent_dim
    tolerance = check_tolerance(request.tolerance, n)
    columns = table.names if request.columns is None else tuple(request.columns)
    per = None if request.per is None else Per.of(request.per)
    for option, name in [("columns", name) for name in columns] + [("per", per and per.column)]:
        if name is not None and name not in table.names:
            raise InputError(
                f"{option} names {name!r}, which is no payload column of the table; found "
                f"{', '.join(table.names) or 'none'}."
            )
    if per is not None and pa.types.is_nested(table.payload.schema.field(per.column).type):
        raise InputError(
            f"per names {per.column!r}, which holds {table.payload.schema.field(per.column).type}; "
            "expected a column of texts, numbers, dates or true and false."
        )
    latents, about = _latents(table, request)
    latents.check_latent_dim(n)
    if request.rerank is not None:
        if isinstance(latents, Blends):
            raise InputError("rerank needs one z, but the question is a blend of several.")
        latents.check_closed()
    options = QueryOptions(
        k=request.num_candidates,
        score=request.score,
        tolerance=tolerance,
        exclude_self=request.exclude_self,
        distinct=request.distinct,
        per=per,
    )
    own = about if request.exclude_self else ()
    # Beside dislikes, a point is still where it was.
    place = latents.z[0] if request.z is None else _point(request.z)
    return Question(latents, place, options, options.score_for(latents), tolerance, own, columns)


def _check(request: SearchRequest) -> None:
    if (request.z is None) == (request.like is None):
        raise InputError("expected one of z and like, and one only.")
    if request.query_log_var is not None and request.z is None:
        raise InputError("query_log_var goes with z, the mean; give that, too.")
    if request.exclude_self and not (request.like or request.unlike):
        raise InputError("exclude_self is for like and unlike: a z has no item of its own.")
    weight = request.unlike_weight
    if not 0 <= weight < math.inf or weight * LEAST_SHARE >= 1:
        raise InputError(
            f"unlike_weight is {weight:g}; expected a number of at least 0 and less than "
            f"{1 / LEAST_SHARE:g}."
        )
    if weight != UNLIKE_WEIGHT and request.unlike is None:
        raise InputError("unlike_weight goes with unlike; name that, too.")
    if request.rerank is None and request.candidates is not None:
        raise InputError("candidates goes with rerank; name that, too.")
    if request.num_candidates < request.k:
        raise InputError(
            f"candidates is {request.num_candidates}, and k is {request.k}; expected at least as "
            "many candidates, from which the k best are chosen."
        )
    for name, ids in (("like", request.like), ("unlike", request.unlike)):
        twice = sorted({one for one in ids or () if (ids or ()).count(one) > 1})
        if twice:
            raise InputError(f"{name} names {twice[0]!r} more than once; expected each item once.")


def _latents(table: LoadedTable, request: SearchRequest) -> tuple[Latents, tuple[int, ...]]:
    """Return the query, and the rows of the items that it is about."""
    rows = [_row(table, item_id) for item_id in request.like or ()]
    if request.z is not None:
        z = _point(request.z)[None]
        spread = request.query_log_var
        latents = Latents(("0",), z, None if spread is None else np.array([spread], np.float64))
    else:
        latents = _posteriors(table, request.like or (), rows)
    if request.unlike is not None:
        others = [_row(table, item_id) for item_id in request.unlike]
        latents.check_latent_dim(table.latent_dim)
        latents = with_dislikes(
            latents,
            _posteriors(table, request.unlike, others),
            request.unlike_weight,
            likes_are_items=request.like is not None,
        )
        rows += others
    elif len(rows) > 1:
        latents = blend(latents)
    return latents, tuple(rows)


def _point(z: tuple[float | None, ...]) -> NDArray[np.float64]:
    return np.array([math.nan if one is None else one for one in z], np.float64)


def _row(table: LoadedTable, item_id: str) -> int:
    try:
        return table.row_of(item_id)
    except KeyError:
        raise InputError(
            f"there is no item {item_id!r} in the table; expected item_ids as this version of the "
            "table has them."
        ) from None


def _posteriors(table: LoadedTable, ids: tuple[str, ...], rows: list[int]) -> Latents:
    mu, log_var = table.posteriors(np.array(rows, np.int64))
    return Latents(tuple(ids), mu.astype(np.float64), log_var.astype(np.float64))


def as_command(request: SearchRequest, table_uri: str, version: int | None = None) -> str:
    """Return the command, for a shell, that asks the same of a table.

    A Gaussian that is no item's, such as a photo's, comes from a file, which the line writes first.

    Args:
        request: The question.
        table_uri: The table.
        version: Which version of it; None for the latest.
    """
    words = ["vaeudf", "query_topk", "--table", table_uri]
    if version is not None:
        words += ["--version", str(version)]
    before = ""
    if request.query_log_var is not None and request.z is not None:
        query = json.dumps({"mu": request.z, "log_var": request.query_log_var})
        before = f"echo {shlex.quote(query)} > query.jsonl && "
        words += ["--queries", "query.jsonl"]
    elif request.z is not None:
        words.append("--z=" + ",".join("*" if one is None else _number(one) for one in request.z))
    words += [f"--like={item_id}" for item_id in request.like or ()]
    words += [f"--unlike={item_id}" for item_id in request.unlike or ()]
    if request.unlike is None and len(request.like or ()) > 1:
        words.append("--blend")
    if request.unlike_weight != UNLIKE_WEIGHT:
        words += ["--unlike-weight", _number(request.unlike_weight)]
    if request.exclude_self:
        words.append("--exclude-self")
    words += ["--k", str(request.k)]
    tolerance = request.tolerance
    taus = tolerance if isinstance(tolerance, tuple) else (tolerance,)
    if any(taus):
        words += ["--tolerance", ",".join(map(_number, taus))]
    named = (
        ("score", request.score),
        ("where", request.where),
        ("per", request.per),
        ("distinct", None if request.distinct is None else _number(request.distinct)),
        ("rerank", request.rerank),
        ("candidates", None if request.candidates is None else str(request.candidates)),
    )
    words += [f"--{name}={value}" for name, value in named if value is not None]
    words += [f"--columns={name}" for name in request.columns or ()]
    return before + shlex.join(words)


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
