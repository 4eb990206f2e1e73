"""The map: its points, its colors, and the item nearest to a place."""

from __future__ import annotations

import base64
import re

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.loaded import load
from tests.support.tolerances import assert_within
from vaeudf.errors import InputError
from vaeudf.explore import map as maps
from vaeudf.explore.map import colors, make_map


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
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    assert make_map(loaded).description.methods == ("pca",)
    with pytest.raises(InputError, match="needs its package; pip install umap-learn, or take pca"):
        make_map(loaded, "umap")
