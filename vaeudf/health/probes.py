"""Queries that show how a table answers: hubs, nearest other items, churn between versions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.scores import EUCLIDEAN, JEFFREYS
from vaeudf.health.drift import Churn, mean_overlap
from vaeudf.health.findings import Neighbour
from vaeudf.health.hubs import HubCurve, hub_shares
from vaeudf.health.kinds import POSTERIORS, PRIOR, K, slider_kind
from vaeudf.numerics.sketches import TopList
from vaeudf.query.bulk import plan
from vaeudf.query.latents import Latents
from vaeudf.query.options import QueryOptions
from vaeudf.schema import ITEM_ID, QUERY_ID
from vaeudf.table.open import PosteriorTable

SLIDERS = (1, 2, 3, 5)
"""The a of the ranges [-a, a] that z are drawn from; the same for all tables, to compare them."""

_SEPARATOR = ":"


def draw_z(latent_dim: int, count: int, seed: int) -> Latents:
    """Return z drawn from the prior N(0, I) and from sliders, ``count`` of each kind."""
    rng = np.random.default_rng([seed, latent_dim])
    kinds = [(PRIOR, rng.normal(size=(count, latent_dim)))]
    for bound in SLIDERS:
        kinds.append((slider_kind(bound), rng.uniform(-bound, bound, (count, latent_dim))))
    names = [f"{kind}{_SEPARATOR}{i}" for kind, _ in kinds for i in range(count)]
    return Latents(tuple(names), np.concatenate([z for _, z in kinds]))


def hub_curve(
    table: PosteriorTable, taus: Sequence[float], *, count: int, seed: int, k: int = K
) -> HubCurve:
    """Query the top k of z of every kind, once with each tolerance and once by the nearest mu.

    Args:
        table: What to query.
        taus: Tolerances, ascending.
        count: How many z of each kind.
        seed: Seed of the z.
        k: How many items per z.
    """
    latents = draw_z(table.latent_dim, count, seed)
    kinds = (PRIOR, *map(slider_kind, SLIDERS))

    def shares(tau: float = 0.0, score: str | None = None) -> NDArray[np.float64]:
        hits = _hits(table, latents, k, tau=tau, score=score)
        of = (query_id.split(_SEPARATOR)[0] for query_id, _ in hits)
        return hub_shares(kinds, of, (item_id for _, item_id in hits), count)

    return HubCurve(
        k=k,
        queries=count,
        kinds=kinds,
        taus=tuple(taus),
        shares=np.stack([shares(tau) for tau in taus]),
        euclidean=shares(score=EUCLIDEAN.name),
        least=min(1.0, k / table.num_items),
    )


def nearest_others(table: PosteriorTable, sample: TopList) -> list[Neighbour]:
    """Return, for each item of a sample, the other item nearest by Jeffreys divergence.

    Nearest first. Jeffreys and not Bhattacharyya: both are symmetric, but Jeffreys is a product of
    features, which the engine scores far faster.
    """
    if len(sample) == 0 or table.num_items < 2:
        return []
    asked = Latents(tuple(sample.ids), sample.mu, sample.log_var)
    options = QueryOptions(k=1, score=JEFFREYS.name, exclude_self=True)
    hits = plan(table, asked, options).hits
    rows = hits.select(QUERY_ID, ITEM_ID, JEFFREYS.name).collect()
    found = [
        Neighbour(item_id=row[QUERY_ID], other=row[ITEM_ID], divergence=row[JEFFREYS.name])
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.divergence, one.item_id))


def churn(
    table: PosteriorTable,
    old: PosteriorTable,
    sample: TopList,
    *,
    count: int,
    seed: int,
    k: int = K,
) -> list[Churn]:
    """Return which share of the top k two tables have in common, for z of two kinds.

    Args:
        table: The new table.
        old: The old one, of the same model.
        sample: Items of the new one, whose posteriors some z are drawn from.
        count: How many z of each kind, at most.
        seed: Seed of the z.
        k: How many items per z.
    """
    rng = np.random.default_rng([seed, table.latent_dim, 1])
    own = slice(0, count)
    mu, sigma = sample.mu[own], np.exp(0.5 * sample.log_var[own])
    kinds = {
        PRIOR: rng.normal(size=(count, table.latent_dim)),
        POSTERIORS: mu + sigma * rng.normal(size=mu.shape),
    }
    found = []
    for kind, z in kinds.items():
        ids = tuple(f"{kind}{_SEPARATOR}{i}" for i in range(len(z)))
        if ids:
            asked = Latents(ids, z)
            new_hits, old_hits = (_hits(one, asked, k) for one in (table, old))
            overlap = mean_overlap(new_hits, old_hits, ids)
            found.append(Churn(kind=kind, queries=len(ids), k=k, overlap=overlap))
    return found


def _hits(
    table: PosteriorTable, latents: Latents, k: int, *, tau: float = 0.0, score: str | None = None
) -> list[tuple[str, str]]:
    """Return (query_id, item_id) of all hits: k for each of a bounded number of queries."""
    hits = plan(table, latents, QueryOptions(k=k, score=score, tolerance=tau)).hits
    found = hits.select(QUERY_ID, ITEM_ID).toArrow()
    return list(
        zip(found.column(QUERY_ID).to_pylist(), found.column(ITEM_ID).to_pylist(), strict=True)
    )
