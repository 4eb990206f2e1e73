"""Descriptions of clusters against pandas, whatever the columns hold, and however items are cut."""

from __future__ import annotations

import datetime
import decimal
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support.tolerances import near_float64
from vaeudf.clustering.description.columns import Column
from vaeudf.clustering.description.contents import Contents
from vaeudf.clustering.description.describe import describe
from vaeudf.clustering.description.found import QUANTILES

COUNT = 600


def with_nulls(values, rng, share=0.1):
    return [None if rng.random() < share else value for value in values]


@pytest.fixture(scope="module")
def scene():
    """Clusters (COUNT,), names, and a table of payload columns."""
    rng = np.random.default_rng(0)
    clusters = rng.choice(4, COUNT, p=[0.5, 0.3, 0.2, 0.0]).astype(np.int32)
    category = np.where(
        rng.random(COUNT) < 0.8, np.array(["dress", "hat", "shoe", ""])[clusters], "bag"
    )
    price = np.round(rng.lognormal(3, 1, COUNT), 2)
    day = datetime.date(2024, 1, 1)
    columns = {
        "category": with_nulls(category.tolist(), rng),
        "<b>tags</b>": with_nulls(
            [["new", "new"] if c == 1 else ["old", None][: i % 3] for i, c in enumerate(clusters)],
            rng,
        ),
        "sale": with_nulls((rng.random(COUNT) < 0.3).tolist(), rng),
        "size": with_nulls((36 + 2 * rng.integers(0, 6, COUNT)).tolist(), rng),
        "stock": with_nulls(rng.integers(0, 10_000, COUNT).tolist(), rng),
        "price": with_nulls([decimal.Decimal(f"{p:.2f}") for p in price], rng),
        "weight": [math.nan if i % 7 == 0 else float(p) for i, p in enumerate(price)],
        "since": with_nulls(
            [day + datetime.timedelta(int(d)) for d in rng.integers(0, 900, COUNT)], rng
        ),
        "sku": [f"sku-{i}" for i in range(COUNT)],
        "gone": pa.nulls(COUNT),
    }
    names = [f"item {i}" for i in range(COUNT)]
    return clusters, names, pa.table(columns)


