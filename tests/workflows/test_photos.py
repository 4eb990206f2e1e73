"""Photos as queries: encoded on the way in as a night would have encoded them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.scene import ENCODER_TERMS
from tests.support.tolerances import assert_same_float32
from vaeudf.errors import InputError
from vaeudf.table.open import open_table
from vaeudf.workflows.photos import photos_as_queries
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def opened(folder_table):
    return open_table(folder_table)


@pytest.fixture(scope="module")
def rows(opened):
    tables = map(pq.read_table, opened.files)
    return {row["item_id"]: row for table in tables for row in table.to_pylist()}


def queries(opened, *paths, model=None):
    return photos_as_queries(list(map(str, paths)), opened, model, trust_model=False)


def test_a_photo_has_the_posterior_that_a_night_gives_it(opened, rows, image_folder):
    names = sorted(rows)[:7]
    found = queries(opened, *(Path(image_folder, name) for name in names))
    assert found.ids == tuple(str(Path(image_folder, name)) for name in names)
    assert found.is_gaussian
    # In batches of other sizes the last digits may differ.
    assert_same_float32(found.z, [rows[name]["mu"] for name in names], terms=ENCODER_TERMS)
    assert_same_float32(
        found.log_var, [rows[name]["log_var"] for name in names], terms=ENCODER_TERMS
    )


def test_folders_and_globs(opened, rows, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "new")
    (tmp_path / "new" / "notes.txt").write_text("no image")
    whole = queries(opened, tmp_path / "new")
    assert sorted(whole.ids) == sorted(str(tmp_path / "new" / name) for name in rows)
    some = queries(opened, tmp_path / "new" / "dress" / "*.png", tmp_path / "new" / "*" / "*7*")
    expected = {*tmp_path.glob("new/dress/*.png"), *tmp_path.glob("new/*/*7*")}
    assert len(expected) > len(list(tmp_path.glob("new/dress/*.png"))) > 0
    assert sorted(some.ids) == sorted(map(str, expected))


def refusal(opened, *paths, model=None):
    with pytest.raises(InputError) as caught:
        queries(opened, *paths, model=model)
    return str(caught.value)


def test_photos_that_cannot_be_read(opened, image_folder, tmp_path):
    none = tmp_path / "none.png"
    assert refusal(opened, none) == (
        f"image {none} does not exist; expected a file, a folder or a glob."
    )
    assert refusal(opened, tmp_path / "*.png") == (
        f"image {tmp_path}/*.png matches no file; expected a file, a folder or a glob."
    )
    assert refusal(opened, tmp_path).startswith(
        f"image {tmp_path} is a folder without images; expected files named .jpg, .jpeg, "
    )
    (tmp_path / "a.png").write_bytes(b"not a picture")
    (tmp_path / "b.png").write_bytes(b"")
    found = refusal(opened, tmp_path / "a.png", tmp_path / "b.png")
    assert found.startswith(f"image {tmp_path / 'a.png'} cannot be encoded (unsupported_format): ")
    assert " (1 more cannot, either); expected a picture in one of the formats" in found


def test_a_query_by_photo(folder_table, rows, image_folder, capsys):
    name = sorted(rows)[3]
    photo = str(Path(image_folder, name))
    summary = query_topk(QueryTopk(folder_table, image=[photo], k=3))
    assert summary["queries"] == 1 and summary["score"] == "kl"
    lines = capsys.readouterr().out.splitlines()
    assert name in lines[1] and lines[1].split()[-1] == "0.0000"
    query_topk(QueryTopk(folder_table, image=[photo], k=1, score="log_likelihood"))
    assert "log_likelihood" in capsys.readouterr().out.splitlines()[0]


def test_a_page_may_stand_beside_what_a_glob_matches(folder_table, image_folder, tmp_path):
    name = next(Path(image_folder).rglob("*.png"))
    shutil.copy(name, tmp_path / "photo.png")
    for path, report in ((f"{tmp_path}/*.png", "one"), (f"{tmp_path}/photo.png", "two")):
        query_topk(QueryTopk(folder_table, image=[path], k=1, report=str(tmp_path / report)))
        assert (tmp_path / report / "index.html").is_file()
    with pytest.raises(InputError, match="one is inside the other"):
        query_topk(
            QueryTopk(folder_table, image=[str(tmp_path)], k=1, report=str(tmp_path / "three"))
        )


def test_the_page_shows_the_photo(folder_table, rows, image_folder, tmp_path):
    photo = Path(image_folder, sorted(rows)[3])
    query_topk(QueryTopk(folder_table, image=[str(photo)], k=2, report=str(tmp_path / "page")))
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<figcaption>the photo</figcaption>") == 1
    assert "what its mean decodes to" in page
    query_topk(QueryTopk(folder_table, z=["0,0,0,0"], k=2, report=str(tmp_path / "other")))
    page = (tmp_path / "other" / "index.html").read_text()
    assert "the photo" not in page and "what these values decode to" in page


def test_options_that_do_not_go_together(folder_table):
    with pytest.raises(InputError, match="from one of --queries FILE, --z, --like and --image"):
        QueryTopk(folder_table, image=["a.png"], z=["0"])
    with pytest.raises(InputError, match=r"^model goes with --report; name that, too\."):
        QueryTopk(folder_table, z=["0"], model="m")
    QueryTopk(folder_table, image=["a.png"], model="m", trust_model=True)
