"""The map: its points, its colors, and the item nearest to a place."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.jobs import ROOT
from tests.support.loaded import load
from tests.support.tolerances import assert_within
from vaeudf.errors import InputError
from vaeudf.explore import map as maps
from vaeudf.explore.map import colors, make_map
from vaeudf.explore.umap_places import MapFailed


@pytest.fixture(scope="module")
def loaded(population):
    return load(population.table)


@pytest.fixture(scope="module")
def drawn(loaded):
    return make_map(loaded)


def places(drawn) -> np.ndarray:
    x0, x1, y0, y1 = drawn.description.bounds
    pairs = np.frombuffer(drawn.octets, "<u2").reshape(-1, 2)
    return pairs / 65_535 * [x1 - x0, y1 - y0] + [x0, y0]


def test_points_are_the_items_along_two_axes(loaded, drawn):
    made = drawn.description
    assert (made.count, made.items, made.method) == (3_000, 3_000, "pca")
    mu = loaded.posteriors(drawn.rows)[0].astype(float)
    expected = (mu - np.array(made.mean)) @ np.array(made.axes).T
    x0, x1, y0, y1 = made.bounds
    step = np.array([x1 - x0, y1 - y0]) / 65_535
    assert_within(places(drawn), expected, 0.51 * step, why="half a step of 16 bits")
    assert drawn.points.min(axis=0).tolist() == [0, 0]
    assert drawn.points.max(axis=0).tolist() == [65_535, 65_535]
    # The axes are the components': no others spread the items more.
    assert made.axes == loaded.components.axes[:2]


def test_the_nearest_item(drawn):
    for x, y in [(0.0, 0.0), (1.5, -0.4), (99.0, 3.0)]:
        apart = np.square(places(drawn) - [x, y]).sum(axis=1)
        assert drawn.nearest(x, y) == drawn.rows[apart.argmin()]
    with pytest.raises(InputError, match="the place on the map is nan, 0; expected finite"):
        drawn.nearest(float("nan"), 0.0)


def test_a_large_table_shows_some_items_from_everywhere(loaded, monkeypatch):
    monkeypatch.setattr(maps, "MOST_POINTS", 700)
    drawn = make_map(loaded)
    assert len(drawn.rows) == len(drawn.points) == drawn.description.count == 600
    assert drawn.description.items == 3_000
    assert np.diff(drawn.rows).tolist() == [5] * 599
    assert drawn.nearest(0, 0) in drawn.rows


def codes(found) -> np.ndarray:
    """As the page has them, by way of JSON."""
    return np.frombuffer(
        base64.b64decode(msgspec.json.decode(msgspec.json.encode(found))["codes"]), np.uint8
    )


def test_colors_of_a_category(loaded, drawn):
    found = colors(loaded, drawn, "brand")
    assert found.kind == "category"
    brands = loaded.payload["brand"].take(drawn.rows).to_pylist()
    legend = [*found.legend, *[None] * (256 - len(found.legend))]
    assert [legend[code] for code in codes(found)] == brands


def test_colors_of_numbers(loaded, drawn):
    for column in ("stock", "price"):
        found = colors(loaded, drawn, column)
        assert found.kind == "number" and len(found.legend) == maps.STEPS
        steps = [*found.legend, float("inf")]
        for value, code in zip(
            loaded.payload[column].take(drawn.rows).to_pylist(), codes(found), strict=True
        ):
            if value is None:
                assert code == 255
            else:
                assert steps[code] <= float(value) < steps[code + 1]
        counts = np.bincount(codes(found)[codes(found) != 255])
        assert counts.min() > 0.9 * counts.max()


def test_colors_of_what_has_none(loaded, drawn):
    with pytest.raises(InputError, match="column 'seen' has neither numbers nor few enough"):
        colors(loaded, drawn, "seen")
    message = "column is 'mu', which is no payload column of the table; found stock, brand, "
    with pytest.raises(InputError, match=re.escape(message)):
        colors(loaded, drawn, "mu")


def test_one_dimension_and_one_item(tmp_path):
    rows = {"item_id": ["a"], "mu": [[2.0]], "log_var": [[0.0]], "size": [None], "n": [3]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    loaded = load(str(tmp_path))
    drawn = make_map(loaded)
    assert drawn.description.bounds == (0.0, 1.0, 0.0, 1.0)
    assert drawn.points.tolist() == [[0, 0]]
    assert drawn.nearest(7, 7) == 0
    assert codes(colors(loaded, drawn, "n")).tolist() == [0]


def test_umap_is_another_packages(loaded, monkeypatch):
    monkeypatch.setattr("vaeudf.explore.umap_places.find_spec", lambda name: None)
    assert make_map(loaded).description.methods == ("pca",)
    with pytest.raises(InputError, match="needs its package; pip install umap-learn, or take pca"):
        make_map(loaded, "umap")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Give a package of the name umap, for this process and those that it starts."""

    def write(work: str) -> None:
        (tmp_path / "umap.py").write_text(
            "class UMAP:\n"
            "    def __init__(self, **options): pass\n"
            f"    def fit_transform(self, mu): {work}\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return write


def test_what_umap_gives_is_drawn(loaded, stand_in):
    stand_in("return mu[:, 1:] * [1, 2]")
    drawn = make_map(loaded, "umap")
    assert (drawn.description.method, drawn.description.methods) == ("umap", ("pca", "umap"))
    assert (drawn.description.axes, drawn.description.mean) == (None, None)
    expected = loaded.posteriors(drawn.rows)[0][:, 1:].astype(float) * [1, 2]
    x0, x1, y0, y1 = drawn.description.bounds
    assert_within(places(drawn), expected, max(x1 - x0, y1 - y0) / 65_535, why="rounded")


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("raise MemoryError('no room')", "MemoryError: no room"),
        ("import os; os._exit(9)", "it ended with 9"),
    ],
)
def test_umap_that_fails_is_told(loaded, stand_in, work, reason):
    stand_in(work)
    with pytest.raises(MapFailed) as caught:
        make_map(loaded, "umap")
    assert str(caught.value) == f"the map by UMAP could not be made ({reason}); take pca."


