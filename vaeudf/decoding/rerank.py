"""Rank hits again, by the decoder's likelihood p(x|z) of each item's own picture.

The encoder's density q(z|x) finds candidates; which of them look like what z decodes to is for the
decoder to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StructField, StructType

from vaeudf.decoding.candidates import POSITION, Comparison
from vaeudf.decoding.means import decode_means
from vaeudf.decoding.picture_sources import Catalog, picture_source
from vaeudf.decoding.udf import tasks_for
from vaeudf.errors import BundleError, InputError
from vaeudf.gaussian.checks import check_k
from vaeudf.model.bundle import Bundle
from vaeudf.model.devices import Hardware
from vaeudf.model.likelihood import Likelihood, parse_likelihood
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.schema import (
    CANDIDATE_RANK,
    ITEM_ID,
    LOG_P_X_GIVEN_Z,
    PICTURE_ERROR,
    PLACE,
    QUERY_ID,
    RANK,
    quoted,
)
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.counters import PictureCounts
from vaeudf.spark.frames import kept_on_disk
from vaeudf.spark.tasks import tasks_on
from vaeudf.table.open import PosteriorTable

ADDED = (LOG_P_X_GIVEN_Z, PICTURE_ERROR, CANDIDATE_RANK)
"""The columns that hits have more of afterwards."""
# Up to so many candidates come to the driver: a catalog finds the pictures of some items sooner
# than it lists all that it has.
_FEW = 20_000
_FEW_QUERIES = 100
# For each query, where their number is not known.
_CANDIDATES = 200
_HIT = "__vaeudf_hit_"
_PLACE, _KEPT = "__vaeudf_place", "__vaeudf_kept"


@runtime_checkable
class NamedPoints(Protocol):
    """Points of latent space with names, such as :class:`vaeudf.query.latents.Latents`."""

    @property
    def ids(self) -> Sequence[str]:
        """Their names."""

    @property
    def z(self) -> NDArray[np.float64]:
        """The points, shape (Q, n)."""


Queries = ArrayLike | Mapping[str, ArrayLike] | NamedPoints


@dataclass(frozen=True)
class Reranked:
    """Hits that were ranked again.

    Attributes:
        hits: The result; evaluating it reads the pictures.
        counts: Of the pictures, once it was evaluated.
    """

    hits: DataFrame
    counts: PictureCounts

    @property
    def pictures(self) -> int:
        """How many items had to be read."""
        return self.counts.pictures.value

    @property
    def unreadable(self) -> int:
        """How many of them could not be."""
        return self.counts.unreadable.value


def rerank(
    hits: DataFrame,
    bundle: Bundle,
    catalog: Catalog,
    queries: Queries,
    k: int = 10,
    *,
    likelihood: Likelihood | str | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
) -> DataFrame:
    """Rank each query's hits again, by log p(x|z) of the items' own pictures.

    z is decoded once for each query, and each picture is read once, however many queries it is a
    candidate of.

    Args:
        hits: From :func:`vaeudf.top_k`, with the ``k`` of as many candidates as are wanted. More
            than 100 queries' hits are evaluated twice to read a catalog in order: persist them.
        bundle: The model, from :func:`vaeudf.load_bundle`.
        catalog: Has the items' pictures: its path, or a
            :class:`vaeudf.catalog.source.CatalogSource`, which says how it is read; or a table that
            keeps all pixels (``encode_catalog --keep-pixels``), from
            :func:`vaeudf.table.open.open_posteriors`.
        queries: The points that were asked with: shape (Q, n), which are named "0", "1", … as
            ``top_k`` names them, or by their names, or
            :class:`vaeudf.query.latents.Latents`.
        k: How many hits to return for each query.
        likelihood: How the decoder's output is read, also in words, such as ``"bernoulli"``; unless
            given, as the bundle says.
        hardware: What to decode on.

    Returns:
        The hits' columns, with new ranks, and three more: ``log_p_x_given_z``, nats;
        ``picture_error``, the mean squared difference from decode(z) of levels in [0, 1]; and
        ``candidate_rank``, the rank before. Hits that tie are ranked by item_id. A hit whose
        picture cannot be read keeps its rank, and the first two are null.

    Raises:
        InputError: k < 1, a z that is not finite or not of the model's latent_dim, hits without
            their columns, words that are no likelihood, or a catalog that cannot be read, or has
            none of up to 20,000 hits.
        BundleError: The model has no decoder, or does not say how likely a picture is given z.
    """
    if isinstance(likelihood, str):
        likelihood = parse_likelihood(likelihood)
    return plan_rerank(
        hits, bundle, catalog, queries, k, likelihood=likelihood, hardware=hardware
    ).hits


def plan_rerank(
    hits: DataFrame,
    bundle: Bundle,
    catalog: Catalog,
    queries: Queries,
    k: int,
    *,
    likelihood: Likelihood | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
    at_most: int | None = None,
    frames: ExitStack | None = None,
) -> Reranked:
    """Do as :func:`rerank`, and return along with the result what is known of the pictures.

    Args:
        hits: As there, and so the others.
        bundle: The model.
        catalog: Has the items' pictures.
        queries: The points that were asked with.
        k: How many hits to return for each query.
        likelihood: How the decoder's output is read.
        hardware: What to decode on.
        at_most: How many hits there are at most, where that is known.
        frames: Many hits are kept here where to put them in order evaluates them twice; None
            leaves it to the caller.
    """
    check_k(k)
    _check_columns(hits)
    names, z = _named(queries)
    _check_points(names, z, bundle.latent_dim)
    _check_model(catalog, bundle)
    likelihood = likelihood_of(bundle, likelihood)
    spark = hits.sparkSession
    source = picture_source(spark, catalog, bundle.manifest.image)
    rows = _few_rows(hits, at_most, len(names))
    item_ids = None
    if rows is not None:
        hits, at_most = spark.createDataFrame(rows, hits.schema), rows.num_rows
        item_ids = rows[ITEM_ID].unique().to_pylist()
    if item_ids is None and frames is not None and not isinstance(catalog, PosteriorTable):
        hits = frames.enter_context(kept_on_disk(hits))
    # Neighbours among the candidates' pictures are then compared with neighbours among the means.
    order = kd_order(z, block_size=1)
    names = [names[place] for place in order]
    means = decode_means(spark, z[order], names, bundle, hardware)
    counts = Cluster.of(spark).picture_counts()
    comparison = Comparison(source.read, bundle.manifest.image, means, likelihood, counts)
    positions = spark.createDataFrame(
        pa.table({QUERY_ID: pa.array(names, pa.string()), POSITION: np.arange(len(names))})
    )
    # A catalog may have come to have an item twice since.
    places = source.places(item_ids).dropDuplicates([ITEM_ID])
    # Not isEmpty, which leaves workers in the middle, and these complain.
    if item_ids and places.count() == 0:
        raise InputError(
            f"the catalog has none of the {len(item_ids):,} candidates' pictures, such as that of "
            f"item {item_ids[0]!r}; name the one that has them with --catalog."
        )
    # Names of the table's own could be those of places, and mapInArrow takes none with dots.
    others = [name for name in hits.columns if name != ITEM_ID]
    stand_ins = {name: f"{_HIT}{place}" for place, name in enumerate(others)}
    own = (F.col(quoted(name)).alias(stand_in) for name, stand_in in stand_ins.items())
    asked = F.broadcast(positions.withColumnRenamed(QUERY_ID, stand_ins[QUERY_ID]))
    placed = hits.select(ITEM_ID, *own).join(asked, stand_ins[QUERY_ID], "left")
    placed = placed.join(places, ITEM_ID, "left")
    count = _CANDIDATES * len(names) if at_most is None else at_most
    tasks = tasks_for(count, bundle, Cluster.of(spark).num_cores)
    ordered = source.in_order(placed, tasks).select(ITEM_ID, POSITION, *PLACE, *stand_ins.values())
    compared = tasks_on(ordered, comparison, _compared_type(ordered), counts).select(
        ITEM_ID,
        LOG_P_X_GIVEN_Z,
        PICTURE_ERROR,
        *(F.col(stand_in).alias(name) for name, stand_in in stand_ins.items()),
    )
    return Reranked(_ranked(compared, hits.columns, k), counts)


def likelihood_of(bundle: Bundle, said: Likelihood | None = None) -> Likelihood:
    """Return how a model's output is read.

    Args:
        bundle: The model.
        said: What a person says; None for what the bundle says.

    Raises:
        BundleError: Neither says it.
    """
    found = said or bundle.likelihood
    if found is None:
        raise BundleError(
            "the model does not say how likely a picture is given z, and its training decides "
            "that: say --likelihood gaussian:VARIANCE where its reconstruction loss was the "
            "squared error, --likelihood bernoulli where it was the binary cross-entropy; or "
            "export the model with --likelihood before a table is encoded with it, as it has "
            "another model_id then."
        )
    return found


def _check_columns(hits: DataFrame) -> None:
    missing = [name for name in (QUERY_ID, RANK, ITEM_ID) if name not in hits.columns]
    if missing:
        raise InputError(
            f"the hits have no column {missing[0]!r}; expected what top_k returns, but found "
            f"{', '.join(hits.columns)}."
        )
    taken = {name.lower() for name in hits.columns} & set(ADDED)
    if taken:
        raise InputError(
            f"the hits have a column {min(taken)!r} already, which rerank adds; rename or drop it."
        )


def _check_model(catalog: Catalog, bundle: Bundle) -> None:
    if not isinstance(catalog, PosteriorTable) or not catalog.provenance:
        return
    if catalog.model_id != bundle.model_id:
        raise InputError(
            f"table {catalog.uri} keeps the pixels that model {catalog.model_id[:12]}… takes, but "
            f"the model is {bundle.model_id[:12]}…; expected the one that the table was encoded "
            "with."
        )


def _named(queries: Queries) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the points, and these, shape (Q, n)."""
    if isinstance(queries, NamedPoints):
        return list(queries.ids), queries.z
    try:
        if isinstance(queries, Mapping):
            return list(queries), np.asarray(list(queries.values()), np.float64)
        points = np.atleast_2d(np.asarray(queries, np.float64))
    except (ValueError, TypeError) as error:
        raise InputError(f"the queries are not points of one latent space: {error}.") from None
    return list(map(str, range(len(points)))), points


