"""Clustering on Spark: as in memory to the last bit, wherever the items are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.passes import MemoryPasses
from vaeudf.clustering.api import cluster
from vaeudf.clustering.assignment import assign
from vaeudf.clustering.divergences import DIVERGENCES, divergence_named
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise
from vaeudf.errors import InputError, TableError
from vaeudf.spark import passes as item_passes
from vaeudf.spark.passes import TablePasses
from vaeudf.table.open import open_posteriors
from vaeudf.workflows.pictures import read_facts

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def memory(population):
    ids = population.items["item_id"].to_pylist()
    return MemoryPasses(population.mu, population.log_var, ids=ids)


# Tables and plain Parquet are read in one way for all divergences, which have tests of their own.
CASES = [(name, place) for place in ("table", "parquet") for name in DIVERGENCES]


@pytest.mark.parametrize(
    ("name", "place"),
    further_cases_slow(CASES, [("kl", "table")], several=True),
)
def test_as_in_memory(spark, population, memory, name, place):
    fitted = fit(
        memory, Plan(divergence_named(name), (4,), restarts=2, seed=5, min_improvement=0.02)
    )
    [trial] = fitted.best()
    [expected] = summarise(memory, fitted, [trial], num_nearest=5)
    path = getattr(population, place)
    found = cluster(
        path, 4, divergence=name, restarts=2, seed=5, min_improvement=0.02, num_nearest=5
    )
    assert found.trial.objectives == trial.objectives
    np.testing.assert_array_equal(found.centroids.mu, trial.centroids.mu)
    np.testing.assert_array_equal(found.centroids.log_var, trial.centroids.log_var)
    assert found.clusters == expected
    rows = found.items().toArrow().sort_by("item_id")
    labels, values = assign(memory.items, trial.centroids, found.divergence)
    order = np.argsort(memory.ids.astype(object))
    assert rows["item_id"].to_pylist() == sorted(memory.ids)
    by_bytes = [rows["item_id"].to_pylist().index(name) for name in memory.ids[order]]
    np.testing.assert_array_equal(rows["cluster"].to_numpy()[by_bytes], labels[order])
    np.testing.assert_array_equal(rows["divergence"].to_numpy()[by_bytes], values[order])


@pytest.mark.slow
def test_many_tasks_are_merged_by_tasks(spark, population, memory, monkeypatch):
    monkeypatch.setattr(item_passes, "_ROWS_PER_SPLIT", 64)
    monkeypatch.setattr(item_passes, "_TASKS_PER_CORE", 8)
    monkeypatch.setattr(item_passes, "_MERGED_AT_ONCE", 3)
    monkeypatch.setattr(item_passes, "_ROWS_PER_BATCH", 17)
    passes = TablePasses(spark, open_posteriors(population.table))
    assert passes.num_tasks == 16
    plan = Plan(divergence_named("kl"), (3,), restarts=1, max_iterations=3)
    assert fit(passes, plan).trials[0].objectives == fit(memory, plan).trials[0].objectives


def test_silhouette_is_the_mean_over_items(spark, population):
    found = cluster(population.parquet, 3, restarts=1)
    sizes = [cluster.size for cluster in found.clusters]
    silhouettes = [cluster.silhouette for cluster in found.clusters]
    # Each item's is known to 2⁻⁴⁰.
    assert abs(found.silhouette - np.dot(sizes, silhouettes) / sum(sizes)) < 2**-39
    assert found.k == 3 and sum(sizes) == open_posteriors(population.parquet).num_items


@pytest.mark.slow
def test_what_is_wrong_in_a_task_comes_out_as_it_is(spark, tmp_path):
    for rows, message in (
        (
            {"item_id": ["a", "b"], "mu": [[0.0], [1.0]], "log_var": [[0.0], [-300.0]]},
            "item 'b' has a log_var of -300; items can be clustered with |log_var| up to 80. ",
        ),
        (
            {"item_id": ["a", None], "mu": [[0.0], [1.0]], "log_var": [[0.0], [0.0]]},
            "the posteriors have an item_id that is null.",
        ),
        (
            {"item_id": ["a", "b"], "mu": [[0.0], [1.0, 2.0]], "log_var": [[0.0], [0.0]]},
            "item 'b' has a mu of 2 numbers, but the table's first item has 1 ",
        ),
    ):
        pq.write_table(pa.table(rows), tmp_path / "items.parquet")
        with pytest.raises(InputError) as error:
            cluster(str(tmp_path / "items.parquet"), 2)
        assert str(error.value).startswith(message)


@pytest.mark.slow
def test_ids_that_are_numbers(spark, tmp_path):
    rows = {"item_id": [7, 8, 9], "mu": [[0.0], [1.0], [9.0]], "log_var": [[0.0]] * 3}
    pq.write_table(pa.table(rows), tmp_path / "items.parquet")
    found = cluster(str(tmp_path / "items.parquet"), 2)
    assert [cluster.medoid for cluster in found.clusters][1] == "9"
    assert read_facts(spark, found.table, ["7", "9"]) == {}
    names = pa.table({**rows, "category": ["a", "b", "c"]})
    pq.write_table(names, tmp_path / "items.parquet")
    table = open_posteriors(str(tmp_path / "items.parquet"))
    assert read_facts(spark, table, ["7", "9"]) == {
        "7": [("category", "a")],
        "9": [("category", "c")],
    }


def test_what_cannot_be(spark, population, tmp_path):
    count = open_posteriors(population.parquet).num_items
    with pytest.raises(InputError, match=rf"^k is 99999, but there are only {count} items; "):
        cluster(population.parquet, 99_999)
    with pytest.raises(InputError, match=r"^divergence is 'manhattan'; expected one of kl, "):
        cluster(population.parquet, 2, divergence="manhattan")
    with pytest.raises(TableError, match="does not exist"):
        cluster(str(tmp_path / "nothing"), 2)