def description_of(clusters, names, payload, parts, k=4, numbers=None, columns=None):
    kinds = columns or [Column.of(field.name, field.type) for field in payload.schema]
    whole = None
    for part in parts:
        own = Contents.empty(kinds, k)
        for rows in np.array_split(part, 1 + len(part) // 97):
            own.add(
                clusters[rows], pa.array(names).take(pa.array(rows)), payload.take(pa.array(rows))
            )
        own.settle()
        if whole is None:
            whole = own
        else:
            whole.merge(own)
    return describe(whole, list(range(k)) if numbers is None else numbers)


def test_counts_and_shares(scene):
    clusters, _, payload = scene
    found = description_of(*scene, [np.arange(COUNT)])
    facts = {one.name: one for one in found.columns}
    sizes = np.bincount(clusters, minlength=4)
    for name in ("category", "<b>tags</b>", "sale", "size"):
        series = pd.Series(payload[name].to_pylist(), dtype=object)
        rows = pd.DataFrame({"cluster": clusters, "value": series}).explode("value")
        rows = rows[rows["value"].notna()].reset_index().drop_duplicates(["index", "value"])
        assert facts[name].kind == "values" and facts[name].missed == 0
        assert facts[name].distinct == rows["value"].nunique()
        assert facts[name].nulls == COUNT - rows["index"].nunique()
        everywhere = rows["value"].value_counts()
        for cluster in range(4):
            own = found.clusters[cluster].columns[name]
            expected = rows[rows["cluster"] == cluster]["value"].value_counts()
            assert {one.value: one.count for one in own.values} == expected.to_dict()
            assert own.nulls == sizes[cluster] - rows[rows["cluster"] == cluster]["index"].nunique()
            counts = [one.count for one in own.values]
            assert counts == sorted(counts, reverse=True)
            for one in own.values:
                assert one.share == one.count / sizes[cluster]
                assert one.share_of_all == everywhere[one.value] / COUNT
                lift = one.count * COUNT / (sizes[cluster] * everywhere[one.value])
                assert one.lift == near_float64(lift, terms=4)


def test_quantiles(scene):
    clusters, _, payload = scene
    found = description_of(*scene, [np.arange(COUNT)])
    facts = {one.name: one for one in found.columns}
    for name in ("stock", "price", "weight", "since"):
        values = payload[name].to_pandas()
        shown = {"stock": int, "since": str}.get(name, float)
        numbers = pd.to_datetime(values) if name == "since" else values.astype(float)
        assert facts[name].kind == "quantiles" and facts[name].sampled is None
        assert facts[name].nulls == numbers.isna().sum()
        for cluster in (0, 1, 2, None):
            own = numbers if cluster is None else numbers[clusters == cluster]
            expected = [own.quantile(share, interpolation="lower") for share in QUANTILES]
            expected = [shown(q.date() if name == "since" else q) for q in expected]
            column = facts[name] if cluster is None else found.clusters[cluster].columns[name]
            assert list(column.quantiles) == expected
            assert [type(q) for q in column.quantiles] == [shown] * 5
            if cluster is not None:
                assert column.nulls == own.isna().sum()
        assert found.clusters[3].columns[name].quantiles is None


def test_what_sets_clusters_apart(scene):
    found = description_of(*scene, [np.arange(COUNT)], numbers=[5, 6, 7, 8])
    assert [one.name for one in found.clusters] == ["dress, old", "new, hat", "shoe, old", None]
    for one in found.clusters[:3]:
        g = [telling.g for telling in one.apart]
        assert g == sorted(g, reverse=True) and min(g) > 0
        assert all(telling.lift > 1 for telling in one.apart)
    assert found.clusters[3].apart == () and found.clusters[3].columns["category"].values == ()


def test_an_id_and_a_column_of_nulls_tell_nothing(scene):
    found = description_of(*scene, [np.arange(COUNT)])
    facts = {one.name: one for one in found.columns}
    assert facts["sku"].kind == "ids" and facts["sku"].distinct == COUNT
    assert all("sku" not in one.columns for one in found.clusters)
    assert not any(telling.column == "sku" for one in found.clusters for telling in one.apart)
    assert (facts["gone"].kind, facts["gone"].nulls, facts["gone"].distinct) == ("values", COUNT, 0)


def test_items_may_be_cut_and_ordered_in_any_way(scene):
    order = np.random.default_rng(9).permutation(COUNT)
    whole = description_of(*scene, [np.arange(COUNT)])
    assert description_of(*scene, np.array_split(order, 5)) == whole
    json.dumps(whole.as_json([0, 1, 2, 3]), allow_nan=False)


def test_one_cluster_of_one_item():
    payload = pa.table({"a": ["x"], "b": [1.5], "c": pa.array([None], pa.list_(pa.string()))})
    found = description_of(np.zeros(1, np.int32), ["i"], payload, [np.arange(1)], k=1)
    [one] = found.clusters
    assert one.name is None and one.apart == ()
    [value] = one.columns["a"].values
    assert (value.count, value.share, value.lift, value.g) == (1, 1.0, 1.0, 0.0)
    assert one.columns["b"].quantiles == (1.5,) * 5 and one.columns["c"].nulls == 1


def test_a_column_that_a_file_lacks_is_null(scene):
    clusters, names, payload = scene
    columns = [Column.of("category", pa.string()), Column.of("price", pa.float64())]
    found = description_of(
        clusters, names, payload.select(["sku"]), [np.arange(COUNT)], columns=columns
    )
    assert [one.nulls for one in found.columns] == [COUNT, COUNT]
    assert found.columns[1].quantiles is None


def test_times_of_any_unit_and_year():
    times = ["0001-01-01T00:00:00", "1969-12-31T23:59:59.5", "2024-01-31T08:30:00.000001"]
    for unit, zone in (("us", None), ("ms", "Europe/Berlin"), ("s", None)):
        column = pa.array(np.array(times, f"datetime64[{unit}]")).cast(pa.timestamp(unit, zone))
        payload = pa.table({"t": column})
        found = description_of(np.zeros(3, np.int32), list("abc"), payload, [np.arange(3)], k=1)
        low, *_, median = found.clusters[0].columns["t"].quantiles[:3]
        end = "" if zone is None else " UTC"
        assert low == f"0001-01-01 00:00:00{end}"
        assert median.startswith("1969-12-31 23:59:59") and median.endswith(end)
