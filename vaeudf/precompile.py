"""Compile the inner loops of the search now, and not in the first query.

Numba keeps what it has compiled beside the module (or in the user's cache folder), for this kind of
processor. Without it every process compiles for its first query: on a cluster every worker of
every application, since each unpacks the environment anew.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.clustering.divergences import KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise
from vaeudf.copies.forest import Forest
from vaeudf.copies.join import Coordinates, Items, divergences_of_pairs
from vaeudf.copies.threshold import Threshold
from vaeudf.decoding.picture_densities import compare_pixels
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.scores import SCORES, Score
from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import BLOCK_SIZE, kd_order
from vaeudf.query.latents import Latents
from vaeudf.query.request import Request
from vaeudf.query.task import Fold
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.kernels import most_promising
from vaeudf.search.once import nearest
from vaeudf.table.passes import Batch, Merge, Result, Work
from vaeudf.table.vectors import to_matrix

# Added to log_var.
_NARROW, _WIDE = -8.0, 0.0
# With narrow posteriors of few dimensions the search uses bounds; with wide ones of many it scans,
# by products of matrices. Other pairs of these need no loop that these two do not.
_KINDS = ((4, _NARROW), (32, _WIDE))
_NUM_ITEMS = 4_096
_NUM_QUERIES = 600


def precompile() -> None:
    """Work on some numbers in every way that tasks and the library do."""
    rng = np.random.default_rng(0)
    for latent_dim, shift in _KINDS:
        mu, log_var = rng.normal(size=(2, _NUM_ITEMS, latent_dim))
        mu = mu[kd_order(mu)]
        for precision in (np.float32, np.float64):
            items = mu.astype(precision), (log_var + shift).astype(precision)
            _as_library(*items)
            _as_task(*items)
            _as_copies(*items)
        _as_clustering(mu, log_var)
    _as_reranking(rng)


def _as_library(mu: NDArray[np.floating], log_var: NDArray[np.floating]) -> None:
    nearest(mu[0], mu, log_var, 5)
    index = PosteriorIndex(mu, log_var)
    for num_queries in (1, _NUM_QUERIES):
        index.search(mu[:num_queries], 5)
        index.search(mu[:num_queries], 5, query_log_var=log_var[:num_queries], score="kl")
    # As behind sliders.
    index.keep_compact()
    index.search(mu[0], 5)
    index.search(mu[:2], 5, query_log_var=log_var[:2], score="kl", weights=(1.0, -0.5))
    index.log_sum(mu[0], 0.0)


def _as_task(mu: NDArray[np.floating], log_var: NDArray[np.floating]) -> None:
    rows = pa.table(
        {
            ITEM_ID: [f"{row:05}" for row in range(len(mu))],
            MU: list(mu),
            LOG_VAR: list(log_var),
        }
    )
    names = rows.select([ITEM_ID])

    def some_of(at: NDArray[np.int64]) -> pa.Table:
        return names.take(pa.array(at))

    boxes = Boxes.of_blocks(mu, log_var, BLOCK_SIZE)
    for num_queries in (1, _NUM_QUERIES):
        for score in (SCORES["log_likelihood"], SCORES["kl"]):
            request = _request(score, mu, log_var, num_queries)
            fold = Fold(request, np.arange(num_queries))
            nodes = request.nodes(boxes)
            fold.count_reaching(nodes)
            fold.reaching(nodes, 0)
            most_promising(nodes, request.prepared_queries(), 1)
            means, log_vars = (to_matrix(rows, name, mu.shape[1]) for name in (MU, LOG_VAR))
            fold.best_values(means, log_vars)
            some = np.arange(0, num_queries, 2)
            for reaching, in_order in ((None, True), (some, True), (None, False)):
                fold.add(means, log_vars, some_of, reaching=reaching, in_order=in_order)
            fold.result()


def _as_copies(mu: NDArray[np.floating], log_var: NDArray[np.floating]) -> None:
    threshold = Threshold("jeffreys", 0.1)
    coordinates = Coordinates.of(threshold, mu, log_var, np.full(mu.shape[1], np.inf))
    items = Items(coordinates, mu, log_var)
    forest = Forest(len(items))
    for others in (None, Items(coordinates, mu[:100], log_var[:100])):
        for pairs in items.near_pairs(others):
            forest.connect(pairs.one, pairs.other)
    forest.roots()
    some = np.zeros((2, mu.shape[1]))
    divergences_of_pairs(threshold, some, some, some, some)


def _as_clustering(mu: NDArray[np.float64], log_var: NDArray[np.float64]) -> None:
    items = Gaussians(mu, log_var)

    def run(work: Work[Result], merge: Merge[Result]) -> Result:
        return work(iter([Batch(items, lambda rows: pa.array([str(row) for row in rows]))]))

    fitted = fit(run, Plan(KL, (3,), restarts=1, max_iterations=2))
    summarise(run, fitted, fitted.best(), num_nearest=3)


def _as_reranking(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 64), dtype=np.uint8)
    means = rng.random((2, 64), dtype=np.float32)
    pairs = np.array([0, 1])
    for likelihood in (GaussianPixels(0.01), BernoulliPixels()):
        compare_pixels(pixels, means, pairs, pairs, likelihood)


def _request(
    score: Score, mu: NDArray[np.floating], log_var: NDArray[np.floating], num_queries: int
) -> Request:
    gaussian = score.between_gaussians
    queries = Latents(
        tuple(map(str, range(num_queries))),
        mu[:num_queries].astype(np.float64),
        log_var[:num_queries].astype(np.float64) if gaussian else None,
    )
    floors = np.full(num_queries, -np.inf)
    cuts = None if gaussian else floors
    return Request(
        queries=queries,
        k=5,
        score=score,
        tolerance=0.0,
        floors=floors,
        cuts=cuts,
        log_num_items=10.0,
    )


if __name__ == "__main__":
    precompile()