def _check_points(names: Sequence[str], z: NDArray[np.float64], latent_dim: int) -> None:
    if z.ndim != 2 or z.shape[1] != latent_dim or len(z) == 0:
        raise InputError(
            f"the queries have shape {z.shape}; expected (Q, {latent_dim}), for that is the "
            "latent_dim of the model."
        )
    bad = np.argwhere(~np.isfinite(z))
    if len(bad):
        row, dim = bad[0]
        raise InputError(
            f"query {names[row]!r} has {z[row, dim]} in dimension {dim}; expected finite numbers: "
            "a picture needs one in each dimension."
        )


def _few_rows(hits: DataFrame, at_most: int | None, num_queries: int) -> pa.Table | None:
    """Return all hits, if they are few; None if they are many, or may be."""
    if at_most is None:
        if num_queries > _FEW_QUERIES:
            return None
        # Not counted first, which would search for them twice.
        hits = hits.limit(_FEW + 1)
    elif at_most > _FEW:
        return None
    rows = hits.toArrow()
    return rows if rows.num_rows <= _FEW else None


def _compared_type(ordered: DataFrame) -> StructType:
    kept = [field for field in ordered.schema if field.name not in (POSITION, *PLACE)]
    return StructType(
        [
            *kept,
            StructField(LOG_P_X_GIVEN_Z, DoubleType()),
            StructField(PICTURE_ERROR, DoubleType()),
        ]
    )


