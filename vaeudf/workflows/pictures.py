"""What the pages of several jobs need: a table's decoder, its items' pictures and payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.globs import check_exists
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.source import CatalogSource, read_images, resolve_format
from vaeudf.decoding.table_model import load_model_of
from vaeudf.errors import BundleError, InputError
from vaeudf.schema import (
    CATALOG_KEY,
    ITEM_ID,
    LOG_VAR,
    MODEL_PATH_KEY,
    MU,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.spark.read import read_table
from vaeudf.storage.locations import exists
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle

_FACTS_SHOWN = 3


@dataclass(frozen=True)
class Use:
    """What pictures are for, in the words of messages.

    Attributes:
        flag: The option that asks for it.
        name: What it is.
        decodes: That it needs what z decodes to.
        compares: That it needs the catalog's pictures.
    """

    flag: str
    name: str
    decodes: str
    compares: str


PAGE = Use(
    "--report",
    "a page",
    "a page shows what each z decodes to",
    "The page shows its pictures",
)
RERANK = Use(
    "--rerank",
    "--rerank",
    "--rerank compares pictures with what each z decodes to",
    "--rerank reads its pictures",
)
AGREEMENT = Use(
    "--pictures",
    "--pictures",
    "--pictures compares hits with what each z decodes to",
    "--pictures reads its pictures",
)


def load_decoder(
    table: PosteriorTable,
    model: str | None,
    catalog: str | None,
    *,
    trust_model: bool = False,
    use: Use = PAGE,
) -> Bundle:
    """Return the bundle that decodes z: the table's own, unless another one is named.

    Args:
        table: The table.
        model: The bundle that is named, if any.
        catalog: The catalog that is named, if any.
        trust_model: Whether to run a model's code that is not vaeudf's.
        use: What it is for.

    Raises:
        InputError: The table is plain Parquet, and model or catalog is not named.
        BundleError: There is no such bundle, or the table was encoded with another.
    """
    if not table.provenance and (model is None or catalog is None):
        raise InputError(
            f"{table.uri} is plain Parquet, which does not say what it was encoded with; "
            f"{use.name} needs --model and --catalog."
        )
    path = model or table.provenance[MODEL_PATH_KEY]
    bundle = load_model_of(table, path, trust_model=trust_model)
    if not bundle.has_decoder:
        raise BundleError(
            f"model {path} has no decoder, and {use.decodes}. Export the model with one, or do "
            f"without {use.flag}."
        )
    return bundle


def check_pictures(table: PosteriorTable, catalog: str | None, *, use: Use = PAGE) -> None:
    """Refuse a catalog that does not exist, before Spark starts.

    Args:
        table: The table.
        catalog: The catalog that is named, if any.
        use: What it is for.

    Raises:
        InputError: Nothing is there.
    """
    with _needs_it(use):
        check_exists(_catalog_of(table, catalog).path)


def find_pictures(
    spark: SparkSession, table: PosteriorTable, catalog: str | None, *, use: Use = PAGE
) -> CatalogSource:
    """Return the catalog of the items' pictures, after checking that it can be read.

    Args:
        spark: The session.
        table: The table.
        catalog: The catalog that is named, if any.
        use: What it is for.

    Raises:
        InputError: It cannot.
    """
    source = _catalog_of(table, catalog)
    with _needs_it(use):
        first = resolve_format(spark, replace(source, format="auto"))  # is anything there?
        if (first if source.format == "auto" else source.format) != "images":
            read_images(spark, source, [])  # does it have the columns?
    return source


def _catalog_of(table: PosteriorTable, catalog: str | None) -> CatalogSource:
    if CATALOG_KEY not in table.provenance:
        return CatalogSource(str(catalog))
    source = CatalogSource.from_json(table.provenance[CATALOG_KEY])
    return source if catalog is None else source.moved_to(catalog)


@contextmanager
def _needs_it(use: Use) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} {use.compares}: name the catalog with --catalog.") from None


def read_facts(
    spark: SparkSession, table: PosteriorTable, item_ids: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return the first payload columns of these items, as text."""
    frame = read_table(spark, table)
    own = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)
    names = [name for name in frame.columns if name not in own][:_FACTS_SHOWN]
    if not names:
        return {}
    # In plain Parquet, ids may be numbers.
    frame = frame.withColumn(ITEM_ID, F.col(ITEM_ID).cast("string"))
    rows = frame.where(F.col(ITEM_ID).isin(list(item_ids)))
    rows = rows.select(ITEM_ID, *(F.col(quoted(name)).cast("string") for name in names))
    return {
        row[ITEM_ID]: [(name, row[name]) for name in names if row[name] is not None]
        for row in rows.collect()
    }


def places_read(table: PosteriorTable, *named: str | None) -> list[str]:
    """Return the paths that a job reads, which its results must not replace.

    Args:
        table: The table, which names its catalog and its model.
        named: Paths that the job's options name; None for an option that is not given.
    """
    read = [*named, table.provenance.get(MODEL_PATH_KEY)]
    if CATALOG_KEY in table.provenance:
        read.append(CatalogSource.from_json(table.provenance[CATALOG_KEY]).path)
    return [path if exists(path) else root_of(path) for path in read if path is not None]


def closing_facts(summary: Summary) -> list[tuple[str, str]]:
    """Return the facts at the end of every page: the table, the model and the job's seconds."""
    facts = []
    if "table" in summary:
        version = "" if summary["version"] is None else f", version {summary['version']}"
        facts.append(("table", f"{summary['table']}{version}"))
    if summary.get("model_id") is not None:
        facts.append(("model", summary["model_id"][:12]))
    phases = (f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items() if seconds)
    return [*facts, ("seconds", ", ".join(phases) or "0")]


def slider_range(bundle: Bundle, *points: NDArray[np.float64]) -> float:
    """Return a of the sliders' range [-a, a], which holds the model's training items and points."""
    reach = [abs(value) for ends in bundle.manifest.z_range or [] for value in ends]
    reach += [float(np.abs(array).max()) for array in points]
    return float(np.ceil(max([3.0, *reach])))
