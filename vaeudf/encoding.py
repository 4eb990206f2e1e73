"""Run an encoder over a DataFrame of images, as an iterator pandas UDF."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from pyspark import Broadcast, TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from vaeudf.bundle import Bundle, PosteriorEncoder, load_encoder, use_threads
from vaeudf.errors import InputError
from vaeudf.images import MAX_BYTES, ImageFailure, decode_image
from vaeudf.schema import IMAGE, IMAGE_LENGTH, LOG_VAR, MESSAGE, MU, REASON, quoted

BATCH_SIZE = 128
_ADDED = (MU, LOG_VAR, REASON, MESSAGE)
_STRUCT = "__vaeudf_posterior"
_POSTERIOR_TYPE = f"{MU} array<float>, {LOG_VAR} array<float>, {REASON} string, {MESSAGE} string"

EncoderFiles = tuple[bytes, bytes]

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
        return encode_batches(batches, files, model_id)

    # Spark may evaluate a deterministic UDF once for every column taken out of its struct.
    as_udf = pandas_udf(returnType=_POSTERIOR_TYPE)  # type: ignore[call-overload]
    udf = as_udf(posteriors).asNondeterministic()
    others = [F.col(quoted(name)) for name in catalog.columns if name != image_column]
    encoded = catalog.select(*others, udf(F.col(quoted(image_column))).alias(_STRUCT))
    return encoded.select(*others, *(F.col(f"{_STRUCT}.{name}").alias(name) for name in _ADDED))


def encode_listing(catalog: DataFrame, bundle: Bundle) -> DataFrame:
    """Encode what :func:`vaeudf.catalog.read_catalog` returns.

    As :func:`encode`; a file that was too large to be read says so, and not that it is empty.
    """
    encoded = encode(catalog, bundle)
    if IMAGE_LENGTH not in encoded.columns:
        return encoded
    unread = F.col(IMAGE_LENGTH) > MAX_BYTES
    size = F.concat(
        F.lit("the file has "), IMAGE_LENGTH, F.lit(f" bytes; at most {MAX_BYTES} are read.")
    )
    return encoded.withColumns(
        {
            REASON: F.when(unread, "too_large").otherwise(F.col(REASON)),
            MESSAGE: F.when(unread, size).otherwise(F.col(MESSAGE)),
        }
    ).drop(IMAGE_LENGTH)


def encode_batches(
    batches: Iterator[pd.Series], files: Broadcast[EncoderFiles], model_id: str
) -> Iterator[pd.DataFrame]:
    """Encode a partition: Series of bytes in, DataFrames (mu, log_var, reason, message) out."""
    if model_id not in _encoders:
        _encoders.clear()
        _encoders[model_id] = load_encoder(files.value)
    context = TaskContext.get()
    # One torch thread per core that the scheduler gave this task: more would fight its neighbours.
    use_threads(context.cpus() if context is not None else 1)
    for batch in batches:
        parts = [
            encode_images(_encoders[model_id], batch.iloc[start : start + BATCH_SIZE].tolist())
            for start in range(0, len(batch), BATCH_SIZE)
        ]
        yield pd.concat(parts, ignore_index=True) if parts else _frame([])


def encode_images(encoder: PosteriorEncoder, images: list[bytes | None]) -> pd.DataFrame:
    """Encode a list of image files' bytes; one row each, in order."""
    rows: list[list[object]] = []
    pixels, places = [], []
    for place, data in enumerate(images):
        decoded = decode_image(data, encoder.spec)
        if isinstance(decoded, ImageFailure):
            rows.append([None, None, decoded.reason, decoded.message])
        else:
            rows.append([None, None, None, None])
            pixels.append(decoded)
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
