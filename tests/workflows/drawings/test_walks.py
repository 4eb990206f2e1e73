"""Walks between two items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.tables import moved
from tests.support.tolerances import SCORE, assert_same_float64, near_stated
from vaeudf.decoding.paths import fisher_rao_distance, fisher_rao_path, linear_path
from vaeudf.errors import InputError
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.drawings.walks import Walk


@pytest.mark.parametrize(
    ("ends", "found"),
    [(["a"], "'a'"), (["a", "a"], "'a' and 'a'"), ([*"aba"], "'a' and 'b' and 'a'")],
)
def test_ends_that_are_not_two(ends, found):
    with pytest.raises(InputError) as caught:
        Walk([*ends])
    assert str(caught.value) == (
        f"walk is {found}; expected two different items: --walk A --walk B."
    )


@pytest.mark.parametrize("steps", [1, 201])
def test_steps_that_a_strip_cannot_have(steps):
    with pytest.raises(InputError, match=f"^steps is {steps}; expected at "):
        Walk(["a", "b"], steps=steps)


@pytest.mark.spark
@pytest.mark.parametrize("path", further_cases_slow(["linear", "fisher_rao"], ["fisher_rao"]))
def test_a_walk(table, items, tmp_path, path):
    a, b = list(items)[3], list(items)[20]
    ends = [np.array(items[name][key]) for name in (a, b) for key in ("mu", "log_var")]
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            table=table, walk=[a, b], path=path, steps=5, output=str(out), report=str(page)
        )
    )
    assert (summary["pictures"], summary["path"]) == (5, path)
    assert (summary["table"], summary["version"]) == (table, 1)
    length, straight = fisher_rao_distance(*ends), np.linalg.norm(ends[2] - ends[0])
    assert summary["fisher_rao_length"] == near_stated(length, decimals=6)
    assert summary["euclidean_length"] == near_stated(straight, decimals=6)
    expected = linear_path(ends[0], ends[2], 5)
    if path == "fisher_rao":
        expected = fisher_rao_path(*ends, 5)[0]
    z = pq.read_table(out / "index.parquet").sort_by("query_id")["z"].to_pylist()
    assert_same_float64(z, expected, terms=SCORE, magnitude=np.abs(expected).max())
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 7 and text.count("Photo of ") == 2
    assert text.index(f"Photo of {a}") < text.index("picture: 0 %") < text.index("picture: 25 %")
    assert text.index("picture: 100 %") < text.index(f"Photo of {b}")
    assert ("σ" in text) == (path == "fisher_rao")


@pytest.mark.spark
def test_a_walk_without_the_catalog(catalog_table, garments, tmp_path, caplog):
    catalog, table, page = (str(tmp_path / name) for name in ("catalog", "table", "page"))
    moved(catalog_table, table, catalog=catalog)
    ids = garments["item_id"].to_pylist()
    decode_latents(DecodeLatents(table=table, walk=ids[:2], steps=4, report=page))
    assert Path(page, "index.html").read_text().count("<img ") == 4
    assert "The walk is shown without the two items' own pictures: catalog" in caplog.text
    with pytest.raises(InputError, match="does not exist"):
        decode_latents(DecodeLatents(table=table, reconstruct="3", output=str(tmp_path / "o")))
    assert not (tmp_path / "o").exists()
