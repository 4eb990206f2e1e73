"""What the API answers, beside the map."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from vaeudf.explore.columns import Column, ValueCount
from vaeudf.explore.components import Components
from vaeudf.explore.dimensions import DimensionStatistics

Number = float | UnsetType


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not answered.

    Attributes:
        error: What was found, what was expected, and what to do.
    """

    error: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """That the service runs, and with what.

    Attributes:
        table: Where the table is.
        version: Of the table; null for plain Parquet.
        items: How many it has.
        latent_dim: n.
        vaeudf: The version of the package.
        loaded_at: When this version of the table was loaded, ISO 8601.
        newer_version_failed: Why a newer version could not be loaded; null if there is none.
        status: Always so.
    """

    table: str
    version: int | None
    items: int
    latent_dim: int
    vaeudf: str
    loaded_at: str
    newer_version_failed: str | None
    status: Literal["ok"] = "ok"


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the service can do with this table.

    Attributes:
        decode: Whether z can be decoded.
        encode: Whether photos can be encoded.
        pictures: Whether items have pictures.
        rerank: Whether hits can be ranked by p(x|z).
        sql: Whether conditions in SQL can be asked for.
    """

    decode: bool
    encode: bool
    pictures: bool
    rerank: bool
    sql: bool = True


class PictureSize(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures that z decodes to.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 3 or 1.
    """

    height: int
    width: int
    channels: int


class PhotoLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What photos may be.

    Attributes:
        most_bytes: So large.
        expected: All that is asked of them, in words.
    """

    most_bytes: int
    expected: str


class TableDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to ask of a table.

    Attributes:
        title: A short name for it.
        table: Where it is.
        version: Of the table.
        pinned: Whether it was named, and stays when there is a newer one.
        items: How many it has.
        latent_dim: n.
        model_id: sha256 of the model; null for plain Parquet.
        dimensions: What each latent dimension is like.
        columns: What the payload columns hold.
        folders: The folders that items are in, by the first part of their item_ids, the largest
            first; empty where that says nothing.
        components: The principal components of mu.
        can: What the service can do.
        why_not: The reasons for what it cannot, by name.
        picture: Of what z decodes to; null as long as the model is being loaded.
        photos: What photos may be.
        tolerance: What the page starts with, in units of z.
    """

    title: str
    table: str
    version: int | None
    pinned: bool
    items: int
    latent_dim: int
    model_id: str | None
    dimensions: tuple[DimensionStatistics, ...]
    columns: tuple[Column, ...]
    folders: tuple[ValueCount, ...]
    components: Components
    can: Abilities
    why_not: dict[str, str]
    picture: PictureSize | None
    photos: PhotoLimits
    tolerance: float


class Cost(msgspec.Struct, frozen=True):
    """What a dimension costs a hit.

    Attributes:
        dimension: Which.
        nats: By how much its misfit lowers the log-likelihood; below 0 in some blends.
    """

    dimension: int
    nats: float


class Hit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An item that was found; it has its score under the name of the score.

    Attributes:
        item_id: The item.
        rank: From 1.
        row: Its number in this version.
        mu: Its mean, n numbers.
        columns: Its payload.
        picture: Where its picture is, below the service's root.
        log_likelihood: By this score: log q(z|x), nats; and so for the scores that follow.
        misfit: What the distance from the mean adds to the log-likelihood, nats.
        volume: What the item's widths add to it.
        costliest: The dimensions that cost most.
        squared_distance: The squared Mahalanobis distance of the place that is asked about, z or
            the mean of what is liked, from the item's mean; see :mod:`vaeudf.explore.nearness`.
        relative_distance: Its root; 1 is the radius that 95 % of the item's own Gaussian is within.
        log_p_x_given_z: How likely the decoder takes the item's picture to be, nats; re-ranked.
        picture_error: Mean squared difference of its picture from what z decodes to; re-ranked.
        candidate_rank: The rank before it was ranked again.
    """

    item_id: str
    rank: int
    row: int
    mu: list[float]
    columns: dict[str, Any]
    picture: str
    log_likelihood: Number = UNSET
    mahalanobis: Number = UNSET
    euclidean: Number = UNSET
    kl: Number = UNSET
    reverse_kl: Number = UNSET
    jeffreys: Number = UNSET
    wasserstein2: Number = UNSET
    bhattacharyya: Number = UNSET
    mls: Number = UNSET
    misfit: Number = UNSET
    volume: Number = UNSET
    costliest: list[Cost] | UnsetType = UNSET
    squared_distance: Number = UNSET
    relative_distance: Number = UNSET
    log_p_x_given_z: Number = UNSET
    picture_error: Number = UNSET
    candidate_rank: int | UnsetType = UNSET


class Answer(msgspec.Struct, kw_only=True):
    """The answer to a search.

    Attributes:
        version: Of the table.
        score: What hits are ranked by.
        matching: How many items fulfil the condition.
        here: How many items are expected at z (:class:`vaeudf.explore.density.Density`); null
            unless it was asked with a point z.
        dimensions_compared: Over how many dimensions distances are: those that are not left open
            and that tell items apart. Of none of them, hits have no distances.
        hits: The hits, best first; with ``rerank``, the candidates.
        command: The command that asks the same.
        seconds: What it took.
    """

    version: int | None
    score: str
    matching: int
    here: float | None
    dimensions_compared: int
    hits: list[Hit]
    command: str
    seconds: float


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the table.

    Attributes:
        item_id: The item.
        mu: Its mean, n numbers.
        log_var: log sigma², n numbers.
        columns: Its payload.
        picture: Where its picture is, below the service's root.
    """

    item_id: str
    mu: list[float]
    log_var: list[float]
    columns: dict[str, Any]
    picture: str


MOST_DECODED = 64
"""So many points are decoded at a time."""


class Points(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points to decode.

    Attributes:
        z: 1 to 64 points of n numbers each.
        format: Of the image file.
    """

    z: list[list[float]]
    format: Literal["png", "webp"] = "png"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How well the model redraws a photo, beside how well it redraws the catalog's pictures.

    Attributes:
        error: The mean squared difference of the photo, as the model sees it, from its
            reconstruction; levels in [0, 1].
        usual: The median of the same of a sample of the catalog's pictures.
        limit: A photo is unlike them if its error is above this: twice the 95 % quantile of
            theirs.
        sampled: How many pictures the sample has.
        unlike: Whether the error is above the limit.
        message: That it is, in words for people; null if it is not.
    """

    error: float
    usual: float
    limit: float
    sampled: int
    unlike: bool
    message: str | None


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A photo's posterior.

    Attributes:
        mu: Its mean, n numbers.
        log_var: log sigma², n numbers.
        seen: The photo as the model sees it, a data URL.
        reconstruction: What mu decodes to, a data URL; null where the model has no decoder.
        comparison: Whether the photo is like the catalog's pictures; null if that cannot be told.
        why_not_compared: Why not; null if it can.
        comparison_pending: Whether it only cannot be told yet: the catalog's pictures are being
            read. The same request has the comparison some seconds later.
    """

    mu: list[float]
    log_var: list[float]
    seen: str
    reconstruction: str | None
    comparison: Comparison | None
    why_not_compared: str | None
    comparison_pending: bool


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The item nearest to a place on the map.

    Attributes:
        item_id: The item.
        mu: Its mean, n numbers.
        picture: Where its picture is, below the service's root.
    """

    item_id: str
    mu: list[float]
    picture: str
