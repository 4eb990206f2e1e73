"""A run is killed with kill -9, at every step; then the job is started again.

Run by ``./spark-submit.sh test -m faults``.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.jobs import ROOT
from tests.support.kept_pixels import assert_kept
from tests.support.nights import Shop, assert_same_table
from tests.support.scene import SPEC, tree
from tests.support.tables import read
from vaeudf.errors import TableError
from vaeudf.table.open import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = [pytest.mark.spark, pytest.mark.faults]

POINTS = [
    *("before:open_run", "after:open_catalog", "before:compare", "after:count_changes"),
    *("before:encode_chunks", "chunk", "after:encode_chunks", "before:check_failures"),
    *("before:write_data_files", "after:write_data_files", "after:write_quarantine"),
    *("before:publish", "before:create_write_transaction", "after:create_write_transaction"),
    *("after:publish", "before:log_quarantine", "before:write_run_record"),
]
# Before the first version there is one step more.
FIRST = [
    "chunk",
    "after:write_data_files",
    "before:create_delta",
    "after:create_delta",
    "after:publish",
]


class Stage:
    """A catalog as it is tonight, the table of the night before, and what a clean run gives."""

    def __init__(self, root: Path, garments: pa.Table, model: str, kind: str) -> None:
        self.model = model
        self.keep_pixels = kind == "parquet"
        shop = Shop(root, kind, garments)
        for i in range(30):
            shop.put(f"item {i:02}", i)
        self.catalog = shop.open()
        self.table = str(root / "yesterday")
        self.encode(self.table)
        self.before = read(self.table)
        for i in range(5, 25):
            shop.put(f"item {i:02}", (i + 7) % 40)
        shop.put("item 03", -1)
        shop.remove("item 00")
        shop.open()
        self.images = {n: data for n, (data, _) in shop.items.items() if n != "item 03"}
        self.encode(str(root / "clean"))
        self.after = read(str(root / "clean"))

    def encode(self, table: str) -> dict:
        return encode_catalog(
            EncodeCatalog(
                self.catalog,
                self.model,
                table,
                max_error_fraction=0.5,
                keep_pixels=self.keep_pixels,
            )
        )


@pytest.fixture(scope="module")
def stages(spark, garments, bundle_path, tmp_path_factory) -> dict[str, Stage]:
    return {
        kind: Stage(tmp_path_factory.mktemp(kind), garments, bundle_path, kind)
        for kind in ("images", "parquet")
    }


class Night:
    """A table of which one version is published, or none, and another is to be."""

    def __init__(self, stage: Stage, root: Path, first: bool) -> None:
        self.stage = stage
        self.table = str(root / "posteriors")
        self.before = None if first else stage.before
        self.after = stage.after
        if not first:
            shutil.copytree(stage.table, self.table)

    def encode(self) -> dict:
        return self.stage.encode(self.table)

    def start(self, point: str, victim: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.faults.run_and_die", point, victim]
        # A group of its own: the JVM and the Python workers are its children.
        return subprocess.Popen(
            [
                *(*command, self.stage.catalog, self.stage.model, self.table),
                "keep" if self.stage.keep_pixels else "no",
            ],
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
            assert re.search(
                "does not exist|nothing was published|has no commits in _delta_log", str(error)
            )
            return False
        if self.before is not None and version == 1:
            assert read(self.table) == self.before
            return False
        assert_same_table(read(self.table), self.after)
        if self.stage.keep_pixels:
            assert_kept(self.table, self.stage.images, SPEC)
        return True

    def check_the_rerun(self) -> int:
        """The table is that of a clean run, and nothing is left of the killed one."""
        done = self.check_what_is_seen()
        summary = self.encode()
        assert summary["outcome"] == ("nothing to do" if done else "published")
        assert self.check_what_is_seen()
        ids = read(self.table)["item_id"].to_pylist()
        assert len(ids) == len(set(ids)) == 28
        assert summary["quarantined"] == {"unsupported_format": 1}
        published = {Path(file).parent.name for file in open_table(self.table).files}
        if self.before is not None:
            published |= {Path(file).parent.name for file in open_table(self.table, 1).files}
        left = {path.split("/")[0] for path in tree(self.table)}
        own = {"_delta_log", "_runs", "_quarantine"}
        if self.stage.keep_pixels:
            own.add("_pixels")
            assert {path.name for path in Path(self.table, "_pixels").iterdir()} == published
        assert left == published | own
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
def test_killed_at_a_step(stages, tmp_path, point, victim):
    kind = "images" if POINTS.index(point) % 2 else "parquet"
    night = Night(stages[kind], tmp_path, first=False)
    code = wait_for_death(night.start(point, victim))
    assert code == -signal.SIGKILL if victim == "python" else code in (0, 1)
    resumed = night.check_the_rerun()
    # To publish takes no JVM.
    if point in ("after:encode_chunks", "before:write_data_files") or (
        point == "before:publish" and victim == "python"
    ):
        assert resumed == 21


@pytest.mark.parametrize("point", FIRST)
def test_killed_before_the_first_version(stages, tmp_path, point):
    night = Night(stages["images"], tmp_path, first=True)
    assert wait_for_death(night.start(point, "python")) == -signal.SIGKILL
    night.check_the_rerun()


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_time_again_and_again(stages, tmp_path, seed):
    chance = random.Random(seed)
    night = Night(stages["images"], tmp_path, first=bool(seed % 2))
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
