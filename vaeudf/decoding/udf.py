"""Run a decoder over a DataFrame of latents, as an iterator pandas UDF."""

from __future__ import annotations

import hashlib
import os
import posixpath
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyarrow import fs
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, NumericType

from vaeudf.decoding.file_names import file_name
from vaeudf.errors import BundleError, InputError
from vaeudf.images.decode import picture_png
from vaeudf.model.bundle import Bundle
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.devices import Hardware, load_batch_decoder, use_threads
from vaeudf.schema import FILE, IMAGE, LOG_VAR, QUERY_ID, Z, quoted
from vaeudf.spark.model_worker import Model, threads_of
from vaeudf.storage.locations import filesystem, has_folders

IMAGES = "images"
"""The folder of picture files, inside the folder of results."""
DRAFT = ".draft-"
"""Prefix of the names of picture files that are still being written."""
SAMPLE = "-sample-"
"""Between a Gaussian's name and the number of a sample of it."""

# Pixels that a task decodes: enough to outweigh its start, few enough to decode again.
_BYTES_PER_TASK = 128 * 2**20
_TASKS_PER_CORE = 3
_FEWEST_PER_TASK = 512
# Writing to an object store is mostly waiting, so many files are written at a time.
_THREADS = 32


def decode(
    latents: DataFrame,
    bundle: Bundle,
    column: str = Z,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
) -> DataFrame:
    """Decode every z of a DataFrame to the picture that it stands for.

    Args:
        latents: Any DataFrame with a column of z vectors, arrays of n numbers.
        bundle: The model, from :func:`vaeudf.load_bundle`.
        column: The name of that column; ``mu`` for a table of posteriors.
        hardware: What to decode on.

    Returns:
        The columns of ``latents``, and ``image``: the bytes of a PNG file.

    Raises:
        InputError: There is no such column, it holds no numbers, or there is a column ``image``
            already. A z that is null, not finite or not of length n raises an error of Spark's when
            the result is evaluated.
        BundleError: The model has no decoder.
    """
    _check_column(latents, column)
    if IMAGE in {name.lower() for name in latents.columns}:
        raise InputError(
            f"the latents have a column {IMAGE} already, which decode adds; rename or drop it."
        )
    model = decoder_on_executors(latents, bundle, hardware)

    def pictures(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        decoder = decoder_of_task(model)
        with pool_of_task() as pool:
            for batch in batches:
                for pixels in decode_rows(batch.tolist(), decoder):
                    yield pd.Series(list(pool.map(picture_png, pixels)), dtype=object)

    # Spark may evaluate a deterministic UDF once more for every use of its column.
    udf = pandas_udf(returnType="binary")(pictures).asNondeterministic()  # type: ignore[call-overload]
    return latents.withColumn(IMAGE, udf(F.col(quoted(column))))


def decode_to_files(
    latents: DataFrame,
    bundle: Bundle,
    folder: str,
    hardware: Hardware = Hardware(),  # noqa: B008 - it is immutable
) -> DataFrame:
    """Decode latents to PNG files, which the tasks write when the result is evaluated.

    Args:
        latents: Has ``query_id``, unique, and ``z``.
        bundle: The model.
        folder: Where to write; the files go into its folder ``images``, named by query_id.
        hardware: What to decode on.

    Returns:
        ``query_id``, ``z`` and ``file``, the file's path relative to the folder.

    Raises:
        BundleError: The model has no decoder.
    """
    model = decoder_on_executors(latents, bundle, hardware)

    def files(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
        decoder = decoder_of_task(model)
        with pool_of_task() as pool, PictureFolder(folder) as store:
            for names, rows in batches:
                ids = iter(names.tolist())
                for pixels in decode_rows(rows.tolist(), decoder, names.tolist()):
                    pictures = pool.map(picture_png, pixels)
                    yield pd.Series(store.write([(next(ids), data) for data in pictures]))

    udf = pandas_udf(returnType="string")(files).asNondeterministic()  # type: ignore[call-overload]
    return latents.select(QUERY_ID, Z, udf(QUERY_ID, Z).alias(FILE))


def decoder_on_executors(frame: DataFrame, bundle: Bundle, hardware: Hardware) -> Model:
    """Send a bundle's decoder to the executors.

    Raises:
        BundleError: The model has no decoder.
    """
    if not bundle.has_decoder:
        raise BundleError(
            "the model has no decoder, so nothing can be decoded; export one with it."
        )
    return Model.on_executors(frame.sparkSession, bundle, "decoder", hardware)


def decoder_of_task(model: Model) -> PictureDecoder:
    """Return this worker's decoder, which it keeps from task to task."""
    context = TaskContext.get()
    use_threads(threads_of(context))
    return model.kept(load_batch_decoder, context)


def pool_of_task() -> ThreadPoolExecutor:
    """Return a pool of threads that make PNG files, one for each core of the task."""
    return ThreadPoolExecutor(threads_of(TaskContext.get()))


def decode_rows(
    rows: Sequence[ArrayLike | None],
    decoder: PictureDecoder,
    names: Sequence[str] | None = None,
    kind: str = QUERY_ID,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of some z, one batch of the network at a time, to save memory.

    Args:
        rows: Each of shape (n,).
        decoder: The decoder.
        names: The rows' names, for messages.
        kind: The column that the names are from.

    Yields:
        Pictures of shape (B, H, W, C), in the order of the rows.

    Raises:
        InputError: A z is null, has another length, or a number that is not finite in float32.
    """
    size = decoder.spec.batch_size
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        z = np.empty((len(some), decoder.latent_dim), np.float32)
        for i, row in enumerate(some):
            name = f"{kind} {names[first + i]!r}" if names else "a row"
            z[i] = _vector(row, decoder.latent_dim, name)
        yield decoder.decode(z)


def tasks_for(count: int, bundle: Bundle, cores: int) -> int:
    """Return the number of tasks for so many pictures."""
    spec = bundle.manifest.image
    in_bytes = count * spec.height * spec.width * spec.channels
    by_work = -(-in_bytes // _BYTES_PER_TASK)
    return max(1, by_work, min(_TASKS_PER_CORE * cores, -(-count // _FEWEST_PER_TASK)))


def samples_of(
    name: str, mu: ArrayLike, log_var: ArrayLike, samples: int, seed: int
) -> NDArray[np.float64]:
    """Return samples of N(mu, diag sigma²), which depend on the name and the seed alone.

    Args:
        name: The Gaussian's name.
        mu: Its mean, shape (n,).
        log_var: Its log sigma², the same shape.
        samples: How many.
        seed: 0 or more.

    Returns:
        Shape (samples, n).
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
    mean, sigma = np.asarray(mu, np.float64), np.exp(0.5 * np.asarray(log_var, np.float64))
    return np.asarray(mean + sigma * rng.normal(size=(samples, len(mean))))


def with_samples(gaussians: DataFrame, samples: int, seed: int) -> DataFrame:
    """Return Gaussians' means and samples of each, as rows of query_id and z.

    Args:
        gaussians: Has ``query_id``, ``z``, the mean, and ``log_var``.
        samples: How many of each, named after it: ``a-sample-1``, ….
        seed: See :func:`samples_of`.
    """

    def expand(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                name, mu = row[QUERY_ID], row[Z]
                names = [name, *(f"{name}{SAMPLE}{i + 1}" for i in range(samples))]
                z = [mu, *samples_of(name, mu, row[LOG_VAR], samples, seed).tolist()]
                kind = pa.list_(pa.float64())
                columns = [pa.array(names, pa.string()), pa.array(z, kind)]
                yield pa.RecordBatch.from_arrays(columns, names=[QUERY_ID, Z])

    rows = gaussians.select(QUERY_ID, Z, LOG_VAR)
    return rows.mapInArrow(expand, f"{QUERY_ID} string, {Z} array<double>")


class PictureFolder:
    """Writes PNG files named by ids into the folder ``images`` of a folder."""

    def __init__(self, folder: str) -> None:
        self._system, inner = filesystem(folder)
        self._images = posixpath.join(inner, IMAGES)
        self._is_local = self._system.type_name == "local"
        if has_folders(self._system):
            self._system.create_dir(self._images, recursive=True)
        self._pool = ThreadPoolExecutor(1 if self._is_local else _THREADS)

    def __enter__(self) -> PictureFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, pictures: Sequence[tuple[str, bytes]], suffix: str = "") -> list[str]:
        """Write a file for each id and its bytes; return the paths relative to the folder."""
        names = [f"{file_name(name)}{suffix}.png" for name, _ in pictures]
        # Two attempts of one task may write the same file; neither may see half of it.
        for _ in self._pool.map(self._write_one, names, (data for _, data in pictures)):
            pass
        return [posixpath.join(IMAGES, name) for name in names]

    def _write_one(self, name: str, data: bytes) -> None:
        path = posixpath.join(self._images, name)
        if not has_folders(self._system):
            # An object store shows a file only when it is complete.
            with self._system.open_output_stream(path) as stream:
                stream.write(data)
            return
        draft = posixpath.join(self._images, f"{DRAFT}{uuid.uuid4().hex}")
        if self._is_local:
            with open(draft, "wb") as file:
                file.write(data)
            os.replace(draft, path)
            return
        with self._system.open_output_stream(draft) as stream:
            stream.write(data)
        self._system.move(draft, path)


def remove_drafts(folder: str) -> None:
    """Remove the unfinished picture files that killed tasks have left in a folder of results."""
    system, inner = filesystem(folder)
    images = posixpath.join(inner, IMAGES)
    if not has_folders(system) or system.get_file_info(images).type != fs.FileType.Directory:
        return
    for entry in system.get_file_info(fs.FileSelector(images)):
        if entry.base_name.startswith(DRAFT):
            system.delete_file(entry.path)


def _check_column(latents: DataFrame, column: str) -> None:
    if column not in latents.columns:
        raise InputError(
            f"the latents have no column {column!r}; they have {', '.join(latents.columns)}."
        )
    kind = latents.schema[column].dataType
    if not (isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType)):
        raise InputError(
            f"column {column!r} of the latents is {kind.simpleString()}; expected arrays of "
            "numbers."
        )


def _vector(row: ArrayLike | None, latent_dim: int, name: str) -> NDArray[np.float32]:
    found = np.empty(0) if row is None else np.asarray(row, dtype=np.float64)
    if found.shape != (latent_dim,):
        raise InputError(
            f"{name} has {'no z' if row is None else f'{found.size} dimensions'}, but the model "
            f"has latent_dim {latent_dim}."
        )
    with np.errstate(over="ignore"):
        vector = found.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(vector))
    if len(bad):
        raise InputError(
            f"{name} has {found[bad[0]]} in dimension {bad[0]}; expected numbers that are finite "
            "in float32."
        )
    return vector
