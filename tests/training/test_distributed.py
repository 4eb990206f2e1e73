"""Which GPUs the processes of a training get; that they train is tested with the job."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from vaeudf.errors import DeviceError
from vaeudf.training.distributed import whole_gpus


@pytest.mark.parametrize(
    ("master", "properties", "device", "found"),
    [
        ("local[2]", {}, "cpu", False),
        ("local[2]", {}, "auto", False),
        ("local[2]", {}, "cuda", "spark.driver.resource.gpu.amount is not set; expected a whole"),
        ("local[2]", {"spark.driver.resource.gpu.amount": "2"}, "auto", True),
        ("spark://host:7077", {"spark.task.resource.gpu.amount": "1"}, "cuda", True),
        ("spark://host:7077", {"spark.task.resource.gpu.amount": "1"}, "cpu", False),
        ("spark://host:7077", {"spark.task.resource.gpu.amount": "0.25"}, "auto", False),
        (
            "spark://host:7077",
            {"spark.task.resource.gpu.amount": "0.25"},
            "cuda",
            "spark.task.resource.gpu.amount is 0.25; expected a whole number, 1 or more",
        ),
    ],
)
def test_processes_take_the_gpus_that_spark_deals_out(master, properties, device, found):
    context = SimpleNamespace(master=master, getConf=lambda: properties)
    session = SimpleNamespace(sparkContext=context)
    if isinstance(found, bool):
        assert whole_gpus(session, device) is found
    else:
        with pytest.raises(DeviceError, match=re.escape(found)):
            whole_gpus(session, device)
