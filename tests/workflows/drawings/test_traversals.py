"""Traversals of one dimension, of two, and of all."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.drawings import check_files, pixels
from vaeudf.errors import InputError
from vaeudf.model.bundle import MANIFEST
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.drawings.traversals import Traversal, parse_traverse


@pytest.mark.parametrize(
    ("text", "dims"), [("all", ()), (" all ", ()), ("3", (3,)), ("3,5", (3, 5)), ("-1", (-1,))]
)
def test_dimensions_as_text(text, dims):
    assert parse_traverse(text) == dims


@pytest.mark.parametrize("text", ["", "1,2,3", "x", "1,1", "1.5"])
def test_text_that_names_no_dimensions(text):
    with pytest.raises(InputError) as caught:
        parse_traverse(text)
    assert str(caught.value) == (
        f"traverse is {text!r}; expected a dimension, such as 3, two different ones, such as 3,5, "
        "or all."
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dims": (1,), "steps": 1}, "steps is 1; expected at least 2: both ends."),
        ({"dims": (1, 2), "steps": 26}, "steps is 26; expected at most 25 on such a sheet."),
        ({"dims": (1,), "steps": 201}, "steps is 201; expected at most 200 on such a sheet."),
        ({"dims": (), "steps": 201}, "steps is 201; expected at most 200 on such a sheet."),
        ({"dims": (1,), "bound": -1.0}, "range is -1.0; expected a finite number above 0."),
        ({"dims": (1,), "bound": np.inf}, "range is inf; expected a finite number above 0."),
        ({"dims": (1,), "center": "0", "like": "a"}, "expected --center or --like, not both"),
    ],
)
def test_options_that_are_wrong(asked, message):
    with pytest.raises(InputError) as caught:
        Traversal(**asked)
    assert str(caught.value).startswith(message)


def refusal(bundle, **asked) -> str:
    with pytest.raises(InputError) as caught:
        Traversal(**asked).check(bundle)
    return str(caught.value)


def test_what_does_not_fit_the_model(bundle):
    Traversal((3, 0), center="0,0,0,1e-3").check(bundle)
    outside = "there is no dimension {}; the model has latent_dim 4: expected 0 to 3."
    assert refusal(bundle, dims=(1, 4)) == outside.format(4)
    assert refusal(bundle, dims=(-1,)) == outside.format(-1)
    for center in ("0,0,0", "x", "0,0,0,nan", ""):
        assert refusal(bundle, dims=(1,), center=center) == (
            f"center is {center!r}; expected 4 numbers with commas between, one for each dimension "
            "of the model."
        )


@pytest.mark.spark
def test_a_traversal_of_two(bundle, bundle_path, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            model=bundle_path,
            traverse="3,1",
            range=2.0,
            steps=3,
            center="9,8,7,6",
            output=str(out),
            report=str(page),
        )
    )
    assert (summary["pictures"], summary["rows"], summary["columns"]) == (9, 3, 3)
    values = [-2.0, 0.0, 2.0]
    check_files(
        out,
        bundle,
        {
            f"row-{i:03d}-column-{j:03d}": np.array([9, values[i], 7, values[j]])
            for i in range(3)
            for j in range(3)
        },
    )
    text = (page / "index.html").read_text()
    assert re.findall(r'<th scope="col">(.*?)</th>', text) == [
        "z1 ↓  z3 →",
        "−2.00",
        "0.00",
        "2.00",
    ]
    assert re.findall(r'<th scope="row">(.*?)</th>', text) == ["−2.00", "0.00", "2.00"]
    assert 'alt="Decoded picture: z3 = 2.00, z1 = −2.00"' in text
    sheet = pixels((out / "sheet.png").read_bytes())
    # Pictures of 16 pixels are shown six times as large.
    for level in bundle.decode([[9, 2, 7, -2]])[0].reshape(-1, 3)[:5]:
        assert (sheet == level).all(axis=2).sum() >= 36


@pytest.mark.spark
def test_a_traversal_of_all_and_where_items_lie(bundle_path, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(bundle_path, model)
    content = json.loads((model / MANIFEST).read_text())
    content["z_range"] = [[-1.0, -2.0, -3.0, -4.0], [1.0, 2.0, 3.0, 5.0]]
    (model / MANIFEST).write_text(json.dumps(content))
    out = tmp_path / "out"
    options = {"traverse": "all", "steps": 2, "output": str(out), "format": "parquet"}
    assert decode_latents(DecodeLatents(model=str(model), **options))["pictures"] == 8
    rows = pq.read_table(out / "pictures.parquet").to_pylist()
    z = {row["query_id"]: row["z"] for row in rows}
    assert z["row-001-column-000"] == [0, -2, 0, 0] and z["row-003-column-001"] == [0, 0, 0, 5]
    page = tmp_path / "page"
    decode_latents(DecodeLatents(model=str(model), traverse="2", steps=4, report=str(page)))
    text = (page / "index.html").read_text()
    assert re.findall(r'<th scope="col">(.*?)</th>', text) == ["", "−3.00", "−1.00", "1.00", "3.00"]


@pytest.mark.spark
def test_a_traversal_around_an_item(table, items, tmp_path):
    item, out, page = next(iter(items)), tmp_path / "out", tmp_path / "page"
    decode_latents(
        DecodeLatents(
            table=table, traverse="0", like=item, steps=2, output=str(out), report=str(page)
        )
    )
    z = pq.read_table(out / "index.parquet").sort_by("query_id")["z"].to_pylist()
    assert z == [[end, *items[item]["mu"][1:]] for end in (-3, 3)]
    assert f"around mu of {item}" in (page / "index.html").read_text()
