"""The best hits of a search, ranked again by the decoder's likelihood p(x|z) of their pictures."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from vaeudf.errors import InputError
from vaeudf.explore.answers import Answer, Hit
from vaeudf.explore.daemon_threads import DaemonExecutor
from vaeudf.explore.hits import search
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.model import TableModel
from vaeudf.explore.pictures import Pictures
from vaeudf.explore.queries import SearchRequest, question

# Reading waits for disks, decoding for cores.
_THREADS = 4


def search_reranked(
    table: LoadedTable,
    request: SearchRequest,
    picture_path: Callable[[str], str],
    model: TableModel,
    pictures: Pictures,
) -> Answer:
    """Return the answer to a request, its hits ranked as ``query_topk --rerank picture`` does.

    Hits that tie are ranked by item_id; one whose picture cannot be read keeps its rank.

    Args:
        table: What is searched.
        request: One of a single z, without open dimensions.
        picture_path: Gives where an item's picture is, below the service's root.
        model: Decodes z.
        pictures: Of the items.

    Raises:
        InputError: The request does not go with re-ranking, or there are no pictures.
        BundleError: The model has no decoder, or does not say how likely a picture is given z.
    """
    from vaeudf.decoding.picture_densities import compare_pixels

    began = time.perf_counter()
    [z] = question(table, request).latents.z
    if pictures.why_not is not None:
        raise InputError(f"rerank compares pictures, and there are none: {pictures.why_not}")
    likelihood, spec = model.likelihood, model.spec
    levels = model.levels(z[None])
    answer = search(table, request, picture_path)
    with DaemonExecutor(_THREADS, "compare") as pool:
        found = list(pool.map(lambda hit: pictures.pixels(hit.row, spec), answer.hits))
    read = {place: pixels for place, pixels in enumerate(found) if pixels is not None}
    if answer.hits and not read:
        raise InputError(
            f"rerank compares pictures, and none of the {len(answer.hits)} candidates' can be "
            f"read, such as that of item {answer.hits[0].item_id!r}; name the catalog that has "
            "them with --catalog."
        )
    if read:
        pixels = np.stack(list(read.values())).reshape(len(read), -1)
        which = np.arange(len(read))
        compared = compare_pixels(pixels, levels, which, np.zeros_like(which), likelihood)
        for place, density, error in zip(read, *compared, strict=True):
            hit = answer.hits[place]
            hit.log_p_x_given_z, hit.picture_error = float(density), float(error)
    hits = _ranked(answer.hits, list(read))[: request.k]
    return msgspec.structs.replace(answer, hits=hits, seconds=time.perf_counter() - began)


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
