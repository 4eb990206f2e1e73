"""Run an encoder over a DataFrame of images, as an iterator pandas UDF."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.catalog.prefetch import LookAhead
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import hashed_version, in_file_order
from vaeudf.encoding.chunk_pixels import ChunkPixels
from vaeudf.encoding.isolation import BYTES_OF_MEMORY, SECONDS_PER_IMAGE, Isolated, watchdog
from vaeudf.encoding.staging import CHUNK_SCHEMA, new_chunk_name, write_chunk
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image, without_warnings
from vaeudf.model.bundle import Bundle, NetworkFiles
from vaeudf.model.devices import (
    BatchEncoder,
    Hardware,
    Posteriors,
    choose_device,
    load_batch_encoder,
    use_threads,
)
from vaeudf.schema import (
    IMAGE,
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MU,
    PLACE,
    REASON,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.spark.model_worker import Model, gpu_of, threads_of
from vaeudf.table.pixel_files import PIXELS_COLUMN, PictureShape

# A process that takes longer for one batch is taken for hung.
_SECONDS_PER_BATCH = 600.0
_END = object()
# Images that are encoded one by one, and returned together.
_ROWS_AT_A_TIME = 128
# Images that threads decode, or that wait for a thread.
_DECODED_AT_ONCE = 16
_BYTES_AHEAD = 128 * 2**20
# A chunk is what is lost with a killed task: some seconds of work.
_BATCHES_PER_CHUNK = 8
_BYTES_PER_CHUNK = 128 * 2**20
_CHUNKS_PER_CORE = 3
_FEWEST_PER_CHUNK = 64
_ADDED = (MU, LOG_VAR, REASON, MESSAGE)
_STRUCT = "__vaeudf_posterior"
_POSTERIOR_TYPE = from_arrow_schema(pa.schema([CHUNK_SCHEMA.field(name) for name in _ADDED]))

Data = bytes | ImageFailure | None
Pixels = NDArray[np.uint8] | ImageFailure


def encode(
    catalog: DataFrame,
    bundle: Bundle,
    image_column: str = IMAGE,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
) -> DataFrame:
    """Encode every image of a DataFrame to its posterior q(z|x) = N(mu, diag sigma²).

    Args:
        catalog: Any DataFrame with a binary column of image files' bytes (JPEG, PNG, …).
        bundle: The model, from :func:`vaeudf.load_bundle`.
        image_column: The name of that column.
        hardware: What to encode on.

    Returns:
        The other columns of ``catalog``, and four more: ``mu`` and ``log_var``, array<float> of
        length n, and, where an item could not be encoded and these two are null, ``reason``
        (one word) and ``message`` (one sentence).

    Raises:
        InputError: There is no such column, or one of the four is there already.
    """
    if image_column not in catalog.columns:
        raise InputError(
            f"the catalog has no column {image_column!r}; it has {', '.join(catalog.columns)}."
        )
    taken = sorted({name.lower() for name in catalog.columns} & set(_ADDED))
    if taken:
        raise InputError(
            f"the catalog has the columns {', '.join(taken)} already, which encode adds; "
            "rename or drop them."
        )
    model = Model.on_executors(catalog.sparkSession, bundle, "encoder", hardware)

    def posteriors(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        # Batches of the network's size, whatever the size of Arrow's.
        yield from encode_images((data for batch in batches for data in batch.tolist()), model)

    # Spark may evaluate a deterministic UDF once for every column taken out of its struct.
    as_udf = pandas_udf(returnType=_POSTERIOR_TYPE)  # type: ignore[call-overload]
    udf = as_udf(posteriors).asNondeterministic()
    others = [F.col(quoted(name)) for name in catalog.columns if name != image_column]
    encoded = catalog.select(*others, udf(F.col(quoted(image_column))).alias(_STRUCT))
    return encoded.select(*others, *(F.col(f"{_STRUCT}.{name}").alias(name) for name in _ADDED))


def encode_chunks(
    items: DataFrame,
    bundle: Bundle,
    image_column: str,
    *,
    hashed: bool,
    num_chunks: int,
    folder: str,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
    keep_pixels: bool = False,
) -> None:
    """Encode items that are known by where their images are; the tasks read these.

    Each task leaves a chunk file; one that is run twice leaves two.

    Args:
        items: What :func:`vaeudf.catalog.source.list_items` returns, the payload may be missing.
        bundle: The model.
        image_column: Of rows of Parquet, the column with the image.
        hashed: Whether source_version is a hash of the image: then it is that of the very bytes
            that were encoded.
        num_chunks: How many tasks.
        folder: Where the chunk files go.
        hardware: What to encode on.
        keep_pixels: Whether what the encoder got is written beside the chunks, see
            :mod:`vaeudf.encoding.chunk_pixels`.
    """
    placed = in_file_order(items, num_chunks)
    model = Model.on_executors(items.sparkSession, bundle, "encoder", hardware)
    shape = PictureShape.of(bundle.manifest.image) if keep_pixels else None

    def encode_and_write(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.Series]:
        # In one UDF: a second one for the writing would be another Python process, fed through
        # the JVM, and would run while this one waits.
        reader = ImageReader(image_column)
        rows: list[tuple[pd.DataFrame, pd.DataFrame]] = []
        name = new_chunk_name()
        with ChunkPixels(posixpath.join(folder, name), shape) as pixels:
            for columns in batches:
                batch = pd.concat(columns, axis=1, keys=[ITEM_ID, SOURCE_VERSION, *PLACE])
                places = zip(*(batch[name].tolist() for name in PLACE), strict=True)
                digests: list[str | None] = []
                images = _with_digests(reader.read_all(places), digests)
                encoded = encode_images(images, model, keep_pixels=keep_pixels)
                frames = list(pixels.taken_from(encoded, batch[ITEM_ID].tolist()))
                found = pd.concat(frames, ignore_index=True) if frames else _frame([])
                if hashed:
                    # The hash of an image that could not be read is not known.
                    known = pd.Series(digests, dtype=object)
                    batch[SOURCE_VERSION] = known.where(known.notna(), batch[SOURCE_VERSION])
                rows.append((batch, found))
                yield pd.Series(np.ones(len(batch), dtype=bool))
        write_chunk((_as_chunk(*part) for part in rows), folder, name)

    udf = pandas_udf(returnType="boolean")(encode_and_write).asNondeterministic()  # type: ignore[call-overload]
    done = placed.select(udf(ITEM_ID, SOURCE_VERSION, *PLACE).alias("done"))
    # Evaluated once: to evaluate it again would be to encode everything again.
    done.agg(F.count("done")).collect()


def chunks_for(num_items: int, num_bytes: int, cores: int, batch_size: int = 128) -> int:
    """Return the number of chunks: enough for all cores, and small enough to lose little by one.

    Args:
        num_items: Items to encode.
        num_bytes: Bytes of their files, as far as known.
        cores: Tasks that run at a time.
        batch_size: Of the network, which is smaller for larger pictures.
    """
    per_chunk = _BATCHES_PER_CHUNK * batch_size
    by_work = max(-(-num_items // per_chunk), -(-num_bytes // _BYTES_PER_CHUNK))
    shared = min(_CHUNKS_PER_CORE * cores, -(-num_items // _FEWEST_PER_CHUNK))
    if by_work <= shared:
        return max(1, shared)
    # A multiple of the cores: else some would be idle while the last chunks are encoded.
    return -(-by_work // cores) * cores


def encode_images(
    images: Iterator[Data], model: Model, *, keep_pixels: bool = False
) -> Iterator[pd.DataFrame]:
    """Encode a partition: images' bytes in, DataFrames (mu, log_var, reason, message) out.

    With ``keep_pixels`` they have the column pixels as well: uint8 of shape (H, W, C), or None.

    If an image brings this process down, or keeps it busy for too long, Spark tries the task again.
    The second time, images are encoded in another process, and the one that crashes it is known.
    """
    context = TaskContext.get()
    if context is not None and context.attemptNumber() > 0:
        yield from _encode_isolated(images, model, context, keep_pixels=keep_pixels)
        return
    # One torch thread per core that the scheduler gave this task: more would fight its neighbours.
    threads = threads_of(context)
    use_threads(threads)
    encoder = model.kept(load_batch_encoder, context)
    on_gpu = encoder.device.type == "cuda"
    with contextlib.ExitStack() as stack:
        pool = None
        if threads > 1 or on_gpu:
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            stack.enter_context(without_warnings())
        frames = encode_batches(images, encoder, pool, ahead=on_gpu, keep_pixels=keep_pixels)
        while True:
            with watchdog(_SECONDS_PER_BATCH):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def encode_batches(
    images: Iterator[Data],
    encoder: BatchEncoder,
    pool: ThreadPoolExecutor | None = None,
    *,
    ahead: bool = False,
    keep_pixels: bool = False,
) -> Iterator[pd.DataFrame]:
    """Encode images a network's batch at a time; a row each, in order.

    Args:
        images: Each is read when it is asked for.
        encoder: The encoder.
        pool: Decodes; without, pictures are decoded one by one.
        ahead: Whether to decode the next batch while the encoder is at one.
        keep_pixels: Whether rows have their pixels.
    """
    waiting: tuple[list[Pixels], Callable[[], Posteriors] | None] | None = None
    for batch in _decoded(images, encoder, pool, ahead=ahead):
        begun = batch, _start(encoder, batch)
        if not ahead:
            yield _finish(*begun, keep_pixels=keep_pixels)
            continue
        if waiting is not None:
            yield _finish(*waiting, keep_pixels=keep_pixels)
        waiting = begun
    if waiting is not None:
        yield _finish(*waiting, keep_pixels=keep_pixels)


def _decoded(
    images: Iterator[Data], encoder: BatchEncoder, pool: ThreadPoolExecutor | None, *, ahead: bool
) -> Iterator[list[Pixels]]:
    """Yield pictures a batch at a time; with ``ahead``, the next one is being decoded meanwhile."""
    size = encoder.spec.batch_size

    def decode(data: Data) -> Pixels:
        return data if isinstance(data, ImageFailure) else decode_image(data, encoder.spec)

    if pool is None:
        while batch := [decode(data) for data in islice(images, size)]:
            yield batch
        return

    def in_order(threads: LookAhead[Pixels]) -> Iterator[Pixels]:
        for data in images:
            held = len(data) if isinstance(data, bytes) else 0
            yield from threads.submit(held, decode, data)
        yield from threads.drain()

    # A CPU has no time to spare for decoding while it encodes.
    pictures = in_order(LookAhead(pool, size if ahead else _DECODED_AT_ONCE, _BYTES_AHEAD))
    while batch := list(islice(pictures, size)):
        yield batch


def _start(encoder: BatchEncoder, batch: list[Pixels]) -> Callable[[], Posteriors] | None:
    pixels = [found for found in batch if not isinstance(found, ImageFailure)]
    return encoder.start(np.stack(pixels)) if pixels else None


def _finish(
    batch: list[Pixels], posteriors: Callable[[], Posteriors] | None, *, keep_pixels: bool
) -> pd.DataFrame:
    """Return a row for each picture, in order."""
    rows: list[list[object]] = [
        _failure(found) if isinstance(found, ImageFailure) else [None, None, None, None]
        for found in batch
    ]
    if posteriors is not None:
        mu, log_var = posteriors()
        finite = np.isfinite(np.concatenate([mu, log_var], axis=1)).all(axis=1)
        places = (i for i, found in enumerate(batch) if not isinstance(found, ImageFailure))
        for i, place in enumerate(places):
            if finite[i]:
                rows[place][:2] = mu[i], log_var[i]
            else:
                rows[place][2:] = "non_finite", "the encoder gave a NaN or infinite mu or log_var."
    return _frame(rows, batch if keep_pixels else None)


def _encode_isolated(
    images: Iterator[Data], model: Model, context: TaskContext, *, keep_pixels: bool
) -> Iterator[pd.DataFrame]:
    hardware, address, task = model.hardware, *gpu_of(context)
    memory: int | None = BYTES_OF_MEMORY + 4 * len(model.files.value.weights)
    if hardware.device == "cuda":
        choose_device(hardware.device, address, task)  # raises if there is none
        memory = None  # CUDA maps far more than it uses
    else:
        # The GPU may be to blame.
        hardware, address = hardware._replace(device="cpu"), None
    arguments = (model.files.value, hardware, address, task, keep_pixels)
    with Isolated(_encoder_of_one, *arguments, memory=memory) as isolated:
        rows: list[list[object]] = []
        pictures: list[Pixels | None] = []
        held = 0
        while True:
            with watchdog(_SECONDS_PER_BATCH):  # a store that does not answer
                data = next(images, _END)
            if data is not _END:
                found = isolated.call(data, SECONDS_PER_IMAGE)
                failed = isinstance(found, ImageFailure)
                row, picture = (_failure(found), None) if failed else found
                rows.append(row)
                pictures.append(picture)
                held += 0 if picture is None else picture.nbytes
            is_full = len(rows) >= _ROWS_AT_A_TIME or held >= _BYTES_AHEAD
            if rows and (is_full or data is _END):
                yield _frame(rows, pictures if keep_pixels else None)
                rows, pictures, held = [], [], 0
            if data is _END:
                return


def _encoder_of_one(
    files: NetworkFiles, hardware: Hardware, address: str | None, task: int, keep_pixels: bool
) -> Callable[[Data], tuple[list[object], Pixels | None]]:
    """Return a function that encodes one image to a row, and to its pixels if they are kept."""
    encoder = load_batch_encoder(files, hardware, address, task)
    use_threads(1)

    def encode_one(data: Data) -> tuple[list[object], Pixels | None]:
        (frame,) = encode_batches(iter([data]), encoder, keep_pixels=keep_pixels)
        pixels = frame[PIXELS_COLUMN][0] if keep_pixels else None
        return [frame[name][0] for name in _ADDED], pixels

    return encode_one


def _with_digests(images: Iterator[Data], digests: list[str | None]) -> Iterator[Data]:
    """Pass images on, and note the hash of each, None for one that could not be read."""
    for image in images:
        if isinstance(image, ImageFailure):
            digests.append(None)
        else:
            digests.append(hashed_version(image))
        yield image


def _as_chunk(items: pd.DataFrame, found: pd.DataFrame) -> pa.RecordBatch:
    versions = items[SOURCE_VERSION].fillna("")
    columns = [items[ITEM_ID], versions, *(found[name] for name in _ADDED)]
    arrays = [
        pa.array(column.tolist(), field.type)
        for column, field in zip(columns, CHUNK_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=CHUNK_SCHEMA)


def _failure(found: ImageFailure) -> list[object]:
    return [None, None, found.reason, found.message]


def _frame(
    rows: list[list[object]], pictures: Sequence[Pixels | None] | None = None
) -> pd.DataFrame:
    """Return rows of mu, log_var, reason and message, and with pictures their pixels."""
    frame = pd.DataFrame(rows, columns=[*_ADDED])
    if pictures is not None:
        # One by one: of a list of arrays, NumPy would make one array.
        column = np.empty(len(pictures), object)
        for i, picture in enumerate(pictures):
            column[i] = None if isinstance(picture, ImageFailure) else picture
        frame[PIXELS_COLUMN] = column
    return frame
