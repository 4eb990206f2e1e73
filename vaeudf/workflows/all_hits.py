"""``--all``: what it goes with, and what is told of hits that are as many as there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from vaeudf.errors import InputError
from vaeudf.query.latents import Latents
from vaeudf.schema import QUERY_ID
from vaeudf.workflows.cli import Summary, flag_of

# What has no meaning, or no end, where hits are neither ranked nor counted off.
_NOT_WITH_ALL = {
    "k": "it returns every item that reaches --min-score",
    "per": "it does not choose among the hits",
    "distinct": "it does not choose among the hits",
    "diversify": "it does not choose among the hits",
    "responsibilities": "its hits leave the tasks before the sums are known; --share has sums",
    "report": "its hits are not ranked, and there may be millions; for a page, ask with --k",
}
# Up to so many queries, the summary says how many hits each has.
_QUERIES_TOLD = 20


def check_all(options: Any) -> None:
    """Refuse what does not go with --all, and --all without what it needs.

    Args:
        options: Those of query_topk.

    Raises:
        InputError: There is something.
    """
    if not options.all:
        return
    for name, reason in _NOT_WITH_ALL.items():
        if getattr(options, name) not in (None, False):
            raise InputError(f"{flag_of(name)} does not go with --all: {reason}.")
    for name, reason in (
        ("min_score", "every item is a hit without it"),
        ("output", "there may be millions of hits"),
    ):
        if getattr(options, name) is None:
            raise InputError(f"--all needs {flag_of(name)}: {reason}.")


def told_of_all(hits: DataFrame, latents: Latents) -> Summary:
    """Return how many hits there are, and how many each query has.

    Args:
        hits: As they were written.
        latents: The queries.
    """
    counted = hits.groupBy(QUERY_ID).count().toArrow()
    own = dict(zip(*(counted[name].to_pylist() for name in (QUERY_ID, "count")), strict=True))
    numbers = np.array([own.get(name, 0) for name in latents.ids])
    told: Summary = {
        "hits": int(numbers.sum()),
        "hits_per_query": {
            "min": int(numbers.min()),
            "median": float(np.median(numbers)),
            "max": int(numbers.max()),
        },
        "queries_without_hits": int((numbers == 0).sum()),
    }
    if len(latents) <= _QUERIES_TOLD:
        told["hits_by_query"] = dict(zip(latents.ids, numbers.tolist(), strict=True))
    return told
