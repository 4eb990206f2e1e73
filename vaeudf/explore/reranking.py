"""The best hits of a search, ranked again by the decoder's likelihood p(x|z) of their pictures."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.explore.hits import Answer, Hit, search
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.model import TableModel
from vaeudf.explore.pictures import Pictures
from vaeudf.explore.queries import SearchRequest, as_command

CANDIDATES = 200
"""Of so many of the best the hits are chosen, unless another number is asked for."""
# Reading waits for disks, decoding for cores.
_THREADS = 4


def search_reranked(
    table: LoadedTable, request: SearchRequest, model: TableModel, pictures: Pictures
) -> Answer:
    """Return the answer to a request, its hits ranked as ``query_topk --rerank picture`` does.

    Hits that tie are ranked by item_id; one whose picture cannot be read keeps its rank.

    Args:
        table: What is searched.
        request: One with a point z and no open dimension.
        model: Decodes z.
        pictures: Of the items.

    Raises:
        InputError: The request does not go with re-ranking, or there are no pictures.
        BundleError: The model has no decoder, or does not say how likely a picture is given z.
    """
    from vaeudf.decoding.picture_densities import compare_pixels

    began = time.perf_counter()
    count = CANDIDATES if request.candidates is None else request.candidates
    z = _point(request, count)
    if pictures.why_not is not None:
        raise InputError(f"rerank compares pictures, and there are none: {pictures.why_not}")
    likelihood, spec = model.likelihood, model.spec
    levels = model.levels(z[None])
    wanted = msgspec.structs.replace(request, rerank=None, candidates=None, k=max(count, request.k))
    answer = search(table, wanted)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda hit: pictures.pixels(hit.row, spec), answer.hits))
    read = [place for place, pixels in enumerate(found) if pixels is not None]
    if read:
        pixels = np.stack([found[place] for place in read]).reshape(len(read), -1)  # type: ignore[arg-type]
        which = np.arange(len(read))
        compared = compare_pixels(pixels, levels, which, np.zeros_like(which), likelihood)
        for place, density, error in zip(read, *compared, strict=True):
            hit = answer.hits[place]
            hit.log_p_x_given_z, hit.picture_error = float(density), float(error)
    hits = _ranked(answer.hits, read)[: request.k]
    return msgspec.structs.replace(
        answer,
        hits=hits,
        command=as_command(request, table.table.uri),
        seconds=time.perf_counter() - began,
    )


def _ranked(hits: list[Hit], read: list[int]) -> list[Hit]:
    """Return hits in their new order, those that were not read at the ranks they had."""
    ranks = [hit.rank for hit in hits]
    for hit in hits:
        hit.candidate_rank = hit.rank
    best = iter(sorted((hits[i] for i in read), key=lambda hit: (-_density(hit), hit.item_id)))
    kept = set(range(len(hits))) - set(read)
    ordered = [hits[place] if place in kept else next(best) for place in range(len(hits))]
    for hit, rank in zip(ordered, ranks, strict=True):
        hit.rank = rank
    return ordered


def _density(hit: Hit) -> float:
    assert isinstance(hit.log_p_x_given_z, float)
    return hit.log_p_x_given_z


def _point(request: SearchRequest, count: int) -> NDArray[np.float64]:
    if request.z is None or request.like or request.unlike:
        raise InputError(
            "rerank needs a point z, for p(x|z) is of one z; leave out like or rerank."
        )
    if None in request.z:
        raise InputError(
            "rerank needs a number in each dimension, for a picture has one; z has null in "
            f"dimension {request.z.index(None)}."
        )
    if count < request.k:
        raise InputError(
            f"candidates is {count}, and k is {request.k}; expected at least as many candidates, "
            "from which the k best are chosen."
        )
    return np.array(request.z, np.float64)
