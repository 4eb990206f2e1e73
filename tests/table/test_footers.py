"""Footers of files written in every way against the rows in them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import TableError
from vaeudf.numerics.boxes import Boxes
from vaeudf.table.footers import read_footer, read_footers


def write(path, count: int = 10, latent_dim: int = 3, group: int = 4, boxes="true") -> str:
    """Write posteriors with their boxes, with other bytes in their place, or (None) without."""
    rng = np.random.default_rng(count)
    mu, log_var = (rng.normal(size=(count, latent_dim)).astype(np.float32) for _ in range(2))
    table = pa.table(
        {
            "item_id": [f"item {i}" for i in range(count)],
            "mu": pa.array(list(mu), pa.list_(pa.float32())),
            "log_var": pa.array(list(log_var), pa.list_(pa.float32())),
            "text": ["x" * i for i in range(count)],
        }
    )
    if boxes == "true":
        boxes = Boxes.of_blocks(mu, log_var, group).to_bytes()
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table, row_group_size=group)
        if boxes is not None:
            writer.add_key_value_metadata({"vaeudf.boxes": boxes})
    return str(path)


def test_row_groups_of_a_file(tmp_path):
    uri = write(tmp_path / "a b.parquet")
    groups = read_footer(uri)
    assert [(g.file, g.index, g.num_rows) for g in groups] == [
        (uri, 0, 4),
        (uri, 1, 4),
        (uri, 2, 2),
    ]
    file = pq.ParquetFile(uri)
    for group in groups:
        rows = file.read_row_group(group.index)
        assert len(group.box) == 1 and group.box.latent_dim == 3
        mu, log_var = (np.array(rows[name].to_pylist(), np.float32) for name in ("mu", "log_var"))
        assert group.box.mu_min.tolist() == [mu.min(axis=0).tolist()]
        assert group.box.mu_max.tolist() == [mu.max(axis=0).tolist()]
        assert group.box.log_var_min.tolist() == [log_var.min(axis=0).tolist()]
        assert group.box.log_var_max.tolist() == [log_var.max(axis=0).tolist()]


def test_a_file_without_boxes(tmp_path):
    groups = read_footer(write(tmp_path / "a.parquet", boxes=None))
    assert [group.num_rows for group in groups] == [4, 4, 2]
    assert [group.box for group in groups] == [None] * 3


def test_a_file_of_something_else(tmp_path):
    pq.write_table(pa.table({"mu_of": [1, 2]}), tmp_path / "a.parquet")
    (group,) = read_footer(str(tmp_path / "a.parquet"))
    assert (group.num_rows, group.box) == (2, None)


def test_a_file_without_rows(tmp_path):
    groups = read_footer(write(tmp_path / "a.parquet", count=0))
    assert [(group.num_rows, group.box) for group in groups] == [(0, None)]


def test_many_files_in_order(tmp_path):
    uris = [write(tmp_path / f"{i}.parquet", count=i) for i in range(1, 30)]
    groups = read_footers(uris, threads=3)
    assert groups and [(g.file, g.index, g.num_rows) for g in groups] == [
        (g.file, g.index, g.num_rows) for uri in uris for g in read_footer(uri)
    ]
    assert read_footers([]) == []


@pytest.mark.parametrize(
    ("count", "problem"),
    [
        (4, "there are 1"),
        (20, "there are 5"),
        (0, "there are 0"),
    ],
)
def test_boxes_of_other_row_groups(tmp_path, count, problem):
    other = Boxes.of_blocks(np.ones((count, 3)), np.ones((count, 3)), 4).to_bytes()
    uri = write(tmp_path / "a.parquet", boxes=other)
    message = (
        f"data file {uri} has vaeudf.boxes in its footer that do not fit its row groups: "
        f"{problem}; expected 3 boxes of 3 dimensions. Something has rewritten the file: publish "
        "the table again with encode_catalog."
    )
    with pytest.raises(TableError) as caught:
        read_footer(uri)
    assert str(caught.value) == message


def test_boxes_of_other_dimensions_or_none(tmp_path):
    other = Boxes.of_blocks(np.ones((4, 2)), np.ones((4, 2)), 4).to_bytes()
    uri = write(tmp_path / "a.parquet", boxes=other)
    with pytest.raises(TableError, match=r"have 32 bytes; .*; expected 3 boxes of 3 dimensions"):
        read_footer(uri)
    uri = write(tmp_path / "b.parquet", boxes=b"?")
    with pytest.raises(TableError, match=r"the boxes are not base64 .*; expected 3 boxes of 3"):
        read_footers([uri])


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "text.parquet").write_text("no Parquet at all")
    for name in ("text.parquet", "none.parquet"):
        uri = str(tmp_path / name)
        expected = f"data file {uri} cannot be read as Parquet ("
        with pytest.raises(TableError, match=re.escape(expected)):
            read_footer(uri)
