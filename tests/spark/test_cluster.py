"""What the jobs ask of a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import numbered_tasks

pytestmark = pytest.mark.spark


@pytest.mark.classic
def test_what_is_known_of_a_local_master(spark):
    cluster = Cluster.of(spark)
    assert (cluster.num_cores, cluster.is_local) == (2, True)
    assert cluster.application_id.startswith("local-")
    assert cluster.setting("spark.app.name") == "tests"
    assert cluster.setting("spark.vaeudf.nothing") is None


@pytest.mark.parametrize(
    ("master", "is_local"), [("local[*]", True), ("spark://host:7077", False), ("yarn", False)]
)
def test_local_masters(master, is_local):
    session = SimpleNamespace(sparkContext=SimpleNamespace(master=master))
    assert Cluster.of(session).is_local == is_local


def test_tasks_read_what_is_shared(spark):
    cluster = Cluster.of(spark)
    shared = cluster.share({"a": [1, 2, 3]})
    assert shared.value == {"a": [1, 2, 3]}

    def work(task):
        yield pa.RecordBatch.from_pydict({"x": [task * shared.value["a"][task]]})

    rows = numbered_tasks(spark, 3, work, "x long")
    assert rows.select(F.spark_partition_id()).distinct().count() == 3
    assert [row.x for row in rows.collect()] == [0, 2, 6]
    shared.free()
    with pytest.raises(Exception, match=r"destroyed|No such file"):
        numbered_tasks(spark, 3, work, "x long").collect()


def test_a_large_value_is_sent_once(spark):
    cluster = Cluster.of(spark)
    values = [np.random.default_rng(seed).bytes(3 * 2**20) for seed in (1, 1, 2)]
    shared = [cluster.share(value) for value in values]

    def work(task):
        lengths = {one.value[:8] for one in shared}
        yield pa.RecordBatch.from_pydict({"x": [len(lengths)]})

    assert [row.x for row in numbered_tasks(spark, 2, work, "x long").collect()] == [2, 2]
    assert shared[0].value == values[0]


def test_tasks_map_a_shared_array(spark):
    array = np.arange(2**20, dtype=np.float64).reshape(-1, 4)
    shared = Cluster.of(spark).share_array(array)

    def work(task):
        found = shared.open()
        yield pa.RecordBatch.from_pydict({"x": [float(found[task].sum() + found[-1, -1])]})

    found = [row.x for row in numbered_tasks(spark, 3, work, "x double").collect()]
    assert found == [array[task].sum() + array[-1, -1] for task in range(3)]


def test_workers_import_from_files_that_are_added(spark, tmp_path):
    (tmp_path / "vaeudf_added_by_a_test.py").write_text("answer = 42\n")
    cluster = Cluster.of(spark)
    cluster.add_py_files([])
    cluster.add_py_files([str(tmp_path / "vaeudf_added_by_a_test.py")])

    def work(task):
        from vaeudf_added_by_a_test import answer

        yield pa.RecordBatch.from_pydict({"x": [answer]})

    assert [row.x for row in numbered_tasks(spark, 1, work, "x long").collect()] == [42]


def test_a_glob_gives_paths_below_its_root(spark, tmp_path):
    root = tmp_path / "new [1] é%20"
    for name in ("a/1.jpg", "b/2.jpg"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"x")
    escaped = str(root).replace("[", "\\[").replace("]", "\\]")
    cluster = Cluster.of(spark)
    assert cluster.glob(f"file://{escaped}/*", f"file://{root}") == {"/a": False, "/b": False}
    assert cluster.glob(f"file://{escaped}/*/*.jpg", f"file://{root}") == {
        "/a/1.jpg": True,
        "/b/2.jpg": True,
    }
    assert cluster.glob(f"file://{escaped}/*.png", f"file://{root}") == {}
    assert cluster.glob(f"file://{escaped}/{{a/1,b/?}}.jpg", f"file://{root}") == {
        "/a/1.jpg": True,
        "/b/2.jpg": True,
    }
    assert cluster.glob(f"file://{escaped}/[^a]/2.jpg", f"file://{root}") == {"/b/2.jpg": True}
    assert cluster.glob(f"file://{escaped}/[b-z]", f"file://{root}") == {"/b": False}
    with pytest.raises(OSError, match="Unclosed"):
        cluster.glob(f"file://{tmp_path}/a[b", f"file://{tmp_path}")
