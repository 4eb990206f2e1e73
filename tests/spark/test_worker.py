from __future__ import annotations

import gc
import sys
from types import ModuleType

import pyarrow as pa
import pytest

from vaeudf.spark import worker
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.spark.worker import spare_modules


def test_new_modules_are_spared_once(monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(len(sys.modules)))
    monkeypatch.setattr(worker, "_modules_spared", 0)
    spare_modules()
    spare_modules()
    assert len(calls) == 1
    monkeypatch.setitem(sys.modules, "a_new_module", ModuleType("a_new_module"))
    spare_modules()
    spare_modules()
    assert len(calls) == 2


@pytest.mark.spark
def test_a_task_leaves_little_to_look_at(spark):
    def count(number: int):
        counts = [gc.get_freeze_count(), len(gc.get_objects())]
        yield pa.RecordBatch.from_arrays([pa.array([n]) for n in counts], ["spared", "looked_at"])

    rows = numbered_tasks(spark, 4, count, "spared long, looked_at long").collect()
    assert all(row.looked_at < 0.1 * row.spared for row in rows)
