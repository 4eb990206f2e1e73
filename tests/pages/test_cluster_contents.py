"""What the page says of what clusters are made of."""

from __future__ import annotations

import pytest

from vaeudf.clustering.description.found import (
    ClusterDescription,
    ColumnFacts,
    ColumnOfCluster,
    Description,
    Telling,
    ValueShare,
)
from vaeudf.pages.cluster_contents import contents_of, notes_of


def value(text, count=5, share=0.5, of_all=0.25, g=20.0):
    return ValueShare(text, count=count, share=share, share_of_all=of_all, lift=share / of_all, g=g)


def described(columns, facts, apart=()):
    return Description(tuple(facts), (ClusterDescription("dress", tuple(apart), columns),))


def test_values():
    values = tuple(value(f"v{i}") for i in range(7))
    columns = {"kind": ColumnOfCluster(3, values=values)}
    found = contents_of(described(columns, [ColumnFacts("kind", "values", nulls=3)]), 0)
    [table] = found.tables
    assert [bar.value for bar in table.bars] == [f"v{i}" for i in range(6)]
    assert table.note == "3 without, and others" and found.quantiles is None
    assert table.bars[0].text == "50%, of all 25%"


@pytest.mark.parametrize(
    ("given", "shown"),
    [(True, "yes"), (False, "no"), (42, "42"), ("x" * 61, "x" * 59 + "…"), ("", "")],
)
def test_values_of_other_kinds(given, shown):
    columns = {"a": ColumnOfCluster(0, values=(value(given),))}
    found = contents_of(described(columns, [ColumnFacts("a", "values", nulls=0)]), 0)
    assert [bar.value for bar in found.tables[0].bars] == [shown] and found.tables[0].note == ""


def test_shares_that_are_small():
    columns = {"a": ColumnOfCluster(0, values=(value("x", share=0.094, of_all=0.0004),))}
    found = contents_of(described(columns, [ColumnFacts("a", "values", nulls=0)]), 0)
    assert found.tables[0].bars[0].text == "9.4%, of all 0.0%"


def test_quantiles():
    quantiles = (1, 1234567, 19.95, 1e-5, "2024-01-31")
    columns = {"a": ColumnOfCluster(0, quantiles=quantiles), "b": ColumnOfCluster(9)}
    facts = [
        ColumnFacts("a", "quantiles", nulls=0, quantiles=(0.0, 2.5, 1e9, -3.0, "2023-01-31")),
        ColumnFacts("b", "quantiles", nulls=9, quantiles=(1, 2, 3, 4, 5)),
    ]
    found = contents_of(described(columns, facts), 0)
    assert found.quantiles.shares == ["5%", "25%", "50%", "75%", "95%"]
    own = ["1", "1,234,567", "19.95", "1e-05", "2024-01-31"]
    assert found.quantiles.rows == [("a", own, ["0", "2.50", "1,000,000,000", "-3", "2023-01-31"])]


def test_what_sets_it_apart():
    tellings = [
        Telling("coat", column="kind", count=9, share=0.9, share_of_all=0.3, lift=3.0, g=99.0),
        Telling("rare", column="kind", count=1, share=0.1, share_of_all=0.05, lift=2.0, g=3.0),
    ]
    columns = {"kind": ColumnOfCluster(0, values=(value("coat"),))}
    found = contents_of(described(columns, [ColumnFacts("kind", "values", 0)], tellings), 0)
    assert found.apart == ["kind coat: 90% of its items, and 30% of all (3 times as often)"]


def test_a_cluster_of_which_nothing_is_told():
    facts = [ColumnFacts("a", "ids", nulls=0, distinct=9), ColumnFacts("b", "values", nulls=0)]
    assert contents_of(described({"b": ColumnOfCluster(0, values=())}, facts), 0) is None


def test_notes():
    facts = [
        ColumnFacts("sku", "ids", nulls=0),
        ColumnFacts("tag", "values", nulls=0, missed=1200),
        ColumnFacts("price", "quantiles", nulls=0, sampled=4096),
        ColumnFacts("kind", "values", nulls=0, distinct=3),
    ]
    assert notes_of(described({}, facts)) == [
        "Of sku nothing is told: hardly any of its values recurs.",
        "tag has too many values to count them all: a count of its values may be too low by up to "
        "1,200.",
        "Quantiles of price are those of a sample of 4,096 items of each cluster that has more.",
    ]
