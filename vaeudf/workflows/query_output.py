"""``query_topk --output``: the folder of the hits, and that of their shares beside it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.schema import QUERY_ID, RANK, SHARE
from vaeudf.spark.frames import write_parquet
from vaeudf.storage.locations import absolute, exists, spark_literal
from vaeudf.storage.outputs import RESULTS_MARK, SHARES_MARK, check_output, replacing_all


def share_folder(output: str) -> str:
    """Return the folder of the shares that belong to the hits in another."""
    return output.rstrip("/") + "-share"


def check_query_output(options: Any, inputs: Sequence[str]) -> None:
    """Check where the results and the page go, before any work.

    Args:
        options: Those of query_topk.
        inputs: What the job reads.

    Raises:
        InputError: A folder is there and may not be replaced, or is among what is read.
    """
    options.check_outputs(options.output, RESULTS_MARK, inputs)
    # Shares of other hits, which go when these come.
    if options.output and (options.share is not None or _has_shares(options.output)):
        others = [*inputs, options.output, *([options.report] if options.report else [])]
        check_output(share_folder(options.output), options.overwrite, SHARES_MARK, others)


def write_results(
    spark: SparkSession, hits: DataFrame, shares: DataFrame | None, output: str, *, ranked: bool
) -> tuple[DataFrame, DataFrame | None]:
    """Write hits, and shares beside them; both take their places at the same time.

    Shares of older hits go: they belong to no hits any more.

    Args:
        spark: The session.
        hits: To be written.
        shares: To be written too, best first within each query, if there are any.
        output: Folder of the hits.
        ranked: Whether the hits have ranks to be in the order of.

    Returns:
        What was written.
    """
    folder = share_folder(output)
    markers = {output: RESULTS_MARK} | ({} if shares is None else {folder: SHARES_MARK})
    removing = [folder] if shares is None and _has_shares(output) else []
    with replacing_all(markers, removing) as staging:
        ordered = hits.sortWithinPartitions(QUERY_ID, RANK) if ranked else hits
        write_parquet(ordered, staging[0])
        if shares is not None:
            ordered = shares.sortWithinPartitions(QUERY_ID, F.desc(SHARE))
            write_parquet(ordered, staging[1])
    written = spark.read.parquet(spark_literal(output))
    return written, None if shares is None else spark.read.parquet(spark_literal(folder))


def _has_shares(output: str) -> bool:
    return exists(posixpath.join(absolute(share_folder(output)), SHARES_MARK))
