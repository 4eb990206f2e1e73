"""Run an encoder over a DataFrame of images, as an iterator pandas UDF."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from vaeudf.bundle import Bundle, EncoderFiles, PosteriorEncoder, load_encoder, use_threads
from vaeudf.errors import InputError
from vaeudf.image_reader import ImageReader
from vaeudf.images import ImageFailure, decode_image
from vaeudf.isolation import SECONDS_PER_IMAGE, Isolated, watchdog
from vaeudf.schema import (
    HASH_DIGITS,
    IMAGE,
    IMAGE_FILE,
    IMAGE_ROW,
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MU,
    PLACE,
    REASON,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.staging import write_chunk

BATCH_SIZE = 128
# A process that is at one batch for so long hangs.
_SECONDS_PER_BATCH = 600.0
_END = object()
# A chunk is what a killed task loses: some seconds of work.
_ITEMS_PER_CHUNK = 1_024
_BYTES_PER_CHUNK = 128 * 2**20
_CHUNKS_PER_CORE = 3
_FEWEST_PER_CHUNK = 64
_ADDED = (MU, LOG_VAR, REASON, MESSAGE)
_STRUCT = "__vaeudf_posterior"
_POSTERIOR_TYPE = f"{MU} array<float>, {LOG_VAR} array<float>, {REASON} string, {MESSAGE} string"

# One encoder per Python worker, kept for as long as Spark reuses the worker.
_encoders: dict[str, PosteriorEncoder] = {}


def encode(catalog: DataFrame, bundle: Bundle, image_column: str = IMAGE) -> DataFrame:
    """Encode every image of a DataFrame to its posterior q(z|x) = N(mu, diag sigma²).

    Args:
        catalog: Any DataFrame with a binary column of image files' bytes (JPEG, PNG, …).
        bundle: The model, from :func:`vaeudf.load_bundle`.
        image_column: The name of that column.

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
    context = catalog.sparkSession.sparkContext
    files = context.broadcast(bundle.encoder_files)
    model_id = bundle.model_id

    def posteriors(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            frames = list(encode_batches(_in_batches(iter(batch.tolist())), files, model_id))
            yield pd.concat(frames, ignore_index=True) if frames else _frame([])

    # Spark may evaluate a deterministic UDF once for every column taken out of its struct.
    as_udf = pandas_udf(returnType=_POSTERIOR_TYPE)  # type: ignore[call-overload]
    udf = as_udf(posteriors).asNondeterministic()
    others = [F.col(quoted(name)) for name in catalog.columns if name != image_column]
    encoded = catalog.select(*others, udf(F.col(quoted(image_column))).alias(_STRUCT))
    return encoded.select(*others, *(F.col(f"{_STRUCT}.{name}").alias(name) for name in _ADDED))


def encode_items(items: DataFrame, bundle: Bundle, image_column: str, hashed: bool) -> DataFrame:
    """Encode items that are known by where their images are; the tasks read these.

    Args:
        items: What :func:`vaeudf.catalog.list_items` returns, the payload may be missing; rows of
            one file together and in order.
        bundle: The model.
        image_column: Of rows of Parquet, the column with the image.
        hashed: Whether source_version is a hash of the image: then it is that of the very bytes
            that were encoded.

    Returns:
        ``item_id``, ``source_version``, and what :func:`encode` adds.
    """
    files = items.sparkSession.sparkContext.broadcast(bundle.encoder_files)
    model_id = bundle.model_id

    def posteriors(
        batches: Iterator[tuple[pd.Series, pd.Series, pd.Series, pd.Series]],
    ) -> Iterator[pd.DataFrame]:
        reader = ImageReader(image_column)
        for batch in batches:
            places = zip(*(column.tolist() for column in batch), strict=True)
            digests: list[str | None] = []
            images = _with_digests((reader.read(*place) for place in places), digests)
            frames = list(encode_batches(_in_batches(images), files, model_id))
            frame = pd.concat(frames, ignore_index=True) if frames else _frame([])
            frame[SOURCE_VERSION] = digests if hashed else None
            yield frame

    as_udf = pandas_udf(  # type: ignore[call-overload]
        returnType=f"{_POSTERIOR_TYPE}, {SOURCE_VERSION} string"
    )
    udf = as_udf(posteriors).asNondeterministic()
    encoded = items.select(ITEM_ID, SOURCE_VERSION, udf(*PLACE).alias(_STRUCT))
    # Of an image that could not be read nobody knows the hash.
    version = F.coalesce(f"{_STRUCT}.{SOURCE_VERSION}", SOURCE_VERSION, F.lit(""))
    return encoded.select(
        ITEM_ID,
        version.alias(SOURCE_VERSION),
        *(F.col(f"{_STRUCT}.{name}").alias(name) for name in _ADDED),
    )


def encode_chunks(
    items: DataFrame,
    bundle: Bundle,
    image_column: str,
    hashed: bool,
    *,
    num_chunks: int,
    folder: str,
) -> None:
    """Encode items, in tasks of which each leaves a chunk file; one that is run twice leaves two.

    Args:
        items: As for :func:`encode_items`, in any order.
        bundle: As there.
        image_column: As there.
        hashed: As there.
        num_chunks: How many tasks.
        folder: Where the chunk files go.
    """
    placed = items.repartitionByRange(num_chunks, IMAGE_FILE, IMAGE_ROW)
    placed = placed.sortWithinPartitions(IMAGE_FILE, IMAGE_ROW)
    encoded = encode_items(placed, bundle, image_column, hashed)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for num_rows in write_chunk(batches, folder):
            yield pa.RecordBatch.from_pydict({"num_rows": [num_rows]})

    # Collected once: evaluating this DataFrame again would encode everything again.
    encoded.mapInArrow(write, "num_rows long").collect()


def chunks_for(num_items: int, num_bytes: int, cores: int) -> int:
    """Return in how many chunks to encode: many enough to share them, and to lose little by one.

    Args:
        num_items: Items to encode.
        num_bytes: Bytes of their files, as far as known.
        cores: Tasks that run at a time.
    """
    by_work = max(-(-num_items // _ITEMS_PER_CHUNK), -(-num_bytes // _BYTES_PER_CHUNK))
    return max(1, by_work, min(_CHUNKS_PER_CORE * cores, -(-num_items // _FEWEST_PER_CHUNK)))


def _with_digests(
    images: Iterator[bytes | ImageFailure | None], digests: list[str | None]
) -> Iterator[bytes | ImageFailure | None]:
    """Pass images on, and note the hash of each, None for one that could not be read."""
    for image in images:
        if isinstance(image, ImageFailure):
            digests.append(None)
        else:
            digests.append(hashlib.sha256(image or b"").hexdigest()[:HASH_DIGITS])
        yield image


def _in_batches(
    images: Iterator[bytes | ImageFailure | None],
) -> Iterator[Iterator[bytes | ImageFailure | None]]:
    """Yield images a network's batch at a time, each read when it is asked for."""
    for first in images:
        yield chain([first], islice(images, BATCH_SIZE - 1))


def encode_batches(
    batches: Iterable[Iterable[bytes | ImageFailure | None]],
    files: Broadcast[EncoderFiles],
    model_id: str,
) -> Iterator[pd.DataFrame]:
    """Encode a partition: images' bytes in, DataFrames (mu, log_var, reason, message) out.

    If an image brings this process down, or keeps it busy for too long, the task is tried again;
    then each image has a process of its own to bring down, and is told apart by that.
    """
    context = TaskContext.get()
    if context is not None and context.attemptNumber() > 0:
        yield from _encode_with_care(batches, files.value)
        return
    if model_id not in _encoders:
        _encoders.clear()
        _encoders[model_id] = load_encoder(files.value)
    # One torch thread per core that the scheduler gave this task: more would fight its neighbours.
    use_threads(context.cpus() if context is not None else 1)
    for batch in batches:
        with watchdog(_SECONDS_PER_BATCH):
            frame = encode_images(_encoders[model_id], batch)
        yield frame


def _encode_with_care(
    batches: Iterable[Iterable[bytes | ImageFailure | None]], files: EncoderFiles
) -> Iterator[pd.DataFrame]:
    with Isolated(_encoder_of_one, files) as isolated:
        for batch in batches:
            images, rows = iter(batch), []
            while True:
                with watchdog(_SECONDS_PER_BATCH):  # a store that does not answer
                    data = next(images, _END)
                if data is _END:
                    break
                found = isolated.call(data, SECONDS_PER_IMAGE)
                failed = isinstance(found, ImageFailure)
                rows.append([None, None, found.reason, found.message] if failed else found)
            yield _frame(rows)


def _encoder_of_one(
    files: EncoderFiles,
) -> Callable[[bytes | ImageFailure | None], list[object]]:
    """Return a function that encodes one image to a row."""
    encoder = load_encoder(files)
    use_threads(1)

    def encode_one(data: bytes | ImageFailure | None) -> list[object]:
        frame = encode_images(encoder, [data])
        return [frame[name][0] for name in _ADDED]

    return encode_one


def encode_images(
    encoder: PosteriorEncoder, images: Iterable[bytes | ImageFailure | None]
) -> pd.DataFrame:
    """Encode image files' bytes, in one batch of the network; one row each, in order."""
    rows: list[list[object]] = []
    pixels, places = [], []
    for place, data in enumerate(images):
        found = data if isinstance(data, ImageFailure) else decode_image(data, encoder.spec)
        if isinstance(found, ImageFailure):
            rows.append([None, None, found.reason, found.message])
        else:
            rows.append([None, None, None, None])
            pixels.append(found)
            places.append(place)
    if pixels:
        mu, log_var = encoder.encode(np.stack(pixels))
        finite = np.isfinite(np.concatenate([mu, log_var], axis=1)).all(axis=1)
        for i, place in enumerate(places):
            if finite[i]:
                rows[place][:2] = mu[i], log_var[i]
            else:
                rows[place][2:] = "non_finite", "the encoder gave a NaN or infinite mu or log_var."
    return _frame(rows)


def _frame(rows: list[list[object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[MU, LOG_VAR, REASON, MESSAGE])