def _ranked(compared: DataFrame, columns: Sequence[str], k: int) -> DataFrame:
    """Return the best k hits of each query, with the columns that they had and those added."""
    pairs = compared.withColumnRenamed(RANK, CANDIDATE_RANK)
    # Those whose pictures cannot be read keep their ranks; the others take what is left, in order.
    is_read = F.col(LOG_P_X_GIVEN_Z).isNotNull()
    query = Window.partitionBy(QUERY_ID)
    best_first = query.orderBy(F.desc(is_read), F.desc(LOG_P_X_GIVEN_Z), ITEM_ID)
    kept = F.array_sort(F.collect_list(F.when(~is_read, F.col(CANDIDATE_RANK))).over(query))
    pairs = pairs.withColumns({_PLACE: F.row_number().over(best_first), _KEPT: kept})
    passing = F.aggregate(
        _KEPT, F.col(_PLACE), lambda rank, taken: rank + (taken <= rank).cast("int")
    )
    rank = F.when(is_read, passing).otherwise(F.col(CANDIDATE_RANK)).cast("int")
    pairs = pairs.withColumn(RANK, rank).where(F.col(RANK) <= k)
    own = [name for name in columns if name not in (QUERY_ID, RANK)]
    ordered = [QUERY_ID, RANK, *own, *ADDED]
    return pairs.select(*(F.col(quoted(name)) for name in ordered))
