"""Hits with their pictures in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.pages.notebook_view import NotebookView
from vaeudf.pages.query_page import Hit, Result
from vaeudf.query.bulk import as_latents
from vaeudf.query.latents import Latents
from vaeudf.schema import (
    COSTLIEST,
    IMAGE,
    ITEM_ID,
    LOG_AGGREGATE_POSTERIOR,
    LOG_AGGREGATE_POSTERIOR_ERROR,
    LOG_P_X_GIVEN_Z,
    QUERY_ID,
    RANK,
)
from vaeudf.table.open import PosteriorTable, open_table
from vaeudf.workflows.page_pictures import find_page_pictures, read_page_pictures

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle

_MOST_ROWS = 5_000
"""Rows that are brought to the driver where it is not known which queries are shown."""
_OWN = (QUERY_ID, RANK, ITEM_ID, COSTLIEST, LOG_AGGREGATE_POSTERIOR, LOG_AGGREGATE_POSTERIOR_ERROR)


def show(
    hits: DataFrame,
    pictures: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike | None = None,
    bundle: Bundle | None = None,
    *,
    catalog: str | None = None,
    num_queries: int = 10,
) -> NotebookView:
    """Return hits with their pictures, as a table that a notebook shows.

    Evaluates the hits, once, and reads the pictures of those that are shown.

    Args:
        hits: What :func:`vaeudf.top_k` returned, or a job's results as Spark reads them; columns
            besides, such as payload, are shown below the pictures.
        pictures: A posterior table or its path, whose catalog has the pictures; or a DataFrame with
            the columns ``item_id`` and ``image``, the bytes of image files.
        queries: The queries, shape (Q, n), in whose order the hits are shown; else they are shown
            in the order of their names.
        bundle: A model with a decoder, to show what each query decodes to, or its mean.
        catalog: Where the table's catalog is now, if it has been moved.
        num_queries: How many queries to show at most.

    Raises:
        InputError: There are no such columns, num_queries < 1, or the catalog cannot be read; a
            bundle without queries, without a decoder or of another latent_dim; hits of other
            queries, or of blends of these.
        TableError: The path does not hold posteriors.
    """
    if num_queries < 1:
        raise InputError(f"num_queries is {num_queries}; expected at least 1.")
    score = _score_of(hits)
    latents = None if queries is None else as_latents(queries)
    decoded = _decoded(latents, bundle, num_queries)
    rows, omitted = _rows_shown(hits, latents, num_queries)
    ids = sorted({row[ITEM_ID] for row in rows})
    images = _images_of(hits, pictures, catalog, ids)
    if latents is None:
        names = sorted({row[QUERY_ID] for row in rows}, key=_by_number)
    else:
        names = list(latents.ids[:num_queries])
    kind = SCORES.get(score)
    unit = "nats" if kind is None else kind.unit
    return NotebookView(
        [
            Result(
                name,
                np.empty(0) if latents is None else latents.z[place],
                None if decoded is None else decoded[place],
                [_hit(row, score, images) for row in rows if row[QUERY_ID] == name],
            )
            for place, name in enumerate(names)
        ],
        f"{score}{f', {unit}' if unit else ''}",
        omitted,
    )


def _score_of(hits: DataFrame) -> str:
    """Return the name of the column that the hits were ranked by, last."""
    missing = [name for name in (QUERY_ID, RANK, ITEM_ID) if name not in hits.columns]
    found = [name for name in (LOG_P_X_GIVEN_Z, *SCORES) if name in hits.columns]
    if missing or not found:
        raise InputError(
            f"hits has the columns {', '.join(hits.columns)}; expected those of vaeudf.top_k: "
            f"{QUERY_ID}, {RANK}, {ITEM_ID} and a score, such as log_likelihood."
        )
    return found[0]


def _decoded(
    latents: Latents | None, bundle: Bundle | None, num_queries: int
) -> NDArray[np.uint8] | None:
    if bundle is None:
        return None
    if latents is None:
        raise InputError("bundle is given, and queries are not; expected both, or no bundle.")
    if not bundle.has_decoder:
        raise InputError(
            "bundle has no decoder; expected one, to show what queries decode to, or no bundle."
        )
    latents.check_latent_dim(bundle.latent_dim, "the model has")
    # A dimension that is left open is shown at 0, the prior's mean.
    return bundle.decode(np.nan_to_num(latents.z[:num_queries]))


def _rows_shown(
    hits: DataFrame, latents: Latents | None, num_queries: int
) -> tuple[list[Row], bool]:
    """Return the hits of the queries that are shown, best first, and whether there are others."""
    if latents is not None:
        rows = hits.where(F.col(QUERY_ID).isin(list(latents.ids[:num_queries]))).collect()
        if not rows:
            _check_names(hits, latents)
        return sorted(rows, key=lambda row: row[RANK]), len(latents) > num_queries
    rows = hits.orderBy(QUERY_ID, RANK).limit(_MOST_ROWS).collect()
    names = list(dict.fromkeys(row[QUERY_ID] for row in rows))
    if len(rows) == _MOST_ROWS and len(names) > 1:
        names.pop()  # it may have further hits
    shown = set(names[:num_queries])
    found = {row[QUERY_ID] for row in rows}
    return [row for row in rows if row[QUERY_ID] in shown], found > shown


def _check_names(hits: DataFrame, latents: Latents) -> None:
    """Refuse queries of which no hit is, where there are hits: they were asked with others."""
    for row in hits.select(QUERY_ID).limit(1).collect():
        if row[QUERY_ID] not in latents.ids:
            raise InputError(
                f"hits are of a query {row[QUERY_ID]!r}, which is not among queries, the first of "
                f"which is {latents.ids[0]!r}; expected the queries that the hits were found with. "
                "Hits of blends are shown without queries."
            )


def _images_of(
    hits: DataFrame,
    pictures: str | PosteriorTable | DataFrame,
    catalog: str | None,
    item_ids: Sequence[str],
) -> Mapping[str, bytes | None]:
    spark = hits.sparkSession
    if isinstance(pictures, (str, PosteriorTable)):
        table = open_table(pictures) if isinstance(pictures, str) else pictures
        return read_page_pictures(spark, find_page_pictures(spark, table, catalog), item_ids)
    missing = [name for name in (ITEM_ID, IMAGE) if name not in pictures.columns]
    if missing:
        raise InputError(
            f"pictures has the columns {', '.join(pictures.columns)}; expected {ITEM_ID} and "
            f"{IMAGE}, the bytes of image files."
        )
    items = pictures.select(F.col(ITEM_ID).cast("string").alias(ITEM_ID), IMAGE)
    rows = items.where(F.col(ITEM_ID).isin(list(item_ids))).collect()
    return {row[ITEM_ID]: None if row[IMAGE] is None else bytes(row[IMAGE]) for row in rows}


def _hit(row: Row, score: str, images: Mapping[str, bytes | None]) -> Hit:
    facts = [
        (name, f"{value:g}" if isinstance(value, float) else str(value))
        for name, value in row.asDict().items()
        if name not in (*_OWN, score) and value is not None
    ]
    return Hit(
        rank=row[RANK],
        item_id=row[ITEM_ID],
        score=row[score],
        image=images.get(row[ITEM_ID]),
        facts=facts,
    )


def _by_number(name: str) -> tuple[float, str]:
    """Return what sorts 10 after 9, and names after numbers."""
    return (float(name) if name.isdecimal() else float("inf"), name)