def test_umap_ends_with_the_service(loaded, stand_in, tmp_path):
    stand_in(
        "import os, pathlib, time; "
        f"pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(os.getpid())); time.sleep(300)"
    )
    program = (
        "import os, threading, time, pathlib, numpy as np\n"
        "from vaeudf.explore.umap_places import umap_places\n"
        "threading.Thread(target=umap_places, args=(np.zeros((3, 2)),), daemon=True).start()\n"
        f"pid = pathlib.Path({str(tmp_path / 'pid')!r})\n"
        "while not (pid.is_file() and pid.read_text()): time.sleep(0.01)\n"
        "os._exit(0)\n"
    )
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=True
    )
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return  # ended, and only not yet waited for by whoever took it over
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_a_map_by_umap(tmp_path):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    rng = np.random.default_rng(3)
    groups = np.repeat([0, 1], 40)
    mu = rng.normal(size=(80, 4)) + 20 * groups[:, None]
    rows = {"item_id": [f"{group}-{i}" for i, group in enumerate(groups)]}
    rows |= {"mu": mu.tolist(), "log_var": np.zeros((80, 4)).tolist()}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    loaded = load(str(tmp_path))
    drawn = make_map(loaded, "umap")
    found = places(drawn)
    group = np.array([loaded.ids[int(row)].as_py()[0] == "1" for row in drawn.rows])
    # Two heaps far apart stay apart.
    centres = np.stack([found[group == one].mean(axis=0) for one in (False, True)])
    apart = np.linalg.norm(found[:, None] - centres, axis=2)
    np.testing.assert_array_equal(apart.argmin(axis=1), group)
