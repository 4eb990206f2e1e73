"""Exact search in memory beside FAISS, on one core.

    python -m benchmarks.search [--posteriors FILE10.npz] [--wide FILE64.npz FILE256.npz]

FAISS searches the lifted vectors of 2n + 1 numbers, whose inner product with the lifted query is
the log-likelihood: ``IndexFlatIP`` by brute force, ``IndexIVFFlat`` approximately, with as many
probes as it needs for a recall of 0.99. Needs ``pip install faiss-cpu``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.measure import pin, print_table, tell, timed

if __name__ == "__main__":
    pin(1)

import faiss
import numpy as np
from numpy.typing import NDArray

import vaeudf
from benchmarks.posteriors import (
    KINDS,
    WIDE_KINDS,
    Posteriors,
    add_argument,
    draw_items,
    draw_queries,
)
from vaeudf.gaussian import scores
from vaeudf.gaussian.lifted import lift_items, lift_queries, square_norms, with_equal_norms
from vaeudf.numerics.kd_tree import kd_order, typical_sigma
from vaeudf.search import engine
from vaeudf.search.prepared import prepare, prepare_queries

K = 10
_PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_LISTS = 4096
_WIDE = ((64, 100_000), (256, 40_000))
_Search = Callable[[NDArray[np.float32], int], NDArray[np.int64]]


def in_order(items: Posteriors) -> Posteriors:
    """Return items in k-d order, as a posterior table has them."""
    order = kd_order(items.mu, scale=typical_sigma(items.log_var))
    return Posteriors(items.mu[order], items.log_var[order])


def own_brute_force(items: Posteriors, z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Search without bounds."""
    score = scores.LOG_LIKELIHOOD
    prepared = prepare(score, items.mu, items.log_var, np.arange(len(items)), bounds=False)
    return engine.search(prepared, prepare_queries(score, z, None, 0.0), K)[1]


def flat_index(vectors: NDArray[np.float32]) -> faiss.Index:
    """Return FAISS's brute force."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def recall(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Return what part of the true k best was found."""
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    return sum(hits) / true.size


def brute_force(items: Posteriors, flat: faiss.Index, queries: int, repeats: int) -> None:
    """Compare the two brute forces."""
    z = draw_queries("prior", queries, items)
    lifted = lift_queries(z)
    score = scores.LOG_LIKELIHOOD
    prepared = prepare(score, items.mu, items.log_var, np.arange(len(items)), bounds=False)
    ready = prepare_queries(score, z, None, 0.0)
    engine.search(prepared, ready, K)
    own, _ = timed(lambda: engine.search(prepared, ready, K), repeats)
    peer, _ = timed(lambda: flat.search(lifted, K), repeats)
    pairs = queries * len(items) / 1e9
    print_table(
        ["brute force", "FAISS flat, G pairs/s", "vaeudf, G pairs/s", "ratio"],
        [[f"{len(items):,} × {queries:,}", pairs / peer, pairs / own, f"{peer / own:.1f}×"]],
    )


def pruned(items: Posteriors, flat: faiss.Index, count: int, repeats: int, ivf: bool) -> None:
    """Compare ``nearest`` on items in k-d order with FAISS flat and IVF."""
    vectors = lift_items(items.mu, items.log_var)
    approximate = None
    if ivf:
        tell("training IVF …")
        quantizer = faiss.IndexFlatIP(vectors.shape[1])
        approximate = faiss.IndexIVFFlat(
            quantizer, vectors.shape[1], _LISTS, faiss.METRIC_INNER_PRODUCT
        )
        approximate.cp.min_points_per_centroid = 5
        approximate.train(vectors)
        approximate.add(vectors)
    few = min(count, 500)
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, count, items)
        lifted = lift_queries(z)
        vaeudf.nearest(z[:10], items.mu, items.log_var, K)
        own, (found, _) = timed(lambda z=z: vaeudf.nearest(z, items.mu, items.log_var, K), repeats)
        peer, _ = timed(lambda q=lifted: flat.search(q[:few], K), repeats)
        own, peer = own / count, peer / few
        true = own_brute_force(items, z[:few])
        assert (found[:few] == true).all(), "the exact searches differ"
        row = [kind, peer * 1e6, own * 1e6, f"{peer / own:.1f}×"]
        if approximate is not None:
            row += _ivf(approximate, lifted[:few], true, peer)
        rows.append(row)
        tell(f"{row}")
    head = [f"z ({len(items):,} items)", "FAISS flat, µs/query", "vaeudf, µs/query", "ratio"]
    if ivf:
        head += ["FAISS IVF at recall ≥ 0.99, over flat"]
    print_table(head, rows)


def _ivf(
    index: faiss.Index, lifted: NDArray[np.float32], true: NDArray[np.int64], flat: float
) -> list[object]:
    best = f"not with {_PROBES[-1]} probes"
    for probes in _PROBES:
        index.nprobe = probes
        seconds, (_, found) = timed(lambda: index.search(lifted, K), 1)
        reached = recall(found, true)
        tell(f"  nprobe {probes}: recall {reached:.3f}, {flat * len(lifted) / seconds:.1f}× flat")
        if reached >= 0.99:
            best = f"{flat * len(lifted) / seconds:.1f}× ({probes} probes)"
            break
    return [best]


