"""A run is killed with kill -9, at every step; then the job is started again.

Run by ``./spark-submit.sh test -m faults``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import tree
from tests.workflows.test_encode_catalog import read
from tests.workflows.test_nights import Shop, assert_same_table
from vaeudf.errors import TableError
from vaeudf.table import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = [pytest.mark.spark, pytest.mark.faults]

ROOT = Path(__file__).parents[2]
POINTS = [
    *("before:open_run", "after:list_items", "before:check_items", "after:find_changes"),
    *("before:encode_chunks", "chunk", "after:encode_chunks", "before:_check_failures"),
    *("before:write_data_files", "after:write_data_files", "after:_write_quarantine"),
    *("before:publish", "before:create_write_transaction", "after:create_write_transaction"),
    *("after:publish", "before:_tell", "before:write_run_record"),
]
# Before the first version there is one step more.
FIRST = ["chunk", "after:write_data_files", "before:_create", "after:_create", "after:publish"]


class Night:
    """A catalog of which one version is published, and another is to be."""

    def __init__(self, root: Path, garments: pa.Table, model: str, kind: str, first: bool) -> None:
        self.root, self.model = root, model
        self.table = str(root / "posteriors")
        self.shop = Shop(root, kind, garments)
        for i in range(30):
            self.shop.put(f"item {i:02}", i)
        self.before: pa.Table | None = None
        if not first:
            self.encode()
            self.before = read(self.table)
        for i in range(5, 25):
            self.shop.put(f"item {i:02}", (i + 7) % 40)
        self.shop.put("item 03", -1)
        self.shop.remove("item 00")
        self.shop.open()
        clean = str(root / "clean")
        encode_catalog(EncodeCatalog(self.shop.path, model, clean, max_error_fraction=0.5))
        self.after = read(clean)

    def encode(self) -> dict:
        options = EncodeCatalog(self.shop.open(), self.model, self.table, max_error_fraction=0.5)
        return encode_catalog(options)

    def start(self, point: str, victim: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.faults.run_and_die", point, victim]
        # A group of its own: the JVM and the Python workers are its children.
        return subprocess.Popen(
            [*command, self.shop.path, self.model, self.table],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def check_what_is_seen(self) -> bool:
        """Readers see the old version or the new one; whether there is a new one."""
        try:
            version = open_table(self.table).version
        except TableError as error:
            assert self.before is None
            assert re.search("does not exist|nothing was published|has no _delta_log", str(error))
            return False
        if self.before is not None and version == 1:
            assert read(self.table) == self.before
            return False
        assert_same_table(read(self.table), self.after)
        return True

    def check_the_rerun(self) -> int:
        """The table is that of a clean run, and nothing is left of the killed one."""
        done = self.check_what_is_seen()
        summary = self.encode()
        assert summary["outcome"] == ("nothing to do" if done else "published")
        assert_same_table(read(self.table), self.after)
        ids = read(self.table)["item_id"].to_pylist()
        assert len(ids) == len(set(ids)) == 28
        assert summary["quarantined"] == {"unsupported_format": 1}
        published = {Path(file).parent.name for file in open_table(self.table).files}
        if self.before is not None:
            published |= {Path(file).parent.name for file in open_table(self.table, 1).files}
        left = {path.split("/")[0] for path in tree(self.table)}
        assert left == published | {"_delta_log", "_runs", "_quarantine"}
        assert len(list(Path(self.table, "_quarantine").iterdir())) == 1
        return summary["resumed"]


def wait_for_death(process: subprocess.Popen) -> int:
    code = process.wait(timeout=120)
    # The JVM ends when Python has; whatever is left of the group does not live on.
    deadline = time.time() + 20
    while time.time() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return code
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    return code


@pytest.mark.parametrize("victim", ["python", "jvm"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_step(spark, garments, bundle_path, tmp_path, point, victim):
    kind = "images" if POINTS.index(point) % 2 else "parquet"
    night = Night(tmp_path, garments, bundle_path, kind, first=False)
    code = wait_for_death(night.start(point, victim))
    assert code == -signal.SIGKILL if victim == "python" else code in (0, 1)
    resumed = night.check_the_rerun()
    if point in ("after:encode_chunks", "before:write_data_files", "before:publish"):
        assert resumed == 21


@pytest.mark.parametrize("point", FIRST)
def test_killed_before_the_first_version(spark, garments, bundle_path, tmp_path, point):
    night = Night(tmp_path, garments, bundle_path, "images", first=True)
    assert wait_for_death(night.start(point, "python")) == -signal.SIGKILL
    night.check_the_rerun()


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_time_again_and_again(spark, garments, bundle_path, tmp_path, seed):
    chance = random.Random(seed)
    night = Night(tmp_path, garments, bundle_path, "images", first=bool(seed % 2))
    for _ in range(3):
        process = night.start("never:publish", "python")
        try:
            process.wait(timeout=chance.uniform(4, 14))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        wait_for_death(process)
        night.check_what_is_seen()
    night.check_the_rerun()
    assert pq.read_metadata(open_table(night.table).files[0]).num_rows == 28
