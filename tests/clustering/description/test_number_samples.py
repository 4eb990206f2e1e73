"""Quantiles of clusters against pandas: exact, or from a uniform sample; however items are cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support.tolerances import assert_sampled
from vaeudf.clustering.description import number_samples
from vaeudf.clustering.description.number_samples import NumberSamples, hashes_of

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def draw(count, k, seed=0):
    rng = np.random.default_rng(seed)
    numbers = rng.lognormal(3, 1, count).round(2)
    numbers[rng.random(count) < 0.05] = np.nan
    numbers[:3] = np.inf, -np.inf, np.nan
    names = np.array([f"item {i}" for i in range(count)], object)
    return rng.integers(0, k, count).astype(np.int32), names, numbers


def sample(clusters, names, numbers, k, parts, rows=37):
    whole = NumberSamples.empty(k)
    for part in parts:
        own = NumberSamples.empty(k)
        for first in range(0, len(part), rows):
            some = part[first : first + rows]
            own.add(clusters[some], hashes_of(pa.array(names[some])), numbers[some])
        own.settle()
        whole.merge(own)
    return whole


def test_quantiles_of_few_are_exact():
    clusters, names, numbers = draw(1_000, 3)
    clusters[clusters == 1] = 0  # one cluster without items
    found = sample(clusters, names, numbers, 3, np.array_split(np.arange(1_000), 4))
    finite = pd.Series(numbers).where(np.isfinite(numbers))
    for cluster in (0, 2):
        own = finite[clusters == cluster]
        expected = [own.quantile(share, interpolation="lower") for share in SHARES]
        assert found.quantiles(cluster, SHARES) == expected
        assert found.nulls[cluster] == own.isna().sum()
    assert found.quantiles(1, SHARES) is None
    assert found.quantiles(3, SHARES) == [finite.quantile(q, interpolation="lower") for q in SHARES]
    assert found.counts.tolist() == [
        *finite.groupby(clusters).count().reindex(range(3), fill_value=0),
        finite.count(),
    ]


def test_quantiles_of_many_are_those_of_one_sample_however_items_are_cut(monkeypatch):
    monkeypatch.setattr(number_samples, "_MOST", 400)
    monkeypatch.setattr(number_samples, "_WAITING", 500)
    clusters, names, numbers = draw(20_000, 2, seed=4)
    clusters[:50] = 1
    clusters[50:] = 0  # one cluster that is sampled, and one that is not
    rng = np.random.default_rng(1)
    order = rng.permutation(20_000)
    found = sample(clusters, names, numbers, 2, [np.arange(20_000)], rows=4_096)
    again = sample(clusters, names, numbers, 2, np.array_split(order, 7), rows=999)
    for group in range(3):
        assert found.quantiles(group, SHARES) == again.quantiles(group, SHARES)
    assert np.bincount(found.groups).tolist() == [400, found.counts[1], 400]
    own = numbers[(clusters == 0) & np.isfinite(numbers)]
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        [quantile] = found.quantiles(0, (share,))
        rank = (own <= quantile).mean()
        error = np.sqrt(share * (1 - share) / 400)
        assert_sampled([rank], [share], standard_error=error)


def test_many_clusters_share_the_memory():
    assert NumberSamples.empty(10).size == 4_096
    assert NumberSamples.empty(1_000).size * 1_001 <= 2**20
    assert NumberSamples.empty(100_000).size == 256


def test_hashes_are_the_same_everywhere():
    """Known values: another library, or another machine, must not choose another sample."""
    found = hashes_of(pa.array(["", "dress/0042.jpg", "é"]))
    expected = pd.util.hash_array(np.array(["", "dress/0042.jpg", "é"], object))
    assert found.tolist() == expected.tolist() and found.dtype == np.uint64
    assert len({*found.tolist()}) == 3


@pytest.mark.parametrize("same", [True, False])
def test_items_with_one_name(same):
    """Plain Parquet may have an item twice: both count."""
    names = np.array(["a"] * 6 if same else list("abcdef"), object)
    numbers = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    clusters = np.zeros(6, np.int32)
    found = sample(clusters, names, numbers, 1, [np.arange(3), np.arange(3, 6)])
    assert found.quantiles(0, (0.0, 0.5, 1.0)) == [1.0, 3.0, 6.0]
