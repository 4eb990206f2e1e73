"""What query_topk refuses before it starts Spark: options that cannot end well for a table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, MapType, StructType

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import check_tolerance
from vaeudf.gaussian.scores import KL, LOG_LIKELIHOOD, score_named
from vaeudf.query.blends import Blends
from vaeudf.query.latents import Latents
from vaeudf.query.results import check_columns, check_values
from vaeudf.query.shares import check_share, check_share_column, not_of_score
from vaeudf.table.open import PosteriorTable
from vaeudf.table.plain_parquet import schemas_of
from vaeudf.workflows.reranking import check_points

# Types of which Spark and Arrow agree that their values cannot be compared for equality.
_NEVER_EQUAL = (ArrayType, DoubleType, FloatType, MapType, StructType)


def check_score(options: Any) -> None:
    """Check that a log density is asked for, where one is needed.

    Args:
        options: Those of query_topk.

    Raises:
        InputError: Items or photos are ranked by another score.
    """
    score = _score_name(options)
    if score is None or score_named(score).is_log_density:
        return
    for name in ("explain", "responsibilities", "share"):
        if getattr(options, name) not in (None, False):
            raise InputError(not_of_score(name, score))


def check_table(options: Any, table: PosteriorTable) -> None:
    """Check what is asked for against the columns and dimensions that a table has.

    Args:
        options: Those of query_topk.
        table: What is searched.

    Raises:
        InputError: A column is not there, has the name of another or values of the wrong type; or
            there is not one tolerance for each dimension.
    """
    asked = options.query_options()
    check_tolerance(asked.tolerance, table.latent_dim)
    carried = list(asked.columns)
    if asked.per is not None and asked.per.column not in carried:
        carried.append(asked.per.column)
    named = carried if options.share is None else [*carried, options.share]
    if not named:
        return
    kinds = _columns(table, named)
    score, ranked = _score_name(options), not options.all
    check_columns(carried, list(kinds), score=score, explain=options.explain, ranked=ranked)
    if options.share is not None:
        check_share_column(options.share, list(kinds))
    grouped = {"share": options.share, "per": None if asked.per is None else asked.per.column}
    for option, column in grouped.items():
        kind = None if column is None else kinds[column]
        if isinstance(kind, _NEVER_EQUAL):
            check_values(option, str(column), kind)


def check_queries(latents: Latents, table: PosteriorTable, options: Any) -> None:
    """Check queries against a table and the other options.

    Args:
        latents: The queries.
        table: What is searched.
        options: Those of query_topk.

    Raises:
        InputError: They have another latent_dim, are not for the score, are out of bounds, or have
            no items of their own to leave out.
    """
    if options.exclude_self and options.queries and not isinstance(latents, Blends):
        raise InputError(
            f"exclude-self is for --like and for blends, but queries {options.queries} are not "
            "blended: the file does not have both columns group and weight. Leave it out, or add "
            "--blend."
        )
    latents.check_latent_dim(table.latent_dim)
    if options.rerank is not None:
        check_points(latents)
    score = options.query_options().score_for(latents)
    if options.share is not None:
        check_share(score, latents)
    if options.z_bound is not None:
        latents.check_bound(options.z_bound)


def _score_name(options: Any) -> str | None:
    """Return the score that queries are ranked by; None if it depends on a file of them."""
    named: str | None = options.score
    if named is not None or options.queries is not None:
        return named
    return KL.name if options.like or options.image else LOG_LIKELIHOOD.name


def _columns(table: PosteriorTable, wanted: list[str]) -> dict[str, DataType | None]:
    """Return the table's columns as Spark will find them; None for types that Spark must tell."""
    if table.snapshot.columns is not None:
        return {field.name: _spark_type(field.type) for field in table.snapshot.columns.schema}
    first, *others = sorted(table.files)
    [schema] = schemas_of([first])
    kinds = {field.name: _spark_type(field.type) for field in schema}
    # Spark takes one file's columns, or all files', as its session says.
    if not set(wanted) <= set(kinds):
        for schema in schemas_of(others):
            kinds |= {name: None for name in schema.names if name not in kinds}
    return kinds


def _spark_type(kind: pa.DataType) -> DataType | None:
    try:
        return from_arrow_type(kind)
    except PySparkException:
        return None
