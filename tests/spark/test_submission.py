"""A driver that is sent to YARN, as far as it goes without one."""

from __future__ import annotations

import pytest

from vaeudf.errors import InputError
from vaeudf.spark.submission import run_on_yarn


def test_a_driver_of_another_user_is_refused(monkeypatch):
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master yarn --proxy-user ann pyspark-shell")
    with pytest.raises(InputError, match=r"^PYSPARK_SUBMIT_ARGS has --proxy-user; a driver on YA"):
        run_on_yarn("maintain_table", str)