def wide(items: Posteriors, queries: int, repeats: int, approximate: bool) -> None:
    """Compare in more dimensions, where bounds seldom pay.

    The searches take turns, and the seconds are those of the processor: on a machine that does
    other things, too, these are the ones that can be compared.
    """
    latent_dim = items.mu.shape[1]
    index = vaeudf.PosteriorIndex(items.mu, items.log_var)
    items = in_order(items)
    vectors = lift_items(items.mu, items.log_var)
    flat = flat_index(vectors)
    others = _approximate(vectors) if approximate else {}
    score = scores.LOG_LIKELIHOOD
    scanned = prepare(score, items.mu, items.log_var, np.arange(len(items)), bounds=False)
    rows = []
    for kind in WIDE_KINDS:
        z = draw_queries(kind, queries, items, end=3.0)
        lifted = lift_queries(z)
        ready = prepare_queries(score, z, None, 0.0)
        runs = {
            "own": partial(index.search, z, K),
            "brute": partial(engine.search, scanned, ready, K),
            "flat": partial(flat.search, lifted, K),
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        index.search(z, K)
        for _ in range(repeats):
            for name, run in runs.items():
                start = time.process_time()
                run()
                seconds[name].append(time.process_time() - start)
        own, brute, peer = (statistics.median(seconds[name]) for name in runs)
        row = [
            f"n = {latent_dim}, {kind}",
            peer / queries * 1e6,
            own / queries * 1e6,
            f"{peer / own:.2f}×",
            f"{brute / own:.2f}×",
        ]
        true = engine.search(scanned, ready, K)[1]
        assert (index.search(z, K)[1] == engine.search(scanned, ready, K)[0]).all()
        few = min(queries, 200)
        row += [
            _least_effort(tune, effort, lifted[:few], true[:few], peer / queries)
            for tune, effort in others.values()
        ]
        rows.append(row)
        tell(f"{row}")
    head = [f"{len(items):,} × {queries:,}", "FAISS flat, µs/query", "vaeudf, µs/query"]
    head += ["over FAISS flat", "over own brute force"]
    print_table(head + [f"{name} at recall ≥ 0.99, over flat" for name in others], rows)


def _approximate(vectors: NDArray[np.float32]) -> dict[str, tuple[_Search, tuple[int, ...]]]:
    """Return approximate indexes: how each is searched with some effort, and which efforts."""
    metric = faiss.METRIC_INNER_PRODUCT
    width, lists = vectors.shape[1], 1024
    tell("training IVF …")
    coarse = faiss.IndexFlatIP(width)
    ivf = faiss.IndexIVFFlat(coarse, width, lists, metric)
    ivf.cp.min_points_per_centroid = 5
    ivf.train(vectors)
    ivf.add(vectors)
    tell("building HNSW …")
    # By distances: a graph of inner products finds next to nothing where norms differ as these do.
    # With this coordinate more, and 0 in the queries, both rank alike.
    hnsw = faiss.IndexHNSWFlat(width + 1, 32, faiss.METRIC_L2)
    hnsw.hnsw.efConstruction = 80
    hnsw.add(with_equal_norms(vectors, float(square_norms(vectors).max())))

    def by_ivf(lifted: NDArray[np.float32], probes: int) -> NDArray[np.int64]:
        ivf.nprobe = probes
        return ivf.search(lifted, K)[1]

    def by_hnsw(lifted: NDArray[np.float32], effort: int) -> NDArray[np.int64]:
        hnsw.hnsw.efSearch = effort
        return hnsw.search(np.pad(lifted, ((0, 0), (0, 1))), K)[1]

    # ``coarse`` lives as long as the function that holds ``ivf`` does, which does not own it.
    by_ivf.coarse = coarse  # type: ignore[attr-defined]
    return {
        "IVF": (by_ivf, tuple(probes for probes in _PROBES if probes <= lists)),
        "HNSW": (by_hnsw, (16, 64, 256, 1024)),
    }


def _least_effort(
    search: _Search,
    efforts: tuple[int, ...],
    lifted: NDArray[np.float32],
    true: NDArray[np.int64],
    flat: float,
) -> str:
    reached = 0.0
    for effort in efforts:
        start = time.process_time()
        found = search(lifted, effort)
        seconds = time.process_time() - start
        reached = recall(found, true)
        if reached >= 0.99:
            return f"{flat * len(lifted) / seconds:.1f}×"
    return f"not ({reached:.2f})"


def main() -> None:
    """Run all, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument(
        "--wide", nargs="*", default=[], help="the same of 64 and of 256 dimensions, in this order"
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-ivf", action="store_true")
    parser.add_argument("--only", choices=("brute", "pruned", "wide"))
    options = parser.parse_args()
    if options.only != "wide":
        items = in_order(draw_items(options.items, 10, options.posteriors))
        flat = flat_index(lift_items(items.mu, items.log_var))
        if options.only != "pruned":
            brute_force(items, flat, min(options.queries, 1_000), options.repeats)
        if options.only != "brute":
            pruned(items, flat, options.queries, options.repeats, not options.no_ivf)
    if options.only in (None, "wide"):
        sources = [*options.wide, None, None]
        for (latent_dim, count), source in zip(_WIDE, sources, strict=False):
            items = draw_items(count, latent_dim, source)
            wide(items, 1_000, options.repeats, not options.no_ivf)


if __name__ == "__main__":
    main()
