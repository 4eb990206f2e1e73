"""Spark's answer against torch.distributions and a sort."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vaeudf
from tests.conftest import LATENT_DIM
from vaeudf.errors import InputError, TableError, root_cause
from vaeudf.latents import from_rows
from vaeudf.query import top_k
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = pytest.mark.spark


def posteriors(count: int, n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "item_id": [f"item-{i}" for i in rng.permutation(count)],
            "mu": pa.array(list(rng.normal(size=(count, n)).astype("f4"))),
            "log_var": pa.array(list(rng.normal(-2, 1, size=(count, n)).astype("f4"))),
        }
    )


def oracle(table: pa.Table, z: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    """The answer by the definition: log_prob of every pair, then a sort by (-score, item_id)."""
    mu = torch.tensor(np.stack(table["mu"].to_numpy()), dtype=torch.float64)
    sigma = torch.tensor(np.stack(table["log_var"].to_numpy()), dtype=torch.float64).mul(0.5).exp()
    q = torch.distributions.Independent(torch.distributions.Normal(mu, sigma), 1)
    scores = q.log_prob(torch.tensor(z, dtype=torch.float64)[:, None]).numpy()
    ids = table["item_id"].to_pylist()
    return [
        sorted(zip(ids, row, strict=True), key=lambda pair: (-pair[1], pair[0].encode()))[:k]
        for row in scores
    ]


def answer(frame, queries, k: int) -> dict[str, list[tuple[str, float]]]:
    rows = top_k(frame, queries, k).collect()
    found: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(rows, key=lambda row: (row.query_id, row.rank)):
        hits = found.setdefault(row.query_id, [])
        hits.append((row.item_id, row.log_likelihood))
        assert row.rank == len(hits)
    return found


def check(frame, table: pa.Table, z: np.ndarray, k: int) -> None:
    found = answer(frame, z, k)
    for number, expected in enumerate(oracle(table, z, k)):
        hits = found[str(number)]
        assert [item for item, _ in hits] == [item for item, _ in expected]
        np.testing.assert_allclose(
            [score for _, score in hits], [score for _, score in expected], rtol=1e-9
        )


@pytest.mark.parametrize("n", [1, 2, 10, 64])
def test_equals_the_definition(spark, n):
    table = posteriors(300, n)
    z = np.random.default_rng(1).normal(size=(5, n))
    check(spark.createDataFrame(table.to_pandas()), table, z, 7)


@pytest.mark.parametrize("partitions", [1, 4, 60])
def test_partitions_do_not_matter(spark, partitions):
    table = posteriors(50, 3)
    frame = spark.createDataFrame(table.to_pandas()).repartition(partitions)
    check(frame, table, np.array([[0.0, 0, 0], [9, 9, 9]]), 10)


def test_ties_go_by_item_id(spark):
    ids = ["b", "a", "B", "é", "z", "日本", "😀", "aa"]
    table = pa.table({"item_id": ids, "mu": [[1.0, 2.0]] * 8, "log_var": [[0.5, 0.5]] * 8})
    frame = spark.createDataFrame(table.to_pandas()).repartition(5)
    hits = answer(frame, [[0.0, 0.0]], 6)["0"]
    assert [item for item, _ in hits] == ["B", "a", "aa", "b", "z", "é"]


def test_more_asked_than_there_are(spark):
    table = posteriors(4, 2)
    check(spark.createDataFrame(table.to_pandas()), table, np.zeros((2, 2)), 10)


def test_float64_posteriors_are_not_rounded(spark):
    frame = spark.createDataFrame(
        [("a", [1.0], [0.0]), ("b", [1.0 + 1e-12], [0.0])],
        "item_id string, mu array<double>, log_var array<double>",
    )
    assert [item for item, _ in answer(frame, [[2.0]], 2)["0"]] == ["b", "a"]


def test_numeric_ids_and_names_of_queries(spark):
    frame = spark.createDataFrame(
        [(7, [0.0], [0.0])], "item_id long, mu array<float>, log_var array<float>"
    )
    found = answer(frame, from_rows([[0.0], [1.0]], ["first", "second"]), 1)
    assert found["first"] == [("7", pytest.approx(-0.9189385332046727, rel=1e-12))]
    assert set(found) == {"first", "second"}


def test_public_name_is_the_function(spark):
    table = posteriors(5, 2)
    assert vaeudf.top_k(spark.createDataFrame(table.to_pandas()), [0.0, 0.0], 2).count() == 2


def refused(message: str, *arguments) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        top_k(*arguments)


def test_bad_arguments(spark, tmp_path):
    frame = spark.createDataFrame(posteriors(5, 2).to_pandas())
    refused("k is 0; expected at least 1", frame, [[0.0, 0.0]], 0)
    refused("has nan in dimension 1", frame, [[0.0, np.nan]], 1)
    refused("has inf in dimension 0", frame, [[np.inf, 0.0]], 1)
    refused("there are no queries", frame, np.empty((0, 2)), 1)
    refused("no column log_var; found item_id, mu", frame.drop("log_var"), [[0.0, 0.0]], 1)
    refused("column mu holds string", frame.withColumn("mu", frame.item_id), [[0.0, 0.0]], 1)
    with pytest.raises(TableError, match="does not exist"):
        top_k(str(tmp_path / "none"), [[0.0, 0.0]], 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", [1.0, 2.0, 3.0], [0.0, 0.0]), "item 'a' has a mu of 3 numbers"),
        (("a", [1.0, 2.0], None), "item 'a' has a log_var of 0 numbers"),
        (("a", [1.0, float("nan")], [0.0, 0.0]), "item 'a' has a mu that is null, NaN or infinite"),
        (("a", [1.0, None], [0.0, 0.0]), "item 'a' has a mu that is null, NaN or infinite"),
        ((None, [1.0, 2.0], [0.0, 0.0]), "an item_id that is null"),
    ],
)
def test_posteriors_that_do_not_fit(spark, row, message):
    frame = spark.createDataFrame([row], "item_id string, mu array<float>, log_var array<float>")
    with pytest.raises(Exception, match=re.escape(message)):
        top_k(frame, [[0.0, 0.0]], 1).collect()


def test_slices_of_a_larger_batch(spark, tmp_path):
    """Arrow arrays that do not begin at the start of their buffer."""
    table = posteriors(2000, 2)
    path = str(tmp_path / "p.parquet")
    pq.write_table(table, path, row_group_size=300)
    check(
        spark.read.parquet(path).limit(1500).where("item_id != 'item-3'"),
        pa.Table.from_pandas(
            spark.read.parquet(path).limit(1500).where("item_id != 'item-3'").toPandas()
        ),
        np.zeros((1, 2)),
        5,
    )


def test_root_cause_in_the_jvm_and_in_a_worker(spark):
    frame = spark.createDataFrame(posteriors(2, 2).to_pandas())
    with pytest.raises(Exception) as caught:
        frame.selectExpr("raise_error('on purpose')").collect()
    assert "on purpose" in root_cause(caught.value) and "\n" not in root_cause(caught.value)

    def fails(batches):
        raise ModuleNotFoundError("No module named 'nothing'")
        yield from batches

    with pytest.raises(Exception) as caught:
        frame.mapInArrow(fails, "x int").collect()
    assert root_cause(caught.value) == "ModuleNotFoundError: No module named 'nothing'"
    with pytest.raises(Exception) as caught:
        spark._jvm.org.apache.hadoop.fs.Path("nothing://x").getFileSystem(
            spark._jsc.hadoopConfiguration()
        )
    assert 'No FileSystem for scheme "nothing"' in root_cause(caught.value)


def test_from_another_thread(spark, parquet_catalog, bundle_path, tmp_path):
    """A session is active in the thread that made it only; it must be found and left running."""
    table = str(tmp_path / "t")

    def in_a_thread() -> int:
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
        return top_k(table, np.zeros((2, LATENT_DIM)), 3).count()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(in_a_thread).result() == 6
    assert spark.range(3).count() == 3
