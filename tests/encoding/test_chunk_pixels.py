"""The pixels of staged chunks: row by row those that the encoder got."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.kept_pixels import read_kept
from tests.support.scene import SPEC
from vaeudf.encoding import udf
from vaeudf.encoding.chunk_pixels import ChunkPixels, chunk_pixels
from vaeudf.encoding.udf import encode_images
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.model.devices import Hardware
from vaeudf.spark.model_worker import Model
from vaeudf.table.pixel_files import PictureShape

SHAPE = PictureShape.of(SPEC)


def test_where_they_are():
    chunk = "/table/_staging/r1/encoded/chunk-12.parquet"
    assert chunk_pixels(chunk) == "/table/_staging/r1/_pixels/encoded/chunk-12.arrow"


@pytest.fixture
def model(bundle) -> Model:
    files = SimpleNamespace(value=bundle.encoder_files)
    return Model("encoder", files, bundle.model_id, Hardware("cpu"))


@pytest.mark.parametrize(("attempt", "threads"), [(0, 1), (0, 2), (1, 1)])
def test_rows_keep_their_numbers(
    model, garments, tmp_path, monkeypatch, attempt, threads, small_batches
):
    """At the first attempt; and at the second, where images are encoded in another process."""
    context = SimpleNamespace(
        attemptNumber=lambda: attempt,
        cpus=lambda: threads,
        resources=dict,
        partitionId=lambda: 0,
    )
    monkeypatch.setattr(udf, "TaskContext", SimpleNamespace(get=lambda: context))
    images = garments["image"].to_pylist()[:10]
    images[3:3] = [None, b"no picture", ImageFailure("unavailable", "gone.")]
    ids = [f"{i}" for i in range(len(images))]
    chunk = str(tmp_path / "encoded" / "chunk-1.parquet")
    sizes = []
    with ChunkPixels(chunk, SHAPE) as pixels:
        for part in (slice(0, 8), slice(8, None)):
            encoded = encode_images(iter(images[part]), model, keep_pixels=True)
            for frame in pixels.taken_from(encoded, ids[part]):
                assert list(frame.columns) == ["mu", "log_var", "reason", "message"]
                sizes.append(len(frame))
    # One by one, two pictures or three rows are enough: a hundred pictures may be gigabytes.
    assert sizes == ([2, 3, 3, 2, 2, 1] if attempt else [3, 3, 2, 3, 2])
    rows = read_kept(Path(chunk_pixels(chunk)))
    assert rows["item_id"].to_pylist() == ids
    for data, found in zip(images, rows["pixels"].to_pylist(), strict=True):
        picture = decode_image(data, SPEC) if isinstance(data, bytes) else None
        if picture is None or isinstance(picture, ImageFailure):
            assert found == bytes(SHAPE.num_bytes)
        else:
            assert found == picture.tobytes()


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("vaeudf.images.spec._BATCH_SIZE", 3)
    monkeypatch.setattr(udf, "_ROWS_AT_A_TIME", 3)
    monkeypatch.setattr(udf, "_BYTES_AHEAD", 2 * SHAPE.num_bytes)


def test_a_task_without_rows_or_that_fails_leaves_no_file(model, garments, tmp_path):
    chunk = str(tmp_path / "encoded" / "chunk-1.parquet")
    with ChunkPixels(chunk, SHAPE):
        pass
    images = garments["image"].to_pylist()[:2]
    with pytest.raises(KeyError, match="the task"), ChunkPixels(chunk, SHAPE) as pixels:
        encoded = encode_images(iter(images), model, keep_pixels=True)
        assert len(list(pixels.taken_from(encoded, ["a", "b"]))) == 1
        raise KeyError("the task")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
