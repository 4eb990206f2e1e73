"""A job that a user starts at a server of Spark Connect."""

from __future__ import annotations

import sys

import pytest

import vaeudf
from tests.support.connect_server import SERVER
from tests.support.jobs import ROOT, run, summary

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_job_of_its_own_process(spark, catalog_table, pytestconfig, tmp_path, by):
    url = pytestconfig.stash.get(SERVER, None)
    if url is None:
        pytest.skip("there is a server with --connect")
    told = {"SPARK_REMOTE": url if by == "variable" else None}
    flag = ("--remote", url) if by == "flag" else ()
    done = run(
        *(sys.executable, "-m", "vaeudf", "query_topk", *flag, "--table", catalog_table),
        *("--z", "0,0,0,0", "--k", "3"),
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
        PYSPARK_SUBMIT_ARGS=None,
        **told,
    )
    found = summary(done)
    assert (found["queries"], found["k"]) == (1, 3)
    hits = vaeudf.top_k(catalog_table, [[0.0] * 4], 3).collect()
    lines = done.stdout.splitlines()
    for hit in hits:
        assert any(hit.item_id in line for line in lines)
    assert done.stderr == ""
