"""Exact search in memory beside FAISS, on one core.

    python -m benchmarks.search [--posteriors FILE.npz]

FAISS searches the lifted vectors of 2n + 1 numbers, whose inner product with the lifted query is
the log-likelihood: ``IndexFlatIP`` by brute force, ``IndexIVFFlat`` approximately, with as many
probes as it needs for a recall of 0.99. Needs ``pip install faiss-cpu``.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.measure import pin, print_table, tell, timed

if __name__ == "__main__":
    pin(1)

import faiss
import numpy as np
from numpy.typing import NDArray

import vaeudf
from benchmarks.posteriors import KINDS, Posteriors, add_argument, draw_items, draw_queries
from vaeudf.gaussian import scores
from vaeudf.numerics.kd_tree import kd_order, typical_sigma
from vaeudf.search import engine
from vaeudf.search.prepared import prepare, prepare_queries

K = 10
_PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_LISTS = 4096


def lifted_items(items: Posteriors) -> NDArray[np.float32]:
    """Return the lifted vectors of items, (N, 2n + 1)."""
    precision = np.exp(-items.log_var.astype(np.float64))
    scaled = items.mu * precision
    last = (items.mu * scaled + items.log_var).sum(axis=1)
    last += items.mu.shape[1] * np.log(2 * np.pi)
    return np.concatenate([precision, scaled, last[:, None]], axis=1).astype(np.float32)


def lifted_queries(z: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the lifted vectors of queries, (Q, 2n + 1)."""
    half = np.full((len(z), 1), -0.5)
    return np.concatenate([-0.5 * z * z, z, half], axis=1).astype(np.float32)


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
    lifted = lifted_queries(z)
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
    vectors = lifted_items(items)
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
        lifted = lifted_queries(z)
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


def wide(latent_dim: int, count: int, queries: int, repeats: int) -> None:
    """Compare in more dimensions, where bounds seldom pay."""
    items = draw_items(count, latent_dim)
    index = vaeudf.PosteriorIndex(items.mu, items.log_var)
    items = in_order(items)
    flat = flat_index(lifted_items(items))
    score = scores.LOG_LIKELIHOOD
    scanned = prepare(score, items.mu, items.log_var, np.arange(count), bounds=False)
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, queries, items)
        lifted = lifted_queries(z)
        ready = prepare_queries(score, z, None, 0.0)
        index.search(z[:10], K)
        own, _ = timed(partial(index.search, z, K), repeats)
        brute, _ = timed(partial(engine.search, scanned, ready, K), repeats)
        peer, _ = timed(partial(flat.search, lifted, K), repeats)
        rows.append([f"n = {latent_dim}, {kind}", f"{peer / own:.2f}×", f"{brute / own:.2f}×"])
        tell(f"{rows[-1]}")
    print_table([f"{count:,} × {queries:,}", "over FAISS flat", "over own brute force"], rows)


def main() -> None:
    """Run all, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-ivf", action="store_true")
    parser.add_argument("--only", choices=("brute", "pruned", "wide"))
    options = parser.parse_args()
    if options.only != "wide":
        items = in_order(draw_items(options.items, 10, options.posteriors))
        flat = flat_index(lifted_items(items))
        if options.only != "pruned":
            brute_force(items, flat, min(options.queries, 1_000), options.repeats)
        if options.only != "brute":
            pruned(items, flat, options.queries, options.repeats, not options.no_ivf)
    if options.only in (None, "wide"):
        for latent_dim, count in ((64, 100_000), (256, 50_000)):
            wide(latent_dim, count, 1_000, options.repeats)


if __name__ == "__main__":
    main()
