"""Near pairs of Gaussians by brute force, with the oracles' formulas, and groups by SciPy."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.support.oracles import bhattacharyya_by_formula, jeffreys_by_torch
from tests.support.tolerances import score_bound

ORACLES = {"jeffreys": jeffreys_by_torch, "bhattacharyya": bhattacharyya_by_formula}

Pairs = set[tuple[int, int]]


def divergences(name: str, mu: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """Of all pairs, (N, N)."""
    mu, log_var = mu.astype(np.float64), log_var.astype(np.float64)
    return ORACLES[name](mu, log_var, mu, log_var)


def certain_and_possible(
    name: str, nats: float, mu: np.ndarray, log_var: np.ndarray
) -> tuple[Pairs, Pairs]:
    """Pairs i < j that are near whatever the rounding, and those that may be."""
    found = divergences(name, mu, log_var)
    bound = score_bound(found, log_var, dims=mu.shape[1])
    upper = np.triu(np.ones(found.shape, bool), 1)
    certain, possible = (np.nonzero(upper & (found <= nats + b)) for b in (-bound, bound))
    return pairs_of(*certain), pairs_of(*possible)


def pairs_of(one, other) -> Pairs:
    """As a set, the smaller number first."""
    rows = zip(np.asarray(one).tolist(), np.asarray(other).tolist(), strict=True)
    return {(min(pair), max(pair)) for pair in rows}


def groups_of(pairs: Pairs, count: int) -> set[frozenset[int]]:
    """The connected components of two or more of so many items, by SciPy."""
    one, other = np.array(sorted(pairs), int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    found = (frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels))
    return {group for group in found if len(group) > 1}


def scattered(rng: np.random.Generator, count: int, n: int, kind: str) -> tuple:
    """Items of a kind (N, n) of mu and log_var in float32: what each has, its name says."""
    mu = rng.normal(0, 2, (count, n))
    log_var = rng.normal(-4, 1, (count, n))
    some = slice(0, count // 3)
    onto = rng.integers(count // 3, count, count // 3)
    if kind in ("near", "clumps"):
        scale = rng.choice([1e-3, 0.05, 0.2], (count // 3, 1))
        if kind == "clumps":
            onto %= 7
        noise = rng.normal(size=(2, count // 3, n))
        mu[some] = mu[onto] + scale * np.exp(0.5 * log_var[onto]) * noise[0]
        log_var[some] = log_var[onto] + scale * noise[1]
    elif kind == "equal":
        mu[some], log_var[some] = mu[onto % 11], log_var[onto % 11]
    elif kind == "all equal":
        mu[:], log_var[:] = mu[0], log_var[0]
    elif kind == "extreme":
        log_var = rng.choice([-600.0, -80.0, 0.0, 80.0, 600.0], (count, 1)) + rng.normal(
            0, 0.1, (count, n)
        )
        mu = rng.choice([0.0, 1e-30, 1.0, 1e15], (count, n))
    elif kind == "outliers":
        mu[some] *= 1e6
        log_var[:5] += 20
    elif kind == "one dimension differs":
        mu[:, 1:], log_var[:] = 0.0, -4.0
    else:
        assert kind == "apart"
    return mu.astype(np.float32), log_var.astype(np.float32)


KINDS = (
    *("apart", "near", "clumps", "equal", "all equal", "extreme", "outliers"),
    "one dimension differs",
)
