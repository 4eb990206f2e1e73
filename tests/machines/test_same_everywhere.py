"""What one machine has made, another goes on with: the same rows, ranks, pictures and names."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.machines.answers import ITEMS, QUERIES
from tests.machines.simulated import Simulated, simulate
from tests.machines.table import MACHINES
from tests.support.jobs import ROOT, run, submit, summary
from tests.support.scene import LATENT_DIM, NUM_ITEMS
from tests.support.tables import matrix, read
from tests.support.tolerances import assert_same_scores

# Each starts processes, which take long to compile for another processor.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["oldest", "elsewhere"])
def other(request) -> Simulated:
    """The other machine. What cannot be simulated here is told by test-machines."""
    simulated = simulate(MACHINES[request.param])
    missing = simulated.missing()
    if missing is not None:
        pytest.skip(f"{request.param} cannot be simulated here: {missing}")
    return simulated


def job(machine: Simulated | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a job there, or (None) here."""
    if machine is None:
        return submit(*arguments)
    script = str(machine.root / "spark-submit.sh")
    return machine.run(script, *arguments, capture_output=True)


def answers(machine: Simulated | None, folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir()
    command = (sys.executable, "-m", "tests.machines.answers", str(folder))
    if machine is None:
        done = run(*command, cwd=ROOT)
    else:
        done = machine.run(*command, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "answers.npz"))


def test_ranks_pictures_and_fingerprints(other, tmp_path):
    here, there = answers(None, tmp_path / "here"), answers(other, tmp_path / "there")
    assert here.keys() == there.keys()
    for name in here:
        if name.endswith(" values"):
            dims, log_vars = ITEMS.shape[1], (ITEMS, QUERIES)
            assert_same_scores(there[name], here[name], *log_vars, dims=dims)
        else:
            assert np.array_equal(there[name], here[name]), name


def parquet(path: Path, garments: pa.Table) -> str:
    """A catalog with columns that are read and written as the locale or the time zone has it."""
    noon = datetime.datetime(2026, 7, 1, 12)
    count = garments.num_rows
    catalog = garments.append_column("seen", pa.array([noon] * count, pa.timestamp("us")))
    catalog = catalog.append_column("sold", pa.array([noon] * count, pa.timestamp("us", "UTC")))
    catalog = catalog.append_column("day", pa.array([noon.date()] * count))
    catalog = catalog.append_column("weight", pa.array(np.arange(count) / 8))
    path.mkdir()
    pq.write_table(catalog, path / "catalog.parquet")
    return str(path)


def test_a_night_on_another_machine_finds_nothing_changed(
    other, image_folder, garments, bundle_path, tmp_path
):
    catalog = image_folder
    if other.machine.name == "elsewhere":
        catalog = parquet(tmp_path / "catalog", garments)
    table = str(tmp_path / "table")
    options = ("--catalog", catalog, "--model", bundle_path, "--table", table)
    first = summary(job(other, "encode_catalog", *options))
    assert first["encoded"] == NUM_ITEMS
    second = summary(job(None, "encode_catalog", *options))
    assert second["outcome"] == "nothing to do"
    assert (second["encoded"], second["carried"]) == (0, NUM_ITEMS)
    assert second["model_id"] == first["model_id"]

    np.savetxt(
        tmp_path / "z.csv", np.eye(LATENT_DIM), delimiter=",", header="z0,z1,z2,z3", comments=""
    )
    ranked = []
    for number, machine in enumerate((other, None)):
        output = str(tmp_path / f"results {number}")
        query = ("--table", table, "--queries", str(tmp_path / "z.csv"), "--output", output)
        found = summary(job(machine, "query_topk", *query, "--k", "20"))
        assert found["queries"] == LATENT_DIM
        hits = pq.read_table(output).sort_by([("query_id", "ascending"), ("rank", "ascending")])
        ranked.append(hits)
    there, here = ranked
    assert there.drop(["log_likelihood"]) == here.drop(["log_likelihood"])
    log_vars = matrix(read(table), "log_var")
    assert_same_scores(there["log_likelihood"], here["log_likelihood"], log_vars, dims=LATENT_DIM)
