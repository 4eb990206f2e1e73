"""Pictures beside a table's data files: written, read by row, and damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pytest
from pyarrow import fs

from tests.support.cases import further_cases_slow
from vaeudf.errors import TableError
from vaeudf.table import pixel_files
from vaeudf.table.pixel_files import (
    PictureShape,
    PixelFile,
    PixelWriter,
    find_pixel_files,
    kept_shape,
    pixel_path,
)

SHAPE = PictureShape(5, 4, 3)


def pictures(count: int, shape: PictureShape = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def write(path: Path, found: np.ndarray, cuts: tuple[int, ...] = ()) -> str:
    names = [f"item é {i}" for i in range(len(found))]
    with PixelWriter(str(path), PictureShape(*found.shape[1:])) as writer:
        for part in np.split(np.arange(len(found)), cuts):
            writer.write([names[i] for i in part], found[part])
    return str(path)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(pixel_files, "_BYTES_PER_BATCH", 7 * SHAPE.num_bytes)


@pytest.fixture(params=["mapped", "read by batches"])
def anywhere(request, monkeypatch):
    """Files as on a local disk, and as in a store."""
    if request.param == "read by batches":
        store = fs.SubTreeFileSystem("/", fs.LocalFileSystem())
        monkeypatch.setattr(pixel_files, "filesystem", lambda uri: (store, uri))


@pytest.mark.parametrize("cuts", [(), (1, 2, 30), (7, 14), (0, 0, 41)])
def test_rows_are_read_as_they_were_written(small_batches, anywhere, tmp_path, cuts):
    expected = pictures(41)
    uri = write(tmp_path / "one.arrow", expected, cuts)
    with PixelFile(uri, SHAPE) as file:
        assert (file.num_rows, file.shape, file.uri) == (41, SHAPE, uri)
        for wanted in ([], [0], [40], [40, 0, 7, 6, 7], range(41), np.arange(40, -1, -1)):
            found = file.rows(wanted)
            assert found.dtype == np.uint8 and found.shape == (len(wanted), *SHAPE)
            assert found.tobytes() == expected[list(wanted)].tobytes()
        assert file.item_ids() == [f"item é {i}" for i in range(41)]
    assert found.tobytes() == expected[::-1].tobytes(), "pictures outlive their file"


def test_it_is_a_plain_arrow_file(small_batches, tmp_path):
    """What it has is known from the outside, and does not depend on how the pictures came."""
    expected = pictures(20)
    uris = [write(tmp_path / f"{i}.arrow", expected, cuts) for i, cuts in enumerate([(), (3, 9)])]
    digests = {hashlib.sha256(Path(uri).read_bytes()).hexdigest() for uri in uris}
    assert len(digests) == 1
    with ipc.open_file(uris[0]) as file:
        assert [file.get_batch(i).num_rows for i in range(file.num_record_batches)] == [7, 7, 6]
        rows = file.read_all()
    assert rows.schema.names == ["item_id", "pixels"]
    assert rows.schema.field("pixels").type == pa.binary(60)
    assert [row.as_py() for row in rows["pixels"]] == [one.tobytes() for one in expected]


def test_a_file_without_rows(tmp_path):
    with PixelFile(write(tmp_path / "none.arrow", pictures(0))) as file:
        assert file.num_rows == 0 and file.rows([]).shape == (0, *SHAPE)
        with pytest.raises(TableError, match="has no row 0; it has 0 rows"):
            file.rows([0])


def test_pictures_larger_than_a_batch(monkeypatch, tmp_path):
    monkeypatch.setattr(pixel_files, "_BYTES_PER_BATCH", 10)
    expected = pictures(3)
    with PixelFile(write(tmp_path / "large.arrow", expected)) as file:
        assert file.rows([2, 0]).tobytes() == expected[[2, 0]].tobytes()


def test_only_the_batches_of_the_wanted_rows_are_read(small_batches, tmp_path, monkeypatch):
    uri = write(tmp_path / "one.arrow", pictures(41))
    with PixelFile(uri) as file:
        read, batch = [], file._batch
        monkeypatch.setattr(file, "_batch", lambda number: read.append(number) or batch(number))
        file.rows([20, 3, 15, 4])
    assert sorted(read) == [0, 2]


@pytest.mark.parametrize("row", [-1, 41, 1000])
def test_rows_that_are_not_there(small_batches, anywhere, tmp_path, row):
    with (
        PixelFile(write(tmp_path / "one.arrow", pictures(41))) as file,
        pytest.raises(TableError, match=f"has no row {row}; it has 41 rows, numbered from 0"),
    ):
        file.rows([0, row])


def test_a_file_that_is_gone(anywhere, tmp_path):
    with pytest.raises(TableError) as caught:
        PixelFile(f"{tmp_path}/gone.arrow")
    assert str(caught.value) == (
        f"pixel file {tmp_path}/gone.arrow does not exist any more. If the table was vacuumed "
        "since it was opened, open it again; else the next run of encode_catalog --keep-pixels "
        "makes one anew."
    )


@pytest.mark.parametrize("left", [0, 3, 500, 2000, -1])
def test_a_file_that_was_cut_off(small_batches, anywhere, tmp_path, left):
    path = Path(write(tmp_path / "one.arrow", pictures(41)))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(TableError) as caught:
        PixelFile(str(path)).rows(range(41))
    assert str(caught.value).startswith(f"pixel file {path} cannot be read (")
    assert str(caught.value).endswith(
        "; it is damaged, or was cut off. Remove it: the next run of encode_catalog --keep-pixels "
        "makes one anew."
    )


@pytest.mark.parametrize("seed", further_cases_slow(range(40), range(5)))
def test_damaged_bytes_are_an_error_of_ours_or_pictures(small_batches, tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = Path(write(tmp_path / "one.arrow", pictures(41)))
    data = bytearray(path.read_bytes())
    for place in rng.integers(0, len(data), 20):
        data[place] = rng.integers(0, 256)
    path.write_bytes(data)
    try:
        found = PixelFile(str(path), SHAPE).rows(range(41))
    except TableError:
        return
    assert found.shape == (41, *SHAPE)


def test_other_files_and_other_pictures(tmp_path):
    text = tmp_path / "notes.arrow"
    text.write_text("no Arrow")
    with pytest.raises(TableError, match=r"notes\.arrow cannot be read \("):
        PixelFile(str(text))
    plain = tmp_path / "plain.arrow"
    with ipc.new_file(str(plain), pa.schema([("pixels", pa.binary(60))])) as file:
        file.write_batch(pa.record_batch({"pixels": pa.array([bytes(60)], pa.binary(60))}))
    with pytest.raises(TableError, match=r"plain\.arrow cannot be read \(its schema says no vae"):
        PixelFile(str(plain))
    uri = write(tmp_path / "one.arrow", pictures(2))
    with pytest.raises(TableError, match="has pictures of 5 × 4 × 3; expected 4 × 5 × 3, as the"):
        PixelFile(uri, PictureShape(4, 5, 3))


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    path = tmp_path / "one.arrow"
    with pytest.raises(ValueError, match=r"uint8 of shape \(2, 4, 5, 3\); expected uint8 of shape"):
        with PixelWriter(str(path), SHAPE) as writer:
            writer.write(["a", "b"], pictures(2))
            writer.write(["c", "d"], pictures(2, PictureShape(4, 5, 3)))
    assert list(tmp_path.iterdir()) == []


def test_which_data_files_have_pixels(tmp_path):
    table, run = f"{tmp_path}/a table é", "20260101T000000-0123abcd"
    data = [f"{run}/part-1.parquet", f"{run}/part-2.parquet", "part-00000-c000.snappy.parquet"]
    assert pixel_path(data[0]) == f"_pixels/{run}/part-1.arrow"
    assert find_pixel_files(table, [f"{table}/{path}" for path in data]) == {}
    uri = write(Path(table, pixel_path(data[1])), pictures(2))
    # What would belong to another engine's file is nobody's.
    write(Path(table, "_pixels", "part-00000-c000.snappy.arrow"), pictures(2))
    (file, found) = find_pixel_files(table, [f"{table}/{path}" for path in data]).popitem()
    assert file == f"{table}/{data[1]}"
    state = Path(uri).stat()
    assert (found.uri, found.size) == (uri, state.st_size)
    assert found.modified == pytest.approx(state.st_mtime)


def test_the_shape_that_a_version_keeps():
    assert kept_shape({}) is None
    text = '{"height": 5, "width": 4, "channels": 3}'
    assert kept_shape({"vaeudf.pixels": text}) == SHAPE and SHAPE.to_json() == text
    for wrong in ("", "[5, 4, 3]", '{"height": 5}', text.replace("5", "0")):
        with pytest.raises(TableError, match=r"has the metadata vaeudf\.pixels .*expected height"):
            kept_shape({"vaeudf.pixels": wrong})
    assert str(SHAPE) == "5 × 4 × 3" and SHAPE.num_bytes == 60
