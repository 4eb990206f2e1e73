"""What the jobs ask of a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import numbered_tasks

pytestmark = pytest.mark.spark


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
    assert rows.rdd.getNumPartitions() == 3
    assert [row.x for row in rows.collect()] == [0, 2, 6]
    shared.free()
    with pytest.raises(Exception, match=r"destroyed|No such file"):
        numbered_tasks(spark, 3, work, "x long").collect()


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
    with pytest.raises(OSError, match="Unclosed"):
        cluster.glob(f"file://{tmp_path}/a[b", f"file://{tmp_path}")
